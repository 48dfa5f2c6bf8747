"""Draw a forecast: its history, its line, its uncertainty, and the actual values."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.plot.bands import Band, Line
from seqframe.plot.canvas import (
    count_ticks,
    curve_colors,
    date_ticks,
    inches,
    ink,
    legend_above,
    make_axes,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_MARKED = 6.0  # points of width that a step needs for its own mark
_SHADE, _HATCH_SHADE = 0.25, 0.6  # opacity of a band
_ONE_APART = 1.5  # times the longest step: months differ, and no step lies in between
_HATCHES = ("////", "\\\\\\\\")


@dataclass(frozen=True)
class TimeAxis:
    """The times of a history and of its forecast, dates or numbers, and the axis's label."""

    past: np.ndarray
    ahead: np.ndarray
    label: str

    @property
    def is_joined(self) -> bool:
        """Whether no step lies between the history and the forecast."""
        if not len(self.past):
            return False
        apart = np.concatenate([np.diff(self.past), np.diff(self.ahead)])
        between = self.ahead[0] - self.past[-1]
        return not len(apart) or bool(np.abs(between) <= _ONE_APART * np.abs(apart).max())


def draw_forecast(
    times: TimeAxis,
    names: Sequence[str],
    history: np.ndarray,
    lines: Sequence[Line],
    bands: Sequence[Band],
    actual: np.ndarray | None,
    ax: "Axes | None",
) -> "Axes":
    """Draw values `(steps, features)` of the features `names`, the first band at the bottom."""
    ax = make_axes(ax, 9, 4)
    picture = _Picture(ax, times, has_several=len(names) > 1)
    for k, (name, color) in enumerate(zip(names, cycle(curve_colors(ax)), strict=False)):
        known = color if len(names) > 1 else ink(ax)
        last = history[-1:, k]
        if len(last):
            style: dict[str, Any] = dict(color=known, lw=1.2, marker=".", ms=5)
            picture.draw_line("history", times.past, history[:, k], **style)
        for depth, band in enumerate(bands):
            picture.draw_band(band, k, color, depth)
        for line in lines:
            style = dict(color=color, ls=line.style, marker="s", ms=3.5, lw=2, zorder=3)
            picture.draw_line(line.label, times.ahead, line.values[:, k], **style)
            if line.style == "-":
                picture.join(line.label, last, line.values[0, k], color=color, lw=1, zorder=3)
        if actual is not None and len(actual):
            style = dict(color=known, ls="--", lw=1, zorder=4)
            reached = times.ahead[: len(actual)]
            picture.draw_line(
                "actual", reached, actual[:, k], marker="o", ms=4.5, mfc="none", **style
            )
            picture.join("actual", last, actual[0, k], **style)
        if len(names) > 1:
            picture.name_feature(name, color)
    ax.set_xlabel(times.label, parse_math=False)
    ax.set_ylabel(names[0] if len(names) == 1 else "", parse_math=False)
    ax.spines[["right", "top"]].set_visible(False)
    if times.ahead.dtype.kind == "M":
        date_ticks(ax.xaxis, inches(ax)[0])
    elif times.ahead.dtype.kind in "iu":
        count_ticks(ax.xaxis, inches(ax)[0])
    legend_above(ax, list(picture.legend.values()))
    return ax


class _Picture:
    """Draws lines and bands, and collects the legend.

    With several features, each has a colour, and the legend shows everything else in black.
    """

    def __init__(self, ax: "Axes", times: TimeAxis, has_several: bool):
        self._ax, self._times, self._has_several = ax, times, has_several
        room = 72 * inches(ax)[0] / (len(times.past) + len(times.ahead))
        self._is_marked = room >= _MARKED or len(times.ahead) == 1
        self.legend: dict[str, Artist] = {}

    def draw_line(self, label: str, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
        if not self._is_marked:
            style["marker"] = ""
        (line,) = self._ax.plot(x, y, label=label, gid=label, **style)
        line = copy(line)
        line.set_color(self._in_legend(style["color"]))
        self.legend.setdefault(label, line)

    def join(self, label: str, last: np.ndarray, first: float, **style: Any) -> None:
        """Join the last value of the history to the first after it, if no step lies between."""
        times = self._times
        if times.is_joined:
            ends = [times.past[-1], times.ahead[0]], [*last, first]
            self._ax.plot(*ends, gid=f"to {label}", **style)

    def draw_band(self, band: Band, feature: int, color: Any, depth: int) -> None:
        """Draw a band on top of `depth` other bands."""
        from matplotlib.patches import Patch

        x, lower, upper = self._times.ahead, band.lower[:, feature], band.upper[:, feature]
        if len(x) == 1:  # a single step needs some width
            times = np.concatenate([self._times.past[-1:], x])
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
        self.legend.setdefault(band.label, Patch(**{**style, **in_legend}))

    def name_feature(self, name: str, color: Any) -> None:
        (self.legend[f"feature {name}"],) = self._ax.plot([], [], color=color, lw=4, label=name)

    def _in_legend(self, color: Any) -> Any:
        return ink(self._ax) if self._has_several else color
