"""The clock: targets, future, weights and validity, brought to one value for each step."""

from typing import Any

import numpy as np

from seqframe.gather import Rows
from seqframe.sequences import (
    are_columns,
    column_names,
    find_columns,
    is_symbolic,
    split_sequences,
    to_arrays,
)
from seqframe.vocabulary import Vocabulary


def find_targets(targets: Any, raw: list[Any], inputs: Rows, vocabulary: Vocabulary | None) -> Rows:
    """Return the rows that targets are taken from.

    Args:
        targets: what the user passed as `targets`.
        raw: the sequences as the user passed them.
        inputs: the sequences as arrays; returned as they are where they are the targets.
        vocabulary: Vocabulary that encodes symbols.

    Raises:
        ValueError: if columns do not exist, or values are not one for each step.

    >>> prices = [np.array([[1, 10], [2, 20]])]
    >>> find_targets(1, prices, Rows(prices), None).arrays
    (array([10, 20]),)
    """
    if targets is None:
        return inputs
    columns = _find_columns(targets, "targets", raw, inputs)
    if columns is not None:
        return columns
    outputs = _for_each_sequence(targets, "targets", inputs, vocabulary)
    _check_clock("targets", outputs, inputs)
    return Rows(outputs)


def find_future(
    future: Any, raw: list[Any], inputs: Rows, vocabulary: Vocabulary | None
) -> Rows | None:
    """Return the rows of values known ahead, or None where there are none."""
    if future is None:
        return None
    columns = _find_columns(future, "future", raw, inputs)
    if columns is not None:
        return columns
    outputs = _for_each_sequence(future, "future", inputs, vocabulary)
    for number, (array, output) in enumerate(zip(inputs.arrays, outputs, strict=True)):
        if len(output) < len(array):
            raise ValueError(
                "`future` must be on the same clock as the sequence and at least as long. Received:"
                f" {len(output)} steps for {len(array)}{_which(number, inputs)}. "
                "Row `t` of it belongs to step `t`: do not shift it."
            )
    return Rows(outputs)


def find_valid(valid: Any, inputs: Rows) -> Rows | None:
    """Return the rows that say which steps frames may touch, or None where all are."""
    if valid is None:
        return None
    _check_numeric("valid", valid)
    outputs = _for_each_sequence(valid, "valid", inputs)
    if outputs[0].dtype != bool or outputs[0].ndim != 1:
        raise TypeError(
            "`valid` must hold a bool for each step. Received: "
            f"dtype={outputs[0].dtype} and {outputs[0].ndim} dimensions."
        )
    _check_clock("valid", outputs, inputs)
    return Rows(outputs)


def find_weights(weights: Any, inputs: Rows, counts: np.ndarray | None) -> tuple[Rows, bool]:
    """Return the rows of sample weights, and whether they are one for each frame, not each step.

    Args:
        weights: what the user passed as `sample_weight`.
        inputs: Rows of the sequences.
        counts: int array. Frames of each sequence; None where frames can have no weights.
    """
    _check_numeric("sample_weight", weights)
    steps = [len(array) for array in inputs.arrays]
    if len(steps) > 1 and _is_flat(weights):
        weights = _split_flat(weights, steps, counts)
    outputs = _for_each_sequence(weights, "sample_weight", inputs)
    if outputs[0].ndim != 1 or outputs[0].dtype.kind in "cmM":
        raise ValueError(
            "`sample_weight` must hold one real number for each step, or for each frame. Received: "
            f"weights of shape {outputs[0].shape} and dtype {outputs[0].dtype}."
        )
    lengths = [len(output) for output in outputs]
    if lengths == steps:
        return Rows(outputs), False
    if counts is not None and lengths == counts.tolist():
        return Rows(outputs), True
    number = next(i for i, length in enumerate(lengths) if length != steps[i])
    frames = "" if counts is None else f", or for each of its {counts[number]} frames"
    raise ValueError(
        f"`sample_weight` must hold one number for each of the {steps[number]} steps"
        f"{_which(number, inputs)}{frames}. Received: {lengths[number]} numbers."
    )


def _split_flat(weights: Any, steps: list[int], counts: np.ndarray | None) -> list[np.ndarray]:
    """Return the weights of several sequences that stand in one array, one after the other."""
    for sizes in (steps, counts):
        if sizes is not None and len(weights) == sum(sizes):
            return np.split(np.asarray(weights), np.cumsum(sizes)[:-1])
    frames = "" if counts is None else f", or for each of their {sum(counts)} frames"
    raise ValueError(
        f"`sample_weight` must hold one number for each of the {sum(steps)} steps of the "
        f"{len(steps)} sequences{frames}. Received: {len(weights)} numbers."
    )


def _check_numeric(name: str, values: Any) -> None:
    if any(map(is_symbolic, split_sequences(values))):
        raise TypeError(
            f"`{name}` must be an array of one value for each step, not symbols or a name. "
            "Received: strings. Of a column, pass the values, as `table[name]`."
        )


def _find_columns(values: Any, name: str, raw: list[Any], inputs: Rows) -> Rows | None:
    """Return the columns of the sequence that are named, or None where values are no columns."""
    if len(inputs.row_shape) == 0 or not are_columns(values, inputs.row_shape[0]):
        return None
    kept = _as_slice(find_columns(values, column_names(raw[0]), inputs.row_shape[0], name))
    if isinstance(kept, list):
        return Rows(inputs.arrays, kept)
    return Rows([array[:, kept] for array in inputs.arrays])


def _for_each_sequence(
    values: Any, name: str, inputs: Rows, vocabulary: Vocabulary | None = None
) -> list[np.ndarray]:
    """Return the array that belongs to each sequence, of whatever length."""
    count = len(inputs.arrays)
    is_list_of_one = isinstance(values, (list, tuple)) and len(values) == 1
    split = count > 1 or (is_list_of_one and len(inputs.arrays[0]) != 1)
    given = split_sequences(values, vocabulary) if split else [values]
    if len(given) != count:
        raise ValueError(
            f"`{name}` must have one array for each sequence. "
            f"Received: {len(given)} for {count} sequences."
        )
    return to_arrays(given, name, vocabulary)


def _check_clock(name: str, outputs: list[np.ndarray], inputs: Rows) -> None:
    for number, (array, output) in enumerate(zip(inputs.arrays, outputs, strict=True)):
        if len(array) != len(output):
            shift = (
                "To predict later steps, use `gap` and `horizon` rather than shifting."
                if name == "targets"
                else f"Row `t` of `{name}` belongs to step `t`."
            )
            raise ValueError(
                f"`{name}` must be on the same clock as the sequence: one value for each step. "
                f"Received: {len(output)} {name} for {len(array)} steps{_which(number, inputs)}. "
                f"{shift}"
            )


def _which(number: int, inputs: Rows) -> str:
    return "" if len(inputs.arrays) == 1 else f" of sequence {number}"


def _is_flat(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return not any(map(np.ndim, values))
    return np.ndim(values) == 1


def _as_slice(columns: int | list[int]) -> int | list[int] | slice:
    """Return evenly spaced columns as a slice: indexing with it copies nothing.

    >>> _as_slice([1, 3]), _as_slice([1, 0]), _as_slice([0, 1, 3])
    (slice(1, 4, 2), slice(1, None, -1), [0, 1, 3])
    """
    if isinstance(columns, int):
        return columns
    step = columns[1] - columns[0] if len(columns) > 1 else 1
    stop = columns[-1] + (1 if step > 0 else -1)
    if columns == list(range(columns[0], stop, step)):
        return slice(columns[0], stop if stop >= 0 else None, step)
    return columns
