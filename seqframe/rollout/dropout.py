"""Dropout at work in a rollout, with nothing of the model changed by that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from seqframe.backend.internals import all_layers

SEEDS_APART = 7919  # of the layers that draw at random


def seed_states(model: keras.Model) -> list[Any]:
    """Return the variables of a model's seed generators: those that are no weights."""
    weights = {id(variable) for variable in model.weights}
    return [v for v in model.non_trainable_variables if id(v) not in weights and v.shape == (2,)]


@contextmanager
def undisturbed(model: keras.Model) -> Iterator[None]:
    """Run a model in training mode, but for what it would learn of its inputs.

    Batch normalisation that is not trainable uses its statistics and keeps them.
    """
    frozen = [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    kept = [(v, ops.copy(v.value)) for v in model.non_trainable_variables]
    try:
        for layer in frozen:
            layer.trainable = False
        yield
    finally:
        for layer in frozen:
            layer.trainable = True
        for variable, value in kept:
            variable.assign(value)
