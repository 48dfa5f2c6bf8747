"""Scores of a backtest: their definitions, what they are pooled over, and their tables."""

import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from models import numbers

from seqframe import Backtest

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
GROUPINGS = ("series", "step", "column")


def scored(features=(2,), library=None, **given):
    """Return a backtest of nine origins in two of three series, three steps ahead."""
    shape = 9, 3, *features
    each = {
        name: numbers(*shape, seed=seed).astype("float64")
        for seed, name in enumerate(["actual", "free_run", "one_step", "naive", "seasonal_naive"])
    }
    each["one_step"][2, 1] = np.nan
    quantiles = np.sort(numbers(len(LEVELS), *shape, seed=7), axis=0)
    origins = np.array([[series, 4 + step] for series, step in [(0, 0)] * 5 + [(2, 0)] * 4])
    options = dict(
        labels=["north", "east", "south"],
        by=("store",),
        columns=("units", "visits")[: features[0]] if features else ("units",),
        quantiles=dict(zip(LEVELS, quantiles, strict=True)),
        scale=np.abs(numbers(9, *features, seed=9)) + 0.5,
        library=library,
    )
    return Backtest(origins=origins, residuals=each["actual"][0], **each, **{**options, **given})


def rows_of(tested, table, by):
    """Yield the place of each row of a table in the arrays of its backtest."""
    width = tested.actual[0, 0].size
    for row in range(len(table["forecast"])):
        rows = np.ones((*tested.actual.shape[:2], width), bool)
        if "series" in by:
            number = list(tested.labels).index(table["store"][row])
            rows &= (tested.origins[:, 0] == number)[:, None, None]
        if "step" in by:
            rows &= (np.arange(3) + 1 == table["step"][row])[:, None]
        if "column" in by:
            rows &= np.array(tested.columns) == table["column"][row]
        yield row, rows.reshape(tested.actual.shape)


EVERY_BY = [by for count in range(4) for by in itertools.combinations(GROUPINGS, count)]


@pytest.mark.parametrize("by", EVERY_BY, ids="-".join)
@pytest.mark.parametrize("features", [(2,), ()], ids=["columns", "one"])
def test_scores_are_those_of_their_rows(by, features):
    """A law: each is the textbook's, of the values of its row."""
    metrics = pytest.importorskip("sklearn.metrics", reason="the oracle")
    tested = scored(features)
    table = tested.scores(by=by)
    sizes = {"series": 2, "step": 3, "column": features[0] if features else 1}
    assert len(table["forecast"]) == 4 * np.prod([sizes[name] for name in by], dtype=int)
    for row, chosen in rows_of(tested, table, by):
        forecast = getattr(tested, table["forecast"][row].replace(" ", "_"))
        chosen &= ~np.isnan(forecast)
        actual, found = tested.actual[chosen], forecast[chosen]
        scale = np.broadcast_to(tested.scale[:, None], tested.actual.shape)[chosen]
        off = np.abs(actual - found)
        expected = {
            "mae": metrics.mean_absolute_error(actual, found),
            "rmse": metrics.mean_squared_error(actual, found) ** 0.5,
            "mase": np.mean(off / scale),
            "smape": 100 * np.mean(off / ((np.abs(actual) + np.abs(found)) / 2)),
        }
        is_own = table["forecast"][row] == "free run"
        losses = [
            metrics.mean_pinball_loss(actual, values[chosen] if is_own else found, alpha=level)
            for level, values in tested.quantiles.items()
        ]
        expected["pinball"] = np.mean(losses)
        for outer in 0.05, 0.25:
            low, high = tested.quantiles[outer][chosen], tested.quantiles[1 - outer][chosen]
            inside = np.mean((low <= actual) & (actual <= high))
            expected[f"coverage {1 - 2 * outer:.4g}"] = inside if is_own else np.nan
        for name, value in expected.items():
            np.testing.assert_allclose(table[name][row], value, rtol=1e-6, err_msg=name)


def test_a_scale_that_is_unknown_or_zero_has_no_mase():
    """Errors without a scale count for nothing, and leave the other scores as they are."""
    tested = scored(())
    scale = np.array([*[np.nan] * 3, *[0.0] * 4, 2.0, 4.0])
    errors = np.abs(tested.free_run - tested.actual)[7:] / scale[7:, None]
    np.testing.assert_allclose(scored((), scale=scale).scores()["mase"][0], errors.mean())
    none = scored((), scale=np.zeros(9)).scores()
    assert np.isnan(none["mase"]).all()
    np.testing.assert_array_equal(none["mae"], tested.scores()["mae"])


def test_tables_are_of_the_library_of_the_data():
    """A law: they hold the same, whatever the library."""
    plain = scored().scores(by=["series", "step"], metrics=["rmse", "mae"])
    of_quantiles = ["pinball", "coverage 0.9", "coverage 0.5"]
    assert list(plain) == ["store", "step", "forecast", "rmse", "mae", *of_quantiles]
    for library in pd, pl:
        table = scored(library=library.__name__).scores(
            by=["series", "step"], metrics=["rmse", "mae"]
        )
        assert type(table) is library.DataFrame
        assert list(table.columns) == list(plain)
        for name, column in plain.items():
            np.testing.assert_array_equal(np.asarray(table[name]), column)


def test_a_backtest_can_be_pickled():
    tested = pickle.loads(pickle.dumps(scored(library="pandas")))
    pd.testing.assert_frame_equal(tested.scores("step"), scored(library="pandas").scores("step"))


def test_labels_of_several_columns_have_a_column_each():
    labels = [("north", 1), ("east", 1), ("south", 2)]
    table = scored(labels=labels, by=("store", "item"), quantiles={}).scores(
        "series", metrics="mae"
    )
    assert list(table) == ["store", "item", "forecast", "mae"]
    assert table["store"].tolist() == ["north"] * 4 + ["south"] * 4
    assert table["item"].tolist() == [1] * 4 + [2] * 4
    unnamed = scored(by=None).scores("series")
    assert unnamed["series"].tolist() == ["north"] * 4 + ["south"] * 4


def test_a_plain_table_prints_its_columns_below_each_other():
    table = scored((), quantiles={}).scores(metrics=["mae", "rmse"])
    lines = str(table).splitlines()
    assert lines[0].split() == ["forecast", "mae", "rmse"]
    assert len({*map(len, lines)}) == 1
    long = str(scored(quantiles={}).scores(by=GROUPINGS)).splitlines()
    assert len(long) == 14
    assert "…" in long[7]


def test_forecasts_have_a_row_for_each_value():
    tested = scored()
    found = tested.forecasts()
    quantiles = [f"quantile {level}" for level in LEVELS]
    names = ["free run", "one step", "naive", "seasonal naive"]
    labels = ["store", "origin", "time", "step", "column", "actual"]
    assert list(found) == [*labels, *names, *quantiles]
    for row in 0, 7, 53:
        origin, step, column = np.unravel_index(row, (9, 3, 2))
        assert found["store"][row] == ("north" if origin < 5 else "south")
        assert (found["origin"][row], found["time"][row], found["step"][row]) == (
            4,
            4 + step,
            1 + step,
        )
        assert found["column"][row] == ("units", "visits")[column]
        assert found["naive"][row] == tested.naive[origin, step, column]
        assert found["quantile 0.05"][row] == tested.quantiles[0.05][origin, step, column]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"by": "store"}, "by"),
        ({"by": ["step", "day"]}, "by"),
        ({"metrics": "mape"}, "metrics"),
        ({"metrics": ["mae", "MAE"]}, "metrics"),
        ({"metrics": []}, "metrics"),
    ],
)
def test_scores_name_what_they_do_not_know(given, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        scored().scores(**given)
