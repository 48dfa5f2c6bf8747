"""What frames predict: the sequence itself, columns of it, or values on the same clock."""

from typing import Any

import numpy as np

from seqframe.sequences import (
    are_columns,
    column_names,
    find_columns,
    split_sequences,
    to_arrays,
)
from seqframe.vocabulary import Vocabulary


def find_targets(
    targets: Any, raw: list[Any], inputs: list[np.ndarray], vocabulary: Vocabulary | None
) -> list[np.ndarray]:
    """Return the array of each sequence that targets are taken from.

    Args:
        targets: what the user passed as `targets`.
        raw: the sequences as the user passed them.
        inputs: the sequences as arrays; returned as they are where they are the targets.
        vocabulary: Vocabulary that encodes symbols.

    Raises:
        ValueError: if columns do not exist, or values are not one for each step.

    >>> prices = [np.array([[1, 10], [2, 20]])]
    >>> find_targets(1, prices, prices, None)
    [array([10, 20])]
    """
    if targets is None:
        return inputs
    if inputs[0].ndim > 1 and are_columns(targets, inputs[0].shape[1]):
        columns = find_columns(targets, column_names(raw[0]), inputs[0].shape[1])
        return [array[:, _as_slice(columns)] for array in inputs]
    given = split_sequences(targets, vocabulary) if len(raw) > 1 else [targets]
    is_list_of_one = isinstance(targets, (list, tuple)) and len(targets) == 1
    if len(raw) == 1 and is_list_of_one and len(inputs[0]) != 1:
        given = list(targets)
    if len(given) != len(raw):
        raise ValueError(
            "`targets` must have one array for each sequence. "
            f"Received: {len(given)} for {len(raw)} sequences."
        )
    outputs = to_arrays(given, "targets", vocabulary)
    for number, (array, output) in enumerate(zip(inputs, outputs, strict=True)):
        if len(array) != len(output):
            which = "" if len(inputs) == 1 else f" for sequence {number}"
            raise ValueError(
                "`targets` must be on the same clock as the sequence: one value for each step. "
                f"Received: {len(output)} targets for {len(array)} steps{which}. "
                "To predict later steps, use `gap` and `horizon` rather than shifting."
            )
    return outputs


def _as_slice(columns: int | list[int]) -> int | list[int] | slice:
    """Return evenly spaced columns as a slice: indexing with it copies nothing.

    >>> _as_slice([1, 3]), _as_slice([0, 1, 3])
    (slice(1, 4, 2), [0, 1, 3])
    """
    if isinstance(columns, int):
        return columns
    step = columns[1] - columns[0] if len(columns) > 1 else 1
    if step > 0 and columns == list(range(columns[0], columns[-1] + 1, step)):
        return slice(columns[0], columns[-1] + 1, step)
    return columns
