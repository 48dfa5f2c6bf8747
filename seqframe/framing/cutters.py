"""Cutters: from where frames lie to the arrays of a batch, each by one gather.

A batch's arrays are, in this order: the past, the future where there is one, the targets, and the
weights where there are some.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqframe.aliases import Shape
from seqframe.framing.gather import Axis, Rows
from seqframe.framing.placement import Placement
from seqframe.framing.windows import padded_offsets

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer
    from seqframe.framing.source import Source


class Shapes(NamedTuple):
    """Shapes of what a frame holds, without the sample axis; None where it holds no such thing."""

    past: Shape
    future: Shape | None
    y: Shape
    weight: Shape | None


def frame_shapes(framer: "SequenceFramer", source: "Source") -> Shapes:
    """Return the shapes of a frame's arrays."""
    length, row = framer.sequence_length, source.inputs.row_shape
    past = {
        "timesteps": (length, *(row or (1,))),
        "features": (1, length * int(np.prod(row, dtype=np.int64))),
        "tokens": (length,),
    }[framer.layout]
    ahead = (length,) if framer.return_sequences else ()
    future = weight = None
    if source.future is not None:
        future = (*ahead, framer.horizon, *(source.future.row_shape or (1,)))
    targets = (*ahead, framer.horizon) if framer.horizon > 1 else ahead
    if source.weight is not None:
        weight = ahead if weighs_horizon_as_one(framer, source) else targets
        weight = frame_weight_shape(framer) if source.weight_per_frame else weight
    return Shapes(past, future, (*targets, *source.targets.row_shape), weight)


def frame_weight_shape(framer: "SequenceFramer") -> Shape:
    """Return the shape of a weight that counts a whole frame.

    A Keras loss multiplies weights with what it has for each step of a target, so a weight needs
    as many axes. Where the loss has one axis less, Keras drops a last one of length 1.

    >>> from seqframe import SequenceFramer
    >>> frame_weight_shape(SequenceFramer(3)), frame_weight_shape(SequenceFramer(3, horizon=2))
    ((), (1,))
    """
    return (1,) * (framer.return_sequences + (framer.horizon > 1))


def frame_dtypes(framer: "SequenceFramer", source: "Source") -> list[np.dtype | None]:
    """Return the dtypes of a frame's arrays, None where it holds no such thing."""
    rows = (source.inputs, source.future, source.targets, source.weight)
    dtypes = [None if item is None else item.dtype for item in rows]
    if source.weight is not None and weighs_horizon_as_one(framer, source):
        dtypes[-1] = _mean_dtype(source.weight.dtype)
    return dtypes


def weighs_horizon_as_one(framer: "SequenceFramer", source: "Source") -> bool:
    """Whether the steps of a horizon share a weight, the mean of theirs.

    A Keras loss averages over the last axis of a target before it weighs. That axis is the horizon
    where targets have no columns.
    """
    steps = source.weight is not None and not source.weight_per_frame
    return steps and framer.horizon > 1 and not source.targets.row_shape


def gathered_weight_shape(framer: "SequenceFramer", source: "Source") -> Shape:
    """Return the shape that a frame's weights have before those of a horizon become one."""
    shape = frame_shapes(framer, source).weight or ()
    return (*shape, framer.horizon) if weighs_horizon_as_one(framer, source) else shape


def mean_weight(weights: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis, in the weights' own precision if they have one.

    >>> mean_weight(np.array([[0, 1], [1, 1]]))
    array([0.5, 1. ], dtype=float32)
    """
    return weights.mean(axis=-1, dtype=_mean_dtype(weights.dtype))


def _mean_dtype(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("=") if dtype.kind == "f" else np.dtype(np.float32)


class Part(NamedTuple):
    """One array of a batch of windows.

    Attributes:
        rows: Rows that it is taken from.
        offset: steps from a window's start to its first row; None where a row is a frame's.
        axes: axes of a window.
        shape: shape in which a frame is gathered.
    """

    rows: Rows
    offset: int | None
    axes: tuple[Axis, ...]
    shape: Shape


class WindowCutter:
    """Cuts windows, which are stretches of their sequence."""

    def __init__(self, framer: "SequenceFramer", source: "Source", placement: Placement):
        self._made_of = (framer, source, placement)
        self._placement, self._stride = placement, framer.sequence_stride
        self._one_weight = weighs_horizon_as_one(framer, source)
        shapes = frame_shapes(framer, source)
        window = ((framer.sequence_length, framer.sampling_rate),)
        each = window if framer.return_sequences else ()
        ahead = (*each, (framer.horizon, 1))
        targets = ahead if framer.horizon > 1 else each
        offset = framer.gap + 1 + (0 if framer.return_sequences else framer.span - 1)
        weights = (None, ()) if source.weight_per_frame else (offset, targets)
        weight = gathered_weight_shape(framer, source)
        found: list[Any] = [
            (source.inputs, 0, window, shapes.past),
            (source.future, offset, ahead, shapes.future),
            (source.targets, offset, targets, shapes.y),
            (source.weight, *weights, weight),
        ]
        self._parts = [Part(*part) for part in found if part[0] is not None]
        self._addresses = [self._first_addresses(part) for part in self._parts]

    def __reduce__(self) -> tuple[Any, ...]:
        # Addresses mean nothing to a copy, in this process or another: it finds its own.
        return WindowCutter, self._made_of

    def _first_addresses(self, part: Part) -> tuple[np.ndarray, int]:
        """Return where frame 0 would lie for each run, and how far apart its frames are.

        Frames that follow each other lie as far apart as they are numbered, so where one lies is
        its run's own number plus its own number times a step.
        """
        runs, begins = self._placement.runs, self._placement.find.begins
        stride = 1 if part.offset is None else self._stride
        row = runs.first * stride + (part.offset or 0)
        step = stride * part.rows.pitch(part.axes)
        return part.rows.address(runs.sequence, row, part.axes) - begins * step, step

    def place(self, index: np.ndarray) -> list[np.ndarray]:
        """Return where each part of the frames number `index` lies, for `gather`."""
        if len(self._placement.runs.size) == 1:
            return [first[0] + index * step for first, step in self._addresses]
        run = self._placement.find.run(index)
        return [first[run] + index * step for first, step in self._addresses]

    def gather(self, places: list[np.ndarray], which: slice) -> list[np.ndarray]:
        """Copy the arrays of some of the frames that were placed."""
        arrays = [
            part.rows.gather(place[which], part.axes).reshape(-1, *part.shape)
            for part, place in zip(self._parts, places, strict=True)
        ]
        if self._one_weight:
            arrays[-1] = mean_weight(arrays[-1])
        return arrays

    def views(self) -> list[np.ndarray] | None:
        """Return all frames as read-only views, or None where that would copy."""
        run = self._placement.only_run
        if run is None or self._one_weight:
            return None
        first, count = run
        views = []
        for part in self._parts:
            if part.rows.columns is not None:
                return None
            if part.offset is None:
                view = part.rows.view(first, 1, count, ())
            else:
                start = first * self._stride + part.offset
                view = part.rows.view(start, self._stride, count, part.axes)
            try:
                views.append(view.reshape((count, *part.shape), copy=False))
            except ValueError:  # its steps do not lie next to each other
                return None
        return views


class PaddedCutter:
    """Cuts prefixes and subsequences, which are filled up to the length of the longest."""

    def __init__(self, framer: "SequenceFramer", source: "Source", placement: Placement):
        self._framer, self._source, self._placement = framer, source, placement
        self._shapes = frame_shapes(framer, source)

    def place(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where the frames number `index` lie, for `gather`."""
        return self._placement.locate(index)

    def gather(self, places: Any, which: slice) -> list[np.ndarray]:
        """Copy the arrays of some of the frames that were placed."""
        sequence, start, length = (place[which] for place in places)
        framer, source, shapes = self._framer, self._source, self._shapes
        offsets = padded_offsets(length, framer.sequence_length, framer.padding)
        real = (offsets >= 0) & (offsets < length[:, None])
        steps = start[:, None] + np.clip(offsets, 0, length[:, None] - 1)
        last = steps if framer.return_sequences else start + length - 1
        ahead = last[..., None] + framer.gap + 1 + np.arange(framer.horizon)
        one_weight = weighs_horizon_as_one(framer, source)
        weight = gathered_weight_shape(framer, source)
        found: list[tuple[Rows | None, np.ndarray, Any, float]] = [
            (source.inputs, steps, shapes.past, framer.padding_value),
            (source.future, ahead, shapes.future, framer.padding_value),
            (source.targets, ahead, shapes.y, framer.padding_value),
            # What is no step counts for nothing.
            (None if source.weight_per_frame else source.weight, ahead, weight, 0),
        ]
        arrays = []
        for rows, where, shape, filling in found:
            if rows is not None:
                array = self._rows(rows, sequence, where)
                if where is steps or framer.return_sequences:
                    array[~real] = filling
                arrays.append(array.reshape(-1, *shape))
        if one_weight:
            arrays[-1] = mean_weight(arrays[-1])
        if source.weight is not None and source.weight_per_frame:
            weights = source.weight.take(sequence, self._placement.rank(start, length))
            arrays.append(weights.reshape(-1, *weight))
        return arrays

    def views(self) -> None:
        """Return None: frames that are filled up are no views."""

    def _rows(self, rows: Rows, sequence: np.ndarray, steps: np.ndarray) -> np.ndarray:
        sequence = sequence.reshape(-1, *(1,) * (steps.ndim - 1))
        if self._framer.wrap:
            steps = steps % self._placement.steps[sequence]
        return rows.take(sequence, steps)
