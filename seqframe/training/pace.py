"""Pace: how many steps a call of a program takes."""

from typing import Any
from weakref import WeakKeyDictionary

_FIRST = 1  # steps of the first call, because nothing is known of the speed yet
_SECONDS_SHOWN = 0.15  # Keras draws a bar every 0.05 seconds at most
_SECONDS_SILENT = 0.5  # so soon an interruption ends a call
# A short call measures its own cost more than its steps', so the next one may be far longer.
_GROWTH = 64


class Pace:
    """The number of steps in a call, so that each call takes about the same time.

    Args:
        steps: int. Steps of the first call.
        seconds: float. Length of a call. None: each call has as many steps as the first one.

    Attributes:
        steps: int. Steps of the next call, in whatever epochs they are.

    >>> pace = Pace(10, seconds=1.0)
    >>> pace.learn(10, 2.0)
    >>> pace.steps
    5
    """

    def __init__(self, steps: int, seconds: float | None = None):
        self.steps, self._seconds = max(steps, 1), seconds

    def learn(self, steps: int, seconds: float) -> None:
        """Take the time of the last call into account."""
        if self._seconds is not None:
            fitting = steps * self._seconds / max(seconds, 1e-9)
            self.steps = max(int(min(fitting, _GROWTH * max(steps, self.steps))), 1)

    def next(self, left: int) -> int:
        """Return the steps of the next call, if `left` steps of an epoch are left.

        >>> Pace(100).next(250), Pace(100, seconds=1.0).next(250)
        (100, 125)
        """
        if self._seconds is None:
            return min(self.steps, left)
        # Calls of one length, rather than a short one at the end.
        return -(-left // max(round(left / self.steps), 1))


#: Each model's paces. A `fit` of one short epoch would not learn the speed again in time.
_paces: WeakKeyDictionary[Any, dict[tuple[str, int, str, bool], Pace]] = WeakKeyDictionary()


def pace_of_calls(model: Any, kind: str, batch_size: int, form: str, is_shown: bool) -> Pace:
    """Return the pace of a model's calls, as the last run left it.

    Args:
        model: keras.Model.
        kind: "train" | "test" | "predict".
        batch_size: int.
        form: `Feed.form` of the data. Longer frames take longer.
        is_shown: bool. Whether a progress bar shows the end of each call.
    """
    start = Pace(_FIRST, _SECONDS_SHOWN if is_shown else _SECONDS_SILENT)
    return _paces.setdefault(model, {}).setdefault((kind, batch_size, form, is_shown), start)
