"""Where frames lie: from a frame's number to its sequence, its first step and its length."""

from typing import TYPE_CHECKING

import numpy as np

from seqframe.order import uniform
from seqframe.windows import locate_prefixes, locate_windows

if TYPE_CHECKING:
    from seqframe.framer import SequenceFramer


class Placement:
    """The frames of sequences of given lengths, by number. Pure arithmetic: it holds no data.

    Args:
        framer: SequenceFramer whose rule it follows.
        steps: int array. Length of each sequence.
        seed: int. Of random subsequences.
        epoch: int. Of random subsequences.

    Attributes:
        steps: int array. Length of each sequence.
        counts: int array. Frames of each sequence; for subsequences, starts to draw from.
        size: int. Number of frames.
        epoch: int.
    """

    def __init__(self, framer: "SequenceFramer", steps: np.ndarray, seed: int, epoch: int):
        self._framer, self._seed, self.epoch = framer, seed, epoch
        self.steps = steps
        self.counts = np.array([framer.count(length) for length in steps], np.int64)
        self._ends = np.cumsum(self.counts)
        self.size = framer.num_samples or int(self._ends[-1])

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
        sequence, rank = self._sequence_and_rank(index)
        if framer.mode == "prefixes":
            start, length = locate_prefixes(rank, framer.min_length, framer.sequence_length)
        else:
            start, length = locate_windows(rank, framer.sequence_stride, framer.sequence_length)
        return sequence, start, length

    def _draw(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw a start uniformly from all that fit, then a length uniformly from those that fit."""
        framer = self._framer
        draw = uniform(self._seed, self.epoch, index, stream=0) * self._ends[-1]
        sequence, start = self._sequence_and_rank(draw.astype(np.int64))
        longest = framer.sequence_length
        if not framer.wrap:
            longest = np.minimum(longest, self.steps[sequence] - start - framer.ahead)
        choices = longest - framer.min_length + 1
        length = uniform(self._seed, self.epoch, index, stream=1) * choices
        return sequence, start, framer.min_length + length.astype(np.int64)

    def _sequence_and_rank(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which sequence each number falls to, and which of that sequence's it is."""
        if len(self.counts) == 1:
            return np.zeros(len(number), np.int64), number
        sequence = np.searchsorted(self._ends, number, side="right")
        return sequence, number - (self._ends - self.counts)[sequence]
