"""The picture of frames: how windows, gaps and targets lie over the raw sequences."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.framing.windows import check_integer, locate_prefixes, locate_windows
from seqframe.plotting.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    count_ticks,
    inches,
    ink,
    legend_above,
    make_axes,
)
from seqframe.plotting.strips import draw_bar, draw_symbols, draw_values, missing_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from seqframe.framing.framer import SequenceFramer
    from seqframe.framing.frames import Frames

_MOST_SEQUENCES = 4  # whose first frames are shown, unless others are asked for
_MOST_CELLS = 80  # steps side by side that are shown one by one, with their symbols
_SHORT = 40  # steps of a sequence that is shown whole
_MARGIN = 2  # steps shown past the last frame
_BAR, _STRIP, _SPACE = 0.76, 1.2, 0.5  # heights; a row with one tier has 1
_TWO_TIERS = 1.5
_LEGEND = (
    "input",
    "gap",
    "target",
    "padding",
    "known ahead",
    "missing",
    "left out",
)

#: A frame's number; or of frames that were left out, which of their sequence's they are.
Row = int | range


def plot_frames(
    frames: "Frames", count: int = 8, index: Any = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw how some frames lie over their sequences; see `Frames.plot`."""
    count = check_integer("count", count, 1)
    chosen = first_frames(frames, count) if index is None else np.atleast_1d(frames.resolve(index))
    if not len(chosen):
        raise ValueError(
            f"`index` must choose at least one of {len(frames)} frames. Received: index={index!r}."
        )
    numbers = frames.locate(chosen)[0]
    parts = {
        number: list(rows(frames, number, chosen[numbers == number]))
        for number in dict.fromkeys(numbers.tolist())
    }
    row = _TWO_TIERS if has_tiers(frames.framer) else 1
    height = sum(row * len(part) + _STRIP + _SPACE for part in parts.values())
    ax = make_axes(ax, 9, float(np.clip(1 + 0.3 * height, 2.4, 14)))
    _Picture(frames, parts, height, ax).draw()
    return ax


def has_tiers(framer: "SequenceFramer") -> bool:
    """Whether targets can lie on steps of the input or on padding, and need a tier of their own."""
    overlap = framer.return_sequences or framer.gap < 0 or framer.wrap
    return overlap or (framer.pads and framer.padding == "post")


def first_frames(frames: "Frames", count: int) -> np.ndarray:
    """Return the first frames; of several sequences, as many of each of the first ones."""
    filled = np.flatnonzero(frames.counts)[: min(_MOST_SEQUENCES, count)]
    if len(filled) == 1 or frames.framer.mode == "subsequences":
        return np.arange(min(count, len(frames)))
    share, more = divmod(count, len(filled))
    begins = np.cumsum(frames.counts) - frames.counts
    shares = [
        begins[number] + np.arange(min(share + (k < more), frames.counts[number]))
        for k, number in enumerate(filled)
    ]
    return np.concatenate(shares)


def rows(frames: "Frames", number: int, chosen: np.ndarray) -> Iterator[Row]:
    """Go through some frames of a sequence, and those that were left out between them.

    >>> from seqframe import SequenceFramer
    >>> steps = np.array([0, 1, 2, np.nan, 4, 5, 6])
    >>> frames = SequenceFramer(2).frame(steps, skip_nan=True)
    >>> list(rows(frames, 0, np.arange(2)))
    [0, range(1, 4), 1]
    """
    if frames.framer.mode == "subsequences":  # drawn anywhere: none is left out
        yield from chosen.tolist()
        return
    first, count = int(frames.counts[:number].sum()), int(frames.counts[number])
    after, previous = 0, first - 1
    for i, rank in zip(chosen.tolist(), frames.rank(chosen).tolist(), strict=True):
        if i == previous + 1 and rank > after:
            yield range(after, rank)
        yield i
        after, previous = rank + 1, i
    total = int(frames.framer.count(frames.source.steps[number]))
    if previous == first + count - 1 and after < total:
        yield range(after, total)


def left_out_steps(frames: "Frames", number: int, row: range) -> tuple[int, int]:
    """Return the first and the last raw step of frames that were left out."""
    framer, ends = frames.framer, np.array([row[0], row[-1]])
    if framer.mode == "prefixes":
        start, length = locate_prefixes(ends, framer.min_length, framer.sequence_length)
    else:
        start, length = locate_windows(ends, framer.sequence_stride, framer.span)
    begin = frames.source.begins[number]
    return int(begin + start[0]), int(begin + start[1] + length[1] - 1 + framer.ahead)


class _Picture:
    """Draws sequences and their frames on some axes, from the top downwards.

    Args:
        frames: Frames.
        parts: dict of a sequence's number to its rows.
        height: float. Of all of them.
        ax: matplotlib.axes.Axes.
    """

    def __init__(self, frames: "Frames", parts: dict[int, list[Row]], height: float, ax: "Axes"):
        self._frames, self._framer, self._parts, self._ax = frames, frames.framer, parts, ax
        self._ink = ink(ax)
        self._y = 0.0
        self._ticks: dict[float, str] = {}
        self._legend: dict[str, Any] = {}
        self._lines: dict[str, Any] = {}  # whose names may be those of what stands in the legend
        self._has_tiers = has_tiers(frames.framer)
        self._row = _TWO_TIERS if self._has_tiers else 1.0
        self._ranges = {number: self._range(number, part) for number, part in parts.items()}
        low = min(low for low, _ in self._ranges.values())
        high = max(high for _, high in self._ranges.values())
        padded = [self._padding(i) for part in parts.values() for i in part if isinstance(i, int)]
        places = np.concatenate([[low, high], *padded])
        # Padding may be far longer than all that is there, and is not to crowd it out.
        room = max(high - low, _SHORT)
        self._limits = max(places.min(), low - room), min(places.max(), high + room)
        width = self._limits[1] - self._limits[0] + 1
        self._in_cells = width <= _MOST_CELLS
        # Points that a step and a row take, about.
        across, down = inches(ax)
        self._cell, self._line = 72 * 0.85 * across / width, 72 * 0.8 * down / height

    def draw(self) -> None:
        """Draw all there is."""
        ax = self._ax
        for number, part in self._parts.items():
            self._draw_sequence(number)
            for row in part:
                if isinstance(row, int):
                    self._draw_frame(number, row)
                else:
                    self._draw_left_out(number, row)
                self._y += self._row
            self._y += _SPACE
        ax.set_yticks(list(self._ticks), list(self._ticks.values()), parse_math=False)
        ax.tick_params(axis="y", length=0, pad=14)  # room for "…"
        count_ticks(ax.xaxis, inches(ax)[0])
        for side in ("left", "right", "top"):
            ax.spines[side].set_visible(False)
        shown, total = len(self._parts), len(self._frames.source.labels)
        of = f"\n({shown:,} of {total:,} sequences)" if shown < total else ""
        ax.set(xlabel="step", ylabel=f"frame{of}")
        ax.set_xlim(self._limits[0] - 0.7, self._limits[1] + 0.7)
        ax.set_ylim(self._y - _SPACE + 0.1, -0.1)
        known = [self._legend[label] for label in _LEGEND if label in self._legend]
        legend_above(ax, [*known, *self._lines.values()])

    def _range(self, number: int, part: list[Row]) -> tuple[int, int]:
        """Return the first and the last step of a sequence that is shown."""
        begin = int(self._frames.source.begins[number])
        last = begin + int(self._frames.source.steps[number]) - 1
        if last - begin < _SHORT:
            return begin, last
        steps = [self._frames.steps(row)[1:] for row in part if isinstance(row, int)]
        touched = np.concatenate([part.ravel() for parts in steps for part in parts])
        low, high = int(touched.min()), int(touched.max())
        # Of what was left out before and after them, as much as leaves them room.
        room = max(high - low, _SHORT)
        for row in part:
            if isinstance(row, range):
                first, stop = left_out_steps(self._frames, number, row)
                low = min(low, max(first, int(touched.min()) - room))
                high = max(high, min(stop, int(touched.max()) + room))
        return low, min(high + _MARGIN, last)

    def _padding(self, i: int) -> np.ndarray:
        """Return the places of a frame's padding, as if they were steps beside those of its
        input."""
        inputs = self._frames.steps(i).inputs
        places = np.arange(self._framer.sequence_length - len(inputs))
        if self._framer.padding == "pre":
            return inputs[0] - 1 - places
        return inputs[-1] + 1 + places

    def _draw_sequence(self, number: int) -> None:
        frames, ax, shade = self._frames, self._ax, self._ink
        low, high = self._ranges[number]
        top, bottom, middle = self._y + 0.1, self._y + _STRIP - 0.1, self._y + _STRIP / 2
        begin = frames.source.begins[number]
        label = frames.source.labels[number]
        if len(frames.source.labels) == 1:
            self._ticks[middle] = "sequence"
        else:
            self._ticks[middle] = f"sequence {label}" if isinstance(label, int) else str(label)
        if frames.vocabulary is None:
            for line in draw_values(ax, frames, number, low, high, top, bottom, shade):
                if line.get_label():
                    self._lines.setdefault(line.get_label(), line)
        else:
            steps = np.arange(low, high + 1)
            style = dict(facecolor="none", edgecolor=GREY, gid=f"sequence-{number}")
            draw_bar(ax, steps, top, bottom, self._in_cells, **style)
            self._write(frames.inputs.read(number)[steps - begin], steps, middle, shade)
        missing = missing_steps(frames, number, low, high)
        if len(missing):
            (marks,) = ax.plot(
                missing, np.full(len(missing), middle), "x", color=shade, ms=7, mew=1.5
            )
            marks.set(label="missing", gid=f"sequence-{number}-missing")
            self._legend["missing"] = marks
        if low > begin:
            ax.text(low - 0.6, middle, "…", ha="right", va="center", color=shade)
        if high < begin + frames.source.steps[number] - 1:
            ax.text(high + 0.6, middle, "…", ha="left", va="center", color=shade)
        self._y += _STRIP

    def _draw_frame(self, number: int, i: int) -> None:
        frames = self._frames
        _, inputs, targets = frames.steps(i)
        ahead = np.unique(targets)
        top, middle, bottom = self._tiers()
        self._ticks[middle] = str(i)
        own = (top, middle if self._has_tiers else bottom)
        other = (middle if self._has_tiers else top, bottom)
        line = dict(color=self._ink, lw=1, zorder=1)
        if len(inputs) > 1 and not self._framer.wrap and self._framer.sampling_rate > 1:
            self._ax.hlines(sum(own) / 2, inputs[0], inputs[-1], **line)
        if not self._has_tiers and self._framer.gap > 0:
            gap = self._ax.hlines(middle, inputs[-1] + 0.5, ahead[0] - 0.5, **line, ls=":")
            self._legend["gap"] = gap
            gap.set(label="gap", gid=f"frame-{i}-gap")
        padding = self._padding(i)
        if len(padding):
            style = dict(facecolor="none", edgecolor=GREY, hatch="...", lw=0.6)
            self._add(f"frame-{i}-padding", "padding", padding, own, **style)
        style = dict(facecolor=BLUE, edgecolor="white", lw=0.8 if self._in_cells else 0)
        self._add(f"frame-{i}-inputs", "input", inputs, own, **style)
        style = dict(facecolor=ORANGE, edgecolor=self._ink, lw=0.8)
        self._add(f"frame-{i}-targets", "target", ahead, other, **style)
        if frames.source.future is not None:
            (marks,) = self._ax.plot(
                ahead, np.full(len(ahead), bottom - 0.16), "^", color=GREEN, mec="black",
                ms=min(6, self._cell / 2), mew=0.6,
            )  # fmt: skip
            marks.set(label="known ahead", gid=f"frame-{i}-future")
            self._legend["known ahead"] = marks
        if frames.vocabulary is not None:
            begin = frames.source.begins[number]
            ids = frames.inputs.read(number)
            self._write(ids[inputs - begin], inputs, sum(own) / 2, "white")
            if frames.targets is frames.inputs:
                self._write(ids[ahead - begin], ahead, sum(other) / 2, "black")

    def _draw_left_out(self, number: int, row: range) -> None:
        """Draw frames that were left out as one outline around all their steps."""
        low, high = left_out_steps(self._frames, number, row)
        top, middle, bottom = self._tiers()
        bar = self._ax.broken_barh(
            [(low - 0.5, high - low + 1)], (top, bottom - top), facecolor="none",
            edgecolor=self._ink, ls="--", lw=0.8, gid=f"sequence-{number}-left-out-{row.start}",
        )  # fmt: skip
        bar.set_label("left out")
        self._legend["left out"] = bar
        seen = np.clip([low, high], *self._ranges[number])
        self._ax.text(
            seen.mean(), middle, f"{len(row)} left out", ha="center", va="center_baseline",
            size=min(9, 0.6 * self._line), color=self._ink,
        )  # fmt: skip

    def _tiers(self) -> tuple[float, float, float]:
        """Return the top, the middle and the bottom of a row's bar."""
        space = (1 - _BAR) / 2
        return self._y + space, self._y + self._row / 2, self._y + self._row - space

    def _add(
        self, gid: str, label: str, steps: np.ndarray, tier: tuple[float, float], **style: Any
    ) -> None:
        # Padding is nothing that has steps.
        in_cells = self._in_cells and label != "padding"
        bar = draw_bar(self._ax, steps, *tier, in_cells, gid=gid, label=label, **style)
        self._legend.setdefault(label, bar)

    def _write(self, ids: np.ndarray, steps: np.ndarray, y: float, color: Any) -> None:
        vocabulary = self._frames.vocabulary
        if self._in_cells and vocabulary is not None and ids.ndim == 1:
            room = (self._cell, self._line * self._row / (2 if self._has_tiers else 1))
            draw_symbols(self._ax, vocabulary, ids, steps, y, room, color)
