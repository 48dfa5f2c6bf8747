"""A rollout, timed: which network generates, by which systems, and how long a step takes.

Keras takes its backend from the environment when it is imported, so that it is imported inside of
functions, and these run in processes that `_harness.run_apart` starts.
"""

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _harness import NotMeasuredError, PeakMemory, Rounds

SEED = 7
STEPS = 1000  # that a run generates, where that does not take too long
CHECKED = 8  # steps on which systems must agree; slow ones begin with as many
APART = 1e-4  # by which values may differ, relative to the largest
LEAST_ROUNDS = 3
HEADS, BLOCKS = 4, 2  # of the Transformer


@dataclass(frozen=True)
class Network:
    """A network that generates, and what it begins with.

    Attributes:
        name: str. As `--only` takes it.
        kind: "LSTM" | "GRU" | "Transformer".
        units: int.
        batch_size: int. Sequences that are generated at once.
        window: int. Steps that it is shown at once; 1: it is stateful.
        symbols: int. It predicts as many; 0: it predicts real values.
        embedded: bool. Whether symbols are embedded.
    """

    name: str
    kind: str
    units: int
    batch_size: int = 1
    window: int = 1
    symbols: int = 0
    embedded: bool = False

    @property
    def is_stateful(self) -> bool:
        """Whether it is shown one step at a time."""
        return self.window == 1

    @property
    def prompt(self) -> np.ndarray:
        """What is given, `(batch_size, window)`: ids, or real values."""
        random, shape = np.random.default_rng(SEED), (self.batch_size, self.window)
        if self.symbols:
            return random.integers(self.symbols, size=shape, dtype=np.int32)
        return random.normal(size=shape).astype(np.float32)

    def build(self) -> Any:
        """Return the network, with weights that are the same every time."""
        import keras

        keras.utils.set_random_seed(SEED)
        network = self._transformer() if self.kind == "Transformer" else self._recurrent()
        # As they are initialised, networks say the same over and over. These do not.
        network.set_weights([2 * array for array in network.get_weights()])
        return network

    def laid_out(self, steps: Any) -> Any:
        """Return steps `(batch_size, window)` as the network takes them."""
        return steps if self.embedded else steps[..., None]

    def framer(self) -> Any:
        """Return the framer of what the network was trained on, if it had been."""
        from seqframe import SequenceFramer

        return SequenceFramer(self.window, layout="tokens" if self.embedded else "timesteps")

    def _recurrent(self) -> Any:
        import keras
        from keras import layers

        batch_size = self.batch_size if self.is_stateful else None
        shape = (self.window,) if self.embedded else (self.window, 1)
        recurrent = getattr(layers, self.kind)
        return keras.Sequential(
            [
                keras.Input(shape, batch_size=batch_size),
                *([layers.Embedding(self.symbols, self.units)] if self.embedded else []),
                recurrent(self.units, stateful=self.is_stateful),
                layers.Dense(self.symbols or 1, activation="softmax" if self.symbols else None),
            ]
        )

    def _transformer(self) -> Any:
        import keras
        from keras import layers, ops

        ids = keras.Input((self.window,), dtype="int32")
        places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
        x = layers.Embedding(self.symbols, self.units)(ids)
        x = x + layers.Embedding(self.window, self.units)(places)
        for _ in range(BLOCKS):
            attention = layers.MultiHeadAttention(HEADS, self.units // HEADS)
            shown = layers.LayerNormalization()(x)
            x = x + attention(shown, shown, use_causal_mask=True)
            hidden = layers.Dense(4 * self.units, "relu")(layers.LayerNormalization()(x))
            x = x + layers.Dense(self.units)(hidden)
        x = layers.LayerNormalization()(x[:, -1])
        return keras.Model(ids, layers.Dense(self.symbols, activation="softmax")(x))


class System:
    """A way to generate.

    Args:
        network: Network.

    Attributes:
        steps: int. That a run generates.
        remark: str. What a reader of its figures should know.
    """

    remark = ""

    def __init__(self, network: Network):
        import keras

        self.network = network
        # PyTorch compiles nothing: each step takes long, and a call costs little beside them.
        self.steps = STEPS // 10 if keras.backend.backend() == "torch" else STEPS

    def run(self) -> np.ndarray:
        """Return `steps` steps after the network's prompt, `(batch_size, steps)`."""
        raise NotImplementedError


@dataclass
class Result(Rounds):
    """What a system did; NaN for what was not measured.

    Attributes:
        first: float. Seconds that a first call for `STEPS` steps takes, compilation included.
        steps: int. That a run generated; where fewer than `STEPS`, `first` is extrapolated.
        differs: bool. Whether it generated something else.
    """

    first: float = math.nan
    steps: int = 0
    differs: bool = False

    @property
    def estimated(self) -> bool:
        """Whether it was run for fewer steps than others."""
        return 0 < self.steps < STEPS


class Timed:
    """A system that is ready to be timed: compiled, and its runs as long as they should be.

    Args:
        system: System.
        least: float. Seconds that a run should take, where it has fewer than `STEPS` steps.
    """

    def __init__(self, system: System, least: float):
        self.system, self._seconds = system, []
        #: What the first run generated.
        self.generated, self._first = self._run()
        self._first_steps = system.steps
        _, seconds = self._run()
        while seconds < least / 2 and system.steps < STEPS:
            system.steps = min(math.ceil(system.steps * min(least / seconds, 8)), STEPS)
            _, seconds = self._run()
        #: Seconds of a step, roughly.
        self.step = seconds / system.steps

    def _run(self) -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        generated = self.system.run()
        return generated, time.perf_counter() - start

    def repeat(self) -> None:
        """Time a run."""
        self._seconds.append(self._run()[1] / self.system.steps)

    def result(self) -> Result:
        """Return what was timed."""
        step = statistics.median(self._seconds)
        first = self._first + step * (STEPS - self._first_steps)
        return Result(self._seconds, self.system.remark, first, self.system.steps)


Maker = Callable[[Network], System]


def measure(
    network: Network,
    backend: str,
    makers: dict[str, Maker],
    rounds: int,
    least: float,
    limit: float,
) -> dict[str, Result]:
    """Return what systems do with a network, in this process, where they take turns.

    Args:
        network: Network.
        backend: str. Keras's.
        makers: for each name, the function that makes the system.
        rounds: int.
        least: float. Seconds that a run of a slow system should take, about.
        limit: float. Seconds after which no more than `LEAST_ROUNDS` are run.
    """
    os.environ["KERAS_BACKEND"] = backend
    expected = reference(network)
    results: dict[str, Result] = {}
    timed: dict[str, Timed] = {}
    for name, make in makers.items():
        try:
            ready = Timed(make(network), least)
        except NotMeasuredError as error:
            results[name] = Result(remark=str(error))
        except Exception as error:  # the others can still be compared
            results[name] = Result(remark=f"{type(error).__name__}: {error}".splitlines()[0])
        else:
            same = is_same(ready.generated, expected)
            if same:
                timed[name] = ready
            else:
                results[name] = Result(remark="it generates something else", differs=True)
    stop = time.perf_counter() + limit
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.perf_counter() > stop:
            break
        for each in timed.values():
            each.repeat()
    results |= {name: each.result() for name, each in timed.items()}
    return {name: results[name] for name in makers}


def reference(network: Network) -> np.ndarray:
    """Return the `CHECKED` steps after a network's prompt, by what Keras documents.

    A stateless call of the whole sequence is the model's meaning: no state is carried.
    """
    import keras

    model = network.build()
    stateless = model
    if network.is_stateful:
        config = model.get_config()
        for layer in config["layers"]:
            layer["config"].pop("stateful", None)
            shape = layer["config"].get("batch_shape")
            if layer["class_name"] == "InputLayer":
                layer["config"]["batch_shape"] = (shape[0], None, *shape[2:])
        config.pop("build_input_shape", None)
        stateless = keras.Sequential.from_config(config)
        stateless.set_weights(model.get_weights())
    known = network.prompt
    for _ in range(CHECKED):
        shown = known if network.is_stateful else known[:, -network.window :]
        output = keras.ops.convert_to_numpy(stateless(network.laid_out(shown)))
        known = np.concatenate([known, chosen(network, output)[:, None]], axis=1)
    return known[:, network.window :]


def chosen(network: Network, output: np.ndarray) -> np.ndarray:
    """Return the next step `(batch_size,)` of an output: the likeliest id, or the value."""
    return output.argmax(axis=-1).astype(np.int32) if network.symbols else output[:, 0]


def is_same(generated: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the first steps are as expected: the same ids, or values that differ little."""
    generated = np.asarray(generated)[:, : expected.shape[1]]
    if generated.shape != expected.shape:
        return False
    if expected.dtype.kind == "i":
        return bool((generated == expected).all())
    return bool(np.abs(generated - expected).max() <= APART * np.abs(expected).max())


@dataclass
class Growth:
    """What longer and longer calls of a system cost.

    Attributes:
        seconds: dict of steps to list of float, what a call takes in each round.
        peaks: dict of steps to float, bytes that a call holds at most.
    """

    seconds: dict[int, list[float]]
    peaks: dict[int, float]

    def step(self, steps: int) -> Rounds:
        """Return what a step takes in a call of so many."""
        return Rounds([seconds / steps for seconds in self.seconds[steps]])

    def call(self, steps: int) -> Rounds:
        """Return what a call takes."""
        return Rounds(self.seconds[steps])


def measure_growth(
    network: Network, backend: str, makers: dict[str, Maker], counts: tuple[int, ...], rounds: int
) -> dict[str, Growth]:
    """Return what systems' calls cost that generate so many steps, each in turn."""
    os.environ["KERAS_BACKEND"] = backend
    systems = {name: make(network) for name, make in makers.items()}
    grown = {name: Growth({steps: [] for steps in counts}, {}) for name in makers}
    for steps in counts:
        for name, system in systems.items():
            system.steps = steps
            system.run()
            with PeakMemory() as memory:
                system.run()
            grown[name].peaks[steps] = memory.bytes
    for _ in range(rounds):
        for steps in counts:
            for name, system in systems.items():
                system.steps = steps
                start = time.perf_counter()
                system.run()
                grown[name].seconds[steps].append(time.perf_counter() - start)
    return grown


@contextlib.contextmanager
def carried(network: Network, model: Any) -> Any:
    """Have a stateful network begin afresh, and carry its state, which JAX does not by itself."""
    import keras

    from seqframe import carry_state, reset_states

    if not network.is_stateful:
        yield
        return
    reset_states(model)
    with carry_state(model) if keras.backend.backend() == "jax" else contextlib.nullcontext():
        yield
