"""The picture of lanes: what continues from batch to batch, where rows reset or ran out."""

from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.framing.windows import check_integer
from seqframe.plotting.canvas import (
    BLUE,
    GREY,
    SKY,
    count_ticks,
    inches,
    ink,
    legend_above,
    make_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from seqframe.framing.lanes import Lanes

_MOST_SEGMENTS = 4000  # bars that are drawn, unless more are asked for
_LABELED_ROWS = 16  # rows that are high enough to write in
_MARKED_ROWS = 40  # and to mark each reset
_SEPARATED = 60  # batches wide enough to be told apart
_BAR = 0.76  # height of a bar, where rows are few enough to stand apart


def plot_lanes(
    lanes: "Lanes", batches: int | slice | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw lanes over batches; see `Lanes.plot`."""
    start, stop = _shown_batches(lanes, batches)
    rows = lanes.batch_size
    ax = make_axes(ax, 9, float(np.clip(1.2 + 0.3 * rows, 1.8, 6)))
    color, paper = ink(ax), ax.get_facecolor()
    row, position, first, count = lanes.segments
    ends = np.zeros(rows, np.int64)
    np.maximum.at(ends, row, position + count)
    # Bars of a row take turns in colour.
    turn = (np.arange(len(row)) - np.searchsorted(row, row)) % 2
    shown = (position < stop) & (position + count > start)
    row, position, first, count, turn = (
        part[shown] for part in (row, position, first, count, turn)
    )
    begin, end = np.maximum(position, start), np.minimum(position + count, stop)

    edge, bar = (paper, _BAR) if rows <= _MARKED_ROWS else ("none", 1.0)
    height = 72 * inches(ax)[1] / rows
    for which, shade in enumerate((BLUE, SKY)):
        mine = turn == which
        _draw_bars(
            ax, row[mine], begin[mine], end[mine], bar,
            gid=f"continues-{which}", facecolor=shade, edgecolor=edge, lw=0.8,
        )  # fmt: skip
    short = np.flatnonzero(ends < stop)
    out_of = _draw_bars(
        ax, short, np.maximum(ends[short], start), np.full(len(short), stop), bar,
        gid="ran-out", facecolor="none", edgecolor=GREY, hatch="////", lw=0.5,
    )  # fmt: skip
    if stop - start <= _SEPARATED:
        ax.vlines(np.arange(start, stop - 1) + 0.5, -0.5, rows - 0.5, color=paper, lw=1)
    _finish(ax, lanes, start, stop)
    resets = position >= start
    handles = [_swatch(BLUE, "continues")]
    if turn.any():
        handles.append(_swatch(SKY, "next sequence"))
    if rows <= _MARKED_ROWS and resets.any():
        (marks,) = ax.plot(
            position[resets] - 0.5, row[resets], ">", color=paper, mec=color,
            ms=min(6, height / 2), mew=1, ls="", clip_on=False, gid="resets", label="reset",
        )  # fmt: skip
        handles.append(marks)
    if len(short):
        out_of.set_label("ran out (weight 0)")
        handles.append(out_of)
    if rows <= _LABELED_ROWS:
        _write(ax, lanes, row, begin, end, first + begin - position, turn)
    legend_above(ax, handles)
    return ax


def _shown_batches(lanes: "Lanes", batches: int | slice | None) -> tuple[int, int]:
    """Return the first batch that is drawn, and the one before which to stop."""
    if isinstance(batches, slice):
        start, stop, step = batches.indices(len(lanes))
        if step != 1 or start >= stop:
            raise ValueError(
                f"`batches` must be a slice of neighbouring ones of {len(lanes)} batches. "
                f"Received: batches={batches!r}."
            )
        return start, stop
    if batches is not None:
        return 0, min(check_integer("batches", batches, 1), len(lanes))
    position = np.sort(lanes.segments[1])
    if len(position) <= _MOST_SEGMENTS:
        return 0, len(lanes)
    return 0, max(int(position[_MOST_SEGMENTS]), 1)


def _draw_bars(
    ax: "Axes", row: np.ndarray, begin: np.ndarray, end: np.ndarray, height: float, **style: Any
) -> Any:
    """Draw a bar for each row and its batches `begin … end - 1`, all at once."""
    from matplotlib.collections import PolyCollection

    left, right, top, bottom = begin - 0.5, end - 0.5, row - height / 2, row + height / 2
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    bars = PolyCollection(np.stack([np.stack(c, -1) for c in corners], axis=1), **style)
    return ax.add_collection(bars)


def _finish(ax: "Axes", lanes: "Lanes", start: int, stop: int) -> None:
    count_ticks(ax.xaxis, inches(ax)[0])
    count_ticks(ax.yaxis, 2 * inches(ax)[1])
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    is_all = stop - start == len(lanes)
    shown = "" if is_all else f" ({start:,} to {stop - 1:,} of {len(lanes):,})"
    ax.set(xlabel=f"batch{shown}", ylabel="row")
    ax.set_xlim(start - 0.5, stop - 0.5)
    ax.set_ylim(lanes.batch_size - 0.5, -0.5)


def _swatch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=color, label=label)


def _write(
    ax: "Axes",
    lanes: "Lanes",
    row: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    first: np.ndarray,
    turn: np.ndarray,
) -> None:
    """Write what bars are: the name of the sequence, or the frames, of the only one."""
    left, right = ax.get_xlim()
    batch = 72 * 0.9 * inches(ax)[0] / (right - left)  # points
    labels = lanes.frames.source.labels
    sequence = lanes.frames.locate(first)[0]
    for k in range(len(row)):
        stop = first[k] + end[k] - begin[k] - 1
        text = f"frames {first[k]}–{stop}" if len(labels) == 1 else str(labels[sequence[k]])
        if 6 * len(text) + 18 <= batch * (end[k] - begin[k]):
            # Written over the lines between batches.
            back = {"facecolor": (BLUE, SKY)[turn[k]], "edgecolor": "none", "pad": 1}
            ax.text(
                (begin[k] + end[k] - 1) / 2, row[k], text, ha="center", va="center_baseline",
                size="small", color="black" if turn[k] else "white", parse_math=False,
                bbox=back,
            )  # fmt: skip
