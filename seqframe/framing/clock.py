"""Clock: the dates of the steps of sequences, from the pandas indexes of their tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Number
from typing import Any

import numpy as np

from seqframe.framing.dates import clock_of, dates_at, is_clock, steps_after
from seqframe.framing.tables import Groups


@dataclass(frozen=True)
class Clock:
    """The dates of the raw steps of each sequence.

    Attributes:
        spans: for each sequence the pandas index that has its dates, the row of its first step, and
            the row after its last one. Many sequences may share an index.
    """

    spans: Sequence[tuple[Any, int, int]]

    def dates(self, number: int) -> Any:
        """Return the dates of a sequence, a pandas index."""
        index, start, stop = self.spans[number]
        return index[start:stop]

    def select(self, numbers: Sequence[int] | np.ndarray) -> "Clock":
        """Return the dates of some of the sequences, in the order given."""
        return Clock([self.spans[number] for number in numbers])

    def find(self, date: Any, name: str = "at") -> np.ndarray:
        """Return the first step of each sequence that is not before a date, an int array.

        >>> import pandas
        >>> days = pandas.date_range("2026-01-01", periods=5)
        >>> Clock([(days, 0, 5), (days, 3, 5)]).find("2026-01-03")
        array([2, 0])
        """
        found = []
        for number, (index, _, _) in enumerate(self.spans):
            found.append(int(self.dates(number).searchsorted(_like(index, date, name))))
        return np.array(found)

    def at(self, sequence: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the dates of raw steps of sequences; two int arrays of one shape.

        Steps after the last one get the dates that follow, if need be at the frequency of the
        longest sequence. If these are unknown, they get NaT.
        """
        starts, values = self._values
        sizes = np.diff(starts)
        known = step < sizes[sequence]
        dates = values[np.where(known, starts[:-1][sequence] + step, 0)]
        for number in np.unique(sequence[~known]).tolist():
            late = ~known & (sequence == number)
            ahead = step[late] - sizes[number]
            own, count = self.dates(number), int(ahead.max()) + 1
            after = steps_after(own, count)
            if after is None:
                after = dates_at(own, count, self.dates(int(np.argmax(sizes))))
            dates[late] = np.datetime64("NaT") if after is None else after.to_numpy()[ahead]
        return dates

    def index(self, sequence: np.ndarray, step: np.ndarray) -> Any:
        """Return the dates of raw steps of sequences as a pandas index, named as the data's own."""
        import pandas

        return pandas.Index(self.at(sequence, step), name=self.spans[0][0].name)

    @cached_property
    def _values(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each sequence begins in one array of all dates, and that array."""
        arrays = {id(index): index.to_numpy() for index, _, _ in self.spans}  # may be shared
        each = [arrays[id(index)][start:stop] for index, start, stop in self.spans]
        return np.cumsum([0, *map(len, each)]), np.concatenate(each)


def read_clock(tables: Sequence[Any], groups: Groups | None) -> Clock | None:
    """Return the clock of tables, or of the groups of a table; None if some have no dates."""
    indexes = []
    for table in tables:
        index = clock_of(table)
        if not is_clock(index):
            return None
        indexes.append(index)
    if groups is None:
        return Clock([(index, 0, len(index)) for index in indexes])
    return Clock([(indexes[0], *span) for span in pairwise(groups.edges.tolist())])


def _like(index: Any, date: Any, name: str) -> Any:
    """Return a date as one that can be compared with the dates of an index."""
    import pandas

    try:
        if isinstance(date, Number) and not isinstance(date, np.timedelta64):
            raise TypeError
        if isinstance(index, pandas.PeriodIndex):
            return pandas.Period(date, freq=index.freq)
        if isinstance(index, pandas.TimedeltaIndex):
            return pandas.Timedelta(date)
        found = date.start_time if isinstance(date, pandas.Period) else pandas.Timestamp(date)
        if index.tz is not None and found.tzinfo is None:
            found = found.tz_localize(index.tz)
        if found is pandas.NaT or (index.tz is None and found.tzinfo is not None):
            raise ValueError
        return found
    except (ValueError, TypeError):
        raise ValueError(
            f"`{name}` must be a step, or a date of the kind {index.dtype}. Received: "
            f"{name}={date!r}. Write it as one of these: {index[0]!s}."
        ) from None
