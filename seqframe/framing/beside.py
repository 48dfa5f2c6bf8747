"""What stands beside sequences in tables of its own: of the same groups, and of the same dates."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqframe.framing.dates import dates_of
from seqframe.framing.groups import drop_labels, find_groups, split_table
from seqframe.framing.tables import column_names, library_of

#: The first rows of the groups of a table, and the rows behind their last ones.
Spans = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Groups:
    """The stretches of one table that are its sequences.

    Attributes:
        labels: what they are called.
        edges: int array. Their first rows, and the number of rows.
        by: tuple of str, columns that tell them apart; None where labels were passed.
    """

    labels: Sequence[Hashable]
    edges: np.ndarray
    by: tuple[str, ...] | None


def align(
    given: dict[str, Any],
    tables: list[Any],
    by: tuple[str, ...] | None,
    groups: Groups | None,
    keep: dict[str, tuple[str, ...] | None],
) -> tuple[dict[str, Any], dict[str, Spans]]:
    """Return tables beside sequences without the columns that tell series apart, and where the
    groups of the sequences lie in those that had these columns.

    Args:
        given: dict of what the user passed, by name; what is no table stays as it is.
        tables: list of the sequences, as the user passed them.
        by: tuple of str, columns that tell series apart, or None.
        groups: Groups of the only table, or None.
        keep: dict of columns that are values nevertheless, by name.

    Raises:
        ValueError: if a group has no rows or too few, or dates are not those of the sequence.
    """
    aligned, spans = {}, {}
    for name, values in given.items():
        aligned[name], found = _align(values, name, tables, by, groups, keep.get(name))
        if found is not None:
            spans[name] = found
    return aligned, spans


def _align(
    values: Any,
    name: str,
    tables: list[Any],
    by: tuple[str, ...] | None,
    groups: Groups | None,
    keep: tuple[str, ...] | None,
) -> tuple[Any, Spans | None]:
    each = values if isinstance(values, (list, tuple)) else [values]
    if not any(map(library_of, set(map(type, each)))):
        return values, None
    if groups is None:
        each = [drop_labels(item, by, name, keep) for item in each]
        if len(each) == len(tables):
            for item, table in zip(each, tables, strict=True):
                _check_dates(item, table, name)
        return (each if isinstance(values, (list, tuple)) else each[0]), None
    if len(each) != 1:
        return values, None
    (table,) = tables
    beside, spans = _match(each[0], name, groups, keep)
    if spans is None:
        _check_dates(beside, table, name)
        return beside, None
    starts, stops = spans
    sizes = np.diff(groups.edges)
    short = stops - starts < sizes if name == "future" else stops - starts != sizes
    if short.any():
        number = int(np.argmax(short))
        least = "at least " if name == "future" else ""
        raise ValueError(
            f"`{name}` must have a row for each step of a group. Received: "
            f"{stops[number] - starts[number]} rows of {groups.labels[number]!r}, which has "
            f"{sizes[number]} steps, so {least}that many are needed."
        )
    rows = np.repeat(starts - groups.edges[:-1], sizes) + np.arange(len(table))
    dates = dates_of(beside)
    _compare(None if dates is None else dates[rows], dates_of(table), name)
    return beside, spans


def _match(
    table: Any, name: str, groups: Groups, keep: tuple[str, ...] | None
) -> tuple[Any, Spans | None]:
    """Return a table without the columns of `by`, and where the groups lie in it by their labels;
    None for a table without these columns."""
    names = column_names(table) or []
    by = [column for column in groups.by or () if column not in (keep or ())]
    labels = [column for column in by if column in names]
    if not labels:
        return table, None
    if labels != by:
        raise ValueError(
            f"`{name}` must have all columns that `by` names, {by}, or none. Received: a table "
            f"with {labels}. Add the others, or leave these out."
        )
    rest, columns = split_table(table, labels)
    own, edges = find_groups(columns)
    place = {label: number for number, label in enumerate(own)}
    missing = [label for label in groups.labels if label not in place]
    if missing:
        raise ValueError(
            f"`{name}` must have rows of each group. Received: a table with no row of "
            f"{missing[0]!r}. Add them, or leave the group out of the sequences."
        )
    places = np.array([place[label] for label in groups.labels])
    return rest, (edges[:-1][places], edges[1:][places])


def _check_dates(values: Any, table: Any, name: str) -> None:
    """Raise if a table or Series has other dates than the sequence that it stands beside."""
    dates, clock = dates_of(values), dates_of(table)
    if dates is not None and clock is not None and len(dates) >= len(clock):
        _compare(dates[: len(clock)], clock, name)


def _compare(dates: Any, clock: Any, name: str) -> None:
    if dates is None or clock is None:
        return
    wrong = np.asarray(dates != clock)
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    raise ValueError(
        f"`{name}` must have the dates of the sequence, from its first step on: row `t` of it "
        f"belongs to step `t`. Received: {dates[row]} where the sequence has {clock[row]}. Pass "
        f"the rows of these dates, as `{name}.loc[sequence.index[0]:]`; or, if only the index is "
        f"wrong, an array, as `{name}.to_numpy('float32')`."
    )


def check_whole(rows: int, steps: int, name: str, groups: Groups) -> None:
    """Raise if what is cut like a table, for want of labels of its own, has more rows than it."""
    if rows != steps:
        way_out = (
            f"Give it the columns that tell groups apart, {list(groups.by)}"
            if groups.by
            else "Pass a list of sequences, and one of their values"
        )
        raise ValueError(
            f"`{name}` must have a row for each row of the table that `by` cuts into groups: "
            "where those of the next group begin is not known otherwise. Received: "
            f"{rows} rows for {steps}. {way_out}."
        )
