"""One program that feeds a model's predictions back in.

All that was given and all that was predicted stands in one buffer, `(batch_size, width + room, …)`. Prompts end at
`width`, predictions begin there. A pass over position `k` shows the model the steps that end at `k`
and writes what it predicts, `gap + 1` positions further on: a stateless model its window, a
stateful one the single step, with its state carried along.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.backend.internals import any_time_steps, borrowed_states
from seqframe.state import fresh_state, state_variables, stateful_layers

if TYPE_CHECKING:
    from seqframe.framer import SequenceFramer


class Rollout:
    """A model's compiled rollout for one batch size.

    Works on state variables of its own, so the model, its weights and its state stay as they are,
    whatever batch size it was trained with.

    Args:
        model: keras.Model, built.
        framer: SequenceFramer that says what the model takes and predicts.
        batch_size: int. Rows that are rolled out together.
        choose: function `(output, seed) -> next steps`, of tensors; output `(batch_size, …)` of one
            target step, seed a `keras.random.SeedGenerator`.
    """

    def __init__(
        self,
        model: keras.Model,
        framer: "SequenceFramer",
        batch_size: int,
        choose: Callable[[Any, Any], Any],
    ):
        self.model, self.framer, self.choose = model, framer, choose
        self._layers = stateful_layers(model)
        self._states = [
            tree.map_structure(
                lambda value: keras.Variable(value, trainable=False, name="rollout_state"),
                fresh_state(layer, batch_size),
            )
            for layer in self._layers
        ]
        self._flat_states = tree.flatten(self._states)
        self._seed = keras.random.SeedGenerator(0)
        self._context = context_steps(framer, stateful=bool(self._layers))
        self._program = backend.compile_program(self._run)

    def run(self, buffer: np.ndarray, width: int, lengths: np.ndarray, steps: int, seed: int) -> Any:
        """Predict `steps` steps past the prompts.

        Args:
            buffer: array `(batch_size, width + room, …)` with prompts that end at `width`.
            width: int.
            lengths: int array `(batch_size,)`. True lengths of the prompts.
            steps: int. At most the room.
            seed: int.

        Returns:
            array `(batch_size, steps, …)`.
        """
        gap = self.framer.gap
        if self._layers:
            first = width - int(lengths.max()) + self._context - 1
            passes = width + steps - gap - 1 - first
        else:
            first = width - gap - 1
            passes = -(-steps // self.framer.horizon)
        weights = [ops.convert_to_tensor(variable) for variable in self.model.variables]
        states = [ops.convert_to_tensor(variable) for variable in self._flat_states]
        numbers = [ops.convert_to_tensor(n, "int32") for n in (width, first, passes)]
        buffer = self._program(
            weights,
            states,
            ops.convert_to_tensor(buffer),
            ops.convert_to_tensor(lengths, "int32"),
            ops.convert_to_tensor(seed, self._seed.state.dtype),
            *numbers,
        )
        return ops.convert_to_numpy(buffer)[:, width : width + steps]

    def _run(self, weights, states, buffer, lengths, seed, width, first, passes):
        stride = 1 if self._layers else self.framer.horizon

        def one_pass(number, buffer, states):
            k = first + number * stride
            x, real = self._window(buffer, k, lengths + (k + 1 - width))
            target = k + self.framer.gap + 1
            drawn = ops.stack([seed, ops.cast(target - width, seed.dtype)])
            predicted, after = self._predict(weights, states, x, real, drawn)
            states = self._carried(states, after, real)
            return number + 1, self._written(buffer, predicted, target, width), states

        _, buffer, _ = ops.while_loop(
            lambda number, *_: number < passes, one_pass, (ops.zeros_like(first), buffer, states)
        )
        return buffer

    def _window(self, buffer, k, real):
        """Return the model's input that ends at position `k`, and how many of its steps are real."""
        begin = (0, k - self._context + 1, *(0,) * (len(buffer.shape) - 2))
        x = ops.slice(buffer, _start(begin), (buffer.shape[0], self._context, *buffer.shape[2:]))
        if self._context == self.framer.span:
            x = x[:, :: self.framer.sampling_rate]
        if self.framer.pads and self.framer.padding == "post" and x.shape[1] > 1:
            # Real steps first: a rotation by as many places as are padding.
            places = x.shape[1]
            shift = places - ops.minimum(real, places)
            order = (ops.arange(places)[None] + shift[:, None]) % places
            order = ops.reshape(order, (*order.shape, *(1,) * (len(x.shape) - 2)))
            x = ops.take_along_axis(x, order, axis=1)
        return _laid_out(x, self.framer.layout), real

    def _predict(self, weights, states, x, real, drawn):
        """Return the next steps and the states after them."""
        mapping = [
            *zip(self.model.variables, weights, strict=True),
            *zip(self._flat_states, states, strict=True),
            (self._seed.state, drawn),
        ]
        with (
            borrowed_states(self._layers, self._states),
            any_time_steps(self.model),
            keras.StatelessScope(mapping) as scope,
        ):
            output = self.model(x, training=False)
            if self.framer.return_sequences:
                output = self._last_step(output, real)
            predicted = self.choose(output, self._seed)
            after = [scope.get_current_value(variable) for variable in self._flat_states]
        return predicted, after

    def _last_step(self, output, real):
        if self.framer.pads and self.framer.padding == "post" and output.shape[1] > 1:
            last = ops.clip(real, 1, output.shape[1]) - 1
            last = ops.reshape(last, (-1, *(1,) * (len(output.shape) - 1)))
            return ops.take_along_axis(output, last, axis=1)[:, 0]
        return output[:, -1]

    def _carried(self, before, after, real):
        """Return states after a pass; rows whose prompt has not begun yet keep theirs."""
        begun = real >= self._context

        def carry(old, new):
            return ops.where(ops.reshape(begun, (-1, *(1,) * (len(old.shape) - 1))), new, old)

        return [carry(old, new) for old, new in zip(before, after, strict=True)]

    def _written(self, buffer, predicted, target, width):
        horizon = self.framer.horizon
        shape = (buffer.shape[0], horizon, *buffer.shape[2:])
        predicted = ops.reshape(ops.cast(predicted, buffer.dtype), shape)
        start = _start((0, target, *(0,) * (len(buffer.shape) - 2)))
        if self._layers:
            # A stateful model also passes over the prompt, and over its own blocks.
            due = ops.logical_and(target >= width, (target - width) % horizon == 0)
            predicted = ops.where(due, predicted, ops.slice(buffer, start, shape))
        return ops.slice_update(buffer, start, predicted)


def context_steps(framer: "SequenceFramer", stateful: bool) -> int:
    """Return how many raw steps a model needs to see at once."""
    return 1 if stateful and framer.layout != "features" else framer.span


def _start(begin):
    return ops.stack([ops.cast(n, "int32") for n in begin])


def _laid_out(x, layout):
    if layout == "tokens":
        return x
    if layout == "features":
        return ops.reshape(x, (x.shape[0], 1, -1))
    return x if len(x.shape) > 2 else x[..., None]
