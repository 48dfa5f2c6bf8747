"""Frames equal the windows and the padding of Keras; `test_fuzz.py` compares with plain loops."""

import itertools

import keras
import numpy as np
import pytest

from seqframe import SequenceFramer


def by_keras(data, targets, **kwargs):
    """Return the batches of `timeseries_dataset_from_array` as arrays; None where it has none."""
    pytest.importorskip("tensorflow", reason="Keras makes this dataset with tf.data")
    dataset = keras.utils.timeseries_dataset_from_array(data, targets, batch_size=7, **kwargs)
    batches = [[part.numpy() for part in batch] for batch in dataset]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)] or None


@pytest.mark.parametrize(("length", "rate"), [*itertools.product((1, 3), (1, 2))])
def test_windows_equal_keras(length, rate):
    data = np.arange(30, dtype="float32").reshape(-1, 2)
    span = rate * (length - 1) + 1
    for stride, gap in itertools.product((1, 2, 3), (0, 2)):
        kwargs = {"sequence_length": length, "sequence_stride": stride, "sampling_rate": rate}
        frames = SequenceFramer(**kwargs, gap=gap).frame(data)
        for ours, theirs in zip(
            frames.arrays(), by_keras(data, data[span + gap :], **kwargs), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


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
