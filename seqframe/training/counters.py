"""Counters: what of a callback changes in training, such as the patience of EarlyStopping."""

import copy
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from seqframe.backend.internals import private_counters
from seqframe.training.generations import Content, is_plain

_MOST_COPIED = 2**20  # bytes of an attribute
# Keras negates it once, when it has found the direction of a metric.
_SETTINGS = ("min_delta",)


def attributes_of(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return a callback's attributes that may be counters, copied unless they are large."""
    return {name: _kept(value) for name, value in _plain_attributes(callback)}


def _kept(value: Any) -> Any:
    """Return a copy of a value. A large one is data of the callback, and returned as it is."""
    nbytes = sum(getattr(item, "nbytes", 0) for item in tree.flatten(value))
    return value if nbytes > _MOST_COPIED else copy.deepcopy(value)


def _plain_attributes(callback: keras.callbacks.Callback) -> Iterator[tuple[str, Any]]:
    private = private_counters(callback)
    for name, value in vars(callback).items():
        is_public = not name.startswith("_") and name not in ("params", *_SETTINGS)
        if not is_public and name not in private:
            continue
        if is_plain(value):
            yield name, value
        elif isinstance(callback, keras.callbacks.History):
            raise TypeError(
                "A Checkpoint can save logs that are numbers, strings or arrays. Received: "
                f"{value!r}. Convert the values of your callback or `train_step`, with `float(…)`."
            )


def counters_of(callback: keras.callbacks.Callback, before: dict[str, Any]) -> Content:
    """Return a callback's own state, or the attributes that have changed since training began."""
    if has_state(callback):
        state = callback.get_state()
        if not is_plain(state):
            raise TypeError(
                "`get_state` of a callback must return numbers, strings, arrays, or lists and "
                f"dicts of them. Received: {state!r} from the callback {type(callback).__name__}."
            )
        return {"state": state}
    return {
        name: value
        for name, value in _plain_attributes(callback)
        if name not in before or not _equal(value, before[name])
    }


def set_counters(
    callback: keras.callbacks.Callback, before: dict[str, Any], saved: dict[str, Any]
) -> None:
    """Give a callback what `counters_of` returned, and else what `attributes_of` did."""
    saved = copy.deepcopy(saved)
    if has_state(callback):
        callback.set_state(saved["state"])
        return
    first = {name: _kept(value) for name, value in before.items()}
    for name, value in {**first, **saved}.items():
        own = getattr(callback, name, None)
        if own is value:
            continue
        if type(own) is type(value) is list:
            own[:] = value  # the user may hold it
        elif type(own) is type(value) is dict:
            own.clear()
            own.update(value)
        else:
            setattr(callback, name, value)


def _equal(one: Any, other: Any) -> bool:
    """Whether two nests of plain values and arrays are equal."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))


def has_state(thing: Any) -> bool:
    return callable(getattr(thing, "get_state", None)) and callable(
        getattr(thing, "set_state", None)
    )
