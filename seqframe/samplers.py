"""How a next symbol is chosen from a model's output.

A sampler is a function `(logits, seed) -> ids`: logits are a float tensor `(batch_size, symbols)`,
seed is a `keras.random.SeedGenerator` for `keras.random`, ids an int tensor `(batch_size,)`. It
runs inside the compiled rollout, so it is written in `keras.ops`.
"""

import numbers
from typing import Any

import keras
from keras import ops


class GreedySampler:
    """Chooses the likeliest symbol."""

    def __call__(self, logits: Any, seed: keras.random.SeedGenerator) -> Any:
        return ops.argmax(logits, axis=-1)

    def __repr__(self) -> str:
        return "GreedySampler()"


class RandomSampler:
    """Draws a symbol by its probability.

    Args:
        temperature: float > 0. Logits are divided by it: below 1 likely symbols become likelier,
            above 1 less so.

    Example:

    >>> from seqframe.samplers import RandomSampler
    >>> RandomSampler(temperature=0.7)
    RandomSampler(temperature=0.7)
    """

    def __init__(self, temperature: float = 1.0):
        if not isinstance(temperature, numbers.Real):
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
        # The largest of the logits with Gumbel noise is a draw from their softmax
        # (Gumbel, "Statistical Theory of Extreme Values", 1954).
        noise = keras.random.uniform(ops.shape(logits), minval=1e-20, maxval=1.0, seed=seed)
        return ops.argmax(logits / self.temperature - ops.log(-ops.log(noise)), axis=-1)

    def __repr__(self) -> str:
        return f"RandomSampler(temperature={self.temperature})"


_SAMPLERS = {"greedy": GreedySampler, "random": RandomSampler}


def get_sampler(sampler: Any) -> Any:
    """Return a sampler by its name, or the object given."""
    if callable(sampler):
        return sampler
    if not isinstance(sampler, str) or sampler not in _SAMPLERS:
        raise ValueError(
            f"`sampler` must be one of {tuple(_SAMPLERS)}, or a function (logits, seed) -> ids. "
            f"Received: sampler={sampler!r}."
        )
    return _SAMPLERS[sampler]()


def outputs_probabilities(model: keras.Model) -> bool:
    """Whether a model's outputs are probabilities, by its last layer: a softmax."""
    last = model.layers[-1] if model.layers else model
    if isinstance(last, keras.Model) and last is not model:
        return outputs_probabilities(last)
    while isinstance(last, keras.layers.Wrapper):
        last = last.layer
    is_softmax = getattr(last, "activation", None) is keras.activations.softmax
    return is_softmax or isinstance(last, keras.layers.Softmax)
