"""Checks of arguments that are integers or one of several words, and of the memory they need."""

import numbers
import os
from collections.abc import Hashable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

Choice = TypeVar("Choice")

_SHOWN = 5  # names in a message


def check_integer(name: str, value: Any, least: int) -> int:
    """Return an argument as an int. Raise if it is no integer, below `least`, or above 64 bits.

    >>> import numpy as np
    >>> check_integer("horizon", np.int64(3), 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer ≥ {least}. Received: {name}={value!r}.")
    number = int(value)
    if number < least:
        raise ValueError(f"`{name}` must be an integer ≥ {least}. Received: {name}={number}.")
    if number >= 2**63:
        raise ValueError(f"`{name}` must be an integer below 2**63. Received: {name}={number}.")
    return number


def check_choice(name: str, value: Choice, choices: tuple[Choice, ...]) -> Choice:
    """Return an argument that is one of `choices`, or raise."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}.")
    return value


def each_name(name: str, number: int, labels: int | Sequence[Hashable]) -> str:
    """Return what errors call one of the sequences of an argument.

    `labels` are the names of all sequences, or their number.

    >>> each_name("history", 0, 1), each_name("history", 0, 2), each_name("history", 0, ["Ann"])
    ('history', 'history[0]', "history['Ann']")
    """
    labels = range(labels) if isinstance(labels, int) else labels
    single = isinstance(labels, range) and len(labels) == 1
    return name if single else f"{name}[{labels[number]!r}]"


def first_names(names: Iterable[str]) -> str:
    """Return the first of many names, for a message.

    >>> first_names("ABCDEFG")
    'A, B, C, D, E, …'
    """
    names = list(names)
    return ", ".join([*names[:_SHOWN], *["…"][: len(names) > _SHOWN]])


def check_bytes(what: str, nbytes: int, way_out: str) -> None:
    """Raise if data would need more memory than the machine has.

    Without this check NumPy raises a MemoryError late, or the system ends the process.
    """
    if nbytes > machine_bytes():
        raise ValueError(
            f"{what} would take {nbytes:,} bytes. Received: a machine with {machine_bytes():,} "
            f"bytes of memory. {way_out}"
        )


@cache
def machine_bytes() -> int:
    """Return how many bytes of memory the machine has; 2**63 if the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a Unix
        return 2**63


def check_shard(num_shards: int, index: int, size: int, of: str) -> tuple[int, int]:
    """Return the number of shards and the number of one of them, if there can be so many."""
    num_shards = check_integer("num_shards", num_shards, 1)
    index = check_integer("index", index, 0)
    if index >= num_shards:
        raise ValueError(
            f"`index` must be below `num_shards`, {num_shards}. Received: index={index}."
        )
    if num_shards > size:
        raise ValueError(
            f"`num_shards` must not exceed the number of {of}, {size}. Received: "
            f"num_shards={num_shards}."
        )
    return num_shards, index
