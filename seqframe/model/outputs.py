"""What a model's outputs are: probabilities of symbols, or logits."""

from typing import Any

import keras
from keras import tree


def outputs_probabilities(model: keras.Model) -> bool:
    """Whether a model's outputs are probabilities: by its last layer, else by its loss.

    >>> import keras
    >>> outputs_probabilities(keras.Sequential([keras.layers.Dense(3, "softmax")]))
    True
    """
    by_loss = _takes_probabilities(getattr(model, "loss", None))
    operations = getattr(model, "operations", None)
    if not operations:
        # A model of the user's own: its layers are in the order in which they were made.
        operations = model.layers if by_loss is None else []
    last = operations[-1] if operations else model
    if isinstance(last, keras.Model) and last is not model:
        return outputs_probabilities(last)
    while isinstance(last, keras.layers.Wrapper):
        last = last.layer
    if type(last).__name__ == "Softmax":  # the layer, or `keras.ops.softmax` of a functional model
        return True
    activation = getattr(last, "activation", None)
    if activation is keras.activations.softmax:
        return True
    if activation in _OTHER_ACTIVATIONS:
        return False
    # A layer, or a function, that may be anything.
    return bool(by_loss)


# Those that make no probabilities of several symbols.
_OTHER_ACTIVATIONS = [
    getattr(keras.activations, name)
    for name in ("linear", "log_softmax", "relu", "sigmoid", "tanh", "softplus", "gelu", "elu")
]


def _takes_probabilities(loss: Any) -> bool | None:
    """Whether a loss, as a model was compiled with it, is a crossentropy of probabilities, or one
    of logits; None: neither."""
    losses = tree.flatten(loss)
    if len(losses) != 1:
        return None
    loss = keras.losses.get(losses[0])
    kinds = (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy)
    if isinstance(loss, kinds):
        return not loss.get_config()["from_logits"]
    functions = ("categorical_crossentropy", "sparse_categorical_crossentropy")
    return True if any(loss is getattr(keras.losses, name) for name in functions) else None
