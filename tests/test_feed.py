"""Feed: what a step gathers on the device is what the frames say."""

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
    rows = ops.convert_to_tensor(feed.index(np.asarray(index)))
    batch = feed.gather(to_device(feed.arrays), rows)
    return [None if item is None else keras.tree.map_structure(ops.convert_to_numpy, item)
            for item in batch]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "layout"),
    [*itertools.product(SEQUENCES, ["timesteps", "features"]), ("ids", "tokens")],
)
def test_windows_are_gathered_as_framed(name, layout):
    for arguments in WINDOWS:
        frames = SequenceFramer(layout=layout, **arguments).frame(SEQUENCES[name])
        index = np.random.default_rng(0).integers(len(frames), size=5)
        x, y, weight = gathered(feed_frames(frames), index)
        assert_same([x, y], list(frames.take(index)))
        assert weight is None


def test_targets_of_their_own_are_gathered():
    frames = SequenceFramer(3, gap=1).frame(numbers(9, 2), numbers(9, 3, seed=1))
    x, y, _ = gathered(feed_frames(frames), [4, 0, 2])
    assert_same([x, y], list(frames.take(np.array([4, 0, 2]))))


@pytest.mark.parametrize("mode", ["windows", "prefixes"])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("targets", [0, [0, 1, 3]])
@pytest.mark.parametrize("weights", ["steps", "frames"])
def test_future_weights_and_columns_are_gathered(mode, return_sequences, horizon, targets, weights):
    data = [numbers(12, 4, seed=1), numbers(10, 4, seed=2)]
    framer = SequenceFramer(3, mode=mode, return_sequences=return_sequences, horizon=horizon)
    lengths = [12, 10] if weights == "steps" else framer.frame(data).counts
    frames = framer.frame(
        data,
        targets,
        future=[numbers(15, 2), numbers(10, 2)],
        sample_weight=[numbers(length, seed=3) for length in lengths],
    )
    index = np.array([6, 0, 3, len(frames) - 1])
    feed = feed_frames(frames)
    assert_same(gathered(feed, index), list(frames.take(index)), atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sequences", [1, 2])
def test_weights_of_frames_are_those_of_each_part(stride, sequences):
    data = [numbers(20 + n, seed=n) for n in range(sequences)]
    framer = SequenceFramer(3, sequence_stride=stride)
    counts = framer.frame(data).counts
    frames = framer.frame(data, sample_weight=[np.arange(1.0, 1 + count) for count in counts])
    parts = [frames]
    if stride == 1 or sequences > 1:
        parts += frames.split(0.5, 0.5, by="time" if stride == 1 else "sequences")
    for part in parts:
        index = np.arange(len(part))
        assert_same(gathered(feed_frames(part), index), list(part.take(index)), atol=1e-6)


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("layout", ["timesteps", "tokens"])
def test_padded_frames_are_gathered_ready_made(padding, layout):
    framer = SequenceFramer(4, mode="prefixes", padding=padding, padding_value=9, layout=layout)
    frames = framer.frame(np.arange(8))
    index = np.array([6, 0, 3])
    x, y, _ = gathered(feed_frames(frames), index)
    assert_same([x, y], list(frames.take(index)))


def test_nested_arrays_are_gathered_row_by_row():
    x = {"a": numbers(5, 2), "b": [numbers(5, 3), np.arange(5)]}
    y, weight = numbers(5, seed=1), numbers(5, seed=2)
    index = np.array([3, 3, 0])
    got = gathered(feed_arrays(x, y, weight), index)
    assert_same(got, keras.tree.map_structure(lambda array: array[index], [x, y, weight]))


CLASSES = {0: 2.0, 2: 0.5}  # class 1 is not named: it weighs 1


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 2, 2]),
        np.array([[0], [1], [2], [2]]),  # a column of ids
        np.eye(3, dtype="float32")[[0, 1, 2, 2]],  # one-hot
        np.array([0.0, 1.0, 2.0, 2.0], "float32"),
    ],
)
def test_classes_weigh_what_they_are_given(y):
    index = [3, 0, 1, 2]
    *_, weight = gathered(feed_arrays(numbers(4, 1), y, None, CLASSES), index)
    assert weight.tolist() == [0.5, 2.0, 1.0, 0.5]
    given = np.arange(4, dtype="float32")
    *_, weight = gathered(feed_arrays(numbers(4, 1), y, given, CLASSES), index)
    assert weight.tolist() == [1.5, 0.0, 1.0, 1.0]


def test_soft_labels_weigh_as_the_class_that_they_round_to():
    y = np.array([0.05, 0.95, 0.5, 1.5, 2.4], "float32")
    *_, weight = gathered(feed_arrays(numbers(5, 1), y, None, {0: 2.0, 1: 3.0, 2: 5.0}), range(5))
    assert weight.tolist() == [[2.0, 3.0, 5.0][int(np.round(label))] for label in y]


def test_classes_of_frames_weigh_what_they_are_given():
    frames = SequenceFramer(1).frame(np.array([0, 1, 2, 2]))
    *_, weight = gathered(feed_frames(frames, CLASSES), [0, 1, 2])
    assert weight.tolist() == [1.0, 0.5, 0.5]


def test_class_weight_needs_one_class_a_sample():
    feed = feed_arrays(numbers(4, 1), np.zeros((4, 2, 3)), None, CLASSES)
    with pytest.raises(ValueError, match=r"`class_weight` needs .*\(2, 3\).*sample weights"):
        gathered(feed, [0])


@pytest.mark.parametrize(
    ("arrays", "sizes"),
    [
        ((np.zeros(3), np.zeros(4), None), r"\[3, 4\]"),
        ((np.zeros(3), np.zeros(3), np.zeros(2)), r"\[2, 3\]"),
        (({"a": np.zeros(3), "b": np.zeros(1)}, np.zeros(3), None), r"\[1, 3\]"),
    ],
)
def test_arrays_need_as_many_samples(arrays, sizes):
    with pytest.raises(ValueError, match=rf"`frames`, as arrays, .*Received: {sizes} samples"):
        feed_arrays(*arrays)


def test_a_frame_may_begin_in_any_row_of_the_joined_sequences():
    frames = SequenceFramer(2).frame([np.arange(4), np.arange(10, 13), np.arange(20, 24)])
    assert feed_frames(frames).index(np.array([[0, 1], [2, 3]])).tolist() == [[0, 1], [4, 7]]


def test_arrays_have_samples():
    with pytest.raises(ValueError, match=r"must hold samples\. Received: 0 samples"):
        feed_arrays(np.zeros((0, 2)), np.zeros(0), None)
    with pytest.raises(TypeError, match=r"must hold arrays.*`np.array`"):
        feed_arrays([1.0, 2.0], [1.0, 2.0], None)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float32"])
def test_a_class_need_not_fit_the_type_of_the_labels(dtype):
    y = np.array([0, 1, 1], dtype)
    feed = feed_arrays(np.zeros((3, 1)), y, class_weight={0: 2.0, 1: 3.0, 5: 7.0, 300: 9.0})
    _, _, weight = gathered(feed, [0, 1, 2])
    np.testing.assert_array_equal(weight, [2, 3, 3])


def test_tables_are_arrays_of_all_their_columns():
    holiday = np.array([True, False, True])
    table = pd.DataFrame({"price": [1.0, 2.0, 3.0], "holiday": holiday})
    nullable = pd.DataFrame({"a": pd.array([1, 2, 3], "Int64"), "b": pd.array([1, 2, 3], "Int64")})
    x, y, _ = gathered(feed_arrays(table, nullable), [2, 0])
    np.testing.assert_array_equal(x, [[3, 1], [1, 1]])
    np.testing.assert_array_equal(y, [[3, 3], [1, 1]])
    x, _, _ = gathered(feed_arrays({"a": pl.DataFrame({"p": [1, 2]})}, None), [1])
    np.testing.assert_array_equal(x["a"], [[2]])


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">i2", ">u2"])
def test_bytes_are_in_the_order_of_the_machine(dtype):
    values = np.arange(8).astype(dtype)
    frames = SequenceFramer(2).frame(values, sample_weight=values)
    for feed in (
        feed_frames(frames),
        feed_frames(frames, max_device_bytes=0),
        feed_arrays(*frames.arrays()),
    ):
        arrays, index = feed.load(np.array([[3, 1]]), room=1)
        for array in keras.tree.flatten(arrays):
            assert array.dtype.isnative
        x, y, weight = feed.gather(*to_device((arrays, index[0])))
        found = keras.tree.map_structure(ops.convert_to_numpy, (x, y, weight))
        for array, expected in zip(found, frames.take(np.array([3, 1])), strict=True):
            np.testing.assert_array_equal(array, expected)


DAYS = np.arange(6).astype("datetime64[D]")
SPANS = DAYS - DAYS[0]


@pytest.mark.parametrize("kind", [DAYS, SPANS, np.arange(6) * 1j], ids=["days", "spans", "complex"])
def test_what_no_model_takes_is_told(kind):
    plain = np.arange(6.0)
    for name, frames in {
        "sequences": SequenceFramer(2).frame(kind, plain),
        "future": SequenceFramer(2).frame(plain, future=kind),
    }.items():
        with pytest.raises(TypeError, match=f"`{name}` must hold real numbers"):
            feed_frames(frames)
    with pytest.raises(TypeError, match="`X` must hold real numbers"):
        feed_arrays(kind, plain)
    with pytest.raises(TypeError, match="`y` must hold real numbers"):
        feed_arrays(plain, kind)


def test_the_mask_of_arrays_is_not_lost():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    for given, name in ((masked, [1, 2]), "X"), (([1, 2], masked), "y"):
        with pytest.raises(TypeError, match=f"`{name}` must not be a masked array"):
            feed_arrays(*map(np.asanyarray, given))
