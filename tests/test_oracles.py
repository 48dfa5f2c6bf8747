"""Frames against what NumPy and Keras make of the same data, where these are right."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from seqframe import SequenceFramer

SMALL = st.integers(1, 4)


@settings(max_examples=200, deadline=None)
@given(
    length=SMALL, rate=SMALL, stride=SMALL, horizon=SMALL, gap=st.integers(-1, 3), data=st.data()
)
def test_windows_are_those_of_numpy(length, rate, stride, horizon, gap, data):
    span = rate * (length - 1) + 1
    ahead = max(gap + horizon, 0)
    steps = np.arange(data.draw(st.integers(span + ahead, span + ahead + 20)))
    framer = SequenceFramer(
        length, sampling_rate=rate, sequence_stride=stride, horizon=horizon, gap=gap
    )
    X, y = framer.frame(steps).arrays()
    # A window of all that a frame reaches over, its end cut off where targets are inputs.
    whole = sliding_window_view(steps, span + ahead)[::stride]
    np.testing.assert_array_equal(X[..., 0], whole[:, :span:rate])
    targets = whole[:, span + gap : span + gap + horizon]
    np.testing.assert_array_equal(y.reshape(len(y), horizon), targets)


def by_keras(data, targets, **kwargs):
    """Return the batches of `timeseries_dataset_from_array` as arrays; None where it has none."""
    pytest.importorskip("tensorflow", reason="Keras makes this dataset with tf.data")
    dataset = keras.utils.timeseries_dataset_from_array(data, targets, batch_size=7, **kwargs)
    batches = [[part.numpy() for part in batch] for batch in dataset]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)] or None


@pytest.mark.parametrize(("length", "rate"), [*itertools.product((1, 3), (1, 2))])
def test_windows_are_those_of_keras(length, rate):
    data = np.arange(30, dtype="float32").reshape(-1, 2)
    span = rate * (length - 1) + 1
    for stride, gap in itertools.product((1, 2, 3), (0, 2)):
        kwargs = {"sequence_length": length, "sequence_stride": stride, "sampling_rate": rate}
        frames = SequenceFramer(**kwargs, gap=gap).frame(data)
        for ours, theirs in zip(
            frames.arrays(), by_keras(data, data[span + gap :], **kwargs), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_where_keras_is_not_right():
    data = np.arange(10, dtype="float32")
    # A sequence too short for a window: no frame, without a word.
    assert by_keras(data[:3], data[3:4], sequence_length=4) is None
    with pytest.raises(ValueError, match="No frame fits"):
        SequenceFramer(4).frame(data[:3])
    # `end_index` is to end the data, but a target comes from beyond it.
    _, y = by_keras(data, data[3:], sequence_length=3, end_index=6)
    assert y.max() > 5
    # Targets on the clock of the data, as our own are: Keras takes that of a window's first step.
    _, y = by_keras(data, data, sequence_length=3)
    assert y[0] == 0
    assert SequenceFramer(3).frame(data, data)[0][1] == 3


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("value", [0, 9])
def test_prefixes_are_padded_as_by_keras(padding, dtype, value):
    steps = np.arange(1, 12).astype(dtype)
    framer = SequenceFramer(4, mode="prefixes", padding=padding, padding_value=value)
    X, y = framer.frame(steps).arrays()
    prefixes = [steps[:t] for t in range(1, len(steps))]
    expected = keras.utils.pad_sequences(
        prefixes, maxlen=4, dtype=dtype, padding=padding, truncating="pre", value=value
    )
    np.testing.assert_array_equal(X[..., 0], expected)
    np.testing.assert_array_equal(y, steps[1:])
    assert X.dtype == dtype


def test_padding_casts_nothing_where_keras_does():
    assert keras.utils.pad_sequences([[0.9]], maxlen=2).max() == 0
    X, _ = SequenceFramer(2, mode="prefixes").frame(np.array([0.9, 1.0])).arrays()
    assert X.max() == 0.9
