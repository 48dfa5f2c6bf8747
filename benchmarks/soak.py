"""
How memory grows over many calls
================================

Each job is repeated in a process of its own: by seqframe, and by Keras in another one.

    python benchmarks/soak.py                 # 10,000 calls of each job: some hours
    python benchmarks/soak.py --quick         # a smoke run: two jobs, a few calls
    python benchmarks/soak.py --calls 1000 --backend tensorflow --only fit new-model

The jobs:

- **fit**, **evaluate**, **predict**, **forecast**, **save-and-load**: one model, the same data.
- **samples-to-predict**, **samples-to-evaluate**: another number of samples each time.
- **longer-data**: a fit on a series that is a step longer each time.
- **histories**: a forecast from another number of histories each time.
- **nightly**: a backtest on a day more, and sample paths with its residuals.
- **new-model**: a fit of a new model each time.
- **new-generator**, **generator-of-new-model**: a forecast by a new Generator, of one model or of a
  new one.
- **new-noise**: sample paths with a new function of noise each time.

Keras forecasts by a loop over `predict_on_batch`. No job starts a call after five minutes, so a
slow one makes fewer calls. The table tells the number. The memory is what the process allocates
(`RssAnon`), after a garbage collection. The first tenth of the calls or of the minutes is a warm-up
and does not count.

The claim is that seqframe's memory grows by at most as much as Keras's does. Less than 1 kB a call
counts as nothing.
"""

import math
import os
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any, NamedTuple

from _measure import NotMeasuredError, run_apart, settled_memory
from _report import Claim, machine, markdown_table, parse, report, show_number, show_progress

CALLS = 10_000
LEAST_CALLS = 10
SECONDS = 300  # after which a job makes no more calls
NOTHING = 1.0  # kB a call
SYSTEMS = ("seqframe", "keras")
NAMES = (
    "fit",
    "evaluate",
    "predict",
    "forecast",
    "save-and-load",
    "samples-to-predict",
    "samples-to-evaluate",
    "longer-data",
    "histories",
    "nightly",
    "new-model",
    "new-generator",
    "generator-of-new-model",
    "new-noise",
)
QUICK = ["predict", "histories"], list(SYSTEMS)


class Growth(NamedTuple):
    """What a job kept.

    Attributes:
        calls: int. Number of calls, after the warm-up.
        kilobytes: float. kB that a call keeps. NaN if the job was not measured.
        seconds: float. Seconds of a call.
        remark: str. Why it was not measured.
    """

    calls: int = 0
    kilobytes: float = math.nan
    seconds: float = math.nan
    remark: str = ""


def soak(name: str, system: str, backend: str, calls: int) -> Growth:
    """Repeat a job in this process, and return what it keeps."""
    os.environ["KERAS_BACKEND"] = backend  # before Keras is imported
    from _soak_jobs import JOBS

    job = JOBS[name]()[SYSTEMS.index(system)]
    warm = repeat(job, range(max(calls // 10, 3)), SECONDS / 10)
    before, start = settled_memory(), time.perf_counter()
    done = repeat(job, range(warm, warm + calls), SECONDS)
    seconds = time.perf_counter() - start
    return Growth(done, (settled_memory() - before) / done / 1e3, seconds / done)


def repeat(job: Callable[[int], Any], numbers: range, seconds: float) -> int:
    """Do a job for each number, start no call after the seconds, and return how many were made."""
    end = time.perf_counter() + seconds
    for done, number in enumerate(numbers):
        if time.perf_counter() > end:
            return done
        job(number)
    return len(numbers)


def measure(name: str, system: str, backend: str, calls: int) -> Growth:
    """Return what a job keeps, measured in a process of its own."""
    show_progress(f"{backend}, {name}, {system}")
    try:
        return run_apart(soak, name, system, backend, calls)
    except NotMeasuredError as error:
        return Growth(remark=str(error))


def claim(backend: str, name: str, row: dict[str, Growth]) -> Claim:
    """Return the claim that a job keeps no more than Keras's does."""
    ours, theirs = (row[system].kilobytes if system in row else math.nan for system in SYSTEMS)
    most = max(theirs, NOTHING)
    met = None if math.isnan(ours) or math.isnan(theirs) else ours <= most
    target, reached = (show_number(figure, "kB") for figure in (most, ours))
    return Claim(f"{backend}: memory that a call of {name} keeps", f"≤ {target}", reached, met)


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    calls = LEAST_CALLS if options.quick else options.calls
    results: dict[str, dict[str, dict[str, Growth]]] = {}
    claims = []
    for backend in options.backend:
        rows = {
            name: {system: measure(name, system, backend, calls) for system in options.systems}
            for name in options.only
        }
        results[backend] = rows
        claims += [claim(backend, name, row) for name, row in rows.items()]
        show_progress()
        print(f"\n**{backend}**\n\n{table(rows)}", flush=True)
    plain = {
        backend: {
            name: {s: each._asdict() for s, each in row.items()} for name, row in rows.items()
        }
        for backend, rows in results.items()
    }
    report(options, claims, results=plain)


def table(rows: dict[str, dict[str, Growth]]) -> str:
    """Return a table with a line for each job."""
    lines: list[list[Any]] = []
    for name, row in rows.items():
        line = [name]
        for each in row.values():
            line += [f"{each.calls:,}", show_number(each.kilobytes), show_number(each.seconds)]
        line.append("; ".join(f"{s}: {each.remark}" for s, each in row.items() if each.remark))
        lines.append(line)
    systems = next(iter(rows.values()))
    columns = [f"{s}: {what}" for s in systems for what in ("calls", "kB a call", "s a call")]
    return markdown_table(["job", *columns, "remarks"], lines)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, SYSTEMS, *QUICK, calls=CALLS))
