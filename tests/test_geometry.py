"""The geometry agrees with steps that are listed one by one."""

from itertools import product

import numpy as np
import pytest

from seqframe.framing.geometry import Prefixes, Windows

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
        frames = geometry.locate(ranks, steps)
        start, length, _ = frames
        inputs, real, targets = geometry.steps(frames, np.full_like(start, steps))
        assert [row[mask].tolist() for row, mask in zip(inputs, real, strict=True)] == expected
        after = geometry.gap + 1 + np.arange(geometry.horizon)
        assert targets.tolist() == [(frame[-1] + after).tolist() for frame in expected]
        full = length == geometry.sequence_length
        offsets = start[full][:, None] + geometry.target_offsets
        assert targets[full].tolist() == offsets.tolist()
