"""Small models and data that the tests share."""

import copy
import itertools

import keras
import numpy as np
from keras import layers, ops

from seqframe import get_states, set_states
from seqframe.model.state import stateful_layers


def numbers(*shape, seed=0):
    """Return floats around zero, the same every time."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def seeded(model, scale=0.5, seed=1):
    """Give a model weights that are the same every time, and return it."""
    weights = model.get_weights()
    model.set_weights([scale * numbers(*w.shape, seed=seed + i) for i, w in enumerate(weights)])
    return model


def recurrent(*, batch_size=None, steps=2, features=1, outputs=1, units=2, **kwargs):
    """Return a model of one recurrent layer; with a batch size, a stateful one."""
    layer = layers.SimpleRNN(units, stateful=batch_size is not None, **kwargs)
    inputs = keras.Input((steps, features), batch_size=batch_size)
    return seeded(keras.Sequential([inputs, layer, layers.Dense(outputs)]))


def with_future(steps=3, features=1, horizon=2, known=1, outputs=None):
    """Return a model of a past and a future, with an output for each step of the horizon."""
    past = keras.Input((steps, features), name="past")
    future = keras.Input((horizon, known), name="future")
    merged = layers.Concatenate()([layers.Flatten()(past), layers.Flatten()(future)])
    output = layers.Dense(outputs or horizon)(merged)
    return seeded(keras.Model({"past": past, "future": future}, output))


def compiled(model, optimizer="sgd", loss="mse", **kwargs):
    """Compile a model, with all its variables there from the beginning, and return it."""
    model.compile(optimizer, loss, **kwargs)
    model.optimizer.build(model.trainable_variables)
    return model


def run(model, x):
    """Return what a model makes of `x`, as an array."""
    return keras.tree.map_structure(ops.convert_to_numpy, model(x, training=False))


def contents(model):
    """Return copies of a model's numbers: weights, optimizer variables and recurrent states."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    states = get_states(model) if stateful_layers(model) else []
    return [ops.convert_to_numpy(v).copy() for v in variables], states


def put_back(model, kept):
    """Give a model the numbers that `contents` returned."""
    values, states = kept
    for variable, value in zip([*model.variables, *model.optimizer.variables], values, strict=True):
        variable.assign(value)
    if states:
        set_states(model, states)


def user_warnings(recorded):
    """Return the warnings of ours among those that pytest's `recwarn` has: others come and go."""
    return [warning for warning in recorded.list if warning.category is UserWarning]


def assert_same(one, other, atol=0.0):
    """Assert that two nests of arrays are equal, bit for bit unless told otherwise."""
    keras.tree.assert_same_structure(one, other)
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=atol, atol=atol)


class Counter(layers.Layer):
    """Hands its inputs on and counts how often Python runs it: how often a program is traced."""

    def __init__(self):
        super().__init__()
        self.count = itertools.count()  # a rollout's copy of the layer shares it

    def call(self, inputs):
        next(self.count)
        return inputs

    @property
    def calls(self):
        return copy.copy(self.count).__reduce__()[1][0]


class Slices(keras.utils.PyDataset):
    """Batches of arrays `(x, y, …)`, in their order."""

    def __init__(self, arrays, batch_size):
        super().__init__()
        self.arrays, self.batch_size = arrays, batch_size

    def __len__(self):
        return -(-len(self.arrays[0]) // self.batch_size)

    def __getitem__(self, k):
        return tuple(a[k * self.batch_size : (k + 1) * self.batch_size] for a in self.arrays)
