"""Backtests that train anew as they walk."""

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import layers
from models import assert_same, numbers, recurrent, seeded

from seqframe import Frames, Generator, SequenceFramer, backtest, fit, get_states


def follower(framer=None):
    """Return a generator that predicts the last value times a weight, which is 0."""
    last = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1, 1)), layers.Flatten(), last])
    return Generator(model, framer or SequenceFramer(1))


def weigh(generator, value):
    generator.model.set_weights([np.full((1, 1), value)])


def steps_of(known):
    """Return how many steps are known, of each sequence."""
    if isinstance(known, Frames):
        return known.source.steps.tolist()
    return [len(each) for each in known] if isinstance(known, list) else [len(known)]


DAYS = pd.date_range("2026-01-01", periods=9)
KINDS = {
    "array": lambda values: values,
    "series": lambda values: pd.Series(values, DAYS),
    "polars": lambda values: pl.Series("sold", values),
    "frames": lambda values: SequenceFramer(1).frame(values),
    "list": lambda values: [values],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "every"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_a_model_is_trained_on_what_is_known_and_forecasts_what_follows(kind, stride, every):
    """A law: from each origin it forecasts with the weights of the latest training."""
    values, generator, calls = 1 + np.abs(numbers(9)), follower(), []

    def refit(known):
        calls.append(known)
        weigh(generator, len(calls))

    data = KINDS[kind](values)
    tested = backtest(generator, data, 2, start=3, stride=stride, refit=refit, refit_every=every)
    origins = range(3, 8, stride)
    trained = origins[::every]
    assert tested.origins[:, 1].tolist() == list(origins)
    assert [steps_of(known) for known in calls] == [[step] for step in trained]
    assert all(type(known) is type(data) for known in calls)
    if kind != "frames":
        np.testing.assert_array_equal(np.ravel(calls[0]), values[:3])
    for row, origin in enumerate(origins):
        weight = sum(step <= origin for step in trained)
        expected = values[origin - 1] * np.array([weight, weight**2])
        np.testing.assert_allclose(tested.free_run[row], expected, rtol=1e-5)
        for ahead in range(2):
            weight = sum(step <= origin + ahead for step in trained)
            single = values[origin + ahead - 1] * weight
            np.testing.assert_allclose(tested.one_step[row, ahead], single, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:1 of 3 sequences have no frame")
def test_origins_of_one_date_train_together():
    """Series of one table that begin on different days are on one clock."""
    table = pd.concat(
        [
            pd.DataFrame({"store": store, "sold": np.arange(1.0, size + 1)}, DAYS[-size:])
            for store, size in [("a", 9), ("b", 6), ("c", 2)]
        ]
    )
    calls = []
    generator = follower(SequenceFramer(1, columns=["sold"], by="store"))

    def refit(known):
        calls.append(known)
        fit_framer = SequenceFramer(1, by="store")
        assert len(fit_framer.frame(known, targets="sold"))

    tested = backtest(generator, table, 1, start=DAYS[6], refit=refit)
    assert [known.index.max() for known in calls] == [*DAYS[5:8]]
    assert [len(known) for known in calls] == [6 + 3, 7 + 4, 8 + 5 + 1]
    assert tested.origins.tolist() == [[0, 6], [0, 7], [0, 8], [1, 3], [1, 4], [1, 5], [2, 1]]
    frames = generator.framer.frame(table)
    again = []
    by_frames = backtest(generator, frames, 1, start=DAYS[6], refit=again.append)
    assert [steps_of(known) for known in again] == [[6, 3], [7, 4], [8, 5, 1]]
    np.testing.assert_array_equal(by_frames.origins, tested.origins)


def test_frames_that_are_known_are_trained_on():
    values = np.cumsum(np.ones(30, "float32"))
    frames, generator = SequenceFramer(1).frame(values), follower()
    generator.model.compile(keras.optimizers.SGD(0.001), "mean_squared_error")
    tested = backtest(
        generator,
        frames,
        2,
        start=20,
        stride=4,
        refit=lambda known: fit(generator.model, known, epochs=3, verbose=0),
    )
    errors = np.abs(tested.free_run - tested.actual).mean(axis=1)
    assert (
        errors[-1] < errors[0] < backtest(follower(), frames, 2, start=20).errors()["free_run"][0]
    )


def test_a_stateful_model_is_trained_as_it_walks():
    """A law: each forecast is the one after the training. The state of the model stays."""
    model, values, expected = recurrent(steps=1, batch_size=2), numbers(9), []
    generator, weights = Generator(model, SequenceFramer(1)), model.get_weights()
    state = get_states(model)

    def refit(known):
        model.set_weights([(1 + len(known) / 9) * each for each in weights])
        expected.append(generator.forecast(known, 2))

    tested = backtest(generator, values, 2, start=3, stride=2, refit=refit)
    np.testing.assert_allclose(tested.free_run, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(tested.free_run)) == 6
    assert_same(get_states(model), state)


def test_another_generator_goes_on():
    generator, other = follower(), follower()
    weigh(other, 2.0)
    tested = backtest(generator, np.ones(5), 1, refit=lambda known: other)
    np.testing.assert_allclose(tested.free_run, 2.0)


def of_other_framer(known):
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)])
    return Generator(model)


@pytest.mark.parametrize(
    ("refit", "error", "name"),
    [
        (3, TypeError, "`refit` must be a function"),
        (lambda: None, TypeError, "`refit` must be a function"),
        (lambda known: keras.Sequential(), TypeError, "`refit` must return a `Generator`"),
        (of_other_framer, ValueError, "`refit` must return a generator with the framer"),
    ],
)
def test_wrong_refits(refit, error, name):
    with pytest.raises(error, match=name):
        backtest(follower(), np.ones(6), 1, refit=refit)


def test_a_refit_of_frames_needs_a_frame():
    frames = SequenceFramer(2, horizon=2).frame(np.ones(9, "float32"))
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(2)])
    generator = Generator(model, frames.framer)
    with pytest.raises(ValueError, match="`refit` needs a frame of 4 steps"):
        backtest(generator, frames, 2, refit=lambda known: None)
    assert backtest(generator, frames, 2, start=4, refit=lambda known: None)


def test_series_of_numbered_steps_share_their_clock():
    """What is known at an origin ends before it in every series of a panel."""
    weeks = [*range(100, 110), *range(105, 110)]
    panel = pd.DataFrame({"store": [*"a" * 10, *"b" * 5], "sold": np.arange(15.0)}, weeks)
    generator, last = follower(SequenceFramer(1, by="store", columns=["sold"])), []

    def refit(known):
        last.append({store: rows.index.max() for store, rows in known.groupby("store")})

    backtest(generator, panel, 1, start=3, refit=refit)
    assert last
    for known in last:
        assert max(known.values()) <= known["a"]


def test_a_refitted_generator_keeps_the_quantiles():
    values, levels = np.arange(9.0), ([0.1, 0.5, 0.9], [0.25, 0.5, 0.75])
    model = seeded(keras.Sequential([keras.Input((1, 1)), layers.Flatten(), layers.Dense(3)]))
    first, other = (Generator(model, SequenceFramer(1), quantiles=each) for each in levels)
    with pytest.raises(ValueError, match="`quantiles` differs"):
        backtest(first, values, 1, refit=lambda known: other)
