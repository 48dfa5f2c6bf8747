"""Targets: whether they suit a model's output and its loss, before anything runs.

Keras broadcasts targets that do not suit, or fails in the middle of a step.
"""

import warnings
from collections.abc import Callable, Iterable

import keras
import numpy as np
from keras import tree

from seqframe.aliases import Shape
from seqframe.model.inspect import declared_shape, ends_with_softmax, fits
from seqframe.model.losses import BINARY, OF_VALUES, ONE_HOT, SPARSE, known_loss


def check_loss(model: keras.Model, has_targets: bool = True, stacklevel: int = 6) -> None:
    """Raise if a model's loss needs targets that are missing, or other outputs than the model's."""
    if not _computes_as_keras(model):
        return
    if not has_targets and any(loss is not None for loss in tree.flatten(model.loss)):
        raise ValueError(
            f"The loss of the model {model.name!r} needs targets. Received: y=None. Pass `y`, or a "
            "tuple `(X, y)`."
        )
    name, settings = known_loss(model)
    if name in OF_VALUES or not name:
        return
    softmax, outputs = ends_with_softmax(model), declared_shape(model, "output_shape")
    activation = "sigmoid" if name in BINARY else "softmax"
    if softmax and outputs and outputs[-1] == 1:
        raise ValueError(
            "A softmax over one unit is always 1, so it learns nothing. Received: a model whose "
            f"outputs have shape {outputs}. For two classes use one unit with a sigmoid and "
            "`binary_crossentropy`. For more classes use one unit for each."
        )
    if softmax is False and not settings.get("from_logits"):
        raise ValueError(
            f"The loss {name} takes probabilities. Received: the model {model.name!r}, whose last "
            f'layer gives other numbers. End it with `activation="{activation}"`, or compile it '
            "with a loss of `from_logits=True`."
        )
    if softmax and settings.get("from_logits"):
        warnings.warn(
            f"The loss {name} takes logits, because of `from_logits=True`. But the model "
            f"{model.name!r} ends with a softmax. Leave out one of the two.",
            stacklevel=stacklevel,
        )


def check_targets(model: keras.Model, shape: Shape) -> None:
    """Raise if targets, of this shape without the sample axis, do not suit a model's loss."""
    name, _ = known_loss(model) if _computes_as_keras(model) else ("", {})
    outputs = declared_shape(model, "output_shape")
    if not name or outputs is None:
        return
    are_ids = fits(outputs[:-1], shape) or fits((*outputs[:-1], 1), shape)
    # Keras adds or drops a last axis of one.
    are_values = any(fits(outputs, each) for each in (shape, (*shape, 1))) or (
        shape[-1:] == (1,) and fits(outputs, shape[:-1])
    )
    if name in ONE_HOT and are_ids and not are_values:
        way_out = (
            "Compile with `sparse_categorical_crossentropy`, or pass "
            "`keras.utils.to_categorical(y)`"
        )
    elif name in SPARSE and are_values and not are_ids:
        way_out = "Compile with `categorical_crossentropy`, or pass `np.argmax(y, axis=-1)`"
    elif name in (*BINARY, *OF_VALUES) and are_ids and not are_values:
        way_out = (
            "End the model with `Dense(1)`, or pass a target for each output. If targets are class "
            "ids, compile with `sparse_categorical_crossentropy`"
        )
    else:
        return
    raise ValueError(
        f"The loss {name} does not suit the targets. Received: for each sample, a target of shape "
        f"{shape} and an output of shape {outputs}. {way_out}."
    )


def check_labels(
    model: keras.Model, superset: np.ndarray, labels: Callable[[], Iterable[np.ndarray]]
) -> None:
    """Raise if class ids are not among those that a model predicts.

    Args:
        model: keras.Model.
        superset: array that has all class ids, and maybe other numbers.
        labels: function that returns the class ids themselves. It is only called if the superset
            has others.
    """
    name, settings = known_loss(model) if _computes_as_keras(model) else ("", {})
    outputs = declared_shape(model, "output_shape")
    classes = outputs[-1] if outputs else None
    if name not in SPARSE or classes is None or settings.get("ignore_class") is not None:
        return
    if _are_within(superset, classes):
        return
    for part in labels():
        if not _are_within(part, classes):
            raise ValueError(
                f"Class ids must be in 0 … {classes - 1}, because the model has {classes} outputs. "
                f"Received: targets from {part.min()} to {part.max()}. Give the last layer one "
                "unit for each class, or renumber them with "
                "`np.unique(y, return_inverse=True)[1]`."
            )


def _are_within(labels: np.ndarray, classes: int) -> bool:
    # A NaN is within: a warning tells of it.
    return not (labels.min(initial=0) < 0 or labels.max(initial=0) >= classes)


def _computes_as_keras(model: keras.Model) -> bool:
    """Whether a model computes its loss as Keras does, and not in a way of its own."""
    own = type(model)
    keras_own = keras.Model
    return own.compute_loss is keras_own.compute_loss and own.train_step is keras_own.train_step
