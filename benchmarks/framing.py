"""
How fast windows are framed, and in how much memory
===================================================

Epochs of batches `(x, y)`, x a window and y the step after it, in float32: by seqframe, by plain
NumPy, and by the libraries that frame too, each in a process of its own, without workers.

    python benchmarks/framing.py             # all: a quarter of an hour, most of it the peers'
    python benchmarks/framing.py --quick     # a smoke run: small workloads, NumPy alone
    python benchmarks/framing.py --only short wide --systems seqframe copyto torch-loader
    python benchmarks/framing.py --json framing.json

What the tables say of each system:

- **s/epoch**: median over epochs, after a first one that does not count. An epoch that takes
  longer than `--seconds` is cut short and extrapolated from the batches so far, marked "≈".
  A system that takes a few seconds in all runs in `--processes` processes, in turn with the others.
- **peak MB**: memory of the process's own beyond its imports and the data, while it sets up and
  delivers the first epoch. The pages of a memory map are the operating system's, and do not count.
- **set-up, first batch**: once the data are in memory, and after the imports.
- **remarks**: windows are told apart by their values, so what a system misses, repeats or turns
  around in the first epoch is found out and said.

`copyto` is the floor: all windows stand copied in memory, in shuffled order, and an epoch is
`np.copyto` of one batch after another into one buffer: the bytes that the others have to gather.
`copyto-cached`, a harsher floor, copies one batch over and over, from the processor's cache.

The last table holds what is claimed of seqframe against what this run reached. "No slower" allows
for 5 %, by which runs of one program differ.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from _epochs import Result, Workload, measure, write_map
from _harness import (
    Claim,
    NotMeasuredError,
    claims_table,
    describe_machine,
    machine_line,
    markdown_table,
    run_apart,
    show_number,
    write_json,
)
from _peers import SYSTEMS

PACKAGES = ["seqframe", "numpy", "keras", "tensorflow", "torch", "grain"]
PACKAGES += ["darts", "gluonts", "pytorch-forecasting", "tsai"]
PARITY = 1.05  # "no slower": what two runs of one program differ by
CHEAP = 3.0  # seconds that a process may take to be repeated

IN_ORDER = ("seqframe", "seqframe-arrays", "view-slices", "view-slices-copied")
MAPPED = ("seqframe", "numpy-given-starts", "grain")
SHUFFLED = tuple(
    name for name in SYSTEMS if name == "seqframe" or name not in {*IN_ORDER, "numpy-given-starts"}
)
WORKLOADS = [
    Workload("short", 1_000_000, 3, 1, 1_024, SHUFFLED),
    Workload("wide", 100_000, 100, 8, 256, SHUFFLED),
    Workload("many-series", 450_000, 50, 1, 64, SHUFFLED, series=1_000),
    Workload("one-series", 499_950, 50, 1, 64, SHUFFLED),
    Workload("long", 200_000, 50, 1, 64, SHUFFLED),
    Workload("memory-map", 10**8, 50, 1, 256, MAPPED, mapped=True, batches=2_000),
    Workload("in-order", 100_000, 100, 8, 256, IN_ORDER, shuffle=False),
]
GROWTH = [10**exponent for exponent in range(4, 9)]  # windows
GROWTH_SYSTEMS = ("seqframe", "numpy-given-starts")

Results = dict[str, Result]  # by system


def compare(
    workload: Workload, systems: Iterable[str], path: Path, options: argparse.Namespace
) -> Results:
    """Return each system's result on a workload: the median over its processes."""
    runs: dict[str, list[Result]] = {name: [] for name in systems}
    costs = dict.fromkeys(runs, 0.0)
    # Processes take turns, so that a busy moment of the machine does not hit one system alone.
    for _ in range(options.processes):
        for name in [name for name, cost in costs.items() if cost < CHEAP]:
            if sys.stderr.isatty():
                print(f"\r\033[K{workload.name}: {name} ", end="", file=sys.stderr, flush=True)
            start = time.perf_counter()
            try:
                given = (SYSTEMS[name], workload, path, options.repeats, options.seconds)
                runs[name].append(run_apart(measure, *given))
                costs[name] = time.perf_counter() - start
            except NotMeasuredError as error:
                runs[name], costs[name] = [Result(remarks=[str(error)])], math.inf
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return {name: _median(results) for name, results in runs.items()}


def _median(results: list[Result]) -> Result:
    figures = ("seconds", "microseconds", "memory", "setup", "first_batch")
    middle = {name: statistics.median(getattr(one, name) for one in results) for name in figures}
    return replace(results[-1], **middle)


def compare_growth(mapped: Workload, path: Path, options: argparse.Namespace) -> dict[int, Results]:
    """Return the results on a memory map that grows up to the workload's, by its windows."""
    systems = [name for name in GROWTH_SYSTEMS if name in options.systems]
    return {
        size: compare(replace(mapped, name="growth", windows=size), systems, path, options)
        for size in GROWTH
        if size <= mapped.windows
    }


def check_claims(results: dict[str, Results], growth: dict[int, Results]) -> list[Claim]:
    """Return what is claimed of seqframe, beside what was measured."""

    def get(workload: str, system: str = "seqframe") -> Result:
        return results.get(workload, {}).get(system, Result())

    def time_of(workload: str, system: str, most: float, ours: str = "seqframe") -> Claim:
        figure = get(workload, ours).microseconds / get(workload, system).microseconds
        return _at_most(f"{workload}: time of {ours} / {system}", figure, most, "×")

    def time_by(workload: str, system: str, least: float) -> Claim:
        figure = get(workload, system).microseconds / get(workload).microseconds
        return _at_least(f"{workload}: time of {system} / seqframe", figure, least, "×")

    shuffled = [workload.name for workload in WORKLOADS if workload.systems is SHUFFLED]
    many = get("many-series").microseconds / get("one-series").microseconds
    longest = max((get(workload).setup for workload in results), default=math.nan)
    largest = next(reversed(growth.values()), {}).get("seqframe", Result())
    return [
        time_by("short", "keras-tf", 1_000),
        time_of("short", "numpy-index-matrix", PARITY),
        time_of("wide", "copyto", 1.5),
        time_of("wide", "copyto-cached", math.inf),
        _at_most("many-series: time of a batch / one-series", many, 1.3, "×"),
        *(time_by(name, _fastest_peer(results.get(name, {})), 10) for name in shuffled),
        time_of("memory-map", "numpy-given-starts", PARITY),
        _at_most("memory-map: peak of seqframe", get("memory-map").memory / 1e6, 50, "MB"),
        _at_most("growth: peak of seqframe at the end", largest.memory / 1e6, 50, "MB"),
        _at_most("all: longest set-up of seqframe", longest * 1e3, 10, "ms"),
        time_of("in-order", "view-slices", PARITY),
        time_of("in-order", "view-slices", PARITY, ours="seqframe-arrays"),
        time_of("in-order", "view-slices-copied", math.inf),
    ]


def _fastest_peer(results: Results) -> str:
    """Return the name of the fastest library that does not copy all windows up front."""
    times = {
        name: result.microseconds
        for name, result in results.items()
        if SYSTEMS[name].is_peer and not SYSTEMS[name].copies_all and result.measured
    }
    return min(times, key=times.__getitem__, default="the fastest peer")


def _at_least(what: str, figure: float, least: float, unit: str) -> Claim:
    met = None if math.isnan(figure) else figure >= least
    return Claim(what, f"≥ {least:,g} {unit}", show_number(figure, unit), met)


def _at_most(what: str, figure: float, most: float, unit: str) -> Claim:
    if math.isinf(most):
        return Claim(what, "for comparison", show_number(figure, unit), None)
    met = None if math.isnan(figure) else figure <= most
    return Claim(what, f"≤ {most:g} {unit}", show_number(figure, unit), met)


def results_table(results: Results) -> str:
    """Return the systems' results on a workload as a table: seqframe, then the fastest first."""
    ours = results.get("seqframe", Result()).microseconds

    def rank(name: str) -> tuple[bool, bool, float]:
        result = results[name]
        return name != "seqframe", not result.measured, result.microseconds

    rows = []
    for name in sorted(results, key=rank):
        system, result = SYSTEMS[name], results[name]
        about = "≈ " if result.estimated else ""
        up_front = "copies all windows up front" if system.copies_all else ""
        known = filter(None, [up_front, system.remark]) if result.measured else []
        figures = (result.memory / 1e6, result.setup * 1e3, result.first_batch * 1e3)
        row = [
            name,
            show_number(result.seconds, about=about),
            show_number(result.microseconds, about=about),
            show_number(result.microseconds / ours),
            *map(show_number, figures),
            "; ".join([*result.remarks, *known]),
        ]
        rows.append(row)
    headers = ["system", "s/epoch", "µs/batch", "× seqframe", "peak MB", "set-up ms"]
    return markdown_table([*headers, "first batch ms", "remarks"], rows)


def growth_table(curve: dict[int, Results], batch: int) -> str:
    """Return the growth curve as a table: a line for each length and system."""
    rows = []
    for windows, results in curve.items():
        for name, result in results.items():
            nanoseconds = result.microseconds * 1e3 / batch
            figures = (nanoseconds, result.memory / 1e6, result.setup * 1e3)
            rows.append([f"{windows:,}", name, *map(show_number, figures)])
    return markdown_table(["windows", "system", "ns/window", "peak MB", "set-up ms"], rows)


def shrink(workload: Workload) -> Workload:
    """Return a workload of a fiftieth of the size, for a smoke run."""
    return replace(
        workload,
        windows=workload.windows // 50,
        series=max(workload.series // 50, 1),
        batches=workload.batches and workload.batches // 50,
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    names = [workload.name for workload in WORKLOADS] + ["growth"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small workloads, NumPy alone")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"workloads: {', '.join(names)}",
    )
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=list(SYSTEMS),
        metavar="NAME",
        help=f"systems: {', '.join(SYSTEMS)}",
    )
    parser.add_argument("--json", type=Path, help="where to write the results as JSON")
    parser.add_argument("--repeats", type=int, default=5, help="epochs a process, at least")
    parser.add_argument("--processes", type=int, default=3, help="for each system, at most")
    parser.add_argument("--seconds", type=float, default=5.0, help="for a process's epochs")
    if parser.parse_args(arguments).quick:
        parser.set_defaults(repeats=1, processes=1, seconds=0.5)
    options = parser.parse_args(arguments)
    if options.systems is None:
        light = [name for name, system in SYSTEMS.items() if set(system.imports) <= {"seqframe"}]
        options.systems = light if options.quick else list(SYSTEMS)
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure what the options choose, print it, and write it as JSON if asked."""
    options = parse(arguments)
    workloads = [shrink(workload) for workload in WORKLOADS] if options.quick else WORKLOADS
    mapped = next(workload for workload in workloads if workload.mapped)
    machine = describe_machine(PACKAGES)
    print(machine_line(machine))
    results: dict[str, Results] = {}
    growth: dict[int, Results] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.float32"
        if not {mapped.name, "growth"}.isdisjoint(options.only):
            write_map(path, mapped.steps)
        for workload in workloads:
            systems = [name for name in workload.systems if name in options.systems]
            if workload.name in options.only and systems:
                results[workload.name] = compare(workload, systems, path, options)
                print(f"\n**{workload.name}**: {workload}\n")
                print(results_table(results[workload.name]), flush=True)
        if "growth" in options.only:
            growth = compare_growth(mapped, path, options)
            print(f"\n**growth**: as {mapped.name}, longer and longer\n")
            print(growth_table(growth, mapped.batch))
    claims = check_claims(results, growth)
    if options.quick:
        # Figures of workloads so small decide nothing.
        claims = [replace(claim, met=None) for claim in claims]
    print(f"\n**claims**\n\n{claims_table(claims)}")
    if options.json:
        write_json(options.json, machine=machine, workloads=results, growth=growth, claims=claims)


if __name__ == "__main__":
    main()
