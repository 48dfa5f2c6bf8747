"""Index arithmetic of frames: how many fit into a sequence, and which steps each one holds.

Pure functions of integers, and the check that they are. A frame's input covers the steps
`start, start + rate, …` and ends at `last`; its targets are the steps
`last + gap + 1 … last + gap + horizon`.
"""

import numbers
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice")


def check_integer(name: str, value: Any, least: int) -> int:
    """Return an argument as an int, or raise if it is none or below `least`.

    >>> check_integer("horizon", np.int64(3), 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer ≥ {least}. Received: {name}={value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be an integer ≥ {least}. Received: {name}={value}.")
    return int(value)


def check_choice(name: str, value: Choice, choices: tuple[Choice, ...]) -> Choice:
    """Return an argument that is one of several words, or raise if it is none of them."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}.")
    return value


def window_span(length: int, rate: int = 1) -> int:
    """Return how many raw steps a window of `length` steps at `rate` reaches over.

    >>> window_span(3), window_span(3, rate=2)
    (3, 5)
    """
    return rate * (length - 1) + 1


def steps_ahead(gap: int, horizon: int) -> int:
    """Return how many steps past its last input step a frame needs.

    >>> steps_ahead(gap=0, horizon=1), steps_ahead(gap=2, horizon=3), steps_ahead(gap=-1, horizon=1)
    (1, 5, 0)
    """
    return max(gap + horizon, 0)


def count_windows(steps: Any, span: int, stride: int, ahead: int) -> Any:
    """Return how many windows of `span` raw steps, `stride` apart, have all their steps.

    >>> count_windows(np.array([26, 3]), span=3, stride=1, ahead=1)
    array([23,  0])
    """
    return np.maximum((steps - span - ahead) // stride + 1, 0)


def count_prefixes(steps: Any, min_length: int, ahead: int) -> Any:
    """Return how many prefixes of at least `min_length` steps have a full target.

    >>> count_prefixes(np.array([26, 3]), min_length=1, ahead=1)
    array([25,  2])
    """
    return np.maximum(steps - ahead - min_length + 1, 0)


def locate_windows(rank: np.ndarray, stride: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the start and the true length of the windows number `rank` of a sequence."""
    start = rank * stride
    return start, np.full_like(start, length)


def locate_prefixes(
    rank: np.ndarray, min_length: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the start and the true length of the prefixes number `rank` of a sequence.

    Prefixes longer than `length` keep their last `length` steps.

    >>> locate_prefixes(np.arange(4), min_length=1, length=3)
    (array([0, 0, 0, 1]), array([1, 2, 3, 3]))
    """
    end = rank + min_length
    return np.maximum(end - length, 0), np.minimum(end, length)


def padded_offsets(true_length: np.ndarray, length: int, padding: str) -> np.ndarray:
    """Return, for each place in a padded frame, which of its real steps stands there.

    Places that hold no real step are negative or not below `true_length`.

    Args:
        true_length: int array `(n,)`. Real steps of each frame.
        length: int. Places in a frame.
        padding: "pre" | "post".

    Returns:
        int array `(n, length)`.

    >>> padded_offsets(np.array([1, 3]), 3, "pre")
    array([[-2, -1,  0],
           [ 0,  1,  2]])
    """
    places = np.arange(length)
    if padding == "pre":
        return places - (length - true_length[:, None])
    return np.broadcast_to(places, (len(true_length), length))


def cut_points(steps: int, fractions: tuple[float, ...]) -> list[int]:
    """Return where a sequence of `steps` is cut into consecutive `fractions`.

    Fractions that sum to one use every step; rounding never moves a cut past its neighbour.

    >>> cut_points(10, (0.7, 0.15, 0.15))
    [0, 7, 8, 10]
    """
    totals = np.cumsum((0.0, *fractions))
    # A sum of floats may fall short by a hair, and a hair of a long sequence is a step.
    return [min(int(steps * total * (1 + 1e-12)), steps) for total in totals]


def fold_cuts(
    size: int, folds: int, mode: str, gap: int, test_size: int | None = None
) -> list[tuple[int, int, int, int]]:
    """Return where walk-forward folds begin and end: test parts in a row up to the end.

    Args:
        size: int. Number of steps, or of sequences.
        folds: int ≥ 1.
        mode: "expanding": each train part begins at the beginning. "sliding": all are as long as
            the first.
        gap: int ≥ 0. How many are left out between train and test.
        test_size: int ≥ 1. None: an equal share, `size // (folds + 1)`.

    Returns:
        list of `(train start, train stop, test start, test stop)`. What would lie before the
        beginning is cut off, so a size too small gives empty parts.

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
        cut = (min(first, stop), stop, start, start + test_size)
        first, stop, start, end = (max(place, 0) for place in cut)
        cuts.append((first, stop, start, end))
    return cuts
