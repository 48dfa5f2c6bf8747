"""Missing steps: which frames touch a NaN, or a step that is not valid."""

import math
from dataclasses import replace

import numpy as np

from seqframe.framing.gather import Rows
from seqframe.framing.geometry import Geometry, split_range
from seqframe.framing.index import Runs
from seqframe.framing.source import Source

_CHUNK = 2**16  # steps, or values of wide steps, that are searched together


def find_runs(geometry: Geometry, source: Source) -> Runs:
    """Return the runs of frames that touch no missing step.

    Raises:
        ValueError: if a step of a cycle is missing.
    """
    runs = []
    for number, steps in enumerate(source.steps.tolist()):
        inputs, targets = _missing_steps(source, number)
        if geometry.wrap and _count(inputs, targets, steps):
            raise ValueError(
                "`wrap=True` needs sequences without missing steps. Received: missing steps in "
                f"sequence {source.labels[number]!r}. Leave `wrap` out."
            )
        runs.append(geometry.runs(steps, inputs, targets))
    sequence = np.repeat(np.arange(len(runs)), [len(first) for first, _, _ in runs])
    return Runs(sequence, *(np.concatenate(part) for part in zip(*runs, strict=True)))


def count_touching_nan(geometry: Geometry, source: Source) -> int:
    """Return how many frames touch a NaN; for random frames, how many steps hold one."""
    if source.skip_nan:
        return 0
    searched = replace(source, skip_nan=True)
    if geometry.draws:
        steps = enumerate(source.steps.tolist())
        return sum(_count(*_missing_steps(searched, number), size) for number, size in steps)
    before, after = (find_runs(geometry, one).size.sum() for one in (source, searched))
    return int(before - after)


def _missing_steps(source: Source, number: int) -> tuple["_Missing", "_Missing"]:
    """Return what is missing where a frame reads inputs, and where it reads targets."""
    weight = None if source.weight_per_frame else source.weight
    at_targets = [rows for rows in (source.targets, source.future, weight) if rows is not None]
    return _Missing(source, number, [source.inputs]), _Missing(source, number, at_targets)


def _count(inputs: "_Missing", targets: "_Missing", steps: int) -> int:
    """Return how many of the first steps are missing anywhere."""
    chunks = split_range(steps, _CHUNK)
    return sum(int(np.count_nonzero(inputs(a, b) | targets(a, b))) for a, b in chunks)


class _Missing:
    """Tells which steps of a sequence are missing in some of its rows."""

    def __init__(self, source: Source, number: int, rows: list[Rows]):
        self._number, self._rows = number, rows if source.skip_nan else []
        self._valid = None if source.valid is None else source.valid.arrays[number]
        self._steps = len(source.inputs.arrays[number])

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return a bool for each step `start … stop - 1`. It is False outside the sequence."""
        missing = np.zeros(max(stop - start, 0), bool)
        first, last = max(start, 0), min(stop, self._steps)
        inside = missing[first - start : max(last - start, 0)]
        if len(inside):
            for rows in self._rows:
                _mark_nan(rows, self._number, first, inside)
            if self._valid is not None:
                inside |= ~self._valid[first:last]
        return missing


def _mark_nan(rows: Rows, number: int, start: int, found: np.ndarray) -> None:
    """Set `found` for each step from `start` on whose row holds a NaN."""
    if rows.dtype.kind in "biu":
        return
    axes = tuple(range(1, 1 + len(rows.row_shape)))
    # Rows may be wide.
    for first, last in split_range(len(found), max(_CHUNK // math.prod(rows.row_shape), 1)):
        values = rows.read(number, start + first, start + last)
        found[first:last] |= np.isnan(values).any(axis=axes)
