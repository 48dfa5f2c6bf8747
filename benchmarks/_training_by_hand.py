"""Training loops written by hand: what an expert would write for one network.

All steps run in one compiled program. It gathers windows on the device by their numbers, keeps
metrics as `fit` does, and returns the loss of each epoch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Training = Any  # _training_systems.Training
Program = Callable[[np.ndarray], Any]  # of orders (epochs, steps, batch_size)


def ready_network(training: Training) -> tuple[Any, list[Any]]:
    """Return the network with every variable that a step needs, and its recurrent states."""
    network = training.network()
    x, y = (array[: training.batch_size] for array in training.arrays)
    network.compute_metrics(x, y, network(x))
    network.optimizer.build(network.trainable_variables)
    if not training.stateful:
        return network, []
    lstm = network.layers[1]
    lstm.reset_states()
    return network, list(lstm.states)


def gather(training: Training, asarray: Any, take: Any) -> Callable[[Any], Any]:
    """Return a function that makes a batch from the numbers of its windows, on the device."""
    x_shape, y_shape = ((training.batch_size, *array.shape[1:]) for array in training.arrays)
    if training.is_padded:
        x, y = map(asarray, training.arrays)
        return lambda rows: (take(x, rows, x_shape), take(y, rows, y_shape))
    text, length = asarray(training.text), training.model.framer["sequence_length"]
    offsets = np.arange(length, dtype=np.int32)

    def batch(rows: Any) -> tuple[Any, Any]:
        x = take(text, rows[:, None] + offsets, x_shape)
        return x, take(text, rows + length, rows.shape)

    return batch


def tensorflow_loop(training: Training) -> Program:
    """Return a loop of `train_step` that is one XLA program."""
    import tensorflow as tf

    network, states = ready_network(training)
    batch = gather(
        training, tf.constant, lambda array, rows, shape: tf.reshape(tf.gather(array, rows), shape)
    )

    @tf.function(jit_compile=True, autograph=False)
    def run(orders: Any) -> Any:
        epochs, steps, _ = orders.shape

        def step(epoch: Any, k: Any) -> Any:
            network.train_step(batch(orders[epoch, k]))
            return epoch, k + 1

        def one_epoch(epoch: Any, losses: Any) -> Any:
            network.reset_metrics()
            for state in states:
                state.assign(tf.zeros(state.shape))
            tf.while_loop(lambda epoch, k: k < steps, step, (epoch, 0))
            return epoch + 1, losses.write(epoch, network.get_metrics_result()["loss"])

        losses = (tf.constant(0), tf.TensorArray(tf.float32, epochs))
        _, losses = tf.while_loop(lambda epoch, _: epoch < epochs, one_epoch, losses)
        return losses.stack()

    return run


def jax_loop(training: Training) -> Program:
    """Return a `lax.scan` of `train_step`, with the variables' values as donated operands."""
    import jax
    import keras

    network, states = ready_network(training)
    others = [*network.non_trainable_variables, *states]
    if states:
        # Keras's step carries a recurrent state only if it is among these.
        among = {"non_trainable_variables": property(lambda self: others)}
        network.__class__ = type("WithStates", (type(network),), among)
    metrics = network.metrics_variables
    groups = [network.trainable_variables, others, network.optimizer.variables, metrics]
    values = [[variable.value.copy() for variable in group] for group in groups]
    begin = len(others) - len(states)
    batch = gather(
        training, jax.numpy.asarray, lambda array, rows, shape: array[rows].reshape(shape)
    )

    def step(values: Any, rows: Any) -> Any:
        return list(map(list, network.train_step(values, batch(rows))[1])), None

    def one_epoch(values: Any, order: Any) -> Any:
        trainable, others, optimizer, metric = values
        others[begin:] = map(jax.numpy.zeros_like, others[begin:])
        values = [trainable, others, optimizer, list(map(jax.numpy.zeros_like, metric))]
        values, _ = jax.lax.scan(step, values, order)
        with keras.StatelessScope(list(zip(metrics, values[3], strict=True))):
            return values, network.get_metrics_result()["loss"]

    program = jax.jit(
        lambda values, orders: jax.lax.scan(one_epoch, values, orders), donate_argnums=0
    )

    def run(orders: np.ndarray) -> Any:
        nonlocal values
        values, losses = program(values, orders)
        return losses

    return run


LOOPS: dict[str, Callable[[Training], Program]] = {"tensorflow": tensorflow_loop, "jax": jax_loop}
