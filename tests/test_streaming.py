"""Data that stream to the device in blocks train as data that stay there."""

import threading

import keras
import numpy as np
import pytest
from batches import peak_memory
from keras import layers
from models import Counter, assert_same, compiled, contents, numbers, put_back, recurrent, seeded

from seqframe import SequenceFramer, StatefulTrainer, fit, predict
from seqframe.training import schedule

BATCH = 3
# Compilers round a program of other shapes differently in the last bit.
EXACT = {"atol": 0.0 if keras.backend.backend() == "torch" else 1e-6}
SEQUENCES = [numbers(9, seed=1), numbers(6, seed=2), numbers(11, seed=3)]


def dense(inputs, units=1):
    """Return a model that sums products of its inputs, and counts how often it is traced."""
    parts = [layers.Dense(units)(layers.Flatten()(part)) for part in keras.tree.flatten(inputs)]
    outputs = Counter()(layers.Add()(parts) if len(parts) > 1 else parts[0])
    return compiled(seeded(keras.Model(inputs, outputs)), "adam", weighted_metrics=["mae"])


def of_two_inputs(shapes, units=1):
    return dense({name: keras.Input(shape, name=name) for name, shape in shapes.items()}, units)


WINDOWS = SequenceFramer(2, sampling_rate=2).frame(SEQUENCES)
PREFIXES = SequenceFramer(3, mode="prefixes").frame(SEQUENCES)
STEPS = [numbers(n, 2, seed=n) for n in (12, 9)]
FORECASTS = SequenceFramer(3, horizon=2).frame(
    STEPS,
    targets=1,
    future=STEPS,
    sample_weight=[np.abs(numbers(n, seed=n)) for n in (12, 9)],
    valid=[np.arange(n) != 4 for n in (12, 9)],
)
DOUBLES = {"a": np.float64(numbers(10, 4)), "b": np.arange(10)[:, None]}
ARRAYS = DOUBLES, numbers(10, 1, seed=1), np.linspace(0, 1, 10)
# What makes the model, the data, and more arguments of `fit`.
CASES = {
    "windows": (lambda: dense(keras.Input((2, 1))), WINDOWS, {"validation_data": WINDOWS}),
    "padded frames": (lambda: dense(keras.Input((3, 1))), PREFIXES, {"steps_per_execution": 3}),
    "a future, weights and holes": (
        lambda: of_two_inputs({"past": (3, 2), "future": (2, 2)}, units=2),
        FORECASTS,
        {},
    ),
    "arrays": (lambda: of_two_inputs({"a": (4,), "b": (1,)}), ARRAYS, {"steps_per_execution": 1}),
}
BLOCKS = {"most": 2 * BATCH}  # two steps


def trained(model, before, data, most=None, **kwargs):
    """Return the History and the numbers after training from the beginning, in blocks of `most`."""
    put_back(model, before)
    with pytest.MonkeyPatch.context() as patch:
        if most is not None:
            patch.setattr(schedule, "_MOST_INDICES", most)
        history = fit(model, data, epochs=2, jit_compile=False, verbose=0, **kwargs)
    return [history.history, contents(model)]


@pytest.mark.parametrize("case", CASES)
def test_streamed_and_resident_train_the_same(case):
    """In whole epochs and in blocks that do not divide them."""
    make, data, kwargs = CASES[case]
    model = make()
    before = contents(model)
    kwargs = {"batch_size": BATCH, "seed": 5, **kwargs}
    whole = trained(model, before, data, **kwargs)
    for blocks in BLOCKS, {"max_device_bytes": 0, **BLOCKS}:
        assert_same(trained(model, before, data, **blocks, **kwargs), whole, **EXACT)


@pytest.fixture(scope="module")
def lanes_model():
    model = compiled(recurrent(batch_size=2, steps=1), "adam")
    return model, contents(model)


@pytest.mark.parametrize("reset", ["epoch", "batch", "never", 3])
def test_lanes_in_blocks_reset_the_same_rows(reset, lanes_model):
    model, before = lanes_model
    lanes = SequenceFramer(1).frame(SEQUENCES).lanes(2)
    assert len(lanes) % 2  # the last block is a step short
    whole, *others = [
        trained(model, before, lanes, callbacks=[StatefulTrainer(reset)], **blocks)
        for blocks in ({}, {"most": 4}, {"max_device_bytes": 0, "most": 4})
    ]
    for other in others:
        assert_same(other, whole, **EXACT)


@pytest.mark.parametrize("eagerly", [False, True])
def test_redraw_draws_subsequences_anew_in_each_epoch(eagerly, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 8)  # blocks of two steps, the last of one
    framer = SequenceFramer(3, mode="subsequences", num_samples=23, seed=5)
    frames = framer.frame(numbers(40))
    model = dense(keras.Input((3, 1)))
    model.compile("adam", "mse", run_eagerly=eagerly)
    each = {"batch_size": 4, "seed": 3, "verbose": 0}
    fit(model, frames, **each)  # makes the variables of metrics
    before = contents(model)
    one = fit(model, frames, epochs=4, initial_epoch=1, redraw=True, **each).history["loss"]
    after = model.get_weights()
    put_back(model, before)
    other = [
        fit(model, frames.redraw(k), epochs=k + 1, initial_epoch=k, **each).history["loss"][0]
        for k in (1, 2, 3)
    ]
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert_same(model.get_weights(), after, atol=1e-6)
    put_back(model, before)
    assert not np.allclose(fit(model, frames, epochs=3, **each).history["loss"], other)


def threads_of_streams():
    """Return the threads that load blocks. A backend may start others, and keep them."""
    return [each for each in threading.enumerate() if each.name == "seqframe-stream"]


@pytest.mark.parametrize("failing_call", [2, 4, 10])  # 9 blocks an epoch
def test_an_error_while_streaming_is_raised(failing_call, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 2)
    frames = SequenceFramer(2).frame(numbers(20))
    take, calls = frames._take, []

    def failing(index):
        calls.append(len(index))
        if len(calls) == failing_call:
            raise OSError("the disk is gone")
        return take(index)

    monkeypatch.setattr(frames, "_take", failing)
    model = dense(keras.Input((2, 1)))
    with pytest.raises(OSError, match="the disk is gone"):
        fit(model, frames, batch_size=2, epochs=2, verbose=0, max_device_bytes=0)
    assert not threads_of_streams()


class StopIn(keras.callbacks.Callback):
    """Stops the training at a batch, or after its epoch."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training |= batch == self.batch

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


@pytest.mark.parametrize("stop_at", [1, None])
def test_blocks_are_prepared_once_and_no_thread_is_left(stop_at, monkeypatch):
    """Only the first block is loaded while nothing runs."""
    monkeypatch.setattr(schedule, "_MOST_INDICES", 4)
    frames = SequenceFramer(2).frame(numbers(18))  # four blocks of two steps
    take, taken = frames._take, []

    def noted(index):
        taken.append((threading.current_thread() not in threads_of_streams(), index.tolist()))
        return take(index)

    model = dense(keras.Input((2, 1)))
    kwargs = {"batch_size": 2, "verbose": 0, "max_device_bytes": 0, "shuffle": False}
    fit(model, frames, **kwargs)
    monkeypatch.setattr(frames, "_take", noted)
    fit(model, frames, epochs=3, **kwargs)
    assert taken == [(k == 0, [*range(k % 16, k % 16 + 4)]) for k in range(0, 48, 4)]
    assert not threads_of_streams()
    fit(model, frames, epochs=3, callbacks=[StopIn(stop_at)], steps_per_execution=1, **kwargs)
    assert not threads_of_streams()


# Memory.

SHAPE = 2**15, 64
LIMIT = 2**18  # bytes of a block


@pytest.fixture
def mapped(tmp_path):
    """Return a memory map of 8 MB."""
    values = np.memmap(tmp_path / "steps", np.float32, "w+", shape=SHAPE)
    values[:] = numbers(SHAPE[0], 1)
    values.flush()
    return np.memmap(tmp_path / "steps", np.float32, "r", shape=SHAPE)


def test_a_memory_map_is_never_copied_as_a_whole(mapped, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_BYTES", LIMIT)
    frames = SequenceFramer(4, sequence_stride=4).frame(mapped)
    model, of_rows = (
        compiled(keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(units)]))
        for shape, units in (((4, 64), 64), ((64,), 1))
    )
    # By their raw sequences, the data are one byte too many.
    kwargs = {"max_device_bytes": mapped.nbytes - 1, "verbose": 0, "batch_size": 256}
    runs = [
        lambda: fit(model, frames, seed=1, **kwargs),
        lambda: fit(of_rows, (mapped, mapped[:, 0]), shuffle=False, **kwargs),
        lambda: predict(of_rows, mapped, **kwargs),
    ]
    for run in runs:
        run()  # compiled before it is measured
        assert peak_memory(run) < mapped.nbytes / 3


def test_predictions_are_held_once(monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_BYTES", LIMIT)
    wider = keras.Sequential([keras.Input((1,)), layers.Dense(64)])
    x = numbers(SHAPE[0], 1)
    run = lambda: predict(wider, x, batch_size=256, verbose=0)  # noqa: E731
    nbytes = run().nbytes
    assert peak_memory(run) < 1.3 * nbytes
