"""What is known ahead goes on from a history, and may date a forecast, as the two indexes tell."""

import warnings
from typing import Any

import numpy as np

from seqframe.framing.dates import check_dates, dates_of
from seqframe.framing.tables import library_of
from seqframe.rollout.continuation import is_guess, steps_after


def check_future(
    history: Any, future: Any, steps: int, on_clock: bool, stacklevel: int = 3
) -> None:
    """Raise if what is known ahead is not of the steps that it has to be.

    Dates that do not say how far apart they are only tell what to expect: trading days look like
    business days until a holiday comes. Where the future's are others, a warning says so.

    Args:
        history: what is continued.
        future: what is known ahead.
        steps: int. How many steps after the history are taken from it.
        on_clock: bool. Whether it begins with the history, rather than after it.
        stacklevel: int. Whom a warning is for, as of `warnings.warn`.

    Raises:
        ValueError: if both are tables of pandas, with dates or with numbers, and it begins
            elsewhere; if one of its dates is not that of its step; or if dates are of two kinds.

    Example:

    >>> import pandas
    >>> days = pandas.date_range("2026-01-01", periods=4)
    >>> history = pandas.Series([1.0, 2.0], days[:2])
    >>> check_future(history, pandas.Series([3.0, 4.0], days[2:]), 2, on_clock=False)
    """
    used = steps + (len(history) if on_clock else 0)
    if dates_of(future) is not None and dates_of(history) is None:
        check_dates(future[:used], "future")
    if not (_has_index(history) and _has_index(future)):
        return
    index, ahead = history.index, future.index[:used]
    _check_kinds(index, ahead)
    # Rows numbered as they were made say nothing; unless there are more than the history has, which
    # may be those of the history itself.
    as_made = _is_as_made(future.index) and (on_clock or len(future) <= len(history))
    if as_made or not _comparable(index, ahead):
        return
    after = steps_after(index, steps, guess=False)
    expected = None if is_guess(index) else after
    where = "with the step after the history"
    if on_clock:
        expected = index if expected is None else index.append(expected)
        where = "where the history does"
    if expected is None and not ahead[0] > index.max():
        raise _begins_elsewhere(f"after the history, whose last step is {index.max()}", ahead[0])
    if expected is not None and not _same_place(ahead[0], expected[0]):
        raise _begins_elsewhere(f"{where}, {expected[0]}", ahead[0])
    if dates_of(future) is not None:
        _check_each_step(ahead, ahead[:0] if expected is None else expected[: len(ahead)])
    if is_guess(index) and after is not None:
        _compare_with_guess(ahead[len(history) if on_clock else 0 :], after, stacklevel + 1)


def _check_kinds(index: Any, ahead: Any) -> None:
    """Raise if both indexes are of dates that cannot be compared."""
    kinds = _kind_of_dates(index), _kind_of_dates(ahead)
    if None in kinds or kinds[0] == kinds[1] or _comparable(index, ahead):
        return
    way_out = _how_to_compare(index, ahead)
    raise ValueError(
        "`future` must have dates of the kind that the history has, to be compared with these. "
        f"Received: a table with {kinds[1]} for a history with {kinds[0]}. "
        + (f"Make them alike, as `{way_out}`; or" if way_out else "Make them alike, or")
        + " pass an array, as `future.to_numpy('float32')`."
    )


def _kind_of_dates(index: Any) -> str | None:
    """Return what dates an index is of, or None where it is of none.

    >>> import pandas
    >>> _kind_of_dates(pandas.period_range("2026", periods=2, freq="Q"))
    'periods of freq Q-DEC'
    """
    import pandas

    if isinstance(index, pandas.DatetimeIndex):
        return "dates of no time zone" if index.tz is None else f"dates of time zone {index.tz}"
    if isinstance(index, pandas.PeriodIndex):
        return f"periods of freq {index.freqstr}"
    if isinstance(index, pandas.TimedeltaIndex):
        return "time differences"
    return "Python's own dates" if index.inferred_type in ("date", "datetime") else None


def _how_to_compare(index: Any, ahead: Any) -> str | None:
    """Return the code that makes the dates ahead of the kind that the history's are, if any."""
    import pandas

    for name, each in ("future", ahead), ("history", index):
        if each.dtype.kind == "O" and not isinstance(each, pandas.PeriodIndex):
            return f"{name}.set_axis(pandas.to_datetime({name}.index))"
    ways = {
        ("DatetimeIndex", "DatetimeIndex"): "tz_localize({zone})",
        ("DatetimeIndex", "PeriodIndex"): "to_timestamp()",
        ("PeriodIndex", "DatetimeIndex"): "to_period({freq})",
    }
    way = ways.get((type(index).__name__, type(ahead).__name__))
    zone, freq = getattr(index, "tz", None), getattr(index, "freqstr", None)
    zone = None if zone is None else str(zone)
    return None if way is None else f"future.{way.format(zone=repr(zone), freq=repr(freq))}"


def _compare_with_guess(ahead: Any, guess: Any, stacklevel: int) -> None:
    """Warn of the first date that is not as the history's let expect."""
    wrong = ahead != guess[: len(ahead)]
    if wrong.any():
        row = int(np.argmax(wrong))
        warnings.warn(
            f"The dates of the history seem to go on with {guess[row]}, where those of `future` "
            f"have {ahead[row]}, and these are taken. If it is not of the steps that follow, mend "
            "it; if it is, as where a holiday lies between, dates that have a `freq` tell that.",
            stacklevel=stacklevel,
        )


def _begins_elsewhere(expected: str, first: Any) -> ValueError:
    return ValueError(
        f"`future` must begin {expected}. Received: a table whose index begins at {first}. Pass "
        "the rows from there on; or, if only the index is wrong, an array, as "
        "`future.to_numpy('float32')`."
    )


def _check_each_step(ahead: Any, expected: Any) -> None:
    """Raise at the first date that is not the one expected; or, where none is, not a later one."""
    wrong = np.ones(len(ahead), bool)
    wrong[: len(expected)] = ahead[: len(expected)] != expected
    rest = max(len(expected), 1)
    wrong[rest:] = ~(ahead[rest:] > ahead[rest - 1 : -1])
    if not len(expected):
        wrong[0] = False
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    what = expected[row] if row < len(expected) else f"a date after {ahead[row - 1]}"
    raise ValueError(
        "`future` must have the dates of the steps that it is of, one a row. Received: a table "
        f"with {ahead[row]} in row {row}, where {what} is due. Sort it, fill in rows that are "
        "missing, or leave out those of no step; or, if only the index is wrong, pass an array, as "
        "`future.to_numpy('float32')`."
    )


def index_forecast(history: Any, steps: int, future: Any, on_clock: bool) -> Any:
    """Return the index of the steps that are forecast, or None where the history has none.

    It goes on from the history's. Where dates do not say how, those of the future are taken; where
    there are none, and it cannot be guessed, a warning says so to the caller's caller's caller, who
    called for a forecast.

    Args:
        history: what is continued.
        steps: int.
        future: what is known ahead, as `check_future` has it, or None.
        on_clock: bool. Whether that begins with the history.
    """
    if dates_of(history) is None or not len(history):
        return None
    index = history.index
    after = steps_after(index, steps, guess=False)
    unsure = after is None or is_guess(index)
    if unsure and dates_of(future) is not None and _comparable(index, future.index):
        begin = len(history) if on_clock else 0
        dates = future.index[begin : begin + steps].rename(index.name)
        return dates if after is None or not dates.equals(after) else after
    after = steps_after(index, steps) if after is None else after
    if after is None:
        warnings.warn(
            "The dates of the history follow no frequency, so the forecast is numbered by steps: "
            f"{len(index)} is the first. Fill in the dates that are missing, as "
            f"{_how_to_fill(index)}, and their values; or pass a `future` with dates.",
            stacklevel=4,
        )
    return after


def _how_to_fill(index: Any) -> str:
    import pandas

    if isinstance(index, pandas.PeriodIndex):  # whose `asfreq` makes others of them
        return "`history.reindex(pandas.period_range(history.index[0], history.index[-1]))`"
    return "`history.asfreq('D')` for days"


def _is_as_made(index: Any) -> bool:
    import pandas

    return isinstance(index, pandas.RangeIndex) and (index.start, index.step) == (0, 1)


def _has_index(table: Any) -> bool:
    return library_of(type(table)) == "pandas" and len(table) > 0


def _comparable(one: Any, other: Any) -> bool:
    """Whether two indexes of pandas are of numbers, or of the same kind of dates."""
    import pandas

    if one.dtype.kind in "iuf" and other.dtype.kind in "iuf":
        return not (one.hasnans or other.hasnans)
    for kind in (pandas.DatetimeIndex, pandas.PeriodIndex, pandas.TimedeltaIndex):
        if isinstance(one, kind) and isinstance(other, kind):
            # Dates of a time zone compare with such dates alone, periods with those as long.
            zones = [getattr(index, "tz", None) is None for index in (one, other)]
            lengths = [getattr(index.dtype, "freq", None) for index in (one, other)]
            return zones[0] == zones[1] and lengths[0] == lengths[1]
    return False


def _same_place(first: Any, expected: Any) -> bool:
    if isinstance(first, float) or isinstance(expected, float):
        return bool(np.isclose(first, expected, rtol=1e-9, atol=1e-9))
    return bool(first == expected)
