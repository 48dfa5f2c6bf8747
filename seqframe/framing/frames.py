"""Frames: training samples, and the arrays, batches, datasets, lanes and splits made of them."""

import json
import math
import operator
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from seqframe.aliases import Batch, FoldMode, Index, Padding, Shape, Shuffle, SplitBy
from seqframe.framing.adapters import EpochSource, grain_dataset, tf_dataset, torch_dataset
from seqframe.framing.batches import Batches
from seqframe.framing.checks import check_bytes, check_choice, check_integer, check_shard
from seqframe.framing.cutters import (
    PaddedCutter,
    WindowCutter,
    frame_parts,
    frame_shapes,
    paged_parts,
)
from seqframe.framing.gather import Rows
from seqframe.framing.html import Row, html_table, shorten
from seqframe.framing.index import (
    INDEX_BYTES,
    FrameIndex,
    Located,
    Runs,
    find_blocks,
    find_runs,
    resolve_index,
)
from seqframe.framing.lanes import Lanes
from seqframe.framing.left_out import LeftOut, tell_left_over
from seqframe.framing.order import Blocks, Order, random_seed
from seqframe.framing.sequences import join_steps
from seqframe.framing.shards import Shard, cut_source, digest, shard_numbers, weigh_last
from seqframe.framing.source import Rule, Source
from seqframe.framing.splits import Piece, fold_pieces, split_pieces
from seqframe.framing.stored import blocks_together, exceeds_pages, stored_bytes
from seqframe.framing.vocabulary import Vocabulary

if TYPE_CHECKING:
    import grain
    import tensorflow as tf
    import torch
    from matplotlib.axes import Axes

    from seqframe.framing.datasets import FramesDataset

_SHOWN_FRAMES = 5
_MOST_FEATURES = 64  # features of a step that a notebook shows
_SAMPLED = 1024  # frames that a fingerprint looks at, about
_FEW_SAMPLED = 16  # frames that a shard's checksum looks at, about
_COPY_BYTES = 2**20  # of padded frames that are copied together


class Framer(Rule, Protocol):
    """The `SequenceFramer` of frames."""

    horizon: int
    gap: int
    return_sequences: bool
    sampling_rate: int
    padding: Padding

    @property
    def frame(self) -> Callable[..., "Frames"]: ...

    def get_config(self) -> dict[str, Any]: ...


class FrameSteps(NamedTuple):
    """Where a frame lies, as raw time indices. `Frames.steps` returns it.

    Attributes:
        sequence: number or name of its sequence, or the label of its group.
        inputs: int array `(length,)`. Steps of its input, without padding.
        targets: int array `(horizon,)`; with `return_sequences` `(length, horizon)`.

    Example:

    >>> from seqframe import SequenceFramer
    >>> sequence, inputs, targets = SequenceFramer(3).frame("ABCDEFGH").steps(1)
    >>> sequence, inputs, targets
    (0, array([1, 2, 3]), array([4]))
    """

    sequence: Hashable
    inputs: np.ndarray
    targets: np.ndarray


class Frames:
    """Input windows and their targets: a lazy, immutable, random-access collection.

    `SequenceFramer.frame` makes it. It holds the user's arrays. Every batch is one vectorised copy.

    Attributes:
        framer: SequenceFramer that made them, with the vocabulary that encoded them.
        source: Source of their arrays.
        epoch: int. Epoch of random subsequences.

    Example:

    >>> from seqframe import SequenceFramer
    >>> frames = SequenceFramer(3).frame([10, 20, 30, 40, 50])
    >>> len(frames), frames.x_shape, frames.y_shape
    (2, (3, 1), ())
    >>> x, y = frames[1]
    >>> x.ravel(), y
    (array([20, 30, 40]), np.int64(50))
    """

    def __init__(
        self,
        framer: Framer,
        source: Source,
        *,
        seed: int | None = None,
        epoch: int = 0,
        runs: Runs | None = None,
        draws: np.ndarray | None = None,
        is_subset: bool = False,
        by_pages: bool = False,
    ):
        self.framer, self.source, self.epoch = framer, source, epoch
        self._geometry = geometry = framer.geometry
        self._seed = random_seed() if seed is None and geometry.draws else seed
        self._index = FrameIndex(geometry, source, runs, self._seed or 0, epoch, draws)
        self._is_subset = is_subset
        self._shard: Shard | None = None
        self._shapes = frame_shapes(framer, source)
        parts = frame_parts(framer, source)
        self._parts = paged_parts(geometry, parts) if by_pages else parts
        places = geometry.sequence_length + math.prod(self._shapes.y)
        way_out = "Shorten `sequence_length` or `horizon`."
        check_bytes("One frame", self._nbytes + INDEX_BYTES * places, way_out)
        cutter: type[PaddedCutter | WindowCutter] = PaddedCutter if geometry.pads else WindowCutter
        self._cutter = cutter(geometry, self._parts, self._index)

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds its blocks and pages by itself. There may be many.
        made = ("_blocks", "_told_blocks", "_by_pages")
        return {name: value for name, value in vars(self).items() if name not in made}

    def __len__(self) -> int:
        return self._index.size

    def __getitem__(self, index: Index) -> Batch:
        """Return one frame `(x, y)`, or many for a slice, a list or an array of indices.

        With sample weights it is `(x, y, sample_weight)`. With a future, `x` is a dict.
        """
        chosen = self._resolve(index)
        if isinstance(chosen, np.ndarray):
            self._check_bytes(len(chosen))
            return self._take(chosen)
        arrays = self._gather(self._place(np.array([chosen])))
        return self._pack(array[0] for array in arrays)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self), 1024):
            places = self._place(np.arange(first, min(first + 1024, len(self))))
            yield from map(self._pack, zip(*self._gather(places), strict=True))

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The Vocabulary that encoded the symbols, or None."""
        return self.framer.vocabulary

    @property
    def x_shape(self) -> Shape | dict[str, Shape]:
        """Shape of an input, without the sample axis; a dict if there is a past and a future."""
        past, future = self._shapes.past, self._shapes.future
        return past if future is None else {"past": past, "future": future}

    @property
    def y_shape(self) -> Shape:
        """Shape of a target, without the sample axis."""
        return self._shapes.y

    @property
    def sample_weight_shape(self) -> Shape | None:
        """Shape of a sample weight, without the sample axis; None if there are no weights."""
        return self._shapes.weight

    @cached_property
    def left_out(self) -> LeftOut:
        """The sequences that have no frame here, by the reason, and the number of frames left out.

        A subset counts no frames that it did not choose.

        >>> from seqframe import SequenceFramer
        >>> values = [1.0, 2.0, float("nan"), 4.0, 5.0, 6.0, 7.0]
        >>> SequenceFramer(2).frame(values, skip_nan=True).left_out
        LeftOut(short=(), missing=(), frames=3)
        """
        source, counts = self.source, self._counts
        if self._is_subset:
            return source.left_out
        whole = find_runs(self._geometry, replace(source, valid=None, skip_nan=False))
        fit = np.bincount(whole.sequence, whole.size, len(counts)).astype(np.int64)
        short, missing = (
            tuple(source.labels[number] for number in np.flatnonzero(which).tolist())
            for which in (fit == 0, (fit > 0) & (counts == 0))
        )
        earlier, lost = source.left_out, (fit - counts)[counts > 0]
        return LeftOut(earlier.short + short, earlier.missing + missing, int(lost.sum()))

    def arrays(self) -> Batch:
        """Return all frames as `(X, y)`, or `(X, y, sample_weight)`.

        Windows over one sequence are a read-only view of it, if their layout allows a view. Several
        sequences and padded frames are copied once.

        Returns:
            tuple of arrays `(frames, …)`. With a future, X is a dict of "past" and "future".

        Example:

        >>> from seqframe import SequenceFramer
        >>> X, y = SequenceFramer(3).frame([10, 20, 30, 40, 50]).arrays()
        >>> X.shape, y
        ((2, 3, 1), array([40, 50]))
        """
        views = self._views()
        if views is None:
            self._check_bytes(len(self))
            views = self._copies() if self._geometry.pads else None
        return self._take(np.arange(len(self))) if views is None else self._pack(views)

    def _copies(self) -> list[np.ndarray]:
        """Copy all arrays, a part at a time, because padded frames need an index for each step."""
        size = len(self)
        copies = [np.empty((size, *shape), dtype) for shape, dtype in self._array_specs]
        together = max(_COPY_BYTES // (self._nbytes or 1), 1)
        for first in range(0, size, together):
            stop = min(first + together, size)
            parts = self._gather(self._place(np.arange(first, stop)))
            for whole, part in zip(copies, parts, strict=True):
                whole[first:stop] = part
        return copies

    def _check_bytes(self, count: int) -> None:
        """Raise if so many frames do not fit into the machine's memory."""
        way_out = "Take fewer frames at a time, as `batches` does."
        check_bytes(f"{count:,} frames", count * (self._nbytes + INDEX_BYTES), way_out)

    def lengths(self, index: Index | None = None) -> np.ndarray:
        """Return the true input lengths, without padding: int array `(frames,)`.

        Args:
            index: int, slice, list or array of frame numbers; None: all.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, mode="prefixes").frame("ABCDEF").lengths()
        array([1, 2, 3, 3, 3])
        """
        chosen = self._resolve(slice(None) if index is None else index)
        return self._locate(np.atleast_1d(chosen)).inputs.length

    def mask(self, index: Index | None = None) -> np.ndarray:
        """Return which input steps are real, not padding: bool array `(frames, length)`.

        Args:
            index: int, slice, list or array of frame numbers; None: all.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, mode="prefixes").frame("ABCDEF").mask([0, 2])
        array([[False, False,  True],
               [ True,  True,  True]])
        """
        chosen = np.atleast_1d(self._resolve(slice(None) if index is None else index))
        way_out = "Pass the `index` of fewer frames."
        check_bytes("The mask", len(chosen) * self._geometry.sequence_length, way_out)
        return self._geometry.places(self._locate(chosen).inputs)[1]

    def labels(self, index: Index | None = None) -> np.ndarray:
        """Return the name of each frame's sequence: an array `(frames,)`.

        It is the label of a group, the name in a dict, or the number in a list. scikit-learn's
        `GroupKFold` and metrics by group take it.

        Args:
            index: int, slice, list or array of frame numbers; None: all.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(2).frame(["ABCD", "XYZ"]).labels()
        array([0, 0, 1])
        """
        chosen = np.atleast_1d(self._resolve(slice(None) if index is None else index))
        names: np.ndarray = label_array(self.source.labels)[self._locate(chosen).sequence]
        return names

    def dates(self, index: Index | None = None) -> np.ndarray:
        """Return the dates of each frame's targets: an array `(frames,)` or `(frames, horizon)`.

        With `return_sequences`, the axis of the input steps stands after the frames.

        Args:
            index: int, slice, list or array of frame numbers; None: all.

        Raises:
            ValueError: if the sequences are not tables with a pandas index of dates.

        Example:

        >>> import pandas
        >>> from seqframe import SequenceFramer
        >>> days = pandas.date_range("2026-01-01", periods=4)
        >>> frames = SequenceFramer(2).frame(pandas.Series([1.0, 2.0, 3.0, 4.0], days))
        >>> frames.dates().astype("M8[D]")
        array(['2026-01-03', '2026-01-04'], dtype='datetime64[D]')
        """
        if self.source.clock is None:
            raise ValueError(
                "The frames have no dates. Received: sequences without a pandas index of dates. "
                "Make dates the index by `table.set_index` before framing."
            )
        sequence, steps, _ = self._target_steps(slice(None) if index is None else index)
        dates = self.source.clock.at(sequence, steps)
        return dates[..., 0] if self._geometry.horizon == 1 else dates

    def steps(self, i: int) -> FrameSteps:
        """Return where frame `i` lies: (sequence, input steps, target steps), as raw time indices.

        `sequence` is a number, or the label of a group. Steps are counted from the first step of
        the whole sequence, before any split.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, gap=1, horizon=2).frame("ABCDEFGH").steps(1)
        FrameSteps(sequence=0, inputs=array([1, 2, 3]), targets=array([5, 6]))
        """
        number, inputs, targets = self._own_steps(self._resolve(operator.index(i)))
        begin = self.source.begins[number]
        return FrameSteps(self.source.labels[number], begin + inputs, begin + targets)

    def describe(self, count: int = 5) -> None:
        """Print at most `count` first frames, one a line, without padding.

        A last line tells how many last steps fill no window, if there are any.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3).frame("ABCDEFG").describe(2)
        ABC -> D
        BCD -> E
        """
        for x, y in self._written(check_integer("count", count, 0)):
            print(f"{x} -> {y}")
        if self._left_over:
            print(f"Not framed: {tell_left_over(self._left_over)}")

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = False,
        seed: int | None = None,
        epoch: int = 0,
        drop_last: bool = False,
        redraw: bool = False,
    ) -> Batches:
        """Iterate over NumPy batches `(x, y)`.

        A batch is a copy, because frameworks may write into it. For read-only views that copy
        nothing use `arrays()`.

        Args:
            batch_size: int ≥ 1.
            shuffle: bool. Take the frames in an order that depends only on `seed` and `epoch`.
                "blocks": shuffle blocks of neighbouring frames, a few at a time, so that a disk is
                read by long stretches. `True` does so for stores larger than 64 MiB, and logs a
                warning once. "frames": never do so.
            seed: int ≥ 0; None draws one.
            epoch: int ≥ 0. Each epoch has an order of its own.
            drop_last: bool. Leave out a last batch of fewer than `batch_size` frames.
            redraw: bool. Random subsequences: draw them anew for the epoch.

        Returns:
            Batches: an iterator that can also be indexed, sharded, stopped and resumed.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFG")
        >>> [len(y) for x, y in frames.batches(2)]
        [2, 2, 1]
        """
        order = self._order(shuffle, seed)
        return Batches(self, batch_size, order, epoch, drop_last, redraw)

    def dataset(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = False,
        seed: int | None = None,
        drop_last: bool = False,
        redraw: bool = False,
    ) -> "FramesDataset":
        """Return the frames as a `keras.utils.PyDataset`, for `model.fit(…, shuffle=False)`.

        Each pass is an epoch, with an order of its own if `shuffle=True`. Without `shuffle=False`,
        Keras's `fit` shuffles the batches once more, without a seed. See `batches` for the
        arguments.

        >>> import keras
        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(2).frame("ABCDEFG").dataset(2, shuffle=True, seed=7)
        >>> len(dataset)
        3
        """
        from seqframe.framing.datasets import FramesDataset

        order = self._order(shuffle, seed)
        return FramesDataset(Batches(self, batch_size, order, 0, drop_last, redraw))

    def to_tf(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = False,
        seed: int | None = None,
        epoch: int = 0,
        drop_last: bool = False,
        redraw: bool = False,
    ) -> "tf.data.Dataset":
        """Return the frames as a `tf.data.Dataset` of batches. It needs TensorFlow.

        Each pass over the dataset is an epoch, with an order of its own if `shuffle=True`. A pass
        that ends before its last batch, such as a look at the first one, does not count. With
        `drop_last=True`, batches have a static shape. See `batches` for the arguments.

        >>> import tensorflow as tf
        >>> from seqframe import SequenceFramer
        >>> [len(y) for x, y in SequenceFramer(2).frame("ABCDEFG").to_tf(2)]
        [2, 2, 1]
        """
        order = self._order(shuffle, seed)
        batches = Batches(self, batch_size, order, epoch, drop_last, redraw)
        return tf_dataset(batches, self._array_specs)

    def to_torch(self) -> "torch.utils.data.Dataset":
        """Return the frames as a map-style dataset for PyTorch's `DataLoader`. It needs PyTorch.

        The loader's sampler chooses the frames of a batch, and one gather fetches them. Pass
        `collate_fn=dataset.collate`, which makes tensors of the whole batch. PyTorch's own
        `collate_fn` takes the batch apart first, which is slower.

        `batch_sampler=dataset.sampler(batch_size, shuffle=True, seed=7)` takes seqframe's own
        order. In a process group, each rank gets its share. It can be stopped and resumed.

        >>> import torch
        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(2).frame("ABCDEFG").to_torch()
        >>> loader = torch.utils.data.DataLoader(dataset, 2, collate_fn=dataset.collate)
        >>> [len(y) for x, y in loader]
        [2, 2, 1]
        """
        return torch_dataset(self)

    def to_grain(
        self,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epochs: int = 1,
        drop_last: bool = False,
        redraw: bool = False,
    ) -> "grain.MapDataset":
        """Return the frames as a `grain.MapDataset` of batches or single frames. It needs Grain.

        With `batch_size`, one gather makes a batch, and each epoch has an order of its own. The
        iterator's state is a position in these epochs. A run that resumes from it needs the same
        `seed`. Without `batch_size` the dataset has single frames, in their order. Grain shuffles,
        repeats and batches them, which is slower.

        Args:
            batch_size: int ≥ 1; None: single frames. The other arguments are for batches.
            epochs: int ≥ 1. Number of epochs, one after the other. Grain's own `repeat` repeats
                the order of the first.
            shuffle, seed, drop_last, redraw: as for `batches`.

        Example:

        >>> import grain
        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFG")
        >>> dataset = frames.to_grain(3, shuffle=True, seed=7, epochs=2)
        >>> [y.tolist() for x, y in dataset]
        [[4, 2, 6], [3, 5], [5, 2, 4], [3, 6]]
        """
        if batch_size is not None:
            order = self._order(shuffle, seed)
            batches = Batches(self, batch_size, order, 0, drop_last, redraw)
            return grain_dataset(EpochSource(batches, epochs))
        if (shuffle, seed, epochs, drop_last, redraw) != (False, None, 1, False, False):
            raise ValueError(
                "`shuffle`, `seed`, `epochs`, `drop_last` and `redraw` are for batches. Received: "
                "batch_size=None. Pass `batch_size`, or let Grain shuffle and repeat the frames."
            )
        return grain_dataset(self)

    def lanes(self, batch_size: int) -> Lanes:
        """Return the frames as stateful batches: each row continues from batch to batch.

        Args:
            batch_size: int ≥ 1. Number of lanes: the batch size of the stateful model.

        Raises:
            ValueError: if `batch_size` exceeds the number of frames, or the frames are random.

        Example:

        >>> from seqframe import SequenceFramer
        >>> lanes = SequenceFramer(1).frame("ABCDEFG").lanes(2)
        >>> [y.tolist() for x, y, weight in lanes]
        [[1, 4], [2, 5], [3, 6]]
        """
        return Lanes(self, batch_size)

    def split(
        self,
        *fractions: float,
        at: Any = None,
        gap: int = 0,
        by: SplitBy = "time",
        share_history: bool = False,
        seed: int | None = None,
    ) -> list["Frames"]:
        """Cut into consecutive parts. No step is in two of them.

        Args:
            *fractions: floats that sum to at most 1: each part's share of every sequence, or of the
                number of sequences.
            at: a date or a step, instead of fractions; several give several parts. It is the first
                one of the later part, in each sequence. Dates need a pandas index of dates. Steps
                are counted from 0, or if negative from the end of each sequence.
            gap: int ≥ 0. Steps (or sequences) left out at the end of each part but the last.
            by: "time": each sequence is cut in raw time. "sequences": each sequence is whole in one
                part.
            share_history: bool. Windows cut in time: inputs of a later part may reach back before
                its start, as is usual in forecasting. Its targets may not.
            seed: int ≥ 0. With `by="sequences"`: draw the sequences of each part. None keeps their
                order.

        Raises:
            ValueError: if fractions are not positive or sum to more than 1, `at` lies outside of
                all sequences, or a part has no frame.

        Example:

        >>> from seqframe import SequenceFramer
        >>> train, test = SequenceFramer(2).frame("ABCDEFGHIJ").split(0.6, 0.4)
        >>> test.describe()
        GH -> I
        HI -> J
        >>> train, test = SequenceFramer(2).frame("ABCDEFGHIJ").split(at=-3)
        >>> test.describe()
        HI -> J
        """
        history = self._history(by, share_history)
        pieces = split_pieces(self.source, fractions, at, by, gap, seed)
        return [self._part(piece, history, share_history) for piece in pieces]

    def folds(
        self,
        n: int,
        *,
        mode: FoldMode = "expanding",
        gap: int = 0,
        test_size: int | None = None,
        by: SplitBy = "time",
        share_history: bool = False,
        seed: int | None = None,
    ) -> list[tuple["Frames", "Frames"]]:
        """Cut `n` times for evaluation, into a train and a test part.

        By default it walks forward, as scikit-learn's `TimeSeriesSplit`: it trains on the past, and
        tests on the next steps. The test parts lie next to each other and reach up to the end.

        Args:
            n: int ≥ 1. Number of folds.
            mode: "expanding": each train part begins at the beginning. "sliding": all train parts
                are as long as the first. "kfold": each step (or sequence) is tested once, and all
                others train. By sequences, this is scikit-learn's `GroupKFold`.
            gap: int ≥ 0. Steps (or sequences) left out between a train part and its test part.
            test_size: int ≥ 1. Steps (or sequences) of a test part; None: an equal share of
                `1 / (n + 1)`. Not for "kfold".
            by: "time" or "sequences", as in `split`.
            share_history: bool, as in `split`, for the test parts.
            seed: int ≥ 0. With `mode="kfold"` and `by="sequences"`: draw the sequences of each
                fold. None gives each test part about as many frames.

        Returns:
            list of `(train, test)`, both Frames.

        Raises:
            ValueError: if a part has no frame, or there are fewer sequences than folds.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFGHIJKL")
        >>> for train, test in frames.folds(2):
        ...     print(len(train), len(test))
        2 2
        6 2
        >>> patients = SequenceFramer(2).frame(["ABCD", "EFG", "HIJ", "KLMN"])
        >>> for train, test in patients.folds(2, mode="kfold", by="sequences"):
        ...     print(sorted(set(test.labels().tolist())))
        [2, 3]
        [0, 1]
        """
        history = self._history(by, share_history)
        pieces = fold_pieces(
            self.source,
            self._counts,
            n,
            mode=mode,
            gap=gap,
            test_size=test_size,
            by=by,
            seed=seed,
        )
        return [
            (self._part(train, history), self._part(test, history, share_history))
            for train, test in pieces
        ]

    def _history(self, by: SplitBy, share_history: bool) -> int:
        """Return how far inputs of a part may reach back. Raise if frames cannot be cut so."""
        check_choice("by", by, ("time", "sequences"))
        if self._is_subset:
            raise ValueError(
                "A subset has chosen its frames, and cannot be cut. Received: "
                f"{len(self)} frames that `subset` chose. Split first, and take a subset of each "
                "part."
            )
        history = self._geometry.history
        if share_history and (history is None or by != "time"):
            raise ValueError(
                '`share_history=True` needs `mode="windows"` and `by="time"`. Received: '
                f'{type(self._geometry).__name__.lower()}, by="{by}". Leave it out.'
            )
        if by == "time" and self.source.weight_per_frame and not self._geometry.ranks_are_steps:
            raise ValueError(
                "A split in time needs sample weights for steps. Received: one weight for each "
                'frame. Give a weight for each step, or pass `by="sequences"`.'
            )
        return history or 0 if share_history else 0

    def _part(self, piece: Piece, history: int, share_history: bool = True) -> "Frames":
        """Return the frames of a part. Raise if there are none."""
        name = piece.name
        if not len(piece.numbers):
            what, hint = "step", "Choose a smaller `gap`."
            if piece.spans is None:
                what, hint = "sequence", 'Give it more, or cut each in time with `by="time"`.'
            count = len(self.source.labels)
            raise ValueError(f"{name} has no {what}. Received: {count} sequences in all. {hint}")
        source = piece.cut(self.source, history)
        part = Frames(self.framer, source, seed=self._seed, epoch=self.epoch)
        if not len(part):
            missing = ", none of them missing" if source.may_leave_out else ""
            may_share = piece.has_past and not share_history and self._geometry.history is not None
            hint = ", or pass `share_history=True`" if may_share else ""
            raise ValueError(
                f"{name} has no frame: a frame needs {self._geometry.least_steps} steps{missing}. "
                f"Received: {source.steps.max()} steps. Give it more steps{hint}."
            )
        return part

    def subset(self, index: Index) -> "Frames":
        """Return some of the frames, in the order of `index`.

        A subset cannot be split, so split first. Its lanes reset where frames are left out.

        Args:
            index: int, slice, list or array of frame numbers, or a bool array `(frames,)`.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame([0, 3, 1, 5, 2, 8])
        >>> large = frames.subset(frames[:][1] > 4)
        >>> large.describe()
        3 1 -> 5
        5 2 -> 8
        """
        chosen = np.atleast_1d(self._resolve(index))
        if not len(chosen):
            raise ValueError(
                f"`index` must choose at least one frame. Received: none of {len(self)} frames."
            )
        runs, draws = self._index.choose(chosen)
        return self._again(runs=runs, draws=draws, is_subset=True)

    def shard(self, num_shards: int, index: int, *, drop_last: bool = False) -> "Frames":
        """Return the frames of one of `num_shards` processes, which holds only this part.

        The parts are contiguous, disjoint, and equally large. So all processes have the same
        number of batches. If the frames do not divide, smaller parts repeat their last frame with
        weight 0, and the frames of all parts have sample weights. Metrics count that frame, unless
        they are `weighted_metrics`.

        Each process shuffles its own part. To deal out one shuffled order of all frames, shard the
        batches instead: `frames.batches(32, shuffle=True, seed=7).shard(num_shards, index)`.

        In processes of JAX that train together, `fit` takes `frames.shard(jax.process_count(),
        jax.process_index())`. A batch then has equally many frames of each part: its first rows
        are the batch of part 0, the next ones that of part 1, and so on. Shard last: a split or a
        subset of a shard is an error there, because it may have another length in each process.

        Args:
            num_shards: int ≥ 1. Number of processes.
            index: int. Number of this process, from 0.
            drop_last: bool. Leave out the last frames that do not divide.

        Raises:
            ValueError: if there are fewer frames than processes, or if random subsequences do not
                divide and `drop_last` is False.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(1).frame("ABCDEF")
        >>> for index in range(2):
        ...     x, y, weight = frames.shard(2, index)[:]
        ...     print(y, weight)
        [1 2 3] [1. 1. 1.]
        [4 5 5] [1. 1. 0.]
        """
        num_shards, index = check_shard(num_shards, index, len(self), "frames")
        numbers, is_short = shard_numbers(len(self), num_shards, index, drop_last)
        divides = drop_last or len(self) % num_shards == 0
        if self._geometry.draws:
            if not divides:
                raise ValueError(
                    f"Random subsequences must divide among {num_shards} processes. Received: "
                    f"{len(self)} of them. Choose another `num_samples`, or pass `drop_last=True`."
                )
            part = self.subset(np.asarray(numbers))
        else:
            chosen = [*numbers, numbers[-1]] if is_short else numbers
            runs, _ = self._index.choose(np.asarray(chosen))
            source, runs = cut_source(self.source, self._geometry, runs, int(is_short))
            source = source if divides else weigh_last(source, int(is_short))
            part = Frames(self.framer, source, runs=runs, is_subset=True)
        # Shards of other values differ in a few frames already. A store is not read whole for them.
        whole = self._fingerprint ^ self._digest(_FEW_SAMPLED)
        part._shard = Shard(num_shards, index, whole, 0 if drop_last else -len(self) % num_shards)
        return part

    @cached_property
    def fingerprint(self) -> str:
        """A short name for the framer, the sequences' lengths, and the values of some frames.

        Frames that are equal have equal fingerprints, in any process. Processes that train together
        can compare them at the start. About 1,024 frames are looked at.

        >>> from seqframe import SequenceFramer
        >>> frames = [SequenceFramer(2).frame(text) for text in ("ABCD", "ABCD", "ABDC")]
        >>> frames[0].fingerprint == frames[1].fingerprint, frames[0].fingerprint
        (True, '44535251-d46556fb')
        >>> frames[0].fingerprint == frames[2].fingerprint
        False
        """
        return f"{self._fingerprint:08x}-{self._digest(_SAMPLED):08x}"

    def _digest(self, count: int) -> int:
        """Return a checksum of the values of about `count` frames."""
        some = np.arange(0, len(self), max(len(self) // count, 1))
        return digest(self._gather(self._place(some)))

    def _again(self, **changes: Any) -> "Frames":
        """Return frames of the same sequences, with some arguments changed."""
        own: dict[str, Any] = {
            "seed": self._seed,
            "epoch": self.epoch,
            "runs": self._index.runs,
            "draws": self._index.draws,
            "is_subset": self._is_subset,
        }
        return Frames(self.framer, self.source, **own | changes)

    def plot(self, count: int = 8, *, index: Any = None, ax: "Axes | None" = None) -> "Axes":
        """Draw how frames lie over the raw sequences: input, gap, target and padding over time.

        It needs matplotlib.

        Args:
            count: int ≥ 1. Number of frames, from the first on. The first four sequences share
                them. Only the first four features are drawn.
            index: int, slice, list or array. The frames to draw instead.
            ax: matplotlib.axes.Axes to draw on; None makes a figure.

        Example:

        >>> import matplotlib
        >>> from seqframe import SequenceFramer
        >>> ax = SequenceFramer(3, gap=1).frame("ABCDEFGHIJ").plot()
        """
        from seqframe.framing.pictures import plot_frames

        return plot_frames(self, count, index, ax)

    def redraw(self, epoch: int) -> "Frames":
        """Return these frames with the random subsequences of another epoch, an int ≥ 0.

        >>> from seqframe import SequenceFramer
        >>> framer = SequenceFramer(5, mode="subsequences", num_samples=2, seed=7)
        >>> framer.frame("ABCDEFGHIJ").redraw(1).describe()
        GHI -> J
        I -> J
        """
        return self._again(epoch=check_integer("epoch", epoch, 0))

    def __repr__(self) -> str:
        sequences = len(self.source.labels)
        source = "" if sequences == 1 else f" over {sequences} sequences"
        lost = f", {self.left_out.frames} left out" if self.left_out.frames else ""
        return f"Frames({len(self)} of x {self.x_shape}, y {self.y_shape}{source}{lost})"

    def _repr_html_(self) -> str:
        rows = [*self._html_rows(), *self._html_frames()]
        return html_table(f"Frames: {len(self):,}", rows)

    def _html_rows(self) -> list[Row]:
        """Return what frames and lanes show in a notebook."""
        names = ["x", "y", "sample_weight"]
        if self.source.future is not None:
            names[:1] = ['x["past"]', 'x["future"]']
        named = zip(names, self._parts, strict=False)
        arrays = [(name, f"{part.shape} {part.dtype}") for name, part in named]
        count, steps = len(self.source.steps), f"{self.source.steps.sum():,} steps"
        lengths = ("sequences", f"{count:,} with {steps} in all")
        rows = [*arrays, ("sequence", steps) if count == 1 else lengths]
        lost = self.left_out.sentences()
        if self.left_out.frames:
            what = "starts" if self._geometry.draws else "frames"
            lost.append(f"{self.left_out.frames:,} {what} that touch a missing step")
        if lost:
            rows.append(("left out", "\n".join(lost)))
        if self._left_over:
            rows.append(("not framed", tell_left_over(self._left_over)))
        return [*rows, ("framer", repr(self.framer))]

    def _html_frames(self) -> list[Row]:
        """Return the first frames, unless each has too many features to read."""
        rows = self.source.inputs, self.source.targets
        if max(math.prod(one.row_shape) for one in rows) > _MOST_FEATURES:
            return []
        shown = [f"{shorten(x)} → {shorten(y)}" for x, y in self._written(_SHOWN_FRAMES)]
        more = ["…"] if len(self) > len(shown) else []
        return [("first frames", "\n".join([*shown, *more]))]

    # --- Methods for other modules of the package.

    @property
    def _counts(self) -> np.ndarray:
        """Number of frames of each sequence; for random subsequences, of starts to draw from."""
        return self._index.counts

    @property
    def _left_over(self) -> int:
        """Number of last steps that fill no window, and so are in no frame; 0 for a subset."""
        if self._is_subset:
            return 0
        return int(self._geometry.left_over(self.source.steps).sum())

    @property
    def _breaks(self) -> np.ndarray:
        """Numbers of the frames that do not follow the frame before."""
        return self._index.find.begins

    @property
    def _keeps_order(self) -> bool:
        """Whether the frames of each sequence lie together, in the order of the sequences."""
        return bool((np.diff(self._index.runs.sequence) >= 0).all())

    @property
    def _array_specs(self) -> list[tuple[Shape, np.dtype]]:
        """Shape and dtype of each array of a frame, in the order of `_gather`."""
        return [(part.shape, part.dtype) for part in self._parts]

    @property
    def _nbytes(self) -> int:
        """Bytes that a frame takes in a batch."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self._array_specs)

    def _order(self, shuffle: Shuffle, seed: int | None) -> Order:
        return Order(len(self), self._shuffled(shuffle), seed)

    def _shuffled(self, shuffle: Shuffle) -> bool | Blocks:
        """Return how frames are shuffled: as blocks if asked, or if they are read slowly."""
        if isinstance(shuffle, str):
            check_choice("shuffle", shuffle, ("blocks", "frames"))
            if shuffle == "blocks" and self._geometry.draws:
                raise ValueError(
                    '`shuffle="blocks"` needs frames in the order of their steps. Received: random '
                    "subsequences. Leave `shuffle` out: they are in random order."
                )
            return self._blocks if shuffle == "blocks" else True
        if shuffle and self._is_slow and not self._geometry.draws:
            return self._told_blocks
        return bool(shuffle)

    @cached_property
    def _told_blocks(self) -> Blocks:
        """The blocks, and a word about them that is said once."""
        import logging

        count = len(self._blocks.edges) - 1
        logging.getLogger("seqframe").warning(
            "The frames are read from a store, so blocks of neighbouring frames are shuffled, "
            '%d of %d at a time. Pass `shuffle="blocks"` to say so, or `shuffle="frames"` to '
            "shuffle single frames, which are read one by one.",
            min(self._blocks.together, count),
            count,
        )
        return self._blocks

    @property
    def _is_slow(self) -> bool:
        """Whether frames come from stores that are too large to be kept in memory."""
        return exceeds_pages(self._stored_bytes)

    @cached_property
    def _stored_bytes(self) -> int:
        return stored_bytes([part.rows for part in self._parts])

    @cached_property
    def _blocks(self) -> Blocks:
        """Blocks of frames that lie in one page of their rows."""
        edges = find_blocks(self._index, self.source.inputs)
        rows = {id(part.rows): part.rows for part in self._parts}
        nbytes = self._stored_bytes or sum(one.nbytes for one in rows.values())
        return Blocks(edges, blocks_together(nbytes, len(edges) - 1))

    @cached_property
    def _by_pages(self) -> "Frames":
        return self._again(by_pages=True)

    def _read_by(self, *, in_order: bool) -> "Frames":
        """Return these frames, which read whole pages of a store if neighbours come together."""
        by_pages = not self._is_slow or (in_order and not self._geometry.draws)
        return self._by_pages if self._stored_bytes and by_pages else self

    @cached_property
    def _fingerprint(self) -> int:
        """A number for the rule, the sequences' lengths and names, and the missing steps."""
        chosen = self._index.draws
        draws = [self._seed, self.epoch] if self._geometry.draws else None
        names = repr(list(self.source.labels))
        rule = json.dumps([self.framer.get_config(), draws, len(self), names]).encode()
        layout = [self.source.steps, self.source.begins, *self._index.runs]
        layout += [] if chosen is None else [chosen]
        return zlib.crc32(b"".join(part.tobytes() for part in layout), zlib.crc32(rule))

    @property
    def _pack(self) -> Callable[[Any], Batch]:
        """The function that makes a batch of its arrays."""
        return tuple if self._shapes.future is None else _pack_future

    def _take(self, index: np.ndarray) -> Batch:
        """Return `frames[index]` for an int array of numbers that are known to be valid."""
        return self._pack(self._gather(self._place(index)))

    def _place(self, index: np.ndarray) -> Any:
        """Return where the frames number `index` lie, for `_gather`."""
        return self._cutter.place(index)

    def _gather(self, places: Any, which: slice = slice(None)) -> list[np.ndarray]:
        """Copy the arrays of frames that were placed, for `_pack`."""
        return self._cutter.gather(places, which)

    def _views(self) -> list[np.ndarray] | None:
        """Return all arrays as read-only views, for `_pack`; None if that would copy."""
        return self._cutter.views()

    def _locate(self, index: np.ndarray) -> Located:
        """Return where the frames number `index` lie."""
        return self._index.locate(index)

    def _target_steps(self, index: Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each target its sequence's number, its raw step, and whether it is real.

        The arrays are `(frames, horizon)`; with `return_sequences` `(frames, length, horizon)`.
        Targets of padded input steps are not real.
        """
        sequence, _, frames = self._locate(np.atleast_1d(self._resolve(index)))
        _, real, steps = self._geometry.steps(frames, self._index.steps[sequence])
        real = real[..., None] if self._geometry.return_sequences else np.ones_like(steps, bool)
        each = np.broadcast_to(sequence.reshape(-1, *(1,) * (steps.ndim - 1)), steps.shape)
        return each, self.source.begins[each] + steps, np.broadcast_to(real, steps.shape)

    def _own_steps(self, i: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return a frame's sequence number, and its steps counted from the sequence's start."""
        sequence, _, frames = self._locate(np.array([i]))
        cycle = self._index.steps[sequence]
        (inputs,), (real,), (targets,) = self._geometry.steps(frames, cycle)
        each = self._geometry.return_sequences
        return int(sequence[0]), inputs[real], targets[real] if each else targets

    def _written(self, count: int) -> Iterator[tuple[str, str]]:
        """Yield the first frames as text: inputs, targets."""
        source, vocabulary = self.source, self.vocabulary
        symbols = vocabulary if source.targets is source.inputs else None
        for i in range(min(count, len(self))):
            number, inputs, targets = self._own_steps(i)
            x, y = _at(source.inputs, number, inputs), _at(source.targets, number, targets)
            if self._geometry.return_sequences and self._geometry.horizon > 1:
                written = " | ".join(join_steps(steps, symbols) for steps in y)
            else:
                written = join_steps(y[:, 0] if self._geometry.return_sequences else y, symbols)
            yield join_steps(x, vocabulary), written

    def _resolve(self, index: Any) -> Any:
        """Return an index as non-negative numbers: an int, or an int array."""
        return resolve_index(index, len(self))


def _at(rows: Rows, number: int, steps: np.ndarray) -> np.ndarray:
    """Return some rows of a sequence."""
    first = int(steps.min())
    found: np.ndarray = rows.read(number, first, int(steps.max()) + 1)[steps - first]
    return found


def label_array(labels: Sequence[Any]) -> np.ndarray:
    """Return labels as an array `(labels,)`, of objects if they are tuples or of several types."""
    kinds = set(map(type, labels))
    each = np.asarray(labels if len(kinds) == 1 and tuple not in kinds else [])
    if each.shape != (len(labels),):
        each = np.fromiter(labels, object, len(labels))
    return each


def _pack_future(arrays: Sequence[np.ndarray]) -> Batch:
    past, future, *rest = arrays
    return ({"past": past, "future": future}, *rest)
