"""Processors: they do what plain loops do, on the prompt and on what was generated."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers
from test_generator import deaf, follower
from test_rollout import VOCABULARY, naive
from test_samplers import softmax
from test_writing import KINDS, PROMPTS, model_of

from seqframe import Generator, SequenceFramer, Vocabulary
from seqframe.processors import (
    BannedSymbols,
    ForcedSymbols,
    LogitsProcessor,
    NoRepeatNGram,
    RepetitionPenalty,
)
from seqframe.samplers import BeamSampler, RandomSampler

# --- Oracles: plain loops over one row, by the definitions that the docstrings name.


def penalized(penalty, logits, known, step):
    """As Keskar et al. and transformers' `RepetitionPenaltyLogitsProcessor`: once a symbol."""
    found = logits.copy()
    for symbol in set(known):
        found[symbol] *= penalty if logits[symbol] < 0 else 1 / penalty
    return found


def without_repeats(size, logits, known, step):
    """As Paulus et al. and transformers' `NoRepeatNGramLogitsProcessor`."""
    found = logits.copy()
    for symbol in range(len(logits)):
        ngram = [*known, symbol][-size:]
        seen = [list(known[k : k + size]) for k in range(len(known) - size + 1)]
        if len(ngram) == size and ngram in seen:
            found[symbol] = -np.inf
    return found


def without(phrases, logits, known, step):
    """As transformers' `NoBadWordsLogitsProcessor`: the end of a phrase is banned."""
    found = logits.copy()
    for phrase in phrases:
        *before, last = np.atleast_1d(phrase)
        if before == known[len(known) - len(before) :]:
            found[last] = -np.inf
    return found


def forced(steps, logits, known, step):
    if step not in steps:
        return logits
    return np.where(np.arange(len(logits)) == steps[step], logits, -np.inf)


RULES = {
    "penalty": (RepetitionPenalty(1.7), penalized, 1.7),
    "reward": (RepetitionPenalty(0.5), penalized, 0.5),
    "no symbol twice": (NoRepeatNGram(1), without_repeats, 1),
    "no pair twice": (NoRepeatNGram(2), without_repeats, 2),
    "no three twice": (NoRepeatNGram(3), without_repeats, 3),
    "longer than all": (NoRepeatNGram(99), without_repeats, 99),
    "banned": (BannedSymbols([2]), without, [2]),
    "banned phrases": (BannedSymbols([[0, 1], 3, [1, 1, 2]]), without, [[0, 1], 3, [1, 1, 2]]),
    "phrases": (BannedSymbols([[0, 1], [1, 1, 2]]), without, [[0, 1], [1, 1, 2]]),
    "a phrase longer than all": (BannedSymbols([[0] * 99]), without, [[0] * 99]),
    "forced": (ForcedSymbols({3: 1, 0: 2}), forced, {3: 1, 0: 2}),
    "forced at first": (ForcedSymbols([2]), forced, {0: 2}),
    "several forced": (ForcedSymbols([2, 0]), forced, {0: 2, 1: 0}),
}


def arrays(known, step, width=12):
    """Return what a processor gets of rows of known ids: `generated` and `ids`."""
    ids = np.array([[-1] * (width - len(row)) + row for row in known])
    generated = np.full((len(known), width), -1)
    generated[:, :step] = ids[:, width - step :]
    return ops.convert_to_tensor(generated.astype("int32")), ops.convert_to_tensor(
        ids.astype("int32")
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symbols", [4, 30])
def test_processors_do_what_plain_loops_do(rule, symbols):
    processor, oracle, argument = RULES[rule]
    rng = np.random.default_rng(3)
    for step in 0, 1, 2, 3:
        known = [rng.integers(4, size=n).tolist() for n in (3, 4, 7, 12, 5, 6)]
        logits = numbers(len(known), symbols, seed=step)
        generated, ids = arrays(known, step)
        found = processor(ops.convert_to_tensor(logits), generated, step, ids)
        expected = [oracle(argument, *row, step) for row in zip(logits, known, strict=True)]
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-6)


# --- In a rollout.

# They leave a symbol at each of the steps here.
CHAIN = ["penalty", "phrases", "no three twice", "forced at first"]


def chained(logits, known, step):
    for rule in CHAIN:
        _, oracle, argument = RULES[rule]
        logits = oracle(argument, logits, known, step)
    return logits


def processing(kind, sampler="greedy", rules=CHAIN, **options):
    rule, model = model_of(kind)
    processors = [RULES[name][0] for name in rules]
    return Generator(model, rule, sampler=sampler, logits_processor=processors, **options)


WRITTEN = [kind for kind in KINDS if "blocks" not in kind]


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_chain_sees_the_whole_prompt_and_the_generated_text(kind):
    """Prompts of unequal lengths, one longer than a window, in one call and alone."""
    rule, model = model_of(kind)
    expected = []
    for prompt in PROMPTS:
        known = VOCABULARY.encode(prompt).tolist()

        def pick(output, known=known, begin=prompt):
            logits = chained(output.astype("float32"), known, len(known) - len(begin))
            known.append(int(np.argmax(logits)))
            return np.array(known[-1:], "int32")

        expected.append(VOCABULARY.decode(naive(model, rule, list(known), 12, pick)))
    generator = processing(kind)
    assert generator.generate(PROMPTS, 12) == expected
    assert [generator.generate(prompt, 12) for prompt in PROMPTS] == expected


@pytest.mark.parametrize("kind", WRITTEN)
def test_parts_equal_the_whole_with_processors(kind):
    """A state keeps all ids for processors that see them."""
    generator = processing(kind, RandomSampler(3.0), ["penalty", "no three twice"], seed=2)
    whole = generator.generate(PROMPTS, 16)
    first, state = generator.generate(PROMPTS, 5, return_state=True)
    second, state = generator.generate(["", ""], 4, state=state, return_state=True)
    rest = generator.generate(["", ""], 7, state=state)
    parts = [a + b + c for a, b, c in zip(first, second, rest, strict=True)]
    assert parts == whole
    # A stop cuts in the middle of a run, and the state goes on from there.
    generator = processing(kind, "greedy", ["penalty", "no three twice"])
    whole = generator.generate(PROMPTS, 16)
    stop = whole[0][3:6]
    text, state = generator.generate(PROMPTS, 16, stop=stop, return_state=True)
    assert text[0] == whole[0].partition(stop)[0]
    rest = generator.generate(["", ""], 4, state=state)
    assert text[0] + stop + rest[0] == whole[0][: len(text[0]) + 7]


def test_a_state_without_the_whole_text_is_refused_by_processors_that_see_it():
    plain, strict = (
        processing("windows", "greedy", []),
        processing("windows", "greedy", ["penalty"]),
    )
    text, state = plain.generate("DAADDA", 5, return_state=True)
    _, later = plain.generate("", 1, state=state, return_state=True)
    for each in state, later:
        with pytest.raises(ValueError, match="`state` must hold all ids for a processor"):
            strict.generate("", 3, state=each)
    assert plain.generate("", 3, state=state) == plain.generate("DAADDA" + text, 3)


def test_beams_follow_processors():
    generator = processing("windows", BeamSampler(4), ["no symbol twice", "banned"])
    texts = generator.generate("DAA", 1, num_samples=1)
    assert texts == "B"  # A and D are in the prompt, and C is banned


def test_a_function_sees_the_prompt_if_it_has_an_argument_ids():
    """It says the letters of the prompt again, from the last one to the first."""

    def backwards(logits, generated, step, ids):
        # Ids grow by one each step, so the one to say next moves by two.
        place = ids.shape[1] - 1 - 2 * step
        wanted = ops.take(ids, place, axis=1)[:, None]
        return ops.where(ops.arange(logits.shape[-1])[None] == wanted, logits, -float("inf"))

    generator = follower(logits_processor=backwards, from_logits=True)
    assert generator.generate(["ABC", "CCAB"], 3) == ["CBA", "BAC"]
    both = follower(
        logits_processor=[backwards, lambda logits, generated, step: logits], from_logits=True
    )
    assert both.generate("ABC", 3) == "CBA"


def test_a_chain_runs_in_order():
    def double(logits, generated, step):
        return 2 * logits

    def minus_one(logits, generated, step):
        return logits - 1

    logits = np.array([0.4, 0.2], "float32")
    framer = SequenceFramer(1, vocabulary=Vocabulary("AB"))
    for chain, expected in (
        ([double, minus_one, RepetitionPenalty(2.0)], "A"),  # -0.2 * 2 > -0.6
        ([minus_one, double, RepetitionPenalty(2.0)], "B"),  # -1.2 * 2 < -1.6
        ([double, RepetitionPenalty(1.5)], "A"),  # 0.8 / 1.5 > 0.4
        ([RepetitionPenalty(2.5), double], "B"),
        ([], "A"),
        ((double,), "A"),
    ):
        generator = Generator(deaf(logits), framer, logits_processor=chain)
        assert generator.generate("A", 1) == expected


def test_a_penalty_multiplies_log_probabilities():
    """Models of probabilities have no logits."""
    probabilities = np.array([0.5, 0.3, 0.2])
    generator = Generator(
        deaf(np.log(probabilities), "softmax"),
        SequenceFramer(1, vocabulary=Vocabulary("ABC")),
        sampler="random",
        logits_processor=RepetitionPenalty(2.0),
        seed=1,
    )
    expected = softmax(np.log(probabilities) * [2, 1, 1])
    ids = np.array(generator.generate(np.array([0]), 1, num_samples=5000)).ravel()
    np.testing.assert_allclose(np.bincount(ids) / 5000, expected, atol=0.03)


@pytest.mark.parametrize("rule", RULES)
def test_processors_are_saved_with_the_generator(rule, tmp_path):
    processor = RULES[rule][0]
    same = type(processor).from_config(processor.get_config())
    assert same == processor
    assert hash(same) == hash(processor)
    assert repr(same) == repr(processor)
    assert sum(processor == other for other, *_ in RULES.values()) == 1
    if rule != "forced":
        return
    generator = processing("windows")
    for path, processors in ("chain", generator.logits_processor), ("one", processor):
        generator.logits_processor = processors
        generator.save(tmp_path / f"{path}.keras")
        loaded = Generator.load(tmp_path / f"{path}.keras")
        assert loaded.logits_processor == processors
        assert loaded.generate(PROMPTS, 9) == generator.generate(PROMPTS, 9)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")
@pytest.mark.parametrize("kind", ["windows", "stateful"])
def test_served_texts_follow_the_processors(kind, tmp_path):
    import tensorflow as tf

    generator = processing(kind, RandomSampler(2.0), seed=3)
    generator.export(tmp_path / "served", max_prompt=20, max_steps=16, batch_size=2)
    model = tf.saved_model.load(str(tmp_path / "served"))
    found = model.run_text(PROMPTS, 12, 3).numpy()
    assert [text.decode() for text in found] == generator.generate(PROMPTS, 12)


def test_a_processor_that_changes_takes_effect():
    processor = BannedSymbols([0])
    generator = follower(logits_processor=processor, from_logits=True)
    before = len(generator._rolled._rollouts)
    processor.phrases = [0, 1, 2]
    with pytest.raises(ValueError, match="At least one symbol"):
        generator.generate("A", 1)
    for number in range(3):
        processor.phrases[:] = [each for each in range(3) if each != number]
        assert generator.generate("A", 2) == 2 * "ABC"[number]
    # An earlier program serves again.
    processor.phrases = [1, 2]
    assert generator.generate("A", 2) == "AA"
    assert len(generator._rolled._rollouts) - before == 4


def not_callable():
    return follower(logits_processor=[RepetitionPenalty(1.2), "ban"])


WRONG = [
    (lambda: RepetitionPenalty(0), ValueError, "`penalty` must be above 0"),
    (lambda: RepetitionPenalty(-1.0), ValueError, "`penalty` must be above 0"),
    (lambda: RepetitionPenalty(float("nan")), ValueError, "`penalty` must be above 0"),
    (lambda: RepetitionPenalty("much"), TypeError, "`penalty` must be a number"),
    (lambda: NoRepeatNGram(0), ValueError, "`size` must be"),
    (lambda: NoRepeatNGram(2.0), TypeError, "`size` must be"),
    (lambda: BannedSymbols([]), ValueError, "`phrases` must be a list"),
    (lambda: BannedSymbols("AB"), ValueError, "`phrases` must be a list.*encode"),
    (lambda: BannedSymbols(["A"]), TypeError, "`phrases` must be an integer"),
    (lambda: BannedSymbols([[]]), ValueError, "`phrases` must be a list"),
    (lambda: BannedSymbols([-1]), ValueError, "`phrases` must be an integer"),
    (lambda: ForcedSymbols({}), ValueError, "`forced`"),
    (lambda: ForcedSymbols({-1: 0}), ValueError, "`forced`"),
    (lambda: ForcedSymbols({0: "A"}), TypeError, "`forced`"),
    (lambda: ForcedSymbols("AB"), ValueError, "`forced` must be a list"),
    (not_callable, TypeError, "`logits_processor` must be a function"),
    (lambda: follower(logits_processor=RepetitionPenalty), TypeError, "`logits_processor`"),
    (lambda: follower(logits_processor=lambda logits, ids: logits), TypeError, "generated"),
    (
        lambda: follower(logits_processor=BannedSymbols([3])).generate("A", 1),
        ValueError,
        "ids below 3",
    ),
    (
        lambda: follower(logits_processor=ForcedSymbols({5: 3})).generate("A", 1),
        ValueError,
        "ids below 3",
    ),
    (
        lambda: follower(logits_processor=LogitsProcessor()).generate("A", 1),
        NotImplementedError,
        None,
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_processors_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_processors_that_leave_nothing_are_an_error():
    """Every symbol has occurred, so none may come again."""
    generator = follower(logits_processor=NoRepeatNGram(1))
    assert generator.generate("A", 2) == "BC"
    with pytest.raises(ValueError, match=r"At least one symbol must be left.*step 2 of row 0"):
        generator.generate("A", 3)


def test_a_model_that_allows_no_symbol_is_an_error():
    """Also under greedy, which chooses the largest logit."""
    banned = layers.Lambda(lambda x: ops.full((ops.shape(x)[0], 3), -float("inf")), (3,))
    model = keras.Sequential([keras.Input((1, 1)), banned])
    for sampler in "greedy", "random", "beam":
        generator = Generator(
            model,
            SequenceFramer(1, vocabulary=Vocabulary("ABC")),
            sampler=sampler,
            from_logits=True,
        )
        with pytest.raises(ValueError, match=r"all -inf at step 0 of row 0"):
            generator.generate("A", 3)
