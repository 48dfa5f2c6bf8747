"""The systems that take a table of many groups apart: seqframe, pandas and polars.

Each function of `SYSTEMS` prepares the data of a `Grouped`, and returns a function that sets up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _measure import System

LENGTH, BATCH, SEED = 16, 64, 7


@dataclass(frozen=True)
class Grouped:
    """A table of groups whose rows follow each other, with columns of float32.

    Attributes:
        name: str. The name that `--only` takes.
        groups: int. Number of groups.
        least, most: int. Rows of the shortest and of the longest group.
        features: int. Columns of values.
    """

    name: str
    groups: int
    least: int
    most: int
    features: int

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each group."""
        return np.random.default_rng(SEED).integers(self.least, self.most + 1, self.groups)

    @property
    def nbytes(self) -> int:
        """Bytes of the table, with labels of 8 bytes."""
        return int(self.sizes.sum()) * (8 + 4 * self.features)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns; "by" holds the labels."""
        sizes = self.sizes
        values = np.random.default_rng(SEED).standard_normal(
            (self.features, sizes.sum()), np.float32
        )
        labels = {"by": np.repeat(np.arange(self.groups), sizes)}
        return labels | {f"value {k}": column for k, column in enumerate(values)}

    def shrink(self) -> "Grouped":
        """Return a table of a fiftieth of the groups."""
        return replace(self, groups=self.groups // 50)


class SetUps(System):
    """Sets up again and again. A step is one set-up."""

    steps = 1

    def __init__(self, case: Grouped, prepare: Callable[[Grouped], Callable[[], Any]]):
        self._set_up = prepare(case)

    def run(self) -> Any:
        self._set_up()

    def grow(self, factor: float) -> bool:
        return False


def _frame(data: Any, by: str | None = None) -> Any:
    from seqframe import SequenceFramer

    return SequenceFramer(LENGTH).frame(data, by=by)


def _pandas(case: Grouped) -> Any:
    import pandas

    return pandas.DataFrame(case.columns())


def _polars(case: Grouped) -> Any:
    import polars

    return polars.DataFrame(case.columns())


def seqframe_pandas(case: Grouped) -> Callable[[], Any]:
    table = _pandas(case)
    return lambda: _frame(table, "by")


def seqframe_batch(case: Grouped) -> Callable[[], Any]:
    table = _pandas(case)
    return lambda: next(_frame(table, "by").batches(BATCH, shuffle=True, seed=SEED))


def seqframe_polars(case: Grouped) -> Callable[[], Any]:
    table = _polars(case)
    return lambda: _frame(table, "by")


def seqframe_list(case: Grouped) -> Callable[[], Any]:
    _, *columns = case.columns().values()
    series = np.split(np.stack(columns, axis=1), np.cumsum(case.sizes)[:-1])
    return lambda: _frame(series)


def pandas_groupby(case: Grouped) -> Callable[[], Any]:
    table = _pandas(case)
    return lambda: [group.to_numpy() for _, group in table.groupby("by")]


def pandas_groupby_values(case: Grouped) -> Callable[[], Any]:
    table = _pandas(case)
    values = [*table.columns[1:]]
    return lambda: [group.to_numpy() for _, group in table.groupby("by")[values]]


def polars_partition(case: Grouped) -> Callable[[], Any]:
    table = _polars(case)
    how = {"maintain_order": True, "include_key": False}
    return lambda: [group.to_numpy() for group in table.partition_by("by", **how)]


SYSTEMS: dict[str, Callable[[Grouped], Callable[[], Any]]] = {
    "seqframe-pandas": seqframe_pandas,
    "seqframe-batch": seqframe_batch,
    "seqframe-list": seqframe_list,
    "pandas-groupby": pandas_groupby,
    "pandas-groupby-values": pandas_groupby_values,
    "seqframe-polars": seqframe_polars,
    "polars-partition": polars_partition,
}
