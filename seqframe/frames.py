"""Frames: the lazy collection of training samples."""

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqframe.gather import Axis, Rows
from seqframe.lanes import Lanes
from seqframe.order import epoch_order, random_seed
from seqframe.placement import Placement
from seqframe.sequences import join_steps
from seqframe.windows import check_integer, cut_points, padded_offsets

if TYPE_CHECKING:
    import keras

    from seqframe.framer import SequenceFramer

Batch = tuple[np.ndarray, np.ndarray]
_ORDER_BLOCK = 2**15  # positions


class FrameSteps(NamedTuple):
    """Where a frame lies: its sequence, and the raw steps of its input and its target."""

    sequence: int
    inputs: np.ndarray
    targets: np.ndarray


class Frames:
    """Input windows and their targets: a lazy, immutable, random-access collection.

    Made by `SequenceFramer.frame`. Holds the user's arrays and index arithmetic; every batch is one
    vectorised copy.

    Attributes:
        framer: SequenceFramer that made them, with the vocabulary they were encoded with.
        x_shape: shape of an input, without the sample axis.
        y_shape: shape of a target, without the sample axis.

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
        framer: "SequenceFramer",
        inputs: Rows,
        targets: Rows,
        *,
        clock: tuple[int, ...] | None = None,
        seed: int | None = None,
        epoch: int = 0,
    ):
        self.framer = framer
        self.inputs = inputs
        self.targets = targets
        # The raw step of each sequence at which its arrays begin: not 0 for a part of a split.
        self._clock = clock or (0,) * len(inputs.arrays)
        self._seed = random_seed() if seed is None else seed
        steps = np.array([len(array) for array in inputs.arrays], np.int64)
        self._placement = Placement(framer, steps, self._seed, epoch)

    def __len__(self) -> int:
        return self._placement.size

    @property
    def counts(self) -> np.ndarray:
        """Number of frames of each sequence; for subsequences, of starts to draw from."""
        return self._placement.counts

    @property
    def vocabulary(self):
        """The Vocabulary that the symbols were encoded with, or None."""
        return self.framer.vocabulary

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of an input, without the sample axis."""
        length, row = self.framer.sequence_length, self.inputs.row_shape
        if self.framer.layout == "tokens":
            return (length,)
        if self.framer.layout == "features":
            return (1, length * int(np.prod(row, dtype=np.int64)))
        return (length, *(row or (1,)))

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of a target, without the sample axis."""
        length = (self.framer.sequence_length,) if self.framer.return_sequences else ()
        horizon = (self.framer.horizon,) if self.framer.horizon > 1 else ()
        return (*length, *horizon, *self.targets.row_shape)

    def __getitem__(self, index: int | slice | list[int] | np.ndarray) -> Batch:
        """Return one frame `(x, y)`, or for a slice, a list or an array of indices, many."""
        chosen = self._resolve(index)
        x, y = self.take(np.atleast_1d(chosen))
        return (x[0], y[0]) if np.ndim(chosen) == 0 else (x, y)

    def __iter__(self) -> Iterator[Batch]:
        for x, y in self.batches(1024):
            yield from zip(x, y, strict=True)

    def take(self, index: np.ndarray) -> Batch:
        """Copy the frames number `index`, a one-dimensional array of valid indices."""
        sequence, start, length = self.locate(index)
        if self.framer.pads:
            x, y = self._take_padded(sequence, start, length)
        else:
            x = self.inputs.take(sequence, start, self._input_axes)
            y = self.targets.take(sequence, start + self._target_offset, self._target_axes)
        return x.reshape(len(x), *self.x_shape), y

    def arrays(self) -> Batch:
        """Return all frames as `(X, y)`.

        Windows over one sequence are a read-only view of it: nothing is copied, however large.
        Everything else is copied once: several sequences, padded frames, and windows whose steps
        do not lie next to each other where `layout="features"` wants them to.
        """
        if self.framer.pads or len(self.inputs.arrays) > 1:
            return self.take(np.arange(len(self)))
        stride, count = self.framer.sequence_stride, len(self)
        x = self.inputs.view(0, stride, count, self._input_axes)
        y = self.targets.view(self._target_offset, stride, count, self._target_axes)
        return x.reshape(count, *self.x_shape), y

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epoch: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """Iterate over NumPy batches `(x, y)`.

        Args:
            batch_size: int ≥ 1.
            shuffle: bool. In an order that is a function of `seed` and `epoch` alone.
            seed: int ≥ 0; None draws one.
            epoch: int ≥ 0. Each epoch has an order of its own.
            drop_last: bool. Leave out a last batch of fewer than `batch_size` frames.

        Returns:
            iterator of `(x, y)`.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFG")
        >>> [len(y) for x, y in frames.batches(2)]
        [2, 2, 1]
        """
        batch_size = check_integer("batch_size", batch_size, 1)
        seed = random_seed() if seed is None else check_integer("seed", seed, 0)
        epoch = check_integer("epoch", epoch, 0)
        stop = len(self) - (len(self) % batch_size if drop_last else 0)
        return self._iterate(batch_size, stop, shuffle, seed, epoch)

    def _iterate(
        self, batch_size: int, stop: int, shuffle: bool, seed: int, epoch: int
    ) -> Iterator[Batch]:
        # The order is worked out for many batches at once: it costs more a call than an item.
        block = batch_size * -(-_ORDER_BLOCK // batch_size)
        for first in range(0, stop, block):
            positions = np.arange(first, min(first + block, stop))
            order = self.order(positions, shuffle, seed, epoch)
            for k in range(0, len(order), batch_size):
                yield self.take(order[k : k + batch_size])

    def order(self, positions: np.ndarray, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
        """Return which frames stand at `positions` of an epoch."""
        return epoch_order(len(self), seed, epoch, positions) if shuffle else positions

    def dataset(
        self, batch_size: int, *, shuffle: bool = False, seed: int | None = None, **kwargs: Any
    ) -> "keras.utils.PyDataset":
        """Return the frames as a `keras.utils.PyDataset`, for `model.fit`.

        Args:
            batch_size: int ≥ 1.
            shuffle: bool. Anew each epoch.
            seed: int ≥ 0; None draws one.
            **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of the PyDataset.
        """
        from seqframe.datasets import FramesDataset

        return FramesDataset(self, batch_size, shuffle=shuffle, seed=seed, **kwargs)

    def lanes(self, batch_size: int) -> Lanes:
        """Return the frames as stateful batches: each row continues from batch to batch."""
        return Lanes(self, batch_size)

    def split(self, *fractions: float, share_history: bool = False) -> list["Frames"]:
        """Cut in raw time into consecutive parts: no step is in two of them.

        Args:
            *fractions: floats that sum to at most one: the parts' shares of each sequence's steps.
            share_history: bool. Windows: let the inputs of a later part reach back before its
                start, as is usual in forecasting. Its targets still begin at its start.

        Returns:
            list of Frames, one for each fraction.

        Raises:
            ValueError: if fractions are not positive or sum to more than one, or a part has no
                frame.

        Example:

        >>> from seqframe import SequenceFramer
        >>> train, test = SequenceFramer(2).frame("ABCDEFGHIJ").split(0.6, 0.4)
        >>> test.describe()
        GH -> I
        HI -> J
        """
        if not fractions or not (min(fractions) > 0 and sum(fractions) <= 1 + 1e-9):
            raise ValueError(
                "`fractions` must be positive and sum to at most 1. "
                f"Received: fractions={fractions}."
            )
        if share_history and self.framer.mode != "windows":
            raise ValueError(
                '`share_history=True` needs `mode="windows"`: prefixes and subsequences begin '
                f'where their sequence does. Received: mode="{self.framer.mode}".'
            )
        history = 0
        if share_history:
            # A part's first target is its first step; with a target for every input step, the
            # first step's own target is.
            span = 1 if self.framer.return_sequences else self.framer.span
            history = max(span + self.framer.gap, 0)
        cuts = [cut_points(len(array), fractions) for array in self.inputs.arrays]
        return [self._part(number, cuts, history) for number in range(len(fractions))]

    def _part(self, number: int, cuts: list[list[int]], history: int) -> "Frames":
        spans = [(max(cut[number] - history, 0), cut[number + 1]) for cut in cuts]

        def cut(rows: Rows) -> Rows:
            return Rows([array[a:b] for array, (a, b) in zip(rows.arrays, spans, strict=True)])

        inputs = cut(self.inputs)
        targets = inputs if self.targets is self.inputs else cut(self.targets)
        clock = tuple(begin + a for begin, (a, _) in zip(self._clock, spans, strict=True))
        epoch = self._placement.epoch
        part = Frames(self.framer, inputs, targets, clock=clock, seed=self._seed, epoch=epoch)
        if not part.counts.any():
            steps = max(b - a for a, b in spans)
            share = ", or pass `share_history=True`" if self.framer.mode == "windows" else ""
            raise ValueError(
                f"Part {number} of the split has no frame: a frame needs "
                f"{self.framer.least_steps} steps. Received: {steps} steps. "
                f"Give it a larger fraction{share}."
            )
        return part

    def redraw(self, epoch: int) -> "Frames":
        """Return these frames with another epoch's random subsequences.

        >>> from seqframe import SequenceFramer
        >>> framer = SequenceFramer(5, mode="subsequences", num_samples=2, seed=7)
        >>> frames = framer.frame("ABCDEFGHIJ")
        >>> frames.describe()
        FG -> H
        HI -> J
        >>> frames.redraw(1).describe()
        GHI -> J
        I -> J
        """
        return Frames(
            self.framer,
            self.inputs,
            self.targets,
            clock=self._clock,
            seed=self._seed,
            epoch=check_integer("epoch", epoch, 0),
        )

    def lengths(self, index: Any = None) -> np.ndarray:
        """Return the true input lengths, without padding, of all frames or of those at `index`."""
        index = np.arange(len(self)) if index is None else np.atleast_1d(self._resolve(index))
        return self.locate(index)[2]

    def mask(self, index: Any = None) -> np.ndarray:
        """Return a bool array `(n, length)`: which input steps are real, not padding."""
        lengths = self.lengths(index)
        offsets = padded_offsets(lengths, self.framer.sequence_length, self.framer.padding)
        return (offsets >= 0) & (offsets < lengths[:, None])

    def steps(self, i: int) -> FrameSteps:
        """Return where frame `i` lies: (sequence, input steps, target steps), as raw time indices.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, gap=1, horizon=2).frame("ABCDEFGH").steps(1)
        FrameSteps(sequence=0, inputs=array([1, 2, 3]), targets=array([5, 6]))
        """
        (sequence,), (start,), (length,) = self.locate(
            np.atleast_1d(self._resolve(operator.index(i)))
        )
        rate, gap = self.framer.sampling_rate, self.framer.gap
        inputs = start + rate * np.arange(length)
        last = inputs[:, None] if self.framer.return_sequences else inputs[-1]
        targets = last + gap + 1 + np.arange(self.framer.horizon)
        begin = self._clock[sequence]
        if self.framer.wrap:
            inputs, targets = (
                inputs % self._placement.steps[sequence],
                targets % self._placement.steps[sequence],
            )
        return FrameSteps(int(sequence), begin + inputs, begin + targets)

    def describe(self, count: int = 5) -> None:
        """Print the first frames, one a line: `ABC -> D`, numbers for numeric data.

        Padding is left out.
        """
        for i in range(min(count, len(self))):
            sequence, inputs, targets = self.steps(i)
            begin = self._clock[sequence]
            x = self.inputs.arrays[sequence][inputs - begin]
            y = self.targets.arrays[sequence][targets - begin]
            print(f"{join_steps(x, self.vocabulary)} -> {self._describe_target(y)}")

    def _describe_target(self, y: np.ndarray) -> str:
        vocabulary = self.vocabulary if self.targets is self.inputs else None
        if not self.framer.return_sequences:
            return join_steps(y, vocabulary)
        if self.framer.horizon == 1:
            return join_steps(y[:, 0], vocabulary)
        return " | ".join(join_steps(steps, vocabulary) for steps in y)

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each frame its sequence, its first input step and its true length."""
        return self._placement.locate(index)

    @property
    def _input_axes(self) -> tuple[Axis, ...]:
        return ((self.framer.sequence_length, self.framer.sampling_rate),)

    @property
    def _target_axes(self) -> tuple[Axis, ...]:
        axes = self._input_axes if self.framer.return_sequences else ()
        return (*axes, (self.framer.horizon, 1)) if self.framer.horizon > 1 else axes

    @property
    def _target_offset(self) -> int:
        """Steps from a window's start to its first target."""
        last = 0 if self.framer.return_sequences else self.framer.span - 1
        return last + self.framer.gap + 1

    def _take_padded(self, sequence: np.ndarray, start: np.ndarray, length: np.ndarray) -> Batch:
        framer = self.framer
        offsets = padded_offsets(length, framer.sequence_length, framer.padding)
        real = (offsets >= 0) & (offsets < length[:, None])
        steps = start[:, None] + np.clip(offsets, 0, length[:, None] - 1)
        x = self._rows(self.inputs, sequence, steps)
        x[~real] = framer.padding_value
        last = steps if framer.return_sequences else start + length - 1
        ahead = framer.gap + 1 + np.arange(framer.horizon)
        y = self._rows(self.targets, sequence, last[..., None] + ahead)
        if framer.horizon == 1:
            y = y[:, :, 0] if framer.return_sequences else y[:, 0]
        if framer.return_sequences:
            y[~real] = framer.padding_value
        return x, y

    def _rows(self, rows: Rows, sequence: np.ndarray, steps: np.ndarray) -> np.ndarray:
        sequence = sequence.reshape(-1, *(1,) * (steps.ndim - 1))
        if self.framer.wrap:
            steps = steps % self._placement.steps[sequence]
        return rows.take(sequence, steps)

    def _resolve(self, index: Any) -> np.ndarray | int:
        """Return an index as lists take it, negative ones counted from the end, as non-negative."""
        size = len(self)
        if isinstance(index, slice):
            return np.arange(*index.indices(size))
        chosen = np.asarray(index)
        if chosen.dtype == bool and chosen.shape == (size,):
            return np.flatnonzero(chosen)
        if chosen.size == 0:
            return np.empty(0, np.int64)
        if chosen.dtype.kind not in "iu" or chosen.ndim > 1:
            raise TypeError(
                "An index must be an integer, a slice, or a one-dimensional list or array of "
                f"integers. Received: {index!r}."
            )
        outside = (chosen < -size) | (chosen >= size)
        if outside.any():
            worst = chosen if chosen.ndim == 0 else chosen[outside][0]
            raise IndexError(f"There are {size} frames. Received: index {worst}.")
        chosen = chosen.astype(np.int64)
        return np.where(chosen < 0, chosen + size, chosen)[()]

    def __repr__(self) -> str:
        sequences = len(self.inputs.arrays)
        source = "" if sequences == 1 else f" over {sequences} sequences"
        return f"Frames({len(self)} of x {self.x_shape}, y {self.y_shape}{source})"
