"""Find the time axis of a history and its forecast: dates or numbers."""

import numpy as np

from seqframe.plot.tables import Data

#: Times as users have them: an array, a list or an index of pandas, of numbers or dates.
Index = Data


def time_axis(
    history: Data, forecast: Data, index: Index | None, steps: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the times of a history, those of a forecast of `steps` steps, and the axis's label.

    `index` holds the times of the history, or of both; None takes the index of the tables.

    >>> time_axis([3, 4, 5], [6, 7], None, 2)
    (array([0, 1, 2]), array([3, 4]), 'step')
    >>> time_axis([3, 4, 5], [6, 7], [1999, 2000, 2001], 2)
    (array([1999, 2000, 2001]), array([2002, 2003]), 'step')
    """
    size = len(history)
    times, after = _numbers_or_dates(index), None
    if index is None:
        index = getattr(history, "index", None)  # of pandas; a list has a method of this name
        times, after = _numbers_or_dates(index), _numbers_or_dates(getattr(forecast, "index", None))
    elif times is None or len(times) not in (size, size + steps):
        raise ValueError(
            "`index` must hold one number or date for each step of the history, or of the history "
            f"and the forecast. Received: {len(index)} for {size} and {steps} steps."
        )
    if times is not None:
        past, ahead = times[:size], times[size:]
        if not len(ahead):
            ahead = _continue(index, past, steps) if after is None else after
        if is_date(past) == is_date(ahead):
            name = getattr(index, "name", None)
            return past, ahead, str(name) if name is not None else "" if is_date(past) else "step"
    return np.arange(size), size + np.arange(steps), "step"


def is_date(times: np.ndarray) -> bool:
    """Whether times are dates rather than numbers."""
    return times.dtype.kind == "M"


def _numbers_or_dates(index: Index) -> np.ndarray | None:
    """Return an index as an array of numbers or dates, or None if it holds something else."""
    if hasattr(index, "to_timestamp"):  # periods
        index = index.to_timestamp()
    if getattr(index, "tz", None) is not None:
        index = index.tz_localize(None)  # shows the local time
    times = np.asarray(index)
    if times.dtype.kind == "O" and times.ndim == 1:
        try:
            times = times.astype("datetime64[us]")
        except (ValueError, TypeError):
            return None
    if times.dtype.kind == "m":
        return times / np.timedelta64(1, "s")
    return times if times.dtype.kind in "iufM" and times.ndim == 1 else None


def _continue(index: Index, times: np.ndarray, steps: int) -> np.ndarray:
    """Return the times of the steps after an index; uneven ones continue by their median step."""
    if hasattr(index, "to_timestamp"):
        index = index.to_timestamp()
    # pandas knows months and business days.
    freq = getattr(index, "freq", None)
    if freq is None and len(times) > 2 and hasattr(type(index), "inferred_freq"):
        freq = type(index)(index, freq="infer").freq
    if freq is not None:
        last = index[-1:]
        return np.concatenate([_numbers_or_dates(last.shift(k, freq)) for k in range(1, steps + 1)])
    apart = np.timedelta64(1, "D") if is_date(times) else 1
    if len(times) > 1:
        apart = np.sort(np.diff(times))[(len(times) - 1) // 2]
    return times[-1] + apart * np.arange(1, steps + 1)
