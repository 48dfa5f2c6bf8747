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
    operations = getattr(model, "operations", None) or model.layers
    last = operations[-1] if operations else model
    if isinstance(last, keras.Model) and last is not model:
        return outputs_probabilities(last)
    while isinstance(last, keras.layers.Wrapper):
        last = last.layer
    if type(last).__name__ == "Softmax":  # the layer, or `keras.ops.softmax` of a functional model
        return True
    if hasattr(last, "activation"):
        return last.activation is keras.activations.softmax
    # A layer, or an operation of `keras.ops`, that may be anything: the loss knows.
    return _takes_probabilities(getattr(model, "loss", None))


def _takes_probabilities(loss: Any) -> bool:
    """Whether a loss, as a model was compiled with it, is a crossentropy of probabilities."""
    losses = tree.flatten(loss)
    if len(losses) != 1:
        return False
    loss = keras.losses.get(losses[0])
    kinds = (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy)
    if isinstance(loss, kinds):
        return not loss.get_config()["from_logits"]
    functions = ("categorical_crossentropy", "sparse_categorical_crossentropy")
    return any(loss is getattr(keras.losses, name) for name in functions)
