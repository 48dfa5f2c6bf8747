"""Checks of arguments that are integers, or one of several words."""

import numbers
from typing import Any, TypeVar

Choice = TypeVar("Choice")


def check_integer(name: str, value: Any, least: int) -> int:
    """Return an argument as an int. Raise if it is no integer, or below `least`.

    >>> import numpy as np
    >>> check_integer("horizon", np.int64(3), 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer ≥ {least}. Received: {name}={value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be an integer ≥ {least}. Received: {name}={value}.")
    return int(value)


def check_choice(name: str, value: Choice, choices: tuple[Choice, ...]) -> Choice:
    """Return an argument that is one of `choices`, or raise."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}.")
    return value
