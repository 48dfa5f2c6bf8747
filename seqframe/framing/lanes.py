"""Lanes: the rows of stateful batches, which continue from batch to batch until they reset."""

import heapq
import warnings
from collections.abc import Generator, Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seqframe.aliases import Batch
from seqframe.framing.batches import BatchIterator, FrameArrays, resolve_batch
from seqframe.framing.checks import check_bytes, check_integer, check_shard
from seqframe.framing.cutters import frame_weight_shape
from seqframe.framing.geometry import Geometry
from seqframe.framing.html import Row, html_table
from seqframe.framing.index import Located
from seqframe.framing.left_out import tell_left_over
from seqframe.framing.shards import Shard, shard_numbers
from seqframe.framing.source import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from seqframe.framing.datasets import LanesDataset


_BLOCK = 2**13  # frames whose places are computed together
_READ_BYTES = 2**24  # frames that are read from a store together


class LaneFrames(FrameArrays, Protocol):
    """`Frames`, as lanes use them."""

    source: Source

    @property
    def _counts(self) -> np.ndarray: ...

    @property
    def _stored_bytes(self) -> int: ...

    @property
    def _breaks(self) -> np.ndarray: ...

    @property
    def _left_over(self) -> int: ...

    @property
    def _keeps_order(self) -> bool: ...

    def _locate(self, index: np.ndarray) -> Located: ...

    def _html_rows(self) -> list[Row]: ...


class Lanes:
    """Stateful batches: row *b* of batch *k + 1* continues row *b* of batch *k*.

    `Frames.lanes` makes them. One long sequence is cut into `batch_size` contiguous lanes of nearly
    equal length. Many sequences are packed into the lanes, longest first, each whole in one lane.
    If there are fewer sequences than lanes, they are joined and cut like one.

    Attributes:
        frames: Frames of windows.
        batch_size: int. Number of lanes: the batch size of the stateful model.

    Example:

    >>> from seqframe import SequenceFramer
    >>> lanes = SequenceFramer(1).frame("ABCDEFG").lanes(2)
    >>> len(lanes)
    3
    >>> x, y, weight = lanes[0]
    >>> x.ravel(), y
    (array([0, 3], dtype=int32), array([1, 4], dtype=int32))
    >>> lanes.resets(0), lanes.resets(1)
    (array([ True,  True]), array([False, False]))
    """

    def __init__(self, frames: LaneFrames, batch_size: int, *, cut: bool = True):
        batch_size = check_integer("batch_size", batch_size, 1)
        if frames.framer.geometry.draws:
            raise ValueError(
                "Lanes need frames that continue each other. Received: random subsequences. "
                'Use `mode="windows"` for a stateful model.'
            )
        if not frames._keeps_order:
            raise ValueError(
                "Lanes need the frames of each sequence together. Received: a subset that changes "
                "the order of the sequences. Pass `subset` an index that rises."
            )
        if cut and batch_size > len(frames):
            raise ValueError(
                f"`batch_size` must not exceed the number of frames, {len(frames)}. "
                f"Received: batch_size={batch_size}."
            )
        check_bytes("A batch", batch_size * frames._nbytes, "Choose a smaller `batch_size`.")
        if cut:
            warn_of_steps(frames)
        self.frames = frames
        self.batch_size = self._whole_size = batch_size
        self._shard: Shard | None = None
        self._whole: Lanes | None = None  # the lanes that a shard is of
        # Without `cut` each sequence is whole in a lane, and lanes may be empty.
        self._is_cut = cut and np.count_nonzero(frames._counts) < batch_size
        if self._is_cut:
            lanes = cut_lanes(len(frames), batch_size)
        else:
            lanes = pack_lanes(frames._counts, batch_size)
        self._num_batches = max(sum(count for _, count in lane) for lane in lanes)
        rows, firsts, counts = split_at_breaks(lanes, frames._breaks)
        before = np.cumsum(counts) - counts
        # The first of a row's segments begins where the row does.
        self._position = before - before[np.searchsorted(rows, rows)]
        self._first, self._count = firsts, counts
        # Sorted, so that one binary search finds the segment that a row is in at a batch.
        self._key = rows * (self._num_batches + 1) + self._position

    def __len__(self) -> int:
        """Number of batches."""
        return self._num_batches

    def __getitem__(self, k: int) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return batch `k` as `(x, y, sample_weight)`. Rows that ran out of data have weight 0.

        Weights are `(batch_size,)`, with one more axis of length 1 for each axis of steps that
        targets have.
        """
        index, weight, _ = self._index(np.array([resolve_batch(k, len(self))]))
        return self._weighted(self.frames._take(index[0]), weight[0])

    def _weighted(self, batch: Batch, weight: np.ndarray) -> tuple[Any, Any, np.ndarray]:
        """Return a batch with the weights of its rows, times its own if it has some."""
        x, y, *own = batch
        if own:
            weight = own[0] * weight.reshape(-1, *(1,) * (own[0].ndim - 1)).astype(own[0].dtype)
        else:
            weight = weight.reshape(-1, *frame_weight_shape(self.frames.framer))
        return x, y, weight

    def __iter__(self) -> "LaneBatches":
        return self.batches()

    def batches(self) -> "LaneBatches":
        """Return an iterator over the batches that can be stopped and resumed.

        Its `position` is the number of batches so far. `get_state` returns it in a JSON-safe dict,
        and `set_state` of another iterator goes on from there.

        >>> from seqframe import SequenceFramer
        >>> batches = SequenceFramer(1).frame("ABCDEFG").lanes(2).batches()
        >>> x, y, weight = next(batches)
        >>> y, batches.position
        (array([1, 4], dtype=int32), 1)
        """
        return LaneBatches(self)

    def shard(self, num_shards: int, index: int) -> "Lanes":
        """Return the rows of one of `num_shards` processes.

        All shards have as many batches as the whole, of equally many rows. If the rows do not
        divide, smaller shards have a row more, which idles with weight 0. A state of an iterator
        holds for all shards, whatever their number. `fit` in several processes of JAX trains on all
        rows, as if each process had passed the whole lanes.

        Args:
            num_shards: int ≥ 1. Number of processes.
            index: int. Number of this process, from 0.

        Example:

        >>> from seqframe import SequenceFramer
        >>> lanes = SequenceFramer(1).frame("ABCDEFG").lanes(3)
        >>> lanes[0][1]
        array([1, 3, 5], dtype=int32)
        >>> [lanes.shard(2, index)[0][1:] for index in range(2)]  # doctest: +NORMALIZE_WHITESPACE
        [(array([1, 3], dtype=int32), array([1., 1.], dtype=float32)),
         (array([5, 1], dtype=int32), array([1., 0.], dtype=float32))]
        """
        num_shards, index = check_shard(num_shards, index, self.batch_size, "rows")
        own, is_short = shard_numbers(self.batch_size, num_shards, index, drop_last=False)
        rows, position, first, count = self._segments
        which = (rows >= own.start) & (rows < own.stop)
        idle = np.zeros(int(is_short), np.int64)
        rows = np.append(rows[which] - own.start, idle + len(own))
        shard = copy(self)
        shard.batch_size = len(own) + is_short
        shard._position = np.append(position[which], idle)
        shard._first, shard._count = np.append(first[which], idle), np.append(count[which], idle)
        shard._key = rows * (self._num_batches + 1) + shard._position
        shard._shard = Shard(num_shards, index, self.frames._fingerprint)
        shard._whole = self
        return shard

    def _run(self, numbers: Iterator[int]) -> Generator[Batch, None, None]:
        """Yield the batches of consecutive numbers."""
        size, first, stop, end = self.batch_size, 0, 0, len(self)
        # Batches that follow each other are read from a store by longer stretches.
        together, block = self.frames._stored_bytes > 0, _BLOCK
        if together:
            block = min(block, _READ_BYTES // (self.frames._nbytes or 1))
        for k in numbers:
            if k >= stop:
                # Compute places of several batches at once: a NumPy call costs more than a place.
                first, stop = k, min(k + max(block // size, 1), end)
                index, weights, _ = self._index(np.arange(first, stop))
                places = self.frames._place(index.ravel())
                read = self.frames._gather(places) if together else None
            which = slice((k - first) * size, (k - first + 1) * size)
            if read is None:
                arrays = self.frames._gather(places, which)
            else:
                arrays = [array[which] for array in read]
            yield self._weighted(self.frames._pack(arrays), weights[k - first])

    def resets(self, k: int) -> np.ndarray:
        """Return which rows begin a new sequence at batch `k`: a bool array `(batch_size,)`.

        >>> from seqframe import SequenceFramer
        >>> lanes = SequenceFramer(1).frame(["ABCDE", "ABC", "AB"]).lanes(2)
        >>> [lanes.resets(k).tolist() for k in range(4)]
        [[True, True], [False, False], [False, True], [False, False]]
        """
        return self._index(np.array([resolve_batch(k, len(self))]))[2].ravel()

    def _index(self, batches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return frames, weights and resets of several batches; arrays `(n, batch_size)`.

        Rows that ran out repeat their last frame, with weight 0. Empty rows repeat the first frame.
        """
        rows = np.arange(self.batch_size)
        key = rows * (self._num_batches + 1) + np.asarray(batches)[:, None]
        segment = np.searchsorted(self._key, key, side="right") - 1
        offset = np.asarray(batches)[:, None] - self._position[segment]
        active = offset < self._count[segment]
        frame = self._first[segment] + np.minimum(offset, np.maximum(self._count[segment] - 1, 0))
        return frame, active.astype(np.float32), offset == 0

    @property
    def _segments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Row, first batch, first frame and number of frames of each stretch without a reset."""
        rows = self._key // (self._num_batches + 1)
        return rows, self._position, self._first, self._count

    def plot(self, batches: int | slice | None = None, *, ax: "Axes | None" = None) -> "Axes":
        """Draw which rows continue from batch to batch, begin a new sequence, or ran out of data.

        It needs matplotlib.

        Args:
            batches: int ≥ 1, how many of the first batches; or a slice of batches. None: all
                batches, or the first ones that the picture can distinguish.
            ax: matplotlib.axes.Axes to draw on; None makes a figure.

        Example:

        >>> import matplotlib
        >>> from seqframe import SequenceFramer
        >>> ax = SequenceFramer(1).frame("ABCDEFG").lanes(2).plot()
        """
        from seqframe.framing.pictures import plot_lanes

        return plot_lanes(self, batches, ax)

    def _repr_html_(self) -> str:
        rows, _, _, counts = self._segments
        filled = counts.sum() / (len(self) * self.batch_size)
        own = [
            ("batches", f"{len(self):,}"),
            ("rows", f"{self.batch_size:,}"),
            ("resets", f"{len(rows):,} in an epoch"),
            ("filled", f"{filled:.1%} (the rest has weight 0)" if filled < 1 else "100%"),
            ("frames", f"{len(self.frames):,}"),
        ]
        return html_table("Lanes", [*own, *self.frames._html_rows()])

    def dataset(self) -> "LanesDataset":
        """Return the batches as a `keras.utils.PyDataset`, for `model.fit(…, shuffle=False)`.

        Pass `StatefulTrainer(lanes=lanes)` among the callbacks. It resets a row when the row begins
        a new sequence.

        >>> import keras
        >>> from seqframe import SequenceFramer
        >>> len(SequenceFramer(1).frame([1.0, 2.0, 3.0, 4.0, 5.0]).lanes(2).dataset())
        2
        """
        from seqframe.framing.datasets import LanesDataset

        return LanesDataset(self)

    def __repr__(self) -> str:
        return f"Lanes({len(self)} batches of {self.batch_size} rows over {self.frames!r})"


class LaneBatches(BatchIterator):
    """An iterator over the batches of lanes. `Lanes.batches` makes it."""

    def __init__(self, lanes: Lanes):
        super().__init__()
        self.lanes = lanes

    def __len__(self) -> int:
        return len(self.lanes)

    def __getitem__(self, k: int) -> tuple[Any, np.ndarray, np.ndarray]:
        return self.lanes[k]

    def _run(self, numbers: Iterator[int]) -> Generator[Batch, None, None]:
        return self.lanes._run(numbers)

    def _identity(self) -> dict[str, Any]:
        frames = self.lanes.frames
        return {
            "fingerprint": frames._fingerprint,
            "frames": len(frames),
            "lanes": self.lanes._whole_size,
        }


def cut_lanes(size: int, batch_size: int) -> list[list[tuple[int, int]]]:
    """Cut frames `0 … size - 1` into contiguous lanes whose sizes differ by at most one.

    Returns, for each lane, its segments as (first frame, number of frames).

    >>> cut_lanes(7, 3)
    [[(0, 3)], [(3, 2)], [(5, 2)]]
    """
    share, longer = divmod(size, batch_size)
    lanes, first = [], 0
    for row in range(batch_size):
        count = share + (row < longer)
        lanes.append([(first, count)])
        first += count
    return lanes


def pack_lanes(counts: np.ndarray, batch_size: int) -> list[list[tuple[int, int]]]:
    """Pack whole sequences of `counts` frames into lanes: longest first, each into the emptiest.

    Sequences without frames are left out.

    Source: Graham, "Bounds on Multiprocessing Timing Anomalies", 1969 (longest processing time).

    >>> pack_lanes(np.array([2, 5, 3]), 2)
    [[(2, 5)], [(7, 3), (0, 2)]]
    """
    firsts = np.cumsum(counts) - counts
    lanes: list[list[tuple[int, int]]] = [[] for _ in range(batch_size)]
    emptiest = [(0, row) for row in range(batch_size)]
    for sequence in np.argsort(-counts, kind="stable"):
        count = int(counts[sequence])
        if count:
            filled, row = heapq.heappop(emptiest)
            lanes[row].append((int(firsts[sequence]), count))
            heapq.heappush(emptiest, (filled + count, row))
    return lanes


def split_at_breaks(
    lanes: list[list[tuple[int, int]]], breaks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the row, the first frame and the number of frames of each stretch without a break.

    >>> split_at_breaks([[(0, 4)], [(4, 3)]], np.array([0, 2]))
    (array([0, 0, 1]), array([0, 2, 4]), array([2, 2, 3]))
    """
    rows, firsts, counts = [], [], []
    for row, lane in enumerate(lanes):
        for first, count in lane or [(0, 0)]:  # an empty lane is one stretch of no frame
            a, b = np.searchsorted(breaks, [first + 1, first + count])
            begins = np.concatenate([[first], breaks[a:b]])
            rows.append(np.full(len(begins), row))
            firsts.append(begins)
            counts.append(np.diff(begins, append=first + count))
    return np.concatenate(rows), np.concatenate(firsts), np.concatenate(counts)


def warn_of_steps(frames: LaneFrames, stacklevel: int = 3) -> None:
    """Warn if the state sees some steps twice, or never, or if some get no prediction."""
    geometry = frames.framer.geometry
    _warn_of_overlap(geometry, stacklevel + 1)
    # To predict later steps, nobody needs the very last ones. A label belongs to each step.
    if geometry.return_sequences and geometry.gap < 0 and frames._left_over:
        warnings.warn(
            f"No label is predicted for {tell_left_over(frames._left_over)}",
            stacklevel=stacklevel + 1,
        )


def _warn_of_overlap(geometry: Geometry, stacklevel: int) -> None:
    stride, best = geometry.stride, geometry.end_to_end
    if stride == best:
        return
    if best is not None and stride > best:
        fault = f"the state never sees {stride - best} steps between two frames"
    else:
        fault = "the state sees the steps that frames share more than once"
    advice = 'Use `mode="windows"`' if best is None else f"Set `sequence_stride={best}`"
    warnings.warn(
        f"Frames of lanes should lie end to end, but {fault}. {advice}, or use a stateless model.",
        stacklevel=stacklevel + 1,
    )
