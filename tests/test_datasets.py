"""Frames and lanes train with Keras's own `fit`."""

import json

import keras
import numpy as np
import pytest

from seqframe import SequenceFramer

# Powers of two: a sum of them says how often each one was in it.
STEPS = np.sqrt(2.0 ** np.arange(-1, 13)).astype("float32")


def framed(steps=STEPS, **arguments):
    return SequenceFramer(1, **arguments).frame(steps)


def counting_model(batch_size=None):
    """Return a model that measures the mean of the squared targets, whatever it learns."""
    inputs = keras.Input((1, 1), batch_size=batch_size)
    zero = keras.layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([inputs, keras.layers.Flatten(), zero])
    squares = keras.metrics.MeanSquaredError(name="squares")
    model.compile(keras.optimizers.SGD(0.0), "mse", weighted_metrics=[squares])
    return model


def dense_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.001), "mse")
    return model


@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_sees_every_frame_once_an_epoch(shuffle):
    dataset = framed().dataset(2, shuffle=shuffle)
    history = counting_model().fit(dataset, epochs=3, verbose=0)
    np.testing.assert_allclose(history.history["squares"], (2**13 - 1) / 13, rtol=1e-6)


def test_fit_and_evaluate_on_arrays_are_the_same_as_on_a_dataset():
    frames = framed()
    X, y = frames.arrays()
    one, other = dense_model(), dense_model()
    one.fit(X, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    other.fit(frames.dataset(4), epochs=2, shuffle=False, verbose=0)
    for weight, same in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-5, atol=1e-7)
    loss = one.evaluate(X, y, verbose=0)
    np.testing.assert_allclose(one.evaluate(frames.dataset(4), verbose=0), loss, rtol=1e-5)
    np.testing.assert_allclose(
        one.predict(frames.dataset(4), verbose=0), one.predict(X, verbose=0), rtol=1e-5
    )


def known_ahead():
    steps = np.linspace(-1, 1, 40, dtype="float32")
    return SequenceFramer(3).frame(steps, future=steps**2, sample_weight=abs(steps))


def model_of(frames):
    """Return a new model, whose weights depend on the order of the frames."""
    keras.utils.set_random_seed(1)
    shapes = frames.x_shape
    if isinstance(shapes, dict):
        inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
        parts = [keras.layers.Flatten()(part) for part in inputs.values()]
        hidden = keras.layers.Concatenate()(parts)
    else:
        inputs = keras.Input(shapes)
        hidden = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"])
    return model


def assert_same_weights(model, other):
    for weight, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-5, atol=1e-6)


def trained_by_hand(model, epochs):
    for batches in epochs:
        for batch in batches:
            model.train_on_batch(*batch)
    return model


def test_fit_goes_through_the_epochs_in_their_order():
    # Keras may look at batches before the first epoch, and the model is evaluated in between.
    frames = known_ahead()
    arguments = {"shuffle": True, "seed": 3, "drop_last": True}
    dataset, validation = frames.dataset(4, **arguments), frames.dataset(5)
    epochs = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epochs.append((epoch, dataset.epoch)),
        on_epoch_end=lambda epoch, logs: epochs.append((epoch, dataset.epoch)),
    )
    model = model_of(frames)
    given = {"callbacks": [count], "shuffle": False, "verbose": 0}
    model.fit(dataset, epochs=2, validation_data=validation, **given)
    model.evaluate(validation, verbose=0)
    model.predict(validation, verbose=0)
    model.fit(dataset, epochs=1, **given)
    assert epochs == [(0, 0), (0, 1), (1, 1), (1, 2), (0, 2), (0, 3)]
    assert (dataset.epoch, validation.epoch) == (3, 4)  # each pass is an epoch
    by_hand = [frames.batches(4, epoch=epoch, **arguments) for epoch in range(3)]
    assert_same_weights(model, trained_by_hand(model_of(frames), by_hand))


def epoch_of(dataset):
    batches = [dataset[k] for k in range(len(dataset))]
    return np.concatenate([batch[1] for batch in batches]).tolist()


def go_through(dataset):
    """Do what Keras does in an epoch, and return its targets."""
    dataset.on_epoch_begin()
    targets = epoch_of(dataset)
    dataset.on_epoch_end()
    return targets


def test_each_epoch_is_shuffled_anew():
    frames = framed(np.arange(50))
    dataset = frames.dataset(8, shuffle=True, seed=7)
    orders = []
    for epoch in range(4):
        dataset.on_epoch_begin()
        dataset[0]
        dataset.on_epoch_end()  # a look at the first batch, as Keras takes it
        orders.append(go_through(dataset))
        batches = frames.batches(8, shuffle=True, seed=7, epoch=epoch)
        assert orders[-1] == np.concatenate([y for _, y in batches]).tolist()
        dataset.on_epoch_end()  # as Keras does before an epoch has begun
    assert all(sorted(order) == list(range(1, 50)) for order in orders)
    assert len({str(order) for order in orders}) == 4


def test_steps_per_epoch_continue_the_same_pass():
    frames = framed(np.arange(50))
    dataset, seen = frames.dataset(8, shuffle=True, seed=7), []
    for first in (0, 4, 0, 4):  # two of Keras's epochs make a pass of seven batches
        dataset.on_epoch_begin()
        seen += [dataset[k][1] for k in range(first, min(first + 4, 7))]
        dataset.on_epoch_end()
    passes = [frames.batches(8, shuffle=True, seed=7, epoch=epoch) for epoch in range(2)]
    expected = [y for batches in passes for _, y in batches]
    assert np.concatenate(seen).tolist() == np.concatenate(expected).tolist()


def test_redraw_draws_each_epoch_anew():
    framer = SequenceFramer(5, mode="subsequences", num_samples=20, seed=7)
    frames = framer.frame(np.arange(50))
    for redraw in (False, True):
        dataset = frames.dataset(8, shuffle=True, seed=1, redraw=redraw)
        for epoch in range(3):
            drawn = frames.redraw(epoch) if redraw else frames
            expected = drawn.batches(8, shuffle=True, seed=1, epoch=epoch)
            assert go_through(dataset) == np.concatenate([y for _, y in expected]).tolist()


# --- Shards.


@pytest.mark.parametrize("drop_last", [False, True])
def test_shards_of_a_dataset_equal_shards_of_its_batches(drop_last):
    frames = framed(np.arange(50))
    arguments = {"shuffle": True, "seed": 7, "drop_last": drop_last}
    whole = frames.dataset(8, **arguments)
    for index in range(3):
        shard = whole.shard(3, index)
        for epoch in range(2):
            batches = frames.batches(8, epoch=epoch, **arguments).shard(3, index)
            assert len(shard) == len(batches)
            assert go_through(shard) == np.concatenate([y for _, y in batches]).tolist()


# --- Interrupted and continued.


class InterruptionError(Exception):
    """What ends a training."""


class Checkpoint(keras.callbacks.Callback):
    """Saves model and dataset after each epoch, and ends the training within one."""

    def __init__(self, dataset, path, last):
        super().__init__()
        self.dataset, self.path, self.last = dataset, path, last

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.last and batch == 1:
            raise InterruptionError

    def on_epoch_end(self, epoch, logs=None):
        self.model.save(self.path / "model.keras")
        (self.path / "state.json").write_text(json.dumps(self.dataset.get_state()))


def drawn():
    framer = SequenceFramer(3, mode="subsequences", num_samples=20, seed=7)
    return framer.frame(np.linspace(-1, 1, 40, dtype="float32"))


@pytest.mark.parametrize(
    ("make", "arguments"),
    [(known_ahead, {"drop_last": True}), (drawn, {"redraw": True})],
)
def test_interrupted_fit_resumes_exactly(make, arguments, tmp_path):
    arguments = {"shuffle": True, **arguments}
    dataset = make().dataset(4, **arguments)
    whole = make().dataset(4, **arguments)
    whole.set_state(dataset.get_state())  # the same seed, whichever was drawn
    model = model_of(make())
    given = {"epochs": 4, "shuffle": False, "verbose": 0}
    with pytest.raises(InterruptionError):
        model.fit(dataset, callbacks=[Checkpoint(dataset, tmp_path, last=2)], **given)
    # Another process, on another day.
    model = keras.models.load_model(tmp_path / "model.keras")
    dataset = make().dataset(4, **arguments)
    dataset.set_state(json.loads((tmp_path / "state.json").read_text()))
    assert dataset.epoch == 2
    model.fit(dataset, initial_epoch=2, **given)
    uninterrupted = model_of(make())
    uninterrupted.fit(whole, **given)
    assert_same_weights(model, uninterrupted)
    assert dataset.get_state() == whole.get_state()


def test_a_dataset_takes_the_state_of_batches_between_epochs():
    frames = framed(np.arange(50))
    batches = frames.batches(8, shuffle=True, epoch=3)
    dataset = frames.dataset(8, shuffle=True)
    dataset.set_state(batches.get_state())
    assert dataset.epoch == 3
    assert epoch_of(dataset) == np.concatenate([y for _, y in batches]).tolist()


def test_set_state_raises_within_an_epoch():
    frames = framed(np.arange(50))
    batches = frames.batches(8, shuffle=True)
    next(batches)
    dataset = frames.dataset(8, shuffle=True)
    before = dataset.get_state()
    with pytest.raises(ValueError, match=r"batch=1.*train_on_batch"):
        dataset.set_state(batches.get_state())
    assert dataset.get_state() == before


def test_set_state_raises_for_other_lanes():
    lanes = framed(np.arange(50)).lanes(4)
    dataset = lanes.dataset()
    dataset.set_state(json.loads(json.dumps(framed(np.arange(50)).lanes(4).dataset().get_state())))
    with pytest.raises(ValueError, match="lanes=5"):
        dataset.set_state(framed(np.arange(50)).lanes(5).dataset().get_state())
    batches = lanes.batches()
    next(batches)
    with pytest.raises(ValueError, match=r"batch=1.*train_on_batch"):
        dataset.set_state(batches.get_state())


# --- Lanes.


def test_lanes_train_with_their_weights():
    sequences = [STEPS[:5], STEPS[4:]]  # of four and nine frames
    lanes = framed(sequences).lanes(2)
    dataset = lanes.dataset()
    assert len(dataset) == len(lanes) == 9
    for k in range(len(lanes)):
        for part, expected in zip(dataset[k], lanes[k], strict=True):
            np.testing.assert_array_equal(part, expected)
    model = counting_model(batch_size=2)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["squares"], (2**13 - 1) / 13, rtol=1e-6)


def test_lanes_raise_if_keras_shuffles_them():
    dataset = framed().lanes(2).dataset()
    model = counting_model(batch_size=2)
    # TensorFlow raises it as an error of its own.
    with pytest.raises(Exception, match="`shuffle=False`"):
        model.fit(dataset, epochs=3, verbose=0)
    model.fit(dataset, shuffle=False, epochs=2, validation_data=dataset, verbose=0)
    model.fit(dataset, shuffle=False, epochs=2, steps_per_epoch=3, verbose=0)
    assert len(model.predict(dataset, verbose=0)) == 2 * len(dataset)
    assert [len(dataset[k][1]) for k in (3, 0, 2)] == [2, 2, 2]  # anybody may look anywhere
