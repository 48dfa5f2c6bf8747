"""The geometry agrees with steps that are listed one by one."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe.framing.geometry import (
    Prefixes,
    Windows,
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
        full = length == geometry.sequence_length
        offsets = start[full][:, None] + geometry.target_offsets
        assert targets[full].tolist() == offsets.tolist()


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
