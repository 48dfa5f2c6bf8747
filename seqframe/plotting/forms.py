"""The forms that a history and its forecast come in, brought to one for pictures."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqframe.framing.dates import continue_index
from seqframe.framing.sequences import find_columns, split_sequences, to_array
from seqframe.framing.tables import Table, column_names, read_table


@dataclass
class Forecast:
    """A history and what was forecast of it, all as float arrays `(steps, features)`.

    Attributes:
        names: list of str. What the features are called; "" where one has no name.
        history: array. What was known.
        point: array, or None. The forecast, where it is a single one.
        paths: array `(paths, steps, features)`, or None.
        quantiles: dict of level to array.
        past: array `(steps of the history,)`: numbers or dates, of the time axis.
        ahead: array `(steps,)`: the same of the forecast.
        clock: str. What the time axis is called.
    """

    names: list[str]
    history: np.ndarray
    point: np.ndarray | None = None
    paths: np.ndarray | None = None
    quantiles: dict[float, np.ndarray] = field(default_factory=dict)
    past: np.ndarray = field(default_factory=lambda: np.empty(0))
    ahead: np.ndarray = field(default_factory=lambda: np.empty(0))
    clock: str = "step"


class ForecastReader:
    """Reads forecasts of one history, and what goes with them.

    Args:
        history: as of `Generator.forecast`: one sequence of numbers.
        forecast: what it returned for it.
        columns: which columns of the history are forecast, by name or position; None for what the
            forecast's own columns say, or all.

    Raises:
        TypeError: if several histories are given.
        ValueError: if the forecast is not of the history's features.
    """

    def __init__(self, history: Any, forecast: Any, columns: Any = None):
        if split_sequences(history)[0] is not history:
            raise TypeError(
                "`history` must be one sequence. Received: a list of several. Draw one at a time, "
                "as in `plot_forecast(histories[0], forecasts[0])`."
            )
        names = column_names(history)
        known = [_series_name(history)] if names is None else names
        self._raw = history
        self._table = _read_table(forecast, known)
        if columns is None and names is not None:
            columns = self._own_columns(forecast, names)
        if names is None:
            values = to_array(history, "history")
            self._row_shape = values.shape[1:]
        else:
            self._row_shape = (len(names),)
        width = int(np.prod(self._row_shape))
        chosen = None
        if columns is not None and self._row_shape:
            chosen = find_columns(columns, names, width, "columns")
        self._positions = np.arange(width) if chosen is None else np.atleast_1d(chosen)
        if names is None:
            values = values.reshape(len(values), width)[:, self._positions]
        else:
            values = _read_numbers(history, self._positions, chosen is None)
        self._history = values.astype(float)
        if len(known) != width:
            known = [f"feature {column}" for column in range(width)]
        self._names = [known[position] for position in self._positions]
        # A single column has no axis of features.
        self._rank = 1 if isinstance(chosen, int) else 1 + len(self._row_shape)

    def _own_columns(self, forecast: Any, known: list[str]) -> str | list[str] | None:
        """Return the columns of a history that a forecast says it is of, or None."""
        if self._table is None:
            return None
        names = list(dict.fromkeys(name for name, _ in self._table if name is not None))
        if self._table and not names:
            if len(known) == 1:
                return known[0]
            raise ValueError(
                "`columns` must name the column that quantiles are of, where they do not say it "
                f"themselves. Received: columns=None for a history with the columns {known}."
            )
        if not names or not set(names) <= set(known):
            return None
        return names if hasattr(forecast, "columns") else names[0]

    def read(self, forecast: Any, paths: Any, quantiles: Any, index: Any) -> Forecast:
        """Return all of a forecast; see `plot_forecast`."""
        found = Forecast(self._names, self._history)
        if self._table is not None:
            self._read_columns(found, forecast)
        else:
            array = np.asarray(forecast, float)
            if array.ndim == self._rank:
                found.point = self.steps(array, "forecast")
            elif quantiles is None:
                found.paths = self._several(array, "forecast")
            else:
                several = self._several(array, "forecast")
                levels = np.atleast_1d(quantiles).astype(float).tolist()
                if len(levels) != len(several):
                    raise ValueError(
                        "`quantiles` must be the levels of the forecast's first axis. Received: "
                        f"{len(levels)} levels for a forecast of shape {array.shape}."
                    )
                found.quantiles = dict(zip(levels, several, strict=True))
        if quantiles is not None and not found.quantiles:
            raise ValueError(
                "`quantiles` says of which levels a forecast is that is an array of quantiles. "
                f"Received: quantiles={quantiles!r} for another forecast. Leave it out."
            )
        if paths is not None:
            found.paths = self._several(np.asarray(paths, float), "paths")
        steps = next(len(part) for part in self._parts(found))
        for name, part in ("paths", found.paths), ("forecast", found.point):
            if part is not None and part.shape[-2] != steps:
                raise ValueError(
                    f"`{name}` must have as many steps as the rest. Received: {part.shape[-2]} "
                    f"steps beside {steps}."
                )
        found.past, found.ahead, found.clock = time_axis(self._raw, forecast, index, steps)
        return found

    def steps(self, values: Any, name: str, least: int | None = None) -> np.ndarray:
        """Return values of some steps as a float array `(steps, features)`.

        Args:
            values: array, Series or DataFrame, of the features that are forecast or of all that the
                history has.
            name: str. What to call them in an error.
            least: int, or None. How many steps they must have.
        """
        names, features = column_names(values), len(self._positions)
        if names is not None and set(self._names) <= set(names):
            values = _take_columns(values, [names.index(name) for name in self._names])
        array = np.asarray(values, float)
        flat = array.reshape(len(array), math.prod(array.shape[1:])) if array.ndim else array
        if flat.shape[1:] == (int(np.prod(self._row_shape)),) and features < flat.shape[1]:
            flat = flat[:, self._positions]
        if flat.shape[1:] != (features,):
            raise ValueError(
                f"`{name}` must be of the {features} features that are drawn of the history. "
                f"Received: shape {array.shape}. Name the columns it is of, by `columns`."
            )
        if least is not None and len(array) != least:
            raise ValueError(
                f"`{name}` must have the {least} steps of the forecast. Received: {len(array)}."
            )
        return flat

    def _several(self, array: np.ndarray, name: str) -> np.ndarray:
        if array.ndim != self._rank + 1 or not len(array):
            raise ValueError(
                f"`{name}` must have {self._rank} or {self._rank + 1} axes: steps and features, "
                "after one for sample paths or quantiles where there are several. Received: shape "
                f"{array.shape}. Where a history has more columns than the forecast, name those "
                "that it is of, by `columns`."
            )
        return np.stack([self.steps(part, name) for part in array])

    def _read_columns(self, found: Forecast, forecast: Any) -> None:
        """Read a table: of features, or of quantiles of them."""
        places = {column: k for k, column in enumerate(self._table or [])}
        levels = [
            level for level in dict.fromkeys(level for _, level in places) if level is not None
        ]
        if not levels:
            found.point = self.steps(forecast, "forecast")
            return
        values = forecast.to_numpy().astype(float)
        names = list(dict.fromkeys(name for name, _ in places))
        if set(self._names) <= set(names):
            names = [*self._names]
        for level in levels:
            columns = [places[name, level] for name in names]
            found.quantiles[level] = self.steps(values[:, columns], "forecast")

    @staticmethod
    def _parts(found: Forecast) -> list[np.ndarray]:
        several = [] if found.paths is None else [found.paths[0]]
        point = [] if found.point is None else [found.point]
        return [*point, *found.quantiles.values(), *several]


def _series_name(series: Any) -> str:
    name = getattr(series, "name", None)
    return "" if name is None else str(name)


def _take_columns(table: Any, positions: Any) -> Any:
    return getattr(table, "iloc", table)[:, [int(position) for position in positions]]


def _read_numbers(history: Any, positions: np.ndarray, is_all: bool) -> np.ndarray:
    """Return columns of a table as an array; what the others hold does not matter."""
    if not is_all:
        return to_array(_take_columns(history, positions), "history")
    try:
        return to_array(history, "history")
    except TypeError as error:
        raise TypeError(
            f"{error} Or name the columns that the forecast is of, by `columns`."
        ) from None


def _read_table(forecast: Any, known: list[str]) -> list[tuple[str | None, float | None]] | None:
    """Return the feature and the level of each column of a table; None for an array.

    The feature is None where it is not said, the level where a column is of no quantile.
    """
    table = read_table(forecast)
    if not isinstance(table, Table):
        return None
    if table.ndim == 1:
        return [(_series_name(forecast), None)]
    columns = list(table.names)
    if table.index is not None:
        if forecast.columns.names[-1] != "quantile":
            return [(str(column), None) for column in columns]
        if not isinstance(columns[0], tuple):
            return [(None, float(level)) for level in columns]
        # A name of several levels is a tuple of them.
        return [(str(c[0] if len(c) == 2 else c[:-1]), float(c[-1])) for c in columns]
    if set(columns) <= set(known):
        return [(column, None) for column in columns]
    return [_name_and_level(column, known) for column in columns]


def _name_and_level(column: str, known: list[str]) -> tuple[str | None, float | None]:
    """Return what a column of polars is of: "0.9" and "price_0.9" are of quantiles."""
    name, _, level = column.rpartition("_")
    if not name or name in known:
        try:
            return name or None, float(level)
        except ValueError:
            pass
    return column, None


def time_axis(
    history: Any, forecast: Any, index: Any, steps: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return where a history and its forecast lie in time, and what that is called.

    Args:
        history: with an index, or without.
        forecast: with an index, or without.
        index: array of numbers or dates, of the history or of both; None for the index they have.
        steps: int. Of the forecast.

    Returns:
        tuple of arrays of numbers or of datetime64, and a name.

    >>> time_axis([3, 4, 5], [6, 7], None, 2)
    (array([0, 1, 2]), array([3, 4]), 'step')
    >>> time_axis([3, 4, 5], [6, 7], [1999, 2000, 2001], 2)
    (array([1999, 2000, 2001]), array([2002, 2003]), 'step')
    """
    size = len(history)
    if index is not None:
        times = _plottable(index)
        if times is None or len(times) not in (size, size + steps):
            raise ValueError(
                "`index` must be one number or date for each step of the history, or of the "
                f"history and the forecast. Received: {len(index)} for {size} and {steps} steps."
            )
        past, ahead = times[:size], times[size:]
        if not len(ahead):
            one = np.timedelta64(1, "D") if is_date(past) else 1
            distance = past[-1] - past[-2] if size > 1 else one
            ahead = past[-1] + distance * np.arange(1, steps + 1)
        return past, ahead, _clock_name(index, past)
    own = getattr(history, "index", None)
    own = own if hasattr(own, "to_numpy") else None
    if own is not None:
        after = getattr(forecast, "index", None)
        after = after if hasattr(after, "to_numpy") else continue_index(own, steps)
        before, then = _plottable(own), _plottable(after)
        if before is not None and then is not None and is_date(before) == is_date(then):
            return before, then, _clock_name(own, before)
    return np.arange(size), size + np.arange(steps), "step"


def _clock_name(index: Any, times: np.ndarray) -> str:
    """Return what a time axis is called; dates speak for themselves."""
    name = getattr(index, "name", None)
    return str(name) if name is not None else ("" if is_date(times) else "step")


def is_date(times: np.ndarray) -> bool:
    """Whether a time axis is of dates rather than of numbers."""
    return times.dtype.kind == "M"


def _plottable(index: Any) -> np.ndarray | None:
    """Return an index as numbers or dates, or None where it is neither."""
    if hasattr(index, "to_timestamp"):  # periods
        index = index.to_timestamp()
    if getattr(index, "tz", None) is not None:
        index = index.tz_localize(None)  # the time on the clock there
    times = np.asarray(index)
    if times.dtype.kind == "O":
        try:
            times = times.astype("datetime64[us]")
        except (ValueError, TypeError):
            return None
    if times.dtype.kind == "m":
        return times / np.timedelta64(1, "s")
    return times if times.dtype.kind in "iufM" and times.ndim == 1 else None
