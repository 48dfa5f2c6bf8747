"""Random bits as a function of a seed and a place, so that no row depends on the other rows.

Keras draws a whole tensor from one seed. There, a row may depend on the shape of the tensor.
"""

from typing import Any

import numpy as np

from seqframe.aliases import Tensor

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_BLOCKS = 5  # of four rounds


def bits_of_rows(seed: Tensor, rows: int, count: int, library: Any) -> Tensor:
    """Return random uint32 `(rows, count)`. A row depends on the seed, its number and `count`.

    Args:
        seed: uint32 tensor of two numbers.
        rows: int. Number of rows.
        count: int. Numbers of each row.
        library: `numpy` or `keras.ops`, which computes them.

    >>> seed = np.array([7, 0], np.uint32)
    >>> many, few = (bits_of_rows(seed, rows, 5, np) for rows in (9, 2))
    >>> bool((many[:2] == few).all())
    True
    """
    row = np.arange(rows, dtype=np.uint32)[:, None]
    pair = np.arange(-(-count // 2), dtype=np.uint32)[None]
    pair = np.broadcast_to(pair, (rows, pair.size))
    halves = threefry([seed[0], seed[1]], [row, pair], library)
    return library.concatenate(halves, axis=1)[:, :count]


def threefry(key: list[Tensor], counter: list[Any], library: Any) -> list[Tensor]:
    """Return two tensors of random bits for each counter: Threefry-2x32 of 20 rounds.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    mixed = library.bitwise_xor(library.bitwise_xor(key[0], key[1]), np.uint32(_PARITY))
    keys = [*key, mixed]
    x, y = keys[0] + counter[0], keys[1] + counter[1]
    for block in range(_BLOCKS):
        for rotation in _ROTATIONS[block % 2]:
            x = x + y
            left = library.left_shift(y, np.uint32(rotation))
            right = library.right_shift(y, np.uint32(32 - rotation))
            y = library.bitwise_xor(library.bitwise_or(left, right), x)
        x = x + keys[(block + 1) % 3]
        y = y + (keys[(block + 2) % 3] + np.uint32(block + 1))
    return [x, y]
