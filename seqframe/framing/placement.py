"""Where frames lie: from a frame's number to its sequence, its first step and its length."""

from typing import TYPE_CHECKING

import numpy as np

from seqframe.framing.missing import Runs
from seqframe.framing.order import uniform
from seqframe.framing.windows import locate_prefixes, locate_windows

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer


class Placement:
    """The frames of sequences of given lengths, by number. Pure arithmetic: it holds no data.

    Args:
        framer: SequenceFramer whose rule it follows.
        steps: int array. Length of each sequence.
        runs: Runs of frames, in the order of their numbers.
        seed: int. Of random subsequences.
        epoch: int. Of random subsequences.

    Attributes:
        steps: int array. Length of each sequence.
        counts: int array. Frames of each sequence; for subsequences, starts to draw from.
        size: int. Number of frames.
        epoch: int.
    """

    def __init__(
        self, framer: "SequenceFramer", steps: np.ndarray, runs: Runs, seed: int, epoch: int
    ):
        self._framer, self._seed, self.epoch = framer, seed, epoch
        self.steps, self.runs = steps, runs
        self.counts = np.bincount(runs.sequence, runs.size, len(steps)).astype(np.int64)
        self.find = Finder(runs.size)
        total = self.find.total
        self.size = (framer.num_samples or total) if total else 0

    @property
    def breaks(self) -> np.ndarray:
        """Frame numbers at which a run begins."""
        return self.find.begins

    @property
    def only_run(self) -> tuple[int, int] | None:
        """The first frame's number in its sequence and the number of frames, where these are all of
        one sequence and follow each other; else None."""
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
        framer = self._framer
        if framer.mode == "subsequences":
            return self._draw(index)
        run, rank = self.find(index)
        rank = rank + self.runs.first[run]
        if framer.mode == "prefixes":
            start, length = locate_prefixes(rank, framer.min_length, framer.sequence_length)
        else:
            start, length = locate_windows(rank, framer.sequence_stride, framer.sequence_length)
        return self.runs.sequence[run], start, length

    def rank(self, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return which of its sequence's frames each is, those left out counted as well."""
        if self._framer.mode == "prefixes":
            return start + length - self._framer.min_length
        return start // self._framer.sequence_stride

    def _draw(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw a start uniformly from all that fit, then a length uniformly from those that fit."""
        framer = self._framer
        draw = uniform(self._seed, self.epoch, index, stream=0) * self.find.total
        run, rank = self.find(draw.astype(np.int64))
        start = rank + self.runs.first[run]
        longest = framer.sequence_length
        if not framer.wrap:
            longest = np.minimum(longest, self.runs.stop[run] - start - framer.ahead)
        choices = longest - framer.min_length + 1
        length = uniform(self._seed, self.epoch, index, stream=1) * choices
        return self.runs.sequence[run], start, framer.min_length + length.astype(np.int64)


class Finder:
    """Finds in which of several runs a number lies, and at which place of it.

    A table says in which run each stretch of numbers begins, from where a look or two find a
    number's own; where many runs share a stretch, halving is faster.

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
            run = np.searchsorted(self._ends, number, side="right")
        else:
            run = self._table[number >> self._shift]
            for _ in range(self._looks):
                run += number >= self._ends[run]
        return run
