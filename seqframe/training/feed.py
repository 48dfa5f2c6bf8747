"""Frames or arrays as data that lives on the device, from which each step gathers its batch.

What travels to the device for a batch is indices: a window is gathered from the raw sequence by the
step that uses it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops, tree

from seqframe.framing.batches import check_redraw
from seqframe.framing.cutters import (
    frame_shapes,
    frame_weight_shape,
    gathered_weight_shape,
    weighs_horizon_as_one,
)
from seqframe.training.arrays import as_keras_takes_it, check_real, to_model_arrays

if TYPE_CHECKING:
    from seqframe.framing.frames import Frames
    from seqframe.framing.gather import Rows


@dataclass(frozen=True)
class Windows:
    """How one array of a batch is gathered from one on the device. Hashable.

    Attributes:
        array: name of the array on the device.
        offsets: rows of a window, relative to the frame's index; None where a row is all of it.
        shape: shape that a frame has of it, where it is gathered from rows.
        averaged: bool. Whether the last axis is averaged over.
    """

    array: str
    offsets: tuple[int, ...] | None = None
    shape: tuple[int, ...] = ()
    averaged: bool = False

    def __call__(self, arrays: dict[str, Any], index: Any) -> Any:
        """Return the windows of the frames at `index`."""
        array = arrays[self.array]
        if self.offsets is None:
            return tree.map_structure(lambda rows: ops.take(rows, index, axis=0), array)
        steps = ops.expand_dims(index, 1) + ops.cast(np.array(self.offsets), index.dtype)
        rows = ops.reshape(ops.take(array, steps, axis=0), (index.shape[0], *self.shape))
        return ops.mean(rows, axis=-1) if self.averaged else rows


@dataclass(frozen=True)
class Gather:
    """How a batch is made of device arrays and indices. Hashable: a program is compiled for each.

    Attributes:
        x: Windows of the inputs; where there is a future, of the past.
        y: Windows of the targets, or None where only inputs are asked for.
        future: Windows of what is known ahead, or None.
        weight: Windows of the sample weights, or None.
        class_weight: pairs of class and weight.
        frame_weight: shape of a weight that counts a whole frame.
    """

    x: Windows = Windows("x")
    y: Windows | None = Windows("y")
    future: Windows | None = None
    weight: Windows | None = None
    class_weight: tuple[tuple[int, float], ...] = ()
    frame_weight: tuple[int, ...] = ()

    def __call__(self, arrays: dict[str, Any], index: Any) -> tuple[Any, Any, Any]:
        """Return `(x, y, sample_weight)` of the frames at `index`, an int tensor
        `(batch_size,)`."""
        x, y = self.x(arrays, index), None
        if self.y is not None:
            y = self.y(arrays, index)
        if self.future is not None:
            x = {"past": x, "future": self.future(arrays, index)}
        weight = None if self.weight is None else self.weight(arrays, index)
        if self.class_weight:
            by_class = _class_weights(y, self.class_weight)
            weight = by_class if weight is None else _by_row(weight, by_class)
        return x, y, weight

    def batch(self, arrays: dict[str, Any], row: dict[str, Any]) -> tuple[Any, ...]:
        """Return what a step takes of a schedule's row: `(x,)`, `(x, y)` or with a weight."""
        x, y, weight = self(arrays, row["index"])
        if "weight" in row and y is not None:
            rows = row["weight"]
            if weight is None:
                weight = ops.reshape(rows, (rows.shape[0], *self.frame_weight))
            else:
                weight = _by_row(weight, rows)
        if weight is None:
            return (x,) if y is None else (x, y)
        return (x, y, weight)


class Feed:
    """Data on the host, which goes to the device once and stays there.

    Attributes:
        arrays: dict of arrays: "x", and where they are, "y", "future" and "weight".
        gather: Gather.
        size: int. Number of frames.
        nbytes_streamed: 0, for a Stream the bytes that a frame takes.
    """

    nbytes_streamed = 0

    def __init__(self, arrays: dict[str, Any], gather: Gather, size: int, starts: Any = None):
        self.arrays, self.gather, self.size = arrays, gather, size
        self._starts = starts

    def index(self, frames: np.ndarray) -> np.ndarray:
        """Return what `gather` takes for frames of these numbers."""
        index = frames if self._starts is None else self._starts(frames)
        rows = len(tree.flatten(self.arrays["x"])[0])
        return index.astype(np.int32 if rows < 2**31 else np.int64)

    def inputs_alone(self) -> "Feed":
        """Return the same without targets and weights, for predictions."""
        gather = Gather(self.gather.x, None, self.gather.future)
        return Feed(_inputs(self.arrays), gather, self.size, self._starts)

    def load(
        self, frames: np.ndarray, room: int, epoch: int = 0
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Return the arrays that hold some frames, and what `gather` takes for these.

        Args:
            frames: int array `(steps, batch_size)` of frame numbers.
            room: int. Steps that the arrays of a Stream have room for.
            epoch: int. Whose frames a Stream takes, where these are drawn anew.
        """
        return self.arrays, self.index(frames)


class Stream(Feed):
    """Data too large for the device, or new in each epoch, which go there in ready blocks.

    Args:
        take: function of an int array of frame numbers, and of an epoch; returns a dict of their
            arrays.
        gather: Gather.
        size: int. Number of frames.
        nbytes: int. Bytes that a frame takes.
    """

    def __init__(self, take: Any, gather: Gather, size: int, nbytes: int):
        super().__init__({}, gather, size)
        self._take, self.nbytes_streamed = take, max(nbytes, 1)

    def inputs_alone(self) -> "Stream":
        gather = Gather(self.gather.x, None)
        take = self._take

        def inputs(index: np.ndarray, epoch: int) -> dict[str, Any]:
            return _inputs(take(index, epoch))

        return Stream(inputs, gather, self.size, self.nbytes_streamed)

    def load(
        self, frames: np.ndarray, room: int, epoch: int = 0
    ) -> tuple[dict[str, Any], np.ndarray]:
        steps, batch_size = frames.shape
        # Always as many rows, so that one program runs every block.
        rows = np.resize(frames, (room, batch_size)).ravel()
        arrays = tree.map_structure(as_keras_takes_it, self._take(rows, epoch))
        return arrays, np.arange(frames.size, dtype=np.int32).reshape(steps, batch_size)


def feed_frames(
    frames: "Frames",
    class_weight: dict[int, float] | None = None,
    max_device_bytes: float = math.inf,
    redraw: bool = False,
) -> Feed:
    """Return frames as a feed: windows by their raw sequences, padded frames ready made.

    Args:
        frames: Frames.
        class_weight: dict of class to weight.
        max_device_bytes: number. Data that take more on the device stream to it.
        redraw: bool. Whether random subsequences are drawn anew in each epoch.
    """
    framer, source = frames.framer, frames.source
    for name, rows in ("sequences", source.inputs), ("future", source.future):
        if rows is not None:
            check_real(rows.dtype, name)
    if redraw:
        check_redraw(framer)
    if class_weight and (framer.return_sequences or framer.horizon > 1):
        raise ValueError(
            "`class_weight` needs one class a sample. Received: frames with targets of shape "
            f"{frames.y_shape}. Use `sample_weight` of `frame` instead."
        )
    size, whole = len(frames), frame_weight_shape(framer)
    kinds = [source.inputs, source.future, source.weight]
    kinds += [source.targets] if source.targets is not source.inputs else []
    raw = sum(item.nbytes for item in kinds if item is not None)
    if redraw or (size * frames.nbytes if framer.pads else raw) > max_device_bytes:
        weighted = Windows("weight") if source.weight is not None else None
        gather = Gather(weight=weighted, class_weight=_pairs(class_weight), frame_weight=whole)

        def drawn(index: np.ndarray, epoch: int) -> dict[str, Any]:
            return _named((frames.redraw(epoch) if redraw else frames).take(index))

        return Stream(drawn, gather, size, frames.nbytes)
    if framer.pads:
        x, y, *own = frames.arrays()
        given = own[0] if own else None
        return feed_arrays(x, y, given, class_weight=class_weight, frame_weight=whole)
    inputs = framer.sampling_rate * np.arange(framer.sequence_length)
    last = inputs[:, None] if framer.return_sequences else inputs[-1:]
    ahead = tuple((last + framer.gap + 1 + np.arange(framer.horizon)).ravel().tolist())
    shapes = frame_shapes(framer, source)
    begins = np.cumsum([0, *source.steps])

    def starts(index: np.ndarray) -> np.ndarray:
        sequence, start, _ = frames.locate(index.ravel())
        return (begins[sequence] + start).reshape(index.shape)

    arrays = {"x": _joined(source.inputs, source.steps)}
    x = Windows("x", tuple(inputs.tolist()), shapes.past)
    # Frames that predict their own sequence have no second array.
    y = Windows("x" if source.targets is source.inputs else "y", ahead, shapes.y)
    future: Windows | None = None
    weight: Windows | None = None
    if y.array == "y":
        arrays["y"] = _joined(source.targets, source.steps)
    if source.future is not None:
        arrays["future"] = _joined(source.future, source.steps)
        future = Windows("future", ahead, shapes.future or ())
    if source.weight is not None:
        averaged = weighs_horizon_as_one(framer, source)
        weight = Windows("weight", ahead, gathered_weight_shape(framer, source), averaged)
        if source.weight_per_frame:
            weight = Windows("weight")
            sequence, start, _ = frames.locate(np.arange(size))
            given = source.weight.take(sequence, start // framer.sequence_stride)
            spread = _spread(as_keras_takes_it(given), begins[sequence] + start, begins[-1])
            arrays["weight"] = spread.reshape(-1, *whole)
        else:
            arrays["weight"] = _joined(source.weight, source.steps)
    gather = Gather(x, y, future, weight, _pairs(class_weight), whole)
    return Feed(arrays, gather, len(frames), starts)


def feed_arrays(
    x: Any,
    y: Any,
    weight: Any = None,
    class_weight: dict[int, float] | None = None,
    max_device_bytes: float = math.inf,
    frame_weight: tuple[int, ...] = (),
) -> Feed:
    """Return arrays, one row a sample, as a feed; without targets, `y=None`, for predictions."""
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
    if len(sizes) != 1:
        raise ValueError(
            "`frames`, as arrays, must all have the same number of samples. "
            f"Received: {sorted(sizes)} samples."
        )
    size = sizes.pop()
    if size == 0:
        raise ValueError("`frames`, as arrays, must hold samples. Received: 0 samples.")
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
    if nbytes > max_device_bytes:

        def take(index: np.ndarray, epoch: int) -> dict[str, Any]:
            return tree.map_structure(lambda array: array[index], arrays)

        return Stream(take, gather, size, nbytes // size)
    return Feed(tree.map_structure(as_keras_takes_it, arrays), gather, size)


def _named(batch: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(("x", "y", "weight"), batch, strict=False))


def _inputs(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if name in ("x", "future")}


def _pairs(class_weight: dict[int, float] | None) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((class_weight or {}).items()))


def _joined(rows: "Rows", steps: np.ndarray) -> np.ndarray:
    """Return the sequences one after the other, each of so many steps."""
    arrays = [rows.read(number, 0, stop) for number, stop in enumerate(steps)]
    return as_keras_takes_it(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _spread(weights: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """Return weights of frames at the rows where these begin."""
    spread = np.zeros(size, weights.dtype)
    spread[rows] = weights
    return spread


def _by_row(weight: Any, rows: Any) -> Any:
    shape = (rows.shape[0], *(1,) * (len(weight.shape) - 1))
    return weight * ops.cast(ops.reshape(rows, shape), weight.dtype)


def _class_weights(y: Any, class_weight: tuple[tuple[int, float], ...]) -> Any:
    """Return each sample's weight by its class; classes that are not named weigh 1."""
    if len(y.shape) > 2:
        raise ValueError(
            "`class_weight` needs one class a sample. Received: targets of shape "
            f"{tuple(y.shape[1:])}. Use sample weights instead."
        )
    one_hot = len(y.shape) == 2 and y.shape[1] > 1
    label = ops.argmax(y, axis=-1) if one_hot else ops.reshape(y, (y.shape[0],))
    # Rounded as Keras does; a class need not fit the labels' own type.
    label = ops.cast(ops.round(ops.cast(label, "float32")), "int32")
    weight = ops.ones((y.shape[0],), "float32")
    for number, value in class_weight:
        weight = ops.where(ops.equal(label, number), value, weight)
    return weight
