"""Schedules: the frames that each step of an epoch takes, and the state rows that it resets."""

from collections.abc import Callable
from functools import cached_property
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.backend.interrupts import PutOff
from seqframe.framing.order import Blocks, epoch_order
from seqframe.framing.shards import Shard
from seqframe.training.feed import Arrays, Columns

if TYPE_CHECKING:
    from seqframe.framing.lanes import Lanes
    from seqframe.training.feed import Feed

# Short epochs run together. One call's schedule has room for this many steps and indices.
_ROOM_STEPS = 4096
_ROOM_INDICES = 2**20
# A long epoch runs in several calls of at most this many indices, or bytes of a stream. Between two
# calls the device waits: half of these bytes made a step of 1.5 MB a quarter slower under JAX.
_MOST_INDICES = 2**22
_MOST_BYTES = 2**24
_MOST_COPIED = 2**26  # bytes of an array that gets room for more rows
_SMALL_BYTES = 2**18  # bytes of an array that may have room for twice its rows
_LEAST_ROOM = 16  # rows

#: On the device: arrays that frames are gathered from, and columns that say which ones.
Chunk = tuple[Arrays, Columns]


class Schedule:
    """The steps of each epoch, as chunks of data for a program.

    Args:
        feed: Feed that the steps gather from.
        batch_size, seed: as for `fit`.
        shuffle: bool, or Blocks of frames to shuffle.
        lanes: Lanes whose batches are the steps, or None.
        resets: bool array `(steps, batch_size)`. Rows whose state each step resets first, or None.
        nbytes: int. Bytes that a call keeps of each frame, such as predictions.
        most_steps: int. Only so many of the first batches are taken. None: all.
        shard: Shard that the feed holds. The feeds of other processes fill the other rows. Or None.
        idle: int. So many of the last shards end with a row that does not count.

    Attributes:
        steps, remainder: full batches of an epoch, and frames of a smaller last one.
        epochs_a_call: epochs for which one call's schedule has room.
        chunk_steps: steps of an epoch that one call's schedule holds, at most.
        last_epoch: the epoch after which a stream prepares no other one.
        fixed: the columns that are the same in each epoch. "weight" is 0 in idle rows.
    """

    last_epoch = 0

    def __init__(
        self,
        feed: "Feed",
        batch_size: int,
        *,
        shuffle: bool | Blocks = False,
        seed: int = 0,
        lanes: "Lanes | None" = None,
        resets: np.ndarray | None = None,
        nbytes: int = 0,
        most_steps: int | None = None,
        shard: Shard | None = None,
        idle: int = 0,
    ):
        self.feed, self.batch_size = feed, batch_size
        self.shuffle, self.seed, self.lanes = shuffle, seed, lanes
        self._nbytes, self.shard = nbytes, shard
        self._shares = 1 if shard is None else shard.num_shards
        self._own_size = batch_size // self._shares  # rows of a batch that come from the feed
        if lanes is None:
            self.steps, rest = divmod(feed.size, self._own_size)
            self.remainder = rest * self._shares
        else:
            self.steps, self.remainder = len(lanes), 0
        if most_steps is not None and most_steps <= self.steps:
            self.steps, self.remainder = most_steps, 0
        room = min(
            _ROOM_STEPS // max(self.steps, 1), _ROOM_INDICES // (self.steps * batch_size or 1)
        )
        most = _MOST_INDICES
        for bytes_each in filter(None, (feed.nbytes_streamed, nbytes)):
            room, most = 1, min(most, _MOST_BYTES // bytes_each)
        self.epochs_a_call = max(room, 1)
        self.chunk_steps = min(self.steps, max(most // batch_size, 1))
        self._next: tuple[Any, _InThread | None] = (None, None)
        self._kept: tuple[Any, Any] = (None, None)
        self._frames: np.ndarray | None = None
        self.fixed: Columns = {}
        if lanes is not None:
            self._frames, weight, _ = lanes._index(np.arange(self.steps))
            if not weight.all():
                self.fixed["weight"] = weight
        self._last: Columns = {}  # columns of a smaller last batch
        if idle and self.batches == -(-feed.size // self._own_size):  # it takes the last row
            self._leave_out(idle)
        self.resets = None if resets is None else resets[: self.steps]
        if self.resets is not None and self.resets.any():
            self.fixed["reset"] = self.resets

    @property
    def batches(self) -> int:
        """Batches of an epoch, including a smaller last one."""
        return self.steps + (self.remainder > 0)

    @property
    def size(self) -> int:
        """Frames of the feed that an epoch takes, without idle rows."""
        rows = self.steps * self._own_size + self.remainder // self._shares
        return rows if self.lanes is None else self.feed.size

    @property
    def can_group(self) -> bool:
        """Whether several epochs can run in one call."""
        whole = self.chunk_steps == self.steps and not self.remainder
        return whole and not self.feed.nbytes_streamed

    def epochs(self, first: int, count: int) -> Chunk:
        """Return the full batches of several epochs as one chunk."""
        orders = [self._frame_numbers(first + k, 0, self.steps) for k in range(count)]
        columns = {name: np.concatenate([column] * count) for name, column in self.fixed.items()}
        columns["index"] = self.feed.index(np.concatenate(orders))
        return self._on_device({}, _filled(columns, self._room))

    def chunk(self, epoch: int, number: int) -> Chunk:
        """Return the chunk number `number` of an epoch. A stream prepares the next one."""
        place = (epoch, number)
        if self._kept[0] != place:
            self._kept = (None, None)  # no longer needed, and may be large
            prepared, thread = self._next  # kept until it ends, so that `close` can wait for it
            found = thread.result() if thread is not None and prepared == place else None
            self.close()
            self._kept = (place, found or self._load(*place))
            following = self._following(*place)
            if following is not None:
                with PutOff():  # otherwise an interruption could lose a thread that has begun
                    self._next = (following, _InThread(self._load, *following))
        return self._kept[1]

    def close(self) -> None:
        """Wait for the thread that prepares a chunk, and give up the chunk."""
        with PutOff():
            (_, thread), self._next = self._next, (None, None)
            if thread is not None:
                thread.wait()

    def _following(self, epoch: int, number: int) -> tuple[int, int] | None:
        """Return the epoch and the number of the chunk that a stream prepares, if any."""
        if not self.feed.nbytes_streamed:
            return None
        if (number + 1) * self.chunk_steps < self.steps:
            return epoch, number + 1
        return (epoch + 1, 0) if epoch < self.last_epoch else None

    def batch(self, epoch: int, number: int) -> Chunk:
        """Return the batch number `number` of an epoch, as a chunk of one step."""
        size = self.batch_size if number < self.steps else self.remainder
        return self._on_device(*self.on_host(epoch, number), size)

    def on_host(self, epoch: int, number: int) -> tuple[Arrays, Columns]:
        """Return the batch number `number` of an epoch in NumPy arrays."""
        if number < self.steps:
            return self._rows(epoch, number, number + 1, room=1)
        positions = np.arange(self.steps * self._own_size, self.feed.size)
        arrays, columns = self._loaded(self._order(positions, epoch)[None], 1, epoch)
        return arrays, {**columns, **self._last}

    def _leave_out(self, idle: int) -> None:
        """Give weight 0 to the last row of each of the last shards."""
        own_size = (self.remainder or self.batch_size) // self._shares
        last = np.ones((self._shares, own_size), np.float32)
        last[-idle:, -1] = 0
        if self.remainder:
            self._last["weight"] = last.reshape(1, -1)
        else:
            self.fixed["weight"] = np.ones((self.steps, self.batch_size), np.float32)
            self.fixed["weight"][-1] = last.ravel()

    def places(self, first: int, stop: int) -> np.ndarray:
        """Return the frame of the feed in each row of unshuffled batches; -1 if there is none."""
        if self.lanes is None:
            frames = np.arange(first * self._own_size, min(stop * self._own_size, self.size))
            if self.shard is None:
                return frames
            rows = np.full((stop - first, self._shares, len(frames) // (stop - first)), -1)
            rows[:, self.shard.number] = frames.reshape(stop - first, -1)
            return rows.ravel()
        frames = self._frame_numbers(0, first, stop).ravel()
        if "weight" not in self.fixed:
            return frames
        return np.where(self.fixed["weight"][first:stop].ravel() > 0, frames, -1)

    def _load(self, epoch: int, number: int) -> Chunk:
        """Return a chunk on the device, padded to the size of a call."""
        first = number * self.chunk_steps
        stop = min(first + self.chunk_steps, self.steps)
        arrays, columns = self._rows(epoch, first, stop, self.chunk_steps)
        if self.feed.nbytes_streamed:
            return self._on_device(arrays, _filled(columns, self.chunk_steps))
        return self._on_device(arrays, _filled(columns, self._room))

    def _rows(self, epoch: int, first: int, stop: int, room: int) -> tuple[Arrays, Columns]:
        """Return the steps `first … stop - 1` of an epoch; a stream's have room for `room`."""
        arrays, columns = self._loaded(self._frame_numbers(epoch, first, stop), room, epoch)
        fixed = {name: column[first:stop] for name, column in self.fixed.items()}
        return arrays, {**columns, **fixed}

    def _loaded(self, numbers: np.ndarray, room: int, epoch: int) -> tuple[Arrays, Columns]:
        """Load frames `(steps, batch_size)`; of a stream only the rows of this process."""
        if self.feed.nbytes_streamed and self.shard is None:
            numbers = numbers[:, backend.own_rows(numbers.shape[1])]
        return self.feed.load(numbers, room, epoch)

    def _on_device(self, arrays: Arrays, columns: Columns, size: int | None = None) -> Chunk:
        if not self.feed.nbytes_streamed:
            return self._resident, backend.to_device(columns)
        batch = backend.give_to_device(columns["batch"], size or self.batch_size)
        others = {name: column for name, column in columns.items() if name != "batch"}
        return {}, {"batch": batch, **backend.to_device(others)}

    @property
    def _room(self) -> int:
        """Steps for which a call's columns have room, when frames stay on the device."""
        if self.chunk_steps < self.steps:
            return self.chunk_steps
        return room_for(self.steps * self.epochs_a_call, self.batch_size * (4 + self._nbytes))

    @cached_property
    def _resident(self) -> Arrays:
        return backend.to_device(tree.map_structure(_with_room, self.feed.arrays))

    def _frame_numbers(self, epoch: int, first: int, stop: int) -> np.ndarray:
        if self._frames is not None:
            return self._frames[first:stop]
        positions = np.arange(first * self._own_size, stop * self._own_size)
        return self._order(positions, epoch).reshape(-1, self._own_size)

    def _order(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return positions
        if isinstance(self.shuffle, Blocks):
            return self.shuffle(positions, self.seed, epoch)
        return epoch_order(self.feed.size, self.seed, epoch, positions)


def place_rows(rows: Any, place: np.ndarray, size: int, into: Any = None) -> Any:
    """Return a nest of arrays of `size` rows, with rows at their places; -1 leaves a row out.

    If `into` is given, the rows are written into its arrays.

    >>> place_rows(np.array([10, 20, 30]), np.array([1, -1, 0]), 2)
    array([30, 10])
    """
    if into is None:
        into = tree.map_structure(lambda row: np.empty((size, *row.shape[1:]), row.dtype), rows)
    for whole, part in zip(tree.flatten(into), tree.flatten(rows), strict=True):
        whole[place[place >= 0]] = part[place >= 0]
    return into


def room_for(rows: int, nbytes: int) -> int:
    """Return the rows of an array with room for more, so that longer data need no new program.

    A row has `nbytes` bytes. A small array has room for up to twice the rows, another one for an
    eighth more.

    >>> [room_for(rows, 4) for rows in (1, 17, 1000, 1025)]
    [16, 32, 1024, 2048]
    >>> [room_for(rows, 1000) for rows in (1, 17, 1000, 1024, 1025)]
    [16, 32, 1024, 1024, 1152]
    """
    doubled = max(2 ** (rows - 1).bit_length(), _LEAST_ROOM)
    if doubled * nbytes <= _SMALL_BYTES:
        return doubled
    unit = max(2 ** (rows.bit_length() - 4), _LEAST_ROOM)
    return -(-rows // unit) * unit


def _with_room(array: np.ndarray) -> np.ndarray:
    """Return an array with room for more rows, if it is not so large that a copy matters."""
    if array.nbytes > _MOST_COPIED:
        return array
    return _padded(array, room_for(len(array), array.nbytes // len(array)))


def _filled(columns: Columns, count: int) -> Columns:
    """Return columns of `count` rows, so that one program runs every chunk."""
    return {
        name: tree.map_structure(lambda array: _padded(array, count), column)
        for name, column in columns.items()
    }


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    if len(array) >= rows:
        return array
    padded = np.zeros((rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


class _InThread(Thread):
    """A call of a function in a thread of its own, which ends with the call."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        super().__init__(name="seqframe-stream", daemon=True)
        self._call, self._returned = (function, args), None
        self._distribution = keras.distribution.distribution()  # each thread has its own
        self._error: BaseException | None = None
        self._has_ended = Event()
        self.start()

    def run(self) -> None:
        function, args = self._call
        try:
            if self._distribution is not None:
                keras.distribution.set_distribution(self._distribution)
            self._returned = function(*args)
        except BaseException as error:  # the caller raises it
            self._error = error
        finally:
            self._has_ended.set()

    def wait(self) -> None:
        """Wait until the call has ended. `join` takes a thread for ended if it is interrupted."""
        self._has_ended.wait()
        self.join()

    def result(self) -> Any:
        """Return what the function returns, or raise what it raises."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._returned
