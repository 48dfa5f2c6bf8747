"""Forecasts as the DataFrames and Series that their histories were, with the index continued."""

from typing import Any

import numpy as np

from seqframe.framing.tables import library_of

_LEAST_TO_GUESS = 8  # dates that tell how far apart they are, where they do not say so themselves


def continue_table(
    history: Any,
    values: np.ndarray,
    columns: Any = None,
    quantiles: Any = None,
    index: Any = None,
) -> Any:
    """Return values as a table like the history, of the steps after it; arrays as they are.

    Args:
        history: DataFrame or Series of pandas or polars; or something else.
        values: array `(steps,)` or `(steps, features)`; with `quantiles`, `(quantiles, …)`.
        columns: which columns of the history the values are of: an int, a list of int, or None for
            all.
        quantiles: list of float, or None.
        index: pandas.Index of the steps after the history; None: its own, continued.

    Returns:
        a Series for a Series, or for one column; else a DataFrame. With quantiles a DataFrame with
        a column for each, or for each column and quantile. What is no table is an array.
    """
    library = library_of(type(history))
    if library is None:
        return values
    is_series = not hasattr(history, "columns")
    names = [history.name] if is_series else history.columns
    if columns is not None and not is_series:
        # Of an Index of pandas, an Index: its names and levels are those of the forecast.
        chosen = np.atleast_1d(columns)
        names = names[chosen] if library == "pandas" else [names[column] for column in chosen]
    flat = is_series or isinstance(columns, (int, np.integer))
    if library == "polars":
        return _polars_table(values, names, flat, quantiles)
    if index is None:
        index = continue_index(history.index, values.shape[-1 if flat else -2])
    return _pandas_table(index, values, names, flat, quantiles)


def _pandas_table(index: Any, values: Any, names: Any, flat: bool, quantiles: Any) -> Any:
    import pandas

    if quantiles is None:
        if flat:
            return pandas.Series(values, index, name=names[0])
        return pandas.DataFrame(values, index, names)
    levels = np.atleast_1d(quantiles).tolist()
    if flat:
        return pandas.DataFrame(values.T, index, pandas.Index(levels, name="quantile"))
    each = names.repeat(len(levels))
    by_level = [each.get_level_values(number) for number in range(each.nlevels)]
    pairs = pandas.MultiIndex.from_arrays(
        [*by_level, levels * len(names)], names=[*names.names, "quantile"]
    )
    table = np.moveaxis(values, 0, -1).reshape(len(index), -1)
    return pandas.DataFrame(table, index, pairs)


def _polars_table(values: np.ndarray, names: list[Any], flat: bool, quantiles: Any) -> Any:
    import polars

    if quantiles is None:
        if flat:
            return polars.Series(names[0], values)
        return polars.DataFrame(values, schema=names, orient="row")
    levels = np.atleast_1d(quantiles).tolist()
    values = values[..., None] if flat else values
    return polars.DataFrame(
        {
            str(level) if flat else f"{name}_{level}": values[k, :, column]
            for column, name in enumerate(names)
            for k, level in enumerate(levels)
        }
    )


def continue_index(index: Any, steps: int) -> Any:
    """Return the index of the steps after those of a pandas index.

    Args:
        index: pandas.Index: dates with a frequency of their own or one that can be told from them,
            periods, or evenly spaced numbers. After another one, steps are numbered.
        steps: int.

    Example:

    >>> import pandas
    >>> continue_index(pandas.RangeIndex(0, 10, 2), 3)
    RangeIndex(start=10, stop=16, step=2)
    >>> days = pandas.date_range("2024-02-27", periods=2)
    >>> [str(day.date()) for day in continue_index(days, 3)]
    ['2024-02-29', '2024-03-01', '2024-03-02']
    """
    import pandas

    after = steps_after(index, steps)
    return pandas.RangeIndex(len(index), len(index) + steps) if after is None else after


def steps_after(index: Any, steps: int, guess: bool = True) -> Any:
    """Return the index of the steps after those of an index, or None where it does not tell.

    Args:
        index: pandas.Index.
        steps: int.
        guess: bool. Whether a few dates may tell how far apart they are: five business days look
            like any five days.
    """
    import pandas

    size = len(index)
    if not size or not (guess or size >= _LEAST_TO_GUESS or not is_guess(index)):
        return None
    if isinstance(index, pandas.RangeIndex):
        return pandas.RangeIndex(
            index.stop, index.stop + steps * index.step, index.step, name=index.name
        )
    if isinstance(index, pandas.PeriodIndex):
        distances = np.diff(index.asi8) if size > 1 else np.array([index.freq.n])
        if (distances != distances[0]).any() or index.hasnans or not distances[0]:
            return None
        after = index.asi8[-1] + distances[0] * np.arange(1, steps + 1)
        return pandas.PeriodIndex.from_ordinals(after, freq=index.freq, name=index.name)
    if isinstance(index, (pandas.DatetimeIndex, pandas.TimedeltaIndex)):
        step = _distance_of_dates(index)
        if step is not None:
            dates = isinstance(index, pandas.DatetimeIndex)
            make = pandas.date_range if dates else pandas.timedelta_range
            return make(index[-1], periods=steps + 1, freq=step, name=index.name)[1:]
    elif index.dtype.kind in "iuf" and size > 1 and not index.hasnans:
        # In 64 bits, where unsigned ones can fall.
        values = index.to_numpy("float64" if index.dtype.kind == "f" else "int64")
        distance = values[1] - values[0]
        if np.allclose(np.diff(values), distance, atol=0) and distance != 0:
            after = values[-1] + distance * np.arange(1, steps + 1)
            try:
                return pandas.Index(after, dtype=index.dtype, name=index.name)
            except (OverflowError, ValueError):  # they no longer fit
                return pandas.Index(after, name=index.name)
    return None


def is_guess(index: Any) -> bool:
    """Whether it is only likely how an index goes on: that of dates which do not say it.

    Periods do by following each other; each says how long it is, not how far it is to the next.

    >>> import pandas
    >>> days = pandas.period_range("2026-01-01", periods=9)
    >>> is_guess(days), is_guess(days[::3]), is_guess(pandas.RangeIndex(9))
    (False, True, False)
    """
    import pandas

    if isinstance(index, pandas.PeriodIndex):
        return bool((np.diff(index.asi8) != index.freq.n).any())
    dates = (pandas.DatetimeIndex, pandas.TimedeltaIndex)
    return isinstance(index, dates) and index.freq is None


def _distance_of_dates(index: Any) -> Any:
    """Return the frequency of dates or of time differences, or None where they have none."""
    if index.freq is not None:
        return index.freq
    if index.hasnans or not index.is_unique or len(index) < 2:
        return None
    if len(index) > 2:
        # As `pandas.infer_freq`, without its warning of a change to come.
        step = type(index)(index, freq="infer").freq
        if step is not None:
            return step
    import pandas

    midnights = getattr(index, "tz", None) is not None and (index.normalize() == index).all()
    # Where clocks change, a day has 23 or 25 hours, and still goes from midnight to midnight.
    index = index.tz_localize(None) if midnights else index
    distances = np.diff(index.asi8)
    if (distances != distances[0]).any():
        return None
    step = index[1] - index[0]
    return pandas.DateOffset(days=step.days) if midnights else step
