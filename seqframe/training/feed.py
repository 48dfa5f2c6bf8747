"""Feeds: frames or arrays as data on the device, from which each step gathers its batch.

A batch travels to the device as indices. The step that uses a window gathers it from the raw
sequence.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import Shape
from seqframe.backend.common import by_row
from seqframe.framing.batches import check_redraw
from seqframe.framing.cutters import (
    frame_shapes,
    frame_weight_shape,
    gathered_weight_shape,
    weighs_horizon_as_one,
)
from seqframe.framing.tables import check_unmasked, is_table, table_array

if TYPE_CHECKING:
    from seqframe.framing.frames import Frames
    from seqframe.framing.gather import Rows

#: Arrays by name: "x", and if there are any "y", "future" and "weight". Arrays may be nests.
Arrays = dict[str, Any]
#: A schedule's columns, one row a step: "index" or "batch", and if needed "weight" and "reset".
Columns = dict[str, Any]
ClassWeight = dict[int, float] | None

_COPY_BYTES = 2**18  # frames that are copied together into a block, which fit into caches
_READ_BYTES = 2**24  # frames that are read from a store together
_SAMPLED = 1024  # rows by which data are known again, about
_ALIGNMENT = 64  # bytes; JAX shares the memory of arrays that begin at a multiple


@dataclass(frozen=True)
class Windows:
    """How one array of a batch is gathered from an array on the device. Hashable."""

    array: str  # its name
    offsets: tuple[int, ...] | None = None  # steps from the frame's index; None: a frame is one row
    shape: Shape = ()  # shape of a frame with offsets
    averaged: bool = False  # over the last axis

    def __call__(self, arrays: Arrays, index: Any) -> Any:
        """Return the frames at an index; without an index, `arrays` are a batch already."""
        array = arrays[self.array]
        if index is None:
            return array
        if self.offsets is None:
            return tree.map_structure(lambda rows: ops.take(rows, index, axis=0), array)
        steps = ops.expand_dims(index, 1) + ops.cast(np.array(self.offsets), index.dtype)
        rows = ops.reshape(ops.take(array, steps, axis=0), (-1, *self.shape))
        return ops.mean(rows, axis=-1) if self.averaged else rows


@dataclass(frozen=True)
class Gather:
    """How arrays on the device and indices make a batch. Hashable: each has its own program."""

    x: Windows
    y: Windows | None = None
    future: Windows | None = None
    weight: Windows | None = None
    class_weight: tuple[tuple[int, float], ...] = ()
    frame_weight: Shape = ()  # shape of a whole frame's weight

    def batch(self, arrays: Arrays, row: dict[str, Any]) -> tuple[Any, ...]:
        """Return `(x,)`, `(x, y)` or `(x, y, sample_weight)` of a row of a schedule."""
        arrays, index = row.get("batch", arrays), row.get("index")
        x = self.x(arrays, index)
        if self.future is not None:
            x = {"past": x, "future": self.future(arrays, index)}
        y = None if self.y is None else self.y(arrays, index)
        weight = None if self.weight is None else self.weight(arrays, index)
        if self.class_weight:
            weight = _times(weight, _class_weights(y, self.class_weight), ())
        if "weight" in row and y is not None:
            weight = _times(weight, row["weight"], self.frame_weight)
        if weight is None:
            return (x,) if y is None else (x, y)
        return (x, y, weight)


class Feed:
    """Data of `size` frames that go to the device once and stay there."""

    nbytes_streamed = 0  # bytes that a frame of a Stream takes

    def __init__(
        self,
        arrays: Arrays,
        gather: Gather,
        size: int,
        starts: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.arrays, self.gather, self.size, self._starts = arrays, gather, size, starts

    @property
    def form(self) -> str:
        """Tell how frames are gathered, and their shapes. The number of frames is no part of it."""
        arrays = [(array.shape[1:], str(array.dtype)) for array in tree.flatten(self.arrays)]
        return str((self.gather, arrays, self.nbytes_streamed))

    def index(self, frames: np.ndarray) -> np.ndarray:
        """Return the index by which `gather` finds frames of these numbers."""
        index = frames if self._starts is None else self._starts(frames)
        rows = len(tree.flatten(self.arrays["x"])[0])
        return index.astype(np.int32 if rows < 2**31 else np.int64)

    def sample(self) -> Arrays:
        """Return some rows of the data, by which they are known again."""
        rows = tree.map_structure(lambda array: array[:: _spacing(len(array))], self.arrays)
        return {**rows, "index": self.index(np.arange(0, self.size, _spacing(self.size)))}

    def load(self, frames: np.ndarray, room: int, epoch: int = 0) -> tuple[Arrays, Columns]:
        """Return the arrays that hold some frames, and the columns for `gather`.

        `frames` are numbers `(steps, batch_size)`. Columns of a Stream have room for `room` steps.
        """
        return self.arrays, {"index": self.index(frames)}


class Stream(Feed):
    """Data that go to the device in blocks, because they are too large or new in each epoch.

    A block holds the batches of several steps. `take_in(epoch)` returns a function of frames'
    numbers, which returns their arrays. A frame has `nbytes` bytes.
    """

    def __init__(
        self,
        take_in: Callable[[int], Callable[[np.ndarray], Arrays]],
        gather: Gather,
        size: int,
        nbytes: int,
        copy_bytes: int = _COPY_BYTES,
    ):
        super().__init__({}, gather, size)
        self._take_in, self.nbytes_streamed = take_in, max(nbytes, 1)
        self._copy_bytes = copy_bytes

    def sample(self) -> Arrays:
        return self._take_in(0)(np.arange(0, self.size, _spacing(self.size)))

    def load(self, frames: np.ndarray, room: int, epoch: int = 0) -> tuple[Arrays, Columns]:
        # Every block has room for as many steps, so that one program runs all.
        batch_size = frames.shape[1]
        block = self._block(frames.ravel(), room * batch_size, self._take_in(epoch))
        batch = tree.map_structure(lambda a: a.reshape(room, batch_size, *a.shape[1:]), block)
        return {}, {"batch": batch}

    def _block(self, frames: np.ndarray, rows: int, take: Callable[[np.ndarray], Arrays]) -> Arrays:
        """Return arrays of `rows` rows whose first ones are the frames, as Keras takes them.

        Few frames are gathered at a time, and converted while they are in the caches.
        """
        few = max(self._copy_bytes // self.nbytes_streamed, 1)
        block: Any = None
        for first in range(0, len(frames), few):
            part = take(frames[first : first + few])
            if block is None:
                block = tree.map_structure(lambda a: _aligned(rows, a.shape[1:], a.dtype), part)
            for whole, some in zip(tree.flatten(block), tree.flatten(part), strict=True):
                whole[first : first + len(some)] = some
        return block


def _spacing(rows: int) -> int:
    return max(rows // _SAMPLED, 1)


def feed_frames(
    frames: "Frames",
    class_weight: ClassWeight = None,
    max_device_bytes: float = math.inf,
    redraw: bool = False,
    only_inputs: bool = False,
    one_by_one: bool = False,
) -> Feed:
    """Return frames as a feed: windows as raw sequences, padded frames as copies.

    `class_weight`, `max_device_bytes` and `redraw` are as in `fit`. `only_inputs` leaves out
    targets and weights, for predictions. `one_by_one`: neighbouring frames come far apart.
    """
    framer, source, geometry = frames.framer, frames.source, frames.framer.geometry
    for name, kind in ("sequences", source.inputs), ("future", source.future):
        if kind is not None:
            check_real(kind.dtype, name)
    if redraw:
        check_redraw(geometry)
    if class_weight and (geometry.return_sequences or geometry.horizon > 1):
        raise ValueError(
            "`class_weight` needs one class a sample. Received: frames with targets of shape "
            f"{frames.y_shape}. Use `sample_weight` of `frame` instead."
        )
    raw = [source.inputs, source.future]
    if not only_inputs:
        raw += [source.weight, None if source.targets is source.inputs else source.targets]
    nbytes = sum(rows.nbytes for rows in raw if rows is not None)
    if geometry.pads:
        nbytes = len(frames) * frames._nbytes
    names = ("x",) if only_inputs else ("x", "y", "weight")
    whole = frame_weight_shape(framer)
    weights: dict[str, Any] = {"class_weight": _pairs(class_weight), "frame_weight": whole}

    def take_in(epoch: int) -> Callable[[np.ndarray], Arrays]:
        drawn = frames.redraw(epoch) if redraw else frames._read_by(in_order=not one_by_one)
        return lambda index: dict(zip(names, drawn._take(index), strict=False))

    # A device counts rows in 32 bits, as JAX does.
    if redraw or nbytes > max_device_bytes or source.steps.sum() >= 2**31:
        held = names if source.weight is not None else names[:2]  # with a future, "x" is a nest
        gather = Gather(**_whole_rows(held), **weights)
        copied = _READ_BYTES if frames._stored_bytes else _COPY_BYTES
        return Stream(take_in, gather, len(frames), frames._nbytes, copied)
    if geometry.pads:
        ready = dict(zip(names, frames.arrays(), strict=False))
        return feed_arrays(**ready, class_weight=class_weight, frame_weight=whole)
    return _feed_windows(frames, only_inputs, weights)


def _feed_windows(frames: "Frames", only_inputs: bool, weights: dict[str, Any]) -> Feed:
    """Return windows as a feed of their raw sequences, joined, from which each step gathers."""
    framer, source, geometry = frames.framer, frames.source, frames.framer.geometry
    begins = np.cumsum([0, *source.steps])

    def starts(index: np.ndarray) -> np.ndarray:
        sequence, _, (start, *_) = frames._locate(index.ravel())
        return (begins[sequence] + start).reshape(index.shape)

    shapes, ahead = frame_shapes(framer, source), geometry.target_offsets
    parts: dict[str, tuple[Rows | None, np.ndarray, Shape | None]] = {
        "x": (source.inputs, geometry.input_offsets, shapes.past),
        "future": (source.future, ahead, shapes.future),
    }
    if not only_inputs:
        by_step = None if source.weight_per_frame else source.weight
        parts["y"] = (source.targets, ahead, shapes.y)
        parts["weight"] = (by_step, ahead, gathered_weight_shape(framer, source))
    arrays: Arrays = {}
    windows: dict[str, Any] = {}
    for name, (rows, offsets, shape) in parts.items():
        if rows is None:
            continue
        # Frames that predict their own sequence have one array for both.
        array = "x" if name == "y" and rows is source.inputs else name
        averaged = name == "weight" and weighs_horizon_as_one(framer, source)
        windows[name] = Windows(array, tuple(offsets.ravel().tolist()), shape or (), averaged)
        if array == name:
            arrays[name] = _joined(rows, source.steps)
    if source.weight is not None and source.weight_per_frame and not only_inputs:
        # The weight of a frame lies at the row where the frame begins.
        sequence, rank, (start, *_) = frames._locate(np.arange(len(frames)))
        spread = np.zeros(begins[-1], keras.config.floatx())
        spread[begins[sequence] + start] = source.weight.take(sequence, rank)
        arrays["weight"] = spread.reshape(-1, *weights["frame_weight"])
        windows["weight"] = Windows("weight")
    gather = Gather(**windows, **weights)
    return Feed(arrays, gather, len(frames), starts)


def feed_arrays(
    x: Any,
    y: Any = None,
    weight: Any = None,
    class_weight: ClassWeight = None,
    max_device_bytes: float = math.inf,
    frame_weight: Shape = (),
) -> Feed:
    """Return arrays, one row a sample, as a feed; without targets for predictions."""
    given = {"x": x, "y": y, "weight": weight}
    arrays = {name: item for name, item in given.items() if item is not None}
    shown = {"x": "X", "y": "y", "weight": "sample_weight"}
    arrays = {
        name: to_model_arrays(item, shown[name], strings=name == "x")
        for name, item in arrays.items()
    }
    if not all(np.ndim(array) for array in tree.flatten(arrays)):
        raise TypeError(
            "Arrays must have an axis of samples. Received: single numbers. Make a list of numbers "
            "an array by `np.array`."
        )
    sizes = {len(array) for array in tree.flatten(arrays)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            "Arrays must all have the same number of samples, at least one. Received: "
            f"{sorted(sizes)} samples."
        )
    (size,) = sizes
    if class_weight and (y is None or tree.is_nested(y)):
        raise ValueError(
            "`class_weight` is for models with a single output. Received: "
            f"{'no' if y is None else 'several'} targets. Use sample weights instead."
        )
    pairs = _pairs(class_weight)
    gather = Gather(**_whole_rows(arrays), class_weight=pairs, frame_weight=frame_weight)
    nbytes = sum(array.nbytes for array in tree.flatten(arrays))
    if nbytes <= max_device_bytes and size < 2**31:
        return Feed(tree.map_structure(as_keras_takes_it, arrays), gather, size)

    def take(index: np.ndarray) -> Arrays:
        return tree.map_structure(lambda array: _take_rows(array, index), arrays)

    return Stream(lambda epoch: take, gather, size, nbytes // size)


def to_model_arrays(items: Any, name: str, *, strings: bool = False) -> Any:
    """Return an array or DataFrame, or a nest of them, as arrays that a model can take.

    With `strings`, the arrays may be strings where the backend has them.
    """

    def to_array(item: Any) -> np.ndarray:
        check_unmasked(item, name)
        array = table_array(item, name) if is_table(item) else np.asarray(item)
        if not (strings and backend.name == "tensorflow" and _is_text(array)):
            check_real(array.dtype, name)
        # Text of Python's objects has no bytes of its own to pad, copy or recognise.
        return np.array(array.tolist()) if array.dtype.hasobject else array

    return tree.map_structure(to_array, items)


def check_real(dtype: np.dtype, name: str) -> None:
    """Raise if values are not real numbers, such as dates, complex numbers, strings, records."""
    # Types like bfloat16 are of the kind "V", as records are.
    is_extension = dtype.kind == "V" and dtype.names is None and dtype.type is not np.void
    if dtype.kind in "biuf" or is_extension:
        return
    raise TypeError(
        f"`{name}` must hold real numbers for a model. Received: dtype={dtype}. Convert it "
        "first, for instance a time to seconds, a complex number to two columns, or labels to ids "
        "with `np.unique(labels, return_inverse=True)[1]`."
    )


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "US" or (
        array.dtype.kind == "O" and all(isinstance(item, (str, bytes)) for item in array.flat)
    )


def as_keras_takes_it(array: Any) -> np.ndarray:
    """Return an array in this machine's byte order, and floats in Keras's precision."""
    array = np.asarray(array)
    return array.astype(_as_keras_reads(array.dtype), copy=False)


def _as_keras_reads(dtype: np.dtype) -> np.dtype:
    return np.dtype(keras.config.floatx()) if dtype.kind == "f" else dtype.newbyteorder("=")


def _aligned(rows: int, shape: Shape, dtype: np.dtype) -> np.ndarray:
    """Return a new array `(rows, *shape)`, not filled, in memory that any backend can share."""
    dtype = _as_keras_reads(dtype)
    size = rows * math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(rows, *shape)


def _take_rows(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return rows of an array."""
    first, last = index[0], index[-1]
    if last - first == len(index) - 1 and (np.diff(index) == 1).all():
        return array[first : last + 1]
    # `take` is much faster, but copies an array that has gaps.
    return array.take(index, axis=0) if array.flags.c_contiguous else array[index]


def _whole_rows(names: Iterable[str]) -> dict[str, Any]:
    """Return a Gather's arguments if each frame is one row of its arrays."""
    return {name: Windows(name) for name in names}


def check_class_weight(class_weight: Any) -> None:
    """Raise if `class_weight` is no dict of classes to weights."""
    if class_weight is None:
        return
    if not isinstance(class_weight, dict):
        raise TypeError(
            "`class_weight` must be a dict of classes to weights. Received: class_weight="
            f"{class_weight!r}. Pass for instance `{{0: 1.0, 1: 2.0}}`."
        )
    for label, weight in class_weight.items():
        is_label = isinstance(label, Integral) and -(2**31) <= int(label) < 2**31
        if not is_label or not isinstance(weight, Real) or not math.isfinite(weight):
            raise ValueError(
                "`class_weight` must map integers to finite numbers. Received: "
                f"{label!r}: {weight!r}. Pass for instance `{{0: 1.0, 1: 2.0}}`."
            )


def _pairs(class_weight: ClassWeight) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((class_weight or {}).items()))


def _joined(rows: "Rows", steps: np.ndarray) -> np.ndarray:
    """Return the first `steps` of each sequence, joined."""
    arrays = [rows.read(number, 0, stop) for number, stop in enumerate(steps)]
    return as_keras_takes_it(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _times(weight: Any, rows: Any, shape: Shape) -> Any:
    """Return weights times one factor for each row, or the factors if there are no weights."""
    if weight is None:
        return ops.reshape(rows, (-1, *shape))
    return ops.multiply(weight, ops.cast(by_row(rows, weight), weight.dtype))


def _class_weights(y: Any, class_weight: tuple[tuple[int, float], ...]) -> Any:
    """Return each sample's weight by its class. Other classes weigh 1."""
    if len(y.shape) > 2:
        raise ValueError(
            "`class_weight` needs one class a sample. Received: targets of shape "
            f"{tuple(y.shape[1:])}. Use sample weights instead."
        )
    one_hot = len(y.shape) == 2 and y.shape[1] > 1
    label = ops.argmax(y, axis=-1) if one_hot else ops.reshape(y, (-1,))
    # Rounded as Keras does. A class need not fit the labels' own type.
    label = ops.cast(ops.round(ops.cast(label, "float32")), "int32")
    weight = ops.ones_like(label, "float32")
    for number, value in class_weight:
        weight = ops.where(ops.equal(label, number), value, weight)
    return weight
