"""Threads: many of them may use one model, one Generator and one Frames at once."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, contents, numbers, recurrent, seeded

from seqframe import Generator, SequenceFramer, Vocabulary, fit
from seqframe.backend.internals import all_layers

pytestmark = pytest.mark.once

THREADS = 8
#: SEQFRAME_ROUNDS=50 makes eight threads call new Generators 100 times each.
ROUNDS = int(os.environ.get("SEQFRAME_ROUNDS", "1"))


def attributes(model):
    """Return what other threads could see of a model's layers, with its numbers."""
    told = [
        {name: id(value) for name, value in vars(layer).items() if not name.startswith("_seqframe")}
        for layer in all_layers(model)
    ]
    trainable = [[v.trainable for v in layer.variables] for layer in all_layers(model)]
    return contents(model), told, trainable


def symbols(kind):
    """Return a function that makes a new generator of one model, and the model."""
    vocabulary = Vocabulary("the ", reserve_padding=True)
    if kind == "stateful":
        inputs = keras.Input((1,), batch_size=1)
        framer = SequenceFramer(1, layout="tokens", vocabulary=vocabulary)
    else:
        inputs = keras.Input((3,))
        framer = SequenceFramer(3, mode="prefixes", layout="tokens", vocabulary=vocabulary)
    inner = layers.LSTM(5, stateful=kind == "stateful", dropout=0.3)
    parts = [inputs, layers.Embedding(5, 4), inner, layers.Dense(5)]
    model = seeded(keras.Sequential(parts), scale=1.0)
    options = {"stateful": True} if kind == "carried" else {}
    return model, lambda: Generator(model, framer, from_logits=True, **options)


def at_once(function, arguments):
    """Call a function in eight threads, and return the results in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, arguments))


@pytest.mark.parametrize("kind", ["stateful", "windows", "carried"])
@pytest.mark.parametrize("shares", [True, False], ids=["one generator", "many"])
def test_threads_get_what_each_call_gives_and_leave_the_model_as_it_was(kind, shares):
    prompts = [["the"] * k for k in (1, 2, 3, 4) * 4]
    for _ in range(ROUNDS):
        model, make = symbols(kind)
        before = attributes(model)
        make_or_take = partial(lambda generator: generator, make()) if shares else make
        found = at_once(partial(generate, make_or_take), prompts)
        assert_unchanged(model, before)
        _, make = symbols(kind)
        assert found == [generate(make, prompt) for prompt in prompts]


def generate(make, prompt):
    return make().generate(prompt, 9)


def assert_unchanged(model, before):
    after = attributes(model)
    assert_same(after[0], before[0])
    assert after[1:] == before[1:]


def test_threads_that_drop_units_leave_the_model_as_it_was():
    parts = [
        layers.LSTM(4, recurrent_dropout=0.5),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
    ]
    model = keras.Sequential([keras.Input((3, 1)), *parts, layers.Dense(1)])
    before = attributes(model)
    options = {"num_samples": 3, "noise": "dropout"}

    def forecast(k):
        return Generator(model, SequenceFramer(3), seed=k % 4).forecast(numbers(5), 4, **options)

    found = at_once(forecast, range(16))
    assert_unchanged(model, before)
    assert_same(found, [forecast(k) for k in range(16)])


def test_threads_share_frames():
    frames = SequenceFramer(3).frame(numbers(200, 2))
    expected = [[x for x, _ in frames.batches(16, shuffle=True, seed=k)] for k in range(THREADS)]

    def batches(k):
        return [x for x, _ in frames.batches(16, shuffle=True, seed=k)]

    assert_same(at_once(batches, range(THREADS)), expected)


@pytest.mark.parametrize("stateful", [True, False])
def test_forecasts_while_a_model_trains_use_the_weights_after_a_whole_step(stateful):
    # Both weights grow alike with each step, so a mixture of two steps forecasts another number.
    inputs = keras.Input((1, 1), batch_size=1 if stateful else None)
    first, second = (layers.Dense(1, use_bias=False, kernel_initializer="ones") for _ in range(2))
    recurrent = layers.SimpleRNN(1, stateful=stateful, kernel_initializer="zeros")
    kept = layers.Lambda(lambda x: x[:, -1])(inputs)
    idle = recurrent(inputs)
    ratio = layers.Lambda(lambda pair: pair[0] / pair[1])([first(kept), second(kept)])
    model = keras.Model(inputs, layers.Add()([ratio, layers.Rescaling(0.0)(idle)]))
    model.compile(Growing(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    frames = SequenceFramer(1).frame(np.arange(1.0, 102.0, dtype="float32"))
    epochs = 2 if keras.backend.backend() == "torch" else 40  # a step takes far longer there
    generator = Generator(model, SequenceFramer(1))
    before = generator.forecast(np.ones(3, "float32"), 20)
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(fit, model, frames, batch_size=1, epochs=epochs, verbose=0)
        found = [generator.forecast(np.ones(3, "float32"), 20)]
        while not training.done():
            found.append(generator.forecast(np.ones(3, "float32"), 20))
        training.result()
    for each in found:
        assert_same(each, before)


class Growing(keras.optimizers.SGD):
    """Adds the same number to every weight, whatever its gradient."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_add(variable, keras.ops.ones_like(gradient) * 0.1)


def test_a_used_generator_pickles():
    _, make = symbols("stateful")
    generator = make()
    text = generator.generate("the", 9)
    copied = pickle.loads(pickle.dumps(generator))
    assert copied.generate("the", 9) == text
    assert copied.framer == generator.framer


def test_a_training_step_may_forecast_while_another_thread_does():
    generator = Generator(recurrent(steps=3), SequenceFramer(3))
    expected = generator.forecast(np.ones(5, "float32"), 4)

    class Forecasting(keras.Model):
        """Forecasts within its training step, which PyTorch runs as it stands."""

        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x[:, 0])

        def compute_loss(self, *args, **kwargs):
            if keras.backend.backend() == "torch":
                assert_same(generator.forecast(np.ones(5, "float32"), 4), expected)
            return super().compute_loss(*args, **kwargs)

    model = Forecasting()
    model.compile("sgd", "mse")
    frames = SequenceFramer(3).frame(np.arange(40.0, dtype="float32"))
    with ThreadPoolExecutor(2) as pool:
        trainings = [pool.submit(fit, model, frames, batch_size=1, epochs=2, verbose=0)]
        while not trainings[0].done():
            assert_same(generator.forecast(np.ones(5, "float32"), 4), expected)
        assert trainings[0].result().epoch == [0, 1]
