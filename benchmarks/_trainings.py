"""A training, timed: which network on which text, by which systems, and how it went.

Keras takes its backend from the environment when it is imported, so that it is imported inside of
functions, and these run in processes that `_harness.run_apart` starts.
"""

import functools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _harness import NotMeasuredError, Rounds
from reproduce_chapter import ALPHABET, ChapterModel, build

SEED = 7
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Training:
    """A network and what it is trained on.

    Attributes:
        name: str. As `--only` takes it.
        model: ChapterModel. Framing, network, size of a batch, epochs.
        letters: int. The text has as many, the alphabet over and over.
    """

    name: str
    model: ChapterModel
    letters: int = len(ALPHABET)

    @functools.cached_property
    def frames(self) -> Any:
        """The text, framed."""
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
        """Whether there are shorter windows, filled up."""
        return "mode" in self.model.framer

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.frames) // self.model.batch_size

    def network(self, **options: Any) -> Any:
        """Return the network, compiled with Keras's own options for speed."""
        import keras

        keras.utils.set_random_seed(SEED)
        network = build(self.model, self.frames.x_shape)
        if options:
            network.compile(network.optimizer, network.loss, metrics=["accuracy"], **options)
        return network


class System:
    """A way to train.

    Args:
        training: Training.

    Attributes:
        steps: int. Of an epoch.
        epochs: int. That a run trains for.
        remark: str. What a reader of its figures should know.
    """

    remark = ""

    def __init__(self, training: Training):
        self.training, self.steps, self.epochs = training, training.steps, 1

    def run(self) -> float:
        """Train for `epochs` epochs, the first time with compilation; return the seconds."""
        start = time.perf_counter()
        self.train()
        return time.perf_counter() - start

    def train(self) -> None:
        """Train for `epochs` epochs."""
        raise NotImplementedError

    def grow(self, factor: float) -> bool:
        """Have a run take that much longer; return False where it is as long as it may be."""
        before = self.epochs
        self.epochs = min(math.ceil(before * factor), self.training.model.epochs)
        return self.epochs > before


@dataclass
class Result(Rounds):
    """What a system did on a training; NaN for what was not measured.

    Attributes:
        compilation: float. Seconds that the first run took more than a later one.
        total: float. Seconds of the whole training, compilation included.
        estimated: bool. Whether that is extrapolated from a part of the training.
        cut: bool. Whether not even an epoch was run to its end.
    """

    compilation: float = math.nan
    total: float = math.nan
    estimated: bool = False
    cut: bool = False


class Timed:
    """A system that is ready to be timed: compiled, and its runs as long as they should be.

    Args:
        system: System.
        least: float. Seconds that a run should take, about.
    """

    def __init__(self, system: System, least: float):
        self.system = system
        start = time.perf_counter()
        system.run()
        self._first, self._first_steps = time.perf_counter() - start, self._steps
        seconds = system.run()
        while seconds < least / 2 and system.grow(min(least / seconds, 8)):
            seconds = system.run()
        #: Seconds of a step, roughly.
        self.step = seconds / self._steps
        self._rounds: list[float] = []

    @property
    def _steps(self) -> int:
        return self.system.steps * self.system.epochs

    def repeat(self) -> None:
        """Time a run."""
        self._rounds.append(self.system.run() / self._steps)

    def result(self) -> Result:
        """Return what was timed."""
        training, step = self.system.training, statistics.median(self._rounds)
        compilation = max(self._first - step * self._first_steps, 0.0)
        whole = training.steps * training.model.epochs
        return Result(
            seconds=self._rounds,
            compilation=compilation,
            total=compilation + step * whole,
            estimated=self._steps < whole,
            cut=self.system.steps < training.steps,
            remark=self.system.remark,
        )


Maker = Callable[[Training], Iterable[System]]


def measure(
    training: Training,
    backend: str,
    makers: dict[str, Maker],
    rounds: int,
    least: float,
    limit: float,
) -> dict[str, Result]:
    """Return what systems do on a training, in this process, where they take turns.

    Args:
        training: Training.
        backend: str. Keras's.
        makers: for each name, the function that makes the system, or several, of which the fastest
            counts.
        rounds: int.
        least: float. Seconds that a run should take, about.
        limit: float. Seconds after which no more than `LEAST_ROUNDS` are run.
    """
    os.environ["KERAS_BACKEND"] = backend
    results: dict[str, Result] = {}
    timed: dict[str, Timed] = {}
    for name, make in makers.items():
        try:
            timed[name] = _fastest(make(training), least)
        except NotMeasuredError as error:
            results[name] = Result(remark=str(error))
    stop = time.perf_counter() + limit
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.perf_counter() > stop:
            break
        for each in timed.values():
            each.repeat()
    return results | {name: each.result() for name, each in timed.items()}


def _fastest(systems: Iterable[System], least: float) -> Timed:
    ready, problem = [], "nothing to run"
    for system in systems:
        try:
            ready.append(Timed(system, least))
        except Exception as error:  # what Keras cannot run, it refuses in many ways
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
    if not ready:
        raise NotMeasuredError(problem)
    return min(ready, key=lambda timed: timed.step)
