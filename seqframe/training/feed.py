"""Feeds: frames or arrays as data on the device, from which each step gathers its batch.

A batch travels to the device as indices. The step that uses a window gathers it from the raw
sequence.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from seqframe.aliases import Shape
from seqframe.backend.common import by_row
from seqframe.framing.batches import check_redraw
from seqframe.framing.cutters import (
    frame_shapes,
    frame_weight_shape,
    gathered_weight_shape,
    weighs_horizon_as_one,
)
from seqframe.framing.sequences import check_unmasked
from seqframe.framing.tables import is_table, table_array

if TYPE_CHECKING:
    from seqframe.framing.frames import Frames
    from seqframe.framing.gather import Rows

#: Arrays by name: "x", and if there are any "y", "future" and "weight". Arrays may be nests.
Arrays = dict[str, Any]
ClassWeight = dict[int, float] | None


@dataclass(frozen=True)
class Windows:
    """How one array of a batch is gathered from an array on the device. Hashable.

    Attributes:
        array: name of the array on the device.
        offsets: steps of a window, counted from the frame's index; None if a frame is one row.
        shape: a frame's shape, if it has offsets.
        averaged: bool. Whether the last axis is averaged.
    """

    array: str
    offsets: tuple[int, ...] | None = None
    shape: Shape = ()
    averaged: bool = False

    def __call__(self, arrays: Arrays, index: Any) -> Any:
        """Return the windows of the frames at `index`."""
        array = arrays[self.array]
        if self.offsets is None:
            return tree.map_structure(lambda rows: ops.take(rows, index, axis=0), array)
        steps = ops.expand_dims(index, 1) + ops.cast(np.array(self.offsets), index.dtype)
        rows = ops.reshape(ops.take(array, steps, axis=0), (index.shape[0], *self.shape))
        return ops.mean(rows, axis=-1) if self.averaged else rows


@dataclass(frozen=True)
class Gather:
    """How arrays on the device and indices make a batch. Hashable: each has its own program.

    Attributes:
        x: Windows of the inputs; with a future, of the past.
        y: Windows of the targets, or None for predictions.
        future: Windows of the future covariates, or None.
        weight: Windows of the sample weights, or None.
        class_weight: pairs of class and weight.
        frame_weight: shape of a weight of a whole frame.
    """

    x: Windows = Windows("x")
    y: Windows | None = Windows("y")
    future: Windows | None = None
    weight: Windows | None = None
    class_weight: tuple[tuple[int, float], ...] = ()
    frame_weight: Shape = ()

    def batch(self, arrays: Arrays, row: dict[str, Any]) -> tuple[Any, ...]:
        """Return `(x,)`, `(x, y)` or `(x, y, sample_weight)` of a schedule's row.

        Args:
            arrays: tensors on the device.
            row: "index", an int tensor `(batch_size,)`, and if needed "weight".
        """
        index = row["index"]
        x = self.x(arrays, index)
        if self.future is not None:
            x = {"past": x, "future": self.future(arrays, index)}
        if self.y is None:
            return (x,)
        y = self.y(arrays, index)
        weight = None if self.weight is None else self.weight(arrays, index)
        if self.class_weight:
            weight = _times(weight, _class_weights(y, self.class_weight), ())
        if "weight" in row:
            weight = _times(weight, row["weight"], self.frame_weight)
        return (x, y) if weight is None else (x, y, weight)


class Feed:
    """Data that go to the device once and stay there.

    Attributes:
        arrays: dict of arrays: "x", and if there are any "y", "future" and "weight".
        gather: Gather.
        size: int. Number of frames.
        nbytes_streamed: int. Bytes that a frame of a Stream takes; otherwise 0.
    """

    nbytes_streamed = 0

    def __init__(
        self,
        arrays: Arrays,
        gather: Gather,
        size: int,
        starts: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.arrays, self.gather, self.size, self._starts = arrays, gather, size, starts

    def index(self, frames: np.ndarray) -> np.ndarray:
        """Return what `gather` takes for frames of these numbers."""
        index = frames if self._starts is None else self._starts(frames)
        rows = len(tree.flatten(self.arrays["x"])[0])
        return index.astype(np.int32 if rows < 2**31 else np.int64)

    def load(self, frames: np.ndarray, room: int, epoch: int = 0) -> tuple[Arrays, np.ndarray]:
        """Return the arrays that hold some frames, and what `gather` takes for these.

        Args:
            frames: int array `(steps, batch_size)` of frame numbers.
            room: int. Steps that the arrays of a Stream have room for.
            epoch: int. The epoch, if frames are drawn anew in each.
        """
        return self.arrays, self.index(frames)


class Stream(Feed):
    """Data that go to the device in ready blocks: too large for it, or new in each epoch.

    Args:
        take: function of an int array of frame numbers and an epoch; returns a dict of arrays.
        gather: Gather.
        size: int. Number of frames.
        nbytes: int. Bytes that a frame takes.
    """

    def __init__(
        self, take: Callable[[np.ndarray, int], Arrays], gather: Gather, size: int, nbytes: int
    ):
        super().__init__({}, gather, size)
        self._take, self.nbytes_streamed = take, max(nbytes, 1)

    def load(self, frames: np.ndarray, room: int, epoch: int = 0) -> tuple[Arrays, np.ndarray]:
        steps, batch_size = frames.shape
        # Always as many rows, so that one program runs every block.
        rows = np.resize(frames, (room, batch_size)).ravel()
        arrays = tree.map_structure(as_keras_takes_it, self._take(rows, epoch))
        return arrays, np.arange(frames.size, dtype=np.int32).reshape(steps, batch_size)


def feed_frames(
    frames: "Frames",
    class_weight: ClassWeight = None,
    max_device_bytes: float = math.inf,
    redraw: bool = False,
    only_inputs: bool = False,
) -> Feed:
    """Return frames as a feed: windows as raw sequences, padded frames ready made.

    Args:
        frames: Frames.
        class_weight: dict of class to weight.
        max_device_bytes: number. Data that take more bytes stream to the device.
        redraw: bool. Whether random subsequences are drawn anew in each epoch.
        only_inputs: bool. Whether to leave out targets and weights, for predictions.
    """
    framer, source, geometry = frames.framer, frames.source, frames.framer.geometry
    for name, kind in ("sequences", source.inputs), ("future", source.future):
        if kind is not None:
            check_real(kind.dtype, name)
    if redraw:
        check_redraw(framer)
    if class_weight and (geometry.return_sequences or geometry.horizon > 1):
        raise ValueError(
            "`class_weight` needs one class a sample. Received: frames with targets of shape "
            f"{frames.y_shape}. Use `sample_weight` of `frame` instead."
        )
    pairs, whole = _pairs(class_weight), frame_weight_shape(framer)
    raw = [source.inputs, source.future]
    if not only_inputs:
        raw += [source.weight, None if source.targets is source.inputs else source.targets]
    nbytes = sum(rows.nbytes for rows in raw if rows is not None)
    if geometry.pads:
        nbytes = len(frames) * frames.nbytes
    names = ("x",) if only_inputs else ("x", "y", "weight")
    if redraw or nbytes > max_device_bytes:
        weighted = None if source.weight is None or only_inputs else Windows("weight")
        targets = None if only_inputs else Windows("y")
        gather = Gather(Windows("x"), targets, None, weighted, pairs, whole)

        def take(index: np.ndarray, epoch: int) -> Arrays:
            drawn = frames.redraw(epoch) if redraw else frames
            return dict(zip(names, drawn.take(index), strict=False))

        return Stream(take, gather, len(frames), frames.nbytes)
    if geometry.pads:
        ready = dict(zip(names, frames.arrays(), strict=False))
        return feed_arrays(**ready, class_weight=class_weight, frame_weight=whole)

    begins = np.cumsum([0, *source.steps])

    def starts(index: np.ndarray) -> np.ndarray:
        sequence, start, _ = frames.locate(index.ravel())
        return (begins[sequence] + start).reshape(index.shape)

    def windows(name: str, shape: Shape | None, averaged: bool = False) -> Windows:
        offsets = geometry.input_offsets if name == "x" else geometry.target_offsets
        return Windows(name, tuple(offsets.ravel().tolist()), shape or (), averaged)

    shapes = frame_shapes(framer, source)
    arrays = {"x": _joined(source.inputs, source.steps)}
    y = future = weight = None
    if source.future is not None:
        arrays["future"] = _joined(source.future, source.steps)
        future = windows("future", shapes.future)
    if not only_inputs:
        y = windows("y", shapes.y)
        if source.targets is source.inputs:  # one array serves both
            y = Windows("x", y.offsets, y.shape)
        else:
            arrays["y"] = _joined(source.targets, source.steps)
    if source.weight is not None and not only_inputs:
        if source.weight_per_frame:
            # Weights of frames lie at the rows where these begin.
            weight = Windows("weight")
            sequence, start, _ = frames.locate(np.arange(len(frames)))
            given = source.weight.take(sequence, start // geometry.stride)
            spread = np.zeros(begins[-1], keras.config.floatx())
            spread[begins[sequence] + start] = given
            arrays["weight"] = spread.reshape(-1, *whole)
        else:
            averaged = weighs_horizon_as_one(framer, source)
            weight = windows("weight", gathered_weight_shape(framer, source), averaged)
            arrays["weight"] = _joined(source.weight, source.steps)
    x = windows("x", shapes.past)
    return Feed(arrays, Gather(x, y, future, weight, pairs, whole), len(frames), starts)


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
    if not arrays or any(np.ndim(array) == 0 for array in tree.flatten(arrays)):
        raise TypeError(
            "`frames`, as a tuple, must hold arrays with one row a sample, or nests of them. "
            "Received: single values. Convert lists with `np.array`."
        )
    shown = {"x": "X", "y": "y", "weight": "sample_weight"}
    arrays = {name: to_model_arrays(item, shown[name]) for name, item in arrays.items()}
    sizes = {len(array) for array in tree.flatten(arrays)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            "`frames`, as arrays, must all have the same number of samples, at least one. "
            f"Received: {sorted(sizes)} samples."
        )
    (size,) = sizes
    if class_weight and (y is None or tree.is_nested(y)):
        raise ValueError(
            "`class_weight` is for models with a single output. Received: "
            f"{'no' if y is None else 'several'} targets. Use sample weights instead."
        )
    gather = Gather(
        y=None if y is None else Windows("y"),
        weight=None if weight is None else Windows("weight"),
        class_weight=_pairs(class_weight),
        frame_weight=frame_weight,
    )
    nbytes = sum(array.nbytes for array in tree.flatten(arrays))
    if nbytes <= max_device_bytes:
        return Feed(tree.map_structure(as_keras_takes_it, arrays), gather, size)

    def take(index: np.ndarray, epoch: int) -> Arrays:
        return tree.map_structure(lambda array: array[index], arrays)

    return Stream(take, gather, size, nbytes // size)


def to_model_arrays(items: Any, name: str) -> Any:
    """Return an array or DataFrame, or a nest of them, as arrays that a model can take.

    Raises:
        TypeError: if one is masked, or holds dates, complex numbers or no numbers.
    """

    def to_array(item: Any) -> np.ndarray:
        check_unmasked(item, name)
        array = table_array(item, name) if is_table(item) else np.asarray(item)
        check_real(array.dtype, name)
        return array

    return tree.map_structure(to_array, items)


def check_real(dtype: np.dtype, name: str) -> None:
    """Raise if values are dates or complex numbers, which no model takes."""
    if dtype.kind in "mMc":
        raise TypeError(
            f"`{name}` must hold real numbers for a model. Received: dtype={dtype}. Convert it "
            "first, for instance a time to seconds, or a complex number to two columns."
        )


def as_keras_takes_it(array: Any) -> np.ndarray:
    """Return an array in this machine's byte order, and floats in Keras's precision."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx(), copy=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _pairs(class_weight: ClassWeight) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((class_weight or {}).items()))


def _joined(rows: "Rows", steps: np.ndarray) -> np.ndarray:
    """Return the sequences one after the other, each of so many steps."""
    arrays = [rows.read(number, 0, stop) for number, stop in enumerate(steps)]
    return as_keras_takes_it(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _times(weight: Any, rows: Any, shape: Shape) -> Any:
    """Return weights times one factor a row; without weights, the factors in the given shape."""
    if weight is None:
        return ops.reshape(rows, (rows.shape[0], *shape))
    return weight * ops.cast(by_row(rows, weight), weight.dtype)


def _class_weights(y: Any, class_weight: tuple[tuple[int, float], ...]) -> Any:
    """Return each sample's weight by its class. Classes that are not named weigh 1."""
    if len(y.shape) > 2:
        raise ValueError(
            "`class_weight` needs one class a sample. Received: targets of shape "
            f"{tuple(y.shape[1:])}. Use sample weights instead."
        )
    one_hot = len(y.shape) == 2 and y.shape[1] > 1
    label = ops.argmax(y, axis=-1) if one_hot else ops.reshape(y, (y.shape[0],))
    # Rounded as Keras does. A class need not fit the labels' own type.
    label = ops.cast(ops.round(ops.cast(label, "float32")), "int32")
    weight = ops.ones((y.shape[0],), "float32")
    for number, value in class_weight:
        weight = ops.where(ops.equal(label, number), value, weight)
    return weight
