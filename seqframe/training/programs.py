"""Programs: a model's own steps in a loop on the device, compiled once and kept until stale."""

from typing import Any

import keras
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import JitCompile, States
from seqframe.backend.common import StepLoop
from seqframe.backend.internals import compiled_with
from seqframe.model.inspect import adapted_values, same_objects
from seqframe.model.state import (
    checked_states,
    fresh_state,
    state_batch_size,
    state_variables,
    stateful_layers,
)
from seqframe.training.feed import Gather


class _Loops:
    """Compiled loops, and the objects that they were compiled with.

    It is a class, because Keras saves the contents of a model's lists and dicts.
    """

    def __init__(self, made_of: list[Any]):
        self.made_of = made_of
        self.loops: dict[tuple[str, Gather, JitCompile], StepLoop] = {}


def step_loop(model: keras.Model, kind: str, gather: Gather, jit_compile: JitCompile) -> StepLoop:
    """Return a model's loop of steps, kept with the model until its parts change.

    They change when the model is compiled, its weights are replaced, or its layers adapt.
    """
    states = state_variables(stateful_layers(model))
    made_of = [*compiled_with(model), *model.trainable_variables, *states, *adapted_values(model)]
    kept = getattr(model, "_seqframe_loops", None)
    if kept is None or not same_objects(kept.made_of, made_of):
        kept = _Loops(made_of)
        model._seqframe_loops = kept
    key = (kind, gather, jit_compile)
    if key not in kept.loops:
        kept.loops[key] = backend.StepLoop(model, kind, gather, states, jit_compile)
    return kept.loops[key]


def flat_initial_state(model: keras.Model, given: States | None) -> list[Any]:
    """Return the value that each state variable is reset to."""
    layers = stateful_layers(model)
    if given is None:
        states = [fresh_state(layer, state_batch_size(layer)) for layer in layers]
    else:
        states = checked_states(given, layers, "initial_state")
    return [
        ops.cast(value, variable.dtype)
        for value, variable in zip(tree.flatten(states), state_variables(layers), strict=True)
    ]
