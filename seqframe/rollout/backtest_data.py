"""The sequences of a backtest and their future covariates, from Frames or as the user has them."""

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqframe.framing.frames import Frames
from seqframe.framing.sequences import are_columns, find_columns, split_sequences
from seqframe.framing.tables import Table, column_names, names_of, select_columns
from seqframe.model.inspect import takes_future
from seqframe.rollout.forecast import split_future
from seqframe.rollout.generator import Generator


class Given(NamedTuple):
    """The sequences of a backtest."""

    raw: list[Any]
    futures: Sequence[Any] | None
    labels: Sequence[Hashable]
    begins: np.ndarray  # the raw step at which each sequence begins
    missing: list[np.ndarray] | None  # missing steps besides NaN; None: NaN is an error

    def on_clock(self, places: list[tuple[int, int]]) -> np.ndarray:
        """Return places by the raw steps of their sequences, an int array `(places, 2)`."""
        return np.array([(n, self.begins[n] + place) for n, place in places])


def read_sequences(
    generator: Generator, data: Any, future: Any, skip_nan: bool | None, horizon: int
) -> Given:
    """Return the sequences of a backtest, from Frames or raw sequences."""
    if not isinstance(data, Frames):
        raw = split_sequences(data)
        several, called = raw[0] is not data, f"{len(raw)} sequences"
        names = names_of(future)
        if names:
            futures: Sequence[Any] | None = [_select(table, names) for table in raw]
        else:
            futures = split_future(future, several, called, len(raw))
        none = [np.zeros(0, bool)] * len(raw) if skip_nan else None
        return Given(raw, futures, range(len(raw)), np.zeros(len(raw), np.int64), none)
    if data._is_subset:
        raise ValueError(
            "`sequences` as Frames must be all frames of their sequences. Received: a subset. Pass "
            "the frames themselves, or a part of a split."
        )
    source, missing = data.source, None
    if source.may_leave_out if skip_nan is None else skip_nan:
        stops = [int(stop) for stop in source.steps]
        missing = [
            np.zeros(stop, bool) if source.valid is None else ~source.valid.read(n, 0, stop)
            for n, stop in enumerate(stops)
        ]
    sequences, futures = _unframe(data, generator, future, horizon)
    return Given(sequences, futures, source.labels, source.begins, missing)


def _select(table: Any, names: tuple[str, ...]) -> Any:
    """Return the columns of a table that `future` names."""
    if column_names(table) is None:
        raise ValueError(
            f"`future` names columns, which only a DataFrame has. Received: future={list(names)} "
            f"for a sequence of type {type(table).__name__}. Pass the values of these columns."
        )
    return select_columns(table, names, "sequences")


def _unframe(
    frames: Frames, generator: Generator, future: Any, horizon: int
) -> tuple[list[Any], list[Any] | None]:
    """Return the sequences of frames and their future covariates, as tables if names are known.

    `future` names the columns of the sequences that are known ahead, besides the frames' own.
    """
    source, framer = frames.source, generator.framer
    columns = frames.framer.columns or framer.columns
    known = frames.framer.future_columns or framer.future_columns
    raw = [source.inputs.read(n, 0, int(stop)) for n, stop in enumerate(source.steps)]
    sequences, futures = _tables(raw, columns), None
    if source.future is not None:
        ahead = [source.future.read(n, 0, len(a)) for n, a in enumerate(source.future.arrays)]
        futures = _tables(ahead, known)
    width = math.prod(raw[0].shape[1:])
    others = _not_predicted(generator, columns, width)
    _check_targets(frames, generator, raw)
    named = [] if future is None else _find_named(future, columns, others, width)
    own = [place for place in others if futures and (columns and known and columns[place] in known)]
    if futures and not (columns and known) and _are_same(futures, raw, others):
        own = others
    unknown = [place for place in others if place not in (*named, *own)]
    if unknown and horizon > framer.horizon:
        called = [columns[place] if columns else place for place in unknown]
        raise ValueError(
            f"`future` must name the columns {called}, whose coming values the model needs and does"
            f" not predict. Received: future={future!r}. Pass `future={called}` only if they are "
            f"known at each origin; else a `horizon` of at most {framer.horizon}, or a model that "
            "predicts them too."
        )
    is_own = takes_future(generator.model)
    if unknown or own == others or (is_own and futures is None):
        return sequences, futures
    if not is_own:
        return sequences, [_columns(table, others, columns) for table in raw]
    if not (framer.columns and framer.future_columns and known):
        raise ValueError(
            "`future` can name more columns only if the generator's framer knows all columns. "
            f"Received: future={future!r}. Pass `Generator(model, frames.framer)`, with frames of "
            "tables."
        )
    return sequences, [_joined(*pair) for pair in zip(futures or [], sequences, strict=True)]


def _check_targets(frames: Frames, generator: Generator, raw: list[np.ndarray]) -> None:
    """Raise if the frames' targets are not the columns that the generator predicts."""
    targets = frames.source.targets
    if targets is frames.source.inputs or generator.feedback is not None:
        return
    width = math.prod(raw[0].shape[1:])
    chosen = np.arange(width)
    if generator.targets is not None:
        known = frames.framer.columns or generator.framer.columns
        names = None if known is None else list(known)
        chosen = np.atleast_1d(find_columns(generator.targets, names, width))
    for number, table in enumerate(raw):
        own = targets.read(number, 0, len(table)).reshape(len(table), -1)
        columns = table.reshape(len(table), -1)[:, chosen]
        if own.shape != columns.shape or not np.array_equal(
            own, columns, equal_nan=own.dtype.kind == columns.dtype.kind == "f"
        ):
            raise ValueError(
                "`sequences` as Frames must have the predicted columns as their targets. Received: "
                f"targets of shape {own.shape[1:]} other than these. Frame the targets as columns "
                "of the sequences, by `targets`."
            )


def _not_predicted(generator: Generator, columns: tuple[str, ...] | None, width: int) -> list[int]:
    """Return the columns that a rollout needs and that its model does not predict."""
    if generator.targets is None or generator.feedback is not None:
        return []
    names = None if columns is None else list(columns)
    chosen = np.atleast_1d(find_columns(generator.targets, names, width))
    return [place for place in range(width) if place not in chosen]


def _find_named(
    future: Any, columns: tuple[str, ...] | None, others: list[int], width: int
) -> list[int]:
    """Return the columns that `future` names, or raise if it names others than `others`."""
    names = None if columns is None else list(columns)
    if not are_columns(future, len(others)):
        called = [columns[place] if columns else place for place in others]
        raise ValueError(
            "`future` of Frames must name columns that are known ahead and not predicted, of "
            f"{called}. Received: {type(future).__name__}. Pass the values of other future "
            "covariates to `frame`."
        )
    found = np.atleast_1d(find_columns(future, names, width, "future")).tolist()
    if not {*found} <= {*others}:
        raise ValueError(
            f"`future` must name columns that the model does not predict. Received: "
            f"future={future!r}."
        )
    return found


def _are_same(futures: list[Any], raw: list[np.ndarray], others: list[int]) -> bool:
    """Whether future covariates without names hold these columns of their sequences."""
    return all(
        ahead.ndim == table.ndim == 2
        and np.array_equal(
            ahead[: len(table)], table[:, others], equal_nan=table.dtype.kind in "fc"
        )
        for ahead, table in zip(map(np.asarray, futures), raw, strict=True)
    )


def _columns(array: np.ndarray, places: list[int], columns: tuple[str, ...] | None) -> Any:
    chosen = array[:, places]
    return chosen if columns is None else Table(chosen, tuple(columns[place] for place in places))


def _tables(arrays: list[np.ndarray], columns: tuple[str, ...] | None) -> list[Any]:
    """Return arrays as tables, if the names of their columns are known."""
    if columns is None:
        return arrays
    return [Table(array.reshape(len(array), -1), columns) for array in arrays]


def _joined(future: Table, table: Table) -> Table:
    """Return future covariates, with the columns of a table that they lack."""
    places = [k for k, name in enumerate(table.columns) if name not in future.columns]
    steps = min(len(future), len(table))
    parts = [future.to_numpy()[:steps], table.to_numpy()[:steps, places]]
    names = (*future.columns, *(table.columns[k] for k in places))
    return Table(np.concatenate(parts, axis=1), names)
