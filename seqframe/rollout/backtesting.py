"""Backtests: forecasts made from many origins in a sequence that is known."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqframe.framing.dates import check_future
from seqframe.framing.frames import Frames
from seqframe.framing.sequences import find_columns, split_sequences, to_arrays
from seqframe.framing.tables import Table, check_width
from seqframe.framing.windows import check_integer
from seqframe.rollout.forecasting import Forecaster
from seqframe.rollout.nan import name_step
from seqframe.rollout.places import Places, season_before
from seqframe.rollout.predicted import as_list, warn_of_places
from seqframe.rollout.tested import Backtest
from seqframe.rollout.unframing import unframe

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator

_ROWS = 256  # origins that are rolled out together, at most


def backtest(
    generator: "Generator",
    data: Any,
    horizon: int,
    *,
    start: int | None = None,
    stride: int = 1,
    history: int | None = None,
    future: Any = None,
    season: int | None = None,
    skip_nan: bool | None = None,
) -> Backtest:
    """Forecast from many origins in sequences that are known, and set that beside what came.

    It answers why a forecast goes flat: whether the model is wrong from the first step, or loses
    its way on its own predictions.

    Args:
        generator: Generator of real values.
        data: sequence, or list of sequences, as `Generator.forecast` takes histories; or Frames,
            whose sequences and future are taken, and of columns with names those that the model
            does not predict. Data that the model was not trained on.
        horizon: int ≥ 1. Steps to forecast from each origin.
        start: int. The first origin, with the steps before it that the model needs; None: as soon
            as there are so many.
        stride: int ≥ 1. Steps from one origin to the next.
        history: int. Steps before its origin that a stateful model is shown, at most; None:
            all.
        future: array, or a list for a list, on the clock of the data: what a forecast is told of
            the steps ahead. Where it ends with the data, the last steps have no one-step forecast
            by a model of `horizon > 1`, which is told of whole horizons: NaN.
        season: int ≥ 1. Steps after which the data repeat, 7 for a week of days: what stood a
            season before is then one more forecast to compare with.
        skip_nan: bool. Leave out the origins whose forecast would be shown a step that is missing,
            or whose steps did not all come. None: as the Frames do, and not of other data, where a
            forecast that is NaN is an error.

    Returns:
        Backtest.

    Raises:
        ValueError: if no sequence is long enough for a single origin, a table lacks a column or is
            of several series, dates do not go strictly forward, or those of a future are not its
            sequence's.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import Generator, backtest
    >>> model = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten(),
    ...                           keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[-1.0], [2.0]])])  # a straight line, continued
    >>> result = backtest(Generator(model), np.arange(12.0), horizon=4)
    >>> result.free_run.shape
    (7, 4)
    >>> print(result)
    mean absolute error, by steps ahead
    step  free run  one step  last value
       1         0         0           1
       2         0         0           2
       4         0         0           4
    """
    horizon = check_integer("horizon", horizon, 1)
    season = None if season is None else check_integer("season", season, 1)
    stride = check_integer("stride", stride, 1)
    if generator.framer.vocabulary is not None:
        raise ValueError(
            "`backtest` is for real values. Received: a generator of symbols, whose framer has a "
            "vocabulary."
        )
    known = _read(generator, data, future, skip_nan)
    tester = _Tester(generator, known.raw, known.futures, history)
    warn_of_places(known.raw[0], generator.targets, generator.framer)
    for item, ahead in zip(known.raw, known.futures or [], strict=False):
        check_future(item, ahead, None, begins_with_history=True)
    places = tester.places(known.missing)
    origins, left_out = tester.origins(places, horizon, start, stride, season)
    free_run = tester.forecast(origins, horizon)
    # Origins overlap, so a step that several of them forecast is forecast once.
    times = sorted({(n, o + step) for n, o in origins for step in range(horizon)})
    told = [places.fits(n, t, 1) for n, t in times]
    alone = np.full((len(times), *free_run.shape[2:]), np.nan, free_run.dtype)
    alone[told] = tester.forecast(list(compress(times, told)), 1)[:, 0]
    number = {time: k for k, time in enumerate(times)}
    which = np.array([[number[n, o + step] for step in range(horizon)] for n, o in origins])
    values = tester.values
    came = _as_real(np.stack([values[n][t] for n, t in times]))
    before = _as_real(np.stack([values[n][o - 1] for n, o in origins]))
    seasonal = None
    if season is not None:
        each = [season_before(values[n], o, horizon, season) for n, o in origins]
        seasonal = _as_real(np.stack(each))
    return Backtest(
        origins=known.on_clock(origins),
        actual=came[which],
        free_run=free_run,
        one_step=alone[which],
        last_value=np.repeat(before[:, None], horizon, axis=1),
        residuals=(came - alone)[told],
        last_season=seasonal,
        residual_steps=known.on_clock(times)[told],
        labels=known.labels,
        left_out=left_out,
    )


class _Known(NamedTuple):
    """What is known of some sequences.

    Attributes:
        raw: list of the sequences.
        futures: list of what is known ahead, or None.
        labels: what they are called.
        begins: int array. The raw step at which each begins.
        missing: list of bool arrays, steps that are missing whatever they hold; None: a step that
            is missing is an error.
    """

    raw: list[Any]
    futures: list[Any] | None
    labels: Sequence[Hashable]
    begins: np.ndarray
    missing: list[np.ndarray] | None

    def on_clock(self, places: list[tuple[int, int]]) -> np.ndarray:
        """Return places by the raw steps of their sequences, an int array `(places, 2)`."""
        return np.array([(n, self.begins[n] + place) for n, place in places])


def _read(generator: "Generator", data: Any, future: Any, skip_nan: bool | None) -> _Known:
    """Return the sequences that `backtest` was given, and what is known of them."""
    if not isinstance(data, Frames):
        raw = split_sequences(data)
        several = raw[0] is not data
        futures = None if future is None else (list(future) if several else [future])
        none = [np.zeros(len(item), bool) for item in raw] if skip_nan else None
        return _Known(raw, futures, range(len(raw)), np.zeros(len(raw), np.int64), none)
    raw, futures = unframe(data, future, generator)
    source = data.source
    missing = None
    if source.may_leave_out if skip_nan is None else skip_nan:
        stops = [int(stop) for stop in source.steps]
        missing = [
            np.zeros(stop, bool) if source.valid is None else ~source.valid.read(n, 0, stop)
            for n, stop in enumerate(stops)
        ]
    return _Known(raw, futures, source.labels, source.begins, missing)


def _as_real(values: np.ndarray) -> np.ndarray:
    """Return values that can be subtracted: small integers wrap, and bools have no difference."""
    return values.astype("float64") if values.dtype.kind in "biu" else values


class _Tester:
    """Forecasts from given places of some sequences."""

    def __init__(
        self, generator: "Generator", raw: list[Any], futures: list[Any] | None, history: int | None
    ):
        self._forecaster = Forecaster(generator)
        raw, self._futures = self._forecaster.read(raw, futures, "data")
        least = self._forecaster.least_history
        self._history = math.inf if history is None else check_integer("history", history, least)
        arrays = to_arrays(raw, "data")
        check_width(arrays[0], generator.framer.columns, "data")
        # Tables stay what they are: their columns may be called by name.
        self._raw = [
            replace(item, data=array) if isinstance(item, Table) else array
            for item, array in zip(raw, arrays, strict=True)
        ]
        self.values = self._shown = arrays
        if generator.targets is not None:
            width = math.prod(arrays[0].shape[1:])
            names = self._forecaster.names(raw[0])
            columns = find_columns(as_list(generator.targets), names, width)
            self.values = [array[:, columns] for array in arrays]

    def places(self, unusable: list[np.ndarray] | None) -> Places:
        """Return which steps can be forecast; see `Places`."""
        forecaster = self._forecaster
        shown = self._history
        if not forecaster.generator.is_stepped:
            shown = min(shown, forecaster.framer.span + forecaster.framer.gap)
        return Places(
            self.values,
            self._shown,
            None if self._futures is None else to_arrays(self._futures, "future"),
            context=shown,
            block=forecaster.framer.horizon,
            needs_past=forecaster.needs_past,
            unusable=unusable,
        )

    def origins(
        self, places: Places, horizon: int, start: int | None, stride: int, season: int | None
    ) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
        """Return the places that have history before and the truth after them, and how many of
        each sequence are left out because of a step that is missing."""
        least = self._forecaster.least_history
        first = max(least, season or 0) if start is None else check_integer("start", start, 1)
        if first < least:
            raise ValueError(
                f"`start` must leave a history of {least} steps or more, for a framer with "
                f"`sequence_length={self._forecaster.framer.sequence_length}`. Received: "
                f"start={start}. Begin at {least}, or leave it out."
            )
        if season is not None and first < season:
            raise ValueError(
                f"`start` must leave a season of {season} steps. Received: start={start}. Begin at "
                f"{season}, or leave one of the two out."
            )
        found, left_out = places.origins(horizon, first, stride)
        if not found and any(left_out):
            raise ValueError(
                "`data` must have an origin whose forecast is shown no step that is missing. "
                f"Received: {sum(left_out)} origins, none of them such. Fill gaps first, or "
                "shorten `horizon`."
            )
        if not found:
            raise self._no_origin(first, horizon, start)
        return found, left_out

    def _no_origin(self, first: int, horizon: int, start: int | None) -> ValueError:
        """Return the error that says why there is no place to forecast from."""
        needed, longest = first + horizon, max(map(len, self.values))
        given = f"`horizon={horizon}`"
        way = "Give longer ones, or a smaller `horizon`"
        if start is not None:
            given, way = f"`start={start}` and {given}", f"{way} or `start`"
        if longest < needed:
            return ValueError(
                f"`data` must have a sequence of {needed} steps or more, for {given}. Received: "
                f"{longest} steps. {way}."
            )
        rows = needed + -horizon % self._forecaster.framer.horizon  # whole blocks
        return ValueError(
            f"`future` must have {rows} rows or more on the clock of the data, for {given}. "
            f"Received: {max(map(len, self._futures or []))} rows. {way}."
        )

    def forecast(self, places: list[tuple[int, int]], steps: int) -> np.ndarray:
        """Return the forecast of so many steps from each place, `(places, steps, …)`."""
        rows = min(_ROWS, len(places))
        found = []
        for first in range(0, len(places), rows):
            chunk = places[first : first + rows]
            # Always as many rows, so that one program runs them all.
            chunk = [*chunk, *[chunk[0]] * (rows - len(chunk))]
            histories = [_rows(self._raw[n], self._begin(t), t) for n, t in chunk]
            found.append(self._paths(histories, chunk, steps))
        return np.concatenate(found)[: len(places)]

    def _begin(self, place: int) -> int:
        return int(max(place - self._history, 0))

    def _paths(self, histories: list[Any], places: list[tuple[int, int]], steps: int) -> np.ndarray:
        futures = None
        if self._futures is not None:
            past = self._forecaster.needs_past
            futures = [_rows(self._futures[n], self._begin(t) if past else t) for n, t in places]

        def named(number: int) -> tuple[str, int]:
            sequence, origin = places[number]
            which = f" of sequence {sequence}" if len(self._raw) > 1 else ""
            return f"origin {name_step(self._raw[sequence], origin)}{which}", self._begin(origin)

        return self._forecaster.paths(histories, steps, futures, named=named)[0][:, 0]


def _rows(table: Any, start: int, stop: int | None = None) -> Any:
    return getattr(table, "iloc", table)[start:stop]
