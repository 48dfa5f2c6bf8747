"""A table of any library is one array with names, and lazy tables are refused."""

import subprocess
import sys
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer
from seqframe.framing.tables import column_names, is_table, read_table, table_array

NUMBERS = ["int8", "uint8", "int16", "int32", "int64", "uint64", "float32", "float64"]


@EACH_LIBRARY
def test_tables_have_names_and_series_do_not(library):
    table = library.DataFrame({"price": [1.0], "volume": [4.0]})
    assert column_names(table) == ["price", "volume"]
    assert is_table(table)
    series = library.Series([1, 2])
    assert column_names(series) is None
    assert not is_table(series)
    assert (read_table(table).ndim, read_table(series).ndim) == (2, 1)
    assert read_table(read_table(table)[1:]).data.shape == (0, 2)


@pytest.mark.parametrize("value", [np.zeros((2, 2)), [1], "AB", 3, None, pd.Index([1]), {"a": 1}])
def test_other_values_are_no_tables(value):
    assert read_table(value) is value
    assert not is_table(value)


def test_derived_classes_are_tables():
    for kind in pd.DataFrame, pd.Series, pl.DataFrame:
        table = type("Derived", (kind,), {})([1, 2])
        assert len(read_table(table)) == 2
        assert len(SequenceFramer(1).frame(table)) == 1


def test_columns_may_have_one_name_or_no_string():
    import pyarrow

    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    arrow = pyarrow.table([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    for table in twice, arrow:
        assert column_names(table) == ["a", "a"]
        assert table_array(table, "table").tolist() == [[1, 2]]
    for labels in [[1, 0], pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])]:
        assert table_array(pd.DataFrame([[1, 2]], columns=labels), "table").tolist() == [[1, 2]]


@pytest.mark.parametrize("where", ["sequences", "a list", "targets", "future", "sample_weight"])
def test_lazy_tables_are_refused(where):
    lazy, steps = pl.LazyFrame({"a": [1.0, 2.0, 3.0]}), np.arange(3.0)
    given = {
        "sequences": dict(sequences=lazy),
        "a list": dict(sequences=[lazy, lazy]),
    }.get(where, {"sequences": steps, where: lazy})
    with pytest.raises(TypeError, match=r"lazy table .* polars LazyFrame.*`table.collect\(\)`"):
        SequenceFramer(1).frame(**given)


def test_narwhals_is_imported_when_a_table_comes():
    code = (
        "import sys, numpy, seqframe\n"
        "seqframe.SequenceFramer(2).frame(numpy.arange(9), [*range(9)], future=[[1]] * 9)\n"
        "assert not {'narwhals', 'pandas', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@EACH_LIBRARY
@pytest.mark.parametrize("others", [[], *([kind] for kind in NUMBERS), ["int32", "float32"]])
def test_bools_beside_numbers_are_numbers(library, others):
    """A law: NumPy promotes, and every value is what it was."""
    columns = {"holiday": np.array([True, False, True])}
    for kind in others:
        large = np.iinfo(kind).max if np.dtype(kind).kind in "iu" else 0.1
        columns[kind] = np.array([0, 1, large], kind)
    expected = np.result_type(*(array.dtype for array in columns.values()))
    for order in list(columns), list(columns)[::-1]:
        found = table_array(library.DataFrame({name: columns[name] for name in order}), "table")
        assert found.dtype == expected
        for place, name in enumerate(order):
            np.testing.assert_array_equal(found[:, place], columns[name].astype(expected))


@EACH_LIBRARY
@pytest.mark.parametrize("columns", [["units", "day"], ["day"], ["units", "name"]])
def test_columns_without_numbers_are_named(library, columns):
    values = {
        "units": [1.0, 2.0],
        "day": [date(2026, 1, 1), date(2026, 1, 2)],
        "name": ["a", "b"],
    }
    table = library.DataFrame({name: values[name] for name in columns})
    with pytest.raises(TypeError, match=rf"`sequences`.* the columns '{columns[-1]}' \(.*`by`"):
        SequenceFramer(1).frame(table)
    # Other columns may hold anything.
    if "units" in columns:
        assert len(SequenceFramer(1, columns=["units"]).frame(table)) == 1


def test_tables_of_one_dtype_are_not_copied():
    data = np.zeros((9, 2))
    table = pd.DataFrame(data, copy=False)
    (array,) = SequenceFramer(2).frame(table).source.inputs.arrays
    assert np.shares_memory(array, table.to_numpy())


@EACH_LIBRARY
def test_a_missing_number_is_nan(library):
    table = library.DataFrame({"a": [1, None, 3, 4, 5], "b": [1.0] * 5})
    np.testing.assert_array_equal(table_array(table, "table")[:2], [[1, 1], [np.nan, 1]])
    assert len(SequenceFramer(2).frame(table, skip_nan=True)) == 1


NULLABLE = {  # types of pandas' own, which are numbers column by column
    "Int64": [1, 0, 2],
    "UInt8": [1, 0, 2],
    "Float64": [1.5, 0.0, 2.0],
    "boolean": [True, False, True],
}


@pytest.mark.parametrize("one", NULLABLE)
@pytest.mark.parametrize("other", [*NULLABLE, "int64", "float32"])
def test_nullable_columns_equal_their_series(one, other):
    values = NULLABLE.get(other, [3, 4, 5])
    table = pd.DataFrame({"a": pd.array(NULLABLE[one], one), "b": pd.Series(values, dtype=other)})
    columns = [table[name].to_numpy() for name in table]
    found = table_array(table, "table")
    assert found.dtype == np.result_type(*columns)
    np.testing.assert_array_equal(found, np.stack(columns, axis=1))
    assert len(SequenceFramer(2).frame(table)) == 1


@pytest.mark.parametrize("dtype", ["Int64", "Float64"])
def test_pandas_missing_number_is_nan(dtype):
    table = pd.DataFrame({"a": pd.array([1, None, 3, 4, 5], dtype), "b": pd.array([1] * 5, dtype)})
    np.testing.assert_array_equal(table_array(table, "table")[:2], [[1, 1], [np.nan, 1]])
    assert len(SequenceFramer(2).frame(table, skip_nan=True)) == 1


def test_categories_that_are_numbers_are_numbers():
    table = pd.DataFrame({"a": pd.Categorical([1, 3]), "b": pd.Categorical([2, 2])})
    np.testing.assert_array_equal(table_array(table, "table"), [[1, 2], [3, 2]])
