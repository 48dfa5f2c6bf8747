"""The ways to train that `training.py` compares: Keras's own `fit`, seqframe's, a loop by hand.

Keras reads its backend when it is imported, so functions import it.
"""

import functools
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _measure import NotMeasuredError, PeakMemory, Result, Results, System, Variants, run_apart
from _networks import FEATURES, STEPS, Network
from _training_by_hand import LOOPS
from reproduce_chapter import ALPHABET, ChapterModel, build

SEED = 7
PROBE = 8  # steps of the first epochs, if an epoch can be cut short
TRIALS = 8  # calls of `fit` that compare the forms of a program
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

    @property
    def batch_size(self) -> int:
        """Windows of a batch."""
        return self.model.batch_size

    @property
    def epochs(self) -> int:
        """Epochs of the whole training."""
        return self.model.epochs

    @property
    def shuffle(self) -> bool:
        """Whether windows are shuffled."""
        return self.model.shuffle

    @property
    def stateful(self) -> bool:
        """Whether the network carries state from batch to batch."""
        return self.model.stateful

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
        return len(self.frames) // self.batch_size

    @property
    def all_steps(self) -> int:
        """Batches of the whole training."""
        return self.steps * self.epochs

    def network(self, **options: Any) -> Any:
        """Return the compiled network. `options` are further arguments of `compile`."""
        import keras

        keras.utils.set_random_seed(SEED)
        network = build(self.model, self.frames.x_shape)
        if options:
            network.compile(network.optimizer, network.loss, metrics=["accuracy"], **options)
        return network


@dataclass(frozen=True)
class Rung:
    """An ordinary network, and the arrays it is trained on. It has the attributes of a `Training`.

    Attributes:
        of: Network.
        batch_size: int. Windows of a batch.
        steps: int. Batches of an epoch.
        epochs: int. Epochs of the whole training.
    """

    of: Network
    batch_size: int
    steps: int
    epochs: int = 10
    is_padded = True  # the loop by hand takes batches from arrays

    @property
    def name(self) -> str:
        """The name that `--only` takes."""
        return f"{self.of.name}-{self.batch_size}"

    @property
    def stateful(self) -> bool:
        """Whether the network carries state from batch to batch."""
        return self.of.stateful

    @property
    def shuffle(self) -> bool:
        """Whether windows are shuffled."""
        return not self.stateful

    @property
    def all_steps(self) -> int:
        """Batches of the whole training."""
        return self.steps * self.epochs

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All windows and their targets, in memory."""
        return self.of.data(self.steps * self.batch_size)

    @property
    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """What `seqframe.fit` takes."""
        return self.arrays

    def network(self, **options: Any) -> Any:
        """Return the compiled network. `options` are further arguments of `compile`."""
        return self.of.build(self.batch_size, **options)


Case = Training | Rung


class Trainer(System):
    """A way to train `epochs` epochs of a training in a run."""

    def __init__(self, training: Case):
        self.training, self.epochs, self.epoch_steps = training, 1, training.steps

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.epoch_steps * self.epochs

    def grow(self, factor: float) -> bool:
        before = self.epochs
        self.epochs = min(math.ceil(before * factor), self.training.epochs)
        return self.epochs > before

    def complete(self) -> None:
        """Make a run the whole training."""
        self.epochs = self.training.epochs


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
        options = keras_options(training, whole_epoch, options)
        if options:
            self.remark = ("dataset, " if dataset else "arrays, ") + str(options)
        self.make = keras_dataset if dataset else keras_arrays
        self.network = training.network(**options)
        self.cut(min(PROBE, training.steps))

    def cut(self, steps: int) -> None:
        """Give an epoch as many steps."""
        self.epoch_steps = steps
        self.data = self.make(self.training, steps * self.training.batch_size)

    def grow(self, factor: float) -> bool:
        steps = min(round(self.epoch_steps * factor), self.training.steps)
        if steps == self.epoch_steps:
            return super().grow(factor)
        self.cut(steps)
        return True

    def complete(self) -> None:
        super().complete()
        self.cut(self.training.steps)

    def clock(self) -> float:
        # Only epochs count: with so few, the rest of a call would weigh too much.
        from keras.callbacks import LambdaCallback

        times: list[float] = []

        def stamp(*_: Any) -> None:
            times.append(time.perf_counter())

        self.run(LambdaCallback(on_epoch_begin=stamp, on_epoch_end=stamp))
        return times[-1] - times[0]

    def run(self, *callbacks: Any) -> None:
        if self.training.stateful:
            from seqframe import StatefulTrainer

            callbacks = (*callbacks, StatefulTrainer())
        self.network.fit(**self.data, epochs=self.epochs, verbose=0, callbacks=list(callbacks))


def keras_options(training: Case, whole_epoch: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Return further arguments of `model.compile`, if the backend has a use for them."""
    import keras

    if whole_epoch:
        options = {"steps_per_execution": training.steps, **options}
    backend = keras.backend.backend()
    if backend == "jax" and options.get("jit_compile") is False:
        raise NotMeasuredError("JAX compiles by XLA only")
    if backend == "torch" and options:
        # `torch.compile` compiles Keras's layers again and again, until it gives up.
        raise NotMeasuredError("PyTorch takes one step a call, without compilation")
    return options


def keras_arrays(training: Training, windows: int) -> dict[str, Any]:
    """Return the first windows, as arguments of `model.fit`."""
    x, y = training.arrays
    size, shuffle = training.batch_size, training.shuffle
    return dict(x=x[:windows], y=y[:windows], batch_size=size, shuffle=shuffle)


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
    """`seqframe.fit`, silent or with another `verbose`."""

    def __init__(self, training: Case, verbose: Any = 0):
        super().__init__(training)
        self.network, self.frames, self.verbose = training.network(), training.frames, verbose

    def run(self) -> None:
        from seqframe import fit

        size, shuffle = self.training.batch_size, self.training.shuffle
        options = dict(batch_size=size, shuffle=shuffle, seed=SEED, verbose=self.verbose)
        fit(self.network, self.frames, epochs=self.epochs, **options)


class SettledFit(SeqframeFit):
    """`seqframe.fit` as in a long run, which has tried every form of a program that may pay.

    Runs of a benchmark are short. Without this, compilation would not pay in them. The forms are
    compared after the first run.
    """

    def __init__(self, training: Case, verbose: Any = 0):
        settle(at_once=isinstance(training, Training))
        super().__init__(training, verbose)
        self._trials = TRIALS

    def clock(self) -> float:
        seconds = super().clock()
        for _ in range(self._trials):
            self.run()
        self._trials = 0
        return seconds


def settle(at_once: bool = False) -> None:
    """Let every form be tried that may save time, in this process; with `at_once`, by layers."""
    from seqframe import backend
    from seqframe.training import programs

    programs._PAYBACK = 0.0
    if backend.name == "tensorflow":
        from seqframe.backend import tensorflow

        tensorflow._LONG_ENOUGH = 0
        if at_once:
            tensorflow._LONG_RUN = 0


class ByHand(Trainer):
    """A compiled loop for this network, with orders that are drawn on the host for each epoch.

    Short epochs run together in one call.
    """

    def __init__(self, training: Training):
        super().__init__(training)
        import keras

        if keras.backend.backend() not in LOOPS:
            raise NotMeasuredError("PyTorch compiles no loop")
        self.group = min(max(GROUP // self.epoch_steps, 1), training.epochs)
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
        draw = self.random.permutation if self.training.shuffle else np.arange
        return draw(self.epoch_steps * self.training.batch_size).reshape(self.epoch_steps, -1)

    def grow(self, factor: float) -> bool:
        before = self.epochs
        super().grow(factor)
        self.epochs -= self.epochs % self.group
        return self.epochs > before


class Repeated(Trainer):
    """A call that takes all data, again and again: `evaluate` or `predict`.

    Args:
        training: Rung.
        call: function of the network and the training.
        whole_epoch: bool. Whether `steps_per_execution` is a whole epoch.
        **options: of `model.compile`.
    """

    def __init__(
        self,
        training: Rung,
        call: Callable[[Any, Rung], None],
        whole_epoch: bool = False,
        **options: Any,
    ):
        super().__init__(training)
        options = keras_options(training, whole_epoch, options)
        self.call, self.network = call, training.network(**options)
        self.remark = str(options) if options else ""

    def run(self) -> None:
        for _ in range(self.epochs):
            self.call(self.network, self.training)


def keras_evaluate(network: Any, training: Rung) -> None:
    network.evaluate(*training.arrays, batch_size=training.batch_size, verbose=0)


def keras_predict(network: Any, training: Rung) -> None:
    network.predict(training.arrays[0], batch_size=training.batch_size, verbose=0)


def seqframe_evaluate(network: Any, training: Rung) -> None:
    from seqframe import evaluate

    settle()
    evaluate(network, training.arrays, batch_size=training.batch_size, verbose=0)


def seqframe_predict(network: Any, training: Rung) -> None:
    from seqframe import predict

    settle()
    predict(network, training.arrays[0], batch_size=training.batch_size, verbose=0)


class Refit(System):
    """`seqframe.fit` for five epochs of one series, again and again. A run is one call.

    Args:
        training: Rung. The series has 5 frames more than it has windows.
        grows: bool. Whether the series is a step longer each time.
    """

    steps = 1

    def __init__(self, training: Rung, grows: bool = False):
        self.training, self.grows, self.network = training, grows, training.network()
        self.frames = training.steps * training.batch_size + 5  # the last batch is smaller
        shape = (self.frames + STEPS + 100, FEATURES)
        self.series = np.random.default_rng(SEED).normal(size=shape).astype(np.float32)

    def run(self) -> None:
        from seqframe import SequenceFramer, fit

        self.frames += self.grows
        series = self.series[: self.frames + STEPS]
        frames = SequenceFramer(STEPS).frame(series, targets=series[:, 0])
        fit(self.network, frames, batch_size=self.training.batch_size, epochs=5, verbose=0)

    def grow(self, factor: float) -> bool:
        return False


SYSTEMS: dict[str, Variants] = {
    "fit-arrays": [KerasFit],
    "fit-dataset": [partial(KerasFit, dataset=True)],
    # More steps per execution are never slower, up to a whole epoch. XLA mostly helps.
    "fit-best": [
        partial(KerasFit, whole_epoch=True, jit_compile=True),
        partial(KerasFit, dataset=True, whole_epoch=True, jit_compile=True),
        partial(KerasFit, whole_epoch=True, jit_compile=False),
    ],
    "seqframe": [SettledFit],
    "hand-written": [ByHand],
}

NETWORK_SYSTEMS: dict[str, Variants] = {
    "fit-arrays": [KerasFit],
    "fit-best": [
        partial(KerasFit, jit_compile=False),
        partial(KerasFit, whole_epoch=True, jit_compile=False),
        partial(KerasFit, whole_epoch=True, jit_compile=True),
    ],
    "seqframe": [SettledFit],
    "hand-written": [ByHand],
}


def repeated(ours: Callable[..., None], keras: Callable[..., None]) -> dict[str, Variants]:
    """Return seqframe's call, and Keras's with each of the options that may be fastest."""
    return {
        "fit-arrays": [partial(Repeated, call=keras)],
        "fit-best": [
            partial(Repeated, call=keras, jit_compile=False),
            partial(Repeated, call=keras, whole_epoch=True, jit_compile=False),
            partial(Repeated, call=keras, whole_epoch=True, jit_compile=True),
        ],
        "seqframe": [partial(Repeated, call=ours)],
    }


CALLS = {
    "evaluate": repeated(seqframe_evaluate, keras_evaluate),
    "predict": repeated(seqframe_predict, keras_predict),
}
BARS: dict[str, Variants] = {
    "seqframe": [SettledFit],
    "seqframe, bar": [partial(SettledFit, verbose="auto")],
}
TWINS: dict[str, Variants] = {"seqframe": [SeqframeFit], "seqframe, second": [SeqframeFit]}
REFITS: dict[str, Variants] = {
    "seqframe": [Refit],
    "seqframe, longer": [partial(Refit, grows=True)],
}


def first_runs(case: Case, backend: str, makers: dict[str, type[Trainer]], rounds: int) -> Results:
    """Return each system's whole trainings with compilation, all in fresh processes."""
    results = {}
    for name in [*makers] * rounds:
        result = results.setdefault(name, Result(steps=case.all_steps))
        try:
            seconds, peak = run_apart(first_run, case, backend, makers[name])
        except NotMeasuredError as error:
            result.remark = str(error)
        else:
            result.rounds.append(seconds / case.all_steps)
            result.peak = float(np.fmin(peak, result.peak))
    return results


def first_run(case: Case, backend: str, make: type[Trainer]) -> tuple[float, float]:
    """Return the seconds of a whole training, and the bytes that it holds at most."""
    os.environ["KERAS_BACKEND"] = backend
    trainer = make(case)
    trainer.complete()
    with PeakMemory() as memory:
        start = time.perf_counter()
        trainer.run()
        seconds = time.perf_counter() - start
    return seconds, memory.bytes


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
