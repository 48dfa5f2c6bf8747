"""A forecast is a table like its history, for the steps after it."""

import narwhals as nw
import numpy as np
import pandas
import polars
import pytest
from libraries import EACH_LIBRARY, arrow
from models import numbers, recurrent

from seqframe import Generator, SequenceFramer, backtest
from seqframe.framing.dates import continue_index, continue_table

NEW_YORK = "America/New_York"


def dates(*days, **kwargs):
    return pandas.DatetimeIndex(days, **kwargs)


# A whole index, and after how many steps it is cut: the rest has to be found again.
CUT = {
    "days": (pandas.date_range("2024-02-25", periods=12), 5),
    "hours": (pandas.date_range("2024-02-28 20:30", periods=12, freq="h"), 5),
    "fifteen minutes": (pandas.date_range("2024-02-28 23:00", periods=12, freq="15min"), 5),
    "month starts": (pandas.date_range("2023-11-01", periods=12, freq="MS"), 5),
    "month ends": (pandas.date_range("2023-10-31", periods=12, freq="ME"), 5),
    "quarters": (pandas.date_range("2023-01-01", periods=12, freq="QS"), 5),
    "years": (pandas.date_range("1900-01-01", periods=12, freq="YS"), 5),
    "business days": (pandas.date_range("2024-02-22", periods=20, freq="B"), 8),
    "Mondays": (pandas.date_range("2024-01-01", periods=12, freq="W-MON"), 5),
    "three days": (pandas.date_range("2024-02-20", periods=12, freq="3D"), 5),
    "falling days": (pandas.date_range("2024-02-25", periods=12, freq="-1D"), 5),
    "two days only": (pandas.date_range("2024-02-25", periods=12), 2),
    "hours of a time zone": (
        pandas.date_range("2024-03-09 20:00", periods=12, freq="h", tz=NEW_YORK),  # a clock change
        5,
    ),
    "days of a time zone": (pandas.date_range("2024-03-07", periods=9, freq="D", tz=NEW_YORK), 5),
    "two days before a clock change": (pandas.date_range("2024-03-08", periods=9, tz=NEW_YORK), 2),
    "two days around one": (pandas.date_range("2024-03-10", periods=9, tz=NEW_YORK), 2),
    "two days around the other": (pandas.date_range("2024-11-03", periods=9, tz=NEW_YORK), 2),
    "UTC": (pandas.date_range("2024-03-09", periods=12, freq="6h", tz="UTC"), 5),
    "months as periods": (pandas.period_range("2023-11", periods=12, freq="M"), 5),
    "days as periods": (pandas.period_range("2024-02-25", periods=12, freq="D"), 5),
    "one period": (pandas.period_range("2023-11", periods=4, freq="Q"), 1),
    "every third day as periods": (pandas.period_range("2024-02-20", periods=30, freq="D")[::3], 5),
    "every other month as periods": (pandas.period_range("2023-11", periods=9, freq="M")[::2], 2),
    "periods of three days": (pandas.period_range("2024-02-20", periods=9, freq="3D"), 4),
    "time differences": (pandas.timedelta_range("1h", periods=12, freq="90min"), 5),
    "a range": (pandas.RangeIndex(12), 5),
    "a range with a step": (pandas.RangeIndex(3, 40, 3), 5),
    "a falling range": (pandas.RangeIndex(40, 3, -3), 5),
    "one of a range": (pandas.RangeIndex(7, 12), 1),
    "integers": (pandas.Index(np.arange(1700, 1712)), 5),
    "short integers": (pandas.Index(np.arange(0, 24, 2, dtype="int16")), 5),
    "falling integers": (pandas.Index(np.arange(12, 0, -1, dtype="uint8")), 5),
    "floats": (pandas.Index(np.arange(12) * 0.1), 5),
    "tiny floats": (pandas.Index(np.arange(12) * 1e-9), 5),
    "short floats": (pandas.Index(np.arange(12, dtype="float32") / 4), 5),
}


@pytest.mark.parametrize("has_frequency", [True, False], ids=["freq", "no freq"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
@pytest.mark.parametrize("kind", CUT)
def test_an_index_is_continued(kind, named, has_frequency):
    whole, cut = CUT[kind]
    whole = whole.rename("when") if named else whole
    known = whole[:cut]
    if not has_frequency and isinstance(known, (pandas.DatetimeIndex, pandas.TimedeltaIndex)):
        known = type(known)(known.to_list(), name=known.name)
        assert known.freq is None
    found = continue_index(known, len(whole) - cut)
    expected = whole[cut:]
    assert type(found) is type(expected)
    assert found.dtype.kind in (expected.dtype.kind, "i")
    assert found.name == expected.name
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    else:
        assert found.equals(expected)
        assert found.tolist() == expected.tolist()


NUMBERED = {
    "strings": pandas.Index(["a", "b", "c"]),
    "dates apart": dates("2024-01-01", "2024-01-02", "2024-01-05"),
    "dates out of order": dates("2024-01-01", "2024-01-03", "2024-01-02"),
    "a date": dates("2024-01-01"),
    "the same date": dates("2024-01-01", "2024-01-01"),
    "the same date three times": dates("2024-01-01", "2024-01-01", "2024-01-01"),
    "no dates": dates(None, None),
    "a date and none": dates("2024-01-01", None),
    "a period is missing": pandas.period_range("2024-01", periods=9, freq="M").delete(3),
    "no period": pandas.PeriodIndex([None, None], freq="M"),
    "the same period": pandas.PeriodIndex(["2024-01", "2024-01"], freq="M"),
    "one number": pandas.Index([5.0]),
    "numbers apart": pandas.Index([1, 2, 4]),
    "tiny numbers apart": pandas.Index([0, 1e-9, 3e-9]),
    "the same number": pandas.Index([1, 1, 1]),
    "missing numbers": pandas.Index([1.0, np.nan, 3.0]),
    "missing integers": pandas.Index([1, 2, None], dtype="Int64"),
    "yes and no": pandas.Index([False, True]),
    "several levels": pandas.MultiIndex.from_product([["a", "b"], [1, 2]]),
    "categories": pandas.CategoricalIndex(["a", "b"]),
}


@pytest.mark.parametrize("kind", NUMBERED)
def test_steps_after_another_index_are_numbered(kind):
    index = NUMBERED[kind]
    found = continue_index(index, 3)
    assert found.equals(pandas.RangeIndex(len(index), len(index) + 3))


VALUES = np.arange(6.0).reshape(3, 2)
DAYS = pandas.date_range("2026-01-01", periods=7)
INDEX, AFTER = pandas.RangeIndex(4), pandas.RangeIndex(4, 7)


@pytest.mark.parametrize("name", ["a", None, 3])
def test_a_forecast_of_a_series_has_its_name(name):
    series = pandas.Series(np.zeros(4), INDEX, name=name)
    found = continue_table(series, VALUES[:, 0])
    pandas.testing.assert_series_equal(found, pandas.Series(VALUES[:, 0], AFTER, name=name))


@pytest.mark.parametrize(
    "columns",
    [
        pandas.Index(["a", "b"], name="item"),
        pandas.Index([2020, 2021]),
        pandas.CategoricalIndex(["b", "a"]),
        pandas.period_range("2026-01", periods=2, freq="M"),
        pandas.MultiIndex.from_product([["shop"], ["a", "b"]], names=["store", "item"]),
        pandas.MultiIndex.from_tuples([(1, "a", True), (0, "b", True)]),
        pandas.Index(["a", "a"]),
    ],
    ids=lambda columns: type(columns).__name__,
)
def test_columns_keep_their_index(columns):
    """A law: a forecast has the columns of its history, a level of quantiles below them."""
    table = pandas.DataFrame(np.zeros((4, 2)), INDEX, columns)
    levels = [0.1, 0.5, 0.9]
    quantiles = np.arange(18.0).reshape(3, 3, 2)
    for places in None, [1, 0], [1]:
        kept = columns if places is None else columns[places]
        width = len(kept)
        found = continue_table(table, VALUES[:, :width], places)
        expected = pandas.DataFrame(VALUES[:, :width], AFTER, kept)
        pandas.testing.assert_frame_equal(found, expected, check_column_type=True)
        many = continue_table(table, quantiles[..., :width], places, levels)
        assert many.columns.names == [*columns.names, "quantile"]
        for place, level in enumerate(levels):
            part = many.xs(level, axis=1, level="quantile")
            np.testing.assert_array_equal(part, quantiles[place, :, :width])
            assert part.columns.tolist() == kept.tolist()
            assert part.columns.dtype == kept.dtype
    found = continue_table(table, VALUES[:, 0], 1)
    pandas.testing.assert_series_equal(found, pandas.Series(VALUES[:, 0], AFTER, name=columns[1]))


def test_quantiles_of_one_column():
    levels = [0.1, 0.5, 0.9]
    values = np.arange(9.0).reshape(3, 3)  # quantiles, steps
    columns = pandas.Index(levels, name="quantile")
    expected = pandas.DataFrame(values.T, AFTER, columns)
    series = pandas.Series(np.zeros(4), INDEX, name="a")
    table = pandas.DataFrame(np.zeros((4, 2)), INDEX, ["a", "b"])
    for history, target in (series, None), (table, 1):
        found = continue_table(history, values, target, levels)
        pandas.testing.assert_frame_equal(found, expected)


WITHOUT_INDEX = pytest.mark.parametrize("library", [polars, arrow], ids=["polars", "pyarrow"])


def to_dict(table):
    """Return the columns of a table as arrays."""
    return {name: table[name].to_numpy() for name in nw.from_native(table).columns}


@WITHOUT_INDEX
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_tables_without_an_index(library, steps):
    """As many steps as columns are still steps."""
    values = np.arange(2.0 * steps, dtype="float32").reshape(steps, 2)
    table, series = library.DataFrame({"a": [0.0], "b": [0.0]}), library.Series([0.0])
    for columns, names in (None, "ab"), ([1, 0], "ba"), ([1], "b"):
        found = continue_table(table, values[:, : len(names)], columns)
        assert type(found) is type(table)
        assert [*to_dict(found)] == [*names]
        for place, array in enumerate(to_dict(found).values()):
            np.testing.assert_array_equal(array, values[:, place], strict=True)
    for found in continue_table(table, values[:, 1], 1), continue_table(series, values[:, 1]):
        assert type(found) is type(series)
        np.testing.assert_array_equal(found.to_numpy(), values[:, 1], strict=True)


@WITHOUT_INDEX
def test_quantiles_without_an_index(library):
    levels = [0.1, 0.9]
    values = np.arange(12.0).reshape(2, 3, 2)
    table = library.DataFrame({"a": [0.0], "b": [0.0]})
    found = to_dict(continue_table(table, values, None, levels))
    assert [*found] == ["a_0.1", "a_0.9", "b_0.1", "b_0.9"]
    for k, level in enumerate(levels):
        for column, name in enumerate("ab"):
            np.testing.assert_array_equal(found[f"{name}_{level}"], values[k, :, column])
    found = to_dict(continue_table(library.Series([0.0]), values[..., 0], None, levels))
    assert [*found] == ["0.1", "0.9"]
    np.testing.assert_array_equal(found["0.9"], values[1, :, 0])


@EACH_LIBRARY
def test_forecasts_are_tables_of_the_library_of_their_history(library):
    values = numbers(8)
    generator = Generator(recurrent(steps=2), SequenceFramer(2))
    expected = generator.forecast(values, 3)
    for history in library.DataFrame({"a": values}), library.Series(values):
        found = generator.forecast(history, 3)
        assert type(found) is type(history)
        found = np.asarray(found).reshape(3)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(backtest(generator, history, 2).actual[0], values[2:4])
    frames = SequenceFramer(1, columns=["b", "a"]).frame(
        library.DataFrame({"a": values, "b": values + 1})
    )
    assert frames[0][0].tolist() == [[values[0] + 1, values[0]]]
