"""Runs the epochs of a schedule through compiled programs, with Keras's hooks in between."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.backend.internals import compiled_with
from seqframe.model.adapted import adapted_values, same_objects
from seqframe.model.state import (
    checked_states,
    fresh_state,
    state_batch_size,
    state_variables,
    stateful_layers,
)
from seqframe.training.chunks import Chunks
from seqframe.training.schedule import Schedule, place_rows
from seqframe.training.stateful import StatefulTrainer

logger = logging.getLogger("seqframe")

_GROUPED_SECONDS = 0.5  # how long epochs that nothing looks at in between run together
_WORTH_TELLING = 0.1  # seconds of compilation
_PROGRESS_UPDATES = 20  # of the progress bar, an epoch

Logs = dict[str, Any]


class EpochRunner:
    """Runs the steps of a schedule, for training, validation or predictions.

    Args:
        model: keras.Model.
        schedule: Schedule.
        kind: "train" | "test" | "predict".
        policy: StatefulTrainer that says when a stateful model is reset, or None.
        jit_compile: "auto" | bool. Whether programs are compiled with XLA.
        verbose: 0 | 1 | 2 | "auto". At 2 the time that compilation takes is printed.
    """

    def __init__(
        self,
        model: keras.Model,
        schedule: Schedule,
        kind: str,
        policy: StatefulTrainer | None,
        jit_compile: bool | str = "auto",
        verbose: str | int = 0,
    ):
        self.model, self.schedule, self.kind = model, schedule, kind
        self.policy, self.jit_compile, self.verbose = policy, jit_compile, verbose
        self.chunks = Chunks(schedule)
        self.initial = _initial_state(model, policy)
        #: Batches of an epoch, the smaller last one counted.
        self.calls_end = schedule.steps + (schedule.remainder > 0)

    def run_epochs(
        self,
        hooks: keras.callbacks.CallbackList,
        initial_epoch: int,
        epochs: int,
        steps_per_execution: int | None,
    ) -> Generator[tuple[int, Logs], None, None]:
        """Run each epoch by itself, with hooks before, between and after its calls."""
        updates = _PROGRESS_UPDATES if self.verbose in ("auto", 1) else 1
        most = -(-self.schedule.steps // updates)
        stride = steps_per_execution
        stride = stride or self._steps_between(hooks, self.model.steps_per_execution, most)
        for epoch in range(initial_epoch, epochs):
            hooks.on_epoch_begin(epoch)
            if self.model.stop_training:  # Keras ends after one call of its own
                stride = self.model.steps_per_execution
            logs: Logs = {}
            for last, records in self._run_epoch(epoch, stride, hooks.on_train_batch_begin):
                logs = _logs_of(records, 0)
                hooks.on_train_batch_end(last, logs)
                if self.model.stop_training:
                    break
            yield epoch, logs

    def run_grouped(
        self, hooks: keras.callbacks.CallbackList, initial_epoch: int, epochs: int
    ) -> Generator[tuple[int, Logs], None, None]:
        """Run as many epochs a call as there is room for and take about half a second."""
        epoch, count = initial_epoch, 1
        while epoch < epochs:
            count = min(count, self.schedule.epochs_a_call, epochs - epoch)
            chunk = self.chunks.of_epochs(epoch, count)
            begin = time.perf_counter()
            logs = self._call(chunk, 0, self.schedule.steps, count, fresh=True)
            seconds = time.perf_counter() - begin
            for number in range(count):
                # The program has reset the state between these epochs; the last one's end is left.
                with self._paused(number < count - 1):
                    for callback in hooks.callbacks:
                        callback.on_epoch_begin(epoch + number)
                    yield epoch + number, _logs_of(logs, number)
            epoch += count
            count = max(1, min(2 * count, int(count * _GROUPED_SECONDS / seconds)))

    @contextmanager
    def _paused(self, paused: bool) -> Iterator[None]:
        if self.policy is None:
            yield
            return
        self.policy.paused = paused
        try:
            yield
        finally:
            self.policy.paused = False

    def evaluate(self, hooks: keras.callbacks.CallbackList) -> Logs:
        """Run one pass of validation and return its logs."""
        stride = self._steps_between(hooks, self.model.steps_per_execution, self.schedule.steps)
        self.model.stop_evaluating = False
        logs: Logs = {}
        with self._undone_by_errors():
            hooks.on_test_begin()
            for last, records in self._run_epoch(0, stride, hooks.on_test_batch_begin):
                logs = _logs_of(records, 0)
                hooks.on_test_batch_end(last, logs)
                if self.model.stop_evaluating:
                    break
            hooks.on_test_end(logs)
        return logs

    def predict(self, hooks: keras.callbacks.CallbackList) -> Any:
        """Run one pass and return the predictions, a nest of arrays `(frames, …)`, in the order of
        the frames."""
        stride = self._steps_between(hooks, 1, self.schedule.chunk)
        found: Any = None
        with self._undone_by_errors():
            hooks.on_predict_begin()
            for last, records in self._run_epoch(0, stride, hooks.on_predict_batch_begin):
                steps = len(next(iter(records.values())))
                place = self.schedule.places(last + 1 - steps, last + 1)
                rows = {name: row.reshape(-1, *row.shape[2:]) for name, row in records.items()}
                outputs = tree.map_structure(rows.get, self.outputs)
                found = place_rows(outputs, place, self.schedule.feed.size, found)
                hooks.on_predict_batch_end(last, {"outputs": outputs})
            hooks.on_predict_end()
        return found

    @contextmanager
    def _undone_by_errors(self) -> Iterator[None]:
        """Give a model its own state back where an exception ends validation or prediction."""
        try:
            yield
        except BaseException:
            if self.policy is not None:
                self.policy.give_up(self.kind)
            raise

    def can_group(self, hooks: keras.callbacks.CallbackList) -> bool:
        """Whether nothing looks at the model between epochs."""
        hooked = (*_EPOCH_HOOKS, *_BATCH_HOOKS["train"])
        watched = any(_overrides(callback, hooked) for callback in hooks.callbacks)
        return not watched and self.schedule.can_group

    def _steps_between(
        self, hooks: keras.callbacks.CallbackList, watched: int, unwatched: int
    ) -> int:
        """Return how many steps a call runs: fewer where a callback looks at batches."""
        looks = any(_looks_at_batches(callback, self.kind) for callback in hooks.callbacks)
        return max(watched if looks else unwatched, 1)

    def _run_epoch(self, epoch: int, stride: int, before: Any) -> Iterator[tuple[int, Any]]:
        """Run an epoch `stride` steps a call; yield the number of the last step and what the call
        returned: of the last step, of predictions every step."""
        steps, size = self.schedule.steps, self.schedule.chunk
        predicts = self.kind == "predict"
        for first in range(0, steps, stride):
            stop = min(first + stride, steps)
            before(first)
            records: dict[str, Any] = {}
            # A call goes no further than the schedule that is on the device.
            for number in range(first // size, (stop - 1) // size + 1):
                begin, end = max(first, number * size), min(stop, (number + 1) * size)
                chunk, row = self.chunks(epoch, number), begin - number * size
                # What the last step of each epoch returns is kept, so these have one step each.
                shape = (1, end - begin) if predicts else (end - begin, 1)
                records = self._call(chunk, row, *shape, fresh=begin == 0 and not predicts)
            yield stop - 1, records
        if self.schedule.remainder:
            before(steps)
            # One step of another shape is not worth compiling with XLA.
            chunk, fresh = self.chunks.last_batch(epoch), steps == 0 and not predicts
            yield steps, self._call(chunk, 0, 1, 1, fresh=fresh, jit_compile=False)

    def _call(
        self,
        chunk: Any,
        first: int,
        steps: int,
        epochs: int,
        *,
        fresh: bool,
        jit_compile: bool | str | None = None,
    ) -> dict[str, Any]:
        """Run some steps of a chunk, compiled the first time."""
        arrays, rows = chunk
        jit_compile = self.jit_compile if jit_compile is None else jit_compile
        loop = _step_loop(self.model, self.kind, self.schedule.feed.gather, jit_compile)
        given = (arrays, rows, self.initial)
        shapes = tuple(tuple(tensor.shape) for tensor in tree.flatten(given))
        if shapes not in loop.compiled_for:
            begin = time.perf_counter()
            # No epoch at all: the program is compiled, and an error leaves the model as it was.
            loop.run(*given, first=0, steps=0, epochs=0, fresh=False)
            loop.compiled_for.add(shapes)
            self._tell_time(time.perf_counter() - begin)
        logs = loop.run(*given, first=first, steps=steps, epochs=epochs, fresh=fresh)
        self.outputs = loop.outputs
        return logs

    def _tell_time(self, seconds: float) -> None:
        if seconds < _WORTH_TELLING:
            return
        what = {"train": "training", "test": "validation", "predict": "prediction"}[self.kind]
        logger.info("Compiled the %s step in %.1f s.", what, seconds)
        if self.verbose == 2:
            print(f"Compiled the {what} step in {seconds:.1f} s.")


def _logs_of(logs: dict[str, Any], epoch: int) -> Logs:
    """Return one epoch's logs: numbers, and arrays where a metric has several. By name, as Keras
    has them."""
    found = {name: logs[name][epoch] for name in sorted(logs)}
    return {name: log if np.ndim(log) else float(log) for name, log in found.items()}


def _initial_state(model: keras.Model, policy: StatefulTrainer | None) -> list[Any]:
    """Return what each state variable is reset to, flat."""
    layers = stateful_layers(model)
    if policy is None or policy.initial_state is None:
        states = [fresh_state(layer, state_batch_size(layer)) for layer in layers]
    else:
        states = checked_states(policy.initial_state, layers, "initial_state")
    return [
        ops.cast(value, variable.dtype)
        for value, variable in zip(tree.flatten(states), state_variables(layers), strict=True)
    ]


_EPOCH_HOOKS = ("on_epoch_begin", "on_epoch_end")
_BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}
# Their hooks are served by the loop itself.
_SERVED = (keras.callbacks.History, keras.callbacks.ProgbarLogger, StatefulTrainer)


# They may be told to look at epochs only.
_TOLD = (
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.BackupAndRestore,
    keras.callbacks.TensorBoard,
)


def _looks_at_batches(callback: keras.callbacks.Callback, kind: str) -> bool:
    told = (getattr(callback, "save_freq", None), getattr(callback, "update_freq", None))
    return _overrides(callback, _BATCH_HOOKS[kind], _TOLD if "epoch" in told else ())


def _overrides(
    callback: keras.callbacks.Callback, hooks: tuple[str, ...], idle: tuple[type, ...] = ()
) -> bool:
    """Whether a callback has a hook among `hooks` that is not one of the `idle` classes' own."""
    if type(callback) in _SERVED:
        return False
    known = (keras.callbacks.Callback, *idle)
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) not in [getattr(each, hook) for each in known]
        for hook in hooks
    )


def _step_loop(model: keras.Model, kind: str, gather: Any, jit_compile: bool | str) -> Any:
    """Return the compiled steps of a model, kept until it is compiled anew, its weights are others,
    or its layers adapted."""
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


class _Loops:
    """Compiled loops, and the objects they were compiled with."""

    def __init__(self, made_of: list[Any]):
        self.made_of = made_of
        self.loops: dict[Any, Any] = {}
