"""The ways to train that `training.py` compares: Keras's own `fit`, seqframe's, a loop by hand.

Keras reads its backend when it is imported, so functions import it.
"""

import functools
import math
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _measure import NotMeasuredError, System, Variants
from _training_by_hand import LOOPS
from reproduce_chapter import ALPHABET, ChapterModel, build

SEED = 7
PROBE = 8  # steps of the first epochs, if an epoch can be cut short
GROUP = 4096  # steps of a call of the loop by hand, if an epoch has fewer


@dataclass(frozen=True)
class Training:
    """A network and what it is trained on.

    Attributes:
        name: str. The name that `--only` takes.
        model: ChapterModel. Framing, network, batch size, epochs.
        letters: int. Length of the text, which repeats the alphabet.
    """

    name: str
    model: ChapterModel
    letters: int = len(ALPHABET)

    @functools.cached_property
    def frames(self) -> Any:
        """The frames of the text."""
        from seqframe import SequenceFramer

        seed = {"seed": SEED} if self.is_padded else {}
        text = ALPHABET * math.ceil(self.letters / len(ALPHABET))
        return SequenceFramer(**self.model.framer, **seed).frame(text[: self.letters])

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All windows and their targets, in memory."""
        x, y = self.frames.arrays()
        return np.ascontiguousarray(x), np.ascontiguousarray(y)

    @property
    def text(self) -> np.ndarray:
        """The letters as numbers."""
        return (np.arange(self.letters) % len(ALPHABET)).astype(self.arrays[0].dtype)

    @property
    def is_padded(self) -> bool:
        """Whether some windows are shorter than others."""
        return "mode" in self.model.framer

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.frames) // self.model.batch_size

    @property
    def all_steps(self) -> int:
        """Batches of the whole training."""
        return self.steps * self.model.epochs

    def network(self, **options: Any) -> Any:
        """Return the compiled network. `options` are further arguments of `compile`."""
        import keras

        keras.utils.set_random_seed(SEED)
        network = build(self.model, self.frames.x_shape)
        if options:
            network.compile(network.optimizer, network.loss, metrics=["accuracy"], **options)
        return network


class Trainer(System):
    """A way to train `epochs` epochs of a training in a run."""

    def __init__(self, training: Training):
        self.training, self.epochs, self.epoch_steps = training, 1, training.steps

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.epoch_steps * self.epochs

    def grow(self, factor: float) -> bool:
        before = self.epochs
        self.epochs = min(math.ceil(before * factor), self.training.model.epochs)
        return self.epochs > before


class KerasFit(Trainer):
    """`model.fit`. If an epoch takes too long, it gets the first part of the data.

    Args:
        training: Training.
        dataset: bool. Whether the data are a `timeseries_dataset_from_array` or arrays.
        whole_epoch: bool. Whether `steps_per_execution` is a whole epoch.
        **options: of `model.compile`.
    """

    def __init__(
        self,
        training: Training,
        dataset: bool = False,
        whole_epoch: bool = False,
        **options: Any,
    ):
        super().__init__(training)
        if whole_epoch:
            options["steps_per_execution"] = training.steps
            self.remark = ("dataset, " if dataset else "arrays, ") + str(options)
        self.make = keras_dataset if dataset else keras_arrays
        self.network = training.network(**options)
        self.cut(min(PROBE, training.steps))

    def cut(self, steps: int) -> None:
        """Give an epoch as many steps."""
        self.epoch_steps = steps
        self.data = self.make(self.training, steps * self.training.model.batch_size)

    def grow(self, factor: float) -> bool:
        steps = min(round(self.epoch_steps * factor), self.training.steps)
        if steps == self.epoch_steps:
            return super().grow(factor)
        self.cut(steps)
        return True

    def clock(self) -> float:
        # Only epochs count: with so few, the rest of a call would weigh too much.
        from keras.callbacks import LambdaCallback

        times: list[float] = []

        def stamp(*_: Any) -> None:
            times.append(time.perf_counter())

        self.run(LambdaCallback(on_epoch_begin=stamp, on_epoch_end=stamp))
        return times[-1] - times[0]

    def run(self, *callbacks: Any) -> None:
        if self.training.model.stateful:
            from seqframe import StatefulTrainer

            callbacks = (*callbacks, StatefulTrainer())
        self.network.fit(**self.data, epochs=self.epochs, verbose=0, callbacks=list(callbacks))


def keras_arrays(training: Training, windows: int) -> dict[str, Any]:
    """Return the first windows, as arguments of `model.fit`."""
    x, y = training.arrays
    model = training.model
    return dict(x=x[:windows], y=y[:windows], batch_size=model.batch_size, shuffle=model.shuffle)


def keras_dataset(training: Training, windows: int) -> dict[str, Any]:
    """Return the same windows as Keras's own dataset."""
    import keras

    if training.is_padded:
        raise NotMeasuredError("no padded windows")
    model = training.model
    length = model.framer["sequence_length"]
    text = training.text[: windows + length]
    dataset = keras.utils.timeseries_dataset_from_array(
        text[:-1, None],
        text[length:],
        length,
        batch_size=model.batch_size,
        shuffle=model.shuffle,
        seed=SEED if model.shuffle else None,
    )
    if model.framer.get("layout") == "features":
        dataset = dataset.map(lambda x, y: (x[:, None, :, 0], y))
    return dict(x=dataset)


class SeqframeFit(Trainer):
    """`seqframe.fit`."""

    def __init__(self, training: Training):
        super().__init__(training)
        self.network = training.network()

    def run(self) -> None:
        from seqframe import fit

        model = self.training.model
        options = dict(batch_size=model.batch_size, shuffle=model.shuffle, seed=SEED, verbose=0)
        fit(self.network, self.training.frames, epochs=self.epochs, **options)


class ByHand(Trainer):
    """A compiled loop for this network, with orders that are drawn on the host for each epoch.

    Short epochs run together in one call.
    """

    def __init__(self, training: Training):
        super().__init__(training)
        self.group = min(max(GROUP // self.epoch_steps, 1), training.model.epochs)
        self.epochs = self.group
        self.random = np.random.default_rng(SEED)

    @functools.cached_property
    def program(self) -> Any:
        """The loop, made in the first run."""
        import keras

        return LOOPS[keras.backend.backend()](self.training)

    def run(self) -> None:
        for _ in range(self.epochs // self.group):
            orders = np.stack([self.draw() for _ in range(self.group)])
            np.asarray(self.program(orders.astype(np.int32)))

    def draw(self) -> np.ndarray:
        """Return the numbers of the windows of an epoch, `(steps, batch_size)`."""
        model = self.training.model
        draw = self.random.permutation if model.shuffle else np.arange
        return draw(self.epoch_steps * model.batch_size).reshape(self.epoch_steps, -1)

    def grow(self, factor: float) -> bool:
        before = self.epochs
        super().grow(factor)
        self.epochs -= self.epochs % self.group
        return self.epochs > before


def without_xla(training: Training) -> KerasFit:
    """Return whole epochs of `model.fit` without XLA."""
    import keras

    if keras.backend.backend() == "jax":
        raise NotMeasuredError("JAX compiles by XLA only")
    return KerasFit(training, whole_epoch=True, jit_compile=False)


SYSTEMS: dict[str, Variants] = {
    "fit-arrays": [KerasFit],
    "fit-dataset": [partial(KerasFit, dataset=True)],
    # More steps per execution are never slower, up to a whole epoch. XLA mostly helps.
    "fit-best": [
        partial(KerasFit, whole_epoch=True, jit_compile=True),
        partial(KerasFit, dataset=True, whole_epoch=True, jit_compile=True),
        without_xla,
    ],
    "seqframe": [SeqframeFit],
    "hand-written": [ByHand],
}


def weights_apart(trainings: list[Training], backend: str) -> float:
    """Return by how much weights differ after `seqframe.fit` and after Keras's, at most.

    The difference of a weight is relative to the largest one of its array.
    """
    os.environ["KERAS_BACKEND"] = backend
    apart = []
    for training in trainings:
        ours, other = SeqframeFit(training), KerasFit(training)
        other.cut(training.steps)
        for trainer in (ours, other):
            trainer.run()
        pairs = zip(ours.network.get_weights(), other.network.get_weights(), strict=True)
        apart += [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs]
    return max(apart)
