"""Checks of the inputs of frames, and hints for sequences that may be meant otherwise."""

from typing import Any

import numpy as np

from seqframe.framing.gather import Rows
from seqframe.framing.sequences import is_symbolic
from seqframe.framing.source import Rule, Source
from seqframe.framing.tables import check_width
from seqframe.framing.vocabulary import Vocabulary


def texts_hint(given: list[Any]) -> str:
    """Return a hint for strings that may be meant as one sequence, or as many."""
    if all(isinstance(item, str) for item in given):
        return (
            " A list of strings means many texts. For one sequence of words pass `[words]`, "
            "or a `vocabulary` of words."
        )
    if len(given) == 1 and is_symbolic(given[0]) and any(len(item) > 1 for item in given[0]):
        return " An array of strings is one sequence of symbols. For many texts pass `list(texts)`."
    return ""


def stack_hint(sequences: Any) -> str:
    """Return a hint for an array that may be a stack of sequences."""
    if getattr(sequences, "ndim", 0) != 3:
        return ""
    count, *step = sequences.shape
    return (
        f" An array {tuple(sequences.shape)} is one sequence of {count} steps of shape "
        f"{tuple(step)}. For {count} sequences pass `list(stack)`, for one `[array]`."
    )


def check_inputs(framer: Rule, inputs: Rows, vocabulary: Vocabulary | None) -> None:
    """Raise if sequences do not have the framer's columns, layout or ids."""
    check_width(inputs.arrays[0], framer.columns, "sequences")
    if framer.layout == "tokens" and inputs.row_shape:
        raise ValueError(
            '`layout="tokens"` needs one-dimensional sequences, a token a step. Received: '
            f'steps of shape {inputs.row_shape}. Use `layout="timesteps"`.'
        )
    if vocabulary is None:
        return
    is_text = isinstance(vocabulary.symbols[0], str)
    hint = "" if is_text else " To encode symbols, pass them as a list, with `.tolist()`."
    # Files are not read for this.
    for array in () if inputs.is_stored else inputs.arrays:
        if array.dtype.kind not in "iu" or not array.size or isinstance(array, np.memmap):
            continue
        for value in array.min(), array.max():
            if not 0 <= value < len(vocabulary):
                raise ValueError(
                    "`sequences`, as arrays, must hold ids of the vocabulary, "
                    f"0 … {len(vocabulary) - 1}. Received: {value}.{hint}"
                )


def check_padding(framer: Rule, source: Source) -> None:
    if not framer.geometry.pads:
        return
    padded: list[Rows | None] = [source.inputs]
    if framer.geometry.return_sequences:
        padded.append(source.future)
    if framer.geometry.return_sequences and not framer.geometry.weighs_places:
        padded.append(source.targets)
    for rows in padded:
        if rows is not None and not _fits(framer.padding_value, rows.dtype):
            raise ValueError(
                f"`padding_value` must fit the dtype of the sequence, {rows.dtype}. Received: "
                f"padding_value={framer.padding_value}. Change it, or convert the sequence."
            )


def _fits(value: float, dtype: np.dtype) -> bool:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return value == value // 1 and limits.min <= value <= limits.max
    if dtype.kind in "fc":
        # An integer may be too large for NumPy.
        largest = float(np.finfo(dtype).max)
        return bool(value != value or abs(value) == np.inf or abs(value) <= largest)
    if dtype.kind == "b":
        return value in (0, 1)
    return dtype.kind == "V"  # NumPy's kind for short floats such as bfloat16
