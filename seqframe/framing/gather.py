"""Many arrays read as one: a batch of windows from any of them by one fancy index.

This makes seqframe fast. A window is not built from its steps. The memory of the arrays is viewed
as if a window began at every row (`as_strided`, no copy). A batch is one index into that view.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from seqframe.aliases import Numbers
from seqframe.framing.stores import pack_array, unpack_array

PAGE_BYTES = 2**22  # of neighbouring rows, which stay together when blocks are shuffled

#: One axis of a window: number of steps, and rows from one step to the next.
Axis = tuple[int, int]


class Rows:
    """Rows of several arrays, addressed by (array, row), gathered without copying the arrays.

    All arrays are viewed from their lowest address. Any row of any array is a distance from there.
    The view spans memory that belongs to no array, but only rows of the arrays are indexed.

    Args:
        arrays: arrays `(steps, …)` of one dtype and one row shape. They are not copied, unless
            their memory layouts differ.
        columns: list of int, or None for all. Columns of each row that are kept.
        layout: where arrays begin in memory, as an int array, and their strides; None: it is looked
            up.

    Attributes:
        arrays: tuple of the arrays.
        lengths: int array. Number of rows of each array.
        page_rows: int. Rows of a page; see `page`.
    """

    is_stored = False  # whether rows are read from a store when they are gathered

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        columns: list[int] | None = None,
        layout: tuple[np.ndarray, tuple[int, ...]] | None = None,
    ):
        first = arrays[0]
        self.dtype, self._whole_shape, self.columns = first.dtype, first.shape[1:], columns
        contiguous = _contiguous_strides(first)
        if layout is not None:
            addresses, strides = layout
        else:
            strides = first.strides
            if any(array.strides != strides for array in arrays):
                # An axis of one step may report any stride, so no array's strides hold for all.
                arrays, strides = [np.ascontiguousarray(array) for array in arrays], contiguous
            found = [array.__array_interface__["data"][0] for array in arrays]
            addresses = np.array(found, np.int64)
        self.arrays, self._addresses, self._strides = tuple(arrays), addresses, strides
        self.lengths = np.fromiter(map(len, self.arrays), np.int64)
        self._row_stride, *self._inner_strides = strides
        self._packed = self._row_stride == contiguous[0] and all(
            strides[axis] == contiguous[axis] or first.shape[axis] == 1
            for axis in range(1, first.ndim)
        )
        self._views: dict[tuple[Axis, ...], np.ndarray | None] = {}
        self.page_rows = max(PAGE_BYTES // (contiguous[0] or 1), 1)
        self._place()

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row as it is gathered."""
        if self.columns is None:
            return self._whole_shape
        return (len(self.columns), *self._whole_shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, with the columns that are kept."""
        return int(self.lengths.sum()) * math.prod(self.row_shape) * self.dtype.itemsize

    def _place(self) -> None:
        addresses = self._addresses
        reach = self._row_stride * np.maximum(self.lengths - 1, 0)  # bytes to an array's last row
        lows = addresses + np.minimum(reach, 0)
        lowest = int(np.argmin(lows))
        self._lowest = self.arrays[lowest][-1:] if self._row_stride < 0 else self.arrays[lowest][:1]
        distances = addresses - lows[lowest]
        # The largest unit in which every row of every array has a whole address.
        self._unit = int(np.gcd.reduce(distances, initial=abs(self._row_stride))) or 1
        self._row = self._row_stride // self._unit
        self._origins = distances // self._unit
        self._extent = 1 + int((distances + np.maximum(reach, 0)).max()) // self._unit

    def take(self, array: np.ndarray, row: np.ndarray, axes: tuple[Axis, ...] = ()) -> np.ndarray:
        """Copy the windows that begin at `row` of `array`; every step of them must exist.

        `axes` are the axes of a window, outermost first. The result is `(n, steps…, *row_shape)`.

        >>> rows = Rows([np.arange(5), np.arange(10, 13)])
        >>> rows.take(np.array([0, 1]), np.array([2, 0]), axes=((3, 1),))
        array([[ 2,  3,  4],
               [10, 11, 12]])
        """
        return self.gather(self.address(array, row, axes), axes)

    def address(
        self, array: np.ndarray, row: np.ndarray, axes: tuple[Axis, ...] = ()
    ) -> np.ndarray:
        """Return the addresses of the windows that begin at `row` of `array`, for `gather`."""
        if self._view(axes) is None:
            return self._joined.address(array, row, axes)
        origin = self._origins[0] if len(self.arrays) == 1 else self._origins[array]
        return row if self._row == 1 and len(self.arrays) == 1 else origin + row * self._row

    def pitch(self, axes: tuple[Axis, ...] = ()) -> int:
        """Return how far apart the addresses of one array's neighbouring rows are."""
        return self._row if self._view(axes) is not None else self._joined.pitch(axes)

    def gather(self, address: np.ndarray, axes: tuple[Axis, ...] = ()) -> np.ndarray:
        """Copy the windows at addresses that `address` returned for the same axes."""
        view = self._view(axes)
        if view is None:
            return self._joined.gather(address, axes)
        shape = (*address.shape, *(steps for steps, _ in axes), *self._whole_shape)
        windows = view[address].view(self.dtype).reshape(shape)
        return self._kept(windows)

    def view(self, start: int, stride: int, count: int, axes: tuple[Axis, ...]) -> np.ndarray:
        """Return `count` windows of a single array, `stride` rows apart, as a read-only view.

        If `columns` are listed, it is a copy.
        """
        if count == 0:
            return np.empty((0, *(steps for steps, _ in axes), *self.row_shape), self.dtype)
        array = self.arrays[0]
        strides = [rows * self._row_stride for _, rows in ((count, stride), *axes)]
        windows = as_strided(
            array[start:],
            (count, *(steps for steps, _ in axes), *self._whole_shape),
            (*strides, *self._inner_strides),
            writeable=False,
        )
        return self._kept(windows)

    def read(self, number: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows `start … stop - 1` of one array, with the columns that are kept."""
        return self._kept(self.arrays[number][start:stop])

    def page(self, array: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Return the page in which `row` of `array` lies. Neighbouring rows share a page."""
        pages: np.ndarray = (self._ends[array] - self.lengths[array] + row) // self.page_rows
        return pages

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def pick(self, columns: int | list[int]) -> "Rows":
        """Return some columns as rows. Evenly spaced columns are views, which are fast."""
        if isinstance(columns, int):
            return Rows([array[:, columns] for array in self.arrays])
        step = columns[1] - columns[0] if len(columns) > 1 else 1
        stop = columns[-1] + (1 if step > 0 else -1)
        if columns != list(range(columns[0], stop, step)):
            return Rows(self.arrays, columns)
        evenly = slice(columns[0], stop if stop >= 0 else None, step)
        return Rows([array[:, evenly] for array in self.arrays])

    def cut(self, starts: Numbers, stops: Numbers) -> "Rows":
        """Return the rows `start … stop - 1` of each array."""
        starts, stops = np.asarray(starts), np.asarray(stops)
        # To look up the addresses of many arrays takes much longer than to compute them. NumPy lets
        # an empty slice begin where its array does.
        any_rows = starts < np.minimum(stops, self.lengths)
        addresses = self._addresses + starts * any_rows * self._row_stride
        spans = zip(self.arrays, starts.tolist(), stops.tolist(), strict=True)
        arrays = [array[start:stop] for array, start, stop in spans]
        return Rows(arrays, self.columns, (addresses, self._strides))

    def select(self, numbers: Numbers) -> "Rows":
        """Return some of the arrays, in the order given."""
        chosen = np.asarray(numbers)
        arrays = [self.arrays[number] for number in chosen.tolist()]
        return Rows(arrays, self.columns, (self._addresses[chosen], self._strides))

    def _kept(self, rows: np.ndarray) -> np.ndarray:
        """Return rows, or windows of them, with the columns that are kept."""
        if self.columns is None:
            return rows
        kept: Any = (..., self.columns, *(slice(None),) * (len(self._whole_shape) - 1))
        return np.asarray(rows[kept])

    def _view(self, axes: tuple[Axis, ...]) -> np.ndarray | None:
        """Return a window at every unit of memory, or None if NumPy cannot count them."""
        if axes not in self._views:
            try:
                self._views[axes] = self._make_view(axes)
            except ValueError:
                if self._extent <= sum(map(len, self.arrays)):
                    raise
                self._views[axes] = None
        return self._views[axes]

    def _make_view(self, axes: tuple[Axis, ...]) -> np.ndarray:
        real = [axis for axis in axes if axis[0] > 1]
        if self._packed and len(real) <= 1 and all(rows == 1 for _, rows in real):
            # A window is one run of bytes. Viewed as one opaque element, it is copied by one memcpy
            # instead of step by step.
            size = self._row_stride * math.prod(steps for steps, _ in real)
            if size:
                run = as_strided(
                    self._lowest.reshape(-1).view(np.uint8), (self._extent, size), (self._unit, 1)
                )
                return run.view(np.dtype((np.void, size)))[:, 0]
        return as_strided(
            self._lowest,
            (self._extent, *(steps for steps, _ in axes), *self._whole_shape),
            (self._unit, *(rows * self._row_stride for _, rows in axes), *self._inner_strides),
        )

    @cached_property
    def _joined(self) -> "Rows":
        """These rows, copied next to each other.

        NumPy counts overlapping windows as if they were apart. Arrays at the two ends of the
        address space can make more windows than it can count. Only then they are copied.
        """
        ends = np.cumsum([len(array) for array in self.arrays])[:-1]
        return Rows(np.split(np.concatenate(self.arrays, dtype=self.dtype), ends), self.columns)

    def __reduce__(self) -> tuple[Any, ...]:
        # Addresses mean nothing to a copy, in this process or another: it takes its own.
        return _rows_again, ([*map(pack_array, self.arrays)], self.columns)


def _rows_again(packed: list[Any], columns: list[int] | None) -> Rows:
    return Rows([*map(unpack_array, packed)], columns)


def _contiguous_strides(array: np.ndarray) -> tuple[int, ...]:
    """Return the strides, in bytes, of an array of the same shape without gaps."""
    sizes = (*array.shape[1:], array.itemsize)
    return tuple(math.prod(sizes[axis:]) for axis in range(len(sizes)))
