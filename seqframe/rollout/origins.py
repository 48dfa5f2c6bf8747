"""Which steps of known sequences can be origins of a forecast: all that it needs is there."""

import math

import numpy as np


class Origins:
    """Which steps of some sequences can be forecast from the steps before them.

    Args:
        truth: the values to forecast, `(steps, …)` of each sequence.
        shown: the values that a model is shown, likewise.
        futures: the future covariates, on the same clock, or None.
        context: how many steps before an origin a forecast depends on; `math.inf`: all.
        block: steps that a model predicts at once, for which it needs the future.
        needs_past: whether the model is shown the future covariates of past steps.
        missing: which steps are missing, besides those with NaN. None: no step is missing.
    """

    def __init__(
        self,
        truth: list[np.ndarray],
        shown: list[np.ndarray],
        futures: list[np.ndarray] | None,
        *,
        context: float,
        block: int,
        needs_past: bool,
        missing: list[np.ndarray] | None,
    ):
        self._steps = [len(array) for array in truth]
        self._ahead = None if futures is None else [len(array) for array in futures]
        self._context, self._block, self._needs_past = context, block, needs_past
        kinds = {"truth": truth, "shown": shown}
        kinds |= {} if futures is None else {"future": futures}
        self._counts: dict[str, list[np.ndarray]] | None = None
        if missing is not None:
            self._counts = {
                kind: [_count_missing(*each) for each in zip(arrays, missing, strict=True)]
                for kind, arrays in kinds.items()
            }

    def can_forecast(self, number: int, origin: int, steps: int) -> bool:
        """Whether `steps` steps of sequence `number` can be forecast from an origin on."""
        end = origin + math.ceil(steps / self._block) * self._block
        if self._ahead is not None and end > self._ahead[number]:
            return False
        begin = int(max(origin - self._context, 0))
        if self._holds_missing("shown", number, begin, origin):
            return False
        first = begin if self._needs_past else origin
        return self._ahead is None or not self._holds_missing("future", number, first, end)

    def _is_known(self, number: int, origin: int, steps: int) -> bool:
        end = origin + steps
        return end <= self._steps[number] and not self._holds_missing("truth", number, origin, end)

    def _holds_missing(self, kind: str, number: int, begin: int, end: int) -> bool:
        if self._counts is None:
            return False
        counts = self._counts[kind][number]
        return bool(counts[end] > counts[begin])

    def find(
        self, horizon: int, first: int, stride: int
    ) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
        """Return the origins `(sequence, step)`, and how many of each sequence are left out.

        An origin is left out if a step that it needs is missing.

        """
        found, left_out = [], [0] * len(self._steps)
        for number, steps in enumerate(self._steps):
            if self._ahead is not None:
                steps = min(steps, self._ahead[number] - (-horizon % self._block))
            for origin in range(first, steps - horizon + 1, stride):
                can = self.can_forecast(number, origin, horizon)
                if can and self._is_known(number, origin, horizon):
                    found.append((number, origin))
                else:
                    left_out[number] += 1
        return found, tuple(left_out)


def _count_missing(array: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return how many steps before each are missing.

    >>> _count_missing(np.array([[1.0, 2.0], [np.nan, 2.0], [1.0, 2.0]]), np.zeros(3, bool))
    array([0, 0, 1, 1])
    """
    is_missing = np.isnan(array).reshape(len(array), -1).any(axis=1)
    is_missing[: len(missing)] |= missing[: len(array)]
    return np.concatenate([[0], np.cumsum(is_missing)])
