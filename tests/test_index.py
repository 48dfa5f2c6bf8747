"""The finder gives the run of a number that a binary search gives."""

from itertools import product

import numpy as np
import pytest
from batches import peak_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe.framing.index import Finder


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
def test_a_finder_needs_memory_for_runs_only(longest):
    counts = np.full(100_000, longest)
    assert peak_memory(lambda: Finder(counts)) < 200 * len(counts)
