"""Backtest: how far off forecasts were, and what lies around others in so many cases."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seqframe.framing.dates import continue_table
from seqframe.framing.tables import Table, read_table


@dataclass(frozen=True)
class Backtest:
    """Forecasts from many origins, beside what came.

    `print` shows mean absolute errors for each step ahead: of the free run, where the model lives
    on its own predictions; of one step, where it is told the truth before each; and of the last
    value, taken for all that comes. A free run that is far worse than one step has lost its way;
    one step no better than the last value has not learnt more than to repeat it.

    Attributes:
        origins: int array `(origins, 2)`: which sequence, and its first step that is forecast.
        actual: float array `(origins, horizon, …)`. What came.
        free_run: array like `actual`. What was forecast at the origin.
        one_step: array like `actual`. What was forecast of each step by what came before it; NaN
            where that cannot be.
        last_value: array like `actual`. What stood before the origin.
        residuals: array `(steps, …)`. Errors of one step, each step once: what to add to its
            forecast to get what came.
        last_season: array like `actual`, or None. What stood a season before.
        residual_steps: int array `(steps, 2)`: of which sequence and step each residual is.
        labels: what the sequences are called: their numbers, or of Frames the groups they are.
        left_out: tuple of int. How many origins of each sequence there are none of, because a step
            is missing.

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
    last_season: np.ndarray | None = None
    residual_steps: np.ndarray | None = None
    labels: Sequence[Hashable] = ()
    left_out: tuple[int, ...] = ()

    def of(self, label: Hashable) -> "Backtest":
        """Return the backtest of one sequence: its errors, and intervals as wide as it needs.

        Args:
            label: what the sequence is called, as `labels` has it.

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
                f"`label` must be one of those of the backtest, {list(self.labels)}. Received: "
                f"label={label!r}."
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
            dict of "free_run", "one_step" and "last_value", and with a season of "last_season",
            float arrays `(horizon,)`.

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
            name: _mean(np.abs(getattr(self, name) - self.actual), axes) for name in self._forecasts
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
            ValueError: if the forecast does not fit, or there are too few origins for the coverage:
                0.9 needs 9, 0.95 needs 19, 0.99 needs 99.

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
                f"`forecast` must be of no more than the {self.actual.shape[1]} steps and of the "
                f"features {self.actual.shape[2:]} that were tested. Received: shape {shape}."
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


def _mean(errors: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the mean over axes of the errors that there are; NaN where there are none."""
    there = ~np.isnan(errors)
    count = there.sum(axis=axes)
    total = np.where(there, errors, 0.0).sum(axis=axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _shift(forecast: Any, distance: np.ndarray) -> Any:
    """Return a forecast, as what it is, with distances `(steps, …)` added."""
    table = read_table(forecast)
    if not isinstance(table, Table):
        return forecast + distance
    return continue_table(table, table.to_numpy("forecast") + distance, index=table.index)
