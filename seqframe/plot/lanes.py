"""Draw lanes: which rows continue from batch to batch, reset, or run out of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.plot.canvas import BLUE, GREY, SKY, count_ticks, inches, ink, legend_above, make_axes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection

_COLORS = (BLUE, SKY)
_NAMED_ROWS = 16  # up to this many rows, names fit in
_MARKED_ROWS = 40  # up to this many rows, gaps and resets are drawn
_SEPARATED = 60  # up to this many batches, lines separate them
_BAR = 0.76  # height of a bar in a row of height 1


@dataclass
class Segments:
    """Batches `begin … end - 1` that rows read without a reset; arrays of one length.

    Attributes:
        is_reset: whether the row resets at `begin`.
        color: which of two colours to draw the segment in.
        names: text for the segment, if it fits.
    """

    row: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    is_reset: np.ndarray
    color: np.ndarray
    names: Sequence[str]


def draw_lanes(
    segments: Segments,
    row_ends: np.ndarray,
    batches: tuple[int, int],
    total: int,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the segments of rows in view.

    Args:
        segments: the segments.
        row_ends: int array `(rows,)`. The batch at which each row has run out of data.
        batches: the first batch in view, and the batch after the last.
        total: int. Number of all batches.
        ax: axes to draw on; None makes a figure.
    """
    (start, stop), rows = batches, len(row_ends)
    ax = make_axes(ax, 9, float(np.clip(1.2 + 0.3 * rows, 1.8, 6)))
    paper, is_separate = ax.get_facecolor(), rows <= _MARKED_ROWS
    height = _BAR if is_separate else 1.0
    edge = paper if is_separate else "none"
    handles: list[Artist] = []
    for color, label in enumerate(("continues", "next sequence")):
        mine = segments.color == color
        part = segments.row[mine], segments.begin[mine], segments.end[mine], height
        if mine.any():
            style: dict[str, Any] = dict(facecolor=_COLORS[color], edgecolor=edge, lw=0.8)
            bars = _draw_bars(ax, *part, gid=f"continues-{color}", label=label, **style)
            handles.append(bars)
    short = np.flatnonzero(row_ends < stop)
    if stop - start <= _SEPARATED:
        ax.vlines(np.arange(start, stop - 1) + 0.5, -0.5, rows - 0.5, color=paper, lw=1)
    if is_separate and segments.is_reset.any():
        is_reset, size = segments.is_reset, min(6, 36 * inches(ax)[1] / rows)
        handles += ax.plot(
            segments.begin[is_reset] - 0.5, segments.row[is_reset], ">", ls="", clip_on=False,
            color=paper, mec=ink(ax), mew=1, ms=size, gid="resets", label="reset",
        )  # fmt: skip
    if len(short):
        part = short, np.maximum(row_ends[short], start), np.full(len(short), stop), height
        style = dict(facecolor="none", edgecolor=GREY, hatch="////", lw=0.5)
        handles.append(_draw_bars(ax, *part, gid="ran-out", label="ran out (weight 0)", **style))
    count_ticks(ax.xaxis, inches(ax)[0])
    count_ticks(ax.yaxis, 2 * inches(ax)[1])
    ax.spines[["left", "right", "top"]].set_visible(False)
    shown = f" ({start:,} to {stop - 1:,} of {total:,})" if stop - start < total else ""
    ax.set(xlabel=f"batch{shown}", ylabel="row")
    ax.set_xlim(start - 0.5, stop - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    if rows <= _NAMED_ROWS:
        _write_names(ax, segments)
    legend_above(ax, handles)
    return ax


def _draw_bars(
    ax: "Axes", row: np.ndarray, begin: np.ndarray, end: np.ndarray, height: float, **style: Any
) -> "PolyCollection":
    """Draw a bar for each row and its batches `begin … end - 1`, all at once."""
    from matplotlib.collections import PolyCollection

    left, right, top, bottom = begin - 0.5, end - 0.5, row - height / 2, row + height / 2
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    bars = PolyCollection(np.stack([np.stack(c, -1) for c in corners], axis=1), **style)
    return ax.add_collection(bars)


def _write_names(ax: "Axes", segments: Segments) -> None:
    left, right = ax.get_xlim()
    batch = 72 * 0.9 * inches(ax)[0] / (right - left)  # points
    for row, begin, end, color, name in zip(
        segments.row, segments.begin, segments.end, segments.color, segments.names, strict=True
    ):
        if 6 * len(name) + 18 <= batch * (end - begin):
            ax.text(
                (begin + end - 1) / 2, row, name, ha="center", va="center_baseline",
                size="small", color="black" if color else "white", parse_math=False,
                # It covers the lines between batches.
                bbox={"facecolor": _COLORS[color], "edgecolor": "none", "pad": 1},
            )  # fmt: skip
