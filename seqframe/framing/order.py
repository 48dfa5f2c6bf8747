"""Seeded orders: shuffles and random draws as pure functions of (seed, epoch, index).

Nothing here keeps state. So a batch can be made again: out of turn, on another machine or after a
restart.
"""

from copy import copy
from functools import lru_cache
from typing import Any

import numpy as np

from seqframe.framing.checks import check_integer, check_shard

# Up to this size, the permutation of an epoch is kept in memory (512 KB), which is exactly uniform.
# Above it, a keyed bijection computes any position of the order by itself.
_SMALL = 2**16


def epoch_order(
    size: int, seed: int, epoch: int, positions: np.ndarray, part: int = 0
) -> np.ndarray:
    """Return the items at `positions` of an epoch's shuffled order of `size` items.

    Each `part` of an epoch has an order of its own.

    >>> epoch_order(5, seed=7, epoch=0, positions=np.arange(5))
    array([2, 0, 4, 1, 3])
    >>> epoch_order(10_000_000_000, seed=7, epoch=0, positions=np.array([9_999_999_999]))
    array([2982113756])
    """
    positions = np.asarray(positions, np.int64)
    key = (seed, epoch, part) if part else (seed, epoch)
    if size <= _SMALL:
        return np.asarray(_permutation(size, *key)[positions])
    keys = _keys(8, *key)
    return _bijection(size, keys, positions.ravel()).reshape(positions.shape)


class Blocks:
    """A shuffle of blocks of neighbouring items, for data that are slow to read in random order.

    The blocks come in random order. A few of them at a time are shuffled together, item by item, so
    that only these need to be in memory.

    Args:
        edges: int array. The first item of each block, and the number of items.
        together: int. How many blocks are shuffled together.

    >>> blocks = Blocks(np.array([0, 3, 6, 9, 12]), together=2)
    >>> blocks(np.arange(12), seed=7, epoch=0)
    array([ 2,  6,  7,  1,  0,  8,  3,  4,  5,  9, 10, 11])
    """

    def __init__(self, edges: np.ndarray, together: int):
        self.edges, self.together = edges, together
        self._known: tuple[Any, ...] = ((), None, None)

    def __str__(self) -> str:
        return f"{len(self.edges) - 1} blocks"

    def __call__(self, positions: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return the items at `positions` of an epoch."""
        blocks, ends = self._blocks(seed, epoch)
        groups = ends[self.together - 1 :: self.together]
        groups = groups if len(groups) and groups[-1] == ends[-1] else np.append(groups, ends[-1])
        flat = np.ravel(positions)
        group = np.searchsorted(groups, flat, side="right")
        place = np.empty_like(flat)
        for number in np.flatnonzero(np.bincount(group)).tolist():
            these = group == number
            first = int(groups[number - 1]) if number else 0
            order = (int(groups[number]) - first, seed, epoch, flat[these] - first, number + 1)
            place[these] = first + epoch_order(*order)
        which = np.searchsorted(ends, place, side="right")
        begins = self.edges[blocks]
        items = begins[which] + place - (ends[which] - (self.edges[blocks + 1] - begins)[which])
        return np.asarray(items.reshape(np.shape(positions)))

    def _blocks(self, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the blocks in the order of an epoch, and where each of them ends in it."""
        key, blocks, ends = self._known
        if key != (seed, epoch):
            count = len(self.edges) - 1
            blocks = epoch_order(count, seed, epoch, np.arange(count))
            ends = np.cumsum(np.diff(self.edges)[blocks])
            self._known = (seed, epoch), blocks, ends  # at once: threads may ask at the same time
        return blocks, ends


class Order:
    """The item at each position of an epoch, for all items or for one shard.

    Args:
        size: int. Number of items.
        shuffle: bool. Shuffle anew each epoch. If False, items keep their order. Or Blocks, which
            are shuffled.
        seed: int ≥ 0; None draws one.
        num_shards: int. Number of shards, which take turns along the positions.
        shard: int. Number of this shard.

    >>> Order(5, shuffle=True, seed=7)(np.arange(5), epoch=0)
    array([2, 0, 4, 1, 3])
    """

    begin = 0  # position of the whole order from which shards take turns

    def __init__(
        self,
        size: int,
        shuffle: bool | Blocks = False,
        seed: int | None = None,
        num_shards: int = 1,
        shard: int = 0,
    ):
        self.size, self.shuffle, self._shuffle = size, bool(shuffle), shuffle
        self._is_seeded = seed is not None
        self.seed = check_integer("seed", seed, 0) if self._is_seeded else random_seed()
        self.num_shards, self.shard_index = num_shards, shard

    def __len__(self) -> int:
        """Number of items of the shard. Shards differ by at most one item."""
        return len(range(self.begin + self.shard_index, self.size, self.num_shards))

    @property
    def is_identity(self) -> bool:
        """Whether each item is at its own position."""
        return not self.shuffle and self.num_shards == 1 and not self.begin

    @property
    def is_local(self) -> bool:
        """Whether neighbouring items come close to each other."""
        return not self.shuffle or self.blocks is not None

    @property
    def blocks(self) -> Blocks | None:
        """The blocks that are shuffled; None if single items are, or nothing is."""
        return self._shuffle if isinstance(self._shuffle, Blocks) else None

    def __call__(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Return the items at `positions` of an epoch. After the last one, it comes again."""
        if self.num_shards > 1 or self.begin:
            positions = positions * self.num_shards + self.shard_index
            positions = np.minimum(positions + self.begin, self.size - 1)
        if not self.shuffle:
            return positions
        if self.blocks is not None:
            return self.blocks(positions, self.seed, epoch)
        return epoch_order(self.size, self.seed, epoch, positions)

    def shard(self, num_shards: int, index: int) -> "Order":
        """Return the share of one of `num_shards` workers: every `num_shards`-th item."""
        num_shards, index = check_shard(num_shards, index, self.size, "frames")
        if self.shuffle and not self._is_seeded:
            raise ValueError(
                "A shuffle for several workers needs `seed`, so that they share one order. "
                "Received: seed=None. Pass the same `seed` to all."
            )
        if self.num_shards > 1:
            raise ValueError(
                f"A shard cannot be sharded. Received: shard {self.shard_index} of "
                f"{self.num_shards}. Call `shard` once only."
            )
        return Order(self.size, self._shuffle, self.seed, num_shards, index)

    def from_position(self, begin: int) -> "Order":
        """Return this order from a position of the whole one on, which shards may divide anew."""
        rest = copy(self)
        rest.begin = begin
        return rest

    def with_seed(self, seed: int) -> "Order":
        """Return this order with another seed."""
        return Order(self.size, self._shuffle, seed, self.num_shards, self.shard_index)


@lru_cache(maxsize=8)
def _permutation(size: int, *key: int) -> np.ndarray:
    order = np.random.default_rng([*key]).permutation(size)
    order.flags.writeable = False
    return order


def _keys(count: int, *key: int) -> np.ndarray:
    return np.random.SeedSequence([*key]).generate_state(count, np.uint64)


def _bijection(size: int, keys: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Scramble `positions` within the next power of two, again while they are not below `size`.

    Multiplying by an odd number, adding, and xoring with a right shift are each invertible modulo a
    power of two. So their composition is a permutation. Repeated until the result is below `size`,
    it gives a permutation of `[0, size)` (Black and Rogaway, "Ciphers with Arbitrary Finite
    Domains", 2002).
    """
    bits = int(size - 1).bit_length()
    # All is modulo 2**bits. So the narrower word gives the same order, at twice the speed.
    word = np.uint32 if bits <= 32 else np.uint64
    mask, shift = word(2**bits - 1), word((bits + 1) // 2)
    factors, offsets = (keys[0::2] | np.uint64(1)).astype(word), keys[1::2].astype(word)

    def scramble(x: np.ndarray) -> np.ndarray:
        for factor, offset in zip(factors, offsets, strict=True):
            x *= factor
            x += offset
            x &= mask
            x ^= x >> shift
        return x

    order = scramble(positions.astype(word))
    outside = np.flatnonzero(order >= size)
    while outside.size:
        again = scramble(order[outside])
        order[outside] = again
        outside = outside[again >= size]
    return order.astype(np.int64)


def uniform(seed: int, epoch: int, index: np.ndarray, stream: int) -> np.ndarray:
    """Return one float64 in `[0, 1)` for each index. Draws of one index differ by `stream`.

    The mixing function is SplitMix64's (Steele, Lea and Flood, "Fast Splittable Pseudorandom
    Number Generators", 2014) over a counter. So no generator keeps a state.

    >>> uniform(7, 0, np.arange(3), stream=0).round(3)
    array([0.593, 0.807, 0.219])
    """
    key = np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0]
    x = np.asarray(index).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)) * 2.0**-53)


def random_seed() -> int:
    """Return a fresh seed."""
    return int(np.random.SeedSequence().generate_state(1)[0])
