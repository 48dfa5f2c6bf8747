"""
What limits training on more devices
====================================

An LSTM(32) trains on windows of 24 steps, in batches of 256, on 1, 2 and 4 virtual devices under
JAX. Its parts are measured by themselves. A model adds them up, and predicts 8 and 256 devices.

    python benchmarks/scaling.py            # all: about three minutes
    python benchmarks/scaling.py --quick    # a smoke run: 1 and 2 devices, no processes

The model of a step on `n` devices, with `batch / n` rows on each:

    compute        fixed + by_row * rows
    communication  sums * (latency * log2(n) + 2 * (n - 1) / n * bytes / bandwidth)
    step           max(compute + communication, input)

- **fixed**, **by_row**: a line through the steps of one device with the rows of 1, 2 and 4 devices.
- **latency**, **bandwidth**: fitted to sums of 4 KB and of 1 MB over the devices, by themselves.
- **sums**: sums over all devices in a step. seqframe adds up the gradients of an LSTM once. Keras's
  own `fit` adds them up in each time step.
- **input**: seconds of one batch of `frames.batches`, which a thread makes beside the training. A
  process makes the rows of its own devices.

Virtual devices share the cores of this machine, so the model lets them take turns where it is
compared with a measured step. Where it predicts, each device has a core of its own. "compilation"
is what a first call takes more than a later one. A time is the least of its rounds: other work of
the machine only adds to it.
"""

import argparse
import json
import math
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import run_apart
from _report import machine, markdown_table, show_number, show_progress

STEPS, UNITS, BATCH, BATCHES = 24, 32, 256, 40
SIZES = 2**12, 2**20  # bytes of a sum
SUMS = 100  # sums of a run
PREDICTED = 8, 256
SUMS_OF_A_STEP = {"seqframe": 1, "Keras": 1 + STEPS}


def begin(devices: int) -> None:
    """Give this process virtual devices. JAX is imported afterwards."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    os.environ["NPROC"] = "16"  # on a loaded machine XLA needs more threads than devices
    os.environ["JAX_CPU_COLLECTIVES_IMPLEMENTATION"] = "gloo"
    os.environ["KERAS_BACKEND"] = "jax"


def least(run: Callable[[], Any], rounds: int) -> float:
    """Return the seconds of the fastest run."""
    return min(clock(run) for _ in range(rounds))


def clock(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def make_frames(rows: int) -> Any:
    from seqframe import SequenceFramer

    rng = np.random.default_rng(7)
    return SequenceFramer(STEPS).frame(
        rng.standard_normal(rows * BATCHES + STEPS).astype("float32")
    )


def time_steps(system: str, devices: int, all_rows: list[int], rounds: int) -> list[list[float]]:
    """Return the seconds of a step and of the compilation, for batches of each size."""
    begin(devices)
    import keras

    from seqframe import fit

    if devices > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    found = []
    for rows in all_rows:
        frames = make_frames(rows)
        layers = [keras.Input((STEPS, 1)), keras.layers.LSTM(UNITS), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        given = {"batch_size": rows, "shuffle": False, "verbose": 0}
        if system == "Keras":
            run = partial(model.fit, *frames.arrays(), **given)
        else:
            run = partial(fit, model, frames, program="loop", **given)
        first, later = clock(run), least(run, rounds)
        found.append([later / BATCHES, max(first - later, 0.0)])
    return found


def time_sums(devices: int, rounds: int, address: str = "", rank: int = 0) -> list[float]:
    """Return the seconds of a sum over devices, or processes, for each of `SIZES`."""
    begin(1 if address else devices)
    import jax
    from jax.sharding import PartitionSpec

    if address:
        jax.distributed.initialize(address, devices, rank)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("all",))

    def many(x: Any) -> Any:
        return jax.lax.fori_loop(0, SUMS, lambda _, x: jax.lax.psum(x, "all") / devices, x)

    everywhere = {"in_specs": PartitionSpec(), "out_specs": PartitionSpec(), "check_vma": False}
    run = jax.jit(jax.shard_map(many, mesh=mesh, **everywhere))
    found = []
    for size in SIZES:
        values = np.ones(size // 4, np.float32)
        jax.block_until_ready(run(values))
        found.append(least(lambda values=values: jax.block_until_ready(run(values)), rounds) / SUMS)
    return found


def time_sums_of_processes(processes: int, rounds: int) -> list[float]:
    """Return the seconds of a sum over processes, which speak through the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with ThreadPoolExecutor(processes) as pool:
        runs = [
            pool.submit(run_apart, time_sums, processes, rounds, address, rank)
            for rank in range(processes)
        ]
        return [max(seconds) for seconds in zip(*(run.result() for run in runs), strict=True)]


def time_input(rounds: int) -> float:
    """Return the seconds of a shuffled batch."""
    frames = make_frames(BATCH)
    return least(lambda: list(frames.batches(BATCH, shuffle=True, seed=7)), rounds) / BATCHES


@dataclass(frozen=True)
class Link:
    """How devices speak to each other: seconds before a sum, and bytes a second."""

    latency: float
    bandwidth: float

    @classmethod
    def fitted(cls, sums: dict[int, list[float]]) -> "Link":
        """Fit a link to the seconds of sums, by number of devices and for each of `SIZES`."""
        parts = [
            [math.log2(devices), 2 * (devices - 1) / devices * size]
            for devices in sums
            for size in SIZES
        ]
        seconds = np.concatenate(list(sums.values()))
        # Of relative errors, because a large sum takes many times as long as a small one.
        scaled = np.array(parts) / seconds[:, None]
        latency, by_byte = np.linalg.lstsq(scaled, np.ones(len(seconds)), rcond=None)[0]
        return cls(max(latency, 0.0), 1 / max(by_byte, 1e-15))

    def seconds(self, devices: int, size: int) -> float:
        """Return the seconds of one sum."""
        return (
            self.latency * math.log2(devices) + 2 * (devices - 1) / devices * size / self.bandwidth
        )


@dataclass(frozen=True)
class Model:
    """What a step takes, by the number of devices."""

    fixed: float
    by_row: float
    input: float
    nbytes: int = 4 * (4 * UNITS * (UNITS + 2) + UNITS + 1)  # of the gradients

    @classmethod
    def fitted(cls, steps: dict[int, float], input: float) -> "Model":
        """Fit a model to the steps of one device, by number of rows."""
        seconds = np.array(list(steps.values()))
        scaled = np.array([[1.0, rows] for rows in steps]) / seconds[:, None]
        fixed, by_row = np.linalg.lstsq(scaled, np.ones(len(seconds)), rcond=None)[0]
        return cls(max(fixed, 0.0), max(by_row, 0.0), input)

    def step(self, devices: int, link: Link, sums: int, cores: int | None = None) -> float:
        """Return the seconds of a step. Devices take turns on the cores, if their number is given.

        The sums of a training step carry the bytes of the gradients once, or each time.
        """
        turns = 1.0 if cores is None else max(devices / cores, 1.0)
        compute = turns * (self.fixed + self.by_row * math.ceil(BATCH / devices))
        return max(compute + sums * link.seconds(devices, self.nbytes), self.input)


def main(options: argparse.Namespace) -> None:
    """Measure, fit and print."""
    print(machine())
    rounds, counts = (3, [1, 2]) if options.quick else (20, [1, 2, 4])
    systems = ["seqframe"] if options.quick else ["seqframe", "Keras"]
    all_rows = [BATCH // devices for devices in counts]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    input = time_input(rounds)
    measured: dict[str, dict[int, list[float]]] = {}
    models: dict[str, Model] = {}
    for system in systems:
        show_progress(f"{system}, one device")
        alone = run_apart(time_steps, system, 1, all_rows, rounds)
        steps = {rows: step for rows, (step, _) in zip(all_rows, alone, strict=True)}
        models[system] = Model.fitted(steps, input)
        measured[system] = {1: alone[0]}
        for devices in counts[1:]:
            show_progress(f"{system}, {devices} devices")
            (measured[system][devices],) = run_apart(time_steps, system, devices, [BATCH], rounds)
    show_progress("sums")
    sums = {devices: run_apart(time_sums, devices, rounds) for devices in counts[1:]}
    links = {"virtual devices": Link.fitted(sums)}
    if not options.quick:
        links["two processes, gloo"] = Link.fitted({2: time_sums_of_processes(2, rounds)})
    show_progress()

    rows = []
    for system, by_devices in measured.items():
        for devices, (step, compilation) in by_devices.items():
            model = models[system].step(
                devices, links["virtual devices"], SUMS_OF_A_STEP[system], cores
            )
            cells = [step * 1e6, model * 1e6, model / step, compilation]
            rows.append([system, str(devices), *map(show_number, cells)])
    headers = ["system", "devices", "µs/step", "model", "model / measured", "s of compilation"]
    print(f"\n**measured**\n\n{markdown_table(headers, rows)}")

    parts = [
        [f"{system}: {name}", show_number(seconds * 1e6, "µs")]
        for system, model in models.items()
        for name, seconds in (
            ("fixed", model.fixed),
            ("a row", model.by_row),
            ("input", model.input),
        )
    ]
    for name, link in links.items():
        parts.append([f"{name}: latency", show_number(link.latency * 1e6, "µs")])
        parts.append([f"{name}: bandwidth", show_number(link.bandwidth / 1e9, "GB/s")])
    print(f"\n**fitted**\n\n{markdown_table(['part', 'value'], parts)}")

    rows = []
    for name, link in links.items():
        for system, model in models.items():
            one = model.step(1, link, SUMS_OF_A_STEP[system])
            steps = [model.step(devices, link, SUMS_OF_A_STEP[system]) for devices in PREDICTED]
            cells = [show_number(one / step, "×") for step in steps]
            rows.append([name, system, *cells])
    headers = ["link", "system", *(f"{devices} devices" for devices in PREDICTED)]
    title = "predicted: steps a second, against one device"
    print(f"\n**{title}**\n\n{markdown_table(headers, rows)}")
    if options.json:
        everything = {"measured": measured, "sums": sums, "machine": machine()}
        options.json.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: 1 and 2 devices")
    parser.add_argument("--json", type=Path, help="where to write the results as JSON")
    main(parser.parse_args())
