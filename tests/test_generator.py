"""Generator: results have the type of the prompt, and wrong arguments are refused."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers, recurrent, run, seeded, user_warnings
from test_samplers import CHI_SQUARE, chi_square, softmax

from seqframe import Generator, SequenceFramer, Vocabulary, fit
from seqframe.samplers import RandomSampler

ABC = Vocabulary("ABC")
NEXT = {"A": "B", "B": "C", "C": "A"}


class Follow(layers.Layer):
    """Logits of the id after the last one, around and around, after ids that count from `first`."""

    def __init__(self, first=0, count=3):
        super().__init__()
        self.first, self.count = first, count

    def call(self, inputs):
        last = ops.cast(ops.reshape(inputs, (ops.shape(inputs)[0], -1))[:, -1], "int32")
        following = (last - self.first + 1) % self.count + self.first
        return ops.one_hot(following, self.first + self.count)


def follower(vocabulary=ABC, **kwargs):
    """Return a generator that counts through the ids of a vocabulary."""
    first = int(vocabulary.reserve_padding)
    model = keras.Sequential([keras.Input((1, 1)), Follow(first, len(vocabulary.symbols))])
    return Generator(model, SequenceFramer(1, vocabulary=vocabulary), **kwargs)


def deaf(logits, activation=None):
    """Return a model that gives the same logits for every input."""
    model = keras.Sequential([keras.Input((1, 1)), layers.Dense(len(logits), activation)])
    model.set_weights([np.zeros((1, len(logits))), logits])
    return model


@pytest.fixture(scope="module")
def abc():
    return follower()


IDS = np.array([0, 1])
WORDS = Vocabulary(["the", "cat", "sat"])
NOTES = Vocabulary([60, 64, 67])
CHORDS = Vocabulary([(60, 64), (62, 65), (64, 67)])
# Vocabulary, prompt, four steps after it.
KINDS = [
    (ABC, "AB", "CABC"),
    (ABC, ["AB"], ["CABC"]),
    (ABC, ["AB", "C"], ["CABC", "ABCA"]),
    (ABC, ("AB", "C"), ["CABC", "ABCA"]),
    (ABC, IDS, np.array([2, 0, 1, 2])),
    (ABC, IDS.astype("uint8"), np.array([2, 0, 1, 2])),
    (ABC, [0, 1], [2, 0, 1, 2]),
    (ABC, [[0, 1], [2]], [[2, 0, 1, 2], [0, 1, 2, 0]]),
    (ABC, [IDS, "C", [2]], [np.array([2, 0, 1, 2]), "ABCA", [0, 1, 2, 0]]),
    (WORDS, ["the", "cat"], ["sat", "the", "cat", "sat"]),
    (
        WORDS,
        [["the", "cat"], ["sat"]],
        [["sat", "the", "cat", "sat"], ["the", "cat", "sat", "the"]],
    ),
    (WORDS, IDS, np.array([2, 0, 1, 2])),
    (NOTES, [60, 64], [67, 60, 64, 67]),
    (NOTES, [[60, 64], [67]], [[67, 60, 64, 67], [60, 64, 67, 60]]),
    (NOTES, IDS, np.array([2, 0, 1, 2])),  # ids, as of any vocabulary
    (CHORDS, [(60, 64), (62, 65)], [(64, 67), (60, 64), (62, 65), (64, 67)]),
    (Vocabulary("ABC", reserve_padding=True), "AB", "CABC"),
    (Vocabulary("ABC", reserve_padding=True), np.array([1, 2]), np.array([3, 1, 2, 3])),
]


def assert_alike(found, expected):
    """Assert that two results are equal and of the same types."""
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype.kind == "i"
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize(("vocabulary", "prompt", "expected"), KINDS)
def test_results_have_the_type_of_the_prompt(vocabulary, prompt, expected):
    assert_alike(follower(vocabulary).generate(prompt, 4), expected)


@pytest.mark.parametrize(
    ("prompt", "num_samples", "expected"),
    [
        ("AB", 1, "ABCA"),
        ("AB", 2, ["ABCA", "ABCA"]),
        (["AB", "C"], 1, ["ABCA", "CAB"]),
        (["AB", "C"], 2, [["ABCA", "ABCA"], ["CAB", "CAB"]]),
        (["AB"], 2, [["ABCA", "ABCA"]]),
        ([0, 1], 2, [[0, 1, 2, 0]] * 2),
        (IDS, 1, np.array([0, 1, 2, 0])),
    ],
)
def test_samples_with_the_prompt(abc, prompt, num_samples, expected):
    found = abc.generate(prompt, 2, num_samples=num_samples, include_prompt=True)
    assert_alike(found, expected)


LOGITS = np.array([0.0, 1.0, -1.0, 0.5], "float32")
FOUR = SequenceFramer(1, vocabulary=Vocabulary("ABCD"))


@pytest.mark.parametrize(
    ("activation", "temperature"),
    [(None, 1.0), (None, 0.5), ("softmax", 1.0), ("softmax", 2.0)],
)
def test_random_symbols_follow_the_models_probabilities(activation, temperature):
    sampler = RandomSampler(temperature)
    generator = Generator(deaf(LOGITS, activation), FOUR, sampler=sampler, seed=11)
    # Few steps, for PyTorch makes each by itself.
    ids = np.array(generator.generate(np.array([0]), 30, num_samples=500))
    expected = softmax(LOGITS / temperature)
    assert chi_square(ids.ravel(), expected) < CHI_SQUARE[3]
    # Neither rows nor steps draw the same numbers.
    pairs = np.outer(expected, expected).ravel()
    assert chi_square((4 * ids[::2] + ids[1::2]).ravel(), pairs) < CHI_SQUARE[15]
    assert chi_square((4 * ids[:, ::2] + ids[:, 1::2]).ravel(), pairs) < CHI_SQUARE[15]


def test_from_logits_can_be_passed():
    """The same output, taken for the one and for the other."""
    probabilities = softmax(4 * LOGITS)
    for from_logits, expected in (True, softmax(probabilities)), (False, probabilities):
        generator = Generator(
            deaf(probabilities), FOUR, sampler="random", from_logits=from_logits, seed=3
        )
        ids = np.array(generator.generate(np.array([0]), 8, num_samples=500))
        assert chi_square(ids.ravel(), expected) < CHI_SQUARE[3]


def test_the_same_seed_draws_the_same():
    model = deaf(LOGITS)
    one, same, other, fresh = (
        Generator(model, FOUR, sampler="random", seed=seed) for seed in (0, 0, 1, None)
    )
    text = one.generate("A", 100)
    assert one.generate("A", 100) == same.generate("A", 100) == text
    assert other.generate("A", 100) != text
    assert fresh.generate("A", 100) != fresh.generate("A", 100)
    # Whatever room there is for steps, and however long the prompt.
    for steps in 1, 5, 64, 65:
        assert one.generate("A", steps) == text[:steps]
        assert one.generate(20 * "AB", steps) == text[:steps]


def test_a_framer_can_be_left_out():
    ids = np.array([2, 0, 1, 1, 2])
    stateless = recurrent(steps=3, outputs=3)
    stateful = recurrent(steps=3, outputs=3, batch_size=2)
    embedded = seeded(
        keras.Sequential(
            [keras.Input((3,)), layers.Embedding(3, 2), layers.Flatten(), layers.Dense(3)]
        )
    )
    for model, framer in (
        (stateless, SequenceFramer(3)),
        (stateful, SequenceFramer(1)),
        (embedded, SequenceFramer(3, layout="tokens")),
    ):
        generator = Generator(model)
        assert generator.framer == framer
        np.testing.assert_array_equal(
            generator.generate(ids, 9), Generator(model, framer).generate(ids, 9)
        )
    with pytest.raises(ValueError, match="at least 3 steps"):
        Generator(stateless).generate(ids[:2], 1)


@pytest.mark.parametrize("layout", ["timesteps", "tokens"])
@pytest.mark.parametrize("padding", ["pre", "post"])
def test_a_reserved_id_is_padding_to_the_model(layout, padding):
    """Masked steps have no effect: a short prompt equals one of the model's length."""
    vocabulary = Vocabulary("ABC", reserve_padding=True)
    masking = (
        [keras.Input((None,)), layers.Embedding(4, 2, mask_zero=True)]
        if layout == "tokens"
        else [keras.Input((None, 1)), layers.Masking(0)]
    )
    model = seeded(keras.Sequential([*masking, layers.GRU(3), layers.Dense(4)]), scale=2, seed=6)
    framer = SequenceFramer(
        9, mode="prefixes", layout=layout, padding=padding, vocabulary=vocabulary
    )
    only = lambda logits, seed: 1 + ops.argmax(logits[:, 1:], axis=-1)  # noqa: E731
    known = list(vocabulary.encode("CAB"))
    for _ in range(6):
        x = np.array(known, "float32").reshape((1, -1, 1) if layout == "timesteps" else (1, -1))
        known.append(1 + int(np.argmax(run(model, x)[0, 1:])))

    found = Generator(model, framer, sampler=only).generate(["CAB", "BA"], 6)

    assert found[0] == vocabulary.decode(known[3:])


def model_of(steps=1, outputs=3, **kwargs):
    return recurrent(steps=steps, outputs=outputs, **kwargs)


def subclass():
    model = type("Own", (keras.Model,), {"call": lambda self, x: x})()
    model(np.zeros((1, 2, 1)))
    return model


def futures(horizon, *names):
    inputs = [keras.Input((2, 1), name=name) for name in names or ("past", "future")]
    return Generator(keras.Model(inputs, layers.Add()(inputs)), SequenceFramer(2, horizon=horizon))


def stepped(*stack, framer=None):
    parts = [keras.Input((2, 1), batch_size=1), *stack, layers.Dense(1)]
    return Generator(keras.Sequential(parts), framer or SequenceFramer(2))


def embedded():
    parts = [keras.Input((1,)), layers.Embedding(2, 3), layers.Flatten()]
    return Generator(keras.Sequential(parts), SequenceFramer(1, layout="tokens", vocabulary=ABC))


RNN = {"stateful": True}
FLAT = {"layout": "features", "sequence_stride": 3}
REFUSED = [
    ("model", lambda: Generator(layers.LSTM(2))),
    ("model.*str", lambda: Generator("model.keras")),
    ("built", lambda: Generator(keras.Sequential([layers.LSTM(2)]))),
    ("gap=-1", lambda: Generator(model_of(), SequenceFramer(1, gap=-1))),
    ("sampler", lambda: Generator(model_of(), sampler="best")),
    ("feedback", lambda: Generator(model_of(), feedback=3)),
    ("logits_processor", lambda: Generator(model_of(), logits_processor="ban")),
    # A framer that does not fit, or cannot be guessed.
    ("framer", lambda: Generator(model_of(), 3)),
    ("framer", lambda: Generator(model_of(5), SequenceFramer(3))),
    ("framer", lambda: Generator(model_of(None))),
    ("framer", lambda: Generator(subclass())),
    ("framer", lambda: Generator(model_of(3, return_sequences=True))),
    ("framer", lambda: Generator(model_of(3, batch_size=2, return_sequences=True))),
    ("3 ids", embedded),
    ("horizon=2", lambda: Generator(model_of(2, 6), SequenceFramer(2, horizon=2), sampler="beam")),
    (
        "3 outputs|horizon=2",
        lambda: Generator(model_of(2), SequenceFramer(2, horizon=2)).generate(IDS, 4),
    ),
    # Forecasts need a model of every column.
    ("every feature", lambda: Generator(model_of(2, 1, features=2)).forecast(numbers(5, 2), 2)),
    ("every feature", lambda: Generator(model_of(2, 2)).forecast(numbers(5), 2)),
    # A future that no frame has.
    ("framer", lambda: Generator(futures(2).model)),
    ('"past" and "future"', lambda: futures(2, "past", "ahead")),
    ("horizon=1", lambda: futures(1)),
    ("forecast", lambda: futures(2).generate([0, 0], 1)),
    # Stateful models whose steps are not shown one by one.
    ("stateful=False", lambda: Generator(model_of(batch_size=2), stateful=False)),
    ("rate=2", lambda: stepped(layers.LSTM(2, **RNN), framer=SequenceFramer(2, sampling_rate=2))),
    ("stride=3", lambda: stepped(layers.LSTM(2, **RNN), framer=SequenceFramer(1, **FLAT))),
    ("backwards", lambda: stepped(layers.Bidirectional(layers.SimpleRNN(2, **RNN)))),
    (
        "2 steps at once",
        lambda: stepped(layers.LSTM(2, return_sequences=True, **RNN), layers.SimpleRNN(2)),
    ),
]


@pytest.mark.parametrize(("message", "make"), REFUSED)
def test_generators_refuse_models_and_framers_that_do_not_fit(message, make):
    with pytest.raises((TypeError, ValueError), match=f"(?s){message}"):
        make()


ABC1, ABC3 = SequenceFramer(1, vocabulary=ABC), SequenceFramer(3, vocabulary=ABC)
GAP = SequenceFramer(3, vocabulary=ABC, gap=2)
THINNED = SequenceFramer(3, vocabulary=ABC, sampling_rate=2)
PADDED = SequenceFramer(3, vocabulary=ABC, mode="prefixes", gap=1)
WRONG_PROMPTS = [
    (ABC1, "", "empty"),
    (ABC1, [], "empty"),
    (ABC1, ["A", ""], "empty"),
    (ABC3, "AB", "at least 3 steps.*min_length"),
    (ABC3, ["ABC", "AB"], "2 steps"),
    (THINNED, "ABCA", "at least 5 steps"),
    (GAP, "ABCA", "at least 5 steps"),
    (PADDED, "A", "at least 2 steps"),  # else the model sees only padding
    (ABC1, "ABX", "'X' at position 2"),
    (ABC1, ["A", "XA"], "'X' at position 0"),
    (ABC1, np.array([0, 3]), "3"),  # an id out of range
    (ABC1, np.array([-1]), "-1"),
    (ABC1, [0.5, 1.0], "array of ids.*`forecast`"),
    (ABC1, np.zeros((2, 2), int), r"shape \(2, 2\)"),
    (SequenceFramer(1), "AB", "`vocabulary`"),
    (SequenceFramer(1), [1, 2, 3], "in 0 … 2.*`forecast`"),
]


@pytest.mark.parametrize(("framer", "prompt", "message"), WRONG_PROMPTS)
def test_wrong_prompts_are_refused(framer, prompt, message):
    generator = Generator(model_of(framer.sequence_length), framer)
    with pytest.raises(ValueError, match=message):
        generator.generate(prompt, 2)


def test_prompts_shorter_than_any_input_are_told_once():
    framer = SequenceFramer(3, vocabulary=ABC, mode="prefixes", min_length=2, gap=1)
    generator = Generator(model_of(3), framer)
    short = "fewer than 3 steps.*2 of 3, `prompt.0.` with 2 steps"
    for write in (generator.generate, lambda *given: list(generator.stream(*given))):
        with pytest.warns(UserWarning, match=short) as told:
            write(["AB", "BC", "ABC"], 2)
        assert len(user_warnings(told)) == 1
    with warnings.catch_warnings(action="error", category=UserWarning):
        _, state = generator.generate("ABC", 2, return_state=True)
        generator.generate("", 2, state=state)


def test_many_models_raise_no_warning_of_retracing(caplog):
    """TensorFlow warns of a function that is traced too often. Each model needs its own program."""
    for _ in range(8):
        assert follower().generate("A", 4) == "BCAB"
        model = seeded(keras.Sequential([keras.Input((1, 1)), layers.Flatten(), layers.Dense(3)]))
        model.compile("sgd", "mse")
        frames = SequenceFramer(1).frame(numbers(9), numbers(9, 3))
        fit(model, frames, batch_size=3, verbose=0)
    assert [record for record in caplog.records if "retracing" in record.getMessage()] == []
