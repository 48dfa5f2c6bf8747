"""The one place that touches Keras's internals: what its public API does not reach.

Each function says why it has to. `tests/test_internals.py` fails on the day one is not needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """Return a model's layers, those inside models, wrappers and the user's own layers included.

    Why: `model.layers` is one level deep, and a layer that holds layers has no public list of them.
    """
    return list(model._flatten_layers(include_self=True, recursive=True))


@contextmanager
def borrowed_states(layers: list[Any], states: list[Any]) -> Iterator[None]:
    """Let stateful layers run on other state variables, of any batch size.

    Why: a stateful layer is tied to the batch size it was built with, by the shape of `states` and
    by a number that Keras compares each input with. Written past `__setattr__`, which would take
    the variables for weights; Keras keeps its own from that, too.
    """
    before = [(layer.states, layer._expected_batch_size) for layer in layers]
    try:
        for layer, borrowed in zip(layers, states, strict=True):
            vars(layer).update(states=borrowed, _expected_batch_size=None)
        yield
    finally:
        for layer, (own, batch_size) in zip(layers, before, strict=True):
            vars(layer).update(states=own, _expected_batch_size=batch_size)


@contextmanager
def any_time_steps(model: keras.Model) -> Iterator[None]:
    """Let a functional model take inputs of another number of time steps than it declares.

    Why: its `input_spec` fixes the number, and a manual one, once set, cannot be unset publicly.
    """
    functional = [layer for layer in all_layers(model) if isinstance(layer, keras.Model)]
    manual = [vars(layer).get("_manual_input_spec", _UNSET) for layer in functional]
    try:
        for layer in functional:
            vars(layer)["_manual_input_spec"] = None
        yield
    finally:
        for layer, spec in zip(functional, manual, strict=True):
            if spec is _UNSET:
                del vars(layer)["_manual_input_spec"]
            else:
                vars(layer)["_manual_input_spec"] = spec


_UNSET = object()
