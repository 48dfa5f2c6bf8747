"""The picture of a forecast: its history, its line, how sure it is, and what came."""

import numbers
from collections.abc import Mapping
from copy import copy
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqframe.framing.windows import check_integer
from seqframe.plotting.canvas import (
    count_ticks,
    curve_colors,
    date_ticks,
    inches,
    ink,
    legend_above,
    make_axes,
)
from seqframe.plotting.forms import Forecast, ForecastReader, is_date

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COVERAGES = (0.9, 0.5)  # of the sample paths, in their bands
_MARKED = 6.0  # points that a step needs for a mark of its own
_SHADE, _HATCH_SHADE = 0.25, 0.6  # how opaque a band is
_HISTORY = 2  # times as many steps of history as of the forecast
_LEAST_HISTORY = 12
_ONE_APART = 1.5  # times the longest step, as of months: no step is missing between two that near
_HATCHES = ("////", "\\\\\\\\")  # of bands that are drawn over those of another kind


class Band(NamedTuple):
    """What lies between two edges `(steps, features)`, and whether it is hatched, or filled."""

    label: str
    lower: np.ndarray
    upper: np.ndarray
    depth: int  # among those of its kind: 1 is the outermost
    is_hatched: bool = False


def plot_forecast(
    history: Any,
    forecast: Any,
    *,
    paths: Any = None,
    quantiles: Any = None,
    intervals: Any = None,
    actual: Any = None,
    columns: Any = None,
    index: Any = None,
    num_history: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a forecast after its history: its line, how sure it is, and what came.

    A thin line leads from the history to what follows a step later.

    Args:
        history: array `(length,)` or `(length, features)`, DataFrame or Series: what
            `Generator.forecast` was given, or the end of it. An index of dates or numbers makes the
            time axis. Columns that are not drawn may hold anything.
        forecast: what `Generator.forecast` returned: array `(steps,)` or `(steps, features)`,
            Series or DataFrame; sample paths or quantiles, with an axis for these first; DataFrame
            of quantiles. Of sample paths the median is drawn, and the bands that hold half and nine
            in ten of them.
        paths: array `(num_samples, steps, …)`. Sample paths, beside a forecast that is none.
        quantiles: list of float in [0, 1]. The levels of a forecast that is an array
            `(quantiles, …)`. Levels that stand opposite each other, such as 0.1 and 0.9, make a
            band; 0.5 is the line.
        intervals: dict of coverage in (0, 1), or of a label, to a tuple `(lower, upper)`, as
            `Backtest.interval` returns it; or such a tuple alone, whose coverage is not known.
            Hatched where they would be taken for other bands: beside those of paths or quantiles,
            or where one does not lie inside another.
        actual: array, Series or DataFrame of what came, for as many steps as are known.
        columns: name or position of the column that the forecast is of, or a list of these. None:
            as the forecast's own name or columns say, or all.
        index: array of numbers or dates `(length,)` or `(length + steps,)`: the time axis, of a
            history without an index.
        num_history: int ≥ 0. Steps of history to draw. None: twice as many as are forecast, and at
            least 12.
        ax: matplotlib.axes.Axes to draw on; None makes a figure.

    Returns:
        matplotlib.axes.Axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if several histories are given, or what is to be drawn is not of numbers.
        ValueError: if shapes do not go together, or quantiles do not say of which column they are.

    Example:

    >>> import matplotlib
    >>> from seqframe import plot_forecast
    >>> history, forecast = np.sin(np.arange(40.0)), np.sin(np.arange(40.0, 50.0))
    >>> wide, narrow = (forecast - 0.2, forecast + 0.2), (forecast - 0.1, forecast + 0.1)
    >>> ax = plot_forecast(history, forecast, intervals={0.9: wide, 0.5: narrow})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['history', '90 % interval', '50 % interval', 'forecast']
    """
    reader = ForecastReader(history, forecast, columns)
    found = reader.read(forecast, paths, quantiles, index)
    steps = len(found.ahead)
    bands = _bands(found)
    bands = _tell_apart(bands, _intervals(reader, intervals, steps))
    came = None if actual is None else reader.steps(actual, "actual")
    if came is not None and len(came) > steps:
        raise ValueError(
            f"`actual` must have no more than the {steps} steps of the forecast. Received: "
            f"{len(came)}. Cut it off, as in `actual[:{steps}]`."
        )
    shown = max(_HISTORY * steps, _LEAST_HISTORY) if num_history is None else num_history
    shown = min(check_integer("num_history", shown, 0), len(found.history))
    ax = make_axes(ax, 9, 4)
    _ForecastPicture(found, bands, came, shown, ax).draw()
    return ax


def _bands(found: Forecast) -> list[Band]:
    """Return what lies between opposite quantiles, the widest first."""
    quantiles = found.quantiles
    if found.paths is not None:
        levels = [(1 + sign * coverage) / 2 for coverage in _COVERAGES for sign in (-1, 1)]
        quantiles = {level: np.quantile(found.paths, level, axis=0) for level in levels}
    opposites = [(low, _opposite(quantiles, low)) for low in sorted(quantiles) if low < 0.5]
    pairs = [(low, high) for low, high in opposites if high is not None]
    name = " of paths" if found.paths is not None else ""
    return [
        Band(f"{100 * (high - low):.4g} %{name}", quantiles[low], quantiles[high], depth)
        for depth, (low, high) in enumerate(pairs, 1)
    ]


def _opposite(quantiles: dict[float, np.ndarray], level: float) -> float | None:
    return next((other for other in quantiles if np.isclose(other, 1 - level, atol=1e-6)), None)


def _lines(found: Forecast) -> list[tuple[str, np.ndarray, Any]]:
    """Return the forecast's line, and the quantiles that have none opposite."""
    lines: list[tuple[str, np.ndarray, Any]] = []
    if found.point is not None:
        lines.append(("forecast", found.point, "-"))
    elif found.paths is not None:
        lines.append(("median", np.median(found.paths, axis=0), "-"))
    for level, values in found.quantiles.items():
        if np.isclose(level, 0.5):
            lines.append(("median", values, "-"))
        elif _opposite(found.quantiles, level) is None:
            lines.append((f"{100 * level:.4g} % quantile", values, "-."))
    return lines


def _intervals(reader: ForecastReader, intervals: Any, steps: int) -> list[Band]:
    """Return the intervals, the widest first."""
    if intervals is None:
        return []
    named = intervals if isinstance(intervals, Mapping) else {"interval": intervals}
    bands = []
    for label, edges in named.items():
        if not isinstance(edges, (tuple, list)) or len(edges) != 2:
            raise ValueError(
                "`intervals` must be a tuple (lower, upper), as `Backtest.interval` returns it, or "
                "a dict of coverages or labels to such tuples. Received: "
                f"{type(edges).__name__}."
            )
        lower, upper = (reader.steps(edge, "intervals", steps) for edge in edges)
        bands.append(Band(_interval_label(label), lower, upper, 0))
    bands.sort(key=lambda band: -np.nansum(band.upper - band.lower))
    return [band._replace(depth=depth) for depth, band in enumerate(bands, 1)]


def _interval_label(label: Any) -> str:
    if not isinstance(label, numbers.Real):
        return str(label)
    if not 0 < float(label) < 1:
        raise ValueError(
            "`intervals` must be named by coverages in (0, 1), or by labels. Received: "
            f"{label!r}. For 90 % of cases write `0.9`."
        )
    return f"{100 * float(label):.4g} % interval"


def _tell_apart(bands: list[Band], intervals: list[Band]) -> list[Band]:
    """Return both, hatched where shades alone would not tell which band is which."""
    is_nested = not bands and all(map(_is_inside, intervals[1:], intervals))
    return bands + [band._replace(is_hatched=not is_nested) for band in intervals]


def _is_inside(band: Band, other: Band) -> bool:
    return not ((band.lower < other.lower) | (band.upper > other.upper)).any()


class _ForecastPicture:
    """Draws a forecast.

    Args:
        found: Forecast.
        bands: list of Band.
        came: array `(steps, features)`, or None.
        shown: int. Steps of history that are drawn.
        ax: matplotlib.axes.Axes.
    """

    def __init__(
        self,
        found: Forecast,
        bands: list[Band],
        came: np.ndarray | None,
        shown: int,
        ax: "Axes",
    ):
        self._found, self._bands, self._came, self._ax = found, bands, came, ax
        self._first = len(found.history) - shown
        room = 72 * inches(ax)[0] / (shown + len(found.ahead))
        self._is_marked = room >= _MARKED or len(found.ahead) == 1
        # If so, colours say which is which, and the legend says the rest without.
        self._has_several = len(found.names) > 1
        self._handles: dict[str, Any] = {}

    def draw(self) -> None:
        """Draw all there is."""
        ax, found = self._ax, self._found
        for feature, shade in zip(range(len(found.names)), cycle(curve_colors(ax)), strict=False):
            known = shade if self._has_several else ink(ax)
            self._draw_feature(feature, shade, known)
            if self._has_several:
                (line,) = ax.plot([], [], color=shade, lw=4, label=found.names[feature])
                self._handles[f"feature {feature}"] = line
        ax.set_xlabel(found.clock)
        if not self._has_several:
            ax.set_ylabel(found.names[0], parse_math=False)
        ax.xaxis.label.set_parse_math(False)
        for side in ("right", "top"):
            ax.spines[side].set_visible(False)
        self._set_ticks()
        legend_above(ax, list(self._handles.values()))

    def _draw_feature(self, feature: int, shade: Any, known: Any) -> None:
        found = self._found
        past, ahead = found.past[self._first :], found.ahead
        if len(past):
            marker = "." if self._is_marked else ""
            history = found.history[self._first :, feature]
            self._plot("history", past, history, color=known, lw=1.2, marker=marker, ms=5)
        for band in self._bands:
            self._draw_band(band, feature, shade)
        marker = "s" if self._is_marked else ""
        for label, values, style in _lines(found):
            line = dict(color=shade, ls=style, marker=marker, ms=3.5, lw=2, zorder=3)
            self._plot(label, ahead, values[:, feature], **line)
            if style == "-":
                self._join(label, values[0, feature], feature, color=shade, lw=1, zorder=3)
        if self._came is not None and len(self._came):
            came = self._came[:, feature]
            marker = "o" if self._is_marked else ""
            line = dict(color=known, ls="--", lw=1, marker=marker, ms=4.5, mfc="none", zorder=4)
            self._plot("what came", ahead[: len(came)], came, **line)
            self._join("what came", came[0], feature, color=known, ls="--", lw=1, zorder=4)

    def _plot(self, label: str, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
        (line,) = self._ax.plot(x, y, label=label, gid=label, **style)
        if self._has_several:
            line = copy(line)
            line.set_color(ink(self._ax))
        self._handles.setdefault(label, line)

    def _join(self, label: str, first: float, feature: int, **style: Any) -> None:
        """Lead the last value of the history to the first one after it, where nothing is between
        them."""
        past, ahead = self._found.past, self._found.ahead
        if self._first == len(past):
            return
        apart = np.concatenate([np.diff(past[self._first :]), np.diff(ahead)])
        between = ahead[0] - past[-1]
        if not len(apart) or np.abs(between) <= _ONE_APART * np.abs(apart).max():
            last = self._found.history[-1, feature]
            self._ax.plot([past[-1], ahead[0]], [last, first], gid=f"to {label}", **style)

    def _draw_band(self, band: Band, feature: int, shade: Any) -> None:
        x, lower, upper = self._found.ahead, band.lower[:, feature], band.upper[:, feature]
        if len(x) == 1:  # a band has some width
            around = self._distance() * 3 / 10
            x = np.array([x[0] - around, x[0], x[0] + around])
            lower, upper = np.repeat(lower, 3), np.repeat(upper, 3)
        style = dict(label=band.label, gid=band.label)
        self._ax.fill_between(x, lower, upper, **_band_style(band, shade), **style)
        swatch = _swatch(band, ink(self._ax) if self._has_several else shade)
        # An interval may be called as the quantiles are.
        self._handles.setdefault(f"{band.label} {band.is_hatched}", swatch)

    def _distance(self) -> Any:
        times = np.concatenate([self._found.past[-1:], self._found.ahead])
        return times[-1] - times[-2]

    def _set_ticks(self) -> None:
        axis, times = self._ax.xaxis, self._found.ahead
        if is_date(times):
            date_ticks(axis, inches(self._ax)[0])
        elif times.dtype.kind in "iu":
            count_ticks(axis, inches(self._ax)[0])


def _band_style(band: Band, color: Any) -> dict[str, Any]:
    if not band.is_hatched:
        return dict(color=color, alpha=_SHADE, lw=0)
    hatch = _HATCHES[(band.depth - 1) % len(_HATCHES)]
    return dict(facecolor="none", edgecolor=color, alpha=_HATCH_SHADE, hatch=hatch, lw=0.6)


def _swatch(band: Band, color: Any) -> Any:
    """Return a legend's patch of a band that lies on others: as dark as all of them."""
    from matplotlib.patches import Patch

    patch = Patch(label=band.label, **_band_style(band, color))
    if not band.is_hatched:
        patch.set_alpha(1 - (1 - _SHADE) ** band.depth)
    return patch
