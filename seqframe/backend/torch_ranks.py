"""Ranks: the processes of PyTorch's process group, which train one model together.

Each takes its rows of every batch. Gradients and metrics are summed over all ranks, so that they
are those of the whole batch.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
import torch
from keras import ops, tree
from torch import distributed as dist

from seqframe.backend.common import averages_rows, share_of
from seqframe.backend.internals import all_layers, counted_rows, replaced

logger = logging.getLogger("seqframe")

#: The kinds of steps whose batches the ranks share at present.
_SHARED: ContextVar[tuple[str, ...]] = ContextVar("shared", default=())


def num_ranks() -> int:
    """Return the number of processes in PyTorch's process group; 1 without a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_shared(kind: str) -> bool:
    """Whether the ranks share the batches of "train" or "test" steps at present."""
    return kind in _SHARED.get()


def is_first_process() -> bool:
    """Whether this process writes the files of all that train together at present."""
    return not is_shared("train") or dist.get_rank() == 0


def from_first(value: Any) -> Any:
    """Return the value that the first process has. All processes must call it."""
    if num_ranks() < 2:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def agreed(number: Any) -> Any:
    """Return an integer as the first process has it.

    Processes need not agree about seconds: they share each step by itself.
    """
    return from_first(number) if isinstance(number, int) else number


def check_processes(model: keras.Model, kind: str, is_stateful: bool, by_keras: str | None) -> None:
    """Raise if the ranks cannot train a model together with the result of one process."""
    if num_ranks() < 2 or kind != "train":
        return
    way_out = "Train in one process, or write a loop with `DistributedDataParallel`"
    normalizations = [
        layer.name
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if by_keras is not None:
        fault = f"a model that Keras's own loop trains, because {by_keras}"
        way_out = "Pass frames or arrays, or write a loop with `DistributedDataParallel`"
    elif is_stateful:
        fault = "a stateful model, which keeps one state of whole batches"
    elif normalizations:
        fault = f"the layer {normalizations[0]!r}, which normalizes by the rows of one process"
        way_out = "Use `LayerNormalization` or `GroupNormalization`"
    elif not averages_rows(model):
        fault = "a loss that is no mean over the rows of a batch"
        way_out = 'Pass the loss with `reduction="sum_over_batch_size"`'
    else:
        return
    raise ValueError(
        f"The {num_ranks()} processes of PyTorch's group share the rows of each batch. Received: "
        f"{fault}. {way_out}."
    )


def joined(model: keras.Model, facts: Callable[[], dict[str, Any]]) -> AbstractContextManager[None]:
    """Return a context in which all processes train one model. `facts()` must agree in them."""
    return _joined(model, facts()) if num_ranks() > 1 else nullcontext()


@contextmanager
def _joined(model: keras.Model, facts: dict[str, Any]) -> Iterator[None]:
    variables = [*model.weights, *model.optimizer.variables]
    shapes = [(tuple(variable.shape), str(variable.dtype)) for variable in variables]
    _compare({**facts, "weights": shapes, "optimizer": type(model.optimizer).__name__})
    values = [ops.convert_to_numpy(variable) for variable in variables]
    for variable, value in zip(variables, from_first(values), strict=True):
        variable.assign(value)
    logger.info("%r trains in %d processes, which share each batch.", model.name, num_ranks())
    apply = model.optimizer.apply

    def apply_sums(gradients: Any, variables: Any = None) -> Any:
        sums = iter(_summed([each for each in gradients if each is not None]))
        return apply([None if each is None else next(sums) for each in gradients], variables)

    with replaced(model.optimizer, apply=apply_sums), _sharing("train"):
        yield


def sharing() -> AbstractContextManager[None]:
    """Return a context in which the ranks that train share the batches of a validation."""
    return _sharing("train", "test") if is_shared("train") else nullcontext()


@contextmanager
def _sharing(*kinds: str) -> Iterator[None]:
    token = _SHARED.set(kinds)
    try:
        yield
    finally:
        _SHARED.reset(token)


def shared_step(
    model: keras.Model,
    row: dict[str, Any],
    weight_shape: tuple[int, ...],
    step: Callable[[dict[str, Any]], Any],
) -> dict[str, Any]:
    """Run a step on this rank's rows of a batch, and return the logs of all ranks' rows."""
    own, size = share_of(row, dist.get_rank(), num_ranks())
    counted = nullcontext() if size else counted_rows(model, lambda: own["weight"], weight_shape)
    token = _PART.set(size / tree.flatten(row)[0].shape[0])
    try:
        with counted:
            logs = step(own)
        return _logs_of_all(model, logs)
    finally:
        _PART.reset(token)


def _logs_of_all(model: keras.Model, logs: dict[str, Any]) -> dict[str, Any]:
    """Return the logs of a step by the sums of all ranks' metrics; each rank keeps its own."""
    variables = model.metrics_variables
    with torch.no_grad():
        own = [variable.value.clone() for variable in variables]
        sums = _summed([value.double() for value in own], part=1.0)
        try:
            for variable, total in zip(variables, sums, strict=True):
                variable.assign(total)
            found = {name: ops.copy(log) for name, log in model.get_metrics_result().items()}
        finally:
            for variable, value in zip(variables, own, strict=True):
                variable.assign(value)
        if found.keys() == logs.keys():
            return found
        # A step of the user's own returns other logs: the mean over the rows.
        names = sorted(logs)
        means = _summed([torch.as_tensor(logs[name]) for name in names])
        return dict(zip(names, means, strict=True))


def whole_metrics(model: keras.Model) -> list[torch.Tensor]:
    """Return the values of a model's metrics; in ranks that train together, their sums."""
    values = [variable.value for variable in model.metrics_variables]
    if not is_shared("train"):
        return values
    sums = _summed([value.double() for value in values], part=1.0)
    return [total.to(value.dtype) for total, value in zip(sums, values, strict=True)]


def own_metrics(values: list[np.ndarray]) -> list[np.ndarray]:
    """Return what this rank begins with, so that the sums over all ranks are the values."""
    return values if is_first_process() else [np.zeros_like(value) for value in values]


#: This rank's part of the rows of the batch.
_PART: ContextVar[float] = ContextVar("part", default=0.0)


def _summed(tensors: list[torch.Tensor], part: float | None = None) -> list[torch.Tensor]:
    """Return the sums over all ranks, each weighed by its part of the rows."""
    if not tensors:
        return []
    weight = _PART.get() if part is None else part
    flat = torch.cat([each.detach().reshape(-1) for each in tensors]) * weight
    dist.all_reduce(flat)
    parts = flat.split([each.numel() for each in tensors])
    return [
        part.reshape(each.shape).to(each.dtype) for part, each in zip(parts, tensors, strict=True)
    ]


def _compare(facts: dict[str, Any]) -> None:
    """Raise in all processes if they do not train the same model on the same data."""
    every: list[Any] = [None] * num_ranks()
    dist.all_gather_object(every, facts)
    for rank, other in enumerate(every):
        for name, fact in every[0].items():
            if other.get(name) != fact:
                told = f"{fact!r} in rank 0, and {other.get(name)!r} in rank {rank}"
                told = told if len(told) < 120 else f"another one in rank {rank} than in rank 0"
                raise ValueError(
                    "All processes must train the same model on the same data. Received: "
                    f"{name}: {told}. Pass the same to each, whose rows `fit` shares out."
                )
