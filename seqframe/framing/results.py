"""Tables of results: of the user's own library, or a dict of columns that prints as a table."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from seqframe.framing.tables import column_names, library_of

_SHOWN_ROWS = 12  # of a long table


class PlainTable(dict[str, np.ndarray]):
    """Columns by name, for data that come from no table library. It prints as a table.

    >>> PlainTable(step=np.array([1, 2]), mae=np.array([0.5, 0.125]))
    step    mae
       1    0.5
       2  0.125
    """

    def __repr__(self) -> str:
        names, size = list(self), len(next(iter(self.values()), ()))
        shown = [*range(size)]
        if size > _SHOWN_ROWS:
            shown = [*range(_SHOWN_ROWS // 2), *range(size - _SHOWN_ROWS // 2, size)]
        rows = [[_written(self[name][row]) for name in names] for row in shown]
        if len(shown) < size:
            rows.insert(len(shown) // 2, ["…"] * len(names))
        return "\n".join(align([names, *rows]))


def align(rows: list[list[str]]) -> list[str]:
    """Return rows of texts as lines, with columns that end at the same place.

    >>> align([["step", "mae"], ["1", "12.75"]])
    ['step    mae', '   1  12.75']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def make_table(columns: Mapping[str, Any], library: str | None, index: Any = None) -> Any:
    """Return columns as a table of a library, such as pandas or polars; None: as a `PlainTable`.

    `index` is a pandas index, or None. A library without indexes gets it as a column.

    >>> make_table({"mae": np.array([0.5])}, "pandas")
       mae
    0  0.5
    """
    if library is None:
        return PlainTable({name: np.asarray(column) for name, column in columns.items()})
    module = import_module(library)
    if index is not None and hasattr(module, "Index"):
        return module.DataFrame(dict(columns), index=index)
    if index is not None:
        columns = {index.name or "date": index.to_numpy(), **columns}
    import narwhals.stable.v2 as nw

    return nw.from_dict(dict(columns), backend=module).to_native()


def label_columns(
    labels: Sequence[Hashable], by: tuple[str, ...] | None, numbers: Iterable[int]
) -> dict[str, list[Hashable]]:
    """Return the labels of series as the columns that hold them, a row for each number.

    >>> label_columns([("north", 1), ("south", 2)], ("store", "item"), [1, 0])
    {'store': ['south', 'north'], 'item': [2, 1]}
    """
    chosen = [labels[number] for number in numbers]
    # Sequences that hold no labels have numbers.
    are_held = by and all(len(by) == 1 or isinstance(label, tuple) for label in labels)
    names = by if by and are_held else ("series",)
    rows = [label if isinstance(label, tuple) and len(names) > 1 else (label,) for label in chosen]
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def some_rows(value: Any, rows: Any) -> Any:
    """Return some rows of a sequence, of its own type, by a slice or an array of row numbers.

    >>> import pandas
    >>> some_rows(pandas.Series([7, 8, 9]), np.array([0, 2])).tolist()
    [7, 9]
    """
    if library_of(value) is None:
        return value[rows]
    import narwhals.stable.v2 as nw

    return nw.from_native(value, allow_series=True)[rows].to_native()


def first_rows(value: Any, stop: int) -> Any:
    """Return the rows of a sequence before `stop`, of its own type."""
    return some_rows(value, slice(stop))


def replace_columns(table: Any, columns: Mapping[str, np.ndarray]) -> Any:
    """Return a DataFrame of any library with other values in some of its columns.

    >>> import pandas
    >>> replace_columns(pandas.DataFrame({"units": [3, 4]}, [7, 8]), {"units": np.array([5, 6])})
       units
    7      5
    8      6
    """
    if hasattr(table, "isetitem"):  # the index of pandas stays
        changed = table.copy()
        names = column_names(table) or []
        for name, values in columns.items():
            changed.isetitem(names.index(name), values)
        return changed
    import narwhals.stable.v2 as nw

    opened = nw.from_native(table, eager_only=True)
    made = nw.from_dict(dict(columns), backend=opened.implementation)
    return opened.with_columns(*made.iter_columns()).to_native()
