"""
How fast data stream to the device
==================================

A network of two dense layers is trained on arrays, and on the windows of a series. Its steps are so
small that the way of the data weighs most.

    python benchmarks/streaming.py            # all: about five minutes for each backend
    python benchmarks/streaming.py --quick    # a smoke run: one small case, one backend
    python benchmarks/streaming.py --backend jax --only dense-32 --systems seqframe fit-arrays

The systems:

- **seqframe**: `seqframe.fit` with `max_device_bytes=0`, so that all data stream in blocks.
- **resident**: `seqframe.fit` on the same data, which go to the device once.
- **fit-arrays**: `model.fit` on arrays. Windows are copied to an array beforehand.
- **fit-tf-data**: `model.fit` on a `tf.data.Dataset` of the arrays, with a shuffle buffer of 10,000
  samples and a prefetch.

Keras's systems run with one step or a whole epoch in `steps_per_execution`. The faster one counts.
All systems train in turn, in one process, in five rounds. A time is the median over rounds, a ratio
the median of the ratios of each round. **peak MB** is the memory that a call of `fit` holds beyond
the data and what it found.
"""

import math
from argparse import Namespace
from dataclasses import replace

from _measure import Result, Results
from _report import (
    Claim,
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
from _streaming_systems import SYSTEMS, Streaming

CASES = [
    Streaming("dense-32", 96_000, 64, batch=32, units=32),
    Streaming("dense-1024", 61_440, 384, batch=1_024, units=64),
    Streaming("windows", 64_000, 8, batch=128, units=32, length=48),
]
NAMES = [case.name for case in CASES]
KERAS = ("fit-arrays", "fit-tf-data")
QUICK = ["dense-32"], ["seqframe", "resident", "fit-arrays"]
SHRINK = 8  # the smoke run has so many times fewer samples


def check_claims(results: dict[str, dict[str, Results]]) -> list[Claim]:
    """Return what is claimed of seqframe, with what was measured."""
    claims = []
    for backend, rows in results.items():
        step = f"{backend}: step of"
        with_best = {name: row | {"best": _best_of_keras(row)} for name, row in rows.items()}
        best = ratios(with_best, "seqframe", "best")
        resident = ratios(rows, "seqframe", "resident")
        claims += [
            at_most(f"{step} seqframe / best of Keras", best, 1.0),
            at_most(f"{step} seqframe / resident", resident, math.inf),
        ]
    return claims


def _best_of_keras(row: Results) -> Result:
    measured = [row[name] for name in KERAS if name in row and row[name].rounds]
    return min(measured, key=lambda result: result.microseconds, default=Result())


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    results: dict[str, dict[str, Results]] = {}
    for backend in options.backend:
        chosen = [case for case in CASES if case.name in options.only]
        if options.quick:
            chosen = [replace(case, samples=case.samples // SHRINK) for case in chosen]
        rows = {case.name: compare(case, backend, SYSTEMS, options) for case in chosen}
        results[backend] = rows
        show_progress()
        pairs = [("seqframe", other) for other in ("resident", *KERAS)]
        step = figures_table(
            "µs/step", rows, lambda _, each: show_number(each.microseconds), pairs, remarks=True
        )
        peak = figures_table("peak MB", rows, lambda _, each: show_number(each.peak / 1e6))
        print(f"\n**{backend}**\n\n{step}\n\n{peak}", flush=True)
    report(options, check_claims(results), results=results)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, list(SYSTEMS), *QUICK))
