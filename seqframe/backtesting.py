"""Backtests: how far off forecasts were, from many origins in a sequence that is known."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.ahead import check_future
from seqframe.columns import check_width
from seqframe.forecasting import Forecaster
from seqframe.frames import Frames
from seqframe.predicted import as_list, warn_of_places
from seqframe.sequences import find_columns, split_sequences, to_arrays
from seqframe.unframing import unframe
from seqframe.windows import check_integer

if TYPE_CHECKING:
    from seqframe.generator import Generator

_ROWS = 256  # origins that are rolled out together, at most


@dataclass(frozen=True)
class Backtest:
    """Forecasts from many origins, beside what came.

    `print` shows mean absolute errors for each step ahead: of the free run, where the model lives
    on its own predictions; of one step, where it is told the truth before each; and of the last
    value, taken for all that comes. A free run that is far worse than one step has lost its way;
    one step no better than the last value has not learnt more than to repeat it.

    Attributes:
        origins: int array `(origins, 2)`: which sequence, and its first step that is forecast.
        actual: array `(origins, horizon, …)`. What came.
        free_run: array like `actual`. What was forecast at the origin.
        one_step: array like `actual`. What was forecast of each step by what came before it.
        last_value: array like `actual`. What stood before the origin.
        residuals: array `(steps, …)`. Errors of one step, each step once: what to add to its
            forecast to get what came.

    Example:

    >>> import numpy as np
    >>> from seqframe import Backtest
    >>> came = np.array([[3.0, 4.0], [4.0, 5.0], [5.0, 6.0]])
    >>> result = Backtest(
    ...     origins=np.array([[0, 3], [0, 4], [0, 5]]),
    ...     actual=came,
    ...     free_run=came + np.array([[0.1, 0.2], [-0.2, 0.4], [0.3, -0.6]]),
    ...     one_step=came,
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

    def errors(self) -> dict[str, np.ndarray]:
        """Return mean absolute errors for each step ahead, over origins and features.

        Returns:
            dict of "free_run", "one_step" and "last_value", float arrays `(horizon,)`.

        Example:

        >>> import numpy as np
        >>> from seqframe import Backtest
        >>> came = np.array([[3.0, 4.0], [4.0, 5.0], [5.0, 6.0]])
        >>> result = Backtest(
        ...     origins=np.array([[0, 3], [0, 4], [0, 5]]),
        ...     actual=came,
        ...     free_run=came + np.array([[0.1, 0.2], [-0.2, 0.4], [0.3, -0.6]]),
        ...     one_step=came,
        ...     last_value=np.array([[2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]),
        ...     residuals=np.zeros(4),
        ... )
        >>> result.errors()["last_value"]
        array([1., 2.])
        """
        axes = (0, *range(2, self.actual.ndim))
        return {
            name: np.abs(getattr(self, name) - self.actual).mean(axis=axes)
            for name in ("free_run", "one_step", "last_value")
        }

    def interval(self, forecast: Any, coverage: float = 0.9) -> tuple[Any, Any]:
        """Return what lies around a forecast in so many cases, as the free run's errors have it.

        Split conformal prediction (Lei et al., https://arxiv.org/abs/1604.04173): a new value lies
        in its interval with this probability, if its error is exchangeable with those measured
        here, whatever they are distributed like. So measure on data that the model has not seen.

        Args:
            forecast: array, Series or DataFrame `(steps,)` or `(steps, features)`, of no more steps
                than the horizon.
            coverage: float in (0, 1). For each step by itself.

        Returns:
            tuple of the lower and the upper bound, as the forecast is.

        Raises:
            ValueError: if the forecast does not fit, or there are too few origins for the coverage.

        Example:

        >>> import numpy as np
        >>> from seqframe import Backtest
        >>> came = np.array([[3.0, 4.0], [4.0, 5.0], [5.0, 6.0]])
        >>> result = Backtest(
        ...     origins=np.array([[0, 3], [0, 4], [0, 5]]),
        ...     actual=came,
        ...     free_run=came + np.array([[0.1, 0.2], [-0.2, 0.4], [0.3, -0.6]]),
        ...     one_step=came,
        ...     last_value=np.array([[2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]),
        ...     residuals=np.zeros(4),
        ... )
        >>> lower, upper = result.interval(np.array([6.0, 7.0]), coverage=0.75)
        >>> lower, upper
        (array([5.7, 6.4]), array([6.3, 7.6]))
        """
        if not 0 < coverage < 1:
            raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage}.")
        steps, count = len(forecast), len(self.origins)
        shape = np.shape(forecast)
        if steps > self.actual.shape[1] or shape[1:] != self.actual.shape[2:]:
            raise ValueError(
                f"`forecast` must be of no more than the {self.actual.shape[1]} steps and of the "
                f"features {self.actual.shape[2:]} that were tested. Received: shape {shape}."
            )
        rank = math.ceil((count + 1) * coverage)
        if rank > count:
            needed = math.ceil(coverage / (1 - coverage))
            raise ValueError(
                f"`coverage={coverage}` needs {needed} origins or more. Received: a backtest of "
                f"{count}. Test on a longer sequence, or with a smaller `stride`."
            )
        radius = np.sort(np.abs(self.free_run - self.actual), axis=0)[rank - 1, :steps]
        return forecast - radius, forecast + radius

    def __str__(self) -> str:
        errors = self.errors()
        lines = ["mean absolute error, by steps ahead", "step  free run  one step  last value"]
        horizon = self.actual.shape[1]
        shown = sorted({0, *(2**k - 1 for k in range(horizon.bit_length())), horizon - 1})
        for step in shown:
            values = [f"{errors[name][step]:.4g}" for name in errors]
            lines.append(f"{step + 1:>4}  {values[0]:>8}  {values[1]:>8}  {values[2]:>10}")
        return "\n".join(lines)


def backtest(
    generator: "Generator",
    data: Any,
    horizon: int,
    *,
    start: int | None = None,
    stride: int = 1,
    history: int | None = None,
    future: Any = None,
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
        start: int. The first origin; None: as soon as there is history enough.
        stride: int ≥ 1. Steps from one origin to the next.
        history: int ≥ 1. Steps before its origin that a stateful model is shown, at most; None:
            all.
        future: array, or a list for a list, on the clock of the data: what a forecast is told of
            the steps ahead.

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
    stride = check_integer("stride", stride, 1)
    if generator.framer.vocabulary is not None:
        raise ValueError(
            "`backtest` is for real values. Received: a generator of symbols, whose framer has a "
            "vocabulary."
        )
    if isinstance(data, Frames):
        raw, futures = unframe(data, future, generator)
    else:
        raw = split_sequences(data)
        several = raw[0] is not data
        futures = None if future is None else (list(future) if several else [future])
    tester = _Tester(generator, raw, futures, history)
    warn_of_places(raw[0], generator.targets, generator.framer)
    for item, ahead in zip(raw, futures or [], strict=False):
        check_future(item, ahead, generator.framer.horizon - 1, on_clock=True)
    origins = tester.origins(horizon, start, stride)
    free_run = tester.forecast(origins, horizon)
    # Origins overlap, so a step that several of them forecast is forecast once.
    times = sorted({(n, o + step) for n, o in origins for step in range(horizon)})
    number = {time: k for k, time in enumerate(times)}
    alone = tester.forecast(times, 1)[:, 0]
    which = np.array([[number[n, o + step] for step in range(horizon)] for n, o in origins])
    came = np.stack([tester.values[n][t] for n, t in times])
    before = np.stack([tester.values[n][o - 1] for n, o in origins])
    return Backtest(
        origins=np.array(origins),
        actual=came[which],
        free_run=free_run,
        one_step=alone[which],
        last_value=np.repeat(before[:, None], horizon, axis=1),
        residuals=came - alone,
    )


class _Tester:
    """Forecasts from given places of some sequences."""

    def __init__(
        self, generator: "Generator", raw: list[Any], futures: list[Any] | None, history: int | None
    ):
        self._forecaster = Forecaster(generator)
        raw, self._futures = self._forecaster.read(raw, futures, "data")
        self._history = math.inf if history is None else check_integer("history", history, 1)
        arrays = to_arrays(raw, "data")
        check_width(arrays[0], generator.framer.columns, "data")
        # Tables stay what they are: their columns may be called by name.
        self._raw = [
            item if hasattr(item, "columns") else array
            for item, array in zip(raw, arrays, strict=True)
        ]
        self.values = arrays
        if generator.targets is not None:
            width = math.prod(arrays[0].shape[1:])
            names = self._forecaster.names(raw[0])
            columns = find_columns(as_list(generator.targets), names, width)
            self.values = [array[:, columns] for array in arrays]

    def origins(self, horizon: int, start: int | None, stride: int) -> list[tuple[int, int]]:
        """Return the places that have history before and the truth after them."""
        least = self._forecaster.least_history
        first = least if start is None else max(check_integer("start", start, 1), least)
        spare = self._forecaster.framer.horizon - 1
        found = []
        for number, array in enumerate(self.values):
            stop = len(array)
            if self._futures is not None:
                # Whole blocks are told of what is ahead.
                stop = min(stop, len(self._futures[number]) - spare)
            found += [(number, origin) for origin in range(first, stop - horizon + 1, stride)]
        if not found:
            raise ValueError(
                f"`data` must have a sequence of {first + horizon} steps or more. Received: "
                f"{max(map(len, self.values))} steps. Give longer ones, or a smaller `horizon`."
            )
        return found

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
        return self._forecaster.paths(histories, steps, futures)[0][:, 0]


def _rows(table: Any, start: int, stop: int | None = None) -> Any:
    return getattr(table, "iloc", table)[start:stop]
