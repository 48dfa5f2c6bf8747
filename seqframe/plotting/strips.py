"""What pictures of frames are drawn with: bars of steps, symbols in them, and lines of values."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.plotting.canvas import LINE_STYLES, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from seqframe.framing.frames import Frames
    from seqframe.framing.vocabulary import Vocabulary

_MOST_POINTS = 2000  # of a line
_MOST_LINES = 4  # of a sequence of many features
_MARKED = 80  # steps that are few enough to mark each value
_LEAST_FONT, _MOST_FONT = 4.5, 10.0  # points
#: The number of a feature, and what the legend calls it.
Feature = tuple[int, str]

_SHOWN_AS = {" ": "␣", "\n": "↵", "\t": "⇥"}


def draw_bar(
    ax: "Axes", steps: np.ndarray, top: float, bottom: float, in_cells: bool, **style: Any
) -> Any:
    """Draw steps as cells of width 1 around them, or as one bar for each run of them.

    Args:
        ax: matplotlib.axes.Axes.
        steps: int array. In any order, and any number of times.
        top: float.
        bottom: float.
        in_cells: bool. Whether each step has a cell of its own.
        **style: of the bars.

    Returns:
        matplotlib.collections.PolyCollection.
    """
    first, last = runs_of_steps(steps)
    if in_cells:
        first = last = np.unique(steps)
    spans = np.column_stack([first - 0.5, last - first + 1])
    return ax.broken_barh(spans, (bottom, top - bottom), **style)


def runs_of_steps(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last step of each run of steps that follow each other.

    >>> runs_of_steps(np.array([3, 4, 5, 9]))
    (array([3, 9]), array([5, 9]))
    """
    steps = np.unique(steps)
    ends = np.flatnonzero(np.diff(steps) > 1)
    return steps[[0, *(ends + 1)]], steps[[*ends, len(steps) - 1]]


def draw_symbols(
    ax: "Axes",
    vocabulary: "Vocabulary",
    ids: np.ndarray,
    steps: np.ndarray,
    y: float,
    room: tuple[float, float],
    color: Any,
) -> None:
    """Write symbols into their cells, where they fit.

    Args:
        ax: matplotlib.axes.Axes.
        vocabulary: Vocabulary.
        ids: int array `(steps,)`.
        steps: int array `(steps,)`.
        y: float. Middle of the cells.
        room: tuple of float. Width and height of a cell, in points.
        color: of the letters.
    """
    longest = max(len(str(symbol)) for symbol in vocabulary.symbols)
    size = min(room[0] / (0.9 if longest == 1 else 0.72 * longest), 0.75 * room[1], _MOST_FONT)
    if size < _LEAST_FONT:
        return
    for step, symbol in zip(steps, ids, strict=True):
        text = "".join(map(str, vocabulary.decode([symbol])))
        text = _SHOWN_AS.get(text, text)
        # Symbols are no formulas, whatever dollar signs they hold.
        ax.text(
            step, y, text, ha="center", va="center_baseline", size=size, color=color,
            parse_math=False, clip_on=True,
        )  # fmt: skip


def draw_values(
    ax: "Axes", frames: "Frames", number: int, low: int, high: int, top: float, bottom: float,
    color: Any,
) -> list[Any]:  # fmt: skip
    """Draw the values of steps `low … high` as lines, each feature on a scale of its own.

    Targets that are other values than the inputs are drawn beside these, and instead of those that
    they are columns of.

    Args:
        ax: matplotlib.axes.Axes.
        frames: Frames.
        number: int. Which sequence.
        low: int. Raw step.
        high: int. Raw step.
        top: float.
        bottom: float.
        color: of the lines.

    Returns:
        list of matplotlib.lines.Line2D, with a label for those that need one; and an empty one that
        says how many are not drawn.
    """
    begin = int(frames.source.begins[number])
    steps = np.arange(low, high + 1)
    inputs, targets = _named_features(frames)
    lines = []
    for rows, names, shade, kind in (
        (frames.inputs, inputs, color, "values"),
        (frames.targets, targets, ORANGE, "target values"),
    ):
        if not names:
            continue
        values = rows.read(number, low - begin, high + 1 - begin)
        values = values.reshape(len(values), -1)
        for (k, name), style in zip(names[:_MOST_LINES], LINE_STYLES, strict=False):
            x, y = thin_line(steps, values[:, k].astype(float))
            marker = "." if len(x) <= _MARKED else ""
            (line,) = ax.plot(
                x, _scaled(y, top, bottom), ls=style, marker=marker, color=shade, lw=1.2, ms=4
            )
            line.set(label=name, gid=f"sequence-{number}-{kind}")
            lines.append(line)
    more = sum(max(len(names) - _MOST_LINES, 0) for names in (inputs, targets))
    if more:
        lines += ax.plot([], [], ls="", label=f"… and {more} more")
    return lines


def _named_features(frames: "Frames") -> tuple[list[Feature], list[Feature]]:
    """Return the features of inputs and of targets that are lines of their own, and their names."""
    columns, chosen = frames.framer.columns, frames.framer.target_columns
    width = math.prod(frames.inputs.row_shape)
    if columns is not None and len(columns) == width:
        inputs = list(enumerate(columns))
    else:
        inputs = [(k, f"feature {k}" if width > 1 else "") for k in range(width)]
    if frames.targets is frames.inputs:
        return (inputs if width > 1 else [(0, "")]), []
    width = math.prod(frames.targets.row_shape)
    if chosen is not None:
        names = [chosen] if isinstance(chosen, str) else chosen
        targets = [(k, f"{name} (target)") for k, name in enumerate(names)]
        return [(k, name) for k, name in inputs if name not in names], targets
    if width == 1:
        return inputs, [(0, "target values")]
    return inputs, [(k, f"target {k}") for k in range(width)]


def thin_line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a line of few points that looks like one of many: the extremes of each stretch.

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
    """Return values brought to the height between two others; equal ones in the middle."""
    finite = y[np.isfinite(y)]
    least, most = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    if least == most:
        return np.where(np.isfinite(y), (top + bottom) / 2, np.nan)
    return bottom + (y - least) / (most - least) * (top - bottom)


def missing_steps(frames: "Frames", number: int, low: int, high: int) -> np.ndarray:
    """Return which of the raw steps `low … high` frames may not touch: NaN, or not valid."""
    source = frames.source
    steps = np.arange(low, high + 1)
    start, stop = (int(step - source.begins[number]) for step in (low, high + 1))
    missing = np.zeros(len(steps), bool)
    if source.skip_nan:
        for rows in (source.inputs, source.targets):
            values = rows.read(number, start, stop)
            if values.dtype.kind in "fc":
                missing |= np.isnan(values).any(axis=tuple(range(1, values.ndim)))
    if source.valid is not None:
        missing |= ~source.valid.read(number, start, stop)
    return steps[missing]
