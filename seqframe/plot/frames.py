"""Draw frames: their inputs, gaps, targets and padding over the raw sequences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.plot.canvas import (
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

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MOST_CELLS = 80  # up to this many steps, each gets a cell with its symbol
_LINE_STYLES = ("-", "--", "-.", ":")  # one for each drawn feature
_SHORT = 40  # up to this many steps, a sequence is shown whole
_MARGIN = 2  # steps shown after the last frame
_MOST_POINTS = 2000  # points of a curve
_BAR, _STRIP, _SPACE = 0.76, 1.2, 0.5  # heights of a bar, a sequence and the space below it
_ONE_TIER, _TWO_TIERS = 1.0, 1.5  # heights of a frame's row
_LEAST_FONT, _MOST_FONT = 4.5, 10.0  # points
_LEGEND = ("input", "gap", "target", "padding", "future covariates", "missing")
_BARS: dict[str, dict[str, Any]] = {  # how bars look
    "sequence": dict(facecolor="none", edgecolor=GREY, lw=1),
    "input": dict(facecolor=BLUE, edgecolor="white"),
    "target": dict(facecolor=ORANGE, lw=0.8),
    "padding": dict(facecolor="none", edgecolor=GREY, hatch="...", lw=0.6),
}
_VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}


#: The first and the last step of each of some runs of neighbouring steps.
Runs = tuple[np.ndarray, np.ndarray]

#: The label of a feature, and its values at the steps that are shown.
Curve = tuple[str, np.ndarray]


@dataclass
class Frame:
    """A frame's number and its raw steps, int arrays.

    Attributes:
        padding: steps of padding, counted as steps before or after the inputs.
    """

    number: int
    inputs: np.ndarray
    targets: np.ndarray
    padding: np.ndarray
    has_future: bool = False

    @property
    def overlaps(self) -> bool:
        """Whether a target lies on a step of the input or on padding."""
        return bool(np.isin(self.targets, np.concatenate([self.inputs, self.padding])).any())


@dataclass
class RawSequence:
    """A raw sequence and the frames to draw below it.

    Attributes:
        first: its first raw step.
        last: its last raw step.
        symbols: its symbols at the shown steps, if it is text.
        has_symbol_targets: whether targets are symbols, too.
        curves: its features, if it is numeric.
        target_curves: the features of its targets, if they are not its own.
        missing: int array of the shown steps that frames may not contain.
    """

    number: int
    name: str
    first: int
    last: int
    frames: Sequence[Frame]
    symbols: Sequence[str] = ()
    has_symbol_targets: bool = False
    curves: Sequence[Curve] = ()
    target_curves: Sequence[Curve] = ()
    missing: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @cached_property
    def shown(self) -> tuple[int, int]:
        """The first and the last step to draw. A long sequence is cut around the frames."""
        if self.last - self.first < _SHORT:
            return self.first, self.last
        low = min(min(f.inputs.min(), f.targets.min()) for f in self.frames)
        high = max(max(f.inputs.max(), f.targets.max()) for f in self.frames)
        return int(low), int(min(high + _MARGIN, self.last))


def draw_frames(sequences: Sequence[RawSequence], total: int, ax: "Axes | None" = None) -> "Axes":
    """Draw each sequence with its frames below it; `total` counts all sequences there are."""
    has_tiers = any(frame.overlaps for sequence in sequences for frame in sequence.frames)
    row = _TWO_TIERS if has_tiers else _ONE_TIER
    height = sum(row * len(sequence.frames) + _STRIP + _SPACE for sequence in sequences)
    ax = make_axes(ax, 9, float(np.clip(1 + 0.3 * height, 2.4, 14)))
    picture = _Picture(ax, sequences, has_tiers, height)
    for sequence in sequences:
        picture.draw(sequence)
    picture.finish(len(sequences), total)
    return ax


class _Picture:
    """Draws sequences from the top downwards, and collects the ticks and the legend."""

    def __init__(
        self, ax: "Axes", sequences: Sequence[RawSequence], has_tiers: bool, height: float
    ):
        self._ax, self._ink, self._has_tiers = ax, ink(ax), has_tiers
        self._row = _TWO_TIERS if has_tiers else _ONE_TIER
        self._y = 0.0
        self._ticks: dict[float, str] = {}
        self._legend: dict[str, Artist] = {}
        self._curves: dict[str, Artist] = {}  # a curve may have the name of another entry
        self._limits = low, high = _limits(sequences)
        self._in_cells = high - low < MOST_CELLS
        across, down = inches(ax)
        cell, line = 72 * 0.85 * across / (high - low + 1), 72 * 0.8 * down / height  # points
        self._cell = cell
        longest = max((len(s) for sequence in sequences for s in sequence.symbols), default=1)
        tier = line * self._row / (2 if has_tiers else 1)
        self._font = min(cell / (0.9 if longest == 1 else 0.72 * longest), 0.75 * tier, _MOST_FONT)

    def draw(self, sequence: RawSequence) -> None:
        """Draw a sequence and its frames."""
        self._draw_strip(sequence)
        self._y += _STRIP
        for frame in sequence.frames:
            self._draw_frame(sequence, frame)
            self._y += self._row
        self._y += _SPACE

    def finish(self, shown: int, total: int) -> None:
        """Draw the ticks, the labels and the legend."""
        ax, (low, high) = self._ax, self._limits
        ax.set_yticks(list(self._ticks), list(self._ticks.values()), parse_math=False)
        ax.tick_params(axis="y", length=0, pad=14)  # leaves room for "…"
        count_ticks(ax.xaxis, inches(ax)[0])
        ax.spines[["left", "right", "top"]].set_visible(False)
        of = f"\n({shown:,} of {total:,} sequences)" if shown < total else ""
        ax.set(xlabel="step", ylabel=f"frame{of}")
        ax.set_xlim(low - 0.7, high + 0.7)
        ax.set_ylim(self._y - _SPACE + 0.1, -0.1)
        entries = [self._legend[label] for label in _LEGEND if label in self._legend]
        legend_above(ax, [*entries, *self._curves.values()])

    def _draw_strip(self, sequence: RawSequence) -> None:
        """Draw the symbols or the values of a sequence, and mark the missing steps."""
        ax, (low, high) = self._ax, sequence.shown
        top, bottom, middle = self._y + 0.1, self._y + _STRIP - 0.1, self._y + _STRIP / 2
        self._ticks[middle] = sequence.name
        steps, gid = np.arange(low, high + 1), f"sequence-{sequence.number}"
        if sequence.curves or sequence.target_curves:
            self._draw_curves(sequence, steps, top, bottom)
        else:
            self._bar("sequence", gid, self._cells(steps), top, bottom)
            self._write(sequence, steps, middle, self._ink)
        if len(sequence.missing):
            level = np.full(len(sequence.missing), middle)
            (self._legend["missing"],) = ax.plot(
                sequence.missing, level, "x", color=self._ink, ms=7, mew=1.5,
                gid=f"{gid}-missing", label="missing",
            )  # fmt: skip
        if low > sequence.first:
            ax.text(low - 0.6, middle, "…", ha="right", va="center", color=self._ink)
        if high < sequence.last:
            ax.text(high + 0.6, middle, "…", ha="left", va="center", color=self._ink)

    def _draw_curves(
        self, sequence: RawSequence, steps: np.ndarray, top: float, bottom: float
    ) -> None:
        gid, hidden = f"sequence-{sequence.number}", 0
        for curves, color, kind in (
            (sequence.curves, self._ink, "values"),
            (sequence.target_curves, ORANGE, "targets"),
        ):
            hidden += max(len(curves) - len(_LINE_STYLES), 0)
            for (label, values), style in zip(curves, _LINE_STYLES, strict=False):
                x, y = thin_line(steps, values.astype(float))
                (line,) = self._ax.plot(
                    x, _scaled(y, top, bottom), color=color, ls=style, lw=1.2, ms=4,
                    marker="." if len(x) <= MOST_CELLS else "", gid=f"{gid}-{kind}",
                )  # fmt: skip
                line.set_label(label)
                if label:
                    self._curves.setdefault(label, line)
        if hidden:
            (self._curves[""],) = self._ax.plot([], [], ls="", label=f"… and {hidden} more")

    def _draw_frame(self, sequence: RawSequence, frame: Frame) -> None:
        ax, gid, inputs = self._ax, f"frame-{frame.number}", frame.inputs
        targets, space = np.unique(frame.targets), (1 - _BAR) / 2
        top, middle, bottom = self._y + space, self._y + self._row / 2, self._y + self._row - space
        self._ticks[middle] = str(frame.number)
        # Targets get a tier of their own if they would hide inputs or padding.
        end, start = (middle, middle) if self._has_tiers else (bottom, top)
        line: dict[str, Any] = dict(color=self._ink, lw=1, zorder=1)
        if len(inputs) > 1 and (np.diff(inputs) > 1).all():
            ax.hlines((top + end) / 2, inputs[0], inputs[-1], **line)
        if not self._has_tiers and targets[0] > inputs[-1] + 1:
            line.update(ls=":", gid=f"{gid}-gap", label="gap")
            gap = ax.hlines(middle, inputs[-1] + 0.5, targets[0] - 0.5, **line)
            self._legend["gap"] = gap
        if len(frame.padding):
            self._bar("padding", f"{gid}-padding", runs_of_steps(frame.padding), top, end)
        self._bar("input", f"{gid}-inputs", self._cells(inputs), top, end)
        self._bar("target", f"{gid}-targets", self._cells(targets), start, bottom)
        if frame.has_future:
            level, label = np.full(len(targets), bottom - 0.16), "future covariates"
            (self._legend[label],) = ax.plot(
                targets, level, "^", color=GREEN, mec="black", ms=min(6, self._cell / 2), mew=0.6,
                gid=f"{gid}-future", label=label,
            )  # fmt: skip
        self._write(sequence, inputs, (top + end) / 2, "white")
        if sequence.has_symbol_targets:
            self._write(sequence, targets, (start + bottom) / 2, "black")

    def _cells(self, steps: np.ndarray) -> Runs:
        """Return single steps, or runs of steps if there are too many for cells."""
        return (np.unique(steps), np.unique(steps)) if self._in_cells else runs_of_steps(steps)

    def _bar(self, label: str, gid: str, runs: Runs, top: float, bottom: float) -> None:
        """Draw a box around each run of steps."""
        style = {"edgecolor": self._ink, "lw": 0.8 if self._in_cells else 0, **_BARS[label]}
        spans = np.column_stack([runs[0] - 0.5, runs[1] - runs[0] + 1])
        height = bottom - top
        bar = self._ax.broken_barh(spans, (top, height), gid=gid, label=label, **style)
        self._legend.setdefault(label, bar)

    def _write(self, sequence: RawSequence, steps: np.ndarray, y: float, color: Any) -> None:
        """Write symbols into their cells, if they fit."""
        if not (self._in_cells and sequence.symbols and self._font >= _LEAST_FONT):
            return
        for step in steps:
            symbol = sequence.symbols[step - sequence.shown[0]]
            self._ax.text(
                step, y, _VISIBLE.get(symbol, symbol), ha="center", va="center_baseline",
                size=self._font, color=color, parse_math=False, clip_on=True,
            )  # fmt: skip


def _limits(sequences: Sequence[RawSequence]) -> tuple[int, int]:
    """Return the first and the last step in view."""
    low = min(sequence.shown[0] for sequence in sequences)
    high = max(sequence.shown[1] for sequence in sequences)
    padding = [frame.padding for sequence in sequences for frame in sequence.frames]
    places = np.concatenate([[low, high], *padding])
    # Long padding must not crowd out the steps.
    room = max(high - low, _SHORT)
    return int(max(places.min(), low - room)), int(min(places.max(), high + room))


def runs_of_steps(steps: np.ndarray) -> Runs:
    """Return the first and the last step of each run of neighbouring steps.

    >>> runs_of_steps(np.array([3, 4, 5, 9]))
    (array([3, 9]), array([5, 9]))
    """
    steps = np.unique(steps)
    ends = np.flatnonzero(np.diff(steps) > 1)
    return steps[[0, *(ends + 1)]], steps[[*ends, len(steps) - 1]]


def thin_line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a line of few points that looks like `y`: the extremes of each stretch.

    >>> thin_line(np.arange(3), np.array([1.0, 5.0, 2.0]))
    (array([0, 1, 2]), array([1., 5., 2.]))
    """
    if len(x) <= _MOST_POINTS:
        return x, y
    width = -(-len(x) // (_MOST_POINTS // 2))
    padded = np.pad(y, (0, -len(y) % width), mode="edge").reshape(-1, width)
    extremes = np.stack([np.fmin.reduce(padded, axis=1), np.fmax.reduce(padded, axis=1)], axis=1)
    return np.repeat(x[::width], 2), extremes.ravel()


def _scaled(y: np.ndarray, top: float, bottom: float) -> np.ndarray:
    """Return values scaled to the height between `bottom` and `top`; a constant in the middle."""
    finite = y[np.isfinite(y)]
    least, most = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    if least == most:
        return np.where(np.isfinite(y), (top + bottom) / 2, np.nan)
    return bottom + (y - least) / (most - least) * (top - bottom)
