"""Tables: a DataFrame or Series of any library becomes an array with names, labels and an index.

This is the only place that opens a table. pandas, polars, PyArrow, modin and cuDF are read through
narwhals, which is imported when the first table comes.
"""

import math
import numbers
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from seqframe.framing.stores import ParquetTable, Store

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw

#: A column as a table holds it.
Column: TypeAlias = "np.ndarray | nw.Series[Any]"

_NO_TABLES = (np.ndarray, np.generic, Store, list, tuple, str, bytes, numbers.Number, type(None))
_NUMBERS = "biufc"  # NumPy's kinds of numbers
#: What gives a lazy table its rows, by library.
_COMPUTED = {
    "polars": "table.collect()",
    "dask": "table.compute()",
    "pyspark": "table.toPandas()",
}
_LAZY_MODULES = ("dask.dataframe", "dask_expr", "pyspark.sql")
_MANY_ROWS = 10_000  # of a table, from which it is faster to leave out columns than to copy


@dataclass  # frozen, it would take twice as long to make
class Table:
    """A table that was read. Columns that nobody asks for are never converted.

    Attributes:
        data: array `(rows, columns)`; `(rows,)` for a Series. Or a DataFrame of any library.
        columns: tuple of str. The names of the columns; a Series has none.
        index: the pandas index, or None.
        names: the column names of `data` as the library has them, an Index for pandas; a list of
            one for a Series.
        library: the module that the table comes from, or None.
        places: list of int. Which columns of a DataFrame are in the table; None: all.
    """

    data: Any
    columns: tuple[str, ...]
    index: Any = None
    names: Any = None
    library: ModuleType | None = None
    places: list[int] | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def ndim(self) -> int:
        """2, or 1 for a Series."""
        return self.data.ndim if isinstance(self.data, np.ndarray) else 2

    def __getitem__(self, index: Any) -> "Table":
        """Return some of the rows by a slice, or some of the columns by `[:, places]`."""
        if isinstance(index, slice):
            rows = None if self.index is None else self.index[index]
            data = self._opened[index]
            data = data if isinstance(data, np.ndarray) else data.to_native()
            return replace(self, data=data, index=rows)
        places = list(index[1])
        columns = tuple(self.columns[place] for place in places)
        if isinstance(self.data, np.ndarray):
            return replace(self, data=self.data[:, places], columns=columns)
        if self.places is not None:
            places = [self.places[place] for place in places]
        table = replace(self, columns=columns, places=places)
        if "_opened" in vars(self):  # to open it again would take longer than to read a column
            vars(table)["_opened"] = self._opened
        return table

    @property
    def labels(self) -> Any:
        """The names of the table's own columns as the library has them."""
        if self.names is None or self.places is None:
            return self.names
        # A pandas Index stays one: a forecast takes its names and levels.
        if isinstance(self.names, list):
            return [self.names[place] for place in self.places]
        return self.names[self.places]

    def column(self, place: int) -> Any:
        """Return one column as the table holds it, an array or a Series of narwhals."""
        place = place if self.places is None else self.places[place]
        if isinstance(self.data, np.ndarray):
            return self.data[:, place]
        return self._opened.get_column(self._opened.columns[place])

    def to_numpy(self, name: str = "table") -> Any:
        """Return the values as an array of the dtype that NumPy finds for all columns.

        The columns of a Parquet file are a Store.
        """
        if isinstance(self.data, np.ndarray):
            return self.data
        if isinstance(self.data, ParquetTable):
            return self._store(name)
        values = self.small_array()
        if values is not None:
            return values
        data, places = self.data, self.places
        if places is not None and len(data) >= _MANY_ROWS and not _is_uniform(data):
            # Without the columns of labels, a library may have an array to view.
            data, places = self._opened[:, places].to_native(), None
        # A library makes an array of all columns faster than of one by one.
        if 2 * len(self.columns) >= len(data.columns) and _is_uniform(data):
            own = getattr(data, "to_numpy", None)  # PyArrow has none for tables
            array = np.asarray(data if own is None else own())
            if array.dtype.kind in _NUMBERS:
                return array if places is None else array[:, places]
        read = [self.column(place) for place in range(len(self.columns))]
        columns = [column.to_numpy() for column in read]
        self._check_numbers(name, [column.dtype for column in columns], read)
        # Each column is one run of memory, as in a table. A single one need not be copied.
        return columns[0][:, None] if len(columns) == 1 else np.stack(columns).T

    def small_array(self) -> np.ndarray | None:
        """Return the values of a small pandas DataFrame of numbers, by the fastest way; or None."""
        data = self.data
        if self.index is None or self.places is not None or isinstance(data, np.ndarray):
            return None
        if len(self.index) >= _MANY_ROWS:
            return None
        values: np.ndarray = data.values  # a view, or a small copy
        return values if values.dtype.kind in _NUMBERS else None

    def _store(self, name: str) -> Any:
        """Return the columns of a Parquet file as a Store."""
        dtypes = [self.data.dtype(column) for column in self.columns]
        self._check_numbers(name, dtypes, [self.data.field(column) for column in self.columns])
        return self.data.store(self.columns)

    def _check_numbers(self, name: str, dtypes: list[np.dtype], columns: list[Any]) -> None:
        """Raise if some columns hold no numbers. `columns` know how their library calls a dtype."""
        is_number = [dtype.kind in _NUMBERS for dtype in dtypes]
        if all(is_number) and dtypes:
            return
        named = [*zip(self.columns, is_number, strict=True)]
        received = ", ".join(
            f"{called!r} ({column.dtype})"
            for (called, fits), column in zip(named, columns, strict=True)
            if not fits
        )
        numeric = [called for called, fits in named if fits]
        only = f" by `columns={numeric}`" if name.startswith("sequences") and numeric else ""
        index = "" if self.index is None else ", and `table.set_index` takes dates"
        raise TypeError(
            f"`{name}` must hold numbers. Received: a table with the columns {received}. Leave "
            f"them out{only}, or encode them as integers. `by` takes columns that tell series "
            f"apart{index}."
        )

    @cached_property
    def _opened(self) -> Any:
        """The data as narwhals reads them, or the array."""
        return self.data if isinstance(self.data, np.ndarray) else _open(self.data)


class _Kind(NamedTuple):
    """The properties of a type of tables, from narwhals."""

    is_series: bool
    has_index: bool
    library: ModuleType | None


#: Types of values, and their kinds of tables. Asking narwhals for each table of a long list
#: would take longer than reading them.
_KINDS: dict[type, _Kind | None] = {}
_PARQUET = _Kind(False, False, None)
_last_names: tuple[Any, tuple[str, ...]] = (None, ())  # of a pandas table, as labels and as text


def read_table(value: Any) -> Any:
    """Return a DataFrame or Series of any library as a `Table`, and anything else as it is.

    >>> import pandas
    >>> read_table(pandas.DataFrame({"price": [1.5, 2.0], "holiday": [True, False]})).to_numpy()
    array([[1.5, 1. ],
           [2. , 0. ]])
    >>> read_table("ABC")
    'ABC'
    """
    kind = _kind(value)
    if kind is None:
        return value
    if kind is _PARQUET:
        return Table(value, tuple(value.columns), None, value.columns)
    index = value.index if kind.has_index else None
    if kind.is_series:
        array = np.asarray(value.to_numpy())
        if array.dtype.kind == "O":  # a missing value, which narwhals knows to be NaN
            array = np.asarray(_open(value).to_numpy())
        return Table(array, (), index, [getattr(value, "name", "")], kind.library)
    if not kind.has_index:
        names = value.column_names if hasattr(value, "column_names") else value.columns
        return Table(value, tuple(map(str, names)), index, names, kind.library)
    return _read_frames([value], kind)[0]


def _read_frames(values: list[Any], kind: _Kind) -> list[Table]:
    """Return pandas DataFrames as Tables.

    To write the names of many would take longer than to read their values.
    """
    global _last_names
    labels, columns = _last_names
    library, is_same, tables = kind.library, _is_identical_to(labels), []
    for value in values:
        names = value.columns
        if not (names.is_(labels) or is_same(names)):  # tables that were cut from one share them
            labels, columns, is_same = names, tuple(map(str, names)), _is_identical_to(names)
        tables.append(Table(value, columns, value.index, names, library))
    _last_names = labels, columns  # at once: threads may read tables at the same time
    return tables


def _is_identical_to(labels: Any) -> Callable[[Any], bool]:
    """Return whether another pandas index has the same labels of the same kind, as a function."""
    if labels is None:
        return lambda names: False
    if isinstance(labels.dtype, np.dtype):
        return lambda names: names.identical(labels)
    kind, array = type(labels), labels.array
    return lambda names: type(names) is kind and array.equals(names.array)  # fast, for strings


def _kind(value: Any) -> _Kind | None:
    """Return what kind of table a value is, or None. Each type is looked at once."""
    if type(value) not in _KINDS:
        _KINDS[type(value)] = _kind_of(value)
    return _KINDS[type(value)]


def _kind_of(value: Any) -> _Kind | None:
    if isinstance(value, (Table, *_NO_TABLES)):
        return None
    if isinstance(value, ParquetTable):
        return _PARQUET
    import narwhals.stable.v2 as nw

    opened = _open(value)
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    # narwhals does not know every version of a library.
    if kind.__module__.startswith(_LAZY_MODULES) or isinstance(opened, nw.LazyFrame):
        computed = _COMPUTED.get(library.removesuffix("_expr"), "table.collect()")
        raise TypeError(
            f"A lazy table has no rows yet. Received: a {library} {kind.__name__}. Compute it "
            f"first, as `{computed}`; or write it to a Parquet file, and frame "
            "`pathlib.Path(file)`."
        )
    if not isinstance(opened, (nw.DataFrame, nw.Series)):
        return None
    known = opened.implementation
    has_index = known.is_pandas() or known.is_modin()
    return _Kind(isinstance(opened, nw.Series), has_index, known.to_native_namespace())


def _open(value: Any) -> Any:
    """Return a table as narwhals reads it, and anything else as it is."""
    import narwhals.stable.v2 as nw

    try:
        return nw.from_native(value, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError:
        # Columns are read by their places, so that they may have the same name.
        places = [*map(str, range(value.shape[1]))]
        rename = getattr(value, "rename_columns", None)  # of PyArrow
        return nw.from_native(rename(places) if rename else value.set_axis(places, axis=1))


def _is_uniform(data: Any) -> bool:
    """Whether all columns of a DataFrame of any library have one dtype."""
    own = getattr(data, "dtypes", None)  # much faster than narwhals, which translates
    return len(set(_open(data).schema.values() if own is None else own)) == 1


def read_tables(values: Iterable[Any]) -> list[Any]:
    """Return several values, with each table among them as a `Table`."""
    values = list(values)
    types = set(map(type, values))
    if all(_KINDS.get(one, _PARQUET) is None for one in types):
        return values
    kind = _kind(values[0])
    if len(types) == 1 and kind is not None and kind.has_index and not kind.is_series:
        return _read_frames(values, kind)  # much faster than one by one
    return [read_table(value) for value in values]


def is_table(value: Any) -> bool:
    """Whether a value is a DataFrame of any library, or a `Table` with named columns."""
    table = read_table(value)
    return isinstance(table, Table) and table.ndim == 2


def table_array(table: Any, name: str) -> np.ndarray:
    """Return a DataFrame as an array; see `Table.to_numpy`."""
    array: np.ndarray = read_table(table).to_numpy(name)
    return array


def library_of(value: Any) -> str | None:
    """Return the name of the module that a table comes from; None for any other value.

    A name can be pickled.
    """
    table = read_table(value)
    is_known = isinstance(table, Table) and table.library is not None
    return table.library.__name__ if is_known else None


# --- Columns, by name.


def column_names(table: Any) -> list[str] | None:
    """Return the column names of a DataFrame; None for a Series and for anything else."""
    table = read_table(table)
    return list(table.columns) if isinstance(table, Table) and table.ndim == 2 else None


def table_names(table: Any) -> tuple[str, ...] | None:
    """Return the names of a table's columns; None if they are only numbers, or not unique.

    >>> table_names(Table(np.zeros((3, 2)), ("units", "price"))), table_names(np.zeros((3, 2)))
    (('units', 'price'), None)
    """
    return proper_names(column_names(table))


def proper_names(names: list[str] | None) -> tuple[str, ...] | None:
    """Return names as a tuple; None if they only count the columns, or are not unique.

    >>> proper_names(["units", "price"]), proper_names(["0", "1"]), proper_names(["a", "a"])
    (('units', 'price'), None, None)
    """
    if names is None or _only_count(names) or len(set(names)) < len(names):
        return None
    return tuple(names)


def _only_count(names: Sequence[str]) -> bool:
    # pandas counts them 0, 1, …; polars column_0, column_1, …
    counts = [[f"{start}{place}" for place in range(len(names))] for start in ("", "column_")]
    return list(names) in counts


def select_columns(table: Any, columns: tuple[str, ...] | None, name: str) -> Any:
    """Return a table with these columns in this order. Values without names stay as they are.

    >>> table = Table(np.array([[1, 10, 7], [2, 20, 7]]), ("units", "price", "store"))
    >>> select_columns(table, ("price", "units"), "history").to_numpy()
    array([[10,  1],
           [20,  2]])
    """
    table = read_table(table)
    names = column_names(table)
    if columns is None or names is None or _only_count(names) or names == list(columns):
        return table
    missing = [column for column in columns if column not in names]
    if missing:
        constant = " Repeat a value that does not change in each row." if name == "future" else ""
        raise ValueError(
            f"`{name}` must have the columns {list(columns)}. Received: a table with the columns "
            f"{names}, without {missing}. Rename or add them.{constant}"
        )
    if any(names.count(column) > 1 for column in columns):
        raise ValueError(
            f"`{name}` must have each of the columns {list(columns)} once. Received: a table with "
            f"the columns {names}. Rename or leave out the repeated ones."
        )
    return table[:, [names.index(column) for column in columns]]


def check_names(name: str, names: Any) -> tuple[str, ...] | None:
    """Return names of columns as a tuple, or None if there are none; raise if they are no names."""
    if names is None:
        return None
    items = [] if isinstance(names, str) or not np.iterable(names) else list(names)
    if not items or not all(isinstance(item, str) for item in items):
        raise TypeError(
            f"`{name}` must be a list of names of columns. Received: {name}={names!r}. "
            'Put one column in a list too, as `["units"]`.'
        )
    if len(set(items)) < len(items):
        raise ValueError(f"`{name}` must name each column once. Received: {name}={names!r}.")
    return tuple(map(str, items))


def check_targets(targets: Any) -> str | tuple[str, ...] | None:
    """Return the name of one target column, or a tuple of several."""
    return targets if isinstance(targets, str) else check_names("target_columns", targets)


def check_width(array: np.ndarray, columns: tuple[str, ...] | None, name: str) -> None:
    """Raise if an array does not have one feature for each of these columns."""
    if columns is not None and math.prod(array.shape[1:]) != len(columns):
        raise ValueError(
            f"`{name}` must have {len(columns)} features, the columns {list(columns)}. Received: "
            f"steps of shape {array.shape[1:]}. Pass a table with these columns, or an array of "
            "them in this order."
        )


# --- Groups, by label.


@dataclass(frozen=True)
class Groups:
    """Runs of rows of one table; each is a sequence.

    Attributes:
        labels: list of the groups' names.
        edges: int array. The first row of each group, and the number of rows.
        by: tuple of str, the columns that hold the labels; None if labels were passed.
    """

    labels: list[Hashable]
    edges: np.ndarray
    by: tuple[str, ...] | None


def split_table(table: Any, by: Any) -> tuple[Any, Groups]:
    """Return a table without its columns and levels of labels, and its groups."""
    wanted = names_of(by)
    if wanted is None:
        check_unmasked(by, "by")
        labels = np.asarray(by.to_numpy() if hasattr(by, "to_numpy") else by)
        if labels.ndim != 1 or len(labels) != len(table):
            raise ValueError(
                "`by` must name columns, or be an array of one label for each row. Received: "
                f"labels of shape {labels.shape} for {len(table)} rows."
            )
        return table, Groups(*find_groups([labels]), None)
    check_by(table, wanted)
    names = column_names(table) or []
    rest = [place for place, column in enumerate(names) if column not in wanted]
    if not wanted or (names and not rest):
        raise ValueError(
            "`by` must name some of the columns, and leave some as features. Received: "
            f"by={by!r} of columns {names}."
        )
    levels = [name for name in wanted if name not in names]
    labelled = [
        table.index.get_level_values(name).to_numpy()
        if name in levels
        else table.column(names.index(name))
        for name in wanted
    ]
    groups = Groups(*find_groups(labelled), wanted)
    if levels:
        # The rest of the index are the dates of each group, if it has them.
        others = table.index.nlevels > len(levels)
        table = replace(table, index=table.index.droplevel(levels) if others else None)
    return (table[:, rest] if len(rest) < len(names) else table), groups


def label_names(table: Any) -> list[str]:
    """Return the names that `by` may give: the columns of a table, and the levels of its index."""
    table = read_table(table)
    names = column_names(table) or []
    levels = getattr(table.index, "names", None) or () if isinstance(table, Table) else ()
    return [*names, *(level for level in levels if isinstance(level, str) and level not in names)]


def check_by(table: Any, by: tuple[str, ...]) -> None:
    """Raise if a table has no column, and no level of its index, of one of these names."""
    names = label_names(table)
    if not names:
        kind = "Series" if isinstance(table, Table) else type(table).__name__
        raise TypeError(
            f"`by` names columns, which only a DataFrame has. Received: by={list(by)} and a "
            f"{kind}. Pass an array of labels, one a row, instead."
        )
    for column in by:
        if names.count(column) != 1:
            raise ValueError(
                f"`by` names the column {column!r}, which the table must have once. Received: a "
                f"table with the columns {names}. Name one of these; or pass the labels, one for "
                "each row, as `np.array(labels)`."
            )


def names_of(by: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that hold labels, or None if the labels were passed.

    >>> names_of("store"), names_of(["store", "item"]), names_of([1, 1, 2])
    (('store',), ('store', 'item'), None)
    """
    if isinstance(by, str):
        return (by,)
    named = isinstance(by, (list, tuple)) and all(isinstance(name, str) for name in by)
    return tuple(by) if named else None


def drop_labels(
    table: Any, by: tuple[str, ...] | None, name: str, keep: tuple[str, ...] | None = None
) -> Any:
    """Return a table of one series without the columns that hold its label.

    >>> import pandas
    >>> table = pandas.DataFrame({"store": [1, 1], "units": [3, 4]})
    >>> drop_labels(table, ("store",), "history").columns
    ('units',)
    """
    table = read_table(table)
    names = column_names(table) or []
    own = [column for column in by or () if column in names]
    for column in own:
        values = table.column(names.index(column))
        if isinstance(values, np.ndarray) or values.n_unique() > 1:
            labels = _distinct(values)
        else:
            labels = []
        if len(labels) > 1:
            raise ValueError(
                f"`{name}` must be one series: {column!r} tells series apart. Received: "
                f"a table with {len(labels)} labels in that column, {labels[0]!r} and "
                f"{labels[1]!r} among them. Pass a list of one table for each."
            )
    labels = [column for column in own if column not in (keep or ())]
    rest = [place for place, column in enumerate(names) if column not in labels]
    if labels and not rest:
        raise ValueError(
            f"`by` must leave some columns of `{name}` as features. Received: by={list(labels)} of "
            f"columns {names}."
        )
    return table[:, rest] if labels else table


def label_of(table: Any, by: tuple[str, ...] | None) -> dict[str, Hashable]:
    """Return the labels of a table of one series, by the columns and index levels that hold them.

    >>> import pandas
    >>> label_of(pandas.DataFrame({"store": ["n", "n"], "units": [3, 4]}), ("store", "item"))
    {'store': 'n'}
    """
    table = read_table(table)
    if not isinstance(table, Table) or not len(table):
        return {}
    names = column_names(table) or []
    first = {name: table.column(names.index(name))[:1] for name in by or () if name in names}
    levels = getattr(table.index, "names", None) or ()
    first |= {name: table.index.get_level_values(name)[:1] for name in levels if name in (by or ())}
    return {name: _as_labels(values)[0] for name, values in first.items()}


def _distinct(column: "Column") -> list[Any]:
    """Return the distinct values of a column, in the order of the rows."""
    if isinstance(column, np.ndarray):
        return list(dict.fromkeys(column.tolist()))
    return list(column.unique(maintain_order=True))


def find_groups(columns: "list[Column]") -> tuple[list[Hashable], np.ndarray]:
    """Return the label of each group, and where the groups begin and end.

    >>> find_groups([np.array(["a", "a", "b"])])
    (['a', 'b'], array([0, 2, 3]))
    """
    rows = len(columns[0])
    if not rows:
        raise ValueError("`by` must label some rows. Received: a table without rows.")
    changes = np.zeros(rows - 1, bool)
    try:
        for column in columns:
            if not isinstance(column, np.ndarray) and column.null_count():
                raise TypeError
            # A library compares its strings much faster than NumPy.
            changes |= np.asarray(column[1:] != column[:-1], bool)
        firsts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        found = [_as_labels(column[firsts]) for column in columns]
        unlabelled = any(label is None or label != label for labels in found for label in labels)
    except TypeError:  # pandas' missing value is neither equal nor unequal
        unlabelled = True
    if unlabelled:
        raise ValueError(
            "`by` must give every row a label. Received: rows without one. Leave those rows out, "
            "or fill in a label."
        )
    labels: list[Hashable] = found[0] if len(found) == 1 else [*zip(*found, strict=True)]
    seen: set[Hashable] = set()
    for label in labels:
        if label in seen:
            raise ValueError(
                f"The rows of a group must follow each other. Received: rows of {label!r} again "
                "after another group. Sort the table by group and time first."
            )
        seen.add(label)
    return labels, np.append(firsts, rows)


def _as_labels(values: "Column") -> list[Hashable]:
    """Return values as Python's own. Dates stay NumPy's, because Python cannot hold all of them."""
    values = values if isinstance(values, np.ndarray) else values.to_numpy()
    return list(values) if values.dtype.kind in "mM" else values.tolist()


def check_unmasked(array: Any, name: str) -> None:
    """Raise for a masked array: converted, it would hold the values under its mask."""
    # Naming `np.ma` would import it, which takes as long as all of framing.
    if isinstance(array, np.ndarray) and hasattr(array, "mask"):
        raise TypeError(
            f"`{name}` must not be a masked array: its mask would be lost. Received: "
            f"{int(array.mask.sum())} masked values. Fill them with `.filled(value)`."
        )
