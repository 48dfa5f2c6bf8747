"""One program that feeds a model's predictions back in.

All that was given and all that was predicted stands in one buffer, `(rows, width + room, …)`.
Prompts end at `width`, predictions begin there. A pass over position `k` shows the model the steps
that end at `k` and writes what it predicts, `gap + 1` positions further on: a stateless model its
window, a stateful one the single step, with its state carried along.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.backend.internals import any_time_steps, borrowed_states
from seqframe.model.context import context_steps
from seqframe.model.inputs import arranged, takes_future
from seqframe.model.state import fresh_state
from seqframe.rollout.choosers import Position
from seqframe.rollout.dropout import SEEDS_APART, seed_states, undisturbed

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer


@dataclass
class Prompts:
    """What a rollout begins with.

    Attributes:
        buffer: array `(rows, width + room, …)` with prompts that end at `width`.
        width: int.
        lengths: int array `(rows,)`. How many steps before `width` are real.
        begins: int array `(rows,)`. The first position that a stateful model is shown.
        seed: int. Of what is drawn at random.
        drawn: int. Steps that were drawn before, where this goes on.
        future: array `(rows, width + room, …)` of what is known ahead, or None.
        states: what a stateful model's state begins with, flat arrays; None: fresh.
    """

    buffer: np.ndarray
    width: int
    lengths: np.ndarray
    begins: np.ndarray
    seed: int
    drawn: int = 0
    future: np.ndarray | None = None
    states: list[np.ndarray] | None = None


class Rollout:
    """A model's compiled rollout for some rows.

    Works on state variables of its own, so the model, its weights and its state stay as they are,
    whatever batch size it was trained with.

    Args:
        model: keras.Model, built.
        framer: SequenceFramer that says what the model takes and predicts.
        rows: int. Rows that are rolled out together.
        choose: chooser, see `seqframe.rollout.choosers`.
        carried: list of recurrent layers whose state is carried from step to step; empty for a
            model that is shown windows.
        dropout: bool. Whether the model's dropout is at work.
    """

    def __init__(
        self,
        model: keras.Model,
        framer: "SequenceFramer",
        rows: int,
        choose: Any,
        carried: list[Any],
        dropout: bool = False,
    ):
        self.model, self.framer, self.rows, self.choose = model, framer, rows, choose
        self._layers, self._dropout = carried, dropout
        with backend.lasting():
            self._states = [
                tree.map_structure(
                    lambda value: keras.Variable(value, trainable=False, name="rollout_state"),
                    fresh_state(layer, rows),
                )
                for layer in self._layers
            ]
            self._seed = keras.random.SeedGenerator(0)
        self._flat_states = tree.flatten(self._states)
        self._context = context_steps(framer, stepped=bool(self._layers))
        self._call = backend.PureFunction(self._read, model.variables, self._flat_states)
        self._program = backend.compile_program(self.roll)

    @property
    def is_stepped(self) -> bool:
        """Whether the model is shown single steps, and its state carried along."""
        return bool(self._layers)

    def start(self, prompts: Prompts) -> "Run":
        """Return a run that begins with prompts."""
        return Run(self, prompts)

    def states(self, values: list[np.ndarray] | None) -> list[Any]:
        """Return the flat values of states as tensors; None: fresh ones."""
        if values is None:
            # Taken anew each time: a cell's initial state may depend on its weights.
            values = tree.flatten([fresh_state(layer, self.rows) for layer in self._layers])
        shapes = [tuple(variable.shape) for variable in self._flat_states]
        if [tuple(value.shape) for value in values] != shapes:
            raise ValueError(
                "`state` must be of a generator like this one. Received: recurrent states of "
                f"shapes {[tuple(value.shape) for value in values]} for {shapes}."
            )
        return [
            ops.cast(value, variable.dtype)
            for value, variable in zip(values, self._flat_states, strict=True)
        ]

    def run(self, carry: tuple[Any, ...], given: tuple[Any, ...], *numbers: int) -> tuple[Any, ...]:
        """Run some passes.

        Args:
            carry: buffer, states and extras, as tensors.
            given: lengths, begins and future, as tensors. None for begins: all begin at once.
            *numbers: int. Seed, width, first position, passes, steps drawn before.

        Returns:
            the carry afterwards.
        """
        weights = backend.traveling_values(self.model.variables)
        with ExitStack() as stack:
            if self._dropout:
                seed, _, first, *_ = numbers
                stack.enter_context(backend.seeded_draws(seed + first))
                stack.enter_context(undisturbed(self.model))
            return self._program(weights, carry, given, backend.scalars(*numbers))

    def roll(self, weights: Any, carry: Any, given: Any, numbers: Any) -> Any:
        """Return the carry after some passes: the program, of tensors."""
        seed, width, first, passes, drawn = numbers
        lengths, begins, *future = given
        future = future[0] if future else None
        stride = 1 if self._layers else self.framer.horizon

        def one_pass(number: Any, buffer: Any, states: Any, extras: Any) -> Any:
            k = first + number * stride
            target = k + self.framer.gap + 1
            due = True
            if self._layers:
                # A stateful model also passes over the prompt, and over its own blocks.
                due = target >= width
                if self.framer.horizon > 1:
                    due = due & ((target - width) % self.framer.horizon == 0)
            at = Position(buffer, future, target, width, due, self._seed)
            seeds, dropped = self._seeds(seed, target - width + drawn)
            # Rows whose prompt has not begun yet keep their fresh state.
            begun = k >= begins if self._layers and begins is not None else None
            real = lengths + (k + 1 - width)
            x = self._window(at, real)
            read, after = self._call(weights, dropped, states, x, real, rows=begun)
            choice = backend.call_with_values(seeds, self.choose, read, at, extras)
            if choice.rows is not None:
                buffer = ops.take(buffer, choice.rows, axis=0)
                after = [ops.take(state, choice.rows, axis=0) for state in after]
            buffer = backend.write_steps(buffer, target, ops.cast(choice.steps, buffer.dtype), due)
            return buffer, after, choice.extras

        with borrowed_states(self._layers, self._states), any_time_steps(self.model):
            return backend.repeat(passes, one_pass, *carry)

    def _seeds(self, seed: Any, step: Any) -> tuple[Any, Any]:
        """Return pairs of a variable and its value for what draws at random in a step: what
        chooses, and the model's dropout."""
        if not (self._dropout or self.choose.draws):
            return [], []
        drawn = backend.seed_of_step(seed, step)
        dropped = []
        if self._dropout:
            # Each step drops other units, each layer by a seed of its own.
            for number, variable in enumerate(seed_states(self.model), start=1):
                apart = ops.convert_to_tensor([number * SEEDS_APART, 0], drawn.dtype)
                dropped.append((variable, ops.cast(drawn + apart, variable.dtype)))
        return [(self._seed.state, drawn)], dropped

    def _read(self, x: Any, real: Any) -> list[Any]:
        """Return what the chooser takes from the model's output for an input."""
        output = self.model(x, training=self._dropout)
        if self.framer.return_sequences:
            output = self._last_step(output, real)
        return self.choose.read(output, self.rows)

    def _window(self, at: Any, real: Any) -> Any:
        """Return the model's input that ends `gap + 1` positions before the target."""
        framer, buffer = self.framer, at.buffer
        begin = at.target - framer.gap - self._context
        x = backend.read_steps(buffer, begin, self._context)
        if self._context == framer.span and framer.sampling_rate > 1:
            x = x[:, :: framer.sampling_rate]
        x = _laid_out(self._padded(x, real), framer.layout)
        if at.future is None or not takes_future(self.model):
            return x
        return arranged(self.model, {"past": x, "future": self._ahead(at, begin, real)})

    def _ahead(self, at: Any, begin: Any, real: Any) -> Any:
        """Return what is known of the target steps, of each input step's where all have targets."""
        framer, future = self.framer, at.future
        if len(future.shape) == 2:
            future = future[..., None]
        if framer.future_columns is not None:
            # After these come columns of the history that the model does not predict.
            future = future[..., : len(framer.future_columns)]
        if not framer.return_sequences:
            return backend.read_steps(future, at.target, framer.horizon)
        inputs = np.arange(0, self._context, framer.sampling_rate)[:, None]
        which = inputs + np.arange(framer.horizon)
        steps = self._context + framer.horizon - 1
        rows = backend.read_steps(future, begin + framer.gap + 1, steps)
        rows = ops.take(rows, which.ravel(), axis=1)
        rows = ops.reshape(rows, (rows.shape[0], *which.shape, *rows.shape[2:]))
        if framer.pads:
            # Where an input step is padding, all of its targets are.
            places = rows.shape[1]
            is_real = ops.arange(places)[None] >= (places - real)[:, None]
            is_real = ops.reshape(is_real, (*is_real.shape, *(1,) * (len(rows.shape) - 2)))
            rows = ops.where(is_real, rows, ops.cast(framer.padding_value, rows.dtype))
        return self._padded(rows, real)

    def _padded(self, x: Any, real: Any) -> Any:
        """Return steps with their padding on the framer's side; it comes before them."""
        if not self._pads_after:
            return x
        # Real steps first: a rotation by as many places as are padding.
        places = x.shape[1]
        shift = places - ops.minimum(real, places)
        order = (ops.arange(places)[None] + shift[:, None]) % places
        order = ops.reshape(order, (*order.shape, *(1,) * (len(x.shape) - 2)))
        return ops.take_along_axis(x, order, axis=1)

    @property
    def _pads_after(self) -> bool:
        return self.framer.pads and self.framer.padding == "post" and self._context > 1

    def _last_step(self, output: Any, real: Any) -> Any:
        if not self._pads_after:
            return output[:, -1]
        last = ops.clip(real, 1, output.shape[1]) - 1
        last = ops.reshape(last, (-1, *(1,) * (len(output.shape) - 1)))
        return ops.take_along_axis(output, last, axis=1)[:, 0]


class Run:
    """A rollout that is under way, on the device.

    Attributes:
        prompts: Prompts that it began with.
        made: int. Steps that were predicted.
    """

    def __init__(self, rollout: Rollout, prompts: Prompts):
        self._rollout, self.prompts, self.made = rollout, prompts, 0
        extras = rollout.choose.begin(*prompts.buffer.shape[:2])
        begins = prompts.begins.astype("int32")
        given = [prompts.lengths.astype("int32"), begins if np.ptp(begins) else None]
        given += [] if prompts.future is None else [prompts.future]
        with backend.lasting():
            self._carry = (
                ops.convert_to_tensor(prompts.buffer),
                rollout.states(prompts.states),
                [ops.convert_to_tensor(extra) for extra in extras],
            )
            self._given = tuple(
                None if item is None else ops.convert_to_tensor(item) for item in given
            )
        gap = rollout.framer.gap
        # The position that the next pass is over.
        self._next = int(prompts.begins.min()) if rollout.is_stepped else prompts.width - gap - 1

    def advance(self, steps: int) -> None:
        """Predict `steps` more."""
        prompts, framer = self.prompts, self._rollout.framer
        self.made += steps
        if self._rollout.is_stepped:
            passes = prompts.width + self.made - framer.gap - 1 - self._next
            stride = 1
        else:
            stride = framer.horizon
            done = self._next + framer.gap + 1 - prompts.width
            passes = -(-(self.made - done) // stride)
        numbers = (prompts.seed, prompts.width, self._next, max(passes, 0), prompts.drawn)
        self._carry = self._rollout.run(self._carry, self._given, *numbers)
        self._next += max(passes, 0) * stride

    def steps(self, first: int = 0) -> np.ndarray:
        """Return the predicted steps from number `first` on, `(rows, steps, …)`."""
        width = self.prompts.width
        return self._read(width + first, width + self.made)

    def tail(self, count: int) -> np.ndarray:
        """Return the last `count` steps that stand in the buffer."""
        stop = self.prompts.width + self.made
        return self._read(stop - count, stop)

    def states(self) -> list[np.ndarray]:
        """Return the flat states."""
        return [ops.convert_to_numpy(state).copy() for state in self._carry[1]]

    def extras(self) -> list[np.ndarray]:
        """Return what the chooser keeps."""
        return [ops.convert_to_numpy(extra) for extra in self._carry[2]]

    def _read(self, start: int, stop: int) -> np.ndarray:
        return ops.convert_to_numpy(self._carry[0])[:, start:stop].copy()


def _laid_out(x: Any, layout: Any) -> Any:
    if layout == "tokens":
        return x
    if layout == "features":
        return ops.reshape(x, (x.shape[0], 1, -1))
    return x if len(x.shape) > 2 else x[..., None]
