"""The geometry agrees with steps that are listed one by one."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe.framing.geometry import (
    Prefixes,
    Subsequences,
    Windows,
    count_in_windows,
    find_runs_of_true,
)
from seqframe.framing.index import Finder

SIZES = [
    dict(sequence_length=length, horizon=horizon, gap=gap)
    for length, horizon, gap in product((1, 2, 3), (1, 2), (-1, 0, 2))
]
GEOMETRIES = [
    *(
        Windows(**size, stride=stride, rate=rate, min_length=least)
        for size, stride, rate, least in product(SIZES, (1, 2, 4), (1, 2), (None, 1, 2))
        if (least or 1) <= size["sequence_length"]
    ),
    *(
        Prefixes(**size, min_length=least, padding=padding)
        for size, least, padding in product(SIZES, (None, 2), ("pre", "post"))
        if (least or 1) <= size["sequence_length"]
    ),
]


def naive_inputs(geometry, steps):
    """List the input steps of each frame whose every step exists."""
    length, rate = geometry.sequence_length, geometry.rate
    found = []
    for begin in range(-rate * (length - geometry.shortest), steps, geometry.stride):
        inputs = [begin + rate * k for k in range(length) if begin + rate * k >= 0]
        last_target = inputs[-1] + geometry.gap + geometry.horizon
        if max(inputs[-1], last_target) < steps:
            found.append(inputs)
    return found


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_frames_are_the_ones_whose_steps_exist(geometry):
    for steps in range(12):
        expected = naive_inputs(geometry, steps)
        assert geometry.count(steps) == len(expected)
        assert (steps >= geometry.least_steps) == bool(expected)
        if not expected:
            continue
        ranks = np.arange(len(expected))
        start, length = geometry.locate(ranks)
        assert geometry.rank(start, length).tolist() == ranks.tolist()
        inputs, real, targets = geometry.steps(start, length, np.full_like(start, steps))
        assert [row[mask].tolist() for row, mask in zip(inputs, real, strict=True)] == expected
        after = geometry.gap + 1 + np.arange(geometry.horizon)
        assert targets.tolist() == [(frame[-1] + after).tolist() for frame in expected]
        used = np.concatenate([np.concatenate(expected), targets.ravel()])
        first, last = geometry.extent(0, len(expected) - 1)
        assert first == used.min()
        assert last == used.max()
        full = length == geometry.sequence_length
        offsets = start[full][:, None] + geometry.target_offsets
        assert targets[full].tolist() == offsets.tolist()


@pytest.mark.parametrize("padding", ["pre", "post"])
def test_padding_stands_on_one_side(padding):
    for length in range(1, 5):
        step, real = Prefixes(length, padding=padding).places(np.arange(1, length + 1))
        for row, mask, true_length in zip(step, real, range(1, length + 1), strict=True):
            assert row[mask].tolist() == list(range(true_length))
            assert mask.argmax() == (length - true_length if padding == "pre" else 0)


@pytest.mark.parametrize(
    ("geometry", "stride"),
    [
        (Windows(3), 3),
        (Windows(3, rate=2), 6),
        (Windows(1, stride=4), 4),  # one step at a time
        (Prefixes(3), None),
        (Subsequences(3), None),
    ],
)
def test_frames_lie_end_to_end_by_one_stride(geometry, stride):
    assert geometry.end_to_end == stride


@given(flags=st.lists(st.booleans(), max_size=30), length=st.integers(1, 6), rate=st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_count_in_windows(flags, length, rate):
    size = max(len(flags) - rate * (length - 1), 0)
    expected = [sum(flags[i : i + rate * (length - 1) + 1 : rate]) for i in range(size)]
    if size:
        assert count_in_windows(np.array(flags, bool), length, rate).tolist() == expected


@given(flags=st.lists(st.booleans(), min_size=1, max_size=30), cuts=st.sets(st.integers(1, 29)))
@settings(max_examples=200, deadline=None)
def test_runs_of_true(flags, cuts):
    parts = np.split(np.array(flags), sorted(cut for cut in cuts if cut < len(flags)))
    first, stop = find_runs_of_true(parts)
    runs = [set(range(a, b)) for a, b in zip(first, stop, strict=True)]
    assert set().union(*runs) == {i for i, flag in enumerate(flags) if flag}
    assert (first[1:] > stop[:-1]).all()  # two runs do not touch


# --- Finder: the run of a number, compared with a binary search.


def assert_finds(counts):
    """Compare with `np.searchsorted` for some numbers of each run and for its neighbours."""
    find, ends = Finder(np.array(counts, np.int64)), np.cumsum(counts, dtype=np.int64)
    begins, total = ends - np.array(counts, np.int64), sum(counts)
    numbers = np.unique(np.concatenate([begins - 1, begins, begins + 1, ends // 2, [0, total - 1]]))
    numbers = numbers[(numbers >= 0) & (numbers < total)]
    for number in (numbers, numbers[::-1], numbers[:, None], numbers[:0]):
        run, rank = find(number)
        expected = np.searchsorted(ends, number, side="right")
        assert run.tolist() == expected.tolist()
        assert rank.tolist() == (number - begins[expected]).tolist()


@pytest.mark.parametrize(
    "counts",
    [
        *product(range(3), repeat=4),
        [],
        [10**15],
        [10**12, 1, 10**12],
        [1] * 500 + [10**12],  # many runs share the first stretch
        [10**12] + [1] * 500,
        [2**k for k in range(40)],
        [8] * 64,
    ],
    ids=lambda counts: str(counts)[:24],
)
def test_numbers_are_found_in_runs_of_all_sizes(counts):
    assert_finds(list(counts))


@given(counts=st.lists(st.integers(0, 3) | st.integers(0, 10**9), max_size=40))
@settings(max_examples=200, deadline=None)
def test_numbers_are_found_in_any_runs(counts):
    assert_finds(counts)


@pytest.mark.parametrize("longest", [10, 10**9])
def test_a_finder_takes_memory_for_runs_only(longest):
    counts = np.full(100_000, longest)
    tracemalloc.start()
    Finder(counts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(counts)
