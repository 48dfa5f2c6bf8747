"""Models that Keras's own loops run, because no compiled program of ours can."""

import logging
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.model.state import reset_states
from seqframe.training.datasets import EpochDataset
from seqframe.training.schedule import Schedule, place_rows
from seqframe.training.stateful import StatefulTrainer, refuse_resets_inside

logger = logging.getLogger("seqframe")


def runs_by_keras(model: keras.Model) -> bool:
    """Whether a model has to run by Keras's own loops, with a log line that says why."""
    if getattr(model, "run_eagerly", False):
        reason = "it is compiled with `run_eagerly=True`"
    elif keras.distribution.distribution() is not None:
        reason = "a `keras.distribution` is set"
    elif backend.is_distributed(model):
        reason = "it is under a distribution strategy"
    else:
        return False
    logger.warning("%r runs by Keras's own loop, step by step: %s.", model.name, reason)
    return True


def _check_devices(model: keras.Model, schedule: Schedule) -> None:
    """Raise if batches cannot be divided among the devices that a model is on."""
    if schedule.resets is not None and backend.num_replicas(model) > 1:
        raise ValueError(
            "A stateful model keeps one state, of whole batches, and under a distribution strategy "
            "each replica gets a share of a batch. Received: a stateful model under a strategy of "
            f"{backend.num_replicas(model)} replicas. Train it on one device."
        )
    shares = _num_shares(keras.distribution.distribution())
    for size in (schedule.batch_size, schedule.remainder):
        if size % shares:
            raise ValueError(
                f"Each batch, the last one too, must divide among the {shares} devices of the "
                f"`keras.distribution`. Received: a batch of {size}. Pass a `batch_size` that is a "
                f"multiple of {shares}, and a number of frames that is one, as the arrays "
                "`(X[:n], y[:n])` of `X, y = frames.arrays()`."
            )


def _num_shares(distribution: Any) -> int:
    """Return how many devices share a batch under a `keras.distribution`, or None."""
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def fit_by_keras(
    model: keras.Model,
    schedule: Schedule,
    policy: StatefulTrainer | None,
    callbacks: list[keras.callbacks.Callback],
    *,
    validation_data: Any,
    initial_epoch: int,
    **arguments: Any,
) -> keras.callbacks.History:
    """Train by Keras's own `fit`.

    Args:
        model: keras.Model.
        schedule: Schedule of ready frames.
        policy: StatefulTrainer, or None.
        callbacks: list of keras.callbacks.Callback, `policy` among them.
        validation_data: Schedule of ready frames, or what Keras's `fit` takes.
        initial_epoch: int.
        **arguments: of Keras's `fit`.
    """
    _check_devices(model, schedule)
    if isinstance(validation_data, Schedule):
        validation_data = evaluation_dataset(model, validation_data)
    if policy is not None and schedule.resets is not None:
        inside = np.arange(schedule.steps) % model.steps_per_execution > 0
        if schedule.resets[inside].any():
            refuse_resets_inside(model.steps_per_execution)
        callbacks = [*callbacks, _RowResets(schedule.resets, policy.initial_state)]
    return model.fit(
        EpochDataset(_Batches(schedule, initial_epoch)),
        shuffle=False,
        validation_data=validation_data,
        initial_epoch=initial_epoch,
        callbacks=callbacks,
        **arguments,
    )


def evaluation_dataset(model: keras.Model, schedule: Schedule) -> EpochDataset:
    """Return what Keras's `evaluate` and `predict` take for a schedule of ready frames.

    Raises:
        ValueError: if rows would have to be reset on the way, which Keras's own loop cannot, or
            batches do not divide among the model's devices.
    """
    _check_devices(model, schedule)
    if schedule.resets is not None and schedule.resets[1:].any():
        raise ValueError(
            "Keras's own loop cannot reset the rows of a state that begin a new sequence while it "
            "evaluates or predicts. Received: lanes of several sequences. Pass one sequence, or "
            "run the model without `run_eagerly` and distribution."
        )
    return EpochDataset(_Batches(schedule))


def predict_by_keras(model: keras.Model, schedule: Schedule, **arguments: Any) -> Any:
    """Return predictions by Keras's own `predict`, in the order of the frames."""
    predictions = model.predict(evaluation_dataset(model, schedule), **arguments)
    if schedule.lanes is None:
        return predictions
    place = schedule.places(0, schedule.steps)
    return place_rows(predictions, place, schedule.feed.size)


class _Batches:
    """The batches of an epoch of a schedule, as arrays, for `EpochDataset`."""

    def __init__(self, schedule: Schedule, epoch: int = 0):
        self.epoch, self._schedule = epoch, schedule

    def __len__(self) -> int:
        return self._schedule.steps + (self._schedule.remainder > 0)

    def __getitem__(self, k: int) -> tuple[Any, ...]:
        arrays, rows = self._schedule.batch(self.epoch, k)
        row = {name: column[0] for name, column in rows.items()}
        batch = self._schedule.feed.gather.batch(*backend.to_device((arrays, row)))
        return tree.map_structure(ops.convert_to_numpy, batch)

    def at_epoch(self, epoch: int) -> "_Batches":
        return _Batches(self._schedule, epoch)


class _RowResets(keras.callbacks.Callback):
    """Resets the rows of the state that a schedule says, before each batch of training."""

    def __init__(self, resets: np.ndarray, values: Any):
        super().__init__()
        self._resets, self._values = resets, values

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        rows = self._resets[batch]
        if rows.any():
            reset_states(self.model, self._values, rows)
