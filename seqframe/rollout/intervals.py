"""Prediction intervals from the errors of a backtest, by split conformal prediction.

Lei et al. (2018), "Distribution-Free Predictive Inference for Regression",
https://arxiv.org/abs/1604.04173.
"""

import itertools
import math
import numbers
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.dates import continue_table
from seqframe.framing.results import replace_columns
from seqframe.framing.tables import Table, read_table, split_table


def check_coverage(coverage: Any) -> float:
    """Return a coverage as a float, or raise."""
    if isinstance(coverage, bool) or not isinstance(coverage, numbers.Real):
        raise TypeError(f"`coverage` must be a number. Received: coverage={coverage!r}.")
    if not 0 < (coverage := float(coverage)) < 1:
        raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage}.")
    return coverage


def suffices(origins: int, coverage: float) -> bool:
    """Whether so many errors tell an interval of this coverage.

    >>> suffices(8, 0.9), suffices(9, 0.9)
    (False, True)
    """
    return _rank(origins, coverage) <= origins


def _rank(origins: int, coverage: float) -> int:
    return math.ceil((origins + 1) * coverage)


def radius(errors: np.ndarray, coverage: float) -> np.ndarray:
    """Return half the width of the intervals at each step, from the errors of each origin.

    >>> radius(np.array([[1.0], [-2.0], [3.0]]), 0.75)
    array([3.])
    """
    count = len(errors)
    if not suffices(count, coverage):
        needed = next(n for n in itertools.count(count + 1) if suffices(n, coverage))
        raise ValueError(
            f"`coverage={coverage}` needs {needed} origins or more. Received: a backtest of "
            f"{count}. Test on a longer sequence, or with a smaller `stride`."
        )
    distances: np.ndarray = np.sort(np.abs(errors), axis=0)[_rank(count, coverage) - 1]
    return distances


def shift(forecast: Any, distance: np.ndarray) -> Any:
    """Return a forecast, of its own type, with distances `(steps, …)` added."""
    table = read_table(forecast)
    if not isinstance(table, Table):
        return forecast + distance
    return continue_table(table, table.to_numpy("forecast") + distance, index=table.index)


def shift_each(
    forecast: Any,
    by: tuple[str, ...],
    columns: Sequence[str],
    distance_of: Callable[[Hashable, int], np.ndarray],
) -> tuple[Any, Any]:
    """Return a table of several forecasts with distances subtracted, and with them added.

    Args:
        forecast: table with the columns `by`, which tell the series apart.
        columns: the forecast columns.
        distance_of: function (label, steps) that returns the distances of a series.
    """
    table = read_table(forecast)
    _, groups = split_table(table, by)
    values = table[:, [table.columns.index(name) for name in columns]].to_numpy("forecast")
    steps = np.diff(groups.edges).tolist()
    each = [distance_of(*pair) for pair in zip(groups.labels, steps, strict=True)]
    distance = np.concatenate([one.reshape(len(one), -1) for one in each])
    lower, upper = (
        replace_columns(forecast, dict(zip(columns, bound.T, strict=True)))
        for bound in (values - distance, values + distance)
    )
    return lower, upper
