"""Splits: the steps and sequences of each part of a split, or of each fold."""

from itertools import pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from seqframe.aliases import FoldMode, SplitBy
from seqframe.framing.checks import check_choice, check_integer, first_names
from seqframe.framing.order import epoch_order
from seqframe.framing.source import Source


class Piece(NamedTuple):
    """A part of a split: some sequences, whole or from a step on up to another.

    Attributes:
        name: what errors call it.
        numbers: int array. The sequences. One that is in the part twice has two stretches there.
        spans: int arrays, the first step of each sequence and the step after its last one, counted
            in the source; None: the sequences are whole.
        has_past: bool. Whether the part lies after another part.
    """

    name: str
    numbers: np.ndarray
    spans: tuple[np.ndarray, np.ndarray] | None = None
    has_past: bool = False

    def cut(self, source: Source, history: int) -> Source:
        """Return the part's source. It may reach back by `history` steps."""
        if self.spans is None:
            return source.select(self.numbers)
        if not np.array_equal(self.numbers, np.arange(len(source.labels))):
            source = source.select(self.numbers)
        return source.cut(*self.spans, history if self.has_past else 0)


Folds = list[tuple[Piece, Piece]]


# --- Consecutive parts.


def split_pieces(
    source: Source, fractions: tuple[Any, ...], at: Any, by: SplitBy, gap: int, seed: int | None
) -> list[Piece]:
    """Return the parts of a split. See `Frames.split` for the arguments."""
    gap = check_integer("gap", gap, 0)
    seed = check_seed(seed, by)
    if at is not None:
        check_at(fractions, at, by)
        cuts = cut_at(source, at)
    else:
        check_fractions(fractions)
        if by == "sequences":
            _check_whole(source)
            return _split_sequences(len(source.labels), fractions, gap, seed)
        cuts = np.array([cut_points(steps, fractions) for steps in source.steps.tolist()]).T
    pieces, every = [], np.arange(len(source.labels))
    for number, (start, stop) in enumerate(pairwise(cuts)):
        if number < len(cuts) - 2:
            # A sequence that has no later step has no gap before one.
            stop = np.where(stop < source.steps, np.maximum(stop - gap, start), stop)
        pieces.append(Piece(_part_name(number), every, (start, stop), bool(number)))
    return pieces


def _split_sequences(
    size: int, fractions: tuple[float, ...], gap: int, seed: int | None
) -> list[Piece]:
    if gap and seed is not None:
        raise ValueError(
            "`gap` needs sequences in their order. Received: "
            f"gap={gap}, seed={seed}. Leave one of the two out."
        )
    every = np.arange(size)
    order = every if seed is None else epoch_order(size, seed, 0, every)
    cuts = list(pairwise(cut_points(size, fractions)))
    stops = [max(stop - gap, start) for start, stop in cuts[:-1]] + [cuts[-1][1]]
    chosen = [order[start:stop] for (start, _), stop in zip(cuts, stops, strict=True)]
    return [Piece(_part_name(number), np.sort(part)) for number, part in enumerate(chosen)]


def _check_whole(source: Source) -> None:
    """Raise if one label has several sequences, which could end in different parts."""
    labels = list(source.labels)
    if len(set(labels)) < len(labels):
        several = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(
            '`by="sequences"` needs one sequence for each label. Received: '
            f"{labels.count(several)} sequences of the label {several!r}, such as the stretches of "
            'a fold in time. Cut by sequences first, or pass `by="time"`.'
        )


def _part_name(number: int) -> str:
    return f"Part {number} of the split"


def check_seed(seed: int | None, by: SplitBy) -> int | None:
    """Return a seed. Raise if nothing is drawn by it."""
    if seed is None:
        return None
    seed = check_integer("seed", seed, 0)
    if by != "sequences":
        raise ValueError(
            f'`seed` needs `by="sequences"`: steps keep their order. Received: seed={seed}.'
        )
    return seed


def check_fractions(fractions: tuple[Any, ...]) -> None:
    """Raise if the parts of a split are not shares."""
    hint = (
        "Pass shares, as in `split(0.7, 0.3)`; or a date or a step, as in `split(at=-7)`, which "
        "holds out the last 7 steps."
    )
    if not all(isinstance(fraction, Real) for fraction in fractions):
        raise TypeError(f"`fractions` must be numbers. Received: fractions={fractions}. {hint}")
    if not fractions or not (min(fractions) > 0 and sum(fractions) <= 1 + 1e-9):
        raise ValueError(
            f"`fractions` must be positive and sum to at most 1. Received: fractions={fractions}. "
            f"{hint}"
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


# --- Cuts at a date or a step.


def check_at(fractions: tuple[Any, ...], at: Any, by: SplitBy) -> None:
    """Raise if another argument says where to cut, too."""
    if fractions or by != "time":
        other = f"fractions={fractions}" if fractions else f'by="{by}"'
        raise ValueError(
            f"`at` cuts all sequences at a date or a step. Received: at={at!r} and {other}. Leave "
            "one of the two out."
        )


def cut_at(source: Source, at: Any) -> np.ndarray:
    """Return the steps at which sequences are cut: an int array `(parts + 1, sequences)`."""
    several = isinstance(at, (list, tuple, np.ndarray)) or hasattr(at, "to_numpy")
    places = list(at) if several and np.ndim(at) else [at]
    cuts = [np.zeros_like(source.steps)]
    for place in places:
        found = _cut_at_place(source, place)
        if (found < cuts[-1]).any():
            raise ValueError(f"`at` must name dates or steps that rise. Received: at={at!r}.")
        cuts.append(found)
    return np.array([*cuts, source.steps])


def _cut_at_place(source: Source, at: Any) -> np.ndarray:
    """Return the step of each sequence that is the first one at a date or a step, or after it."""
    steps, begins = source.steps, source.begins
    # NumPy counts time differences among the integers.
    is_step = isinstance(at, Integral) and not isinstance(at, (bool, np.timedelta64))
    if is_step:
        found = steps + int(at) if at < 0 else int(at) - begins
    elif source.clock is None:
        raise ValueError(
            "`at` must be a step, an integer, because the sequences have no dates. Received: "
            f"at={at!r}. Make dates the index by `table.set_index`, or pass a step."
        )
    else:
        found = source.clock.find(at) - begins
    if not ((found > 0) & (found < steps)).any():
        # Some sequences may lie wholly before or after a date. All of them would be no split.
        raise ValueError(_outside(source, at, is_step))
    return np.asarray(np.clip(found, 0, steps))


def _outside(source: Source, at: Any, is_step: bool) -> str:
    longest = int(np.argmax(source.steps))
    first, stop = int(source.begins[longest]), int(source.begins[longest] + source.steps[longest])
    has = f"the steps {first} … {stop - 1}"
    if not is_step and source.clock is not None:
        dates = source.clock.dates(longest)
        has = f"the dates {dates[first]} … {dates[stop - 1]}"
    called = "a sequence"
    if len(source.labels) > 1:
        called = f"the longest of {len(source.labels)} sequences, {source.labels[longest]!r},"
    return (
        f"`at` must lie within a sequence, after its first step. Received: at={at!r} for {called} "
        f"with {has}. Choose a {'step' if is_step else 'date'} among them."
    )


# --- Folds.


def fold_pieces(
    source: Source,
    counts: np.ndarray,
    n: int,
    *,
    mode: FoldMode,
    gap: int,
    test_size: int | None,
    by: SplitBy,
    seed: int | None,
) -> Folds:
    """Return `n` pairs of a train and a test part. See `Frames.folds` for the arguments.

    `counts` has the number of frames of each sequence.
    """
    n, gap = check_integer("n", n, 1), check_integer("gap", gap, 0)
    check_choice("mode", mode, ("expanding", "sliding", "kfold"))
    if test_size is not None:
        test_size = check_integer("test_size", test_size, 1)
    seed = check_seed(seed, by)
    if by == "sequences":
        _check_whole(source)
    if mode == "kfold":
        check_kfold(n, gap, test_size, by)
        check_groups(n, source, by)
        return _kfold_sequences(counts, n, seed) if by == "sequences" else _kfold(source, n, gap)
    if seed is not None:
        raise ValueError(
            '`seed` needs `mode="kfold"`: other folds keep the order of the sequences. '
            f'Received: seed={seed}, mode="{mode}".'
        )
    sizes = source.steps.tolist() if by == "time" else [len(source.labels)]
    check_folds(n, max(sizes))
    cuts = np.array([fold_cuts(size, n, mode, gap, test_size) for size in sizes])
    every, folds = np.arange(len(source.labels)), []
    for number in range(n):
        train_start, train_stop, test_start, test_stop = cuts[:, number].T
        train_name, test_name = _fold_names(number)
        if by == "time":
            train = Piece(train_name, every, (train_start, train_stop))
            test = Piece(test_name, every, (test_start, test_stop), True)
        else:
            train = Piece(train_name, every[train_start[0] : train_stop[0]])
            test = Piece(test_name, every[test_start[0] : test_stop[0]])
        folds.append((train, test))
    return folds


def _fold_names(number: int) -> tuple[str, str]:
    return f"The train part of fold {number}", f"The test part of fold {number}"


def check_folds(folds: int, size: int) -> None:
    """Raise if each fold cannot have a test part of its own."""
    if folds >= size:
        raise ValueError(
            f"The test part of fold 0 has no frame: n={folds} needs more than {folds} steps or "
            f"sequences to cut. Received: {size}. Choose a smaller `n`."
        )


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


# --- Folds without order.


def check_kfold(n: int, gap: int, test_size: int | None, by: SplitBy) -> None:
    """Raise if an argument has no meaning where each part is tested once."""
    if n < 2:
        raise ValueError(
            f'`n` must be at least 2 with `mode="kfold"`. Received: n={n}. Use `split` instead.'
        )
    if test_size is not None:
        raise ValueError(
            '`test_size` has no meaning with `mode="kfold"`: each fold tests one of `n` shares. '
            f"Received: test_size={test_size}. Leave it out."
        )
    if gap and by == "sequences":
        raise ValueError(
            '`gap` needs an order, and `mode="kfold"` has none. Received: '
            f'gap={gap}. Leave it out, or pass `by="time"`.'
        )


def check_groups(n: int, source: Source, by: SplitBy) -> None:
    """Raise if there are more folds than sequences, or than steps of the longest sequence."""
    size, received = int(source.steps.max()), f"{source.steps.max()} steps"
    what, way_out = "steps of a sequence", "Choose a smaller `n`."
    if by == "sequences":
        names = source.labels
        size = len(names)
        received = f"{size} sequence{'s' * (size > 1)}, {first_names(map(repr, names))}"
        what = "sequences"
        way_out = 'Choose a smaller `n`, or cut each sequence with `by="time"`.'
    if n > size:
        raise ValueError(
            f"`n` must not exceed the number of {what}: each fold tests others. Received: n={n} "
            f"and {received}. {way_out}"
        )


def _kfold_sequences(counts: np.ndarray, n: int, seed: int | None) -> Folds:
    """Return folds of whole sequences. Each sequence is in one test part."""
    every = np.arange(len(counts))
    if seed is None:
        tests = deal_groups(counts, n)
    else:
        tests = np.array_split(epoch_order(len(counts), seed, 0, every), n)
    folds = []
    for number, test in enumerate(tests):
        train_name, test_name = _fold_names(number)
        train = Piece(train_name, np.setdiff1d(every, test))
        folds.append((train, Piece(test_name, np.sort(test))))
    return folds


def deal_groups(counts: np.ndarray, folds: int) -> list[np.ndarray]:
    """Return the groups of each fold: the largest first, each to the fold with the fewest frames.

    Source: scikit-learn's `GroupKFold`.

    >>> [fold.tolist() for fold in deal_groups(np.array([5, 1, 2, 3]), 2)]
    [[0, 1], [3, 2]]
    """
    filled, dealt = np.zeros(folds, np.int64), np.empty(len(counts), np.int64)
    order = np.argsort(counts, kind="stable")[::-1]
    for group in order.tolist():
        dealt[group] = fold = int(np.argmin(filled))
        filled[fold] += counts[group]
    return [order[dealt[order] == fold] for fold in range(folds)]


def _kfold(source: Source, n: int, gap: int) -> Folds:
    """Return folds of consecutive steps. Train on the steps before a test part and after it."""
    steps = source.steps
    # The first ones have a step more, as in scikit-learn's `KFold`.
    sizes = steps // n + (np.arange(n)[:, None] < steps % n)
    cuts = np.cumsum([np.zeros_like(steps), *sizes], axis=0)
    every, folds = np.arange(len(steps)), []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        train_name, test_name = _fold_names(number)
        before, after = np.maximum(start - gap, 0), np.minimum(stop + gap, steps)
        spans = (
            np.concatenate([np.zeros_like(steps), after]),
            np.concatenate([before, steps]),
        )
        numbers = np.concatenate([every, every])
        used = np.lexsort((spans[0], numbers))
        used = used[spans[0][used] < spans[1][used]]
        train = Piece(train_name, numbers[used], (spans[0][used], spans[1][used]))
        folds.append((train, Piece(test_name, every, (start, stop), bool(number))))
    return folds
