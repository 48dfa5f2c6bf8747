"""Backtests of quantiles: a model's own, and those of sample paths."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers, seeded

from seqframe import Generator, SequenceFramer, backtest

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def quantile_model():
    """A generator that predicts three quantiles of the next two steps."""
    model = keras.Sequential(
        [keras.Input((3, 1)), layers.Flatten(), layers.Dense(6), layers.Reshape((2, 3))]
    )
    return Generator(seeded(model), SequenceFramer(3, horizon=2), quantiles=LEVELS, seed=3)


def test_the_quantiles_of_a_model_are_those_of_its_forecasts(quantile_model):
    """A law, origin by origin. The forecast is the median, for one step as for several."""
    data = numbers(20)
    tested = backtest(quantile_model, data, 2, stride=4)
    assert list(tested.quantiles) == list(LEVELS)
    for row, (_, origin) in enumerate(tested.origins):
        expected = quantile_model.forecast(data[:origin], 2, quantiles=LEVELS)
        for level, values in zip(LEVELS, expected, strict=True):
            np.testing.assert_allclose(tested.quantiles[level][row], values, rtol=1e-5)
        np.testing.assert_array_equal(tested.free_run[row], tested.quantiles[0.5][row])
        ahead = quantile_model.forecast(data[: origin + 1], 1)
        np.testing.assert_allclose(tested.one_step[row, 1], ahead[0], rtol=1e-5)
    of_points = ["forecast", "mae", "rmse", "mase", "smape"]
    assert [*tested.scores()] == [
        *of_points,
        "pinball",
        "coverage 0.8",
    ]
    some = backtest(quantile_model, data, 2, stride=4, quantiles=[0.9, 0.1])
    assert list(some.quantiles) == [0.1, 0.9]
    np.testing.assert_array_equal(some.free_run, tested.free_run)
    part = tested[0]
    assert part.quantiles[0.9].shape == tested.actual.shape


def test_a_longer_free_run_of_quantiles_needs_paths(quantile_model):
    data = numbers(20)
    tested = backtest(quantile_model, data, 3, stride=5)
    assert not tested.quantiles
    np.testing.assert_allclose(
        tested.free_run[0], quantile_model.forecast(data[:3], 3), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match="`quantiles` must be of"):
        backtest(quantile_model, data, 3, quantiles=[0.1])
    paths = backtest(quantile_model, data, 3, stride=5, num_samples=50)
    assert list(paths.quantiles) == [0.05, 0.25, 0.5, 0.75, 0.95]


def test_a_distribution_is_scored_by_its_draws():
    """A model of mean and deviation covers as often as its quantiles say."""
    model = keras.Sequential([keras.Input((1, 1)), layers.Flatten(), layers.Dense(2)])
    model.set_weights([np.array([[0.0, 0.0]]), np.array([4.0, 2.0])])

    def draw(parameters, seed):
        noise = keras.random.normal(ops.shape(parameters)[:-1], seed=seed)
        return parameters[..., 0] + noise * parameters[..., 1]

    generator = Generator(model, seed=5)
    data = np.random.default_rng(1).normal(4, 2, size=400)
    tested = backtest(
        generator, data, 2, stride=2, num_samples=100, noise=draw, quantiles=[0.1, 0.9]
    )
    scores = tested.scores()
    # Four standard errors of 398 values.
    np.testing.assert_allclose(scores["coverage 0.8"][0], 0.8, atol=4 * 0.02)
    np.testing.assert_allclose(tested.free_run.mean(), 4, atol=0.2)
    np.testing.assert_allclose(tested.quantiles[0.9].mean(), 4 + 2 * 1.2816, atol=0.3)
    with pytest.raises(ValueError, match="numbers"):
        backtest(generator, data, 2)


def test_paths_of_residuals_have_their_median_as_forecast():
    """A law: with a single path, that path."""
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)])
    generator = Generator(seeded(model), seed=2)
    data, errors = numbers(30), np.array([0.5])
    tested = backtest(generator, data, 3, stride=7, num_samples=1, noise=errors, quantiles=0.2)
    for row, (_, origin) in enumerate(tested.origins):
        path = generator.forecast(data[:origin], 3, num_samples=1, noise=errors)[0]
        np.testing.assert_allclose(tested.free_run[row], path, rtol=1e-5)
        np.testing.assert_allclose(tested.quantiles[0.2][row], path, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"num_samples": 3}, "num_samples"),
        ({"noise": "dropout"}, "num_samples"),
        ({"quantiles": [0.5]}, "quantiles"),
        ({"num_samples": 3, "noise": [0.1], "quantiles": [1.5]}, "quantiles"),
        ({"num_samples": 0, "noise": [0.1]}, "num_samples"),
    ],
)
def test_arguments_that_do_not_go_together(given, name):
    model = keras.Sequential([keras.Input((1, 1)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=f"`{name}`"):
        backtest(Generator(model), numbers(9), 2, **given)
