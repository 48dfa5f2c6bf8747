"""Backtests: forecasts from many origins in known sequences, their errors, and intervals."""

import itertools
import math
import numbers
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from seqframe import backend
from seqframe.framing.checks import check_bytes, check_integer, each_name
from seqframe.framing.dates import check_future, continue_table
from seqframe.framing.frames import Frames
from seqframe.framing.tables import Table, read_table, table_names
from seqframe.rollout.backtest_data import Given, read_sequences
from seqframe.rollout.forecast import (
    Forecaster,
    Known,
    real_arrays,
    warn_of_positions,
)
from seqframe.rollout.generator import Generator
from seqframe.rollout.prompts import rounded_rows

_LEAST_ROWS, _ROWS = 16, 256  # origins that are rolled out together


@dataclass(frozen=True)
class Backtest:
    """Forecasts from many origins, with the actual values and naive baselines.

    `print` shows mean absolute errors for each step ahead. In the free run the model reads its own
    predictions. For one step it reads the actual values before that step. If the free run is far
    worse than one step, errors add up. If one step is no better than the naive baseline, the model
    has only learned to repeat its input.

    Attributes:
        origins: int array `(origins, 2)`: the sequence, and the first forecast step.
        actual: float array `(origins, horizon, …)`. The values to forecast.
        free_run: array like `actual`. The forecast from each origin.
        one_step: array like `actual`. Each step, forecast from the actual steps before it; NaN if
            that is impossible.
        naive: array like `actual`. The naive baseline: the value before the origin.
        residuals: array `(steps, …)`. Errors of one step, `actual - forecast`, each step once.
        seasonal_naive: array like `actual`, or None. The value one season before.
        residual_steps: int array `(steps, 2)`: the sequence and step of each residual.
        labels: the names of the sequences: their numbers, or the groups of Frames.
        left_out: tuple of int. Number of origins of each sequence that are left out, because a step
            is missing.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import Generator, backtest
    >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Rescaling(1, 0.5),
    ...                           keras.layers.Flatten()])  # the last value, and 0.5
    >>> print(backtest(Generator(model), np.arange(12.0), horizon=2))
    mean absolute error, by steps ahead
    step  free run  one step     naive
       1       0.5       0.5         1
       2         1       0.5         2
    """

    origins: np.ndarray
    actual: np.ndarray
    free_run: np.ndarray
    one_step: np.ndarray
    naive: np.ndarray
    residuals: np.ndarray
    seasonal_naive: np.ndarray | None = None
    residual_steps: np.ndarray | None = None
    labels: Sequence[Hashable] = ()
    left_out: tuple[int, ...] = ()

    def of(self, label: Hashable) -> "Backtest":
        """Return the backtest of one sequence. Its intervals come from that sequence only.

        Args:
            label: one of `labels`.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
        >>> tested = backtest(Generator(model), [np.arange(5.0), np.arange(0.0, 50.0, 10)], 1)
        >>> [tested.of(label).errors()["free_run"].item() for label in tested.labels]
        [1.0, 10.0]
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
        names = ["free_run", "one_step", "naive"]
        return names if self.seasonal_naive is None else [*names, "seasonal_naive"]

    def errors(self) -> dict[str, np.ndarray]:
        """Return mean absolute errors for each step ahead, over origins and features.

        Returns:
            dict of "free_run", "one_step", "naive", and with a season "seasonal_naive", of float
            arrays `(horizon,)`.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
        >>> backtest(Generator(model), np.arange(12.0), horizon=3).errors()["naive"]
        array([1., 2., 3.])
        """
        axes = (0, *range(2, self.actual.ndim))
        return {
            name: _mean(np.abs(getattr(self, name) - self.actual), axes) for name in self._forecasts
        }

    def interval(self, forecast: Any, coverage: float = 0.9) -> tuple[Any, Any]:
        """Return the prediction interval of a forecast, from the errors of the free run.

        This is split conformal prediction (Lei et al., https://arxiv.org/abs/1604.04173). It holds
        for any distribution of errors, if a new error is exchangeable with the errors here. So
        backtest on data that the model has not seen.

        Args:
            forecast: array, Series or DataFrame `(steps,)` or `(steps, features)`, with no more
                steps than the horizon.
            coverage: float in (0, 1). Probability that the interval holds the value, step by step.

        Returns:
            tuple of the lower and the upper bound, of the forecast's type.

        Raises:
            ValueError: if the forecast does not fit, or the origins are too few. A coverage of 0.9
                needs 9, 0.95 needs 19, 0.99 needs 99.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
        >>> tested = backtest(Generator(model), np.arange(12.0), horizon=2)
        >>> tested.interval(np.array([12.0, 13.0]), coverage=0.75)
        (array([11., 11.]), array([13., 15.]))
        """
        if isinstance(coverage, bool) or not isinstance(coverage, numbers.Real):
            raise TypeError(f"`coverage` must be a number. Received: coverage={coverage!r}.")
        if not 0 < coverage < 1:
            raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage}.")
        shape, count = real_arrays([forecast], "forecast")[0].shape, len(self.origins)
        steps = shape[0]
        if not 0 < steps <= self.actual.shape[1] or shape[1:] != self.actual.shape[2:]:
            raise ValueError(
                f"`forecast` must be one forecast of at most {self.actual.shape[1]} steps, with "
                f"features of shape {self.actual.shape[2:]}. Received: shape {shape}. If you "
                "have several, pass one at a time."
            )
        rank = math.ceil((count + 1) * coverage)
        if rank > count:
            needed = next(
                n for n in itertools.count(count + 1) if math.ceil((n + 1) * coverage) <= n
            )
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
        names = {name: name.replace("_", " ").rjust(8) for name in errors}
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

    It shows why a forecast goes flat: the model is wrong from the first step on, or errors add up.

    Args:
        generator: Generator of real values.
        sequences: sequence, or list of sequences, as `Generator.forecast` takes histories; or
            Frames, which bring their future covariates. The model should not have been trained
            on them.
        horizon: int ≥ 1. Steps to forecast from each origin.
        start: int. The first origin; the model needs enough steps before it. None: as early as
            possible.
        stride: int ≥ 1. Steps from one origin to the next.
        history: int. Most steps before an origin that a stateful model sees. None: all.
        future: future covariates aligned with the sequences: array, or a list for a list. If it
            ends with its sequence, a model of `horizon > 1` cannot forecast the last steps one by
            one. They are NaN in `one_step`. Or a list of names: the sequences' own columns that the
            model does not predict, and that are known at each origin. For Frames only names or
            positions; Frames bring their `future_columns`. Only a rollout of several blocks needs
            the columns that are not predicted.
        season: int ≥ 1. Steps after which the sequences repeat, such as 7 for daily values. It adds
            the seasonal naive baseline.
        skip_nan: bool. Leave out origins that need a missing step. None: as the Frames do. For
            other data, None makes a forecast of NaN an error.

    Returns:
        Backtest.

    Raises:
        ValueError: if no sequence is long enough for an origin, or a table lacks a column or holds
            several series. If dates do not go strictly forward, or the dates of `future` differ.
            If columns are neither predicted nor known ahead.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import Generator, backtest
    >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
    >>> tested = backtest(Generator(model), np.arange(12.0), horizon=4)
    >>> tested.free_run.shape, tested.origins[0].tolist()
    ((8, 4), [0, 1])
    """
    if not isinstance(generator, Generator):
        raise TypeError(
            f"`generator` must be a `Generator`. Received: {type(generator).__name__}. For a model "
            "pass `Generator(model, frames.framer)`."
        )
    horizon = check_integer("horizon", horizon, 1)
    season = None if season is None else check_integer("season", season, 1)
    stride = check_integer("stride", stride, 1)
    if generator.framer.vocabulary is not None:
        raise ValueError(
            "`backtest` is for real values. Received: a generator of symbols, whose framer has a "
            "vocabulary."
        )
    given = read_sequences(generator, sequences, future, skip_nan, horizon)
    tester = _Tester(generator, given, history, horizon)
    names = None if isinstance(sequences, Frames) else table_names(tester.known.tables[0])
    warn_of_positions(names, generator.targets, generator.framer, 3)
    count = len(tester.known.tables)
    for place, ahead in enumerate(tester.known.futures or []):
        item, name = tester.known.tables[place], each_name("future", place, count)
        if len(ahead) < len(item):
            raise ValueError(
                f"`{name}` must have a row for each of the {len(item)} steps of its sequence, from "
                f"the first one on. Received: {len(ahead)} rows. Pass all rows."
            )
        ahead = ahead[: len(item) + generator.framer.horizon - 1]
        check_future(item, ahead, begins_with_history=True, name=name)
    origins, left_out = tester.find_origins(horizon, start, stride, season)
    # One program suffices if each step by itself is forecast in as many rows as the free runs.
    rows = _count_rows(len(origins)) if backend.COMPILES_ROLLOUTS else _ROWS
    free_run = tester.forecast(origins, horizon, rows)
    # Origins overlap, so each step is forecast only once.
    longest = max(map(len, tester.truth))
    places = np.array(origins)
    keys = places[:, :1] * longest + places[:, 1:] + np.arange(horizon)
    found, which = np.unique(keys, return_inverse=True)
    which = which.reshape(keys.shape)
    times = list(zip((found // longest).tolist(), (found % longest).tolist(), strict=True))
    possible = [tester.can_forecast(n, t, 1) for n, t in times]
    one_step = np.full((len(times), *free_run.shape[2:]), np.nan, free_run.dtype)
    one_step[possible] = tester.forecast(list(itertools.compress(times, possible)), 1, rows)[:, 0]
    truth = tester.truth
    actual = _as_real(np.stack([truth[n][t] for n, t in times]))
    last = _as_real(np.stack([truth[n][o - 1 - tester.gap] for n, o in origins]))
    seasonal = None
    if season is not None:
        repeated = np.arange(horizon) % season - season
        seasonal = _as_real(np.stack([truth[n][o + repeated] for n, o in origins]))
    return Backtest(
        origins=given.on_clock(origins),
        actual=actual[which],
        free_run=free_run,
        one_step=one_step[which],
        naive=np.repeat(last[:, None], horizon, axis=1),
        residuals=(actual - one_step)[possible],
        seasonal_naive=seasonal,
        residual_steps=given.on_clock(times)[possible],
        labels=given.labels,
        left_out=left_out,
    )


def _count_rows(origins: int) -> int:
    """Return how many rows run at once: few origins take a few more, which cost little."""
    return rounded_rows(min(_ROWS, max(origins, _LEAST_ROWS)))


class _Tester:
    """Forecasts from origins in some sequences; `truth` holds their actual values."""

    def __init__(self, generator: Generator, given: Given, history: int | None, horizon: int):
        self._forecaster: Forecaster = generator._forecaster()
        rolled = self._forecaster.rolled
        self._framer, self.gap = rolled.framer, rolled.framer.gap
        self._least = self._forecaster.least_history(horizon) + self.gap
        self._history = math.inf
        if history is not None:
            self._history = check_integer("history", history, self._least)
        self.known: Known = self._forecaster.read(given.raw, given.futures, "sequences", horizon)
        self._plan = self._forecaster.plan(self.known, horizon)
        # Cast once: the histories of the origins overlap.
        floatx = keras.config.floatx()
        self._values = [array.astype(floatx, copy=False) for array in self.known.values]
        self.truth = self.known.values
        if generator.targets is not None and self._plan.columns is not None:
            self.truth = [array[:, self._plan.columns] for array in self.truth]
        # How many steps before an origin a forecast depends on.
        self._context = self._history
        if not rolled.is_stepped:
            span, bridge = self._framer.geometry.span, self._least - self.gap
            self._context = min(self._context, max(span, bridge) + self.gap)
        # Number of missing steps before each step; None if a missing step is an error.
        self._missing: dict[str, list[np.ndarray]] | None = None
        if given.missing is not None:
            kinds = {"truth": self.truth, "shown": self._values, "future": self.known.ahead or []}
            self._missing = {
                kind: [_count_missing(*each) for each in zip(arrays, given.missing, strict=False)]
                for kind, arrays in kinds.items()
            }

    @property
    def _step_bytes(self) -> int:
        """Bytes of a step of an origin: its number, and a value in each array of a Backtest."""
        return 8 + 4 * self._values[0].itemsize * math.prod(self.truth[0].shape[1:])

    def can_forecast(self, number: int, origin: int, steps: int) -> bool:
        """Whether `steps` steps of sequence `number` can be forecast from an origin on."""
        end, begin = origin + self._forecaster.whole(steps), int(max(origin - self._context, 0))
        if self._lacks("shown", number, begin, origin - self.gap):
            return False
        if self.known.ahead is None:
            return True
        first = begin if self._forecaster.needs_past else origin
        has_rows = end <= len(self.known.ahead[number])
        return has_rows and not self._lacks("future", number, first, end)

    def _lacks(self, kind: str, number: int, begin: int, end: int) -> bool:
        if self._missing is None:
            return False
        counts = self._missing[kind][number]
        return bool(counts[end] > counts[begin])

    def find_origins(
        self, horizon: int, start: int | None, stride: int, season: int | None
    ) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
        """Return the origins, and how many of each sequence are left out."""
        needed = max(self._least, season or 0)
        first = needed if start is None else check_integer("start", start, 1)
        if first < needed:
            raise ValueError(
                f"`start` must leave {needed} steps before it, for `sequence_length="
                f"{self._framer.sequence_length}` and `season={season}`. Received: start={start}. "
                f"Begin at {needed}, or leave `start` out."
            )
        found, left_out = [], [0] * len(self.truth)
        counts = [len(array) for array in self.truth]
        if self.known.ahead is not None:
            blocks = -horizon % self._framer.horizon  # steps that fill the last block
            told = [len(array) - blocks for array in self.known.ahead]
            counts = [min(pair) for pair in zip(counts, told, strict=True)]
        possible = [range(first, count - horizon + 1, stride) for count in counts]
        check_bytes(
            f"Forecasts of {horizon:,} steps from {sum(map(len, possible)):,} origins",
            sum(map(len, possible)) * horizon * self._step_bytes,
            "Choose a smaller `horizon` or a larger `stride`.",
        )
        for number, origins in enumerate(possible):
            for origin in origins:
                if self.can_forecast(number, origin, horizon) and not self._lacks(
                    "truth", number, origin, origin + horizon
                ):
                    found.append((number, origin))
                else:
                    left_out[number] += 1
        if found:
            return found, tuple(left_out)
        if any(left_out):
            raise ValueError(
                "`sequences` must have an origin whose forecast needs no missing step. Received: "
                f"{sum(left_out)} origins, all with a missing step. Fill gaps first, or shorten "
                "`horizon`."
            )
        needed, longest = first + horizon, max(map(len, self.truth))
        if longest >= needed:
            rows = needed + -horizon % self._framer.horizon  # whole blocks
            raise ValueError(
                f"`future` must have {rows} rows or more on the clock of the sequences, for "
                f"`horizon={horizon}`. Received: {max(map(len, self.known.ahead or []))} rows."
            )
        raise ValueError(
            f"`sequences` must have one with {needed} steps or more: `horizon={horizon}` after "
            f"{first} steps. Received: {longest} steps. Pass longer ones, or a smaller `horizon`, "
            "`start` or `season`."
        )

    def forecast(self, places: list[tuple[int, int]], steps: int, rows: int) -> np.ndarray:
        """Return forecasts of `steps` steps from each place, `(places, steps, …)`.

        `rows` places run at once, padded if programs are compiled.
        """
        rows = rows if backend.COMPILES_ROLLOUTS else min(rows, len(places))
        found = []
        for first in range(0, len(places), rows):
            chunk = places[first : first + rows]
            # Every chunk has the same number of rows, so that one program runs them all.
            found.append(self._paths([*chunk, *[chunk[0]] * (rows - len(chunk))], steps))
        return np.concatenate(found)[: len(places)]

    def _paths(self, places: list[tuple[int, int]], steps: int) -> np.ndarray:
        known, whole = self.known, self._forecaster.whole(steps)
        begins = [int(max(origin - self._history, 0)) for _, origin in places]
        firsts = begins if self._forecaster.needs_past else [origin for _, origin in places]
        values = [
            self._values[n][begin : t - self.gap]
            for (n, t), begin in zip(places, begins, strict=True)
        ]
        ahead = None
        if known.ahead is not None:
            ahead = [
                known.ahead[n][first : t + whole]
                for (n, t), first in zip(places, firsts, strict=True)
            ]

        def name(row: int) -> str:
            number, origin = places[row]
            return f"origin {origin}" + f" of sequence {number}" * (len(known.tables) > 1)

        way_out = "Fill gaps first, or leave out such origins with `skip_nan=True`."
        return self._forecaster.paths(self._plan, values, ahead, steps, name, way_out)[:, 0]


def _count_missing(array: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the number of missing steps before each step."""
    is_missing = np.isnan(array).reshape(len(array), -1).any(axis=1)
    is_missing[: len(missing)] |= missing[: len(array)]
    return np.concatenate([[0], np.cumsum(is_missing)])


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
