"""Continuation: a forecast is a table like its history, of the steps after it."""

import numpy as np
import pandas
import polars
import polars.testing
import pytest

from seqframe.rollout.continuation import continue_index, continue_table

NEW_YORK = "America/New_York"


def dates(*days, **kwargs):
    return pandas.DatetimeIndex(days, **kwargs)


# An index that is cut after its first steps has to go on as it does by itself.
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
def test_an_index_goes_on(kind, named, has_frequency):
    whole, cut = CUT[kind]
    whole = whole.rename("when") if named else whole
    known = whole[:cut]
    if not has_frequency and isinstance(known, (pandas.DatetimeIndex, pandas.TimedeltaIndex)):
        known = type(known)(known.to_list(), name=known.name)
        assert known.freq is None
    found = continue_index(known, len(whole) - cut)
    expected = whole[cut:]
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
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


def test_numbers_that_no_longer_fit():
    found = continue_index(pandas.Index([2, 1, 0], dtype="uint8"), 2)
    assert found.tolist() == [-1, -2]
    found = continue_index(pandas.Index([32765, 32766], dtype="int16"), 2)
    assert found.tolist() == [32767, 32768]


VALUES = np.arange(6.0).reshape(3, 2)
DAYS = pandas.date_range("2026-01-01", periods=7)
INDEX, AFTER = pandas.RangeIndex(4), pandas.RangeIndex(4, 7)


def test_arrays_are_left_as_they_are():
    for history in np.zeros(4), [1.0, 2.0]:
        assert continue_table(history, VALUES) is VALUES


def test_pandas_tables():
    table = pandas.DataFrame(np.zeros((4, 2)), INDEX, ["a", "b"])
    found = continue_table(table, VALUES)
    pandas.testing.assert_frame_equal(found, pandas.DataFrame(VALUES, AFTER, ["a", "b"]))
    # Some of its columns; in the order of the targets.
    found = continue_table(table, VALUES, [1, 0])
    pandas.testing.assert_frame_equal(found, pandas.DataFrame(VALUES, AFTER, ["b", "a"]))
    found = continue_table(table, VALUES[:, :1], [1])
    pandas.testing.assert_frame_equal(found, pandas.DataFrame(VALUES[:, :1], AFTER, ["b"]))
    found = continue_table(table, VALUES[:, 0], 1)
    pandas.testing.assert_series_equal(found, pandas.Series(VALUES[:, 0], AFTER, name="b"))
    for name in "a", None, 3:
        series = pandas.Series(np.zeros(4), INDEX, name=name)
        found = continue_table(series, VALUES[:, 0])
        pandas.testing.assert_series_equal(found, pandas.Series(VALUES[:, 0], AFTER, name=name))
    # Columns that are no strings stay what they are.
    table.columns = [2020, 2021]
    assert continue_table(table, VALUES).columns.tolist() == [2020, 2021]


@pytest.mark.parametrize(
    "columns",
    [
        pandas.Index(["a", "b"], name="item"),
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
        pandas.testing.assert_index_equal(found.columns, kept, exact=True)
        many = continue_table(table, quantiles[..., :width], places, levels)
        assert many.columns.names == [*columns.names, "quantile"]
        for place, level in enumerate(levels):
            part = many.xs(level, axis=1, level="quantile")
            np.testing.assert_array_equal(part, quantiles[place, :, :width])
            assert part.columns.tolist() == kept.tolist()
            assert part.columns.dtype == kept.dtype
    assert continue_table(table, VALUES[:, 0], 1).name == columns[1]


class Derived(pandas.DataFrame):
    """A class of somebody else's, as geopandas has one."""


def test_a_table_of_a_derived_class_is_continued():
    table = pandas.DataFrame(np.zeros((4, 2)), dates(*DAYS[:4]), ["a", "b"])
    expected = continue_table(table, VALUES)
    assert expected.index.equals(DAYS[4:7])
    pandas.testing.assert_frame_equal(continue_table(Derived(table), VALUES), expected)


def test_pandas_quantiles():
    levels = [0.1, 0.5, 0.9]
    values = np.arange(18.0).reshape(3, 3, 2)  # quantiles, steps, columns
    series = pandas.Series(np.zeros(4), INDEX, name="a")
    found = continue_table(series, values[..., 0], None, levels)
    assert found.index.equals(AFTER)
    assert found.columns.tolist() == levels
    assert found.columns.name == "quantile"
    table = pandas.DataFrame(np.zeros((4, 2)), INDEX, ["a", "b"])
    for columns, names in (None, "ab"), ([1, 0], "ba"):
        many = continue_table(table, values, columns, levels)
        assert many.columns.names == [None, "quantile"]
        for k, level in enumerate(levels):
            np.testing.assert_array_equal(found[level], values[k, :, 0])
            for column, name in enumerate(names):
                np.testing.assert_array_equal(many[name, level], values[k, :, column])
    one = continue_table(table, values[..., 0], 1, levels)
    pandas.testing.assert_frame_equal(one, found)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_polars_tables(steps):
    """As many steps as columns are still steps."""
    values = np.arange(2.0 * steps).reshape(steps, 2)
    table = polars.DataFrame({"a": [0.0], "b": [0.0]})
    found = continue_table(table, values)
    expected = polars.DataFrame({"a": values[:, 0], "b": values[:, 1]})
    polars.testing.assert_frame_equal(found, expected)
    polars.testing.assert_frame_equal(
        continue_table(table, values, [1, 0]), expected.rename({"a": "b", "b": "a"})
    )
    polars.testing.assert_series_equal(
        continue_table(table, values[:, 1], 1), polars.Series("b", values[:, 1])
    )
    series = polars.Series("a", [0.0])
    polars.testing.assert_series_equal(
        continue_table(series, values[:, 0]), polars.Series("a", values[:, 0])
    )


def test_polars_quantiles():
    levels = [0.1, 0.9]
    values = np.arange(12.0).reshape(2, 3, 2)
    table = polars.DataFrame({"a": [0.0], "b": [0.0]})
    found = continue_table(table, values, None, levels)
    assert found.columns == ["a_0.1", "a_0.9", "b_0.1", "b_0.9"]
    for k, level in enumerate(levels):
        for column, name in enumerate("ab"):
            np.testing.assert_array_equal(found[f"{name}_{level}"], values[k, :, column])
    found = continue_table(polars.Series("a", [0.0]), values[..., 0], None, levels)
    assert found.columns == ["0.1", "0.9"]
    np.testing.assert_array_equal(found["0.9"], values[1, :, 0])
