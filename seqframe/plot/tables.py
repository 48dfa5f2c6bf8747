"""Read arrays and tables as numbers, and find the columns that a forecast is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import narwhals as nw

#: Numbers as users have them: an array, a list, or a DataFrame or Series of any library.
Data = Any

Columns = str | int | Sequence[str | int]

#: The feature and the quantile of a column. Either is None if the column's name does not tell.
Label = tuple[str | None, float | None]


def as_table(data: Data) -> "nw.DataFrame[Any] | None":
    """Return a DataFrame or a Series with narwhals' interface, or None for other data."""
    if isinstance(data, (np.ndarray, list, tuple)):
        return None
    import narwhals as nw

    table = nw.from_native(data, pass_through=True, eager_only=True, allow_series=True)
    if isinstance(table, nw.Series):
        return table.alias("" if table.name is None else table.name).to_frame()
    return table if isinstance(table, nw.DataFrame) else None


def column_names(data: Data) -> list[str]:
    """Return the column names of a DataFrame or a Series; none for other data.

    >>> import pandas
    >>> column_names(pandas.DataFrame([[1, 2]], columns=[["a", "a"], [0.1, 0.9]]))
    ['a_0.1', 'a_0.9']
    """
    table = as_table(data)
    columns: list[Any] = [] if table is None else table.columns
    return ["_".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in columns]


def numbers_of(data: Data, argument: str, positions: Sequence[int] | None = None) -> np.ndarray:
    """Return an array, or some columns of a table, as floats."""
    table = as_table(data)
    if table is None:
        array = np.asanyarray(data)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"`{argument}` must hold numbers. Received: dtype={array.dtype}.")
        return np.ma.filled(array.astype(float), np.nan)
    if positions is not None:
        table = table[:, list(positions)]
    wrong = [c for c, d in table.schema.items() if not (d.is_numeric() or str(d) == "Boolean")]
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

    def read(self, data: Data, argument: str, steps: int | None = None) -> np.ndarray:
        """Return data of these columns, or of all, as an array `(steps, features)`."""
        names = column_names(data)
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

    def read_several(self, data: Data, argument: str) -> np.ndarray:
        """Return sample paths or quantiles as an array `(several, steps, features)`."""
        array = numbers_of(data, argument)
        if array.ndim != self.ndim + 1 or not len(array):
            raise ValueError(
                f"`{argument}` must have {self.ndim} or {self.ndim + 1} axes. Received: shape "
                f"{array.shape}. If the history has other columns too, name the forecast's by "
                "`columns`."
            )
        return np.stack([self.read(part, argument) for part in array])


def find_features(history: Data, forecast: Data, columns: Columns | None) -> Features:
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
    if known and columns is None:
        columns = _own_columns(forecast, known)
    if not known:
        width = shape[1] if len(shape) == 2 else 1
        known = [f"feature {k}" for k in range(width)] if width > 1 else [""]
    if columns is None or len(shape) == 1:
        return Features(known, list(range(len(known))), len(shape))
    if isinstance(columns, (str, int, np.integer)):
        return Features(known, [_position(columns, known)], ndim=1)
    return Features(known, [_position(column, known) for column in columns], ndim=2)


def _own_columns(forecast: Data, known: list[str]) -> Columns | None:
    """Return the history's columns that a table names itself, or None."""
    names = [name for name, _ in quantile_labels(forecast, known)]
    if None in names and len(known) > 1:
        raise ValueError(
            "`columns` must name the column that the quantiles are of. Received: columns=None for "
            f"a history with the columns {known}."
        )
    if None in names:
        return known[0]
    found = [name for name in dict.fromkeys(names) if name in known]
    if not names or len(found) < len(set(names)):
        return None
    return found[0] if np.ndim(forecast) == 1 else found


def _position(column: str | int, known: list[str]) -> int:
    if isinstance(column, str) and column in known:
        return known.index(column)
    if isinstance(column, str) or not -len(known) <= column < len(known):
        raise ValueError(
            f"`columns` must be names in {known}, or positions in 0 … {len(known) - 1}. "
            f"Received: {column!r}."
        )
    return int(column) % len(known)


def quantile_labels(forecast: Data, known: list[str]) -> list[Label]:
    """Return the label of each column of a forecast; none if the forecast is no table.

    >>> import pandas
    >>> quantile_labels(pandas.DataFrame([[1, 2]], columns=["price_0.1", "price"]), ["price"])
    [('price', 0.1), ('price', None)]
    """
    return [_label(name, known) for name in column_names(forecast)]


def _label(column: str, known: list[str]) -> Label:
    name, _, level = column.rpartition("_")
    try:
        quantile = float(level)
    except ValueError:
        return column, None
    is_quantile = column not in known and 0 <= quantile <= 1 and name in ("", *known)
    return (name or None, quantile) if is_quantile else (column, None)
