"""Reading: the arguments of `SequenceFramer.frame` become the arrays of a Source."""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from seqframe.framing.alignment import (
    Spans,
    check_series,
    match_groups,
    match_index,
    match_spans,
)
from seqframe.framing.checks import each_name
from seqframe.framing.clock import read_clock
from seqframe.framing.dates import check_dates, check_each
from seqframe.framing.gather import Rows
from seqframe.framing.holes import warn_of_holes
from seqframe.framing.inputs import check_inputs, check_padding, stack_hint, texts_hint
from seqframe.framing.leaks import check_future_columns, check_own_step, check_values
from seqframe.framing.left_out import no_frame_error
from seqframe.framing.sequences import (
    are_columns,
    as_names,
    as_plain,
    find_columns,
    is_symbolic,
    name_sequences,
    split_sequences,
    take_named,
    to_arrays,
)
from seqframe.framing.source import Rule, Source
from seqframe.framing.stored import rows_of
from seqframe.framing.stores import Store, open_stores
from seqframe.framing.tables import (
    Groups,
    Table,
    check_by,
    check_unmasked,
    check_width,
    column_names,
    drop_labels,
    label_names,
    label_of,
    library_of,
    names_of,
    proper_names,
    read_table,
    read_tables,
    select_columns,
    split_table,
    table_names,
)
from seqframe.framing.vocabulary import Vocabulary

#: Columns of a sequence: positions among the inputs, or names. A single one gives no axis.
Columns: TypeAlias = int | str | list[int] | list[str]


def read_source(
    framer: Rule,
    sequences: Any,
    *,
    targets: Any,
    future: Any,
    sample_weight: Any,
    valid: Any,
    by: Any,
    skip_nan: bool,
) -> tuple[Source, dict[str, Any], str]:
    """Return the Source of the arguments of `SequenceFramer.frame`, and the settings found in them.

    The settings are the vocabulary and the names of columns. The frames' own framer gets them. A
    text says how strings were read, for messages about short sequences.
    """
    sequences, targets, future, sample_weight, valid = map(
        open_stores, (sequences, targets, future, sample_weight, valid)
    )
    given, labels = name_sequences(sequences, framer.vocabulary)
    targets, future, sample_weight, valid = (
        take_named(values, name, labels)
        for name, values in {
            "targets": targets,
            "future": future,
            "sample_weight": sample_weight,
            "valid": valid,
        }.items()
    )
    read = read_tables(given)
    whole, groups = _find_groups(read, by, framer, labels)
    vocabulary = framer.vocabulary
    if vocabulary is None and all(map(is_symbolic, whole)):
        if not any(map(len, whole)):
            raise no_frame_error(framer.geometry, np.zeros(len(whole), int))
        vocabulary = Vocabulary.from_sequences(*map(as_plain, whole))
    tables = whole
    if framer.columns is not None:
        tables = [select_columns(item, framer.columns, "sequences") for item in whole]
    inputs = rows_of(to_arrays(tables, "sequences", vocabulary, labels))
    check_inputs(framer, inputs, vocabulary)
    columns = framer.columns or table_names(tables[0])
    names = column_names(tables[0]) if columns is None else list(columns)
    by_names = names_of(by) or framer.by
    reader = _Reader(inputs, read, whole, names, vocabulary, groups, by_names, labels)
    if targets is None:
        targets = framer.target_columns
    own_inputs = reader.cut(inputs)
    outputs, target_columns = reader.targets(targets, names_of(framer.target_columns))
    ahead, future_columns = reader.future(future, framer.future_columns)
    _check_leaks(framer, reader, own_inputs, targets, outputs, future, future_columns)
    source = Source(
        own_inputs,
        own_inputs if outputs is None else outputs,
        ahead,
        valid=reader.valid(valid),
        skip_nan=bool(skip_nan),
        labels=_own_labels(read, by_names, labels) if groups is None else groups.labels,
        clock=read_clock(whole, groups),
        library=library_of(read[0]),
    )
    check_padding(framer, source)
    counts = framer.geometry.count(source.steps)
    is_text = isinstance(sequences, str) or groups is not None or framer.vocabulary
    stack = stack_hint(sequences)
    hint = stack if is_text else texts_hint(given) + stack
    if not counts.any():
        raise no_frame_error(framer.geometry, source.steps, hint)
    if source.clock is not None and framer.geometry.least_steps > 1:
        warn_of_holes(source.clock.spans, source.labels, stacklevel=3)
    if stack:
        warnings.warn(f"`sequences` may be a stack.{stack}", stacklevel=3)
    if sample_weight is not None:
        # The user cannot number frames that are drawn, or that may be left out.
        countable = not (framer.geometry.draws or source.may_leave_out)
        weight, per_frame = reader.weights(sample_weight, own_inputs, counts if countable else None)
        source = replace(source, weight=weight, weight_per_frame=per_frame)
    elif framer.geometry.weighs_places:
        # A single 1 in memory, at all steps. Padding weighs 0.
        ones = [np.broadcast_to(np.float32(1), steps) for steps in source.steps.tolist()]
        source = replace(source, weight=Rows(ones))
    found = {
        "vocabulary": vocabulary,
        "columns": columns,
        "future_columns": future_columns,
        "target_columns": target_columns,
        "by": reader.by,
    }
    return source, found, hint


def _find_groups(
    tables: list[Any], by: Any, framer: Rule, labels: Sequence[Hashable]
) -> tuple[list[Any], Groups | None]:
    """Return sequences without columns of labels, and the groups of a table that `by` cuts."""
    single = len(tables) == 1 and isinstance(labels, range)
    if by is None and single and framer.by and {*framer.by} <= {*label_names(tables[0])}:
        by = framer.by
    if by is not None and single:
        table, groups = split_table(tables[0], by)
        check_dates(table, "sequences", groups.edges, groups.labels)
        return [table], groups
    wanted, keep = framer.by, framer.columns
    if by is not None:
        wanted, keep = names_of(by), None
        if wanted is None:
            raise ValueError(
                "`by` as labels cuts one table into sequences. Received: a list of "
                f"{len(tables)} sequences. Stack them, or leave `by` out: each is one already."
            )
        for item in tables:
            check_by(item, wanted)
    if wanted:
        tables = [
            drop_labels(item, wanted, f"sequences[{labels[number]!r}]", keep)
            for number, item in enumerate(tables)
        ]
    check_each(tables, "sequences", labels)
    return tables, None


def _own_labels(
    tables: list[Any], by: tuple[str, ...] | None, labels: Sequence[Hashable]
) -> Sequence[Hashable]:
    """Return the labels that tables of one series each hold; else their names or numbers."""
    if not by or not isinstance(labels, range):
        return labels
    held = [tuple(label_of(table, by).get(name) for name in by) for table in tables]
    if len(set(held)) < len(held) or any(None in each for each in held):
        return labels
    return [each[0] for each in held] if len(by) == 1 else held


@dataclass(frozen=True)
class _Reader:
    """Reads the values at the steps of sequences."""

    inputs: Rows  # of the sequences, before they are cut into groups
    read: list[Any]  # the sequences, as `read_tables` returns them
    tables: list[Any]  # the same without columns of labels
    names: list[str] | None  # columns of the inputs
    vocabulary: Vocabulary | None
    groups: Groups | None  # of the only table
    by: tuple[str, ...] | None  # columns of labels
    labels: Sequence[Hashable]  # of the sequences, before they are cut into groups

    def targets(
        self, targets: Any, keep: tuple[str, ...] | None
    ) -> tuple[Rows | None, str | tuple[str, ...] | None]:
        """Return the rows of the targets, None if sequences predict themselves; and their names."""
        if targets is None:
            return None, None
        columns = self._columns(targets, "targets")
        if columns is None:
            return self._on_clock(targets, "targets", self.vocabulary, keep)[0], None
        called = self._called(columns)
        rows = self.cut(self._rows_of(columns, "targets"))
        return rows, called[0] if called and isinstance(columns, (int, str)) else called

    def future(
        self, future: Any, wanted: tuple[str, ...] | None
    ) -> tuple[Rows | None, tuple[str, ...] | None]:
        """Return the rows of the future covariates, or None; and their names."""
        if future is None:
            return None, wanted
        columns = self._columns(future, "future")
        if columns is not None:
            called = self._called(columns)
            if wanted is not None and called not in (None, wanted):
                raise ValueError(
                    f"`future` must be the framer's `future_columns`, {list(wanted)}. Received: "
                    f"future={future!r}. Leave one of the two out."
                )
            rows = self._rows_of(columns, "future")
            check_width(rows.read(0, 0, 1), wanted, "future")
            return self.cut(rows), wanted or called
        rows, names = self._on_clock(future, "future", self.vocabulary, wanted)
        return rows, wanted or names

    def valid(self, valid: Any) -> Rows | None:
        """Return the rows that say which steps frames may touch, or None if they may touch all."""
        if valid is None:
            return None
        _check_numeric("valid", valid)
        rows, _ = self._on_clock(valid, "valid", None, None)
        if rows.dtype != bool or rows.row_shape:
            raise TypeError(
                "`valid` must hold a bool for each step. Received: "
                f"dtype={rows.dtype} and {1 + len(rows.row_shape)} dimensions."
            )
        return rows

    def weights(self, weights: Any, inputs: Rows, counts: np.ndarray | None) -> tuple[Rows, bool]:
        """Return the rows of sample weights, and whether they are one for each frame."""
        _check_numeric("sample_weight", weights)
        weights, _ = self._align(weights, "sample_weight", None)
        steps = [len(array) for array in inputs.arrays]
        if len(steps) > 1 and _is_flat(weights):
            weights = _split_flat(weights, steps, counts)
        each = _one_each(weights, "sample_weight", inputs)
        outputs = to_arrays(each, "sample_weight", labels=self.labels)
        if outputs[0].ndim != 1 or outputs[0].dtype.kind in "cmM":
            raise ValueError(
                "`sample_weight` must hold one real number for each step, or for each frame. "
                f"Received: weights of shape {outputs[0].shape} and dtype {outputs[0].dtype}."
            )
        lengths = [len(output) for output in outputs]
        if lengths == steps:
            return rows_of(outputs), False
        if counts is not None and lengths == counts.tolist():
            return rows_of(outputs), True
        number = next(i for i, length in enumerate(lengths) if length != steps[i])
        frames = "" if counts is None else f", or for each of its {counts[number]} frames"
        raise ValueError(
            f"`sample_weight` must hold one number for each of the {steps[number]} steps"
            f"{self._which(number, len(inputs.arrays))}{frames}. Received: {lengths[number]} "
            "numbers."
        )

    def cut(self, rows: Rows, spans: "Spans | None" = None) -> Rows:
        """Return rows cut by group, or the rows of a list as they are."""
        if self.groups is None:
            return rows
        edges = self.groups.edges
        return rows.select([0] * len(self.groups.labels)).cut(*(spans or (edges[:-1], edges[1:])))

    def keys(self, values: Any, name: str) -> set[Hashable]:
        """Return what tells the columns of `targets` or `future` apart: names, or positions."""
        columns = None if values is None else self._columns(values, name)
        if columns is not None:
            return set(self._called(columns) or _listed(columns))
        each = values if isinstance(values, (list, tuple)) else [values]
        table = read_table(each[0]) if len(each) else None
        if not isinstance(table, Table):
            return set()
        named = [table.names[0]] if table.ndim == 1 else (table_names(table) or ())
        return {name for name in named if isinstance(name, str) and name}

    def is_named(self, values: Any) -> bool:
        """Whether `targets` or `future` names columns of the sequence."""
        return values is not None and self._columns(values, "targets") is not None

    def _columns(self, values: Any, name: str) -> Columns | None:
        """Return the columns of the sequence that `values` names, or None.

        They are positions among the inputs; or names, if some are not among the inputs.
        """
        shape = self.inputs.row_shape
        if not shape:
            return None
        beside = self._beside(values)
        if beside is not None:
            return beside
        if not are_columns(values, shape[0]):
            return None
        return find_columns(values, self.names, shape[0], name)

    def _beside(self, values: Any) -> str | list[str] | None:
        """Return names if all are columns of the table, and some are no inputs; else None."""
        known = column_names(self.tables[0])
        wanted = as_names(values)
        listed = [wanted] if isinstance(wanted, str) else wanted
        if known is None or not isinstance(listed, (list, tuple)) or not listed:
            return None
        if not all(isinstance(item, str) and item in known for item in listed):
            return None
        if len(set(listed)) < len(listed) or set(listed) <= set(self.names or ()):
            return None
        return wanted if isinstance(wanted, str) else list(listed)

    def _rows_of(self, columns: Columns, name: str) -> Rows:
        """Return columns of the sequences as rows."""
        places = [column for column in _listed(columns) if isinstance(column, int)]
        if places:
            return self.inputs.pick(columns if isinstance(columns, int) else places)
        wanted = tuple(map(str, _listed(columns)))
        arrays = to_arrays([select_columns(item, wanted, name) for item in self.tables], name)
        return rows_of(arrays).pick(0) if isinstance(columns, str) else rows_of(arrays)

    def _called(self, columns: Columns) -> tuple[str, ...] | None:
        known = proper_names(self.names)
        listed = _listed(columns)
        if isinstance(listed[0], str):
            return tuple(map(str, listed))
        return None if known is None else tuple(known[k] for k in listed)

    def _on_clock(
        self,
        values: Any,
        name: str,
        vocabulary: Vocabulary | None,
        keep: tuple[str, ...] | None,
    ) -> tuple[Rows, tuple[str, ...] | None]:
        """Return rows of one value for each step, and their names if they are a table.

        `keep` names columns that are values even if they hold labels.
        """
        aligned, spans = self._align(values, name, keep)
        each = _one_each(aligned, name, self.inputs, vocabulary)
        if name == "future":
            each = [select_columns(item, keep, name) for item in each]
        outputs = to_arrays(each, name, vocabulary, self.labels)
        if name == "future":
            check_width(outputs[0], keep, name)
        longer = name == "future" and (self.groups is None or spans is not None)
        advice = f"Row `t` of `{name}` belongs to step `t`: do not shift it."
        if name == "targets":
            advice = "To predict later steps, use `gap` and `horizon` rather than shifting."
        elif name == "future" and self.groups is not None:
            by = self.groups.by
            advice = f"Give it the columns of labels, {list(by)}." if by else "Pass lists."
        for number, (array, output) in enumerate(zip(self.inputs.arrays, outputs, strict=True)):
            if len(output) < len(array) or (len(output) > len(array) and not longer):
                raise ValueError(
                    f"`{name}` must be on the same clock as the sequence: "
                    f"{'at least ' if longer else ''}one value for each step. Received: "
                    f"{len(output)} {'targets' if name == 'targets' else 'rows'} for {len(array)} "
                    f"steps{self._which(number, len(outputs))}. {advice}"
                )
        return self.cut(rows_of(outputs), spans), table_names(each[0])

    def _align(
        self, values: Any, name: str, keep: tuple[str, ...] | None
    ) -> "tuple[Any, Spans | None]":
        """Return values without columns of labels, and the rows of each group."""
        several = isinstance(values, (list, tuple))
        each = read_tables(values if several else [values])
        if not any(isinstance(item, Table) for item in each):
            return values, None
        spans = None
        if self.groups is None:
            each = self._match_each(each, name, keep)
        elif len(each) == 1:
            each[0], spans = match_groups(each[0], name, self.groups, keep)
            if spans is None:
                match_index(each[0], self.tables[0], name, groups=self.groups)
            else:
                spans = match_spans(each[0], self.tables[0], name, self.groups, spans)
        return (each if several else each[0]), spans

    def _match_each(self, each: list[Any], name: str, keep: tuple[str, ...] | None) -> list[Any]:
        """Return tables of one series each, from the first step of their sequences on."""
        if len(each) != len(self.tables):
            return [drop_labels(item, self.by, name, keep) for item in each]
        matched = []
        for number, item in enumerate(each):
            called = each_name(name, number, self.labels)
            rest = drop_labels(item, self.by, called, keep)
            if self.by:
                own = f"sequences[{self.labels[number]!r}]"
                check_series(item, self.read[number], self.by, called, own)
            row = match_index(rest, self.tables[number], called, longer=name == "future")
            matched.append(rest[row:] if row else rest)
        return matched

    def _which(self, number: int, count: int) -> str:
        """Say which of several sequences is meant."""
        labels = self.labels if self.groups is None else self.groups.labels
        label = labels[number] if len(labels) == count else number
        return "" if count == 1 else f" of sequence {label!r}"


def _check_leaks(
    framer: Rule,
    reader: _Reader,
    inputs: Rows,
    targets: Any,
    outputs: Rows | None,
    future: Any,
    future_columns: tuple[str, ...] | None,
) -> None:
    """Raise if a target is among the inputs at its own step, or among the future covariates."""
    names: Sequence[Hashable] | None = proper_names(reader.names)
    every = set(names or range(inputs.row_shape[0] if inputs.row_shape else 0))
    gap, found = framer.geometry.gap, reader.keys(targets, "targets")
    if outputs is not None:
        named = reader.is_named(targets)
        check_own_step(gap, found & every if named else set(), names, targets)
        check_values(gap, inputs, outputs)
    if future is not None:
        ahead = reader.keys(future, "future")
        if not reader.is_named(future) and future_columns is not None:
            ahead &= set(future_columns)
        check_future_columns(ahead, every if outputs is None else found, outputs is not None)


def _listed(columns: Columns) -> list[Any]:
    return list(columns) if isinstance(columns, list) else [columns]


def _split_flat(weights: Any, steps: list[int], counts: np.ndarray | None) -> list[Any]:
    """Split one array into the weights of several sequences."""
    check_unmasked(weights, "sample_weight")
    for sizes in (steps, counts):
        if sizes is not None and len(weights) == sum(sizes):
            if isinstance(weights, Store):
                edges = np.cumsum([0, *sizes]).tolist()
                return [weights.cut(*span) for span in pairwise(edges)]
            return np.split(np.asarray(as_plain(weights)), np.cumsum(sizes)[:-1])
    frames = "" if counts is None else f", or for each of their {sum(counts)} frames"
    raise ValueError(
        f"`sample_weight` must hold one number for each of the {sum(steps)} steps of the "
        f"{len(steps)} sequences{frames}. Received: {len(weights)} numbers."
    )


def _check_numeric(name: str, values: Any) -> None:
    if any(map(is_symbolic, split_sequences(values))):
        raise TypeError(
            f"`{name}` must be an array of one value for each step, not symbols or a name. "
            "Received: strings. For a column, pass its values, as `table[name]`."
        )


def _one_each(
    values: Any, name: str, inputs: Rows, vocabulary: Vocabulary | None = None
) -> list[Any]:
    """Return the values of each sequence, as the user passed them."""
    count = len(inputs.arrays)
    is_list_of_one = isinstance(values, (list, tuple)) and len(values) == 1
    split = count > 1 or (is_list_of_one and len(inputs.arrays[0]) != 1)
    given = split_sequences(values, vocabulary) if split else [values]
    if len(given) != count:
        if name == "targets" and len(given) == 1 and _is_flat(values) and len(values) == count:
            raise ValueError(
                "`targets` must have one array for each sequence, a value for each step. Received: "
                f"one value for each of {count} sequences. Repeat it for `gap=-1`, as "
                "`[np.full(len(sequence), label) for sequence, label in zip(sequences, labels)]`."
            )
        raise ValueError(
            f"`{name}` must have one array for each sequence. "
            f"Received: {len(given)} for {count} sequences."
        )
    return given


def _is_flat(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return not any(map(np.ndim, values))
    return np.ndim(values) == 1
