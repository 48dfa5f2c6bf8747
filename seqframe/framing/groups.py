"""Groups: a table of several sequences, one below the other, cut where its groups change."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from seqframe.framing.sequences import check_unmasked
from seqframe.framing.tables import column_names


def split_table(table: Any, by: Any) -> tuple[Any, list[np.ndarray]]:
    """Return a table without the columns that name its groups, and these columns.

    Args:
        table: DataFrame, or with labels as `by`, any sequence.
        by: name of a column, or several; or an array of labels, one a row.

    Raises:
        TypeError: if columns are named of what has none.
        ValueError: if there is no such column, or labels are not one for each row.
    """
    names, wanted = column_names(table), names_of(by)
    if wanted is None:
        check_unmasked(by, "by")
        labels = np.asarray(by.to_numpy() if hasattr(by, "to_numpy") else by)
        if labels.ndim != 1 or len(labels) != len(table):
            raise ValueError(
                "`by` must name columns, or be an array of one label for each row. Received: "
                f"labels of shape {labels.shape} for {len(table)} rows."
            )
        return table, [labels]
    if names is None:
        raise TypeError(
            f"`by` names columns, which only a DataFrame has. Received: by={by!r} and a "
            f"{type(table).__name__}. Pass an array of labels, one a row, instead."
        )
    for name in wanted:
        if name not in names:
            raise ValueError(
                f"`by` names the column {name!r}, but the table has columns {names}. "
                "Name some of these; or pass labels, one a row, as an array: `np.array(by)`."
            )
        if names.count(name) > 1:
            raise ValueError(
                f"`by` must name one column. Received: {name!r}, which is the name of "
                f"{names.count(name)} columns of {names}. Rename them."
            )
    # By position: a name may be no string, or stand twice.
    chosen = [names.index(name) for name in wanted]
    rest = [place for place, name in enumerate(names) if name not in wanted]
    if not wanted or not rest:
        raise ValueError(
            "`by` must name some of the columns, and leave some as features. Received: "
            f"by={by!r} of columns {names}."
        )
    at = table.iloc if hasattr(table, "iloc") else table
    return at[:, rest], [at[:, place].to_numpy() for place in chosen]


def names_of(by: Any) -> tuple[str, ...] | None:
    """Return the names of columns that tell groups apart, or None where labels are passed.

    >>> names_of("store"), names_of(["store", "item"]), names_of([1, 1, 2])
    (('store',), ('store', 'item'), None)
    """
    if isinstance(by, str):
        return (by,)
    named = isinstance(by, (list, tuple)) and all(isinstance(name, str) for name in by)
    return tuple(by) if named else None


def has_columns(table: Any, by: tuple[str, ...] | None) -> bool:
    """Whether a table has all the columns that tell groups apart, where there are some."""
    return by is not None and set(by) <= set(column_names(table) or ())


def drop_labels(
    table: Any, by: tuple[str, ...] | None, name: str, keep: tuple[str, ...] | None = None
) -> Any:
    """Return a table of one series without the columns that tell it apart from others.

    Args:
        table: DataFrame, or what a framer takes as one sequence.
        by: tuple of str, or None.
        name: str. What to call it in an error.
        keep: tuple of str, columns that are features nevertheless, or None.

    Raises:
        ValueError: if it is of several series, or has no other column.

    Example:

    >>> import pandas
    >>> table = pandas.DataFrame({"store": [1, 1], "units": [3, 4]})
    >>> list(drop_labels(table, ("store",), "history"))
    ['units']
    """
    check_one_series(table, by, name)
    names = column_names(table) or ()
    labels = [column for column in by or () if column in names and column not in (keep or ())]
    return split_table(table, labels)[0] if labels else table


def check_one_series(table: Any, by: tuple[str, ...] | None, name: str) -> None:
    """Raise if a table has several labels in a column that tells groups apart.

    Args:
        table: DataFrame, or what a framer takes as one sequence.
        by: tuple of str, or None.
        name: str. What to call it in an error.
    """
    names = column_names(table) or []
    for column in by or ():
        if column not in names:
            continue
        at = table.iloc if hasattr(table, "iloc") else table
        is_polars = hasattr(table, "partition_by")
        order = {"maintain_order": True} if is_polars else {}
        labels = list(at[:, names.index(column)].unique(**order))
        if len(labels) > 1:
            shown = ", ".join(map(str, labels[:3])) + ", …" * (len(labels) > 3)
            cut = f"[part for _, part in table.groupby({column!r})]"
            if is_polars:
                cut = f"table.partition_by({column!r})"
            raise ValueError(
                f"`{name}` must be one series: {column!r} tells series apart. Received: "
                f"a table with {len(labels)} labels in that column: {shown}. Pass a list of one "
                f"table for each, as `{cut}`."
            )


def find_groups(columns: list[np.ndarray]) -> tuple[list[Hashable], np.ndarray]:
    """Return the label of each group and where the groups begin and end.

    Args:
        columns: arrays of one length; a group is a run of rows in which none changes.

    Returns:
        labels, tuples where there are several columns; and an int array of the first row of each
        group and of the number of rows.

    Raises:
        ValueError: if there is no row, a row has no label, or a group comes back after another.

    >>> find_groups([np.array(["a", "a", "b"])])
    (['a', 'b'], array([0, 2, 3]))
    """
    rows = len(columns[0])
    if not rows:
        raise ValueError("`by` needs rows to tell the groups of. Received: a table of no rows.")
    changes = np.zeros(rows - 1, bool)
    try:
        for column in columns:
            changes |= np.asarray(column[1:] != column[:-1], bool)
        firsts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        found = [_as_labels(column[firsts]) for column in columns]
        unlabelled = any(label is None or label != label for labels in found for label in labels)
    except TypeError:  # pandas' missing value is neither equal nor unequal
        unlabelled = True
    if unlabelled:
        raise ValueError(
            "`by` must give every row a label. Received: rows without one. Leave those rows out, "
            "or fill in a label."
        )
    labels: list[Hashable] = found[0] if len(found) == 1 else [*zip(*found, strict=True)]
    seen: set[Hashable] = set()
    for label in labels:
        if label in seen:
            raise ValueError(
                f"The rows of a group must follow each other. Received: rows of {label!r} again "
                "after those of another group. Sort the table by group and time first."
            )
        seen.add(label)
    return labels, np.append(firsts, rows)


def _as_labels(values: np.ndarray) -> list[Hashable]:
    """Return values as Python's own; dates stay NumPy's, which Python's cannot all hold."""
    return list(values) if values.dtype.kind in "mM" else values.tolist()
