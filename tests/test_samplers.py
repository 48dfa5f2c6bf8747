"""Samplers: draws follow the probabilities they are given."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers

from seqframe.samplers import GreedySampler, RandomSampler, get_sampler, outputs_probabilities

# Chi-square, 99.99% points by degrees of freedom: a right sampler fails at one seed in 10,000.
CHI_SQUARE = {3: 21.11, 15: 44.26}


def chi_square(ids, probabilities):
    """Return how far the frequencies of `ids` are from what is expected."""
    expected = len(ids) * probabilities
    found = np.bincount(ids, minlength=len(probabilities))
    return float(np.sum((found - expected) ** 2 / expected))


def softmax(logits):
    weights = np.exp(logits - np.max(logits))
    return weights / weights.sum()


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0])
def test_random_draws_follow_the_softmax_of_logits(temperature):
    logits = np.array([0.0, 1.0, -1.0, 0.5], "float32")
    rows = np.broadcast_to(logits, (20_000, 4))
    seed = keras.random.SeedGenerator(3)

    drawn = RandomSampler(temperature)(ops.convert_to_tensor(rows), seed)

    ids = ops.convert_to_numpy(drawn)
    assert ids.shape == (20_000,)
    expected = softmax(logits / temperature)
    assert chi_square(ids, expected) < CHI_SQUARE[3]
    # Rows are drawn apart from each other.
    pairs = np.outer(expected, expected).ravel()
    assert chi_square(4 * ids[::2] + ids[1::2], pairs) < CHI_SQUARE[15]


def test_impossible_symbols_are_never_drawn():
    logits = np.full((5_000, 3), [0.0, -np.inf, 0.0], "float32")
    ids = RandomSampler()(ops.convert_to_tensor(logits), keras.random.SeedGenerator(0))
    assert set(ops.convert_to_numpy(ids)) == {0, 2}


def test_a_low_temperature_is_greedy():
    logits = ops.convert_to_tensor(numbers(50, 5))
    seed = keras.random.SeedGenerator(0)
    greedy = ops.convert_to_numpy(GreedySampler()(logits, seed))
    np.testing.assert_array_equal(greedy, np.argmax(numbers(50, 5), axis=-1))
    np.testing.assert_array_equal(RandomSampler(1e-4)(logits, seed), greedy)


@pytest.mark.parametrize("temperature", [0, 0.0, -1, float("nan")])
def test_a_temperature_is_above_zero(temperature):
    with pytest.raises(ValueError, match=r'`temperature` must be above 0. Received.*"greedy"'):
        RandomSampler(temperature)


def test_samplers_by_name_and_as_objects():
    assert repr(get_sampler("greedy")) == "GreedySampler()"
    assert repr(get_sampler("random")) == "RandomSampler(temperature=1.0)"
    own = lambda logits, seed: ops.argmin(logits, axis=-1)  # noqa: E731
    assert get_sampler(own) is own


@pytest.mark.parametrize("sampler", ["beams", None, 0.7])
def test_an_unknown_sampler(sampler):
    message = rf"`sampler` must be one of \('greedy', .*'beam'\), or a.*sampler={sampler!r}"
    with pytest.raises(ValueError, match=message):
        get_sampler(sampler)


@pytest.mark.parametrize(
    ("last", "probabilities"),
    [
        ([layers.Dense(3)], False),
        ([layers.Dense(3, "softmax")], True),
        ([layers.Dense(3, "log_softmax")], False),  # logarithms of probabilities are logits
        ([layers.Dense(3), layers.Softmax()], True),
        ([layers.Dense(3), layers.Activation("softmax")], True),
        ([layers.Dense(3, "softmax"), layers.Dense(3)], False),  # within
        ([keras.Sequential([layers.Dense(3, "softmax")])], True),
        ([keras.Sequential([layers.Dense(3)])], False),
        ([layers.TimeDistributed(layers.Dense(3, "softmax"))], True),
        ([layers.TimeDistributed(layers.Dense(3))], False),
    ],
)
def test_the_last_layer_tells_probabilities_from_logits(last, probabilities):
    assert outputs_probabilities(keras.Sequential([keras.Input((2, 1)), *last])) is probabilities
