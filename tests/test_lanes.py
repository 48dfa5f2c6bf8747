"""Row b of batch k + 1 continues row b of batch k, and every frame comes once."""

import warnings
from itertools import product

import numpy as np
import pytest

from seqframe import Lanes, SequenceFramer
from seqframe.lanes import cut_lanes, pack_lanes


def framed(sequences, length=1, **arguments):
    """Return frames that lie end to end."""
    stride = length * arguments.get("sampling_rate", 1)
    return SequenceFramer(length, sequence_stride=stride, **arguments).frame(sequences)


def several(lengths):
    return [1000 * (k + 1) + np.arange(n) for k, n in enumerate(lengths)]


def assert_laws(frames, batch_size):
    """Check everything that lanes promise, batch by batch."""
    lanes = frames.lanes(batch_size)
    one = len(frames.counts) == 1
    seen, before = [], np.full(batch_size, -1)
    for k in range(len(lanes)):
        (index,), (weight,), (reset,) = lanes.index(np.array([k]))
        assert (index.dtype, weight.dtype, reset.dtype) == (np.int64, np.float32, bool)
        active = weight == 1
        assert (weight[~active] == 0).all()
        assert active.any()
        seen += index[active].tolist()
        # A row that ran out stays out, repeats its last frame, and resets no more.
        assert not (active & (before == -2)).any()
        assert not reset[~active].any()
        starts = [frames.steps(i) for i in index]
        firsts = np.array([f.inputs[0] == 0 for f in starts])
        if one:
            assert (reset == (k == 0)).all()
        else:
            np.testing.assert_array_equal(reset[active], firsts[active])
        continues = active & ~reset
        np.testing.assert_array_equal(index[continues], before[continues] + 1)
        for row in np.flatnonzero(continues):
            last = frames.steps(before[row])
            rate = frames.framer.sampling_rate
            assert starts[row].sequence == last.sequence
            assert starts[row].inputs[0] == last.inputs[-1] + rate
        assert_batch_is(lanes, k, index, weight, reset)
        before = np.where(active, index, -2)
    assert sorted(seen) == list(range(len(frames)))
    everything = lanes.index(np.arange(len(lanes)))
    for whole, part in zip(everything, lanes.index(np.arange(len(lanes))[::-1]), strict=True):
        np.testing.assert_array_equal(whole[::-1], part)


def assert_batch_is(lanes, k, index, weight, reset):
    x, y, w = lanes[k]
    expected_x, expected_y = lanes.frames[index]
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(w, weight)
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


def test_lanes_of_one_sequence_are_as_equal_as_can_be():
    for size, batch_size in product(range(1, 20), range(1, 20)):
        if batch_size > size:
            continue
        lanes = cut_lanes(size, batch_size)
        counts = [count for ((_, count),) in lanes]
        assert max(counts) - min(counts) <= 1
        frames = [first + k for ((first, count),) in lanes for k in range(count)]
        assert frames == list(range(size))


def test_packing_is_close_to_the_best_possible():
    for counts, batch_size in product(product((1, 2, 3, 5), repeat=4), (1, 2, 3)):
        lanes = pack_lanes(np.array(counts), batch_size)
        longest = max(sum(count for _, count in lane) for lane in lanes)
        assert longest <= (4 / 3 - 1 / (3 * batch_size)) * best_possible(counts, batch_size)
        firsts = np.cumsum(counts) - counts
        packed = sorted(segment for lane in lanes for segment in lane)
        assert packed == list(zip(firsts, counts, strict=True))  # each whole, in one lane
        for lane in lanes:
            sizes = [count for _, count in lane]
            assert sizes == sorted(sizes, reverse=True)  # longest first


def best_possible(counts, batch_size):
    ways = product(range(batch_size), repeat=len(counts))
    return min(
        max(np.bincount(way, weights=counts, minlength=batch_size)) for way in map(list, ways)
    )


def test_rows_that_ran_out_repeat_their_last_frame_with_weight_zero():
    lanes = framed(several((3, 7))).lanes(2)
    assert len(lanes) == 6
    batches = list(lanes)
    assert [w.tolist() for _, _, w in batches] == [[1, 1]] * 2 + [[1, 0]] * 4
    assert [y.tolist() for _, y, _ in batches][2:] == [[2003 + k, 1002] for k in range(4)]


def test_rows_reset_where_the_next_sequence_begins():
    lanes = framed(several((4, 6, 3))).lanes(2)
    assert [lanes.resets(k).tolist() for k in range(len(lanes))] == [
        [True, True],
        [False, False],
        [False, False],
        [False, True],
        [False, False],
    ]


def test_iteration_goes_through_all_batches():
    lanes = framed(np.arange(10)).lanes(3)
    assert len(list(lanes)) == len(lanes) == 3
    for k, (x, y, weight) in enumerate(lanes):
        np.testing.assert_array_equal(x, lanes[k][0])
        np.testing.assert_array_equal(y, lanes[k][1])
        np.testing.assert_array_equal(weight, lanes[k][2])


@pytest.mark.parametrize("k", [3, -4, 99])
def test_an_index_is_in_range(k):
    lanes = framed(np.arange(10)).lanes(3)
    for use in (lanes.__getitem__, lanes.resets):
        with pytest.raises(IndexError, match=f"There are 3 batches. Received: index {k}"):
            use(k)


@pytest.mark.parametrize(
    ("batch_size", "error", "message"),
    [
        (0, ValueError, "`batch_size` must be an integer ≥ 1. Received: batch_size=0"),
        (2.0, TypeError, "`batch_size` must be an integer ≥ 1. Received: batch_size=2.0"),
        (10, ValueError, "must not exceed the number of frames, 9. Received: batch_size=10"),
    ],
)
def test_batch_size_makes_sense(batch_size, error, message):
    frames = framed(np.arange(10))
    for make in (frames.lanes, lambda size: Lanes(frames, size)):
        with pytest.raises(error, match=message):
            make(batch_size)


def test_fewer_sequences_than_lanes_are_cut_where_they_lie():
    lanes = framed(several((5, 5))).lanes(3)
    frames, weights, resets = lanes.index(np.arange(len(lanes)))
    # Four frames each, 0 to 3 and 4 to 7: the second lane goes over from one to the other.
    assert frames.T.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 7]]
    assert weights.T.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]
    assert resets.T.tolist() == [[True, False, False], [True, True, False], [True, False, False]]


def test_subsequences_make_no_lanes():
    framer = SequenceFramer(3, mode="subsequences", num_samples=9)
    with pytest.raises(ValueError, match=r'they make no lanes. .* Use `mode="windows"`'):
        framer.frame("ABCDEFG").lanes(2)


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (
            {"sequence_length": 3},
            "steps that two frames share more than once. Set `sequence_stride=3`",
        ),
        ({"sequence_length": 3, "sequence_stride": 2}, "share more than once"),
        (
            {"sequence_length": 3, "sequence_stride": 5},
            "but 2 steps between two frames never reach",
        ),
        ({"sequence_length": 3, "sampling_rate": 2}, "Set `sequence_stride=6`, or use a stateless"),
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
def test_overlap_and_holes_are_warned_of(arguments, warning):
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
