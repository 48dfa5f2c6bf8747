"""Train, evaluate, predict and roll out on one device and on meshes of two, and compare.

A script, because virtual devices have to be set up before JAX runs anything. It prints the name of
each comparison, and raises if results differ.
"""

import os

import jax
import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, numbers, recurrent, seeded

from seqframe import (
    Generator,
    SequenceFramer,
    StatefulTrainer,
    backend,
    evaluate,
    fit,
    get_states,
    predict,
)
from seqframe.training import programs

FRAMES = SequenceFramer(4).frame(numbers(24), sample_weight=np.abs(numbers(20, seed=1)))
SEVERAL = SequenceFramer(1).frame([numbers(n, seed=n) for n in (9, 6, 6)])
ONE = SequenceFramer(1).frame(numbers(10))


SEEN = []  # layouts
SHAPES = set()  # in recurrent steps


class Spy(layers.Layer):
    """Notes the layouts of what passes through."""

    def call(self, x):
        jax.debug.inspect_array_sharding(x, callback=SEEN.append)
        return x


def fitted(model, frames, **kwargs):
    """Return the history, the evaluation, the predictions and the weights of a model."""
    given = {"batch_size": kwargs["batch_size"], "verbose": 0}
    history = fit(
        model, frames, epochs=2, seed=1, validation_data=frames[:8], verbose=0, **kwargs
    ).history
    loss, found = evaluate(model, frames, **given), predict(model, frames, **given)
    return [list(history.values()), loss, found, *model.get_weights()]


def network(*more):
    metrics = {"metrics": ["mae"], "weighted_metrics": ["mse"]}
    inner = [keras.Input((4, 1)), *more, layers.Flatten(), layers.Dense(2), layers.Dense(1)]
    return compiled(seeded(keras.Sequential(inner)), "adam", **metrics)


def noted(x):
    SHAPES.add(x.shape)
    return keras.ops.tanh(x)


def batches_that_do_not_divide():
    """Batches of 7 and of 6, and what depends on all rows of a batch."""
    keras.utils.set_random_seed(1)
    recurrent = layers.LSTM(2, noted, dropout=0.1, recurrent_dropout=0.1)
    model = network(recurrent, layers.BatchNormalization(), layers.Dropout(0.2))
    return fitted(model, FRAMES, batch_size=7, program="loop")


def mixed_precision():
    """Sums over devices that are of full precision."""
    model = network(layers.Bidirectional(layers.GRU(2, dtype="mixed_bfloat16")))
    fit(model, FRAMES, batch_size=4, seed=1, verbose=0)
    return [weight / 1000 for weight in model.get_weights()]  # compared to 1e-3


def single_steps():
    return fitted(network(Spy()), FRAMES, batch_size=4, program="steps")


def streams():
    return fitted(network(), FRAMES, batch_size=4, max_device_bytes=0)


def more_devices_than_rows():
    return fitted(network(), FRAMES, batch_size=1)


def arrays():
    classes = {"class_weight": {0: 0.5, 1: 2.0}}
    model = network()
    x, y = FRAMES.arrays()[:2]
    fit(model, x, (y > 0).astype("int32"), shuffle=False, batch_size=6, verbose=0, **classes)
    return model.get_weights()


def states():
    """Three lanes, which do not divide, with rows that begin anew and run out."""
    model = compiled(recurrent(batch_size=3, steps=1), "adam", weighted_metrics=["mae"])
    found = []
    for reset in ("epoch", "never"):
        given = {"validation_data": ONE, "callbacks": [StatefulTrainer(reset)], "verbose": 0}
        found += fit(model, SEVERAL.lanes(3), epochs=2, **given).history.values()
        found += [evaluate(model, data, verbose=0) for data in (ONE, SEVERAL.lanes(3))]
        found += [predict(model, data, verbose=0) for data in (ONE, SEVERAL)]
    return [found, *model.get_weights(), *get_states(model)[0]]


def keras_own_loop():
    """What StatefulTrainer does in Keras's own `fit`."""
    model = compiled(recurrent(batch_size=2, steps=1), "adam")
    x, y = ONE[:8]
    given = {"batch_size": 2, "shuffle": False, "callbacks": [StatefulTrainer("never")]}
    history = model.fit(x, y, epochs=2, verbose=0, **given).history
    return [list(history.values()), *model.get_weights(), *get_states(model)[0]]


def rollouts():
    frames = SequenceFramer(2).frame(numbers(12))
    model = compiled(recurrent())
    fit(model, frames, seed=1, verbose=0)
    return [Generator(model, frames.framer).forecast(numbers(5), 4)]


class OwnCell(layers.LSTMCell):
    """A cell whose rows nobody knows to be apart."""


def sums_over_devices(cell):
    """Return how many sums a training step of a recurrent layer has, and how many in its loop."""
    model, (x, y) = network(layers.RNN(cell)), FRAMES.arrays()[:2]
    fit(model, x[:8], y[:8], batch_size=4, program="steps", verbose=0)
    loops = model._seqframe_programs.loops.values()
    [text] = [program.as_text() for loop in loops for program in loop._programs.values()]
    inner, entry = text.split("\nENTRY")
    return [part.count(" all-reduce(") for part in (inner + entry, inner)]


COMPARED = [
    batches_that_do_not_divide,
    mixed_precision,
    single_steps,
    streams,
    more_devices_than_rows,
    arrays,
    states,
    keras_own_loop,
    rollouts,
]


def says_once_if_one_device_is_faster():
    """How fast a device is, is made up. What it is asked for runs."""
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    programs._COMPARE = -1  # however short the training is
    measured, own = [], backend.StepLoop.seconds_alone
    for program in ("loop", "steps"):
        for alone, told in (np.inf, 0), (0.0, 1):

            def seconds_alone(loop, *given, alone=alone):
                measured.append(own(loop, *given))
                return alone

            messages = []
            backend.StepLoop.seconds_alone = seconds_alone
            programs.logger.warning = lambda *message, messages=messages: messages.append(message)
            model = network()
            for _ in range(2):
                fit(model, FRAMES, batch_size=4, epochs=4, program=program, verbose=0)
            assert len(messages) == told
    assert len(measured) == 4
    assert min(measured) > 0
    # A device that has its own rows of a stream cannot run alone.
    fit(network(), FRAMES, batch_size=4, epochs=4, max_device_bytes=0, verbose=0)
    assert measured[4:] == [None]


def main():
    assert len(jax.devices()) == 2
    expected = {compare.__name__: compare() for compare in COMPARED}
    before = network()
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    SEEN.clear()
    SHAPES.clear()
    for compare in COMPARED:
        assert_same(compare(), expected[compare.__name__], atol=1e-6)
        print(compare.__name__, flush=True)
    assert SEEN
    assert all(layout.shard_shape((4, 4, 1)) == (2, 4, 1) for layout in SEEN), SEEN
    assert {(4, 2), (3, 2)} <= SHAPES, SHAPES
    print("rows are shared out")
    assert sums_over_devices(layers.LSTMCell(2))[1] == 0
    assert sums_over_devices(OwnCell(2))[1] > 0
    print("sums once a batch")
    # It was made for one device, and moves.
    given = {"batch_size": 4, "max_device_bytes": 0}
    assert_same(fitted(before, FRAMES, **given), expected["streams"], atol=1e-6)
    print("a model from before")
    eager = compiled(recurrent(), run_eagerly=True)
    with pytest.raises(ValueError, match=r"batch of 3\."):
        fit(eager, SequenceFramer(2).frame(numbers(9)), batch_size=3, verbose=0)
    devices = keras.distribution.DeviceMesh((1, 2), ["batch", "model"])
    layouts = keras.distribution.LayoutMap(devices)
    layouts[".*dense.*kernel"] = ("model", None)
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layouts))
    model = network()
    assert_same(fitted(model, FRAMES, **given), expected["streams"], atol=1e-6)
    kernels = [layer.kernel.value for layer in model.layers if hasattr(layer, "kernel")]
    held = [kernel.addressable_shards[0].data.shape[0] * 2 for kernel in kernels]
    assert held == [kernel.shape[0] for kernel in kernels] == [4, 2]
    print("model parallel")
    says_once_if_one_device_is_faster()


if __name__ == "__main__":
    main()
    os._exit(0)  # without the threads of the devices
