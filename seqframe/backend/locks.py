"""Turns: weights are read before or after a call of a training program, never during it."""

import threading
from collections.abc import Callable
from typing import Literal, TypeVar

from seqframe.backend.interrupts import PutOff

Result = TypeVar("Result")
Kind = Literal["call", "read"]

# By the number of a thread. An interruption such as Ctrl-C can come after any call of a method,
# never before it or inside. So each step of giving a turn back is one method of a dict or a set.
_waiting: dict[int, None] = {}  # in the order of arrival, so that nobody waits for ever
_running: dict[int, Kind] = {}  # all of one kind
_brief: set[int] = set()  # reads that began while no call ran or waited
_changed = threading.Condition()
_SECONDS = 0.05  # until a thread looks again, because an interrupted one may not have woken it


def call_program(function: Callable[[], Result]) -> Result:
    """Return the result of a call of a program that changes a model's variables.

    It runs alone or beside other such calls.

    >>> call_program(lambda: 7)
    7
    """
    return _in_turn("call", function)


def between_calls(function: Callable[[], Result]) -> Result:
    """Return the result of a function that runs between the calls of such programs.

    It waits for those of every model, because models may share layers.

    >>> between_calls(lambda: 7)
    7
    """
    # Mostly there is no call, and a turn takes as long as a small model's step. A call enters
    # `_waiting` before it looks at `_brief`, and a read enters `_brief` before it looks at
    # `_waiting`. So at least one of them sees the other.
    me = threading.get_ident()
    if me not in _brief and me not in _running:
        try:
            _brief.add(me)
            if not (_waiting or _running):
                return function()
        finally:
            _brief.discard(me)
            if _waiting:
                _wake()
    return _in_turn("read", function)


def _in_turn(kind: Kind, function: Callable[[], Result]) -> Result:
    """Wait for the end of what runs, unless it is of the same kind, and run a function."""
    me = threading.get_ident()
    if me in _running or me in _brief:
        return function()  # it is part of a call or a read, whose end it must not wait for

    def is_next() -> bool:
        is_free = {*_running.values()} <= {kind} and not (kind == "call" and _brief)
        first, *_ = _waiting
        return first == me and is_free

    try:
        with PutOff(), _changed:
            _waiting[me] = None
            while not _changed.wait_for(is_next, _SECONDS):
                pass
            _running[me] = kind
            _waiting.pop(me)
            _changed.notify_all()  # the next one may be of the same kind
        return function()
    finally:
        try:
            _waiting.pop(me, None)
        finally:
            try:
                _running.pop(me, None)
            finally:
                _wake()


def _wake() -> None:
    with PutOff(), _changed:
        _changed.notify_all()
