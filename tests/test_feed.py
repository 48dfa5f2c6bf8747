"""What a step gathers on the device equals what the frames say."""

import itertools

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import ops
from models import assert_same, numbers

from seqframe import SequenceFramer
from seqframe.backend import to_device
from seqframe.backend.common import first_batch
from seqframe.training.feed import feed_arrays, feed_frames

WINDOWS = [
    dict(sequence_length=length, horizon=horizon, gap=gap, sequence_stride=stride,
         sampling_rate=rate, return_sequences=return_sequences)
    for length, horizon, gap, stride, rate, return_sequences in itertools.product(
        (1, 3), (1, 2), (-1, 0, 1), (1, 2), (1, 2), (False, True)
    )
]  # fmt: skip
SEQUENCES = {
    "one": np.arange(12.0, dtype="float32"),
    "one of columns": numbers(12, 2),
    "many": [numbers(12, 2, seed=1), numbers(10, 2, seed=2), numbers(9, 2, seed=3)],
    "ids": np.arange(12) % 5,
}


def gathered(feed, index):
    """Return the batch of a step that takes the frames at `index`."""
    given = to_device(feed.load(np.asarray(index)[None], room=1))
    batch = first_batch(feed.gather, (*given, []))
    return keras.tree.map_structure(ops.convert_to_numpy, list(batch))


def assert_gathered(frames, index, **kwargs):
    expected = list(frames._take(np.asarray(index)))
    assert_same(gathered(feed_frames(frames, **kwargs), index), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layout"),
    [*itertools.product(SEQUENCES, ["timesteps", "features", "flat"]), ("ids", "tokens")],
)
def test_windows_equal_frames(name, layout):
    for arguments in WINDOWS:
        frames = SequenceFramer(layout=layout, **arguments).frame(SEQUENCES[name])
        assert_gathered(frames, np.random.default_rng(0).integers(len(frames), size=5))


RULES = {
    "windows": dict(mode="windows"),
    "prefixes": dict(mode="prefixes"),
    "padded windows": dict(min_length=1, padding_value=9),
    "windows padded at the end": dict(pad_end=True, sequence_stride=3, padding_value=9),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("targets", [0, [0, 1, 3]])
@pytest.mark.parametrize("weights", ["steps", "frames", None])
def test_future_weights_and_columns_equal_frames(rule, return_sequences, horizon, targets, weights):
    data = [numbers(12, 4, seed=1), numbers(11, 4, seed=2)]
    framer = SequenceFramer(3, return_sequences=return_sequences, horizon=horizon, **RULES[rule])
    lengths = [12, 11] if weights == "steps" else framer.frame(data)._counts
    weight = [numbers(length, seed=3) for length in lengths]
    frames = framer.frame(
        data,
        targets,
        future=[numbers(15, 2), numbers(11, 2)],
        sample_weight=None if weights is None else weight,
    )
    index = [6, 0, 3, len(frames) - 1]
    assert_gathered(frames, index)
    assert_gathered(frames, index, max_device_bytes=0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sequences", [1, 2])
def test_weights_of_frames_belong_to_each_part_of_a_split(stride, sequences):
    data = [numbers(20 + n, seed=n) for n in range(sequences)]
    framer = SequenceFramer(3, sequence_stride=stride)
    counts = framer.frame(data)._counts
    frames = framer.frame(data, sample_weight=[np.arange(1.0, 1 + count) for count in counts])
    parts = [frames]
    if stride == 1 or sequences > 1:
        parts += frames.split(0.5, 0.5, by="time" if stride == 1 else "sequences")
    for part in parts:
        assert_gathered(part, np.arange(len(part)))


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("layout", ["timesteps", "tokens"])
def test_padded_frames_equal_frames(padding, layout):
    framer = SequenceFramer(4, mode="prefixes", padding=padding, padding_value=9, layout=layout)
    assert_gathered(framer.frame(np.arange(8)), [6, 0, 3])


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">i2", ">u2"])
def test_bytes_are_in_the_order_of_the_machine(dtype):
    values = np.arange(8).astype(dtype)
    frames = SequenceFramer(2).frame(values, sample_weight=values)
    for limit in 2**30, 0:
        assert_gathered(frames, [3, 1], max_device_bytes=limit)


def test_nested_arrays_are_gathered_row_by_row():
    x = {"a": numbers(5, 2), "b": [numbers(5, 3), np.arange(5)]}
    y, weight = numbers(5, seed=1), numbers(5, seed=2)
    index = np.array([3, 3, 0])
    expected = keras.tree.map_structure(lambda array: array[index], [x, y, weight])
    assert_same(gathered(feed_arrays(x, y, weight), index), expected)


CLASSES = {0: 2.0, 2: 0.5, 300: 9.0}  # class 1 is not named, and 300 does not fit every type
LABELS = {
    "ids": np.array([0, 1, 2, 2]),
    "small ids": np.array([0, 1, 2, 2], "uint8"),
    "a column": np.array([[0], [1], [2], [2]]),
    "one-hot": np.eye(3, dtype="float32")[[0, 1, 2, 2]],
    "floats, rounded as Keras does": np.array([0.05, 0.95, 2.4, 1.5], "float32"),
}


@pytest.mark.parametrize("name", LABELS)
def test_class_weights_weigh_each_sample(name):
    for given, expected in (None, [0.5, 2.0, 1.0, 0.5]), (np.arange(4.0), [1.5, 0.0, 1.0, 1.0]):
        feed = feed_arrays(numbers(4, 1), LABELS[name], given, CLASSES)
        assert gathered(feed, [3, 0, 1, 2])[2].tolist() == expected
    frames = SequenceFramer(1).frame(np.array([0, 1, 2, 2]))
    assert gathered(feed_frames(frames, CLASSES), [0, 1, 2])[2].tolist() == [1.0, 0.5, 0.5]


def test_tables_are_arrays_of_all_their_columns():
    table = pd.DataFrame({"price": [1.0, 2.0, 3.0], "holiday": [True, False, True]})
    nullable = pd.DataFrame({"a": pd.array([1, 2, 3], "Int64"), "b": pd.array([1, 2, 3], "Int64")})
    x, y = gathered(feed_arrays(table, nullable), [2, 0])
    np.testing.assert_array_equal(x, [[3, 1], [1, 1]])
    np.testing.assert_array_equal(y, [[3, 3], [1, 1]])
    (x,) = gathered(feed_arrays({"a": pl.DataFrame({"p": [1, 2]})}), [1])
    np.testing.assert_array_equal(x["a"], [[2]])


DAYS = np.arange(6).astype("datetime64[D]")
PLAIN = np.arange(6.0)
MASKED = np.ma.array(PLAIN, mask=PLAIN > 4)
THREE = np.zeros(3)
REFUSED = [
    ((THREE, np.zeros(4)), ValueError, r"\[3, 4\] samples"),
    ((THREE, THREE, np.zeros(2)), ValueError, r"\[2, 3\] samples"),
    (({"a": THREE, "b": np.zeros(1)}, THREE), ValueError, r"\[1, 3\] samples"),
    ((np.zeros((0, 2)), np.zeros(0)), ValueError, r"\[0\] samples"),
    (([1.0, 2.0], [1.0, 2.0]), TypeError, r"`np\.array`"),
    ((MASKED, PLAIN), TypeError, "`X`"),
    ((PLAIN, MASKED), TypeError, "`y`"),
    *[((kind, PLAIN), TypeError, "`X`") for kind in (DAYS, DAYS - DAYS[0], PLAIN * 1j)],
    ((PLAIN, DAYS), TypeError, "`y`"),
]


@pytest.mark.parametrize(("arrays", "error", "message"), REFUSED)
def test_arrays_that_no_model_takes_are_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        feed_arrays(*arrays)


def test_frames_that_no_model_takes_are_refused():
    for name, frames in {
        "sequences": SequenceFramer(2).frame(DAYS, PLAIN),
        "future": SequenceFramer(2).frame(PLAIN, future=DAYS),
    }.items():
        with pytest.raises(TypeError, match=f"`{name}`"):
            feed_frames(frames)
