"""What layers have learned of data by `adapt`, and hold as constants."""

from typing import Any

import keras

from seqframe.backend.internals import all_layers

# What they compute with is no variable: a program that is compiled keeps what it was then.
_HELD = (
    (keras.layers.Normalization, ("mean", "variance")),
    (keras.layers.Discretization, ("bin_boundaries",)),
)


def adapted_values(model: keras.Model) -> list[Any]:
    """Return what a model's layers hold of data, made anew by `adapt` and when weights are loaded.

    >>> layer = keras.layers.Normalization(mean=3.0, variance=2.0)
    >>> model = keras.Sequential([keras.Input((1,)), layer])
    >>> [float(value[0, 0]) for value in adapted_values(model)]
    [3.0, 2.0]
    """
    return [
        getattr(layer, name, None)
        for layer in all_layers(model)
        for kind, names in _HELD
        if isinstance(layer, kind)
        for name in names
    ]


def same_objects(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists are of the very same objects.

    >>> first, second = [1.0], [1.0]
    >>> same_objects([first], [first]), same_objects([first], [second])
    (True, False)
    """
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
