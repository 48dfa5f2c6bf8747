"""Losses: which one of Keras's a model was compiled with, and what it takes."""

from typing import Any

import keras
from keras import tree

ONE_HOT = ("categorical_crossentropy", "categorical_focal_crossentropy")
SPARSE = ("sparse_categorical_crossentropy",)
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
#: Losses that compare each output with a target.
OF_VALUES = (
    *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"),
    *("mean_squared_logarithmic_error", "huber", "log_cosh", "poisson", "hinge", "squared_hinge"),
)
_FUNCTIONS = {
    getattr(keras.losses, name): name for name in (*ONE_HOT, *SPARSE, *BINARY, *OF_VALUES)
}


def known_loss(model: keras.Model) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of a model's only loss; "" if it is not one of the above.

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    >>> known_loss(model)[0], known_loss(model)[1]["from_logits"]
    ('binary_crossentropy', True)
    """
    losses = tree.flatten(getattr(model, "loss", None))
    if len(losses) != 1 or losses[0] is None:
        return "", {}
    loss = keras.losses.get(losses[0])
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    function = getattr(loss, "fn", loss)
    found = [name for known, name in _FUNCTIONS.items() if known is function]
    return (found[0] if found else ""), settings


def takes_probabilities(model: keras.Model) -> bool | None:
    """Whether a model's loss takes probabilities of classes, or logits; None for other losses."""
    name, settings = known_loss(model)
    return None if name not in (*ONE_HOT, *SPARSE) else not settings.get("from_logits", False)
