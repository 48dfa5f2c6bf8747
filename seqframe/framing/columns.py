"""Columns by their names: those of a table, in the order that a framer's frames have them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqframe.framing.tables import column_names


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
    if names is None or names == [str(k) for k in range(len(names))]:
        return None
    return None if len(set(names)) < len(names) else tuple(names)


def select_columns(table: Any, columns: tuple[str, ...] | None, name: str) -> Any:
    """Return the columns of these names, in this order, of a table; what has no names as it is.

    Args:
        table: DataFrame, or what a framer takes as one sequence.
        columns: tuple of str, or None for the table as it is.
        name: str. What to call it in an error.

    Raises:
        ValueError: if the table lacks one.

    Example:

    >>> table = Table(np.array([[1, 10, 7], [2, 20, 7]]), ("units", "price", "store"))
    >>> select_columns(table, ("price", "units"), "history").to_numpy()
    array([[10,  1],
           [20,  2]])
    """
    names = table_names(table)
    if columns is None or names is None or names == columns:
        return table
    missing = [column for column in columns if column not in names]
    if missing:
        raise ValueError(
            f"`{name}` must have the columns {list(columns)}. Received: a table with the columns "
            f"{list(names)}, without {missing}. Rename or add what is missing."
        )
    at = table.iloc if hasattr(table, "iloc") else table
    return at[:, [names.index(column) for column in columns]]


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
