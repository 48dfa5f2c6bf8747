"""Processors: change a model's logits before a symbol is chosen.

A processor is a function `(logits, generated, step) -> logits`, or `(logits, generated, step, ids)
-> logits`. `Generator` takes one as `logits_processor`, or a list, which runs one after the other:

- `logits` is a float tensor `(rows, symbols)`. A logit of -inf bans a symbol.
- `generated` is an int tensor `(rows, …)`: the `step` ids so far, then -1.
- `ids` is an int tensor `(rows, …)`: the prompt and the `step` ids so far. The newest is the last
  one, and -1 fills the places before the first.

A processor runs inside the compiled rollout, so write it in `keras.ops`. The processors here work
as the processors with similar names in Hugging Face's transformers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from seqframe.aliases import Tensor
from seqframe.framing.checks import check_integer
from seqframe.samplers import Configured, check_number

#: An id, or ids that follow each other.
Phrase = int | Sequence[int]


class LogitsProcessor(Configured):
    """Base of the processors here.

    To write your own, derive from it, and return in `__call__` what a processor returns. It must
    look at each row by itself. To save it with a generator, register it with
    `keras.saving.register_keras_serializable`.

    Example:

    >>> import keras
    >>> from seqframe.processors import LogitsProcessor
    >>> class NeverTwice(LogitsProcessor):
    ...     def __call__(self, logits, generated, step, ids):
    ...         symbols = keras.ops.arange(logits.shape[-1])
    ...         return keras.ops.where(symbols == ids[:, -1:], -float("inf"), logits)
    >>> NeverTwice()
    NeverTwice()
    """

    def __call__(self, logits: Tensor, generated: Tensor, step: Tensor, ids: Tensor) -> Tensor:
        """Return the logits `(rows, symbols)` to choose from."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("seqframe")
class RepetitionPenalty(LogitsProcessor):
    """Makes symbols of the prompt and of the generated text less likely
    (Keskar et al., https://arxiv.org/abs/1909.05858).

    It divides their logits by `penalty` if they are positive, and multiplies them if they are
    negative. Models of probabilities have no logits: there it multiplies the log-probabilities.

    Args:
        penalty: float > 0. Above 1, symbols repeat less often; below 1, more often.

    Example:

    >>> import keras
    >>> from seqframe.processors import RepetitionPenalty
    >>> logits, ids = keras.ops.array([[2.0, -2.0, 2.0]]), keras.ops.array([[-1, 0, 1, 1]])
    >>> penalized = RepetitionPenalty(2.0)(logits, ids, 0, ids)
    >>> keras.ops.convert_to_numpy(penalized).tolist()
    [[1.0, -4.0, 2.0]]
    """

    def __init__(self, penalty: float = 1.2):
        check_number("penalty", penalty)
        if not 0 < penalty < float("inf"):
            raise ValueError(
                f"`penalty` must be above 0, and finite. Received: penalty={penalty}. "
                "With 1 nothing changes."
            )
        self.penalty = float(penalty)

    def __call__(self, logits: Tensor, generated: Tensor, step: Tensor, ids: Tensor) -> Tensor:
        penalized = ops.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return ops.where(_occurs(ids, ids >= 0, logits.shape[-1]), penalized, logits)


@keras.saving.register_keras_serializable("seqframe")
class NoRepeatNGram(LogitsProcessor):
    """Bans symbols that would complete `size` symbols which occurred in this order before
    (Paulus et al., https://arxiv.org/abs/1705.04304).

    It looks at the prompt and at the generated text.

    Args:
        size: int ≥ 1. With 1 no symbol occurs twice.

    Example:

    >>> import keras
    >>> from seqframe.processors import NoRepeatNGram
    >>> logits, ids = keras.ops.zeros((1, 3)), keras.ops.array([[-1, 0, 2, 1, 0]])
    >>> banned = NoRepeatNGram(2)(logits, ids, 0, ids)
    >>> keras.ops.convert_to_numpy(banned).tolist()  # 2 came after 0
    [[0.0, 0.0, -inf]]
    """

    def __init__(self, size: int):
        self.size = check_integer("size", size, 1)

    def __call__(self, logits: Tensor, generated: Tensor, step: Tensor, ids: Tensor) -> Tensor:
        before, length = self.size - 1, ids.shape[1]
        if before >= length:
            return logits
        follows = ids[:, before:] >= 0
        for k in range(before):
            last = ids[:, length - before + k : length - before + k + 1]
            follows = follows & (ids[:, k : length - before + k] == last) & (last >= 0)
        return _banned(logits, _occurs(ids[:, before:], follows, logits.shape[-1]))


@keras.saving.register_keras_serializable("seqframe")
class BannedSymbols(LogitsProcessor):
    """Bans symbols, and symbols after certain others.

    Args:
        phrases: list of ids, or of lists of ids. An id is banned everywhere. Of a list, the last
            id is banned after the others. A vocabulary gives the ids: `vocabulary.encode("xyz")`.

    Example:

    >>> import keras
    >>> from seqframe import Vocabulary
    >>> from seqframe.processors import BannedSymbols
    >>> vocabulary = Vocabulary("ABC")
    >>> processor = BannedSymbols([*vocabulary.encode("B"), vocabulary.encode("AC")])
    >>> processor
    BannedSymbols(phrases=[1, [0, 2]])
    >>> logits, ids = keras.ops.zeros((2, 3)), keras.ops.array([[0, 0], [0, 1]])
    >>> keras.ops.convert_to_numpy(processor(logits, ids, 0, ids)).tolist()
    [[0.0, -inf, -inf], [0.0, -inf, 0.0]]
    """

    def __init__(self, phrases: Sequence[Phrase]):
        self.phrases = [_check_phrase(each) for each in _listed("phrases", phrases)]

    def __call__(self, logits: Tensor, generated: Tensor, step: Tensor, ids: Tensor) -> Tensor:
        symbols = ops.arange(logits.shape[-1])
        for phrase in self.phrases:
            *before, last = phrase if isinstance(phrase, list) else [phrase]
            _check_below([*before, last], logits.shape[-1])
            is_banned = symbols[None] == last
            if len(before) > ids.shape[1]:
                continue
            if before:
                newest = ids[:, ids.shape[1] - len(before) :]
                follows = ops.all(newest == ops.convert_to_tensor(before, ids.dtype), axis=1)
                is_banned = is_banned & follows[:, None]
            logits = _banned(logits, is_banned)
        return logits


@keras.saving.register_keras_serializable("seqframe")
class ForcedSymbols(LogitsProcessor):
    """Allows only one symbol at some steps.

    Args:
        forced: dict of step to id: step 0 is the first one that a call generates, also from a
            `state`. Or a list of ids for the first steps, such as `vocabulary.encode("The ")`.

    Example:

    >>> import keras
    >>> from seqframe.processors import ForcedSymbols
    >>> logits, ids = keras.ops.zeros((1, 3)), keras.ops.array([[0]])
    >>> keras.ops.convert_to_numpy(ForcedSymbols({4: 2})(logits, ids, 4)).tolist()
    [[-inf, -inf, 0.0]]
    """

    def __init__(self, forced: Mapping[int, int] | Sequence[int]):
        if isinstance(forced, Mapping):
            # JSON has no integers as keys.
            items = [(int(k) if isinstance(k, str) else k, v) for k, v in forced.items()]
        else:
            items = list(enumerate(_listed("forced", forced)))
        if not items:
            raise ValueError("`forced` must name at least one step. Received: none.")
        self.forced = {
            check_integer("forced", step, 0): check_integer("forced", each, 0)
            for step, each in items
        }

    def __call__(
        self, logits: Tensor, generated: Tensor, step: Tensor, ids: Tensor = None
    ) -> Tensor:
        _check_below(self.forced.values(), logits.shape[-1])
        symbols = ops.arange(logits.shape[-1])[None]
        for when, each in self.forced.items():
            logits = _banned(logits, (symbols != each) & (step == when))
        return logits


def _banned(logits: Tensor, is_banned: Tensor) -> Tensor:
    return ops.where(is_banned, -float("inf"), logits)


def _occurs(ids: Tensor, counts: Tensor, symbols: int) -> Tensor:
    """Return which symbols are among the ids `(rows, …)` that count, `(rows, symbols)`."""
    rows = ids.shape[0]
    # Those that do not count mark one symbol more.
    places = ops.where(counts, ids, symbols) + ops.arange(rows)[:, None] * (symbols + 1)
    places = ops.reshape(places, (-1, 1))
    marked = ops.scatter_update(
        ops.zeros((rows * (symbols + 1),), "int32"), places, ops.ones(places.shape[:1], "int32")
    )
    return ops.reshape(marked, (rows, symbols + 1))[:, :symbols] > 0


def _listed(name: str, values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple, np.ndarray)) or not len(values):
        raise ValueError(
            f"`{name}` must be a list of one or more ids. Received: {values!r}. A vocabulary gives "
            "the ids of symbols: `vocabulary.encode(symbols)`."
        )
    return list(values)


def _check_phrase(phrase: Any) -> int | list[int]:
    if isinstance(phrase, (list, tuple)) or (isinstance(phrase, np.ndarray) and phrase.ndim):
        return [check_integer("phrases", each, 0) for each in _listed("phrases", phrase)]
    return check_integer("phrases", phrase, 0)


def _check_below(ids: Any, symbols: int) -> None:
    if max(ids) >= symbols:
        raise ValueError(
            f"A processor must name ids below {symbols}, the number of symbols. Received: "
            f"{max(ids)}. Use the ids of the framer's vocabulary."
        )
