"""Whether a model of stateless recurrent layers can be run as if these were stateful."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from seqframe.backend.internals import all_layers

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer

# Layers that make each time step of that step alone: it makes no difference to them whether steps
# come together or one after the other.
_BY_STEP = (
    keras.layers.InputLayer,
    keras.layers.Dense,
    keras.layers.Embedding,
    keras.layers.Activation,
    keras.layers.Dropout,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.LayerNormalization,
    keras.layers.BatchNormalization,
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.CategoryEncoding,
    keras.layers.TimeDistributed,
    keras.layers.Masking,
    keras.layers.Softmax,
    keras.layers.Add,
    keras.layers.Multiply,
    keras.layers.Concatenate,
)

# Operations, which have no public classes, that layers make masks with.
_OF_MASKS = ("NotEqual", "LogicalOr", "LogicalAnd", "OnesLike", "ZerosLike")
_OF_MASKS_ALONG_FEATURES = ("Any", "All", "ExpandDims", "Concatenate")


def recurrent_layers(model: keras.Model, framer: "SequenceFramer") -> list[Any]:
    """Return a stateless model's recurrent layers, if it can be run as a stateful one, or raise."""
    inner: set[int] = set()
    found = []
    for layer in all_layers(model):
        if id(layer) in inner:
            continue
        if isinstance(layer, keras.Model):
            _check_graph(layer)
            continue
        is_recurrent = isinstance(layer, keras.layers.RNN)
        if is_recurrent:
            inner |= {id(part) for part in all_layers(layer) if part is not layer}
        if isinstance(layer, keras.layers.TimeDistributed):
            inner.add(id(layer.layer))
        if (is_recurrent and layer.go_backwards) or not (is_recurrent or _is_by_step(layer)):
            raise ValueError(
                "`stateful=True` is for models that read their steps one by one. Received: a model "
                f"with the layer {layer.name!r}, a {type(layer).__name__}, which looks at several "
                "at once, or is not known not to."
            )
        found += [layer] if is_recurrent else []
    if not found:
        raise ValueError(
            f"`stateful=True` is for models with recurrent layers. Received: {model.name!r}, "
            "which has none."
        )
    if framer.layout == "features" or framer.sampling_rate > 1:
        raise ValueError(
            "`stateful=True` is for frames whose time steps are single steps that follow each "
            f'other. Received: layout="{framer.layout}", sampling_rate={framer.sampling_rate}.'
        )
    return found


def _check_graph(model: keras.Model) -> None:
    """Raise if a model is not made of layers alone: what its code does with steps is not known."""
    if isinstance(model, keras.Sequential):
        return
    operations = getattr(model, "operations", None)
    others = [
        op
        for op in operations or [model]
        if not (isinstance(op, keras.Layer) or _makes_mask_by_step(op))
    ]
    if operations is None or others:
        what = "an own `call`" if operations is None else f"the operation {others[0].name!r}"
        raise ValueError(
            "`stateful=True` is for models that read their steps one by one. Received: the model "
            f"{model.name!r} with {what}, which is not known to. Make it of layers."
        )


def _makes_mask_by_step(operation: Any) -> bool:
    """Whether an operation makes a mask, of each time step of that step alone.

    Keras puts what its layers compute masks with among a functional model's operations: `Masking`
    and `Embedding`, and layers that join what is masked.
    """
    masks = tree.flatten(operation.output)
    if any(mask.dtype != "bool" for mask in masks):
        return False
    name = type(operation).__name__
    if name not in _OF_MASKS_ALONG_FEATURES:
        return name in _OF_MASKS
    # Of two axes, the last one may be that of the time steps; one that is new is not.
    features = name == "ExpandDims" or all(len(x.shape) > 2 for x in tree.flatten(operation.input))
    return features and np.atleast_1d(operation.axis).tolist() == [-1]


def _is_by_step(layer: Any) -> bool:
    """Whether a layer makes each time step of that step alone."""
    axis = getattr(layer, "axis", None)
    axes = np.atleast_1d(-1 if axis is None else axis)
    return isinstance(layer, _BY_STEP) and all(axis == -1 or axis > 1 for axis in axes)
