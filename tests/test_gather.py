"""A window gathered from any layout of memory equals the plain slice."""

import copy
import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe.framing.gather import Rows

# Every kind of window that frames are made of: (steps, rows apart) for each axis.
AXES = [(), ((1, 1),), ((3, 1),), ((3, 2),), ((2, 1), (2, 1)), ((1, 1), (2, 1)), ((2, 2), (1, 1))]


def unaligned(array):
    """Return a copy of an array whose memory begins at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    result = memory.view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def fields():
    records = np.zeros(12, [("a", "i1"), ("b", "f8")])
    records["b"] = np.arange(12)
    return records["b"]


# Memory layouts, each as a function that makes a sequence.
LAYOUTS = {
    "1-D": lambda: np.arange(12.0),
    "2-D": lambda: np.arange(24.0).reshape(12, 2),
    "3-D": lambda: np.arange(72.0).reshape(12, 2, 3),
    "one feature": lambda: np.arange(12.0).reshape(12, 1),
    "every other step": lambda: np.arange(24.0)[::2],
    "every other row": lambda: np.arange(48.0).reshape(24, 2)[::2],
    "a column": lambda: np.arange(36.0).reshape(12, 3)[:, 1],
    "some columns": lambda: np.arange(48.0).reshape(12, 4)[:, 1::2],
    "backwards": lambda: np.arange(12.0)[::-1],
    "backwards rows": lambda: np.arange(24.0).reshape(12, 2)[::-1],
    "backwards, every third": lambda: np.arange(36.0)[::-3],
    "backwards features": lambda: np.arange(24.0).reshape(12, 2)[:, ::-1],
    "Fortran order": lambda: np.asfortranarray(np.arange(24.0).reshape(12, 2)),
    "inner axes swapped": lambda: np.arange(72.0).reshape(12, 2, 3).transpose(0, 2, 1),
    "one value repeated": lambda: np.broadcast_to(np.float64(3), (12,)),
    "one row repeated": lambda: np.broadcast_to(np.arange(2.0), (12, 2)),
    "unaligned": lambda: unaligned(np.arange(24.0).reshape(12, 2)),
    "field of a record": fields,
    "big-endian": lambda: np.arange(12, dtype=">f4"),
    "bytes": lambda: np.arange(12, dtype=np.uint8),
    "booleans": lambda: np.arange(12) % 3 == 0,
    "half precision": lambda: np.arange(12, dtype=np.float16),
    "dates": lambda: np.arange("2026-01-01", "2026-01-13", dtype="M8[D]"),
    "complex": lambda: np.arange(12) * 1j,
}


def naive_window(array, row, axes):
    """Return a window by plain indexing, step by step."""
    if not axes:
        return array[row]
    (steps, apart), *inner = axes
    return np.stack([naive_window(array, row + k * apart, inner) for k in range(steps)])


def starts(array, axes):
    reach = sum((steps - 1) * apart for steps, apart in axes)
    return np.arange(len(array) - reach)


def assert_takes_slices(arrays, rows=None):
    rows = Rows(arrays) if rows is None else rows
    for axes in AXES:
        pairs = [(k, s) for k, array in enumerate(arrays) for s in starts(array, axes)]
        number, start = np.array(pairs[::-1]).T
        taken = rows.take(number, start, axes)
        expected = np.stack([naive_window(arrays[k], s, axes) for k, s in pairs[::-1]])
        assert taken.dtype == arrays[0].dtype
        np.testing.assert_array_equal(taken, expected, err_msg=f"axes={axes}")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_one_array_are_slices(layout):
    assert_takes_slices([LAYOUTS[layout]()])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_several_arrays_are_slices(layout):
    array, other = LAYOUTS[layout](), LAYOUTS[layout]()
    # The lengths differ. One array lies within another, one comes twice, and some are empty.
    assert_takes_slices([array, other[:7], array[3:9], other, other[12:]])
    assert_takes_slices([array[:0], array, array[:0].copy(), other[:0]])


def test_arrays_may_differ_in_memory_layout():
    for one, other in product(["2-D", "Fortran order", "backwards rows"], repeat=2):
        assert_takes_slices([LAYOUTS[one](), LAYOUTS[other]() + 100])


def test_a_memory_map_is_read_in_place(tmp_path):
    path = tmp_path / "steps.bin"
    np.arange(24, dtype=np.float32).tofile(path)
    steps = np.memmap(path, np.float32, "r", shape=(12, 2))
    rows = Rows([steps])
    assert_takes_slices([steps], rows)
    assert np.shares_memory(rows.arrays[0], steps)
    assert_takes_slices([steps, np.ones((5, 2), np.float32)])  # far away in memory


def test_an_array_of_one_row_does_not_set_the_strides():
    # NumPy calls an array of one row contiguous, whatever its stride.
    memory = np.arange(80.0)
    single, others = memory[:40].reshape(5, 8)[:, :4][:1], memory[40:].reshape(10, 4)
    assert single.strides != others.strides
    rows = Rows([single, others])
    taken = rows.take(np.array([0, 1, 1]), np.array([0, 0, 9]))
    np.testing.assert_array_equal(taken, [single[0], others[0], others[9]])


@settings(max_examples=60)
@given(data=st.data())
def test_windows_of_any_strides_are_slices(data):
    """The arrays are slices of one block of memory, in any direction."""
    memory = np.arange(4000, dtype=data.draw(st.sampled_from(["i2", "f4", "f8"])))
    step = data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
    width = data.draw(st.sampled_from([None, 1, 3]))
    block = memory[:3999].reshape(-1, 3)[:, :width] if width else memory
    arrays = []
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, 1000))
        arrays.append(block[begin : begin + data.draw(st.integers(15, 40))][::step])
    assert_takes_slices(arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_view_has_the_same_windows_without_a_copy(layout):
    steps = LAYOUTS[layout]()
    rows = Rows([steps])
    for axes, first, stride in product(AXES, (0, 2), (1, 2, 3)):
        row = starts(steps, axes)[first::stride]
        view = rows.view(first, stride, len(row), axes)
        np.testing.assert_array_equal(view, rows.take(np.zeros_like(row), row, axes))
        assert not view.flags.writeable
        assert np.may_share_memory(view, steps)
    assert rows.view(0, 1, 0, ((3, 1),)).shape == (0, 3, *steps.shape[1:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_too_far_apart_are_copied_together(layout):
    array, other = LAYOUTS[layout](), LAYOUTS[layout]()[2:9]
    far = Rows([array, other])
    far._extent = 2**62  # as if they lay far apart
    assert_takes_slices([array, other], far)
    assert "_joined" in vars(far)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda rows: pickle.loads(pickle.dumps(rows))]
)
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_reads_its_own_memory(duplicate, used):
    arrays = [np.arange(500.0), np.arange(9.0), np.arange(100.0, 4000.0)]
    rows = Rows(arrays)
    if used:
        assert_takes_slices([a[:20] for a in arrays], rows)
    twin = duplicate(rows)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array[:] = -1
    assert_takes_slices([a[:20] for a in before], twin)


@pytest.mark.parametrize("step", [1, 2, -1])
def test_cuts_and_selections_lie_where_their_arrays_do(step):
    """Empty cuts among them, whose place in memory NumPy decides."""
    arrays = [np.arange(n, n + 20)[::step] for n in (100, 200, 300)]
    for starts, stops in ([2, 0, 5], [9, 4, 9]), ([5, 7, 20], [2, 7, 30]), ([0, 3, 1], [1, 3, 2]):
        cut = Rows(arrays).select([2, 0, 2]).cut(starts, stops)
        for number, (which, start, stop) in enumerate(zip([2, 0, 2], starts, stops, strict=True)):
            expected = arrays[which][start:stop]
            assert cut.lengths[number] == len(expected)
            row = np.arange(len(expected))
            np.testing.assert_array_equal(cut.take(np.full_like(row, number), row), expected)


def test_an_array_of_one_row_may_report_any_stride():
    one = np.lib.stride_tricks.as_strided(np.array([1, 2, 3]), (1, 3), (8, 8))  # as pandas makes it
    rows = Rows([np.arange(6).reshape(2, 3), one, np.arange(10, 19).reshape(3, 3)])
    for part in (
        rows.select([1, 2]),
        rows.cut(np.array([1, 0, 0]), np.array([2, 1, 3])).select([1, 2]),
    ):
        found = part.take(np.array([0, 1, 1]), np.array([0, 0, 2]))
        np.testing.assert_array_equal(found, [[1, 2, 3], [10, 11, 12], [16, 17, 18]])
