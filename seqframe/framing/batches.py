"""Batches: an iterator over NumPy batches of frames that can be indexed, stopped and resumed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from inspect import GEN_CLOSED, getgeneratorstate
from numbers import Integral
from operator import length_hint
from typing import Any, Protocol, Self

import numpy as np

from seqframe.aliases import Batch
from seqframe.framing.checks import check_bytes, check_integer
from seqframe.framing.geometry import Geometry
from seqframe.framing.order import Order
from seqframe.framing.source import Rule

_ORDER_BLOCK = 2**14  # positions whose order and places are computed together
_GATHER_BYTES = 2**18  # small batches are gathered together up to this size, which fits into caches


class FrameArrays(Protocol):
    """`Frames`, as batches use them."""

    @property
    def framer(self) -> Rule: ...

    @property
    def _fingerprint(self) -> int: ...

    @property
    def _nbytes(self) -> int: ...

    def _read_by(self, *, in_order: bool) -> "FrameArrays": ...

    @property
    def _pack(self) -> Callable[[Any], Batch]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Batch: ...

    def redraw(self, epoch: int) -> "FrameArrays": ...

    def _take(self, index: np.ndarray) -> Batch: ...

    def _place(self, index: np.ndarray) -> Any: ...

    def _gather(self, places: Any, which: slice = slice(None)) -> list[np.ndarray]: ...

    def _views(self) -> list[np.ndarray] | None: ...

    def _resolve(self, index: Any) -> Any: ...


class BatchIterator(ABC):
    """An iterator over batches that knows its position.

    Subclasses define batch `k`, the number of batches, and the identity of the frames.
    """

    def __init__(self) -> None:
        # Counts the batches that a loop takes, at no cost: the number left gives the position.
        self._numbers: Iterator[int] | None = None
        self._running: Generator[Any, None, None] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches."""

    @abstractmethod
    def __getitem__(self, k: int) -> Batch:
        """Return batch `k`, without moving the iterator."""

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """Return the JSON-safe values that a state must agree with."""

    @abstractmethod
    def _run(self, numbers: Iterator[int]) -> Generator[Any, None, None]:
        """Yield the batches of consecutive numbers, and take each number as its batch is made."""

    @property
    def position(self) -> int:
        """Number of the next batch."""
        return 0 if self._numbers is None else len(self) - length_hint(self._numbers)

    def _go_on(self, position: int) -> Generator[Any, None, None]:
        if self._running is not None:
            self._running.close()
        self._numbers = iter(range(position, len(self)))
        self._running = self._run(self._numbers)
        return self._running

    def __iter__(self) -> Iterator[Any]:
        """Continue from the position of the iterator."""
        # All loops share one generator, as loops over a file do. An error closes it.
        if self._running is None or getgeneratorstate(self._running) == GEN_CLOSED:
            return self._go_on(self.position)
        return self._running

    def __next__(self) -> Any:
        return next(iter(self))

    def __getstate__(self) -> dict[str, Any]:
        # A copy, in this process or another, continues by itself from the same position.
        numbers = iter(range(self.position, len(self)))
        return {**vars(self), "_numbers": numbers, "_running": None}

    def get_state(self) -> dict[str, Any]:
        """Return the position of the iterator, as JSON-safe values for `set_state`.

        >>> from seqframe import SequenceFramer
        >>> batches = SequenceFramer(2).frame("ABCDEFG").batches(2)
        >>> _ = next(batches)
        >>> batches.get_state()["batch"]
        1
        """
        return {**self._identity(), "batch": self.position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from the position that `get_state` returned, here or in another iterator.

        Raises:
            ValueError: if the state belongs to other frames or other batches.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFG")
        >>> batches, again = frames.batches(2), frames.batches(2)
        >>> _ = next(batches)
        >>> again.set_state(batches.get_state())
        >>> again.position
        1
        """
        check_state(state, self._identity())
        check_batch(state["batch"], len(self))
        self._go_on(state["batch"])


class Batches(BatchIterator):
    """An epoch's batches of frames: an iterator with random access. `Frames.batches` makes it.

    `len(batches)` is the number of batches, and `batches[k]` is batch `k`. The order depends only
    on the seed, the epoch and the shard. So any batch can be made again, on any machine.

    Attributes:
        frames: Frames of the batches.
        batch_size: int. Frames of a batch.
        order: Order of the frames.
        epoch: int. Number of the epoch.
        drop_last: bool. Whether a smaller last batch is left out.
        redraw: bool. Whether random subsequences are drawn anew for the epoch.

    Example:

    >>> from seqframe import SequenceFramer
    >>> batches = SequenceFramer(1).frame("ABCDEFG").batches(2, shuffle=True, seed=7)
    >>> len(batches), batches[1][1]
    (3, array([1, 5], dtype=int32))
    >>> [y.tolist() for x, y in batches]
    [[6, 3], [1, 5], [2, 4]]
    """

    def __init__(
        self,
        frames: FrameArrays,
        batch_size: int,
        order: Order,
        epoch: int = 0,
        drop_last: bool = False,
        redraw: bool = False,
    ):
        super().__init__()
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.epoch = check_integer("epoch", epoch, 0)
        self.frames, self.order = frames, order
        self.drop_last, self.redraw = bool(drop_last), bool(redraw)
        if redraw:
            check_redraw(frames.framer.geometry)
        check_bytes(
            "A batch",
            min(self.batch_size, self.num_frames) * frames._nbytes,
            "Choose a smaller `batch_size`.",
        )
        self._draw()

    def _draw(self) -> None:
        # The first position whose frame is known, and the known frames from there on.
        self._known = (-1, np.empty(0, np.int64))
        drawn = self.frames.redraw(self.epoch) if self.redraw else self.frames
        self._drawn = drawn._read_by(in_order=self.order.is_local)

    @property
    def num_frames(self) -> int:
        """Number of frames in all the batches."""
        if not self.drop_last:
            return len(self.order)
        left = self.order.size - self.order.begin
        even = left // self.order.num_shards  # the same for every shard
        return even - even % self.batch_size

    def __len__(self) -> int:
        return -(-self.num_frames // self.batch_size)

    def __getitem__(self, k: int) -> Batch:
        first = resolve_batch(k, len(self)) * self.batch_size
        stop = min(first + self.batch_size, self.num_frames)
        return self._drawn._take(self._ordered(first, stop))

    def _ordered(self, first: int, stop: int) -> np.ndarray:
        """Return the frames at the positions `first … stop - 1` of the epoch.

        If they follow the last call's positions, a whole block is computed. A call costs more than
        a position.
        """
        begin, known = self._known
        end = begin + len(known)
        if not begin <= first < stop <= end:
            ahead = first + _ORDER_BLOCK if first == end else stop
            positions = np.arange(first, min(max(ahead, stop), self.num_frames))
            begin, known = first, self.order(positions, self.epoch)
            self._known = begin, known  # at once: threads may ask at the same time
        return known[first - begin : stop - begin]

    def at_epoch(self, epoch: int) -> Self:
        """Return another epoch's batches; `epoch` is an int ≥ 0.

        >>> from seqframe import SequenceFramer
        >>> batches = SequenceFramer(2).frame("ABCDEFG").batches(5, shuffle=True, seed=7)
        >>> [y.tolist() for x, y in batches], [y.tolist() for x, y in batches.at_epoch(1)]
        ([[4, 2, 6, 3, 5]], [[5, 2, 4, 3, 6]])
        """
        order = self.order if epoch == self.epoch else self.order.from_position(0)
        return self._dealt(order, epoch)

    def shard(self, num_shards: int, index: int) -> Self:
        """Return the batches of one of `num_shards` workers.

        The workers take turns in the order of the epoch, so that together they see each frame once.
        Their numbers of frames differ by at most one. With `drop_last=True` all have the same
        number of batches. If you shuffle, give all workers the same `seed`.

        Args:
            num_shards: int ≥ 1. Number of workers.
            index: int. Number of this worker, from 0.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(1).frame("ABCDEFG")
        >>> [y.tolist() for x, y in frames.batches(2).shard(2, 1)]
        [[2, 4], [6]]
        """
        return self._dealt(self.order.shard(num_shards, index), self.epoch)

    def _dealt(self, order: Order, epoch: int) -> Self:
        return type(self)(self.frames, self.batch_size, order, epoch, self.drop_last, self.redraw)

    def _run(self, numbers: Iterator[int]) -> Generator[Batch, None, None]:
        pack, batches = self._drawn._pack, None
        for k in numbers:
            batches = batches or self._copied(k)
            yield pack(next(batches))

    def _copied(self, first: int) -> Iterator[list[np.ndarray]]:
        """Copy the arrays of batch `first` and of those that follow.

        They are copies, never views: TensorFlow may write into the memory it is given. A NumPy call
        costs more than a frame, so small batches are copied together. A large batch is not kept
        here, so that the next one can have its memory.
        """
        size = self.batch_size
        together = size * max(_GATHER_BYTES // (size * self._drawn._nbytes or 1), 1)
        parts = self._copied_parts(first * size, together)
        if together == size:
            return parts
        return (
            [array[a : a + size] for array in arrays]
            for arrays in parts
            for a in range(0, len(arrays[0]), size)
        )

    def _copied_parts(self, first: int, together: int) -> Iterator[list[np.ndarray]]:
        """Copy the arrays from position `first` on, `together` frames at a time."""
        frames, end = self._drawn, self.num_frames
        views = frames._views() if self.order.is_identity else None
        if views is not None:  # to copy a slice is faster than to gather
            views = [view[:end] for view in views]
            for start in range(first, end, together):
                yield [view[start : start + together].copy() for view in views]
            return
        # The order and the places of many batches are computed at once.
        block = together * -(-_ORDER_BLOCK // together)
        for start in range(first, end, block):
            positions = np.arange(start, min(start + block, end))
            places = frames._place(self.order(positions, self.epoch))
            for k in range(0, len(positions), together):
                yield frames._gather(places, slice(k, k + together))

    def _identity(self) -> dict[str, Any]:
        blocks = self.order.blocks
        return {
            "fingerprint": self.frames._fingerprint,
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "redraw": self.redraw,
            "frames": self.order.size,
            "shuffle": self.order.shuffle if blocks is None else str(blocks),
            "num_shards": self.order.num_shards,
            "shard": self.order.shard_index,
        }

    def get_state(self) -> dict[str, Any]:
        own = {"epoch": self.epoch, "seed": self.order.seed, "begin": self.order.begin}
        return {**super().get_state(), **own}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from the position that `get_state` returned, here or in another process.

        All workers take equally many batches. So the state of one of them is a state for all. If
        there are other workers than before, they share what is left of the epoch.

        Raises:
            ValueError: if the state belongs to other frames or other batches.

        Example:

        >>> from seqframe import SequenceFramer
        >>> batches = SequenceFramer(1).frame("ABCDEFG").batches(2)
        >>> one = batches.shard(2, 0)
        >>> next(one)[1], next(batches.shard(2, 1))[1]
        (array([1, 3], dtype=int32), array([2, 4], dtype=int32))
        >>> batches.set_state(one.get_state())  # one process goes on for two
        >>> [y.tolist() for x, y in batches]
        [[5, 6]]
        """
        own = self._identity()
        del own["shard"]
        num_shards, batch_size = own.pop("num_shards"), own.pop("batch_size")
        check_state(state, own)
        epoch = check_integer("epoch", state.get("epoch"), 0)
        begin = check_integer("begin", state.get("begin", 0), 0)
        batch, workers = state["batch"], check_integer("num_shards", state.get("num_shards"), 1)
        if workers == num_shards:
            check_state(state, {"batch_size": batch_size})
        else:
            size = check_integer("batch_size", state.get("batch_size"), 1)
            begin, batch = min(begin + batch * size * workers, self.order.size), 0
        seed = check_integer("seed", state.get("seed"), 0)
        rest = self._dealt(self.order.with_seed(seed).from_position(begin), epoch)
        check_batch(batch, len(rest))
        self.order, self.epoch = rest.order, epoch
        self._draw()
        self._go_on(batch)


def check_state(state: Any, identity: dict[str, Any]) -> None:
    """Raise if `state` does not come from an iterator over the same batches."""
    if not isinstance(state, dict) or "batch" not in state:
        raise TypeError(f"`state` must be a dict that `get_state` returned. Received: {state!r}.")
    for name, value in identity.items():
        if state.get(name) != value:
            raise ValueError(
                "`state` must come from an iterator over the same frames and batches. Received: "
                f"{name}={state.get(name)!r}, but this iterator has {value!r}."
            )
    check_integer("batch", state["batch"], 0)


def check_batch(batch: int, batches: int) -> None:
    """Raise if an iterator over so many batches has no such position."""
    if batch > batches:
        raise ValueError(f"`batch` must be in 0 … {batches}. Received: batch={batch}.")


def resolve_batch(k: Any, batches: int) -> int:
    """Return a batch number. Negative numbers count from the end, as in a list."""
    if isinstance(k, bool) or not isinstance(k, Integral):
        raise TypeError(f"The number of a batch must be an integer. Received: index {k!r}.")
    number = int(k)
    if not -batches <= number < batches:
        raise IndexError(f"There are {batches} batches. Received: index {k}.")
    return number % batches


def check_redraw(geometry: Geometry) -> None:
    """Raise if frames are not drawn at random."""
    if not geometry.draws:
        raise ValueError(
            '`redraw=True` needs `mode="subsequences"`, whose frames are random. '
            f"Received: {type(geometry).__name__.lower()}. Leave it out."
        )
