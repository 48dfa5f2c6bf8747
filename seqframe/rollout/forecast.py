"""Forecasts: histories and future covariates to rows, rolled out, and back to tables."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from seqframe.aliases import Shape
from seqframe.framing.checks import check_integer
from seqframe.framing.dates import (
    check_each,
    check_future,
    continue_table,
    dates_of,
    index_forecast,
)
from seqframe.framing.sequences import find_columns, split_sequences, to_array, to_arrays
from seqframe.framing.tables import (
    check_width,
    column_names,
    drop_labels,
    select_columns,
    table_names,
)
from seqframe.model.inspect import check_features, check_prompt_length
from seqframe.rollout.choosers import Feedback, KnownColumns, ResidualNoise, ValueChooser
from seqframe.rollout.loop import RolledModel, Run
from seqframe.rollout.prompts import lay_out
from seqframe.rollout.targets import Targets, future_names, future_places, warn_of_positions

#: What sample paths differ by.
Noise = (
    Callable[[Any, Any], Any]
    | Literal["dropout"]
    | Sequence[float]
    | Sequence[Sequence[float]]
    | np.ndarray
)
Quantiles = Sequence[float] | np.ndarray


class Known(NamedTuple):
    """Histories and their future covariates, as tables and as arrays."""

    name: str  # what the histories are called in errors
    tables: list[Any]
    values: list[np.ndarray]
    futures: list[Any] | None  # tables
    ahead: list[np.ndarray] | None  # the same, as arrays (steps, columns)


class Plan(NamedTuple):
    """How a model's predictions become inputs."""

    choose: ValueChooser
    columns: int | list[int] | None  # the predicted columns; None: all
    dropout: bool  # whether the model's dropout stays at work


class Seen(NamedTuple):
    """Values that a forecast was made from."""

    name: str
    rows: np.ndarray
    table: Any  # what they are part of, whose index may date them
    first: int = 0  # where they begin in the table


@dataclass(frozen=True, eq=False)
class Forecaster:
    """Rolls a model out over real values."""

    rolled: RolledModel
    targets: Targets | None
    feedback: Feedback | None
    seed: int

    def forecast(
        self,
        history: Any,
        steps: int,
        future: Any,
        num_samples: int | None,
        noise: Noise | None,
        quantiles: Quantiles | None,
    ) -> Any:
        """Return forecasts as the type that the histories have; see `Generator.forecast`."""
        samples = _check_samples(num_samples, noise, quantiles)
        raw = split_sequences(history)
        several = raw[0] is not history
        futures = None if future is None else [future]
        if several and future is not None:
            is_list = isinstance(future, (list, tuple))
            if not is_list or len(future) != len(raw):
                received = len(future) if is_list else type(future).__name__
                raise ValueError(
                    f"`future` must be a list of one for each of {len(raw)} histories. Received: "
                    f"{received}."
                )
            futures = list(future)
        known = self.read(raw, futures, "history")
        for array in known.values:
            check_prompt_length(len(array), self.rolled.framer, self.rolled.is_stepped, "history")
        names = table_names(known.tables[0])
        warn_of_positions(names, self.targets, self.rolled.framer, stacklevel=4)
        self._check_future_rows(known, steps)
        aheads = [None] * len(raw) if known.futures is None else known.futures
        for item, ahead in zip(known.tables, aheads, strict=True):
            if ahead is not None:
                check_future(item, ahead, self.needs_past, stacklevel=4)

        def explain(number: int, step: int) -> ValueError:
            past = Seen("history", known.values[number], known.tables[number])
            seen = None
            if known.futures is not None and known.ahead is not None:
                seen = Seen("future", known.ahead[number], known.futures[number])
            way_out = "Fill it in. Without its row, later steps would take its place."
            return explain_nan(step, f"history {number}", seen, past, way_out)

        plan = self.plan(known, noise, samples)
        paths = self.paths(plan, known.values, known.ahead, steps, explain)
        if num_samples is not None and quantiles is None:
            return list(paths) if several else paths[0]
        results = []
        for item, ahead, path in zip(known.tables, aheads, paths, strict=True):
            found = path[0]
            if quantiles is not None:
                found = np.quantile(path, np.atleast_1d(quantiles), axis=0).astype(path.dtype)
            index = index_forecast(item, steps, ahead, self.needs_past)
            results.append(continue_table(item, found, plan.columns, quantiles, index))
        return results if several else results[0]

    def read(self, raw: list[Any], futures: list[Any] | None, name: str) -> Known:
        """Return histories and future covariates, with the columns that the framer names.

        Raises:
            ValueError: if a table lacks a column, holds several series, or has dates that do not
                go strictly forward.
        """
        columns = self.rolled.framer.columns
        raw = self._one_series(raw, name, columns)
        names = self._future_names
        if futures is not None:
            futures = self._one_series(futures, "future", names)
        check_each(raw, name)
        raw = [select_columns(item, columns, name) for item in raw]
        values = to_arrays(raw, name)
        check_width(values[0], columns, name)
        if futures is None:
            return Known(name, raw, values, None, None)
        futures = [select_columns(item, names, "future") for item in futures]
        ahead = [each if each.ndim > 1 else each[:, None] for each in to_arrays(futures, "future")]
        check_width(ahead[0], names, "future")
        return Known(name, raw, values, futures, ahead)

    def _one_series(
        self, tables: list[Any], name: str, columns: tuple[str, ...] | None
    ) -> list[Any]:
        """Return tables of one series each, without the columns that label the series."""
        labels = [name if len(tables) == 1 else f"{name}[{k}]" for k in range(len(tables))]
        return [
            drop_labels(table, self.rolled.framer.by, label, keep=columns)
            for table, label in zip(tables, labels, strict=True)
        ]

    @property
    def _future_names(self) -> tuple[str, ...] | None:
        targets = None if self.feedback is not None else self.targets
        return future_names(self.rolled.framer, targets, self.rolled.takes_future)

    @property
    def needs_past(self) -> bool:
        """Whether the model takes the future covariates of the history's steps too."""
        each = self.rolled.is_stepped or self.rolled.framer.return_sequences
        return each and self.rolled.takes_future

    def whole(self, steps: int) -> int:
        """Return `steps`, rounded up to whole horizons."""
        horizon = self.rolled.framer.horizon
        return -(-steps // horizon) * horizon

    def _check_future_rows(self, known: Known, steps: int) -> None:
        """Raise if future covariates have not one row for each step that needs one."""
        for array, value in zip(known.ahead or [], known.values, strict=False):
            whole = self.whole(steps)
            needed = whole + (len(value) if self.needs_past else 0)
            if len(array) == needed:
                continue
            what = f"{steps} forecast steps"
            if whole > steps:
                what += f", rounded up to whole horizons of {self.rolled.framer.horizon}"
            if self.needs_past:
                what = f"{len(value)} steps of the history and {what}"
            way_out = "Add rows" if len(array) < needed else "Leave out the other rows"
            raise ValueError(
                f"`future` must have {needed} rows: {what}. Received: {len(array)} rows. "
                f"{way_out}, or change `steps`."
            )

    def plan(self, known: Known, noise: Noise | None = None, num_samples: int = 1) -> Plan:
        """Return how predictions become inputs, or raise if they cannot."""
        framer, targets = self.rolled.framer, self.targets
        row_shape = known.values[0].shape[1:]
        names = column_names(known.tables[0]) if framer.columns is None else list(framer.columns)
        columns = None
        if targets is not None and len(row_shape) > 1:
            raise ValueError(
                f"`targets` are columns, so `{known.name}` must have shape (steps, features). "
                f"Received: steps of shape {row_shape}."
            )
        if targets is not None:
            columns = find_columns(targets, names, math.prod(row_shape))
        if not row_shape:
            columns = None  # a sequence of one column predicts that one
        future = None if known.ahead is None else known.ahead[0]
        future_shape = None
        if future is not None and self.rolled.takes_future:
            given = framer.future_columns
            future_shape = future.shape[1:] if given is None else (len(given),)
        check_features(self.rolled.model, framer, row_shape, future_shape)
        feedback, predicted = self._feedback(known, names, columns)
        dropout = isinstance(noise, str)
        if dropout and noise != "dropout":
            raise ValueError(
                f'`noise` must be a function, errors, or "dropout". Received: noise={noise!r}.'
            )
        added = None
        if noise is not None and not dropout:
            is_column = columns is not None and np.ndim(columns) == 0
            added = _as_noise(noise, framer.horizon, predicted, is_column)
        choose = ValueChooser(framer.horizon, predicted, num_samples, added, feedback)
        return Plan(choose, columns, dropout)

    def _feedback(
        self, known: Known, names: list[str] | None, columns: int | list[int] | None
    ) -> tuple[Feedback | KnownColumns | None, Shape]:
        """Return what makes an input of a prediction, and the shape of a prediction of one step."""
        row_shape, horizon = known.values[0].shape[1:], self.rolled.framer.horizon
        outputs, features = self.rolled.outputs, math.prod(row_shape)
        chosen = None if columns is None else np.atleast_1d(columns).tolist()
        count = features if chosen is None else len(chosen)
        predicted = count * horizon if outputs is None else math.prod(outputs)
        count, rest = divmod(predicted, horizon)
        received = (
            f"Received: a history of {features} features for a model with {predicted} outputs and "
            f"a framer with horizon={horizon}."
        )
        if rest or (chosen is not None and count != len(chosen)):
            what = "every feature" if chosen is None else f"the {len(chosen)} `targets`"
            raise ValueError(
                f"The model must predict {what} for each step of `horizon`. {received}"
            )
        if self.rolled.takes_future and known.ahead is None:
            raise ValueError(
                'The model takes a "future". Received: future=None. Pass the future covariates of '
                "the forecast steps."
            )
        if self.feedback is not None:
            return self.feedback, row_shape if count == features else (count,)
        if chosen is None or chosen == list(range(features)):
            if count != features:
                raise ValueError(
                    f"The model must predict every feature of its input. {received} Give the "
                    "`Generator` the predicted columns as `targets` and pass the others as "
                    "`future`, or give it a `feedback`."
                )
            return None, row_shape
        given: Sequence[str] | None = self._future_names
        if given is None and known.futures is not None:
            given = column_names(known.futures[0])
        future = None if known.ahead is None else known.ahead[0]
        places = future_places(chosen, features, names, given, future)
        return KnownColumns(tuple(chosen), places), (len(chosen),)

    def paths(
        self,
        plan: Plan,
        values: list[np.ndarray],
        ahead: list[np.ndarray] | None,
        steps: int,
        explain: Callable[[int, int], ValueError],
    ) -> np.ndarray:
        """Return sample paths `(histories, num_samples, steps, …)`.

        `explain(history, step)` returns the error of a forecast that is NaN.
        """
        dtype, num_samples = keras.config.floatx(), plan.choose.num_samples

        def repeated(arrays: list[np.ndarray]) -> list[np.ndarray]:
            cast = [array.astype(dtype, copy=False) for array in arrays]
            return [array for array in cast for _ in range(num_samples)]

        rows = repeated(values)
        futures = None if ahead is None else repeated(ahead)
        prompts = lay_out(
            rows,
            steps,
            self.rolled.framer,
            self.rolled.is_stepped,
            self.seed,
            futures=futures,
            on_clock=self.needs_past,
        )
        run = Run(self.rolled.rollout(plan.choose, len(rows), plan.dropout), prompts)
        run.advance(steps)
        found = run.steps()
        if np.isnan(found).any():
            row, step = map(int, np.argwhere(np.isnan(found))[0][:2])
            raise explain(row // num_samples, step)
        found = found.reshape(len(values), num_samples, *found.shape[1:])
        if plan.dropout and num_samples > 1 and (found == found[:, :1]).all():
            raise ValueError(
                'The model has no dropout: its sample paths are all the same. Received: noise="'
                f'dropout" for {self.rolled.model.name!r}. Pass a function, or errors from '
                "`backtest(…).residuals`."
            )
        return found if plan.columns is None else found[..., plan.columns]


def _check_samples(num_samples: int | None, noise: Any, quantiles: Quantiles | None) -> int:
    """Return the number of sample paths; raise if the arguments do not go together."""
    if num_samples is None:
        for name, value in ("noise", noise), ("quantiles", quantiles):
            if value is not None:
                raise ValueError(
                    f"`{name}` is for sample paths. Received: num_samples=None. Pass `num_samples`."
                )
        return 1
    if noise is None:
        raise ValueError(
            "Sample paths need a `noise` to differ by. Received: noise=None. Pass a function, "
            'errors from `backtest(…).residuals`, or "dropout".'
        )
    if quantiles is not None:
        levels = np.atleast_1d(quantiles)
        if levels.ndim != 1 or not levels.size or not all(0 <= level <= 1 for level in levels):
            raise ValueError(
                "`quantiles` must be a list of at least one number in 0 … 1. Received: "
                f"quantiles={quantiles!r}."
            )
    return check_integer("num_samples", num_samples, 1)


def _as_noise(noise: Any, horizon: int, predicted: Shape, is_column: bool) -> Any:
    """Return noise as a rollout takes it; `is_column` if `targets` is one column, not a list."""
    if callable(noise):
        return noise
    if np.ndim(noise) == 0:
        raise TypeError(
            '`noise` must be a function, an array of errors, or "dropout". Received: noise='
            f"{noise!r}. For noise of one size, pass a function, as `lambda prediction, seed: "
            "prediction + 0.1 * keras.random.normal(prediction.shape, seed=seed)`."
        )
    residuals = to_array(noise, "noise")
    if is_column and residuals.shape[1:] in ((), (horizon,)):
        # Errors of one column have no axis of columns in a backtest.
        residuals = residuals.reshape(*residuals.shape, 1)
    if residuals.shape[1:] not in (predicted, (horizon, *predicted)) or not len(residuals):
        shape = ", ".join(map(str, ("errors", *predicted)))
        raise ValueError(
            f"`noise`, as errors, must be of shape ({shape}). Received: shape {residuals.shape}."
        )
    if not np.isfinite(residuals).all():
        raise ValueError("`noise`, as errors, must be finite. Received: NaN or infinity.")
    return ResidualNoise(residuals)


def explain_nan(step: int, of: str, future: Seen | None, past: Seen, way_out: str) -> ValueError:
    """Return the error that says where the NaN of a forecast comes from.

    >>> past = Seen("history", np.array([1.0, np.nan]), None)
    >>> print(explain_nan(0, "history 0", None, past, "Fill it in."))
    The forecast is NaN. Received: NaN at step 0 of history 0, and NaN at step 1 of the history.
    Fill it in.
    """
    received = f"The forecast is NaN. Received: NaN at step {step} of {of}"
    # The first row of the future, and the last one of the history: those next to the forecast.
    for seen, nearest in (future, 0), (past, -1):
        if seen is None or np.isfinite(seen.rows).all():
            continue
        finite = np.isfinite(seen.rows.reshape(len(seen.rows), -1)).all(axis=1)
        row = int(np.flatnonzero(~finite)[nearest])
        value = "NaN" if np.isnan(seen.rows[row]).any() else "infinity"
        where = f"step {name_step(seen.table, seen.first + row)} of the {seen.name}"
        return ValueError(f"{received}, and {value} at {where}. {way_out}")
    return ValueError(
        f"{received}, from values that are all finite. Look at the model's weights: training may "
        "have diverged."
    )


def name_step(table: Any, row: int) -> str:
    """Return the number of a row, with its date if the table has dates.

    >>> import pandas
    >>> name_step(pandas.Series([1, 2], pandas.period_range("2026-01", periods=2, freq="M")), 1)
    '1 (2026-02)'
    """
    dates = dates_of(table)
    return f"{row}" if dates is None else f"{row} ({dates[row]})"
