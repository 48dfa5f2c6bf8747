"""Backtests of one table of many series, with their intervals, dates and refits."""

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import layers
from models import numbers, seeded, with_future

from seqframe import Generator, SequenceFramer, backtest

SIZES = {"north": 22, "east": 16, "south": 5, "west": 19}  # south is too short for an origin


def panel(first="2026-01-01"):
    """Return a table of stores of unequal lengths, which end on the same day."""
    last = pd.Timestamp(first) + pd.Timedelta(days=max(SIZES.values()) - 1)
    parts = [
        pd.DataFrame(
            {
                "store": store,
                "units": 10 * place + numbers(size, seed=place),
                "price": numbers(size, seed=9 + place),
            },
            pd.date_range(end=last, periods=size),
        )
        for place, (store, size) in enumerate(SIZES.items())
    ]
    return pd.concat(parts)


def plain(table):
    """Return a table as polars has it, without its dates."""
    return pl.from_pandas(table.reset_index(drop=True))


def dated(table):
    """Return a table as polars has it, with its dates as a column."""
    return pl.from_pandas(table.rename_axis("day").reset_index())


LIBRARIES = {"pandas": lambda table: table, "polars": plain, "dated polars": dated}


@pytest.fixture(scope="module")
def direct():
    """A generator of two days of units, from four days of units and prices."""
    model = keras.Sequential([keras.Input((4, 2)), layers.Flatten(), layers.Dense(2)])
    framer = SequenceFramer(4, horizon=2, columns=["units", "price"], by="store")
    return Generator(seeded(model, scale=0.3), framer, targets="units")


@pytest.fixture(scope="module")
def informed():
    """A generator of two days of units that knows their prices."""
    framer = SequenceFramer(
        4, horizon=2, columns=["units", "price"], future_columns=["price"], by="store"
    )
    return Generator(with_future(4, features=2), framer, targets="units")


def assert_same_backtest(found, expected):
    np.testing.assert_array_equal(found.origins[:, 1], expected.origins[:, 1])
    for name in "actual", "free_run", "one_step", "naive", "residuals", "scale":
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_series_of_a_table_are_tested_as_they_are_by_themselves(library, direct):
    """A law. The columns that are only known in the past are asked of nobody."""
    table = LIBRARIES[library](panel())
    tested = backtest(direct, table, 2, stride=3)
    assert list(tested) == list(SIZES)
    assert {*tested.origins[:, 0]} == {0, 1, 3}
    for store in "north", "east", "west":
        alone = panel()[panel()["store"] == store]
        assert_same_backtest(tested[store], backtest(direct, alone, 2, stride=3))
    assert len(tested["south"].origins) == 0
    with pytest.raises(KeyError, match="south"):
        tested["centre"]
    scores = tested.scores("series", metrics="mae")
    assert type(scores).__module__.split(".")[0] == library.split()[-1]
    assert [*scores["store"]] == [store for store in ("north", "east", "west") for _ in range(3)]


def test_forecasts_come_with_their_series_and_dates(direct):
    """A law: the actual values are those of the data at these dates."""
    table = panel()
    frames = direct.framer.frame(table[table["store"] != "south"], targets="units")
    part = frames.split(0.5, 0.5)[1]
    known = table.set_index("store", append=True)["units"]
    for data in table, frames, part:
        tested = backtest(direct, data, 2, stride=2)
        found = tested.forecasts()
        names = ["store", "origin", "step", "actual", "free run", "one step", "naive"]
        assert list(found.columns) == names
        expected = known.loc[list(zip(found.index, found["store"], strict=True))]
        np.testing.assert_allclose(found["actual"], expected)
        assert (found.index == found["origin"] + pd.to_timedelta(found["step"] - 1, unit="D")).all()
        np.testing.assert_array_equal(found["free run"], tested.free_run.ravel())
    found = backtest(direct, plain(table), 2, stride=2).forecasts()
    assert found.columns == [*names[:2], "time", *names[2:]]
    assert (found["time"] == found["origin"] + found["step"] - 1).all()
    found = backtest(direct, dated(table), 2, start="2026-01-12").forecasts()
    assert found.columns == ["day", *names]
    assert found["day"].dtype == found["origin"].dtype
    assert found["day"].dtype.base_type() == pl.Datetime


@pytest.mark.filterwarnings("ignore:1 of 4 sequences have no frame")
@pytest.mark.parametrize("library", LIBRARIES)
def test_future_covariates_belong_to_their_series_by_label(library, informed):
    """A law: whatever their order, each series gets its own."""
    table = panel()
    expected = backtest(informed, table, 2, future=["price"])
    plans = pd.concat([part for _, part in table[["store", "price"]].groupby("store", sort=True)])
    assert plans["store"].iloc[0] != table["store"].iloc[0]
    make = LIBRARIES[library]
    found = backtest(informed, make(table), 2, future=make(plans))
    for store in "north", "east", "west":
        assert_same_backtest(found[store], expected[store])
    frames = informed.framer.frame(make(table), targets="units", future=["price"])
    by_frames = backtest(informed, frames, 2)
    assert_same_backtest(by_frames["west"], expected["west"])


def test_a_future_needs_the_labels_of_each_series(informed):
    table = panel()
    with pytest.raises(ValueError, match=r"`future` must have the columns \['store'\]"):
        backtest(informed, table, 2, future=table[["price"]])
    with pytest.raises(ValueError, match=r"`future` must have rows of each series.*'west'"):
        backtest(informed, table, 2, future=table[table["store"] != "west"])
    late = table.copy()
    late.index += pd.Timedelta(days=1)
    with pytest.raises(ValueError, match=r"`future\['north'\]` must have the dates"):
        backtest(informed, table, 2, future=late)


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_series_has_its_own_intervals_and_a_new_one_those_of_all(library, direct):
    """A law: those of a series are the ones of its own backtest, if its origins are enough."""
    table, make = panel(), LIBRARIES[library]
    tested = backtest(direct, make(table), 2)
    days = pd.date_range("2026-02-01", periods=2)
    stores = ["west", "centre", "north"]
    forecast = pd.DataFrame(
        {"store": np.repeat(stores, 2), "units": np.arange(6.0)}, days.append([days, days])
    )
    for coverage in 0.9, 0.92:
        bounds = tested.interval(make(forecast), coverage)
        for store, values in zip(stores, np.arange(6.0).reshape(3, 2), strict=True):
            own = tested if store == "centre" else tested[store]
            if coverage == 0.92 and store == "west":  # 14 origins suffice, 11 do not
                assert len(own.origins) >= 12
            for bound, expected in zip(bounds, own.interval(values, coverage), strict=True):
                assert type(bound) is type(make(forecast))
                part = (
                    bound[np.asarray(bound["store"] == store)]
                    if library == "pandas"
                    else (bound.filter(pl.col("store") == store))
                )
                np.testing.assert_allclose(part["units"], expected, rtol=1e-6)
    # East has eleven origins.
    east = make(forecast[:2].assign(store="east"))
    np.testing.assert_array_equal(
        tested.interval(east, 0.95)[1]["units"],
        tested.interval(make(forecast[:2].assign(store="centre")), 0.95)[1]["units"],
    )
    if library == "pandas":
        assert bounds[0].index.equals(forecast.index)
        with pytest.raises(ValueError, match=r"`forecast` must have the columns \['units'\]"):
            tested.interval(forecast.rename(columns={"units": "0.9"}))
        longer = pd.concat([forecast, forecast[:2].assign(store="north")])
        with pytest.raises(ValueError, match="at most 2 steps"):
            tested.interval(longer)


def test_a_dict_of_series_keeps_its_names(direct):
    """A law: it is tested as the table of its series, and so are its intervals."""
    table = panel()
    series = {store: table[table["store"] == store] for store in SIZES}
    expected, found = backtest(direct, table, 2), backtest(direct, series, 2)
    assert list(found) == list(SIZES)
    assert_same_backtest(found, expected)
    forecast = {store: np.arange(2.0) for store in ("west", "south", "centre")}
    for bound, k in zip(found.interval(forecast, 0.8), (0, 1), strict=True):
        assert list(bound) == list(forecast)
        np.testing.assert_array_equal(bound["west"], found["west"].interval(np.arange(2.0), 0.8)[k])
        for store in "south", "centre":
            np.testing.assert_array_equal(bound[store], found.interval(np.arange(2.0), 0.8)[k])


def test_a_walk_may_start_at_a_date(direct):
    """A law: each series begins there, by whole strides later if it has too few steps."""
    table = panel()
    day = pd.Timestamp("2026-01-09")
    for start in day, "2026-01-09", day.date(), day.to_datetime64():
        tested = backtest(direct, table, 2, start=start, stride=2)
        for number, (store, size) in enumerate(SIZES.items()):
            dates = table.index[table["store"] == store]
            began = max((day - dates[0]).days, 0)
            expected = [step for step in range(began, size - 1, 2) if step >= 4]
            assert tested.origins[tested.origins[:, 0] == number, 1].tolist() == expected
    with pytest.raises(ValueError, match=r"`start` must be a date in the sequences.*2026-01-22"):
        backtest(direct, table, 2, start="2026-02-01")
    with pytest.raises(ValueError, match="`start` must be a step, or a date"):
        backtest(direct, table, 2, start="soon")
    with pytest.raises(TypeError, match=r"`start` must be an integer.*no dates"):
        backtest(direct, plain(table), 2, start="2026-01-09")
