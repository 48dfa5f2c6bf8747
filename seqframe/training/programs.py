"""Programs: a model's own steps in a loop on the device, compiled once and kept until stale."""

import logging
import time
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import JitCompile, States
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
from seqframe.training.schedule import Chunk

logger = logging.getLogger("seqframe")

_WORTH_TELLING = 0.1  # seconds of compilation


class Program:
    """Runs steps of a model, which gather their batches from chunks of a schedule.

    Its `outputs` is a nest like the predictions that holds their names in what `run` returns.
    """

    def __init__(
        self,
        model: keras.Model,
        kind: str,
        gather: Gather,
        initial_state: States | None,
        jit_compile: JitCompile,
        prints: bool,
    ):
        self._model, self._kind, self._gather = model, kind, gather
        self._jit_compile, self._prints = jit_compile, prints
        self._initial = _flat_initial_state(model, initial_state)
        self.outputs: Any = None

    def run(
        self,
        chunk: Chunk,
        first: int,
        steps: int,
        epochs: int = 1,
        *,
        fresh: bool,
        jit_compile: JitCompile | None = None,
    ) -> dict[str, np.ndarray]:
        """Run `epochs` times `steps` steps of a chunk, from its step `first` on.

        With `fresh`, metrics are reset before each epoch. Returns arrays `(epochs, …)` by name:
        what the last step of each epoch returned.
        """
        jit_compile = self._jit_compile if jit_compile is None else jit_compile
        loop = _step_loop(self._model, self._kind, self._gather, jit_compile)
        given = (*chunk, self._initial)
        shapes = tuple(tuple(tensor.shape) for tensor in tree.flatten(given))
        if shapes not in loop.compiled_for:
            begin = time.perf_counter()
            # With no epoch the program is only compiled, so that an error changes nothing.
            loop.run(given, first=0, steps=0, epochs=0, fresh=False)
            loop.compiled_for.add(shapes)
            self._tell_time(time.perf_counter() - begin)
        logs = loop.run(given, first=first, steps=steps, epochs=epochs, fresh=fresh)
        self.outputs = loop.outputs
        return logs

    def _tell_time(self, seconds: float) -> None:
        if seconds < _WORTH_TELLING:
            return
        step = {"train": "training", "test": "validation", "predict": "prediction"}[self._kind]
        logger.info("Compiled the %s step in %.1f s.", step, seconds)
        if self._prints:
            print(f"Compiled the {step} step in {seconds:.1f} s.")


def _flat_initial_state(model: keras.Model, given: States | None) -> list[Any]:
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


class _Loops:
    """Compiled loops, and the objects that they were compiled with.

    It is a class of its own, because Keras saves what it finds in a model's lists and dicts.
    """

    def __init__(self, made_of: list[Any]):
        self.made_of = made_of
        self.loops: dict[tuple[str, Gather, JitCompile], Any] = {}


def _step_loop(model: keras.Model, kind: str, gather: Gather, jit_compile: JitCompile) -> Any:
    """Return a model's compiled loop. It is kept with the model until what it is made of changes:
    when the model is compiled, its weights are replaced, or its layers adapted."""
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
