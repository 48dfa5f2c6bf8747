"""Keras's own loops: for datasets, for eager models, and for models on several devices."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import States, Verbose
from seqframe.backend.common import first_batch
from seqframe.backend.internals import build_for_training, counted_rows, replaced
from seqframe.backend.interrupts import PutOff
from seqframe.model.state import reset_states
from seqframe.training.epochs import Callbacks, Hooks, Logs, Validation
from seqframe.training.schedule import Schedule, place_rows
from seqframe.training.stateful import StatefulTrainer, refuse_resets_inside


class KerasRunner:
    """Runs a schedule or a dataset by Keras's own loops, with the methods of an `EpochRunner`.

    Args:
        model, policy, verbose: as for an `EpochRunner`.
        data: Schedule, or a dataset that Keras takes.
        kind: "train", "test" or "predict".
        steps: int. Batches of an epoch of a dataset. None: all.
        given: more arguments of Keras's `fit` for a dataset.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Any,
        kind: str,
        policy: StatefulTrainer | None,
        verbose: Verbose,
        steps: int | None = None,
        **given: Any,
    ):
        self.model, self.policy, self.verbose, self.data = model, policy, verbose, data
        self.schedule = data if isinstance(data, Schedule) else None
        self._steps, self._given = steps, given
        self._hooks = _BatchHooks(kind)
        self._counts = False  # whether only rows that have a frame count
        if self.schedule is not None:
            _check_devices(model, self.schedule)
            self._counts = kind == "test" and "weight" in self.schedule.fixed
            values = None if policy is None else policy.initial_state
            self.data = _ScheduleDataset(self.schedule, self._counts)
            self._given = {"shuffle": False}
            self._hooks.follow(self.data, _resets_between_calls(model, self.schedule), values)

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
        if self.schedule is None and steps_per_execution is not None:
            raise ValueError(
                "`steps_per_execution` is for frames and arrays. Received: "
                f"steps_per_execution={steps_per_execution} with a dataset. Pass it to "
                "`model.compile`, whose value Keras's own loop takes."
            )
        given, runners = {**self._given, "steps_per_epoch": self._steps}, [self]
        if validation is not None:
            runner = validation.runner
            given |= {"validation_data": runner.data, "validation_steps": runner._steps}
            given["validation_freq"] = validation.frequency
            runners.append(runner)
        with _running(runners):
            history = self.model.fit(
                self.data,
                callbacks=[*callbacks, *(runner._hooks for runner in runners)],
                epochs=epochs,
                initial_epoch=initial_epoch,
                verbose=self.verbose,
                **given,
            )
        on_first_loss(next(iter(history.history.get("loss", ())), None))
        return history

    def evaluate(self, callbacks: Callbacks | Hooks) -> Logs:
        """Return the logs of Keras's `evaluate`."""
        with _running([self]), self._hooked(callbacks) as given:
            return self.model.evaluate(self.data, return_dict=True, **given)

    def predict(self, callbacks: Callbacks) -> Any:
        """Return predictions by Keras's `predict`, in the order of the frames."""
        with _running([self]), self._hooked(callbacks) as given:
            predictions, schedule = self.model.predict(self.data, **given), self.schedule
        if schedule is None or schedule.lanes is None:
            return predictions
        return place_rows(predictions, schedule.places(0, schedule.steps), schedule.size)

    @contextmanager
    def _hooked(self, callbacks: Callbacks | Hooks) -> Iterator[dict[str, Any]]:
        """Yield Keras's arguments, with callbacks among which are the runner's own hooks."""
        given = {"steps": self._steps, "verbose": self.verbose}
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            yield {**given, "callbacks": [*callbacks, self._hooks]}
            return
        self._hooks.set_model(self.model)
        callbacks.callbacks.append(self._hooks)
        try:
            yield {**given, "callbacks": callbacks}
        finally:
            callbacks.callbacks.remove(self._hooks)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Let the model's `test_step` count only rows that have a frame.

        The data then have `(weight, rows)` as sample weights.
        """
        if not self._counts or self.schedule is None:
            yield
            return
        model, schedule = self.model, self.schedule
        own, shape = model.test_step, schedule.feed.gather.frame_weight
        build_for_training(model, _ScheduleDataset(schedule)[0])

        def test_step(*args: Any) -> Any:
            *state, (x, y, (weight, rows)) = args
            with counted_rows(model, lambda: rows, shape):
                return own(*state, (x, y, weight))

        # Keras makes its function of the step that the model has at that moment.
        with replaced(model, test_step=test_step):
            model.test_function = None
            try:
                yield
            finally:
                model.test_function = None


@contextmanager
def _running(runners: list[KerasRunner]) -> Iterator[None]:
    """Let interruptions wait for the end of a step. After an exception, undo what hooks began."""
    model, policy = runners[0].model, runners[0].policy
    with PutOff() as interrupts, ExitStack() as stack:
        for runner in runners:
            stack.enter_context(runner.counting())
            runner._hooks.begin(interrupts, stack)
        try:
            yield
        except BaseException:
            for kind in ("test", "train", "predict"):
                if policy is not None:
                    policy._give_up(kind)
                # TensorFlow would let a function that failed in its first step make no variables.
                setattr(model, f"{kind}_function", None)
            raise


def _check_devices(model: keras.Model, schedule: Schedule) -> None:
    """Raise if batches cannot be divided among a model's devices."""
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
    """The batches of one epoch of a schedule, as arrays. `_BatchHooks` sets the epoch."""

    def __init__(self, schedule: Schedule, tells_rows: bool = False):
        super().__init__()
        self.epoch, self._schedule, self._tells_rows = 0, schedule, tells_rows

    def __len__(self) -> int:
        return self._schedule.batches

    def __getitem__(self, k: int) -> tuple[Any, ...]:
        # The batch is gathered on the host. From the device it would have to come back.
        arrays, columns = self._schedule.on_host(self.epoch, k)
        batch = first_batch(self._schedule.feed.gather, (arrays, columns, []))
        batch = tree.map_structure(ops.convert_to_numpy, batch)
        if self._tells_rows and len(batch) == 3:
            return (*batch[:2], (batch[2], self._schedule.fixed["weight"][k]))
        return batch


class _BatchHooks(keras.callbacks.Callback):
    """Before each batch, hears interruptions and resets the rows that a schedule names.

    It has no hook after a batch, for which Keras would wait for the batch's results.
    """

    def __init__(self, kind: str):
        super().__init__()
        setattr(self, f"on_{kind}_batch_begin", self._before_batch)
        self._dataset: _ScheduleDataset | None = None
        self._resets: np.ndarray | None = None
        self._values: States | None = None
        self._interrupts, self._stack, self._has_begun = PutOff(), ExitStack(), False

    def follow(
        self, dataset: "_ScheduleDataset", resets: np.ndarray | None, values: States | None
    ) -> None:
        """Reset rows of a dataset's batches to values, and tell the dataset each epoch."""
        self._dataset, self._resets, self._values = dataset, resets, values

    def begin(self, interrupts: PutOff, stack: ExitStack) -> None:
        """Begin a run: `stack` is closed at its end."""
        self._interrupts, self._stack, self._has_begun = interrupts, stack, False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._dataset is not None:
            self._dataset.epoch = epoch

    def _before_batch(self, batch: int, logs: Any = None) -> None:
        self._interrupts.serve()
        if self._resets is not None and self._resets[batch].any():
            reset_states(self.model, self._values, self._resets[batch])
        if not self._has_begun:
            # Keras has made all variables by now, and empties them next.
            self._has_begun = True
            self._stack.enter_context(backend.values_kept(self._model))


def _resets_between_calls(model: keras.Model, schedule: Schedule) -> np.ndarray | None:
    """Return the rows that are reset before each batch. Raise if Keras has no hook there."""
    resets, calls = schedule.resets, model.steps_per_execution
    if resets is not None and resets[np.arange(schedule.steps) % calls > 0].any():
        refuse_resets_inside(calls)
    return resets
