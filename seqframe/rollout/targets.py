"""Which columns a model predicts, and which columns its future covariates have to hold."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqframe.aliases import Columns
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.sequences import find_columns

#: The columns that a model predicts, by name or position: one, or a list.
Targets = str | int | Sequence[str | int]


def choose_targets(
    targets: Columns | None, framer: SequenceFramer, has_feedback: bool
) -> Targets | None:
    """Return the columns that a model predicts, by name or position, or None if it predicts all.

    Args:
        targets: the user's `targets`. None: the framer's `target_columns`.
        framer: SequenceFramer.
        has_feedback: bool. Whether the user's function makes the next input, of any prediction.

    Raises:
        ValueError: if they are not among the framer's columns, or not its target columns.

    Example:

    >>> framer = SequenceFramer(2, columns=["units", "price"], target_columns="units")
    >>> choose_targets(None, framer, has_feedback=False)
    'units'
    """
    trained, columns = framer.target_columns, framer.columns
    own = trained if trained is None or isinstance(trained, str) else list(trained)
    names = None if own is None else tuple(np.atleast_1d(own).tolist())
    if targets is None:
        return None if has_feedback or names == columns else own
    chosen: Any = targets.tolist() if hasattr(targets, "tolist") else targets
    chosen = list(chosen) if isinstance(chosen, tuple) else chosen
    given = chosen
    if columns is not None:
        places = find_columns(chosen, list(columns), len(columns))
        given = [columns[place] for place in np.atleast_1d(places)]
    given = tuple(given) if isinstance(given, list) else (given,)
    if names is not None and given != names and all(isinstance(name, str) for name in given):
        raise ValueError(
            f"`targets` must be the columns that the model was trained on, {own!r}. Received: "
            f"targets={targets!r}. Leave `targets` out."
        )
    return chosen


def warn_of_positions(
    names: Sequence[str] | None,
    targets: Targets | None,
    framer: SequenceFramer,
    stacklevel: int = 3,
) -> None:
    """Warn if targets are found by name in a table whose columns are otherwise read by position.

    Args:
        names: the names of the table's columns, or None.
        targets: the generator's.
        framer: SequenceFramer. If it knows columns, all of them are read by name.
        stacklevel: int, for `warnings.warn`: 3 is the caller's caller.
    """
    if framer.columns is None and has_names(targets) and names is not None and len(names) > 1:
        warnings.warn(
            "The framer knows no columns, so the columns of a table are read in their order. "
            f"Received: targets={targets!r} of a table with the columns {list(names)}. Pass the "
            "frames' own framer, `Generator(model, frames.framer)`, to read tables by name.",
            stacklevel=stacklevel,
        )


def future_names(
    framer: SequenceFramer, targets: Targets | None, takes_future: bool
) -> tuple[str, ...] | None:
    """Return the names of the future covariates, in order; None if they are not known.

    The model's own "future" comes first, then the columns of the history that it does not predict.

    Args:
        framer: SequenceFramer.
        targets: the generator's; None if the model predicts all, or a function feeds back.
        takes_future: bool. Whether the model takes a "future".
    """
    names: list[str] = []
    if takes_future:
        if framer.future_columns is None:
            return None
        names += framer.future_columns
    if framer.columns and targets is not None:
        others = unpredicted(targets, framer.columns)
        names += [name for name in others if name not in names]
    return tuple(names) or None


def has_names(targets: Targets | None) -> bool:
    """Whether some targets are given by name."""
    several = targets if isinstance(targets, (list, tuple)) else [targets]
    return any(isinstance(target, str) for target in several)


def unpredicted(targets: Targets, columns: Sequence[str]) -> list[str]:
    """Return the columns that are not among the targets.

    >>> unpredicted(["units", 2], ["units", "price", "holiday"])
    ['price']
    """
    chosen = np.atleast_1d(find_columns(targets, list(columns), len(columns)))
    return [name for place, name in enumerate(columns) if place not in chosen]


def future_places(
    chosen: list[int],
    features: int,
    names: Sequence[str] | None,
    given: Sequence[str] | None,
    future: np.ndarray | None,
) -> tuple[tuple[int, int], ...]:
    """Return, for each column that is not predicted, its place and its place in the future.

    Args:
        chosen: list of int, the predicted columns.
        features: int. Columns of a history.
        names: names of these columns, or None.
        given: names of the future's columns, or None.
        future: array `(steps, columns)`, or None.
    """
    others = [column for column in range(features) if column not in chosen]
    if not others:
        return ()
    if future is not None and names and given and all(names[k] in given for k in others):
        return tuple((column, list(given).index(names[column])) for column in others)
    width = None if future is None else math.prod(future.shape[1:])
    if future is None or width != len(others) or future.ndim > 2:
        called = [names[column] for column in others] if names else others
        raise ValueError(
            f"`future` must hold the columns {called}, which the model does not predict. "
            f"Received: {'none' if future is None else f'{width} columns'}. Pass them, or "
            "give the `Generator` a `feedback`."
        )
    return tuple((column, k) for k, column in enumerate(others))
