"""Columns by their names: those of a table, in the order that a framer's frames have them."""

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqframe.framing.sequences import are_columns
from seqframe.framing.tables import column_names, library_of


def check_names(name: str, names: Any) -> tuple[str, ...] | None:
    """Return names of columns as a tuple, or None if there are none; raise if they are no names."""
    if names is None:
        return None
    items = [] if isinstance(names, str) or not np.iterable(names) else list(names)
    if not items or not all(isinstance(item, str) for item in items):
        raise TypeError(
            f"`{name}` must be a list of names of columns. Received: {name}={names!r}. "
            'Put one column in a list too, as `["units"]`.'
        )
    if len(set(items)) < len(items):
        raise ValueError(f"`{name}` must name each column once. Received: {name}={names!r}.")
    return tuple(map(str, items))


def check_targets(targets: Any, columns: tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """Return the name of one target column, or the names of several; raise if they are none of the
    columns, where these are known."""
    names = (targets,) if isinstance(targets, str) else check_names("target_columns", targets)
    if columns is not None and not set(names or ()) <= set(columns):
        raise ValueError(
            f"`target_columns` must be some of `columns`, {list(columns)}. Received: "
            f"target_columns={targets!r}. Name some of these."
        )
    return targets if isinstance(targets, str) else names


def table_names(table: Any) -> tuple[str, ...] | None:
    """Return the names of a table's columns; None where they are but numbered, or not unique.

    >>> table_names(Table(np.zeros((3, 2)), ("units", "price"))), table_names(np.zeros((3, 2)))
    (('units', 'price'), None)
    """
    return proper_names(column_names(table))


def proper_names(names: list[str] | None) -> tuple[str, ...] | None:
    """Return names that tell columns apart as a tuple; None where they are but numbers or not
    unique.

    >>> proper_names(["units", "price"]), proper_names(["0", "1"]), proper_names(["a", "a"])
    (('units', 'price'), None, None)
    """
    if names is None or _are_numbers(names) or len(set(names)) < len(names):
        return None
    return tuple(names)


def _are_numbers(names: list[str]) -> bool:
    """Whether columns are but numbered, from 0 on."""
    return names == [str(k) for k in range(len(names))]


def select_columns(table: Any, columns: tuple[str, ...] | None, name: str) -> Any:
    """Return the columns of these names, in this order, of a table; what has no names as it is.

    Args:
        table: DataFrame, or what a framer takes as one sequence.
        columns: tuple of str, or None for the table as it is.
        name: str. What to call it in an error.

    Raises:
        ValueError: if the table lacks one, or has one twice.

    Example:

    >>> table = Table(np.array([[1, 10, 7], [2, 20, 7]]), ("units", "price", "store"))
    >>> select_columns(table, ("price", "units"), "history").to_numpy()
    array([[10,  1],
           [20,  2]])
    """
    names = column_names(table)
    if columns is None or names is None or _are_numbers(names) or names == list(columns):
        return table
    missing = [column for column in columns if column not in names]
    if missing:
        constant = " A column that does not change is repeated, one value a row."
        raise ValueError(
            f"`{name}` must have the columns {list(columns)}. Received: a table with the columns "
            f"{names}, without {missing}. Rename or add what is missing."
            f"{constant if name == 'future' else ''}"
        )
    if any(names.count(column) > 1 for column in columns):
        raise ValueError(
            f"`{name}` must have each of the columns {list(columns)} once. Received: a table with "
            f"the columns {names}. Rename or leave out what is there twice."
        )
    at = table.iloc if hasattr(table, "iloc") else table
    return at[:, [names.index(column) for column in columns]]


def check_positions(columns: Any, table: Any, name: str) -> None:
    """Raise for the position of a column that is the label of another: pandas takes the label.

    Args:
        columns: what may be positions.
        table: DataFrame, or what a framer takes as one sequence.
        name: str. What the columns were given as.

    Raises:
        ValueError: if it is not clear which column is meant.

    Example:

    >>> import pandas
    >>> check_positions(1, pandas.DataFrame({1: [5.0], 2: [6.0]}), "targets")
    Traceback (most recent call last):
        ...
    ValueError: `targets` must say whether positions or labels are meant: the column at position 0
    is labelled 1. Received: targets=1. Give labels as strings, as '1'.
    """
    if library_of(type(table)) != "pandas" or table.ndim != 2:
        return
    labels = list(table.columns)
    if not are_columns(columns, len(labels)):
        return
    for position in columns if isinstance(columns, (list, tuple)) else [columns]:
        if isinstance(position, str):
            continue
        places = [k for k, label in enumerate(labels) if _is_number(label) and label == position]
        if places and places[0] != position:
            raise ValueError(
                f"`{name}` must say whether positions or labels are meant: the column at position "
                f"{places[0]} is labelled {position}. Received: {name}={columns!r}. Give labels as "
                f"strings, as {str(position)!r}."
            )


def _is_number(label: Any) -> bool:
    return isinstance(label, numbers.Integral) and not isinstance(label, bool)


def check_width(array: np.ndarray, columns: tuple[str, ...] | None, name: str) -> None:
    """Raise if an array has not one feature for each of these columns, where there are some."""
    if columns is not None and math.prod(array.shape[1:]) != len(columns):
        raise ValueError(
            f"`{name}` must have {len(columns)} features, the columns {list(columns)}. Received: "
            f"steps of shape {array.shape[1:]}. Pass a table with these columns, or an array of "
            "them in this order."
        )


@dataclass(frozen=True)
class Table:
    """An array whose columns have names: what a DataFrame is when it has been framed.

    Attributes:
        array: array `(steps, columns)`.
        columns: tuple of str.
    """

    array: np.ndarray
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> "Table":
        """Return some of the steps; or of all steps `[:, places]`, some of the columns."""
        if isinstance(index, slice):
            return Table(self.array[index], self.columns)
        return Table(self.array[index], tuple(self.columns[place] for place in index[1]))

    def to_numpy(self) -> np.ndarray:
        """Return the array."""
        return self.array
