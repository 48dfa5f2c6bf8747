"""Many arrays read as one: a batch of windows from any of them by one fancy index.

This is where seqframe's speed comes from. A window is not built from its steps: the memory of
the arrays is viewed as if a window began at every row (`as_strided`, no copy), and a batch is one
index into that view.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

# One axis of a window: how many steps, and how many rows from one to the next.
Axis = tuple[int, int]


class Rows:
    """Rows of several arrays, addressed by (array, row), gathered without copying the arrays.

    All arrays are viewed from the lowest address among them, so that any row of any array is a
    distance from there. The view spans memory that belongs to no array; only rows of the arrays
    are ever indexed.

    Args:
        arrays: arrays `(steps, …)` of one dtype and one row shape. They are kept, not copied;
            only where their memory layouts differ, the odd ones are made contiguous.
    """

    def __init__(self, arrays: Sequence[np.ndarray]):
        first = arrays[0]
        if any(array.strides != first.strides for array in arrays):
            arrays = [np.ascontiguousarray(array) for array in arrays]
        self.dtype, self.row_shape = first.dtype, first.shape[1:]
        self._place(arrays)

    def _place(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = tuple(arrays)
        addresses = [array.__array_interface__["data"][0] for array in arrays]
        self._lowest = arrays[addresses.index(min(addresses))]
        self._row_stride, *self._inner_strides = self._lowest.strides
        distances = [address - min(addresses) for address in addresses]
        # The largest unit in which every row of every array has a whole address.
        self._unit = math.gcd(*distances, self._row_stride) or 1
        self._row = self._row_stride // self._unit
        self._origins = np.array([distance // self._unit for distance in distances], np.int64)
        self._extent = 1 + max(
            int(origin) + max(self._row * (len(array) - 1), 0)
            for origin, array in zip(self._origins, arrays, strict=True)
        )
        row_bytes = self.dtype.itemsize * math.prod(self.row_shape)
        self._packed = self._row_stride == row_bytes and self._lowest.flags.c_contiguous
        self._views: dict[tuple[Axis, ...], np.ndarray] = {}

    def take(self, array: np.ndarray, row: np.ndarray, axes: tuple[Axis, ...] = ()) -> np.ndarray:
        """Copy the windows that begin at `row` of `array`.

        Args:
            array: int array `(n,)`. Which array each window is from.
            row: int array `(n,)`. Where it begins; every step of it must exist.
            axes: the window's axes, outermost first, each as (steps, rows apart).

        Returns:
            array `(n, steps…, *row_shape)`.

        >>> rows = Rows([np.arange(5), np.arange(10, 13)])
        >>> rows.take(np.array([0, 1]), np.array([2, 0]), axes=((3, 1),))
        array([[ 2,  3,  4],
               [10, 11, 12]])
        """
        positions = (self._origins[array] if len(self.arrays) > 1 else 0) + row * self._row
        windows = self._view(axes)[positions]
        shape = (*np.shape(positions), *(steps for steps, _ in axes), *self.row_shape)
        return windows.view(self.dtype).reshape(shape)

    def view(self, start: int, stride: int, count: int, axes: tuple[Axis, ...]) -> np.ndarray:
        """Return `count` windows of a single array, `stride` rows apart, as a read-only view."""
        if count == 0:
            return np.empty((0, *(steps for steps, _ in axes), *self.row_shape), self.dtype)
        array = self.arrays[0]
        strides = [rows * self._row_stride for _, rows in ((count, stride), *axes)]
        return as_strided(
            array[start:],
            (count, *(steps for steps, _ in axes), *self.row_shape),
            (*strides, *self._inner_strides),
            writeable=False,
        )

    def _view(self, axes: tuple[Axis, ...]) -> np.ndarray:
        if axes not in self._views:
            try:
                self._views[axes] = self._make_view(axes)
            except ValueError:
                # NumPy counts overlapping windows as if they were apart, and arrays at the two
                # ends of the address space can make more of them than it can count. Then, and
                # only then, the arrays are copied next to each other.
                joined = np.concatenate(self.arrays)
                ends = np.cumsum([len(array) for array in self.arrays])[:-1]
                self._place(np.split(joined, ends))
                self._views[axes] = self._make_view(axes)
        return self._views[axes]

    def _make_view(self, axes: tuple[Axis, ...]) -> np.ndarray:
        real = [axis for axis in axes if axis[0] > 1]
        if self._packed and len(real) <= 1 and all(rows == 1 for _, rows in real):
            # A window is one run of bytes: viewed as one opaque element, a batch is one memcpy
            # a window instead of a copy step by step.
            size = self._row_stride * math.prod(steps for steps, _ in real)
            if size:
                run = as_strided(
                    self._lowest.reshape(-1).view(np.uint8), (self._extent, size), (self._unit, 1)
                )
                return run.view(np.dtype((np.void, size)))[:, 0]
        return as_strided(
            self._lowest,
            (self._extent, *(steps for steps, _ in axes), *self.row_shape),
            (self._unit, *(rows * self._row_stride for _, rows in axes), *self._inner_strides),
        )
