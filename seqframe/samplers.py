"""Samplers: choose the next symbol from a model's output.

A sampler is a function `(logits, seed) -> ids`. `logits` are a float tensor `(batch_size,
symbols)`, `seed` is a `keras.random.SeedGenerator`, and `ids` are an int tensor `(batch_size,)`. A
sampler runs inside the compiled rollout, so write it in `keras.ops`.

The samplers here also take logits `(prompts, samples, symbols)`, and draw the same numbers for each
prompt. So a prompt gives the same result in a batch as by itself.
"""

import numbers
from collections.abc import Callable
from typing import Any, Self

import keras
from keras import ops

from seqframe.aliases import Tensor
from seqframe.framing.checks import check_integer


class Sampler:
    """Draws a symbol from the logits that its `narrow` returns.

    To write your own, derive from it: `narrow` bans symbols. To save it with a generator, register
    it with `keras.saving.register_keras_serializable`.

    Args:
        temperature: float > 0. It divides the logits. Below 1, likely symbols become likelier;
            above 1, less likely.

    Raises:
        TypeError: if `temperature` is not a number.
        ValueError: if it is not above 0.

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
        _check_number("temperature", temperature)
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be above 0. Received: temperature={temperature}. "
                'For the likeliest symbol each time, use the sampler "greedy".'
            )
        self.temperature = float(temperature)

    def __call__(self, logits: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        """Return ids, of the shape of the logits without their last axis."""
        # The largest of the logits with Gumbel noise is a draw from their softmax
        # (Gumbel, "Statistical Theory of Extreme Values", 1954).
        noise = keras.random.uniform(logits.shape[-2:], minval=1e-20, maxval=1.0, seed=seed)
        logits = self.narrow(logits / self.temperature)
        return ops.argmax(logits - ops.log(-ops.log(noise)), axis=-1)

    def narrow(self, logits: Tensor) -> Tensor:
        """Return logits with -inf for the symbols that cannot be drawn.

        Args:
            logits: float tensor `(…, symbols)`, already divided by the temperature.
        """
        return logits

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as JSON-safe values.

        >>> from seqframe.samplers import TopPSampler
        >>> TopPSampler(0.9).get_config()
        {'p': 0.9, 'temperature': 1.0}
        """
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the sampler that `get_config` described."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({values})"


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
        k: int ≥ 1. Symbols as likely as the last one take part too.
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
        k = min(self.k, logits.shape[-1])
        least = ops.top_k(logits, k)[0][..., -1:]
        return ops.where(logits >= least, logits, -float("inf"))


@keras.saving.register_keras_serializable("seqframe")
class TopPSampler(Sampler):
    """Draws from the fewest symbols that together have the probability `p`
    (nucleus sampling; Holtzman et al., https://arxiv.org/abs/1904.09751).

    Args:
        p: float, 0 < p ≤ 1. A probability after `temperature`. Symbols as likely as the last one
            take part too.
        temperature: float > 0, as in `Sampler`.

    Example:

    >>> from seqframe.samplers import TopPSampler
    >>> TopPSampler(0.9)
    TopPSampler(p=0.9, temperature=1.0)
    """

    p: float

    def __init__(self, p: float = 0.9, temperature: float = 1.0):
        _check_number("p", p)
        if not 0 < p <= 1:
            raise ValueError(f"`p` must be above 0, at most 1. Received: p={p}.")
        self.p = float(p)
        super().__init__(temperature)

    def narrow(self, logits: Tensor) -> Tensor:
        if self.p == 1:
            return logits  # rounded sums may reach 1 before the last symbol
        probabilities = ops.softmax(logits, axis=-1)
        falling = -ops.sort(-probabilities, axis=-1)
        # A symbol is needed if the likelier ones do not reach `p`.
        needed = ops.cumsum(falling, axis=-1) - falling < self.p
        least = ops.min(ops.where(needed, falling, 1.0), axis=-1, keepdims=True)
        return ops.where(probabilities >= least, logits, -float("inf"))


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


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. Received: {name}={value!r}.")
