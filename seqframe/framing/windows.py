"""Until the merge: the former place of the checks. Delete this file then."""

from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.geometry import Prefixes, Windows

__all__ = ["check_choice", "check_integer"]


def locate_windows(rank, stride, length):  # type: ignore[no-untyped-def]
    return rank * stride, 0 * rank + length


def locate_prefixes(rank, min_length, length):  # type: ignore[no-untyped-def]
    return Prefixes(length, min_length=min_length).locate(rank)


def window_span(length, rate=1):  # type: ignore[no-untyped-def]
    return Windows(length, rate=rate).span
