"""Streaming: data that stay where they are train as data on the device do, block by block."""

import itertools
import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers
from models import Counter, assert_same, compiled, contents, numbers, put_back, recurrent, seeded

from seqframe import SequenceFramer, StatefulTrainer, fit, predict
from seqframe.training import schedule
from seqframe.training.feed import Stream, feed_arrays, feed_frames
from seqframe.training.schedule import Schedule

BATCH = 3
# XLA rounds a program of other shapes differently in the last bit; JAX has nothing but XLA.
EXACT = {"atol": 1e-6 if keras.backend.backend() == "jax" else 0.0}
SEQUENCES = [numbers(9, seed=1), numbers(6, seed=2), numbers(11, seed=3)]


def dense(inputs, units=1):
    """Return a model that sums products of each of its inputs, and counts how often it is
    traced."""
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
CLASSES = SequenceFramer(2).frame(np.arange(20) % 3)
DOUBLES = {"a": np.float64(numbers(10, 4)), "b": np.arange(10)[:, None]}
ARRAYS = DOUBLES, numbers(10, 1, seed=1), np.linspace(0, 1, 10)
# What makes the model, the data, and what `fit` is asked for.
CASES = {
    "windows": (lambda: dense(keras.Input((2, 1))), WINDOWS, {}),
    "padded frames": (lambda: dense(keras.Input((3, 1))), PREFIXES, {"steps_per_execution": 3}),
    "a future, weights and holes": (
        lambda: of_two_inputs({"past": (3, 2), "future": (2, 2)}, units=2),
        FORECASTS,
        {},
    ),
    "arrays": (lambda: of_two_inputs({"a": (4,), "b": (1,)}), ARRAYS, {"steps_per_execution": 1}),
    "class weights": (
        lambda: dense(keras.Input((2, 1))),
        CLASSES,
        {"class_weight": {0: 3.0, 2: 0.5}},
    ),
}


def trained(model, before, data, most=None, **kwargs):
    """Train a model from its beginning, in blocks of at most so many steps; return what that gives
    and changes."""
    put_back(model, before)
    with pytest.MonkeyPatch.context() as patch:
        if most is not None:
            patch.setattr(schedule, "_MOST_INDICES", most)
        history = fit(model, data, epochs=2, jit_compile=False, verbose=0, **kwargs)
    return [history.history, contents(model)]


BLOCKS = {"most": 2 * BATCH}  # two steps


@pytest.mark.parametrize("case", CASES)
def test_streamed_and_resident_train_the_same(case):
    """Bit for bit, in whole epochs and in blocks that do not divide these."""
    make, data, kwargs = CASES[case]
    model = make()
    before = contents(model)
    kwargs = {"batch_size": BATCH, "seed": 5, **kwargs}
    whole = trained(model, before, data, **kwargs)
    for blocks in BLOCKS, {"max_device_bytes": 0, **BLOCKS}:
        assert_same(trained(model, before, data, **blocks, **kwargs), whole, **EXACT)


def test_validation_streams_too():
    model = dense(keras.Input((2, 1)))
    before = contents(model)
    whole, streamed = (
        trained(model, before, WINDOWS, batch_size=BATCH, seed=5, validation_data=WINDOWS, **blocks)
        for blocks in ({}, {"max_device_bytes": 0, **BLOCKS})
    )
    assert_same(streamed, whole, **EXACT)


@pytest.mark.parametrize("reset", ["epoch", "batch", "never", 3])
def test_lanes_are_reset_where_they_are_in_one_call(reset, lanes_model):
    model, before = lanes_model
    lanes = SequenceFramer(1).frame(SEQUENCES).lanes(2)
    assert len(lanes) % 2  # the last block is a step short
    whole, *others = [
        trained(model, before, lanes, callbacks=[StatefulTrainer(reset)], **blocks)
        for blocks in ({}, {"most": 4}, {"max_device_bytes": 0, "most": 4})
    ]
    for other in others:
        assert_same(other, whole, **EXACT)


@pytest.fixture(scope="module")
def lanes_model():
    model = compiled(recurrent(batch_size=2, steps=1), "adam")
    return model, contents(model)


def test_another_stream_of_the_same_shapes_compiles_nothing():
    model = dense(keras.Input((2, 1)))
    counter = next(layer for layer in model.layers if isinstance(layer, Counter))
    kwargs = {"batch_size": 2, "epochs": 2, "verbose": 0, "max_device_bytes": 0}
    fit(model, SequenceFramer(2).frame(numbers(9)), **kwargs)
    before = counter.calls
    fit(model, SequenceFramer(2).frame(numbers(9, seed=1)), **kwargs)
    steps = 2 * 4 if keras.backend.backend() == "torch" else 0
    assert counter.calls - before == steps


# The blocks themselves, without a model.


def blocks(of, epoch):
    """Return the values of `x` in the order of an epoch, as the steps of each block gather them."""
    found = []
    for number in range(-(-of.steps // of.chunk)):
        arrays, rows = of.load(epoch, number)
        steps = min(of.chunk, of.steps - number * of.chunk)
        assert len(rows["index"]) == of.chunk
        assert len(arrays["x"]) == of.chunk * of.batch_size  # so that one program runs every block
        found += arrays["x"][rows["index"][:steps]].ravel().tolist()
    if of.remainder:
        arrays, rows = of.last_batch(epoch)
        found += arrays["x"][rows["index"]].ravel().tolist()
    return found


@pytest.mark.parametrize("shuffle", [False, True])
def test_blocks_have_the_frames_of_the_epoch_in_its_order(shuffle, monkeypatch):
    for size, batch_size, most in itertools.product((1, 2, 5, 8, 9), (1, 2, 3), (1, 2, 4, 100)):
        if batch_size > size:
            continue
        x = np.arange(100, 100 + size)
        resident = Schedule(feed_arrays(x, x), batch_size, shuffle=shuffle, seed=3)
        monkeypatch.setattr(schedule, "_MOST_BYTES", most * x.itemsize * 2)
        streamed = Schedule(
            feed_arrays(x, x, max_device_bytes=0), batch_size, shuffle=shuffle, seed=3
        )
        assert streamed.chunk == min(max(most // batch_size, 1), resident.steps)
        for epoch in range(2):
            order = [*resident.epochs(epoch, 1)["index"][: resident.steps].ravel()]
            if resident.remainder:
                order += [*resident.last_batch(epoch)[1]["index"].ravel()]
            assert blocks(streamed, epoch) == [100 + place for place in order]
            found = [
                streamed.batch(epoch, k) for k in range(streamed.steps + bool(streamed.remainder))
            ]
            each = [arrays["x"][rows["index"]].ravel() for arrays, rows in found]
            assert np.concatenate(each).tolist() == blocks(streamed, epoch)
        assert not streamed.can_group
        assert streamed.epochs_a_call == 1


@pytest.mark.parametrize("eagerly", [False, True])
def test_subsequences_are_drawn_anew_in_each_epoch(eagerly, monkeypatch):
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


def test_data_stream_where_they_are_larger_than_the_limit():
    """By their raw sequences, of which windows share the steps; padded frames and arrays by all of
    their bytes."""
    data = [
        (lambda limit: feed_frames(WINDOWS, max_device_bytes=limit), 26 * 4),
        (lambda limit: feed_frames(PREFIXES, max_device_bytes=limit), len(PREFIXES) * 4 * 4),
        (lambda limit: feed_frames(FORECASTS, max_device_bytes=limit), 21 * (2 + 2 + 1 + 1) * 4),
        (lambda limit: feed_arrays(*ARRAYS, max_device_bytes=limit), 10 * (4 + 1 + 1) * 8 + 40),
    ]
    for feed, size in data:
        assert not isinstance(feed(size), Stream)
        assert isinstance(feed(size - 1), Stream)


def test_an_error_in_the_data_is_not_lost_in_the_thread(monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 2)
    frames = SequenceFramer(2).frame(numbers(20))
    take, calls = frames.take, []

    def failing(index):
        calls.append(len(index))
        if len(calls) == 4:
            raise OSError("the disk is gone")
        return take(index)

    monkeypatch.setattr(frames, "take", failing)
    model = dense(keras.Input((2, 1)))
    with pytest.raises(OSError, match="the disk is gone"):
        fit(model, frames, batch_size=2, verbose=0, max_device_bytes=0)


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


def peak_of(run):
    """Return the most bytes that NumPy holds at a time during a call."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_memory_map_is_never_copied_as_a_whole(mapped, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_BYTES", LIMIT)
    frames = SequenceFramer(4, sequence_stride=4).frame(mapped)
    model, of_rows = (
        compiled(keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(units)]))
        for shape, units in (((4, 64), 64), ((64,), 1))
    )
    kwargs = {"max_device_bytes": mapped.nbytes - 1, "verbose": 0, "batch_size": 256}
    runs = [
        lambda: fit(model, frames, seed=1, **kwargs),
        lambda: fit(of_rows, (mapped, mapped[:, 0]), shuffle=False, **kwargs),
        lambda: predict(of_rows, mapped, **kwargs),
    ]
    for run in runs:
        run()  # compiled before it is measured
        assert peak_of(run) < mapped.nbytes / 3


def test_predictions_are_held_once(monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_BYTES", LIMIT)
    wider = keras.Sequential([keras.Input((1,)), layers.Dense(64)])
    x = numbers(SHAPE[0], 1)
    run = lambda: predict(wider, x, batch_size=256, verbose=0)  # noqa: E731
    nbytes = run().nbytes
    assert peak_of(run) < 1.3 * nbytes
