"""Draw a forecast, from arrays or tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.aliases import Columns
from seqframe.framing.checks import check_integer
from seqframe.framing.dates import continue_index, index_of
from seqframe.framing.tables import Table, check_unmasked, read_table
from seqframe.plot.bands import Edges, Line, interval_bands, path_bands, quantile_lines
from seqframe.plot.forecasts import TimeAxis, draw_forecast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The user's values: an array, a list, or a DataFrame or Series of any library.
Values = Any

#: The name and the quantile of a column. Either is None if the table does not tell.
_Label = tuple[str | None, float | None]

_HISTORY, _LEAST_HISTORY = 2, 12  # steps of history: twice as many as of the forecast


def plot_forecast(
    history: Values,
    forecast: Values,
    *,
    paths: Values | None = None,
    quantiles: Sequence[float] | None = None,
    intervals: tuple[Values, Values] | Mapping[float | str, tuple[Values, Values]] | None = None,
    actual: Values | None = None,
    columns: Columns | None = None,
    index: Values | None = None,
    num_history: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a forecast after its history, with its uncertainty and the actual values.

    A thin line joins the history to the forecast if no step lies between them.

    Args:
        history: array `(length,)` or `(length, features)`, DataFrame or Series: the history of
            `Generator.forecast`, or its end. An index of dates or numbers becomes the time axis.
            Columns that are not drawn may hold anything.
        forecast: the result of `Generator.forecast`: an array `(steps,)` or `(steps, features)`, a
            Series or a DataFrame. Sample paths and quantiles have one more axis in front. Quantiles
            may also be a DataFrame. Sample paths are drawn as their median, with bands that hold 50
            % and 90 % of them.
        paths: array `(num_samples, steps, …)`. Sample paths to draw with a single forecast.
        quantiles: list of float in [0, 1]. The levels of an array `(quantiles, …)`. Opposite
            levels, such as 0.1 and 0.9, make a band; 0.5 makes the line.
        intervals: prediction intervals: a tuple `(lower, upper)`, as `Backtest.interval` returns
            it. Or a dict of such tuples, by coverage in (0, 1) or by label. They are hatched if
            shades do not suffice to distinguish the bands.
        actual: array, Series or DataFrame. The actual values, for as many steps as are known.
        columns: name or position of the history's column that is forecast, or a list of these.
            None: the columns that the forecast names, or all.
        index: array of numbers or dates `(length,)` or `(length + steps,)`. The time axis, for a
            history without an index.
        num_history: int ≥ 0. Steps of history to draw. None: twice as many as the forecast has,
            and at least 12.
        ax: matplotlib.axes.Axes to draw on; None makes a figure.

    Returns:
        matplotlib.axes.Axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if there are several histories, or the values are not numbers.
        ValueError: if shapes do not fit together, or it is unclear which column is forecast.

    Example:

    >>> import matplotlib
    >>> from seqframe import plot_forecast
    >>> history, forecast = np.sin(np.arange(40.0)), np.sin(np.arange(40.0, 50.0))
    >>> wide, narrow = (forecast - 0.2, forecast + 0.2), (forecast - 0.1, forecast + 0.1)
    >>> ax = plot_forecast(history, forecast, intervals={0.9: wide, 0.5: narrow})
    >>> for text in ax.get_legend().get_texts():
    ...     print(text.get_text())
    history
    90 % prediction interval
    50 % prediction interval
    forecast
    """
    is_list = isinstance(history, (list, tuple)) and any(np.ndim(item) for item in history)
    if is_list or isinstance(history, Mapping):
        raise TypeError(
            "`history` must be one sequence. Received: several. Draw one at a time, as in "
            "`plot_forecast(histories[0], forecasts[0])`."
        )
    history, forecast = read_table(history), read_table(forecast)
    drawn = _find_columns(history, forecast, columns)
    sampled, by_level = None, drawn.read_quantiles(forecast, quantiles)
    lines, bands = quantile_lines(by_level)
    if not by_level and (isinstance(forecast, Table) or np.ndim(forecast) <= drawn.ndim):
        lines = [Line("forecast", drawn.read(forecast, "forecast"))]
    elif not by_level:
        sampled = drawn.read(forecast, "forecast", is_several=True)
        lines = [Line("median", np.median(sampled, axis=0))]
    steps = len(lines[0].values if lines else bands[0].lower)
    if paths is not None:
        sampled = drawn.read(paths, "paths", steps, is_several=True)
    if sampled is not None:
        bands += path_bands(sampled)
    if intervals is not None:
        bands += interval_bands(drawn.read_intervals(intervals, steps), hatch=bool(bands))
    seen = None if actual is None else drawn.read(actual, "actual")
    if seen is not None and len(seen) > steps:
        raise ValueError(
            f"`actual` must have at most the {steps} steps of the forecast. Received: {len(seen)}. "
            f"Shorten it, as in `actual[:{steps}]`."
        )
    shown = max(_HISTORY * steps, _LEAST_HISTORY) if num_history is None else num_history
    first = max(len(history) - check_integer("num_history", shown, 0), 0)
    past, ahead, label = _find_times(history, forecast, index, steps)
    times = TimeAxis(past[first:], ahead, label)
    known = drawn.read(history, "history")[first:]
    return draw_forecast(times, drawn.names, known, lines, bands, seen, ax)


@dataclass(frozen=True)
class _DrawnColumns:
    """The forecast columns of a history.

    Attributes:
        known: names of all columns of the history; "" if the only one has no name.
        places: the forecast's columns among these.
        ndim: number of axes of a single forecast: 1 for `(steps,)`, 2 for `(steps, features)`.
    """

    known: list[str]
    places: list[int]
    ndim: int

    @property
    def names(self) -> list[str]:
        return [self.known[place] for place in self.places]

    def read(
        self, values: Values, argument: str, steps: int | None = None, is_several: bool = False
    ) -> np.ndarray:
        """Return values of these columns as an array `(…, steps, columns)`."""
        values = read_table(values)
        names = _names(values)
        if set(self.names) <= set(names) and values.ndim == 2:
            values = values[:, [names.index(name) for name in self.names]]
        array = _to_floats(values, argument)
        if array.ndim == 1 + is_several:
            array = array[..., None]
        has_all = array.shape[-1:] == (len(self.known),)
        if has_all and len(self.places) < len(self.known):
            array = array[..., self.places]
        if array.ndim != 2 + is_several or array.shape[-1] != len(self.places):
            axes = "samples, steps" if is_several else "steps"
            raise ValueError(
                f"`{argument}` must have the shape ({axes}) or ({axes}, {len(self.places)}). "
                f"Received: shape {array.shape}. Choose the drawn features by `columns`."
            )
        if steps not in (None, found := array.shape[-2]):
            raise ValueError(
                f"`{argument}` must have the {steps} steps of the forecast. Received: {found}."
            )
        return array

    def read_quantiles(
        self, forecast: Values, levels: Sequence[float] | None
    ) -> dict[float, np.ndarray]:
        """Return the quantiles by their levels; none if the forecast is something else."""
        places = {label: k for k, label in enumerate(_labels(forecast, self.known))}
        found = dict.fromkeys(level for _, level in places if level is not None)
        if found:
            is_unnamed = len(self.names) == 1 and all(name is None for name, _ in places)
            names = [None] if is_unnamed else self.names
            if not all((name, level) in places for name in names for level in found):
                raise ValueError(
                    "`columns` must be columns for which the forecast has all quantiles. Received: "
                    f"{self.names}."
                )
            array = _to_floats(forecast, "forecast")
            return {level: array[:, [places[name, level] for name in names]] for level in found}
        if levels is None:
            return {}
        levels = np.atleast_1d(levels).astype(float).tolist()
        if places or np.ndim(forecast) <= self.ndim or len(forecast) != len(levels):
            raise ValueError(
                "`quantiles` must hold one level for each entry of the first axis of a forecast. "
                f"Received: {len(levels)} levels for {len(forecast)} entries. Leave it out if the "
                "forecast does not hold quantiles."
            )
        several = self.read(forecast, "forecast", is_several=True)
        return dict(zip(levels, several, strict=True))

    def read_intervals(self, intervals: Any, steps: int) -> dict[float | str, Edges]:
        """Return the edges of each interval by its coverage or label."""
        named = intervals if isinstance(intervals, Mapping) else {"prediction interval": intervals}
        found: dict[float | str, Edges] = {}
        for name, edges in named.items():
            if not isinstance(edges, (tuple, list)) or len(edges) != 2:
                raise ValueError(
                    "`intervals` must be a tuple (lower, upper), or a dict of coverages or labels "
                    f"to such tuples. Received: {type(edges).__name__}."
                )
            lower, upper = (self.read(edge, "intervals", steps) for edge in edges)
            found[name] = (lower, upper)
        return found


def _find_columns(history: Values, forecast: Values, columns: Columns | None) -> _DrawnColumns:
    """Return the forecast columns of a history: `columns`, or the names in the forecast."""
    ndim = history.ndim if isinstance(history, Table) else np.ndim(history)
    if ndim not in (1, 2):
        raise ValueError(
            "`history` must have the shape (length,) or (length, features). Received: "
            f"{np.shape(history)}."
        )
    known = _names(history)
    if not known:
        width = np.shape(history)[1] if ndim == 2 else 1
        known = [f"feature {k}" for k in range(width)] if width > 1 else [""]
    if columns is None:
        columns = _named_columns(forecast, known)
    if columns is None or ndim == 1:
        return _DrawnColumns(known, list(range(len(known))), ndim)
    if isinstance(columns, (str, int, np.integer)):
        return _DrawnColumns(known, [_place(columns, known)], ndim=1)
    return _DrawnColumns(known, [_place(column, known) for column in columns], ndim=2)


def _named_columns(forecast: Values, known: list[str]) -> list[str] | None:
    """Return the history's columns that a table names itself, or None."""
    names = list(dict.fromkeys(name for name, _ in _labels(forecast, known)))
    if None in names and len(known) > 1:
        raise ValueError(
            "`columns` must name the column of the quantiles. Received: columns=None for "
            f"a history with the columns {known}."
        )
    found = [name for name in names if name in known]
    return found if found and len(found) == len(names) else None


def _place(column: str | int, known: list[str]) -> int:
    try:
        return known.index(column) if isinstance(column, str) else range(len(known))[column]
    except (ValueError, IndexError):
        raise ValueError(
            f"`columns` must be names in {known}, or positions in 0 … {len(known) - 1}. "
            f"Received: {column!r}."
        ) from None


def _names(values: Values) -> list[str]:
    """Return the names of a table's columns, with levels joined by "_"; none for other values."""
    names = values.names if isinstance(values, Table) else ()
    joined = ("_".join(map(str, name)) if isinstance(name, tuple) else name for name in names)
    return ["" if name is None else str(name) for name in joined]


def _labels(forecast: Values, known: list[str]) -> list[_Label]:
    """Return the label of each column of a forecast; none if the forecast is no table.

    >>> import pandas
    >>> table = pandas.DataFrame([[1, 2]], columns=["price_0.1", "price"])
    >>> _labels(read_table(table), ["price"])
    [('price', 0.1), ('price', None)]
    """
    labels: list[_Label] = []
    for column in _names(forecast):
        name, _, level = column.rpartition("_")
        try:
            quantile = float(level)
        except ValueError:
            quantile = -1.0
        is_quantile = column not in known and 0 <= quantile <= 1 and name in ("", *known)
        labels.append((name or None, quantile) if is_quantile else (column, None))
    return labels


def _to_floats(values: Values, argument: str) -> np.ndarray:
    array = values.to_numpy(argument) if isinstance(values, Table) else np.asanyarray(values)
    if isinstance(values, (list, tuple)):
        for each in values:  # NumPy drops the masks of arrays in a list
            check_unmasked(each, argument)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{argument}` must hold numbers. Received: dtype={array.dtype}.")
    return np.asarray(np.ma.filled(array.astype(float), np.nan))


# --- The time axis.


def _find_times(
    history: Values, forecast: Values, index: Values | None, steps: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the times of the history, the times of the forecast, and their label.

    Steps are counted if neither `index` nor the tables have times.

    >>> _find_times([3, 4, 5], [6, 7], [1999, 2000, 2001], 2)
    (array([1999, 2000, 2001]), array([2002, 2003]), 'step')
    """
    size = len(history)
    check_unmasked(index, "index")
    if index is not None and len(index) not in (size, size + steps):
        raise ValueError(
            "`index` must hold one number or date for each step of the history, or of the history "
            f"and the forecast. Received: {len(index)} for {size} and {steps} steps."
        )
    given = index_of(history) if index is None else index[:size]
    after = index_of(forecast) if index is None else index[size:]
    past = _to_times(given)
    if past is not None:
        is_told = after is not None and len(after)
        ahead = _to_times(after) if is_told else _continue(given, past, steps)
        is_date = past.dtype.kind == "M"
        if ahead is not None and (ahead.dtype.kind == "M") == is_date:
            name = getattr(given, "name", None)
            label = str(name) if name is not None else "" if is_date else "step"
            return past, ahead, label
    return np.arange(size), size + np.arange(steps), "step"


def _to_times(index: Values) -> np.ndarray | None:
    """Return an index as an array of numbers or dates, or None if it holds something else."""
    if hasattr(index, "to_timestamp"):  # periods
        index = index.to_timestamp()
    if getattr(index, "tz", None) is not None:
        index = index.tz_localize(None)  # shows the local time
    times = np.asarray(index)
    if times.dtype.kind == "O":
        try:
            times = times.astype("datetime64[us]")
        except (ValueError, TypeError):
            return None
    if times.dtype.kind == "m":
        times = times / np.timedelta64(1, "s")
    return times if times.dtype.kind in "iufM" and times.ndim == 1 else None


def _continue(index: Values, times: np.ndarray, steps: int) -> np.ndarray:
    """Return the times of the steps after an index; uneven ones continue by their median step."""
    is_date = times.dtype.kind == "M"
    if is_date and hasattr(index, "inferred_type"):  # pandas knows months and business days
        ahead = _to_times(continue_index(index, steps))
        if ahead is not None and ahead.dtype.kind == "M":
            return ahead
    apart = np.sort(np.diff(times))
    usual = np.timedelta64(1, "D") if is_date else 1
    if len(apart):
        usual = apart[(len(apart) - 1) // 2]
    return np.asarray(times[-1] + usual * np.arange(1, steps + 1))
