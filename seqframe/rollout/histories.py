"""Histories and their future covariates, as tables and as arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from seqframe.framing.checks import each_name, first_names
from seqframe.framing.dates import steps_after
from seqframe.framing.sequences import is_symbolic, split_sequences, to_arrays
from seqframe.framing.tables import Table, column_names, proper_names, read_table
from seqframe.framing.vocabulary import Vocabulary


class Known(NamedTuple):
    """Histories and their future covariates, as tables and as arrays."""

    name: str  # name of the histories in errors
    tables: list[Any]
    values: list[np.ndarray]
    futures: list[Any] | None  # tables
    ahead: list[np.ndarray] | None  # the futures, as arrays (steps, columns)
    future_columns: list[str] | None = None

    @property
    def columns(self) -> list[str] | None:
        """Names of the columns of the histories."""
        return column_names(self.tables[0])


class Histories(NamedTuple):
    """Histories as the user passed them."""

    raw: list[Any]
    futures: Sequence[Any] | None
    keys: list[Any] | None  # the keys of a dict, or the labels of a panel
    several: bool
    is_panel: bool = False

    def called(self, name: str, number: int) -> str:
        """Return what errors call a history, or its future."""
        if self.keys is not None:
            return f"{name}[{self.keys[number]!r}]"
        return each_name(name, number, len(self.raw))

    def packed(self, results: list[Any]) -> Any:
        """Return one result for each history as the histories came: one, a list or a dict."""
        if self.keys is not None:
            return dict(zip(self.keys, results, strict=True))
        return results if self.several else results[0]


def read_given(history: Any, future: Any) -> Histories:
    """Return histories and futures as lists."""
    if isinstance(history, Mapping) and history:
        keys = list(history)
        if not isinstance(future, Mapping | None) or {*(future or keys)} != {*keys}:
            raise ValueError(
                f"`future` must be a dict with the keys of the history, {keys}. Received: "
                f"{list(future) if isinstance(future, Mapping) else type(future).__name__}."
            )
        futures = None if future is None else [future[key] for key in keys]
        return Histories([history[key] for key in keys], futures, keys, True)
    raw = split_sequences(history)
    several = raw[0] is not history
    return Histories(
        raw, split_future(future, several, f"{len(raw)} histories", len(raw)), None, several
    )


def split_future(future: Any, several: bool, called: str, count: int) -> Sequence[Any] | None:
    """Return a future for each of `count` sequences, which errors call `called`."""
    if future is None or not several:
        return None if future is None else [future]
    if isinstance(future, (list, tuple)) and len(future) == count:
        return future
    size = f" of length {len(future)}" if isinstance(future, (list, tuple)) else ""
    raise ValueError(
        f"`future` must be a list with one for each of {called}. Received: "
        f"{type(future).__name__}{size}."
    )


def real_arrays(values: list[Any], name: str) -> list[np.ndarray]:
    """Return sequences of real numbers as arrays. Raise for symbols, dates and complex numbers."""
    symbolic = any(map(is_symbolic, values))
    arrays = [] if symbolic else to_arrays(values, name)
    if symbolic or arrays[0].dtype.kind in "cmM":
        kind = "symbols" if symbolic else f"dtype={arrays[0].dtype}"
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {kind}. Convert them to floats; to "
            "continue symbols, use `generate`."
        )
    return arrays


def check_no_vocabulary(vocabulary: Vocabulary | None) -> None:
    """Raise if a model predicts symbols."""
    if vocabulary is not None:
        raise ValueError(
            "`forecast` continues real values. Received: a framer with a vocabulary of "
            f"{len(vocabulary)} ids. To continue symbols, use `generate`."
        )


def check_lengths(given: Histories, values: Sequence[np.ndarray], least: int, why: str) -> None:
    """Raise if histories have fewer than `least` steps, and name them."""
    lengths = [len(array) for array in values]
    short = [number for number, length in enumerate(lengths) if length < least]
    if not short:
        return
    shown = first_names(
        f"`{given.called('history', number)}` with {lengths[number]} steps" for number in short
    )
    some = f"{len(short)} of {len(lengths)}, " if len(short) > 1 else ""
    raise ValueError(
        f"A history needs at least {least} step{'s' * (least > 1)} for {why}. Received: "
        f"{some}{shown}. Give longer ones or leave these out, or train on frames that pad "
        '(`min_length`, or `mode="prefixes"`).'
    )


def over_gap(table: Any, gap: int) -> Any:
    """Return a history whose index goes on over the steps of a gap, for the steps after it.

    >>> import pandas
    >>> days = pandas.Series([1.0, 2.0, 3.0], pandas.date_range("2026-01-01", periods=3))
    >>> [str(day.date()) for day in over_gap(days, 2).index[-2:]]
    ['2026-01-04', '2026-01-05']
    """
    table = read_table(table)
    if not gap or not isinstance(table, Table) or table.index is None:
        return table
    after = steps_after(table.index, gap)
    if after is None:
        return replace(table, index=None)
    index = table.index.append(after)
    if getattr(table.index, "freq", None) is not None and index.dtype.kind != "O":
        index = type(index)(index, freq=table.index.freq)
    return replace(table, index=index)


def lacking_columns(future: Any, names: Sequence[str]) -> list[str]:
    """Return the columns that a table lacks; of an array, the last ones that it is too narrow for.

    >>> lacking_columns(np.zeros((3, 1)), ["price", "promotion"])
    ['promotion']
    """
    found = column_names(future)
    known = proper_names(found)
    if known is not None:
        return [name for name in names if name not in known]
    width = math.prod(np.shape(future)[1:]) if found is None else len(found)
    return list(names[width:])
