"""Holes: dates that a table lacks.

Framing goes by rows, so the rows around a hole become neighbours.
"""

import warnings
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np

from seqframe.framing.checks import first_names

DatedSpans: TypeAlias = Sequence[tuple[Any, int, int]]

_LEAST_DATES = 3
_LEAST_DAYS = 14  # after which a weekday that never came is one of rest
_LEAST_SHARE = 0.6  # of distances between neighbouring dates that are the shortest one


def warn_of_holes(spans: DatedSpans, labels: Sequence[Hashable], stacklevel: int) -> None:
    """Say how many steps are missing in regular dates, and in which sequences.

    Irregular dates have no holes. Workdays have none either: some of them are holidays.
    """
    counts = count_holes(spans)
    if not counts.any():
        return
    holed = np.flatnonzero(counts)
    shown = first_names(f"{counts[number]} of {labels[number]!r}" for number in holed.tolist())
    which = f": {shown}" if len(labels) > 1 else ""
    warnings.warn(
        f"`sequences` has holes in its dates. Received: {counts.sum()} missing steps{which}. Rows "
        "around a hole become neighbours. Add rows of NaN, as by `table.asfreq`, and pass "
        "`skip_nan=True`; or drop the dates, by `table.reset_index(drop=True)`.",
        stacklevel=stacklevel + 1,
    )


def count_holes(spans: DatedSpans) -> np.ndarray:
    """Return how many steps each sequence lacks, by the distance that most of its dates have.

    `spans` has for each sequence a pandas index, the row of its first step and the row after its
    last one.

    >>> import pandas
    >>> days = pandas.date_range("2026-01-01", periods=9)
    >>> count_holes([(days, 0, 9), (days.delete([2, 5, 6]), 0, 6)])
    array([0, 3])
    """
    counts = np.zeros(len(spans), np.int64)
    read: dict[int, np.ndarray | None] = {}
    dated: dict[int, np.ndarray] = {}
    for number, (index, start, stop) in enumerate(spans):
        if id(index) not in read:  # many sequences may share an index
            read[id(index)] = _read_dates(index)
        dates = read[id(index)]
        if dates is not None and stop - start > _LEAST_DATES:
            dated[number] = dates[start:stop]
    each = [*dated.values()]
    for number in np.array([*dated])[_are_uneven(each)].tolist():
        counts[number] = _count_missing(dated[number])
    return counts


def _are_uneven(each: list[np.ndarray]) -> np.ndarray:
    """Return which of several arrays of dates do not have one distance, as a bool array.

    To look for holes in each would take longer than to read its table.
    """
    sizes = np.fromiter(map(len, each), np.int64)
    begins = np.cumsum(sizes) - sizes
    ticks = np.concatenate([np.empty(0, np.int64), *(dates.view(np.int64) for dates in each)])
    distances = np.diff(ticks, append=0)
    changes = distances != np.repeat(distances[begins], sizes)
    changes[begins + sizes - 1] = False  # from one array to the next
    return np.logical_or.reduceat(changes, begins) if each else np.zeros(0, bool)


def _read_dates(index: Any) -> np.ndarray | None:
    """Return dates as an array of NumPy's dates, or time differences; None if none is missing."""
    import pandas

    if isinstance(index, pandas.PeriodIndex):
        index = index.to_timestamp()
    elif index.freq is not None:
        return None
    if getattr(index, "tz", None) is not None:
        # When clocks change, a day has 23 or 25 hours, and still goes from midnight to midnight.
        midnights = (index.normalize() == index).all()
        index = index.tz_localize(None) if midnights else index.tz_convert(None)
    return np.asarray(index)


def _count_missing(dates: np.ndarray) -> int:
    missing = _count_skipped(dates.view(np.int64))
    if dates.dtype.kind != "M":
        return missing or 0
    days = dates.astype("M8[D]")
    if missing is None:
        months = dates.astype("M8[M]")
        day = (days - months.astype("M8[D]")).view(np.int64)
        # Months, quarters and years have days of their own, or begin or end on a workday.
        are_months = day.min() == day.max() or day.min() >= 25 or day.max() <= 3
        return _count_skipped(months.view(np.int64)) or 0 if are_months else 0
    return 0 if missing and _closes(days.view(np.int64)) else missing


def _count_skipped(ticks: np.ndarray) -> int | None:
    """Return how many integers are missing in an even row, or None if it is not even."""
    distances = np.diff(ticks)
    step = distances.min()
    is_even = step > 0 and (distances == step).mean() >= _LEAST_SHARE
    if not is_even or (distances % step).any():
        return None
    return int((distances // step - 1).sum())


def _closes(days: np.ndarray) -> bool:
    """Whether a weekday never comes, so that the missing days are days of rest."""
    if np.diff(days).min() != 1:
        return False
    weekdays = np.unique((days + 3) % 7)  # the first day of NumPy's dates is a Thursday
    return len(weekdays) < 7 and (weekdays[-1] < 5 or days[-1] - days[0] > _LEAST_DAYS)
