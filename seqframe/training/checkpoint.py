"""Checkpoint: the callback that lets a training go on after a crash, as if there had been none."""

import logging
import random
import time
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import SaveEvery
from seqframe.backend.common import Form
from seqframe.backend.internals import (
    begin_at_epoch,
    calling_list,
    global_seed_generator,
    made_seed_generator,
)
from seqframe.backend.interrupts import PutOff
from seqframe.files import check_path
from seqframe.framing.shards import digest
from seqframe.model.inspect import metric_names
from seqframe.model.state import state_variables, stateful_layers
from seqframe.training.counters import attributes_of, counters_of, has_state, set_counters
from seqframe.training.generations import Content, Generations
from seqframe.training.processes import check_same
from seqframe.training.programs import Program
from seqframe.training.schedule import Schedule
from seqframe.training.stateful import StatefulTrainer

logger = logging.getLogger("seqframe")


class Checkpoint(keras.callbacks.Callback):
    """Saves a training, so that the same call goes on after a crash as if there had been none.

    Run the same script again after the process was killed. `fit` then continues after the last step
    that was saved. Weights and History end bit for bit as those of a run without a stop. A run that
    has ended is not repeated: `fit` gives the model its weights, and returns the History.

    It saves the weights, the optimizer, all seeds, the recurrent state, the metrics and the
    History. It also saves the position in the order of the frames, and the counters of other
    callbacks, such as EarlyStopping. The last two files are kept. A kill at any instant leaves one
    of them whole.

    Args:
        path: str or Path. A folder for the files of one run. It is made if needed.
        every: "epoch": save after each epoch. int n ≥ 1: after every n steps. float: after so many
            seconds. Keras's own `fit` can only begin at an epoch, so there it must be "epoch".
        dataset: the dataset that Keras's own `fit` takes, with `get_state` and `set_state`, such as
            `frames.dataset(…)`. Its order is saved too. `seqframe.fit` needs none.

    Raises:
        ValueError: if `every` is none of these. In `fit`, if the checkpoint belongs to another
            model, other data or other arguments, or if both files are damaged.

    Example:

    >>> import tempfile
    >>> import keras
    >>> from seqframe import Checkpoint, SequenceFramer, fit
    >>> frames = SequenceFramer(2).frame([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> def train(folder):
    ...     model = keras.Sequential([keras.Input((2, 1)), keras.layers.GRU(1)])
    ...     model.compile("adam", "mse")
    ...     return fit(model, frames, epochs=3, verbose=0, callbacks=[Checkpoint(folder)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     train(folder).history == train(folder).history  # the second one trains nothing
    True
    """

    def __init__(self, path: str | Path, every: SaveEvery = "epoch", *, dataset: Any = None):
        super().__init__()
        path = check_path(path)
        if path.is_file():
            raise ValueError(f"`path` must name a folder. Received: path={str(path)!r}.")
        is_number = isinstance(every, Real) and not isinstance(every, bool)
        least = 1 if isinstance(every, Integral) else 0
        if not (every == "epoch" if isinstance(every, str) else is_number and every >= least):
            raise ValueError(
                '`every` must be "epoch", a number of steps ≥ 1, or a float of seconds ≥ 0. '
                f"Received: every={every!r}."
            )
        if dataset is not None and not has_state(dataset):
            raise TypeError(
                "`dataset` must have the methods `get_state` and `set_state`, as `frames.dataset` "
                f"does. Received: {type(dataset).__name__}."
            )
        if not isinstance(every, str):
            every = int(every) if isinstance(every, Integral) else float(every)
        self.path, self.every, self.dataset = path, every, dataset
        self._files = Generations(self.path)
        self._forget()

    def _forget(self) -> None:
        """Forget the run that has ended, or was given up."""
        self._content: Content = None  # what the run goes on from
        self._facts: dict[str, Any] = {}
        self._programs: dict[str, Program] = {}
        self._seed: int | None = None
        self._others: list[tuple[keras.callbacks.Callback, dict[str, Any]]] = []
        self._order = self.dataset  # whose place in the order is saved

    # --- `seqframe.fit` calls these. Keras's own `fit` calls none of them.

    def _open(self, seed: int | None, dataset: Any = None) -> int | None:
        """Read the files of the run, and return the seed of its shuffle.

        A `dataset` is what Keras's own loop is about to train on.
        """
        self._forget()
        if dataset is not None and self._order is None and has_state(dataset):
            self._order = dataset
        self._content = backend.from_first(self._files.read())
        return self._content["seed"] if seed is None and self._content else seed

    def _expect(self, schedule: Schedule | None, validation: Schedule | None) -> None:
        """Take note of what is trained and validated on. Raise if the files are of other data.

        None is a dataset, which nobody can look into.
        """
        self._facts = {"loop": "`seqframe.fit`"}
        if schedule is not None:
            self._seed = schedule.seed
            self._facts |= facts_of(schedule, "training")
        if validation is not None:
            self._facts |= facts_of(validation, "validation")
        self._check(self._facts)
        content = self._content or {}
        # Each process reads the files, and the first one writes them.
        names = ("epoch", "step", "seed")
        check_same(lambda: {"checkpoint": [content.get(name) for name in names]})

    def _fix(self, kind: str, program: Program, steps: int) -> None:
        """Let a program run in one form, the one that the run began with."""
        self._programs[kind] = program
        known = self._content["forms"].get(kind) if self._content else None
        program.fix(steps, known and Form(*known))

    def _first_step(self, epoch: int) -> int:
        """Return the step of an epoch to begin with. Other steps ran before the crash."""
        here = self._content is not None and self._content["epoch"] == epoch
        return self._content["step"] if here else 0

    def _room(self) -> int | None:
        """Return the most steps until the next file is due; None: any number."""
        return self.every - self._steps if isinstance(self.every, int) else None

    def _after_call(self, epoch: int, step: int, count: int) -> None:
        """Save if it is due, after a call of `count` steps, before the step `step` of an epoch."""
        self._steps += count
        if step < self.params["steps"] and self._is_due():
            self._save(epoch, step)

    def _close(self, model: keras.Model) -> None:
        """Forget the run, also after an exception."""
        begin_at_epoch(model, None)
        self._forget()

    # --- Keras's list of callbacks calls these.

    def on_train_begin(self, logs: Any = None) -> None:
        hooks = calling_list(self)
        others = [each for each in hooks.callbacks if isinstance(each, Checkpoint | _Last)]
        if others != [self]:
            raise ValueError(f"`callbacks` must hold one Checkpoint. Received: {len(others)}.")
        # The last callback, so that it saves what all others have made of the epoch.
        hooks.callbacks.append(_Last(self, hooks))

    def _begin(self, hooks: keras.callbacks.CallbackList) -> None:
        model = self.model
        by_keras = not self._programs
        if by_keras:
            self._check_loop()
        if by_keras and self._facts.get("loop") != "`seqframe.fit`":
            self._forget()  # the last run, if an exception has ended it
            self._facts["loop"] = "Keras's `fit`"
            self._content = self._files.read()
        if not model.optimizer.built:
            with PutOff():
                model.optimizer.build(model.trainable_variables)
        self._facts |= {
            "backend": keras.backend.backend(),
            "optimizer": type(model.optimizer).__name__,
            "steps of an epoch": self.params["steps"],
            "variables": [_spec(variable) for variable in _variables(model)],
        }
        if not by_keras:  # Keras may make its metrics later
            self._facts["metrics"] = metric_names(model)
        self._others = [
            (callback, attributes_of(callback)) for callback in hooks.callbacks if _counts(callback)
        ]
        self._steps, self._clock = 0, time.monotonic()
        content = self._content
        if content is None:
            return
        self._check({**dict.fromkeys(content["facts"]), **self._facts})
        _check_epochs(content, self.params["epochs"], self.path)
        self._restore()
        ended = content["finished"] or content["stop"]
        begin_at_epoch(model, self.params["epochs"] if ended else content["epoch"])
        if content["finished"]:
            logger.warning("The run in %r has ended: nothing is trained.", str(self.path))
        else:
            place = f"epoch {content['epoch'] + 1}, step {content['step'] + 1}"
            logger.info("The run in %r goes on at %s.", str(self.path), place)

    def _check_loop(self) -> None:
        """Raise if Keras's own loop cannot be resumed as it is asked to."""
        if self.every != "epoch":
            raise ValueError(
                "Keras's own `fit` cannot begin at a batch, so a Checkpoint saves after epochs. "
                f'Received: every={self.every!r}. Pass `every="epoch"`, or train with '
                "`seqframe.fit`."
            )
        if not self.model.built:
            raise ValueError(
                "A Checkpoint needs a model that is built. Received: the model "
                f"{self.model.name!r}. Give it an `Input`, or call it on a batch first."
            )

    def _begin_epoch(self, epoch: int) -> None:
        begin_at_epoch(self.model, None)  # the loop has read it
        if self._first_step(epoch):
            self._restore()  # hooks of the epoch that is under way have been called twice

    def _end_epoch(self, epoch: int) -> None:
        self._content = None
        if self._is_due(at_epoch=True):
            self._save(epoch + 1, 0)

    def _end(self) -> None:
        if self._content is not None and self._content["finished"]:
            self._restore()
        else:
            self._save(self.params["epochs"], 0, finished=True)
        self._close(self.model)

    def _is_due(self, at_epoch: bool = False) -> bool:
        if isinstance(self.every, str):
            return at_epoch
        if isinstance(self.every, int):
            return self._steps >= self.every
        seconds = backend.agreed(time.monotonic() - self._clock)
        return backend.from_first(seconds) >= self.every

    def _save(self, epoch: int, step: int, finished: bool = False) -> None:
        model = self.model
        forms = {kind: program.form for kind, program in self._programs.items()}
        content = {
            "facts": self._facts,
            "finished": finished,
            "epochs": self.params["epochs"],
            "epoch": epoch,
            "step": step,
            "stop": bool(model.stop_training),
            "seed": self._seed,
            "forms": {kind: tuple(form) for kind, form in forms.items() if form is not None},
            "variables": [backend.to_host(variable.value) for variable in _variables(model)],
            "metrics": [backend.to_host(value) for value in backend.whole_metrics(model)],
            "draws": _draws(),
            "callbacks": [
                (type(callback).__name__, counters_of(callback, before))
                for callback, before in self._others
            ],
            "dataset": None if self._order is None else self._order.get_state(),
        }
        if backend.is_first_process():
            self._files.write(content)
        self._steps, self._clock = 0, time.monotonic()

    def _restore(self) -> None:
        model, content = self.model, self._content
        counted = self._matched(content["callbacks"])
        pairs = list(zip(_variables(model), content["variables"], strict=True))
        if content["step"]:  # an epoch begins with fresh metrics
            metrics = backend.own_metrics(content["metrics"])
            pairs += zip(model.metrics_variables, metrics, strict=True)
        with PutOff():  # otherwise an interruption would leave half of it
            for variable, value in pairs:
                variable.assign(value)
            model.stop_training = content["stop"]
            _set_draws(content["draws"])
            for callback, before, counters in counted:
                set_counters(callback, before, counters)
            if self._order is not None and content["dataset"] is not None:
                self._order.set_state(content["dataset"])

    def _matched(
        self, saved: list[tuple[str, Content]]
    ) -> list[tuple[keras.callbacks.Callback, dict[str, Any], Content]]:
        """Return callbacks with their first and their saved counters, matched by class."""
        left, matched = list(self._others), []
        for name, counters in saved:
            found = [k for k, (callback, _) in enumerate(left) if type(callback).__name__ == name]
            if found:
                matched.append((*left.pop(found[0]), counters))
            elif counters:
                raise ValueError(
                    f"The run in {str(self.path)!r} had a callback {name}, whose counters are "
                    "saved. Received: none. Pass `callbacks` as before, or another `path`."
                )
        return matched

    def _check(self, facts: dict[str, Any]) -> None:
        """Raise if the files are of another model, other data or other arguments."""
        before = facts if self._content is None else self._content["facts"]
        for name, now in facts.items():
            if before.get(name) != now:
                told = f"{before.get(name)!r} before, and {now!r} now"
                told = told if len(told) < 80 else "another one before than now"
                raise ValueError(
                    f"The checkpoint in {str(self.path)!r} belongs to another run. Received: "
                    f"{name}: {told}. Call `fit` as before, or pass another `path`."
                )


class _Last(keras.callbacks.Callback):
    """The last callback of a list, which lets a Checkpoint act after all others."""

    def __init__(self, checkpoint: Checkpoint, hooks: keras.callbacks.CallbackList):
        super().__init__()
        self._checkpoint, self._hooks = checkpoint, hooks

    def on_train_begin(self, logs: Any = None) -> None:
        self._checkpoint._begin(self._hooks)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._checkpoint._begin_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._checkpoint._end_epoch(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self._hooks.callbacks.remove(self)
        self._checkpoint._end()


def find_checkpoint(callbacks: list[keras.callbacks.Callback]) -> Checkpoint | None:
    """Return the Checkpoint among callbacks, if there is one."""
    return next((each for each in callbacks if isinstance(each, Checkpoint)), None)


def _check_epochs(content: Content, epochs: int, path: Path) -> None:
    """Raise if a run has gone further than `epochs`, or has ended before."""
    begun = content["epoch"] + (content["step"] > 0)
    done = content["epochs"] if content["finished"] else begun
    if epochs < done or (content["finished"] and epochs != done):
        state = "ended after" if content["finished"] else "begun"
        raise ValueError(
            f"The run in {str(path)!r} has {state} {done} epochs. Received: epochs={epochs}. Pass "
            f"`epochs={done}`. To train on, call `fit` again with `initial_epoch={done}` and "
            "another `path`."
        )


# --- What a run is recognised by.


def facts_of(schedule: Schedule, kind: str) -> dict[str, Any]:
    """Return what tells the data and the steps of a run from those of another one."""
    shuffle = schedule.shuffle if isinstance(schedule.shuffle, bool) else str(schedule.shuffle)
    order = [array for array in (schedule._frames, schedule.resets) if array is not None]
    shard = schedule.shard
    if shard is not None:  # the processes' data and blocks differ, but not the whole
        shuffle, order = bool(schedule.shuffle), []
    facts = {
        "batch size": schedule.batch_size,
        "frames": schedule.feed.size,
        "framing": repr(schedule.feed.gather),
        "order": (shuffle, schedule.seed if shuffle else None, _digest(order)),
        "data": (
            _digest(schedule.feed.sample()) if shard is None else (shard.num_shards, shard.whole)
        ),
    }
    return {f"{name} of the {kind}": fact for name, fact in facts.items()}


def _digest(nest: Any) -> int:
    """Return a checksum of a nest of arrays."""
    return digest(map(np.asarray, tree.flatten(nest)))


# --- What of a model and of the process changes in training.


def _variables(model: keras.Model) -> list[Any]:
    """Return the variables that training changes, except metrics, in an order that lasts."""
    # States first: under JAX they are among the model's own variables at times.
    layers = [layer for layer in stateful_layers(model) if layer.states is not None]
    found = [*state_variables(layers), *model.variables, *model.optimizer.variables]
    return list({id(variable): variable for variable in found}.values())


def _spec(variable: Any) -> tuple[Any, ...]:
    return (*variable.shape, keras.backend.standardize_dtype(variable.dtype))


def _draws() -> dict[str, Any]:
    """Return the state of each random generator that a layer or a callback may use."""
    keras_own = global_seed_generator()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "keras": None if keras_own is None else ops.convert_to_numpy(keras_own.state),
        "backend": backend.random_state(),
    }


def _set_draws(draws: dict[str, Any]) -> None:
    if draws["keras"] is not None:
        made_seed_generator().state.assign(draws["keras"])
    backend.set_random_state(draws["backend"])
    random.setstate(draws["python"])
    np.random.set_state(draws["numpy"])


# Theirs is no result, or the program itself carries it.
_WITHOUT_COUNTERS = (Checkpoint, _Last, StatefulTrainer, keras.callbacks.ProgbarLogger)


def _counts(callback: keras.callbacks.Callback) -> bool:
    return not isinstance(callback, _WITHOUT_COUNTERS)
