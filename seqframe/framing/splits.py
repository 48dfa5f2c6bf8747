"""Splits: cut points of sequences, or of lists of sequences, for training and evaluation."""

from numbers import Real
from typing import Any

import numpy as np

from seqframe.aliases import FoldMode


def check_fractions(fractions: tuple[Any, ...]) -> None:
    """Raise if the parts of a split are not shares."""
    hint = (
        "Pass shares, as in `split(0.7, 0.3)`. To hold out the last steps, use "
        "`train, test = frames.folds(1, test_size=steps)[0]`."
    )
    if not all(isinstance(fraction, Real) for fraction in fractions):
        raise TypeError(f"`fractions` must be numbers. Received: fractions={fractions}. {hint}")
    if not fractions or not (min(fractions) > 0 and sum(fractions) <= 1 + 1e-9):
        raise ValueError(
            f"`fractions` must be positive and sum to at most 1. Received: fractions={fractions}. "
            f"{hint}"
        )


def check_folds(folds: int, size: int) -> None:
    """Raise if each fold cannot have a test part of its own."""
    if folds >= size:
        raise ValueError(
            f"The test part of fold 0 has no frame: n={folds} needs more than {folds} steps or "
            f"sequences to cut. Received: {size}. Choose a smaller `n`."
        )


def cut_points(steps: int, fractions: tuple[float, ...]) -> list[int]:
    """Return where a sequence of `steps` is cut into consecutive `fractions`.

    Fractions that sum to one use every step. Rounding never moves a cut past its neighbour.

    >>> cut_points(10, (0.7, 0.15, 0.15))
    [0, 7, 8, 10]
    """
    totals = np.cumsum((0.0, *fractions))
    # A sum of floats may be slightly too small, and lose a step of a long sequence.
    return [min(int(steps * total * (1 + 1e-12)), steps) for total in totals]


def fold_cuts(
    size: int, folds: int, mode: FoldMode, gap: int, test_size: int | None = None
) -> list[tuple[int, int, int, int]]:
    """Return the cuts of walk-forward folds: `(train start, train stop, test start, test stop)`.

    Places before the beginning become 0, so a `size` that is too small gives empty parts.

    >>> fold_cuts(10, 2, "expanding", gap=1)
    [(0, 3, 4, 7), (0, 6, 7, 10)]
    >>> fold_cuts(10, 2, "sliding", gap=1)
    [(0, 3, 4, 7), (3, 6, 7, 10)]
    """
    test_size = size // (folds + 1) if test_size is None else test_size
    cuts = []
    for fold in range(folds):
        start = size - (folds - fold) * test_size
        stop = start - gap
        first = fold * test_size if mode == "sliding" else 0
        first, stop, start = max(min(first, stop), 0), max(stop, 0), max(start, 0)
        cuts.append((first, stop, start, max(size - (folds - fold - 1) * test_size, 0)))
    return cuts
