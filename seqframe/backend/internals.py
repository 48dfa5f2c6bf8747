"""The one place that touches Keras's internals: what its public API does not reach.

Each function says why it has to. `tests/test_internals.py` fails on the day one is not needed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras
from keras import ops, tree
from keras.src.trainers.epoch_iterator import EpochIterator


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """Return a model's layers, those inside models, wrappers and the user's own layers included.

    Why: `model.layers` is one level deep, and a layer that holds layers has no public list of them.
    """
    return list(model._flatten_layers(include_self=True, recursive=True))


@contextmanager
def borrowed_states(layers: list[Any], states: list[Any]) -> Iterator[None]:
    """Let recurrent layers, stateful ones or not, carry other state variables, of any batch size.

    Why: a stateful layer is tied to the batch size it was built with, by the shape of `states` and
    by a number that Keras compares each input with. Written past `__setattr__`, which would take
    the variables for weights; Keras keeps its own from that, too.
    """
    names = ("states", "stateful", "_expected_batch_size")
    before = [
        {name: vars(layer)[name] for name in names if name in vars(layer)} for layer in layers
    ]
    try:
        for layer, borrowed in zip(layers, states, strict=True):
            vars(layer).update(states=borrowed, stateful=True, _expected_batch_size=None)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            for name in names:
                vars(layer).pop(name)
            vars(layer).update(own)


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


def build_for_training(model: keras.Model, data: Any) -> None:
    """Create a model's metric and loss variables, from the shapes of a batch.

    Why: JAX needs every variable before its program is traced, and Keras creates these in the first
    step; its public ways to do so (`train_on_batch`) train. TensorFlow would trace the step twice.
    """
    model._symbolic_build(data_batch=data)


def compiled_with(model: keras.Model) -> list[Any]:
    """Return what a model computes its loss and metrics with, made anew whenever it is compiled.

    Why: of what `compile` makes, the optimizer alone is public, and that may be an old one. A
    model's `metrics` may be a property of the user's own.
    """
    names = ("optimizer", "_loss_tracker", "_compile_loss", "_compile_metrics")
    return [getattr(model, name, None) for name in names]


def has_unweighted_metrics(model: keras.Model) -> bool:
    """Whether a model was compiled with `metrics`, which know no sample weights.

    Why: Keras shows these and `weighted_metrics` as one list.
    """
    compiled = getattr(model, "_compile_metrics", None)
    return bool(compiled is not None and compiled._user_metrics)


def resumed_epoch(model: keras.Model) -> int | None:
    """Return the epoch that a callback has the training resume from.

    Why: `BackupAndRestore` says so by an attribute of the model, before the first epoch.
    """
    return getattr(model, "_initial_epoch", None)


def forget_a_look() -> bool:
    """Forget Keras's look at a dataset's first batch, and return whether it was no more than that.

    Why: under JAX and PyTorch, Keras takes a batch to create a model's metric variables. It tells
    the dataset of that as of an epoch, by `on_epoch_begin` and `on_epoch_end`: who calls the latter
    is all that differs. What workers made ready behind that batch it would give to the next epoch,
    before that epoch's own.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not EpochIterator.reset.__code__:
        frame = frame.f_back
    if frame is None:
        return False
    enqueuer = getattr(frame.f_locals["self"].data_adapter, "enqueuer", None)
    if enqueuer is not None:
        enqueuer.ready_queue.queue.clear()
    return True


class _StateBox:
    """What Keras takes for a seed generator: something with a variable named `state`."""

    def __init__(self, variable: Any):
        self.state = variable
        self.users = 0


@contextmanager
def traveling_states(model: keras.Model, layers: list[Any]) -> Iterator[None]:
    """Have recurrent states travel through JAX's programs with the other variables.

    Why: Keras keeps recurrent states out of a layer's variables, so that they are no weights;
    thereby they are in none of the values that JAX's stateless steps take and return, and
    `stateful=True` does nothing in `fit`, `evaluate` and `predict`. States of seed generators do
    travel and are no weights, so the states pass for such.
    """
    boxes = [(layer, box) for layer in layers for box in _boxes(layer)]
    for _, box in boxes:
        box.users += 1
    try:
        yield
    finally:
        # Keras leaves values on their way where an exception ended `evaluate` or `predict`.
        model.jax_state_sync()
        for layer, box in boxes:
            box.users -= 1
            if not box.users:
                list.remove(layer._seed_generators, box)


def _boxes(layer: Any) -> list[_StateBox]:
    """Return a layer's states as boxes among its seed generators, each made once."""
    boxes = {id(box.state): box for box in layer._seed_generators if isinstance(box, _StateBox)}
    for variable in tree.flatten(layer.states):
        if id(variable) not in boxes:
            boxes[id(variable)] = _StateBox(variable)
            # `list.append`, because the tracked list of a built layer is locked.
            list.append(layer._seed_generators, boxes[id(variable)])
    return list(boxes.values())


def put_values_back(model: keras.Model, state: tuple[list[Any], ...]) -> None:
    """Give a model's variables the values that Keras took out of them for a step under JAX.

    Why: Keras empties the variables while an epoch runs, and leaves them empty where a step of
    `evaluate` or `predict` raises.
    """
    groups = {
        2: ["trainable_variables", "non_trainable_variables"],
        3: ["trainable_variables", "non_trainable_variables", "metrics_variables"],
        4: [
            "trainable_variables",
            "non_trainable_variables",
            "optimizer_variables",
            "metrics_variables",
        ],
    }[len(state)]
    model._jax_state = dict(zip(groups, state, strict=True))
    model._jax_state_synced = False
    model.jax_state_sync()


@contextmanager
def values_at_hand(model: keras.Model) -> Iterator[None]:
    """Have an error in Keras's `evaluate` under JAX leave a model its values.

    Why: Keras empties the variables for a step, and gives them back what the last step returned. In
    its own `fit` that is the training's; after a program of ours there is none before the first.
    """
    groups = ("trainable_variables", "non_trainable_variables", "metrics_variables")
    model._jax_state = {name: [v.value for v in getattr(model, name)] for name in groups}
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        raise


@contextmanager
def copied_states(layers: list[Any]) -> Iterator[None]:
    """Have recurrent layers compute from a copy of their state under PyTorch.

    Why: the fused LSTM and GRU read the state itself, the layer then overwrites it in place, and
    PyTorch refuses to differentiate through what was overwritten.
    """
    for layer in layers:
        if not hasattr(layer.inner_loop, "users"):
            vars(layer)["inner_loop"] = _copying(layer.inner_loop)
        layer.inner_loop.users += 1
    try:
        yield
    finally:
        for layer in layers:
            layer.inner_loop.users -= 1
            if not layer.inner_loop.users:
                del vars(layer)["inner_loop"]


def _copying(inner_loop: Any) -> Any:
    def inner(sequences: Any, initial_state: Any, *args: Any, **kwargs: Any) -> Any:
        return inner_loop(sequences, tree.map_structure(ops.copy, initial_state), *args, **kwargs)

    counted: Any = inner
    counted.users = 0
    return counted
