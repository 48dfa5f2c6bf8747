"""Forecasts: histories and future covariates to rows, rolled out, and back to tables."""

import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from seqframe.aliases import Columns, Shape
from seqframe.framing.alignment import check_series
from seqframe.framing.checks import check_bytes, check_integer, each_name
from seqframe.framing.dates import check_each, check_future, continue_table, index_forecast
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.sequences import (
    find_columns,
    is_symbolic,
    split_sequences,
    to_arrays,
)
from seqframe.framing.tables import (
    check_unmasked,
    check_width,
    column_names,
    drop_labels,
    proper_names,
    select_columns,
    table_names,
)
from seqframe.model.inspect import (
    check_features,
    check_prompt_length,
    context_steps,
    named_inputs,
    takes_windows,
)
from seqframe.rollout.choosers import Feedback, KnownColumns, ResidualNoise, ValueChooser
from seqframe.rollout.functions import SharedFunction
from seqframe.rollout.loop import RolledModel
from seqframe.rollout.prompts import lay_out

#: What makes sample paths differ.
Noise = (
    Callable[[Any, Any], Any]
    | Literal["dropout"]
    | Sequence[float]
    | Sequence[Sequence[float]]
    | np.ndarray
)
Quantiles = Sequence[float] | np.ndarray
#: The columns that a model predicts, by name or position: one, or a list.
Targets = str | int | Sequence[str | int]


_MOST_STEPS = 2**30  # a rollout counts its positions in 32 bits


class Known(NamedTuple):
    """Histories and their future covariates, as tables and as arrays."""

    name: str  # name of the histories in errors
    tables: list[Any]
    values: list[np.ndarray]
    futures: list[Any] | None  # tables
    ahead: list[np.ndarray] | None  # the futures, as arrays (steps, columns)
    future_names: list[str] | None = None


@dataclass(frozen=True)
class HeldColumns:
    """Feeds predicted columns back, and holds the others: within a block nobody reads them."""

    targets: tuple[int, ...]  # places of the predicted columns in an input

    def __call__(self, prediction: Any, last: Any) -> Any:
        predicted = {place: prediction[:, k] for k, place in enumerate(self.targets)}
        columns = [predicted.get(place, last[:, place]) for place in range(last.shape[1])]
        return keras.ops.stack(columns, axis=1)


class Plan(NamedTuple):
    """How a model's predictions become inputs."""

    choose: ValueChooser
    columns: int | list[int] | None  # the predicted columns; None: all
    dropout: bool  # whether the model's dropout stays active


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
        futures = split_future(future, several, f"{len(raw)} histories", len(raw))
        known = self.read(raw, futures, "history", steps)
        for array in known.values:
            check_prompt_length(len(array), self.rolled.framer, self.rolled.is_stepped, "history")
        warn_of_positions(table_names(known.tables[0]), self.targets, self.rolled.framer, 4)
        aheads = known.futures or [None] * len(raw)
        for number, (item, ahead) in enumerate(zip(known.tables, aheads, strict=True)):
            if ahead is not None:
                name = each_name("future", number, len(raw))
                self._check_rows(name, len(item), len(ahead), steps)
                check_future(item, ahead, self.needs_past, stacklevel=4, name=name)
        self._check_room(known, steps, samples)
        plan = self.plan(known, steps, noise, samples)
        paths = self.paths(
            plan, known.values, known.ahead, steps, "history {}".format, "Fill gaps first."
        )
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

    def read(self, raw: list[Any], futures: Sequence[Any] | None, name: str, steps: int) -> Known:
        """Return histories and future covariates, with the columns that the framer names."""
        tables, values = self._read(raw, name, self.rolled.framer.columns)
        check_each(tables, name)
        if futures is None:
            return Known(name, tables, values, None, None)
        by, count = self.rolled.framer.by or (), len(raw)
        for number, (item, ahead) in enumerate(zip(raw, futures, strict=True)):
            called = each_name("future", number, count), each_name(name, number, count)
            check_series(ahead, item, by, *called)
        names, own = self._future_names, self.rolled.framer.future_columns
        is_block = steps <= self.rolled.framer.horizon
        if is_block and self.rolled.takes_future and own and _lacks(futures[0], names or own):
            names = own  # a single block feeds nothing back
        futures, arrays = self._read(futures, "future", names)
        ahead = [each if each.ndim > 1 else each[:, None] for each in arrays]
        found = column_names(futures[0]) if names is None else list(names)
        return Known(name, tables, values, futures, ahead, found)

    def _read(
        self, raw: Sequence[Any], name: str, columns: tuple[str, ...] | None
    ) -> tuple[list[Any], list[np.ndarray]]:
        """Return tables of one series each with these columns, and the same as arrays."""
        by = self.rolled.framer.by
        tables = [
            drop_labels(table, by, each_name(name, number, len(raw)), keep=columns)
            for number, table in enumerate(raw)
        ]
        tables = [select_columns(table, columns, name) for table in tables]
        arrays = real_arrays(tables, name)
        check_width(arrays[0], columns, name)
        return tables, arrays

    @property
    def _future_names(self) -> tuple[str, ...] | None:
        """Names of the future covariates, in order; None if they are not known.

        The model's own "future" comes first, then the columns that the model does not predict.
        """
        framer = self.rolled.framer
        names: tuple[str, ...] = ()
        if self.rolled.takes_future:
            if framer.future_columns is None:
                return None
            names = framer.future_columns
        if framer.columns and self.targets is not None and self.feedback is None:
            chosen = np.atleast_1d(
                find_columns(self.targets, list(framer.columns), len(framer.columns))
            )
            others = [name for k, name in enumerate(framer.columns) if k not in chosen]
            names = (*names, *(name for name in others if name not in names))
        return names or None

    @property
    def needs_past(self) -> bool:
        """Whether the model takes the future covariates of the history's steps too."""
        each = self.rolled.is_stepped or self.rolled.framer.return_sequences
        return each and self.rolled.takes_future

    def _check_rows(self, name: str, history: int, future: int, steps: int) -> None:
        needed = self.whole(steps) + history * self.needs_past
        if future == needed:
            return
        past = f" the {history} steps of the history and" if self.needs_past else ""
        raise ValueError(
            f"`{name}` must have {needed} rows:{past} one for each forecast step, rounded up to "
            f"whole horizons of {self.rolled.framer.horizon}. Received: {future} rows. Cut it, or "
            "change `steps`."
        )

    def _check_room(self, known: Known, steps: int, num_samples: int) -> None:
        """Raise if the steps of all paths do not fit into memory."""
        size = np.dtype(keras.config.floatx()).itemsize * math.prod(known.values[0].shape[1:])
        longest = max(map(len, known.values))
        if not self.rolled.is_stepped:  # only its window is copied
            framer = self.rolled.framer
            longest = min(longest, context_steps(framer, False) + framer.gap)
        check_bytes(
            f"{num_samples:,} sample paths of {steps:,} `steps`",
            len(known.values) * num_samples * (longest + steps) * size,
            "Choose smaller `steps` or `num_samples`.",
        )
        if steps > _MOST_STEPS:
            raise ValueError(f"`steps` must be at most {_MOST_STEPS:,}. Received: steps={steps:,}.")

    def whole(self, steps: int) -> int:
        """Return `steps`, rounded up to whole horizons."""
        horizon = self.rolled.framer.horizon
        return -(-steps // horizon) * horizon

    def plan(
        self, known: Known, steps: int, noise: Noise | None = None, num_samples: int = 1
    ) -> Plan:
        """Return how predictions become inputs of `steps` steps, or raise if they cannot."""
        framer, row_shape = self.rolled.framer, known.values[0].shape[1:]
        names = column_names(known.tables[0]) if framer.columns is None else list(framer.columns)
        columns = None
        if self.targets is not None:
            if len(row_shape) > 1:
                raise ValueError(
                    f"`targets` are columns, so `{known.name}` must have shape (steps, features). "
                    f"Received: steps of shape {row_shape}."
                )
            columns = find_columns(self.targets, names, math.prod(row_shape))
        if not row_shape:
            columns = None  # a sequence of one column predicts that one
        future_shape = None
        if known.ahead is not None and self.rolled.takes_future:
            given = framer.future_columns
            future_shape = known.ahead[0].shape[1:] if given is None else (len(given),)
        check_features(self.rolled.model, framer, row_shape, future_shape)
        feedback, predicted = self._feedback(known, steps, names, columns)
        reads_future = isinstance(feedback, KnownColumns) and bool(feedback.known)
        if known.ahead is not None and not (self.rolled.takes_future or reads_future):
            raise ValueError(
                "`future` must be left out: the model takes no future covariates. Received: "
                f"{math.prod(known.ahead[0].shape[1:])} columns. Leave it out, or train a model "
                "with an input of that name."
            )
        dropout = isinstance(noise, str) and noise == "dropout"
        added = None
        if noise is not None and not dropout:
            is_column = columns is not None and np.ndim(columns) == 0
            added = _as_noise(noise, framer.horizon, predicted, is_column)
        choose = ValueChooser(framer.horizon, predicted, num_samples, added, feedback)
        return Plan(choose, columns, dropout)

    def _feedback(
        self, known: Known, steps: int, names: list[str] | None, columns: int | list[int] | None
    ) -> tuple[Feedback | KnownColumns | None, Shape]:
        """Return the feedback, and the shape of a one-step prediction."""
        row_shape, horizon = known.values[0].shape[1:], self.rolled.framer.horizon
        outputs, features = self.rolled.outputs, math.prod(row_shape)
        chosen = None if columns is None else np.atleast_1d(columns).tolist()
        expected = features if chosen is None else len(chosen)
        predicted = expected * horizon if outputs is None else math.prod(outputs)
        count, rest = divmod(predicted, horizon)
        is_free = self.feedback is not None and chosen is None
        if rest or (count != expected and not is_free):
            what = "every feature" if chosen is None else f"the {expected} `targets`"
            raise ValueError(
                f"The model must predict {what} for each step of `horizon`. Received: a history of "
                f"{features} features for a model with {predicted} outputs and a framer with "
                f"horizon={horizon}. Give the `Generator` the predicted columns as `targets` and "
                "pass the others as `future`, or give it a `feedback`."
            )
        if self.rolled.takes_future and known.ahead is None:
            raise ValueError(
                'The model takes a "future". Received: future=None. Pass the future covariates of '
                "the forecast steps."
            )
        if self.feedback is not None:
            return self.feedback, row_shape if count == features else (count,)
        if chosen is None or chosen == list(range(features)):
            return None, row_shape
        places = self._future_places(chosen, features, names, known, steps)
        if places is None:
            return HeldColumns(tuple(chosen)), (len(chosen),)
        return KnownColumns(tuple(chosen), places), (len(chosen),)

    def _future_places(
        self,
        chosen: list[int],
        features: int,
        names: list[str] | None,
        known: Known,
        steps: int,
    ) -> tuple[tuple[int, int], ...] | None:
        """Return each column that is not predicted, with its place in the future.

        None if the future lacks these columns, and a single block needs none.
        """
        others = [column for column in range(features) if column not in chosen]
        if not others:
            return ()
        width = None if known.ahead is None else math.prod(known.ahead[0].shape[1:])
        own, given = proper_names(names), proper_names(known.future_names)
        if own and given:
            if all(own[k] in given for k in others):
                return tuple((column, given.index(own[column])) for column in others)
        elif width == len(others):
            return tuple((column, k) for k, column in enumerate(others))
        if steps <= self.rolled.framer.horizon and (width is None or self.rolled.takes_future):
            return None
        called = [names[column] for column in others] if names else others
        raise ValueError(
            f"`future` must hold the columns {called}, which the model does not predict. "
            f"Received: {'none' if width is None else f'{width} columns'}. Pass them, or "
            "give the `Generator` a `feedback`."
        )

    def paths(
        self,
        plan: Plan,
        values: list[np.ndarray],
        ahead: list[np.ndarray] | None,
        steps: int,
        name: Callable[[int], str],
        way_out: str,
    ) -> np.ndarray:
        """Return sample paths `(histories, num_samples, steps, …)`.

        If one is NaN, the error names it `name(history)`.
        """
        dtype, num_samples = keras.config.floatx(), plan.choose.num_samples

        def repeated(arrays: list[np.ndarray]) -> list[np.ndarray]:
            cast = [array.astype(dtype, copy=False) for array in arrays]
            return [array for array in cast for _ in range(num_samples)]

        rows = repeated(values)
        prompts = lay_out(
            rows,
            steps,
            self.rolled.framer,
            self.rolled.is_stepped,
            self.seed,
            futures=None if ahead is None else repeated(ahead),
            on_clock=self.needs_past,
        )
        run = self.rolled.start(plan.choose, prompts, plan.dropout)
        run.advance(steps)
        found = run.steps()
        if np.isnan(found).any():
            row, step = map(int, np.argwhere(np.isnan(found))[0][:2])
            number = row // num_samples
            cause = "finite values. Look at the model's weights: training may have diverged."
            for where, arrays in ("history", values), ("future", ahead):
                if arrays is not None and not np.isfinite(arrays[number]).all():
                    cause = f"NaN or infinity in the {where}. {way_out}"
            raise ValueError(
                f"The forecast of {name(number)} is NaN at step {step}. Received: {cause}"
            )
        found = found.reshape(len(values), num_samples, *found.shape[1:])
        if plan.dropout and num_samples > 1 and (found == found[:, :1]).all():
            raise ValueError(
                'The model has no dropout: its sample paths are all the same. Received: noise="'
                f'dropout" for {self.rolled.model.name!r}. Pass a function, or errors from '
                "`backtest(…).residuals`."
            )
        return found if plan.columns is None else found[..., plan.columns]


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


def _lacks(future: Any, names: Sequence[str]) -> bool:
    """Whether a table lacks some of these columns, or an array has fewer."""
    found = column_names(future)
    width = math.prod(np.shape(future)[1:]) if found is None else len(found)
    known = proper_names(found)
    return width < len(names) if known is None else not set(names) <= set(known)


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


def choose_targets(
    targets: Columns | None, model: keras.Model, framer: SequenceFramer, has_feedback: bool
) -> Targets | None:
    """Return the columns that a model predicts, by name or position, or None if it predicts all."""
    trained, columns = framer.target_columns, framer.columns
    own = trained if trained is None or isinstance(trained, str) else list(trained)
    names = None if own is None else tuple(np.atleast_1d(own).tolist())
    if targets is None:
        return None if has_feedback or names == columns else own
    chosen: Any = targets.tolist() if hasattr(targets, "tolist") else targets
    chosen = list(chosen) if isinstance(chosen, tuple) else chosen
    given = tuple(chosen) if isinstance(chosen, list) else (chosen,)
    _check_columns(given, targets, None if columns is not None else _features(model, framer))
    if columns is not None:
        places = find_columns(chosen, list(columns), len(columns))
        given = tuple(columns[place] for place in np.atleast_1d(places))
    if names is not None and given != names and all(isinstance(name, str) for name in given):
        raise ValueError(
            f"`targets` must be the columns that the model was trained on, {own!r}. Received: "
            f"targets={targets!r}. Leave `targets` out."
        )
    return chosen


def _check_columns(given: tuple[Any, ...], targets: Any, features: int | None) -> None:
    """Raise if `targets` are no names or positions of columns, or not of `features` ones."""
    positions = [item for item in given if not isinstance(item, str)]
    if not given or any(
        isinstance(item, bool) or not isinstance(item, numbers.Integral) for item in positions
    ):
        raise TypeError(
            "`targets` must be the name or the position of a column, or a list of these. Received: "
            f"targets={targets!r}."
        )
    if features is not None and positions:
        find_columns(positions, None, features)


def _features(model: keras.Model, framer: SequenceFramer) -> int | None:
    """Return how many columns a model's input has, or None if it does not declare it."""
    past = (named_inputs(model) or {}).get("past")
    row = past if framer.layout == "flat" else (past or ())[1:]
    if not row or framer.layout == "tokens" or None in row:
        return None
    size = math.prod(size for size in row if size is not None)
    return size // framer.sequence_length if takes_windows(framer) else size


def warn_of_positions(
    names: Sequence[str] | None, targets: Targets | None, framer: SequenceFramer, stacklevel: int
) -> None:
    """Warn if targets are found by name in a table whose columns are otherwise read by position."""
    several = targets if isinstance(targets, (list, tuple)) else [targets]
    has_names = any(isinstance(target, str) for target in several)
    if framer.columns is None and has_names and names is not None and len(names) > 1:
        warnings.warn(
            "The framer knows no columns, so the columns of a table are read in their order. "
            f"Received: targets={targets!r} of a table with the columns {list(names)}. Pass the "
            "frames' own framer, `Generator(model, frames.framer)`, to read tables by name.",
            stacklevel=stacklevel,
        )


def _check_samples(num_samples: int | None, noise: Any, quantiles: Quantiles | None) -> int:
    """Return the number of sample paths; raise if the arguments do not go together."""
    if num_samples is None and noise is None and quantiles is None:
        return 1
    if num_samples is None or noise is None:
        raise ValueError(
            "Sample paths and `quantiles` need both `num_samples` and `noise`. Received: "
            f"num_samples={num_samples} and a noise of type {type(noise).__name__}. For `noise` "
            'pass a function, errors from `backtest(…).residuals`, or "dropout".'
        )
    if quantiles is not None:
        check_unmasked(quantiles, "quantiles")
        levels = np.asarray(quantiles)
        is_real = levels.dtype.kind in "iuf" and levels.ndim < 2 and levels.size > 0
        if not is_real or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"`quantiles` must be numbers in 0 … 1. Received: {quantiles!r}.")
    return check_integer("num_samples", num_samples, 1)


def _as_noise(noise: Any, horizon: int, predicted: Shape, is_column: bool) -> Any:
    """Return noise as a rollout takes it; `is_column` if `targets` is one column, not a list."""
    if callable(noise):
        return SharedFunction(noise)
    if not isinstance(noise, list | tuple) and not getattr(noise, "shape", ()):
        raise TypeError(
            '`noise` must be a function, an array of errors, or "dropout". Received: noise='
            f"{noise!r}. For noise of one size, pass a function, as `lambda prediction, seed: "
            "prediction + 0.1 * keras.random.normal(prediction.shape, seed=seed)`."
        )
    residuals = real_arrays([noise], "noise")[0]
    if is_column and residuals.shape[1:] in ((), (horizon,)):
        # Errors of one column have no axis of columns in a backtest.
        residuals = residuals.reshape(*residuals.shape, 1)
    shapes = predicted, (horizon, *predicted)
    if residuals.shape[1:] not in shapes or not np.isfinite(residuals).all() or not len(residuals):
        shape = ", ".join(map(str, ("errors", *predicted)))
        raise ValueError(
            f"`noise`, as errors, must be of shape ({shape}), finite and not empty. Received: "
            f"shape {residuals.shape}."
        )
    return ResidualNoise(residuals)
