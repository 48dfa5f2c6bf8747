"""FrameCollection: frames by their number, their shapes, and where they lie."""

import json
import math
import operator
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from seqframe.aliases import Batch, Index, Shape
from seqframe.framing.cutters import PaddedCutter, WindowCutter, frame_dtypes, frame_shapes
from seqframe.framing.gather import Rows
from seqframe.framing.missing import Runs, find_runs, whole_runs
from seqframe.framing.order import random_seed
from seqframe.framing.placement import Placement
from seqframe.framing.sequences import join_steps
from seqframe.framing.source import Source
from seqframe.framing.windows import padded_offsets

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer
    from seqframe.framing.vocabulary import Vocabulary


class FrameSteps(NamedTuple):
    """Where a frame lies, as raw time indices. Returned by `Frames.steps`.

    Attributes:
        sequence: number of its sequence, or the label of the group that this is.
        inputs: int array `(length,)`. Steps of its input, without padding.
        targets: int array `(horizon,)`, or `(length, horizon)` where each input step has targets.

    Example:

    >>> from seqframe import SequenceFramer
    >>> sequence, inputs, targets = SequenceFramer(3).frame("ABCDEFGH").steps(1)
    >>> sequence, inputs, targets
    (0, array([1, 2, 3]), array([4]))
    """

    sequence: Hashable
    inputs: np.ndarray
    targets: np.ndarray


class FrameCollection:
    """Frames as a lazy, immutable, random-access collection: the ground of `Frames`.

    Args:
        framer: SequenceFramer that makes them, with the vocabulary they are encoded with.
        source: Source of their arrays.
        seed: int ≥ 0. Of random subsequences; None draws one.
        epoch: int ≥ 0. Of random subsequences.
        runs: Runs of frames, where they are known; None finds them.
    """

    def __init__(
        self,
        framer: "SequenceFramer",
        source: Source,
        *,
        seed: int | None = None,
        epoch: int = 0,
        runs: Runs | None = None,
    ):
        self.framer, self.source, self.epoch = framer, source, epoch
        draws = framer.mode == "subsequences"
        self._seed = random_seed() if seed is None and draws else seed
        if runs is None:
            find = source.may_leave_out
            runs = find_runs(framer, source) if find else whole_runs(framer, source.steps)
        self._runs = runs
        self._placement = Placement(framer, source.steps, runs, self._seed or 0, epoch)
        self._shapes = frame_shapes(framer, source)
        cutter: type[PaddedCutter | WindowCutter] = PaddedCutter if framer.pads else WindowCutter
        self._cutter = cutter(framer, source, self._placement)

    def __len__(self) -> int:
        return self._placement.size

    @property
    def inputs(self) -> Rows:
        """The sequences that input windows are taken from."""
        return self.source.inputs

    @property
    def targets(self) -> Rows:
        """The sequences that targets are taken from; the inputs themselves, or others."""
        return self.source.targets

    @property
    def counts(self) -> np.ndarray:
        """Number of frames of each sequence; for subsequences, of starts to draw from.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(2).frame(["ABCD", "ABC"]).counts
        array([2, 1])
        """
        return self._placement.counts

    @property
    def left_out(self) -> int:
        """Number of frames that are left out because they touch a missing step, as `skip_nan` and
        `valid` have it; for subsequences, of starts to draw from.

        >>> from seqframe import SequenceFramer
        >>> gap = [1.0, 2.0, 3.0, float("nan"), 5.0, 6.0, 7.0, 8.0]
        >>> frames = SequenceFramer(2).frame(gap, skip_nan=True)
        >>> frames.left_out, len(frames)
        (3, 3)
        """
        return int(self.framer.count(self.source.steps).sum() - self.counts.sum())

    @property
    def breaks(self) -> np.ndarray:
        """Numbers of the frames that do not follow the one before, because a sequence begins or
        steps are missing."""
        return self._placement.breaks

    @property
    def vocabulary(self) -> "Vocabulary | None":
        """The Vocabulary that the symbols were encoded with, or None."""
        return self.framer.vocabulary

    @property
    def x_shape(self) -> Shape | dict[str, Shape]:
        """Shape of an input, without the sample axis; a dict where there is a past and a future.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3).frame("ABCDEFG").x_shape
        (3, 1)
        """
        past, future = self._shapes.past, self._shapes.future
        return past if future is None else {"past": past, "future": future}

    @property
    def y_shape(self) -> Shape:
        """Shape of a target, without the sample axis.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, horizon=2).frame("ABCDEFG").y_shape
        (2,)
        """
        return self._shapes.y

    @property
    def sample_weight_shape(self) -> Shape | None:
        """Shape of a sample weight, without the sample axis; None where there are no weights."""
        return self._shapes.weight

    @property
    def array_specs(self) -> list[tuple[Shape, np.dtype]]:
        """Shape and dtype that a frame has of each array of a batch, in the order of `gather`."""
        pairs = zip(self._shapes, frame_dtypes(self.framer, self.source), strict=True)
        return [(shape, dtype) for shape, dtype in pairs if shape is not None and dtype is not None]

    @property
    def nbytes(self) -> int:
        """Bytes that a frame takes in a batch."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.array_specs)

    def __getitem__(self, index: Index) -> Batch:
        """Return one frame `(x, y)`, or for a slice, a list or an array of indices, many.

        With sample weights, `(x, y, sample_weight)`; with a future, `x` is a dict.
        """
        chosen = self.resolve(index)
        if isinstance(chosen, np.ndarray):
            return self.take(chosen)
        arrays = self.gather(self.place(np.array([chosen])))
        return self.pack(array[0] for array in arrays)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self), 1024):
            places = self.place(np.arange(first, min(first + 1024, len(self))))
            yield from map(self.pack, zip(*self.gather(places), strict=True))

    def take(self, index: np.ndarray) -> Batch:
        """Copy frames, by numbers that are known to be valid: what `frames[index]` does, unchecked.

        Args:
            index: int array `(n,)`.

        Returns:
            tuple of arrays `(n, …)`, as of `arrays`.

        Example:

        >>> from seqframe import SequenceFramer
        >>> x, y = SequenceFramer(2).frame([10, 20, 30, 40]).take(np.array([1, 0]))
        >>> y
        array([40, 30])
        """
        return self.pack(self.gather(self.place(index)))

    def place(self, index: np.ndarray) -> Any:
        """Return where the frames number `index` lie, for `gather`."""
        return self._cutter.place(index)

    def gather(self, places: Any, which: slice = slice(None)) -> list[np.ndarray]:
        """Copy the arrays of frames that were placed, for `pack`."""
        return self._cutter.gather(places, which)

    def views(self) -> list[np.ndarray] | None:
        """Return the arrays of all frames as read-only views; None where they would be copies."""
        return self._cutter.views()

    @property
    def pack(self) -> Callable[[Any], Batch]:
        """The function that makes a batch of its arrays."""
        return tuple if self._shapes.future is None else _pack_future

    def arrays(self) -> Batch:
        """Return all frames as `(X, y)`, or `(X, y, sample_weight)`.

        Windows over one sequence are a read-only view of it: nothing is copied, however large.
        Everything else is copied once: several sequences, padded frames, and windows whose steps
        do not lie next to each other where `layout="features"` wants them to.

        Returns:
            tuple of arrays `(frames, …)`; X is a dict of "past" and "future" where there is a
            future.

        Example:

        >>> from seqframe import SequenceFramer
        >>> X, y = SequenceFramer(3).frame([10, 20, 30, 40, 50]).arrays()
        >>> X.shape, y
        ((2, 3, 1), array([40, 50]))
        """
        views = self.views()
        return self.take(np.arange(len(self))) if views is None else self.pack(views)

    def lengths(self, index: Index | None = None) -> np.ndarray:
        """Return the true input lengths, without padding, of all frames or of those at `index`.

        Args:
            index: int, slice, list or array of frame numbers; None: all.

        Returns:
            int array `(frames,)`.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, mode="prefixes").frame("ABCDEF").lengths()
        array([1, 2, 3, 3, 3])
        """
        chosen = np.arange(len(self)) if index is None else np.atleast_1d(self.resolve(index))
        return self.locate(chosen)[2]

    def mask(self, index: Index | None = None) -> np.ndarray:
        """Return which input steps are real, not padding.

        Args:
            index: int, slice, list or array of frame numbers; None: all.

        Returns:
            bool array `(frames, length)`.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, mode="prefixes").frame("ABCDEF").mask([0, 2])
        array([[False, False,  True],
               [ True,  True,  True]])
        """
        lengths = self.lengths(index)
        offsets = padded_offsets(lengths, self.framer.sequence_length, self.framer.padding)
        return (offsets >= 0) & (offsets < lengths[:, None])

    def steps(self, i: int) -> FrameSteps:
        """Return where frame `i` lies: (sequence, input steps, target steps), as raw time indices.

        The sequence is its number, or the label of the group that it is. Steps are counted from the
        sequence's first, before any split.

        Args:
            i: int. Number of the frame.

        Returns:
            FrameSteps.

        Raises:
            IndexError: if there is no such frame.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, gap=1, horizon=2).frame("ABCDEFGH").steps(1)
        FrameSteps(sequence=0, inputs=array([1, 2, 3]), targets=array([5, 6]))
        """
        number, inputs, targets = self._own_steps(self.resolve(operator.index(i)))
        begin = self.source.begins[number]
        return FrameSteps(self.source.labels[number], begin + inputs, begin + targets)

    def _own_steps(self, i: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the number of a frame's sequence, and its steps counted from where that begins."""
        (number,), (start,), (length,) = self.locate(np.atleast_1d(i))
        rate, gap = self.framer.sampling_rate, self.framer.gap
        inputs = start + rate * np.arange(length)
        last = inputs[:, None] if self.framer.return_sequences else inputs[-1]
        targets = last + gap + 1 + np.arange(self.framer.horizon)
        if self.framer.wrap:
            cycle = self._placement.steps[number]
            inputs, targets = inputs % cycle, targets % cycle
        return int(number), inputs, targets

    def describe(self, count: int = 5) -> None:
        """Print the first frames, one a line: `ABC -> D`, numbers for numeric data.

        Padding is left out.

        Args:
            count: int. How many, at most.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3).frame("ABCDEFG").describe(2)
        ABC -> D
        BCD -> E
        >>> SequenceFramer(2, horizon=2).frame([1, 2, 3, 4]).describe()
        1 2 -> 3 4
        """
        for x, y in self.written(count):
            print(f"{x} -> {y}")

    def written(self, count: int) -> Iterator[tuple[str, str]]:
        """Go through the first frames as a reader would write them: inputs, targets."""
        for i in range(min(count, len(self))):
            number, inputs, targets = self._own_steps(i)
            x, y = self.inputs.read(number)[inputs], self.targets.read(number)[targets]
            yield join_steps(x, self.vocabulary), self._describe_target(y)

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

    def rank(self, index: np.ndarray) -> np.ndarray:
        """Return which of its sequence's frames each is, those left out counted as well."""
        return self._placement.rank(*self.locate(index)[1:])

    @cached_property
    def fingerprint(self) -> int:
        """A number that tells these frames from others by their rule, the lengths and names of
        their sequences and the places of missing steps, not by their values."""
        draws = [self._seed, self.epoch] if self.framer.mode == "subsequences" else None
        names = repr(list(self.source.labels))
        rule = json.dumps([self.framer.get_config(), draws, len(self), names]).encode()
        layout = (self._placement.steps, self.source.begins, *self._runs)
        return zlib.crc32(b"".join(part.tobytes() for part in layout), zlib.crc32(rule))

    @overload
    def resolve(self, index: int) -> int: ...

    @overload
    def resolve(self, index: slice | Sequence[int]) -> np.ndarray: ...

    @overload
    def resolve(self, index: Any) -> np.ndarray | int: ...

    def resolve(self, index: Any) -> np.ndarray | int:
        """Return an index as lists take it, negative ones counted from the end, as non-negative."""
        size = len(self)
        if isinstance(index, slice):
            return np.arange(*index.indices(size))
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            if not -size <= index < size:
                raise IndexError(f"There are {size} frames. Received: index {index}.")
            return int(index) % size
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
        sequences = len(self.source.labels)
        source = "" if sequences == 1 else f" over {sequences} sequences"
        lost = f", {self.left_out} left out" if self.left_out else ""
        return f"Frames({len(self)} of x {self.x_shape}, y {self.y_shape}{source}{lost})"


def _pack_future(arrays: Sequence[np.ndarray]) -> Batch:
    past, future, *rest = arrays
    return ({"past": past, "future": future}, *rest)
