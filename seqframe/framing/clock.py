"""The clock: targets, future, weights and validity, brought to one value for each step."""

from typing import Any

import numpy as np

from seqframe.framing.columns import check_width, proper_names, select_columns, table_names
from seqframe.framing.gather import Rows
from seqframe.framing.sequences import (
    are_columns,
    check_unmasked,
    find_columns,
    is_symbolic,
    split_sequences,
    to_arrays,
)
from seqframe.framing.vocabulary import Vocabulary


def find_targets(
    targets: Any, names: list[str] | None, inputs: Rows, vocabulary: Vocabulary | None
) -> Rows:
    """Return the rows that targets are taken from.

    Args:
        targets: what the user passed as `targets`.
        names: of the sequences' columns, or None where they have none.
        inputs: the sequences as arrays; returned as they are where they are the targets.
        vocabulary: Vocabulary that encodes symbols.

    Raises:
        ValueError: if columns do not exist, or values are not one for each step.

    >>> prices = [np.array([[1, 10], [2, 20]])]
    >>> find_targets(1, None, Rows(prices), None).arrays
    (array([10, 20]),)
    """
    if targets is None:
        return inputs
    columns = _find_columns(targets, "targets", names, inputs)
    if columns is not None:
        return _rows_of(columns, inputs)
    outputs = _for_each_sequence(targets, "targets", inputs, vocabulary)
    _check_clock("targets", outputs, inputs)
    return Rows(outputs)


def name_targets(
    targets: Any, names: list[str] | None, inputs: Rows
) -> str | tuple[str, ...] | None:
    """Return the names of the columns that targets are, one of them as a str; None for others."""
    known = proper_names(names)
    if targets is None or known is None:
        return None
    columns = _find_columns(targets, "targets", names, inputs)
    if columns is None:
        return None
    return known[columns] if isinstance(columns, int) else tuple(known[k] for k in columns)


def find_future(
    future: Any,
    names: list[str] | None,
    inputs: Rows,
    vocabulary: Vocabulary | None,
    wanted: tuple[str, ...] | None,
) -> tuple[Rows | None, tuple[str, ...] | None]:
    """Return the rows of values known ahead, or None where there are none; and their names.

    Args:
        future: what the user passed as `future`.
        names: of the sequences' columns, or None where they have none.
        inputs: the sequences as arrays.
        vocabulary: Vocabulary that encodes symbols.
        wanted: the framer's `future_columns`.

    Raises:
        ValueError: if columns do not exist, or values are not one for each step.
    """
    if future is None:
        return None, wanted
    columns = _find_columns(future, "future", names, inputs)
    if columns is not None:
        known = proper_names(names)
        called = None if known is None else tuple(known[k] for k in np.atleast_1d(columns))
        if wanted is not None and called not in (None, wanted):
            raise ValueError(
                f"`future` must be the framer's `future_columns`, {list(wanted)}. Received: "
                f"future={future!r}. Leave one of the two out."
            )
        rows = _rows_of(columns, inputs)
        check_width(rows.read(0, 0, 1), wanted, "future")
        return rows, wanted or called
    given = [
        select_columns(item, wanted, "future")
        for item in _one_each(future, "future", inputs, vocabulary)
    ]
    outputs = to_arrays(given, "future", vocabulary)
    check_width(outputs[0], wanted, "future")
    for number, (array, output) in enumerate(zip(inputs.arrays, outputs, strict=True)):
        if len(output) < len(array):
            raise ValueError(
                "`future` must be on the same clock as the sequence and at least as long. Received:"
                f" {len(output)} steps for {len(array)}{_which(number, inputs)}. "
                "Row `t` of it belongs to step `t`: do not shift it."
            )
    return Rows(outputs), wanted or table_names(given[0])


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
    check_unmasked(weights, "sample_weight")
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


def _find_columns(
    values: Any, name: str, names: list[str] | None, inputs: Rows
) -> int | list[int] | None:
    """Return which columns of the sequence are meant, or None where values are no columns."""
    if len(inputs.row_shape) == 0 or not are_columns(values, inputs.row_shape[0]):
        return None
    return find_columns(values, names, inputs.row_shape[0], name)


def _rows_of(columns: int | list[int], inputs: Rows) -> Rows:
    """Return columns of the sequences as rows."""
    kept = _as_slice(columns)
    if isinstance(kept, list):
        return Rows(inputs.arrays, kept)
    return Rows([array[:, kept] for array in inputs.arrays])


def _for_each_sequence(
    values: Any, name: str, inputs: Rows, vocabulary: Vocabulary | None = None
) -> list[np.ndarray]:
    """Return the array that belongs to each sequence, of whatever length."""
    return to_arrays(_one_each(values, name, inputs, vocabulary), name, vocabulary)


def _one_each(
    values: Any, name: str, inputs: Rows, vocabulary: Vocabulary | None = None
) -> list[Any]:
    """Return what belongs to each sequence, as the user passed it."""
    count = len(inputs.arrays)
    is_list_of_one = isinstance(values, (list, tuple)) and len(values) == 1
    split = count > 1 or (is_list_of_one and len(inputs.arrays[0]) != 1)
    given = split_sequences(values, vocabulary) if split else [values]
    if len(given) != count:
        if name == "targets" and len(given) == 1 and _is_flat(values) and len(values) == count:
            raise ValueError(
                "`targets` must have one array for each sequence, a value for each step. Received: "
                f"one value for each of {count} sequences. A label of a whole sequence is repeated "
                "for its steps, as `[np.full(len(sequence), label) for sequence, label in "
                "zip(sequences, labels)]`, for a framer with `gap=-1`."
            )
        raise ValueError(
            f"`{name}` must have one array for each sequence. "
            f"Received: {len(given)} for {count} sequences."
        )
    return given


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
