"""Shards: the part of frames that one of several processes holds. All parts are equally large."""

import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from seqframe.framing.geometry import Geometry
from seqframe.framing.index import Runs
from seqframe.framing.source import Source
from seqframe.framing.stored import rows_of


class Shard(NamedTuple):
    """Which part of a whole a process has: number of parts, number of this one, the whole's name.

    Shards of the same whole have the same name, which is a number below 2³². The last `short` parts
    repeat a frame at their end, with weight 0.
    """

    num_shards: int
    number: int
    whole: int
    short: int = 0


def shard_numbers(size: int, num_shards: int, index: int, drop_last: bool) -> tuple[range, bool]:
    """Return the numbers of a shard's items, and whether it has one less than the largest shard.

    >>> [shard_numbers(5, 2, index, drop_last=False) for index in range(2)]
    [(range(0, 3), False), (range(3, 5), True)]
    """
    share, rest = divmod(size, num_shards)
    if drop_last:
        return range(index * share, (index + 1) * share), False
    first = index * share + min(index, rest)
    return range(first, first + share + (index < rest)), index >= rest > 0


def cut_source(source: Source, geometry: Geometry, runs: Runs, idle: int) -> tuple[Source, Runs]:
    """Return the sequences that runs of frames touch, and the runs in these.

    The last `idle` runs get a copy of their sequence. Windows keep only the steps that they touch.
    """
    busy = len(runs.sequence) - idle
    own, which = np.unique(runs.sequence[:busy], return_inverse=True)
    numbers = np.concatenate([own, runs.sequence[busy:]])
    which = np.concatenate([which, len(own) + np.arange(idle)])
    part = source.select(numbers.tolist())
    if geometry.pads or (source.weight_per_frame and not geometry.ranks_are_steps):
        return part, runs._replace(sequence=which)
    first = np.full(len(numbers), np.iinfo(np.int64).max)
    last = np.zeros(len(numbers), np.int64)
    np.minimum.at(first, which, runs.first)
    np.maximum.at(last, which, runs.first + runs.size - 1)
    starts = first * geometry.stride
    part = part.cut(starts, last * geometry.stride + geometry.least_steps)
    return part, Runs(which, runs.first - first[which], runs.size, runs.stop - starts[which])


def weigh_last(source: Source, idle: int) -> Source:
    """Return sequences with weights, which are 0 in the last `idle` of them."""
    weight, per_frame = source.weight, source.weight_per_frame
    if weight is None:
        ones, per_frame = np.ones(source.steps.max(), np.float32), True
        arrays = [ones[:steps] for steps in source.steps.tolist()]
    else:
        arrays = [*weight.arrays]
    for number in range(len(arrays) - idle, len(arrays)):
        arrays[number] = np.zeros(arrays[number].shape, arrays[number].dtype)
    weight = rows_of(arrays, None if weight is None else weight.columns)
    return replace(source, weight=weight, weight_per_frame=per_frame)


def digest(arrays: Iterable[np.ndarray]) -> int:
    """Return a checksum of arrays.

    >>> digest([np.arange(3, dtype="int8")])
    139757951
    """
    found = 0
    for array in arrays:
        own = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
        found = zlib.crc32(own, found)
    return found
