"""Tables: a DataFrame of pandas or polars as an array, and the names of its columns."""

from typing import Any

import numpy as np


def column_names(sequence: Any) -> list[str] | None:
    """Return the column names of a DataFrame, or None."""
    columns = getattr(sequence, "columns", None)
    return None if columns is None else [str(column) for column in columns]


def is_table(sequence: Any) -> bool:
    """Whether something is a DataFrame, of whatever library."""
    return hasattr(sequence, "columns") and hasattr(sequence, "dtypes")


def library_of(kind: type) -> str | None:
    """Return whose DataFrame or Series a type is, "pandas" or "polars", or None if it is neither.

    A class of another's, as geopandas has one, is of the library that it is made of.

    >>> import pandas
    >>> class Prices(pandas.DataFrame): ...
    >>> library_of(Prices), library_of(pandas.Index), library_of(np.ndarray)
    ('pandas', None, None)
    """
    for each in kind.__mro__:
        library = each.__module__.partition(".")[0]
        if library in ("pandas", "polars") and each.__name__ in ("DataFrame", "Series"):
            return library
    return None


def table_array(table: Any, name: str) -> np.ndarray:
    """Return a DataFrame as an array of the type that NumPy finds for all of its columns.

    Args:
        table: DataFrame.
        name: str. What to call it in an error.

    Raises:
        TypeError: if a column is not of numbers.

    Example:

    >>> import pandas
    >>> table_array(pandas.DataFrame({"price": [1.5, 2.0], "holiday": [True, False]}), "table")
    array([[1.5, 1. ],
           [2. , 0. ]])
    """
    dtypes = list(table.dtypes)
    if any(map(_is_time, dtypes)):
        # Beside floats, polars would make huge floats of them.
        raise _not_of_numbers(table, name)
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "" for dtype in dtypes}
    if "b" in kinds and kinds <= set("biufc"):
        # Of bools beside numbers pandas would make Python objects.
        array = table.to_numpy(np.result_type(*dtypes))
    else:
        try:
            array = table.to_numpy()
        except TypeError:  # polars has no array for some types beside each other
            raise _not_of_numbers(table, name) from None
    if array.dtype.kind == "O":
        # Some of pandas' own types are arrays of numbers one by one, though not together.
        array = _column_by_column(table, name)
    if array.dtype.kind in "STU" or array.dtype.type is np.void:
        raise _not_of_numbers(table, name)
    return array


def _column_by_column(table: Any, name: str) -> np.ndarray:
    at = getattr(table, "iloc", table)
    columns = [at[:, place].to_numpy() for place in range(len(table.dtypes))]
    if not columns or any(column.dtype.kind not in "biuf" for column in columns):
        raise _not_of_numbers(table, name)
    return np.stack(columns, axis=1)


def _is_time(dtype: Any) -> bool:
    """Whether a column of polars is of dates or times."""
    return hasattr(dtype, "is_temporal") and dtype.is_temporal()


def _not_of_numbers(table: Any, name: str) -> TypeError:
    """Return the error that says which columns of a DataFrame are not of numbers."""
    at = getattr(table, "iloc", table)
    received = ", ".join(
        f"{column!r} ({dtype})"
        for place, (column, dtype) in enumerate(
            zip(column_names(table) or (), table.dtypes, strict=True)
        )
        if at[:, place].to_numpy().dtype.kind not in "biufc"
    )
    dates = "leave dates out, as `table.drop(name)`"
    convert = ".cast(polars.Float32)"
    if hasattr(table, "set_index"):
        dates = "make dates the index, as `table.set_index(name)`, or leave them out"
        convert = ".astype('float32')"
    return TypeError(
        f"`{name}` must hold numbers. Received: a table with the columns {received}. Name what "
        f"tells groups apart as `by=` of `frame`; {dates}; convert others with `{convert}`."
    )
