"""Row b of batch k + 1 continues row b of batch k. Each frame is in one batch."""

import copy
import json
import warnings
from itertools import islice, product

import numpy as np
import pytest
from batches import assert_all_same
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import Lanes, SequenceFramer


def framed(sequences, length=1, **arguments):
    """Return frames that lie end to end."""
    stride = length * arguments.get("sampling_rate", 1)
    return SequenceFramer(length, sequence_stride=stride, **arguments).frame(sequences)


def several(lengths):
    return [1000 * (k + 1) + np.arange(n) for k, n in enumerate(lengths)]


def assert_laws(frames, batch_size):
    """Check everything that lanes promise, batch by batch."""
    lanes = frames.lanes(batch_size)
    seen, before, ends = [], np.full(batch_size, -1), [None] * batch_size
    for k in range(len(lanes)):
        (index,), (weight,), (reset,) = lanes._index(np.array([k]))
        assert (index.dtype, weight.dtype, reset.dtype) == (np.int64, np.float32, bool)
        active = weight == 1
        assert (weight[~active] == 0).all()
        assert active.any()
        seen += index[active].tolist()
        # A row that ran out stays out, repeats its last frame, and resets no more.
        assert not (active & (before == -2)).any()
        steps = [frames.steps(i) for i in index]
        continues = [(s.sequence, s.inputs[0]) == end for s, end in zip(steps, ends, strict=True)]
        np.testing.assert_array_equal(reset, active & ~np.array(continues))
        went_on = active & ~reset
        np.testing.assert_array_equal(index[went_on], before[went_on] + 1)
        assert_batch_is(lanes, k, index, weight, reset)
        before = np.where(active, index, -2)
        ends = [(s.sequence, s.inputs[-1] + frames.framer.sampling_rate) for s in steps]
    assert sorted(seen) == list(range(len(frames)))
    everything = lanes._index(np.arange(len(lanes)))
    for whole, part in zip(everything, lanes._index(np.arange(len(lanes))[::-1]), strict=True):
        np.testing.assert_array_equal(whole[::-1], part)


def assert_batch_is(lanes, k, index, weight, reset):
    x, y, w = lanes[k]
    expected_x, expected_y, *_ = lanes.frames[index]
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)
    # Targets have an axis of steps and one of the horizon, and weights too: so has a loss.
    framer = lanes.frames.framer
    axes = (1,) * (framer.return_sequences + (framer.horizon > 1))
    np.testing.assert_array_equal(w, weight.reshape(-1, *axes))
    np.testing.assert_array_equal(lanes.resets(k), reset)
    np.testing.assert_array_equal(lanes[k - len(lanes)][0], x)
    np.testing.assert_array_equal(lanes.resets(k - len(lanes)), reset)


def test_one_sequence_is_cut_into_lanes():
    for length, steps in product((1, 2, 3), range(4, 15)):
        frames = framed(np.arange(steps), length)
        for batch_size in range(1, len(frames) + 1):
            assert_laws(frames, batch_size)


def test_several_sequences_are_packed_into_lanes():
    for length in (1, 2):
        for lengths in product((3, 4, 7, 8), repeat=3):
            for batch_size in range(1, 4):
                assert_laws(framed(several(lengths), length), batch_size)


@pytest.mark.parametrize(
    "arguments",
    [
        {"return_sequences": True},
        {"sampling_rate": 2},
        {"horizon": 2, "gap": 1},
        {"gap": -1},
    ],
)
@pytest.mark.parametrize("lengths", [(37,), (20, 9, 31, 14)])
def test_lanes_of_any_windows(lengths, arguments):
    sequences = several(lengths) if len(lengths) > 1 else np.arange(*lengths)
    frames = framed(sequences, 3, **arguments)
    for batch_size in range(1, len(lengths) + 1):
        assert_laws(frames, batch_size)


def test_lanes_of_a_part_of_a_split():
    for part in framed(np.arange(60)).split(0.6, 0.4):
        lanes = part.lanes(4)
        assert lanes.resets(0).all()
        assert not any(lanes.resets(k).any() for k in range(1, len(lanes)))
    # The second part has nothing of the short sequence left, and needs no lane for it.
    train, test = framed(several((40, 3, 30))).split(0.8, 0.2)
    assert_laws(train, 2)
    seen = sorted(y for _, target, w in test.lanes(2) for y in target[w == 1])
    assert seen == sorted(test.arrays()[1])


def test_packing_is_close_to_the_best_possible():
    for counts, batch_size in product(product((1, 2, 3, 5), repeat=4), (1, 2, 3)):
        lanes = framed(several(np.array(counts) + 1)).lanes(batch_size)
        assert len(lanes) <= (4 / 3 - 1 / (3 * batch_size)) * best_possible(counts, batch_size)


def best_possible(counts, batch_size):
    ways = product(range(batch_size), repeat=len(counts))
    return min(
        max(np.bincount(way, weights=counts, minlength=batch_size)) for way in map(list, ways)
    )


def test_fewer_sequences_than_lanes_are_cut_into_lanes():
    for lengths in product((2, 3, 8), repeat=2):
        frames = framed(several(lengths))
        for batch_size in range(3, len(frames) + 1):
            assert_laws(frames, batch_size)
            assert len(frames.lanes(batch_size)) == -(-len(frames) // batch_size)


# --- Missing data.


@settings(max_examples=60, deadline=None)
@given(
    masks=st.lists(
        st.lists(st.sampled_from([True, True, True, False]), min_size=4, max_size=30),
        min_size=1,
        max_size=4,
    ),
    length=st.integers(1, 2),
    return_sequences=st.booleans(),
    data=st.data(),
)
def test_lanes_over_missing_data(masks, length, return_sequences, data):
    valid = [np.array([*mask, True, True, True, True]) for mask in masks]
    framer = SequenceFramer(length, sequence_stride=length, return_sequences=return_sequences)
    frames = framer.frame(several(map(len, valid)), valid=valid)
    assert_laws(frames, data.draw(st.integers(1, min(len(frames), 5))))


@pytest.mark.parametrize(
    ("missing", "inputs", "resets"),
    [
        ([], range(9), [0]),
        ([4], [0, 1, 2, 5, 6, 7, 8], [0, 3]),  # as a target and as an input
        ([4, 5], [0, 1, 2, 6, 7, 8], [0, 3]),
        ([4, 6], [0, 1, 2, 7, 8], [0, 3]),  # nothing between the two has its target
        ([3, 6], [0, 1, 4, 7, 8], [0, 2, 3]),
        ([0], range(1, 9), [0]),
        ([9], range(8), [0]),
    ],
)
def test_a_row_resets_after_missing_steps(missing, inputs, resets):
    valid = ~np.isin(np.arange(10), missing)
    lanes = SequenceFramer(1).frame(np.arange(10), valid=valid).lanes(1)
    assert [int(x[0, 0, 0]) for x, _, _ in lanes] == list(inputs)
    assert [k for k in range(len(lanes)) if lanes.resets(k)[0]] == resets


# --- Weights and future.


@pytest.mark.parametrize(
    "arguments",
    [{}, {"horizon": 2}, {"return_sequences": True}, {"return_sequences": True, "horizon": 2}],
)
@pytest.mark.parametrize("columns", [(), (1,)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_weights_of_steps_and_rows_are_multiplied(arguments, columns, dtype):
    sequences = [one.reshape(-1, *columns) for one in several((9, 24, 7))]
    weights = [(one.ravel() % 1000 + 1).astype(dtype) for one in sequences]
    frames = framed(sequences, 2, **arguments)
    weighted = frames.framer.frame(sequences, sample_weight=weights)
    lanes = weighted.lanes(2)
    for k, (x, y, weight) in enumerate(lanes):
        (index,), (row_weight,), _ = lanes._index(np.array([k]))
        expected_x, expected_y, own = weighted[index]
        assert weight.shape == (2, *weighted.sample_weight_shape)
        assert weight.dtype == own.dtype
        expected = own.copy()
        expected[row_weight == 0] = 0
        np.testing.assert_array_equal(weight, expected)
        np.testing.assert_array_equal(lanes[k][2], expected)
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)
    assert (row_weight == 0).any()  # a row that ran out
    assert_laws(frames, 2)


def test_weights_of_frames_and_rows_are_multiplied():
    lanes = (
        SequenceFramer(1)
        .frame(several((4, 7)), sample_weight=[np.full(3, 2.0), np.full(6, 3.0)])
        .lanes(2)
    )
    assert [w.tolist() for _, _, w in lanes] == [[3, 2]] * 3 + [[3, 0]] * 3


@pytest.mark.parametrize("return_sequences", [False, True])
def test_lanes_carry_the_future(return_sequences):
    sequences = several((9, 14, 7))
    framer = SequenceFramer(2, sequence_stride=2, horizon=2, return_sequences=return_sequences)
    frames = framer.frame(sequences, future=[one / 2 for one in sequences])
    lanes = frames.lanes(2)
    for k, (x, _, _) in enumerate(lanes):
        (index,), _, _ = lanes._index(np.array([k]))
        expected = frames[index][0]
        assert x.keys() == expected.keys() == {"past", "future"}
        for name in x:
            np.testing.assert_array_equal(x[name], expected[name])
            np.testing.assert_array_equal(lanes[k][0][name], expected[name])


# --- Stopped and resumed.

LANES = {
    "one sequence": lambda: framed(np.arange(20)).lanes(3),
    "several sequences": lambda: framed(several((4, 6, 3, 9))).lanes(2),
    "fewer than lanes": lambda: framed(several((9, 5))).lanes(4),
    "missing": lambda: SequenceFramer(1).frame(np.arange(20), valid=np.arange(20) % 7 > 0).lanes(3),
    "future and weight": lambda: (
        SequenceFramer(1)
        .frame(np.arange(20), future=np.arange(20), sample_weight=np.arange(20))
        .lanes(3)
    ),
}


@pytest.mark.parametrize("make", LANES.values(), ids=LANES.keys())
def test_batches_of_lanes_resume_on_lanes_made_anew(make):
    every = [make()[k] for k in range(len(make()))]
    for stop in range(len(every) + 1):
        batches, again = make().batches(), make().batches()
        assert len(batches) == len(every)
        taken = [*islice(batches, stop // 2), *(next(batches) for _ in range(stop - stop // 2))]
        assert_all_same(taken, every[:stop])
        again.set_state(json.loads(json.dumps(batches.get_state())))
        twin = copy.copy(batches)
        for rest in (batches, again, twin):
            assert_all_same([rest[k] for k in range(len(rest))], every)  # which moves nothing
            assert_all_same(rest, every[stop:])
            assert list(rest) == []


def test_long_lanes_resume_at_any_batch():
    # More batches than places are worked out for together.
    lanes = framed([np.arange(9_000), np.arange(7_000)]).lanes(2)
    every = [(*x.ravel(), *y, *weight) for x, y, weight in lanes]
    assert len(every) == 8_999
    for stop in (4_095, 4_096, 5_000):
        batches = lanes.batches()
        batches.set_state({**batches.get_state(), "batch": stop})
        assert [(*x.ravel(), *y, *weight) for x, y, weight in batches] == every[stop:]
        x, y, weight = lanes[stop]
        assert (*x.ravel(), *y, *weight) == every[stop]


def test_each_loop_over_lanes_begins_anew():
    lanes = LANES["several sequences"]()
    next(iter(lanes))
    assert len(list(lanes)) == len(list(lanes)) == len(lanes)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({}, TypeError, "`state`"),
        (LANES["several sequences"]().batches().get_state(), ValueError, "same frames"),
        (framed(np.arange(20)).batches(3).get_state(), ValueError, "lanes=None"),
        (framed(np.arange(20)).lanes(4).batches().get_state(), ValueError, "lanes=4"),
    ],
)
def test_set_state_raises_for_other_lanes(state, error, message):
    batches = LANES["one sequence"]().batches()
    next(batches)
    with pytest.raises(error, match=message):
        batches.set_state(state)
    assert batches.get_state()["batch"] == 1


# --- Rows and their ends.


@pytest.mark.parametrize(
    ("batch_size", "error", "message"),
    [
        (0, ValueError, "batch_size=0"),
        (2.0, TypeError, "batch_size=2.0"),
        (10, ValueError, "batch_size=10"),
    ],
)
def test_lanes_check_batch_size(batch_size, error, message):
    frames = framed(np.arange(10))
    for make in (frames.lanes, lambda size: Lanes(frames, size)):
        with pytest.raises(error, match=message):
            make(batch_size)


def test_lanes_raise_for_subsequences():
    framer = SequenceFramer(3, mode="subsequences", num_samples=9)
    with pytest.raises(ValueError, match='`mode="windows"`'):
        framer.frame("ABCDEFG").lanes(2)


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        ({"sequence_length": 3}, "more than once. Set `sequence_stride=3`"),
        ({"sequence_length": 3, "sequence_stride": 2}, "share more than once"),
        ({"sequence_length": 3, "sequence_stride": 5}, "never sees 2 steps"),
        ({"sequence_length": 3, "sampling_rate": 2}, "Set `sequence_stride=6`"),
        ({"sequence_length": 3, "mode": "prefixes"}, 'share more than once. Use `mode="windows"`'),
        # End to end.
        ({"sequence_length": 3, "sequence_stride": 3}, None),
        ({"sequence_length": 3, "sequence_stride": 6, "sampling_rate": 2}, None),
        ({"sequence_length": 3, "sequence_stride": 3, "gap": 2, "horizon": 2}, None),
        # One step at a time.
        ({"sequence_length": 1}, None),
        ({"sequence_length": 1, "sampling_rate": 2}, None),
    ],
)
def test_lanes_warn_of_overlap_and_holes(arguments, warning):
    frames = SequenceFramer(**arguments).frame(np.arange(40))
    if warning:
        with pytest.warns(UserWarning, match=warning) as caught:
            frames.lanes(2)
        assert caught[0].filename == __file__  # the user's line, not ours
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frames.lanes(2)


def test_repr():
    lanes = framed(np.arange(10)).lanes(3)
    assert repr(lanes) == "Lanes(3 batches of 3 rows over Frames(9 of x (1, 1), y ()))"
