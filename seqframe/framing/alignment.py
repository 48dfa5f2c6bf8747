"""Alignment: which rows of targets, future and weights belong to the steps of a sequence.

Tables are matched by the labels of their groups, and by the labels of their pandas index. Arrays,
and tables without an index, are matched by position.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.dates import (
    are_comparable,
    counts_rows,
    index_of,
    is_clock,
    kind_of_index,
    same_labels,
)
from seqframe.framing.tables import Groups, label_names, label_of, split_table

#: The first row of each group in a table, and the row after its last one.
Spans = tuple[np.ndarray, np.ndarray]


def match_index(
    values: Any, sequence: Any, name: str, longer: bool = False, groups: Groups | None = None
) -> int:
    """Return the row of a table that belongs to the first step of a sequence, by their indexes.

    Raise if the index lacks a step. `longer` says whether the table may have more rows. `groups`
    are the groups of the sequence, which an error names.

    >>> import pandas
    >>> weeks = pandas.Series([7.0, 8.0, 9.0], [31, 32, 33])
    >>> match_index(weeks, weeks[1:], "future", longer=True)
    1
    """
    theirs, ours = index_of(values), index_of(sequence)
    if theirs is None or ours is None or not are_comparable(theirs, ours, name, "sequence"):
        return 0
    # Another length is an error of its own, or belongs to the weights of frames.
    if not len(ours) or len(theirs) < len(ours) or (len(theirs) > len(ours) and not longer):
        return 0
    row = _find_run(theirs, ours)
    if row is None:
        raise _no_such_label(theirs, ours, name, *(groups.labels, groups.edges) if groups else ())
    return row


def match_spans(values: Any, sequence: Any, name: str, groups: Groups, spans: Spans) -> Spans:
    """Return the rows of each group from its first step on, by the indexes of two tables."""
    theirs, ours = index_of(values), index_of(sequence)
    if theirs is None or ours is None:
        return spans
    numbers_rows = _number_rows(theirs, ours, groups)
    if not numbers_rows and not are_comparable(theirs, ours, name, "sequence"):
        return spans
    (starts, stops), edges = spans, groups.edges
    sizes = np.diff(edges)
    rows = np.repeat(starts - edges[:-1], sizes) + np.arange(edges[-1])
    wrong = np.flatnonzero(~same_labels(theirs[rows], ours))
    starts = starts.copy()
    for number in np.unique(np.searchsorted(edges, wrong, side="right") - 1).tolist():
        own = ours[edges[number] : edges[number + 1]]
        other = theirs[starts[number] : stops[number]]
        row = _find_run(other, own)
        if row is None or (row and name != "future"):
            if numbers_rows:
                return spans
            raise _no_such_label(other, own, name, [groups.labels[number]], [0])
        starts[number] += row
    return starts, stops


def _number_rows(theirs: Any, ours: Any, groups: Groups) -> bool:
    """Whether numbers of grouped tables are numbers of rows, which differ from table to table.

    Numbers of steps repeat from group to group.
    """
    if kind_of_index(theirs) != "number" or kind_of_index(ours) != "number":
        return False
    if counts_rows(theirs) or counts_rows(ours):
        return True
    return len(groups.labels) > 1 and theirs.is_unique and ours.is_unique


def _find_run(theirs: Any, ours: Any) -> int | None:
    """Return where the labels `ours` follow each other in `theirs`, or None."""
    first = 0
    if not same_labels(theirs[: len(ours)], ours[: len(theirs)]).all():
        try:
            first = theirs.get_loc(ours[0])
        except (KeyError, TypeError):
            return None
    if not isinstance(first, int | np.integer):  # it repeats
        return None
    run = theirs[first : first + len(ours)]
    return int(first) if len(run) == len(ours) and same_labels(run, ours).all() else None


def _no_such_label(
    theirs: Any, ours: Any, name: str, labels: Sequence[Hashable] = (), edges: Any = (0,)
) -> ValueError:
    """Return the error for the first label that differs. It names the group, if there are some."""
    size = min(len(theirs), len(ours))
    row = int(np.argmin(same_labels(theirs[:size], ours[:size])))
    number = int(np.searchsorted(edges, row, side="right")) - 1
    which = f" of {labels[number]!r}" if labels else ""
    return ValueError(
        f"`{name}` must have {_called(ours)} of the sequence, from its first step on. Received: "
        f"{theirs[row]} instead of {ours[row]}{which}. Pass the rows of these steps, "
        f"or an array, as `{name}.to_numpy()`."
    )


def _called(index: Any) -> str:
    return "the dates" if is_clock(index) else "the index"


# --- Labels of series.


def check_series(values: Any, sequence: Any, by: tuple[str, ...], name: str, other: str) -> None:
    """Raise if two tables, of one series each, have different labels in the columns `by`."""
    theirs, ours = label_of(values, by), label_of(sequence, by)
    for column in theirs.keys() & ours.keys():
        if theirs[column] != ours[column]:
            raise ValueError(
                f"`{name}` must be of the same series as `{other}`. Received: "
                f"{column}={theirs[column]!r} for {column}={ours[column]!r}. Pass the tables in "
                "the same order."
            )


def match_groups(
    table: Any, name: str, groups: Groups, keep: tuple[str, ...] | None
) -> tuple[Any, Spans | None]:
    """Return a table without columns of labels, and the rows of each group, if it has labels."""
    names = label_names(table)
    by = [column for column in groups.by or () if column not in (keep or ())]
    labels = [column for column in by if column in names]
    if not labels:
        return table, None
    if labels != by:
        raise ValueError(
            f"`{name}` must have all columns that `by` names, {by}, or none. Received: a table "
            f"with {labels}. Add the missing columns, or leave all out."
        )
    rest, own = split_table(table, labels)
    place = {label: number for number, label in enumerate(own.labels)}
    missing = [label for label in groups.labels if label not in place]
    if missing:
        raise ValueError(
            f"`{name}` must have rows of each group. Received: a table with no row of "
            f"{missing[0]!r}. Add them, or leave the group out of the sequences."
        )
    places = np.array([place[label] for label in groups.labels])
    starts, stops = own.edges[:-1][places], own.edges[1:][places]
    sizes = np.diff(groups.edges)
    short = stops - starts < sizes if name == "future" else stops - starts != sizes
    if short.any():
        number = int(np.argmax(short))
        least = "at least " if name == "future" else ""
        raise ValueError(
            f"`{name}` must have {least}one row for each step of a group. Received: "
            f"{stops[number] - starts[number]} rows for {groups.labels[number]!r}, which "
            f"has {sizes[number]} steps."
        )
    return rest, (starts, stops)
