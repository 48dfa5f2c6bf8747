"""Models that only Keras's own loops can run: eager models, and models on several devices."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import States, Verbose
from seqframe.backend.common import first_batch
from seqframe.backend.internals import build_for_training, counted_rows, replaced
from seqframe.model.state import reset_states
from seqframe.training.epochs import Callbacks, Logs, Validation
from seqframe.training.schedule import Schedule, place_rows
from seqframe.training.stateful import StatefulTrainer, refuse_resets_inside

logger = logging.getLogger("seqframe")


def runs_by_keras(model: keras.Model) -> bool:
    """Whether only Keras's own loops can run a model. A log line says why."""
    if getattr(model, "run_eagerly", False):
        reason = "it is compiled with `run_eagerly=True`"
    elif not backend.compiles(model):
        reason = "it is compiled with `jit_compile=False`, which under JAX means: not at all"
    elif keras.distribution.distribution() is not None:
        reason = "a `keras.distribution` is set"
    elif backend.is_distributed(model):
        reason = "it is under a distribution strategy"
    else:
        return False
    logger.warning("%r runs by Keras's own loop, step by step: %s.", model.name, reason)
    return True


class KerasRunner:
    """Runs a schedule by Keras's own loops, with the methods of an `EpochRunner`."""

    def __init__(
        self,
        model: keras.Model,
        schedule: Schedule,
        policy: StatefulTrainer | None,
        verbose: Verbose,
    ):
        _check_devices(model, schedule)
        self.model, self.schedule, self.policy, self.verbose = model, schedule, policy, verbose

    def train(
        self,
        callbacks: Callbacks,
        initial_epoch: int,
        epochs: int,
        steps_per_execution: int | None,
        validation: Validation | None,
        on_first_loss: Callable[[Any], None],
    ) -> keras.callbacks.History:
        """Train by Keras's `fit`, which takes `steps_per_execution` from the model."""
        given: dict[str, Any] = {}
        if validation is not None:
            data = validation.data
            data = data.evaluation_data() if isinstance(data, KerasRunner) else data
            given = {"validation_data": data, "validation_freq": validation.frequency}
        resets, calls = self.schedule.resets, self.model.steps_per_execution
        if resets is not None and resets[np.arange(self.schedule.steps) % calls > 0].any():
            refuse_resets_inside(calls)
        dataset = _ScheduleDataset(self.schedule)
        values = None if self.policy is None else self.policy.initial_state
        validator = None if validation is None else validation.data
        with validator.counting() if isinstance(validator, KerasRunner) else nullcontext():
            history = self.model.fit(
                dataset,
                shuffle=False,
                callbacks=[*callbacks, _ScheduleHooks(dataset, resets, values)],
                epochs=epochs,
                initial_epoch=initial_epoch,
                verbose=self.verbose,
                **given,
            )
        on_first_loss(next(iter(history.history.get("loss", ())), None))
        return history

    def evaluate(self, callbacks: Callbacks) -> Logs:
        """Return the logs of Keras's `evaluate`."""
        given = {"callbacks": callbacks, "verbose": self.verbose}
        data = self.evaluation_data()
        with self.counting():
            return self.model.evaluate(data, return_dict=True, **given)

    def predict(self, callbacks: Callbacks) -> Any:
        """Return predictions by Keras's `predict`, in the order of the frames."""
        given = {"callbacks": callbacks, "verbose": self.verbose}
        predictions, schedule = self.model.predict(self.evaluation_data(), **given), self.schedule
        if schedule.lanes is None:
            return predictions
        return place_rows(predictions, schedule.places(0, schedule.steps), schedule.feed.size)

    def evaluation_data(self) -> keras.utils.PyDataset:
        """Return the schedule for Keras's `evaluate` and `predict`, or raise."""
        resets = self.schedule.resets
        if resets is not None and resets[1:].any():
            raise ValueError(
                "Keras's own loop cannot reset single rows outside training. Received: lanes of "
                "several sequences. Pass one sequence, or leave out `run_eagerly` and distribution."
            )
        return _ScheduleDataset(self.schedule, tells_rows=self._has_idle_rows)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Let the model's `test_step` count only rows that have a frame.

        The data of `evaluation_data` have `(weight, rows)` as sample weights.
        """
        if not self._has_idle_rows:
            yield
            return
        model, schedule = self.model, self.schedule
        own, shape = model.test_step, schedule.feed.gather.frame_weight
        build_for_training(model, _ScheduleDataset(schedule)[0])

        def test_step(*args: Any) -> Any:
            *state, (x, y, (weight, rows)) = args
            with counted_rows(model, rows, shape):
                return own(*state, (x, y, weight))

        # Keras makes its function of the step that the model has at that moment.
        with replaced(model, test_step=test_step):
            model.test_function = None
            try:
                yield
            finally:
                model.test_function = None

    @property
    def _has_idle_rows(self) -> bool:
        return "weight" in self.schedule.fixed


def _check_devices(model: keras.Model, schedule: Schedule) -> None:
    """Raise if batches cannot be divided among a model's devices."""
    if schedule.resets is not None and backend.num_replicas(model) > 1:
        raise ValueError(
            "A stateful model keeps one state of whole batches. Received: a strategy of "
            f"{backend.num_replicas(model)} replicas, which share a batch. Train it on one device."
        )
    distribution, shares = keras.distribution.distribution(), 1
    if distribution is not None:
        mesh = distribution.device_mesh
        shares = int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])
    for size in (schedule.batch_size, schedule.remainder):
        if size % shares:
            raise ValueError(
                f"Each batch, the last one too, must divide among {shares} devices. Received: a "
                f"batch of {size}. Pass a `batch_size` and a number of frames that are multiples "
                f"of {shares}, such as arrays `(X[:n], y[:n])`."
            )


class _ScheduleDataset(keras.utils.PyDataset):
    """The batches of one epoch of a schedule, as arrays. `_ScheduleHooks` sets the epoch."""

    def __init__(self, schedule: Schedule, tells_rows: bool = False):
        super().__init__()
        self.epoch, self._schedule, self._tells_rows = 0, schedule, tells_rows

    def __len__(self) -> int:
        return self._schedule.batches

    def __getitem__(self, k: int) -> tuple[Any, ...]:
        arrays, columns = self._schedule.batch(self.epoch, k)
        batch = first_batch(self._schedule.feed.gather, (arrays, columns, []))
        batch = tree.map_structure(ops.convert_to_numpy, batch)
        if self._tells_rows and len(batch) == 3:
            return (*batch[:2], (batch[2], self._schedule.fixed["weight"][k]))
        return batch


class _ScheduleHooks(keras.callbacks.Callback):
    """Tells a dataset the epoch that Keras begins, and resets the rows that the schedule names."""

    def __init__(self, dataset: _ScheduleDataset, resets: np.ndarray | None, values: States | None):
        super().__init__()
        self._dataset, self._resets, self._values = dataset, resets, values

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._dataset.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._resets is not None and self._resets[batch].any():
            reset_states(self.model, self._values, self._resets[batch])
