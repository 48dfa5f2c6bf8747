"""Ctrl-C at any instant of fit, evaluate and predict leaves a model that is whole."""

import os
import random
import signal
import threading
import time

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import Slices, assert_same, compiled, contents, numbers, put_back, seeded

from seqframe import SequenceFramer, evaluate, fit, get_states, predict, reset_states
from seqframe.training import schedule

pytestmark = pytest.mark.once

STEPS, EPOCHS = 20, 3
FRAMES = SequenceFramer(1).frame(numbers(2 * STEPS + 1))
LONGEST = 10.0  # seconds after which an interruption must have been heard; most take milliseconds


def make(stateful):
    inputs = keras.Input(batch_shape=(2 if stateful else None, 1, 1))
    recurrent = layers.SimpleRNN(2, stateful=stateful)
    return seeded(keras.Sequential([inputs, recurrent, layers.Dense(1)]))


def values(model):
    """Return copies of a model's weights and optimizer variables, and its states."""
    optimizer = [ops.convert_to_numpy(v).copy() for v in model.optimizer.variables]
    return [*model.get_weights(), *optimizer], contents(model)[1]


class Watch(keras.callbacks.Callback):
    """Looks at epochs, as users' callbacks do."""

    def on_epoch_end(self, epoch, logs=None):
        self.last = epoch


class Record(keras.callbacks.Callback):
    """Keeps what a model is after each step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(values(self.model))


def train(model, way="resident", **kwargs):
    """Train on frames, or on their arrays in Keras's own loop."""
    by_keras, limit = way == "dataset", 0 if way == "streamed" else 2**30
    return fit(
        model,
        Slices(FRAMES.arrays(), 2) if by_keras else FRAMES,
        batch_size=None if by_keras else 2,
        max_device_bytes=limit,
        epochs=EPOCHS,
        shuffle=False,
        validation_data=FRAMES,
        verbose=0,
        **{"callbacks": [Watch()], **kwargs},
    )


def interrupted_after(seconds, run):
    """Run a function, and interrupt it after some seconds."""
    sent = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        run()
        timer.join()
        time.sleep(0.01)  # it came after the end, or code that ignores errors has swallowed it
    except KeyboardInterrupt:
        assert time.perf_counter() - sent[0] < LONGEST
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, before)
    for thread in threading.enumerate():
        assert not thread.name.startswith("seqframe"), "a worker thread goes on"


def instants(run, count):
    """Return random instants of a function that was run before."""
    begin = time.perf_counter()
    run()
    seconds = time.perf_counter() - begin
    return [random.Random(k).uniform(0, seconds) for k in range(count)]


@pytest.mark.parametrize("way", ["resident", "streamed", "dataset"])
@pytest.mark.parametrize("stateful", [True, False])
def test_fit_leaves_a_model_as_after_a_whole_step(stateful, way, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 8)  # blocks of four steps
    model = compiled(make(stateful), "adam")
    begin, record, attributes = contents(model), Record(), set(vars(model))
    whole = [values(model)]
    train(model, "dataset" if way == "dataset" else "resident", callbacks=[record])
    whole += record.steps
    end = values(model)

    def run():
        train(model, way)

    run()
    attributes |= {*vars(model), "_eval_epoch_iterator"}  # Keras makes that one anew
    for seconds in instants(run, 6):
        put_back(model, begin)  # before the timer starts: an interruption is to meet `fit`
        interrupted_after(seconds, run)
        weights, states = values(model)
        expected, expected_states = whole[int(model.optimizer.iterations.value)]
        for variable, value in zip(weights, expected, strict=True):
            np.testing.assert_allclose(variable, value, atol=1e-5)
        if stateful:  # after the step, or reset at the end of an epoch
            (found,), (after,) = states[0], expected_states[0]
            assert np.allclose(found, after, atol=1e-5) or not found.any()
        assert set(vars(model)) <= attributes
    put_back(model, begin)
    run()
    assert_same(values(model), end, atol=1e-5)
    model.fit(*FRAMES.arrays(), batch_size=2, shuffle=False, verbose=0)  # Keras's own goes on, too


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("use", [evaluate, predict])
def test_evaluate_and_predict_leave_a_model_as_it_was(use, stateful, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 8)
    model = compiled(make(stateful))

    def run():
        return use(model, FRAMES, batch_size=2, verbose=0, max_device_bytes=0)

    if stateful:
        run()
        reset_states(model, [[np.full((2, 2), 0.5, "float32")]])
    expected, states, weights = run(), contents(model)[1], model.get_weights()
    for seconds in instants(run, 4):
        interrupted_after(seconds, run)
        assert_same(contents(model)[1], states)
        assert_same(model.get_weights(), weights)
    assert_same(run(), expected, atol=1e-6)


@pytest.mark.parametrize("stateful", [True, False])
def test_a_model_whose_building_was_interrupted_trains(stateful):
    models = []

    def run():
        models.append(make(stateful))
        models[-1].compile("adam", "mse", metrics=["mae"])
        train(models[-1])

    run()
    for seconds in instants(run, 5):
        interrupted_after(seconds, run)
        model = models[-1]
        if not model.compiled:
            continue
        if model.optimizer.built:
            assert len(model.optimizer.variables) == 2 + 2 * len(model.trainable_variables)
        train(model)
        assert np.isfinite(get_states(model)[0][0] if stateful else model.get_weights()[0]).all()
