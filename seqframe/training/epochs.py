"""Epochs: the steps of a schedule in compiled programs, with Keras's hooks before and after."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.aliases import JitCompile, Verbose
from seqframe.backend.common import first_batch
from seqframe.backend.internals import begin_earlier, build_for_training, resumed_epoch
from seqframe.backend.interrupts import PutOff
from seqframe.model.inspect import metric_names
from seqframe.model.state import stateful_layers
from seqframe.training.checkpoint import Checkpoint, facts_of, find_checkpoint
from seqframe.training.pace import Pace, pace_of_calls
from seqframe.training.programs import Program, flat_initial_state
from seqframe.training.schedule import Chunk, Schedule, place_rows
from seqframe.training.stateful import StatefulTrainer

Logs = dict[str, Any]
Hooks: TypeAlias = keras.callbacks.CallbackList
Callbacks: TypeAlias = list[keras.callbacks.Callback]
#: An epoch's number and logs, and the hook that ends it.
Epoch: TypeAlias = tuple[int, Logs, Callable[[int, Logs], Any]]


class EpochRunner:
    """Runs the epochs of a schedule: `kind` is "train", "test" or "predict"."""

    def __init__(
        self,
        model: keras.Model,
        schedule: Schedule,
        kind: str,
        policy: StatefulTrainer | None,
        program: str,
        jit_compile: JitCompile,
        verbose: Verbose,
    ):
        self.model, self.schedule, self.kind = model, schedule, kind
        self.policy, self.verbose = policy, verbose
        self.left = schedule.batches  # steps that are still to come
        gather = schedule.feed.gather
        self._program = Program(model, kind, gather, program, jit_compile, verbose)
        given = None if policy is None else policy.initial_state
        self._initial_state = flat_initial_state(model, given)
        is_shown = verbose in ("auto", 1)
        form = schedule.feed.form
        self._pace = pace_of_calls(model, kind, schedule.batch_size, form, is_shown)
        self._checkpoint: Checkpoint | None = None

    def train(
        self,
        callbacks: Callbacks,
        initial_epoch: int,
        epochs: int,
        steps_per_execution: int | None,
        validation: "Validation | None",
        on_first_loss: Callable[[Any], None],
    ) -> keras.callbacks.History:
        """Run the epochs of training, with Keras's callbacks and validation."""
        model = self.model
        hooks = self._hooks(callbacks, epochs, add_history=True)
        if not model.optimizer.built:  # some optimizers do not check this themselves
            with PutOff(), backend.scope(model):
                model.optimizer.build(model.trainable_variables)
        model.stop_training = False
        self.left = self._program.planned = self.schedule.batches * (epochs - initial_epoch)
        validator = None if validation is None else validation.runner
        if isinstance(validator, EpochRunner):
            validator.left = validator.schedule.batches * (epochs - initial_epoch)
        self.schedule.last_epoch = epochs - 1
        self._checkpoint = find_checkpoint(callbacks)

        def facts() -> dict[str, Any]:
            return {"epochs": (initial_epoch, epochs), **self._facts(validation)}

        with backend.joined(model, facts), self._running():
            self._prepare(validator)
            hooks.on_train_begin()
            initial_epoch = resumed_epoch(model) or initial_epoch
            together = validation is None and steps_per_execution is None
            if together and self._can_group(hooks) and not model.stop_training:
                run = self._run_grouped(hooks, initial_epoch, epochs)
            else:
                run = self._run_single(hooks, initial_epoch, epochs, steps_per_execution)
            logs: Logs = {}
            for epoch, logs, end in run:
                if epoch == initial_epoch:
                    on_first_loss(logs.get("loss"))
                if validation is not None and validation.is_due(epoch):
                    logs |= validation.logs(hooks)
                end(epoch, logs)
                if model.stop_training:
                    break
            if epochs > 0:
                model.optimizer.finalize_variable_values(model.trainable_variables)
            hooks.on_train_end(logs)
        return model.history

    def evaluate(self, callbacks: Callbacks | Hooks) -> Logs:
        """Run one pass of validation and return its logs."""
        hooks = self._hooks(callbacks)
        pace = self._pace_for(hooks, self.model.steps_per_execution)
        self.model.stop_evaluating = False
        logs: Logs = {}
        with self._running():
            hooks.on_test_begin()
            for last, records in self._calls(0, pace, hooks.on_test_batch_begin):
                logs = _logs_of(records, 0)
                hooks.on_test_batch_end(last, logs)
                if self.model.stop_evaluating:
                    break
            hooks.on_test_end(logs)
        return logs

    def predict(self, callbacks: Callbacks) -> Any:
        """Run one pass and return the predictions, a nest of arrays in the order of the frames."""
        found: Any = None
        hooks = self._hooks(callbacks)
        pace = self._pace_for(hooks, 1)
        with self._running():
            hooks.on_predict_begin()
            for last, records in self._calls(0, pace, hooks.on_predict_batch_begin):
                steps = len(next(iter(records.values())))
                place = self.schedule.places(last + 1 - steps, last + 1)
                rows = {name: row.reshape(-1, *row.shape[2:]) for name, row in records.items()}
                outputs = tree.map_structure(rows.get, self._program.outputs)
                found = place_rows(outputs, place, self.schedule.size, found)
                hooks.on_predict_batch_end(last, {"outputs": outputs})
            hooks.on_predict_end()
        return found

    def _hooks(
        self, callbacks: Callbacks | Hooks, epochs: int = 1, add_history: bool = False
    ) -> Hooks:
        if isinstance(callbacks, keras.callbacks.CallbackList):
            return callbacks
        return keras.callbacks.CallbackList(
            callbacks,
            add_history=add_history,
            add_progbar=self.verbose != 0,
            verbose=1 if self.verbose == "auto" else self.verbose,
            epochs=epochs,
            steps=self.schedule.batches,
            model=self.model,
        )

    def _facts(self, validation: "Validation | None") -> dict[str, Any]:
        """Return what must agree in processes that train together."""
        facts = facts_of(self.schedule, "training")
        if validation is None:
            return {**facts, "validation": None}
        if not isinstance(validation.runner, EpochRunner):
            raise ValueError(
                "Processes that train together validate on frames or arrays. Received: a dataset "
                "as `validation_data`. Pass frames, or evaluate the dataset afterwards."
            )
        own = facts_of(validation.runner.schedule, "validation")
        return {**facts, **own, "validation": validation.frequency}

    def _prepare(self, validator: Any) -> None:
        """Make all variables that a checkpoint saves, and choose the programs without the clock."""
        if self._checkpoint is None:
            return
        batch = first_batch(self.schedule.feed.gather, (*self.schedule.batch(0, 0), []))
        with PutOff(), backend.scope(self.model):
            build_for_training(self.model, batch)
        self._checkpoint._fix("train", self._program, self.left)
        if isinstance(validator, EpochRunner):
            self._checkpoint._fix("test", validator._program, validator.left)

    def _run_single(
        self, hooks: Hooks, initial_epoch: int, epochs: int, steps_per_execution: int | None
    ) -> Iterator[Epoch]:
        """Run each epoch by itself, with hooks before, between and after its calls."""
        pace = self._pace_for(hooks, self.model.steps_per_execution)
        if steps_per_execution is not None:
            pace = Pace(steps_per_execution)
        for epoch in range(initial_epoch, epochs):
            yield epoch, self._run_epoch(hooks, epoch, pace), hooks.on_epoch_end

    def _run_grouped(self, hooks: Hooks, initial_epoch: int, epochs: int) -> Iterator[Epoch]:
        """Run short epochs several in a call, as many as its pace allows, and other epochs singly.

        The hooks of epochs that share a call follow the call.
        """
        epoch, steps = initial_epoch, self.schedule.steps
        while epoch < epochs:
            count = min(self._pace.steps // steps, self.schedule.epochs_a_call, epochs - epoch)
            if count < 2:
                yield epoch, self._run_epoch(hooks, epoch, self._pace), hooks.on_epoch_end
                epoch += 1
                continue
            chunk = self.schedule.epochs(epoch, count)
            begin = time.perf_counter()
            logs = self._run(chunk, 0, steps, count, fresh=True)
            seconds = backend.agreed(time.perf_counter() - begin)
            self._pace.learn(count * steps, seconds)
            for number in range(count):
                if self.policy is not None:
                    # The program has reset the state between these epochs, but not after the last.
                    self.policy.paused = number < count - 1
                _begin_epoch(hooks, epoch + number, seconds / count)
                yield epoch + number, _logs_of(logs, number), partial(_end_epoch, hooks)
            epoch += count

    def _run_epoch(self, hooks: Hooks, epoch: int, pace: Pace) -> Logs:
        """Run one epoch and return its logs."""
        hooks.on_epoch_begin(epoch)
        if self.model.stop_training:  # Keras ends after one call of its own
            pace = Pace(self.model.steps_per_execution)
        logs: Logs = {}
        first = 0 if self._checkpoint is None else self._checkpoint._first_step(epoch)
        for last, records in self._calls(epoch, pace, hooks.on_train_batch_begin, first):
            logs = _logs_of(records, 0)
            hooks.on_train_batch_end(last, logs)
            if self.model.stop_training:
                break
            if self._checkpoint is not None:
                self._checkpoint._after_call(epoch, last + 1, last + 1 - first)
                first = last + 1
        return logs

    def _calls(
        self, epoch: int, pace: Pace, before: Callable[[int], None], first: int = 0
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Run an epoch from its step `first` on, with as many steps between hooks as a pace tells.

        Yields the number of the last step before a hook and its result; for predictions, all
        results.
        """
        steps, size = self.schedule.steps, self.schedule.chunk_steps
        predicts = self.kind == "predict"
        while first < steps:
            room = None if self._checkpoint is None else self._checkpoint._room()
            stop = first + min(pace.next(steps - first), room or steps)
            if predicts:  # keep the predictions of one chunk at a time
                stop = min(stop, (first // size + 1) * size)
            before(first)
            found: list[dict[str, np.ndarray]] = []
            while first < stop:
                # A call ends with the chunk that is on the device, and soon, whatever the pace of
                # hooks: an interruption is heard after it.
                number = first // size
                end = min(first + self._pace.next(stop - first), (number + 1) * size)
                began = time.perf_counter()
                chunk, row = self.schedule.chunk(epoch, number), first - number * size
                # An epoch keeps the result of its last step only. So each prediction is an epoch.
                shape = (1, end - first) if predicts else (end - first, 1)
                fresh = first == 0 and not predicts
                found.append(self._run(chunk, row, *shape, fresh=fresh))
                self._pace.learn(end - first, backend.agreed(time.perf_counter() - began))
                first = end
            yield stop - 1, _joined(found) if predicts else found[-1]
        if self.schedule.remainder:
            before(steps)
            chunk, fresh = self.schedule.batch(epoch, steps), steps == 0 and not predicts
            yield steps, self._run(chunk, 0, 1, fresh=fresh)

    def _run(
        self, chunk: Chunk, first: int, steps: int, epochs: int = 1, *, fresh: bool
    ) -> dict[str, np.ndarray]:
        """Run `epochs` times `steps` steps of a chunk, from its step `first` on.

        With `fresh`, metrics are reset before each epoch. Returns arrays `(epochs, …)` by name: the
        results of the last step of each epoch.
        """
        given = (*chunk, self._initial_state)
        logs = self._program.run(given, first, steps, epochs, fresh, self.left)
        self.left -= steps * epochs
        return logs

    def _can_group(self, hooks: Hooks) -> bool:
        """Whether no callback needs the model between epochs."""
        hooked = (*_EPOCH_HOOKS, *_BATCH_HOOKS["train"])
        watched = any(_overrides(callback, hooked) for callback in hooks.callbacks)
        return not watched and self.schedule.can_group

    def _pace_for(self, hooks: Hooks, steps: int) -> Pace:
        """Return the pace of calls; calls of `steps` steps if a callback looks at batches."""
        looks = any(_looks_at_batches(callback, self.kind) for callback in hooks.callbacks)
        return Pace(steps) if looks else self._pace

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Let the program keep and reset the state. After an exception, undo what hooks began."""
        policy, trains = self.policy, self.kind == "train"
        carried = backend.carried_states(self.model, stateful_layers(self.model))
        with closing(self.schedule), carried:
            if policy is None:
                yield
                return
            before, policy.in_program = policy.in_program, True
            try:
                yield
            except BaseException:
                # Validation on a dataset may have begun inside training.
                for kind in ("test", "train") if trains else (self.kind,):
                    policy._give_up(kind)
                raise
            finally:
                policy.in_program = before
                if trains:
                    policy.paused = False


@dataclass(frozen=True)
class Validation:
    """The validation of a model, and the epochs after which it runs."""

    runner: Any  # an EpochRunner, or a KerasRunner
    frequency: int | Sequence[int]  # as `validation_freq` of `fit`

    def is_due(self, epoch: int) -> bool:
        """Whether to validate after an epoch, counted from 0."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency

    def logs(self, hooks: Hooks) -> Logs:
        """Return the logs of validation, named `val_…`."""
        with backend.sharing():
            return {f"val_{name}": value for name, value in self.runner.evaluate(hooks).items()}


def listed(model: keras.Model, logs: Logs) -> list[Any]:
    """Return the values of logs in Keras's order: the model's metrics, then others by name."""
    names = [name for name in metric_names(model) if name in logs]
    return [logs[name] for name in (*names, *sorted(logs.keys() - set(names)))]


def _joined(results: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the results of several calls by name, as one."""
    if len(results) == 1:
        return results[0]
    return {name: np.concatenate([each[name] for each in results]) for name in results[0]}


def _logs_of(logs: dict[str, np.ndarray], epoch: int) -> Logs:
    """Return one epoch's logs by name, as Keras does: numbers, and arrays of several numbers."""
    found = {name: logs[name][epoch] for name in sorted(logs)}
    return {name: float(log.item()) if log.size == 1 else log for name, log in found.items()}


# Keras's list of callbacks looks for values to convert, which takes as long as a small epoch. So
# epochs that share a call bypass it.


def _begin_epoch(hooks: Hooks, epoch: int, seconds: float) -> None:
    """Call the hooks of an epoch that began some seconds ago."""
    for callback in hooks.callbacks:
        callback.on_epoch_begin(epoch)
        if isinstance(callback, keras.callbacks.ProgbarLogger):
            begin_earlier(callback.progbar, seconds)


def _end_epoch(hooks: Hooks, epoch: int, logs: Logs) -> None:
    for callback in hooks.callbacks:
        callback.on_epoch_end(epoch, logs)


_EPOCH_HOOKS = ("on_epoch_begin", "on_epoch_end")
_BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}
# The runner itself does the work of these callbacks.
_SERVED = (keras.callbacks.History, keras.callbacks.ProgbarLogger, StatefulTrainer)
# These callbacks have hooks for batches, but may look only at epochs.
_MAY_LOOK_AT_EPOCHS = (
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.BackupAndRestore,
    keras.callbacks.TensorBoard,
)


def _looks_at_batches(callback: keras.callbacks.Callback, kind: str) -> bool:
    told = (getattr(callback, "save_freq", None), getattr(callback, "update_freq", None))
    idle = _MAY_LOOK_AT_EPOCHS if "epoch" in told else ()
    return _overrides(callback, _BATCH_HOOKS[kind], idle)


def _overrides(
    callback: keras.callbacks.Callback, hooks: Sequence[str], idle: tuple[type, ...] = ()
) -> bool:
    """Whether a callback has a hook that is not one of the `idle` classes' own."""
    if type(callback) in _SERVED:
        return False
    known = (keras.callbacks.Callback, *idle)
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) not in [getattr(each, hook) for each in known]
        for hook in hooks
    )
