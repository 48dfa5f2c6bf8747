"""Which frames touch no missing step: as runs of frames that follow each other."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer
    from seqframe.framing.frames import Frames
    from seqframe.framing.gather import Rows
    from seqframe.framing.source import Source

_CHUNK = 2**16  # steps, or values of wide ones, looked at together


class Runs(NamedTuple):
    """Frames that follow each other without a hole, all int arrays of one length.

    Attributes:
        sequence: the sequence that a run is of.
        first: number of its first frame within the sequence; for subsequences, the first step.
        size: how many frames; for subsequences, how many starts.
        stop: the step before which its frames end.
    """

    sequence: np.ndarray
    first: np.ndarray
    size: np.ndarray
    stop: np.ndarray


def whole_runs(framer: "SequenceFramer", steps: np.ndarray) -> Runs:
    """Return one run a sequence: nothing is missing."""
    return Runs(np.arange(len(steps)), np.zeros_like(steps), framer.count(steps), steps)


def find_runs(framer: "SequenceFramer", source: "Source") -> Runs:
    """Return the runs of frames that touch no missing step.

    A window or a prefix touches its input steps in the inputs, and its target steps in the targets,
    the future and the weights. A subsequence touches every step from its first to its last.
    """
    runs = [_runs_of_sequence(framer, source, number) for number in range(len(source.labels))]
    sequence = np.repeat(np.arange(len(runs)), [len(first) for first, _, _ in runs])
    return Runs(sequence, *(np.concatenate(part) for part in zip(*runs, strict=True)))


def count_touching_nan(frames: "Frames") -> int:
    """Return how many frames touch a NaN; of random subsequences, how many steps hold one."""
    framer, source = frames.framer, replace(frames.source, skip_nan=True)
    if frames.source.skip_nan:
        return 0
    if framer.mode != "subsequences":
        return int(frames.counts.sum() - find_runs(framer, source).size.sum())
    rows = [source.inputs, *_predicted(source)]
    return sum(
        int(_Missing(source, number, rows).at(a, b).sum())
        for number, steps in enumerate(source.steps)
        for a, b in _chunks(int(steps), _CHUNK)
    )


def _runs_of_sequence(
    framer: "SequenceFramer", source: "Source", number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    steps = len(source.inputs.arrays[number])
    if framer.mode == "subsequences":
        missing = _Missing(source, number, [source.inputs, *_predicted(source)])
        first, stop = true_runs(~missing.at(a, b) for a, b in _chunks(steps, _CHUNK))
        if framer.wrap and not (len(first) and stop[0] - first[0] == steps):
            raise ValueError(
                "`wrap=True` makes a sequence a cycle, which a missing step would break. Received: "
                f"missing steps in sequence {source.labels[number]!r}. Leave `wrap` out."
            )
        return first, framer.count(stop - first), stop
    touched_inputs = _Missing(source, number, [source.inputs])
    touched_targets = _Missing(source, number, _predicted(source))
    count = int(framer.count(steps))

    def kept(first: int, last: int) -> np.ndarray:
        stride, rate = framer.sequence_stride, framer.sampling_rate
        begin = first * stride
        if framer.pads:  # with places before the sequence, where nothing is missing
            begin -= framer.sequence_length - framer.min_length
        places = (last - 1 - first) * stride + framer.span  # from the first start to the last end
        ahead = framer.gap + 1
        inputs = touched_inputs.at(begin, begin + places)
        targets = touched_targets.at(begin + ahead, begin + places + ahead + framer.horizon - 1)
        # Whether a frame whose last input step is here has a missing target.
        targets = count_in_windows(targets, framer.horizon) > 0
        targets[: max(-begin, 0)] = False
        length = framer.sequence_length
        touched = count_in_windows(inputs, length, rate)
        if framer.return_sequences:
            touched = touched + count_in_windows(targets, length, rate)
        else:
            touched = touched + targets[framer.span - 1 :]
        return touched[::stride] == 0

    chunks = _chunks(count, max(_CHUNK // framer.sequence_stride, 1))
    first, stop = true_runs(kept(a, b) for a, b in chunks)
    return first, stop - first, np.full_like(first, steps)


def count_in_windows(flags: np.ndarray, length: int, rate: int = 1) -> np.ndarray:
    """Return how many flags are set in each window of `length` places, `rate` apart.

    >>> count_in_windows(np.array([1, 0, 0, 1, 1], bool), length=2)
    array([1, 0, 1, 2])
    >>> count_in_windows(np.array([1, 0, 0, 1, 1], bool), length=2, rate=3)
    array([2, 1])
    """
    size = len(flags) - rate * (length - 1)
    # Sums that run along every rate-th place, before each place.
    rows = -(-len(flags) // rate) + 1
    table = np.zeros((rows, rate), np.int64)
    padded = np.zeros((rows - 1) * rate, np.int64)
    padded[: len(flags)] = flags
    np.cumsum(padded.reshape(-1, rate), axis=0, out=table[1:])
    sums = table.ravel()
    return sums[rate * length :][:size] - sums[:size]


def true_runs(parts: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of True begin and stop in bool arrays that follow each other.

    >>> true_runs(iter([np.array([True, False, True]), np.array([True, False])]))
    (array([0, 2]), array([1, 4]))
    """
    found, before, offset = [], False, 0
    for part in parts:
        changes = np.flatnonzero(np.diff(part, prepend=before))
        found.append(changes + offset)
        before, offset = bool(part[-1]), offset + len(part)
    edges = np.concatenate([*found, [offset] if before else []]).astype(np.int64)
    return edges[0::2], edges[1::2]


class _Missing:
    """Which steps of a sequence are missing in some of its rows, looked at a stretch at a time."""

    def __init__(self, source: "Source", number: int, rows: list["Rows"]):
        self._number, self._rows = number, rows if source.skip_nan else []
        self._valid = None if source.valid is None else source.valid.arrays[number]
        self._steps = len(source.inputs.arrays[number])

    def at(self, start: int, stop: int) -> np.ndarray:
        """Return a bool for each step from `start` to `stop - 1`; outside, nothing is missing."""
        missing = np.zeros(max(stop - start, 0), bool)
        first, last = max(start, 0), min(stop, self._steps)
        inside = missing[first - start : max(last - start, 0)]
        if len(inside):
            for rows in self._rows:
                _find_nan(rows, self._number, first, inside)
            if self._valid is not None:
                inside |= ~self._valid[first:last]
        return missing


def _find_nan(rows: "Rows", number: int, start: int, found: np.ndarray) -> None:
    """Set `found` for each step from `start` on whose row holds a NaN."""
    if rows.dtype.kind in "biu":
        return
    axes = tuple(range(1, 1 + len(rows.row_shape)))
    # Rows may be wide.
    for first, last in _chunks(len(found), max(_CHUNK // math.prod(rows.row_shape), 1)):
        values = rows.read(number, start + first, start + last)
        found[first:last] |= np.isnan(values).any(axis=axes)


def _predicted(source: "Source") -> list["Rows"]:
    """Return the rows that a frame reads at its target steps."""
    weight = None if source.weight_per_frame else source.weight
    return [rows for rows in (source.targets, source.future, weight) if rows is not None]


def _chunks(size: int, chunk: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + chunk, size)) for first in range(0, size, chunk))
