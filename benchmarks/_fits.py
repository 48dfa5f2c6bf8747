"""The systems that `training.py` compares: Keras's own `fit`, seqframe's, and a hand-written loop.

Each is made by a function of the training, as `SYSTEMS` has them by name.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from _harness import NotMeasuredError
from _trainings import SEED, Maker, System, Training

PROBE = 8  # steps of the first epochs, where an epoch can be cut short
GROUP = 4096  # steps that a call of the hand-written loop runs, where an epoch has fewer


class KerasFit(System):
    """`model.fit`. Of an epoch that takes too long, it is given the first part alone.

    Args:
        training: Training.
        data: "arrays" | "dataset": what `timeseries_dataset_from_array` makes.
        **options: of `model.compile`.
    """

    def __init__(self, training: Training, data: str, **options: Any):
        super().__init__(training)
        self._make = {"arrays": _arrays, "dataset": _dataset}[data]
        self.network = training.network(**options)
        self.remark = ", ".join([data, *(f"{name}={value}" for name, value in options.items())])
        self.cut(min(PROBE, self.steps))

    def cut(self, steps: int) -> None:
        """Make an epoch of as many steps."""
        self.steps = steps
        self._given = self._make(self.training, steps * self.training.model.batch_size)

    def grow(self, factor: float) -> bool:
        steps = min(round(self.steps * factor), self.training.steps)
        if steps == self.steps:
            return super().grow(factor)
        self.cut(steps)
        return True

    def run(self) -> float:
        # What a call takes before its first epoch is too much for the few epochs of this run.
        import keras

        class Stamps(keras.callbacks.Callback):
            times: list[float] = []  # noqa: RUF012

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.times.append(time.perf_counter())

            on_epoch_end = on_epoch_begin

        self.train(Stamps())
        return Stamps.times[-1] - Stamps.times[0]

    def train(self, *callbacks: Any) -> None:
        if self.training.model.stateful:
            from seqframe import StatefulTrainer

            callbacks = (*callbacks, StatefulTrainer())
        self.network.fit(**self._given, epochs=self.epochs, verbose=0, callbacks=list(callbacks))


def _arrays(training: Training, windows: int) -> dict[str, Any]:
    x, y = training.arrays
    options = dict(batch_size=training.model.batch_size, shuffle=training.model.shuffle)
    return dict(x=x[:windows], y=y[:windows], **options)


def _dataset(training: Training, windows: int) -> dict[str, Any]:
    import keras

    if training.is_padded:
        raise NotMeasuredError("no padded windows")
    length, shuffle = training.model.framer["sequence_length"], training.model.shuffle
    text = training.text[: windows + length]
    dataset = keras.utils.timeseries_dataset_from_array(
        text[:-1, None],
        text[length:],
        length,
        batch_size=training.model.batch_size,
        shuffle=shuffle,
        seed=SEED if shuffle else None,
    )
    if training.model.framer.get("layout") == "features":
        dataset = dataset.map(lambda x, y: (x[:, None, :, 0], y))
    return dict(x=dataset)


def fit_arrays(training: Training) -> Iterator[System]:
    """Make Keras's `fit` on arrays."""
    yield KerasFit(training, "arrays")


def fit_dataset(training: Training) -> Iterator[System]:
    """Make Keras's `fit` on `timeseries_dataset_from_array`."""
    yield KerasFit(training, "dataset")


def fit_best(training: Training) -> Iterator[System]:
    """Make Keras's `fit` in each way that is the fastest for some network.

    More steps per execution are never slower, up to a whole epoch. XLA is faster for most networks,
    and JAX has nothing else.
    """
    import keras

    whole = {"steps_per_execution": training.steps}
    yield KerasFit(training, "arrays", **whole, jit_compile=True)
    if not training.is_padded:
        yield KerasFit(training, "dataset", **whole, jit_compile=True)
    if keras.backend.backend() == "tensorflow":
        yield KerasFit(training, "arrays", **whole, jit_compile=False)


class SeqframeFit(System):
    """`seqframe.fit`."""

    def __init__(self, training: Training):
        super().__init__(training)
        self.network = training.network()

    def train(self) -> None:
        from seqframe import fit

        model = self.training.model
        fit(
            self.network,
            self.training.frames,
            batch_size=model.batch_size,
            epochs=self.epochs,
            shuffle=model.shuffle,
            seed=SEED,
            verbose=0,
        )


def seqframe_fit(training: Training) -> Iterator[System]:
    """Make `seqframe.fit`."""
    yield SeqframeFit(training)


class HandWritten(System):
    """What an expert writes for this one network: all steps in one compiled program.

    Windows are gathered on the device by their numbers, drawn on the host for each epoch. Metrics
    are kept as in `fit`, and read at the end of an epoch. Short epochs run together.
    """

    def __init__(self, training: Training):
        super().__init__(training)
        self._group = min(max(GROUP // self.steps, 1), training.model.epochs)
        self.epochs = self._group
        self._random = np.random.default_rng(SEED)
        self._program: Callable[[np.ndarray], Any] | None = None

    def train(self) -> None:
        if self._program is None:
            import keras

            loops = {"tensorflow": tensorflow_loop, "jax": jax_loop}
            self._program = loops[keras.backend.backend()](self.training)
        for _ in range(self.epochs // self._group):
            orders = np.stack([self._draw() for _ in range(self._group)])
            np.asarray(self._program(orders.astype(np.int32)))

    def _draw(self) -> np.ndarray:
        size = self.steps * self.training.model.batch_size
        draw = self._random.permutation if self.training.model.shuffle else np.arange
        return draw(size).reshape(self.steps, -1)

    def grow(self, factor: float) -> bool:
        before = self.epochs
        super().grow(factor)
        self.epochs -= self.epochs % self._group
        return self.epochs > before


def hand_written(training: Training) -> Iterator[System]:
    """Make the hand-written loop."""
    yield HandWritten(training)


def _network(training: Training) -> tuple[Any, list[Any]]:
    """Return the network with every variable that a step needs, and its recurrent states."""
    network = training.network()
    x, y = (array[: training.model.batch_size] for array in training.arrays)
    network.compute_metrics(x, y, network(x))
    network.optimizer.build(network.trainable_variables)
    if not training.model.stateful:
        return network, []
    lstm = network.layers[1]
    lstm.reset_states()
    return network, list(lstm.states)


def _gather(training: Training, asarray: Any, take: Any) -> Callable[[Any], Any]:
    """Return a function that makes a batch of the numbers of its windows, on the device."""
    x_shape = (training.model.batch_size, *training.frames.x_shape)
    if training.is_padded:
        x, y = map(asarray, training.arrays)
        return lambda rows: (take(x, rows, x_shape), take(y, rows, rows.shape))
    text, length = asarray(training.text), training.model.framer["sequence_length"]
    offsets = np.arange(length, dtype=np.int32)

    def batch(rows: Any) -> tuple[Any, Any]:
        x = take(text, rows[:, None] + offsets, x_shape)
        return x, take(text, rows + length, rows.shape)

    return batch


def tensorflow_loop(training: Training) -> Callable[[np.ndarray], Any]:
    """Return a function that trains on the orders of some epochs, and returns the losses."""
    import tensorflow as tf

    network, states = _network(training)

    def take(array: Any, rows: Any, shape: Any) -> Any:
        return tf.reshape(tf.gather(array, rows), shape)

    batch = _gather(training, tf.constant, take)

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


def jax_loop(training: Training) -> Callable[[np.ndarray], Any]:
    """Return the same for JAX, where the values of variables travel through the program."""
    import jax
    import keras

    network, states = _network(training)
    others = [*network.non_trainable_variables, *states]
    if states:
        # Keras's step takes a recurrent state along only if it is among these.
        among = {"non_trainable_variables": property(lambda self: others)}
        network.__class__ = type("WithStates", (type(network),), among)
    metrics = network.metrics_variables
    groups = [network.trainable_variables, others, network.optimizer.variables, metrics]
    values = [[variable.value.copy() for variable in group] for group in groups]
    begin = len(others) - len(states)

    def take(array: Any, rows: Any, shape: Any) -> Any:
        return array[rows].reshape(shape)

    batch = _gather(training, jax.numpy.asarray, take)

    def step(values: Any, rows: Any) -> Any:
        return list(map(list, network.train_step(values, batch(rows))[1])), None

    def one_epoch(values: Any, order: Any) -> Any:
        trainable, others, optimizer, metric = values
        others[begin:] = map(jax.numpy.zeros_like, others[begin:])
        values = [trainable, others, optimizer, list(map(jax.numpy.zeros_like, metric))]
        values, _ = jax.lax.scan(step, values, order)
        with keras.StatelessScope(list(zip(metrics, values[3], strict=True))):
            return values, network.get_metrics_result()["loss"]

    def epochs(values: Any, orders: Any) -> Any:
        return jax.lax.scan(one_epoch, values, orders)

    program = jax.jit(epochs, donate_argnums=0)

    def run(orders: np.ndarray) -> Any:
        nonlocal values
        values, losses = program(values, orders)
        return losses

    return run


SYSTEMS: dict[str, Maker] = {
    "fit-arrays": fit_arrays,
    "fit-dataset": fit_dataset,
    "fit-best": fit_best,
    "seqframe": seqframe_fit,
    "hand-written": hand_written,
}


def weights_apart(trainings: Iterable[Training], backend: str) -> float:
    """Return by how much weights differ, at most, after `seqframe.fit` and after Keras's.

    The difference of a weight is relative to the largest one of its array.
    """
    os.environ["KERAS_BACKEND"] = backend
    apart = []
    for training in trainings:
        ours, own = SeqframeFit(training), KerasFit(training, "arrays")
        own.cut(training.steps)
        for system in (ours, own):
            system.train()
        pairs = zip(ours.network.get_weights(), own.network.get_weights(), strict=True)
        apart += [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs]
    return max(apart)
