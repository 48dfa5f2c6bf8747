"""Dates: a pandas index of dates is a clock. It goes forward, and a forecast continues it."""

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.checks import each_name
from seqframe.framing.tables import Table, read_table, read_tables

_LEAST_TO_GUESS = 8  # dates that are needed to guess their distance
_MOST_SKIPPED = 50  # steps. A future that begins even later is late, whatever its dates.


def dates_of(table: Any) -> Any:
    """Return the pandas index of a table if it holds dates, else None."""
    index = index_of(table)
    return index if is_clock(index) else None


def index_of(table: Any) -> Any:
    table = read_table(table)
    return table.index if isinstance(table, Table) else None


def is_clock(index: Any) -> bool:
    """Whether an index holds dates, periods or time differences."""
    if index is None:
        return False
    import pandas

    return isinstance(index, (pandas.DatetimeIndex, pandas.PeriodIndex, pandas.TimedeltaIndex))


# --- Dates go forward.


def check_each(tables: Sequence[Any], name: str, labels: Sequence[Hashable] | None = None) -> None:
    """Raise if the dates of one of several tables do not go forward."""
    tables = read_tables(tables)
    indexes = [table.index if isinstance(table, Table) else None for table in tables]
    # To ask for each of many indexes would take longer than to read their tables.
    examples = {type(index): index for index in indexes}
    clocks = {kind for kind, index in examples.items() if is_clock(index)}
    if clocks and _go_forward([index for index in indexes if type(index) in clocks]):
        clocks = set()
    checked = clocks | {kind for kind, index in examples.items() if _has_levels(index)}
    for number, index in enumerate(indexes if checked else ()):
        if type(index) in checked:
            check_dates(tables[number], each_name(name, number, labels or len(tables)))


def _go_forward(indexes: list[Any]) -> bool:
    """Whether each of several indexes of dates goes strictly forward, and misses no date."""
    each = [index.asi8 for index in indexes]
    ticks, edges = np.concatenate(each), np.cumsum([0, *map(len, each)])
    forward = np.append(ticks[1:] > ticks[:-1], True)
    forward[edges[1:] - 1] = True  # from one index to the next
    is_missing = ticks == np.iinfo(ticks.dtype).min
    return bool(forward.all() and not is_missing.any())


def _has_levels(index: Any) -> bool:
    return index is not None and index.nlevels > 1


def check_dates(
    table: Any, name: str, edges: np.ndarray | None = None, labels: Sequence[Hashable] = ()
) -> None:
    """Raise if the dates of a table do not go strictly forward, in each group if it has edges.

    >>> import pandas
    >>> days = pandas.PeriodIndex(["2026-01-02", "2026-01-01"], freq="D")
    >>> check_dates(pandas.Series([1, 2], days), "history")
    Traceback (most recent call last):
        ...
    ValueError: `history` must have dates that go strictly forward. Received: 2026-01-02 in row 0,
    then 2026-01-01. Sort it by series and date, and leave out rows without a date or with one that
    repeats. Pass several series as a list of tables, or name their columns of labels as `by`.
    """
    index = index_of(table)
    if index is not None and index.nlevels > 1:
        index = _dates_of_level(index, name, edges)
    if not is_clock(index) or len(index) < 2:
        return
    ticks = index.asi8
    back = ticks[1:] <= ticks[:-1]
    if index.hasnans:  # a missing date is the lowest number
        back |= index.isna()[:-1]
    if edges is not None:
        back[edges[1:-1] - 1] = False
    if not back.any():
        return
    row, which = int(np.argmax(back)), ""
    if len(labels) > 1 and edges is not None:
        which = f" of {labels[int(np.searchsorted(edges, row, side='right')) - 1]!r}"
    raise ValueError(
        f"`{name}` must have dates that go strictly forward. Received: {index[row]} in row {row}, "
        f"then {index[row + 1]}{which}. Sort it by series and date, and leave out rows without a "
        "date or with one that repeats. Pass several series as a list of tables, or name their "
        "columns of labels as `by`."
    )


def _dates_of_level(index: Any, name: str, edges: np.ndarray | None) -> Any:
    """Return the last level of dates of an index of several levels, or None."""
    dated = [k for k, level in enumerate(index.levels) if is_clock(level)]
    if not dated:
        return None
    for level in set(range(index.nlevels)) - set(dated):
        changes = np.flatnonzero(np.diff(index.codes[level]))
        if edges is not None:
            changes = np.setdiff1d(changes, edges[1:-1] - 1)
        if changes.size:
            row, called = int(changes[0]), index.names[level] or level
            before, after = index.get_level_values(level)[row : row + 2].tolist()
            named = f"; or frame it with `by={called!r}`" if isinstance(called, str) else ""
            raise ValueError(
                f"`{name}` must be one series, but the level {called!r} of its index changes. "
                f"Received: {before!r} in row {row}, then {after!r}. Pass a list of one table for "
                f"each, as `[part for _, part in table.groupby(level={called!r})]`{named}."
            )
    return index.get_level_values(dated[-1])


# --- The steps after a history.


def continue_index(index: Any, steps: int) -> Any:
    """Return the index of the steps after a pandas index.

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


def steps_after(index: Any, steps: int) -> Any:
    """Return the index of the steps after an index, or None if they are unknown."""
    import pandas

    size, count = len(index), np.arange(1, steps + 1)
    if isinstance(index, pandas.RangeIndex) and size:
        return pandas.RangeIndex(
            index.stop, index.stop + steps * index.step, index.step, name=index.name
        )
    if isinstance(index, pandas.PeriodIndex) and size:
        distances = np.diff(index.asi8) if size > 1 else np.array([index.freq.n])
        if (distances != distances[0]).any() or index.hasnans or not distances[0]:
            return None
        after = index.asi8[-1] + distances[0] * count
        return pandas.PeriodIndex.from_ordinals(after, freq=index.freq, name=index.name)
    if isinstance(index, (pandas.DatetimeIndex, pandas.TimedeltaIndex)):
        step = _distance_of_dates(index)
        if step is None or not size:
            return None
        dates = isinstance(index, pandas.DatetimeIndex)
        make = pandas.date_range if dates else pandas.timedelta_range
        return make(index[-1], periods=steps + 1, freq=step, name=index.name)[1:]
    if index.dtype.kind in "iuf" and size > 1 and not index.hasnans:
        # In 64 bits, because unsigned numbers may fall.
        values = index.to_numpy("float64" if index.dtype.kind == "f" else "int64")
        distance = values[1] - values[0]
        if np.allclose(np.diff(values), distance, atol=0) and distance != 0:
            return pandas.Index(values[-1] + distance * count, name=index.name)
    return None


def _is_guess(index: Any) -> bool:
    """Whether the steps after an index are a guess, because its dates have no frequency.

    Periods that follow each other are certain. Other periods have a length, but no distance to the
    next one.
    """
    import pandas

    if isinstance(index, pandas.PeriodIndex):
        return bool((np.diff(index.asi8) != index.freq.n).any())
    dates = (pandas.DatetimeIndex, pandas.TimedeltaIndex)
    return isinstance(index, dates) and index.freq is None


def _known_steps_after(index: Any, steps: int) -> Any:
    """Return the steps after an index; None if unknown, or if dates are too few for a guess."""
    return None if _is_guess(index) and len(index) < _LEAST_TO_GUESS else steps_after(index, steps)


def _distance_of_dates(index: Any) -> Any:
    """Return the frequency of dates or time differences, or None if they have none."""
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
    # When clocks change, a day has 23 or 25 hours, and still goes from midnight to midnight.
    index = index.tz_localize(None) if midnights else index
    distances = np.diff(index.asi8)
    if (distances != distances[0]).any():
        return None
    step = index[1] - index[0]
    return pandas.DateOffset(days=step.days) if midnights else step


# --- The clock of `future`.


def check_future(
    history: Any,
    future: Any,
    begins_with_history: bool,
    stacklevel: int = 3,
    name: str = "future",
) -> None:
    """Raise if the index of `future` does not belong to the steps that are forecast.

    An index that counts rows from 0 is ignored: such tables are read row by row, like arrays. Dates
    without a frequency only suggest the next dates: months may end on a business day, and a holiday
    is no business day. If `future` has dates that such a history may have, a warning says so.

    Args:
        history: the steps before the forecast.
        future: the future covariates.
        begins_with_history: bool. Whether the first row of `future` belongs to the first step of
            the history. Otherwise it belongs to the first step of the forecast.
        stacklevel: int. As in `warnings.warn`.
        name: str. The name of `future` in errors.

    >>> import pandas
    >>> days = pandas.date_range("2026-01-01", periods=4)
    >>> history = pandas.Series([1.0, 2.0], days[:2])
    >>> check_future(history, pandas.Series([3.0, 4.0], days[2:]), False)
    """
    before, ahead = clock_of(history), clock_of(future)
    if is_clock(ahead) and not is_clock(before):
        check_dates(future, name)
    if before is None or not len(before) or ahead is None:
        return
    if counts_rows(ahead) or not are_comparable(ahead, before, name, "history"):
        return
    if kind_of_index(before) == "number" and (before.hasnans or ahead.hasnans):
        return
    known = before[: len(ahead)] if begins_with_history else before[:0]
    if kind_of_index(before) == "label":
        _check_labels(before, ahead, len(known), name)
        return
    rest = ahead[len(known) :]
    after, guessed = steps_after(before, len(rest)), _is_guess(before)
    expected = known if after is None or guessed else known.append(after)
    told = len(expected)
    # Dates after these only need to go forward.
    last = expected[-1:] if told else before[[before.argmax()]]
    previous = last.append(ahead[told:-1])[: len(ahead) - told]
    wrong = np.append(~same_labels(ahead[:told], expected), ~(ahead[told:] > previous))
    others = np.zeros(len(ahead), bool)
    if guessed and after is not None and len(rest):
        others[len(known) :] = _are_others(before, rest, after)
    is_daily = bool(others.any()) and _is_daily(before.append(rest))
    if others.any() and not is_daily:
        later = steps_after(before, len(rest) + _MOST_SKIPPED)
        wrong |= others & np.asarray(ahead.isin(later) | (ahead > later[-1]))
    if wrong.any():
        row = int(np.argmax(wrong))
        if row < told:
            due = expected[row]
        else:
            due = after[row - told] if others[row] else f"a step after {previous[row - told]}"
        first = (
            "the first step of the history" if begins_with_history else "the step after the history"
        )
        raise ValueError(
            f"`{name}` must have a row for each step, from {first} on. Received: {ahead[row]} in "
            f"row {row}, where {due} is due. Pass the rows of these steps, or an array if only the "
            "index is wrong."
        )
    if others.any() and (is_daily or len(before) >= _LEAST_TO_GUESS):
        row = int(np.argmax(others))
        warnings.warn(
            f"The dates of the history seem to continue with {after[row - len(known)]}. Received: a"
            f" `{name}` with {ahead[row]}, which is used. Give the history's index a `freq` for an "
            "exact check.",
            stacklevel=stacklevel,
        )


def clock_of(table: Any) -> Any:
    """Return the index of a table; of several levels, the one with dates, or None."""
    index = index_of(table)
    if index is None or index.nlevels == 1:
        return index
    levels = map(index.get_level_values, range(index.nlevels))
    return next((level for level in levels if is_clock(level)), None)


def _are_others(before: Any, rest: Any, after: Any) -> np.ndarray:
    """Return which dates differ from the likely ones. A few workdays tell no weekends."""
    import pandas

    others = np.asarray(rest != after)
    if others.any() and _is_daily(before):
        workdays = pandas.date_range(before[-1], periods=len(rest) + 1, freq="B")[1:]
        others &= np.asarray(rest != workdays)
    return others


def _is_daily(index: Any) -> bool:
    """Whether an index may be one of workdays. Some of these are holidays, so they have holes."""
    import pandas

    if not isinstance(index, pandas.DatetimeIndex) or len(index) < 2:
        return False
    days = index.tz_localize(None).normalize()
    return bool((days.day_of_week < 5).all() and (days[1:] - days[:-1]).min().days == 1)


def are_comparable(theirs: Any, ours: Any, name: str, whose: str) -> bool:
    """Whether two indexes tell steps by labels of one kind. Raise if the kinds differ.

    An index that counts rows from 0 says nothing about labels of another kind.
    """
    if kind_of_index(theirs) == kind_of_index(ours):
        return True
    if counts_rows(theirs) or counts_rows(ours):
        return False
    raise ValueError(
        f"`{name}` must have an index of the same kind as the {whose}. Received: an index of "
        f"{theirs.dtype} for a {whose} with {ours.dtype}. Convert one of them, as by "
        f"`pandas.to_datetime`, `tz_localize` or `to_period`; or pass `{name}.to_numpy()`."
    )


def _check_labels(before: Any, ahead: Any, known: int, name: str) -> None:
    """Raise if labels other than dates and numbers belong to other steps; they have no order."""
    wrong = ~same_labels(ahead[:known], before[:known])
    again = ahead[known:].isin(before) & before.is_unique
    if wrong.any() or again.any():
        row = int(np.argmax(np.append(wrong, again)))
        due = before[row] if row < known else "a label of a later step"
        raise ValueError(
            f"`{name}` must have a row for each step. Received: {ahead[row]!r} in row {row}, where "
            f"{due!r} is due. Pass the rows of these steps, or an array if only the index is wrong."
        )


def counts_rows(index: Any) -> bool:
    """Whether an index only counts rows from 0, as the default index of pandas does."""
    return index.dtype.kind in "iu" and bool((index == np.arange(len(index))).all())


def kind_of_index(index: Any) -> Any:
    """Return a value that two indexes share if their labels can be compared."""
    if is_clock(index):
        return kind_of_clock(index)
    if index.nlevels > 1:
        return index.nlevels
    return "number" if index.dtype.kind in "iuf" else "label"


def kind_of_clock(index: Any) -> tuple[type, bool, Any]:
    """Return a value that two indexes of dates share if their dates can be compared."""
    # All time zones can be compared. Periods compare only with periods of their length.
    is_zoned = getattr(index, "tz", None) is not None
    return type(index), is_zoned, getattr(index.dtype, "freq", None)


def same_labels(found: Any, expected: Any) -> np.ndarray:
    """Return which labels of two indexes of one length are the same, place by place."""
    if found.equals(expected):  # also if labels are missing
        return np.ones(len(found), bool)
    if found.dtype.kind == "O" or expected.dtype.kind == "O":  # categories may differ, too
        return np.asarray(np.asarray(found, object) == np.asarray(expected, object), bool)
    if "f" in found.dtype.kind + expected.dtype.kind:
        # Rounded numbers are the same if they are much closer than two steps.
        found, expected = (np.asarray(each, "float64") for each in (found, expected))
        distances = np.abs(np.diff(expected))
        least = distances.min() if distances.size else np.abs(expected) * 1e-9
        return np.asarray(np.abs(found - expected) <= 1e-3 * least, bool)
    return np.asarray(found == expected, bool)


# --- A forecast as a table.


def index_forecast(history: Any, steps: int, future: Any, begins_with_history: bool) -> Any:
    """Return the dates of a forecast, or None if the history has none.

    They continue the dates of the history. If these have no frequency, the dates of `future` are
    used. If `future` has none either, and no guess is possible, a warning says so.
    """
    index = dates_of(history)
    after = dates_after(history, steps, future, begins_with_history)
    if after is None and index is not None and len(index):
        warnings.warn(
            f"{_NO_FREQUENCY}, so the forecast is numbered by steps: {len(index)} is the first. "
            f"{_FILL_DATES}",
            stacklevel=4,
        )
    return after


def warn_of_no_frequency(tables: Sequence[Any], stacklevel: int) -> None:
    """Warn if some tables have dates. Those of the forecasts are unknown."""
    if any(dates_of(table) is not None for table in tables):
        warnings.warn(
            f"{_NO_FREQUENCY}, so the table has no dates. {_FILL_DATES}", stacklevel=stacklevel + 1
        )


_NO_FREQUENCY = "The dates of the history follow no frequency"
_FILL_DATES = (
    "Fill in the missing dates, for days by `history.asfreq('D').interpolate()`, or pass a "
    "`future` with dates."
)


def dates_after(history: Any, steps: int, future: Any, begins_with_history: bool) -> Any:
    """Return the dates of a forecast, or None if they are unknown; see `index_forecast`."""
    index, dates = dates_of(history), dates_of(future)
    if index is None or not len(index):
        return None
    after = _known_steps_after(index, steps)
    if dates is not None and (after is None or _is_guess(index)):
        begin = len(index) if begins_with_history else 0
        dates = dates[begin : begin + steps].rename(index.name)
        return dates if after is None or not dates.equals(after) else after
    return steps_after(index, steps)


def dates_at(index: Any, steps: int, others: Any) -> Any:
    """Return the steps after dates at the frequency of other dates, or None if these have none.

    >>> import pandas
    >>> holed = pandas.DatetimeIndex(["2026-01-01", "2026-01-02", "2026-01-05"])
    >>> [str(day.date()) for day in dates_at(holed, 2, pandas.date_range("2026-01-01", periods=9))]
    ['2026-01-06', '2026-01-07']
    """
    import pandas

    dates = pandas.DatetimeIndex
    step = _distance_of_dates(others) if isinstance(others, dates) else None
    if step is None or not isinstance(index, dates) or index.hasnans:
        return None
    # The last date need not be one of the frequency, such as the first of a month.
    after = pandas.date_range(index[-1], periods=steps + 1, freq=step, name=index.name)
    return after[after > index[-1]][:steps]


def continue_table(
    history: Any,
    values: np.ndarray,
    columns: Any = None,
    quantiles: Any = None,
    index: Any = None,
) -> Any:
    """Return values as a table of the history's library, for the steps after it.

    Args:
        history: DataFrame or Series of any library, or a `Table`; or any other sequence.
        values: array `(steps,)` or `(steps, features)`; with `quantiles`, `(quantiles, …)`.
        columns: the history's columns that the values belong to: an int, a list of int, or None for
            all.
        quantiles: list of float, or None.
        index: pandas.Index of the steps of the values; None: the history's own, continued.

    Returns:
        a Series for a Series, or for one column; else a DataFrame. With quantiles a DataFrame with
        a column for each, or for each column and quantile. An array if the history is no table.
    """
    table = read_table(history)
    if not isinstance(table, Table) or table.library is None:
        return values
    names, is_series = table.labels, table.ndim == 1
    if columns is not None and not is_series:
        chosen = np.atleast_1d(columns)
        names = [names[k] for k in chosen] if isinstance(names, list) else names[chosen]
    flat = is_series or isinstance(columns, (int, np.integer))
    levels = None if quantiles is None else np.atleast_1d(quantiles).tolist()
    if table.index is None:
        return _plain_table(table.library, values, names, flat, levels)
    if index is None:
        index = continue_index(table.index, values.shape[-1 if flat else -2])
    return _pandas_table(table.library, index, values, names, flat, levels)


def _pandas_table(
    library: Any, index: Any, values: Any, names: Any, flat: bool, levels: list[float] | None
) -> Any:
    import pandas

    if levels is None:
        if flat:
            return library.Series(values, index, name=names[0])
        return library.DataFrame(values, index, names)
    if flat:
        return library.DataFrame(values.T, index, pandas.Index(levels, name="quantile"))
    each = names.repeat(len(levels))
    by_level = [each.get_level_values(number) for number in range(each.nlevels)]
    pairs = pandas.MultiIndex.from_arrays(
        [*by_level, levels * len(names)], names=[*names.names, "quantile"]
    )
    table = np.moveaxis(values, 0, -1).reshape(len(index), -1)
    return library.DataFrame(table, index, pairs)


def _plain_table(
    library: Any, values: np.ndarray, names: Sequence[str], flat: bool, levels: list[float] | None
) -> Any:
    import narwhals.stable.v2 as nw

    if levels is None and flat:
        return nw.new_series(names[0], values, backend=library).to_native()
    values = values[..., None] if flat else values
    if levels is None:
        columns = {name: values[:, k] for k, name in enumerate(names)}
    else:
        columns = {
            str(level) if flat else f"{name}_{level}": values[k, :, column]
            for column, name in enumerate(names)
            for k, level in enumerate(levels)
        }
    return nw.from_dict(columns, backend=library).to_native()
