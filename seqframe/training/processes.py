"""Processes: what must be the same in all processes that train one model together."""

import zlib
from collections.abc import Callable
from typing import Any

from seqframe import backend
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.shards import Shard
from seqframe.training.data import Data


def check_same(find: Callable[[], dict[str, Any]]) -> None:
    """Raise in every process if one of them finds another fact than the first."""
    if not backend.spans_processes():
        return
    facts = find()
    digests = [zlib.crc32(repr(fact).encode()) for fact in facts.values()]
    first, *others = backend.by_process(digests)
    for number, name in enumerate(facts):
        differ = [k for k, each in enumerate(others, 1) if each[number] != first[number]]
        if differ:
            raise ValueError(
                "All processes must pass the same data and arguments, because they share the work. "
                f"Received: another {name} in the processes {differ} than in process 0. Make the "
                "same frames in each process, and shard them last if at all."
            )


def check_shards(data: Data) -> tuple[Data, Shard | None]:
    """Return data, and which shard of them this process feeds; None if all pass whole data.

    Processes that pass shards of lanes get the whole lanes. Raises in every process if one of them
    passes a shard that is not its own.
    """
    if not backend.spans_processes():
        return data, None
    shard = data._shard if isinstance(data, Frames | Lanes) else None
    found = [Shard(*each) for each in backend.by_process(list(shard or Shard(0, 0, 0)))]
    if not any(each.num_shards for each in found):
        return data, None
    received = [(each.num_shards, each.number) for each in found]
    if received != [(len(found), number) for number in range(len(found))]:
        told = ", ".join(
            f"shard({count}, {index})" if count else "none" for count, index in received
        )
        raise ValueError(
            "Processes that train together must pass each its own shard, or all the same whole "
            f"data. Received: {told} in the processes 0 to {len(found) - 1}. Pass "
            "`frames.shard(jax.process_count(), jax.process_index())`."
        )
    differ = [number for number, each in enumerate(found) if each.whole != found[0].whole]
    if differ:
        raise ValueError(
            "Processes that train together must pass shards of the same whole. Received: shards of "
            f"other frames in the processes {differ} than in process 0. Make the same frames in "
            "each process, and shard them last."
        )
    return (data._whole, None) if isinstance(data, Lanes) else (data, shard)
