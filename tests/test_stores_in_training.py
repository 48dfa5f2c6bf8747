"""Models train and are evaluated on frames of a store as on frames of its array."""

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, contents, numbers, put_back, seeded
from test_stores import Noted

from seqframe import SequenceFramer, evaluate, fit, predict
from seqframe.framing import gather, stored
from seqframe.training import schedule

VALUES = numbers(203, 3)


class Rows(Noted):
    """A store without chunks, which has the pages of an array."""

    chunks = None


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for module, name, value in (
        (gather, "PAGE_BYTES", 256),
        (stored, "PAGE_BYTES", 256),
        (stored, "HELD_BYTES", 1024),
        (schedule, "_MOST_BYTES", 2048),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("limit", [0, 2**20], ids=["streamed", "on the device"])
def test_a_store_trains_as_its_array_does(limit):
    framer = SequenceFramer(4, horizon=2)
    kwargs = {"future": VALUES, "targets": 1}
    stores, arrays = (framer.frame(data, **kwargs) for data in (Rows(VALUES), VALUES))
    inputs = {name: keras.Input(shape, name=name) for name, shape in stores.x_shape.items()}
    parts = [layers.Dense(2)(layers.Flatten()(part)) for part in inputs.values()]
    model = compiled(seeded(keras.Model(inputs, layers.Add()(parts))), "adam")
    before = contents(model)
    runs = []
    for frames, most in (stores, limit), (arrays, 2**20):
        put_back(model, before)
        train, test = frames.split(0.7, 0.3)
        given = {"batch_size": 8, "verbose": 0, "max_device_bytes": most}
        history = fit(
            model, train, epochs=2, seed=3, shuffle="blocks", validation_data=test, **given
        )
        runs.append([history.history, contents(model), evaluate(model, test, **given)])
        runs[-1].append(predict(model, test, **given))
    assert_same(*runs, atol=1e-6)


def test_fit_shuffles_blocks_of_what_it_streams(caplog):
    frames = SequenceFramer(4).frame(Rows(VALUES))
    model = compiled(keras.Sequential([keras.Input((4, 3)), layers.Flatten(), layers.Dense(3)]))
    fit(model, frames, verbose=0)
    assert not caplog.records
    fit(model, frames, verbose=0, max_device_bytes=0)
    assert "blocks of neighbouring frames" in caplog.text
    for data, shuffle in (np.zeros((9, 4, 3)), "blocks"), ((frames.dataset(4)), "frames"):
        y = () if shuffle == "frames" else (np.zeros((9, 3)),)
        with pytest.raises(ValueError, match="`shuffle"):
            fit(model, data, *y, verbose=0, shuffle=shuffle)


def test_rows_that_32_bits_cannot_count_are_streamed():
    from seqframe.training.feed import Stream, feed_frames

    many = np.broadcast_to(np.uint8(1), 2**31 + 9)
    frames = SequenceFramer(4).frame(many)
    assert isinstance(feed_frames(frames), Stream)
    last = feed_frames(frames).load(np.array([[len(frames) - 1]]), 1)[1]["batch"]
    assert last["x"].ravel().tolist() == [1, 1, 1, 1]
