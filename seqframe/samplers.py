"""How a next symbol is chosen from a model's output.

A sampler is a function `(logits, seed) -> ids`: logits are a float tensor `(batch_size, symbols)`,
seed is a `keras.random.SeedGenerator` for `keras.random`, ids an int tensor `(batch_size,)`. It
runs inside the compiled rollout, so it is written in `keras.ops`.

Those here also take logits `(prompts, samples, symbols)`, and draw alike for every prompt: that is
why a prompt in a batch gives what it gives alone.
"""

import numbers
from typing import Any, Self

import keras
from keras import ops

from seqframe.framing.windows import check_integer


class Sampler:
    """What the samplers here have in common: a draw from logits that were changed before.

    A sampler of one's own says in `narrow` which symbols are not to be drawn. Registered with
    `keras.saving.register_keras_serializable`, it can be saved with its generator.

    Args:
        temperature: float > 0. Logits are divided by it: below 1 likely symbols become likelier,
            above 1 less so.

    Raises:
        TypeError: if `temperature` is no number.
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
        if isinstance(temperature, bool) or not isinstance(temperature, numbers.Real):
            raise TypeError(
                f"`temperature` must be a number above 0. Received: temperature={temperature!r}."
            )
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be above 0. Received: temperature={temperature}. "
                'For the likeliest symbol each time, use the sampler "greedy".'
            )
        self.temperature = float(temperature)

    def __call__(self, logits: Any, seed: keras.random.SeedGenerator) -> Any:
        """Return the ids drawn.

        Args:
            logits: float tensor `(batch_size, symbols)`, or `(prompts, samples, symbols)`.
            seed: keras.random.SeedGenerator.

        Returns:
            int tensor of the shape of the logits without their last axis.
        """
        # The largest of the logits with Gumbel noise is a draw from their softmax
        # (Gumbel, "Statistical Theory of Extreme Values", 1954).
        noise = keras.random.uniform(logits.shape[-2:], minval=1e-20, maxval=1.0, seed=seed)
        logits = self.narrow(logits / self.temperature)
        return ops.argmax(logits - ops.log(-ops.log(noise)), axis=-1)

    def narrow(self, logits: Any) -> Any:
        """Return logits with -inf where a symbol is not to be drawn.

        Args:
            logits: float tensor `(…, symbols)`, already divided by the temperature.

        Returns:
            float tensor of the same shape.

        Example:

        >>> from keras import ops
        >>> from seqframe.samplers import TopKSampler
        >>> logits = ops.convert_to_tensor([[0.0, 3.0, 1.0]])
        >>> ops.convert_to_numpy(TopKSampler(2).narrow(logits)).tolist()
        [[-inf, 3.0, 1.0]]
        """
        return logits

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs, as JSON-safe values.

        >>> from seqframe.samplers import TopPSampler
        >>> TopPSampler(0.9).get_config()
        {'p': 0.9, 'temperature': 1.0}
        """
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the sampler that `get_config` described.

        Args:
            config: dict that `get_config` returned.

        Returns:
            Sampler, of the class that this is called on.

        Example:

        >>> from seqframe.samplers import TopPSampler
        >>> TopPSampler.from_config({"p": 0.9, "temperature": 0.5})
        TopPSampler(p=0.9, temperature=0.5)
        """
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

    def __call__(self, logits: Any, seed: keras.random.SeedGenerator) -> Any:
        return ops.argmax(logits, axis=-1)


@keras.saving.register_keras_serializable("seqframe")
class RandomSampler(Sampler):
    """Draws a symbol by its probability.

    Args:
        temperature: float > 0. Logits are divided by it: below 1 likely symbols become likelier,
            above 1 less so.

    Raises:
        TypeError: if `temperature` is no number.
        ValueError: if it is not above 0.

    Example:

    >>> import keras
    >>> from seqframe.samplers import RandomSampler
    >>> RandomSampler(temperature=0.7)
    RandomSampler(temperature=0.7)
    >>> logits = keras.ops.convert_to_tensor([[0.0, 0.0]] * 1000)
    >>> ids = RandomSampler()(logits, keras.random.SeedGenerator(7))
    >>> 400 < int(keras.ops.sum(ids)) < 600
    True
    """


@keras.saving.register_keras_serializable("seqframe")
class TopKSampler(Sampler):
    """Draws from the `k` likeliest symbols (Fan et al., https://arxiv.org/abs/1805.04833).

    Args:
        k: int ≥ 1. Where several are as likely as the last of them, all of these take part.
        temperature: float > 0, as of `RandomSampler`.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if `k` is below 1, or `temperature` not above 0.

    Example:

    >>> import keras
    >>> from seqframe.samplers import TopKSampler
    >>> TopKSampler(10)
    TopKSampler(k=10, temperature=1.0)
    >>> logits = keras.ops.convert_to_tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    >>> ids = TopKSampler(1)(logits, keras.random.SeedGenerator(7))
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [1, 0]
    """

    def __init__(self, k: int = 5, temperature: float = 1.0):
        self.k = check_integer("k", k, 1)
        super().__init__(temperature)

    def narrow(self, logits: Any) -> Any:
        k = min(self.k, logits.shape[-1])
        least = ops.top_k(logits, k)[0][..., -1:]
        return ops.where(logits >= least, logits, -float("inf"))


@keras.saving.register_keras_serializable("seqframe")
class TopPSampler(Sampler):
    """Draws from the fewest symbols that together have the probability `p`
    (nucleus sampling; Holtzman et al., https://arxiv.org/abs/1904.09751).

    Args:
        p: float, 0 < p ≤ 1. The probability is the one at `temperature`. Where several symbols are
            as likely as the last one that is needed, all of these take part.
        temperature: float > 0, as of `RandomSampler`.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if `p` is not above 0 and at most 1, or `temperature` not above 0.

    Example:

    >>> from seqframe.samplers import TopPSampler
    >>> TopPSampler(0.9)
    TopPSampler(p=0.9, temperature=1.0)
    """

    p: float

    def __init__(self, p: float = 0.9, temperature: float = 1.0):
        if isinstance(p, bool) or not isinstance(p, numbers.Real):
            raise TypeError(f"`p` must be a number above 0, at most 1. Received: p={p!r}.")
        if not 0 < p <= 1:
            raise ValueError(f"`p` must be above 0, at most 1. Received: p={p}.")
        self.p = float(p)
        super().__init__(temperature)

    def narrow(self, logits: Any) -> Any:
        if self.p == 1:
            return logits  # rounded sums of many probabilities may reach 1 before the last of them
        probabilities = ops.softmax(logits, axis=-1)
        falling = -ops.sort(-probabilities, axis=-1)
        # A symbol is needed where those that are likelier do not have `p` yet.
        needed = ops.cumsum(falling, axis=-1) - falling < self.p
        least = ops.min(ops.where(needed, falling, 1.0), axis=-1, keepdims=True)
        return ops.where(probabilities >= least, logits, -float("inf"))


@keras.saving.register_keras_serializable("seqframe")
class BeamSampler(Sampler):
    """Follows the likeliest sequences found so far, and gives the best of them at the end.

    What is likeliest is what the model gives the highest product of probabilities. Nothing is
    drawn: `num_samples` are the best ones, in that order.

    Args:
        num_beams: int ≥ 1. Sequences that are followed for each prompt.

    Raises:
        ValueError: if `num_beams` is below 1.

    Example:

    >>> from seqframe.samplers import BeamSampler
    >>> BeamSampler(3)
    BeamSampler(num_beams=3)
    """

    def __init__(self, num_beams: int = 5):
        self.num_beams = check_integer("num_beams", num_beams, 1)

    def __call__(self, logits: Any, seed: keras.random.SeedGenerator) -> Any:
        raise TypeError("A BeamSampler is not called: a rollout follows its beams.")

    def choose(self, logits: Any, totals: Any, finished: Any) -> tuple[Any, Any, Any]:
        """Return the best ways to go on, best first.

        Args:
            logits: float tensor `(prompts * num_beams, symbols)`.
            totals: float tensor `(prompts * num_beams,)`, log-probabilities so far.
            finished: bool tensor `(prompts * num_beams,)`. These get a symbol 0, at no cost.

        Returns:
            tuple of tensors `(prompts * num_beams,)`: ids, the row that each goes on from, and
            its log-probability.
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
    """A sampler of keras-hub, such as `keras_hub.samplers.TopPSampler`, as a function of logits.

    Args:
        sampler: object with `compute_probabilities` and `get_next_token`. Its own seed is not
            used: the generator's is.

    Example:

    >>> import keras
    >>> from seqframe.samplers import HubSampler
    >>> class Likeliest:  # what keras-hub's samplers have
    ...     def compute_probabilities(self, logits):
    ...         return keras.ops.softmax(logits)
    ...     def get_next_token(self, probabilities):
    ...         return keras.ops.argmax(probabilities, axis=-1)
    >>> logits = keras.ops.convert_to_tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    >>> ids = HubSampler(Likeliest())(logits, keras.random.SeedGenerator(7))
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [1, 0]
    """

    def __init__(self, sampler: Any):
        self.sampler = sampler

    def __call__(self, logits: Any, seed: keras.random.SeedGenerator) -> Any:
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


def get_sampler(sampler: Any) -> Any:
    """Return a sampler by its name, or the object given."""
    if hasattr(sampler, "get_next_token") and hasattr(sampler, "compute_probabilities"):
        if hasattr(sampler, "num_beams"):
            raise ValueError(
                "`sampler` cannot be keras-hub's beam search, which needs a loop of its own. "
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
            f"Received: sampler={sampler!r}. A temperature is an argument of an object, as "
            "`seqframe.samplers.RandomSampler(temperature=0.7)`."
        )
    return _SAMPLERS[sampler]()
