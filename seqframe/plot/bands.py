"""Turn quantiles, sample paths and prediction intervals into lines and bands."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real

import numpy as np

#: The lower and the upper edge of a prediction interval, arrays `(steps, features)`.
Edges = tuple[np.ndarray, np.ndarray]

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


def quantile_lines(quantiles: Mapping[float, np.ndarray]) -> tuple[list[Line], list[Band]]:
    """Return lines and bands: a band for opposite levels, and a line for every other level."""
    lines, bands = [], []
    for level in sorted(quantiles):
        values = quantiles[level]
        opposite = next((each for each in quantiles if np.isclose(each, 1 - level)), None)
        if np.isclose(level, 0.5):
            lines.append(Line("median", values))
        elif opposite is None:
            lines.append(Line(f"{_percent(level)} quantile", values, "-."))
        elif level < 0.5:
            label = f"{100 * level:.4g} to {_percent(opposite)} quantile"
            bands.append(Band(label, values, quantiles[opposite]))
    return lines, bands


def path_bands(paths: np.ndarray) -> list[Band]:
    """Return the bands that hold 90 % and 50 % of sample paths `(paths, steps, features)`."""
    return [
        Band(f"{_percent(each)} of paths", *np.quantile(paths, [0.5 - each / 2, 0.5 + each / 2], 0))
        for each in _COVERAGES
    ]


def interval_bands(intervals: Mapping[float | str, Edges], hatch: bool) -> list[Band]:
    """Return prediction intervals as bands, the widest first.

    They are hatched if `hatch` is True, or if shades do not suffice to distinguish them.
    """
    by_width = sorted(intervals.items(), key=lambda item: -np.nansum(item[1][1] - item[1][0]))
    edges = [each for _, each in by_width]
    for outer, inner in pairwise(edges):
        hatch |= bool(((inner[0] < outer[0]) | (inner[1] > outer[1])).any())
    return [Band(_interval_label(name), *each, hatch) for name, each in by_width]


def _interval_label(name: float | str) -> str:
    if not isinstance(name, Real):
        return str(name)
    if not 0 < name < 1:
        raise ValueError(
            "`intervals` must be named by coverages in (0, 1) or by labels. Received: "
            f"{name!r}. Write `0.9` for 90 %."
        )
    return f"{_percent(float(name))} prediction interval"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
