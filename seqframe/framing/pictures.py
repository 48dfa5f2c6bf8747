"""Turn frames and lanes into plain data, and draw them.

`Frames.plot` and `Lanes.plot` call this module, so it describes both by protocols.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from seqframe.aliases import Index
from seqframe.framing.gather import Rows
from seqframe.framing.geometry import Geometry
from seqframe.framing.source import Source
from seqframe.framing.vocabulary import Vocabulary
from seqframe.framing.windows import check_integer
from seqframe.plot.frames import MOST_CELLS, Curve, Frame, LeftOut, RawSequence, draw_frames
from seqframe.plot.lanes import Segments, draw_lanes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_SEQUENCES = 4  # whose first frames are drawn, unless `index` chooses frames
_MOST_SEGMENTS = 4000  # of lanes that are drawn, unless `batches` chooses batches


class _Framer(Protocol):
    geometry: Geometry
    padding: str
    columns: Sequence[str] | None
    target_columns: str | Sequence[str] | None


class _Frames(Protocol):
    framer: _Framer
    source: Source
    inputs: Rows
    targets: Rows
    counts: np.ndarray
    vocabulary: Vocabulary | None

    def __len__(self) -> int: ...
    def steps(self, i: int) -> tuple[Hashable, np.ndarray, np.ndarray]: ...
    def resolve(self, index: Index) -> np.ndarray | int: ...
    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
    def rank(self, index: np.ndarray) -> np.ndarray: ...
    def on(self, source: Source) -> "_Frames": ...


class _Lanes(Protocol):
    frames: _Frames
    batch_size: int
    segments: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    def __len__(self) -> int: ...


def plot_frames(
    frames: _Frames, count: int = 8, index: Index | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw frames below their raw sequences; see `Frames.plot`."""
    count = check_integer("count", count, 1)
    chosen = _first_frames(frames, count) if index is None else np.atleast_1d(frames.resolve(index))
    if not len(chosen):
        raise ValueError(
            f"`index` must choose at least one of {len(frames)} frames. Received: index={index!r}."
        )
    numbers = frames.locate(chosen)[0]
    source = frames.source
    sequences = []
    for number in dict.fromkeys(numbers.tolist()):
        first, label = int(source.begins[number]), source.labels[number]
        name = f"sequence {label}" if isinstance(label, int) else str(label)
        sequence = RawSequence(
            number,
            name if len(source.labels) > 1 else "sequence",
            first,
            first + int(source.steps[number]) - 1,
            _rows(frames, number, chosen[numbers == number]),
        )
        _read_values(frames, sequence)
        sequences.append(sequence)
    return draw_frames(sequences, len(source.labels), ax)


def _first_frames(frames: _Frames, count: int) -> np.ndarray:
    """Return the first frames, shared among the first sequences."""
    filled = np.flatnonzero(frames.counts)[: min(_MOST_SEQUENCES, count)]
    if len(filled) == 1 or frames.framer.geometry.draws:
        return np.arange(min(count, len(frames)))
    share, more = divmod(count, len(filled))
    begins = np.cumsum(frames.counts) - frames.counts
    shares = [
        begins[number] + np.arange(min(share + (k < more), frames.counts[number]))
        for k, number in enumerate(filled)
    ]
    return np.concatenate(shares)


def _rows(frames: _Frames, number: int, chosen: np.ndarray) -> list[Frame | LeftOut]:
    """Return the chosen frames of a sequence, and the frames left out between them."""
    drawn = [_frame(frames, i) for i in chosen.tolist()]
    source = frames.source
    if frames.framer.geometry.draws or not source.may_leave_out:
        return list(drawn)
    whole = frames.on(replace(source, skip_nan=False, valid=None))
    before = int(whole.counts[:number].sum())

    def left_out(start: int, stop: int) -> list[LeftOut]:
        if start >= stop:
            return []
        (_, first, _), (_, *last) = whole.steps(before + start), whole.steps(before + stop - 1)
        return [LeftOut(stop - start, int(first[0]), int(max(map(np.max, last))))]

    rows: list[Frame | LeftOut] = []
    first = int(frames.counts[:number].sum())
    after, previous = 0, first - 1
    for frame, rank in zip(drawn, frames.rank(chosen).tolist(), strict=True):
        if frame.number == previous + 1:
            rows += left_out(after, rank)
        rows.append(frame)
        after, previous = rank + 1, frame.number
    if previous == first + int(frames.counts[number]) - 1:
        rows += left_out(after, int(whole.counts[number]))
    return rows


def _frame(frames: _Frames, i: int) -> Frame:
    (_, inputs, targets), geometry = frames.steps(i), frames.framer.geometry
    places = geometry.rate * np.arange(1, 1 + geometry.sequence_length - len(inputs))
    is_before = frames.framer.padding == "pre"
    padding = inputs[0] - places if is_before else inputs[-1] + places
    return Frame(i, inputs, targets, padding, frames.source.future is not None)


def _read_values(frames: _Frames, sequence: RawSequence) -> None:
    """Add symbols or values, and the missing steps, of the steps that are shown."""
    number, (low, high) = sequence.number, sequence.shown
    start, stop = low - sequence.first, high + 1 - sequence.first
    if frames.vocabulary is not None:
        sequence.has_symbol_targets = frames.targets is frames.inputs
        if high - low < MOST_CELLS:
            ids = frames.inputs.read(number, start, stop)
            sequence.symbols = [_symbol(frames.vocabulary, each) for each in ids]
    else:
        sequence.curves = _curves(frames, number, start, stop)
    sequence.missing = low + np.flatnonzero(_is_missing(frames.source, number, start, stop))


def _symbol(vocabulary: Vocabulary, id_: int) -> str:
    return "".join(map(str, vocabulary.decode([id_])))


def _curves(frames: _Frames, number: int, start: int, stop: int) -> list[Curve]:
    """Return the features of inputs and of other targets; target columns are drawn once."""
    framer = frames.framer
    values = _flat(frames.inputs, number, start, stop)
    width = len(values)
    names = [f"feature {k}" for k in range(width)] if width > 1 else [""]
    if framer.columns is not None and len(framer.columns) == width:
        names = list(framer.columns)
    curves = [Curve(name, feature) for name, feature in zip(names, values, strict=True)]
    if frames.targets is frames.inputs:
        return curves if width > 1 else [Curve("", values[0])]
    targets = _flat(frames.targets, number, start, stop)
    chosen = framer.target_columns or []
    chosen = [chosen] if isinstance(chosen, str) else list(chosen)
    if chosen:
        names = [f"{name} (target)" for name in chosen]
    elif len(targets) > 1:
        names = [f"target {k}" for k in range(len(targets))]
    else:
        names = ["target values"]
    others = [curve for curve in curves if curve.label not in chosen]
    return [*others, *(Curve(*pair, True) for pair in zip(names, targets, strict=True))]


def _flat(rows: Rows, number: int, start: int, stop: int) -> np.ndarray:
    """Return some steps of a sequence as an array `(features, steps)`."""
    return rows.read(number, start, stop).reshape(stop - start, math.prod(rows.row_shape)).T


def _is_missing(source: Source, number: int, start: int, stop: int) -> np.ndarray:
    """Return for each step whether frames may not contain it: it has a NaN, or is not valid."""
    missing = np.zeros(stop - start, bool)
    for rows in (source.inputs, source.targets) if source.skip_nan else ():
        if rows.dtype.kind in "fc":
            missing |= np.isnan(_flat(rows, number, start, stop)).any(axis=0)
    if source.valid is not None:
        missing |= ~source.valid.read(number, start, stop)
    return missing


def plot_lanes(
    lanes: _Lanes, batches: int | slice | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw the rows of lanes over batches; see `Lanes.plot`."""
    start, stop = _shown_batches(lanes, batches)
    row, begin, first, count = lanes.segments
    end = begin + count
    row_ends = np.zeros(lanes.batch_size, np.int64)
    np.maximum.at(row_ends, row, end)
    rank = np.arange(len(row)) - np.searchsorted(row, row)  # in its row
    shown = (begin < stop) & (end > start)
    row, begin, end, first, rank = (part[shown] for part in (row, begin, end, first, rank))
    is_reset, skipped = begin >= start, np.maximum(start - begin, 0)
    begin, end, first = begin + skipped, np.minimum(end, stop), first + skipped
    labels = lanes.frames.source.labels
    if len(labels) > 1:
        names = [str(labels[number]) for number in lanes.frames.locate(first)[0]]
    else:
        names = [f"frames {a}–{b}" for a, b in zip(first, first + end - begin - 1, strict=True)]
    segments = Segments(row, begin, end, is_reset, rank % 2, names)
    return draw_lanes(segments, row_ends, (start, stop), len(lanes), ax)


def _shown_batches(lanes: _Lanes, batches: int | slice | None) -> tuple[int, int]:
    """Return the first batch to draw, and the batch after the last."""
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
    begin = np.sort(lanes.segments[1])
    if len(begin) <= _MOST_SEGMENTS:
        return 0, len(lanes)
    return 0, max(int(begin[_MOST_SEGMENTS]), 1)
