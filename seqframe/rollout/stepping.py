"""Whether a stateless recurrent model can be run one step at a time, as if it were stateful."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqframe.backend.internals import all_layers, inference_copy
from seqframe.backend.interrupts import PutOff
from seqframe.backend.locks import between_calls
from seqframe.framing.framer import SequenceFramer
from seqframe.model.inspect import arranged, declared_shape, named_inputs, takes_windows
from seqframe.rollout.loop import carried_variables

_ROWS, _STEPS = 4, 4  # of the random input


def layers_to_carry(model: keras.Model, framer: SequenceFramer) -> list[keras.Layer]:
    """Return a stateless model's recurrent layers, which are to carry their state.

    Raise if steps one after the other give another output than all steps at once.
    """
    every = all_layers(model)
    inside = {
        id(inner)
        for layer in every
        if isinstance(layer, keras.layers.TimeDistributed)
        for inner in all_layers(layer)
    }
    recurrent = [
        layer for layer in every if isinstance(layer, keras.layers.RNN) and id(layer) not in inside
    ]
    if not recurrent:
        raise ValueError(
            f"`stateful=True` is for models with recurrent layers. Received: {model.name!r}, "
            "which has none. Leave `stateful` out."
        )
    if takes_windows(framer) or framer.geometry.rate > 1:
        raise ValueError(
            "`stateful=True` is for models whose input is neighbouring time steps. Received: a "
            f'framer with layout="{framer.layout}" and sampling_rate={framer.geometry.rate}.'
        )
    between_calls(lambda: _compare(model, recurrent, framer))
    return recurrent


def _compare(model: keras.Model, recurrent: list[Any], framer: SequenceFramer) -> None:
    """Raise if steps one after the other give another output than all of them at once."""
    x = _random_input(model, framer)
    singles = [
        {n: v[:, k : k + 1] if _has_steps(n, framer) else v for n, v in x.items()}
        for k in range(_STEPS)
    ]
    dtype = keras.backend.standardize_dtype(model.compute_dtype)
    tolerance = 1e-3 if dtype in ("float32", "float64") else 5e-2
    whole = inference_copy(model, [], [])
    stepped = inference_copy(model, recurrent, carried_variables(recurrent, _ROWS))
    with PutOff():  # an interruption of Keras would leave its scopes open
        try:
            with keras.StatelessScope():  # layers may draw, and assign their seeds
                expected = _output(whole, x)
                found = [_output(stepped, single) for single in singles]
        except Exception as error:
            raise _not_stepped(model, "one of its layers cannot take a single step") from error
    result = np.concatenate(found, axis=1) if framer.return_sequences else found[-1]
    if framer.return_sequences and expected.shape == result.shape:
        # The output of a masked step does not matter; see `_random_input`.
        expected, result = (np.concatenate([each[0], each[1:, -1]]) for each in (expected, result))
    scale = np.nanmax(np.abs(expected), initial=0.0)
    same = expected.shape == result.shape and np.allclose(
        result, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )
    if not same:
        raise _not_stepped(model, "their output differs from that of all steps at once")


def _has_steps(name: str, framer: SequenceFramer) -> bool:
    """Whether an input has an axis of input steps."""
    return name == "past" or framer.return_sequences


def _output(model: keras.Model, x: dict[str, np.ndarray]) -> np.ndarray:
    tensors = {name: ops.convert_to_tensor(value) for name, value in x.items()}
    given = tensors["past"] if len(x) == 1 else arranged(model, tensors)
    return ops.convert_to_numpy(ops.cast(model(given, training=False), "float32"))


def _random_input(model: keras.Model, framer: SequenceFramer) -> dict[str, np.ndarray]:
    """Return random inputs by name. Their first row and their last step are not masked."""
    rng = np.random.default_rng(0)
    layers = all_layers(model)
    limits = [
        getattr(layer, name)
        for layer in layers
        for kind, name in _READERS_OF_IDS
        if isinstance(layer, kind)
    ]
    limits += [] if framer.vocabulary is None else [len(framer.vocabulary)]
    is_ids = bool(limits) or framer.layout == "tokens"
    highest = min(limits, default=2) - 1
    masked = [0] if is_ids else sorted({getattr(layer, "mask_value", 0) for layer in layers})
    undeclared = (None,) if framer.layout == "tokens" else (None, len(framer.columns or [0]))
    shapes = named_inputs(model) or {"past": declared_shape(model, "input_shape") or undeclared}
    inputs = {}
    for name, shape in shapes.items():
        shape = (_STEPS, *shape[1:]) if _has_steps(name, framer) else shape
        sizes = [_ROWS, *(1 if size is None else size for size in shape)]
        if is_ids:
            values = rng.integers(min(1, highest), highest + 1, sizes).astype("int32")
        else:
            values = rng.normal(size=sizes).astype(keras.config.floatx())
        if _has_steps(name, framer):
            for row in range(1, _ROWS):
                values[row, row % (_STEPS - 1)] = masked[row % len(masked)]
        inputs[name] = values
    return inputs


_READERS_OF_IDS = (
    (keras.layers.Embedding, "input_dim"),
    (keras.layers.CategoryEncoding, "num_tokens"),
)


def _not_stepped(model: keras.Model, why: str) -> ValueError:
    return ValueError(
        "`stateful=True` is for models that can read their steps one after the other. Received: "
        f"{model.name!r}: {why}. Leave `stateful` out."
    )
