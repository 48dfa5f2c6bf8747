"""Epochs: the steps of a schedule in compiled programs, with Keras's hooks before and after."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.aliases import JitCompile, Verbose
from seqframe.backend.internals import resumed_epoch
from seqframe.model.state import stateful_layers
from seqframe.training.programs import flat_initial_state, step_loop
from seqframe.training.schedule import Chunk, Schedule, place_rows
from seqframe.training.stateful import StatefulTrainer

logger = logging.getLogger("seqframe")

_WORTH_TELLING = 0.1  # seconds of compilation that a message reports
_GROUPED_SECONDS = 0.5  # length of a call of several epochs
_PROGRESS_UPDATES = 20  # updates of the progress bar in an epoch

Logs = dict[str, Any]
Hooks: TypeAlias = keras.callbacks.CallbackList
Callbacks: TypeAlias = list[keras.callbacks.Callback]


class EpochRunner:
    """Runs the epochs of a schedule: `kind` is "train", "test" or "predict"."""

    def __init__(
        self,
        model: keras.Model,
        schedule: Schedule,
        kind: str,
        policy: StatefulTrainer | None,
        jit_compile: JitCompile,
        verbose: Verbose,
    ):
        self.model, self.schedule, self.kind = model, schedule, kind
        self.policy, self.verbose = policy, verbose
        self._jit_compile = jit_compile
        given = None if policy is None else policy.initial_state
        self._initial_state = flat_initial_state(model, given)
        self._outputs: Any = None  # a nest like the predictions, of their names in the logs

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
            model.optimizer.build(model.trainable_variables)
        model.stop_training = False
        self.schedule.last_epoch = epochs - 1
        with self._running():
            hooks.on_train_begin()
            initial_epoch = resumed_epoch(model) or initial_epoch
            grouped = self.verbose == 0 and validation is None and steps_per_execution is None
            if grouped and self._can_group(hooks) and not model.stop_training:
                run = self._run_grouped(hooks, initial_epoch, epochs)
                # Keras's list looks for values to convert, which takes longer than a small epoch.
                ended = hooks.callbacks
            else:
                run = self._run_single(hooks, initial_epoch, epochs, steps_per_execution)
                ended = [hooks]
            logs: Logs = {}
            for epoch, logs in run:
                if epoch == initial_epoch:
                    on_first_loss(logs.get("loss"))
                if validation is not None and validation.is_due(epoch):
                    logs |= validation.logs(model, hooks)
                for callback in ended:
                    callback.on_epoch_end(epoch, logs)
                if model.stop_training:
                    break
            if epochs > 0:
                model.optimizer.finalize_variable_values(model.trainable_variables)
            hooks.on_train_end(logs)
        return model.history

    def evaluate(self, callbacks: Callbacks | Hooks) -> Logs:
        """Run one pass of validation and return its logs."""
        hooks = self._hooks(callbacks)
        stride = self._stride(hooks, self.model.steps_per_execution, self.schedule.steps)
        self.model.stop_evaluating = False
        logs: Logs = {}
        with self._running():
            hooks.on_test_begin()
            for last, records in self._calls(0, stride, hooks.on_test_batch_begin):
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
        stride = self._stride(hooks, 1, self.schedule.chunk_steps)
        with self._running():
            hooks.on_predict_begin()
            for last, records in self._calls(0, stride, hooks.on_predict_batch_begin):
                steps = len(next(iter(records.values())))
                place = self.schedule.places(last + 1 - steps, last + 1)
                rows = {name: row.reshape(-1, *row.shape[2:]) for name, row in records.items()}
                outputs = tree.map_structure(rows.get, self._outputs)
                found = place_rows(outputs, place, self.schedule.feed.size, found)
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

    def _run_single(
        self, hooks: Hooks, initial_epoch: int, epochs: int, steps_per_execution: int | None
    ) -> Iterator[tuple[int, Logs]]:
        """Run each epoch by itself, with hooks before, between and after its calls."""
        updates = _PROGRESS_UPDATES if self.verbose in ("auto", 1) else 1
        most = -(-self.schedule.steps // updates)
        stride = steps_per_execution
        stride = stride or self._stride(hooks, self.model.steps_per_execution, most)
        for epoch in range(initial_epoch, epochs):
            hooks.on_epoch_begin(epoch)
            if self.model.stop_training:  # Keras ends after one call of its own
                stride = self.model.steps_per_execution
            logs: Logs = {}
            for last, records in self._calls(epoch, stride, hooks.on_train_batch_begin):
                logs = _logs_of(records, 0)
                hooks.on_train_batch_end(last, logs)
                if self.model.stop_training:
                    break
            yield epoch, logs

    def _run_grouped(
        self, hooks: Hooks, initial_epoch: int, epochs: int
    ) -> Iterator[tuple[int, Logs]]:
        """Run several epochs in each call: as many as fit and take about half a second."""
        epoch, count = initial_epoch, 1
        while epoch < epochs:
            count = min(count, self.schedule.epochs_a_call, epochs - epoch)
            chunk = self.schedule.epochs(epoch, count)
            begin = time.perf_counter()
            logs = self._run(chunk, 0, self.schedule.steps, count, fresh=True)
            seconds = time.perf_counter() - begin
            for number in range(count):
                if self.policy is not None:
                    # The program has reset the state between these epochs, but not after the last.
                    self.policy.paused = number < count - 1
                for callback in hooks.callbacks:
                    callback.on_epoch_begin(epoch + number)
                yield epoch + number, _logs_of(logs, number)
            epoch += count
            count = max(1, min(2 * count, int(count * _GROUPED_SECONDS / seconds)))

    def _calls(
        self, epoch: int, stride: int, before: Callable[[int], None]
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Run an epoch, `stride` steps in each call.

        Yields the number of a call's last step and its result; for predictions, all results.
        """
        steps, size = self.schedule.steps, self.schedule.chunk_steps
        predicts = self.kind == "predict"
        for first in range(0, steps, stride):
            stop = min(first + stride, steps)
            before(first)
            records: dict[str, np.ndarray] = {}
            # A call ends with the chunk that is on the device.
            for number in range(first // size, (stop - 1) // size + 1):
                begin, end = max(first, number * size), min(stop, (number + 1) * size)
                chunk, row = self.schedule.chunk(epoch, number), begin - number * size
                # An epoch keeps the result of its last step only. So each prediction is an epoch.
                shape = (1, end - begin) if predicts else (end - begin, 1)
                fresh = begin == 0 and not predicts
                records = self._run(chunk, row, *shape, fresh=fresh)
            yield stop - 1, records
        if self.schedule.remainder:
            before(steps)
            # One step of another shape is not worth compiling with XLA.
            chunk, fresh = self.schedule.batch(epoch, steps), steps == 0 and not predicts
            yield steps, self._run(chunk, 0, 1, fresh=fresh, jit_compile=False)

    def _run(
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

        With `fresh`, metrics are reset before each epoch. Returns arrays `(epochs, …)` by name: the
        results of the last step of each epoch.
        """
        jit_compile = self._jit_compile if jit_compile is None else jit_compile
        loop = step_loop(self.model, self.kind, self.schedule.feed.gather, jit_compile)
        given = (*chunk, self._initial_state)
        shapes = tuple(tuple(tensor.shape) for tensor in tree.flatten(given))
        if shapes not in loop.compiled_for:
            begin = time.perf_counter()
            # With no epoch the program is only compiled, so that an error changes nothing.
            loop.run(given, first=0, steps=0, epochs=0, fresh=False)
            loop.compiled_for.add(shapes)
            self._tell_time(time.perf_counter() - begin)
        logs = loop.run(given, first=first, steps=steps, epochs=epochs, fresh=fresh)
        self._outputs = loop.outputs
        return logs

    def _tell_time(self, seconds: float) -> None:
        if seconds < _WORTH_TELLING:
            return
        step = {"train": "training", "test": "validation", "predict": "prediction"}[self.kind]
        logger.info("Compiled the %s step in %.1f s.", step, seconds)
        if self.verbose == 2:
            print(f"Compiled the {step} step in {seconds:.1f} s.")

    def _can_group(self, hooks: Hooks) -> bool:
        """Whether no callback needs the model between epochs."""
        hooked = (*_EPOCH_HOOKS, *_BATCH_HOOKS["train"])
        watched = any(_overrides(callback, hooked) for callback in hooks.callbacks)
        return not watched and self.schedule.can_group

    def _stride(self, hooks: Hooks, watched: int, unwatched: int) -> int:
        """Return the number of steps in a call: `watched` if a callback looks at batches."""
        looks = any(_looks_at_batches(callback, self.kind) for callback in hooks.callbacks)
        return max(watched if looks else unwatched, 1)

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
    """Validation data of a model, and the epochs after which it is used."""

    data: Any  # an EpochRunner, or a dataset that `model.evaluate` takes
    frequency: int | Sequence[int]  # as `validation_freq` of `fit`

    def is_due(self, epoch: int) -> bool:
        """Whether to validate after an epoch, counted from 0."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency

    def logs(self, model: keras.Model, hooks: Hooks) -> Logs:
        """Return the logs of validation, named `val_…`."""
        if isinstance(self.data, EpochRunner):
            found = self.data.evaluate(hooks)
        else:
            with backend.values_kept(model):
                found = model.evaluate(self.data, callbacks=hooks, return_dict=True, verbose=0)
        return {f"val_{name}": value for name, value in found.items()}


def listed(model: keras.Model, logs: Logs) -> list[Any]:
    """Return the values of logs in Keras's order: the model's metrics, then others by name."""
    names: list[str] = []
    for metric in model.metrics:
        compiled = metric.name == "compile_metrics"
        names += [each.name for each in metric.metrics] if compiled else [metric.name]
    names = [name for name in names if name in logs]
    return [logs[name] for name in (*names, *sorted(logs.keys() - set(names)))]


def _logs_of(logs: dict[str, np.ndarray], epoch: int) -> Logs:
    """Return one epoch's logs by name, as Keras does: numbers, and arrays of several numbers."""
    found = {name: logs[name][epoch] for name in sorted(logs)}
    return {name: log if np.ndim(log) else float(log) for name, log in found.items()}


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
