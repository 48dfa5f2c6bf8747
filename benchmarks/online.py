"""
How long a step takes as data arrive
====================================

Four recurrent networks that are given one time step at a time, on TensorFlow, JAX and PyTorch.

    python benchmarks/online.py            # all: a few minutes for each backend
    python benchmarks/online.py --quick    # a smoke run: two networks, one backend
    python benchmarks/online.py --backend jax --only lstm-32 --systems seqframe hand-written

The networks tag each step of 8 features with one of 5 labels. They were built for 32 steps and any
number of rows:

- **lstm-32** and **gru-64**: one sequence. **stack-64**: one sequence, two LSTM layers and a layer
  normalization. **lstm-256**: 16 sequences at once.

The systems:

- **predict**, **on-batch**: a loop of `model.predict` or `predict_on_batch` of a stateful twin for
  one step. Under JAX, `seqframe.carry_state` carries the state.
- **seqframe**: `seqframe.Stepper`.
- **hand-written**: the floor. One compiled function of the recurrent cells with their state; the
  faster of several. PyTorch, which compiles nothing here, runs the cells without gradients.

A step takes an array in and gives an array out. All must give what the network gives for the whole
sequence at once, to 1e-4. Others are not timed. The systems take turns in one process, in five
rounds. A time is the median over rounds. A ratio is the median of the ratios of each round, because
other work of the machine hits neighbours alike. The last table holds the claims about seqframe,
and the figures that this run reached.
"""

import contextlib
import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _measure import NotMeasuredError, Result, Results, System, Variants
from _report import (
    Claim,
    at_least,
    at_most,
    compare,
    figures_table,
    machine,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)

SEED = 7
FEATURES, LABELS = 8, 5
STEPS = 200  # of a first run
SLOW_STEPS = 20  # of a first run of Keras's calls
CHECKED = 16  # steps on which systems must agree
APART = 1e-4


@dataclass(frozen=True)
class Network:
    """A network that tags each step.

    Attributes:
        name: str. The name that `--only` takes.
        kind: "LSTM" | "GRU".
        units: int.
        layers: int. Recurrent layers, with a normalization between them.
        rows: int. Sequences that are read at once.
    """

    name: str
    kind: str
    units: int
    layers: int = 1
    rows: int = 1

    def build(self, steps: int | None = 32, rows: int | None = None) -> Any:
        """Return the network, with the same weights every time. With `rows` it is stateful."""
        import keras
        from keras import layers

        keras.utils.set_random_seed(SEED)
        parts: list[Any] = [keras.Input((steps, FEATURES), batch_size=rows)]
        for number in range(self.layers):
            parts += [layers.LayerNormalization()] if number else []
            options = {"return_sequences": True, "stateful": rows is not None}
            parts.append(getattr(layers, self.kind)(self.units, **options))
        return keras.Sequential([*parts, layers.Dense(LABELS, activation="softmax")])

    @property
    def data(self) -> np.ndarray:
        """The steps that come again and again, `(steps, rows, features)`."""
        shape = (STEPS, self.rows, FEATURES)
        return np.random.default_rng(SEED).normal(size=shape).astype("float32")


NETWORKS = [
    Network("lstm-32", "LSTM", 32),
    Network("gru-64", "GRU", 64),
    Network("stack-64", "LSTM", 64, layers=2),
    Network("lstm-256", "LSTM", 256, rows=16),
]
QUICK = ["lstm-32", "stack-64"], ["on-batch", "seqframe", "hand-written"]
PAIRS = [("predict", "seqframe"), ("on-batch", "seqframe"), ("seqframe", "hand-written")]


class Tagger(System):
    """A way to tag steps as they arrive.

    Args:
        network: Network.
        make: function of a network. It returns a function of a step `(rows, features)`.
        steps: int. Steps of a first run.
    """

    def __init__(
        self,
        network: Network,
        make: Callable[[Network], Callable[[np.ndarray], np.ndarray]],
        steps: int = STEPS,
    ):
        self.network, self.steps, self.data = network, steps, list(network.data)
        self.step = make(network)

    def run(self) -> list[np.ndarray]:
        step, data, count = self.step, self.data, len(self.data)
        return [step(data[number % count]) for number in range(self.steps)]

    def grow(self, factor: float) -> bool:
        self.steps = math.ceil(self.steps * factor)
        return True

    def check(self) -> None:
        model, data = self.network.build(steps=None), self.network.data[:CHECKED]
        expected = model.predict(data.swapaxes(0, 1), verbose=0).swapaxes(0, 1)
        if np.abs(np.stack(self.made[:CHECKED]) - expected).max() > APART:
            raise NotMeasuredError("it gives something else")


def by_keras(network: Network, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a step by a call of Keras on a stateful network of one step."""
    import keras

    from seqframe import carry_state

    model = network.build(steps=1, rows=network.rows)
    call = getattr(model, name)
    if name == "predict":
        call = partial(model.predict, batch_size=network.rows, verbose=0)
    carries = keras.backend.backend() == "jax"
    context = carry_state(model) if carries else contextlib.nullcontext()
    context.__enter__()  # it lasts as long as the function

    def step(x: np.ndarray, _: Any = context) -> np.ndarray:
        return np.asarray(call(x[:, None])[:, 0])

    return step


def by_seqframe(network: Network) -> Callable[[np.ndarray], np.ndarray]:
    """Return a `Stepper`."""
    from seqframe import Stepper

    return Stepper(network.build(), rows=network.rows)


def by_hand(network: Network, is_concrete: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Return a compiled step that an expert would write for one network."""
    import keras

    model = network.build()

    def through_cells(x: Any, states: Any) -> Any:
        after = []
        for layer in model.layers:
            if hasattr(layer, "cell"):
                x, state = layer.cell(x, states[len(after)])
                after.append(list(state) if isinstance(state, (list, tuple)) else [state])
            else:
                x = layer(x)
        return x, after

    width = 2 if network.kind == "LSTM" else 1
    zeros = [
        [np.zeros((network.rows, network.units), "float32") for _ in range(width)]
        for _ in range(network.layers)
    ]
    backend = keras.backend.backend()
    if is_concrete and backend != "tensorflow":
        raise NotMeasuredError("TensorFlow only")
    makers = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}
    make = partial(_by_tensorflow, is_concrete=True) if is_concrete else makers[backend]
    return make(model, through_cells, zeros)


def _by_tensorflow(
    model: Any, through_cells: Any, zeros: Any, is_concrete: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    states = tf.nest.map_structure(tf.Variable, zeros)

    @tf.function(jit_compile=True, autograph=False)
    def step(x: Any) -> Any:
        y, after = through_cells(x, tf.nest.map_structure(tf.convert_to_tensor, states))
        tf.nest.map_structure(lambda variable, value: variable.assign(value), states, after)
        return y

    shape = (len(zeros[0][0]), FEATURES)
    called = step.get_concrete_function(tf.TensorSpec(shape)) if is_concrete else step
    return lambda x: called(tf.constant(x)).numpy()


def _by_jax(model: Any, through_cells: Any, zeros: Any) -> Callable[[np.ndarray], np.ndarray]:
    import jax
    import keras

    weights, states = [variable.value for variable in model.variables], jax.device_put(zeros)

    @jax.jit
    def step(weights: Any, x: Any, states: Any) -> Any:
        with keras.StatelessScope(list(zip(model.variables, weights, strict=True))):
            return through_cells(x, states)

    def run(x: np.ndarray) -> np.ndarray:
        nonlocal states
        y, states = step(weights, x, states)
        return np.asarray(y)

    return run


def _by_torch(model: Any, through_cells: Any, zeros: Any) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    states = [[torch.tensor(array) for array in each] for each in zeros]

    @torch.no_grad()
    def run(x: np.ndarray) -> np.ndarray:
        nonlocal states
        y, states = through_cells(torch.from_numpy(x), states)
        return y.numpy()

    return run


SYSTEMS: dict[str, Variants] = {
    "predict": [partial(Tagger, make=partial(by_keras, name="predict"), steps=SLOW_STEPS)],
    "on-batch": [
        partial(Tagger, make=partial(by_keras, name="predict_on_batch"), steps=SLOW_STEPS)
    ],
    "seqframe": [partial(Tagger, make=by_seqframe)],
    "hand-written": [
        partial(Tagger, make=by_hand),
        partial(Tagger, make=partial(by_hand, is_concrete=True)),
    ],
}


def check_claims(backend: str, rows: dict[str, Results]) -> list[Claim]:
    """Return the claims about a step on a backend, with the measured figures."""
    step = f"{backend}: a step of"
    return [
        at_most(f"{step} seqframe / hand-written", ratios(rows, "seqframe", "hand-written"), 1.3),
        at_least(f"{step} on-batch / seqframe", ratios(rows, "on-batch", "seqframe"), 1),
        at_least(f"{step} predict / seqframe", ratios(rows, "predict", "seqframe"), -math.inf),
    ]


def print_tables(backend: str, rows: dict[str, Results]) -> None:
    """Print microseconds of a step."""

    def step(name: str, result: Result) -> str:
        return show_number(result.microseconds)

    table = figures_table("µs/step", rows, step, PAIRS, remarks=True)
    print(f"\n**a step**, {backend}\n\n{table}", flush=True)


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    chosen = [network for network in NETWORKS if network.name in options.only]
    results, claims = {}, []
    for backend in options.backend:
        rows = {each.name: compare(each, backend, SYSTEMS, options) for each in chosen}
        show_progress()
        print_tables(backend, rows)
        results[backend] = {"online": rows}
        claims += check_claims(backend, rows)
    report(options, claims, results=results)


if __name__ == "__main__":
    main(parse(__doc__, [each.name for each in NETWORKS], list(SYSTEMS), *QUICK))
