"""What frames should be, by plain loops: written from the documented definitions alone.

Nothing here imports seqframe. Each function says in the loops of a reader what the documentation
of `SequenceFramer`, `Frames` and `Lanes` promises, one frame, one row or one fold at a time.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rule:
    """The arguments of a `SequenceFramer`, with its defaults."""

    sequence_length: int
    mode: str = "windows"
    layout: str = "timesteps"
    horizon: int = 1
    gap: int = 0
    return_sequences: bool = False
    sequence_stride: int = 1
    sampling_rate: int = 1
    min_length: int | None = None
    num_samples: int | None = None
    wrap: bool = False
    padding: str = "pre"
    padding_value: float = 0
    pad_end: bool = False
    seed: int | None = None

    @property
    def shortest(self) -> int:
        """Steps of the shortest input."""
        whole = self.sequence_length if self.mode == "windows" else 1
        return self.min_length or whole

    @property
    def pads(self) -> bool:
        short = self.shortest < self.sequence_length
        return self.mode != "windows" or short or self.pad_end

    @property
    def span(self) -> int:
        return self.sampling_rate * (self.sequence_length - 1) + 1

    @property
    def ahead(self) -> int:
        """Steps that are needed after the last input step."""
        return max(self.gap + self.horizon, 0)

    @property
    def weighs_padding(self) -> bool:
        """Whether frames have weights, which are 0 at padding."""
        return self.pad_end and self.return_sequences


@dataclass(frozen=True)
class Data:
    """The values at the steps of each sequence; row `t` of an array is step `t`.

    The first `history` steps of a sequence belong to an earlier part: only inputs may touch them.
    `short` and `missing` are the labels of sequences that were left out.
    """

    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    future: list[np.ndarray] | None = None
    weight: list[np.ndarray] | None = None
    weight_per_frame: bool = False
    valid: list[np.ndarray] | None = None
    skip_nan: bool = False
    labels: tuple[Any, ...] = (0,)
    begins: tuple[int, ...] = ()
    history: tuple[int, ...] = ()
    short: tuple[Any, ...] = ()
    missing: tuple[Any, ...] = ()

    def cut(self, starts: list[int], stops: list[int], back: int = 0) -> "Data":
        """Return the steps `start … stop - 1` of each sequence, and `back` steps before them."""
        history = tuple(min(start, back) for start in starts)
        starts = [max(start - back, 0) for start in starts]

        def part(arrays: list[np.ndarray] | None) -> Any:
            if arrays is None:
                return None
            return [a[i:j] for a, i, j in zip(arrays, starts, stops, strict=True)]

        changes = {name: part(getattr(self, name)) for name in _ON_CLOCK}
        return replace(self, **changes, begins=tuple(starts), history=history)

    def select(self, numbers: list[int]) -> "Data":
        """Return some of the sequences."""
        changes = {
            name: None if arrays is None else [arrays[k] for k in numbers]
            for name in _ON_CLOCK
            for arrays in [getattr(self, name)]
        }
        begins = tuple(self.begins[k] for k in numbers) if self.begins else ()
        return replace(
            self, **changes, begins=begins, labels=tuple(self.labels[k] for k in numbers)
        )

    @property
    def lengths(self) -> list[int]:
        return [len(array) for array in self.inputs]


_ON_CLOCK = ("inputs", "targets", "future", "weight", "valid")


@dataclass(frozen=True)
class Frame:
    """One frame: where it lies. Steps are counted from the start of the data given.

    Attributes:
        sequence: number of the sequence.
        rank: its number among all frames of the sequence, those left out included.
        inputs: list of int. Input steps, without padding.
        targets: for each input step, or the last one, the list of its target steps.
        before: places of padding before the inputs; None: as the rule's `padding` says.
    """

    sequence: int
    rank: int
    inputs: list[int]
    targets: list[list[int]]
    before: int | None = None


# --- Which frames there are.


def frames(rule: Rule, data: Data) -> list[Frame]:
    """Return all frames in order; for subsequences, all that may be drawn."""
    found = []
    for number, steps in enumerate(data.lengths):
        for frame in _ALL[rule.mode](rule, number, steps):
            if not touches_missing(rule, data, frame):
                found.append(frame)
    return found


def _windows(rule: Rule, number: int, steps: int) -> list[Frame]:
    # The first window holds `shortest` real steps: the places before the sequence are padding.
    start = -rule.sampling_rate * (rule.sequence_length - rule.shortest)
    made, rank = [], 0
    if rule.pad_end:
        return _padded_windows(rule, number, steps - rule.ahead, start)
    while start < steps:
        places = [start + rule.sampling_rate * j for j in range(rule.sequence_length)]
        frame = Frame(number, rank, *_steps(rule, [place for place in places if place >= 0]))
        if exists(frame, steps):
            made.append(frame)
        start += rule.sequence_stride
        rank += 1
    return made


def _padded_windows(rule: Rule, number: int, steps: int, start: int) -> list[Frame]:
    """Return windows up to the one that holds the last of the `steps` that have targets."""
    made = []
    while start < steps:
        places = [start + rule.sampling_rate * j for j in range(rule.sequence_length)]
        inputs = [place for place in places if 0 <= place < steps]
        if inputs:
            made.append(Frame(number, len(made), *_steps(rule, inputs), places.index(inputs[0])))
        if places[-1] >= steps - 1:
            break
        start += rule.sequence_stride
    return made


def left_over(rule: Rule, data: Data) -> int:
    """Return how many steps after the last window the window of `pad_end` holds."""
    if rule.mode != "windows" or rule.pad_end:
        return 0
    lost = 0
    for number, steps in enumerate(data.lengths):
        framed = [t for frame in _windows(rule, number, steps) for t in frame.inputs]
        for frame in _windows(replace(rule, pad_end=True), number, steps)[-1:]:
            lost += sum(t > max(framed, default=-1) for t in frame.inputs)
    return lost


def _prefixes(rule: Rule, number: int, steps: int) -> list[Frame]:
    made = []
    for rank, t in enumerate(range(rule.shortest, steps + 1)):
        first = max(0, t - rule.sequence_length)
        frame = Frame(number, rank, *_steps(rule, list(range(first, t))))
        if exists(frame, steps):
            made.append(frame)
    return made


def _subsequences(rule: Rule, number: int, steps: int) -> list[Frame]:
    made = []
    for start in range(steps):
        for length in range(rule.shortest, rule.sequence_length + 1):
            inputs, targets = _steps(rule, list(range(start, start + length)))
            if rule.wrap:
                inputs = [t % steps for t in inputs]
                targets = [[t % steps for t in each] for each in targets]
            frame = Frame(number, start, inputs, targets)
            if exists(frame, steps):
                made.append(frame)
    return made


_ALL = {"windows": _windows, "prefixes": _prefixes, "subsequences": _subsequences}


def _steps(rule: Rule, inputs: list[int]) -> tuple[list[int], list[list[int]]]:
    """Return the input steps, and the target steps that follow the last one, or each."""
    lasts = inputs if rule.return_sequences else inputs[-1:]
    first = rule.gap + 1
    return inputs, [list(range(e + first, e + first + rule.horizon)) for e in lasts]


def exists(frame: Frame, steps: int) -> bool:
    """Whether every step of a frame exists."""
    touched = [*frame.inputs, *(t for each in frame.targets for t in each)]
    return all(0 <= t < steps for t in touched)


def touches_missing(rule: Rule, data: Data, frame: Frame) -> bool:
    """Whether a frame touches a step that is not valid, or a NaN."""
    targets = [t for each in frame.targets for t in each]
    at_inputs, at_targets = frame.inputs, targets
    if rule.mode == "subsequences" and not rule.wrap:
        every = range(frame.inputs[0], max([*frame.inputs, *targets]) + 1)
        at_inputs, at_targets = [*every], [*every]
    q = frame.sequence
    if data.history and any(t < data.history[q] for t in targets):
        return True
    if data.valid is not None and not all(data.valid[q][t] for t in [*at_inputs, *at_targets]):
        return True
    return data.skip_nan and (
        any(_is_nan(data.inputs[q][t]) for t in at_inputs)
        or any(_is_nan(rows[q][t]) for rows in _beside(data) for t in at_targets)
    )


def has_missing(data: Data) -> bool:
    """Whether any step of any sequence is missing."""
    for q, length in enumerate(data.lengths):
        for t in range(length):
            if data.valid is not None and not data.valid[q][t]:
                return True
            if data.skip_nan and any(_is_nan(rows[q][t]) for rows in [data.inputs, *_beside(data)]):
                return True
    return False


def _beside(data: Data) -> list[list[np.ndarray]]:
    """Return the arrays of values at target steps."""
    weight = None if data.weight_per_frame else data.weight
    return [rows for rows in (data.targets, data.future, weight) if rows is not None]


def _is_nan(row: Any) -> bool:
    return any(value != value for value in np.ravel(row).tolist())


def count(rule: Rule, found: list[Frame]) -> int:
    """Return how many frames, or starts of random frames, there are."""
    if rule.mode == "subsequences":
        return len({(frame.sequence, frame.rank) for frame in found})
    return len(found)


def probabilities(rule: Rule, data: Data) -> dict[tuple[int, int, int], float]:
    """Return how likely each random frame is, by (sequence, start, length).

    First a start is drawn, uniformly from those that have a frame, then one of its lengths.
    """
    lengths: dict[tuple[int, int], list[int]] = {}
    for frame in frames(rule, data):
        lengths.setdefault((frame.sequence, frame.rank), []).append(len(frame.inputs))
    return {
        (*start, length): 1 / (len(lengths) * len(choices))
        for start, choices in lengths.items()
        for length in choices
    }


def without_empty(rule: Rule, data: Data) -> Data:
    """Return the data without the sequences that have no frame, which it names."""
    short, missing, _ = left_out(rule, data)
    kept = [q for q, label in enumerate(data.labels) if label not in {*short, *missing}]
    return replace(data.select(kept), short=short, missing=missing)


def left_out(rule: Rule, data: Data) -> tuple[tuple[Any, ...], tuple[Any, ...], int]:
    """Return the sequences that are too short for a frame; those that have no whole frame; and how
    many frames of the others, or starts of random frames, touch a missing step.
    """
    fit = frames(rule, replace(data, valid=None, skip_nan=False))
    whole = frames(rule, data)
    short, missing, lost = list(data.short), list(data.missing), 0
    for q, label in enumerate(data.labels):
        each = [[frame for frame in some if frame.sequence == q] for some in (fit, whole)]
        if not each[0]:
            short.append(label)
        elif not each[1]:
            missing.append(label)
        else:
            lost += count(rule, each[0]) - count(rule, each[1])
    return tuple(short), tuple(missing), lost


# --- What a frame holds.


def arrays(rule: Rule, data: Data, chosen: list[Frame]) -> dict[str, np.ndarray]:
    """Return the arrays of frames: "past", "y", and "future" and "weight" if there are any."""
    row_x, row_y = data.inputs[0].shape[1:], data.targets[0].shape[1:]
    length, horizon = rule.sequence_length, rule.horizon
    each = (length,) if rule.return_sequences else ()
    shapes = {
        "timesteps": (length, *(row_x or (1,))),
        "features": (1, length * int(np.prod(row_x))),
        "tokens": (length,),
        "flat": (length * int(np.prod(row_x)),),
    }
    several = (horizon,) if horizon > 1 else ()
    # Where padding weighs 0, its targets are 0.
    padding = 0 if rule.weighs_padding else rule.padding_value
    filled = {
        "past": (shapes[rule.layout], [_inputs(rule, data, frame) for frame in chosen]),
        "y": (
            (*each, *several, *row_y),
            [_at_targets(rule, data.targets, frame, padding) for frame in chosen],
        ),
    }
    dtypes = {"past": data.inputs[0].dtype, "y": data.targets[0].dtype}
    if data.future is not None:
        row = data.future[0].shape[1:] or (1,)
        values = [_at_targets(rule, data.future, frame, rule.padding_value) for frame in chosen]
        filled["future"] = ((*each, horizon, *row), values)
        dtypes["future"] = data.future[0].dtype
    made = {
        name: np.array(values, dtypes[name]).reshape(len(chosen), *shape)
        for name, (shape, values) in filled.items()
    }
    if data.weight is not None or rule.weighs_padding:
        made["weight"] = _weights(rule, data, chosen)
    return made


def _padded(rule: Rule, frame: Frame, values: list[Any], padding: Any) -> list[Any]:
    """Return the values at the places of an input."""
    if not values:
        return []
    missing = rule.sequence_length - len(values)
    before = missing if frame.before is None else frame.before
    if rule.padding == "post":
        before = 0
    return [padding] * before + values + [padding] * (missing - before)


def _filled(row: tuple[int, ...], value: float) -> Any:
    """Return a row in which every value is the padding."""
    return np.full(row, value).tolist()


def _inputs(rule: Rule, data: Data, frame: Frame) -> list[Any]:
    rows = data.inputs[frame.sequence]
    padding = _filled(rows.shape[1:], rule.padding_value)
    return _padded(rule, frame, [rows[t].tolist() for t in frame.inputs], padding)


def _at_targets(rule: Rule, values: list[np.ndarray], frame: Frame, padding: float) -> list[Any]:
    rows = values[frame.sequence]
    each = [[rows[t].tolist() for t in steps] for steps in frame.targets]
    if not rule.return_sequences:
        return each[0]
    return _padded(rule, frame, each, _filled((rule.horizon, *rows.shape[1:]), padding))


def _weights(rule: Rule, data: Data, chosen: list[Frame]) -> np.ndarray:
    """Return the weights: of each target step, or one for each frame.

    Without columns of targets, a Keras loss averages over the steps of a horizon: they share the
    mean of their weights. Padding has weight 0.
    """
    weight = data.weight or [np.ones(length, "float32") for length in data.lengths]
    if data.weight_per_frame and rule.weighs_padding:
        # The weight of a frame is the weight of each of its real places.
        shape = (rule.horizon,) if rule.horizon > 1 and data.targets[0].ndim > 1 else ()
        each = [
            [np.full(shape, weight[f.sequence][f.rank] * real).tolist() for real in mask(rule, f)]
            for f in chosen
        ]
        return np.array(each, weight[0].dtype).reshape(len(chosen), rule.sequence_length, *shape)
    if data.weight_per_frame:
        begins = data.begins or (0,) * len(weight)
        values = [weight[f.sequence][f.rank] for f in chosen]
        assert not any(begins) or rule.sequence_stride == 1
        axes = rule.return_sequences + (rule.horizon > 1)
        return np.array(values, weight[0].dtype).reshape(len(chosen), *(1,) * axes)
    each = (rule.sequence_length,) if rule.return_sequences else ()
    values = [_at_targets(rule, weight, frame, 0) for frame in chosen]
    made = np.array(values, weight[0].dtype).reshape(len(chosen), *each, rule.horizon)
    if rule.horizon == 1:
        return made[..., 0]
    if data.targets[0].ndim > 1:
        return made
    kind = made.dtype if made.dtype.kind == "f" else np.dtype("float32")
    return made.mean(axis=-1, dtype=kind)


def mask(rule: Rule, frame: Frame) -> list[bool]:
    """Return which places of an input are real."""
    return _padded(rule, frame, [True] * len(frame.inputs), False)


# --- Splits and folds.


def split_cuts(steps: int, shares: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return where each part of a split begins and stops; shares are decimal numbers."""
    cuts, total = [0], Fraction(0)
    for share in shares:
        total += Fraction(share)
        cuts.append(int(steps * total))
    return list(pairwise(cuts))


def kfold_cuts(steps: int, n: int) -> list[tuple[int, int]]:
    """Return where the test part of each fold without order begins and stops."""
    sizes = [steps // n + (fold < steps % n) for fold in range(n)]
    return [(sum(sizes[:fold]), sum(sizes[: fold + 1])) for fold in range(n)]


def fold_cuts(
    steps: int, n: int, sliding: bool, gap: int, test_size: int | None
) -> list[tuple[int, int, int, int]]:
    """Return for each fold where its train part begins and stops, and its test part.

    The test parts lie next to each other and reach up to the end. `gap` steps before each are
    left out, the train part is what precedes. Sliding: each train part is as long as the first.
    """
    size = steps // (n + 1) if test_size is None else test_size
    folds = []
    for fold in range(n):
        test = steps - (n - fold) * size
        first = fold * size if sliding else 0
        stop = test - gap
        folds.append((max(min(first, stop), 0), max(stop, 0), max(test, 0), max(test + size, 0)))
    return folds


def history(rule: Rule) -> int:
    """Return how far inputs reach back before their first target step."""
    if rule.return_sequences:
        return max(1 + rule.gap, 0)
    # The windows before the first whole one hold fewer steps. It begins at the history's first.
    back = rule.sampling_rate * (rule.sequence_length - rule.shortest)
    return max(rule.span + rule.gap, 0) + -back % rule.sequence_stride


# --- Lanes.


def lane_rows(counts: list[int], batch_size: int) -> list[list[int]]:
    """Return the frames of each row, in order.

    Many sequences are packed, the longest first, each into the emptiest row. Fewer sequences than
    rows, or one, are joined and cut into rows whose sizes differ by at most one.
    """
    total = sum(counts)
    if sum(count > 0 for count in counts) < max(batch_size, 2):
        rows, first = [], 0
        for row in range(batch_size):
            size = total // batch_size + (row < total % batch_size)
            rows.append(list(range(first, first + size)))
            first += size
        return rows
    rows = [[] for _ in range(batch_size)]
    for sequence in sorted(range(len(counts)), key=lambda k: -counts[k]):
        emptiest = min(rows, key=len)
        first = sum(counts[:sequence])
        emptiest.extend(range(first, first + counts[sequence]))
    return rows


def follows(one: Frame, other: Frame) -> bool:
    """Whether a frame follows another without a break."""
    return one.sequence == other.sequence and one.rank == other.rank + 1
