"""Backtests: each forecast equals the one made at its origin, and intervals cover."""

import re

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import layers
from models import numbers, recurrent, seeded, with_future

from seqframe import Backtest, Generator, SequenceFramer, Vocabulary, backtest


def line(slope=1.0):
    """Return a model that continues the last two steps by a straight line, or by a flat one."""
    model = keras.Sequential(
        [keras.Input((2, 1)), layers.Flatten(), layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.array([[-slope], [1 + slope]], "float32")])
    return Generator(model)


def blocks():
    return Generator(recurrent(steps=3, features=2, outputs=4), SequenceFramer(3, horizon=2, gap=1))


def stateful():
    return Generator(recurrent(steps=1, batch_size=3), SequenceFramer(1))


KINDS = {
    "line": (line, (20,), 2),
    "column": (line, (20, 1), 2),
    "blocks with a gap": (blocks, (20, 2), 5),
    "stateful": (stateful, (20,), 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_equal_forecasts_at_each_origin(kind):
    make, shape, least = KINDS[kind]
    generator, data, horizon = make(), numbers(*shape), 5
    gap = generator.framer.gap
    result = backtest(generator, data, horizon, stride=3)

    origins = list(range(least, len(data) - horizon + 1, 3))
    assert result.origins.tolist() == [[0, origin] for origin in origins]
    for k, origin in enumerate(origins):
        known = data[: origin - gap]
        one_by_one = [generator.forecast(data[: origin - gap + s], 1)[0] for s in range(horizon)]
        np.testing.assert_array_equal(result.actual[k], data[origin : origin + horizon])
        np.testing.assert_allclose(
            result.free_run[k], generator.forecast(known, horizon), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(result.one_step[k], one_by_one, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(result.naive[k], [known[-1]] * horizon)
    # Each step once, as it was forecast from the truth before it.
    steps = sorted({o + s for o in origins for s in range(horizon)})
    ahead = np.stack([generator.forecast(data[: step - gap], 1)[0] for step in steps])
    np.testing.assert_allclose(result.residuals, data[steps] - ahead, rtol=1e-4, atol=1e-5)


def test_errors_are_means_over_origins_and_features():
    shape = (4, 3, 2)
    actual, free_run, one_step, last = (numbers(*shape, seed=seed) for seed in range(4))
    result = Backtest(np.zeros((4, 2), int), actual, free_run, one_step, last, numbers(5, 2))
    for name, found in result.errors().items():
        expected = [np.mean(np.abs(getattr(result, name) - actual)[:, step]) for step in range(3)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint64", "int64", "float32"])
def test_errors_do_not_depend_on_the_type_of_the_data(dtype):
    # Down by more than 128: in 8 bits, and without a sign, differences wrap.
    data = np.tile([-100, 100, 3] if dtype == "int8" else [200, 1, 0], 4).astype(dtype)
    expected = backtest(line(), data.astype("float64"), 2)
    result = backtest(line(), data, 2)
    for name, found in result.errors().items():
        np.testing.assert_allclose(found, expected.errors()[name], rtol=1e-6)
    # So can be subtracted by hand.
    difference = result.naive - result.actual
    np.testing.assert_array_equal(difference, expected.naive - expected.actual)
    assert str(result) == str(expected)


def test_the_table_shows_why_a_forecast_goes_flat():
    wave = np.sin(np.arange(200) / 3)
    flat = backtest(line(slope=0.0), wave, 9)  # it repeats the last step
    errors = flat.errors()
    np.testing.assert_allclose(errors["free_run"], errors["naive"], rtol=1e-5)
    np.testing.assert_allclose(errors["one_step"], errors["one_step"][0], rtol=0.05)
    table = str(flat).splitlines()
    assert table[1].split() == ["step", "free", "run", "one", "step", "naive"]
    assert [row.split()[0] for row in table[2:]] == ["1", "2", "4", "8", "9"]
    for row in table[2:]:
        step, *shown = row.split()
        expected = [errors[name][int(step) - 1] for name in errors]
        np.testing.assert_allclose([float(value) for value in shown], expected, rtol=1e-3)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_intervals_cover_the_actual_values_as_often_as_stated(coverage):
    # Steps of a random walk are forecast by its last value: errors are the same everywhere.
    generator, horizon = line(slope=0.0), 3
    rng = np.random.default_rng(5)
    walks = [np.cumsum(rng.normal(size=5)) for _ in range(1500)]
    calibrated = backtest(generator, walks[:500], horizon, start=2)
    tested = backtest(generator, walks[500:], horizon, start=2)
    lower, upper = zip(
        *(calibrated.interval(forecast, coverage) for forecast in tested.free_run), strict=True
    )
    covered = (np.array(lower) <= tested.actual) & (tested.actual <= np.array(upper))
    assert covered.shape == (1000, horizon)
    # Four standard errors, of these 1,000 and of the 500 it is calibrated on.
    margin = 4 * np.sqrt(coverage * (1 - coverage) * (1 / 1000 + 1 / 500))
    np.testing.assert_allclose(covered.mean(axis=0), coverage, atol=margin)


def test_an_interval_is_the_ranked_error():
    actual = np.zeros((9, 2))
    free_run = np.stack([np.arange(1, 10), -np.arange(10, 19)], axis=1).astype(float)
    result = Backtest(np.zeros((9, 2), int), actual, free_run, free_run, free_run, free_run[:, 0])
    for coverage, rank in (0.5, 5), (0.55, 6), (0.9, 9):
        lower, upper = result.interval(np.array([100.0, 200.0]), coverage)
        np.testing.assert_array_equal(upper, [100 + rank, 200 + 9 + rank])
        np.testing.assert_array_equal(lower, [100 - rank, 200 - 9 - rank])
    assert len(result.interval(np.array([100.0]), 0.5)[0]) == 1
    for coverage in 0, 1, 90:
        with pytest.raises(ValueError, match="`coverage`"):
            result.interval(np.array([100.0]), coverage)
    for wrong in np.zeros(3), np.zeros((2, 1)), [np.zeros(2), np.zeros(2)]:
        with pytest.raises(ValueError, match="`forecast` must be one"):
            result.interval(wrong)


@pytest.mark.parametrize("coverage", [0.5, 0.75, 0.9, 0.95, 0.99])
def test_a_coverage_needs_the_origins_that_its_error_names(coverage):
    """A law: with one less it is refused."""

    def interval(origins):
        errors = np.zeros((origins, 1))
        tested = Backtest(np.zeros((origins, 2), int), *[errors] * 4, errors[:, 0])
        return tested.interval(np.zeros(1), coverage)

    with pytest.raises(ValueError, match="origins or more") as caught:
        interval(0)
    needed = int(re.search(r"needs (\d+) origins", str(caught.value))[1])
    interval(needed)
    with pytest.raises(ValueError, match=f"needs {needed} origins"):
        interval(needed - 1)


def test_an_interval_has_the_type_of_its_forecast():
    """A law: a table has the bounds of its array, column by column, in its own library."""
    data = numbers(30, 2)
    result = backtest(
        Generator(recurrent(steps=3, features=2, outputs=2), SequenceFramer(3)), data, 3
    )
    forecast = numbers(3, 2, seed=1)
    expected = result.interval(forecast)
    for library in pd, pl:
        table = library.DataFrame({"price": forecast[:, 0], "sold": forecast[:, 1]})
        for bound, array in zip(result.interval(table), expected, strict=True):
            assert type(bound) is type(table)
            assert list(bound.columns) == ["price", "sold"]
            np.testing.assert_allclose(bound.to_numpy(), array, rtol=1e-6)
    alone = backtest(line(), data[:, 0], 3)
    expected = alone.interval(forecast[:, 0])
    for library in pd, pl:
        series = library.Series(forecast[:, 0])
        for bound, array in zip(alone.interval(series), expected, strict=True):
            assert type(bound) is type(series)
            np.testing.assert_allclose(bound.to_numpy(), array, rtol=1e-6)


REFUSED = [
    ({"start": 58, "horizon": 5}, "sequences"),
    ({"start": 1, "horizon": 5}, "start"),
    ({"horizon": 59}, "sequences"),
    ({"horizon": 5, "history": 1}, "history"),
    ({"horizon": 5, "start": 0}, "start"),
    ({"horizon": 5, "season": 9, "start": 4}, "start"),
]


@pytest.mark.parametrize(("given", "argument"), REFUSED)
def test_a_backtest_needs_an_origin(given, argument):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        backtest(line(), numbers(60), **given)


def test_backtests_refuse_data_that_they_cannot_forecast():
    short = Generator(with_future(features=2), SequenceFramer(3, horizon=2), targets=[0])
    with pytest.raises(ValueError, match=r"`future` must have a row for each of the 20 steps"):
        backtest(short, numbers(20, 2), 3, future=numbers(19, 1))
    with pytest.raises(ValueError, match=r"`future\[1\]` must have a row"):
        backtest(short, [numbers(20, 2)] * 2, 3, future=[numbers(20, 1), numbers(19, 1)])
    with pytest.raises(ValueError, match=r"`future` must be a list.* Received: list of length 1"):
        backtest(short, [numbers(20, 2)] * 2, 3, future=[numbers(20, 1)])
    symbols = SequenceFramer(2, vocabulary=Vocabulary("AB"))
    with pytest.raises(ValueError, match="real values"):
        backtest(Generator(recurrent(steps=2, outputs=2), symbols), "ABAB", 1)
    holed = np.where(np.arange(30) == 15, np.nan, numbers(30))
    with pytest.raises(ValueError, match=r"origin 16 of sequence 1 .*`skip_nan=True`"):
        backtest(line(), [numbers(20), holed], 2, start=10)


@pytest.mark.filterwarnings("ignore:The framer knows no columns")
def test_tables_with_a_future():
    table = pd.DataFrame(
        {"sales": numbers(16), "price": numbers(16, seed=1)},
        index=pd.date_range("2024-01-31", periods=16, freq="ME"),
    )
    framer = SequenceFramer(3, horizon=2)
    generator = Generator(with_future(features=2), framer, targets="sales")
    result = backtest(generator, table, 3, future=table[["price"]])
    # The last block needs the future of two steps.
    assert result.origins[:, 1].tolist() == list(range(3, 13))
    for (_, origin), found in zip(result.origins, result.free_run, strict=True):
        expected = generator.forecast(
            table.iloc[:origin], 3, future=table[["price"]].iloc[origin : origin + 4]
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    frames = framer.frame(table, targets=["sales"], future=["price"])
    by_place = Generator(generator.model, framer, targets=[0])
    again = backtest(by_place, frames, 3)
    np.testing.assert_allclose(again.free_run[..., 0], result.free_run, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(again.actual[..., 0], result.actual)
    # The errors of a backtest are a noise for forecasts, of one column as of a list of one.
    ahead = table[["price"]].iloc[:4].to_numpy()
    paths = [
        Generator(generator.model, framer, targets=targets, seed=5).forecast(
            table, 4, future=ahead, num_samples=6, noise=tested.residuals
        )
        for targets, tested in (("sales", result), ([0], again))
    ]
    assert paths[0].shape == (6, 4)
    np.testing.assert_array_equal(paths[0], paths[1][..., 0])
    assert len(np.unique(paths[0][:, 0])) > 1
    arrays = framer.frame(table.to_numpy(), targets=[0], future=[1])
    with pytest.raises(ValueError, match="`targets`"):
        backtest(generator, arrays, 3)
    with pytest.raises(ValueError, match="`future` of Frames must name columns"):
        backtest(by_place, frames, 3, future=table[["price"]])


def shop(rows=24):
    index = pd.date_range("2024-01-01", periods=rows)
    return pd.DataFrame(numbers(rows, 3), index, ["units", "price", "holiday"])


def of_units(model, **given):
    """Return frames of a table, and a generator that forecasts its `units` by their names."""
    frames = SequenceFramer(3, horizon=2).frame(shop(), targets="units", **given)
    return frames, Generator(model, frames.framer, targets="units")


def test_frames_and_tables_are_read_by_names():
    table = shop()
    alone = seeded(
        keras.Sequential([keras.Input((3, 3)), layers.Flatten(), layers.Dense(2)]), scale=0.3
    )
    for model, given in (with_future(features=3), {"future": ["holiday"]}), (alone, {}):
        frames, generator = of_units(model, **given)
        known = table[["price", "holiday"]]
        expected = backtest(generator, table, 3, future=known)
        mixed = table.assign(store="a")[["holiday", "store", "units", "price"]]
        again = backtest(generator, mixed, 3, future=known[["holiday", "price"]])
        named = ["price", "holiday"][: 1 if given else 2]
        by_frames = backtest(generator, frames, 3, future=named)
        by_names = backtest(generator, mixed, 3, future=["holiday", "price"])
        for found in again, by_frames, by_names:
            np.testing.assert_array_equal(found.origins, expected.origins)
            np.testing.assert_allclose(found.free_run, expected.free_run, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(found.actual, expected.actual)
        with pytest.raises(ValueError, match=r"without \['price'\]"):
            backtest(generator, table.drop(columns="price"), 3, future=known)


def follower(features=2):
    """Return a generator of `sold`, which was `drive` one step before, and its table."""
    drive = numbers(40)
    table = pd.DataFrame({"sold": np.roll(drive, 1), "drive": drive})
    model = keras.Sequential(
        [keras.Input((1, features)), layers.Flatten(), layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.array([[0.0], [1.0]], "float32")])
    return model, table


@pytest.mark.parametrize("make", [pd.DataFrame, np.asarray], ids=["table", "array"])
def test_a_free_run_is_not_shown_what_nobody_knows(make):
    """A column that follows white noise has no error only if that noise is known ahead."""
    model, table = follower()
    data, targets = make(table), "sold" if make is pd.DataFrame else 0
    frames = SequenceFramer(1).frame(data, targets=targets)
    drive = "drive" if make is pd.DataFrame else 1
    generator = Generator(model, frames.framer, targets=targets)
    message = rf"`future` must name the columns \[{drive!r}\], .* `horizon` of at most 1"
    for sequences in (frames, frames.split(0.5, 0.5)[1]):
        with pytest.raises(ValueError, match=message):
            backtest(generator, sequences, 4)
        assert backtest(generator, sequences, 1).errors()["free_run"].max() < 1e-6
        assert backtest(generator, sequences, 4, future=[drive]).errors()["free_run"].max() < 1e-6
    with pytest.raises(ValueError, match=rf"`future` must hold the columns \[{drive!r}\]"):
        backtest(generator, data, 4)
    declared = SequenceFramer(1).frame(data, targets=targets, future=[drive])
    assert backtest(generator, declared, 4).errors()["free_run"].max() < 1e-6
    for wrong in [targets], [9], ["x"], 3.5, [drive, drive], data:
        with pytest.raises((TypeError, ValueError), match="future"):
            backtest(generator, frames, 4, future=wrong)


@pytest.mark.parametrize("batch_size", [None, 2], ids=["stateless", "stateful"])
def test_a_single_block_needs_no_column_that_is_not_predicted(batch_size):
    """A law: it is what it is, whatever comes after the origin."""
    table, framer = shop(), SequenceFramer(3 if batch_size is None else 1, horizon=3)
    model = recurrent(
        steps=framer.sequence_length, features=3, outputs=3, batch_size=batch_size, units=3
    )
    frames = framer.frame(table, targets="units")
    generator = Generator(model, frames.framer)
    result = backtest(generator, frames, 3)
    for (_, origin), found in list(zip(result.origins, result.free_run, strict=True))[::5]:
        history = table[:origin]
        for future in None, table[["holiday", "price"]][origin : origin + 3]:
            expected = generator.forecast(history, 3, future=future)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"`future` must hold the columns"):
        generator.forecast(table, 4)
    with pytest.raises(ValueError, match=r"without \['price'\]"):
        generator.forecast(table, 3, future=table[["holiday"]][:3])


def test_targets_that_are_no_column_are_refused():
    """A rollout feeds predictions back as columns, so it cannot be of other values."""
    values = numbers(30)
    generator = line()
    with pytest.raises(ValueError, match="`sequences` as Frames must have the predicted columns"):
        backtest(generator, SequenceFramer(2).frame(values, numbers(30, seed=3)), 3)
    same = SequenceFramer(2).frame(values, values.copy())
    expected = backtest(generator, values, 3).free_run
    np.testing.assert_allclose(backtest(generator, same, 3).free_run, expected, rtol=1e-6)


def test_other_future_covariates_do_not_stand_for_columns():
    """Arrays have no names, so those of a future may be anything."""
    values, other = numbers(24, 2), numbers(24, 1, seed=3)
    framer = SequenceFramer(3, horizon=2)
    generator = Generator(with_future(features=2), framer, targets=[0])
    with pytest.raises(ValueError, match=r"`future` must name the columns \[1\]"):
        backtest(generator, framer.frame(values, targets=[0], future=other), 3)
    own = framer.frame(values, targets=[0], future=values[:, 1:])
    named = framer.frame(values, targets=[0], future=[1])
    np.testing.assert_array_equal(
        backtest(generator, own, 3).free_run, backtest(generator, named, 3).free_run
    )


@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
def test_a_future_that_ends_with_the_data_leaves_no_last_one_step(horizon):
    """A law: what there is, is what a longer future gives."""
    generator = Generator(with_future(), SequenceFramer(3, horizon=2))
    data, plans = numbers(15), numbers(20, seed=1)
    longer = backtest(generator, data, horizon, future=plans)
    result = backtest(generator, data, horizon, future=plans[:15])
    # A free run of an odd number of steps needs one more row.
    assert result.origins[:, 1].tolist() == list(range(3, 15 - horizon - horizon % 2 + 1))
    count = len(result.origins)
    np.testing.assert_array_equal(result.free_run, longer.free_run[:count])
    step = result.origins[:, 1:] + np.arange(horizon)
    untold = step + 2 > 15
    assert untold.any() == (horizon % 2 == 0)
    np.testing.assert_array_equal(np.isnan(result.one_step), untold)
    np.testing.assert_array_equal(result.one_step[~untold], longer.one_step[:count][~untold])
    assert np.isfinite(result.residuals).all()
    np.testing.assert_array_equal(result.residual_steps[:, 1], np.unique(step[~untold]))
    for name, errors in result.errors().items():
        off = np.abs(getattr(result, name) - result.actual)
        np.testing.assert_allclose(errors, np.nanmean(off, axis=0), rtol=1e-6)


MODELS = {
    # What makes a generator, how many steps before an origin it is shown, and its data's shape.
    "windows": (line, 2, ()),
    "blocks with a gap": (blocks, 5, (2,)),
    "padded": (lambda: Generator(recurrent(steps=4), SequenceFramer(4, mode="prefixes")), 4, ()),
    "stateful": (stateful, 5, ()),
}


@pytest.mark.parametrize("kind", MODELS)
def test_origins_that_need_a_missing_step_are_left_out(kind):
    """A law: the other origins give the same as in data without gaps."""
    make, shown, features = MODELS[kind]
    generator, horizon = make(), 3
    whole = [numbers(30, *features), numbers(12, *features, seed=1)]
    gaps = [{11, 12, 25}, {2}]
    holed = [array.copy() for array in whole]
    for array, steps in zip(holed, gaps, strict=True):
        array[[*steps]] = np.nan
    given = {"history": 5} if kind == "stateful" else {}
    expected = backtest(generator, whole, horizon, **given)
    gap = generator.framer.gap  # its steps are not known, so they may be missing
    kept = [
        not gaps[n] & {*range(max(o - shown, 0), o - gap), *range(o, o + horizon)}
        for n, o in expected.origins
    ]
    result = backtest(generator, holed, horizon, skip_nan=True, **given)
    assert 0 < len(result.origins) == sum(kept) < len(kept)
    lost = [origin[0] for origin, keep in zip(expected.origins, kept, strict=True) if not keep]
    assert result.left_out == (lost.count(0), lost.count(1))
    assert result[0].left_out == (lost.count(0), 0)
    assert result[1].left_out == (0, lost.count(1))
    for name in "origins", "actual", "free_run", "one_step", "naive":
        found, there = getattr(result, name), getattr(expected, name)[kept]
        if name == "one_step":  # the next step needs the steps of the gap
            assert np.isnan(found).any() == bool(gap)
            there = np.where(np.isnan(found), np.nan, there)
        np.testing.assert_allclose(found, there, rtol=1e-5, atol=1e-6)
    assert np.isfinite(result.residuals).all()
    assert str(result).endswith(f"\n{len(lost)} origins left out: a step is missing")
    with pytest.raises(ValueError, match="skip_nan"):
        backtest(generator, holed, horizon, **given)


def test_frames_leave_out_their_missing_steps():
    data = numbers(40)
    holed = np.where(np.arange(40) == 20, np.nan, data)
    framer = SequenceFramer(2)
    expected = backtest(line(), holed, 3, skip_nan=True)
    by_frames = backtest(line(), framer.frame(holed, skip_nan=True), 3)
    marked = backtest(line(), framer.frame(data, valid=np.arange(40) != 20), 3)
    for found in by_frames, marked:
        np.testing.assert_array_equal(found.origins, expected.origins)
        np.testing.assert_allclose(found.free_run, expected.free_run, rtol=1e-6)
    everything = backtest(line(), framer.frame(data, valid=np.arange(40) != 20), 3, skip_nan=False)
    assert len(everything.origins) == len(backtest(line(), data, 3).origins)
    with pytest.raises(ValueError, match="missing step"):
        backtest(line(), np.full(40, np.nan), 3, skip_nan=True)


def test_a_gap_in_the_future_counts():
    generator = Generator(with_future(), SequenceFramer(3, horizon=2))
    data, plans = numbers(30), numbers(30, 1, seed=1)
    holed = plans.copy()
    holed[14] = np.nan
    expected = backtest(generator, data, 2, future=plans)
    result = backtest(generator, data, 2, future=holed, skip_nan=True)
    kept = [not origin <= 14 < origin + 2 for origin in expected.origins[:, 1]]
    np.testing.assert_array_equal(result.origins, expected.origins[kept])
    np.testing.assert_array_equal(result.free_run, expected.free_run[kept])
    # The one-step forecast of step 13 needs the gap, from every origin.
    step = result.origins[:, 1:] + np.arange(2)
    alone = expected.one_step[kept]
    alone[step == 13] = np.nan
    np.testing.assert_array_equal(result.one_step, alone)


@pytest.mark.parametrize("season", [1, 3, 7])
def test_the_seasonal_naive_baseline(season):
    data, horizon = numbers(40), 5
    result = backtest(line(), data, horizon, season=season)
    assert result.origins[0, 1] == max(season, 2)
    for (_, origin), found in zip(result.origins, result.seasonal_naive, strict=True):
        repeated = np.tile(data[origin - season : origin], horizon)
        np.testing.assert_array_equal(found, repeated[:horizon])
    assert list(result.errors()) == ["free_run", "one_step", "naive", "seasonal_naive"]
    head, row = str(result).splitlines()[1:3]
    assert head == "step  free run  one step     naive  seasonal naive"
    assert len(row) == len(head)
    if season == 1:
        np.testing.assert_array_equal(result.seasonal_naive, result.naive)
    periodic = backtest(line(), np.tile(numbers(season, seed=2), 12), horizon, season=season)
    assert periodic.errors()["seasonal_naive"].max() == 0


def test_the_backtest_of_a_sequence_is_its_own():
    """A law: it equals a backtest of that sequence."""
    sales = pd.DataFrame({"store": ["n"] * 12 + ["s"] * 15, "units": numbers(27)})
    frames = SequenceFramer(2).frame(sales, targets="units", by="store")
    generator = Generator(line().model, frames.framer)
    tested = backtest(generator, frames, 3)
    assert list(tested.labels) == ["n", "s"]
    for label, part in sales.groupby("store"):
        alone = backtest(generator, part[["units"]], 3)
        found = tested[label]
        for name in "actual", "free_run", "one_step", "naive", "residuals":
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
        np.testing.assert_array_equal(found.origins[:, 1], alone.origins[:, 1])
        forecast = np.zeros(found.actual.shape[1:])
        for bound, expected in zip(
            found.interval(forecast, 0.8), alone.interval(forecast, 0.8), strict=True
        ):
            np.testing.assert_array_equal(bound, expected)
    with pytest.raises(KeyError, match=r"`label` must be .* \['n', 's'\].*label='x'"):
        tested["x"]
    assert list(backtest(line(), [numbers(9), numbers(8)], 2).labels) == [0, 1]


@pytest.mark.parametrize("targets", [None, [0, 1]])
def test_frames_have_their_targets_in_the_order_of_the_predictions(targets):
    generator = Generator(recurrent(steps=3, features=2, outputs=2), targets=targets)
    data = numbers(20, 2)
    assert backtest(generator, SequenceFramer(3).frame(data, [0, 1]), 2)
    with pytest.raises(ValueError, match="must have the predicted columns as their targets"):
        backtest(generator, SequenceFramer(3).frame(data, [1, 0]), 2)
