"""The only module that touches Keras's internals, because its public API cannot do this.

Each function says why. `tests/test_internals.py` fails as soon as one is not needed.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, MethodType
from typing import Any, Literal

import keras
from keras import ops, tree
from keras.src.backend.common import global_state
from keras.src.random import seed_generator

from seqframe.backend.interrupts import PutOff


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """Return a model's layers, also those inside models, wrappers and the user's own layers.

    Why: `model.layers` is one level deep, and a layer has no public list of its layers.
    """
    return list(model._flatten_layers(include_self=True, recursive=True))


def producer(tensor: Any) -> tuple[Any, list[Any]]:
    """Return the operation that made a symbolic tensor of a functional model, and its inputs.

    Why: a tensor has no public link to its operation, which may have been called more than once.
    """
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


def inference_copy(model: keras.Model, layers: list[Any], states: list[Any]) -> keras.Model:
    """Return a copy of a model for rollouts. It has the same variables, and layers of its own.

    The recurrent `layers`, stateful or not, carry the variables `states` in it, of any batch size.
    It takes any number of time steps. Its batch normalization never learns.

    Why: a stateful layer is tied to the batch size of its build, and a functional model to the
    number of steps that it declares. To change a layer for a while would change the user's model in
    other threads. A clone would have other variables, and needs `get_config` of every layer.
    """
    copies: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        """Return a value with copies in place of the layers in it; the value itself without any."""
        if isinstance(value, keras.Layer):
            return copies[id(value)] if id(value) in copies else copied_layer(value)
        if isinstance(value, MethodType) and isinstance(value.__self__, keras.Layer):
            return MethodType(value.__func__, copied(value.__self__))
        if isinstance(value, dict):
            items = {key: copied(item) for key, item in value.items()}
            return value if all(items[key] is value[key] for key in items) else items
        if isinstance(value, (list, tuple)):
            found = [copied(item) for item in value]
            if all(one is other for one, other in zip(found, value, strict=True)):
                return value
            if isinstance(value, tuple):
                return type(value)(*found) if hasattr(value, "_fields") else tuple(found)
            return found
        return value

    def copied_layer(layer: keras.Layer) -> Any:
        copies[id(layer)] = copy = object.__new__(type(layer))  # first, because layers form rings
        vars(copy).update({name: copied(value) for name, value in vars(layer).items()})
        if hasattr(copy, "_run_through_graph"):
            # The nodes of a functional model name its own layers.
            def run(inputs: Any, operation_fn: Any = lambda op: op, **kwargs: Any) -> Any:
                def own(operation: Any) -> Any:
                    return operation_fn(copies.get(id(operation), operation))

                return type(copy)._run_through_graph(copy, inputs, own, **kwargs)

            vars(copy).update(_run_through_graph=run, _manual_input_spec=None)
        if isinstance(layer, keras.layers.BatchNormalization):
            vars(copy)["_trainable"] = False  # its `trainable` would change the variables
        return copy

    found = copied(model)
    # `__setattr__` is avoided, because it would take the states for weights.
    for layer, own in zip(layers, states, strict=True):
        vars(copies[id(layer)]).update(states=own, stateful=True, _expected_batch_size=None)
    return found


def raw_values(variables: list[Any]) -> list[Any]:
    """Return what variables hold, only to compare whether it is still the same object.

    Why: `Variable.value` looks for scopes first. For all variables of a small model that takes as
    long as a step.
    """
    return [variable._value for variable in variables]


def replaced(item: Any, **attributes: Any) -> AbstractContextManager[None]:
    """Give a model or an optimizer other attributes, such as methods, then give back its own.

    Why: `__setattr__` tracks what it is given, and Keras saves it.
    """
    return _attributes([item], [attributes])


@contextmanager
def _attributes(layers: Sequence[Any], values: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Give layers other attributes, untracked, then give back their own."""
    before = [
        {name: vars(layer)[name] for name in given if name in vars(layer)}
        for layer, given in zip(layers, values, strict=True)
    ]
    try:
        for layer, given in zip(layers, values, strict=True):
            vars(layer).update(given)
        yield
    finally:
        with PutOff():
            for layer, given, own in zip(layers, values, before, strict=True):
                for name in given:
                    vars(layer).pop(name, None)
                vars(layer).update(own)


def build_for_training(model: keras.Model, data: Any) -> None:
    """Create a model's metric and loss variables, from the shapes of a batch.

    Why: JAX needs every variable before its program is traced, and Keras creates these in the first
    step. Its public way (`train_on_batch`) trains. TensorFlow would trace the step twice.
    """
    with PutOff():  # a half-built model could not be built again
        model._symbolic_build(data_batch=data)


def compiled_with(model: keras.Model) -> list[Any]:
    """Return the objects that compute a model's loss and metrics. `compile` makes them anew.

    Why: only the optimizer is public, and it may be an old one. The user may have overridden
    `metrics`.
    """
    names = ("optimizer", "_loss_tracker", "_compile_loss", "_compile_metrics")
    return [getattr(model, name, None) for name in names]


def chosen_jit_compile(model: keras.Model) -> bool | Literal["auto"]:
    """Return `jit_compile` of `model.compile`, if it is not what "auto" becomes.

    Why: Keras keeps only what "auto" became, and its rule is private.
    """
    chosen = getattr(model, "jit_compile", None)
    if chosen is None or not model.compiled or chosen == model._resolve_auto_jit_compile():
        return "auto"
    return bool(chosen)


def unweighted_metrics(model: keras.Model) -> list[Any]:
    """Return the `metrics` that a model was compiled with, which ignore sample weights.

    Why: Keras shows these and `weighted_metrics` as one list.
    """
    compiled = getattr(model, "_compile_metrics", None)
    given = None if compiled is None else compiled._user_metrics
    return [metric for metric in tree.flatten(given or []) if metric is not None]


@contextmanager
def counted_rows(
    model: keras.Model, rows: Callable[[], Any], weight_shape: tuple[int, ...]
) -> Iterator[None]:
    """Let a step count only some rows of its batch: where `rows()` is 1, not 0. None: all.

    The loss is the mean over these rows, and the means of the losses weigh a batch by their number
    wherever Keras weighs it by its size. `metrics` get the rows as sample weights `(batch_size,
    *weight_shape)`. The sample weights of the batch must be 0 in the other rows.

    Why: Keras divides a loss by all rows of a batch, and gives `metrics` no weights.
    """
    compiled = getattr(model, "_compile_metrics", None)
    lists = compiled._flat_metrics if compiled is not None and compiled.built else []
    metrics = [metric for each in lists if each is not None for metric in each.metrics]
    loss, tracker = model.compute_loss, getattr(model, "_loss_tracker", None)

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **kwargs: Any
    ) -> Any:
        counted = rows()
        if sample_weight is not None and counted is not None:
            share = counted.shape[0] / ops.maximum(ops.sum(counted), 1)
            sample_weight = sample_weight * ops.cast(share, sample_weight.dtype)
        return loss(x, y, y_pred, sample_weight, **kwargs)

    def weighted(own: Any, weight: Callable[[Any, Any], Any]) -> Any:
        def update_state(*args: Any, sample_weight: Any = None, **kwargs: Any) -> Any:
            counted = rows()
            if counted is not None:
                sample_weight = weight(counted, sample_weight)
            return own(*args, sample_weight=sample_weight, **kwargs)

        return update_state

    def by_frame(counted: Any, given: Any) -> Any:
        return ops.reshape(counted, (-1, *weight_shape))

    def by_number(counted: Any, given: Any) -> Any:
        number = ops.sum(counted)
        return ops.sign(number) if given is None else number

    pairs = [
        (metric, {"update_state": weighted(metric.update_state, by_frame)}) for metric in metrics
    ]
    trackers = [] if tracker is None else [tracker]
    for each in (*trackers, *_output_losses(model)):
        pairs.append((each, {"update_state": weighted(each.update_state, by_number)}))
    pairs.append((model, {"compute_loss": compute_loss}))
    with _attributes([item for item, _ in pairs], [given for _, given in pairs]):
        yield


def _output_losses(model: keras.Model) -> list[keras.Metric]:
    """Return the metrics of a model's losses of single outputs, if it has several."""
    loss = getattr(model, "_compile_loss", None)
    return [] if loss is None else list(loss.metrics)


def equal_batches(model: keras.Model) -> AbstractContextManager[None]:
    """Let the losses of single outputs be means of the batches, whatever their sizes.

    A batch without a row that counts does not count.

    Why: Keras weighs a batch by its size if the size is known while the step is traced. In the
    `fit` of TensorFlow it is not known, in a program of XLA it is.
    """

    def alike(own: Any) -> Any:
        def update_state(*args: Any, sample_weight: Any = None, **kwargs: Any) -> Any:
            if sample_weight is not None:
                sample_weight = ops.sign(sample_weight)
            return own(*args, sample_weight=sample_weight, **kwargs)

        return update_state

    losses = _output_losses(model)
    return _attributes(losses, [{"update_state": alike(each.update_state)} for each in losses])


def resumed_epoch(model: keras.Model) -> int | None:
    """Return the epoch that a callback resumes the training from, or None.

    Why: `BackupAndRestore` sets an attribute of the model before the first epoch.
    """
    return getattr(model, "_initial_epoch", None)


def begin_at_epoch(model: keras.Model, epoch: int | None) -> None:
    """Let the `fit` that has just begun start with an epoch; None: as it was told.

    Why: a callback cannot publicly choose it. `BackupAndRestore` sets the same attribute.
    """
    model._initial_epoch = epoch


def calling_list(callback: keras.callbacks.Callback) -> keras.callbacks.CallbackList:
    """Return the list that is calling a callback's hook.

    Why: a callback does not know the others. A checkpoint saves their counters and the History, and
    must run after them.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and any(
            each is callback for each in caller.callbacks
        ):
            return caller
        frame = frame.f_back
    raise ValueError(
        f"`callbacks` must hold the {type(callback).__name__} itself. Received: a callback that "
        "calls it."
    )


def private_counters(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    """Return the names of what one of Keras's callbacks counts in private.

    Why: without them, a resumed run saves at other batches, or does not swap weights back.
    """
    counters: dict[type, tuple[str, ...]] = {
        keras.callbacks.ModelCheckpoint: (
            "_batches_seen_since_last_saving",
            "_last_batch_seen",
            "_current_epoch",
        ),
        keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
        keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
    }
    return next((names for kind, names in counters.items() if isinstance(callback, kind)), ())


def global_seed_generator() -> keras.random.SeedGenerator | None:
    """Return the generator of all draws without a seed. The first such draw makes it.

    Why: only Keras's functions of random numbers reach it.
    """
    return global_state.get_global_attribute("global_seed_generator")


def made_seed_generator() -> keras.random.SeedGenerator:
    """Return the generator of all draws without a seed, and make it if needed.

    Why: a resumed run gives it its state before the first draw.
    """
    return seed_generator.global_seed_generator()


def begin_earlier(bar: Any, seconds: float) -> None:
    """Let a `keras.utils.Progbar` count its time from some seconds before its making.

    Why: the bars of epochs that share a call are made after the call.
    """
    bar._start -= seconds


class _StateBox:
    """A stand-in for a seed generator: an object with a variable named `state`."""

    def __init__(self, variable: Any):
        self.state = variable
        self.users = 0


@contextmanager
def traveling_states(model: keras.Model, layers: list[Any]) -> Iterator[None]:
    """Let recurrent states travel through JAX's programs with the other variables.

    Why: Keras keeps recurrent states out of a layer's variables, so that they are no weights. So
    JAX's stateless steps neither take nor return them, and `stateful=True` has no effect in `fit`,
    `evaluate` and `predict`. States of seed generators do travel and are no weights.
    """
    boxes: list[tuple[Any, _StateBox]] = []
    try:
        with PutOff():  # whose end may raise
            boxes = [(layer, box) for layer in layers for box in _boxes(layer)]
            for _, box in boxes:
                box.users += 1
        yield
    finally:
        with PutOff():
            # After an exception in `evaluate` or `predict`, Keras has not put the values back.
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

    Why: Keras empties the variables while an epoch runs. They stay empty if a step of `evaluate` or
    `predict` raises.
    """
    names = ["trainable_variables", "non_trainable_variables", "metrics_variables"]
    groups = [*names[:2], "optimizer_variables", names[2]] if len(state) == 4 else names
    model._jax_state = dict(zip(groups, state, strict=False))
    model._jax_state_synced = False
    model.jax_state_sync()


@contextmanager
def values_at_hand(model: keras.Model) -> Iterator[None]:
    """Let a model keep its values if Keras's `fit`, `evaluate` or `predict` raises under JAX.

    Why: Keras empties the variables for a step, then fills them with the results of the last step.
    Before the first step there is no last one.
    """
    groups = ("trainable_variables", "non_trainable_variables", "metrics_variables")
    state = {name: getattr(model, name) for name in groups}
    if getattr(model, "optimizer", None) is not None:
        state["optimizer_variables"] = model.optimizer.variables
    model._jax_state = {name: [v.value for v in found] for name, found in state.items()}
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        raise


@contextmanager
def copied_states(layers: list[Any]) -> Iterator[None]:
    """Let recurrent layers compute from a copy of their state under PyTorch.

    Why: the layer overwrites its state after the fused LSTM or GRU has read it. PyTorch cannot
    differentiate through overwritten values.
    """
    copying: list[Any] = []
    try:
        with PutOff():  # whose end may raise
            for layer in layers:
                if not hasattr(layer.inner_loop, "users"):
                    vars(layer)["inner_loop"] = _copying(layer.inner_loop)
                layer.inner_loop.users += 1
            copying = layers
        yield
    finally:
        with PutOff():
            for layer in copying:
                layer.inner_loop.users -= 1
                if not layer.inner_loop.users:
                    del vars(layer)["inner_loop"]


def _copying(inner_loop: Any) -> Any:
    def inner(sequences: Any, initial_state: Any, *args: Any, **kwargs: Any) -> Any:
        return inner_loop(sequences, tree.map_structure(ops.copy, initial_state), *args, **kwargs)

    counted: Any = inner
    counted.users = 0
    return counted
