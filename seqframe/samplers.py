"""Samplers: choose the next symbol from a model's output.

A sampler is a function `(logits, seed) -> ids`. `logits` are a float tensor `(rows, symbols)`,
`seed` is a `keras.random.SeedGenerator`, and `ids` are an int tensor `(rows,)`. A sampler runs
inside the compiled rollout, so write it in `keras.ops`.

The samplers here draw each row by the seed and the row's number. So rows with equal logits differ,
and a row does not depend on how many other rows there are. A function of your own gets one seed for
all rows, and decides itself what a row depends on.
"""

import copy
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from seqframe import backend
from seqframe.aliases import Tensor
from seqframe.framing.checks import check_integer

_MOST = float(np.finfo("float32").max)
_ALL = 2**31 - 1  # symbols, more than a model has
_ROUNDING = 1e-6  # of probabilities that are summed up in float32


class Configured:
    """Base of objects that equal each other if their attributes do, and are saved by these."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as JSON-safe values.

        >>> from seqframe.samplers import TopPSampler
        >>> TopPSampler(0.9).get_config()
        {'p': 0.9, 'temperature': 1.0}
        """
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the object that `get_config` described."""
        return cls(**config)

    def copied(self) -> Self:
        """Return a copy that does not change with this object, whatever lists it holds."""
        other = copy.copy(self)
        vars(other).update(_copied(vars(self)))
        return other

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _frozen(vars(self)) == _frozen(vars(other))

    def __hash__(self) -> int:
        return hash((type(self), _frozen(vars(self))))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({values})"


class Sampler(Configured):
    """Draws a symbol from the logits that its `narrow` returns.

    To write your own, derive from it: `narrow` bans symbols. To save it with a generator, register
    it with `keras.saving.register_keras_serializable`.

    Args:
        temperature: float > 0. It divides the logits. Below 1, likely symbols become likelier;
            above 1, less likely.

    Raises:
        TypeError: if `temperature` is not a number.
        ValueError: if it is not above 0, or not finite.

    Example:

    >>> import keras
    >>> from seqframe.samplers import Sampler
    >>> class NeverFirst(Sampler):
    ...     def narrow(self, logits):
    ...         is_first = keras.ops.arange(logits.shape[-1]) == 0
    ...         return keras.ops.where(is_first, -float("inf"), logits)
    >>> ids = NeverFirst()(keras.ops.zeros((4, 2)), keras.random.SeedGenerator(7))
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [1, 1, 1, 1]
    """

    temperature: float

    def __init__(self, temperature: float = 1.0):
        self.temperature = _check_temperature(temperature)

    def __call__(self, logits: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        """Return ids `(rows,)` for logits `(rows, symbols)`.

        The id of row `k` depends on its logits, on `k` and on the seed.
        """
        return self._draw(logits, seed, self.temperature, self.narrow)

    def _draw(
        self,
        logits: Tensor,
        seed: keras.random.SeedGenerator,
        temperature: Tensor,
        narrow: Callable[[Tensor], Tensor],
    ) -> Tensor:
        logits = backend.cast(logits, "float32")
        # The largest of the logits with Gumbel noise is a draw from their softmax
        # (Gumbel, "Statistical Theory of Extreme Values", 1954).
        bits = backend.random_bits(seed.next(), *logits.shape)
        # 23 bits and a half: neither 0 nor 1, and exact in float32.
        uniform = (ops.cast(ops.right_shift(bits, np.uint32(9)), "float32") + 0.5) * 2.0**-23
        # Less the largest, logits of any size can be divided by any temperature.
        largest = ops.max(logits, axis=-1, keepdims=True)
        below = ops.where(logits == largest, 0.0, (logits - largest) / temperature)
        return ops.argmax(narrow(below) - ops.log(-ops.log(uniform)), axis=-1)

    def narrow(self, logits: Tensor) -> Tensor:
        """Return logits with -inf for the symbols that cannot be drawn.

        Args:
            logits: float tensor `(rows, symbols)`, divided by the temperature. The largest of a
                row is 0.
        """
        return logits


@keras.saving.register_keras_serializable("seqframe")
class GreedySampler(Sampler):
    """Chooses the likeliest symbol.

    Example:

    >>> import keras
    >>> from seqframe.samplers import GreedySampler
    >>> logits = keras.ops.convert_to_tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    >>> ids = GreedySampler()(logits, keras.random.SeedGenerator(7))
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [1, 0]
    """

    def __init__(self) -> None:
        pass

    def __call__(self, logits: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        return ops.argmax(logits, axis=-1)


@keras.saving.register_keras_serializable("seqframe")
class RandomSampler(Sampler):
    """Draws a symbol by its probability.

    Args:
        temperature: float > 0, as in `Sampler`.

    Example:

    >>> from seqframe.samplers import RandomSampler
    >>> RandomSampler(temperature=0.7)
    RandomSampler(temperature=0.7)
    """


@keras.saving.register_keras_serializable("seqframe")
class TopKSampler(Sampler):
    """Draws from the `k` likeliest symbols (Fan et al., https://arxiv.org/abs/1805.04833).

    Args:
        k: int ≥ 1. Symbols as likely as the `k`-th take part too.
        temperature: float > 0, as in `Sampler`.

    Example:

    >>> from seqframe.samplers import TopKSampler
    >>> TopKSampler(3, temperature=0.7)
    TopKSampler(k=3, temperature=0.7)
    """

    def __init__(self, k: int = 5, temperature: float = 1.0):
        self.k = check_integer("k", k, 1)
        super().__init__(temperature)

    def narrow(self, logits: Tensor) -> Tensor:
        return _top_k(logits, min(self.k, _ALL))


@keras.saving.register_keras_serializable("seqframe")
class TopPSampler(Sampler):
    """Draws from the fewest symbols that together have the probability `p`
    (nucleus sampling; Holtzman et al., https://arxiv.org/abs/1904.09751).

    The likeliest symbols come first; of equally likely ones, those with lower ids. The symbol that
    brings the sum to `p`, or within a millionth of it, is the last. The likeliest always stays.

    Args:
        p: float, 0 < p ≤ 1. A probability after `temperature`.
        temperature: float > 0, as in `Sampler`.

    Example:

    >>> from seqframe.samplers import TopPSampler
    >>> TopPSampler(0.9)
    TopPSampler(p=0.9, temperature=1.0)
    """

    p: float

    def __init__(self, p: float = 0.9, temperature: float = 1.0):
        self.p = _check_share("p", p)
        super().__init__(temperature)

    def narrow(self, logits: Tensor) -> Tensor:
        return logits if self.p == 1 else _top_p(logits, self.p)


@keras.saving.register_keras_serializable("seqframe")
class MinPSampler(Sampler):
    """Draws from the symbols that are at least `p` times as likely as the likeliest
    (min-p sampling; Nguyen et al., https://arxiv.org/abs/2407.01082).

    Args:
        p: float, 0 < p ≤ 1. A ratio of probabilities after `temperature`.
        temperature: float > 0, as in `Sampler`.

    Example:

    >>> from seqframe.samplers import MinPSampler
    >>> MinPSampler(0.1, temperature=1.5)
    MinPSampler(p=0.1, temperature=1.5)
    """

    p: float

    def __init__(self, p: float = 0.1, temperature: float = 1.0):
        self.p = _check_share("p", p)
        super().__init__(temperature)

    def narrow(self, logits: Tensor) -> Tensor:
        largest = ops.max(logits, axis=-1, keepdims=True)
        return _kept(logits, logits - largest >= math.log(self.p) - _ROUNDING)


@keras.saving.register_keras_serializable("seqframe")
class TypicalPSampler(Sampler):
    """Draws from the most typical symbols that together have the probability `p`
    (typical sampling; Meister et al., https://arxiv.org/abs/2202.00666).

    A symbol is typical if its surprise, the negative log-probability, is near the expected
    surprise. The symbol that brings the sum to `p` is the last, with those as typical as it. The
    most typical always stays; the likeliest may not.

    Args:
        p: float, 0 < p ≤ 1. A probability after `temperature`.
        temperature: float > 0, as in `Sampler`.

    Example:

    >>> from seqframe.samplers import TypicalPSampler
    >>> TypicalPSampler(0.9)
    TypicalPSampler(p=0.9, temperature=1.0)
    """

    p: float

    def __init__(self, p: float = 0.9, temperature: float = 1.0):
        self.p = _check_share("p", p)
        super().__init__(temperature)

    def narrow(self, logits: Tensor) -> Tensor:
        if self.p == 1:
            return logits
        surprise = -ops.log_softmax(logits, axis=-1)
        probabilities = ops.exp(-surprise)
        is_possible = probabilities > 0
        expected = ops.sum(
            ops.where(is_possible, probabilities * surprise, 0.0), axis=-1, keepdims=True
        )
        typical = ops.where(is_possible, -ops.abs(surprise - expected), -float("inf"))
        least = backend.threshold(typical, probabilities, self.p - _ROUNDING)
        return _kept(logits, typical >= least, typical)


def _top_k(logits: Tensor, k: Tensor) -> Tensor:
    """Return logits with -inf below the `k` largest, and those equal to the last of these."""
    least = backend.threshold(logits, ops.ones_like(logits), ops.cast(k, "float32"))
    return _kept(logits, logits >= least)


def _top_p(logits: Tensor, p: Tensor) -> Tensor:
    """Return logits with -inf outside of the fewest that together have the probability `p`."""
    probabilities = ops.softmax(logits, axis=-1)
    least = backend.threshold(logits, probabilities, p - _ROUNDING)
    above, equal = logits > least, logits == least
    # Of equally likely symbols, the first ones that bring the sum to `p`.
    missing = p - _ROUNDING - _sum_where(above, probabilities)
    order = ops.zeros_like(logits) - ops.arange(logits.shape[-1], dtype="float32")
    last = backend.threshold(order, ops.where(equal, probabilities, 0.0), missing)
    return _kept(logits, above | (equal & (order >= last)))


def _sum_where(keep: Tensor, values: Tensor) -> Tensor:
    return ops.sum(ops.where(keep, values, 0.0), axis=-1, keepdims=True)


def _kept(logits: Tensor, keep: Tensor, order: Tensor = None) -> Tensor:
    """Return logits with -inf where `keep` is False. The first in order, or the likeliest symbol,
    always stays.

    XLA may compute a logit twice, and round it in two ways. So comparisons alone could drop it.
    """
    first = ops.argmax(logits if order is None else order, axis=-1)[..., None]
    places = ops.arange(logits.shape[-1], dtype=first.dtype)
    return ops.where(keep | (places == first), logits, -float("inf"))


@keras.saving.register_keras_serializable("seqframe")
class BeamSampler(Sampler):
    """Follows the likeliest sequences found so far, and gives the best of them at the end.

    The likeliest sequence has the highest product of the model's probabilities. Nothing is drawn:
    `num_samples` gives the best sequences, best first.

    Args:
        num_beams: int ≥ 1. Sequences to follow for each prompt.

    Example:

    >>> from seqframe.samplers import BeamSampler
    >>> BeamSampler(3)
    BeamSampler(num_beams=3)
    """

    def __init__(self, num_beams: int = 5):
        self.num_beams = check_integer("num_beams", num_beams, 1)

    def __call__(self, logits: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        raise TypeError("A `BeamSampler` cannot be called: only a rollout follows beams.")

    def _choose(
        self, logits: Tensor, totals: Tensor, finished: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ids of the next beams, the row that each continues, and its log-probability.

        All are tensors `(prompts * num_beams, …)`, best first. `totals` are the log-probabilities
        so far. A finished beam gets the symbol 0, at no cost.
        """
        rows, symbols = logits.shape
        prompts = rows // self.num_beams
        ended = ops.where(ops.arange(symbols) == 0, 0.0, -float("inf"))
        logits = ops.where(finished[:, None], ended, ops.log_softmax(logits, axis=-1))
        found = ops.reshape(totals[:, None] + logits, (prompts, self.num_beams * symbols))
        totals, best = ops.top_k(found, self.num_beams)
        rows = best // symbols + self.num_beams * ops.arange(prompts, dtype=best.dtype)[:, None]
        return (
            ops.reshape(best % symbols, (-1,)),
            ops.reshape(rows, (-1,)),
            ops.reshape(totals, (-1,)),
        )


class HubSampler:
    """Uses a sampler of keras-hub, such as `keras_hub.samplers.TopPSampler`.

    Args:
        sampler: object with `compute_probabilities` and `get_next_token`. It draws by the
            generator's seed, not by its own.

    Example:

    >>> from seqframe.samplers import HubSampler
    >>> class Likeliest:  # like keras-hub's samplers
    ...     def compute_probabilities(self, logits):
    ...         return keras.ops.softmax(logits)
    ...     def get_next_token(self, probabilities):
    ...         return keras.ops.argmax(probabilities, axis=-1)
    >>> HubSampler(Likeliest())
    HubSampler(Likeliest)
    """

    def __init__(self, sampler: Any):
        self.sampler = sampler

    def __call__(self, logits: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        own = getattr(self.sampler, "seed_generator", None)
        if own is not None:
            self.sampler.seed_generator = seed
        try:
            return self.sampler.get_next_token(self.sampler.compute_probabilities(logits))
        finally:
            if own is not None:
                self.sampler.seed_generator = own

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HubSampler) and self.sampler is other.sampler

    def __hash__(self) -> int:
        return hash(id(self.sampler))

    def __repr__(self) -> str:
        return f"HubSampler({type(self.sampler).__name__})"


@dataclass(frozen=True)
class Sampling:
    """How the symbols of a call are chosen.

    Samplers that differ only in their numbers share a compiled program, which takes the numbers as
    operands. So do `RandomSampler`, `TopKSampler` and `TopPSampler`.
    """

    sampler: Any
    # Temperature, k and p; None: the sampler has its own.
    numbers: tuple[float, int, float] | None = field(default=None, compare=False)

    def operands(self) -> list[np.ndarray]:
        """Return the numbers as arrays."""
        if self.numbers is None:
            return []
        temperature, k, p = self.numbers
        return [np.array([[temperature, p]], "float32"), np.array([[k]], "int32")]

    def __call__(
        self, logits: Tensor, seed: keras.random.SeedGenerator, operands: list[Tensor]
    ) -> Tensor:
        """Return ids `(rows,)` for logits `(rows, symbols)`."""
        if self.numbers is None:
            return self.sampler(logits, seed)
        (temperature, p), k = (operands[0][:, :1], operands[0][:, 1:]), operands[1]

        def narrow_both(logits: Tensor) -> Tensor:
            # The order is that of transformers.
            logits = ops.cond(k[0, 0] < logits.shape[-1], lambda: _top_k(logits, k), lambda: logits)
            return ops.cond(p[0, 0] < 1, lambda: _top_p(logits, p), lambda: logits)

        def narrow(logits: Tensor) -> Tensor:
            # A call that asks for neither number waits for neither.
            logits = self.sampler.narrow(logits)
            narrows = (k[0, 0] < logits.shape[-1]) | (p[0, 0] < 1)
            return ops.cond(narrows, lambda: narrow_both(logits), lambda: logits)

        return self.sampler._draw(logits, seed, temperature, narrow)


# The arguments of a call that go with each sampler.
_OVERRIDES = {
    RandomSampler: ("temperature", "top_k", "top_p"),
    TopKSampler: ("temperature", "top_k"),
    TopPSampler: ("temperature", "top_p"),
    MinPSampler: ("temperature",),
    TypicalPSampler: ("temperature",),
}


def sampling_of(
    sampler: Any,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Sampling:
    """Return how a sampler chooses, with the numbers of a call in place of its own.

    >>> sampling_of(TopKSampler(3), temperature=0.5)
    Sampling(sampler=RandomSampler(temperature=1.0), numbers=(0.5, 3, 1.0))
    """
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        check_number(name, value)
        _check_goes_with(name, value, sampler)
    if temperature is not None:
        temperature = _check_temperature(temperature)
    if isinstance(sampler, Configured):
        sampler = sampler.copied()  # what is compiled for it must not change with it
    if type(sampler) not in _OVERRIDES:
        if temperature is not None:
            sampler.temperature = temperature
        return Sampling(sampler)
    temperature = sampler.temperature if temperature is None else temperature
    k = getattr(sampler, "k", _ALL) if top_k is None else check_integer("top_k", top_k, 1)
    own_p = sampler.p if isinstance(sampler, TopPSampler) else 1.0
    p = own_p if top_p is None else _check_share("top_p", top_p)
    numbers = temperature, min(k, _ALL), p
    if isinstance(sampler, (RandomSampler, TopKSampler, TopPSampler)):
        return Sampling(RandomSampler(), numbers)
    sampler.temperature = 1.0
    return Sampling(sampler, numbers)


def _check_goes_with(name: str, value: Any, sampler: Any) -> None:
    """Raise if an argument of a call contradicts the sampler."""
    is_own = isinstance(sampler, Sampler) and hasattr(sampler, "temperature")
    allowed = _OVERRIDES.get(type(sampler), ("temperature",) if is_own else ())
    if name in allowed:
        return
    named = {"top_k": 'or `sampler="top_k"`, ', "top_p": 'or `sampler="top_p"`, '}.get(name, "")
    shown = getattr(sampler, "__name__", None) or repr(sampler)
    raise ValueError(
        f"`{name}` contradicts the sampler, which takes {_listed(allowed)}. Received: "
        f'{name}={value!r} with sampler={shown}. Pass `sampler="random"`, {named}too, or leave '
        f"`{name}` out."
    )


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names) or "no such number"


_SAMPLERS = {
    "greedy": GreedySampler,
    "random": RandomSampler,
    "top_k": TopKSampler,
    "top_p": TopPSampler,
    "beam": BeamSampler,
}


def get_sampler(sampler: Any) -> Callable[[Any, Any], Any]:
    """Return a sampler by its name, or the object given."""
    if hasattr(sampler, "get_next_token") and hasattr(sampler, "compute_probabilities"):
        if hasattr(sampler, "num_beams"):
            raise ValueError(
                "`sampler` cannot be keras-hub's beam search. "
                f'Received: sampler={sampler!r}. Use "beam", or `samplers.BeamSampler`.'
            )
        return HubSampler(sampler)
    if isinstance(sampler, keras.Layer):
        raise TypeError(
            "`sampler` must be a name, a function or a sampler object. Received: the layer "
            f"{sampler.name!r}. For a function of its own pass `lambda logits, seed: …`."
        )
    if isinstance(sampler, type):
        raise TypeError(
            f"`sampler` must be a sampler, not its class. Received: {sampler.__name__}. "
            f"Use `{sampler.__name__}()`."
        )
    if callable(sampler):
        return sampler
    if not isinstance(sampler, str) or sampler not in _SAMPLERS:
        raise ValueError(
            f"`sampler` must be one of {tuple(_SAMPLERS)}, or a function (logits, seed) -> ids. "
            f"Received: sampler={sampler!r}. For a temperature, pass an object: "
            "`seqframe.samplers.RandomSampler(temperature=0.7)`."
        )
    return _SAMPLERS[sampler]()


def _check_temperature(value: Any) -> float:
    check_number("temperature", value)
    if not 0 < value <= _MOST:
        raise ValueError(
            "`temperature` must be above 0, and finite. Received: temperature="
            f'{_shortened(value)}. For the likeliest symbol each time, use the sampler "greedy".'
        )
    return float(value)


def _check_share(name: str, value: Any) -> float:
    check_number(name, value)
    if not 0 < value <= 1:
        raise ValueError(
            f"`{name}` must be above 0, at most 1. Received: {name}={_shortened(value)}."
        )
    return float(value)


def check_number(name: str, value: Any) -> None:
    """Raise if an argument is no real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. Received: {name}={value!r}.")


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}…"


def _frozen(value: Any) -> Any:
    """Return a value as one that can be hashed and compared, whatever it holds."""
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in sorted(value.items(), key=repr))
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_frozen, value))
    if isinstance(value, set):
        return frozenset(value)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    try:
        hash(value)
    except TypeError:
        return id(value)  # it equals itself only
    return value


def _copied(value: Any) -> Any:
    """Return a copy of a value's lists, dicts, sets and arrays, with the same items."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    if type(value) is set or isinstance(value, np.ndarray):
        return value.copy()
    return value
