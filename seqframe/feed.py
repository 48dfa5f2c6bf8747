"""Frames or arrays as data that lives on the device, from which each step gathers its batch.

What travels to the device for a batch is indices: a window is gathered from the raw sequence by the
step that uses it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

if TYPE_CHECKING:
    from seqframe.frames import Frames


@dataclass(frozen=True)
class Gather:
    """How a batch is made of device arrays and indices. Hashable: a program is compiled for each.

    Attributes:
        x_offsets: rows of an input, relative to the frame's index; None where a row is a whole
            input.
        y_offsets: the same for the target.
        x_shape: shape of an input, where it is gathered from rows.
        y_shape: shape of a target, where it is gathered from rows.
        class_weight: pairs of class and weight.
    """

    x_offsets: tuple[int, ...] | None = None
    y_offsets: tuple[int, ...] | None = None
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()
    class_weight: tuple[tuple[int, float], ...] = ()

    def __call__(self, arrays: dict[str, Any], index: Any) -> tuple[Any, Any, Any]:
        """Return `(x, y, sample_weight)` of the frames at `index`, an int tensor
        `(batch_size,)`."""
        x = _rows(arrays["x"], index, self.x_offsets, self.x_shape)
        # Frames that predict their own sequence have no second array.
        y = _rows(arrays.get("y", arrays["x"]), index, self.y_offsets, self.y_shape)
        weight = None
        if "weight" in arrays:
            weight = _rows(arrays["weight"], index, None, ())
        if self.class_weight:
            by_class = _class_weights(y, self.class_weight)
            weight = by_class if weight is None else weight * by_class
        return x, y, weight

    def batch(self, arrays: dict[str, Any], row: dict[str, Any]) -> tuple[Any, ...]:
        """Return what a step takes, `(x, y)` or `(x, y, sample_weight)`, of a schedule's row."""
        x, y, weight = self(arrays, row["index"])
        if "weight" in row:
            weight = row["weight"] if weight is None else weight * row["weight"]
        return (x, y) if weight is None else (x, y, weight)


class Feed:
    """Data on the host, ready for the device.

    Attributes:
        arrays: dict of arrays: "x", and where they are, "y" and "weight".
        gather: Gather.
        size: int. Number of frames.
    """

    def __init__(self, arrays: dict[str, Any], gather: Gather, size: int, starts: Any = None):
        self.arrays, self.gather, self.size = arrays, gather, size
        self._starts = starts

    def index(self, frames: np.ndarray) -> np.ndarray:
        """Return what `gather` takes for frames of these numbers."""
        index = frames if self._starts is None else self._starts(frames)
        rows = len(tree.flatten(self.arrays["x"])[0])
        return index.astype(np.int32 if rows < 2**31 else np.int64)


def feed_frames(frames: "Frames", class_weight: dict[int, float] | None = None) -> Feed:
    """Return frames as a feed: windows by their raw sequences, padded frames ready made."""
    weights = tuple(sorted((class_weight or {}).items()))
    if frames.framer.pads:
        x, y = frames.arrays()
        arrays = {"x": _as_keras_takes_it(x), "y": _as_keras_takes_it(y)}
        return Feed(arrays, Gather(class_weight=weights), len(frames))
    framer = frames.framer
    inputs = framer.sampling_rate * np.arange(framer.sequence_length)
    last = inputs[:, None] if framer.return_sequences else inputs[-1:]
    targets = (last + framer.gap + 1 + np.arange(framer.horizon)).ravel()
    gather = Gather(
        tuple(inputs.tolist()), tuple(targets.tolist()), frames.x_shape, frames.y_shape, weights
    )
    arrays = {"x": _joined(frames.inputs.arrays)}
    if frames.targets is not frames.inputs:
        arrays["y"] = _joined(frames.targets.arrays)
    begins = np.cumsum([0, *(len(array) for array in frames.inputs.arrays)])

    def starts(index: np.ndarray) -> np.ndarray:
        sequence, start, _ = frames.locate(index.ravel())
        return (begins[sequence] + start).reshape(index.shape)

    return Feed(arrays, gather, len(frames), starts)


def feed_arrays(x: Any, y: Any, weight: Any, class_weight: dict[int, float] | None = None) -> Feed:
    """Return arrays, one row a sample, as a feed."""
    arrays = {"x": x, "y": y}
    if weight is not None:
        arrays["weight"] = weight
    if any(np.ndim(array) == 0 for array in tree.flatten(arrays)):
        raise TypeError(
            "`frames`, as a tuple, must hold arrays with one row a sample, or nests of them. "
            "Received: single values. Convert lists with `np.array`."
        )
    arrays = tree.map_structure(_as_keras_takes_it, arrays)
    sizes = {len(array) for array in tree.flatten(arrays)}
    if len(sizes) != 1:
        raise ValueError(
            "`frames`, as arrays, must all have the same number of samples. "
            f"Received: {sorted(sizes)} samples."
        )
    size = sizes.pop()
    if size == 0:
        raise ValueError("`frames`, as arrays, must hold samples. Received: 0 samples.")
    gather = Gather(class_weight=tuple(sorted((class_weight or {}).items())))
    return Feed(arrays, gather, size)


def _joined(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    return _as_keras_takes_it(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _as_keras_takes_it(array: Any) -> np.ndarray:
    """Return real numbers in Keras's own precision, as Keras's `fit` does with arrays."""
    array = np.asarray(array)
    return array.astype(keras.config.floatx(), copy=False) if array.dtype.kind == "f" else array


def _rows(array: Any, index: Any, offsets: tuple[int, ...] | None, shape: tuple[int, ...]) -> Any:
    if offsets is None:
        return tree.map_structure(lambda rows: ops.take(rows, index, axis=0), array)
    steps = ops.expand_dims(index, 1) + ops.cast(np.array(offsets), index.dtype)
    return ops.reshape(ops.take(array, steps, axis=0), (index.shape[0], *shape))


def _class_weights(y: Any, class_weight: tuple[tuple[int, float], ...]) -> Any:
    """Return each sample's weight by its class; classes that are not named weigh 1."""
    if len(y.shape) > 2:
        raise ValueError(
            "`class_weight` needs one class a sample. Received: targets of shape "
            f"{tuple(y.shape[1:])}. Use sample weights instead."
        )
    one_hot = len(y.shape) == 2 and y.shape[1] > 1
    label = ops.argmax(y, axis=-1) if one_hot else ops.reshape(y, (y.shape[0],))
    weight = ops.ones((y.shape[0],), "float32")
    for number, value in class_weight:
        weight = ops.where(ops.equal(label, ops.cast(number, label.dtype)), value, weight)
    return weight
