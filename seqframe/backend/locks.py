"""Turns: weights are read before or after a call of a training program, never during it."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

from seqframe.backend.interrupts import PutOff

Result = TypeVar("Result")
Kind = Literal["call", "read"]

_changed = threading.Condition()
_waiting: deque[object] = deque()  # in the order of arrival, so that nobody waits for ever
_running: list[Kind] = []  # all of one kind
_brief: set[object] = set()  # reads that began while no call ran or waited
_own = threading.local()


@contextmanager
def call_of_a_program() -> Iterator[None]:
    """Run a call of a program that changes a model's variables, alone or beside other calls."""
    with _turn("call"):
        yield


def between_calls(function: Callable[[], Result]) -> Result:
    """Return the result of a function that runs between the calls of such programs.

    It waits for those of every model, because models may share layers.

    >>> between_calls(lambda: 7)
    7
    """
    # Mostly there is no call, and a turn takes as long as a small model's step. A call enters the
    # queue before it looks at `_brief`, and a read enters `_brief` before it looks at the queue. So
    # at least one of them sees the other.
    place = object()
    try:
        _brief.add(place)
        if not (_waiting or _running or getattr(_own, "has_turn", False)):
            _own.has_turn = True
            try:
                return function()
            finally:
                _own.has_turn = False
    finally:
        _brief.discard(place)
        if _waiting:
            with PutOff(), _changed:
                _changed.notify_all()
    with _turn("read"):
        return function()


@contextmanager
def _turn(kind: Kind) -> Iterator[None]:
    """Wait for the end of what runs, unless it is of the same kind."""
    if getattr(_own, "has_turn", False):
        # It is part of a call, whose end it must not wait for.
        yield
        return
    place = object()

    def is_next() -> bool:
        is_free = kind in (_running or [kind]) and not (kind == "call" and _brief)
        return _waiting[0] is place and is_free

    try:
        with PutOff(), _changed:
            _waiting.append(place)
            _changed.wait_for(is_next)
            _waiting.popleft()
            _running.append(kind)
            _own.has_turn = True
            _changed.notify_all()  # the next one may be of the same kind
        yield
    finally:
        with PutOff(), _changed:
            if getattr(_own, "has_turn", False):
                _own.has_turn = False
                _running.pop()
            elif place in _waiting:
                _waiting.remove(place)
            _changed.notify_all()
