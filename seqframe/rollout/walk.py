"""The walk of a backtest: its origins in some sequences, and the forecasts made at them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from seqframe import backend
from seqframe.framing.checks import check_bytes, check_integer, each_name
from seqframe.framing.dates import check_future
from seqframe.framing.tables import table_names
from seqframe.rollout.backtest_data import BacktestData
from seqframe.rollout.forecast import Forecaster, Quantiles
from seqframe.rollout.generator import Generator
from seqframe.rollout.histories import Known
from seqframe.rollout.noise import check_levels
from seqframe.rollout.plans import Noise, Plan
from seqframe.rollout.prompts import rounded_rows
from seqframe.rollout.refitting import Stage

_LEAST_ROWS, _ROWS = 16, 256  # origins that are rolled out together
_PATHS = 4096  # sample paths that are rolled out together
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of sample paths

#: The number of a sequence, and one of its steps.
Place = tuple[int, int]


class Drawing(NamedTuple):
    """The arguments of a backtest by which quantiles are forecast."""

    num_samples: int | None
    noise: Noise | None
    quantiles: Quantiles | None


class Walk:
    """Forecasts from origins in some sequences; `truth` holds their actual values."""

    def __init__(
        self,
        generator: Generator,
        given: BacktestData,
        history: int | None,
        horizon: int,
        drawing: Drawing,
    ):
        self._forecaster: Forecaster = generator._forecaster()
        rolled = self._forecaster.rolled
        self._framer, self.gap = rolled.framer, rolled.framer.gap
        self._least = self._forecaster.least_history(horizon) + self.gap
        self._drawing = drawing
        self._num_samples = self._forecaster.check_samples(horizon, *drawing)
        self._horizon, self._history = horizon, math.inf
        if history is not None:
            self._history = check_integer("history", history, self._least)
        self.known: Known = self._forecaster.read(given.raw, given.futures, "sequences", horizon)
        columns = self._plan(horizon).columns
        # Cast once: the histories of the origins overlap.
        floatx = keras.config.floatx()
        self._values = [array.astype(floatx, copy=False) for array in self.known.values]
        self.truth = self.known.values
        if generator.targets is not None and columns is not None:
            self.truth = [array[:, columns] for array in self.truth]
        names = self._framer.columns or table_names(self.known.tables[0])
        if names is not None and columns is not None:
            names = tuple(names[place] for place in np.atleast_1d(columns))
        if names is not None and len(names) != math.prod(self.truth[0].shape[1:]):
            names = None
        #: Names of the forecast columns, or None.
        self.names: tuple[str, ...] | None = names
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

    def use(self, generator: Generator) -> None:
        """Forecast with another generator of the same framer from now on."""
        self._forecaster = generator._forecaster()

    def check_futures(self) -> None:
        """Raise if the future covariates do not belong to the steps of their sequences."""
        tables, futures = self.known.tables, self.known.futures or []
        for number, (item, ahead) in enumerate(zip(tables, futures, strict=False)):
            name = each_name("future", number, len(tables))
            if len(ahead) < len(item):
                raise ValueError(
                    f"`{name}` must have a row for each of the {len(item)} steps of its sequence, "
                    f"from the first one on. Received: {len(ahead)} rows. Pass all rows."
                )
            ahead = ahead[: len(item) + self._framer.horizon - 1]
            check_future(item, ahead, begins_with_history=True, stacklevel=4, name=name)

    @property
    def _step_bytes(self) -> int:
        """Bytes of a step of an origin: its number, and a value in each array of a Backtest."""
        return 8 + (4 + len(self.levels)) * self._values[0].itemsize * math.prod(
            self.truth[0].shape[1:]
        )

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
        self, starts: list[int] | int | None, stride: int, season: int | None
    ) -> tuple[list[Place], tuple[int, ...]]:
        """Return the origins, and how many of each sequence are left out.

        `starts` is the first origin, or a first origin for each sequence.
        """
        horizon, least = self._horizon, self._least
        if starts is None or isinstance(starts, list):
            # The user named no step, so the backtest begins where no history is padded.
            least = self._forecaster.usual_history(horizon) + self.gap
        needed = max(least, season + self.gap if season else 0)
        if not isinstance(starts, list):
            first = needed if starts is None else check_integer("start", starts, 1)
            if first < needed:
                raise ValueError(
                    f"`start` must leave {needed} steps before it, for `sequence_length="
                    f"{self._framer.sequence_length}` and `season={season}`. Received: "
                    f"start={first}. Begin at {needed}, or leave `start` out."
                )
            firsts = [first] * len(self.truth)
        else:
            # A sequence that is too short at the date begins later, by whole strides.
            firsts = [at + -(-max(needed - at, 0) // stride) * stride for at in starts]
        found, left_out = [], [0] * len(self.truth)
        counts = [len(array) for array in self.truth]
        if self.known.ahead is not None:
            blocks = -horizon % self._framer.horizon  # steps that fill the last block
            told = [len(array) - blocks for array in self.known.ahead]
            counts = [min(pair) for pair in zip(counts, told, strict=True)]
        possible = [
            range(first, count - horizon + 1, stride)
            for first, count in zip(firsts, counts, strict=True)
        ]
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
        if not found:
            raise self._no_origin(sum(left_out), firsts, season)
        return found, tuple(left_out)

    def _no_origin(self, left_out: int, firsts: list[int], season: int | None) -> ValueError:
        horizon, lengths = self._horizon, [len(array) for array in self.truth]
        if left_out:
            return ValueError(
                "`sequences` must have an origin whose forecast needs no missing step. Received: "
                f"{left_out} origins, all with a missing step. Fill gaps first, or shorten "
                "`horizon`."
            )
        nearest = max(range(len(lengths)), key=lambda number: lengths[number] - firsts[number])
        needed, longest = firsts[nearest] + horizon, lengths[nearest]
        if longest >= needed:
            rows = needed + -horizon % self._framer.horizon  # whole blocks
            return ValueError(
                f"`future` must have {rows} rows or more on the clock of the sequences, for "
                f"`horizon={horizon}`. Received: {max(map(len, self.known.ahead or []))} rows."
            )
        return ValueError(
            f"`sequences` must have one with {needed} steps or more: `horizon={horizon}` after "
            f"{firsts[nearest]} steps. Received: {longest} steps. Pass longer ones, or a smaller "
            "`horizon`, `start` or `season`."
        )

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are forecast, besides the point forecast."""
        num_samples, _, quantiles = self._drawing
        if quantiles is not None:
            return tuple(sorted(set(check_levels("quantiles", quantiles))))
        if num_samples is not None:
            return _LEVELS
        own = self._forecaster.levels
        return own if own and self._forecaster.is_block(self._horizon) else ()

    def count_rows(self, origins: int) -> int:
        """Return how many rows run at once: few origins take a few more, which cost little."""
        most = min(_ROWS, max(_PATHS // self._num_samples, 1))
        return rounded_rows(min(most, max(origins, _LEAST_ROWS)))

    def forecast_stages(
        self,
        stages: list[Stage],
        origins: list[Place],
        steps: list[Place],
        possible: np.ndarray,
        prepare: Callable[[Stage], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the forecasts from all origins, and those of single steps, stage by stage.

        `possible` says which steps can be forecast by themselves. The others are NaN. `prepare` is
        called before each stage.
        """
        rows = self.count_rows(max(len(stage.origins) for stage in stages))
        runs, order, singles = [], [], []
        for stage in stages:
            prepare(stage)
            runs.append(self.forecast([origins[k] for k in stage.origins], self._horizon, rows))
            order.append(stage.origins)
            single = stage.steps[possible[stage.steps]]
            if len(single):
                found = self.forecast([steps[k] for k in single], 1, rows)
                singles.append((single, found[:, 0, 0]))
        forecasts = np.concatenate(runs)[np.argsort(np.concatenate(order))]
        one_step = np.full((len(steps), *forecasts.shape[3:]), np.nan, forecasts.dtype)
        for single, values in singles:
            one_step[single] = values
        return forecasts, one_step

    def forecast(self, places: list[Place], steps: int, rows: int) -> np.ndarray:
        """Return forecasts of `steps` steps from each place, `(places, 1 + levels, steps, …)`.

        The first is the point forecast: the median, if quantiles are forecast. The others are the
        quantiles of `levels`. `rows` places run at once, padded if programs are compiled.
        """
        plan = self._plan(steps)
        rows = rows if backend.COMPILES_ROLLOUTS else min(rows, len(places))
        found = []
        for first in range(0, len(places), rows):
            chunk = places[first : first + rows]
            # Every chunk has the same number of rows, so that one program runs them all.
            found.append(self._run(plan, [*chunk, *[chunk[0]] * (rows - len(chunk))], steps))
        return np.concatenate(found)[: len(places)]

    def _plan(self, steps: int) -> Plan:
        return self._forecaster.plan(
            self.known, steps, self._drawing.noise, self._drawing.num_samples
        )

    def _run(self, plan: Plan, places: list[Place], steps: int) -> np.ndarray:
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
        levels = self.levels
        if not levels:
            return self._forecaster.paths(plan, values, ahead, steps, name, way_out)
        levels = (0.5, *levels)
        return self._forecaster.quantiles(plan, values, ahead, steps, levels, name, way_out)


def _count_missing(array: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the number of missing steps before each step."""
    is_missing = np.isnan(array).reshape(len(array), -1).any(axis=1)
    is_missing[: len(missing)] |= missing[: len(array)]
    return np.concatenate([[0], np.cumsum(is_missing)])
