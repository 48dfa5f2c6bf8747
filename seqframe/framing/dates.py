"""Dates: an index of them is a clock, which goes strictly forward within a sequence."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.tables import library_of

#: What to do where dates repeat, of a table that is framed, and of one that is forecast.
NAME_GROUPS = (
    "A date that repeats is of another series: sort the table by series and date, and name the "
    "columns that tell them apart as `by`. If it is of the same one, leave a row out, or pass the "
    "table without its dates, as `.reset_index(drop=True)`."
)
ONE_EACH = (
    "A date that repeats is of another series: pass one table for each, as "
    "`[part for _, part in table.groupby(name)]`. If it is of the same one, leave a row out, or "
    "pass it without its dates, as `.reset_index(drop=True)`."
)


def dates_of(table: Any) -> Any:
    """Return the index of a table or Series of pandas if it is a clock, else None.

    >>> import pandas
    >>> dates_of(pandas.Series([1, 2])) is None
    True
    >>> days = pandas.date_range("2026-01-01", periods=2)
    >>> dates_of(pandas.Series([1, 2], days)) is days
    True
    """
    if library_of(type(table)) != "pandas":
        return None
    return table.index if isinstance(table.index, _clocks()) else None


def check_each(tables: Sequence[Any], name: str, repeated: str = ONE_EACH) -> None:
    """Raise if the dates of one of several tables do not go strictly forward; see `check_dates`."""
    if "pandas" not in map(library_of, set(map(type, tables))):
        return  # of many arrays at once
    for number, table in enumerate(tables):
        check_dates(table, name if len(tables) == 1 else f"{name}[{number}]", repeated)


def check_dates(
    table: Any,
    name: str,
    repeated: str = ONE_EACH,
    edges: np.ndarray | None = None,
    labels: Sequence[Hashable] = (),
) -> None:
    """Raise if the dates of a table do not go strictly forward; other indexes are no clocks.

    Args:
        table: DataFrame or Series of pandas; or anything else, which passes. Dates in a level of
            its index are a clock too, where the other levels do not change.
        name: str. What to call it in an error.
        repeated: str. What to do where a date repeats.
        edges: int array. Where its groups begin and end: each has a clock of its own.
        labels: what the groups are called.

    Raises:
        ValueError: if a date is not after the one before it, or the levels beside dates change
            within a sequence.

    Example:

    >>> import pandas
    >>> days = pandas.PeriodIndex(["2026-01-02", "2026-01-01"], freq="D")
    >>> check_dates(pandas.Series([1, 2], days), "history")
    Traceback (most recent call last):
        ...
    ValueError: `history` must have dates that go strictly forward. Received: 2026-01-02 in row 0,
    then 2026-01-01. Sort it by them first, as `.sort_index()`.
    """
    index = dates_of(table)
    if index is None:
        index = _dates_of_level(table, name, edges)
    if index is None or len(index) < 2:
        return
    ticks = index.asi8
    back = ticks[1:] <= ticks[:-1]
    if index.hasnans:
        # A missing date is the lowest number.
        back |= index.isna()[:-1]
    if edges is not None:
        back[edges[1:-1] - 1] = False
    if not back.any():
        return
    row = int(np.argmax(back))
    which, first, last = "", 0, len(index)
    if len(labels) > 1 and edges is not None:
        group = int(np.searchsorted(edges, row, side="right")) - 1
        which, first, last = f" of {labels[group]!r}", *map(int, edges[group : group + 2])
    advice = "Sort it by them first, as `.sort_index()`."
    if edges is not None:
        advice = "Sort by both, as `.sort_index().sort_values(by, kind='stable')`."
    if not index[first:last].is_unique:
        advice = repeated
    if index[row : row + 2].hasnans:
        advice = "Fill in the date that is missing, or leave its row out."
    raise ValueError(
        f"`{name}` must have dates that go strictly forward. Received: {index[row]} in row {row}, "
        f"then {index[row + 1]}{which}. {advice}"
    )


def _dates_of_level(table: Any, name: str, edges: np.ndarray | None) -> Any:
    """Return the dates that are the last such level of a table's index, or None if there are none.

    Raises:
        ValueError: if another level changes within a sequence: it tells series apart.
    """
    if library_of(type(table)) != "pandas" or table.index.nlevels == 1:
        return None
    index = table.index
    dated = [k for k, level in enumerate(index.levels) if isinstance(level, _clocks())]
    if not dated:
        return None
    for level in set(range(index.nlevels)) - set(dated):
        changes = np.flatnonzero(np.diff(index.codes[level]))
        if edges is not None:
            changes = np.setdiff1d(changes, edges[1:-1] - 1)
        if changes.size:
            raise _several_series(index, dated, level, int(changes[0]), name)
    return index.get_level_values(dated[-1])


def _several_series(index: Any, dated: list[int], level: int, row: int, name: str) -> ValueError:
    """Return the error that says that a level of an index tells series apart."""
    called = [k if each is None else each for k, each in enumerate(index.names)]
    dates = _one_or_all([called[k] for k in dated])
    rest = _one_or_all([each for k, each in enumerate(called) if k not in dated])
    way_out = f"`[part.droplevel({rest!r}) for _, part in table.groupby(level={rest!r})]`"
    if name == "sequences":
        way_out = f"`table.droplevel({rest!r})` with `by=table.index.droplevel({dates!r})`"
    before, after = index.get_level_values(level)[row : row + 2].tolist()
    return ValueError(
        f"`{name}` must be one series, where its index has levels beside dates. Received: "
        f"{before!r} in row {row}, then {after!r}, in the level {called[level]!r}. Pass {way_out}; "
        "or, if it is one series, `table.reset_index(drop=True)`."
    )


def _one_or_all(names: list[Any]) -> Any:
    return names[0] if len(names) == 1 else names


def _clocks() -> tuple[type, ...]:
    import pandas

    return pandas.DatetimeIndex, pandas.PeriodIndex, pandas.TimedeltaIndex
