"""A DataFrame is an array of the type that holds all of its columns."""

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

from seqframe import SequenceFramer
from seqframe.framing.tables import column_names, library_of, table_array

LIBRARIES = pytest.mark.parametrize("library", [pd, pl])
NUMBERS = ["int8", "uint8", "int16", "int32", "int64", "uint64", "float32", "float64"]


@LIBRARIES
def test_column_names(library):
    assert column_names(library.DataFrame({"price": [1.0], "volume": [4.0]})) == ["price", "volume"]
    assert column_names(library.Series([1, 2])) is None
    assert column_names(np.zeros((2, 2))) is None


@LIBRARIES
@pytest.mark.parametrize("kind", ["DataFrame", "Series"])
def test_a_class_of_anothers_is_of_the_library_that_it_is_made_of(library, kind):
    of = getattr(library, kind)
    derived = type("Derived", (of,), {})
    further = type("Further", (derived,), {})
    assert [*map(library_of, (of, derived, further))] == [library.__name__] * 3
    namesake = type(kind, (), {"__module__": "other"})
    for other in namesake, np.ndarray, list, str, int, pd.Index, pd.Categorical:
        assert library_of(other) is None


@LIBRARIES
@pytest.mark.parametrize("others", [[], *([kind] for kind in NUMBERS), ["int32", "float32"]])
def test_bools_beside_numbers_are_numbers(library, others):
    """A law: NumPy promotes, and every value is what it was."""
    holiday = np.array([True, False, True])
    columns = {"holiday": holiday}
    for kind in others:
        large = np.iinfo(kind).max if np.dtype(kind).kind in "iu" else 0.1
        columns[kind] = np.array([0, 1, large], kind)
    expected = np.result_type(*(array.dtype for array in columns.values()))
    for order in list(columns), list(columns)[::-1]:
        found = table_array(library.DataFrame({name: columns[name] for name in order}), "table")
        assert found.dtype == expected
        for place, name in enumerate(order):
            np.testing.assert_array_equal(found[:, place], columns[name].astype(expected))


@LIBRARIES
def test_a_table_with_bools_is_framed(library):
    values, holiday = np.arange(6.0, dtype="float32"), np.arange(6) % 2 == 0
    table = library.DataFrame({"price": values, "holiday": holiday})
    frames = SequenceFramer(2).frame(table, targets="price", future=["holiday"])
    x, y = frames.arrays()
    assert x["past"].dtype == y.dtype == "float32"
    np.testing.assert_array_equal(y, values[2:])
    np.testing.assert_array_equal(x["future"][:, 0, 0], holiday[2:])
    alone = SequenceFramer(2).frame(library.DataFrame({"a": holiday, "b": ~holiday}))
    assert alone.arrays()[0].dtype == bool


@pytest.mark.parametrize(
    ("library", "advice"),
    [
        (pd, r"`table\.set_index\(name\)`, .*`\.astype\('float32'\)`"),
        (pl, r"`table\.drop\(name\)`; .*`\.cast\(polars\.Float32\)`"),
    ],
)
def test_what_to_do_with_dates_is_the_librarys_own(library, advice):
    table = library.DataFrame({"day": [date(2026, 1, 1), date(2026, 1, 2)], "units": [1.0, 2.0]})
    with pytest.raises(TypeError, match=rf"the columns 'day' \(\w+\)\. .*{advice}"):
        table_array(table, "sequences")


NULLABLE = {  # types of pandas' own, which are numbers column by column
    "Int64": [1, 0, 2],
    "UInt8": [1, 0, 2],
    "Float64": [1.5, 0.0, 2.0],
    "boolean": [True, False, True],
}


@pytest.mark.parametrize("one", NULLABLE)
@pytest.mark.parametrize("other", [*NULLABLE, "int64", "float32"])
def test_nullable_columns_are_what_they_are_as_series(one, other):
    values = NULLABLE.get(other, [3, 4, 5])
    table = pd.DataFrame({"a": pd.array(NULLABLE[one], one), "b": pd.Series(values, dtype=other)})
    columns = [table[name].to_numpy() for name in table]
    found = table_array(table, "table")
    assert found.dtype == np.result_type(*columns)
    np.testing.assert_array_equal(found, np.stack(columns, axis=1))
    assert len(SequenceFramer(2).frame(table)) == 1


@pytest.mark.parametrize("dtype", ["Int64", "Float64"])
def test_a_missing_number_is_nan(dtype):
    table = pd.DataFrame({"a": pd.array([1, None, 3, 4, 5], dtype), "b": pd.array([1] * 5, dtype)})
    np.testing.assert_array_equal(table_array(table, "table")[:2], [[1, 1], [np.nan, 1]])
    assert len(SequenceFramer(2).frame(table, skip_nan=True)) == 1


def test_categories_that_are_numbers_are_numbers():
    table = pd.DataFrame({"a": pd.Categorical([1, 3]), "b": pd.Categorical([2, 2])})
    np.testing.assert_array_equal(table_array(table, "table"), [[1, 2], [3, 2]])
