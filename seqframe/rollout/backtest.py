"""Backtests: forecasts from many origins in known sequences, their errors, and intervals."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import keras
import numpy as np

from seqframe.framing.checks import check_integer
from seqframe.framing.dates import check_future, continue_table
from seqframe.framing.frames import Frames
from seqframe.framing.sequences import split_sequences
from seqframe.framing.tables import Table, read_table, table_names
from seqframe.model.inspect import takes_future
from seqframe.rollout.forecast import Forecaster, Known, Seen, explain_nan, name_step
from seqframe.rollout.generator import Generator
from seqframe.rollout.origins import Origins
from seqframe.rollout.targets import has_names, unpredicted, warn_of_positions

_ROWS = 256  # origins that are rolled out together, at most


@dataclass(frozen=True)
class Backtest:
    """Forecasts from many origins, with the actual values and naive baselines.

    `print` shows mean absolute errors for each step ahead: of the free run, in which the model
    lives on its own predictions; of one step, in which it knows all steps before; and of the last
    value, the naive baseline. A free run far worse than one step means that errors add up. One step
    no better than the last value means that the model has learned no more than to repeat it.

    Attributes:
        origins: int array `(origins, 2)`: the sequence, and its first step that is forecast.
        actual: float array `(origins, horizon, …)`. The values to forecast.
        free_run: array like `actual`. The forecast from each origin.
        one_step: array like `actual`. Each step, forecast from the true steps before it; NaN if
            that is impossible.
        last_value: array like `actual`. The naive baseline: the value before the origin.
        residuals: array `(steps, …)`. Errors of one step, `actual - forecast`, each step once.
        last_season: array like `actual`, or None. The seasonal naive baseline.
        residual_steps: int array `(steps, 2)`: the sequence and step of each residual.
        labels: the names of the sequences: their numbers, or the groups of Frames.
        left_out: tuple of int. How many origins of each sequence are left out, because a step is
            missing.

    Example:

    >>> import numpy as np
    >>> from seqframe import Backtest
    >>> actual = np.array([[3.0, 4.0], [4.0, 5.0], [5.0, 6.0]])
    >>> result = Backtest(
    ...     origins=np.array([[0, 3], [0, 4], [0, 5]]),
    ...     actual=actual,
    ...     free_run=actual + np.array([[0.1, 0.2], [-0.2, 0.4], [0.3, -0.6]]),
    ...     one_step=actual,
    ...     last_value=np.array([[2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]),
    ...     residuals=np.zeros(4),
    ... )
    >>> print(result)
    mean absolute error, by steps ahead
    step  free run  one step  last value
       1       0.2         0           1
       2       0.4         0           2
    """

    origins: np.ndarray
    actual: np.ndarray
    free_run: np.ndarray
    one_step: np.ndarray
    last_value: np.ndarray
    residuals: np.ndarray
    last_season: np.ndarray | None = None
    residual_steps: np.ndarray | None = None
    labels: Sequence[Hashable] = ()
    left_out: tuple[int, ...] = ()

    def of(self, label: Hashable) -> "Backtest":
        """Return the backtest of one sequence, whose intervals are as wide as it needs.

        Args:
            label: one of `labels`.

        Returns:
            Backtest.

        Raises:
            ValueError: if there is no such sequence.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten(),
        ...                           keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[-1.0], [2.0]])])
        >>> small, large = np.arange(12.0) ** 2, 9 * np.arange(12.0) ** 2
        >>> tested = backtest(Generator(model), [small, large], horizon=2)
        >>> [tested.of(label).errors()["free_run"][0] for label in tested.labels]
        [np.float64(2.0), np.float64(18.0)]
        """
        if label not in self.labels:
            raise ValueError(
                f"`label` must be one of {list(self.labels)}. Received: label={label!r}."
            )
        number = list(self.labels).index(label)
        rows = self.origins[:, 0] == number
        each = {name: getattr(self, name)[rows] for name in ("origins", "actual", *self._forecasts)}
        if self.residual_steps is not None:
            steps = self.residual_steps[:, 0] == number
            for name in "residuals", "residual_steps":
                each[name] = getattr(self, name)[steps]
        left_out = tuple(n * (k == number) for k, n in enumerate(self.left_out))
        return replace(self, **each, left_out=left_out)

    @property
    def _forecasts(self) -> list[str]:
        """The names of the forecasts that are compared."""
        names = ["free_run", "one_step", "last_value"]
        return names if self.last_season is None else [*names, "last_season"]

    def errors(self) -> dict[str, np.ndarray]:
        """Return mean absolute errors for each step ahead, over origins and features.

        Returns:
            dict of "free_run", "one_step", "last_value", and with a season "last_season", of float
            arrays `(horizon,)`.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten(),
        ...                           keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[-1.0], [2.0]])])  # a straight line, continued
        >>> backtest(Generator(model), np.arange(12.0), horizon=3).errors()["last_value"]
        array([1., 2., 3.])
        """
        axes = (0, *range(2, self.actual.ndim))
        return {
            name: _mean(np.abs(getattr(self, name) - self.actual), axes) for name in self._forecasts
        }

    def interval(self, forecast: Any, coverage: float = 0.9) -> tuple[Any, Any]:
        """Return the prediction interval of a forecast, from the errors of the free run.

        Split conformal prediction (Lei et al., https://arxiv.org/abs/1604.04173): a new value lies
        in its interval with this probability if its error is exchangeable with the errors here,
        whatever their distribution. So backtest on data that the model has not seen.

        Args:
            forecast: array, Series or DataFrame `(steps,)` or `(steps, features)`, with no more
                steps than the horizon.
            coverage: float in (0, 1), of each step by itself.

        Returns:
            tuple of the lower and the upper bound, of the forecast's type.

        Raises:
            ValueError: if the forecast does not fit, or there are too few origins for the coverage:
                0.9 needs 9, 0.95 needs 19, 0.99 needs 99.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten(),
        ...                           keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[-1.0], [2.0]])])  # a straight line, continued
        >>> tested = backtest(Generator(model), np.arange(12.0) ** 2, horizon=2)
        >>> tested.interval(np.array([144.0, 169.0]), coverage=0.75)
        (array([142., 163.]), array([146., 175.]))
        """
        several = isinstance(forecast, (list, tuple))
        if several and any(np.ndim(each) and hasattr(each, "shape") for each in forecast):
            raise ValueError(
                f"`forecast` must be one forecast. Received: a list of {len(forecast)}. Take each "
                "by itself, as `[tested.interval(each) for each in forecasts]`."
            )
        if not 0 < coverage < 1:
            raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage}.")
        steps, count = len(forecast), len(self.origins)
        shape = np.shape(forecast)
        if steps > self.actual.shape[1] or shape[1:] != self.actual.shape[2:]:
            raise ValueError(
                f"`forecast` must have at most {self.actual.shape[1]} steps, and features of shape "
                f"{self.actual.shape[2:]}. Received: shape {shape}."
            )
        rank = math.ceil((count + 1) * coverage)
        if rank > count:
            needed = math.floor(coverage / (1 - coverage))
            needed += math.ceil((needed + 1) * coverage) > needed
            raise ValueError(
                f"`coverage={coverage}` needs {needed} origins or more. Received: a backtest of "
                f"{count}. Test on a longer sequence, or with a smaller `stride`."
            )
        radius = np.sort(np.abs(self.free_run - self.actual), axis=0)[rank - 1, :steps]
        return _shift(forecast, -radius), _shift(forecast, radius)

    def __repr__(self) -> str:
        return f"Backtest({len(self.origins)} origins, horizon={self.actual.shape[1]})"

    def __str__(self) -> str:
        errors = self.errors()
        names = {name: name.replace("_", " ") for name in errors}
        lines = ["mean absolute error, by steps ahead", "  ".join(["step", *names.values()])]
        horizon = self.actual.shape[1]
        shown = sorted({0, *(2**k - 1 for k in range(horizon.bit_length())), horizon - 1})
        for step in shown:
            values = [f"{errors[name][step]:.4g}".rjust(len(names[name])) for name in names]
            lines.append("  ".join([f"{step + 1:>4}", *values]))
        if any(self.left_out):
            lines.append(f"{sum(self.left_out)} origins left out: a step is missing")
        return "\n".join(lines)


def backtest(
    generator: Generator,
    sequences: Any,
    horizon: int,
    *,
    start: int | None = None,
    stride: int = 1,
    history: int | None = None,
    future: Any = None,
    season: int | None = None,
    skip_nan: bool | None = None,
) -> Backtest:
    """Forecast from many origins in known sequences, and compare with the actual values.

    It tells why a forecast goes flat: whether the model is wrong from the first step on, or errors
    add up when predictions are fed back.

    Args:
        generator: Generator of real values.
        sequences: sequence, or list of sequences, as `Generator.forecast` takes histories; or
            Frames, which bring their future covariates. The model should not have been trained
            on them.
        horizon: int ≥ 1. Steps to forecast from each origin.
        start: int. The first origin; the model needs enough steps before it. None: as early as
            possible.
        stride: int ≥ 1. Steps from one origin to the next.
        history: int. Most steps before its origin that a stateful model is shown. None: all.
        future: array, or a list for a list, on the clock of the sequences: future covariates. If it
            ends with a sequence, a model of `horizon > 1` cannot forecast the last steps one by
            one: these are NaN in `one_step`.
        season: int ≥ 1. Steps after which the sequences repeat, 7 for a week of days. It adds the
            seasonal naive baseline.
        skip_nan: bool. Leave out the origins that need a missing step. None: as the Frames do; for
            other data a forecast of NaN is an error.

    Returns:
        Backtest.

    Raises:
        ValueError: if no sequence is long enough for an origin; if a table lacks a column or holds
            several series; if dates do not go strictly forward, or the dates of `future` differ.

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
    given = _read(generator, sequences, future, skip_nan)
    tester = _Tester(generator, given, history)
    names = None if isinstance(sequences, Frames) else table_names(tester.known.tables[0])
    warn_of_positions(names, generator.targets, generator.framer)
    for item, ahead in zip(tester.known.tables, tester.known.futures or [], strict=False):
        ahead = ahead[: len(item) + generator.framer.horizon - 1]
        check_future(item, ahead, begins_with_history=True)
    origins, left_out = tester.find_origins(horizon, start, stride, season)
    free_run = tester.forecast(origins, horizon)
    # Origins overlap: a step that several of them forecast is forecast once.
    times = sorted({(n, o + step) for n, o in origins for step in range(horizon)})
    possible = [tester.origins.can_forecast(n, t, 1) for n, t in times]
    one_step = np.full((len(times), *free_run.shape[2:]), np.nan, free_run.dtype)
    one_step[possible] = tester.forecast(list(compress(times, possible)), 1)[:, 0]
    number = {time: k for k, time in enumerate(times)}
    which = np.array([[number[n, o + step] for step in range(horizon)] for n, o in origins])
    truth = tester.truth
    actual = _as_real(np.stack([truth[n][t] for n, t in times]))
    last = _as_real(np.stack([truth[n][o - 1] for n, o in origins]))
    seasonal = None
    if season is not None:
        repeated = np.arange(horizon) % season - season
        seasonal = _as_real(np.stack([truth[n][o + repeated] for n, o in origins]))
    return Backtest(
        origins=given.on_clock(origins),
        actual=actual[which],
        free_run=free_run,
        one_step=one_step[which],
        last_value=np.repeat(last[:, None], horizon, axis=1),
        residuals=(actual - one_step)[possible],
        last_season=seasonal,
        residual_steps=given.on_clock(times)[possible],
        labels=given.labels,
        left_out=left_out,
    )


class _Given(NamedTuple):
    """The sequences of a backtest."""

    raw: list[Any]
    futures: list[Any] | None
    labels: Sequence[Hashable]
    begins: np.ndarray  # the raw step at which each sequence begins
    missing: list[np.ndarray] | None  # steps missing besides those with NaN; None: NaN is an error

    def on_clock(self, places: list[tuple[int, int]]) -> np.ndarray:
        """Return places by the raw steps of their sequences, an int array `(places, 2)`."""
        return np.array([(n, self.begins[n] + place) for n, place in places])


def _read(generator: Generator, data: Any, future: Any, skip_nan: bool | None) -> _Given:
    """Return the sequences of a backtest, whatever they were given as."""
    if not isinstance(data, Frames):
        raw = split_sequences(data)
        several = raw[0] is not data
        futures = None if future is None else (list(future) if several else [future])
        none = [np.zeros(len(item), bool) for item in raw] if skip_nan else None
        return _Given(raw, futures, range(len(raw)), np.zeros(len(raw), np.int64), none)
    if future is not None:
        raise ValueError(
            "`future` is part of frames. Received: Frames and a future. Frame them with it."
        )
    source = data.source
    raw, futures = _unframe(data, generator)
    missing = None
    if source.may_leave_out if skip_nan is None else skip_nan:
        stops = [int(stop) for stop in source.steps]
        missing = [
            np.zeros(stop, bool) if source.valid is None else ~source.valid.read(n, 0, stop)
            for n, stop in enumerate(stops)
        ]
    return _Given(raw, futures, source.labels, source.begins, missing)


def _unframe(frames: Frames, generator: Generator) -> tuple[list[Any], list[Any] | None]:
    """Return the sequences of frames and their future covariates, as tables if names are known."""
    framer, targets = generator.framer, generator.targets
    columns = frames.framer.columns or framer.columns
    if columns is None and has_names(targets):
        raise ValueError(
            "`targets` of the generator are names of columns, which these frames do not know. "
            f"Received: targets={targets!r}. Pass frames of a DataFrame, or positions to the "
            "generator."
        )
    source = frames.source
    sequences = _tables(
        [source.inputs.read(n, 0, int(stop)) for n, stop in enumerate(source.steps)], columns
    )
    futures: list[Any] | None = None
    if source.future is not None:
        arrays = [source.future.read(n, 0, len(a)) for n, a in enumerate(source.future.arrays)]
        futures = _tables(arrays, frames.framer.future_columns or framer.future_columns)
    unnamed = futures is not None and not isinstance(futures[0], Table)
    takes_all = takes_future(generator.model) and framer.columns is None
    if columns is None or targets is None or generator.feedback is not None or unnamed or takes_all:
        return sequences, futures
    # The sequences themselves hold the columns that the model does not predict.
    others = unpredicted(targets, columns)
    if others:
        futures = [
            _joined(futures[n] if futures else None, table, others)
            for n, table in enumerate(sequences)
        ]
    return sequences, futures


def _tables(arrays: list[np.ndarray], columns: tuple[str, ...] | None) -> list[Any]:
    """Return arrays as tables, if the names of their columns are known."""
    if columns is None:
        return arrays
    return [Table(array.reshape(len(array), -1), columns) for array in arrays]


def _joined(future: Table | None, table: Table, columns: list[str]) -> Table:
    """Return future covariates, with these columns of a table that they lack."""
    names = () if future is None else future.columns
    places = [table.columns.index(name) for name in columns if name not in names]
    if future is None:
        return table[:, places]
    if not places:
        return future
    steps = min(len(future), len(table))
    parts = [future.to_numpy()[:steps], table.to_numpy()[:steps, places]]
    return Table(np.concatenate(parts, axis=1), (*names, *table[:, places].columns))


class _Tester:
    """Forecasts from given origins of some sequences; `truth` is what they are compared with."""

    def __init__(self, generator: Generator, given: _Given, history: int | None):
        self._forecaster: Forecaster = generator._forecaster()
        rolled = self._forecaster.rolled
        self._framer, self._least = rolled.framer, rolled.least_prompt
        self._history = math.inf
        if history is not None:
            self._history = check_integer("history", history, self._least)
        self.known: Known = self._forecaster.read(given.raw, given.futures, "sequences")
        self._plan = self._forecaster.plan(self.known)
        # Cast once: the histories of the origins overlap.
        floatx = keras.config.floatx()
        self._values = [array.astype(floatx, copy=False) for array in self.known.values]
        self.truth = self.known.values
        if generator.targets is not None and self._plan.columns is not None:
            self.truth = [array[:, self._plan.columns] for array in self.truth]
        context = self._history
        if not rolled.is_stepped:
            context = min(context, self._framer.geometry.span + self._framer.gap)
        self.origins = Origins(
            self.truth,
            self.known.values,
            self.known.ahead,
            context=context,
            block=self._framer.horizon,
            needs_past=self._forecaster.needs_past,
            missing=given.missing,
        )

    def find_origins(
        self, horizon: int, start: int | None, stride: int, season: int | None
    ) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
        """Return the origins, and how many of each sequence are left out."""
        least = self._least
        first = max(least, season or 0) if start is None else check_integer("start", start, 1)
        if first < least:
            raise ValueError(
                f"`start` must leave a history of {least} steps or more, for a framer with "
                f"`sequence_length={self._framer.sequence_length}`. Received: start={start}. Begin "
                f"at {least}, or leave `start` out."
            )
        if season is not None and first < season:
            raise ValueError(
                f"`start` must leave a season of {season} steps. Received: start={start}. Begin at "
                f"{season}, or leave one of the two out."
            )
        found, left_out = self.origins.find(horizon, first, stride)
        if found:
            return found, left_out
        if any(left_out):
            raise ValueError(
                "`sequences` must have an origin whose forecast needs no missing step. Received: "
                f"{sum(left_out)} origins, all with a missing step. Fill gaps first, or shorten "
                "`horizon`."
            )
        needed, longest = first + horizon, max(map(len, self.truth))
        given = f"`horizon={horizon}`"
        way_out = "Pass longer ones, or a smaller `horizon`"
        if start is not None:
            given, way_out = f"`start={start}` and {given}", f"{way_out} or `start`"
        if longest < needed:
            raise ValueError(
                f"`sequences` must have one of {needed} steps or more, for {given}. Received: "
                f"{longest} steps. {way_out}."
            )
        rows = needed + -horizon % self._framer.horizon  # whole blocks
        raise ValueError(
            f"`future` must have {rows} rows or more on the clock of the sequences, for {given}. "
            f"Received: {max(map(len, self.known.ahead or []))} rows. {way_out}."
        )

    def forecast(self, places: list[tuple[int, int]], steps: int) -> np.ndarray:
        """Return the forecast of so many steps from each place, `(places, steps, …)`."""
        rows = min(_ROWS, len(places))
        found = []
        for first in range(0, len(places), rows):
            chunk = places[first : first + rows]
            # Always as many rows, so that one program runs them all.
            found.append(self._paths([*chunk, *[chunk[0]] * (rows - len(chunk))], steps))
        return np.concatenate(found)[: len(places)]

    def _paths(self, places: list[tuple[int, int]], steps: int) -> np.ndarray:
        known, whole = self.known, self._forecaster.whole(steps)
        begins = [int(max(origin - self._history, 0)) for _, origin in places]
        firsts = begins if self._forecaster.needs_past else [origin for _, origin in places]
        values = [self._values[n][begin:t] for (n, t), begin in zip(places, begins, strict=True)]
        ahead = None
        if known.ahead is not None:
            ahead = [
                known.ahead[n][first : t + whole]
                for (n, t), first in zip(places, firsts, strict=True)
            ]

        def explain(row: int, step: int) -> ValueError:
            n, origin = places[row]
            table, futures = known.tables[n], known.futures
            which = f" of sequence {n}" if len(known.tables) > 1 else ""
            past = Seen("sequence", values[row], table, begins[row])
            seen = None
            if ahead is not None and futures is not None:
                seen = Seen("future", ahead[row], futures[n], firsts[row])
            way_out = "Fill it in, or leave out such origins with `skip_nan=True`."
            return explain_nan(
                step, f"origin {name_step(table, origin)}{which}", seen, past, way_out
            )

        return self._forecaster.paths(self._plan, values, ahead, steps, explain)[:, 0]


def _as_real(values: np.ndarray) -> np.ndarray:
    """Return integers and bools as floats: differences of small integers wrap around."""
    return values.astype("float64") if values.dtype.kind in "biu" else values


def _mean(errors: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the mean over axes of the errors that are not NaN; NaN if there are none."""
    is_known = ~np.isnan(errors)
    count = is_known.sum(axis=axes)
    total = np.where(is_known, errors, 0.0).sum(axis=axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _shift(forecast: Any, distance: np.ndarray) -> Any:
    """Return a forecast, of its own type, with distances `(steps, …)` added."""
    table = read_table(forecast)
    if not isinstance(table, Table):
        return forecast + distance
    return continue_table(table, table.to_numpy("forecast") + distance, index=table.index)
