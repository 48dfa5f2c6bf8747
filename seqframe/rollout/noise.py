"""Noise: errors and predicted quantiles. Sample paths are drawn from them."""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from seqframe import backend
from seqframe.aliases import Tensor
from seqframe.framing.tables import check_unmasked
from seqframe.rollout.prompts import doubled

_LEAST_ERRORS = 64  # room for errors in a program; doubled for more


class ResidualNoise:
    """Errors of a model, drawn at random: the noise of a bootstrap.

    They have the shape `(errors, …)`, or `(errors, horizon, …)` to draw all errors of a block
    together. A program takes them as operands, so one program serves all of about their number.
    """

    def __init__(self, residuals: np.ndarray):
        self._count = len(residuals)
        missing = doubled(self._count, _LEAST_ERRORS) - self._count
        widths = [(0, missing), *[(0, 0)] * (residuals.ndim - 1)]
        self._padded = np.pad(residuals, widths).astype(keras.config.floatx())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResidualNoise) and self._padded.shape == other._padded.shape

    def __hash__(self) -> int:
        return hash(self._padded.shape)

    def operands(self) -> list[np.ndarray]:
        """Return the errors, with padding, and their number."""
        return [self._padded, np.array([self._count], "int32")]

    def add(
        self, predicted: Tensor, seed: keras.random.SeedGenerator, residuals: Tensor, count: Tensor
    ) -> Tensor:
        """Return predictions `(rows, horizon, …)` with errors drawn for them.

        Each row draws by the seed and its own number: it does not depend on the other rows.
        """
        residuals = backend.cast(residuals, predicted.dtype)
        together = len(residuals.shape) == len(predicted.shape)
        rows, horizon = predicted.shape[:2]
        bits = backend.random_bits(seed.next(), rows, 1 if together else horizon)
        # A signed integer, which every backend and device can divide.
        drawn = ops.cast(ops.right_shift(bits, np.uint32(1)), "int32") % count
        errors = ops.take(residuals, drawn[:, 0] if together else drawn, axis=0)
        return predicted + errors


class QuantileDraws:
    """Draws values from predicted quantiles, which are joined by straight lines.

    A draw below the lowest quantile, or above the highest, is that quantile: nothing is known of
    the tails. Each step of a row draws by itself.

    >>> draws = QuantileDraws((0.1, 0.5, 0.9))
    >>> drawn = draws.at(ops.array([0.0, 1.0, 3.0]), ops.array([0.05, 0.3, 0.7]))
    >>> ops.convert_to_numpy(drawn).round(3).tolist()
    [0.0, 0.5, 2.0]
    """

    def __init__(self, levels: tuple[float, ...]):
        self._levels = levels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuantileDraws) and self._levels == other._levels

    def __hash__(self) -> int:
        return hash(self._levels)

    def draw(self, quantiles: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        """Return values drawn from quantiles `(rows, horizon, …, levels)`.

        Each row draws by the seed and its own number: it does not depend on the other rows.
        """
        shape = tuple(quantiles.shape[:-1])
        count = int(np.prod(shape[1:]))
        bits = backend.random_bits(seed.next(), shape[0], count)
        # The upper 24 bits are a number that every dtype holds.
        drawn = ops.cast(ops.right_shift(bits, np.uint32(8)), quantiles.dtype) / 2**24
        return self.at(quantiles, ops.reshape(drawn, shape))

    def at(self, quantiles: Tensor, levels: Tensor) -> Tensor:
        """Return the values of quantiles `(…, levels)` at other levels `(…)`."""
        value = quantiles[..., 0]
        for k, (below, above) in enumerate(itertools.pairwise(self._levels)):
            share = ops.clip((levels - below) / (above - below), 0.0, 1.0)
            value = value + share * (quantiles[..., k + 1] - quantiles[..., k])
        return value


def check_levels(name: str, quantiles: Any) -> list[float]:
    """Return `quantiles` as a list. Raise if they are no numbers in 0 … 1.

    >>> check_levels("quantiles", 0.5), check_levels("quantiles", np.array([0.1, 0.9]))
    ([0.5], [0.1, 0.9])
    """
    check_unmasked(quantiles, name)
    levels = np.asarray(quantiles)
    is_real = levels.dtype.kind in "iuf" and levels.ndim < 2 and levels.size > 0
    if not is_real or not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"`{name}` must be numbers in 0 … 1. Received: {quantiles!r}.")
    return [float(level) for level in np.atleast_1d(levels)]


def check_model_quantiles(quantiles: Any) -> tuple[float, ...] | None:
    """Return the quantiles that a model predicts, as a tuple, or None."""
    if quantiles is None:
        return None
    levels = tuple(check_levels("quantiles", quantiles))
    rise = all(below < above for below, above in itertools.pairwise(levels))
    if not rise or 0.5 not in levels or not 0 < levels[0] <= levels[-1] < 1:
        raise ValueError(
            "`quantiles` of a model must rise, be above 0 and below 1, and hold 0.5, the median, "
            f"which is fed back. Received: quantiles={quantiles!r}."
        )
    return levels
