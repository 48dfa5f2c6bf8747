"""Plans: which columns a model predicts, and how its predictions become the next inputs."""

import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from seqframe.aliases import Columns, Shape
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.sequences import find_columns
from seqframe.framing.tables import proper_names
from seqframe.model.inspect import check_features, named_inputs, takes_windows
from seqframe.rollout.choosers import Feedback, KnownColumns, ValueChooser
from seqframe.rollout.functions import SharedFunction
from seqframe.rollout.histories import Known, real_arrays
from seqframe.rollout.loop import RolledModel
from seqframe.rollout.noise import QuantileDraws, ResidualNoise

#: What makes sample paths differ.
Noise = (
    Callable[[Any, Any], Any]
    | Literal["dropout"]
    | Sequence[float]
    | Sequence[Sequence[float]]
    | np.ndarray
)
#: The columns that a model predicts, by name or position: one, or a list.
Targets = str | int | Sequence[str | int]


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
class Planner:
    """Plans the rollouts of a model of real values."""

    rolled: RolledModel
    targets: Targets | None
    feedback: Feedback | None
    levels: tuple[float, ...] | None  # the quantiles that the model predicts; None: values

    @property
    def needs_past(self) -> bool:
        """Whether the model takes the future covariates of the history's steps too."""
        each = self.rolled.is_stepped or self.rolled.framer.return_sequences
        return each and self.rolled.takes_future

    def whole(self, steps: int) -> int:
        """Return `steps`, rounded up to whole horizons."""
        horizon = self.rolled.framer.horizon
        return -(-steps // horizon) * horizon

    def is_block(self, steps: int) -> bool:
        """Whether a single block of the model has so many steps: then nothing is fed back."""
        return steps <= self.rolled.framer.horizon

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the columns that the model reads and does not predict, as far as known."""
        columns = self.rolled.framer.columns
        if not columns or self.targets is None or self.feedback is not None:
            return ()
        chosen = np.atleast_1d(find_columns(self.targets, list(columns), len(columns)))
        return tuple(name for place, name in enumerate(columns) if place not in chosen)

    def needs_others(self, steps: int, lacking: Sequence[Any], received: str) -> ValueError:
        """Return the error for covariates whose coming values a rollout needs and lacks."""
        horizon = self.rolled.framer.horizon
        return ValueError(
            f"`future` must hold the columns {list(lacking)}, which the model reads and does not "
            f"predict, if it rolls on beyond `horizon={horizon}`. Received: steps={steps} and "
            f"{received}. Pass their future values, train with a `horizon` of {steps}, predict "
            "these columns too, or give the `Generator` a `feedback`."
        )

    def plan(
        self, known: Known, steps: int, noise: Noise | None = None, num_samples: int | None = None
    ) -> Plan:
        """Return how predictions become inputs of `steps` steps, or raise if they cannot."""
        framer, row_shape = self.rolled.framer, known.values[0].shape[1:]
        names = known.columns if framer.columns is None else list(framer.columns)
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
        draws = callable(noise)
        predicted, parts = self._predicted(known, columns, draws)
        feedback = self._feedback(known, steps, names, columns)
        reads_future = isinstance(feedback, KnownColumns) and bool(feedback.known)
        if known.ahead is not None and not (self.rolled.takes_future or reads_future):
            raise ValueError(
                "`future` must be left out: the model takes no future covariates. Received: "
                f"{math.prod(known.ahead[0].shape[1:])} columns. Leave it out, or train a model "
                "with an input of that name."
            )
        dropout = isinstance(noise, str) and noise == "dropout"
        added: Any = None
        if noise is not None and not dropout:
            is_column = columns is not None and np.ndim(columns) == 0
            added = _as_noise(noise, framer.horizon, predicted, is_column)
        elif self.levels is not None and num_samples is not None and not dropout:
            added = QuantileDraws(self.levels)
        median = None if self.levels is None else self.levels.index(0.5)
        choose = ValueChooser(
            framer.horizon, predicted, num_samples or 1, added, feedback, parts, median
        )
        return Plan(choose, columns, dropout)

    def _predicted(
        self, known: Known, columns: int | list[int] | None, draws: bool
    ) -> tuple[Shape, int | None]:
        """Return the shape of a one-step prediction, and the quantiles or parameters of each value.

        None for these if the model predicts values.
        """
        framer, row_shape = self.rolled.framer, known.values[0].shape[1:]
        horizon, features = framer.horizon, math.prod(row_shape)
        expected = features if columns is None else np.size(columns)
        parts = None if self.levels is None else len(self.levels)
        outputs = self.rolled.outputs
        total = expected * (parts or 1) * horizon if outputs is None else math.prod(outputs)
        count, rest = divmod(total, horizon * (parts or 1))
        is_free = self.feedback is not None and columns is None
        shape = row_shape if columns is None else (expected,)
        if is_free and not rest:
            return row_shape if count == features else (count,), parts
        if not rest and count == expected:
            return shape, parts
        what = "every feature" if columns is None else f"the {expected} `targets`"
        received = (
            f"Received: a {known.name} of {features} features for a model with {total} outputs and "
            f"a framer with horizon={horizon}."
        )
        if parts is not None:
            raise ValueError(
                f"The model must predict the {parts} `quantiles` of {what} for each step of "
                f"`horizon`. {received} Change `quantiles`, `targets` or the model's last layer."
            )
        if not rest and count % expected == 0 and self.feedback is None:
            if draws:
                return shape, count // expected
            raise ValueError(
                f"The model predicts {count // expected} numbers for {what} in each step of "
                f"`horizon`, which are no values. {received} For quantiles, pass `quantiles` to "
                "the `Generator`. For the parameters of a distribution, pass `num_samples` and a "
                "`noise(parameters, seed)` that draws from it. If some columns are not predicted, "
                f"name those that are as `targets`.{unknown_columns(framer, known.columns)}"
            )
        raise ValueError(
            f"The model must predict {what} for each step of `horizon`. {received} Give the "
            "`Generator` the predicted columns as `targets` and pass the others as `future`, or "
            f"give it a `feedback`.{unknown_columns(framer, known.columns)}"
        )

    def _feedback(
        self, known: Known, steps: int, names: list[str] | None, columns: int | list[int] | None
    ) -> Feedback | KnownColumns | None:
        if self.rolled.takes_future and known.ahead is None:
            raise ValueError(
                'The model takes a "future". Received: future=None. Pass the future covariates of '
                "the forecast steps."
            )
        if self.feedback is not None:
            return self.feedback
        features = math.prod(known.values[0].shape[1:])
        chosen = None if columns is None else np.atleast_1d(columns).tolist()
        if chosen is None or chosen == list(range(features)):
            return None
        places = self._future_places(chosen, features, names, known, steps)
        return HeldColumns(tuple(chosen)) if places is None else KnownColumns(tuple(chosen), places)

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
        own, given = proper_names(names), proper_names(known.future_columns)
        if own and given:
            if all(own[k] in given for k in others):
                return tuple((column, given.index(own[column])) for column in others)
        elif width == len(others):
            return tuple((column, k) for k, column in enumerate(others))
        if self.is_block(steps) and (width is None or self.rolled.takes_future):
            return None
        called = [names[column] for column in others] if names else others
        received = "future=None" if width is None else f"a future of {width} columns"
        raise self.needs_others(steps, called, received)


def unknown_columns(framer: SequenceFramer, names: list[str] | None) -> str:
    """Say that the frames' own framer knows more, if this one knows no columns of a table."""
    if framer.columns is not None or proper_names(names) is None:
        return ""
    return (
        " This framer knows no columns: pass the frames' own, `Generator(model, frames.framer)`, "
        "which knows the columns, the targets and `by`."
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
    if isinstance(chosen, (list, tuple)):  # a file has no integers of NumPy
        chosen = [int(item) if isinstance(item, np.integer) else item for item in chosen]
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
