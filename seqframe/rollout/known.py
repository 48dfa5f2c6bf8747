"""Which columns are to be known ahead: those that a model takes or has, but does not predict."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqframe.framing.sequences import find_columns
from seqframe.model.inputs import takes_future
from seqframe.rollout.predicted import as_list

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator


def known_names(generator: "Generator") -> tuple[str, ...] | None:
    """Return the names of what is to be known ahead, in order; None where they cannot be told.

    First what the model takes as its "future", then the columns that it does not predict.
    """
    framer = generator.framer
    names: list[str] = []
    if takes_future(generator.model):
        if framer.future_columns is None:
            return None
        names += framer.future_columns
    if framer.columns and generator.targets is not None and generator.feedback is None:
        columns = list(framer.columns)
        chosen = find_columns(as_list(generator.targets), columns, len(columns))
        predicted = [columns[k] for k in np.atleast_1d(chosen)]
        names += [name for name in columns if name not in (*predicted, *names)]
    return tuple(names) or None


def known_columns(
    chosen: list[int],
    features: int,
    names: list[str] | None,
    given: Sequence[str] | None,
    ahead: list[np.ndarray] | None,
) -> list[tuple[int, int]]:
    """Return which column of the future each column that is not predicted is."""
    others = [column for column in range(features) if column not in chosen]
    if not others:
        return []
    width = 0 if ahead is None else math.prod(ahead[0].shape[1:])
    if ahead is not None and ahead[0].ndim == 1:
        ahead[:] = [array[:, None] for array in ahead]
    if ahead is not None and names and given and all(names[column] in given for column in others):
        return [(column, given.index(names[column])) for column in others]
    if ahead is None or width != len(others) or ahead[0].ndim > 2:
        called = [names[column] for column in others] if names else others
        raise ValueError(
            f"The model does not predict the columns {called} of its input, so `future` must hold "
            f"them. Received: {'none' if ahead is None else f'{width} columns'}. Pass them, or "
            "give the `Generator` a `feedback`."
        )
    return [(column, k) for k, column in enumerate(others)]
