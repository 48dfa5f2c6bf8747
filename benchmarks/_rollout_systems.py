"""The ways to generate that `rollout.py` compares: loops of Keras's calls, seqframe, loops by hand.

Keras reads its backend when it is imported, so functions import it.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from _measure import NotMeasuredError, PeakMemory, System, Variants
from _rollout_by_hand import LOOPS, torch_loop

SEED = 7
STEPS = 1000  # of a run, if that does not take too long
CHECKED = 8  # steps on which systems must agree; slow ones begin with as many
APART = 1e-4  # relative to the largest value
HELD_ROWS, HELD_STEPS, HELD_CALLS = 256, 500, 3  # of calls whose memory is measured
HEADS, BLOCKS = 4, 2  # of the transformer
DIFFERS = "it generates something else"
_TEMPERATURE = 0.5  # of the first call, which is compared


@dataclass(frozen=True)
class Network:
    """A network that generates, and what it begins with.

    Attributes:
        name: str. The name that `--only` takes.
        kind: "LSTM" | "GRU" | "Transformer".
        units: int.
        batch_size: int. Sequences that are generated at once.
        window: int. Steps that it is shown at once. With 1 it is stateful.
        symbols: int. Number of symbols to choose from. With 0 it predicts real values.
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
        """The given steps, `(batch_size, window)`: ids or real values."""
        random, shape = np.random.default_rng(SEED), (self.batch_size, self.window)
        if self.symbols:
            return random.integers(self.symbols, size=shape, dtype=np.int32)
        return random.normal(size=shape).astype(np.float32)

    @property
    def states(self) -> list[np.ndarray]:
        """Recurrent states to begin with."""
        count = {"LSTM": 2, "GRU": 1}.get(self.kind, 0) if self.is_stateful else 0
        return [np.zeros((self.batch_size, self.units), np.float32) for _ in range(count)]

    def build(self, stateful: bool = True) -> Any:
        """Return the network. Its weights are the same every time.

        Args:
            stateful: bool. Pass False for a stateless twin that takes a whole sequence.
        """
        import keras

        keras.utils.set_random_seed(SEED)
        if self.kind == "Transformer":
            network = self._transformer()
        else:
            network = self._recurrent(stateful and self.is_stateful)
        # Initial weights make a network repeat itself. Weights of twice the size do not.
        network.set_weights([2 * array for array in network.get_weights()])
        return network

    def arrange(self, steps: Any) -> Any:
        """Return steps `(batch_size, window)` in the shape that the network takes."""
        return steps if self.embedded else steps[..., None]

    def choose(self, output: np.ndarray) -> np.ndarray:
        """Return the next step `(batch_size,)` of an output: the likeliest id, or the value."""
        return output.argmax(axis=-1).astype(np.int32) if self.symbols else output[:, 0]

    def _recurrent(self, stateful: bool) -> Any:
        import keras
        from keras import layers

        window = self.window if stateful or not self.is_stateful else None
        shape = (window,) if self.embedded else (window, 1)
        return keras.Sequential(
            [
                keras.Input(shape, batch_size=self.batch_size if stateful else None),
                *([layers.Embedding(self.symbols, self.units)] if self.embedded else []),
                getattr(layers, self.kind)(self.units, stateful=stateful),
                layers.Dense(self.symbols or 1, activation="softmax" if self.symbols else None),
            ]
        )

    def _transformer(self) -> Any:
        import keras
        from keras import layers, ops

        ids = keras.Input((self.window,), dtype="int32")
        positions = ops.cumsum(ops.ones_like(ids), axis=1) - 1
        x = layers.Embedding(self.symbols, self.units)(ids)
        x = x + layers.Embedding(self.window, self.units)(positions)
        for _ in range(BLOCKS):
            attention = layers.MultiHeadAttention(HEADS, self.units // HEADS)
            normal = layers.LayerNormalization()(x)
            x = x + attention(normal, normal, use_causal_mask=True)
            hidden = layers.Dense(4 * self.units, "relu")(layers.LayerNormalization()(x))
            x = x + layers.Dense(self.units)(hidden)
        x = layers.LayerNormalization()(x[:, -1])
        return keras.Model(ids, layers.Dense(self.symbols, activation="softmax")(x))


@functools.cache
def reference(network: Network) -> np.ndarray:
    """Return the `CHECKED` steps after the prompt by calls of the whole sequence, without state."""
    import keras

    model, steps = network.build(stateful=False), network.prompt
    for _ in range(CHECKED):
        shown = steps if network.is_stateful else steps[:, -network.window :]
        output = keras.ops.convert_to_numpy(model(network.arrange(shown)))
        steps = np.concatenate([steps, network.choose(output)[:, None]], axis=1)
    return steps[:, network.window :]


class Roller(System):
    """A way to generate `steps` steps after a network's prompt, `(batch_size, steps)`.

    Args:
        network: Network.
        times: int. Each run has the steps of a first run times this. With 0 runs get longer.
    """

    def __init__(self, network: Network, times: int = 0):
        import keras

        self.network = network
        # PyTorch compiles nothing, so each step takes long.
        first = STEPS // 10 if keras.backend.backend() == "torch" else STEPS
        self.steps = first * (times or 1)
        self.most = self.steps if times else STEPS

    def grow(self, factor: float) -> bool:
        before = self.steps
        self.steps = min(math.ceil(before * factor), self.most)
        return self.steps > before

    def check(self) -> None:
        expected, made = reference(self.network), np.asarray(self.made)[:, :CHECKED]
        apart = 0 if self.network.symbols else APART * np.abs(expected).max()
        if made.shape != expected.shape or np.abs(made - expected).max() > apart:
            raise NotMeasuredError(DIFFERS)


class KerasLoop(Roller):
    """A Python loop of one of Keras's own calls.

    Args:
        network: Network.
        call: function `(model, x) -> output`.
    """

    def __init__(self, network: Network, call: Callable[[Any, Any], Any]):
        super().__init__(network)
        self.steps, self.call, self.model = CHECKED, call, network.build()

    def run(self) -> np.ndarray:
        window, made = self.network.prompt, []
        with fresh_state(self.network, self.model):
            for _ in range(self.steps):
                output = self.call(self.model, self.network.arrange(window))
                made.append(self.network.choose(np.asarray(output)))
                window = np.concatenate([window[:, 1:], made[-1][:, None]], axis=1)
        return np.stack(made, axis=1)


@contextlib.contextmanager
def fresh_state(network: Network, model: Any) -> Iterator[None]:
    """Reset a stateful model, and carry its state under JAX, which does not carry it by itself."""
    import keras

    from seqframe import carry_state, reset_states

    if network.is_stateful:
        reset_states(model)
    carries = network.is_stateful and keras.backend.backend() == "jax"
    with carry_state(model) if carries else contextlib.nullcontext():
        yield


def predict(model: Any, x: Any) -> np.ndarray:
    return model.predict(x, batch_size=len(x), verbose=0)


def predict_on_batch(model: Any, x: Any) -> np.ndarray:
    return model.predict_on_batch(x)


def call(model: Any, x: Any) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(model(x))


class Seqframe(Roller):
    """seqframe's `Generator`."""

    def __init__(self, network: Network, times: int = 0):
        super().__init__(network, times)
        from seqframe import Generator, SequenceFramer

        layout = "tokens" if network.embedded else "timesteps"
        framer = SequenceFramer(network.window, layout=layout)
        self.generator = Generator(network.build(), framer, seed=0)
        self.roll_out = self.generator.generate if network.symbols else self.generator.forecast

    def run(self) -> np.ndarray:
        return np.stack(self.roll_out(list(self.network.prompt), self.steps))


class Sampled(Seqframe):
    """seqframe's `Generator` with a sampler that draws.

    Args:
        network: Network.
        overrides: dict of function of a number, by the name of an argument. Each call passes what
            they return for its number. Without them all calls are alike.
    """

    def __init__(self, network: Network, overrides: dict[str, Callable[[int], Any]]):
        super().__init__(network, times=1)
        from seqframe.samplers import RandomSampler

        self.generator.sampler = RandomSampler(_TEMPERATURE)
        self.overrides, self.calls = overrides, 0

    def run(self) -> np.ndarray:
        self.calls += 1
        options = {name: value(self.calls) for name, value in self.overrides.items()}
        prompts = list(self.network.prompt)
        return np.stack(self.generator.generate(prompts, self.steps, **options))

    def check(self) -> None:
        """The first call has the temperature of a generator without overrides."""
        expected = np.stack(self.generator.generate(list(self.network.prompt), self.steps))
        if not np.array_equal(self.made, expected):
            raise NotMeasuredError(DIFFERS)


def new_temperature(call: int) -> float:
    return _TEMPERATURE * call


def new_seed(call: int) -> int:
    return call - 1


def held_bytes(network: Network, backend: str) -> float:
    """Return the bytes that seqframe holds at most for each number it generates.

    They are what a call of ten times the steps holds more. Many rows make many numbers, beside
    which the pages of an allocator weigh little. A call that is the first to need a buffer or a
    thread holds more, once. So the least of several calls counts.
    """
    os.environ["KERAS_BACKEND"] = backend  # before Keras is imported
    system = Seqframe(replace(network, batch_size=HELD_ROWS))
    few, many = (_least_peak(system, steps) for steps in (HELD_STEPS // 10, HELD_STEPS))
    return (many - few) / (HELD_ROWS * (HELD_STEPS - HELD_STEPS // 10))


def _least_peak(system: Seqframe, steps: int) -> float:
    """Return the bytes that a call of so many steps holds at most."""
    system.steps, peaks = steps, []
    for _ in range(HELD_CALLS):
        with PeakMemory() as memory:
            system.run()
        peaks.append(memory.bytes)
    return min(peaks)


class ByHand(Roller):
    """A compiled loop for this network; for PyTorch, a plain one.

    Args:
        network: Network.
        times: int. As a `Roller` takes it.
        loop: function of the network, a model and a number of steps. It returns a program that
            takes a window and states, and returns all steps.
    """

    def __init__(self, network: Network, times: int = 0, loop: Callable[..., Any] | None = None):
        super().__init__(network, times)
        import keras

        self.make = functools.cache(loop or LOOPS[keras.backend.backend()])
        dtype = np.int32 if network.embedded else np.float32
        self.window, self.model = network.arrange(network.prompt).astype(dtype), network.build()

    def run(self) -> np.ndarray:
        program = self.make(self.network, self.model, self.steps)
        return np.asarray(program(self.window, self.network.states))


def bare_loop(network: Network) -> Roller:
    """Return a loop of `model(x)` on tensors, without gradients: PyTorch's own way."""
    import keras

    if keras.backend.backend() != "torch":
        raise NotMeasuredError("PyTorch only")

    def loop(network: Network, model: Any, steps: int) -> Callable[[Any, Any], Any]:
        program = torch_loop(network, model, steps, lambda x, states: (model(x), states))

        def run(x: Any, states: Any) -> Any:
            with fresh_state(network, model):
                return program(x, states)

        return run

    return ByHand(network, loop=loop)


SYSTEMS: dict[str, Variants] = {
    "predict": [partial(KerasLoop, call=predict)],
    "on-batch": [partial(KerasLoop, call=predict_on_batch)],
    "call": [partial(KerasLoop, call=call)],
    "seqframe": [Seqframe],
    "hand-written": [ByHand],
    "bare-loop": [bare_loop],
}


LONG_CALLS: dict[str, Variants] = {
    "seqframe": [partial(Seqframe, times=10)],
    "hand-written": [partial(ByHand, times=10)],
    "seqframe, short": [partial(Seqframe, times=1)],
}


SAMPLED_CALLS: dict[str, Variants] = {
    "seqframe": [partial(Sampled, overrides={})],
    "seqframe, new temperatures": [partial(Sampled, overrides={"temperature": new_temperature})],
    "seqframe, new seeds": [partial(Sampled, overrides={"seed": new_seed})],
}
