"""What the tests of frames share: batches are compared array by array."""

import tracemalloc

import numpy as np


def flat(batch):
    """Return the arrays of a batch in a list, inputs first."""
    x, *others = batch
    return [*(x.values() if isinstance(x, dict) else [x]), *others]


def assert_same(batch, expected):
    """Assert that two batches have the same names, shapes, dtypes and values."""
    assert isinstance(batch, tuple)
    assert isinstance(batch[0], dict) == isinstance(expected[0], dict)
    for array, other in zip(flat(batch), flat(expected), strict=True):
        np.testing.assert_array_equal(array, other, strict=True)


def assert_all_same(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        assert_same(batch, other)


def peak_memory(function):
    """Return the most bytes that Python and NumPy hold at a time during a call."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
