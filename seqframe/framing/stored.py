"""Rows of stores: a batch reads what it needs, and neighbouring windows together.

Frames that come in order, or in shuffled blocks, are read by pages of some megabytes. The pages of
a few blocks stay in memory. Other frames are read by themselves.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seqframe.aliases import Numbers
from seqframe.framing.gather import PAGE_BYTES, Axis, Rows
from seqframe.framing.stores import Reader, Store

HELD_BYTES = 2**26  # of pages that are kept in memory
_LEAST_PAGES = 4  # that are kept, however large: those of two groups of two blocks
_NEAR_BYTES = 2**16  # between two windows, which are faster read than left out
_PIECE_BYTES = 2**24  # that are read at once, to gather windows from


def rows_of(arrays: Sequence[Any], columns: list[int] | None = None) -> Rows:
    """Return arrays as Rows, which read them by slices if some are stores."""
    if any(isinstance(array, Store) for array in arrays):
        return StoredRows([_as_store(array) for array in arrays], columns)
    return Rows(arrays, columns)


def _as_store(array: Any) -> Store:
    return array if isinstance(array, Store) else Store(Reader(array))


class StoredRows(Rows):
    """Rows of stores, addressed by (store, row), and read when they are gathered.

    All readers are laid end to end, each from a multiple of the page on. So an address tells the
    reader, the page and the row.

    Args:
        stores: Stores of one dtype and one row shape.
        columns: int, list of int, or None for all. Columns of each row that are kept.
        pages: Pages to read by; None: windows are read by themselves.
        offset: int. How many rows after a frame's begin its window begins. Its page is the page of
            the frame's begin.
    """

    is_stored = True

    def __init__(
        self,
        stores: Sequence[Store],
        columns: int | list[int] | None = None,
        pages: "Pages | None" = None,
        offset: int = 0,
    ):
        first = stores[0]
        self.arrays: tuple[Any, ...] = tuple(stores)
        self.columns: Any = columns
        self.dtype, self._whole_shape = first.dtype, first.shape[1:]
        self.lengths = np.fromiter(map(len, stores), np.int64)
        self._pages, self._offset = pages, offset
        readers = {id(store.reader): store.reader for store in stores}
        self._readers = list(readers.values())
        chunk = max(reader.chunk for reader in self._readers)
        self._chunk, row = chunk, self._row_bytes
        # A page also reads the chunk after it, so a page of one chunk would take twice as long.
        self.page_rows = max(round(PAGE_BYTES / (chunk * row)), 2) * chunk
        pages_each = [-(-reader.shape[0] // self.page_rows) for reader in self._readers]
        self._begins = np.cumsum([0, *pages_each])[:-1] * self.page_rows
        begin = dict(zip(readers, self._begins.tolist(), strict=True))
        self._origins = np.array([begin[id(store.reader)] + store.start for store in stores])

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self._whole_shape[1:] if isinstance(self.columns, int) else super().row_shape

    @property
    def _row_bytes(self) -> int:
        return max(math.prod(self._whole_shape) * self.dtype.itemsize, 1)

    def address(
        self, array: np.ndarray, row: np.ndarray, axes: tuple[Axis, ...] = ()
    ) -> np.ndarray:
        origins: np.ndarray = self._origins[array] + row
        return origins

    def pitch(self, axes: tuple[Axis, ...] = ()) -> int:
        return 1

    def page(self, array: np.ndarray, row: np.ndarray) -> np.ndarray:
        return self.address(array, row) // self.page_rows

    def read(self, number: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        store = self.arrays[number]
        part = store.cut(start, len(store) if stop is None else stop)
        return self._kept(_read(store.reader, part.start, part.start + len(part)))

    def gather(self, address: np.ndarray, axes: tuple[Axis, ...] = ()) -> np.ndarray:
        span = 1 + sum((steps - 1) * rows for steps, rows in axes)
        steps = math.prod(steps for steps, _ in axes)
        if (span - steps) * self._row_bytes > _NEAR_BYTES * steps:
            # Only a few rows of such a span are steps.
            for count, rows in axes:
                address = address[..., None] + np.arange(count) * rows
            return self.gather(address)
        flat = address.ravel()
        if flat.size == 0:
            lengths = tuple(steps for steps, _ in axes)
            return np.empty((*address.shape, *lengths, *self.row_shape), self.dtype)
        if self._pages is not None:
            found = self._from_pages(flat, axes, self._pages)
            if found is not None:
                return self._kept(found.reshape(*address.shape, *found.shape[1:]))
        order = np.argsort(flat, kind="stable")
        sorted_rows, whole = flat[order], None
        for first, stop in self._runs(sorted_rows, span):
            begin, end = int(sorted_rows[first]), int(sorted_rows[stop - 1]) + span
            read = Rows([self._read_at(begin, end)])
            each = np.zeros(stop - first, np.int64)
            windows = read.take(each, sorted_rows[first:stop] - begin, axes)
            if whole is None:
                whole = np.empty((flat.size, *windows.shape[1:]), self.dtype)
            whole[order[first:stop]] = windows
        assert whole is not None
        return self._kept(whole.reshape(*address.shape, *whole.shape[1:]))

    def _runs(self, rows: np.ndarray, span: int) -> Iterator[tuple[int, int]]:
        """Yield which of the sorted rows are read together, as the first and the one after."""
        reader = self._reader_at(rows)
        near = max(_NEAR_BYTES // self._row_bytes, 1)
        local = rows - self._begins[reader]
        last = local[:-1] + span - 1
        apart = (local[1:] > last + near) & (local[1:] // self._chunk > last // self._chunk)
        breaks = apart | (reader[1:] != reader[:-1])
        begins = np.flatnonzero(np.append(True, breaks))
        run = np.cumsum(np.append(0, breaks))
        # Long runs are read in pieces.
        piece = (rows - rows[begins][run]) // max(_PIECE_BYTES // self._row_bytes, 1)
        breaks |= piece[1:] != piece[:-1]
        edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(rows)]
        yield from pairwise(edges)

    def _from_pages(
        self, rows: np.ndarray, axes: tuple[Axis, ...], pages: "Pages"
    ) -> np.ndarray | None:
        """Copy windows from pages, or return None if these are too many for the memory."""
        reader = self._reader_at(rows)
        begins = self._begins[reader]
        page = np.maximum(rows - self._offset, begins) // self.page_rows * self.page_rows
        firsts, which = np.unique(page, return_inverse=True)
        size = (self.page_rows + pages.reach) * self._row_bytes
        if len(firsts) * size > max(pages.most_bytes, _LEAST_PAGES * size):
            return None
        held, slots = pages.get(firsts.tolist(), self)
        return held.take(slots[which], rows - firsts[which], axes)

    def _reader_at(self, rows: np.ndarray) -> np.ndarray:
        if len(self._readers) == 1:
            return np.zeros(len(rows), np.int64)
        return np.searchsorted(self._begins, rows, side="right") - 1

    @property
    def readers(self) -> tuple[Reader, ...]:
        """What the stores are read by."""
        return tuple(self._readers)

    def read_page(self, first: int, reach: int) -> np.ndarray:
        """Return the page that begins at an address, and `reach` rows after it."""
        return self._read_at(first, first + self.page_rows + reach)

    def _read_at(self, begin: int, end: int) -> np.ndarray:
        """Return the rows at addresses of one reader."""
        number = int(self._reader_at(np.array([begin]))[0])
        first = int(self._begins[number])
        return _read(self._readers[number], begin - first, end - first)

    def view(self, start: int, stride: int, count: int, axes: tuple[Axis, ...]) -> np.ndarray:
        raise TypeError("Stores have no views.")  # callers ask `is_stored` first

    def pick(self, columns: int | list[int]) -> Rows:
        return StoredRows(self.arrays, columns)

    def paged(self, pages: "Pages", offset: int) -> Rows:
        return StoredRows(self.arrays, self.columns, pages, offset)

    def cut(self, starts: Numbers, stops: Numbers) -> Rows:
        spans = zip(np.asarray(starts).tolist(), np.asarray(stops).tolist(), strict=True)
        cut = [store.cut(*span) for store, span in zip(self.arrays, spans, strict=True)]
        return StoredRows(cut, self.columns)

    def select(self, numbers: Numbers) -> Rows:
        return StoredRows([self.arrays[n] for n in np.asarray(numbers).tolist()], self.columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredRows, (self.arrays, self.columns, self._pages, self._offset)


class Pages:
    """Pages of stores in memory: those that were used last.

    Args:
        reach: int. Rows after a page that come with it, so that windows that begin in it are whole.
        most_bytes: int. Bytes of pages that are kept.
    """

    def __init__(self, reach: int, most_bytes: int):
        self.reach, self.most_bytes = reach, most_bytes
        # For the first row of each page its place, and the pages as Rows.
        self._held: tuple[dict[int, int], Rows | None] = ({}, None)
        self._used: dict[int, int] = {}
        self._calls = 0

    def get(self, firsts: list[int], source: StoredRows) -> tuple[Rows, np.ndarray]:
        """Return pages as Rows, and which ones begin with these rows. Missing ones are read."""
        places, held = self._held
        if held is None or not places.keys() >= set(firsts):
            arrays = {} if held is None else {at: held.arrays[k] for at, k in places.items()}
            for first in firsts:
                if first not in arrays:
                    arrays[first] = source.read_page(first, self.reach)
            self._drop(arrays, set(firsts))
            places, held = {at: k for k, at in enumerate(arrays)}, Rows([*arrays.values()])
            self._held = places, held  # at once: threads may ask at the same time
        self._calls += 1
        self._used.update(dict.fromkeys(firsts, self._calls))
        return held, np.array([places[first] for first in firsts])

    def _drop(self, pages: dict[int, np.ndarray], needed: set[int]) -> None:
        """Leave out pages that were not used for long, until the others fit into memory."""
        most = max(self.most_bytes, _LEAST_PAGES * max(page.nbytes for page in pages.values()))
        total = sum(page.nbytes for page in pages.values())
        for first in sorted(pages.keys() - needed, key=lambda at: self._used.get(at, 0)):
            if total <= most:
                break
            total -= pages.pop(first).nbytes
            self._used.pop(first, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pages, (self.reach, self.most_bytes)


def pages_of(rows: list[StoredRows], reach: int) -> dict[tuple[Reader, ...], Pages]:
    """Return the pages of rows, by their readers. Rows of the same readers share pages."""
    total, sizes = (
        sum(each.nbytes for each in rows),
        dict.fromkeys((each.readers for each in rows), 0),
    )
    for each in rows:
        sizes[each.readers] += each.nbytes
    return {readers: Pages(reach, HELD_BYTES * size // total) for readers, size in sizes.items()}


def exceeds_pages(nbytes: int) -> bool:
    """Whether so many bytes of stores cannot all stay in memory."""
    return nbytes > HELD_BYTES


def blocks_together(block_bytes: int) -> int:
    """Return how many blocks are shuffled together.

    While one group of blocks follows another, the pages of both are in memory.
    """
    return max(3 * HELD_BYTES // 8 // max(block_bytes, 1), 2)


def _read(reader: Reader, start: int, stop: int) -> np.ndarray:
    """Return rows of a reader that exist among `start … stop - 1`, without gaps in memory."""
    stop = min(stop, reader.shape[0])
    rows = np.ascontiguousarray(reader.read(start, stop))
    if len(rows) != stop - start or rows.dtype != reader.dtype:
        raise ValueError(
            f"A store must keep its rows while frames read it. Received: {len(rows)} rows of "
            f"{rows.dtype} from {reader}, instead of {stop - start} of {reader.dtype}. Frame it "
            "again."
        )
    return rows
