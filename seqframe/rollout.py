"""One program that feeds a model's predictions back in.

All that was given and all that was predicted stands in one buffer, `(batch_size, width + room, …)`.
Prompts end at `width`, predictions begin there. A pass over position `k` shows the model the steps
that end at `k` and writes what it predicts, `gap + 1` positions further on: a stateless model its
window, a stateful one the single step, with its state carried along.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.backend.internals import any_time_steps, borrowed_states
from seqframe.state import fresh_state, stateful_layers

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
        self._least = least_steps(framer, stateful=bool(self._layers))
        self._program = backend.compile_program(self._run)

    def run(
        self, buffer: np.ndarray, width: int, lengths: np.ndarray, steps: int, seed: int
    ) -> Any:
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
            first = width - int(lengths.max()) + self._least - 1
            passes = width + steps - gap - 1 - first
        else:
            first = width - gap - 1
            passes = -(-steps // self.framer.horizon)
        # Taken anew each time: a cell's initial state may depend on its weights.
        fresh = [fresh_state(layer, len(buffer)) for layer in self._layers]
        states = [ops.convert_to_tensor(state) for state in tree.flatten(fresh)]
        weights = [ops.convert_to_tensor(variable) for variable in self.model.variables]
        buffer = self._program(
            weights,
            states,
            ops.convert_to_tensor(buffer),
            ops.convert_to_tensor(lengths, "int32"),
            *backend.scalars(seed, width, first, passes),
        )
        return ops.convert_to_numpy(buffer)[:, width : width + steps]

    def _run(self, weights, states, buffer, lengths, seed, width, first, passes):
        stride = 1 if self._layers else self.framer.horizon

        def one_pass(number, buffer, states):
            k = first + number * stride
            real = lengths + (k + 1 - width)
            target = k + self.framer.gap + 1
            drawn = backend.seed_of_step(seed, target - width)
            predicted, after = self._predict(
                weights, states, self._window(buffer, k, real), real, drawn
            )
            buffer = self._write(buffer, predicted, target, width)
            if self._layers:
                # Rows whose prompt has not begun yet keep their fresh state.
                after = backend.update_rows(real >= self._least, states, after)
            return buffer, after

        with borrowed_states(self._layers, self._states), any_time_steps(self.model):
            buffer, _ = backend.repeat(passes, one_pass, buffer, states)
        return buffer

    def _window(self, buffer, k, real):
        """Return the model's input that ends at position `k`."""
        x = backend.read_steps(buffer, k - self._context + 1, self._context)
        if self._context == self.framer.span and self.framer.sampling_rate > 1:
            x = x[:, :: self.framer.sampling_rate]
        if self._pads_after:
            # Real steps first: a rotation by as many places as are padding.
            places = x.shape[1]
            shift = places - ops.minimum(real, places)
            order = (ops.arange(places)[None] + shift[:, None]) % places
            order = ops.reshape(order, (*order.shape, *(1,) * (len(x.shape) - 2)))
            x = ops.take_along_axis(x, order, axis=1)
        return _laid_out(x, self.framer.layout)

    def _predict(self, weights, states, x, real, drawn):
        """Return the next steps and the states after them."""

        def predict() -> Any:
            output = self.model(x, training=False)
            if self.framer.return_sequences:
                output = self._last_step(output, real)
            return self.choose(output, self._seed)

        fixed = [*zip(self.model.variables, weights, strict=True), (self._seed.state, drawn)]
        return backend.call_with_values(predict, fixed, self._flat_states, states)

    @property
    def _pads_after(self) -> bool:
        return self.framer.pads and self.framer.padding == "post" and self._context > 1

    def _last_step(self, output, real):
        if not self._pads_after:
            return output[:, -1]
        last = ops.clip(real, 1, output.shape[1]) - 1
        last = ops.reshape(last, (-1, *(1,) * (len(output.shape) - 1)))
        return ops.take_along_axis(output, last, axis=1)[:, 0]

    def _write(self, buffer, predicted, target, width):
        """Return the buffer with the predicted steps at `target`."""
        horizon = self.framer.horizon
        shape = (buffer.shape[0], horizon, *buffer.shape[2:])
        steps = ops.reshape(ops.cast(predicted, buffer.dtype), shape)
        due = True
        if self._layers:
            # A stateful model also passes over the prompt, and over its own blocks.
            due = target >= width
            if horizon > 1:
                due = due & ((target - width) % horizon == 0)
        return backend.write_steps(buffer, target, steps, due)


def context_steps(framer: "SequenceFramer", stateful: bool) -> int:
    """Return how many raw steps a model needs to see at once."""
    return 1 if stateful and framer.layout != "features" else framer.span


def least_steps(framer: "SequenceFramer", stateful: bool) -> int:
    """Return how many of the steps that a model sees at once must be real, not padding."""
    return 1 if framer.pads else context_steps(framer, stateful)


def _laid_out(x, layout):
    if layout == "tokens":
        return x
    if layout == "features":
        return ops.reshape(x, (x.shape[0], 1, -1))
    return x if len(x.shape) > 2 else x[..., None]
