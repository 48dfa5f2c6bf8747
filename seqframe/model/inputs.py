"""A model's inputs by their names: one alone, or a "past" and a "future"."""

from typing import Any

import keras
from keras import tree


def named_inputs(model: keras.Model) -> dict[str, tuple[int | None, ...]] | None:
    """Return the shape of each input of a model, without the sample axis; one alone is its "past".

    Inputs in a dict are called by their keys, those in a list by the names of their `Input`.

    Args:
        model: keras.Model.

    Returns:
        dict of name to shape; None where the model declares none.

    Example:

    >>> past, future = keras.Input((3, 1), name="past"), keras.Input((1, 2), name="future")
    >>> named_inputs(keras.Model([past, future], keras.layers.Add()([past, future])))
    {'past': (3, 1), 'future': (1, 2)}
    """
    try:
        # A Sequential has an `input` only where it is a layer of another model.
        inputs = model.inputs if isinstance(model, keras.Sequential) else model.input
    except (AttributeError, ValueError):  # a model that declares no inputs
        return None
    flat = tree.flatten(inputs)
    if len(flat) == 1:
        return {"past": flat[0].shape[1:]}
    if not isinstance(inputs, dict) or len(inputs) != len(flat):
        inputs = {tensor.name: tensor for tensor in flat}
    return {name: tensor.shape[1:] for name, tensor in inputs.items()}


def takes_future(model: keras.Model) -> bool:
    """Whether a model takes a "past" and a "future"."""
    return "future" in (named_inputs(model) or ())


def arranged(model: keras.Model, inputs: dict[str, Any]) -> Any:
    """Return inputs by name as a model takes them: in a dict, or in a list in its own order."""
    if isinstance(model.input, dict):
        return inputs
    return [inputs[name] for name in named_inputs(model) or ()]
