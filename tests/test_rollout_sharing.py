"""Models that compute the same share a compiled rollout, and others do not."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import assert_same, numbers, recurrent, run, seeded

from seqframe import Generator, SequenceFramer

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
if ON_TENSORFLOW:
    import tensorflow as tf

    from seqframe.backend.tf_sharing import digest


class Shift(layers.Layer):
    """Shifts by what Python alone knows of: no config tells."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def call(self, inputs):
        return inputs + self.by


def table(size, seed):
    """Return a Lambda that has a tensor, which is no weight. TensorFlow captures a large one."""
    values = ops.convert_to_tensor(numbers(size, seed=seed))
    return layers.Lambda(lambda x: x + values[-1])


def scaled(layer):
    """Return a layer that is changed after it was made."""
    layer.activation = lambda x: 0.5 * x
    return layer


#: Parts of networks. Those of a line have one architecture, and compute something else.
MIDDLES = {
    "activation": lambda: [layers.Dense(2, name) for name in ("tanh", "relu", None)],
    "closure": lambda: [layers.Lambda(lambda x, by=by: by * x) for by in (0.5, 2.0, -1.0)],
    "Python state": lambda: [Shift(0.5), Shift(1.5), Shift(1)],
    "small constant": lambda: [table(3, 1), table(3, 2)],
    "large constant": lambda: [table(300, 1), table(300, 2)],
    "attribute": lambda: [scaled(layers.Dense(2, "tanh")), layers.Dense(2, "tanh")],
    "inside of a loop": lambda: [layers.GRU(2, activation=name) for name in ("tanh", "relu")],
    "direction": lambda: [layers.GRU(2), layers.GRU(2, go_backwards=True)],
}


@pytest.mark.parametrize("case", MIDDLES)
def test_models_that_are_almost_alike_keep_their_own_forecasts(case):
    history = numbers(6)
    for middle in MIDDLES[case]():
        model = keras.Sequential([keras.Input((4, 1)), middle, layers.Flatten(), layers.Dense(1)])
        known = list(history)
        for _ in range(3):
            known.append(run(seeded(model), np.array(known[-4:])[None, :, None])[0, 0])
        found = Generator(model, SequenceFramer(4)).forecast(history, 3)
        assert_same(found, np.array(known[6:]), atol=1e-5)


def test_a_model_is_not_kept_by_the_program_that_later_ones_use():
    def forecast():
        model = recurrent(steps=4, units=3)
        return weakref.ref(model), Generator(model, SequenceFramer(4)).forecast(numbers(4), 3)

    model, first = forecast()
    gc.collect()
    assert model() is None
    assert_same(forecast()[1], first)


def traced(function, *shapes):
    """Return what a function of floats is known by, as a program of XLA."""
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes or [(2, 3)]]
    return digest(tf.function(function, autograph=False).get_concrete_function(*specs))


def looped(scale):
    return lambda x: tf.while_loop(
        lambda number, _: number < 3, lambda number, x: (number + 1, scale * x), (0, x)
    )


def branched(limit):
    return lambda x: tf.cond(x[0, 0] > limit, lambda: tf.nn.silu(x), lambda: -x)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="only TensorFlow keeps what it compiled")
@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda x: tf.nn.relu(x) + 1,
        lambda: lambda x: {"a": x, "b": (x - 1, None)},
        lambda: looped(2.0),
        lambda: branched(0.5),
        lambda: lambda x: tf.map_fn(lambda row: looped(0.5)(row)[1], x),
    ],
)
def test_a_program_is_known_by_what_it_computes(make):
    with tf.name_scope("other"):
        other = traced(make())
    assert traced(make()) == other


@pytest.mark.skipif(not ON_TENSORFLOW, reason="only TensorFlow keeps what it compiled")
def test_programs_that_differ_in_anything_are_told_apart():
    programs = [
        lambda x: x + 1,
        lambda x: x + 2,
        lambda x: x - 1,
        lambda x: 1 - x,
        lambda x: (x, x + 1),
        lambda x: (x + 1, x),
        lambda x: [x + 1, x],
        lambda x: {"a": x + 1, "b": x},
        lambda x: {"b": x + 1, "a": x},
        lambda x: (x, None, x + 1),
        lambda x: tf.unstack(x)[0],
        lambda x: tf.unstack(x)[1],
        lambda x: tf.cast(x, tf.float64),
        lambda x: tf.reshape(x, (3, 2)),
        lambda x: tf.reduce_sum(x, axis=0),
        lambda x: tf.reduce_sum(x, axis=1),
        lambda x: x @ tf.constant(numbers(3, 3)),
        lambda x: x @ tf.constant(numbers(3, 3, seed=1)),
        lambda x: x @ tf.constant(numbers(3, 3), name="n"),
        lambda x: tf.random.stateless_normal((2, 3), (1, 2)) + x,
        lambda x: tf.random.stateless_normal((2, 3), (1, 3)) + x,
        looped(2.0),
        looped(3.0),
        lambda x: looped(2.0)(x)[1],
        lambda x: looped(2.0)(looped(3.0)(x)[1]),
        lambda x: looped(3.0)(looped(2.0)(x)[1]),
        branched(0.5),
        branched(0.6),
    ]
    found = [traced(program) for program in programs]
    pairs = [lambda x, y: x - y, lambda x, y: y - x, lambda x, y: x - x]
    found += [traced(pair, (2, 3), (2, 3)) for pair in pairs]
    found += [traced(pairs[0], *shapes) for shapes in ([(3,), (2, 3)], [(2, 3), (3,)])]
    # Of all these, only the two constants that differ in their names are the same.
    assert len(set(found)) == len(found) - 1
