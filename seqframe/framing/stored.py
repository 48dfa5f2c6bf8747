"""Rows of stores: a batch reads what it needs, and neighbouring windows together.

Frames that come in order, or in shuffled blocks, are read by pages of some megabytes. The pages of
a few blocks stay in memory. Other frames are read by themselves.
"""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seqframe.aliases import Numbers
from seqframe.framing.gather import PAGE_BYTES, Axis, Rows
from seqframe.framing.stores import Reader, Store

HELD_BYTES = 2**26  # of pages that are kept in memory, about
_LEAST_PAGES = 5  # that are kept, however large: two groups of two blocks, and room to place them
_MOST_TOGETHER = 128  # blocks that are shuffled together, however small
_LARGE_CHUNK = 2**24  # bytes
_NEAR_BYTES = 2**16  # between two windows, which are faster read than left out
_PIECE_BYTES = 2**24  # that are read at once, to gather windows from
_ABSENT = -(2**62)  # so far from any address that no row of the memory is there


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
        self.row_bytes = max(math.prod(self._whole_shape) * self.dtype.itemsize, 1)
        self.lengths = np.fromiter(map(len, stores), np.int64)
        self._pages, self._offset = pages, offset
        readers = {id(store.reader): store.reader for store in stores}
        self._readers = list(readers.values())
        chunk = max(reader.chunk for reader in self._readers)
        self._chunk, row = chunk, self.row_bytes
        # A page also reads the chunk after it, so a page of one chunk would take twice as long.
        least = 2 if chunk * row <= _LARGE_CHUNK else 1
        self.page_rows = max(round(PAGE_BYTES / (chunk * row)), least) * chunk
        pages_each = [-(-reader.shape[0] // self.page_rows) for reader in self._readers]
        self._begins = np.cumsum([0, *pages_each])[:-1] * self.page_rows
        begin = dict(zip(readers, self._begins.tolist(), strict=True))
        self._origins = np.array([begin[id(store.reader)] + store.start for store in stores])

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self._whole_shape[1:] if isinstance(self.columns, int) else super().row_shape

    @property
    def read_bytes(self) -> int:
        """Bytes of all rows, with the columns that are read but not kept."""
        return int(self.lengths.sum()) * self.row_bytes

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
        if (span - steps) * self.row_bytes > _NEAR_BYTES * steps:
            # Only a few rows of such a span are steps.
            for count, rows in axes:
                address = address[..., None] + np.arange(count) * rows
            return self.gather(address)
        flat = address.ravel()
        if flat.size == 0:
            lengths = tuple(steps for steps, _ in axes)
            return np.empty((*address.shape, *lengths, *self.row_shape), self.dtype)
        if self._pages is not None:
            found = self._pages.gather(flat, self._page_of(flat), axes, self)
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
        near = max(_NEAR_BYTES // self.row_bytes, 1)
        local = rows - self._begins[reader]
        last = local[:-1] + span - 1
        apart = (local[1:] > last + near) & (local[1:] // self._chunk > last // self._chunk)
        breaks = apart | (reader[1:] != reader[:-1])
        begins = np.flatnonzero(np.append(True, breaks))
        run = np.cumsum(np.append(0, breaks))
        # Long runs are read in pieces.
        piece = (rows - rows[begins][run]) // max(_PIECE_BYTES // self.row_bytes, 1)
        breaks |= piece[1:] != piece[:-1]
        edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(rows)]
        yield from pairwise(edges)

    def _page_of(self, address: np.ndarray) -> np.ndarray:
        """Return the pages of the frames whose windows begin at these addresses."""
        if self._offset:
            address = np.maximum(address - self._offset, self._begins[self._reader_at(address)])
        pages: np.ndarray = address // self.page_rows
        return pages

    def _reader_at(self, rows: np.ndarray) -> np.ndarray:
        if len(self._readers) == 1:
            return np.zeros(len(rows), np.int64)
        return np.searchsorted(self._begins, rows, side="right") - 1

    @property
    def readers(self) -> tuple[Reader, ...]:
        """What the stores are read by."""
        return tuple(self._readers)

    def page_lengths(self, reach: int) -> np.ndarray:
        """Return how many rows each page has, with `reach` rows of the pages after it."""
        most = self.page_rows + reach
        counts = [reader.shape[0] for reader in self._readers]
        left = [count - np.arange(0, count, self.page_rows) for count in counts]
        return np.minimum(np.concatenate(left), most)

    def read_page(self, page: int, out: np.ndarray) -> None:
        """Read a page, and rows after it, into an array of so many rows."""
        first = page * self.page_rows
        number = int(self._reader_at(np.array([first]))[0])
        start = first - int(self._begins[number])
        _read_into(self._readers[number], start, out)

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
    """Pages of stores in memory: those that were read last.

    Args:
        reach: int. Rows after a page that come with it, so that windows that begin in it are whole.
        most_bytes: int. Bytes of pages that are kept.
    """

    def __init__(self, reach: int, most_bytes: int):
        self.reach, self.most_bytes = reach, most_bytes
        self._memory: _Memory | None = None

    def gather(
        self, address: np.ndarray, page: np.ndarray, axes: tuple[Axis, ...], source: StoredRows
    ) -> np.ndarray | None:
        """Copy windows from their pages, or return None if these are too many for the memory."""
        memory = self._memory
        # A process that was forked off has its own memory: no lock holds for both.
        if memory is None or memory.process != os.getpid():
            memory = self._memory = _Memory(source, self.reach, self.most_bytes)
        return memory.gather(address, page, axes, source)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pages, (self.reach, self.most_bytes)


class _Memory:
    """Pages in one array, which is allocated once. A new page takes the place of the oldest."""

    def __init__(self, source: StoredRows, reach: int, most_bytes: int):
        self.process, self._lock = os.getpid(), threading.Lock()
        self._lengths, self._page_rows = source.page_lengths(reach), source.page_rows
        row = source.arrays[0].shape[1:]
        most = max(most_bytes // source.row_bytes, _LEAST_PAGES * int(self._lengths.max()))
        self._rows = Rows([np.empty((min(most, int(self._lengths.sum())), *row), source.dtype)])
        self._forget()

    def _forget(self) -> None:
        # The shifts go first and come last: after Ctrl-C, each page with a shift has its place.
        self._shift = np.full(len(self._lengths), _ABSENT)  # from an address to its row here
        self._places: dict[int, tuple[int, int]] = {}  # the rows of each page
        self._next = 0

    def gather(
        self, address: np.ndarray, page: np.ndarray, axes: tuple[Axis, ...], source: StoredRows
    ) -> np.ndarray | None:
        with self._lock:
            rows = address + self._shift[page]
            if np.minimum.reduce(rows) < 0:
                wanted = np.unique(page)
                if self._lengths[wanted].sum() > len(self._rows.arrays[0]):
                    return None
                if not self._load(wanted.tolist(), source):
                    self._forget()  # pages that are wanted are in the way
                    self._load(wanted.tolist(), source)
                rows = address + self._shift[page]
            return self._rows.gather(rows, axes)

    def _load(self, wanted: list[int], source: StoredRows) -> bool:
        """Read those pages that are absent. Return False if another one would have to go."""
        array = self._rows.arrays[0]
        for page in wanted:
            if self._shift[page] != _ABSENT:
                continue
            length = int(self._lengths[page])
            start = self._next if self._next + length <= len(array) else 0
            stop = start + length
            for other in [k for k, (a, b) in self._places.items() if a < stop and start < b]:
                if other in wanted:
                    return False
                self._shift[other] = _ABSENT
                del self._places[other]
            source.read_page(page, array[start:stop])
            self._places[page], self._next = (start, stop), stop
            self._shift[page] = start - page * self._page_rows
        return True


def pages_of(rows: Sequence[Rows], reach: int) -> dict[tuple[Reader, ...], Pages]:
    """Return the pages of stored rows, by their readers. Rows of the same readers share pages."""
    sizes = _sizes(rows)
    # A quarter more, for what a page reads of the next one.
    held, total = 5 * HELD_BYTES // 4, max(sum(sizes.values()), 1)
    return {readers: Pages(reach, held * size // total) for readers, size in sizes.items()}


def stored_bytes(rows: Sequence[Rows]) -> int:
    """Return how many bytes of stores are read to gather all of some rows."""
    return sum(_sizes(rows).values())


def _sizes(rows: Sequence[Rows]) -> dict[tuple[Reader, ...], int]:
    return {each.readers: each.read_bytes for each in rows if isinstance(each, StoredRows)}


def exceeds_pages(nbytes: int) -> bool:
    """Whether so many bytes of stores cannot all stay in memory."""
    return nbytes > HELD_BYTES


def blocks_together(nbytes: int, blocks: int) -> int:
    """Return how many blocks are shuffled together, of data of `nbytes` bytes.

    While one group of blocks follows another, the pages of both are in memory.
    """
    return min(max(HELD_BYTES * blocks // (2 * max(nbytes, 1)), 2), _MOST_TOGETHER)


def _read_into(reader: Reader, start: int, out: np.ndarray) -> None:
    """Read rows of a reader from `start` on into an array."""
    if not reader.read_into(start, out):
        out[...] = _read(reader, start, start + len(out))


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
