"""Writing: a text that is cut, streamed, stopped or batched equals the text by itself."""

import functools
import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import run
from test_generator import deaf
from test_rollout import chain, framer

from seqframe import Generator, SequenceFramer, Vocabulary
from seqframe.samplers import BeamSampler, RandomSampler, TopKSampler, TopPSampler

ABCD = Vocabulary("ABCD")


def windowed(steps, horizon=1, features=1):
    """Return a stateless model that costs little to compile."""
    parts = [layers.Flatten(), layers.Dense(6, "tanh")]
    return chain(*parts, steps=steps, features=features, horizon=horizon)


def stateful(features=1, horizon=1):
    layer = layers.SimpleRNN(3, stateful=True)
    return chain(layer, steps=1, features=features, batch_size=2, horizon=horizon, seed=14)


KINDS = {
    "windows": lambda: (framer(3), windowed(3)),
    "windows, gap, rate": lambda: (framer(2, gap=1, sampling_rate=2), windowed(2)),
    "prefixes": lambda: (framer(6, mode="prefixes", padding_value=-1), windowed(6)),
    "prefixes, padded after, gap": lambda: (
        framer(6, mode="prefixes", padding="post", gap=1),
        windowed(6),
    ),
    "stateful": lambda: (framer(1), stateful()),
    "stateful, features, gap": lambda: (
        framer(3, layout="features", gap=1),
        stateful(features=3),
    ),
    "stateful, padded features": lambda: (
        framer(3, layout="features", mode="prefixes"),
        stateful(features=3),
    ),
    "blocks": lambda: (framer(3, horizon=3), windowed(3, horizon=3)),
    "stateful, blocks, gap": lambda: (framer(1, horizon=3, gap=1), stateful(horizon=3)),
}
# Long enough for each of them, and longer than a window.
PROMPTS = ["ABCDB", "DACDAABC"]


RANDOM = RandomSampler(3.0)  # hot, so that texts vary


@functools.cache
def model_of(kind):
    return KINDS[kind]()


@functools.cache
def generator_of(kind, sampler="greedy", seed=5):
    rule, model = model_of(kind)
    return Generator(model, rule, sampler=sampler, seed=seed)


def cut(kind, *parts):
    """Return where to cut 24 steps; blocks are cut at their borders."""
    return [3 * part for part in parts] if "blocks" in kind else [3 * part - 1 for part in parts]


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_generation_equal_the_whole(kind):
    """Random draws, scores and texts continue over any cut."""
    generator = generator_of(kind, RANDOM)
    options = {"num_samples": 2, "return_scores": True}
    whole, scores = generator.generate(PROMPTS, 24, **options)
    assert len(set("".join(itertools.chain(*whole)))) > 2
    borders = cut(kind, 1, 4, 6)

    prompts, state, texts, sums = PROMPTS, None, np.full((2, 2), "", object), np.zeros((2, 2))
    for first, last in itertools.pairwise([0, *borders, 24]):
        text, score, state = generator.generate(
            prompts, last - first, state=state, return_state=True, **options
        )
        texts += np.array(text, object)
        sums += score
        prompts = ["", ""]

    assert texts.tolist() == whole
    np.testing.assert_allclose(sums, scores, rtol=1e-4)
    # A shorter run gives the beginning of a longer one.
    assert generator.generate(PROMPTS, 5, **options)[0] == [
        [text[:5] for text in texts] for texts in whole
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_after_a_state_lengthens_the_earlier_prompt(kind):
    """Also in the middle of a block, where a new one begins."""
    generator = generator_of(kind)
    said, state = generator.generate(PROMPTS, 2, include_prompt=True, return_state=True)
    for more in ["D", "BAC"], ["", "B"]:
        longer = [text + new for text, new in zip(said, more, strict=True)]
        expected, after = generator.generate(longer, 2, include_prompt=True, return_state=True)
        found = generator.generate(more, 2, state=state)
        assert found == [text[-2:] for text in expected]
        assert generator.generate(["", ""], 9, state=after) == generator.generate(expected, 9)
    # The state does not change: it can be used again.
    assert generator.generate(["", ""], 6, state=state) == generator.generate(said, 6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "blocks" not in kind])
def test_a_state_after_a_stop_continues_there(kind):
    """The run went past the stop, to the end of its chunk."""
    generator = generator_of(kind, RANDOM)
    options = {"num_samples": 2, "return_scores": True}
    whole = np.ravel(generator.generate(PROMPTS, 60, **options)[0])
    stop = whole[0][:3]
    texts, _, state = generator.generate(PROMPTS, 50, stop=stop, return_state=True, **options)
    assert np.ravel(texts).tolist() == [text[:50].partition(stop)[0] for text in whole]
    ends = [text.index(stop) + 3 if stop in text[:50] else 50 for text in whole]
    # All rows continue with the draws of the longest row.
    rest, _ = generator.generate(["", ""], 9, state=state, **options)
    for text, end, found in zip(whole, ends, np.ravel(rest), strict=True):
        if end == max(ends):
            assert found == text[end:][:9]


BATCHED = [("stateful", "greedy"), ("stateful", "beam"), ("prefixes", "beam")]


@pytest.mark.parametrize(("kind", "sampler"), BATCHED)
def test_prompts_in_a_batch_give_the_same_as_single_prompts(kind, sampler):
    generator = generator_of(kind, sampler)
    options = {"num_samples": 2, "return_scores": True} if sampler == "beam" else {}
    found = generator.generate(PROMPTS, 20, **options)
    if sampler == "greedy":
        assert found == [generator.generate(prompt, 20) for prompt in PROMPTS]
        return
    assert np.abs(np.subtract(*found[1])).min() > 1e-4
    for prompt, texts, score in zip(PROMPTS, *found, strict=True):
        alone = generator.generate(prompt, 20, **options)
        assert alone[0] == texts
        np.testing.assert_allclose(alone[1], score, rtol=1e-4)


DRAWN = [
    ("stateful", RANDOM),
    ("windows", TopKSampler(3, 3.0)),
    ("windows", TopPSampler(0.9, 3.0)),
    ("prefixes, padded after, gap", RANDOM),
    ("blocks", RANDOM),
]


@pytest.mark.parametrize(("kind", "sampler"), DRAWN)
def test_rows_draw_by_the_seed_and_their_number(kind, sampler):
    """Row `k` does not depend on the rows after it. Programs are made for 1, 2, 4, 6 and 8 rows."""
    generator, prompt = generator_of(kind, sampler), PROMPTS[0]
    texts = generator.generate([prompt] * 7, 15)
    assert len(set(texts)) == 7
    assert generator.generate(prompt, 15) == texts[0]
    for rows in 2, 3, 5:
        assert generator.generate([prompt] * rows, 15) == texts[:rows]
    # Samples take a row each, as prompts do.
    assert generator.generate(prompt, 15, num_samples=3) == texts[:3]
    pairs = generator.generate([prompt] * 3, 15, num_samples=2)
    assert [text for pair in pairs for text in pair] == texts[:6]
    # Another prompt draws the same numbers in the same row.
    assert generator.generate([PROMPTS[1], prompt], 15)[1] == texts[1]
    # Streams and states keep the numbers of rows.
    if "blocks" in kind:
        return
    streamed = zip(*generator.stream([prompt] * 3, 15), strict=True)
    assert ["".join(symbols) for symbols in streamed] == texts[:3]
    first, state = generator.generate([prompt] * 3, 8, return_state=True)
    rest = generator.generate([""] * 3, 7, state=state)
    assert [one + other for one, other in zip(first, rest, strict=True)] == texts[:3]


@pytest.mark.parametrize("kind", ["windows", "blocks", "stateful, blocks, gap", "stateful"])
def test_a_stream_equals_generate(kind):
    generator = generator_of(kind)
    whole = generator.generate(PROMPTS, 60)
    streamed = list(generator.stream(PROMPTS, 60))
    assert ["".join(symbols) for symbols in zip(*streamed, strict=True)] == whole
    stops = [text[k : k + 3] for text, k in zip(whole, (5, 40), strict=True)]
    expected = generator.generate(PROMPTS, 60, stop=stops)
    streamed = list(generator.stream(PROMPTS, 60, stop=stops))
    assert len(streamed) == max(map(len, expected))
    for row, text in enumerate(expected):
        symbols = [step[row] for step in streamed]
        assert symbols == [*text] + [None] * (len(streamed) - len(text))


def test_a_seed_gives_the_same_text_on_every_backend(babbler):
    assert babbler.generate(["A", "A"], 12) == ["ATYUVUYVAQOU", "YGBYVWTSOKLX"]


@pytest.fixture(scope="module")
def babbler():
    """A generator that says anything, so that three letters in a row are seldom said again."""
    vocabulary = Vocabulary("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    rule = SequenceFramer(1, vocabulary=vocabulary)
    return Generator(deaf(np.zeros(26)), rule, sampler="random", seed=8)


def test_stops_of_any_length_anywhere(babbler):
    """The host looks for stops after 32, 96 and 224 steps, and in a stream more often."""
    text = babbler.generate("A", 150)
    for end in 1, 31, 32, 33, 34, 96, 97, 150:
        for length in 1, 3, 40:
            stop = text[max(end - length, 0) : end]
            expected = text[: text.index(stop)]
            assert babbler.generate("A", 150, stop=stop) == expected
            if length == 3:
                assert "".join(babbler.stream("A", 150, stop=stop)) == expected
    for missing in "AAAA", 200 * "B", text + "A":
        assert babbler.generate("A", 150, stop=missing) == text
        assert "".join(babbler.stream("A", 150, stop=missing)) == text
    assert babbler.generate("A", 20, stop=text[18:23]) == text[:20]  # half of it
    # The prompt is not searched.
    assert babbler.generate("A" + text[:2], 150, stop="A" + text[:2] + text[0]) == text


def log_softmax(logits):
    logits = logits.astype("float64")
    return logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))


def log_likelihoods(kind, ids, begin):
    """Return the log-probabilities `(texts, steps, symbols)` of all steps from `begin` on."""
    rule, model = model_of(kind)
    ids = np.atleast_2d(ids).astype("float32")
    if kind == "stateful":
        twin = keras.Sequential(
            [
                keras.Input((None, 1)),
                layers.SimpleRNN(3, return_sequences=True),
                model.layers[-1],
            ]
        )
        twin.layers[0].set_weights(model.layers[0].get_weights())
        return log_softmax(run(twin, ids[..., None]))[:, begin - 1 : -1]
    length = rule.sequence_length
    filling = np.full(
        (len(ids), length if rule.geometry.pads else 0), rule.padding_value, "float32"
    )
    ids = np.concatenate([filling, ids], axis=1)
    begin += filling.shape[1]
    windows = [ids[:, t - length : t, None] for t in range(begin, ids.shape[1])]
    outputs = run(model, np.concatenate(windows))
    return np.moveaxis(log_softmax(outputs).reshape(len(windows), len(ids), -1), 0, 1)


def log_likelihood(kind, prompt, texts):
    """Return the log-probability of each text after the prompt."""
    ids = np.array([ABCD.encode(prompt + text) for text in texts])
    found = log_likelihoods(kind, ids, len(prompt))
    chosen = ids[:, len(prompt) :, None]
    return np.take_along_axis(found, chosen, axis=2)[..., 0].sum(axis=1)


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [("stateful", RANDOM), ("windows", TopKSampler(2)), ("prefixes", "beam")],
)
def test_scores_are_the_models_log_probabilities(kind, sampler):
    """The sampler does not change them."""
    generator = generator_of(kind, sampler)
    options = {"num_samples": 2, "return_scores": True}
    found = generator.generate(PROMPTS, 20, **options)
    for prompt, texts, scores in zip(PROMPTS, *found, strict=True):
        np.testing.assert_allclose(scores, log_likelihood(kind, prompt, texts), rtol=1e-4)
    if sampler == "beam":
        return
    # The score includes the stop.
    stopped, shorter = generator.generate(PROMPTS, 20, stop="D", **options)
    for prompt, wholes, texts, scores in zip(PROMPTS, found[0], stopped, shorter, strict=True):
        for whole, text, score in zip(wholes, texts, scores, strict=True):
            assert text == whole.partition("D")[0]
            said = whole[: len(text) + 1]
            np.testing.assert_allclose(score, log_likelihood(kind, prompt, [said])[0], rtol=1e-4)


def best_sequences(kind, prompt, steps, stops=()):
    """Return all texts of so many steps that end at a stop, the likeliest first."""
    found, alive = [], [""]
    for _ in range(steps):
        grown = [text + symbol for text in alive for symbol in "ABCD"]
        ended = [text for text in grown if text.endswith(tuple(stops))]
        alive = [text for text in grown if text not in ended]
        found += [(score, t) for t in ended for score in log_likelihood(kind, prompt, [t])]
    found += zip(log_likelihood(kind, prompt, alive), alive, strict=True)
    return sorted(found, reverse=True)


@pytest.mark.parametrize("kind", ["windows", "stateful"])
def test_enough_beams_find_the_best_of_all_sequences(kind):
    generator = generator_of(kind, BeamSampler(64))
    texts, scores = generator.generate(PROMPTS[0], 3, num_samples=64, return_scores=True)
    expected = best_sequences(kind, PROMPTS[0], 3)
    assert texts[:20] == [text for _, text in expected[:20]]
    assert sorted(texts) == sorted(text for _, text in expected)
    np.testing.assert_allclose(scores, [score for score, _ in expected], rtol=1e-4)

    # Sequences that end sooner compete with those that continue.
    stops = ["BA", "C"]
    expected = best_sequences(kind, PROMPTS[0], 3, stops)
    found, scores = generator.generate(PROMPTS[0], 3, num_samples=9, return_scores=True, stop=stops)
    np.testing.assert_allclose(scores, [score for score, _ in expected[:9]], rtol=1e-4)
    shown = [text.removesuffix("BA").removesuffix("C") for _, text in expected[:9]]
    assert found == shown


def beam_search(kind, prompt, steps, num_beams):
    """Return the texts of a textbook beam search."""
    beams = [""]
    for _ in range(steps):
        grown = [text + symbol for text in beams for symbol in "ABCD"]
        order = np.argsort(-log_likelihood(kind, prompt, grown), kind="stable")[:num_beams]
        beams = [grown[k] for k in order]
    return beams


@pytest.mark.parametrize("kind", ["prefixes", "stateful"])
def test_beams_equal_a_textbook_beam_search(kind):
    found = generator_of(kind, "beam").generate(PROMPTS, 8, num_samples=2)
    assert found == [beam_search(kind, prompt, 8, 5)[:2] for prompt in PROMPTS]


def told(logits, generated, step):
    """Force the id that follows from the sum and number of the generated ids."""
    known = ops.cast(generated >= 0, "int32")
    total = ops.sum(generated * known, axis=1)
    forced = (2 * total + ops.sum(known, axis=1) + ops.cast(step, "int32")) % 4
    return ops.where(ops.arange(4)[None] == forced[:, None], logits, -float("inf"))


@pytest.mark.parametrize("sampler", ["random", "beam"])
@pytest.mark.parametrize("kind", ["prefixes, padded after, gap", "stateful"])
def test_a_processor_sees_the_generated_ids(kind, sampler):
    rule, model = model_of(kind)
    generator = Generator(model, rule, sampler=sampler, logits_processor=told, seed=1)
    ids = []
    for step in range(30):
        ids.append((2 * sum(ids) + 2 * step) % 4)
    # The prompt is no part of it, and neither is how long that is.
    assert generator.generate(PROMPTS, 30) == [ABCD.decode(ids)] * 2


class NanAfterC(layers.Layer):
    """Logits that favour C, after which they are NaN."""

    def call(self, inputs):
        last = ops.reshape(inputs, (-1, 1))
        return ops.where(last == 2, float("nan"), ops.convert_to_tensor([1.0, 0.9, 1.1, 0.0]))


@pytest.mark.xla
@pytest.mark.parametrize("sampler", ["greedy", "random", BeamSampler(2)])
@pytest.mark.parametrize("feedback", [None, lambda ids, last: ids % 4])
def test_nan_is_an_error(sampler, feedback):
    """A beam with NaN is not dropped as if it were unlikely, nor does `feedback` hide it."""
    model = keras.Sequential([keras.Input((1, 1)), NanAfterC()])
    framer = SequenceFramer(1, vocabulary=ABCD)
    options = {"feedback": feedback, "from_logits": True, "seed": 3}
    generator = Generator(model, framer, sampler=sampler, **options)
    for options in {}, {"stop": "BBB"}:
        with pytest.raises(ValueError, match=r"NaN at step \d+ of row"):
            generator.generate(["A", "A"], 60, **options)
    if isinstance(sampler, BeamSampler):
        # NaN after the end of a beam is ignored.
        assert generator.generate("A", 2, stop="C") == ""
    else:
        with pytest.raises(ValueError, match=r"NaN at step"):
            list(generator.stream("A", 60))


def after(step, change):
    """Return a processor that changes the logits from a step on."""
    return lambda logits, generated, now: ops.where(now >= step, change(logits), logits)


def banned(logits):
    return ops.full_like(logits, -float("inf"))


FAULTY = {
    "the processor returns NaN": (
        {"logits_processor": after(3, lambda logits: logits * float("nan"))},
        "`logits_processor`.*NaN at step 3 of row 0",
    ),
    "the processor bans every symbol": (
        {"logits_processor": after(3, banned)},
        "all -inf at step 3 of row 0",
    ),
    "the sampler returns no id": (
        {"sampler": lambda logits, seed: ops.argmax(logits, axis=-1) + 4},
        "`sampler`.*at step 0",
    ),
    "the sampler returns a negative id": (
        {"sampler": lambda logits, seed: ops.argmax(logits, axis=-1) - 4},
        "`sampler`.*at step 0",
    ),
    "the feedback returns no id": (
        {"feedback": lambda ids, last: 0 * last + ids + 4},
        "`feedback`.*at step 0",
    ),
    "logits are taken for probabilities": ({"from_logits": False}, "from_logits=True"),
}


@pytest.mark.parametrize("sampler", ["greedy", RANDOM, BeamSampler(2)])
@pytest.mark.parametrize("case", FAULTY)
def test_a_step_without_a_symbol_is_an_error(case, sampler):
    options, message = FAULTY[case]
    rule, model = model_of("windows")
    if case == "logits are taken for probabilities" and sampler == "greedy":
        sampler = TopKSampler(1)  # the likeliest is the same for both
    generator = Generator(model, rule, **{"sampler": sampler, "seed": 1, **options})
    with pytest.raises(ValueError, match=message):
        generator.generate(PROMPTS, 6)


def test_a_beam_without_a_symbol_left_is_dropped():
    """After B nothing may come. So only texts without B are left, or those that end with it."""

    def not_after_b(logits, generated, step):
        last = ops.max(ops.where(ops.arange(generated.shape[1]) == step - 1, generated, -1), axis=1)
        return ops.where(last[:, None] == 1, -float("inf"), logits)

    rule, model = model_of("windows")
    beams = BeamSampler(64)
    generator = Generator(model, rule, sampler=beams, logits_processor=not_after_b)
    found = generator.generate(PROMPTS[0], 3, num_samples=9)
    every = Generator(model, rule, sampler=beams).generate(PROMPTS[0], 3, num_samples=64)
    # Dead ends are not made up for: the others keep their order.
    assert found == [text for text in every if "B" not in text[:2]][:9]


def test_beams_give_no_more_texts_than_there_are():
    generator = generator_of("windows", BeamSampler(6))
    assert sorted(generator.generate(PROMPTS[0], 1, num_samples=4)) == list("ABCD")
    with pytest.raises(ValueError, match=r"`num_samples`.*num_samples=5 for prompt 0, which has 4"):
        generator.generate(PROMPTS, 1, num_samples=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": lambda logits, seed: logits}, r"`sampler` must return .*shape \(2,\)"),
        ({"sampler": lambda logits, seed: logits[:, 0]}, "`sampler` must return ids.*float32"),
        (
            {"logits_processor": lambda logits, generated, step: logits[:, :1]},
            r"`logits_processor` must return .*shape \(2, 4\)",
        ),
    ],
)
def test_functions_return_what_they_must(options, message):
    rule, model = model_of("windows")
    with pytest.raises((TypeError, ValueError), match=message):
        Generator(model, rule, **{"sampler": "random", **options}).generate(PROMPTS, 6)


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [("windows", "greedy"), ("windows", BeamSampler(3)), ("blocks", "greedy")],
)
def test_feedback_of_symbols(kind, sampler):
    """Here the model predicts by how much the next id differs from the last."""
    rule, model = model_of(kind)

    def feedback(ids, last):
        return (last + ids) % 4

    generator = Generator(model, rule, sampler=sampler, feedback=feedback)
    num_beams = sampler.num_beams if sampler != "greedy" else 1
    beams = [(0.0, ABCD.encode(PROMPTS[0]).tolist())]
    for _ in range(12 // rule.horizon):
        grown = []
        for total, ids in beams:
            x = np.array(ids[-3:], "float32").reshape(1, 3, 1)
            found = log_softmax(run(model, x)[0]).reshape(rule.horizon, 4)
            for changes in (
                np.arange(4)[:, None] if rule.horizon == 1 else found.argmax(axis=-1)[None]
            ):
                score = sum(row[change] for row, change in zip(found, changes, strict=True))
                grown.append((total + score, [*ids, *(ids[-1] + np.cumsum(changes)) % 4]))
        beams = sorted(grown, key=lambda beam: -beam[0])[:num_beams]
    assert generator.generate(PROMPTS[0], 12) == ABCD.decode(beams[0][1][-12:])


def test_a_progress_bar_counts_the_symbols(capsys):
    text = generator_of("stateful").generate(PROMPTS, 60)
    assert not capsys.readouterr().out
    assert generator_of("stateful").generate(PROMPTS, 60, verbose=1) == text
    out = capsys.readouterr().out
    assert "60/60" in out
    assert "32/60" in out  # on the way
    generator_of("stateful").generate(PROMPTS, 60, verbose=1, stop=list("ABCD"))
    assert "60/60" in capsys.readouterr().out  # it is over, though it stopped


def state_of(rows):
    generator = generator_of("stateful")
    return generator.generate(PROMPTS[:rows], 2, return_state=True)[1]


def test_states_fit_prompts_samples_and_generators():
    beams, plain = generator_of("stateful", "beam"), generator_of("stateful")
    for prompt, options in ("", {}), (["", "", ""], {}), (["", ""], {"num_samples": 2}):
        with pytest.raises(ValueError, match="`state` must"):
            plain.generate(prompt, 3, state=state_of(2), **options)
    with pytest.raises(ValueError, match="`state` must"):
        generator_of("windows").generate(["", ""], 3, state=state_of(2))
    for options in {"state": state_of(2)}, {"return_state": True}, {"num_samples": 6}:
        with pytest.raises(ValueError, match="num_beams"):
            beams.generate(PROMPTS, 3, **options)


def test_streams_check_their_arguments_at_the_call():
    for generator, prompt, steps, stop, message in (
        (generator_of("stateful", "beam"), "A", 3, None, "Beams"),
        (generator_of("stateful"), "X", 3, None, "Unknown symbol"),
        (generator_of("stateful"), "A", 0, None, "steps"),
        (generator_of("stateful"), "A", 3, "", "stop"),
        (generator_of("windows"), ["A", "B", "C"], 3, None, "several prompts.*A.*B.*C"),
    ):
        with pytest.raises(ValueError, match=message):
            generator.stream(prompt, steps, stop=stop)
