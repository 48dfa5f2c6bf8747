"""Samplers: draws follow the probabilities they are given."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers

from seqframe import Generator, SequenceFramer, Vocabulary
from seqframe.samplers import (
    BeamSampler,
    GreedySampler,
    HubSampler,
    RandomSampler,
    Sampler,
    TopKSampler,
    TopPSampler,
    get_sampler,
)

# Chi-square, 99.99% points by degrees of freedom: a right sampler fails at one seed in 10,000.
CHI_SQUARE = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 15: 44.26}


def chi_square(ids, probabilities):
    """Return how far the frequencies of `ids` are from the expected frequencies."""
    expected = len(ids) * probabilities
    found = np.bincount(ids, minlength=len(probabilities))
    return float(np.sum((found - expected) ** 2 / expected))


def draw(sampler, logits, seed=3):
    """Return the ids that a sampler draws."""
    found = sampler(ops.convert_to_tensor(logits), keras.random.SeedGenerator(seed))
    return ops.convert_to_numpy(found)


def assert_drawn_as(ids, expected):
    """Assert that ids are drawn from a distribution, and none has probability 0."""
    possible = np.flatnonzero(expected)
    assert set(ids.tolist()) <= set(possible.tolist())
    if len(possible) > 1:
        ranks = np.searchsorted(possible, ids)
        assert chi_square(ranks, expected[possible]) < CHI_SQUARE[len(possible) - 1]


def softmax(logits):
    weights = np.exp(logits - np.max(logits))
    return weights / weights.sum()


LOGITS = np.array([0.0, 1.0, -1.0, 0.5, 0.2], "float32")
TIED = np.array([1.0, 0.0, 1.0, 0.0, -1.0], "float32")
BANNED = np.array([0.0, -np.inf, 1.0, -np.inf, -np.inf], "float32")


def renormalized(logits, kept, temperature):
    """Return the softmax of the logits that are kept, and 0 for the others."""
    weights = np.where(kept, np.exp(logits / temperature), 0)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("sampler", "logits", "kept"),
    [
        (TopKSampler(1), LOGITS, [0, 1, 0, 0, 0]),
        (TopKSampler(2), LOGITS, [0, 1, 0, 1, 0]),
        (TopKSampler(3, temperature=0.5), LOGITS, [0, 1, 0, 1, 1]),
        (TopKSampler(5), LOGITS, [1, 1, 1, 1, 1]),
        (TopKSampler(99, temperature=2), LOGITS, [1, 1, 1, 1, 1]),  # more than there are
        (TopKSampler(1), TIED, [1, 0, 1, 0, 0]),  # ties take part, all of them
        (TopKSampler(3), TIED, [1, 1, 1, 1, 0]),
        (TopKSampler(4), BANNED, [1, 0, 1, 0, 0]),  # more than are allowed
        # Probabilities are .41, .25, .19, .15 and .06 (the last .05), in the order of likelihood.
        (TopPSampler(0.01), LOGITS, [0, 1, 0, 0, 0]),  # never none
        (TopPSampler(0.39), LOGITS, [0, 1, 0, 0, 0]),
        (TopPSampler(0.5), LOGITS, [0, 1, 0, 1, 0]),
        (TopPSampler(0.75), LOGITS, [0, 1, 0, 1, 1]),
        (TopPSampler(0.9), LOGITS, [1, 1, 0, 1, 1]),
        (TopPSampler(0.999), LOGITS, [1, 1, 1, 1, 1]),
        (
            TopPSampler(0.5, temperature=0.2),
            LOGITS,
            [0, 1, 0, 0, 0],
        ),  # p is a probability at this temperature
        (TopPSampler(0.5, temperature=100), LOGITS, [0, 1, 0, 1, 1]),
        (TopPSampler(0.3), TIED, [1, 0, 1, 0, 0]),
        (TopPSampler(0.8), TIED, [1, 1, 1, 1, 0]),
        (TopPSampler(1), BANNED, [1, 0, 1, 0, 0]),
    ],
)
def test_draws_follow_the_renormalized_distribution(sampler, logits, kept):
    ids = draw(sampler, np.broadcast_to(logits, (10_000, 5)))
    assert_drawn_as(ids, renormalized(logits, kept, sampler.temperature))


@pytest.mark.parametrize("sampler", [TopPSampler(1.0), TopKSampler(300)])
def test_a_sampler_that_keeps_all_is_the_random_sampler(sampler):
    # So many and so unequal symbols that their probabilities, summed up, are rounded.
    logits = 10 * numbers(400, 300)
    np.testing.assert_array_equal(draw(sampler, logits), draw(RandomSampler(), logits))
    kept = ops.convert_to_numpy(sampler.narrow(ops.convert_to_tensor(logits)))
    np.testing.assert_array_equal(kept, logits)


@pytest.mark.parametrize("sampler", [RandomSampler(), TopKSampler(3), TopPSampler(0.8)])
def test_prompts_draw_the_same_and_their_samples_do_not(sampler):
    logits = np.broadcast_to(LOGITS, (3, 2_000, 5))
    ids = draw(sampler, logits)
    assert ids.shape == (3, 2_000)
    np.testing.assert_array_equal(ids[0], ids[1])
    np.testing.assert_array_equal(ids[0], ids[2])
    kept = np.isfinite(ops.convert_to_numpy(sampler.narrow(ops.convert_to_tensor(LOGITS[None]))))[0]
    assert_drawn_as(ids[0], renormalized(LOGITS, kept, 1))
    alone = draw(sampler, logits[:1])
    np.testing.assert_array_equal(alone[0], ids[0])


WRONG_NUMBERS = [
    (RandomSampler, {"temperature": "hot"}, TypeError),
    (RandomSampler, {"temperature": True}, TypeError),
    (RandomSampler, {"temperature": 0}, ValueError),
    (RandomSampler, {"temperature": float("nan")}, ValueError),
    (TopKSampler, {"k": 0}, ValueError),
    (TopKSampler, {"k": 2.0}, TypeError),
    (TopKSampler, {"temperature": -1}, ValueError),
    (TopPSampler, {"p": 0}, ValueError),
    (TopPSampler, {"p": 1.01}, ValueError),
    (TopPSampler, {"p": float("nan")}, ValueError),
    (TopPSampler, {"p": "most"}, TypeError),
    (TopPSampler, {"temperature": -1}, ValueError),
    (BeamSampler, {"num_beams": 0}, ValueError),
    (BeamSampler, {"num_beams": "all"}, TypeError),
]


@pytest.mark.parametrize(("kind", "values", "error"), WRONG_NUMBERS)
def test_numbers_out_of_range_are_refused(kind, values, error):
    (name,) = values
    with pytest.raises(error, match=f"`{name}` must be"):
        kind(**values)


ALL = [
    GreedySampler(),
    RandomSampler(0.5),
    TopKSampler(3, 0.5),
    TopPSampler(0.5, 2),
    BeamSampler(4),
]


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_a_sampler_equals_its_configuration(sampler):
    same = type(sampler).from_config(sampler.get_config())
    assert same == sampler
    assert hash(same) == hash(sampler)
    assert repr(same) == repr(sampler)
    assert [other for other in ALL if other == sampler] == [sampler]
    assert keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(sampler)
    ) == sampler  # fmt: skip


def test_an_own_sampler_narrows():
    class Rarest(Sampler):
        def narrow(self, logits):
            least = ops.min(logits, axis=-1, keepdims=True)
            return ops.where(logits == least, logits, -float("inf"))

    assert get_sampler(Rarest()) == Rarest()
    assert set(draw(Rarest(), np.broadcast_to(LOGITS, (50, 5)))) == {2}


class FromElsewhere:
    """What a sampler of keras-hub looks like."""

    seed_generator = keras.random.SeedGenerator(0)

    def compute_probabilities(self, logits):
        return ops.softmax(logits)

    def get_next_token(self, probabilities):
        logits = ops.log(probabilities)
        return keras.random.categorical(logits, 1, seed=self.seed_generator)[:, 0]


def test_a_sampler_of_another_library_draws_by_our_seed():
    theirs = FromElsewhere()
    own, before = theirs.seed_generator, ops.convert_to_numpy(theirs.seed_generator.state).copy()
    sampler = get_sampler(theirs)
    assert isinstance(sampler, HubSampler)
    assert repr(sampler) == "HubSampler(FromElsewhere)"
    assert sampler == get_sampler(theirs) != get_sampler(FromElsewhere())
    ids = draw(sampler, np.broadcast_to(LOGITS, (10_000, 5)))
    assert_drawn_as(ids, softmax(LOGITS))
    np.testing.assert_array_equal(draw(sampler, np.broadcast_to(LOGITS, (10_000, 5))), ids)
    assert theirs.seed_generator is own
    np.testing.assert_array_equal(ops.convert_to_numpy(own.state), before)
    theirs.num_beams = 3
    with pytest.raises(ValueError, match=r'.*Use "beam"'):
        get_sampler(theirs)


def test_samplers_by_name_and_as_objects():
    assert repr(get_sampler("greedy")) == "GreedySampler()"
    assert get_sampler("random") == RandomSampler(1.0)
    assert get_sampler("top_k") == TopKSampler(5)
    assert get_sampler("top_p") == TopPSampler(0.9)
    assert get_sampler("beam") == BeamSampler(5)
    own = lambda logits, seed: ops.argmin(logits, axis=-1)  # noqa: E731
    assert get_sampler(own) is own
    for unknown in "beams", None, 0.7:
        with pytest.raises(ValueError, match=r"`sampler` must be one of .*temperature"):
            get_sampler(unknown)
    with pytest.raises(TypeError, match=r"Use `TopKSampler\(\)`"):
        get_sampler(TopKSampler)


def from_logits(model):
    """Return what a generator takes a model's outputs for."""
    return Generator(model, SequenceFramer(2)).from_logits


@pytest.mark.parametrize(
    ("last", "logits"),
    [
        ([layers.Dense(3)], True),
        ([layers.Dense(3, "softmax")], False),
        ([layers.Dense(3, "log_softmax")], True),  # logarithms of probabilities are logits
        ([layers.Dense(3), layers.Softmax()], False),
        ([layers.Dense(3), layers.Activation("softmax")], False),
        ([layers.Dense(3, "softmax"), layers.Dense(3)], True),  # within
        ([keras.Sequential([layers.Dense(3, "softmax")])], False),
        ([keras.Sequential([layers.Dense(3)])], True),
        ([layers.TimeDistributed(layers.Dense(3, "softmax"))], False),
        ([layers.TimeDistributed(layers.Dense(3))], True),
    ],
)
def test_the_last_layer_tells_logits_from_probabilities(last, logits):
    assert from_logits(keras.Sequential([keras.Input((2, 1)), *last])) is logits


SPARSE = keras.losses.SparseCategoricalCrossentropy


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("sparse_categorical_crossentropy", False),
        (["categorical_crossentropy"], False),
        (SPARSE(), False),
        (SPARSE(from_logits=True), True),
        ("mse", True),
        (None, True),
    ],
)
def test_the_loss_tells_if_the_last_layer_can_be_anything(loss, logits):
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Reshape((2,))])
    if loss is not None:
        model.compile("sgd", loss)
    assert from_logits(model) is logits


@pytest.mark.parametrize("name", ["GreedySampler", "RandomSampler", "TopKSampler", "TopPSampler"])
def test_samplers_of_keras_hub(name, tmp_path):
    """They draw by the generator's seed, the same in each call, and are saved with it."""
    hub = pytest.importorskip("keras_hub", reason="keras-hub is optional")
    model = keras.Sequential([keras.Input((1, 1)), layers.Dense(5)])
    framer = SequenceFramer(1, vocabulary=Vocabulary("ABCDE"))
    generator = Generator(model, framer, sampler=getattr(hub.samplers, name)(), seed=5)
    text = generator.generate("A", 30)
    assert generator.generate("A", 30) == text
    if name == "GreedySampler":
        assert text == Generator(model, framer).generate("A", 30)
    generator.save(tmp_path / "generator.keras")
    assert Generator.load(tmp_path / "generator.keras").generate("A", 30) == text
    with pytest.raises(ValueError, match='Use "beam"'):
        get_sampler(hub.samplers.BeamSampler())
