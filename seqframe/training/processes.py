"""Processes: what must be the same in all processes that train one model together."""

import zlib
from collections.abc import Callable
from typing import Any

from seqframe import backend


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
                "same frames in each process."
            )
