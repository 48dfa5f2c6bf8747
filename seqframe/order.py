"""Seeded orders: shuffles and random draws as pure functions of (seed, epoch, index).

Nothing here keeps state, so a batch can be drawn again, out of turn, on another machine or
after a restart, and comes out the same.
"""

from functools import lru_cache

import numpy as np

# Up to this size an epoch's permutation is kept in memory (512 KB): exactly uniform, and cheap.
# Above it, a keyed bijection gives any position of the order by itself.
_SMALL = 2**16


def epoch_order(size: int, seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
    """Return which of `size` items stand at `positions` of the shuffled order of an epoch.

    Args:
        size: int. Number of items that are shuffled.
        seed: int ≥ 0.
        epoch: int ≥ 0. Each epoch has an order of its own.
        positions: int array, values in `[0, size)`.

    Returns:
        int64 array of the shape of `positions`.

    Example:

    >>> epoch_order(5, seed=7, epoch=0, positions=np.arange(5))
    array([2, 0, 4, 1, 3])
    >>> epoch_order(10_000_000_000, seed=7, epoch=0, positions=np.array([9_999_999_999]))
    array([2982113756])
    """
    positions = np.asarray(positions, np.int64)
    if size <= _SMALL:
        return _permutation(size, seed, epoch)[positions]
    return _bijection(size, _keys(seed, epoch, 8), positions.ravel()).reshape(positions.shape)


@lru_cache(maxsize=8)
def _permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng([seed, epoch]).permutation(size)
    order.flags.writeable = False
    return order


def _keys(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.SeedSequence([seed, epoch]).generate_state(count, np.uint64)


def _bijection(size: int, keys: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Scramble `positions` within the next power of two; those that fall outside go round again.

    Multiplying by an odd number, adding and xoring with a right shift are each invertible modulo
    a power of two, so their composition is a permutation, and following its cycle until it
    is back below `size` is a permutation of `[0, size)` (Black and Rogaway, "Ciphers with
    Arbitrary Finite Domains", 2002).
    """
    bits = int(size - 1).bit_length()
    mask = np.uint64(2**bits - 1)
    shift = np.uint64((bits + 1) // 2)
    factors, offsets = keys[0::2] | np.uint64(1), keys[1::2]

    def scramble(x: np.ndarray) -> np.ndarray:
        for factor, offset in zip(factors, offsets, strict=True):
            x = (x * factor + offset) & mask
            x ^= x >> shift
        return x

    limit = np.uint64(size)
    order = scramble(positions.astype(np.uint64))
    outside = np.flatnonzero(order >= limit)
    while outside.size:
        order[outside] = scramble(order[outside])
        outside = outside[order[outside] >= limit]
    return order.astype(np.int64)


def uniform(seed: int, epoch: int, index: np.ndarray, stream: int) -> np.ndarray:
    """Return one float64 in `[0, 1)` for each index: draws that need no generator's state.

    Args:
        seed: int ≥ 0.
        epoch: int ≥ 0.
        index: int array. The draw's own number.
        stream: int ≥ 0. Tells apart several draws for one index.

    Returns:
        float64 array of the shape of `index`.

    The mixing function is SplitMix64's (Steele, Lea and Flood, "Fast Splittable Pseudorandom
    Number Generators", 2014) over a counter.

    Example:

    >>> uniform(7, 0, np.arange(3), stream=0).round(3)
    array([0.593, 0.807, 0.219])
    """
    key = np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0]
    x = np.asarray(index).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)) * 2.0**-53


def random_seed() -> int:
    """Return a fresh seed, for the user who gives none."""
    return int(np.random.SeedSequence().generate_state(1)[0])
