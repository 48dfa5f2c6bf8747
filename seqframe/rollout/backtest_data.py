"""The sequences of a backtest and their future covariates, from Frames or as the user has them."""

import math
import numbers
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqframe.framing.alignment import match_index
from seqframe.framing.clock import Clock, read_clock
from seqframe.framing.dates import index_of, kind_of_clock, kind_of_index
from seqframe.framing.frames import Frames
from seqframe.framing.results import first_rows, some_rows
from seqframe.framing.sequences import are_columns, find_columns
from seqframe.framing.tables import (
    Table,
    column_names,
    library_of,
    names_of,
    select_columns,
)
from seqframe.model.inspect import takes_future
from seqframe.rollout.generator import Generator
from seqframe.rollout.histories import read_given
from seqframe.rollout.panels import Panel, read_panel


@dataclass(frozen=True)
class BacktestData:
    """The sequences of a backtest.

    Attributes:
        raw: list of sequences, one for each series.
        futures: the future covariates of each sequence, or None.
        labels: the name of each sequence.
        begins: int array. The raw step at which each sequence begins.
        missing: bool arrays of the missing steps besides NaN; None: NaN is an error.
        by: the columns that hold the labels, or None.
        clock: Clock of the raw steps; None if they have no dates.
        library: name of the module that the tables come from, or None.
        cut: function of how many steps of each sequence are known; returns the user's data up to
            there.
    """

    raw: list[Any]
    futures: Sequence[Any] | None
    labels: Sequence[Hashable]
    begins: np.ndarray
    missing: list[np.ndarray] | None
    cut: Callable[[np.ndarray], Any]
    by: tuple[str, ...] | None = None
    clock: Clock | None = None
    library: str | None = None

    def on_clock(self, places: list[tuple[int, int]]) -> np.ndarray:
        """Return places by the raw steps of their sequences, an int array `(places, 2)`."""
        return np.array([(n, self.begins[n] + place) for n, place in places])

    def times(self) -> list[np.ndarray]:
        """Return the time of each step of each sequence as numbers: dates, or raw steps."""
        begins, lengths = self.begins.tolist(), [len(each) for each in self.raw]
        if self.clock is None:
            indexes = [index_of(each) for each in self.raw if self.by]
            # A panel keeps numbers only if they are steps.
            if self.by and all(i is not None and kind_of_index(i) == "number" for i in indexes):
                return [each.to_numpy() for each in indexes]
            return [begin + np.arange(size) for begin, size in zip(begins, lengths, strict=True)]
        spans = [slice(begin, begin + size) for begin, size in zip(begins, lengths, strict=True)]
        dates = [self.clock.dates(number)[span] for number, span in enumerate(spans)]
        return [(each.as_unit("ns") if hasattr(each, "as_unit") else each).asi8 for each in dates]

    def starts(self, start: Any) -> Any:
        """Return the first origin of each sequence for a date, and any other start as it is."""
        if start is None or isinstance(start, numbers.Integral):
            return start
        if self.clock is None:
            raise TypeError(
                "`start` must be an integer: the sequences have no dates of one kind. Received: "
                f"start={start!r}. Pass tables with an index of dates, or a number of steps."
            )
        found = np.maximum(self.clock.find(start, "start") - self.begins, 0).tolist()
        if all(at >= len(each) for at, each in zip(found, self.raw, strict=True)):
            last = max(each[-1] for each in map(self.clock.dates, range(len(self.raw))))
            raise ValueError(
                f"`start` must be a date in the sequences, which end at {last}. Received: "
                f"start={start!r}. Choose an earlier one."
            )
        return found


def read_sequences(
    generator: Generator, data: Any, future: Any, skip_nan: bool | None, horizon: int
) -> BacktestData:
    """Return the sequences of a backtest, from Frames, from one table of many, or as they are."""
    if isinstance(data, Frames):
        return _read_frames(generator, data, future, skip_nan, horizon)
    framer, names = generator.framer, names_of(future)
    if future is None and takes_future(generator.model):
        names = framer.future_columns  # they are known ahead, as the frames told
    wanted = framer.columns and tuple(dict.fromkeys((*framer.columns, *(names or ()))))
    panel = read_panel(data, framer.by, wanted, "sequences")
    if panel is not None:
        return _read_panel(panel, data, future, names, bool(skip_nan))
    found = read_given(data, None if names else future)
    raw, keys, futures = found.raw, found.keys, found.futures
    if names and (future is not None or column_names(raw[0]) is not None):
        futures = [_select(table, names) for table in raw]

    def cut(stops: np.ndarray) -> Any:
        each = zip(keys or [None] * len(raw), raw, stops.tolist(), strict=True)
        known = [(key, first_rows(item, stop)) for key, item, stop in each if stop]
        rows = [item for _, item in known]
        return dict(known) if keys else rows if found.several else rows[0]

    return BacktestData(
        raw,
        futures,
        keys or range(len(raw)),
        np.zeros(len(raw), np.int64),
        [np.zeros(0, bool)] * len(raw) if skip_nan else None,
        cut,
        clock=_clock_of(raw),
        library=library_of(raw[0]),
    )


def _read_panel(
    panel: Panel, data: Any, future: Any, names: tuple[str, ...] | None, skip_nan: bool
) -> BacktestData:
    """Return the series of one table. `names` are its columns that are known ahead, or None."""
    raw, by, edges = panel.tables, panel.groups.by, panel.groups.edges
    futures = None
    if names:
        futures = [_select(table, names) for table in raw]
    elif future is not None:
        ahead = read_panel(future, by, None, "future")
        if ahead is None:
            raise ValueError(
                f"`future` must have the columns {list(by or ())}, which tell the series apart. "
                f"Received: {type(future).__name__} without them. Add them, or name columns of the "
                "table."
            )
        futures = [
            one[match_index(one, table, f"future[{label!r}]", longer=True) :]
            for label, one, table in zip(panel.labels, panel.match(ahead), raw, strict=True)
        ]

    def cut(stops: np.ndarray) -> Any:
        rows = [np.arange(*span) for span in zip(edges[:-1], edges[:-1] + stops, strict=True)]
        return some_rows(data, np.concatenate(rows))

    return BacktestData(
        raw,
        futures,
        panel.labels,
        np.zeros(len(raw), np.int64),
        [np.zeros(0, bool)] * len(raw) if skip_nan else None,
        cut,
        by,
        _clock_of(raw),
        library_of(panel.whole),
    )


def _read_frames(
    generator: Generator, frames: Frames, future: Any, skip_nan: bool | None, horizon: int
) -> BacktestData:
    """Return the sequences of Frames."""
    if frames._is_subset:
        raise ValueError(
            "`sequences` as Frames must be all frames of their sequences. Received: a subset. Pass "
            "the frames themselves, or a part of a split."
        )
    source, missing = frames.source, None
    if source.may_leave_out if skip_nan is None else skip_nan:
        stops = [int(stop) for stop in source.steps]
        missing = [
            np.zeros(stop, bool) if source.valid is None else ~source.valid.read(n, 0, stop)
            for n, stop in enumerate(stops)
        ]
    sequences, futures = _unframe(frames, generator, future, horizon)

    def cut(stops: np.ndarray) -> Frames:
        begun = np.flatnonzero(stops)
        known = source.select(begun).cut(np.zeros(len(begun), np.int64), stops[begun])
        part = Frames(frames.framer, known, seed=frames._seed)
        if not len(part):
            raise ValueError(
                f"`refit` needs a frame of {frames.framer.geometry.least_steps} steps before the "
                f"first origin. Received: at most {stops.max()} steps. Choose a larger `start`."
            )
        return part

    return BacktestData(
        sequences,
        futures,
        source.labels,
        source.begins,
        missing,
        cut,
        frames.framer.by,
        source.clock,
        source.library,
    )


def _clock_of(tables: list[Any]) -> Clock | None:
    """Return the clock of tables; None if some have no dates, or theirs cannot be compared."""
    clock = read_clock(tables, None)
    return clock if clock and len({kind_of_clock(span[0]) for span in clock.spans}) == 1 else None


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
