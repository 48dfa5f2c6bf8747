"""Tables of a backtest: its scores, pooled or by series, step and column; and its forecasts."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from seqframe.rollout.scores import (
    absolute_errors,
    are_covered,
    pinball_losses,
    scaled_errors,
    squared_errors,
    symmetric_percentages,
)

#: What scores may be told apart by; the axes of the values `(origins, horizon, columns)`.
GROUPINGS = ("series", "step", "column")

METRICS = ("mae", "rmse", "mase", "smape")


@dataclass(frozen=True)
class Scored:
    """The actual values of a backtest and what its forecasts say of them.

    Arrays are `(origins, horizon, columns)`. `scale` is `(origins, 1, columns)`.
    """

    actual: np.ndarray
    forecasts: Mapping[str, np.ndarray]
    scale: np.ndarray
    series: np.ndarray  # (origins,): the number of each origin's series
    quantiles: Mapping[float, np.ndarray]  # by level, of the first forecast

    def scores(self, forecast: str, metrics: Sequence[str], by: Sequence[str]) -> dict[str, Any]:
        """Return the scores of one forecast by their names, each an array `(series, steps, …)`.

        An axis that is not in `by` has the length 1.
        """

        def mean(values: np.ndarray) -> np.ndarray:
            return _mean_by(values, self.series, by)

        actual, found = self.actual, self.forecasts[forecast]
        each: dict[str, Callable[[], np.ndarray]] = {
            "mae": lambda: mean(absolute_errors(actual, found)),
            "rmse": lambda: np.sqrt(mean(squared_errors(actual, found))),
            "mase": lambda: mean(scaled_errors(actual, found, self.scale)),
            "smape": lambda: mean(symmetric_percentages(actual, found)),
        }
        scores = {name: each[name]() for name in metrics}
        if self.quantiles:
            scores |= {name: mean(values) for name, values in self._of_quantiles(forecast)}
        return scores

    def _of_quantiles(self, forecast: str) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the pinball loss and the coverages. A point forecast is each of its quantiles."""
        is_own = forecast == next(iter(self.forecasts))
        point = self.forecasts[forecast]
        quantiles = self.quantiles if is_own else dict.fromkeys(self.quantiles, point)
        losses = [pinball_losses(self.actual, each, level) for level, each in quantiles.items()]
        yield "pinball", np.mean(losses, axis=0)
        for low, high in _opposite(list(quantiles)):
            covered = are_covered(self.actual, quantiles[low], quantiles[high])
            yield f"coverage {high - low:.4g}", covered if is_own else np.full_like(point, np.nan)


def _opposite(levels: Sequence[float]) -> list[tuple[float, float]]:
    """Return the pairs of levels that bound an interval, the widest first.

    >>> _opposite([0.1, 0.5, 0.9])
    [(0.1, 0.9)]
    """
    return [
        (low, high)
        for low, high in product(sorted(levels), repeat=2)
        if low < 0.5 and np.isclose(low + high, 1)
    ]


def _mean_by(values: np.ndarray, series: np.ndarray, by: Sequence[str]) -> np.ndarray:
    """Return means over the axes that are not in `by`, without NaN; NaN if nothing is left.

    >>> values = np.array([[[1.0], [2.0]], [[3.0], [np.nan]]])  # two origins of two steps
    >>> _mean_by(values, np.array([0, 1]), ["series"]).ravel()
    array([1.5, 3. ])
    """
    is_known = ~np.isnan(values)
    parts = [np.where(is_known, values, 0.0), is_known.astype(float)]
    if "series" in by:
        parts = [_sum_each(part, series) for part in parts]
    axes = tuple(axis for axis, name in enumerate(GROUPINGS) if name not in by)
    total, count = (part.sum(axis=axes, keepdims=True) for part in parts)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sum_each(values: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Return the sums over the origins of each series, for all series that have one."""
    _, place = np.unique(series, return_inverse=True)
    sums = np.zeros((place.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(sums, place, values)
    return sums


def score_columns(
    scored: Scored,
    metrics: Sequence[str],
    by: Sequence[str],
    labels: Callable[[Sequence[int]], dict[str, list[Hashable]]],
    columns: Sequence[Hashable],
) -> dict[str, list[Any]]:
    """Return the scores as the columns of a table, a row for each group and forecast.

    `labels` is a function that returns the columns of labels of series, given their numbers.
    """
    found = {name: scored.scores(name, metrics, by) for name in scored.forecasts}
    first = next(iter(found.values()))
    shape = next(iter(first.values())).shape
    table: dict[str, list[Any]] = {}
    rows = [(place, name) for place in np.ndindex(shape) for name in found]
    if "series" in by:
        numbers = np.unique(scored.series).tolist()
        table |= labels([numbers[place[0]] for place, _ in rows])
    if "step" in by:
        table["step"] = [place[1] + 1 for place, _ in rows]
    if "column" in by:
        table["column"] = [columns[place[2]] for place, _ in rows]
    table["forecast"] = [name.replace("_", " ") for _, name in rows]
    for score in first:
        table[score] = [float(found[name][score][place]) for place, name in rows]
    return table


def forecast_columns(scored: Scored, columns: Sequence[Hashable]) -> dict[str, np.ndarray]:
    """Return all forecasts as the columns of a table, a row for each value."""
    shape = scored.actual.shape
    table = {"step": np.broadcast_to(np.arange(1, shape[1] + 1)[:, None], shape).ravel()}
    if shape[2] > 1:
        table["column"] = np.broadcast_to(np.asarray(columns), shape).ravel()
    table["actual"] = scored.actual.ravel()
    table |= {name.replace("_", " "): each.ravel() for name, each in scored.forecasts.items()}
    quantiles = {f"quantile {level:.4g}": each for level, each in scored.quantiles.items()}
    return table | {name: each.ravel() for name, each in quantiles.items()}
