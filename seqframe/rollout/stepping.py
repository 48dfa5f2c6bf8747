"""Whether a recurrent model can be run one step at a time, and which of its layers carry state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
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
    takes_windows,
)
from seqframe.model.state import require_stateful, stateful_layers
from seqframe.rollout.loop import carried_variables

#: A function of one step of each input by name, `(rows, …)`.
Step = Callable[[dict[str, np.ndarray]], np.ndarray]

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
    if takes_windows(framer) or framer.geometry.rate > 1:
        raise ValueError(
            "`stateful=True` is for models whose input is neighbouring time steps. Received: a "
            f'framer with layout="{framer.layout}" and sampling_rate={framer.geometry.rate}.'
        )
    difference = _find_difference(
        model, recurrent, framer, _ROWS, lambda: _step_of_copy(model, recurrent, framer)
    )
    if difference:
        raise ValueError(
            "`stateful=True` is for models that can read their steps one after the other. "
            f"Received: {model.name!r}: {difference.why}. Leave `stateful` out."
        ) from difference.error
    return recurrent


def layers_to_step(model: keras.Model, framer: SequenceFramer, steps: int | None) -> list[Any]:
    """Return the layers of a model that carry their state in a `Stepper`.

    These are the stateful layers, or all recurrent layers of a model without any. `steps` is how
    many of them the model saw at once in training; None: any number.
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
    if steps == 1:
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
    return own or recurrent


def check_steps(
    model: keras.Model,
    carried: list[Any],
    framer: SequenceFramer,
    rows: int,
    make_step: Callable[[], Step],
) -> None:
    """Raise if a `Stepper` gives another output than the model for all steps at once.

    `make_step` makes the function that the stepper calls.
    """
    if difference := _find_difference(model, carried, framer, rows, make_step):
        raise ValueError(
            "A `Stepper` is for models that can read their steps one after the other. Received: "
            f"{model.name!r}: {difference.why}. Call the model on windows, or replace the layer."
        ) from difference.error


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


class _Difference(NamedTuple):
    why: str
    error: Exception | None = None


def _find_difference(
    model: keras.Model,
    carried: list[Any],
    framer: SequenceFramer,
    rows: int,
    make_step: Callable[[], Step],
) -> _Difference | None:
    """Return how a model's outputs differ, step by step and all at once; None if they do not."""
    difference = between_calls(lambda: _compare(model, carried, framer, rows, make_step))
    layer = mixing_layer(model)
    if difference is None or layer is None:
        return difference
    why = f"{difference.why}, because its layer {layer.name!r} reads several steps at once"
    return difference._replace(why=why)


def _compare(
    model: keras.Model,
    carried: list[Any],
    framer: SequenceFramer,
    rows: int,
    make_step: Callable[[], Step],
) -> _Difference | None:
    x = _random_input(model, framer, rows)
    singles = [
        {name: value[:, k] if has_steps(name, framer) else value for name, value in x.items()}
        for k in range(_STEPS)
    ]
    try:
        step = make_step()
        found = [np.asarray(step(single), "float32") for single in singles]
        expected = _stepped(model, carried, rows)(x)
    except Exception as error:
        return _Difference("one of its layers cannot take a single step", error)
    result = np.stack(found, axis=1) if framer.return_sequences else found[-1]
    if framer.return_sequences and expected.shape == result.shape:
        # The output of a masked step does not matter; see `_random_input`.
        expected, result = (np.concatenate([each[0], each[1:, -1]]) for each in (expected, result))
    rough = any(layer.compute_dtype in ("float16", "bfloat16") for layer in all_layers(model))
    tolerance = 5e-2 if rough else 1e-3
    scale = np.nanmax(np.abs(expected), initial=0.0)
    same = expected.shape == result.shape and np.allclose(
        result, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )
    return None if same else _Difference("their output differs from that of all steps at once")


def _step_of_copy(model: keras.Model, carried: list[Any], framer: SequenceFramer) -> Step:
    """Return a function that gives single steps to a copy of a model."""
    stepped = _stepped(model, carried, _ROWS)

    def step(inputs: dict[str, np.ndarray]) -> np.ndarray:
        output = stepped({n: v[:, None] if has_steps(n, framer) else v for n, v in inputs.items()})
        return output[:, 0] if framer.return_sequences else output

    return step


def _stepped(model: keras.Model, carried: list[Any], rows: int) -> Step:
    """Return a function that calls a copy of a model. The state goes on from call to call."""
    variables = carried_variables(carried, rows)
    copy = inference_copy(model, carried, variables)

    def read(x: dict[str, Any]) -> Any:
        given = x["past"] if len(x) == 1 else arranged(model, x)
        return ops.cast(copy(given, training=False), "float32")

    flat = tree.flatten(variables)
    pure = backend.PureFunction(read, [], flat, [])
    # Under JAX each operation would be compiled by itself, which takes four times as long.
    program = backend.compile_program(lambda values, x: pure([], [], values, x), xla=False)
    values = backend.values_of(flat)

    def call(x: dict[str, np.ndarray]) -> np.ndarray:
        nonlocal values
        with PutOff():  # an interruption of Keras would leave its scopes open
            output, values = program(values, backend.to_device(x))
        return np.array(ops.convert_to_numpy(output))

    return call


def _random_input(model: keras.Model, framer: SequenceFramer, rows: int) -> dict[str, np.ndarray]:
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
        sizes = [rows, *(1 if size is None else size for size in shape)]
        if is_ids:
            values = rng.integers(min(1, highest), highest + 1, sizes).astype("int32")
        else:
            values = rng.normal(size=sizes).astype(keras.config.floatx())
        if has_steps(name, framer):
            for row in range(1, rows):
                values[row, row % (_STEPS - 1)] = masked[row % len(masked)]
        inputs[name] = values
    return inputs
