"""Frames and lanes train with Keras's own `fit`."""

import keras
import numpy as np
import pytest

from seqframe import SequenceFramer
from seqframe.datasets import FramesDataset

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
@pytest.mark.parametrize("workers", [1, 2])
def test_fit_sees_every_frame_once_an_epoch(shuffle, workers):
    frames = framed()
    dataset = frames.dataset(4, shuffle=shuffle, workers=workers)
    model = counting_model()
    # Under JAX and PyTorch, Keras takes a batch of its own to build a model's metrics, and with
    # workers then mixes the batches of different epochs. It takes none for metrics that are built.
    model.train_on_batch(*frames[:4])
    history = model.fit(dataset, epochs=3, verbose=0)
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


def epoch_of(dataset):
    batches = [dataset[k] for k in range(len(dataset))]
    return np.concatenate([y for _, y in batches]).tolist()


def test_each_epoch_is_shuffled_anew():
    frames = framed(np.arange(50))
    dataset = frames.dataset(8, shuffle=True, seed=7)
    orders = []
    for epoch in range(4):
        orders.append(epoch_of(dataset))
        batches = frames.batches(8, shuffle=True, seed=7, epoch=epoch)
        assert orders[-1] == np.concatenate([y for _, y in batches]).tolist()
        dataset.on_epoch_begin()
        dataset.on_epoch_end()
        dataset.on_epoch_end()  # as after a look at the first batch, when no epoch has begun
    assert all(sorted(order) == list(range(1, 50)) for order in orders)
    assert len({str(order) for order in orders}) == 4


def test_fit_goes_from_epoch_to_epoch():
    seen = []

    class Watched(FramesDataset):
        def __getitem__(self, k):
            x, y = super().__getitem__(k)
            seen.append((self.epoch, k, y.tolist()))
            return x, y

    frames = framed()
    watched = Watched(frames.batches(4, shuffle=True, seed=1))
    counting_model().fit(watched, epochs=3, verbose=0)
    assert watched.epoch == 3
    for epoch in range(3):  # whatever Keras looked at before the first
        batches = {k: y for e, k, y in seen if e == epoch}
        expected = frames.batches(4, shuffle=True, seed=1, epoch=epoch)
        assert batches == {k: y.tolist() for k, (_, y) in enumerate(expected)}


def test_a_seed_is_drawn_where_none_is_given():
    frames = framed(np.arange(50))
    assert epoch_of(frames.dataset(8, shuffle=True)) != epoch_of(frames.dataset(8, shuffle=True))


@pytest.mark.parametrize("batch_size", [1, 5, 13, 99])
def test_batches_are_the_frames_in_order(batch_size):
    frames = framed()
    dataset = frames.dataset(batch_size)
    batches = list(frames.batches(batch_size))
    assert len(dataset) == len(batches)
    for (x, y), (expected_x, expected_y) in zip(dataset, batches, strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)


def test_options_of_the_dataset_are_kerass_own():
    dataset = framed().dataset(4, workers=3, max_queue_size=5)
    assert isinstance(dataset, keras.utils.PyDataset)
    assert (dataset.workers, dataset.max_queue_size) == (3, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer ≥ 1"),
        ({"batch_size": 2.5}, TypeError, "`batch_size` must be an integer ≥ 1"),
        ({"batch_size": 2, "seed": -1}, ValueError, "`seed` must be an integer ≥ 0"),
    ],
)
def test_a_dataset_checks_its_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        framed().dataset(**arguments)


def test_lanes_train_with_their_weights():
    sequences = [STEPS[:5], STEPS[4:]]  # four frames beside the first four of nine
    lanes = framed(sequences).lanes(2)
    dataset = lanes.dataset()
    assert len(dataset) == len(lanes) == 9
    for k in range(len(lanes)):
        for part, expected in zip(dataset[k], lanes[k], strict=True):
            np.testing.assert_array_equal(part, expected)
    model = counting_model(batch_size=2)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["squares"], (2**13 - 1) / 13, rtol=1e-6)


def test_text_trains_a_model_with_an_embedding():
    frames = SequenceFramer(3, layout="tokens").frame("the cat sat on the mat " * 4)
    symbols = len(frames.vocabulary)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Embedding(symbols, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(symbols, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(frames.dataset(16, shuffle=True, seed=1), epochs=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
