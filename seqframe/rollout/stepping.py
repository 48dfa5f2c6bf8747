"""Whether a recurrent model can be run one step at a time, and which of its layers carry state."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqframe.backend.internals import all_layers, inference_copy
from seqframe.backend.interrupts import PutOff
from seqframe.backend.locks import between_calls
from seqframe.framing.framer import SequenceFramer
from seqframe.model.inspect import (
    arranged,
    declared_shape,
    has_steps,
    mixing_layer,
    most_ids,
    named_inputs,
)
from seqframe.model.state import require_stateful, stateful_layers
from seqframe.rollout.loop import carried_variables

_ROWS, _STEPS = 4, 4  # of the random input


def layers_to_carry(model: keras.Model, framer: SequenceFramer) -> list[Any]:
    """Return a stateless model's recurrent layers, which a `Generator` is to carry.

    Raise if steps one after the other give another output than all steps at once.
    """
    recurrent = _recurrent_layers(model)
    if not recurrent:
        raise ValueError(
            f"`stateful=True` is for models with recurrent layers. Received: {model.name!r}, "
            "which has none. Leave `stateful` out."
        )
    if framer.layout == "features" or framer.geometry.rate > 1:
        raise ValueError(
            "`stateful=True` is for models whose input is neighbouring time steps. Received: a "
            f'framer with layout="{framer.layout}" and sampling_rate={framer.geometry.rate}.'
        )
    if difference := _difference(model, recurrent, framer):
        raise ValueError(
            "`stateful=True` is for models that can read their steps one after the other. "
            f"Received: {model.name!r}: {difference}. Leave `stateful` out."
        )
    return recurrent


def layers_to_step(model: keras.Model, framer: SequenceFramer, steps: int | None) -> list[Any]:
    """Return the layers of a model that carry their state in a `Stepper`.

    These are the stateful layers, or all recurrent layers of a model without any. Raise if steps
    one after the other give another output than all steps at once. `steps` is how many of them the
    model saw at once in training; None: any number.
    """
    recurrent = _recurrent_layers(model)
    if not recurrent:
        raise ValueError(
            f"A `Stepper` is for models with recurrent layers. Received: {model.name!r}, which has "
            "none, so it keeps nothing from step to step. Call the model itself."
        )
    if framer.layout == "features" and framer.sequence_length > 1:
        raise ValueError(
            "A `Stepper` is given single steps. Received: a framer with layout="
            f'"features" and sequence_length={framer.sequence_length}, whose windows are a step '
            "each. Leave `framer` out, and pass each window as `(rows, features)`."
        )
    if framer.sampling_rate > 1:
        raise ValueError(
            "A `Stepper` reads every step that it is given. Received: a framer with sampling_rate="
            f"{framer.sampling_rate}. Leave `framer` out, and pass every "
            f"{framer.sampling_rate}th step only."
        )
    own = require_stateful(model) if stateful_layers(model) else []
    if own and steps == 1:
        return own  # it was trained so
    if not own and steps == 1:
        raise ValueError(
            "A `Stepper` carries the state of a model that was trained on several steps, or is "
            f"stateful. Received: {model.name!r}, which saw single steps without state. Call the "
            "model itself."
        )
    for layer in recurrent:
        if own and not layer.stateful:
            raise ValueError(
                "A `Stepper` carries the state of every recurrent layer. Received: the layer "
                f"{layer.name!r}, which is not stateful beside others that are. Make all of them "
                "stateful, or none."
            )
    carried = own or recurrent
    if difference := _difference(model, carried, framer):
        raise ValueError(
            "A `Stepper` is for models that can read their steps one after the other. Received: "
            f"{model.name!r}: {difference}. Call the model on windows, or replace the layer."
        )
    return carried


def _recurrent_layers(model: keras.Model) -> list[Any]:
    """Return a model's recurrent layers, without those that `TimeDistributed` calls for a step."""
    every = all_layers(model)
    inside = {
        id(inner)
        for layer in every
        if isinstance(layer, keras.layers.TimeDistributed)
        for inner in all_layers(layer)
    }
    return [
        layer for layer in every if isinstance(layer, keras.layers.RNN) and id(layer) not in inside
    ]


def _difference(model: keras.Model, carried: list[Any], framer: SequenceFramer) -> str | None:
    """Return why a model cannot be stepped; None if it can."""
    difference = between_calls(lambda: _compare(model, carried, framer))
    layer = mixing_layer(model)
    if difference is None or layer is None:
        return difference
    return f"{difference}, because its layer {layer.name!r} reads several steps at once"


def _compare(model: keras.Model, carried: list[Any], framer: SequenceFramer) -> str | None:
    """Return how steps one after the other differ from all of them at once."""
    x = _random_input(model, framer)
    singles = [
        {n: v[:, k : k + 1] if has_steps(n, framer) else v for n, v in x.items()}
        for k in range(_STEPS)
    ]
    rough = any(layer.compute_dtype in ("float16", "bfloat16") for layer in all_layers(model))
    tolerance = 5e-2 if rough else 1e-3
    whole, stepped = (
        inference_copy(model, carried, carried_variables(carried, _ROWS)) for _ in range(2)
    )
    with PutOff():  # an interruption of Keras would leave its scopes open
        try:
            with keras.StatelessScope():  # layers may draw, and assign their seeds
                expected = _output(whole, x)
                found = [_output(stepped, single) for single in singles]
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).split("\n")[0]
            return f"one of its layers cannot take a single step ({reason})"
    result = np.concatenate(found, axis=1) if framer.return_sequences else found[-1]
    if framer.return_sequences and expected.shape == result.shape:
        # The output of a masked step does not matter; see `_random_input`.
        expected, result = (np.concatenate([each[0], each[1:, -1]]) for each in (expected, result))
    scale = np.nanmax(np.abs(expected), initial=0.0)
    same = expected.shape == result.shape and np.allclose(
        result, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )
    return None if same else "their output differs from that of all steps at once"


def _output(model: keras.Model, x: dict[str, np.ndarray]) -> np.ndarray:
    tensors = {name: ops.convert_to_tensor(value) for name, value in x.items()}
    given = tensors["past"] if len(x) == 1 else arranged(model, tensors)
    return ops.convert_to_numpy(ops.cast(model(given, training=False), "float32"))


def _random_input(model: keras.Model, framer: SequenceFramer) -> dict[str, np.ndarray]:
    """Return random inputs by name. Their first row and their last step are not masked."""
    rng = np.random.default_rng(0)
    limit = most_ids(model)
    limits = [] if limit is None else [limit]
    limits += [] if framer.vocabulary is None else [len(framer.vocabulary)]
    is_ids = bool(limits) or framer.layout == "tokens"
    highest = min(limits, default=2) - 1
    values_masked = {getattr(layer, "mask_value", 0) for layer in all_layers(model)}
    masked = [0] if is_ids else sorted(values_masked)
    undeclared = (None,) if framer.layout == "tokens" else (None, len(framer.columns or [0]))
    shapes = named_inputs(model) or {"past": declared_shape(model, "input_shape") or undeclared}
    inputs = {}
    for name, shape in shapes.items():
        shape = (_STEPS, *shape[1:]) if has_steps(name, framer) else shape
        sizes = [_ROWS, *(1 if size is None else size for size in shape)]
        if is_ids:
            values = rng.integers(min(1, highest), highest + 1, sizes).astype("int32")
        else:
            values = rng.normal(size=sizes).astype(keras.config.floatx())
        if has_steps(name, framer):
            for row in range(1, _ROWS):
                values[row, row % (_STEPS - 1)] = masked[row % len(masked)]
        inputs[name] = values
    return inputs
