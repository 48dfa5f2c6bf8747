"""What sample paths differ by: noise that is added to each prediction."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqframe.framing.sequences import to_array
from seqframe.framing.windows import check_integer

DROPOUT = "dropout"


def check_samples(num_samples: int | None, noise: Any, quantiles: Any) -> int:
    """Return how many sample paths are asked for; raise if what is asked does not go together."""
    if num_samples is None:
        for name, value in ("noise", noise), ("quantiles", quantiles):
            if value is not None:
                raise ValueError(
                    f"`{name}` is for sample paths. Received: num_samples=None. Say how many by "
                    "`num_samples`."
                )
        return 1
    if noise is None:
        raise ValueError(
            "Sample paths need a `noise` to differ by. Received: noise=None. Pass a function, "
            'errors measured by `backtest(…).residuals`, or "dropout".'
        )
    if quantiles is not None:
        levels = np.atleast_1d(quantiles)
        if levels.ndim != 1 or not levels.size or not all(0 <= level <= 1 for level in levels):
            raise ValueError(
                "`quantiles` must be a list of at least one number in 0 … 1. Received: "
                f"quantiles={quantiles!r}."
            )
    return check_integer("num_samples", num_samples, 1)


def as_noise(noise: Any, horizon: int, predicted: tuple[int, ...], named_alone: bool) -> Any:
    """Return noise as a rollout takes it.

    Args:
        noise: function, or array of errors, as of `Generator.forecast`.
        horizon: int.
        predicted: shape of a prediction of one step.
        named_alone: bool. Whether one column is predicted, named outside of a list.
    """
    if callable(noise):
        return noise
    if np.ndim(noise) == 0:
        raise TypeError(
            f'`noise` must be a function, an array of errors, or "{DROPOUT}". Received: noise='
            f"{noise!r}. For noise of one size, pass a function, as `lambda prediction, seed: "
            "prediction + 0.1 * keras.random.normal(prediction.shape, seed=seed)`."
        )
    residuals = to_array(noise, "noise")
    if named_alone and residuals.shape[1:] in ((), (horizon,)):
        # Errors of one column have no axis of columns, as a backtest of it gives them.
        residuals = residuals.reshape(*residuals.shape, 1)
    if residuals.shape[1:] not in (predicted, (horizon, *predicted)) or not len(residuals):
        raise ValueError(
            f"`noise`, as errors, must be of shape (errors, {', '.join(map(str, predicted))}), a "
            f"prediction's. Received: shape {residuals.shape}."
        )
    if not np.isfinite(residuals).all():
        raise ValueError("`noise`, as errors, must be finite. Received: NaN or infinity.")
    return ResidualNoise(residuals)


class ResidualNoise:
    """Errors that a model made, drawn at random: the noise of a bootstrap.

    Args:
        residuals: array `(errors, …)` of a prediction's shape without its row axis; with a horizon,
            `(errors, horizon, …)`, or `(errors, …)` to draw for each of its steps.
    """

    def __init__(self, residuals: np.ndarray):
        self.residuals = residuals.copy()  # a program keeps them, whatever becomes of the array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResidualNoise) and np.array_equal(self.residuals, other.residuals)

    def __hash__(self) -> int:
        return hash((self.residuals.shape, self.residuals.tobytes()))

    def add(self, predicted: Any, seed: Any, num_samples: int) -> Any:
        """Return predictions `(rows, horizon, …)` with errors drawn for them; alike for each
        `num_samples` rows, so that a history in a batch gets what it gets alone."""
        residuals = ops.convert_to_tensor(self.residuals, predicted.dtype)
        together = len(residuals.shape) == len(predicted.shape)
        shape = (num_samples,) if together else (num_samples, predicted.shape[1])
        drawn = keras.random.randint(shape, 0, residuals.shape[0], dtype="int32", seed=seed)
        errors = ops.take(residuals, drawn, axis=0)
        repeats = predicted.shape[0] // num_samples
        return predicted + ops.tile(errors, (repeats, *(1,) * (len(predicted.shape) - 1)))
