"""One program that feeds a model's predictions back in.

A buffer `(rows, width + room, …)` holds all that was given and all that was predicted. Prompts end
at `width`, and predictions begin there. A pass over position `k` shows the model the steps that end
at `k`, and writes its prediction `gap + 1` positions further on. A stateless model is shown its
window. A stateful model sees the single step, and carries its state along.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from threading import RLock
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import Layout, Shape, Tensor
from seqframe.backend.internals import all_layers, inference_copy
from seqframe.backend.interrupts import PutOff
from seqframe.backend.locks import between_calls
from seqframe.framing.framer import SequenceFramer
from seqframe.model.inspect import (
    adapted_values,
    arranged,
    context_steps,
    declared_shape,
    infers_by_default,
    least_prompt,
    same_objects,
    takes_future,
)
from seqframe.model.state import fresh_state, state_variables, stateful_layers
from seqframe.rollout.choosers import Chooser, Position, SymbolChooser
from seqframe.rollout.prompts import Prompts, rounded_rows

# A compiled rollout holds some megabytes.
_KEPT = 32  # rollouts that a model keeps for a framer
_KEPT_BRIEF = 4  # of these, with noise: each call may bring a new function
_SEEDS_APART = 7919  # distance of the seeds of layers that draw at random

# An interruption ends a rollout after the call that is under way.
_SECONDS = 0.25  # of a call
_GROWTH = 64  # a short call measures its own cost more than its passes', so the next is far longer

_making = RLock()


@dataclass(eq=False)
class RolledModel:
    """A model to roll out, and the rollouts that were compiled for it.

    The layers in `carried` carry their state from step to step. If there are none, the model is
    shown windows.
    """

    model: keras.Model
    framer: SequenceFramer
    carried: list[keras.Layer]
    _rollouts: OrderedDict[tuple[Chooser, int, bool], "Rollout"] = field(
        default_factory=OrderedDict, init=False
    )
    made_of: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.made_of = parts_of(self.model)

    @property
    def is_stepped(self) -> bool:
        """Whether the model sees single steps and carries its state along."""
        return bool(self.carried)

    @property
    def takes_future(self) -> bool:
        """Whether the model takes future covariates."""
        return takes_future(self.model)

    @property
    def least_prompt(self) -> int:
        """Number of steps that a prompt or a history must have."""
        return least_prompt(self.framer, self.is_stepped)

    @property
    def outputs(self) -> Shape | None:
        """Shape of one prediction, or None if the model does not declare it."""
        shape = declared_shape(self.model, "output_shape")
        if shape is not None and self.framer.return_sequences:
            shape = shape[1:]
        known = tuple(size for size in shape or () if size is not None)
        return known if shape and len(known) == len(shape) else None

    @property
    def _declared_rows(self) -> list[int | None]:
        """Batch sizes that the model's inputs declare: its layers may rely on them."""
        return [each.shape[0] for each in getattr(self.model, "inputs", None) or []]

    def start(self, choose: Chooser, prompts: Prompts, dropout: bool = False) -> "Run":
        """Return a rollout of some prompts, before its first step."""
        rollout = self._rollout(choose, len(prompts.buffer), dropout)
        return Run(rollout, choose, prompts)

    def _rollout(self, choose: Chooser, rows: int, dropout: bool) -> "Rollout":
        """Return the rollout of a chooser for some rows or a few more, compiled once and kept.

        Programs hold the layers, and the values that a layer learned by `adapt`. They are dropped
        when these change.
        """
        # What the user's functions and dropout draw depends on the number of rows.
        is_free = not (choose.calls_user or dropout or rows in self._declared_rows)
        if backend.COMPILES_ROLLOUTS and is_free:
            rows = rounded_rows(rows // choose.num_samples) * choose.num_samples
        made_of = parts_of(self.model)
        key = (choose, rows, dropout)
        with _making:
            if not same_objects(made_of, self.made_of):
                self._rollouts.clear()
                self.made_of = made_of
            if key not in self._rollouts:
                self._rollouts[key] = Rollout(self, rows, choose, dropout)
            self._rollouts.move_to_end(key)
            brief = [key for key, rollout in self._rollouts.items() if rollout.choose.is_brief]
            for old in {*list(self._rollouts)[:-_KEPT], *brief[:-_KEPT_BRIEF]}:
                del self._rollouts[old]
            return self._rollouts[key]


def rolled_model(
    model: keras.Model, framer: SequenceFramer, stateful: bool, find: Callable[[], list[Any]]
) -> RolledModel:
    """Return a model to roll out, with what other generators have compiled for it.

    `find` returns the layers that carry their state.
    """
    with _making:
        # `__setattr__` is avoided, because Keras would look for layers in a dict.
        kept = vars(model).setdefault("_seqframe_rollouts", {})
        key = (framer, stateful)
        if key not in kept or not same_objects(kept[key].made_of, parts_of(model)):
            kept[key] = RolledModel(model, framer, find())
        found: RolledModel = kept[key]
        return found


def parts_of(model: keras.Model) -> list[Any]:
    """Return what a model's rollouts are made of: layers, variables, and constants."""
    return [*all_layers(model), *own_variables(model), *adapted_values(model)]


class Rollout:
    """A model's compiled rollout for some rows.

    It works on a copy of the model with the same weights and states of its own. So it never changes
    the model, and the model's batch size does not matter. Several threads may use it at once.

    With `dropout`, the model's dropout stays active.
    """

    def __init__(self, rolled: RolledModel, rows: int, choose: Chooser, dropout: bool = False):
        model, framer = rolled.model, rolled.framer
        self.framer, self.choose, self.is_stepped = framer, choose, rolled.is_stepped
        self._layers, self.rows, self._dropout = rolled.carried, rows, dropout
        states = carried_variables(rolled.carried, rows)
        self._model = inference_copy(model, rolled.carried, states)
        self._seed = _seed_generator()
        self._flat_states = tree.flatten(states)
        self._is_plain = not dropout and infers_by_default(model)
        inputs = getattr(model, "inputs", None) or []
        # Keras would cast ids for the model, which takes longer.
        self._input_dtype = inputs[0].dtype if len(inputs) == 1 else None
        self._context = context_steps(framer, self.is_stepped)
        pads = framer.geometry.pads_start
        self._pads_after = pads and framer.padding == "post" and self._context > 1
        self._weights, self._seeds_dropped = own_variables(model), _seed_variables(model)
        self._call = backend.PureFunction(
            self._read, self._weights, self._flat_states, own_states(model)
        )
        # TensorFlow frees no program that XLA compiled, and each call may bring a new function.
        self._program = backend.compile_program(self.roll, xla=False if choose.is_brief else "auto")
        self._compiling = RLock()
        self._passes: dict[Hashable, int] = {}  # passes of the next call, by shapes

    def states(self, values: list[np.ndarray] | None) -> list[Tensor]:
        """Return the flat values of states as tensors; None: fresh ones."""
        if values is None:
            # Computed each time: a cell's initial state may depend on its weights.
            values = tree.flatten([fresh_state(layer, self.rows) for layer in self._layers])
        received = [tuple(value.shape) for value in values]
        expected = [tuple(variable.shape) for variable in self._flat_states]
        if received != expected:
            raise ValueError(
                "`state` must come from a generator like this one. Received: recurrent states of "
                f"shapes {received}. This generator has {expected}."
            )
        return [
            ops.cast(value, variable.dtype)
            for value, variable in zip(values, self._flat_states, strict=True)
        ]

    def weights(self) -> list[Tensor]:
        """Return the values of the model's variables, as they are after a whole training step."""
        return between_calls(lambda: backend.values_of(self._weights))

    def run(
        self, weights: list[Tensor], carry: Any, given: tuple[Any, ...], *numbers: int
    ) -> tuple[int, Any]:
        """Run as many passes as take a moment, and return how many, and the carry afterwards.

        Args:
            weights: tensors, as `weights` returns them.
            carry: buffer, states and extras, as tensors.
            given: lengths, begins and future, as tensors. None for begins: all begin at once.
            *numbers: int. Seed, width, first position, steps drawn before, passes.
        """
        *fixed, most = numbers

        def call(passes: int) -> Any:
            # An interruption of Keras, while it traces, would leave its scopes open.
            with PutOff():
                found = self._program(weights, carry, given, backend.scalars(*fixed, passes))
                backend.finish(found)
            return found

        shapes = tuple(
            None if tensor is None else (tuple(tensor.shape), tensor.dtype)
            for tensor in tree.flatten((carry, given))
        )
        if not backend.COMPILES_ROLLOUTS:
            self._passes.setdefault(shapes, 1)
        if shapes not in self._passes:
            # Threads must not trace it at once. Without a pass, it is only compiled.
            with self._compiling:
                if shapes not in self._passes:
                    call(0)
                    self._passes[shapes] = 1
        passes = min(self._passes[shapes], most)
        began = time.perf_counter()
        found = call(passes)
        seconds = max(time.perf_counter() - began, 1e-9)
        fitting = min(passes * _SECONDS / seconds, _GROWTH * passes)
        # The last call of a rollout may be too short to tell the speed.
        if passes == self._passes[shapes] or fitting > self._passes[shapes]:
            self._passes[shapes] = max(int(fitting), 1)
        return passes, found

    def roll(self, weights: Any, carry: Any, given: Any, numbers: Any) -> Any:
        """Return the carry after some passes: the program, a function of tensors."""
        seed, width, first, drawn, passes = numbers
        lengths, begins, *future = given
        future = future[0] if future else None
        stride = 1 if self.is_stepped else self.framer.horizon

        # The position is carried, not computed from `first`: XLA would compile for each `first`.
        def one_pass(number: Any, k: Any, buffer: Any, states: Any, extras: Any) -> Any:
            target = k + self.framer.gap + 1
            due = True
            if self.is_stepped:
                # A stateful model also passes over the prompt, and over its own blocks.
                due = target >= width
                if self.framer.horizon > 1:
                    due = due & ((target - width) % self.framer.horizon == 0)
            at = Position(buffer, future, target, width, due, lengths, self._seed)
            seeds, dropped = self._seeds(seed, target - width + drawn)
            # Rows whose prompt has not begun yet keep their fresh state.
            begun = k >= begins if self.is_stepped and begins is not None else None
            real = self._real_places(lengths + (k + 1 - width))
            x = self._input(at, real)
            with backend.seeded_draws(seed + target) if self._dropout else nullcontext():
                read, after = self._call(weights, dropped, states, x, real, rows=begun)
            choice = backend.call_with_values(seeds, self.choose, read, at, extras)
            if choice.rows is not None:
                buffer = ops.take(buffer, choice.rows, axis=0)
                after = [ops.take(state, choice.rows, axis=0) for state in after]
            buffer = backend.write_steps(buffer, target, choice.steps, due)
            return k + stride, buffer, after, choice.extras

        return backend.repeat(passes, one_pass, first, *carry)[1:]

    def _seeds(self, seed: Tensor, step: Tensor) -> tuple[list[Any], list[Any]]:
        """Return the seed variables of the chooser and of the dropout, with their values."""
        if not (self._dropout or self.choose.draws):
            return [], []
        drawn = backend.seed_of_step(seed, step)
        dropped = []
        if self._dropout:
            # Each step and each layer drops other units, by seeds of their own.
            for number, variable in enumerate(self._seeds_dropped, start=1):
                apart = ops.convert_to_tensor([number * _SEEDS_APART, 0], drawn.dtype)
                dropped.append((variable, ops.cast(drawn + apart, variable.dtype)))
        return [(self._seed.state, drawn)], dropped

    def _real_places(self, steps: Tensor) -> Tensor | None:
        """Return how many places of an input are not padding; None if the framer never pads."""
        geometry = self.framer.geometry
        return -(-steps // geometry.rate) if geometry.pads_start else None

    def _read(self, x: Tensor, real: Tensor) -> list[Tensor]:
        """Return the parts of the model's output that the chooser needs.

        `real` is what `_real_places` returns.
        """
        output = self._model(x) if self._is_plain else self._model(x, training=self._dropout)
        if self.framer.return_sequences:
            output = self._last_step(output, real)
        return self.choose.read(output, self.rows)

    def _input(self, at: Position, real: Tensor) -> Any:
        """Return the model's input that ends `gap + 1` positions before the target."""
        geometry = self.framer.geometry
        begin = at.target - geometry.gap - self._context
        x = backend.read_steps(at.buffer, begin, self._context)
        if isinstance(self.choose, SymbolChooser):
            # A fault is no id: an embedding could not read it. The padding may be negative.
            x = ops.maximum(x, min(int(self.framer.padding_value), 0))
        if geometry.rate > 1:
            x = x[:, :: geometry.rate]
        x = _laid_out(self._padded(x, real), self.framer.layout)
        x = x if self._input_dtype is None else backend.cast(x, self._input_dtype)
        if at.future is None or not takes_future(self._model):
            return x
        return arranged(self._model, {"past": x, "future": self._future(at, begin, real)})

    def _future(self, at: Position, begin: Tensor, real: Tensor) -> Tensor:
        """Return the future of the target steps, or of every input step if each has targets."""
        geometry, future = self.framer.geometry, at.future
        if self.framer.future_columns is not None:
            # After these come columns of the history that the model does not predict.
            future = future[..., : len(self.framer.future_columns)]
        if not geometry.return_sequences:
            return backend.read_steps(future, at.target, geometry.horizon)
        which = np.arange(geometry.horizon)[None]
        if self._context == geometry.span:
            which = geometry.target_offsets - geometry.gap - 1
        begin = begin + geometry.gap + 1
        rows = backend.read_steps(future, begin, self._context + geometry.horizon - 1)
        rows = ops.take(rows, which.ravel(), axis=1)
        rows = ops.reshape(rows, (rows.shape[0], *which.shape, *rows.shape[2:]))
        if geometry.pads_start:
            # The targets of a padded input step are padding.
            places = rows.shape[1]
            is_real = ops.arange(places)[None] >= (places - real)[:, None]
            is_real = ops.reshape(is_real, (*is_real.shape, *(1,) * (len(rows.shape) - 2)))
            rows = ops.where(is_real, rows, ops.cast(self.framer.padding_value, rows.dtype))
        return self._padded(rows, real)

    def _padded(self, x: Tensor, real: Tensor) -> Tensor:
        """Move the padding of steps from the front to the framer's side."""
        if not self._pads_after:
            return x
        # A rotation by the number of padding places puts real steps first.
        places = x.shape[1]
        shift = places - ops.minimum(real, places)
        order = (ops.arange(places)[None] + shift[:, None]) % places
        order = ops.reshape(order, (*order.shape, *(1,) * (len(x.shape) - 2)))
        return ops.take_along_axis(x, order, axis=1)

    def _last_step(self, output: Tensor, real: Tensor) -> Tensor:
        if not self._pads_after:
            return output[:, -1]
        last = ops.clip(real, 1, output.shape[1]) - 1
        last = ops.reshape(last, (-1, *(1,) * (len(output.shape) - 1)))
        return ops.take_along_axis(output, last, axis=1)[:, 0]


class Run:
    """A rollout under way, on the device.

    `made` counts the steps predicted so far.
    """

    def __init__(self, rollout: Rollout, choose: Chooser, prompts: Prompts):
        self._rollout, self.prompts, self.made = rollout, prompts, 0
        self._rows, capacity = prompts.buffer.shape[:2]
        extras = choose.begin(rollout.rows, capacity)
        begins = self._filled(prompts.begins.astype("int32"))
        # A stateless model sees its window, wherever its prompt begins. Several rows are masked
        # even if they begin together: without it, XLA takes twice as long for an LSTM(256).
        masked = begins if rollout.is_stepped and rollout.rows > 1 else None
        given = [self._filled(prompts.lengths.astype("int32")), masked]
        given += [] if prompts.future is None else [self._filled(prompts.future)]
        states = prompts.states and [self._filled(state) for state in prompts.states]
        self._weights = rollout.weights()
        with backend.lasting():
            self._carry = (
                backend.operand(self._filled(prompts.buffer)),
                between_calls(lambda: rollout.states(states)),
                [backend.operand(extra) for extra in extras],
            )
            self._given = tuple(None if item is None else backend.operand(item) for item in given)
        # The position of the next pass.
        self._next = prompts.width - rollout.framer.gap - 1
        if rollout.is_stepped:
            self._next = int(prompts.begins.min())

    def advance(self, steps: int) -> None:
        """Predict `steps` more."""
        prompts, framer = self.prompts, self._rollout.framer
        self.made += steps
        stride = 1 if self._rollout.is_stepped else framer.horizon
        last = prompts.width + self.made - framer.gap - 1
        passes = max(-(-(last - self._next) // stride), 0)
        while passes:
            numbers = (prompts.seed, prompts.width, self._next, prompts.drawn, passes)
            done, self._carry = self._rollout.run(self._weights, self._carry, self._given, *numbers)
            passes -= done
            self._next += done * stride

    def steps(self) -> np.ndarray:
        """Return the predicted steps, `(rows, steps, …)`."""
        return self._read(self.prompts.width)

    def tail(self, count: int) -> np.ndarray:
        """Return the last `count` steps, given or predicted."""
        return self._read(self.prompts.width + self.made - count)

    def states(self) -> list[np.ndarray]:
        """Return the flat states."""
        return [ops.convert_to_numpy(state)[: self._rows].copy() for state in self._carry[1]]

    def extras(self) -> list[np.ndarray]:
        """Return the values that the chooser keeps."""
        return [ops.convert_to_numpy(extra)[: self._rows] for extra in self._carry[2]]

    def _read(self, start: int) -> np.ndarray:
        stop = self.prompts.width + self.made
        return ops.convert_to_numpy(self._carry[0])[: self._rows, start:stop].copy()

    def _filled(self, rows: np.ndarray) -> np.ndarray:
        """Return rows for the whole program: after the last one, the first one again and again."""
        missing = self._rollout.rows - len(rows)
        return (
            rows if missing <= 0 else np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
        )


@cache
def _seed_generator() -> keras.random.SeedGenerator:
    """Return the generator that choosers draw by. Each pass gives it a state of its own.

    All rollouts share it: TensorFlow keeps 36 kB of each variable that was ever made.
    """
    with backend.lasting():
        return keras.random.SeedGenerator(0)


def own_variables(model: keras.Model) -> list[Any]:
    """Return a model's variables without its recurrent states.

    While a program of training runs under JAX, the states are among the variables.
    """
    states = {id(variable) for variable in own_states(model)}
    return [variable for variable in model.variables if id(variable) not in states]


def own_states(model: keras.Model) -> list[Any]:
    """Return the state variables of a model's stateful layers."""
    return state_variables([layer for layer in stateful_layers(model) if layer.states is not None])


def carried_variables(layers: Sequence[keras.Layer], rows: int) -> list[Any]:
    """Return variables that hold the fresh states of some layers."""
    with backend.lasting():
        return [
            tree.map_structure(
                lambda value: keras.Variable(value, trainable=False, name="rollout_state"),
                fresh_state(layer, rows),
            )
            for layer in layers
        ]


def _laid_out(x: Tensor, layout: Layout) -> Tensor:
    if layout == "tokens":
        return x
    if layout == "features":
        return ops.reshape(x, (x.shape[0], 1, -1))
    if layout == "flat":
        return ops.reshape(x, (x.shape[0], -1))
    return x if len(x.shape) > 2 else x[..., None]


def _seed_variables(model: keras.Model) -> list[keras.Variable]:
    """Return the variables of a model's seed generators, which are not weights."""
    weights = {id(variable) for variable in model.weights}
    return [v for v in model.non_trainable_variables if id(v) not in weights and v.shape == (2,)]
