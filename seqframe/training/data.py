"""Data: what `fit`, `evaluate` and `predict` are given, sorted into frames, arrays and datasets."""

from collections.abc import Iterable
from math import floor
from numbers import Real
from types import GeneratorType
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import tree

from seqframe.framing.batches import BatchIterator
from seqframe.framing.datasets import LanesDataset
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes

_LIBRARIES = {"tensorflow", "torch", "grain"}  # whose datasets Keras's loops take


class Arrays(NamedTuple):
    """Inputs, targets and sample weights: arrays with one row a sample, nests of them, or None."""

    x: Any
    y: Any = None
    weight: Any = None


#: A dataset is whatever Keras's own loops take batch by batch.
Data = Frames | Lanes | Arrays | Any


def is_dataset(data: Any) -> bool:
    """Whether Keras's own loops take data batch by batch.

    >>> is_dataset(x for x in "ab"), is_dataset(np.zeros(3)), is_dataset([1, 2])
    (True, False, False)
    """
    if isinstance(data, keras.utils.PyDataset | GeneratorType):
        return True
    libraries = {kind.__module__.partition(".")[0] for kind in type(data).__mro__}
    is_iterable = isinstance(data, Iterable) and not hasattr(data, "__array__")
    return is_iterable and not libraries.isdisjoint(_LIBRARIES)


def sort_data(
    data: Any, y: Any = None, sample_weight: Any = None, name: str = "frames", only_x: bool = False
) -> Data:
    """Return data as frames, lanes, a dataset or `Arrays`. Errors call the data `name`.

    Without `y`, a tuple is `(X, y)` or `(X, y, sample_weight)`. With `only_x`, it is a nest of
    inputs.
    """
    if isinstance(data, LanesDataset):
        data = data.lanes
    if isinstance(data, Frames | Lanes) or is_dataset(data):
        for other, value in ("y", y), ("sample_weight", sample_weight):
            if value is not None:
                raise TypeError(
                    f"`{other}` is for arrays. Received: `{other}` beside a "
                    f"{type(data).__name__}, which has its own. Leave `{other}` out, or give it "
                    "to `frame`."
                )
        return data
    if only_x:
        found = Arrays(data)
    elif isinstance(data, tuple) and y is None:
        if not 1 <= len(data) <= 3 or (sample_weight is not None and len(data) == 3):
            raise TypeError(
                f"`{name}`, as a tuple, must be `(X, y)` or `(X, y, sample_weight)`. Received: a "
                f"tuple of {len(data)}. Pass several inputs as a list or a dict."
            )
        x, y, weight = (*data, None, None)[:3]
        found = Arrays(x, y, sample_weight if weight is None else weight)
    else:
        found = Arrays(data, y, sample_weight)
    _check_arrays(found, name)
    return found


def _check_arrays(arrays: Arrays, name: str) -> None:
    """Raise if data hold something that has no rows."""
    for part, own in zip(("X", "y", "sample_weight"), arrays, strict=True):
        for item in tree.flatten(own):
            if item is None and part != "X":
                continue
            is_iterator = isinstance(item, BatchIterator)
            if not is_iterator and np.ndim(item):
                continue
            way_out = "Pass NumPy arrays, or a generator or `keras.utils.PyDataset` of batches"
            if is_iterator:
                way_out = "Pass the frames that it is made of"
            elif name == "validation_data" and isinstance(item, Real):
                way_out = "To hold out a share, use `validation_split` or `frames.split(0.8, 0.2)`"
            elif isinstance(item, Real):
                way_out = "Convert lists with `np.array`"
            elif isinstance(item, str):
                way_out = "Frame a text first, with `SequenceFramer(…).frame(text)`"
            raise TypeError(
                f"`{name}` must be `Frames`, `Lanes`, arrays with one row a sample, or a dataset. "
                f"Received: a {type(item).__name__} as `{part}`. {way_out}."
            )


def hold_out(data: Data, share: float) -> tuple[Arrays, Arrays]:
    """Return arrays without their last samples, and these, as Keras's `validation_split` does.

    >>> train, validation = hold_out(Arrays(np.arange(5), np.arange(5)), 0.3)
    >>> train.x, validation.x
    (array([0, 1, 2]), array([3, 4]))
    """
    if not isinstance(share, Real) or isinstance(share, bool) or not 0 < share < 1:
        raise ValueError(
            f"`validation_split` must be a number between 0 and 1. Received: {share!r}."
        )
    if not isinstance(data, Arrays):
        way_out = (
            "Pass another dataset as `validation_data`"
            if is_dataset(data)
            else "Cut them in time: `train, validation = frames.split(0.8, 0.2)`, and pass "
            "`validation_data=validation`"
        )
        raise ValueError(
            "`validation_split` is for arrays. Received: validation_split="
            f"{share} with a {type(data).__name__}. {way_out}."
        )
    size = len(next(item for item in tree.flatten(data) if item is not None))
    first = floor(size * (1.0 - share))
    if first in (0, size):
        raise ValueError(
            f"`validation_split` must leave samples in both parts. Received: validation_split="
            f"{share} of {size} samples. Choose another share, or pass more samples."
        )

    def part(rows: slice) -> Arrays:
        return Arrays(*(_rows(own, rows) for own in data))

    return part(slice(first)), part(slice(first, None))


def _rows(nest: Any, rows: slice) -> Any:
    return tree.map_structure(lambda item: None if item is None else item[rows], nest)
