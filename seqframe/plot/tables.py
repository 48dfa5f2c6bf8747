"""Read arrays and tables as numbers, and find the columns that a forecast is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import narwhals as nw
    from narwhals.typing import IntoDataFrame, IntoSeries
    from numpy.typing import ArrayLike

    Data = ArrayLike | IntoDataFrame | IntoSeries
    Columns = str | int | Sequence[str | int]


def as_table(data: "Data") -> "nw.DataFrame[Any] | nw.Series[Any] | None":
    """Return a DataFrame or a Series with narwhals' interface, or None for other data."""
    if isinstance(data, (np.ndarray, list, tuple)):
        return None
    import narwhals as nw

    table = nw.from_native(data, pass_through=True, eager_only=True, allow_series=True)
    return table if isinstance(table, (nw.DataFrame, nw.Series)) else None


def column_names(data: "Data") -> list[str] | None:
    """Return the column names of a DataFrame, or None for other data.

    >>> import pandas
    >>> column_names(pandas.DataFrame([[1, 2]], columns=[["a", "a"], [0.1, 0.9]]))
    ['a_0.1', 'a_0.9']
    """
    columns = getattr(as_table(data), "columns", None)
    if columns is None:
        return None
    return ["_".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in columns]


def numbers_of(data: "Data", argument: str, positions: Sequence[int] | None = None) -> np.ndarray:
    """Return data, or some columns of a DataFrame, as a float array."""
    table = as_table(data)
    if not hasattr(table, "columns"):
        array = np.asanyarray(data if table is None else table.to_numpy())
        if array.dtype.kind not in "biuf":
            raise TypeError(f"`{argument}` must hold numbers. Received: dtype={array.dtype}.")
        return np.ma.filled(array.astype(float), np.nan)
    if positions is not None:
        table = table[:, list(positions)]
    wrong = [
        name for name, d in table.schema.items() if not (d.is_numeric() or str(d) == "Boolean")
    ]
    if wrong:
        raise TypeError(
            f"`{argument}` must hold numbers. Received: a table with the columns {wrong}. Name the "
            "columns that the forecast is of, by `columns`."
        )
    return np.column_stack([column.to_numpy().astype(float) for column in table.iter_columns()])


@dataclass(frozen=True)
class Features:
    """The columns of a history that a forecast is of.

    Attributes:
        known: names of all columns of the history; "" if the only one has no name.
        positions: the forecast's columns among these.
        ndim: number of axes of a single forecast: 1 for `(steps,)`, 2 for `(steps, features)`.
    """

    known: list[str]
    positions: list[int]
    ndim: int

    @property
    def names(self) -> list[str]:
        return [self.known[position] for position in self.positions]

    def read(self, data: "Data", argument: str, steps: int | None = None) -> np.ndarray:
        """Return data of these columns, or of all, as an array `(steps, features)`."""
        names = column_names(data) or []
        is_named = set(self.names) <= set(names)
        array = numbers_of(data, argument, list(map(names.index, self.names)) if is_named else None)
        if array.ndim == 1:
            array = array[:, None]
        if len(self.positions) < len(self.known) and array.shape[1:] == (len(self.known),):
            array = array[:, self.positions]
        if array.shape[1:] != (len(self.positions),):
            raise ValueError(
                f"`{argument}` must have the {len(self.positions)} features that are drawn. "
                f"Received: shape {array.shape}. Name the forecast's columns by `columns`."
            )
        if steps is not None and len(array) != steps:
            raise ValueError(
                f"`{argument}` must have the {steps} steps of the forecast. Received: {len(array)}."
            )
        return array

    def read_several(self, data: "Data", argument: str) -> np.ndarray:
        """Return sample paths or quantiles as an array `(several, steps, features)`."""
        array = numbers_of(data, argument)
        if array.ndim != self.ndim + 1 or not len(array):
            raise ValueError(
                f"`{argument}` must have {self.ndim} or {self.ndim + 1} axes. Received: shape "
                f"{array.shape}. If the history has other columns too, name the forecast's by "
                "`columns`."
            )
        return np.stack([self.read(part, argument) for part in array])


def find_features(history: "Data", forecast: "Data", columns: "Columns | None") -> Features:
    """Return the columns of a history that a forecast is of: `columns`, or those it names."""
    is_list = isinstance(history, (list, tuple)) and any(np.ndim(item) for item in history)
    if is_list or isinstance(history, Mapping):
        raise TypeError(
            "`history` must be one sequence. Received: several. Draw one at a time, as in "
            "`plot_forecast(histories[0], forecasts[0])`."
        )
    known, shape = column_names(history), np.shape(history)
    if len(shape) not in (1, 2):
        raise ValueError(
            f"`history` must have the shape (length,) or (length, features). Received: {shape}."
        )
    if known is not None:
        columns = _own_columns(forecast, known) if columns is None else columns
    elif shape[1:] in ((), (1,)):
        known = [_series_name(history)]
    else:
        known = [f"feature {k}" for k in range(shape[1])]
    if columns is None or len(shape) == 1:
        return Features(known, list(range(len(known))), len(shape))
    if isinstance(columns, (str, int, np.integer)):
        return Features(known, [_position(columns, known)], ndim=1)
    return Features(known, [_position(column, known) for column in columns], ndim=2)


def _series_name(data: "Data") -> str:
    name = getattr(as_table(data), "name", None)
    return "" if name is None else str(name)


def _position(column: str | int, known: list[str]) -> int:
    if column in known:
        return known.index(column)
    if isinstance(column, str) or not -len(known) <= column < len(known):
        raise ValueError(
            f"`columns` must be names in {known}, or positions in 0 … {len(known) - 1}. "
            f"Received: {column!r}."
        )
    return int(column) % len(known)


def _own_columns(forecast: "Data", known: list[str]) -> "Columns | None":
    """Return the history's columns that a table names itself, or None."""
    if column_names(forecast) is None:
        name = _series_name(forecast)
        return name if name in known else None
    names = list(dict.fromkeys(name for name, _ in quantile_labels(forecast, known)))
    if names == [None] and len(known) > 1:
        raise ValueError(
            "`columns` must name the column that the quantiles are of. Received: columns=None for "
            f"a history with the columns {known}."
        )
    if names == [None]:
        return known[0]
    return names if set(names) <= set(known) else None


def quantile_labels(forecast: "Data", known: list[str]) -> list[tuple[str | None, float | None]]:
    """Return the feature and the quantile of each column of a DataFrame, as far as names tell.

    >>> import pandas
    >>> quantile_labels(pandas.DataFrame([[1, 2]], columns=["price_0.1", "price"]), ["price"])
    [('price', 0.1), ('price', None)]
    """
    return [_quantile_label(name, known) for name in column_names(forecast) or []]


def _quantile_label(column: str, known: list[str]) -> tuple[str | None, float | None]:
    name, _, level = column.rpartition("_")
    if column not in known and (not name or name in known):
        try:
            return name or None, float(level)
        except ValueError:
            pass
    return column, None
