"""From what the user passed to a Source: sequences and all that is on their clock, checked."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.framing.beside import Groups, align, check_whole
from seqframe.framing.clock import find_future, find_targets, find_valid, find_weights, name_targets
from seqframe.framing.columns import check_positions, check_width, select_columns, table_names
from seqframe.framing.dates import NAME_GROUPS, check_dates, check_each
from seqframe.framing.gather import Rows
from seqframe.framing.groups import (
    check_one_series,
    drop_labels,
    find_groups,
    has_columns,
    names_of,
    split_table,
)
from seqframe.framing.sequences import is_symbolic, split_sequences, to_arrays
from seqframe.framing.source import Source
from seqframe.framing.tables import column_names
from seqframe.framing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer


def read_source(
    framer: "SequenceFramer",
    sequences: Any,
    *,
    by: Any,
    skip_nan: bool,
    **given: Any,
) -> tuple[Source, dict[str, Any]]:
    """Return the Source of what `SequenceFramer.frame` was given, and what was found of symbols
    and names: settings of the frames' own framer.

    Args:
        framer: SequenceFramer.
        sequences, by, skip_nan: as `frame` has them.
        **given: its `targets`, `future`, `sample_weight` and `valid`, which stand beside these.
    """
    raw = split_sequences(sequences, framer.vocabulary)
    if by is None and len(raw) == 1 and has_columns(raw[0], framer.by):
        by = framer.by
    raw, groups = _cut_groups(raw, by, framer)
    vocabulary = framer.vocabulary
    if vocabulary is None and raw and all(map(is_symbolic, raw)):
        if not any(map(len, raw)):
            raise no_frame(framer, 0 if len(raw) > 1 else None, 0)
        vocabulary = Vocabulary.from_sequences(*raw)
    raw = [select_columns(item, framer.columns, "sequences") for item in raw]
    inputs = Rows(to_arrays(raw, "sequences", vocabulary))
    _check_ids(inputs.arrays, vocabulary)
    check_width(inputs.arrays[0], framer.columns, "sequences")
    columns = framer.columns or table_names(raw[0])
    names = column_names(raw[0]) if columns is None else list(columns)
    if framer.layout == "tokens" and inputs.row_shape:
        raise ValueError(
            '`layout="tokens"` needs one-dimensional sequences, a token a step. Received: '
            f'steps of shape {inputs.row_shape}. Use `layout="timesteps"`.'
        )
    told = names_of(by) or framer.by
    keep = {"targets": names_of(framer.target_columns), "future": framer.future_columns}
    if given["targets"] is None:
        given["targets"] = framer.target_columns
    for name in "targets", "future":
        check_positions(given[name], raw[0], name)
    beside, spans = align(given, raw, told, groups, keep)
    ahead, future_columns = find_future(
        beside["future"], names, inputs, vocabulary, framer.future_columns
    )
    source = Source(
        inputs,
        find_targets(beside["targets"], names, inputs, vocabulary),
        ahead,
        valid=find_valid(beside["valid"], inputs),
        skip_nan=bool(skip_nan),
        labels=range(len(raw)),
    )
    if groups is not None:
        if ahead is not None and "future" not in spans:
            check_whole(len(ahead.arrays[0]), len(inputs.arrays[0]), "future", groups)
        source = source.groups(groups.labels, groups.edges, spans)
    counts = framer.count(source.steps)
    if not counts.all():
        number = int(np.argmin(counts))
        label = source.labels[number] if len(counts) > 1 else None
        hint = _texts_hint(sequences, raw) if groups is None and framer.vocabulary is None else ""
        raise ValueError(f"{no_frame(framer, label, int(source.steps[number]))}{hint}")
    _check_padding(framer, source)
    weights = beside["sample_weight"]
    if weights is not None:
        # Frames that are drawn, or that may be left out, have no number that the user could know.
        countable = framer.mode != "subsequences" and not source.may_leave_out
        found_weights = find_weights(weights, source.inputs, counts if countable else None)
        source = source.weighted(*found_weights)
    found = {
        "vocabulary": vocabulary,
        "columns": columns,
        "future_columns": future_columns,
        "target_columns": name_targets(beside["targets"], names, inputs),
        "by": told,
    }
    return source, found


def _cut_groups(
    raw: list[Any], by: Any, framer: "SequenceFramer"
) -> tuple[list[Any], Groups | None]:
    """Return sequences without what tells them apart, and the groups of one that is cut; raise if
    their dates do not go forward."""
    if by is not None and len(raw) == 1:
        table, columns = split_table(raw[0], by)
        groups = Groups(*find_groups(columns), names_of(by))
        check_dates(table, "sequences", NAME_GROUPS, groups.edges, groups.labels)
        return [table], groups
    if by is not None:
        raw = _each_without_labels(raw, by)
    elif framer.by:
        raw = [
            drop_labels(item, framer.by, f"sequences[{number}]", keep=framer.columns)
            for number, item in enumerate(raw)
        ]
    check_each(raw, "sequences", NAME_GROUPS)
    return raw, None


def _each_without_labels(raw: list[Any], by: Any) -> list[Any]:
    """Return a list's tables, each of one series, without the columns that name these."""
    names = names_of(by)
    if names is None:
        raise ValueError(
            "`by` as labels cuts one table into sequences. Received: a list of "
            f"{len(raw)} sequences. Stack them, or leave `by` out: each is one already."
        )
    for number, item in enumerate(raw):
        check_one_series(item, names, f"sequences[{number}]")
    return [split_table(item, by)[0] for item in raw]


def _texts_hint(sequences: Any, raw: list[Any]) -> str:
    """Return what to say to strings that may be meant as one sequence, or as many."""
    if not isinstance(sequences, str) and all(isinstance(item, str) for item in raw):
        return (
            " A list of strings is taken as many texts; for one sequence of words pass `[words]`, "
            "or a `vocabulary` of words."
        )
    alone = raw[0]
    if len(raw) > 1 or isinstance(alone, (str, list, tuple)) or not is_symbolic(alone):
        return ""
    return (
        f" A {type(alone).__name__} of strings is taken as one sequence of symbols; for many texts "
        "pass a list of them, as `list(texts)`."
        if any(len(symbol) > 1 for symbol in alone)
        else ""
    )


def _check_ids(arrays: tuple[np.ndarray, ...], vocabulary: Vocabulary | None) -> None:
    """Raise if arrays hold symbols, where these are numbers, in place of ids.

    Of a vocabulary of strings that cannot be confused, and files are not read to find it out.
    """
    if vocabulary is None or isinstance(vocabulary.symbols[0], str):
        return
    for array in arrays:
        if array.dtype.kind not in "iu" or not array.size or isinstance(array, np.memmap):
            continue
        for value in array.min(), array.max():
            if not 0 <= value < len(vocabulary):
                raise ValueError(
                    "`sequences`, as arrays, must hold ids of the vocabulary, "
                    f"0 … {len(vocabulary) - 1}. Received: {value}. Symbols are encoded where they "
                    "are a list: pass `.tolist()` of it."
                )


def _check_padding(framer: "SequenceFramer", source: Source) -> None:
    if not framer.pads:
        return
    padded = [source.inputs]
    if framer.return_sequences:
        padded += [rows for rows in (source.targets, source.future) if rows is not None]
    for rows in padded:
        if not _fits(framer.padding_value, rows.dtype):
            raise ValueError(
                f"`padding_value` must fit the dtype of the sequence, {rows.dtype}. Received: "
                f"padding_value={framer.padding_value}. Change it, or convert the sequence."
            )


def _fits(value: Any, dtype: np.dtype) -> bool:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return value == value // 1 and limits.min <= value <= limits.max
    if dtype.kind in "fc":
        return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    if dtype.kind == "b":
        return value in (0, 1)
    return dtype.kind == "V"  # NumPy's kind for short floats such as bfloat16


def no_frame(framer: "SequenceFramer", label: Hashable | None, steps: int) -> ValueError:
    """Return the error that says why a sequence of so many steps has no frame."""
    name = "sequence_length" if framer.mode == "windows" else "min_length"
    which = "a sequence" if label is None else f"sequence {label!r}, which is"
    extra = f" and gap={framer.gap}" if framer.gap else ""
    rate = f", sampling_rate={framer.sampling_rate}" if framer.sampling_rate > 1 else ""
    return ValueError(
        f"No frame fits: `{name}={getattr(framer, name)}`{rate} with `horizon={framer.horizon}`"
        f"{extra} needs {framer.least_steps} steps. Received: {which} of {steps} steps. "
        f"Shorten `{name}` or pass a longer sequence."
    )
