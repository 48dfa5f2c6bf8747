"""Prompts: what a rollout begins with, laid out as a buffer, and where what it makes ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqframe.framing.sequences import holds_symbols, split_sequences, to_array
from seqframe.model.context import context_steps, least_steps
from seqframe.rollout.loop import Prompts

# Programs are compiled for these sizes and their doubles, not for each prompt and step count.
_LEAST_ROOM = 64
_LEAST_WIDTH = 16


@dataclass(frozen=True)
class GeneratorState:
    """Where a generation stopped, for `Generator.generate(…, state=…)` to go on from.

    Returned by `Generator.generate(…, return_state=True)`. It can be pickled.

    Attributes:
        tail: array `(rows, steps)`, the last ids.
        lengths: int array `(rows,)`. How many of these are real, not padding.
        states: list of arrays, the recurrent states.
        seed: int. What was drawn with.
        drawn: int. How many steps were drawn.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import Generator, SequenceFramer, Vocabulary
    >>> layers = [keras.Input((1,)), keras.layers.Embedding(3, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential(layers)
    >>> model.set_weights([np.roll(np.eye(3), 1, axis=1)])  # each symbol predicts the next
    >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
    >>> text, state = Generator(model, framer).generate("A", 3, return_state=True)
    >>> text, state.tail  # the ids that a model of one step needs to be shown next
    ('BCA', array([[0]], dtype=int32))
    """

    tail: np.ndarray
    lengths: np.ndarray
    states: list[np.ndarray]
    seed: int
    drawn: int


def lay_out(
    rows: Sequence[np.ndarray],
    steps: int,
    framer: Any,
    stepped: bool,
    seed: int,
    state: GeneratorState | None = None,
    futures: Sequence[np.ndarray] | None = None,
    on_clock: bool = False,
) -> Prompts:
    """Return prompts as a buffer with room for what is to be generated.

    Args:
        rows: list of arrays `(steps, …)`, one a row.
        steps: int. What is to be generated.
        framer: SequenceFramer.
        stepped: bool. Whether the model is shown single steps.
        seed: int.
        state: GeneratorState that the rows go on from, or None.
        futures: list of arrays `(steps, …)`, what is known ahead for each row, or None.
        on_clock: bool. Whether futures begin with the row's first step, rather than after its last.
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
        # The whole prompt, and room for the padding that its first steps may be seen with.
        width = doubled(max(max(map(len, rows)) + context - least, width), _LEAST_WIDTH)
    capacity = width + doubled(steps + framer.horizon - 1, _LEAST_ROOM)
    shape = (len(rows), capacity, *rows[0].shape[1:])
    buffer = np.full(shape, framer.padding_value, rows[0].dtype)
    for place, row in zip(buffer, rows, strict=True):
        kept = row[-width:]
        place[width - len(kept) : width] = kept
    # Where a run goes on, the model has been shown all but the last `gap + 1` steps.
    begins = width - known + least - 1 if state is None else width - new - gap - 1
    future = None
    if futures is not None:
        future = np.zeros((len(rows), capacity, *futures[0].shape[1:]), futures[0].dtype)
        for place, ahead, length in zip(future, futures, new, strict=True):
            start = width - length if on_clock else width
            ahead = ahead[max(-start, 0) :][: capacity - max(start, 0)]
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


def doubled(size: int, least: int) -> int:
    """Return `least`, doubled until it is `size` or more.

    >>> doubled(5, 16), doubled(33, 16)
    (16, 64)
    """
    while least < size:
        least *= 2
    return least


def split_prompts(prompt: Any, vocabulary: Any) -> tuple[list[Any], bool]:
    """Return the prompts in what the user passed, and whether it was several."""
    if not isinstance(prompt, (list, tuple)) or not len(prompt):
        return [prompt], False
    if all(isinstance(item, str) for item in prompt):
        words = vocabulary is not None and not vocabulary.is_text
        return ([prompt], False) if words else (list(prompt), True)
    parts = split_sequences(prompt, vocabulary)
    return parts, parts[0] is not prompt


def list_hint(prompts: Sequence[Any]) -> str:
    """Return what to say to prompts that may be meant as one, of symbols.

    >>> list_hint(["A", "B"])
    " A list of strings is several prompts; one prompt of symbols is `[['A', 'B']]`."
    >>> list_hint(["AB", "CD"])
    ''
    """
    if not prompts or not all(isinstance(item, str) and len(item) == 1 for item in prompts):
        return ""
    shown = repr(list(prompts)) if len(prompts) <= 8 else "symbols"
    return f" A list of strings is several prompts; one prompt of symbols is `[{shown}]`."


def encode_prompt(prompt: Any, vocabulary: Any, name: str = "prompt") -> np.ndarray:
    """Return a prompt as ids.

    Raises:
        ValueError: if it holds an unknown symbol, or is not one-dimensional.
    """
    if isinstance(prompt, (str, list, tuple)) and not len(prompt):
        return np.zeros(0, np.int32)
    ids = to_array(prompt, name, vocabulary)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            "A prompt must be a string, a list of symbols, or a one-dimensional array of ids. "
            f"Received: an array of shape {ids.shape} and dtype {ids.dtype}. "
            "For real values, use `forecast`."
        )
    return ids.astype(np.int32, copy=False)


def decode_ids(ids: np.ndarray, prompt: Any, vocabulary: Any) -> Any:
    """Return ids as the kind of thing that the prompt is."""
    # An empty list, which goes on from a state, is one of symbols where symbols come in lists.
    is_empty = isinstance(prompt, (list, tuple)) and not prompt
    words = is_empty and vocabulary is not None and not vocabulary.is_text
    if not (words or holds_symbols(prompt, vocabulary)):
        return ids.tolist() if isinstance(prompt, list) else ids
    symbols = vocabulary.decode(ids)
    return symbols if isinstance(prompt, str) else list(symbols)


def encode_stops(stop: Any, vocabulary: Any) -> tuple[tuple[int, ...], ...]:
    """Return where a generation stops as tuples of ids.

    Args:
        stop: None; a str; a symbol or id; or a list of these. Where symbols are no characters, a
            str is a symbol.
        vocabulary: Vocabulary, or None.

    >>> from seqframe import Vocabulary
    >>> encode_stops("B", Vocabulary("ABC")), encode_stops(["AB", "C"], Vocabulary("ABC"))
    (((1,),), ((0, 1), (2,)))
    """
    if stop is None:
        return ()
    # Where symbols are tuples, a tuple may be one of them.
    chords = vocabulary is not None and isinstance(vocabulary.symbols[0], tuple)
    several = isinstance(stop, list) or (
        isinstance(stop, tuple) and not (chords and stop in vocabulary)
    )
    stops = [_encode_stop(item, vocabulary) for item in (stop if several else [stop])]
    if not stops:
        raise ValueError("`stop` must name at least one symbol or string. Received: none.")
    return tuple(stops)


def _encode_stop(stop: Any, vocabulary: Any) -> tuple[int, ...]:
    """Return one stop as ids."""
    is_id = isinstance(stop, (int, np.integer)) and not isinstance(stop, bool)
    if isinstance(stop, str) and not stop:
        raise ValueError("`stop` must not hold an empty string. Received: ''.")
    if isinstance(stop, str) and vocabulary is None:
        raise ValueError(
            f"`stop` holds a string, which needs a `vocabulary`. Received: {stop!r}. "
            "Pass ids, or a framer with a vocabulary."
        )
    if isinstance(stop, np.ndarray) or vocabulary is None:
        ids = np.atleast_1d(stop)
    elif is_id and isinstance(vocabulary.symbols[0], str):
        ids = np.array([stop])
    elif isinstance(stop, str) and vocabulary.is_text:
        ids = to_array(stop, "stop", vocabulary)
    elif isinstance(stop, list) or (isinstance(stop, str) and stop not in vocabulary):
        raise ValueError(
            "`stop`: a stop is one symbol, or where symbols are characters a string of them. "
            f"Received: {stop!r}. For several symbols in a row pass their ids, as "
            '`vocabulary.encode(["the", "end"])`.'
        )
    else:
        ids = to_array([stop], "stop", vocabulary)
    limit = np.iinfo(np.int32).max if vocabulary is None else len(vocabulary)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise ValueError(
            "`stop` must be a string, a symbol, an id or a one-dimensional array of ids, or a list "
            f"of these. Received: {stop!r}."
        )
    if (ids < 0).any() or (ids >= limit).any():
        raise ValueError(f"The ids of `stop` must be in 0 … {limit - 1}. Received: {stop!r}.")
    return tuple(ids.tolist())


def first_stop(ids: np.ndarray, stops: Sequence[Sequence[int]]) -> tuple[int, int] | None:
    """Return where the first stop in some ids begins and ends, or None.

    Args:
        ids: int array `(steps,)`.
        stops: sequences of ids.

    >>> first_stop(np.array([0, 1, 2, 1]), [[2, 1], [1, 2]])
    (1, 3)
    """
    best: tuple[int, int] | None = None
    for stop in stops:
        if len(ids) < len(stop):
            continue
        windows = np.lib.stride_tricks.sliding_window_view(ids, len(stop))
        where = np.flatnonzero((windows == np.asarray(stop)).all(axis=1))
        if where.size:
            found = (int(where[0]), int(where[0]) + len(stop))
            # What ends first was said first; of two that end together, the longer.
            if best is None or (found[1], found[0]) < (best[1], best[0]):
                best = found
    return best
