"""Stores: arrays on disk that are read by slices, and how another process opens them again.

A store is an HDF5 dataset, a Zarr array, a Parquet file, or anything else with `shape`, `dtype`,
`ndim`, `chunks` and slices. It is known by these, so that no library of stores is imported.
"""

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np


class ArrayOnDisk(Protocol):
    """What users pass: an `h5py.Dataset`, a `zarr.Array`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, rows: slice) -> Any: ...


def is_store(value: Any) -> bool:
    """Whether a value is an array that is read by slices, and not in memory.

    >>> is_store(np.zeros(3))
    False
    """
    return (
        not isinstance(value, np.ndarray)
        and (hasattr(value, "chunks") or hasattr(value, "chunkshape"))
        and all(hasattr(value, name) for name in ("shape", "dtype", "ndim", "__getitem__"))
        and not hasattr(value, "to_numpy")  # labelled arrays, which are in memory
        and len(value.shape) > 0
    )


class Reader:
    """Reads rows of a store, and opens its file again in another process.

    Attributes:
        shape, dtype: of the store.
        chunk: int. Rows that the store reads at once, however few are asked for.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: int

    def __init__(self, store: ArrayOnDisk):
        self._store, self._process = store, os.getpid()
        self.shape, self.dtype = tuple(map(int, store.shape)), np.dtype(store.dtype)
        chunks = getattr(store, "chunks", None) or getattr(store, "chunkshape", None) or (1,)
        self.chunk = int(np.max(chunks[0]))  # some libraries list the size of each chunk
        file = getattr(store, "file", None)
        name, path = getattr(store, "name", None), getattr(file, "filename", None)
        # A type is pickled by its name, which imports the library where it is opened again.
        self._place: tuple[Any, str, str] | None = None
        if file is not None and path is not None and name is not None:
            own = os.path.abspath(path) if os.path.exists(path) else str(path)
            self._place = type(file), own, str(name)

    def __str__(self) -> str:
        if self._place is None:
            return f"the {type(self._store).__name__} of shape {self.shape}"
        return f"{self._place[1]}, {self._place[2]!r}"

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows `start … stop - 1`."""
        return np.asarray(self._opened()[start:stop])

    def read_into(self, start: int, out: np.ndarray) -> bool:
        """Read rows from `start` on into an array, or return False if the store cannot."""
        store = self._opened()
        if not hasattr(store, "read_direct") or np.dtype(store.dtype) != out.dtype:
            return False
        store.read_direct(out, np.s_[start : start + len(out)])
        return True

    def _opened(self) -> Any:
        """Return the store, opened in this process and of the size that it had."""
        # Processes must not share an open file. A file that was closed is opened again, too.
        if self._place is not None and (self._process != os.getpid() or not self._store):
            self._store, self._process = _open_dataset(*self._place), os.getpid()
        if self._store.shape != self.shape:
            raise _changed(str(self), self.shape, tuple(self._store.shape))
        return self._store

    def __reduce__(self) -> tuple[Any, ...]:
        if self._place is None:
            return _reader_of, (pack_array(self._store), self.shape)
        if not os.path.exists(self._place[1]):
            raise TypeError(
                f"An HDF5 dataset is pickled as its file and its name. Received: {self}, whose "
                "file does not exist. Write it to a file first."
            )
        return _reopened, (self._place, self.shape)


def _reader_of(packed: Any, shape: tuple[int, ...]) -> Reader:
    return _of_shape(Reader(unpack_array(packed)), shape)


def _reopened(place: tuple[Any, str, str], shape: tuple[int, ...]) -> Reader:
    return _of_shape(Reader(_open_dataset(*place)), shape)


def _of_shape(reader: Reader, shape: tuple[int, ...]) -> Reader:
    if reader.shape != shape:
        raise _changed(str(reader), shape, reader.shape)
    return reader


def _open_dataset(kind: Callable[..., Any], path: str, name: str) -> Any:
    try:
        return kind(path, "r")[name]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"The dataset of the frames must be readable in each process. Received: {path}, "
            f"{name!r}: {error}. Open the file with mode 'r' before framing."
        ) from error


def _changed(which: str, before: Any, after: Any) -> ValueError:
    return ValueError(
        f"A file must keep its size while frames read it. Received: {which}, which was {before} "
        f"and is {after} now. Frame it again."
    )


class ParquetReader(Reader):
    """Reads columns of a Parquet file, by whole groups of rows."""

    def __init__(self, table: "ParquetTable", columns: list[str]):
        self._table, self._columns = table, columns
        self._ends = np.cumsum(table.group_rows)
        self.dtype = np.result_type(*(table.dtype(column) for column in columns))
        self.shape = (len(table), len(columns))
        self.chunk = max(table.group_rows, default=1) or 1
        self._kept: tuple[int, int, np.ndarray] = (0, 0, np.empty(0))

    def __str__(self) -> str:
        return str(self._table.path or "a Parquet file")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows `start … stop - 1`."""
        first, last, rows = self._kept
        if not first <= start <= stop <= last:
            groups = np.searchsorted(self._ends, (start, max(stop - 1, start)), side="right")
            wanted = range(int(groups[0]), min(int(groups[1]) + 1, len(self._ends)))
            table = self._table.file.read_row_groups([*wanted], columns=self._columns)
            rows = np.empty((table.num_rows, len(self._columns)), self.dtype)
            for place, column in enumerate(self._columns):
                values = table.column(column).to_numpy()
                if values.dtype.kind == "f" and self.dtype.kind in "biu":
                    raise ValueError(
                        f"A column of integers must have no missing values. Received: {column!r} "
                        f"of {self}. Write it as floats."
                    )
                rows[:, place] = values
            first = int(self._ends[wanted[0]] - self._table.group_rows[wanted[0]])
            self._kept = first, first + len(rows), rows
        return rows[start - first : stop - first]

    def read_into(self, start: int, out: np.ndarray) -> bool:
        """Return False: groups of rows are read whole."""
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return ParquetReader, (self._table, self._columns)


class Field(NamedTuple):
    """A column that is not read."""

    dtype: str


class ParquetTable:
    """A Parquet file as a table whose columns are read when somebody asks for them.

    Attributes:
        file: pyarrow.parquet.ParquetFile.
        path: its path, or None.
        columns: list of the names of its columns.
        group_rows: list of int. Rows of each of its groups of rows.
    """

    def __init__(self, file: Any, path: str | None = None):
        self.file, self.path, self.columns = file, path, list(file.schema_arrow.names)
        groups = range(file.metadata.num_row_groups)
        self.group_rows = [file.metadata.row_group(group).num_rows for group in groups]

    def __len__(self) -> int:
        return int(self.file.metadata.num_rows)

    def dtype(self, column: str) -> np.dtype:
        """Return the NumPy dtype of a column. Integers with missing values are floats."""
        try:
            found = np.dtype(self.file.schema_arrow.field(column).type.to_pandas_dtype())
        except (NotImplementedError, TypeError):  # NumPy has no such dtype
            found = np.dtype(object)
        return np.dtype(np.float64) if found.kind in "biu" and self._has_nulls(column) else found

    def _has_nulls(self, column: str) -> bool:
        metadata = self.file.metadata
        for group in range(metadata.num_row_groups):
            places = map(metadata.row_group(group).column, range(metadata.num_columns))
            found = next((place for place in places if place.path_in_schema == column), None)
            known = None if found is None else found.statistics
            if known is not None and known.has_null_count and known.null_count:
                return True
        return False

    def field(self, column: str) -> Field:
        """Return how Arrow calls a column's dtype."""
        return Field(str(self.file.schema_arrow.field(column).type))

    def get_column(self, column: str) -> Any:
        """Return one column, read as a whole, as a Series of narwhals."""
        import narwhals.stable.v2 as nw

        table = self.file.read(columns=[column])
        return nw.from_native(table, eager_only=True).get_column(column)

    def store(self, columns: Sequence[str]) -> "Store":
        """Return columns as a store `(rows, columns)`."""
        return Store(ParquetReader(self, list(columns)))

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is None:
            raise TypeError(
                "A Parquet file is pickled as its path. Received: an open `ParquetFile`. Frame "
                "its path, as `pathlib.Path(name)`."
            )
        return _reopened_parquet, (self.path, len(self))


def is_parquet(value: Any) -> bool:
    """Whether a value is an open `pyarrow.parquet.ParquetFile`."""
    return hasattr(value, "read_row_groups") and hasattr(value, "schema_arrow")


def _open_parquet(path: str) -> ParquetTable:
    try:
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise ImportError(
            "Parquet files need the library 'pyarrow'. Install it with `pip install "
            '"seqframe[stores]"`.'
        ) from error
    return ParquetTable(ParquetFile(path, memory_map=False), path)


def _reopened_parquet(path: str, rows: int) -> ParquetTable:
    table = _open_parquet(path)
    if len(table) != rows:
        raise _changed(path, f"{rows} rows", f"{len(table)} rows")
    return table


@dataclass(frozen=True)
class Store:
    """Rows `start … stop - 1` of what a Reader reads, with the shape and the dtype of an array."""

    reader: Reader
    start: int = 0
    stop: int | None = None

    @cached_property
    def shape(self) -> tuple[int, ...]:
        rows, *row = self.reader.shape
        return (len(range(rows)[self.start : self.stop]), *row)

    @property
    def dtype(self) -> np.dtype:
        return self.reader.dtype

    @property
    def ndim(self) -> int:
        return len(self.reader.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def cut(self, start: int, stop: int) -> "Store":
        """Return the rows `start … stop - 1` of these."""
        stop = min(stop, len(self))
        return Store(self.reader, self.start + min(start, stop), self.start + stop)


def open_stores(value: Any) -> Any:
    """Return arrays on disk, alone or in a list or dict, as Stores, and anything else as it is.

    Paths are opened: a .npy file as a memory map, a .parquet file as a table. A string is a text,
    so a path is a `pathlib.Path`.
    """
    if isinstance(value, os.PathLike):
        return _open_path(os.path.abspath(value))
    if is_parquet(value):
        return ParquetTable(value)
    if is_store(value):
        return Store(Reader(value))
    if isinstance(value, dict):
        values = [*value.values()]
        opened = open_stores(values)
        return value if opened is values else dict(zip(value, opened, strict=True))
    if isinstance(value, (list, tuple)):
        examples = {type(item): item for item in value}.values()  # lists may be very long
        if any(open_stores(example) is not example for example in examples):
            return [open_stores(item) for item in value]
    return value


def _open_path(path: str) -> Any:
    kind = os.path.splitext(path)[1].lower()
    if kind == ".npy":
        return np.load(path, mmap_mode="r")
    if kind in (".parquet", ".pq"):
        return _open_parquet(path)
    raise ValueError(
        f"A path must be of a .npy or a .parquet file. Received: {path}. Open other files first, "
        "for instance as `h5py.File(path)[name]`, `zarr.open_array(path)` or `np.memmap(path)`."
    )


# --- Arrays in a pickle.


def pack_array(array: Any) -> Any:
    """Return what stands for an array in a pickle: of a memory map, never its content.

    >>> unpack_array(pack_array(np.arange(3)))
    array([0, 1, 2])
    """
    if not isinstance(array, np.ndarray):
        return array
    if array.size > 1 and not any(array.strides):  # one number, which NumPy would repeat
        return _Repeated(array.reshape(-1)[:1].copy(), array.shape)
    owner: Any = array
    mapped: np.memmap | None = None
    while owner is not None and not isinstance(owner, mmap.mmap):
        mapped = owner if isinstance(owner, np.memmap) else mapped
        owner = getattr(owner, "base", None)
    # A map of mode "c" may hold values that its file does not.
    if owner is None or mapped is None or not mapped.filename or mapped.mode == "c":
        return array
    path = os.path.abspath(mapped.filename)
    begin = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
    whole = np.frombuffer(owner, np.uint8)
    offset = begin + _address(array) - _address(whole)
    size = os.path.getsize(path)
    return _Mapped(path, size, offset, array.shape, array.strides, array.dtype)


def unpack_array(packed: Any) -> Any:
    """Return the array that `pack_array` packed."""
    return packed.open() if isinstance(packed, (_Mapped, _Repeated)) else packed


@dataclass(frozen=True)
class _Mapped:
    """An array in a memory map, as the place of its values in a file."""

    path: str
    size: int  # of the file, in bytes
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def open(self) -> np.ndarray:
        if not os.path.exists(self.path):
            raise ValueError(
                f"The memory map of the frames needs its file. Received: {self.path}, which does "
                "not exist here. Copy it to this path, or pickle frames of an array."
            )
        size = os.path.getsize(self.path)
        if size != self.size:
            raise _changed(self.path, f"{self.size} bytes", f"{size} bytes")
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        # Negative strides reach to lower addresses.
        reaches = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        first = self.offset + sum(reach for reach in reaches if reach < 0)
        nbytes = sum(map(abs, reaches)) + self.dtype.itemsize
        raw = np.memmap(self.path, np.uint8, "r", first, (nbytes,))
        return np.ndarray(self.shape, self.dtype, raw, self.offset - first, self.strides)


@dataclass(frozen=True)
class _Repeated:
    """One value at all places of an array."""

    value: np.ndarray
    shape: tuple[int, ...]

    def open(self) -> np.ndarray:
        return np.broadcast_to(self.value[0], self.shape)


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
