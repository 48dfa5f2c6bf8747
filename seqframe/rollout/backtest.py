"""Backtests: forecasts from many origins in known sequences, their errors, and intervals."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.clock import Clock
from seqframe.framing.frames import Frames
from seqframe.framing.results import align, label_columns, make_table
from seqframe.framing.tables import column_names, table_names
from seqframe.rollout.backtest_data import read_sequences
from seqframe.rollout.backtest_tables import (
    GROUPINGS,
    METRICS,
    Scored,
    forecast_columns,
    score_columns,
)
from seqframe.rollout.forecast import Quantiles
from seqframe.rollout.functions import check_function
from seqframe.rollout.generator import Generator
from seqframe.rollout.histories import real_arrays
from seqframe.rollout.intervals import check_coverage, radius, shift, shift_each, suffices
from seqframe.rollout.plans import Noise, warn_of_positions
from seqframe.rollout.refitting import Refit, Stage, find_stages, refitted
from seqframe.rollout.scores import naive_scales
from seqframe.rollout.walk import Drawing, Walk


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
        naive: array like `actual`. The naive baseline: the last known value before the origin.
        residuals: array `(steps, …)`. Errors of one step, `actual - forecast`, each step once.
        seasonal_naive: array like `actual`, or None. The value one season before.
        residual_steps: int array `(steps, 2)`: the sequence and step of each residual.
        labels: the names of the sequences: their numbers, or the labels of their groups.
        left_out: tuple of int. Number of origins of each sequence that are left out, because a step
            is missing.
        quantiles: dict of level to an array like `actual`; empty if none were forecast.
        scale: array `(origins, …)`, or None. The mean absolute change over a season before each
            origin, the unit of the MASE.
        by: names of the columns of a table that hold the labels, or None.
        columns: names of the forecast columns, or None.
        clock: the dates of the raw steps, or None.
        library: name of the module that the data's tables come from, or None.

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
    quantiles: Mapping[float, np.ndarray] = field(default_factory=dict)
    scale: np.ndarray | None = None
    by: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    clock: Clock | None = None
    library: str | None = None

    def __getitem__(self, label: Hashable) -> "Backtest":
        """Return the backtest of one sequence. Its intervals come from that sequence only.

        Args:
            label: one of `labels`.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
        >>> tested = backtest(Generator(model), [np.arange(5.0), np.arange(0.0, 50.0, 10)], 1)
        >>> [tested[label].errors()["free_run"].item() for label in tested.labels]
        [1.0, 10.0]
        """
        if label not in self.labels:
            raise KeyError(
                f"`label` must be one of {list(self.labels)}. Received: label={label!r}."
            )
        number = list(self.labels).index(label)
        rows = self.origins[:, 0] == number
        names = ["origins", "actual", *self._forecasts, *["scale"] * (self.scale is not None)]
        each = {name: getattr(self, name)[rows] for name in names}
        if self.residual_steps is not None:
            steps = self.residual_steps[:, 0] == number
            for name in "residuals", "residual_steps":
                each[name] = getattr(self, name)[steps]
        left_out = tuple(n * (k == number) for k, n in enumerate(self.left_out))
        quantiles = {level: values[rows] for level, values in self.quantiles.items()}
        return replace(self, **each, left_out=left_out, quantiles=quantiles)

    def __iter__(self) -> Iterator[Hashable]:
        """Iterate over the labels, as a dict does."""
        return iter(self.labels)

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
        scored = self._scored()
        each = {name: scored.scores(name, ["mae"], ["step"])["mae"] for name in self._forecasts}
        return {name: error.ravel() for name, error in each.items()}

    def scores(
        self,
        by: str | Sequence[str] = (),
        *,
        metrics: str | Sequence[str] = METRICS,
    ) -> Any:
        """Return a table of scores, a row for each forecast.

        Args:
            by: "series", "step" or "column", or a list of these: what to tell apart. The others are
                pooled: each value that was forecast counts the same.
            metrics: of "mae", "rmse", "mase" and "smape", one or a list. The MASE is the MAE
                divided by the naive error on the steps before each origin. With a season, it is
                divided by the seasonal naive error. An origin whose steps never changed has no
                MASE. The sMAPE is in percent, from 0 to 200.

        Returns:
            DataFrame of the data's library, else a dict of columns that prints as a table. If
            quantiles were forecast, it also has the pinball loss, as the mean over their levels.
            It then has the coverage of each interval between opposite levels, too. A forecast
            without quantiles counts as each of them, and has no coverage.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Rescaling(1, 0.5),
        ...                           keras.layers.Flatten()])  # the last value, and 0.5
        >>> tested = backtest(Generator(model), np.arange(1.0, 12.0), horizon=3)
        >>> tested.scores()
        forecast  mae  rmse  mase  smape
        free run    1  1.08     1  19.28
        one step  0.5   0.5   0.5  9.843
           naive    2  2.16     2  44.24
        >>> tested.scores(by="step", metrics="mae")["step"]
        array([1, 1, 1, 2, 2, 2, 3, 3, 3])
        """
        chosen = [by] if isinstance(by, str) else list(by)
        wanted = [metrics] if isinstance(metrics, str) else list(metrics)
        for each in chosen:
            check_choice("by", each, GROUPINGS)
        for each in wanted or [""]:
            check_choice("metrics", each, METRICS)
        scored = self._scored()
        table = score_columns(scored, wanted, chosen, self._labels, self._columns)
        return make_table(table, self.library)

    def forecasts(self) -> Any:
        """Return all forecasts as a table, a row for each origin and step ahead.

        Returns:
            DataFrame of the data's library, else a dict of columns that prints as a table. Its
            columns are the labels of the series, "origin" and "time", "step", "actual", and the
            forecasts. Times are dates, or raw indices of steps. In a pandas table the index has the
            time instead. If there are several columns, each has a row of its own, with its name as
            "column". Quantiles are columns too.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, backtest
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
        >>> backtest(Generator(model), np.arange(4.0), horizon=2).forecasts()
        origin  time  step  actual  free run  one step  naive
             1     1     1       1         0         0      0
             1     2     2       2         0         1      0
             2     2     1       2         1         1      1
             2     3     2       3         1         2      1
        """
        scored = self._scored()
        table = forecast_columns(scored, self._columns)
        _, horizon, width = scored.actual.shape
        series, origin = np.repeat(self.origins, horizon * width, axis=0).T
        time = origin + table["step"] - 1
        index = None
        if self.clock is not None:
            origin, index = self.clock.at(series, origin), self.clock.index(series, time)
        several = self.by or len(self.labels) > 1
        before: dict[str, Any] = self._labels(series) if several else {}
        before["origin"] = origin
        if index is None:
            before["time"] = time
        return make_table({**before, **table}, self.library, index)

    def _scored(self) -> Scored:
        """Return the arrays that tables need, with one axis of columns."""
        flat = self.actual.reshape(*self.actual.shape[:2], -1)
        scale = np.nan if self.scale is None else self.scale.reshape(len(flat), 1, -1)
        return Scored(
            flat,
            {name: getattr(self, name).reshape(flat.shape) for name in self._forecasts},
            np.broadcast_to(scale, (len(flat), 1, flat.shape[2])),
            self.origins[:, 0],
            {level: each.reshape(flat.shape) for level, each in self.quantiles.items()},
        )

    @property
    def _columns(self) -> Sequence[Hashable]:
        return self.columns or range(math.prod(self.actual.shape[2:]))

    def _labels(self, numbers: Sequence[int]) -> dict[str, list[Hashable]]:
        return label_columns(self.labels, self.by, numbers)

    def interval(self, forecast: Any, coverage: float = 0.9) -> tuple[Any, Any]:
        """Return the prediction interval of a forecast, from the errors of the free run.

        This is split conformal prediction (Lei et al., https://arxiv.org/abs/1604.04173). It holds
        for any distribution of errors, if a new error is exchangeable with the errors here. So
        backtest on data that the model has not seen.

        Args:
            forecast: array, Series or DataFrame `(steps,)` or `(steps, features)`, with no more
                steps than the horizon. Or the forecasts of several series, as `Generator.forecast`
                returns them: one table, or a dict. Each series then gets the intervals of its own
                errors. A series with too few origins gets the errors of all series.
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
        coverage = check_coverage(coverage)
        if isinstance(forecast, Mapping) and not forecast:
            raise ValueError("`forecast` must hold a forecast. Received: an empty dict.")
        if isinstance(forecast, Mapping):
            bounds = {
                label: self._own(label, coverage).interval(each, coverage)
                for label, each in forecast.items()
            }
            lower, upper = ({label: pair[k] for label, pair in bounds.items()} for k in (0, 1))
            return lower, upper
        names = column_names(forecast)
        if self.by and names and {*self.by} <= {*names}:
            return self._interval_each(forecast, names, coverage)
        steps = self._check_shape(real_arrays([forecast], "forecast")[0].shape)
        distance = self._radius(coverage)[:steps]
        return shift(forecast, -distance), shift(forecast, distance)

    def _interval_each(self, table: Any, names: list[str], coverage: float) -> tuple[Any, Any]:
        """Return the prediction intervals of a table of several series."""
        columns = self.columns or ()
        if not columns or not {*columns} <= {*names}:
            raise ValueError(
                f"`forecast` must have the columns {list(columns)}, a value for each step. "
                f"Received: a table with the columns {names}. Pass a forecast without quantiles."
            )
        if "sample" in names and "sample" not in columns:
            raise ValueError(
                "`forecast` must have one value for each step. Received: a table of sample paths. "
                "Forecast without `num_samples`."
            )
        radii: dict[Hashable, np.ndarray] = {}  # new series share those of all, named None

        def distance_of(label: Hashable, steps: int) -> np.ndarray:
            self._check_shape((steps, *self.actual.shape[2:]))
            own = self._own(label, coverage)
            key = None if own is self else label
            if key not in radii:
                radii[key] = own._radius(coverage)
            return radii[key][:steps]

        return shift_each(table, self.by or (), columns, distance_of)

    def _own(self, label: Hashable, coverage: float) -> "Backtest":
        """Return the backtest of a series, or all if its own origins are too few."""
        tested = self[label] if label in self.labels else self
        return tested if suffices(len(tested.origins), coverage) else self

    def _check_shape(self, shape: tuple[int, ...]) -> int:
        """Return how many steps a forecast has, or raise if its shape does not fit."""
        if 0 < shape[0] <= self.actual.shape[1] and shape[1:] == self.actual.shape[2:]:
            return shape[0]
        raise ValueError(
            f"`forecast` must be one forecast of at most {self.actual.shape[1]} steps, with "
            f"features of shape {self.actual.shape[2:]}. Received: shape {shape}. If you "
            "have several, pass one at a time, or a table with the columns that tell them apart."
        )

    def _radius(self, coverage: float) -> np.ndarray:
        return radius(self.free_run - self.actual, coverage)

    def __repr__(self) -> str:
        return f"Backtest({len(self.origins)} origins, horizon={self.actual.shape[1]})"

    def __str__(self) -> str:
        errors = self.errors()
        horizon = self.actual.shape[1]
        shown = sorted({0, *(2**k - 1 for k in range(horizon.bit_length())), horizon - 1})
        rows = [["step", *(name.replace("_", " ").rjust(8) for name in errors)]]
        for step in shown:
            rows.append([str(step + 1), *(f"{each[step]:.4g}" for each in errors.values())])
        lines = ["mean absolute error, by steps ahead", *align(rows)]
        if any(self.left_out):
            lines.append(f"{sum(self.left_out)} origins left out: a step is missing")
        return "\n".join(lines)


def backtest(
    generator: Generator,
    sequences: Any,
    horizon: int,
    *,
    start: Any = None,
    stride: int = 1,
    history: int | None = None,
    future: Any = None,
    season: int | None = None,
    skip_nan: bool | None = None,
    refit: Refit | None = None,
    refit_every: int = 1,
    num_samples: int | None = None,
    noise: Noise | None = None,
    quantiles: Quantiles | None = None,
) -> Backtest:
    """Forecast from many origins in known sequences, and compare with the actual values.

    It shows why a forecast goes flat: the model is wrong from the first step on, or errors add up.

    Args:
        generator: Generator of real values.
        sequences: sequence, or list of sequences, as `Generator.forecast` takes histories. Or one
            table of many series, which the columns in the framer's `by` tell apart. Or Frames,
            which bring their future covariates. The model should not have been trained on the steps
            from `start` on.
        horizon: int ≥ 1. Steps to forecast from each origin.
        start: int or date. The first origin; the model needs enough steps before it. At a date, a
            sequence with too few steps begins later. None: as early as possible.
        stride: int ≥ 1. Steps from one origin to the next.
        history: int. Most steps before an origin that a stateful model sees. None: all.
        future: future covariates aligned with the sequences: array, or a list for a list; for one
            table of many series, a table with the same labels. If it ends with its sequence, a
            model of `horizon > 1` cannot forecast the last steps one by one. They are NaN in
            `one_step`. Or a list of names: the sequences' own columns that the model does not
            predict, and that are known at each origin. For Frames only names or positions; Frames
            bring their `future_columns`. Only a rollout of several blocks needs the columns that
            are not predicted.
        season: int ≥ 1. Steps after which the sequences repeat, such as 7 for daily values. It adds
            the seasonal naive baseline.
        skip_nan: bool. Leave out origins that need a missing step. None: as the Frames do. For
            other data, None makes a forecast of NaN an error.
        refit: function `(known)` that trains anew as the walk goes on. `known` is the part of
            `sequences` before an origin, as they were passed: a table, a list, or Frames. It is
            called before the first origin, and then at every `refit_every`-th one. It trains the
            generator's model and returns None, or what `fit` returns; or it returns another
            Generator with the same framer. The origins of several sequences are one if their dates
            are the same; without dates, if their steps are.
        refit_every: int ≥ 1. Origins from one call of `refit` to the next.
        num_samples: int ≥ 1. Sample paths from each origin, as in `Generator.forecast`. Their
            medians are the forecasts.
        noise: makes sample paths differ, as in `Generator.forecast`.
        quantiles: list of float in [0, 1]. The quantiles to score, of the sample paths or of a
            model that predicts quantiles. None: all that the model predicts; of sample paths the
            median, and those that bound the middle 50 % and 90 %.

    Returns:
        Backtest.

    Raises:
        ValueError: if no sequence is long enough for an origin, or a table lacks a column. If dates
            do not go strictly forward, or the dates of `future` differ. If columns are neither
            predicted nor known ahead.

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
    refit_every = check_integer("refit_every", refit_every, 1)
    if refit is not None:
        check_function("refit", refit, "known")
    drawing = Drawing(num_samples, noise, quantiles)
    given = read_sequences(generator, sequences, future, skip_nan, horizon)
    walk = Walk(generator, given, history, horizon, drawing)
    names = None if isinstance(sequences, Frames) else table_names(walk.known.tables[0])
    warn_of_positions(names, generator.targets, generator.framer, 3)
    walk.check_futures()
    origins, left_out = walk.find_origins(given.starts(start), stride, season)
    # Origins overlap, so each step is forecast only once.
    truth, longest = walk.truth, max(map(len, walk.truth))
    places = np.array(origins)
    keys = places[:, :1] * longest + places[:, 1:] + np.arange(horizon)
    found, which = np.unique(keys, return_inverse=True)
    which = which.reshape(keys.shape)
    steps = list(zip((found // longest).tolist(), (found % longest).tolist(), strict=True))
    possible = np.array([walk.can_forecast(n, t, 1) for n, t in steps])
    stages = [Stage(None, np.arange(len(origins)), np.arange(len(steps)))]
    if refit is not None:
        stages = find_stages(given.times(), origins, steps, refit_every, walk.gap)

    def prepare(stage: Stage) -> None:
        nonlocal generator
        if refit is not None and stage.known is not None:
            generator = refitted(refit, given.cut(stage.known), generator)
            walk.use(generator)

    forecasts, one_step = walk.forecast_stages(stages, origins, steps, possible, prepare)
    actual = _as_real(np.stack([truth[n][t] for n, t in steps]))
    last = _as_real(np.stack([truth[n][o - 1 - walk.gap] for n, o in origins]))
    seasonal = None
    if season is not None:
        repeated = season_before(horizon, season, walk.gap)
        seasonal = _as_real(np.stack([truth[n][o + repeated] for n, o in origins]))
    scales = [naive_scales(_as_real(array), season or 1) for array in truth]
    return Backtest(
        origins=given.on_clock(origins),
        actual=actual[which],
        free_run=forecasts[:, 0],
        one_step=one_step[which],
        naive=np.repeat(last[:, None], horizon, axis=1),
        residuals=(actual - one_step)[possible],
        seasonal_naive=seasonal,
        residual_steps=given.on_clock(steps)[possible],
        labels=given.labels,
        left_out=left_out,
        quantiles=dict(zip(walk.levels, np.moveaxis(forecasts[:, 1:], 1, 0), strict=True)),
        scale=np.stack([scales[n][o - walk.gap] for n, o in origins]),
        by=given.by,
        columns=walk.names,
        clock=given.clock,
        library=given.library,
    )


def season_before(horizon: int, season: int, gap: int) -> np.ndarray:
    """Return the steps that the seasonal naive baseline repeats, counted from an origin.

    They lie one season before the forecast steps, or several if the steps of a gap are not known.

    >>> season_before(3, season=2, gap=0), season_before(3, season=2, gap=1)
    (array([-2, -1, -2]), array([-2, -3, -2]))
    """
    phase = np.arange(horizon) % season
    steps: np.ndarray = phase - season * -(-(phase + gap + 1) // season)
    return steps


def _as_real(values: np.ndarray) -> np.ndarray:
    """Return integers and bools as floats: differences of small integers wrap around."""
    return values.astype("float64") if values.dtype.kind in "biu" else values
