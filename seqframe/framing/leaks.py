"""Leaks: a target that the model could read off its inputs is refused."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.gather import Rows

_CHUNK = 2**16  # values that are compared together


def check_own_step(
    gap: int, shared: set[Hashable], names: Sequence[Hashable] | None, targets: Any
) -> None:
    """Raise if target columns are inputs at the target's own step.

    `shared` are the target columns among the inputs, and `names` all inputs.
    """
    if gap >= 0 or not shared:
        return
    way_out = "Pass the other features as `sequences`, and the target as an array"
    if names is not None:
        others = [name for name in names if name not in shared]
        way_out = f"Give the framer only other columns, as `columns={others}`"
    raise ValueError(
        "`targets` must not be inputs at their own step, and with `gap=-1` they are. Received: "
        f"targets={targets!r}, columns of the sequence. {way_out}; or set `gap=0`."
    )


def check_future_columns(
    future: set[Hashable], targets: set[Hashable], targets_are_named: bool
) -> None:
    """Raise if future covariates hold a target, which they have at the target's own step."""
    shared = sorted(map(str, future & targets))
    if shared:
        way_out = "it out of `future`" if targets_are_named else "them out of `future` or `targets`"
        raise ValueError(
            "`future` must not hold a target: the model would read its value at the target step. "
            f"Received: {shared} in both. Leave {way_out}, or give earlier values another name."
        )


def check_values(gap: int, inputs: Rows, targets: Rows) -> None:
    """Raise if a target equals an input at each step, and is an input at its own step.

    So a copy of a column is found as well. A constant proves nothing.
    """
    if gap < 0 and _has_copy(inputs, targets):
        raise ValueError(
            "`targets` must not be inputs at their own step, and with `gap=-1` they are. Received: "
            "an array that equals an input at every step. Take that column out of `sequences`; "
            "leave `targets` out to reconstruct the inputs; or set `gap=0`."
        )


def _has_copy(inputs: Rows, targets: Rows) -> bool:
    """Whether a column of the targets changes, and equals a column of the inputs throughout."""
    kinds = {inputs.dtype.kind, targets.dtype.kind}
    if len(kinds) > 1 and kinds & set("mMV"):  # NumPy cannot compare dates with numbers
        return False
    equal: Any = True
    varies: Any = False
    filled = int(np.argmax(targets.lengths > 0))
    first = targets.read(filled, 0, 1).reshape(1, -1, 1)
    for number, steps in enumerate(inputs.lengths.tolist()):
        width = max(inputs.read(number, 0, 1).size * first.size, 1)
        chunk = max(_CHUNK // width, 1)
        for start in range(0, steps, chunk):
            stop = min(start + chunk, steps)
            x = inputs.read(number, start, stop).reshape(stop - start, 1, -1)
            y = targets.read(number, start, stop).reshape(stop - start, -1, 1)
            # A missing value is not equal to itself.
            equal = equal & ((x == y) | ((x != x) & (y != y))).all(axis=0)
            if not np.any(equal):
                return False
            varies = varies | ((y != first) & (y == y)).any(axis=0)
    return bool(np.any(equal & varies))
