"""Where in known sequences a forecast can begin: what it needs is there, and nothing is missing."""

import math

import numpy as np


class Places:
    """Which steps of some sequences can be forecast by what stands before them.

    Args:
        truth: list of arrays `(steps, …)`: what is to be forecast.
        shown: list of arrays `(steps, …)`: what a model is shown of it.
        futures: list of arrays of what is known ahead, on the same clock, or None.
        context: how many steps before a place a forecast depends on; `math.inf`: all.
        block: int. Steps that a model predicts at once, which it is told the future of.
        needs_past: bool. Whether the future of past steps is part of what a model is shown.
        unusable: list of bool arrays `(steps,)`, steps that are missing whatever they hold; None:
            what is there is used as it is.
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
        unusable: list[np.ndarray] | None,
    ):
        self._steps = [len(array) for array in truth]
        self._ahead = None if futures is None else [len(array) for array in futures]
        self._context, self._block, self._needs_past = context, block, needs_past
        kinds = {"truth": truth, "shown": shown}
        kinds |= {} if futures is None else {"future": futures}
        self._counts: dict[str, list[np.ndarray]] | None = None
        if unusable is not None:
            self._counts = {
                kind: [_count_missing(*each) for each in zip(arrays, unusable, strict=True)]
                for kind, arrays in kinds.items()
            }

    def fits(self, number: int, place: int, steps: int) -> bool:
        """Whether so many steps can be forecast from a place of a sequence.

        Args:
            number: int. Which sequence.
            place: int. The first step that is forecast.
            steps: int.
        """
        end = place + math.ceil(steps / self._block) * self._block
        if self._ahead is not None and end > self._ahead[number]:
            return False
        begin = int(max(place - self._context, 0))
        if self._holds_missing("shown", number, begin, place):
            return False
        first = begin if self._needs_past else place
        return self._ahead is None or not self._holds_missing("future", number, first, end)

    def is_known(self, number: int, place: int, steps: int) -> bool:
        """Whether so many steps from a place on came, and none of them is missing."""
        end = place + steps
        return end <= self._steps[number] and not self._holds_missing("truth", number, place, end)

    def _holds_missing(self, kind: str, number: int, begin: int, end: int) -> bool:
        if self._counts is None:
            return False
        counts = self._counts[kind][number]
        return bool(counts[end] > counts[begin])

    def origins(
        self, horizon: int, first: int, stride: int
    ) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
        """Return the places that `horizon` steps can be forecast from and compared with what came,
        and how many of each sequence are left out because a step is missing.

        Args:
            horizon: int.
            first: int. The first place of each sequence.
            stride: int. From one place to the next.
        """
        found, left_out = [], [0] * len(self._steps)
        for number, steps in enumerate(self._steps):
            if self._ahead is not None:
                steps = min(steps, self._ahead[number] - (-horizon % self._block))
            for place in range(first, steps - horizon + 1, stride):
                if self.fits(number, place, horizon) and self.is_known(number, place, horizon):
                    found.append((number, place))
                else:
                    left_out[number] += 1
        return found, tuple(left_out)


def _count_missing(array: np.ndarray, unusable: np.ndarray) -> np.ndarray:
    """Return how many steps before each are missing: NaN in any feature, or unusable.

    >>> _count_missing(np.array([[1.0, 2.0], [np.nan, 2.0], [1.0, 2.0]]), np.zeros(3, bool))
    array([0, 0, 1, 1])
    """
    missing = np.isnan(array).reshape(len(array), -1).any(axis=1)
    missing[: len(unusable)] |= unusable[: len(array)]
    return np.concatenate([[0], np.cumsum(missing)])


def season_before(array: np.ndarray, place: int, horizon: int, season: int) -> np.ndarray:
    """Return what a forecast is that repeats the last season: `horizon` steps from a place on.

    >>> season_before(np.arange(10), place=8, horizon=5, season=3)
    array([5, 6, 7, 5, 6])
    """
    return array[place - season + np.arange(horizon) % season]
