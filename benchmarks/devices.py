"""
How fast networks are trained on several devices, and in several processes, under JAX
=====================================================================================

Each network trains on windows of 48 steps, in batches of 32, under
`keras.distribution.DataParallel`. The devices are virtual: they share the cores of this machine. So
compare the systems of one line, not lines of different numbers of devices.

    python benchmarks/devices.py            # all networks, 2 and 4 devices: about an hour
    python benchmarks/devices.py --quick    # a smoke run: LSTM(8) on 2 devices, and processes
    python benchmarks/devices.py --only lstm-8 lstm conv

The systems:

- **keras**: `model.fit` on arrays, with one step or a whole epoch in `steps_per_execution`. The
  faster one counts.
- **seqframe**: `seqframe.fit` on arrays.
- **hand-written**: one jitted loop over the model's `train_step`. Each device holds all windows,
  and the numbers of the windows are sharded over the batch.

The systems take turns in rounds, in one process. A time is the median over rounds, and a ratio is
the median of the ratios of each round.

**processes** trains LSTM(8) in two processes and in one, with the same whole batches, and compares
the weights.
"""

import multiprocessing
import os
import socket
import sys
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "examples"))

import numpy as np
from _measure import (
    NotMeasuredError,
    Result,
    Results,
    Variants,
    begin_child,
    measure_in_turn,
    run_apart,
)
from _networks import NETWORKS, Network, chain
from _report import (
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
from _training_by_hand import jax_loop
from _training_systems import ByHand, KerasFit, Rung, SeqframeFit, SettledFit


def lstm_8(x: Any, layers: Any) -> Any:
    return chain(x, layers.LSTM(8), layers.Dense(1))


BATCH, STEPS = 32, 64
SMALL = {"lstm-8": Network("lstm-8", lstm_8), "lstm": NETWORKS["lstm"]}
TRAINED = SMALL | {name: each for name, each in NETWORKS.items() if not each.stateful}
DEVICES = (2, 4)


class ShardedByHand(ByHand):
    """A jitted loop for this network, over numbers of windows that are sharded."""

    @property
    def program(self) -> Any:
        """The loop, made in the first run."""
        import jax
        import keras

        if not hasattr(self, "_program"):
            mesh = keras.distribution.distribution().device_mesh.backend_mesh
            spec = jax.sharding.PartitionSpec(None, None, mesh.axis_names[0])
            layout, loop = jax.sharding.NamedSharding(mesh, spec), jax_loop(self.training)
            self._program = lambda orders: loop(jax.device_put(orders, layout))
        return self._program


SYSTEMS: dict[str, Variants] = {
    "keras": [KerasFit, partial(KerasFit, whole_epoch=True)],
    "seqframe": [SettledFit],
    "hand-written": [ShardedByHand],
}


def set_devices(count: int) -> None:
    """Let this process have virtual devices. Keras is imported afterwards."""
    flags = f"--xla_force_host_platform_device_count={count}"
    # XLA aborts if a device of more than there are cores waits for long, unless it is told more.
    os.environ.update(KERAS_BACKEND="jax", XLA_FLAGS=flags, NPROC="16")


def measure(case: Rung, devices: int, systems: dict[str, Variants], options: Namespace) -> Results:
    """Return each system's result on so many devices, in this process."""
    set_devices(devices)
    import keras

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return measure_in_turn(case, "jax", systems, options.rounds, options.seconds)


def train_in(rank: int, count: int, port: int) -> list[np.ndarray]:
    """Return the weights after two epochs in one of several processes."""
    set_devices(1)
    os.environ["JAX_CPU_COLLECTIVES_IMPLEMENTATION"] = "gloo"
    import jax

    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
    import keras

    if count > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    trainer = SeqframeFit(Rung(SMALL["lstm-8"], BATCH, 8))
    trainer.epochs = 2
    trainer.run()
    return trainer.network.get_weights()


def processes_apart() -> float:
    """Return by how much weights of two processes and of one differ, at most."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = run_apart(train_in, 0, 1, port)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, begin_child) as pool:
        ranks = [pool.submit(train_in, rank, 2, port) for rank in range(2)]
        both = [rank.result() for rank in ranks]
    pairs = [pair for weights in both for pair in zip(weights, alone, strict=True)]
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    systems = {name: SYSTEMS[name] for name in options.systems}
    steps = STEPS // 4 if options.quick else STEPS
    cases = [Rung(TRAINED[name], BATCH, steps) for name in options.only if name in TRAINED]
    claims, results = [], {}
    for devices in DEVICES[: 1 if options.quick else None]:
        rows: dict[str, Results] = {}
        for case in cases:
            show_progress(f"{devices} devices, {case.name}")
            try:
                rows[case.of.name] = run_apart(measure, case, devices, systems, options)
            except NotMeasuredError as error:
                rows[case.of.name] = {name: Result(remark=str(error)) for name in systems}
        show_progress()
        if not rows:
            continue
        pairs = [("seqframe", "hand-written"), ("seqframe", "keras")]
        table = figures_table(
            "µs/step", rows, lambda _, each: show_number(each.microseconds), pairs, True
        )
        print(f"\n**{devices} devices**\n\n{table}", flush=True)
        results[str(devices)] = rows
        by_hand, keras = (ratios(rows, *pair) for pair in pairs)
        small = {name: keras[name] for name in keras if name in SMALL}
        what = f"{devices} devices: step of seqframe /"
        claims += [
            at_most(f"{what} hand-written", by_hand, 1.2),
            at_most(f"{what} keras, small LSTMs", small, 0.6),
            at_most(f"{what} keras", keras, PARITY),
        ]
    if "processes" in options.only:
        show_progress("processes")
        what = "weights of 2 processes and of 1 apart"
        claims.append(at_most(what, processes_apart(), 1e-5, ""))
        show_progress()
    report(options, claims, results=results)


if __name__ == "__main__":
    quick = ["lstm-8", "processes"], list(SYSTEMS)
    main(parse(__doc__, [*TRAINED, "processes"], list(SYSTEMS), *quick, by_backend=False))
