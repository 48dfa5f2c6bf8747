"""Turn frames and lanes into plain data, and draw them."""

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seqframe.framing.checks import check_integer
from seqframe.framing.gather import Rows
from seqframe.framing.geometry import Geometry
from seqframe.framing.index import Located
from seqframe.framing.source import Source
from seqframe.framing.vocabulary import Vocabulary
from seqframe.plot.frames import MOST_CELLS, Curve, Frame, RawSequence, draw_frames
from seqframe.plot.lanes import Segments, draw_lanes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_SEQUENCES = 4  # sequences to draw, unless `index` chooses frames
_MOST_SEGMENTS = 4000  # segments to draw, unless `batches` chooses batches


class _Framer(Protocol):
    vocabulary: Vocabulary | None
    columns: tuple[str, ...] | None
    target_columns: str | tuple[str, ...] | None

    @property
    def geometry(self) -> Geometry: ...


class _Frames(Protocol):
    source: Source

    @property
    def framer(self) -> _Framer: ...

    @property
    def _counts(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def steps(self, i: int) -> tuple[Hashable, np.ndarray, np.ndarray]: ...

    def _resolve(self, index: Any) -> Any: ...

    def _locate(self, index: np.ndarray) -> Located: ...


class _LocatedFrames(Protocol):
    source: Source

    def _locate(self, index: np.ndarray) -> Located: ...


class _Lanes(Protocol):
    batch_size: int

    @property
    def frames(self) -> _LocatedFrames: ...

    @property
    def _segments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...

    def __len__(self) -> int: ...


def plot_frames(
    frames: _Frames, count: int = 8, index: Any = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw frames below their raw sequences; see `Frames.plot`."""
    count, source = check_integer("count", count, 1), frames.source
    first = _first_frames(frames, count)
    chosen = first if index is None else np.atleast_1d(frames._resolve(index))
    if not len(chosen):
        raise ValueError(f"`index` must choose at least one frame. Received: index={index!r}.")
    numbers = frames._locate(chosen).sequence
    sequences = []
    for number in dict.fromkeys(numbers.tolist()):
        label, begin = source.labels[number], int(source.begins[number])
        name = f"sequence {label}" if isinstance(label, int) else str(label)
        name = name if len(source.labels) > 1 else "sequence"
        own = [_frame(frames, i) for i in chosen[numbers == number].tolist()]
        end = begin + int(source.steps[number]) - 1
        sequences.append(RawSequence(number, name, begin, end, own))
        _read_values(frames, sequences[-1])
    return draw_frames(sequences, len(source.labels), ax)


def _first_frames(frames: _Frames, count: int) -> np.ndarray:
    """Return the first frames, shared among the first sequences."""
    filled = np.flatnonzero(frames._counts)[: min(_MOST_SEQUENCES, count)]
    if len(filled) == 1 or frames.framer.geometry.draws:
        return np.arange(min(count, len(frames)))
    counts, begins = frames._counts[filled], (np.cumsum(frames._counts) - frames._counts)[filled]
    shares = np.minimum(counts, (count - np.arange(len(filled)) - 1) // len(filled) + 1)
    return np.concatenate([a + np.arange(b) for a, b in zip(begins, shares, strict=True)])


def _frame(frames: _Frames, i: int) -> Frame:
    (_, inputs, targets), geometry = frames.steps(i), frames.framer.geometry
    before = int(frames._locate(np.array([i])).inputs.place[0])
    places = geometry.rate * np.arange(-before, geometry.sequence_length - before)
    after = places[before + len(inputs) :] - places[before + len(inputs) - 1]
    padding = np.concatenate([inputs[0] + places[:before][::-1], inputs[-1] + after])
    return Frame(i, inputs, targets, padding, frames.source.future is not None)


def _read_values(frames: _Frames, sequence: RawSequence) -> None:
    """Add the symbols or values, and the missing steps, of the steps that are shown."""
    source, vocabulary = frames.source, frames.framer.vocabulary
    number, (low, high) = sequence.number, sequence.shown
    start, stop = low - sequence.first, high + 1 - sequence.first
    if vocabulary is None:
        sequence.curves, sequence.target_curves = _curves(frames, number, start, stop)
    elif high - low < MOST_CELLS and not source.inputs.row_shape:
        sequence.has_symbol_targets = source.targets is source.inputs
        ids = source.inputs.read(number, start, stop)
        sequence.symbols = ["".join(map(str, vocabulary.decode([each]))) for each in ids]
    sequence.missing = low + np.flatnonzero(_is_missing(source, number, start, stop))


def _curves(frames: _Frames, number: int, start: int, stop: int) -> tuple[list[Curve], list[Curve]]:
    """Return the features of inputs, and of targets that are not among them."""
    source, columns = frames.source, frames.framer.columns
    values = _features(source.inputs, number, start, stop)
    names = [f"feature {k}" for k in range(len(values))] if len(values) > 1 else [""]
    if columns is not None and len(columns) == len(values):
        names = list(columns)
    if source.targets is source.inputs:
        return list(zip(names if len(names) > 1 else [""], values, strict=True)), []
    targets = _features(source.targets, number, start, stop)
    chosen = frames.framer.target_columns or ()
    chosen = (chosen,) if isinstance(chosen, str) else chosen
    if chosen:
        target_names = [f"{name} (target)" for name in chosen]
    else:
        target_names = [f"target {k}" for k in range(len(targets))]
        target_names = target_names if len(targets) > 1 else ["target values"]
    others = [curve for curve in zip(names, values, strict=True) if curve[0] not in chosen]
    return others, list(zip(target_names, targets, strict=True))


def _features(rows: Rows, number: int, start: int, stop: int) -> np.ndarray:
    """Return some steps of a sequence as an array `(features, steps)`."""
    return rows.read(number, start, stop).reshape(stop - start, math.prod(rows.row_shape)).T


def _is_missing(source: Source, number: int, start: int, stop: int) -> np.ndarray:
    """Return for each step whether it is NaN or not valid, so that no frame contains it."""
    missing = np.zeros(stop - start, bool)
    for rows in (source.inputs, source.targets) if source.skip_nan else ():
        if rows.dtype.kind in "fc":
            missing |= np.isnan(_features(rows, number, start, stop)).any(axis=0)
    if source.valid is not None:
        missing |= ~source.valid.read(number, start, stop)
    return missing


def plot_lanes(
    lanes: _Lanes, batches: int | slice | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw the rows of lanes over batches; see `Lanes.plot`."""
    start, stop = _shown_batches(lanes, batches)
    row, begin, first, count = lanes._segments
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
        names = [str(labels[number]) for number in lanes.frames._locate(first).sequence]
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
                f"`batches` must be a slice of some of {len(lanes)} batches, without a step. "
                f"Received: batches={batches!r}."
            )
        return start, stop
    if batches is not None:
        return 0, min(check_integer("batches", batches, 1), len(lanes))
    begin = np.sort(lanes._segments[1])
    if len(begin) <= _MOST_SEGMENTS:
        return 0, len(lanes)
    return 0, max(int(begin[_MOST_SEGMENTS]), 1)
