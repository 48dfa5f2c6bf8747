"""
How fast windows are framed, and in how much memory
===================================================

Epochs of batches `(x, y)` in float32: x is a window, y the step after it. seqframe, plain NumPy and
other libraries deliver them, each in a process of its own, without workers.

    python benchmarks/framing.py             # all: a quarter of an hour, mostly for the peers
    python benchmarks/framing.py --quick     # a smoke run: small workloads, NumPy and pandas
    python benchmarks/framing.py --only short wide --systems seqframe copyto torch-loader
    python benchmarks/framing.py --only long-groups short-groups

The tables:

- **s/epoch**: the median over rounds. An epoch of more than three seconds is cut short and
  extrapolated, marked "≈". Faster systems run in three processes, in turn. Windows have different
  values, so the remarks tell what a system misses or repeats.
- **peak MB**: what the process allocates beyond its imports and the data, while it sets up and
  delivers an epoch. Pages of a memory map belong to the operating system and do not count.
- **set-up ms**: after the imports, with the data in memory.

Systems that need a word:

- **copyto** is the floor of shuffled epochs. All windows are in memory in shuffled order, and
  `np.copyto` copies one batch after another into one buffer: the bytes that others have to gather.
- **view-slices-copied** is the floor of batches in order. They are copies, which the user may write
  into, so it is a slice of a `sliding_window_view` and `.copy()`.
- **view-slices** is the floor of **seqframe-arrays**, slices of `arrays()`: the same slices as they
  are. Both copy nothing.
- **numpy-given-starts** draws its order beforehand.
- **keras-tf** and **keras-grain** are the formats of `keras.utils.timeseries_dataset_from_array`.
- **keras-grain** and **tsai** copy all windows up front. **tf-window** and **gluonts** shuffle
  through a buffer of 1,000 windows, **keras-tf** through one of eight batches.

Tables of groups are only set up, in turn and in one process. Their rows follow each other by group.

- **seqframe-pandas** and **seqframe-polars** are `frame(table, by="by")`. **seqframe-batch** also
  takes the first shuffled batch. **seqframe-list** frames a list of the groups' arrays.
- **pandas-groupby** is `[group.to_numpy() for _, group in table.groupby("by")]`, and
  **pandas-groupby-values** the same for the columns of values only.
- **polars-partition** is the same with `table.partition_by`, without the column of labels.
"""

import math
import tempfile
from argparse import Namespace
from dataclasses import replace
from functools import partial

from _epochs import Epochs, Workload
from _framing_systems import FRAMINGS
from _group_systems import SYSTEMS, Grouped, SetUps
from _measure import (
    LEAST_ROUNDS,
    ROUNDS,
    NotMeasuredError,
    Result,
    Results,
    measure_in_turn,
    run_apart,
)
from _report import (
    PARITY,
    Claim,
    at_least,
    at_most,
    figures_table,
    machine,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)

PROCESSES = 3
LIGHT = ("seqframe", "numpy-index-matrix", "copyto")
# Libraries that do not copy all windows up front.
PEERS = ("keras-tf", "tf-window", "torch-loader", "grain")
PEERS += ("darts", "gluonts", "pytorch-forecasting")
ALONE = ("memory-map", "in-order", "short-series")  # without lazy peers
ALL = (*LIGHT, *PEERS, "keras-grain", "tsai")
MAPPED = ("seqframe", "numpy-given-starts", "grain")
IN_ORDER = ("seqframe", "view-slices-copied", "seqframe-arrays", "view-slices")
# By title of a table: its workloads and systems.
GROUPS = {
    "shuffled": (
        ALL,
        Workload("short", 1_000_000, 3, 1, 1_024),
        Workload("wide", 100_000, 100, 8, 256),
        Workload("many-series", 450_000, 50, 1, 64, series=1_000),
        Workload("one-series", 499_950, 50, 1, 64),
        Workload("long", 200_000, 50, 1, 64),
    ),
    "shuffled, of many short series": (
        LIGHT,
        Workload("short-series", 2_000_000, 16, 1, 64, series=100_000),
    ),
    "2,000 batches of a memory map": (
        MAPPED,
        Workload("memory-map", 10**8, 50, 1, 256, file="steps.float32", batches=2_000),
    ),
    "in order": (IN_ORDER, Workload("in-order", 100_000, 100, 8, 256)),
}
TABLES = [
    Grouped("long-groups", 200, 40_000, 60_000, features=4),
    Grouped("short-groups", 100_000, 20, 50, features=1),
]
NAMES = [workload.name for _, *workloads in GROUPS.values() for workload in workloads]
NAMES += [table.name for table in TABLES]
QUICK = [name for name in FRAMINGS if name in {*LIGHT, *MAPPED, *IN_ORDER} - {*PEERS}]
QUICK += [name for name in SYSTEMS if "polars" not in name]


def measure(workload: Workload, systems: list[str], options: Namespace) -> Results:
    """Return each system's result on a workload, measured in processes of its own, in turn."""
    results: Results = {}
    for _ in range(1 if options.quick else PROCESSES):
        for name in systems:
            before = results.get(name)
            if before and before.steps < workload.total:  # too slow to repeat, or not measured
                continue
            show_progress(f"{workload.name}: {name}")
            variants = {name: [partial(Epochs, frame=FRAMINGS[name])]}
            given = (workload, "tensorflow", variants, LEAST_ROUNDS, options.seconds)
            try:
                result = run_apart(measure_in_turn, *given)[name]
            except NotMeasuredError as error:
                result = Result(remark=str(error))
            result.rounds += before.rounds if before else []
            results[name] = result
    return results


def set_up(table: Grouped, options: Namespace) -> Results:
    """Return each system's result on a table of groups, measured in one process, in turn."""
    show_progress(table.name)
    variants = {
        name: [partial(SetUps, prepare=prepare)]
        for name, prepare in SYSTEMS.items()
        if name in options.systems
    }
    rounds = LEAST_ROUNDS if options.quick else ROUNDS
    try:
        return run_apart(measure_in_turn, table, "tensorflow", variants, rounds, options.seconds)
    except NotMeasuredError as error:
        return {name: Result(remark=str(error)) for name in variants}


def table_claims(tables: list[Grouped], rows: dict[str, Results]) -> list[Claim]:
    """Return what is claimed of tables of groups, with what was measured."""
    pairs = [
        ("seqframe-pandas", "pandas-groupby-values"),
        ("seqframe-batch", "pandas-groupby-values"),
        ("seqframe-list", "pandas-groupby-values"),
        ("seqframe-polars", "polars-partition"),
    ]
    claims = [
        at_most(f"set-up of groups: {ours} / {other}", ratios(rows, ours, other), 1.0)
        for ours, other in pairs
    ]
    nbytes = {table.name: table.nbytes for table in tables}
    for ours in "seqframe-pandas", "seqframe-polars", "seqframe-list":
        peaks = {name: row.get(ours, Result()).peak / nbytes[name] for name, row in rows.items()}
        claims.append(at_most(f"set-up of groups: peak of {ours} / the table", peaks, 1.0))
    return claims


def check_claims(rows: dict[str, Results]) -> list[Claim]:
    """Return what is claimed of seqframe, with what was measured."""

    def within(workload: str, other: str, most: float, ours: str = "seqframe") -> Claim:
        ratio = ratios(rows, ours, other).get(workload, math.nan)
        return at_most(f"{workload}: {ours} / {other}", ratio, most)

    ours = {name: row.get("seqframe", Result()) for name, row in rows.items()}
    many, one, mapped = (
        ours.get(name, Result()) for name in ("many-series", "one-series", "memory-map")
    )
    setups = {name: each.setup * 1e3 for name, each in ours.items() if name != "short-series"}
    keras = ratios(rows, "keras-tf", "seqframe").get("short", math.nan)
    return [
        at_least("short: keras-tf / seqframe", keras, 1_000),
        within("short", "numpy-index-matrix", PARITY),
        within("wide", "copyto", 1.5),
        within("short-series", "numpy-index-matrix", PARITY),
        at_most("a batch of many-series / of one-series", many.times(one), 1.3),
        *(lazy_claim(name, row) for name, row in rows.items() if name not in ALONE),
        within("memory-map", "numpy-given-starts", PARITY),
        at_most("memory-map: peak of seqframe", mapped.peak / 1e6, 50, "MB"),
        at_most("set-up of seqframe", setups, 10, "ms"),
        within("in-order", "view-slices-copied", PARITY),
        within("in-order", "view-slices", PARITY, ours="seqframe-arrays"),
    ]


def lazy_claim(name: str, row: Results) -> Claim:
    """Return the claim that the lazy peers are slower."""
    ours = row.get("seqframe", Result())
    times = {peer: row[peer].times(ours) for peer in PEERS if peer in row}
    return at_least(f"{name}: fastest lazy peer / seqframe", times, 10)


def print_tables(title: str, workloads: list[Workload], rows: dict[str, Results]) -> None:
    """Print what each workload is, and seconds, memory and set-up of each system."""
    totals = {workload.name: workload.total for workload in workloads}

    def seconds(name: str, result: Result) -> str:
        about = "≈ " * (result.steps < totals[name])
        return show_number(result.microseconds / 1e6 * totals[name], about=about)

    print(f"\n**{title}**\n")
    for each in workloads:
        source = f", {each.series:,} series" * (each.series > 1)
        shape = f"{each.length} × {each.features}"
        print(f"- {each.name}: {each.windows:,} windows of {shape}{source}, batch {each.batch:,}")
    print(f"\n{figures_table('s/epoch', rows, seconds, remarks=True)}")
    peak = figures_table("peak MB", rows, lambda _, result: show_number(result.peak / 1e6))
    print(f"\n{peak}")
    setup = figures_table("set-up ms", rows, lambda _, result: show_number(result.setup * 1e3))
    print(f"\n{setup}", flush=True)


def print_groups(tables: list[Grouped], rows: dict[str, Results]) -> None:
    """Print what each table is, and the time and memory of each system's set-up."""
    print("\n**tables of groups**\n")
    for each in tables:
        count, sizes = f"{each.groups:,} groups", f"{each.least:,} to {each.most:,} rows"
        print(f"- {each.name}: {count} of {sizes}, {each.nbytes / 1e6:,.0f} MB")

    def milliseconds(_: str, result: Result) -> str:
        return show_number(result.microseconds / 1e3)

    print(f"\n{figures_table('set-up ms', rows, milliseconds, remarks=True)}")
    peak = figures_table("peak MB", rows, lambda _, result: show_number(result.peak / 1e6))
    print(f"\n{peak}", flush=True)


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    results: dict[str, Results] = {}
    with tempfile.TemporaryDirectory() as folder:
        for title, (names, *workloads) in GROUPS.items():
            systems = [name for name in names if name in options.systems]
            chosen = [
                replace(
                    each.shrink() if options.quick else each,
                    file=each.file and f"{folder}/{each.file}",
                )
                for each in workloads
                if each.name in options.only and systems
            ]
            for workload in chosen:
                if workload.file:
                    workload.write()
                results[workload.name] = measure(workload, systems, options)
            show_progress()
            if chosen:
                print_tables(title, chosen, {each.name: results[each.name] for each in chosen})
    tables = [each for each in TABLES if each.name in options.only]
    tables = [each.shrink() if options.quick else each for each in tables]
    grouped = {each.name: set_up(each, options) for each in tables}
    show_progress()
    if any(grouped.values()):
        print_groups(tables, grouped)
    claims = [*check_claims(results), *table_claims(tables, grouped)]
    report(options, claims, workloads=results, tables=grouped)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, [*FRAMINGS, *SYSTEMS], NAMES, QUICK, by_backend=False))
