"""
How fast networks train and generate on a GPU
=============================================

Four networks are trained on windows of 48 steps, in batches of 128: LSTM(256), GRU(128), a
transformer and a TCN. An LSTM(256) and a transformer generate.

    python benchmarks/gpu.py            # all: about five minutes with a GPU
    python benchmarks/gpu.py --quick    # a smoke run: one network, small batches, one backend
    python benchmarks/gpu.py --backend tensorflow --only lstm-256 gru-128

Each backend runs in a process of its own, and says which device it uses. A backend that sees no GPU
runs on the CPU. The systems:

- **keras**: the fastest of `model.fit` with one step or a whole epoch in `steps_per_execution`,
  with XLA or without. Of rollouts, the faster of loops over `predict_on_batch` and `model(x)`.
- **seqframe**: `seqframe.fit`, or a `Generator`, with default settings.

The systems take turns in three rounds. A time is the median over rounds, and a ratio is the median
of the ratios of each round. "compilation" is what a first run takes more than a later one.
"""

import importlib.util
import os
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "examples"))

from _measure import (
    LEAST_ROUNDS,
    NotMeasuredError,
    Result,
    Results,
    System,
    Variants,
    measure_in_turn,
    run_apart,
    summary,
)
from _networks import NETWORKS, Network, chain
from _report import (
    BACKENDS,
    PARITY,
    at_most,
    figures_table,
    machine,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)
from _rollout_systems import KerasLoop, Roller, Seqframe, call, predict_on_batch
from _rollout_systems import Network as Rolled
from _training_systems import KerasFit, Rung, SeqframeFit


def lstm_256(x: Any, layers: Any) -> Any:
    return chain(x, layers.LSTM(256), layers.Dense(1))


def gru_128(x: Any, layers: Any) -> Any:
    return chain(x, layers.GRU(128), layers.Dense(1))


TRAINED = {
    "lstm-256": Network("lstm-256", lstm_256),
    "gru-128": Network("gru-128", gru_128),
    "transformer": NETWORKS["transformer"],
    "tcn": NETWORKS["tcn"],
}
ROLLED = {
    "generate-lstm-256": Rolled("lstm-256", "LSTM", 256, batch_size=8),
    "generate-transformer": Rolled(
        "transformer-32", "Transformer", 64, window=32, symbols=26, embedded=True
    ),
}
FITS: dict[str, Variants] = {
    "keras": [
        KerasFit,
        partial(KerasFit, whole_epoch=True, jit_compile=False),
        partial(KerasFit, whole_epoch=True, jit_compile=True),
    ],
    "seqframe": [SeqframeFit],
}
ROLLOUTS: dict[str, Variants] = {
    "keras": [partial(KerasLoop, call=predict_on_batch), partial(KerasLoop, call=call)],
    "seqframe": [Seqframe],
}
NAMES = [*TRAINED, *ROLLED]
QUICK = ["tcn"], ["keras", "seqframe"]


def find_device(backend: str) -> str:
    """Return the name of the GPU that a backend uses, or that it uses none."""
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(each) for each in found]
        names = [each.get("device_name", "a GPU") for each in details]
    elif backend == "jax":
        import jax

        names = [each.device_kind for each in jax.devices() if each.platform != "cpu"]
    else:
        import torch

        names = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return names[0] if names else "no GPU found: it runs on the CPU"


def measure(backend: str, options: Namespace) -> tuple[str, dict[str, Results]]:
    """Return the device, and each system's result on the chosen cases, one after another."""
    os.environ["KERAS_BACKEND"] = backend
    device, results = find_device(backend), {}
    # A GPU multiplies with fewer digits, so systems may choose another of two likely symbols.
    Roller.check = System.check
    batch_size, steps = (8, 8) if options.quick else (128, 32)
    for name in options.only:
        case, systems = ROLLED.get(name), ROLLOUTS
        if case is None:
            case, systems = Rung(TRAINED[name], batch_size, steps), FITS
        try:
            results[name] = measure_in_turn(
                case,
                backend,
                {system: systems[system] for system in options.systems},
                options.rounds,
                options.seconds,
            )
        except Exception as error:  # the other cases can still be compared
            remark = summary(error)
            results[name] = {system: Result(remark=remark) for system in options.systems}
    return device, results


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    options.rounds = LEAST_ROUNDS
    claims, results = [], {}
    for backend in BACKENDS:
        if importlib.util.find_spec(backend) is None:
            print(f"\n**{backend}**: not installed")
    for backend in options.backend:
        show_progress(backend)
        try:
            device, rows = run_apart(measure, backend, options)
        except NotMeasuredError as error:
            print(f"\n**{backend}**: {error}", flush=True)
            continue
        show_progress()
        step = figures_table(
            "µs/step",
            rows,
            lambda _, each: show_number(each.microseconds),
            [("seqframe", "keras")],
            remarks=True,
        )
        setup = figures_table("compilation, s", rows, lambda _, each: show_number(each.setup))
        print(f"\n**{backend}**: {device}\n\n{step}\n\n{setup}", flush=True)
        results[backend] = dict(device=device, rows=rows)
        slower = ratios(rows, "seqframe", "keras")
        claims.append(at_most(f"{backend}: step of seqframe / best of Keras", slower, PARITY))
    report(options, claims, results=results)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, ["keras", "seqframe"], *QUICK))
