"""Panels: several series in one table, as a list of series; and their forecasts as one table."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqframe.framing.checks import first_names
from seqframe.framing.dates import (
    check_dates,
    counts_rows,
    dates_after,
    dates_at,
    dates_of,
    is_clock,
    kind_of_index,
    steps_after,
)
from seqframe.framing.results import make_table
from seqframe.framing.tables import (
    Groups,
    Table,
    column_names,
    library_of,
    read_table,
    split_table,
)
from seqframe.rollout.histories import Histories

_SAMPLE = "sample"  # the column that numbers sample paths
_LAST_DATES = 64  # that tell the frequency of a series, so that series may share what is found


@dataclass(frozen=True)
class Panel:
    """Several series in one table.

    Attributes:
        whole: Table, as the user passed it.
        groups: Groups. The labels of the series, and their rows.
        tables: list of Table, one for each series, without labels.
        clock: name of the column that holds the dates; None if the index has them, or nothing.
    """

    whole: Table
    groups: Groups
    tables: list[Table]
    clock: str | None

    @property
    def labels(self) -> list[Hashable]:
        return self.groups.labels

    def match(self, other: "Panel") -> list[Table]:
        """Return the tables of another panel, in the order of these series."""
        places = {label: number for number, label in enumerate(other.labels)}
        missing = [label for label in self.labels if label not in places]
        if missing:
            shown = first_names(map(repr, missing))
            raise ValueError(
                "`future` must have rows of each series of the history. Received: a table of "
                f"{len(other.labels)} series without {shown}. Add their rows, or leave these "
                "series out of the history."
            )
        return [other.tables[places[label]] for label in self.labels]


def read_panel(
    value: Any, by: tuple[str, ...] | None, columns: Sequence[str] | None, name: str
) -> Panel | None:
    """Return a table that has the columns of labels `by` as a panel, and None for anything else.

    Args:
        value: what the user passed.
        by: names of the columns of labels.
        columns: names of the columns to read, if the table has them. None: all but the labels and
            a column of dates.
        name: name of the argument in errors.
    """
    table = read_table(value)
    names = column_names(table)
    if not by or names is None or not set(by) <= set(names):
        return None
    groups = split_table(table, by)[1]
    index, clock = _find_clock(table, names, {*by, *(columns or ())}, groups)
    check_dates(Table(np.empty(len(table)), (), index), name, groups.edges, groups.labels)
    wanted = [each for each in columns or () if each in names]
    wanted = wanted or [each for each in names if each not in (*by, clock)]
    features = table[:, [names.index(each) for each in wanted]]
    array, own, edges = features.to_numpy(name), features.labels, groups.edges
    tables = [
        Table(
            array[begin:end],
            features.columns,
            None if index is None else index[begin:end],
            own,
            table.library,
        )
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return Panel(table, groups, tables, clock)


def as_given(panel: Panel, future: Any, columns: Sequence[str] | None) -> Histories:
    """Return the series of a panel and their futures, which have a table of their own.

    The groups of the future are matched by their labels. Other groups than the panel's are left.
    """
    futures = None
    if future is not None:
        by = panel.groups.by or ()
        ahead = read_panel(future, by, columns, "future")
        if ahead is None:
            raise ValueError(
                f"`future` of a table with the columns {list(by)} must be a table with them too. "
                f"Received: {_described(future)}. Add them: rows are matched by their labels."
            )
        futures = panel.match(ahead)
    return Histories(panel.tables, futures, panel.labels, True, is_panel=True)


def _described(value: Any) -> str:
    names = column_names(value)
    kind = type(value).__name__
    return f"a {kind}" if names is None else f"a {kind} with the columns {names}"


def _find_clock(
    table: Table, names: list[str], used: set[str], groups: Groups
) -> tuple[Any, str | None]:
    """Return the dates of a panel as a pandas index, and the column that holds them, or None.

    Numbers in an index are steps if they repeat from series to series. Otherwise they count rows.
    """
    index = table.index
    if index is not None and (index.nlevels > 1 or is_clock(index)):
        return index, None
    dated = [
        (each, column)
        for place, each in enumerate(names)
        if each not in used and _holds_dates(column := table.column(place))
    ]
    if len(dated) > 1:
        raise ValueError(
            "A panel must have one column of dates, or dates in its index. Received: "
            f"{[each for each, _ in dated]}. Drop the others, or set the index."
        )
    if len(dated) == 1:
        return _as_index(*dated[0]), dated[0][0]
    if index is None or kind_of_index(index) != "number" or counts_rows(index):
        return None, None
    return (None if len(groups.labels) > 1 and index.is_unique else index), None


def _holds_dates(column: Any) -> bool:
    if isinstance(column, np.ndarray):
        return column.dtype.kind == "M"
    import narwhals.stable.v2 as nw

    return isinstance(column.dtype, nw.Datetime | nw.Date)


def _as_index(name: str, column: Any) -> Any:
    """Return a column of dates as a pandas index."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The dates of {name!r} are continued by pandas. Install it with `pip install pandas`, "
            "or leave the column out."
        ) from error
    zone = getattr(getattr(column, "dtype", None), "time_zone", None)
    values = column if isinstance(column, np.ndarray) else column.to_numpy()
    index = pandas.DatetimeIndex(values, name=name)
    if zone is None or index.tz is not None:
        return index
    return index.tz_localize("UTC").tz_convert(zone)


# --- A forecast of a panel.


def continue_panel(
    tables: Sequence[Table], futures: Sequence[Table] | None, steps: int, begins_with_history: bool
) -> list[Any] | None:
    """Return the dates of the steps after each series, or None if they are unknown.

    Series that lack dates take the frequency of the first one that has one.
    """
    if not any(is_clock(table.index) for table in tables):
        return _continue_numbers(tables, steps)
    kept: dict[Hashable, Any] = {}
    found = []
    for number, table in enumerate(tables):
        ahead = None if futures is None else futures[number]
        key = calendar_of(table), calendar_of(ahead)
        if begins_with_history:
            key = number, None
        elif key not in kept:
            table = last_dates(table)
        if key not in kept:
            kept[key] = dates_after(table, steps, ahead, begins_with_history)
        found.append(kept[key])
    unknown = [number for number, dates in enumerate(found) if dates is None]
    for other in tables if unknown else ():
        if dates_at(tables[unknown[0]].index, steps, other.index) is not None:
            for number in unknown:
                found[number] = dates_at(tables[number].index, steps, other.index)
            break
    return None if any(dates is None for dates in found) else found


def _continue_numbers(tables: Sequence[Table], steps: int) -> list[Any] | None:
    if any(table.index is None or table.index.nlevels > 1 for table in tables):
        return None
    found = [steps_after(table.index, steps) for table in tables]
    return None if any(index is None for index in found) else found


def calendar_of(table: Any) -> Hashable | None:
    """Return a value that tables with the same last dates share; None for one without dates."""
    index = dates_of(table)
    if index is None:
        return None
    return index.name, index.dtype, index.freq, index.asi8[-_LAST_DATES:].tobytes()


def last_dates(table: Table) -> Table:
    """Return the last rows of a table: they tell how its dates go on."""
    return table[-_LAST_DATES:]


def write_panel(
    panel: Panel,
    values: np.ndarray,
    names: Sequence[str],
    dates: list[Any] | None,
    levels: Sequence[float] | None,
    has_samples: bool,
) -> Any:
    """Return forecasts of the series of a panel as one table of its library.

    Args:
        panel: Panel, the histories.
        values: array `(series, paths or quantiles, steps, columns)`.
        names: names of the columns.
        dates: a pandas index of the steps of each series; None: unknown.
        levels: the quantiles. Each column and quantile is a column.
        has_samples: whether the paths are kept. Their rows follow each other.
    """
    series, paths, steps, _ = values.shape
    repeated = paths if has_samples else 1
    each = np.repeat(panel.groups.edges[:-1], steps * repeated)
    whole_names = column_names(panel.whole) or []
    columns: dict[Any, Any] = {
        name: panel.whole.column(whole_names.index(name))[each] for name in panel.groups.by or ()
    }
    index = None
    if dates is not None:
        index = dates[0].append(dates[1:])
        if repeated > 1:
            order = np.arange(series * steps).reshape(series, 1, steps)
            index = index[np.repeat(order, repeated, axis=1).ravel()]
        if panel.clock is not None:
            columns[panel.clock] = index
    if has_samples:
        columns[_SAMPLE] = np.tile(np.repeat(np.arange(paths), steps), series)
    for place, name in enumerate(names):
        if levels is None:
            columns[name] = values[..., place].reshape(-1)
        else:
            for number, level in enumerate(levels):
                columns[f"{name}_{level}"] = values[:, number, :, place].reshape(-1)
    return _as_table(panel, columns, None if panel.clock else index)


def check_names(panel: Panel, names: Sequence[str], has_samples: bool) -> None:
    """Raise if a forecast would have two columns of one name."""
    extra = [_SAMPLE] if has_samples else []
    own = [*(panel.groups.by or ()), *filter(None, [panel.clock]), *extra]
    twice = [name for name in names if name in own]
    if twice or len(set(own)) < len(own):
        raise ValueError(
            f"The forecast of a panel has the columns {own} beside the predicted columns. Received:"
            f" the names {list(names)} of these. Rename the column that repeats in the history."
        )


def _as_table(panel: Panel, columns: dict[Any, Any], index: Any) -> Any:
    """Return columns as a table of the panel's library."""
    clock = panel.clock
    if clock in columns and panel.whole.index is None:
        columns = {**columns, clock: _as_dates(panel, columns[clock])}
    plain = {name: _plain(column) for name, column in columns.items()}
    return make_table(plain, library_of(panel.whole), index)


def _plain(column: Any) -> Any:
    """Return a column of the library, without an index: the library would join it by its labels."""
    native = getattr(column, "to_native", lambda: column)()
    return getattr(native, "array", native)


def _as_dates(panel: Panel, index: Any) -> Any:
    """Return a pandas index as a column of dates like the panel's own."""
    import narwhals.stable.v2 as nw

    name = panel.clock or ""
    own = panel.whole.column((column_names(panel.whole) or []).index(name))
    zone = getattr(own.dtype, "time_zone", None)
    plain = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    values = plain.to_numpy().astype("M8[us]")  # not every library knows seconds
    column = nw.new_series(name, values, backend=panel.whole.library)
    if zone is not None:
        column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return column.cast(own.dtype)
