"""Geometry: which steps make frame *i*. No other module computes them.

A frame has `sequence_length` places for its input steps `start, start + rate, …`. Its last input
step is `last`, and its target steps are `last + gap + 1 … last + gap + horizon`. The frames of a
sequence are numbered by their *rank*. Everything here is integer arithmetic and holds no data.

The first windows of a sequence may begin before it (`min_length`), and its last one may end after
its last step that has targets (`pad_end`). Places outside are padding.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from seqframe.aliases import Padding

#: Returns which of the steps `start … stop - 1` are missing. Steps outside the sequence are not.
Missing = Callable[[int, int], np.ndarray]

_CHUNK = 2**16  # steps that are searched together


class Inputs(NamedTuple):
    """Where the inputs of frames lie, as int arrays `(n,)`.

    Attributes:
        start: the first input step.
        length: number of input steps, without padding.
        place: place of the first input step. The places before it are padding.
    """

    start: np.ndarray
    length: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Geometry:
    """The base of the three framings.

    Attributes:
        sequence_length: int. Places of an input.
        horizon: int. Target steps.
        gap: int. Steps between the last input step and the first target step.
        return_sequences: bool. Whether each input step has targets of its own.
        padding: "pre" | "post". The side of a short input that is padded.
        rate: int. Steps from one place to the next.
        stride: int. Steps from the start of one frame to the start of the next.
        min_length: int. Real steps of the shortest input; None: as many as the framing needs.
        wrap: bool. Whether a sequence is a cycle.
        num_samples: int, or None. Number of random frames.
        pad_end: bool. Whether last steps that fill no window are framed too.
    """

    sequence_length: int
    horizon: int = 1
    gap: int = 0
    return_sequences: bool = False
    padding: Padding = "pre"
    rate: int = 1
    stride: int = 1
    min_length: int | None = None
    wrap: bool = False
    num_samples: int | None = None
    pad_end: bool = False

    draws: ClassVar[bool] = False  # whether frames are drawn at random

    @property
    def pads(self) -> bool:
        """Whether inputs can be shorter than `sequence_length`, and are then padded."""
        return True

    @property
    def pads_start(self) -> bool:
        """Whether the first inputs of a sequence are shorter, and padded."""
        return True

    @property
    def weighs_places(self) -> bool:
        """Whether frames have weights that are 0 at padding."""
        return self.pad_end and self.return_sequences

    @property
    def shortest(self) -> int:
        """Real steps of the shortest input."""
        return self.min_length or 1

    @property
    def span(self) -> int:
        """Raw steps from the first to the last input step of a full frame."""
        return self.rate * (self.sequence_length - 1) + 1

    @property
    def ahead(self) -> int:
        """Raw steps that a frame needs after its last input step."""
        return max(self.gap + self.horizon, 0)

    @property
    def least_steps(self) -> int:
        """Raw steps that a sequence needs to have a frame."""
        return self.span - self._shift + self.ahead

    @property
    def _shift(self) -> int:
        """Steps from the start of a full first frame to the start of the sequence."""
        return self.rate * (self.sequence_length - self.shortest)

    # --- Which frames there are.

    def count(self, steps: int | np.ndarray) -> np.ndarray:
        """Return the number of frames, or of random starts, of sequences of `steps` steps.

        >>> Windows(3).count(np.array([26, 3])), Prefixes(3).count(np.array([26, 3]))
        (array([23,  0]), array([25,  2]))
        """
        return np.asarray(np.maximum((steps - self.least_steps) // self.stride + 1, 0))

    def num_frames(self, starts: int) -> int:
        """Return the number of frames for a number of ranks or random starts."""
        return starts

    def left_over(self, steps: np.ndarray) -> np.ndarray:
        """Return how many last steps of sequences fill no window: those that `pad_end` frames."""
        return np.zeros_like(steps)

    def locate(self, rank: np.ndarray, steps: int | np.ndarray) -> Inputs:
        """Return the inputs of the frames of these ranks, in sequences of `steps` steps.

        >>> Windows(3, stride=2).locate(np.arange(3), 8)
        Inputs(start=array([0, 2, 4]), length=array([3, 3, 3]), place=array([0, 0, 0]))
        >>> Prefixes(3).locate(np.arange(4), 5)
        Inputs(start=array([0, 0, 0, 1]), length=array([1, 2, 3, 3]), place=array([2, 1, 0, 0]))
        """
        begin = rank * self.stride - self._shift  # the step of the first place
        if not self.pads:
            zeros = np.zeros_like(begin)
            return Inputs(begin, zeros + self.sequence_length, zeros)
        before = -(np.minimum(begin, 0) // self.rate)  # places before the sequence
        stop = np.full_like(begin, self.sequence_length)
        if self.pad_end:
            stop = np.minimum(stop, -((begin - (steps - self.ahead)) // self.rate))
        place = before if self.padding == "pre" else np.zeros_like(before)
        return Inputs(begin + self.rate * before, stop - before, place)

    # --- Which steps make a frame.

    @cached_property
    def input_offsets(self) -> np.ndarray:
        """Input steps of a full frame, counted from its first; int array `(sequence_length,)`."""
        return self.rate * np.arange(self.sequence_length)

    @cached_property
    def target_offsets(self) -> np.ndarray:
        """Target steps of a full frame, counted from its first input step.

        An int array `(horizon,)`; with `return_sequences` `(sequence_length, horizon)`.
        """
        return self._targets(self.input_offsets if self.return_sequences else self.span - 1)

    def places(self, frames: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Return the input step at each place of frames, and which places are real.

        Both are arrays `(n, sequence_length)`. Places of padding hold the nearest step.

        >>> geometry = Prefixes(3)
        >>> step, real = geometry.places(geometry.locate(np.array([0, 2]), 5))
        >>> step.tolist(), real.tolist()
        ([[0, 0, 0], [0, 1, 2]], [[False, False, True], [True, True, True]])
        """
        start, length, place = (part[:, None] for part in frames)
        step = np.arange(self.sequence_length) - place
        real = (step >= 0) & (step < length)
        # Much faster than `np.clip`, which looks up the limits of the dtype.
        nearest = np.minimum(np.maximum(step, 0), length - 1)
        return start + self.rate * nearest, real

    def steps(self, frames: Inputs, cycle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the input steps of frames, which of their places are real, and the target steps.

        Input steps are `(n, sequence_length)`. Target steps are `(n, horizon)`, with
        `return_sequences` `(n, sequence_length, horizon)`. `cycle` is the length of each sequence.
        """
        inputs, real = self.places(frames)
        last = frames.start + self.rate * (frames.length - 1)
        targets = self._targets(inputs if self.return_sequences else last)
        if self.wrap:
            inputs = inputs % cycle[:, None]
            targets = targets % cycle.reshape(-1, *(1,) * (targets.ndim - 1))
        return inputs, real, targets

    def _targets(self, last: np.ndarray | int) -> np.ndarray:
        """Return the target steps that follow last input steps, along a new axis."""
        return np.asarray(last)[..., None] + self.gap + 1 + np.arange(self.horizon)

    # --- Distances between frames.

    @property
    def end_to_end(self) -> int | None:
        """The `stride` by which frames lie end to end; None if no stride does that."""
        return 1 if self.sequence_length == 1 else None

    @property
    def history(self) -> int | None:
        """How many steps the inputs reach back before the first target step.

        None if frames begin where their sequence begins.
        """
        return None

    @property
    def ranks_are_steps(self) -> bool:
        """Whether the frame of rank *r* begins at step *r*."""
        return False

    # --- Which frames touch no missing step.

    def runs(
        self, steps: int, inputs: Missing, targets: Missing
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the runs of frames that touch no missing step, in a sequence of `steps` steps.

        A frame touches its input steps in the inputs, and its target steps in the targets. A random
        frame touches every step from its first to its last. A run is its first rank, its number of
        frames, and the step before which its frames end.
        """
        chunks = split_range(int(self.count(steps)), max(_CHUNK // self.stride, 1))
        whole = (self._whole(np.arange(a, b), steps, inputs, targets) for a, b in chunks)
        first, stop = find_runs_of_true(whole)
        return first, stop - first, np.full_like(first, steps)

    def _whole(self, rank: np.ndarray, steps: int, inputs: Missing, targets: Missing) -> np.ndarray:
        """Return whether the frames of neighbouring ranks touch no missing step."""
        begin, last = (int(rank[k]) * self.stride - self._shift for k in (0, -1))
        end, after = last + self.span, self.gap + 1
        # Whether a frame with its last input step here has a missing target.
        ahead = targets(begin + after, end + after + self.horizon - 1)
        lost = count_in_windows(ahead, self.horizon) > 0
        lost[: max(-begin, 0)] = False  # places before the sequence have no targets
        missing = inputs(begin, end)
        if self.pad_end:
            for flags in (lost, missing):
                flags[max(steps - self.ahead - begin, 0) :] = False
        touched = count_in_windows(missing, self.sequence_length, self.rate)
        if self.return_sequences:
            touched += count_in_windows(lost, self.sequence_length, self.rate)
            return np.asarray(touched[:: self.stride] == 0)
        start, length, _ = self.locate(rank, steps)
        return np.asarray(
            (touched[:: self.stride] == 0) & ~lost[start + self.rate * (length - 1) - begin]
        )


@dataclass(frozen=True)
class Windows(Geometry):
    """Every window that fits, `stride` steps apart."""

    @property
    def shortest(self) -> int:
        return self.min_length or self.sequence_length

    @property
    def pads(self) -> bool:
        return self.pads_start or self.pad_end

    @property
    def pads_start(self) -> bool:
        return self.shortest < self.sequence_length

    @property
    def least_steps(self) -> int:
        return 1 + self.ahead if self.pad_end else super().least_steps

    def count(self, steps: int | np.ndarray) -> np.ndarray:
        if not self.pad_end:
            return super().count(steps)
        used = np.asarray(steps - self.ahead)  # steps that have targets
        full = np.maximum(used + self._shift - self.span, 0)
        number = -(-full // self.stride) + 1
        # With a long stride, or a rate, the last window may hold no step.
        number -= self.locate(number - 1, steps).length <= 0
        return np.asarray(np.where(used > 0, number, 0))

    def left_over(self, steps: np.ndarray) -> np.ndarray:
        if self.pad_end:
            return np.zeros_like(steps)
        number = self.count(steps)
        begin = number * self.stride - self._shift  # of the window that does not fit
        # The step after the last window that fits.
        after = np.maximum(begin - self.stride + self.span, 0) * (number > 0)
        first = begin + self.rate * -((begin - after) // self.rate) * (after > begin)
        return np.asarray(np.maximum(-((first - (steps - self.ahead)) // self.rate), 0))

    @property
    def end_to_end(self) -> int:
        return self.stride if self.sequence_length == 1 else self.sequence_length * self.rate

    @property
    def history(self) -> int:
        if self.return_sequences:  # the first target is the one of the first step
            return max(1 + self.gap, 0)
        # The first whole window should begin exactly so far back.
        return max(self.span + self.gap, 0) + (-self._shift) % self.stride

    @property
    def ranks_are_steps(self) -> bool:
        return self.stride == 1 and not self.pads


@dataclass(frozen=True)
class Prefixes(Geometry):
    """All that precedes each step, padded: `min_length … sequence_length` steps."""


@dataclass(frozen=True)
class Subsequences(Geometry):
    """Random stretches of random length, padded; with `wrap`, of a cycle. A rank is a start."""

    draws: ClassVar[bool] = True

    @property
    def least_steps(self) -> int:
        return 1 if self.wrap else super().least_steps

    def num_frames(self, starts: int) -> int:
        return (self.num_samples or starts) if starts else 0

    def draw(self, start: np.ndarray, stop: np.ndarray, uniform: np.ndarray) -> Inputs:
        """Return inputs of lengths drawn uniformly from those that end before `stop`.

        `uniform` holds a float in `[0, 1)` for each frame.
        """
        longest = np.full_like(start, self.sequence_length)
        if not self.wrap:
            longest = np.minimum(longest, stop - start - self.ahead)
        choices = longest - self.shortest + 1
        length = self.shortest + (uniform * choices).astype(np.int64)
        pad = self.sequence_length - length
        return Inputs(start, length, pad if self.padding == "pre" else np.zeros_like(pad))

    def runs(
        self, steps: int, inputs: Missing, targets: Missing
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chunks = split_range(steps, _CHUNK)
        first, stop = find_runs_of_true(~(inputs(a, b) | targets(a, b)) for a, b in chunks)
        return first, self.count(stop - first), stop


def split_range(size: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Return where each chunk of `range(size)` begins and stops."""
    return ((first, min(first + chunk, size)) for first in range(0, size, chunk))


def count_in_windows(flags: np.ndarray, length: int, rate: int = 1) -> np.ndarray:
    """Return how many flags are set in each window of `length` places, `rate` apart.

    >>> count_in_windows(np.array([1, 0, 0, 1, 1], bool), length=2)
    array([1, 0, 1, 2])
    >>> count_in_windows(np.array([1, 0, 0, 1, 1], bool), length=2, rate=3)
    array([2, 1])
    """
    size = len(flags) - rate * (length - 1)
    # The sums of every rate-th flag before each place.
    rows = -(-len(flags) // rate) + 1
    table = np.zeros((rows, rate), np.int64)
    padded = np.zeros((rows - 1) * rate, np.int64)
    padded[: len(flags)] = flags
    np.cumsum(padded.reshape(-1, rate), axis=0, out=table[1:])
    sums = table.ravel()
    return sums[rate * length :][:size] - sums[:size]


def find_runs_of_true(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of True begin and stop in bool arrays that follow each other.

    >>> find_runs_of_true([np.array([True, False, True]), np.array([True, False])])
    (array([0, 2]), array([1, 4]))
    """
    found, before, offset = [], False, 0
    for part in parts:
        changes = np.flatnonzero(np.diff(part, prepend=before))
        found.append(changes + offset)
        before, offset = bool(part[-1]), offset + len(part)
    edges = np.concatenate([*found, [offset] if before else []]).astype(np.int64)
    return edges[0::2], edges[1::2]
