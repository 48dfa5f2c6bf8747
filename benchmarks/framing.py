"""
How fast windows are framed, and in how much memory
===================================================

Epochs of batches `(x, y)` in float32: x is a window, y the step after it. seqframe, plain NumPy and
other libraries deliver them, each in a process of its own, without workers.

    python benchmarks/framing.py             # all: a quarter of an hour, mostly for the peers
    python benchmarks/framing.py --quick     # a smoke run: small workloads, only NumPy
    python benchmarks/framing.py --only short wide --systems seqframe copyto torch-loader

What the tables say of each system:

- **s/epoch**: the median over epochs, without the first one. An epoch of more than five seconds is
  cut short and extrapolated, marked "≈". Fast systems run in three processes, in turn.
- **peak MB**: what the process allocates beyond its imports and the data, while it sets up and
  delivers the first epoch. Pages of a memory map belong to the operating system and do not count.
- **set-up, first batch**: after the imports, with the data in memory.
- **remarks**: windows have different values. The first epoch is checked by these: the remarks tell
  what a system misses or repeats.

`copyto` is the floor of shuffled epochs. All windows are in memory in shuffled order, and
`np.copyto` copies one batch after another into one buffer: the bytes that others have to gather.

In order, seqframe's batches are copies, which the user may write into. Their floor is
`view-slices-copied`: slices of a `sliding_window_view`, each copied by `.copy()`. `arrays()` copies
nothing. Its floor is `view-slices`: the same slices, not copied.
"""

import math
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from _epochs import EpochResult, Workload, measure_epochs, write_map
from _framing_systems import SYSTEMS
from _measure import NotMeasuredError, run_apart
from _report import (
    PARITY,
    Claim,
    at_least,
    at_most,
    machine,
    markdown_table,
    parse,
    report,
    show_number,
    show_progress,
)

PROCESSES = 3
CHEAP = 3.0  # seconds of a process that is repeated
LIMIT = 5.0  # seconds of a system's epochs

IN_ORDER = ("seqframe", "view-slices-copied", "seqframe-arrays", "view-slices")
MAPPED = ("seqframe", "numpy-given-starts", "grain")
SHUFFLED = tuple(name for name in SYSTEMS if name not in {*IN_ORDER[1:], "numpy-given-starts"})
WORKLOADS = [
    Workload("short", 1_000_000, 3, 1, 1_024, SHUFFLED),
    Workload("wide", 100_000, 100, 8, 256, SHUFFLED),
    Workload("many-series", 450_000, 50, 1, 64, SHUFFLED, series=1_000),
    Workload("one-series", 499_950, 50, 1, 64, SHUFFLED),
    Workload("long", 200_000, 50, 1, 64, SHUFFLED),
    Workload("memory-map", 10**8, 50, 1, 256, MAPPED, mapped=True, batches=2_000),
    Workload("in-order", 100_000, 100, 8, 256, IN_ORDER, shuffle=False),
]
NAMES = [workload.name for workload in WORKLOADS]
LIGHT = [name for name, framing in SYSTEMS.items() if not framing.is_peer]

Results = dict[str, EpochResult]  # by system


def compare(
    workload: Workload, systems: Iterable[str], path: Path, processes: int, limit: float
) -> Results:
    """Return each system's result on a workload: the median over its processes."""
    runs: dict[str, list[EpochResult]] = {name: [] for name in systems}
    costs = dict.fromkeys(runs, 0.0)
    # Processes take turns, so that other work of the machine does not hit only one system.
    for _ in range(processes):
        for name in [name for name, cost in costs.items() if cost < CHEAP]:
            show_progress(f"{workload.name}: {name}")
            start = time.perf_counter()
            try:
                runs[name].append(run_apart(measure_epochs, SYSTEMS[name], workload, path, limit))
                costs[name] = time.perf_counter() - start
            except NotMeasuredError as error:
                runs[name], costs[name] = [EpochResult(remarks=[str(error)])], math.inf
    show_progress()
    return {name: median(results) for name, results in runs.items()}


def median(results: list[EpochResult]) -> EpochResult:
    """Return a result with the median of each figure."""
    figures = ("seconds", "microseconds", "memory", "setup", "first_batch")
    middle = {name: statistics.median(getattr(one, name) for one in results) for name in figures}
    return replace(results[-1], **middle)


def check_claims(results: dict[str, Results]) -> list[Claim]:
    """Return what is claimed of seqframe, with what was measured."""

    def get(workload: str, system: str = "seqframe") -> EpochResult:
        return results.get(workload, {}).get(system, EpochResult())

    def ratio(workload: str, system: str, other: str) -> float:
        return get(workload, system).microseconds / get(workload, other).microseconds

    def within(workload: str, other: str, most: float, ours: str = "seqframe") -> Claim:
        return at_most(f"{workload}: {ours} / {other}", ratio(workload, ours, other), most)

    def faster(workload: str, other: str, least: float) -> Claim:
        what = f"{workload}: {other} / seqframe"
        return at_least(what, ratio(workload, other, "seqframe"), least)

    lazy = {name: fastest_lazy_peer(rows) for name, rows in results.items()}
    many = get("many-series").microseconds / get("one-series").microseconds
    setups = {name: get(name).setup * 1e3 for name in results}
    return [
        faster("short", "keras-tf", 1_000),
        within("short", "numpy-index-matrix", PARITY),
        within("wide", "copyto", 1.5),
        at_most("a batch of many-series / of one-series", many, 1.3),
        *(faster(name, peer, 10) for name, peer in lazy.items() if peer),
        within("memory-map", "numpy-given-starts", PARITY),
        at_most("memory-map: peak of seqframe", get("memory-map").memory / 1e6, 50, "MB"),
        at_most("longest set-up of seqframe", setups, 10, "ms"),
        within("in-order", "view-slices-copied", PARITY),
        within("in-order", "view-slices", PARITY, ours="seqframe-arrays"),
    ]


def fastest_lazy_peer(results: Results) -> str:
    """Return the name of the fastest library that does not copy all windows up front."""
    times = {
        name: result.microseconds
        for name, result in results.items()
        if SYSTEMS[name].is_peer
        and not SYSTEMS[name].copies_all
        and not math.isnan(result.microseconds)
    }
    return min(times, key=times.__getitem__, default="")


def results_table(results: Results) -> str:
    """Return the systems' results on a workload as a table: seqframe, then the fastest first."""
    ours = results.get("seqframe", EpochResult()).microseconds

    def rank(name: str) -> tuple[bool, bool, float]:
        time = results[name].microseconds
        return name != "seqframe", math.isnan(time), time

    rows = []
    for name in sorted(results, key=rank):
        framing, result = SYSTEMS[name], results[name]
        about = "≈ " if result.estimated else ""
        remarks = list(result.remarks)
        if not math.isnan(result.microseconds):
            remarks += ["copies all windows up front" * framing.copies_all, framing.remark]
        figures = (result.memory / 1e6, result.setup * 1e3, result.first_batch * 1e3)
        row = [
            name,
            show_number(result.seconds, about=about),
            show_number(result.microseconds, about=about),
            show_number(result.microseconds / ours),
            *map(show_number, figures),
            "; ".join(filter(None, remarks)),
        ]
        rows.append(row)
    headers = ["system", "s/epoch", "µs/batch", "× seqframe", "peak MB", "set-up ms"]
    return markdown_table([*headers, "first batch ms", "remarks"], rows)


def shrink(workload: Workload) -> Workload:
    """Return a workload of a fiftieth of the size."""
    return replace(
        workload,
        windows=workload.windows // 50,
        series=max(workload.series // 50, 1),
        batches=workload.batches and workload.batches // 50,
    )


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    results: dict[str, Results] = {}
    processes, limit = (1, 0.5) if options.quick else (PROCESSES, LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.float32"
        for workload in WORKLOADS:
            workload = shrink(workload) if options.quick else workload
            systems = [name for name in workload.systems if name in options.systems]
            if workload.name not in options.only or not systems:
                continue
            if workload.mapped:
                write_map(path, workload.steps)
            results[workload.name] = compare(workload, systems, path, processes, limit)
            print(f"\n**{workload.name}**: {workload}\n")
            print(results_table(results[workload.name]), flush=True)
    report(options, check_claims(results), workloads=results)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, list(SYSTEMS), NAMES, LIGHT, by_backend=False))
