"""FrameIndex: the frames of the sequences, and their places. Frames may not touch missing steps."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from seqframe.framing.checks import check_bytes
from seqframe.framing.gather import Rows
from seqframe.framing.geometry import Geometry, Inputs, Subsequences, split_range
from seqframe.framing.order import uniform
from seqframe.framing.source import Source
from seqframe.framing.tables import check_unmasked

INDEX_BYTES = 32  # that finding a step, or a frame, takes for a moment
_CHUNK = 2**16  # steps, or values of wide steps, that are searched together


class Runs(NamedTuple):
    """Runs of frames without a hole, as int arrays of one length.

    Attributes:
        sequence: the sequence of each run.
        first: the rank of its first frame in the sequence.
        size: its number of frames, or of random starts.
        stop: the step before which its frames end.
    """

    sequence: np.ndarray
    first: np.ndarray
    size: np.ndarray
    stop: np.ndarray


class Located(NamedTuple):
    """Where frames lie.

    Attributes:
        sequence: int array. The sequence of each frame.
        rank: int array. Its rank in the sequence. Frames that are left out count as well.
        inputs: Inputs of the frames.
    """

    sequence: np.ndarray
    rank: np.ndarray
    inputs: Inputs


class FrameIndex:
    """Finds the frames of sequences by their number. Integer arithmetic: it holds no data.

    Args:
        geometry: Geometry of the frames.
        source: Source of the sequences.
        runs: Runs of frames, in the order of their numbers. None: all frames that touch no missing
            step.
        seed: int. Seed of random frames.
        epoch: int. Epoch of random frames.
        draws: int array. The random frames that a subset chose; None: all.

    Attributes:
        steps: int array. Length of each sequence.
        runs: Runs.
        counts: int array. Number of frames, or of random starts, of each sequence.
        find: Finder of a frame's run.
        size: int. Number of frames.
    """

    def __init__(
        self,
        geometry: Geometry,
        source: Source,
        runs: Runs | None,
        seed: int,
        epoch: int,
        draws: np.ndarray | None = None,
    ):
        self._geometry, self._seed, self._epoch = geometry, seed, epoch
        self.steps = source.steps
        self.runs = find_runs(geometry, source) if runs is None else runs
        counts = np.bincount(self.runs.sequence, self.runs.size, len(self.steps))
        self.counts = counts.astype(np.int64)
        self.find = Finder(self.runs.size)
        self.draws = draws
        self.size = geometry.num_frames(self.find.total) if draws is None else len(draws)

    @property
    def only_run(self) -> tuple[int, int] | None:
        """First rank and number of all frames, if they make one run of one sequence; else None."""
        if len(self.counts) > 1 or len(self.runs.size) > 1:
            return None
        return int(self.runs.first[0]), int(self.runs.size[0])

    def locate(self, index: np.ndarray) -> Located:
        """Return where the frames number `index` lie."""
        runs, geometry = self.runs, self._geometry
        if isinstance(geometry, Subsequences):
            index = index if self.draws is None else self.draws[index]
            # First a start, drawn uniformly from all starts, then a length.
            start = self._uniform(index, stream=0) * self.find.total
            run, rank = self.find(start.astype(np.int64))
            rank += runs.first[run]
            lengths = self._uniform(index, stream=1)
            return Located(runs.sequence[run], rank, geometry.draw(rank, runs.stop[run], lengths))
        run, rank = self.find(index)
        rank, sequence = rank + runs.first[run], runs.sequence[run]
        return Located(sequence, rank, geometry.locate(rank, self.steps[sequence]))

    def choose(self, index: np.ndarray) -> tuple[Runs, np.ndarray | None]:
        """Return the runs, and the random frames, of some of the frames."""
        runs = self.runs
        if self._geometry.draws:
            return runs, index if self.draws is None else self.draws[index]
        run, rank = self.find(index)
        follows = (np.diff(run) == 0) & (np.diff(rank) == 1)
        begins = np.flatnonzero(np.concatenate([[True], ~follows]))
        size = np.diff(begins, append=len(index))
        run, rank = run[begins], rank[begins]
        return Runs(runs.sequence[run], runs.first[run] + rank, size, runs.stop[run]), None

    def _uniform(self, index: np.ndarray, stream: int) -> np.ndarray:
        return uniform(self._seed, self._epoch, index, stream)


def find_blocks(index: FrameIndex, rows: Rows) -> np.ndarray:
    """Return the edges of the blocks of frames that begin in one page of their rows.

    They are the first frame of each block, and the number of frames.
    """
    firsts, sizes = index.find.begins, index.runs.size
    firsts, sizes = firsts[sizes > 0], sizes[sizes > 0]

    def page_of(frames: np.ndarray) -> np.ndarray:
        sequence, _, inputs = index.locate(frames)
        return rows.page(sequence, inputs.start)

    low, high = page_of(firsts), page_of(firsts + sizes - 1)
    between = firsts[1:][low[1:] != high[:-1]]
    # The first frame of each other page of a run, by bisection.
    run = np.repeat(np.arange(len(firsts)), high - low)
    wanted = np.arange(len(run)) - (np.cumsum(high - low) - (high - low))[run] + low[run] + 1
    first, last = firsts[run], firsts[run] + sizes[run] - 1
    while (first < last).any():
        middle = (first + last) // 2
        is_there = page_of(middle) >= wanted
        first, last = np.where(is_there, first, middle + 1), np.where(is_there, middle, last)
    return np.unique(np.concatenate([[0], between, first, [index.size]]))


class Finder:
    """Finds the run in which a number lies, and its place there.

    A table says in which run each stretch of numbers begins. From there one or two comparisons find
    the run of a number. If many runs share a stretch, a binary search is faster.

    >>> find = Finder(counts=np.array([3, 0, 2]))
    >>> find(np.arange(5))
    (array([0, 0, 0, 2, 2]), array([0, 1, 2, 0, 1]))
    """

    def __init__(self, counts: np.ndarray):
        self._ends = np.cumsum(counts)
        self.begins: np.ndarray = self._ends - counts
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
        run: np.ndarray = self._table[number >> self._shift]
        for _ in range(self._looks):
            run += number >= self._ends[run]
        return run


def resolve_index(index: Any, size: int) -> Any:
    """Return an index of `size` frames as non-negative numbers: an int, or an int array.

    >>> resolve_index(slice(-2, None), 5), resolve_index([True, False, True], 3)
    (array([3, 4]), array([0, 2]))
    """
    if isinstance(index, slice):
        found = range(*index.indices(size))
        check_bytes("The index", INDEX_BYTES * len(found), "Take fewer frames at a time.")
        return np.arange(found.start, found.stop, found.step)
    check_unmasked(index, "index")
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
        raise IndexError(f"There are {size} frames. Received: index {chosen[outside][0]}.")
    return chosen.astype(np.int64) % size


def find_runs(geometry: Geometry, source: Source) -> Runs:
    """Return the runs of frames that touch no missing step, and no target before its part."""
    # Only frames of a part that pads may have targets in the history that the part shares.
    if not (source.may_leave_out or (geometry.pads and source.history.any())):
        steps = source.steps
        return Runs(np.arange(len(steps)), np.zeros_like(steps), geometry.count(steps), steps)
    runs = []
    for number, size in enumerate(source.steps.tolist()):
        inputs, targets = _missing_steps(source, number)
        if geometry.wrap and _count(inputs, targets, size):
            raise ValueError(
                "`wrap=True` needs sequences without missing steps. Received: missing steps in "
                f"sequence {source.labels[number]!r}. Leave `wrap` out."
            )
        runs.append(geometry.runs(size, inputs, targets))
    sequence = np.repeat(np.arange(len(runs)), [len(first) for first, _, _ in runs])
    return Runs(sequence, *(np.concatenate(part) for part in zip(*runs, strict=True)))


def count_touching_nan(geometry: Geometry, source: Source) -> int:
    """Return the number of frames that touch a NaN; for random frames, of steps with a NaN."""
    if source.skip_nan:
        return 0
    searched = replace(source, skip_nan=True)
    if geometry.draws:
        steps = enumerate(source.steps.tolist())
        return sum(_count(*_missing_steps(searched, number), size) for number, size in steps)
    before, after = (find_runs(geometry, one).size.sum() for one in (source, searched))
    return int(before - after)


def _missing_steps(source: Source, number: int) -> tuple["_Missing", "_Missing"]:
    """Return the missing steps of inputs, and the missing steps of targets."""
    weight = None if source.weight_per_frame else source.weight
    at_targets = [rows for rows in (source.targets, source.future, weight) if rows is not None]
    history = int(source.history[number])
    return _Missing(source, number, [source.inputs]), _Missing(source, number, at_targets, history)


def _count(inputs: "_Missing", targets: "_Missing", steps: int) -> int:
    """Return the number of missing steps among the first `steps`."""
    chunks = split_range(steps, _CHUNK)
    return sum(int(np.count_nonzero(inputs(a, b) | targets(a, b))) for a, b in chunks)


class _Missing:
    """Finds the steps of a sequence that are missing in some of its rows."""

    def __init__(self, source: Source, number: int, rows: list[Rows], history: int = 0):
        self._number, self._rows = number, rows if source.skip_nan else []
        self._history = history  # steps that only inputs may touch
        self._valid = source.valid
        self._steps = int(source.steps[number])

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return a bool for each step `start … stop - 1`. It is False outside the sequence."""
        missing = np.zeros(max(stop - start, 0), bool)
        first, last = max(start, 0), min(stop, self._steps)
        inside = missing[first - start : max(last - start, 0)]
        if len(inside):
            for rows in self._rows:
                _mark_nan(rows, self._number, first, inside)
            if self._valid is not None:
                inside |= ~self._valid.read(self._number, first, last)
            inside[: max(self._history - first, 0)] = True
        return missing


def _mark_nan(rows: Rows, number: int, start: int, found: np.ndarray) -> None:
    """Set `found` for each step, from `start` on, with a NaN in its row."""
    if rows.dtype.kind in "biu":
        return
    axes = tuple(range(1, 1 + len(rows.row_shape)))
    # Rows may be wide.
    for first, last in split_range(len(found), max(_CHUNK // math.prod(rows.row_shape), 1)):
        values = rows.read(number, start + first, start + last)
        found[first:last] |= np.isnan(values).any(axis=axes)
