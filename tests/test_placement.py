"""Frames are found by their number: in their run, in their sequence, at their step."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import SequenceFramer
from seqframe.framing.missing import Runs, whole_runs
from seqframe.framing.placement import Finder, Placement

# --- Finder: in which run a number lies, against halving.


def assert_finds(counts):
    """Compare with `np.searchsorted`, for some numbers of each run and its neighbours'."""
    counts = np.array(counts, np.int64)
    find = Finder(counts)
    ends = np.cumsum(counts)
    begins = ends - counts
    total = int(counts.sum())
    assert find.total == total
    assert find.begins.tolist() == begins.tolist()
    numbers = np.unique(np.concatenate([begins - 1, begins, begins + 1, ends // 2, [0, total - 1]]))
    numbers = numbers[(numbers >= 0) & (numbers < total)]
    for number in (numbers, numbers[::-1], numbers[:, None], numbers[:0]):
        given_numbers = number.copy()
        run, rank = find(number)
        expected = np.searchsorted(ends, number, side="right")
        assert run.tolist() == expected.tolist()
        assert rank.tolist() == (number - begins[expected]).tolist()
        assert number.tolist() == given_numbers.tolist()  # and is left as it was


@pytest.mark.parametrize("size", range(6))
def test_finder_finds_what_halving_finds(size):
    for counts in product(range(4), repeat=size):
        assert_finds(counts)


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [0],
        [1],
        [10**15],
        [0, 0, 0],
        [0, 0, 5, 0, 0],
        [1] * 1000,
        [10**12, 1, 10**12],
        [1] * 500 + [10**12],  # many runs share the first stretch
        [10**12] + [1] * 500,
        [10**6, *[1] * 9, 10**6, *[0] * 9] * 3,
        [2**k for k in range(40)],
        [2**k for k in reversed(range(40))],
        [7] * 64,
        [8] * 64,
    ],
    ids=lambda counts: str(counts)[:24],
)
def test_finder_finds_in_runs_of_all_sizes(counts):
    assert_finds(counts)


SIZES = st.integers(0, 3) | st.integers(0, 100) | st.integers(0, 10**9)


@given(counts=st.lists(SIZES, max_size=40))
@settings(max_examples=200, deadline=None)
def test_finder_finds_in_any_runs(counts):
    assert_finds(counts)


# --- Placement: sequence, first step and length of each frame, against a list of them.


def all_frames(framer, steps, runs):
    """Return (sequence, number within the sequence, first step, length) of each frame."""
    found = []
    for sequence, first, count, _ in zip(*(part.tolist() for part in runs), strict=True):
        for rank in range(first, first + count):
            start, length = rank * framer.sequence_stride, framer.sequence_length
            if framer.mode == "prefixes":
                end = framer.min_length + rank
                start, length = max(end - length, 0), min(end, length)
            assert start + length <= steps[sequence]
            found.append((sequence, rank, start, length))
    return found


RUNS = [
    None,  # whole sequences
    [(0, 0, 3), (0, 5, 1), (2, 2, 4)],  # sequence, first, count: with holes, and without sequence 1
    [(1, 0, 2)],
    [(0, 1, 4)],
    [(0, 0, 1), (1, 0, 0), (1, 1, 1), (2, 3, 2)],
]


@pytest.mark.parametrize("rows", RUNS)
@pytest.mark.parametrize(
    "framer",
    [
        SequenceFramer(2),
        SequenceFramer(1, sequence_stride=2),
        SequenceFramer(3, mode="prefixes"),
        SequenceFramer(3, mode="prefixes", min_length=2, horizon=2),
    ],
    ids=repr,
)
def test_frames_lie_where_a_list_of_them_says(framer, rows):
    steps = np.array([14, 9, 15])
    if rows is None:
        runs = whole_runs(framer, steps)
    else:
        sequence, first, count = np.array(rows).T
        runs = Runs(sequence, first, count, steps[sequence])
    placement = Placement(framer, steps, runs, seed=0, epoch=0)
    expected = all_frames(framer, steps, runs)
    assert placement.size == len(expected)
    assert placement.counts.tolist() == [sum(row[0] == k for row in expected) for k in range(3)]
    assert placement.counts.dtype == np.int64
    index = np.random.default_rng(1).permutation(len(expected))
    sequence, start, length = placement.locate(index)
    found = [(*row[:1], *row[2:]) for row in (expected[i] for i in index)]
    assert list(zip(sequence.tolist(), start.tolist(), length.tolist(), strict=True)) == found
    assert placement.rank(start, length).tolist() == [expected[i][1] for i in index]
    assert placement.only_run is None  # of several sequences
    firsts = np.cumsum([0, *runs.size])[:-1]
    assert placement.breaks.tolist() == firsts.tolist()


def test_a_single_run_is_told():
    framer, steps = SequenceFramer(2), np.array([9])
    for rows, only in (
        ([(0, 0, 6)], (0, 6)),
        ([(0, 2, 3)], (2, 3)),
        ([(0, 0, 2), (0, 3, 2)], None),
    ):
        sequence, first, count = np.array(rows).T
        runs = Runs(sequence, first, count, steps[sequence])
        assert Placement(framer, steps, runs, seed=0, epoch=0).only_run == only


def test_nothing_is_placed_where_there_are_no_frames():
    empty, steps = np.empty(0, np.int64), np.array([1, 1])
    for framer in (SequenceFramer(2), SequenceFramer(2, mode="subsequences", num_samples=9)):
        for runs in (Runs(empty, empty, empty, empty), whole_runs(framer, steps)):
            placement = Placement(framer, steps, runs, seed=0, epoch=0)
            assert placement.size == 0
            assert placement.counts.tolist() == [0, 0]


@pytest.mark.parametrize("wrap", [False, True])
def test_draws_are_of_their_own_index_and_epoch(wrap):
    framer = SequenceFramer(4, mode="subsequences", num_samples=50, min_length=2, wrap=wrap)
    steps = np.array([5, 12])
    placements = [
        Placement(framer, steps, whole_runs(framer, steps), seed, epoch)
        for seed, epoch in ((7, 0), (7, 0), (7, 1), (8, 0))
    ]
    index = np.arange(50)
    drawn = [np.array(placement.locate(index)) for placement in placements]
    assert (drawn[0] == drawn[1]).all()
    for other in drawn[2:]:
        assert (drawn[0][1] != other[1]).any()
        # On a cycle a length hangs on nothing else.
        assert not wrap or (drawn[0][2] != other[2]).any()
    some = np.array([41, 3, 3])
    assert np.array(placements[0].locate(some)).tolist() == drawn[0][:, some].tolist()
    sequence, start, length = drawn[0]
    assert set(sequence) == {0, 1}
    assert (start < steps[sequence]).all()
    assert wrap or (start + length + 1 <= steps[sequence]).all()


@pytest.mark.parametrize("longest", [10, 10**9])
def test_a_finder_takes_memory_by_the_number_of_runs_alone(longest):
    counts = np.full(100_000, longest)
    tracemalloc.start()
    find = Finder(counts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(counts)
    run, rank = find(np.array([0, longest - 1, longest, find.total - 1]))
    assert run.tolist() == [0, 0, 1, 99_999]
    assert rank.tolist() == [0, longest - 1, 0, longest - 1]
