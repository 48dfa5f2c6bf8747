"""Forecasts: histories and future covariates to rows, rolled out, and back to tables."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from seqframe.framing.alignment import check_series
from seqframe.framing.checks import check_bytes, check_integer
from seqframe.framing.dates import (
    check_each,
    check_future,
    continue_table,
    index_forecast,
    warn_of_no_frequency,
)
from seqframe.framing.tables import (
    Table,
    check_width,
    column_names,
    drop_labels,
    read_table,
    select_columns,
    table_names,
)
from seqframe.model.inspect import context_steps, least_steps, shortest_input
from seqframe.rollout.histories import (
    Histories,
    Known,
    check_lengths,
    check_no_vocabulary,
    lacking_columns,
    over_gap,
    read_given,
    real_arrays,
)
from seqframe.rollout.loop import Run
from seqframe.rollout.noise import check_levels
from seqframe.rollout.panels import (
    as_given,
    calendar_of,
    check_names,
    continue_panel,
    last_dates,
    read_panel,
    write_panel,
)
from seqframe.rollout.plans import (
    Noise,
    Plan,
    Planner,
    unknown_columns,
    warn_of_positions,
)
from seqframe.rollout.prompts import lay_out, warn_of_short

Quantiles = Sequence[float] | np.ndarray

_MOST_STEPS = 2**30  # a rollout counts its positions in 32 bits


@dataclass(frozen=True, eq=False)
class Forecaster(Planner):
    """Rolls a model out over real values.

    A history ends with the newest known step. The first step of its forecast comes after the
    framer's `gap`.
    """

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
        check_no_vocabulary(self.rolled.framer.vocabulary)
        samples = self.check_samples(steps, num_samples, noise, quantiles)
        levels = None if quantiles is None else check_levels("quantiles", quantiles)
        framer = self.rolled.framer
        panel = read_panel(history, framer.by, framer.columns, "history")
        if panel is None:
            given = read_given(history, future)
        else:
            given = as_given(panel, future, self.names_of_future)
        known = self.read(given.raw, given.futures, "history", steps, given)
        warn_of_positions(table_names(known.tables[0]), self.targets, framer, 4)
        tables = self._check_futures(known, given, steps)
        self._check_room(known, steps, samples)
        plan = self.plan(known, steps, noise, num_samples)
        self._check_lengths(known, given, steps)
        names = self._predicted_names(known, plan)
        has_samples = num_samples is not None and levels is None
        if panel is not None:
            check_names(panel, names, has_samples)
        arguments = plan, known.values, known.ahead, steps
        called = partial(given.called, "history")
        if levels is None:
            found = self.paths(*arguments, called, "Fill gaps first.")
        else:
            found = self.quantiles(*arguments, levels, called, "Fill gaps first.")
        if panel is not None:
            dates = continue_panel(tables, known.futures, steps, self.needs_past)
            if dates is None:
                warn_of_no_frequency(tables, stacklevel=3)
            shaped = found.reshape(*found.shape[:3], -1)
            return write_panel(panel, shaped, names, dates, levels, has_samples)
        if has_samples:
            return given.packed(list(found))
        results = []
        for item, ahead, path in zip(
            tables, known.futures or [None] * len(tables), found, strict=True
        ):
            values = path[0] if levels is None else path
            index = index_forecast(item, steps, ahead, self.needs_past)
            results.append(continue_table(item, values, plan.columns, levels, index))
        return given.packed(results)

    def check_samples(
        self, steps: int, num_samples: int | None, noise: Any, quantiles: Quantiles | None
    ) -> int:
        """Return the number of sample paths. Raise if the arguments do not go together."""
        if num_samples is None and noise is None and quantiles is None:
            return 1
        levels = None if quantiles is None else check_levels("quantiles", quantiles)
        if self.levels is not None and noise is None:
            if num_samples is not None:
                return check_integer("num_samples", num_samples, 1)
            unknown = [level for level in levels or () if level not in self.levels]
            if unknown or not self.is_block(steps):
                received = f"steps={steps}" if not unknown else f"quantiles={quantiles!r}"
                raise ValueError(
                    f"Without `num_samples`, `quantiles` must be of {list(self.levels)}, which the "
                    f"model predicts, for at most `horizon={self.rolled.framer.horizon}` steps. "
                    f"Received: {received}. Pass `num_samples`: its paths draw from the predicted "
                    "quantiles."
                )
            return 1
        if num_samples is None or noise is None:
            raise ValueError(
                "Sample paths and `quantiles` need both `num_samples` and `noise`. Received: "
                f"num_samples={num_samples} and a noise of type {type(noise).__name__}. For `noise`"
                ' pass a function, errors from `backtest(…).residuals`, or "dropout".'
            )
        return check_integer("num_samples", num_samples, 1)

    # --- Reading.

    def read(
        self,
        raw: list[Any],
        futures: Sequence[Any] | None,
        name: str,
        steps: int,
        given: Histories | None = None,
    ) -> Known:
        """Return histories and future covariates, with the columns that the framer names."""
        given = given or Histories(raw, futures, None, len(raw) > 1)
        tables, values = self._read(given, raw, name, self.rolled.framer.columns)
        if not given.is_panel:  # the dates of a panel are checked together
            check_each(tables, name)
        if futures is None:
            return Known(name, tables, values, None, None)
        by = self.rolled.framer.by or ()
        for number, (item, ahead) in enumerate(zip(raw, futures, strict=True)):
            check_series(
                ahead, item, by, given.called("future", number), given.called(name, number)
            )
        names = self._columns_of_future(futures[0], steps)
        futures, arrays = self._read(given, futures, "future", names)
        ahead = [each if each.ndim > 1 else each[:, None] for each in arrays]
        found = column_names(futures[0]) if names is None else list(names)
        return Known(name, tables, values, futures, ahead, found)

    def _read(
        self, given: Histories, raw: Sequence[Any], name: str, columns: tuple[str, ...] | None
    ) -> tuple[list[Any], list[np.ndarray]]:
        """Return tables of one series each with these columns, and the same as arrays."""
        by = self.rolled.framer.by
        tables = [
            drop_labels(table, by, given.called(name, number), keep=columns)
            for number, table in enumerate(raw)
        ]
        tables = [select_columns(table, columns, name) for table in tables]
        try:
            arrays = real_arrays(tables, name)
        except TypeError as error:
            hint = unknown_columns(self.rolled.framer, column_names(tables[0]))
            raise TypeError(f"{error}{hint}") from None
        check_width(arrays[0], columns, name)
        return tables, arrays

    @property
    def names_of_future(self) -> tuple[str, ...] | None:
        """Names of the future covariates, in order; None if they are not known.

        The model's own "future" comes first, then the columns that the model does not predict.
        """
        own: tuple[str, ...] = ()
        if self.rolled.takes_future:
            if self.rolled.framer.future_columns is None:
                return None
            own = self.rolled.framer.future_columns
        return (*own, *(name for name in self.others if name not in own)) or None

    def _columns_of_future(self, future: Any, steps: int) -> tuple[str, ...] | None:
        """Return the names of the future covariates that a rollout of `steps` steps needs."""
        names = self.names_of_future
        lacking = lacking_columns(future, names or ())
        own = self.rolled.framer.future_columns if self.rolled.takes_future else None
        if not lacking or {*lacking} & {*(own or ())}:
            return names
        if not self.is_block(steps):
            found = column_names(future)
            what = f"shape {np.shape(future)}" if found is None else f"the columns {found}"
            raise self.needs_others(steps, lacking, f"a future of {what}")
        return own or names  # a single block feeds nothing back

    def _check_futures(self, known: Known, given: Histories, steps: int) -> list[Any]:
        """Return the histories as tables that end before the forecast. Raise if futures do not fit.

        Series of a panel may have the same last dates: they are checked once.
        """
        gap = self.rolled.framer.gap
        tables = [over_gap(table, gap) for table in known.tables] if gap else known.tables
        checked = set()
        for number, ahead in enumerate(known.futures or ()):
            name = given.called("future", number)
            self._check_rows(name, len(known.values[number]), len(ahead), steps)
            table = tables[number]
            if given.is_panel and not self.needs_past:
                key = calendar_of(table), calendar_of(ahead)
                if key in checked and None not in key:
                    continue
                checked.add(key)
                table = last_dates(table)
            check_future(table, ahead, self.needs_past, stacklevel=5, name=name)
        return tables

    def _check_rows(self, name: str, history: int, future: int, steps: int) -> None:
        gap = self.rolled.framer.gap
        needed = self.whole(steps) + (history + gap) * self.needs_past
        if future == needed:
            return
        past = f" the {history} steps of the history and" if self.needs_past else ""
        between = f" {gap} of the gap, and" if gap and self.needs_past else ""
        raise ValueError(
            f"`{name}` must have {needed} rows:{past}{between} one for each forecast step, rounded "
            f"up to whole horizons of {self.rolled.framer.horizon}. Received: {future} rows. Cut "
            "it, or change `steps`."
        )

    def least_history(self, steps: int) -> int:
        """Return how many known steps a forecast of `steps` steps needs."""
        return least_steps(self.rolled.framer, self.rolled.is_stepped) + self._bridge(steps)

    def usual_history(self, steps: int) -> int:
        """Return how many known steps the model needs, to see no shorter input than in training."""
        return max(
            self.least_history(steps), shortest_input(self.rolled.framer) + self._bridge(steps)
        )

    def _bridge(self, steps: int) -> int:
        """Return how many steps older windows must predict first."""
        return 0 if self.is_block(steps) else self.rolled.framer.gap

    def _check_lengths(self, known: Known, given: Histories, steps: int) -> None:
        framer = self.rolled.framer
        why = f"a model with `sequence_length={framer.sequence_length}`"
        if framer.gap and not self.is_block(steps):
            why += f" and `gap={framer.gap}` that rolls on"
        check_lengths(given, known.values, self.least_history(steps), why)
        lengths, called = [*map(len, known.values)], partial(given.called, "history")
        warn_of_short(lengths, self.usual_history(steps), called, stacklevel=5)

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

    def _predicted_names(self, known: Known, plan: Plan) -> list[Any]:
        """Return the names of the predicted columns, as the library of the table has them."""
        table = read_table(known.tables[0])
        if not isinstance(table, Table) or table.ndim == 1:
            return []
        names = list(table.labels)
        return names if plan.columns is None else [names[k] for k in np.atleast_1d(plan.columns)]

    # --- Rolling out.

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

        Of a model of quantiles, a path that draws nothing is the medians. If a path is NaN, the
        error names its history `name(history)`.
        """
        num_samples = plan.choose.num_samples
        run = self._run(plan, values, ahead, steps)
        found = run.steps()
        self._check_finite(found, values, ahead, num_samples, name, way_out)
        found = found.reshape(len(values), num_samples, *found.shape[1:])
        if plan.dropout and num_samples > 1 and (found == found[:, :1]).all():
            raise ValueError(
                'The model has no dropout: its sample paths are all the same. Received: noise="'
                f'dropout" for {self.rolled.model.name!r}. Pass a function, or errors from '
                "`backtest(…).residuals`."
            )
        return found if plan.columns is None else found[..., plan.columns]

    def quantiles(
        self,
        plan: Plan,
        values: list[np.ndarray],
        ahead: list[np.ndarray] | None,
        steps: int,
        levels: Sequence[float],
        name: Callable[[int], str],
        way_out: str,
    ) -> np.ndarray:
        """Return quantiles `(histories, levels, steps, …)`.

        They are the model's own, or quantiles of the sample paths if the plan draws any.
        """
        if not plan.choose.keeps or plan.dropout:
            paths = self.paths(plan, values, ahead, steps, name, way_out)
            found: np.ndarray = np.quantile(paths, np.asarray(levels), axis=1).astype(paths.dtype)
            return np.moveaxis(found, 0, 1)
        run = self._run(plan, values, ahead, steps)
        width = run.prompts.width
        kept = run.extras()[0][:, width : width + steps]
        self._check_finite(kept, values, ahead, 1, name, way_out)
        own = self.levels or ()
        kept = np.moveaxis(kept[..., [own.index(level) for level in levels]], -1, 1)
        return kept[..., 0] if isinstance(plan.columns, int) else kept

    def _run(
        self, plan: Plan, values: list[np.ndarray], ahead: list[np.ndarray] | None, steps: int
    ) -> Run:
        """Roll out, from histories that end with the newest known step."""
        dtype, framer = keras.config.floatx(), self.rolled.framer

        def repeated(arrays: list[np.ndarray]) -> list[np.ndarray]:
            cast = [array.astype(dtype, copy=False) for array in arrays]
            return [array for array in cast for _ in range(plan.choose.num_samples)]

        def roll(rows: list[np.ndarray], count: int, drawn: int) -> Run:
            prompts = lay_out(
                rows,
                count,
                framer,
                self.rolled.is_stepped,
                self.seed,
                futures=None if ahead is None else repeated(ahead),
                on_clock=self.needs_past,
            )
            run = self.rolled.start(
                plan.choose, dataclasses.replace(prompts, drawn=drawn), plan.dropout
            )
            run.advance(count)
            return run

        rows = repeated(values)
        if not framer.gap:
            return roll(rows, steps, 0)
        if self.is_block(steps):  # nobody reads the steps of the gap
            between = [np.repeat(row[-1:], framer.gap, axis=0) for row in rows]
        elif ahead is not None and not self.needs_past:
            raise ValueError(
                f"`steps` must be at most `horizon={framer.horizon}`: to roll on, the model needs "
                f"the covariates of the {framer.gap} steps of the gap. Received: steps={steps}. "
                "Train with a longer `horizon`, or with `gap=0`."
            )
        else:  # older windows predict the gap
            between = list(roll(rows, framer.gap, 0).steps())
        rows = [np.concatenate(pair) for pair in zip(rows, between, strict=True)]
        return roll(rows, steps, framer.gap)

    def _check_finite(
        self,
        found: np.ndarray,
        values: list[np.ndarray],
        ahead: list[np.ndarray] | None,
        num_samples: int,
        name: Callable[[int], str],
        way_out: str,
    ) -> None:
        """Raise if a forecast is NaN, and say why."""
        if not np.isnan(found).any():
            return
        row, step = map(int, np.argwhere(np.isnan(found))[0][:2])
        number = row // num_samples
        cause = "finite values. Look at the model's weights: training may have diverged."
        for where, arrays in ("history", values), ("future", ahead):
            if arrays is not None and not np.isfinite(arrays[number]).all():
                cause = f"NaN or infinity in the {where}. {way_out}"
        raise ValueError(f"The forecast of {name(number)} is NaN at step {step}. Received: {cause}")
