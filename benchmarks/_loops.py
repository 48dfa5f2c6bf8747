"""The systems that `rollout.py` compares: loops of Keras's own calls, seqframe, loops by hand.

Each is made by a function of the network, as `SYSTEMS` has them by name.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from _harness import NotMeasuredError
from _rollouts import CHECKED, Maker, Network, System, carried, chosen


class KerasLoop(System):
    """A loop in Python of one of Keras's own calls, as the documentation has it.

    Args:
        network: Network.
        call: function `(model, x) -> output`.
    """

    def __init__(self, network: Network, call: Callable[[Any, Any], Any]):
        super().__init__(network)
        self.steps = CHECKED
        self._call, self._model = call, network.build()

    def run(self) -> np.ndarray:
        window, made = self.network.prompt, []
        with carried(self.network, self._model):
            for _ in range(self.steps):
                output = self._call(self._model, self.network.laid_out(window))
                made.append(chosen(self.network, np.asarray(output)))
                window = np.concatenate([window[:, 1:], made[-1][:, None]], axis=1)
        return np.stack(made, axis=1)


def predict_loop(network: Network) -> System:
    """Make the loop of `model.predict`."""

    def call(model: Any, x: Any) -> Any:
        return model.predict(x, batch_size=network.batch_size, verbose=0)

    return KerasLoop(network, call)


def on_batch_loop(network: Network) -> System:
    """Make the loop of `model.predict_on_batch`."""
    return KerasLoop(network, lambda model, x: model.predict_on_batch(x))


def call_loop(network: Network) -> System:
    """Make the loop of `model(x)`."""
    from keras import ops

    return KerasLoop(network, lambda model, x: ops.convert_to_numpy(model(x)))


class Seqframe(System):
    """seqframe's `Generator`."""

    def __init__(self, network: Network):
        super().__init__(network)
        from seqframe import Generator

        self._generator = Generator(network.build(), network.framer(), seed=0)

    def run(self) -> np.ndarray:
        generator, prompts = self._generator, list(self.network.prompt)
        roll_out = generator.generate if self.network.symbols else generator.forecast
        return np.stack(roll_out(prompts, self.steps))


def step_by_hand(network: Network, model: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return what an expert writes for this one network: a step as a function of its state."""

    def through_cells(x: Any, states: Any) -> tuple[Any, Any]:
        for layer in model.layers:
            if hasattr(layer, "cell"):
                x, states = layer.cell(x[:, 0], states)
            else:
                x = layer(x)
        return x, states

    return through_cells if network.is_stateful else lambda x, states: (model(x), states)


def fresh_states(network: Network) -> list[np.ndarray]:
    """Return what the recurrent states begin with."""
    count = {"LSTM": 2, "GRU": 1}.get(network.kind, 0) if network.is_stateful else 0
    return [np.zeros((network.batch_size, network.units), np.float32) for _ in range(count)]


class Compiled(System):
    """A loop by hand. What is compiled takes the window and the states, and returns all steps.

    Args:
        network: Network.
        compile: function `(network, steps) -> program`.
    """

    def __init__(self, network: Network, compile: Callable[[Network, int], Any]):
        super().__init__(network)
        self._compile, self._programs = compile, {}
        dtype = np.int32 if network.embedded else np.float32
        self._given = network.laid_out(network.prompt).astype(dtype), fresh_states(network)

    def run(self) -> np.ndarray:
        if self.steps not in self._programs:
            self._programs[self.steps] = self._compile(self.network, self.steps)
        return np.asarray(self._programs[self.steps](*self._given))


def hand_written(network: Network) -> System:
    """Make the floor: the same steps in one compiled program; for PyTorch a bare loop."""
    import keras

    loops = {"tensorflow": tensorflow_loop, "jax": jax_loop, "torch": torch_loop}
    return Compiled(network, loops[keras.backend.backend()])


def tensorflow_loop(network: Network, steps: int) -> Callable[[Any, Any], Any]:
    """Return a function of window and states: a `tf.while_loop`, compiled with XLA."""
    import tensorflow as tf

    step = step_by_hand(network, network.build())
    dtype = tf.int32 if network.symbols else tf.float32

    @tf.function(jit_compile=True, autograph=False)
    def run(x: Any, states: Any) -> Any:
        def one(k: Any, x: Any, states: Any, made: Any) -> Any:
            output, states = step(x, states)
            new = tf.argmax(output, -1, tf.int32) if network.symbols else output[:, 0]
            fed = tf.reshape(tf.cast(new, x.dtype), x[:, :1].shape)
            return k + 1, tf.concat([x[:, 1:], fed], axis=1), states, made.write(k, new)

        carry = (tf.constant(0), x, states, tf.TensorArray(dtype, steps))
        *_, made = tf.while_loop(lambda k, *_: k < steps, one, carry)
        return tf.transpose(made.stack())

    return lambda x, states: run(tf.constant(x), [tf.constant(state) for state in states])


def jax_loop(network: Network, steps: int) -> Callable[[Any, Any], Any]:
    """Return the same for JAX: a jitted `lax.scan`."""
    import jax
    import jax.numpy as jnp
    import keras

    model = network.build()
    step = step_by_hand(network, model)

    def one(carry: Any, _: Any) -> Any:
        x, states = carry
        output, states = step(x, states)
        new = jnp.argmax(output, -1).astype(jnp.int32) if network.symbols else output[:, 0]
        fed = new.astype(x.dtype).reshape(x[:, :1].shape)
        return (jnp.concatenate([x[:, 1:], fed], axis=1), list(states)), new

    @jax.jit
    def run(weights: Any, x: Any, states: Any) -> Any:
        with keras.StatelessScope(list(zip(model.variables, weights, strict=True))):
            return jax.lax.scan(one, (x, states), None, length=steps)[1].T

    weights = [variable.value for variable in model.variables]
    return lambda x, states: run(weights, x, states)


def torch_loop(
    network: Network, steps: int, step: Callable[[Any, Any], Any] | None = None
) -> Callable[[Any, Any], Any]:
    """Return the same for PyTorch: the steps alone, without gradients."""
    import torch

    step = step or step_by_hand(network, network.build())

    @torch.no_grad()
    def run(x: Any, states: Any) -> Any:
        x, states, made = torch.tensor(x), [torch.tensor(state) for state in states], []
        for _ in range(steps):
            output, states = step(x, states)
            new = torch.argmax(output, -1) if network.symbols else output[:, 0]
            fed = new.to(x.dtype).reshape(x[:, :1].shape)
            x = torch.cat([x[:, 1:], fed], dim=1)
            made.append(new)
        return torch.stack(made, dim=1)

    return run


def bare_loop(network: Network) -> System:
    """Make a loop of `model(x)` on tensors, without gradients: PyTorch's own way."""
    import keras

    if keras.backend.backend() != "torch":
        raise NotMeasuredError("PyTorch alone")

    def compile(network: Network, steps: int) -> Callable[[Any, Any], Any]:
        model = network.build()
        loop = torch_loop(network, steps, lambda x, states: (model(x), states))

        def run(x: Any, states: Any) -> Any:
            with carried(network, model):
                return loop(x, states)

        return run

    return Compiled(network, compile)


def hub_loop(network: Network) -> System:
    """Make the loop of keras-hub's greedy sampler, compiled as keras-hub compiles `generate`."""
    if not network.symbols:
        raise NotMeasuredError("symbols alone")
    try:
        from keras_hub.samplers import GreedySampler
    except ModuleNotFoundError as error:
        raise NotMeasuredError(f"not installed ({error.name})") from None
    from keras import ops

    def compile(network: Network, steps: int) -> Callable[[Any, Any], Any]:
        model, sampler = network.build(), GreedySampler()
        step = step_by_hand(network, model)
        shape = (network.batch_size, network.window)

        def following(prompt: Any, states: Any, index: Any) -> Any:
            window = ops.slice(prompt, (0, index - network.window), shape)
            x = window if network.embedded else ops.cast(window[..., None], "float32")
            output, states = step(x, states)
            return output, None, list(states)

        def generate(prompt: Any, states: Any) -> Any:
            made = sampler(following, prompt, cache=states, index=network.window, model=model)
            return made[:, network.window :]

        generate = _compiled(generate)
        prompt = np.pad(network.prompt, ((0, 0), (0, steps)))

        def run(_: Any, states: Any) -> Any:
            return ops.convert_to_numpy(
                generate(ops.convert_to_tensor(prompt), [ops.convert_to_tensor(s) for s in states])
            )

        return run

    return Compiled(network, compile)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as a program of Keras's backend."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)


SYSTEMS: dict[str, Maker] = {
    "predict": predict_loop,
    "on-batch": on_batch_loop,
    "call": call_loop,
    "seqframe": Seqframe,
    "hand-written": hand_written,
    "bare-loop": bare_loop,
    "keras-hub": hub_loop,
}
