"""Cutters: copy each array of a batch by one gather.

A batch has these arrays, in this order: past, future (if any), targets, weights (if any).
"""

import math
from operator import add
from typing import Any, Literal, NamedTuple

import numpy as np

from seqframe.aliases import Shape
from seqframe.framing.gather import Axis, Rows
from seqframe.framing.geometry import Geometry, Inputs
from seqframe.framing.index import FrameIndex, Located
from seqframe.framing.source import Rule, Source
from seqframe.framing.stored import StoredRows, pages_of


class Shapes(NamedTuple):
    """Shapes of a frame's arrays, without the sample axis; None for an array that it lacks."""

    past: Shape
    future: Shape | None
    y: Shape
    weight: Shape | None


class Part(NamedTuple):
    """One array of a frame.

    Attributes:
        rows: Rows that it is gathered from.
        at: "inputs" | "targets" | "frame". The steps that it is gathered at, or one row a frame.
        gathered: shape in which a frame is gathered.
        shape: shape of a frame; of weights that share a horizon, `gathered` without its last axis.
        dtype: dtype of the array.
        padding: number that stands where the input is padded.
    """

    rows: Rows
    at: Literal["inputs", "targets", "frame"]
    gathered: Shape
    shape: Shape
    dtype: np.dtype
    padding: float


def frame_shapes(rule: Rule, source: Source) -> Shapes:
    """Return the shapes of a frame's arrays."""
    geometry, row = rule.geometry, source.inputs.row_shape
    length, horizon = geometry.sequence_length, geometry.horizon
    past: Shape = {
        "timesteps": (length, *(row or (1,))),
        "features": (1, length * math.prod(row)),
        "tokens": (length,),
        "flat": (length * math.prod(row),),
    }[rule.layout]
    each = (length,) if geometry.return_sequences else ()
    future = weight = None
    if source.future is not None:
        future = (*each, horizon, *(source.future.row_shape or (1,)))
    targets = (*each, horizon) if horizon > 1 else each
    if source.weight_per_frame and not geometry.weighs_places:
        weight = frame_weight_shape(rule)
    elif source.weight is not None:
        weight = targets if source.targets.row_shape else each
    return Shapes(past, future, (*targets, *source.targets.row_shape), weight)


def frame_weight_shape(rule: Rule) -> Shape:
    """Return the shape of a weight that counts a whole frame.

    A Keras loss multiplies the weights with a value for each step of a target, so a weight needs as
    many axes. If the loss has one axis less, Keras drops a last axis of length 1.
    """
    return (1,) * (rule.geometry.return_sequences + (rule.geometry.horizon > 1))


def weighs_horizon_as_one(rule: Rule, source: Source) -> bool:
    """Return whether the steps of a horizon share a weight, which is the mean of their weights.

    A Keras loss averages over the last axis of a target before it weighs. If targets have no
    columns, that axis is the horizon.
    """
    by_step = source.weight is not None and not source.weight_per_frame
    return by_step and rule.geometry.horizon > 1 and not source.targets.row_shape


def gathered_weight_shape(rule: Rule, source: Source) -> Shape:
    """Return the shape of a frame's weights before the weights of a horizon become one."""
    shape = frame_shapes(rule, source).weight or ()
    return (*shape, rule.geometry.horizon) if weighs_horizon_as_one(rule, source) else shape


def frame_parts(rule: Rule, source: Source) -> list[Part]:
    """Return the arrays of a frame, in the order of a batch."""
    shapes, padding = frame_shapes(rule, source), rule.padding_value
    past, y = source.inputs, source.targets
    # A loss may refuse other targets, or make them NaN, and a NaN of weight 0 is a NaN.
    of_targets = 0 if rule.geometry.weighs_places else padding
    parts = [
        Part(past, "inputs", shapes.past, shapes.past, past.dtype, padding),
        Part(y, "targets", shapes.y, shapes.y, y.dtype, of_targets),
    ]
    if source.future is not None and shapes.future is not None:
        dtype = source.future.dtype
        future = Part(source.future, "targets", shapes.future, shapes.future, dtype, padding)
        parts.insert(1, future)
    if source.weight is not None and shapes.weight is not None:
        gathered, dtype = gathered_weight_shape(rule, source), source.weight.dtype
        if gathered != shapes.weight:
            dtype = _mean_dtype(dtype)
        at: Literal["targets", "frame"] = "frame" if source.weight_per_frame else "targets"
        # Padding counts for nothing.
        parts.append(Part(source.weight, at, gathered, shapes.weight, dtype, 0))
    return parts


def _mean_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of a mean. Floats keep their precision."""
    return dtype.newbyteorder("=") if dtype.kind == "f" else np.dtype(np.float32)


def _windows(geometry: Geometry) -> dict[str, tuple[tuple[Axis, ...], int]]:
    """Return for each kind of part the axes of a whole window, and how many steps after the
    frame's start it begins.
    """
    window: Axis = (geometry.sequence_length, geometry.rate)
    targets = (*((window,) if geometry.return_sequences else ()), (geometry.horizon, 1))
    return {
        "inputs": ((window,), 0),
        "targets": (targets, int(geometry.target_offsets.flat[0])),
        "frame": ((), 0),
    }


def paged_parts(geometry: Geometry, parts: list[Part]) -> list[Part]:
    """Return the parts of frames so that all read the same pages of a store."""
    windows = [_windows(geometry)[part.at] for part in parts]
    spans = [1 + sum((steps - 1) * rows for steps, rows in axes) for axes, _ in windows]
    offsets = [offset for _, offset in windows]
    reach = max(map(add, offsets, spans)) - 1
    stored = [rows for part in parts if isinstance(rows := part.rows, StoredRows)]
    pages = pages_of(stored, reach)
    return [
        part._replace(rows=rows.paged(pages[rows.readers], offset))
        if isinstance(rows := part.rows, StoredRows)
        else part
        for part, offset in zip(parts, offsets, strict=True)
    ]


class WindowCutter:
    """Cuts windows, which are stretches of their sequence."""

    def __init__(self, geometry: Geometry, parts: list[Part], index: FrameIndex):
        self._made_of = (geometry, parts, index)
        self._index, self._parts, self._stride = index, parts, geometry.stride
        kinds = _windows(geometry)
        self._windows = [kinds[part.at] for part in parts]
        self._addresses = [
            self._first_addresses(part, axes, offset)
            for part, (axes, offset) in zip(parts, self._windows, strict=True)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, in this process or another, finds addresses of its own.
        return WindowCutter, self._made_of

    def _first_addresses(
        self, part: Part, axes: tuple[Axis, ...], offset: int
    ) -> tuple[np.ndarray, int]:
        """Return the address of frame 0 for each run, and how far apart its frames are.

        Frames that follow each other lie as far apart as they are numbered. So the address of a
        frame is a number of its run plus the frame's number times a step.
        """
        runs, begins = self._index.runs, self._index.find.begins
        stride = 1 if part.at == "frame" else self._stride
        step = stride * part.rows.pitch(axes)
        first = part.rows.address(runs.sequence, runs.first * stride + offset, axes)
        return first - begins * step, step

    def place(self, index: np.ndarray) -> list[np.ndarray]:
        """Return the addresses of each part of the frames number `index`, for `gather`."""
        if len(self._index.runs.size) == 1:
            return [first[0] + index * step for first, step in self._addresses]
        run = self._index.find.run(index)
        return [first[run] + index * step for first, step in self._addresses]

    def gather(self, places: list[np.ndarray], which: slice) -> list[np.ndarray]:
        """Copy the arrays of some of the frames that were placed."""
        return [
            _finish(part, part.rows.gather(place[which], axes))
            for part, (axes, _), place in zip(self._parts, self._windows, places, strict=True)
        ]

    def views(self) -> list[np.ndarray] | None:
        """Return all frames as read-only views, or None if that would copy."""
        run = self._index.only_run
        if run is None or any(part.rows.is_stored for part in self._parts):
            return None
        first, count = run
        views = []
        for part, (axes, offset) in zip(self._parts, self._windows, strict=True):
            if part.rows.columns is not None or part.gathered != part.shape:
                return None
            stride = 1 if part.at == "frame" else self._stride
            view = part.rows.view(first * stride + offset, stride, count, axes)
            try:
                views.append(view.reshape((count, *part.shape), copy=False))
            except ValueError:  # its steps do not lie next to each other
                return None
        return views


class PaddedCutter:
    """Cuts frames of which some are padded to the length of the longest.

    Whole frames are stretches of their sequence, as windows are, except in a cycle. To cut only the
    others step by step is much faster.
    """

    def __init__(self, geometry: Geometry, parts: list[Part], index: FrameIndex):
        self._geometry, self._parts, self._index = geometry, parts, index

    def place(self, index: np.ndarray) -> Located:
        """Return where the frames number `index` lie, for `gather`."""
        return self._index.locate(index)

    def gather(self, places: Any, which: slice) -> list[np.ndarray]:
        """Copy the arrays of some of the frames that were placed."""
        geometry = self._geometry
        frames = _some(places, which)
        whole = (frames.inputs.length == geometry.sequence_length) & (not geometry.wrap)
        if not whole.any():
            return self._padded(frames)
        if whole.all():
            return self._whole(frames)
        # One of the whole frames stands where the others then go.
        padded, number = np.flatnonzero(~whole), np.arange(len(whole))
        arrays = self._whole(_some(frames, np.where(whole, number, np.argmax(whole))))
        for array, others in zip(arrays, self._padded(_some(frames, padded)), strict=True):
            array[padded] = others
        return arrays

    def _whole(self, frames: Located) -> list[np.ndarray]:
        """Copy the arrays of frames without padding."""
        sequence, rank, (start, *_) = frames
        arrays, windows = [], _windows(self._geometry)
        for part in self._parts:
            axes, offset = windows[part.at]
            row = rank if part.at == "frame" else start + offset
            array = part.rows.take(sequence, row, axes)
            arrays.append(_finish(part, self._weighed(part, array)))
        return arrays

    def _padded(self, frames: Located) -> list[np.ndarray]:
        """Copy the arrays of frames step by step."""
        sequence, rank, inputs = frames
        geometry = self._geometry
        steps, real, targets = geometry.steps(inputs, self._index.steps[sequence])
        arrays = []
        for part in self._parts:
            if part.at == "frame":
                array = self._weighed(part, part.rows.take(sequence, rank), real)
            else:
                rows = steps if part.at == "inputs" else targets
                array = part.rows.take(sequence.reshape(-1, *(1,) * (rows.ndim - 1)), rows)
                if part.at == "inputs" or geometry.return_sequences:
                    array[~real] = part.padding
            arrays.append(_finish(part, array))
        return arrays

    def _weighed(self, part: Part, array: np.ndarray, real: np.ndarray | None = None) -> np.ndarray:
        """Return weights of frames as weights of their places, if padding weighs 0."""
        if part.at != "frame" or not self._geometry.weighs_places:
            return array
        each = np.repeat(array, math.prod(part.shape)).reshape(-1, *part.shape)
        if real is not None:
            each[~real] = 0
        return each

    def views(self) -> None:
        """Return None: padded frames are no views."""


def _some(frames: Located, which: slice | np.ndarray) -> Located:
    """Return where some of the frames lie."""
    sequence, rank, inputs = frames
    return Located(sequence[which], rank[which], Inputs(*(part[which] for part in inputs)))


def _finish(part: Part, array: np.ndarray) -> np.ndarray:
    """Return a gathered array in the shape that a batch has."""
    array = array.reshape(-1, *part.gathered)
    if part.gathered == part.shape:
        return array
    return np.asarray(array.mean(axis=-1, dtype=part.dtype))
