"""Draw a forecast: its history, its line, its uncertainty, and the actual values."""

from collections.abc import Sequence
from copy import copy
from itertools import cycle
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.plot.bands import Band, Intervals, read_forecast, read_intervals
from seqframe.plot.canvas import (
    count_ticks,
    curve_colors,
    date_ticks,
    inches,
    ink,
    legend_above,
    make_axes,
)
from seqframe.plot.tables import Columns, Data, find_features
from seqframe.plot.times import is_date, time_axis

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_MARKED = 6.0  # points that a step needs for a mark of its own
_SHADE, _HATCH_SHADE = 0.25, 0.6  # opacity of a band
_HISTORY = 2  # times as many steps of history as of the forecast
_LEAST_HISTORY = 12
_ONE_APART = 1.5  # times the longest step: months differ, and no step lies in between
_HATCHES = ("////", "\\\\\\\\")


def plot_forecast(
    history: Data,
    forecast: Data,
    *,
    paths: Data | None = None,
    quantiles: Sequence[float] | None = None,
    intervals: Intervals | None = None,
    actual: Data | None = None,
    columns: Columns | None = None,
    index: Data | None = None,
    num_history: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a forecast after its history, with its uncertainty and the actual values.

    A thin line joins the history to the forecast if no step lies between them.

    Args:
        history: array `(length,)` or `(length, features)`, DataFrame or Series: what
            `Generator.forecast` was given, or the end of it. An index of dates or numbers becomes
            the time axis. Columns that are not drawn may hold anything.
        forecast: what `Generator.forecast` returned: an array `(steps,)` or `(steps, features)`, a
            Series or a DataFrame. Sample paths and quantiles have an axis before these, or are a
            DataFrame of quantiles. For sample paths the median is drawn, with the bands that hold
            50 % and 90 % of them.
        paths: array `(num_samples, steps, …)`. Sample paths to draw with a single forecast.
        quantiles: list of float in [0, 1]. The levels of an array `(quantiles, …)`. Opposite
            levels, such as 0.1 and 0.9, make a band; 0.5 makes the line.
        intervals: prediction intervals: a tuple `(lower, upper)` as `Backtest.interval` returns
            it, or a dict of coverage in (0, 1), or label, to such tuples. They are hatched if
            shades would not tell them from each other or from other bands.
        actual: array, Series or DataFrame. The actual values, for as many steps as are known.
        columns: name or position of the history's column that is forecast, or a list of these.
            None: the columns that the forecast names, or all.
        index: array of numbers or dates `(length,)` or `(length + steps,)`. The time axis, for a
            history without an index.
        num_history: int ≥ 0. Steps of history to draw. None: twice as many as the forecast has,
            and at least 12.
        ax: matplotlib.axes.Axes to draw on; None makes a figure.

    Returns:
        matplotlib.axes.Axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if there are several histories, or the values are not numbers.
        ValueError: if shapes do not fit together, or it is unclear which column is forecast.

    Example:

    >>> import matplotlib
    >>> from seqframe import plot_forecast
    >>> history, forecast = np.sin(np.arange(40.0)), np.sin(np.arange(40.0, 50.0))
    >>> wide, narrow = (forecast - 0.2, forecast + 0.2), (forecast - 0.1, forecast + 0.1)
    >>> ax = plot_forecast(history, forecast, intervals={0.9: wide, 0.5: narrow})
    >>> for text in ax.get_legend().get_texts():
    ...     print(text.get_text())
    history
    90 % prediction interval
    50 % prediction interval
    forecast
    """
    features = find_features(history, forecast, columns)
    lines, bands = read_forecast(features, forecast, paths, quantiles)
    steps = len(lines[0].values if lines else bands[0].lower)
    if intervals is not None:
        bands += read_intervals(features, intervals, steps, hatch=bool(bands))
    seen = None if actual is None else features.read(actual, "actual")
    if seen is not None and len(seen) > steps:
        raise ValueError(
            f"`actual` must have at most the {steps} steps of the forecast. Received: {len(seen)}. "
            f"Shorten it, as in `actual[:{steps}]`."
        )
    shown = max(_HISTORY * steps, _LEAST_HISTORY) if num_history is None else num_history
    if not isinstance(shown, Integral) or shown < 0:
        raise ValueError(f"`num_history` must be an integer ≥ 0. Received: {num_history!r}.")
    past, ahead, clock = time_axis(history, forecast, index, steps)
    first = max(len(past) - int(shown), 0)
    known = features.read(history, "history")[first:]

    ax = make_axes(ax, 9, 4)
    picture = _Picture(ax, past[first:], ahead, has_several=len(features.names) > 1)
    for k, (name, color) in enumerate(zip(features.names, cycle(curve_colors(ax)), strict=False)):
        picture.draw_history(known[:, k], color)
        for depth, band in enumerate(bands):
            picture.draw_band(band, k, color, depth)
        for line in lines:
            picture.draw_forecast(line.label, line.values[:, k], color, line.style)
        if seen is not None and len(seen):
            picture.draw_actual(seen[:, k], color)
        if len(features.names) > 1:
            picture.name_feature(name, color)
    picture.finish(clock, features.names)
    return ax


class _Picture:
    """Draws one feature after the other, and collects the legend.

    With several features, each has a colour, and the legend shows everything else in black.
    """

    def __init__(self, ax: "Axes", past: np.ndarray, ahead: np.ndarray, has_several: bool):
        self._ax, self._past, self._ahead, self._has_several = ax, past, ahead, has_several
        room = 72 * inches(ax)[0] / (len(past) + len(ahead))
        self._is_marked = room >= _MARKED or len(ahead) == 1
        self._legend: dict[str, Artist] = {}

    def draw_history(self, values: np.ndarray, color: Any) -> None:
        self._last = values[-1:]
        if len(values):
            self._line("history", self._past, values, self._known(color), lw=1.2, marker=".", ms=5)

    def draw_forecast(self, label: str, values: np.ndarray, color: Any, style: Any) -> None:
        self._line(label, self._ahead, values, color, ls=style, marker="s", ms=3.5, lw=2, zorder=3)
        if style == "-":
            self._join(label, values[0], color=color, lw=1, zorder=3)

    def draw_actual(self, values: np.ndarray, color: Any) -> None:
        color, style = self._known(color), dict(ls="--", lw=1, zorder=4)
        times = self._ahead[: len(values)]
        self._line("actual", times, values, color, marker="o", ms=4.5, mfc="none", **style)
        self._join("actual", values[0], color=color, **style)

    def draw_band(self, band: Band, feature: int, color: Any, depth: int) -> None:
        """Draw a band that lies on `depth` others."""
        from matplotlib.patches import Patch

        x, lower, upper = self._ahead, band.lower[:, feature], band.upper[:, feature]
        if len(x) == 1:  # a single step needs some width
            times = np.concatenate([self._past[-1:], x])
            around = (times[-1] - times[-2]) * 3 / 10 if len(times) > 1 else 0.3
            x = np.array([x[0] - around, x[0], x[0] + around])
            lower, upper = np.repeat(lower, 3), np.repeat(upper, 3)
        style = dict(facecolor=color, alpha=_SHADE, lw=0, label=band.label)
        in_legend = dict(facecolor=self._in_legend(color), alpha=1 - (1 - _SHADE) ** (depth + 1))
        if band.is_hatched:
            hatch = dict(facecolor="none", alpha=_HATCH_SHADE, hatch=_HATCHES[depth % 2], lw=0.6)
            style.update(hatch, edgecolor=color)
            in_legend = dict(edgecolor=self._in_legend(color))
        self._ax.fill_between(x, lower, upper, gid=band.label, **style)
        self._legend.setdefault(band.label, Patch(**{**style, **in_legend}))

    def name_feature(self, name: str, color: Any) -> None:
        (self._legend[f"feature {name}"],) = self._ax.plot([], [], color=color, lw=4, label=name)

    def finish(self, clock: str, names: list[str]) -> None:
        """Draw the ticks, the labels and the legend."""
        ax, width = self._ax, inches(self._ax)[0]
        ax.set_xlabel(clock, parse_math=False)
        if not self._has_several:
            ax.set_ylabel(names[0], parse_math=False)
        ax.spines[["right", "top"]].set_visible(False)
        if is_date(self._ahead):
            date_ticks(ax.xaxis, width)
        elif self._ahead.dtype.kind in "iu":
            count_ticks(ax.xaxis, width)
        legend_above(ax, list(self._legend.values()))

    def _known(self, color: Any) -> Any:
        """Return the colour of known values: that of their feature, if there are several."""
        return color if self._has_several else ink(self._ax)

    def _in_legend(self, color: Any) -> Any:
        return ink(self._ax) if self._has_several else color

    def _line(self, label: str, x: np.ndarray, y: np.ndarray, color: Any, **style: Any) -> None:
        if not self._is_marked:
            style["marker"] = ""
        (line,) = self._ax.plot(x, y, color=color, label=label, gid=label, **style)
        line = copy(line)
        line.set_color(self._in_legend(color))
        self._legend.setdefault(label, line)

    def _join(self, label: str, value: float, **style: Any) -> None:
        """Join the last value of the history to the first after it, if no step lies between."""
        past, ahead = self._past, self._ahead
        if not len(past):
            return
        apart = np.concatenate([np.diff(past), np.diff(ahead)])
        between = ahead[0] - past[-1]
        if not len(apart) or np.abs(between) <= _ONE_APART * np.abs(apart).max():
            ends = [*self._last, value]
            self._ax.plot([past[-1], ahead[0]], ends, gid=f"to {label}", **style)
