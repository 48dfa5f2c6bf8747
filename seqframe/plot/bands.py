"""Turn forecasts, sample paths, quantiles and prediction intervals into lines and bands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from seqframe.plot.tables import Data, Features, as_table, numbers_of, quantile_labels

#: The lower and the upper edge of a prediction interval; or of several, by coverage or label.
Edges = tuple[Data, Data]
Intervals = Edges | Mapping[float | str, Edges]

_COVERAGES = (0.9, 0.5)  # of the bands of sample paths


@dataclass(frozen=True)
class Line:
    """A line `(steps, features)`."""

    label: str
    values: np.ndarray
    style: str = "-"


@dataclass(frozen=True)
class Band:
    """The area between two edges `(steps, features)`, filled or hatched."""

    label: str
    lower: np.ndarray
    upper: np.ndarray
    is_hatched: bool = False


def read_forecast(
    features: Features, forecast: Data, paths: Data | None, quantiles: Sequence[float] | None
) -> tuple[list[Line], list[Band]]:
    """Return the lines and the bands of a forecast, the widest band first."""
    by_level = _read_quantiles(features, forecast, quantiles)
    sampled = None if paths is None else features.read_several(paths, "paths")
    if by_level:
        lines = _quantile_lines(by_level)
    elif as_table(forecast) is not None or np.ndim(forecast) == features.ndim:
        lines = [Line("forecast", features.read(forecast, "forecast"))]
    else:
        sampled = features.read_several(forecast, "forecast")
        lines = [Line("median", np.median(sampled, axis=0))]
    bands = _quantile_bands(by_level)
    if sampled is not None:
        for coverage in _COVERAGES:
            edges = np.quantile(sampled, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
            bands.append(Band(f"{_percent(coverage)} of paths", *edges))
    steps = {len(part) for part in [*(line.values for line in lines), *(b.lower for b in bands)]}
    if len(steps) > 1:
        raise ValueError(
            f"`paths` must have the steps of the forecast. Received: {sorted(steps)} steps."
        )
    return lines, bands


def read_intervals(features: Features, intervals: Intervals, steps: int, hatch: bool) -> list[Band]:
    """Return prediction intervals as bands, the widest first.

    They are hatched if `hatch` asks for it, or if shades could not tell them apart.
    """
    named = intervals if isinstance(intervals, Mapping) else {"prediction interval": intervals}
    bands = []
    for name, edges in named.items():
        if not isinstance(edges, (tuple, list)) or len(edges) != 2:
            raise ValueError(
                "`intervals` must be a tuple (lower, upper), or a dict of coverages or labels to "
                f"such tuples. Received: {type(edges).__name__}."
            )
        lower, upper = (features.read(edge, "intervals", steps) for edge in edges)
        bands.append(Band(_interval_label(name), lower, upper))
    bands.sort(key=lambda band: -np.nansum(band.upper - band.lower))
    is_hatched = hatch or not all(map(_is_inside, bands[1:], bands))
    return [replace(band, is_hatched=is_hatched) for band in bands]


def _is_inside(band: Band, other: Band) -> bool:
    return not ((band.lower < other.lower) | (band.upper > other.upper)).any()


def _interval_label(name: float | str) -> str:
    if not isinstance(name, Real):
        return str(name)
    if not 0 < name < 1:
        raise ValueError(
            "`intervals` must be named by coverages in (0, 1) or by labels. Received: "
            f"{name!r}. Write `0.9` for 90 %."
        )
    return f"{_percent(float(name))} prediction interval"


def _read_quantiles(
    features: Features, forecast: Data, quantiles: Sequence[float] | None
) -> dict[float, np.ndarray]:
    """Return the quantiles by their levels; none if the forecast is something else."""
    labels = quantile_labels(forecast, features.known)
    found = list(dict.fromkeys(level for _, level in labels if level is not None))
    if found:
        names: list[Any] = list(dict.fromkeys(name for name, _ in labels))
        names = features.names if set(features.names) <= set(names) else names
        values = numbers_of(forecast, "forecast")
        columns = [[labels.index((name, level)) for name in names] for level in found]
        return {
            level: features.read(values[:, chosen], "forecast")
            for level, chosen in zip(found, columns, strict=True)
        }
    if quantiles is None:
        return {}
    if labels or np.ndim(forecast) == features.ndim:
        raise ValueError(
            "`quantiles` needs a forecast that is an array of quantiles. Received: "
            f"quantiles={quantiles!r} for another forecast. Leave it out."
        )
    several = features.read_several(forecast, "forecast")
    levels = np.atleast_1d(quantiles).astype(float).tolist()
    if len(levels) != len(several):
        raise ValueError(
            "`quantiles` must hold a level for each entry of the forecast's first axis. Received: "
            f"{len(levels)} levels for a forecast of shape {np.shape(forecast)}."
        )
    return dict(zip(levels, several, strict=True))


def _quantile_bands(quantiles: dict[float, np.ndarray]) -> list[Band]:
    """Return the bands between opposite quantiles, the widest first."""
    bands = []
    for low in sorted(level for level in quantiles if level < 0.5):
        high = _opposite(quantiles, low)
        if high is not None:
            label = f"{100 * low:.4g} to {_percent(high)} quantile"
            bands.append(Band(label, quantiles[low], quantiles[high]))
    return bands


def _quantile_lines(quantiles: dict[float, np.ndarray]) -> list[Line]:
    """Return the median, and the quantiles without an opposite."""
    lines = []
    for level, values in quantiles.items():
        if np.isclose(level, 0.5):
            lines.append(Line("median", values))
        elif _opposite(quantiles, level) is None:
            lines.append(Line(f"{_percent(level)} quantile", values, "-."))
    return lines


def _opposite(quantiles: dict[float, np.ndarray], level: float) -> float | None:
    return next((other for other in quantiles if np.isclose(other, 1 - level, atol=1e-6)), None)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
