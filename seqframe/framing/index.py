"""FrameIndex: from a frame's number to its sequence, its first step and its length."""

from typing import NamedTuple

import numpy as np

from seqframe.framing.geometry import Geometry, Subsequences
from seqframe.framing.order import uniform


class Runs(NamedTuple):
    """Frames that follow each other without a hole, all int arrays of one length.

    Attributes:
        sequence: the sequence of each run.
        first: the rank of its first frame in the sequence.
        size: its number of frames; of random frames, its number of starts.
        stop: the step before which its frames end.
    """

    sequence: np.ndarray
    first: np.ndarray
    size: np.ndarray
    stop: np.ndarray


class FrameIndex:
    """Finds the frames of sequences by their number. Integer arithmetic: it holds no data.

    Args:
        geometry: Geometry of the frames.
        steps: int array. Length of each sequence.
        runs: Runs of frames, in the order of their numbers. None: whole sequences.
        seed: int. Seed of random frames.
        epoch: int. Epoch of random frames.

    Attributes:
        steps: int array. Length of each sequence.
        runs: Runs.
        counts: int array. Frames of each sequence; of random frames, starts to draw from.
        find: Finder of a frame's run.
        size: int. Number of frames.
    """

    def __init__(
        self, geometry: Geometry, steps: np.ndarray, runs: Runs | None, seed: int, epoch: int
    ):
        if runs is None:
            zeros = np.zeros_like(steps)
            runs = Runs(np.arange(len(steps)), zeros, geometry.count(steps), steps)
        self._geometry, self._seed, self._epoch = geometry, seed, epoch
        self.steps, self.runs = steps, runs
        self.counts = np.bincount(runs.sequence, runs.size, len(steps)).astype(np.int64)
        self.find = Finder(runs.size)
        self.size = geometry.num_frames(self.find.total)

    @property
    def only_run(self) -> tuple[int, int] | None:
        """First rank and number of all frames, if they make one run of one sequence; else None."""
        if len(self.steps) > 1 or len(self.runs.size) > 1:
            return None
        return int(self.runs.first[0]), int(self.runs.size[0])

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sequence, the first input step and the true length of frames.

        Args:
            index: int array `(n,)` of frame numbers.

        Returns:
            three int arrays `(n,)`.
        """
        runs, geometry = self.runs, self._geometry
        if isinstance(geometry, Subsequences):
            # First a start, drawn uniformly from all starts, then a length.
            start = self._uniform(index, stream=0) * self.find.total
            run, rank = self.find(start.astype(np.int64))
            lengths = self._uniform(index, stream=1)
            start, length = geometry.draw(rank + runs.first[run], runs.stop[run], lengths)
        else:
            run, rank = self.find(index)
            start, length = geometry.locate(rank + runs.first[run])
        return runs.sequence[run], start, length

    def _uniform(self, index: np.ndarray, stream: int) -> np.ndarray:
        return uniform(self._seed, self._epoch, index, stream)


class Finder:
    """Finds the run in which a number lies, and its place there.

    A table says in which run each stretch of numbers begins. From there one or two comparisons find
    the run of a number. If many runs share a stretch, a binary search is faster.

    Args:
        counts: int array. Length of each run.

    Example:

    >>> find = Finder(np.array([3, 0, 2]))
    >>> find(np.arange(5))
    (array([0, 0, 0, 2, 2]), array([0, 1, 2, 0, 1]))
    """

    def __init__(self, counts: np.ndarray):
        self._ends = np.cumsum(counts)
        self.begins = self._ends - counts
        self.total = int(self._ends[-1]) if len(counts) else 0
        # Two to four stretches a run, each a power of two long.
        self._shift = max((self.total // (2 * len(counts) + 1)).bit_length() - 1, 0)
        stretches = np.arange((self.total >> self._shift) + 2) << self._shift
        self._table = np.searchsorted(self._ends, stretches, side="right")
        self._looks = int(np.diff(self._table).max(initial=0))

    def __call__(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the run of each number, and its place in it; int arrays of one shape."""
        if len(self._ends) == 1:
            return np.zeros_like(number), number
        run = self.run(number)
        return run, number - self.begins[run]

    def run(self, number: np.ndarray) -> np.ndarray:
        """Return the run of each number, an int array of its shape."""
        if self._looks > 4:
            return np.searchsorted(self._ends, number, side="right")
        run = self._table[number >> self._shift]
        for _ in range(self._looks):
            run += number >= self._ends[run]
        return run
