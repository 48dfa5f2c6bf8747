"""Rollout loops written by hand: what an expert would write for one network.

Each function takes a network, its model and a number of steps. It returns a program that takes a
window and recurrent states, and returns all steps, `(batch_size, steps)`.
"""

from collections.abc import Callable
from typing import Any

Network = Any  # _rollout_systems.Network
Step = Callable[[Any, Any], tuple[Any, Any]]  # (x, states) -> (output, states)
Program = Callable[[Any, Any], Any]


def step_of(network: Network, model: Any) -> Step:
    """Return a step as a function of its state."""

    def through_cells(x: Any, states: Any) -> tuple[Any, Any]:
        for layer in model.layers:
            if hasattr(layer, "cell"):
                x, states = layer.cell(x[:, 0], states)
            else:
                x = layer(x)
        return x, states

    return through_cells if network.is_stateful else lambda x, states: (model(x), states)


def tensorflow_loop(network: Network, model: Any, steps: int) -> Program:
    """Return a `tf.while_loop` that is one XLA program."""
    import tensorflow as tf

    step = step_of(network, model)
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


def jax_loop(network: Network, model: Any, steps: int) -> Program:
    """Return a jitted `lax.scan`."""
    import jax
    import jax.numpy as jnp
    import keras

    step = step_of(network, model)

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


def torch_loop(network: Network, model: Any, steps: int, step: Step | None = None) -> Program:
    """Return a plain loop without gradients."""
    import torch

    step = step or step_of(network, model)

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


LOOPS: dict[str, Callable[..., Program]] = {
    "tensorflow": tensorflow_loop,
    "jax": jax_loop,
    "torch": torch_loop,
}
