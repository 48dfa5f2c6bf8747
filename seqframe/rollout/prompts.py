"""Prompts in a buffer, from which a rollout begins, and the state of an earlier rollout."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqframe.framing.checks import check_bytes, first_names
from seqframe.framing.framer import SequenceFramer
from seqframe.model.inspect import context_steps, least_steps

# Programs are compiled for these sizes and their doubles, not for each prompt and step count.
_LEAST_ROOM = 64
_LEAST_WIDTH = 16


@dataclass
class Prompts:
    """The prompts of a rollout."""

    buffer: np.ndarray  # (rows, width + room, …), with prompts that end at `width`
    width: int
    lengths: np.ndarray  # (rows,), number of real steps before `width`
    begins: np.ndarray  # (rows,), the first position that a stateful model sees
    seed: int
    drawn: int = 0  # steps that an earlier run has drawn
    future: np.ndarray | None = None  # (rows, width + room, …), future covariates
    states: list[np.ndarray] | None = None  # the recurrent state to begin with; None: fresh


@dataclass(frozen=True)
class GeneratorState:
    """Where a generation stopped, for `Generator.generate(…, state=…)` to continue.

    `Generator.generate(…, return_state=True)` returns it. It can be pickled.

    Attributes:
        tail: array `(rows, steps)`, the last ids. All ids, if a processor sees them.
        lengths: int array `(rows,)`. Number of real ids in each row, without padding.
        states: list of arrays, the recurrent states.
        seed: int. The seed of the generation.
        drawn: int. How many steps were drawn.
        is_whole: bool. Whether `tail` has all ids.

    Example:

    >>> import keras
    >>> from seqframe import Generator, SequenceFramer, Vocabulary
    >>> encoding = keras.layers.CategoryEncoding(3, output_mode="one_hot")
    >>> model = keras.Sequential([keras.Input((1,)), encoding])  # repeats the last symbol
    >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
    >>> text, state = Generator(model, framer).generate("B", 3, return_state=True)
    >>> text, state.tail  # a model of one step needs the last id only
    ('BBB', array([[1]], dtype=int32))
    """

    tail: np.ndarray
    lengths: np.ndarray
    states: list[np.ndarray]
    seed: int
    drawn: int
    is_whole: bool = False


def lay_out(
    rows: Sequence[np.ndarray],
    steps: int,
    framer: SequenceFramer,
    stepped: bool,
    seed: int,
    state: GeneratorState | None = None,
    futures: Sequence[np.ndarray] | None = None,
    on_clock: bool = False,
    whole: bool = False,
) -> Prompts:
    """Return prompts as a buffer with room for the steps to generate.

    Futures begin with the row's first step if `on_clock`, else after its last step. If `whole`, the
    buffer holds more of a prompt than the model needs: all of it.
    """
    context, least = context_steps(framer, stepped), least_steps(framer, stepped)
    gap = framer.gap
    new = np.array([len(row) for row in rows])
    known = new.copy()
    if state is not None:
        rows = [np.concatenate([tail, row]) for tail, row in zip(state.tail, rows, strict=True)]
        known += state.lengths
    width = context + gap
    if stepped:
        # The whole prompt, and room for padding before its first steps.
        width = doubled(max(max(map(len, rows)) + context - least, width), _LEAST_WIDTH)
    elif whole:
        width = doubled(max(max(map(len, rows)), width), _LEAST_WIDTH)
    capacity = width + doubled(steps + framer.horizon - 1, _LEAST_ROOM)
    shape = (len(rows), capacity, *rows[0].shape[1:])
    buffer = np.full(shape, framer.padding_value, rows[0].dtype)
    for place, row in zip(buffer, rows, strict=True):
        kept = row[-width:]
        place[width - len(kept) : width] = kept
    # With a state, the model has seen all earlier steps but the last `gap + 1`.
    begins = width - known + least - 1 if state is None else width - new - gap - 1
    future = None
    if futures is not None:
        future = np.zeros((len(rows), capacity, *futures[0].shape[1:]), futures[0].dtype)
        for place, ahead, length in zip(future, futures, new, strict=True):
            start = width - length if on_clock else width
            ahead = ahead[max(-start, 0) :]
            place[max(start, 0) : max(start, 0) + len(ahead)] = ahead
    return Prompts(
        buffer,
        width,
        np.minimum(known, width),
        np.maximum(begins, 0),
        seed,
        0 if state is None else state.drawn,
        future,
        None if state is None else state.states,
    )


def warn_of_short(
    lengths: Sequence[int], usual: int, name: Callable[[int], str], stacklevel: int
) -> None:
    """Warn if some rows have fewer steps than any input that the model was trained on."""
    short = [number for number, length in enumerate(lengths) if length < usual]
    if short:
        sizes = [f"{lengths[each]} step{'s' * (lengths[each] > 1)}" for each in short]
        shown = first_names(
            f"`{name(each)}` with {size}" for each, size in zip(short, sizes, strict=True)
        )
        some = f"{len(short)} of {len(lengths)}, " if len(short) > 1 else ""
        warnings.warn(
            f"The framer makes no input of fewer than {usual} steps, so the model knows none. "
            f"Received: {some}{shown}, padded. Give longer ones or leave these out, or train with "
            "a smaller `min_length`.",
            stacklevel=stacklevel,
        )


_LEAST_BYTES = 1024  # of a row, with its states and its text


def check_room(rows: int, steps: int) -> None:
    """Raise if the ids of so many rows and steps do not fit into memory."""
    check_bytes(
        f"{rows:,} rows of {steps:,} steps",
        rows * max(steps * np.dtype(np.int32).itemsize, _LEAST_BYTES),
        "Reduce `steps`, `num_samples` or the prompts of a call.",
    )


def rounded_rows(count: int) -> int:
    """Return `count` rows or a few more, so that a few more series need no other program.

    Fewer rows than half of the result are added, and none to one row.

    >>> [rounded_rows(count) for count in (1, 2, 3, 5, 9, 13, 17, 130)]
    [1, 2, 4, 8, 12, 16, 24, 192]
    """
    power = doubled(count, 1)
    step = max(power // 4, min(power // 2, 4), 1)
    return -(-count // step) * step


def doubled(size: int, least: int) -> int:
    """Return `least`, doubled until it is `size` or more."""
    while least < size:
        least *= 2
    return least
