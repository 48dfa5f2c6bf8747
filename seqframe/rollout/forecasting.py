"""Forecasts: real values, or sample paths of them, and what is known ahead."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqframe.framing.dates import check_each, check_future, continue_table, index_forecast
from seqframe.framing.sequences import find_columns, split_sequences, to_arrays
from seqframe.framing.tables import check_width, column_names, drop_labels, select_columns
from seqframe.model.checks import check_features, check_prompt_length
from seqframe.model.context import least_prompt
from seqframe.model.inputs import takes_future
from seqframe.rollout.choosers import KnownColumns, ValueChooser
from seqframe.rollout.known import known_columns, known_names
from seqframe.rollout.nan import Seen, explain_nan
from seqframe.rollout.noise import DROPOUT, as_noise, check_samples
from seqframe.rollout.predicted import as_list, warn_of_places
from seqframe.rollout.prompts import lay_out

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator


class Forecaster:
    """Rolls a generator's model out over real values.

    Args:
        generator: Generator.
    """

    def __init__(self, generator: "Generator"):
        self.generator, self.framer = generator, generator.framer

    def forecast(
        self,
        history: Any,
        steps: int,
        future: Any = None,
        num_samples: int | None = None,
        noise: Any = None,
        quantiles: Any = None,
    ) -> Any:
        """Return forecasts as the user is to see them; see `Generator.forecast`."""
        samples = check_samples(num_samples, noise, quantiles)
        raw = split_sequences(history)
        several = raw[0] is not history
        if several and future is not None and not isinstance(future, (list, tuple)):
            raise ValueError(
                f"`future` must be a list of one for each of {len(raw)} histories. Received: "
                f"{type(future).__name__}."
            )
        futures = None if future is None else (list(future) if several else [future])
        raw, futures = self.read(raw, futures, "history")
        warn_of_places(raw[0], self.generator.targets, self.framer, stacklevel=4)
        for item, ahead in zip(raw, futures or [], strict=False):
            rows = self._whole_blocks(steps) + (len(item) if self.needs_past else 0)
            check_future(item, ahead, rows, self.needs_past, stacklevel=4)
        paths, columns = self.paths(raw, steps, futures, samples, noise)
        if num_samples is not None and quantiles is None:
            return list(paths) if several else paths[0]
        results = []
        for item, ahead, path in zip(raw, futures or [None] * len(raw), paths, strict=True):
            found = path[0]
            if quantiles is not None:
                found = np.quantile(path, np.atleast_1d(quantiles), axis=0).astype(path.dtype)
            index = index_forecast(item, steps, ahead, self.needs_past)
            results.append(continue_table(item, found, columns, quantiles, index))
        return results if several else results[0]

    def read(
        self, raw: list[Any], futures: list[Any] | None, name: str
    ) -> tuple[list[Any], list[Any] | None]:
        """Return histories, and what is known ahead, with the columns that the framer names.

        Args:
            raw: list of histories.
            futures: list of what is known ahead of each, or None.
            name: str. What to call the histories in an error.

        Raises:
            ValueError: if a table lacks a column, is of several series, or has dates that do not
                go strictly forward.
        """
        raw = self._one_series(raw, name, self.framer.columns)
        known = None if futures is None else known_names(self.generator)
        futures = None if futures is None else self._one_series(futures, "future", known)
        check_each(raw, name)
        raw = [select_columns(item, self.framer.columns, name) for item in raw]
        if futures is not None:
            futures = [select_columns(item, known, "future") for item in futures]
        return raw, futures

    def _one_series(
        self, tables: list[Any], name: str, columns: tuple[str, ...] | None
    ) -> list[Any]:
        """Return tables without what tells their series apart, where it is none of the columns."""
        labels = [name if len(tables) == 1 else f"{name}[{k}]" for k in range(len(tables))]
        return [
            drop_labels(table, self.framer.by, label, keep=columns)
            for table, label in zip(tables, labels, strict=True)
        ]

    def names(self, history: Any) -> list[str] | None:
        """Return the names of a history's columns, the framer's if it knows them, or None."""
        columns = self.framer.columns
        return column_names(history) if columns is None else list(columns)

    def paths(
        self,
        raw: list[Any],
        steps: int,
        futures: list[Any] | None = None,
        num_samples: int = 1,
        noise: Any = None,
        named: Callable[[int], tuple[str, int]] | None = None,
    ) -> tuple[np.ndarray, Any]:
        """Return sample paths `(histories, num_samples, steps, …)`, and which columns they are of.

        Args:
            raw: list of histories, as `read` returns them.
            steps: int.
            futures: list of what is known ahead of each, as `read` returns it, or None.
            num_samples: int.
            noise: as of `Generator.forecast`.
            named: function that says of the number of a history, for an error, where it is forecast
                from, and the number of its first step in the data that it is part of.
        """
        dtype = keras.config.floatx()
        values = [array.astype(dtype, copy=False) for array in to_arrays(raw, "history")]
        for array in values:
            check_prompt_length(len(array), self.framer, self.generator.is_stepped, "history")
        row_shape = values[0].shape[1:]
        check_width(values[0], self.framer.columns, "history")
        names = self.names(raw[0])
        targets = self.generator.targets
        columns = None
        if targets is not None and len(row_shape) > 1:
            raise ValueError(
                "`targets` are columns, so a history must have shape (steps, features). Received: "
                f"steps of shape {row_shape}."
            )
        if targets is not None:
            columns = find_columns(as_list(targets), names, math.prod(row_shape))
        if not row_shape:
            columns = None  # a sequence of one column predicts that one
        ahead = None if futures is None else self._ahead(futures, values, steps)
        self._check_features(row_shape, ahead)
        feedback, predicted = self._feedback(row_shape, columns, names, futures, ahead)
        dropout = isinstance(noise, str)
        if dropout and noise != DROPOUT:
            raise ValueError(
                f'`noise` must be a function, errors, or "{DROPOUT}". Received: noise={noise!r}.'
            )
        added = None
        if noise is not None and not dropout:
            named_alone = columns is not None and np.ndim(columns) == 0
            added = as_noise(noise, self.framer.horizon, predicted, named_alone)

        def chooser() -> ValueChooser:
            return ValueChooser(
                horizon=self.framer.horizon,
                num_samples=num_samples,
                row_shape=predicted,
                noise=added,
                feedback=feedback,
            )

        known = tuple(map(tuple, feedback.known)) if isinstance(feedback, KnownColumns) else None
        own = self.generator.feedback
        key = ("values", num_samples, predicted, row_shape, added, own, known, str(columns))
        repeat = [k for k in range(len(values)) for _ in range(num_samples)]
        rows = [values[k] for k in repeat]
        prompts = lay_out(
            rows,
            steps,
            self.framer,
            self.generator.is_stepped,
            self.generator.draw_seed(),
            futures=None if ahead is None else [ahead[k] for k in repeat],
            on_clock=self.needs_past,
        )
        run = self.generator.rollout(key, len(rows), chooser, dropout=dropout).start(prompts)
        run.advance(steps)
        found = run.steps()
        if np.isnan(found).any():
            row, step = map(int, np.argwhere(np.isnan(found))[0][:2])
            seen = None if futures is None or ahead is None else (futures, ahead)
            raise self._explain(row // num_samples, step, steps, (raw, values), seen, named)
        found = found.reshape(len(raw), num_samples, *found.shape[1:])
        if dropout and num_samples > 1 and (found == found[:, :1]).all():
            raise ValueError(
                f"The model has no dropout: its paths are all the same. Received: "
                f'noise="{DROPOUT}" for {self.generator.model.name!r}. Pass a function, or errors '
                "measured by `backtest(…).residuals`."
            )
        return (found if columns is None else found[..., columns]), columns

    def _explain(
        self,
        number: int,
        step: int,
        steps: int,
        past: tuple[list[Any], list[np.ndarray]],
        future: tuple[list[Any], list[np.ndarray]] | None,
        named: Callable[[int], tuple[str, int]] | None,
    ) -> ValueError:
        """Return the error that says why a step of a history's forecast is NaN.

        Args:
            number: int. The history.
            step: int. The step.
            steps: int. How many are forecast.
            past: the histories, as they were passed and as arrays.
            future: what is known ahead of each, likewise, or None.
            named: as of `paths`.
        """
        of, first = (f"history {number}", 0) if named is None else named(number)
        table, rows = (each[number] for each in past)
        seen = None
        if future is not None:
            begin = 0 if self.needs_past else len(rows)
            used = len(rows) - begin + self._whole_blocks(steps)
            # A future of its own is counted from its own first row.
            number_of = first + begin if named else 0
            ahead = future[1][number][:used]
            seen = Seen("future", ahead, future[0][number], number_of)
        return explain_nan(step, of, seen, Seen("data" if named else "history", rows, table, first))

    @property
    def least_history(self) -> int:
        """Steps that a history must have."""
        return least_prompt(self.framer, self.generator.is_stepped)

    @property
    def needs_past(self) -> bool:
        """Whether the model takes what is "future" for steps of the history too."""
        each = self.generator.is_stepped or self.framer.return_sequences
        return each and takes_future(self.generator.model)

    def _whole_blocks(self, steps: int) -> int:
        """Return how many steps are made for so many."""
        return -(-steps // self.framer.horizon) * self.framer.horizon

    def _ahead(self, futures: list[Any], values: list[np.ndarray], steps: int) -> list[np.ndarray]:
        """Return what is known ahead as arrays, long enough."""
        if len(futures) != len(values):
            raise ValueError(
                f"`future` must be a list of one for each of {len(values)} histories. Received: "
                f"{len(futures)}."
            )
        arrays = [
            array.astype(keras.config.floatx(), copy=False)
            for array in to_arrays(futures, "future")
        ]
        ahead = self._whole_blocks(steps)
        for array, value in zip(arrays, values, strict=True):
            needed = ahead + (len(value) if self.needs_past else 0)
            if len(array) < needed:
                what = f"the {steps} steps that are forecast"
                if ahead > steps:
                    what += f", rounded up to whole horizons of {self.framer.horizon}"
                if self.needs_past:
                    what = f"the {len(value)} steps of the history and {what}"
                raise ValueError(
                    f"`future` must have {needed} rows, for {what}. Received: {len(array)} rows. "
                    "Give more of it, or forecast fewer steps."
                )
        check_width(arrays[0], known_names(self.generator), "future")
        return arrays

    def _check_features(self, row_shape: tuple[int, ...], ahead: list[np.ndarray] | None) -> None:
        """Raise if steps are not what the model takes."""
        future = None
        if ahead is not None and takes_future(self.generator.model):
            columns = self.framer.future_columns
            future = ahead[0].shape[1:] if columns is None else (len(columns),)
        check_features(self.generator.model, self.framer, row_shape, future)

    def _feedback(
        self,
        row_shape: tuple[int, ...],
        columns: Any,
        names: list[str] | None,
        futures: list[Any] | None,
        ahead: list[np.ndarray] | None,
    ) -> tuple[Any, tuple[int, ...]]:
        """Return what makes an input of a prediction, and the shape of a prediction of one step."""
        model, features = self.generator.model, math.prod(row_shape)
        outputs = self.generator.outputs
        chosen = None if columns is None else np.atleast_1d(columns).tolist()
        count = features if chosen is None else len(chosen)
        predicted = count * self.framer.horizon if outputs is None else math.prod(outputs)
        count, rest = divmod(predicted, self.framer.horizon)
        received = (
            f"Received: a history of {features} features for a model with {predicted} outputs and "
            f"a framer with horizon={self.framer.horizon}."
        )
        if rest or (chosen is not None and count != len(chosen)):
            what = "every feature" if chosen is None else f"the {len(chosen)} `targets`"
            raise ValueError(
                f"The model must predict {what} for each step of the framer's horizon. {received}"
            )
        if takes_future(model) and ahead is None:
            raise ValueError(
                'The model takes a "future". Received: future=None. Pass what is known of the '
                "steps that are forecast."
            )
        if self.generator.feedback is not None:
            return self.generator.feedback, row_shape if count == features else (count,)
        if chosen is None or chosen == list(range(features)):
            if count != features:
                raise ValueError(
                    "`forecast` feeds predictions back in, so the model must predict every feature "
                    f"of its input. {received} Tell the `Generator` which columns they are, by "
                    "`targets`, and give `future` of the others; or give it a `feedback`."
                )
            return None, row_shape
        given: Sequence[str] | None = known_names(self.generator)
        if given is None and futures is not None:
            given = column_names(futures[0])
        known = known_columns(chosen, features, names, given, ahead)
        return KnownColumns(chosen, known), (len(chosen),)
