"""Steppers: steps as they arrive give what the whole sequence gives."""

import keras
import numpy as np
import pytest
from keras import layers
from models import numbers, seeded

from seqframe import Stepper, reset_states

ROWS, STEPS, FEATURES = 3, 7, 2
WIDE = {"return_sequences": True}


def chain(*parts, steps=None, features=FEATURES, batch_size=None):
    shape = (steps,) if features is None else (steps, features)
    return seeded(keras.Sequential([keras.Input(shape, batch_size=batch_size), *parts]))


def normalization():
    return layers.Normalization(mean=np.full(FEATURES, 0.3), variance=np.full(FEATURES, 2.0))


def batch_normalized():
    model = chain(layers.LSTM(3, **WIDE), layers.BatchNormalization(), layers.Dense(2))
    for layer in model.layers:
        if isinstance(layer, layers_of("BatchNormalization")):
            layer.moving_variance.assign(np.full(3, 2.0))
    return model


def layers_of(name):
    return getattr(layers, name)


def functional():
    inputs = keras.Input((None, FEATURES))
    hidden = layers.GRU(3, **WIDE)(inputs)
    hidden = layers.Concatenate()([hidden, layers.Dense(2, "tanh")(inputs)])
    hidden = layers.LayerNormalization()(layers.LSTM(3, **WIDE)(hidden)) + hidden[..., :3]
    return seeded(keras.Model(inputs, layers.TimeDistributed(layers.Dense(2))(hidden)))


def nested():
    inner = keras.Sequential([keras.Input((None, FEATURES)), layers.LSTM(3, **WIDE)])
    return chain(inner, layers.Dropout(0.5), layers.Dense(2))


def mixed():
    policy = keras.DTypePolicy("mixed_bfloat16")
    return chain(layers.LSTM(3, dtype=policy, **WIDE), layers.Dense(2, dtype=policy))


# A label for each step: the whole sequence gives what the steps give.
TAGGERS = {
    "LSTM": lambda: chain(layers.LSTM(3, **WIDE), layers.Dense(2, "softmax")),
    "GRU": lambda: chain(layers.GRU(3, recurrent_dropout=0.3, **WIDE), layers.Dense(2)),
    "SimpleRNN, normalization": lambda: chain(normalization(), layers.SimpleRNN(3, **WIDE)),
    "stacked cells": lambda: chain(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], **WIDE)),
    "StackedRNNCells": lambda: chain(
        layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.LSTMCell(2)]), **WIDE)
    ),
    "two layers, batch normalization": batch_normalized,
    "functional, time distributed": functional,
    "nested, dropout": nested,
    "mixed precision": mixed,
    "a convolution of one step": lambda: chain(layers.Conv1D(3, 1), layers.GRU(2, **WIDE)),
    "a step of 10, declared": lambda: chain(layers.LSTM(3, **WIDE), layers.Dense(2), steps=10),
    "masked": lambda: chain(layers.Masking(9.0), layers.LSTM(3, **WIDE)),
    "a layer of the user's": lambda: chain(Doubled(), layers.LSTM(3, **WIDE)),
}


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def assert_close(found, expected, tolerance=1e-5):
    found, expected = (np.asarray(each, "float32") for each in (found, expected))
    np.testing.assert_allclose(found, expected, tolerance, tolerance)


@pytest.mark.xla
@pytest.mark.parametrize("kind", TAGGERS)
def test_steps_give_what_the_whole_sequence_gives(kind):
    model, x = TAGGERS[kind](), numbers(ROWS, STEPS, FEATURES)
    expected = model.predict(np.concatenate([x, numbers(ROWS, 3, FEATURES)], axis=1), verbose=0)
    stepper = Stepper(model, rows=ROWS)
    found = np.stack([stepper(x[:, k]) for k in range(STEPS)], axis=1)
    assert_close(found, expected[:, :STEPS], 1e-2 if kind == "mixed precision" else 1e-5)
    stepper.reset()
    again = np.stack([stepper(x[:, k]) for k in range(STEPS)], axis=1)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "SimpleRNN"])
def test_a_model_of_the_last_step_says_what_it_would_say_to_all_steps_so_far(cell):
    model, x = chain(getattr(layers, cell)(3), layers.Dense(2)), numbers(STEPS, FEATURES)
    stepper = Stepper(model)
    for k in range(STEPS):
        assert_close(stepper(x[k]), model.predict_on_batch(x[None, : k + 1])[0])


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batch_size_and_steps_of_training_do_not_matter(steps, batch_size):
    parts = [layers.LSTM(3, stateful=True, **WIDE), layers.GRU(2, stateful=True, **WIDE)]
    model = chain(*parts, steps=steps, batch_size=batch_size)
    twin = chain(layers.LSTM(3, **WIDE), layers.GRU(2, **WIDE))
    twin.set_weights(model.get_weights())
    x = numbers(ROWS, STEPS, FEATURES)
    stepper = Stepper(model, rows=ROWS)
    found = np.stack([stepper(x[:, k]) for k in range(STEPS)], axis=1)
    assert_close(found, twin.predict(x, verbose=0))
    reset_states(model)
