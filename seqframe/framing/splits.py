"""Splits: parts of frames for training and evaluation that share no step they should not."""

from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.aliases import FoldMode, SplitBy
from seqframe.framing.order import epoch_order
from seqframe.framing.windows import check_choice, check_integer, cut_points, fold_cuts

if TYPE_CHECKING:
    from seqframe.framing.frames import Frames


def split_frames(
    frames: "Frames",
    fractions: tuple[float, ...],
    by: SplitBy,
    share_history: bool,
    seed: int | None,
) -> list["Frames"]:
    """Cut frames into consecutive parts; see `Frames.split`."""
    if not all(isinstance(fraction, Real) for fraction in fractions):
        raise TypeError(
            f"`fractions` must be numbers, one for each part. Received: fractions={fractions}. "
            "Pass them one by one, as in `split(0.7, 0.3)`. To cut at a date, hold out the steps "
            "that come after it: `train, test = frames.folds(1, test_size=steps)[0]`."
        )
    if not fractions or not (min(fractions) > 0 and sum(fractions) <= 1 + 1e-9):
        raise ValueError(
            f"`fractions` must be positive and sum to at most 1. Received: fractions={fractions}. "
            "Pass shares, as in `split(0.7, 0.2, 0.1)`; or hold out a number of steps, `train, "
            "test = frames.folds(1, test_size=steps)[0]`."
        )
    _check_by(frames, by, share_history)
    if seed is not None:
        seed = check_integer("seed", seed, 0)
        if by != "sequences":
            raise ValueError(
                '`seed` has no meaning for `by="time"`: time has its order. '
                f"Received: seed={seed}. Leave it out."
            )
    names = [f"Part {number} of the split" for number in range(len(fractions))]
    if by == "sequences":
        count = len(frames.source.labels)
        order = np.arange(count)
        if seed is not None:
            order = epoch_order(count, seed, 0, order)
        cuts = cut_points(count, fractions)
        return [
            _select(frames, np.sort(order[a:b]), name)
            for (a, b), name in zip(pairwise(cuts), names, strict=True)
        ]
    history = _history(frames) if share_history else 0
    places = np.array([cut_points(length, fractions) for length in frames.source.steps])
    return [
        _cut(
            frames,
            np.maximum(places[:, part] - history, 0),
            places[:, part + 1],
            name,
            may_share=part > 0 and not share_history,
        )
        for part, name in enumerate(names)
    ]


def fold_frames(
    frames: "Frames",
    n: int,
    mode: FoldMode,
    gap: int,
    test_size: int | None,
    by: SplitBy,
    share_history: bool,
) -> list[tuple["Frames", "Frames"]]:
    """Cut frames for walk-forward evaluation; see `Frames.folds`."""
    n, gap = check_integer("n", n, 1), check_integer("gap", gap, 0)
    if test_size is not None:
        test_size = check_integer("test_size", test_size, 1)
    check_choice("mode", mode, ("expanding", "sliding"))
    _check_by(frames, by, share_history)
    history = _history(frames) if share_history else 0
    in_time = by == "time"
    sizes = frames.source.steps if in_time else np.array([len(frames.source.labels)])
    cuts = np.array([fold_cuts(int(size), n, mode, gap, test_size) for size in sizes])
    folds = []
    for number in range(n):
        train_start, train_stop, test_start, test_stop = cuts[:, number].T
        names = (f"The train part of fold {number}", f"The test part of fold {number}")
        if in_time:
            test_start = np.maximum(test_start - history, 0)
            train = _cut(frames, train_start, train_stop, names[0])
            test = _cut(frames, test_start, test_stop, names[1], may_share=not share_history)
        else:
            train = _select(frames, np.arange(train_start[0], train_stop[0]), names[0])
            test = _select(frames, np.arange(test_start[0], test_stop[0]), names[1])
        folds.append((train, test))
    return folds


def _check_by(frames: "Frames", by: SplitBy, share_history: bool) -> None:
    check_choice("by", by, ("time", "sequences"))
    if share_history and (frames.framer.mode != "windows" or by != "time"):
        raise ValueError(
            '`share_history=True` needs `mode="windows"` and `by="time"`: other frames begin where '
            f'their sequence does. Received: mode="{frames.framer.mode}", by="{by}".'
        )
    framer = frames.framer
    aligned = framer.mode == "windows" and framer.sequence_stride == 1
    if by == "time" and frames.source.weight_per_frame and not aligned:
        raise ValueError(
            "A sample weight for each frame cannot be cut in time, since the parts have other "
            "frames. Give a weight for each step, or split by sequences."
        )


def _history(frames: "Frames") -> int:
    """Return how many steps before its first target step the inputs of a part reach back."""
    # With a target for every input step, the first step's own target is the part's first step.
    span = 1 if frames.framer.return_sequences else frames.framer.span
    return max(span + frames.framer.gap, 0)


def _cut(frames: "Frames", starts: Any, stops: Any, name: str, may_share: bool = False) -> "Frames":
    part = frames.on(frames.source.cut(starts, stops))
    if not len(part):
        steps = int(np.max(np.asarray(stops) - starts))
        if steps >= frames.framer.least_steps:
            raise _too_much_missing(name)
        may_share &= frames.framer.mode == "windows"
        share = ", or pass `share_history=True`" if may_share else ""
        raise ValueError(
            f"{name} has no frame: a frame needs {frames.framer.least_steps} steps. Received: "
            f"{steps} steps. Give it more steps{share}."
        )
    return part


def _select(frames: "Frames", numbers: np.ndarray, name: str) -> "Frames":
    if len(numbers) == 0:
        raise ValueError(
            f"{name} has no sequence. Received: {len(frames.source.labels)} sequences in all. "
            'Give it more of them, or cut each in time with `by="time"`.'
        )
    part = frames.on(frames.source.select(numbers))
    if not len(part):
        raise _too_much_missing(name)
    return part


def _too_much_missing(name: str) -> ValueError:
    return ValueError(
        f"{name} has no frame: each touches a step that is missing, as `skip_nan` or `valid` has "
        "it. Fill the gaps, or make the part larger."
    )
