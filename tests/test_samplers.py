"""Samplers: draws follow the probabilities they are given."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers

from seqframe import Generator, SequenceFramer, Vocabulary, backend
from seqframe.backend import common
from seqframe.backend.threefry import bits_of_rows, threefry
from seqframe.model.inspect import outputs_probabilities
from seqframe.samplers import (
    BeamSampler,
    GreedySampler,
    HubSampler,
    MinPSampler,
    RandomSampler,
    Sampler,
    TopKSampler,
    TopPSampler,
    TypicalPSampler,
    get_sampler,
)

# Chi-square, 99.99% points by degrees of freedom: a right sampler fails at one seed in 10,000.
CHI_SQUARE = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 8: 31.83, 15: 44.26, 24: 57.28}


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


def top_k(logits, k):
    """Return which logits are among the `k` largest, with those equal to the last."""
    return logits >= np.sort(logits)[::-1][: min(k, len(logits))][-1]


def nucleus(logits, p):
    """Return the fewest of the likeliest symbols that together have the probability `p`.

    As in the paper, and in transformers' `TopPLogitsWarper`: the symbol that closes the sum stays.
    """
    probabilities = softmax(logits.astype("float64"))
    order = np.argsort(-probabilities, kind="stable")
    total = np.cumsum(probabilities[order])
    count = 1 + int(np.argmax(total >= p - 1e-6))
    return np.isin(np.arange(len(logits)), order[:count])


def above_share(logits, p):
    """Return which symbols are at least `p` times as likely as the likeliest.

    As Nguyen et al., and transformers' `MinPLogitsWarper`.
    """
    probabilities = softmax(logits.astype("float64"))
    return probabilities >= p * probabilities.max()


def typical(logits, p):
    """Return the symbols of the most usual surprise that together have the probability `p`.

    As Meister et al., and transformers' `TypicalLogitsWarper`: the symbol that closes the sum
    stays, with those that are as typical.
    """
    probabilities = softmax(logits.astype("float64"))
    with np.errstate(divide="ignore"):
        surprise = -np.log(probabilities)
    expected = np.sum(probabilities * np.where(probabilities > 0, surprise, 0))
    distance = np.where(probabilities > 0, np.abs(surprise - expected), np.inf)
    order = np.argsort(distance, kind="stable")
    count = np.argmax(np.cumsum(probabilities[order]) >= p - 1e-6)
    return distance <= distance[order[count]] + 1e-9


def narrowed(sampler, logits):
    """Return which symbols a sampler keeps of logits that are at most 0."""
    found = ops.convert_to_numpy(sampler.narrow(ops.convert_to_tensor(logits)))
    kept = np.isfinite(found)
    np.testing.assert_array_equal(found[kept], logits[kept])  # they stay as they are
    return kept


HALVES = np.log(np.array([0.3, 0.1, 0.1, 0.5], "float32"))


@pytest.mark.parametrize(
    ("sampler", "logits", "kept"),
    [
        (TopKSampler(1), LOGITS, [0, 1, 0, 0, 0]),
        (TopKSampler(2), LOGITS, [0, 1, 0, 1, 0]),
        (TopKSampler(3, temperature=0.5), LOGITS, [0, 1, 0, 1, 1]),
        (TopKSampler(5), LOGITS, [1, 1, 1, 1, 1]),
        (TopKSampler(99, temperature=2), LOGITS, [1, 1, 1, 1, 1]),  # more than there are
        (TopKSampler(2**63 - 1), LOGITS, [1, 1, 1, 1, 1]),
        (TopKSampler(1), TIED, [1, 0, 1, 0, 0]),  # ties take part, all of them
        (TopKSampler(3), TIED, [1, 1, 1, 1, 0]),
        (TopKSampler(4), BANNED, [1, 0, 1, 0, 0]),  # more than are allowed
        # Probabilities are .41, .25, .19, .15 and .06 (the last .05), in the order of likelihood.
        (TopPSampler(0.01), LOGITS, [0, 1, 0, 0, 0]),  # never none
        (TopPSampler(1e-30), LOGITS, [0, 1, 0, 0, 0]),
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
        # Of ties, the first. Probabilities are .37, .14, .37, .14 and .05.
        (TopPSampler(0.3), TIED, [1, 0, 0, 0, 0]),
        (TopPSampler(0.5), TIED, [1, 0, 1, 0, 0]),
        (TopPSampler(0.8), TIED, [1, 1, 1, 0, 0]),
        (TopPSampler(1), BANNED, [1, 0, 1, 0, 0]),
        (TopPSampler(0.9), BANNED, [1, 0, 1, 0, 0]),
        # A sum of exactly p closes the nucleus.
        (TopPSampler(0.5), HALVES, [0, 0, 0, 1]),
        (TopPSampler(0.8), HALVES, [1, 0, 0, 1]),
        (TopPSampler(0.81), HALVES, [1, 1, 0, 1]),
        (TopPSampler(0.9), HALVES, [1, 1, 0, 1]),
        (TopPSampler(0.5), np.zeros(4, "float32"), [1, 1, 0, 0]),
        # At least 0.1 and 0.5 times as likely as the likeliest, at this temperature.
        (MinPSampler(0.1), LOGITS, [1, 1, 1, 1, 1]),
        (MinPSampler(0.3), LOGITS, [1, 1, 0, 1, 1]),
        (MinPSampler(0.5), LOGITS, [0, 1, 0, 1, 0]),
        (MinPSampler(0.5, temperature=3), LOGITS, [1, 1, 1, 1, 1]),
        (MinPSampler(0.5, temperature=0.1), LOGITS, [0, 1, 0, 0, 0]),
        (MinPSampler(1), LOGITS, [0, 1, 0, 0, 0]),
        (MinPSampler(1), TIED, [1, 0, 1, 0, 0]),
        (MinPSampler(0.001), BANNED, [1, 0, 1, 0, 0]),
        (MinPSampler(0.6), HALVES, [1, 0, 0, 1]),  # exactly 0.6 times as likely
        # Surprises are 1.94, .94, 2.94, 1.44 and 1.74; 1.45 is expected. So the fourth is the most
        # typical, then the fifth, the first, the second and the third.
        (TypicalPSampler(0.1), LOGITS, [0, 0, 0, 1, 0]),
        (TypicalPSampler(0.3), LOGITS, [0, 0, 0, 1, 1]),
        (TypicalPSampler(0.5), LOGITS, [1, 0, 0, 1, 1]),
        (TypicalPSampler(0.9), LOGITS, [1, 1, 0, 1, 1]),
        (TypicalPSampler(1), LOGITS, [1, 1, 1, 1, 1]),
        (TypicalPSampler(0.9), BANNED, [1, 0, 1, 0, 0]),
        # An infinite logit leaves the others no probability.
        (RandomSampler(), np.array([0.0, np.inf, 1e30], "float32"), [0, 1, 0]),
        (TopPSampler(0.5), np.array([0.0, np.inf, 1e30], "float32"), [0, 1, 0]),
        (RandomSampler(1e-30), LOGITS, [0, 1, 0, 0, 0]),  # below it, the likeliest remains
        (TopPSampler(0.9, 1e-45), LOGITS, [0, 1, 0, 0, 0]),
    ],
)
def test_draws_follow_the_renormalized_distribution(sampler, logits, kept):
    ids = draw(sampler, np.broadcast_to(logits, (10_000, len(logits))))
    kept = np.array(kept, bool)
    if kept.sum() == 1:
        assert set(ids.tolist()) == set(np.flatnonzero(kept).tolist())
    else:
        assert_drawn_as(ids, renormalized(logits, kept, sampler.temperature))


def test_kept_symbols_are_those_of_the_definitions():
    """Beside naive ones, for many sizes and shapes of distributions."""
    rng = np.random.default_rng(5)
    for symbols in 2, 7, 40, 1000:
        logits = rng.normal(size=(20, symbols)) * rng.choice([0.1, 1, 10], (20, 1))
        logits = np.round(logits, 1) if symbols == 7 else logits  # with ties
        logits = (logits - logits.max(axis=1, keepdims=True)).astype("float32")
        for k in 1, 2, symbols // 2, symbols:
            expected = [top_k(row, k) for row in logits]
            np.testing.assert_array_equal(narrowed(TopKSampler(k), logits), expected)
        for p in 0.05, 0.3, 0.62, 0.95:
            expected = np.array([nucleus(row, p) for row in logits])
            found = narrowed(TopPSampler(p), logits)
            if symbols < 1000:
                np.testing.assert_array_equal(found, expected)
            # Float32 sums of many may close a symbol sooner or later.
            assert np.abs(found.sum(axis=1) - expected.sum(axis=1)).max() <= 1
            expected = np.array([typical(row, p) for row in logits])
            found = narrowed(TypicalPSampler(p), logits)
            assert (found != expected).sum(axis=1).max() <= (2 if symbols == 1000 else 1)
            expected = np.array([above_share(row, p) for row in logits])
            np.testing.assert_array_equal(narrowed(MinPSampler(p), logits), expected)


@pytest.mark.xla
@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0, 1e-3])
@pytest.mark.parametrize("kind", [TopPSampler, TopKSampler, RandomSampler])
def test_the_likeliest_symbol_stays_in_a_compiled_program(kind, temperature):
    """XLA may round a logit in two ways. For large ones that is a large difference."""
    options = {TopPSampler: {"p": 0.9}, TopKSampler: {"k": 1}}.get(kind, {})
    sampler = kind(temperature=temperature, **options)
    logits = 1e9 * numbers(26, 26) - 1e10 * (1 - np.eye(26, dtype="float32"))
    seed = keras.random.SeedGenerator(1)

    def choose(logits, state):
        # As a user's processor may leave them: multiplied in the same program.
        return backend.call_with_values([(seed.state, state)], sampler, 1.3 * logits, seed)

    program = backend.compile_program(choose)
    state = ops.copy(ops.convert_to_tensor(seed.state))
    found = ops.convert_to_numpy(program(ops.convert_to_tensor(logits), state))
    assert found.tolist() == list(range(26))


def test_thresholds_are_found_by_bits_as_by_sorting():
    """Among values of any size, with ties, zeros of both signs and infinities."""
    rng = np.random.default_rng(2)
    values = rng.choice([-np.inf, -1e30, -3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, 1e30], (50, 12))
    values = np.concatenate([values, rng.normal(size=(50, 12))]).astype("float32")
    weights = rng.choice([0.0, 1.0, 2.0], values.shape).astype("float32")
    tensors = [ops.convert_to_tensor(each) for each in (values, weights)]
    for amount in 0.5, 1.0, 4.0, 13.0, 99.0:
        expected = [
            max((v for v in row if heavy[row >= v].sum() >= amount), default=row.min())
            for row, heavy in zip(values, weights, strict=True)
        ]
        for find in backend.threshold, common.threshold, common.sorted_threshold:
            found = ops.convert_to_numpy(find(*tensors, amount))
            np.testing.assert_array_equal(found[:, 0], expected)


def test_half_precision_logits_are_drawn_in_full():
    """In float16 the noise would be too coarse to tell these symbols apart."""
    logits = np.zeros((10_000, 16), "float16")
    assert_drawn_as(draw(RandomSampler(), logits), np.full(16, 1 / 16))


@pytest.mark.parametrize("sampler", [TopPSampler(1.0), TopKSampler(300)])
def test_a_sampler_that_keeps_all_is_the_random_sampler(sampler):
    # So many and so unequal symbols that their probabilities, summed up, are rounded.
    logits = 10 * numbers(400, 300)
    np.testing.assert_array_equal(draw(sampler, logits), draw(RandomSampler(), logits))
    kept = ops.convert_to_numpy(sampler.narrow(ops.convert_to_tensor(logits)))
    np.testing.assert_array_equal(kept, logits)


@pytest.mark.parametrize("sampler", [RandomSampler(), TopKSampler(3), TopPSampler(0.8)])
def test_rows_draw_by_their_number(sampler):
    """Rows of equal logits differ, and none depends on how many rows there are."""
    ids = draw(sampler, np.broadcast_to(LOGITS, (4_000, 5)))
    below = LOGITS - LOGITS.max()
    expected = renormalized(LOGITS, narrowed(sampler, below[None])[0], 1)
    assert_drawn_as(ids, expected)
    # Neighbours are independent.
    both = np.outer(expected, expected).ravel()
    possible = np.flatnonzero(both)
    pairs = np.searchsorted(possible, 5 * ids[::2] + ids[1::2])
    assert chi_square(pairs, both[possible]) < CHI_SQUARE[len(possible) - 1]
    for rows in 1, 2, 3, 17, 1000:
        some = draw(sampler, np.broadcast_to(LOGITS, (rows, 5)))
        np.testing.assert_array_equal(some, ids[:rows])


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        # The known answers of the authors' library, Random123.
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers(key, counter, expected):
    found = threefry(list(np.uint32(key)[:, None]), list(np.uint32(counter)[:, None]), np)
    assert [int(each[0]) for each in found] == list(expected)


def test_random_bits_are_the_same_on_every_backend():
    seed = keras.random.SeedGenerator(7)
    first, second = (ops.convert_to_numpy(backend.random_bits(seed.next(), 3, 5)) for _ in "ab")
    keys = [np.array([7 % 2**32, draws], np.uint32) for draws in (0, 1)]
    if ops.convert_to_numpy(keras.random.SeedGenerator(7).state).tolist() == [7, 0]:
        np.testing.assert_array_equal(first, bits_of_rows(keys[0], 3, 5, np))
        np.testing.assert_array_equal(second, bits_of_rows(keys[1], 3, 5, np))


WRONG_NUMBERS = [
    (RandomSampler, {"temperature": "hot"}, TypeError),
    (RandomSampler, {"temperature": True}, TypeError),
    (RandomSampler, {"temperature": 0}, ValueError),
    (RandomSampler, {"temperature": float("nan")}, ValueError),
    (RandomSampler, {"temperature": float("inf")}, ValueError),
    (RandomSampler, {"temperature": 10**400}, ValueError),
    (RandomSampler, {"temperature": 1j}, TypeError),
    (TopKSampler, {"k": 0}, ValueError),
    (TopKSampler, {"k": 2.0}, TypeError),
    (TopKSampler, {"temperature": -1}, ValueError),
    (TopKSampler, {"k": -(2**63)}, ValueError),
    (TopKSampler, {"k": 2**64}, ValueError),
    (TopPSampler, {"p": 0}, ValueError),
    (TopPSampler, {"p": 2**64}, ValueError),
    (TopPSampler, {"p": 1.01}, ValueError),
    (TopPSampler, {"p": float("nan")}, ValueError),
    (TopPSampler, {"p": "most"}, TypeError),
    (TopPSampler, {"temperature": -1}, ValueError),
    (MinPSampler, {"p": 0}, ValueError),
    (MinPSampler, {"p": 1.01}, ValueError),
    (TypicalPSampler, {"p": "most"}, TypeError),
    (TypicalPSampler, {"temperature": 0}, ValueError),
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
    MinPSampler(0.5, 2),
    TypicalPSampler(0.5, 2),
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


def dense(activation=None, units=3):
    return layers.Dense(units, activation)


class Softmax(layers.Layer):
    """A user's layer of this name, which may compute anything."""

    def call(self, inputs):
        return inputs


SOFTMAX = {
    "a Dense layer's": lambda x: dense("softmax")(x),
    "keras.ops as its activation": lambda x: dense(ops.softmax)(x),
    "a layer": lambda x: layers.Softmax()(dense()(x)),
    "an activation": lambda x: layers.Activation("softmax")(dense()(x)),
    "an operation": lambda x: ops.softmax(dense()(x)),
    "a nested model's": lambda x: sequential(dense("softmax"))(x),
    "deeper": lambda x: sequential(sequential(dense(), layers.Softmax()))(x),
    "for each step": lambda x: layers.TimeDistributed(layers.Softmax())(dense()(x)),
    "a model for each step": lambda x: layers.TimeDistributed(sequential(dense("softmax")))(x),
}
MOVED = {
    "as it is": lambda x: x,
    "Reshape": lambda x: layers.Reshape((2, 3))(x),
    "Reshape and its inverse": lambda x: layers.Reshape((2, 3))(layers.Flatten()(x)),
    "Flatten": lambda x: layers.Flatten()(x),
    "Permute": lambda x: layers.Permute((2, 1))(x),
    "Cropping1D": lambda x: layers.Cropping1D((1, 0))(x),
    "RepeatVector": lambda x: layers.RepeatVector(2)(layers.Flatten()(x)),
    "linear": lambda x: layers.Activation("linear")(x),
    "Dropout": lambda x: layers.GaussianNoise(0.1)(layers.Dropout(0.5)(x)),
    "the last step": lambda x: x[:, -1],
    "ops": lambda x: ops.squeeze(ops.expand_dims(ops.reshape(x, (-1, 2, 3)), 1), 1),
    "a nested model": lambda x: sequential(layers.Dropout(0.1), shape=(2, 3))(x),
}


def sequential(*parts, shape=(2, 1)):
    return keras.Sequential([keras.Input(shape), *parts])


def functional(*parts):
    inputs = x = keras.Input((2, 1))
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("moved", MOVED)
@pytest.mark.parametrize("softmax", SOFTMAX)
def test_a_softmax_is_seen_through_what_moves_its_values(softmax, moved):
    assert outputs_probabilities(functional(SOFTMAX[softmax], MOVED[moved])) is True


@pytest.mark.parametrize("moved", MOVED)
def test_logits_are_seen_through_what_moves_them(moved):
    for last in (
        dense(),  # which may follow a softmax
        lambda x: dense("tanh")(dense("softmax")(x)),
        lambda x: ops.log_softmax(dense()(x)),
        lambda x: sequential(dense())(x),
    ):
        assert outputs_probabilities(functional(last, MOVED[moved])) is False


def test_a_shared_layer_is_followed_from_the_models_own_output():
    inputs, shared = keras.Input((2, 1)), layers.Reshape((6,))
    outputs = [shared(dense("softmax")(inputs)), shared(dense()(inputs))]
    found = [outputs_probabilities(keras.Model(inputs, output)) for output in outputs]
    assert found == [True, False]


class Subclass(keras.Model):
    """Gives logits, though its last layer is a softmax."""

    def __init__(self):
        super().__init__()
        self.logits, self.probabilities = dense(), layers.Softmax()

    def call(self, inputs):
        return self.logits(inputs[:, -1])


def subclass():
    model = Subclass()
    model(np.zeros((1, 2, 1), "float32"))
    return model


UNKNOWN = {
    "Lambda": lambda: functional(layers.Lambda(lambda x: x)),
    "a user's layer": lambda: functional(Softmax()),
    "a subclass": subclass,
    "the input": lambda: functional(layers.Flatten(), layers.Reshape((2,))),
    "a sum": lambda: functional(lambda x: ops.sum(dense("softmax")(x), axis=1)),
    "a sigmoid": lambda: functional(dense("sigmoid")),
    "a recurrent layer": lambda: functional(layers.LSTM(3, activation="softmax")),
}
SPARSE = keras.losses.SparseCategoricalCrossentropy


@pytest.mark.parametrize("kind", UNKNOWN)
def test_the_loss_tells_if_the_layers_do_not(kind):
    model = UNKNOWN[kind]()
    assert outputs_probabilities(model) is None
    for loss, logits in (
        ("sparse_categorical_crossentropy", False),
        (["categorical_crossentropy"], False),
        (SPARSE(), False),
        (SPARSE(from_logits=True), True),
        ("mse", None),
    ):
        model.compile("sgd", loss)
        assert from_logits(model) is logits


def told(outputs, **options):
    """Return a generator of a model that always gives these outputs, by a `Lambda`."""
    values = ops.convert_to_tensor(np.array([outputs], "float32"))
    last = layers.Lambda(lambda x: ops.repeat(values, ops.shape(x)[0], axis=0), (len(outputs),))
    model = keras.Sequential([keras.Input((1, 1)), last])
    return Generator(model, SequenceFramer(1), seed=3, **options)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (softmax(LOGITS), softmax(LOGITS)),
        (LOGITS, softmax(LOGITS)),  # one is negative
        (LOGITS - 5, softmax(LOGITS)),
        ([0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_outputs_tell_if_nothing_else_does(outputs, expected):
    generator = told(outputs, sampler="random")
    ids = np.array(generator.generate(np.array([0]), 8, num_samples=500)).ravel()
    assert_drawn_as(ids, np.asarray(expected))
    # Scores are log-probabilities either way.
    ids, score = told(outputs).generate([0], 2, return_scores=True)
    assert score == pytest.approx(2 * np.log(np.max(expected)), abs=1e-5)


def test_outputs_that_do_not_tell_are_an_error():
    outputs = LOGITS + 3
    with pytest.raises(ValueError, match=r"`from_logits` must say .*step 0 of row 0"):
        told(outputs, sampler="random").generate([0], 3)
    assert told(outputs).generate([0], 3) == [1, 1, 1]  # the likeliest is the same
    for given, expected in (True, softmax(outputs)), (False, outputs / outputs.sum()):
        generator = told(outputs, sampler="random", from_logits=given)
        ids = np.array(generator.generate(np.array([0]), 8, num_samples=500)).ravel()
        assert_drawn_as(ids, expected)


@pytest.mark.parametrize("given", ["x", 1, 0.0, [True]])
def test_from_logits_is_a_bool(given):
    with pytest.raises(TypeError, match="`from_logits` must be"):
        told(LOGITS, from_logits=given)
    assert told(LOGITS, from_logits=np.bool_(True)).from_logits is True


class Lists(Sampler):
    """Holds what cannot be hashed."""

    def __init__(self, banned, weights):
        super().__init__()
        self.banned, self.weights = banned, weights

    def narrow(self, logits):
        is_banned = np.isin(np.arange(logits.shape[-1]), self.banned)
        return ops.where(is_banned, -float("inf"), ops.add(logits, self.weights))


@dataclasses.dataclass  # without a hash
class Fixed:
    id: int

    def __call__(self, logits, seed):
        return ops.full(logits.shape[:1], self.id, "int32")


def test_samplers_that_cannot_be_hashed_are_samplers():
    lists = Lists([1], np.zeros(5, "float32"))
    assert lists == Lists([1], np.zeros(5, "float32")) != Lists([2], np.zeros(5, "float32"))
    assert hash(lists) == hash(Lists([1], np.zeros(5, "float32")))
    generator = told(LOGITS, sampler=lists)
    assert 1 not in generator.generate([0], 20)
    # A sampler that changes takes effect.
    generator.sampler.banned = [0, 2, 3, 4]
    assert generator.generate([0], 3) == [1, 1, 1]
    assert told(LOGITS, sampler=Fixed(2)).generate([0], 2) == [2, 2]
    assert told(LOGITS, sampler=Fixed(2)).generate([0], 2) == [2, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        layers.Dense(3),
        keras.Sequential([layers.Dense(3)]),
        lambda logits: ops.argmax(logits, axis=-1),
        lambda logits, seed, step: ops.argmax(logits, axis=-1),
    ],
)
def test_layers_and_other_functions_are_no_samplers(wrong):
    with pytest.raises(TypeError, match="`sampler` must be a"):
        told(LOGITS, sampler=wrong)


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
