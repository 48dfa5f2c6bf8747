"""Locks: weights are read before or after a call of a training program, never during it."""

from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

Result = TypeVar("Result")

# A lock is held in one `with` statement, because an interruption cannot come between its parts.
_locks: WeakValueDictionary[int, Any] = WeakValueDictionary()  # by the model's id
_listed = RLock()


def lock_of(model: Any) -> Any:
    """Return the lock for the calls of programs that change a model's variables.

    It exists as long as somebody holds it, who must hold the model too.
    """
    with _listed:
        lock = _locks.get(id(model))
        if lock is None:
            lock = _locks[id(model)] = RLock()
        return lock


def between_calls(function: Callable[[], Result]) -> Result:
    """Return the result of a function that runs between the calls of such programs.

    It waits for those of every model, because models may share layers.

    >>> between_calls(lambda: 7)
    7
    """
    with _listed:
        locks = list(_locks.values())
    # Inside of a call of its own, whose end another thread may wait for, it must not wait.
    if any(lock._is_owned() for lock in locks):
        return function()
    return _holding(locks, function)


def _holding(locks: list[Any], function: Callable[[], Result]) -> Result:
    if not locks:
        return function()
    with locks[0]:
        return _holding(locks[1:], function)
