"""Programs: a model's own steps on the device, in the form that runs them fastest.

A form says whether a program is a loop of steps or a single step, and whether XLA compiles it.
Which one is fastest depends on the layers, the batch and the machine. So the first steps are timed.
They are steps of the training like any other.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import JitCompile, States, Verbose
from seqframe.backend.common import Form, Given, StepLoop
from seqframe.backend.internals import all_layers, chosen_jit_compile, compiled_with
from seqframe.backend.locks import call_program
from seqframe.model.inspect import adapted_values, same_objects
from seqframe.model.state import (
    checked_states,
    fresh_state,
    state_batch_size,
    state_variables,
    stateful_layers,
)
from seqframe.training.feed import Gather

logger = logging.getLogger("seqframe")

PROGRAMS = ("auto", "loop", "steps")

_WORTH_TELLING = 0.1  # seconds of compilation that a message reports
_PIECE = 0.05  # seconds of a timed piece
_PIECES = 3  # timed pieces of each form; the fastest counts, because other work of a machine slows
_SLOW = 2.0  # a form that takes this many times as long in two pieces has no third one
_PAYBACK = 1.5  # a form is tried if it may save this many times its compilation
_COMPARE = 20  # one device is tried if the steps to come take this many times its compilation


@dataclass
class Trial:
    """What the clock has told about the forms of one network and batch size.

    Attributes:
        forms: the forms to choose from. The first one is tried first.
        refused: the forms that cannot be compiled.
        compilation: seconds of each form that was compiled, for this batch size or another one.
        step: seconds of a step in each form that was tried, the least.
        pieces: number of timed pieces of each form.
        steps: number of steps that have run, in all forms and calls.
    """

    forms: Sequence[Form] = ()
    refused: list[Form] = field(default_factory=list)
    compilation: dict[Form, float] = field(default_factory=dict)
    step: dict[Form, float] = field(default_factory=dict)
    pieces: dict[Form, int] = field(default_factory=dict)
    steps: int = 0

    @property
    def fastest(self) -> Form:
        """The fastest form so far; before any was timed, the first one."""
        timed = [form for form in self.forms if form in self.step]
        return min(timed, key=self.step.__getitem__, default=self.forms[0])

    def possible(self, forms: Sequence[Form]) -> list[Form]:
        """Return the forms that were not refused."""
        return [form for form in forms if form not in self.refused]

    def is_timed(self, form: Form) -> bool:
        """Whether a form had all its pieces, or was much slower than another twice."""
        slow = self.step.get(form, 0.0) > _SLOW * self.step.get(self.fastest, math.inf)
        return self.pieces.get(form, 0) >= (2 if slow else _PIECES)

    def next_form(self, left: int) -> Form:
        """Return the form of the next steps, if so many are left.

        Nobody knows whether more calls follow. So as many steps are expected as there were so far.
        """
        for form in self.forms:
            if form in self.pieces and not self.is_timed(form):
                return form
        untried = [form for form in self.forms if form not in self.pieces]
        if len(untried) in (0, len(self.forms)):
            return self.fastest
        seconds, cost = self.step[self.fastest], self.compilation.get(self.forms[0], 0.0)
        saved = {form: backend.may_save(form, seconds) for form in untried}
        form = max(untried, key=saved.__getitem__)
        saving = (left + self.steps) * saved[form]
        return form if saving > _PAYBACK * backend.COMPILATION[form] * cost else self.fastest

    def most_steps(self, form: Form) -> int | None:
        """Return the steps of the next piece of a form; None: any number."""
        if len(self.forms) < 2 or self.is_timed(form):
            return None
        return max(1, int(_PIECE / self.step[form])) if form in self.step else 1

    def note(self, form: Form, seconds: float, steps: int) -> None:
        """Take note of the seconds that a piece of so many steps took."""
        self.steps += steps
        self.step[form] = min(seconds / steps, self.step.get(form, math.inf))
        self.pieces[form] = self.pieces.get(form, 0) + 1


class _Kept:
    """Compiled loops and their trials, and the objects that they were compiled with.

    It is a class, because Keras saves the contents of a model's lists and dicts.
    """

    def __init__(self, model: keras.Model, made_of: list[Any]):
        self.made_of, self.traits = made_of, backend.traits(model)
        self.loops: dict[tuple[str, Gather, Form], StepLoop] = {}
        self.trials: dict[Any, Trial] = {}
        self.costs: dict[Any, dict[Form, float]] = {}  # seconds of compilation
        self.is_compared = False  # with one device of a mesh


class Program:
    """The steps of a model: `kind` is "train", "test" or "predict".

    What was compiled and timed is kept with the model until its parts change. They change when the
    model is compiled, its weights are replaced, or its layers adapt.
    """

    def __init__(
        self,
        model: keras.Model,
        kind: str,
        gather: Gather,
        program: str,
        jit_compile: JitCompile,
        verbose: Verbose,
    ):
        self.outputs: Any = None  # a nest like the predictions, of their names in the logs
        self.form: Form | None = None  # of the last steps
        self.planned = 0  # steps of the whole run
        self._is_fixed = False
        self._model, self._kind, self._gather, self._verbose = model, kind, gather, verbose
        self._forms = forms_for(model, program, jit_compile)
        self._states = state_variables(stateful_layers(model))

    def fix(self, steps: int, form: Form | None) -> None:
        """Run all steps in one form: a given one, or the one that suits the layers and `steps`.

        The clock has no say then. Forms round differently in the last digit, so that a run can be
        repeated, or resumed, bit for bit.
        """
        if form is not None and form not in self._forms:
            raise ValueError(
                f"The {_STEPS[self._kind]} steps ran as {form}, and must do so again. Received: "
                "other values of `program` or `jit_compile`. Pass them as before."
            )
        traits = self._kept().traits
        best = backend.promising(traits, self._forms, steps, self._kind == "train")
        # The others are for a model that XLA refuses.
        others = [form for form in self._forms if form not in best]
        self._forms = [*best, *others] if form is None else [form]
        self._is_fixed = True

    def run(
        self, given: Given, first: int, steps: int, epochs: int, fresh: bool, left: int
    ) -> dict[str, np.ndarray]:
        """Run `epochs` times `steps` steps of a schedule, from its row `first` on.

        With `fresh`, metrics are reset before each epoch. `left` is the number of steps that are
        still to come, with these. Returns arrays `(epochs, …)` by name: the results of the last
        step of each epoch.
        """
        kept = self._kept()
        shapes = tuple(tuple(tensor.shape) for tensor in tree.flatten(given))
        batch_size = tree.flatten(given[1])[0].shape[1]
        key = (self._kind, self._gather, tuple(self._forms), self._is_fixed, batch_size)
        costs = kept.costs.setdefault((self._kind, self._gather), {})
        trial = kept.trials.setdefault(key, Trial(compilation=costs))
        if len(trial.forms) < 2:  # nothing is being compared
            trial.forms = self._choices(kept, trial, left + trial.steps)
        # Pieces are epochs, or the steps of a single one.
        total, unit = (epochs, steps) if epochs > 1 else (steps, 1)

        def run_piece(loop: StepLoop, done: int, count: int) -> dict[str, np.ndarray]:
            if not count:
                return loop.run(given, 0, 0, 0, fresh=False)  # it is only compiled
            shape = (steps, count) if epochs > 1 else (count, 1)
            is_fresh = fresh and (epochs > 1 or not done)
            # Rollouts in other threads read weights between two calls.
            return call_program(lambda: loop.run(given, first + done * unit, *shape, is_fresh))

        found: list[dict[str, np.ndarray]] = []
        done = 0
        while done < total:
            form = trial.next_form(left - done * unit)
            loop = self._loop(kept, form)
            is_new = shapes not in loop.compiled_for
            if is_new:
                # An error while it is compiled changes nothing.
                count = 0 if loop.compiles_ahead else 1
            else:
                most = trial.most_steps(form) or total * unit
                count = min(max(most // unit, 1), total - done)
            begin = time.perf_counter()
            try:
                logs = run_piece(loop, done, count)
            except backend.XLA_REFUSALS as error:
                if not (form.xla and is_new):
                    raise
                self._give_up(trial, form, error)
                continue
            # Processes that run a program together choose the same form.
            seconds = backend.agreed(time.perf_counter() - begin)
            self.form = form
            if is_new:
                loop.compiled_for.add(shapes)
                trial.compilation[form] = max(seconds, trial.compilation.get(form, 0.0))
                if seconds >= _WORTH_TELLING:
                    self._tell(f"Compiled the {_STEPS[self._kind]} step in {seconds:.1f} s.")
            else:
                trial.note(form, seconds, count * unit)
                self._tell_choice(trial, form)
                self._compare_with_one_device(kept, trial, given, steps, left - done * unit)
            if count:
                done += count
                found = [*found, logs] if epochs > 1 else [logs]
                self.outputs = loop.outputs
        return {name: np.concatenate([logs[name] for logs in found]) for name in found[0]}

    def _choices(self, kept: _Kept, trial: Trial, steps: int) -> list[Form]:
        """Return the forms to choose from by the clock."""
        possible = trial.possible(self._forms)
        if self._is_fixed:
            return possible[:1]
        if kept.traits.draws and self._kind == "train":
            steps = self.planned  # the same for a smaller last batch, and in each call
        return backend.promising(kept.traits, possible, steps, self._kind == "train")

    def _kept(self) -> _Kept:
        model = self._model
        adapted = adapted_values(model)
        parts = [*compiled_with(model), *model.trainable_variables, *self._states, *adapted]
        made_of = [*parts, keras.distribution.distribution()]
        kept = getattr(model, "_seqframe_programs", None)
        if kept is None or not same_objects(kept.made_of, made_of):
            kept = model._seqframe_programs = _Kept(model, made_of)
        return kept

    def _loop(self, kept: _Kept, form: Form) -> StepLoop:
        key = (self._kind, self._gather, form)
        if key not in kept.loops:
            kept.loops[key] = backend.StepLoop(
                self._model, self._kind, self._gather, self._states, form
            )
        return kept.loops[key]

    def _give_up(self, trial: Trial, form: Form, error: Exception) -> None:
        """Go on without a form that XLA refuses, or raise if there is no other one."""
        names = sorted((layer.name for layer in all_layers(self._model)[1:]), key=len, reverse=True)
        blamed = next((f"the layer {name!r}" for name in names if name in str(error)), "a layer")
        refusal = (
            f"XLA cannot compile {blamed} of the model {self._model.name!r}. It says: "
            f"{str(error).strip().splitlines()[0][:200]} Pass `jit_compile=False`."
        )
        trial.refused.append(form)
        trial.forms = trial.possible(self._forms)[: 1 if self._is_fixed else None]
        if not trial.forms:
            raise ValueError(refusal) from error
        logger.info("%s", refusal)

    def _tell_choice(self, trial: Trial, form: Form) -> None:
        """Tell which form runs the steps, when a second one has just had its pieces."""
        ended = trial.is_timed(form) and trial.pieces[form] <= _PIECES
        if ended and len(trial.pieces) > 1:
            timed = ", ".join(f"{form}: {each * 1e6:.0f} µs" for form, each in trial.step.items())
            self._tell(f"The {_STEPS[self._kind]} steps run as {trial.fastest} ({timed} a step).")

    def _compare_with_one_device(
        self, kept: _Kept, trial: Trial, given: Given, steps: int, left: int
    ) -> None:
        """Say once if the devices of a mesh take longer for a step than one of them alone."""
        form = trial.fastest
        step, compilation = trial.step[form], trial.compilation.get(form, 0.0)
        is_worth = trial.is_timed(form) and left * step > _COMPARE * compilation
        if kept.is_compared or self._kind != "train" or not is_worth:
            return
        kept.is_compared = True
        count = min(max(int(_PIECE / step), 1), steps)
        alone = self._loop(kept, form).seconds_alone(given, count)
        if alone is not None and alone < step and backend.is_first_process():
            logger.warning(
                "One device alone takes %.0f µs for a training step of %r, and all devices of the "
                "mesh take %.0f µs. Train on one device, or pass a larger `batch_size`.",
                *(alone * 1e6, self._model.name, step * 1e6),
            )

    def _tell(self, message: str) -> None:
        logger.info("%s", message)
        if self._verbose == 2:
            print(message)


_STEPS = {"train": "training", "test": "validation", "predict": "prediction"}


def forms_for(model: keras.Model, program: str, jit_compile: JitCompile) -> list[Form]:
    """Return the forms that the arguments of `fit` and of `model.compile` allow."""
    if jit_compile == "auto":
        jit_compile = chosen_jit_compile(model)
    can_choose = {form.xla for form in backend.FORMS} == {True, False}
    found = [
        form
        for form in backend.FORMS
        if program in ("auto", "loop" if form.loop else "steps")
        and (jit_compile in ("auto", form.xla) or not can_choose)
    ]
    if not found:
        raise ValueError(
            f"The backend {backend.name!r} has no such program. Received: program={program!r}, "
            f'jit_compile={jit_compile}. Leave them out, or pass `program="auto"`.'
        )
    return found


def flat_initial_state(model: keras.Model, given: States | None) -> list[Any]:
    """Return the value that each state variable is reset to."""
    layers = stateful_layers(model)
    if given is None:
        states = [fresh_state(layer, state_batch_size(layer)) for layer in layers]
    else:
        states = checked_states(given, layers, "initial_state")
    return [
        ops.cast(value, variable.dtype)
        for value, variable in zip(tree.flatten(states), state_variables(layers), strict=True)
    ]
