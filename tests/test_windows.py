"""The index arithmetic agrees with counting one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqframe.framing.windows import (
    check_integer,
    count_prefixes,
    count_windows,
    cut_points,
    locate_prefixes,
    locate_windows,
    padded_offsets,
    steps_ahead,
    window_span,
)


def test_window_span_counts_the_steps_a_window_reaches_over():
    for length, rate in product(range(1, 6), range(1, 5)):
        steps = range(0, length * rate, rate)
        assert window_span(length, rate) == steps[-1] - steps[0] + 1


def test_count_windows_is_the_number_of_starts_that_fit():
    for steps, span, stride, ahead in product(range(9), range(1, 5), range(1, 5), range(4)):
        starts = [s for s in range(0, steps, stride) if s + span - 1 + ahead < steps]
        assert count_windows(steps, span, stride, ahead) == len(starts)
        start, length = locate_windows(np.arange(len(starts)), stride, 3)
        assert start.tolist() == starts
        assert length.tolist() == [3] * len(starts)


def test_count_prefixes_is_the_number_of_ends_that_fit():
    for steps, shortest, longest, ahead in product(range(9), range(1, 5), range(1, 5), range(4)):
        prefixes = [range(max(0, end - longest), end) for end in range(shortest, steps + 1)]
        prefixes = [prefix for prefix in prefixes if prefix[-1] + ahead < steps]
        assert count_prefixes(steps, shortest, ahead) == len(prefixes)
        start, length = locate_prefixes(np.arange(len(prefixes)), shortest, longest)
        assert start.tolist() == [prefix[0] for prefix in prefixes]
        assert length.tolist() == [len(prefix) for prefix in prefixes]


@pytest.mark.parametrize(
    ("gap", "horizon", "ahead"),
    [
        (-1, 1, 0),  # the target is the last input step
        (-1, 2, 1),
        (0, 1, 1),  # the next step
        (0, 3, 3),
        (2, 1, 3),
    ],
)
def test_steps_ahead(gap, horizon, ahead):
    assert steps_ahead(gap, horizon) == ahead


def test_padded_offsets_put_the_real_steps_at_one_side():
    for length in range(1, 5):
        lengths = np.arange(1, length + 1)
        for padding, row in product(("pre", "post"), range(length)):
            offsets = padded_offsets(lengths, length, padding)[row]
            true_length = int(lengths[row])
            real = [k for k in offsets.tolist() if 0 <= k < true_length]
            assert real == list(range(true_length))
            first = offsets.tolist().index(0)
            assert first == (length - true_length if padding == "pre" else 0)


@given(
    steps=st.integers(0, 10**12),
    fractions=st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    part=st.floats(0.01, 1),
)
def test_cut_points_rise_and_use_every_step(steps, fractions, part):
    whole = tuple(fraction / sum(fractions) for fraction in fractions)
    cuts = cut_points(steps, whole)
    assert cuts == sorted(cuts)
    assert (cuts[0], cuts[-1]) == (0, steps)
    some = cut_points(steps, tuple(fraction * part for fraction in whole))
    exact = steps * part * np.cumsum((0, *whole))
    np.testing.assert_allclose(some, exact, rtol=1e-9, atol=1)


@pytest.mark.parametrize(
    ("steps", "fractions", "cuts"),
    [
        (10, (0.7, 0.15, 0.15), [0, 7, 8, 10]),
        (10, (0.7,), [0, 7]),  # not all of it
        (10, (0.1,) * 10, list(range(11))),  # their float sum is below 1
        (10**8, (0.7, 0.2, 0.1), [0, 7 * 10**7, 9 * 10**7, 10**8]),  # by more than rounding hides
        (1, (0.5, 0.5), [0, 0, 1]),
        (0, (0.5, 0.5), [0, 0, 0]),
    ],
)
def test_cut_points(steps, fractions, cuts):
    assert cut_points(steps, fractions) == cuts


def test_check_integer_returns_a_plain_int():
    assert type(check_integer("gap", np.int64(-1), -1)) is int


@pytest.mark.parametrize("value", [1.0, "3", True, None, np.float32(2), [1]])
def test_check_integer_wants_an_integer(value):
    with pytest.raises(TypeError, match=r"`gap` must be an integer ≥ -1. Received: gap="):
        check_integer("gap", value, -1)


def test_check_integer_wants_a_large_enough_one():
    with pytest.raises(ValueError, match=r"`gap` must be an integer ≥ -1. Received: gap=-2"):
        check_integer("gap", -2, -1)
