"""Frames read targets, future and weights at their own target steps."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer

# --- The oracle: it picks rows at the steps of a frame, and pads them.

WINDOWS = [
    dict(sequence_length=length, sequence_stride=stride, sampling_rate=rate)
    for length, stride, rate in product((1, 3), (1, 2), (1, 2))
]
PREFIXES = [
    dict(mode="prefixes", sequence_length=3, min_length=least, padding=padding, padding_value=-7)
    for least, padding in product((1, 2), ("pre", "post"))
]
SUBSEQUENCES = [
    dict(mode="subsequences", sequence_length=3, num_samples=12, wrap=wrap, padding=padding, seed=5)
    for wrap, padding in product((False, True), ("pre", "post"))
]
HOW = pytest.mark.parametrize(
    "how",
    [*WINDOWS, *PREFIXES, *SUBSEQUENCES],
    ids=lambda how: "-".join(map(str, how.values())),
)
AHEAD = [
    dict(horizon=horizon, gap=gap, return_sequences=return_sequences)
    for horizon, gap, return_sequences in product((1, 3), (-1, 0, 1, 2), (False, True))
]
LENGTHS = (11, 10)


def values(first, lengths, columns=(), dtype=np.float64):
    """Return a distinct number for each value of several sequences."""
    ends = first + np.cumsum([length * np.prod(columns, dtype=int) for length in lengths])
    starts = [first, *ends[:-1]]
    return [
        np.arange(start, end).reshape(-1, *columns).astype(dtype)
        for start, end in zip(starts, ends, strict=True)
    ]


def filled(framer, rows, filling):
    """Return a frame's rows, padded if its input steps are."""
    if not framer.return_sequences or not framer.geometry.pads:
        return rows
    blank = np.full((framer.sequence_length - len(rows), *rows.shape[1:]), filling, rows.dtype)
    return np.concatenate([blank, rows] if framer.padding == "pre" else [rows, blank])


def picked(framer, rows, steps, filling):
    """Return rows at a frame's target steps, without the axis of a horizon of 1."""
    rows = rows[steps]
    if framer.horizon == 1:
        rows = rows[:, 0] if framer.return_sequences else rows[0]
    return filled(framer, np.asarray(rows), filling)


@HOW
def test_targets_future_and_weights_are_read_at_target_steps(how):
    data = values(0, LENGTHS)
    for ahead, columns in product(AHEAD, ((), (2,))):
        framer = SequenceFramer(**how, **ahead)
        targets = values(1000, LENGTHS, columns)
        future = values(2000, (13, 10), columns, np.float32)  # only the first is longer
        weights = values(3000, LENGTHS, dtype=np.float32)
        frames = framer.frame(data, targets, future=future, sample_weight=weights)
        one_weight = framer.horizon > 1 and not columns
        X, Y, W = frames.arrays()
        for i in range(len(frames)):
            k, inputs, ahead_steps = frames.steps(i)
            x, y, weight = frames[i]
            real = frames.mask(i)[0]
            assert x["past"][real, 0].tolist() == (inputs + 11 * k).tolist()
            assert (x["past"][~real] == framer.padding_value).all()
            ahead_rows = future[k][ahead_steps].reshape(*ahead_steps.shape, *(columns or (1,)))
            expected = filled(framer, ahead_rows, framer.padding_value)
            np.testing.assert_array_equal(x["future"], expected, strict=True)
            expected = picked(framer, targets[k], ahead_steps, framer.padding_value)
            np.testing.assert_array_equal(y, expected)
            expected = picked(framer, weights[k], ahead_steps, 0)
            np.testing.assert_allclose(weight, expected.mean(axis=-1) if one_weight else expected)
            for array, single in ((X["past"], x["past"]), (X["future"], x["future"]), (Y, y)):
                np.testing.assert_array_equal(array[i], single)
            np.testing.assert_array_equal(W[i], weight)
        assert (X["future"].dtype, Y.dtype, W.dtype) == (np.float32, np.float64, np.float32)


@pytest.mark.parametrize(
    "how", [*WINDOWS, *PREFIXES], ids=lambda how: "-".join(map(str, how.values()))
)
@pytest.mark.parametrize("several", [False, True])
def test_weights_of_frames_follow_their_frames(how, several):
    data = values(0, LENGTHS) if several else values(0, LENGTHS)[0]
    for ahead in AHEAD:
        framer = SequenceFramer(**how, **ahead)
        counts = [framer.geometry.count(length) for length in LENGTHS[: 1 + several]]
        if counts == list(LENGTHS[: 1 + several]):
            continue  # a weight for each step
        weights = np.arange(100, 100 + sum(counts))
        given = np.split(weights, np.cumsum(counts)[:-1])
        for form in (weights, weights.tolist(), pd.Series(weights, index=weights[::-1]), given):
            frames = framer.frame(data, sample_weight=form)
            # Targets have an axis of steps and one of the horizon, and weights too: so has a loss.
            axes = (1,) * (framer.return_sequences + (framer.horizon > 1))
            assert frames.sample_weight_shape == axes
            assert frames.arrays()[2].shape == (len(weights), *axes)
            assert frames.arrays()[2].ravel().tolist() == weights.tolist()
            assert frames[::-1][2].ravel().tolist() == weights[::-1].tolist()
            assert frames[-1][2] == weights[-1]
        if several:
            last = frames.split(0.5, 0.5, by="sequences")[1]
            assert last.arrays()[2].ravel().tolist() == given[1].tolist()


def test_a_horizon_shares_the_mean_of_its_weights():
    weights = np.array([0, 1, 2, 4, 9])
    table = np.arange(10.0).reshape(5, 2)
    framer = SequenceFramer(1, horizon=2)
    assert framer.frame(table, 0, sample_weight=weights)[:][2].tolist() == [1.5, 3, 6.5]
    assert framer.frame(table, [0], sample_weight=weights)[:][2].tolist() == [
        [1, 2],
        [2, 4],
        [4, 9],
    ]
    for dtype, mean in (("f2", "f2"), ("f8", "f8"), ("i8", "f4"), ("?", "f4")):
        frames = framer.frame(table, 0, sample_weight=weights.astype(dtype))
        assert frames[0][2].dtype == frames.arrays()[2].dtype == mean
    each = SequenceFramer(2, horizon=2, mode="prefixes", return_sequences=True)
    assert each.frame(table, 0, sample_weight=weights)[:][2].tolist() == [
        [0, 1.5],
        [1.5, 3],
        [3, 6.5],
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint64", "bool"])
def test_dtypes_are_kept(dtype):
    data, rows = np.arange(9.0), np.array([0, 1, 1, 0, 1, 1, 0, 1, 1], dtype)
    for mode, return_sequences in product(("windows", "prefixes"), (False, True)):
        framer = SequenceFramer(2, mode=mode, return_sequences=return_sequences)
        frames = framer.frame(data, rows, future=rows, sample_weight=rows)
        for x, y, weight in (frames.arrays(), frames[[1, 0]], frames[0]):
            assert (x["past"].dtype, x["future"].dtype) == (float, dtype)
            assert (y.dtype, weight.dtype) == (dtype, dtype)


# --- Columns of the sequence.


@pytest.mark.filterwarnings("ignore:`sequences` may be a stack")
@pytest.mark.parametrize("shape", [(12, 4), (12, 4, 3), (12, 4, 1)], ids=str)
def test_any_columns_in_any_order_are_targets_and_future(shape):
    data = np.arange(np.prod(shape)).reshape(shape)
    framers = [
        SequenceFramer(2, horizon=2),
        SequenceFramer(2, return_sequences=True, sequence_stride=3),
        SequenceFramer(3, mode="prefixes", return_sequences=True),
    ]
    for framer, order, cut in product(framers, permutations(range(4)), (1, 2, 3)):
        targets, future = list(order[:cut]), list(order[cut:])
        frames = framer.frame(data, targets, future=future)
        expected = framer.frame(data, data[:, targets], future=data[:, future])
        assert np.shares_memory(frames.source.targets.arrays[0], data)
        assert np.shares_memory(frames.source.future.arrays[0], data)
        assert (frames.x_shape, frames.y_shape) == (expected.x_shape, expected.y_shape)
        batches = [(frames.arrays(), expected.arrays()), (frames[[2, 0]], expected[[2, 0]])]
        parts = zip(frames.split(0.5, 0.5), expected.split(0.5, 0.5), strict=True)
        batches += [(part.arrays(), other.arrays()) for part, other in parts]
        for (x, y), (expected_x, expected_y) in batches:
            np.testing.assert_array_equal(y, expected_y, strict=True)
            for name, array in expected_x.items():
                np.testing.assert_array_equal(x[name], array, strict=True)


# --- Nothing is copied before it must be.


@pytest.mark.parametrize("several", [False, True])
def test_framing_copies_nothing(several):
    data, clock = np.zeros((100, 5)), np.ones((100, 3), np.float32)
    future, targets = np.zeros((120, 3), np.float32)[::-1], np.zeros((100, 2))[:, ::-1]
    weights, valid = np.ones((100, 2))[:, 1], np.ones(200, bool)[::2]
    given = dict(targets=targets, future=future, sample_weight=weights, valid=valid)
    rows = dict(inputs=data, targets=targets, future=future, weight=weights, valid=valid)
    if several:
        given = {name: [array[:50], array[50:]] for name, array in given.items()}
    frames = SequenceFramer(5).frame([data[:50], data[50:]] if several else data, **given)
    parts = [frames, *frames.split(0.5, 0.5), *frames.folds(1)[0]]
    for part, (name, array) in product(parts, rows.items()):
        assert all(np.shares_memory(own, array) for own in getattr(part.source, name).arrays)
    X, y, weight = (
        SequenceFramer(5).frame(data, targets, future=clock, sample_weight=weights).arrays()
    )
    pairs = ((X["past"], data), (X["future"], clock), (y, targets), (weight, weights))
    for view, array in pairs:
        assert np.shares_memory(view, array)
        assert not view.flags.writeable


# --- Lists, arrays and tables.


@EACH_LIBRARY
def test_future_may_come_in_any_form(library):
    data, rows = [1, 2, 3], np.array([[4, 5], [6, 7], [8, 9], [10, 11]])
    table = library.DataFrame({"a": rows[:, 0], "b": rows[:, 1]})
    for future in (rows, rows.tolist(), table, [rows], [table]):
        x, _ = SequenceFramer(1).frame(data, future=future)[:]
        assert x["future"].tolist() == [[[6, 7]], [[8, 9]]]
    for future in ([rows, rows[1:]], [table, table[1:]]):
        x, _ = SequenceFramer(1).frame([data, data], future=future)[:]
        assert x["future"].tolist() == [[[6, 7]], [[8, 9]], [[8, 9]], [[10, 11]]]
    for future in (table["a"], rows[:, 0], [4, 6, 8], [[4, 6, 8]]):
        x, _ = SequenceFramer(1).frame(data, future=future)[:]
        assert x["future"].tolist() == [[[6]], [[8]]]


@EACH_LIBRARY
def test_weights_may_come_in_any_form(library):
    data, weights = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    for form in (weights, np.array(weights), library.Series(weights), [weights]):
        assert SequenceFramer(1).frame(data, sample_weight=form)[:][2].tolist() == [5, 6]
    assert SequenceFramer(2).frame(data, sample_weight=[7])[0][2] == 7  # its only frame's
    several = [[1, 2, 3], [4, 5]]
    for form in ([weights, [7.0, 8.0]], [library.Series(weights), np.array([7.0, 8])]):
        assert SequenceFramer(1).frame(several, sample_weight=form)[:][2].tolist() == [5, 6, 8]
    for form in (
        [*weights, 7, 8],
        np.array([*weights, 7, 8]),
        library.Series([*weights, 7.0, 8.0]),
    ):
        assert SequenceFramer(1).frame(several, sample_weight=form)[:][2].tolist() == [5, 6, 8]


@EACH_LIBRARY
def test_valid_may_come_in_any_form(library):
    valid = [False, True, True, True]
    for form in (valid, np.array(valid), library.Series(valid), [valid]):
        frames = SequenceFramer(1).frame([1, 2, 3, 4], valid=form)
        assert frames[:][1].tolist() == [3, 4]
    several = [[1, 2, 3, 4], [5, 6]]
    for form in ([valid, [True, True]], [library.Series(valid), np.array([True, True])]):
        assert SequenceFramer(1).frame(several, valid=form)[:][1].tolist() == [3, 4, 6]


# --- Errors.

X = np.arange(20.0).reshape(10, 2)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(future=np.ones(9)), ValueError, "`future` .* 9 rows for 10 steps"),
        (dict(future=[]), ValueError, "`future` .* 0 rows for 10 steps"),
        (dict(future=1.5), TypeError, "`future`"),
        (dict(future=2), ValueError, "`future`.*future=2"),
        (dict(future="price"), ValueError, "`future`.*'price'"),
        (dict(future=np.zeros(10, object)), TypeError, "`future`.*object"),
        (dict(future=np.zeros((10, 0))), ValueError, "`future`"),
        # Weights are for steps or for frames.
        (dict(sample_weight=np.ones(7)), ValueError, "10 steps.* 8 frames.* 7 numbers"),
        (dict(sample_weight=np.ones((10, 1))), ValueError, r"`sample_weight`.*\(10, 1\)"),
        (dict(sample_weight=np.ones(10, complex)), ValueError, "`sample_weight`.*complex128"),
        (dict(sample_weight=np.ones(10, "m8[s]")), ValueError, "`sample_weight`.*timedelta64"),
        (dict(sample_weight="w"), TypeError, r"`sample_weight`.* `table\[name\]`"),
        (dict(sample_weight=["a"] * 10), TypeError, "`sample_weight`.* strings"),
        (dict(sample_weight=2.0), TypeError, "`sample_weight`.*float"),
        (dict(sample_weight=[1, [2]]), ValueError, "`sample_weight`"),
        # A bool for each step is valid.
        (dict(valid=np.ones(10, int)), TypeError, "`valid`.*int64"),
        (dict(valid=np.ones((10, 2), bool)), TypeError, "`valid`.* 2 dimensions"),
        (dict(valid=np.ones(9, bool)), ValueError, "`valid`.* 9 rows for 10 steps"),
        (dict(valid=np.ones(11, bool)), ValueError, "`valid`.* 11 rows for 10"),
        (dict(valid="ok"), TypeError, "`valid`.* pass its values, as `table"),
        (dict(valid=np.array([True, None] * 5)), TypeError, "`valid`.*object"),
        (dict(targets=[5.0]), ValueError, "`targets` .* 1 targets for 10 steps"),
        (dict(targets=np.zeros(9)), ValueError, "`targets` .* 9 targets for 10 "),
        (dict(targets=np.zeros(10, "V4")), TypeError, "`targets`.*V4"),
    ],
)
def test_frame_raises_for_values_that_do_not_fit_the_steps(given, error, message):
    with pytest.raises(error, match=message):
        SequenceFramer(2).frame(X, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(future=np.ones(10)), "`future`.* 1 for 2 sequences"),
        (dict(future=[np.ones(10), np.ones(5)]), "`future`.* 5 rows for 6 steps of sequence 1"),
        (dict(future=[np.ones(10), np.ones((6, 1))]), "`future`.*features and dtype"),
        (dict(valid=[np.ones(10, bool)] * 2), "`valid`.* 10 rows for 6 steps of sequence 1"),
        (dict(valid=np.ones(16, bool)), "`valid`.* 1 for 2"),
        (dict(sample_weight=[np.ones(10), np.ones(5)]), "6 steps of sequence 1.* 4 frames"),
        (dict(sample_weight=np.ones(15)), "16 steps of the 2 sequences.* 12 frames.* 15 n"),
        # Weights of frames for the first sequence, of steps for the second.
        (dict(sample_weight=[np.ones(8), np.ones(6)]), "10 steps of sequence 0.*8 numbers"),
        (dict(sample_weight=[np.ones(10)]), "`sample_weight`.* 1 for"),
    ],
)
def test_several_sequences_need_one_array_each(given, message):
    with pytest.raises(ValueError, match=message):
        SequenceFramer(2).frame([X, X[:6]], **given)


@pytest.mark.parametrize("weights", [np.ones(12), [np.ones(8), np.ones(4)]])
def test_drawn_frames_have_no_weights_of_their_own(weights):
    framer = SequenceFramer(2, mode="subsequences", min_length=2, num_samples=12)
    with pytest.raises(
        ValueError, match=r"one number for each of the 1[06] steps.*numbers"
    ) as error:
        framer.frame([X, X[:6]], sample_weight=weights)
    assert "for each of its" not in str(error.value)
    assert framer.frame(X, sample_weight=np.ones(10)).sample_weight_shape == ()
    with pytest.raises(ValueError, match=r"each of the 10 steps. Received: 12 numbers"):
        framer.frame(X, sample_weight=np.ones(12))


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Series])
def test_an_error_tells_how_to_repeat_a_label_of_each_sequence(make):
    sequences = [np.arange(n * 2.0).reshape(n, 2) for n in (3, 5, 4)]
    labels = make([0, 1, 1])
    with pytest.raises(ValueError, match=r"one value for each of 3 seq.*np\.full") as error:
        SequenceFramer(3).frame(sequences, labels)
    # The code in the message works.
    gap, way = str(error.value).split("`")[3::2]
    targets = eval(way, {"np": np, "sequences": sequences, "labels": labels})
    framer = eval(f"SequenceFramer(3, {gap})")
    _, y = framer.frame(sequences, targets).arrays()
    assert y.tolist() == [0, 1, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="Received: 1 for 3 sequences"):
        SequenceFramer(3).frame(sequences, np.zeros(4))
