"""How the benchmarks are asked and what they print: options, claims, tables."""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from _measure import (
    LEAST_ROUNDS,
    ROUNDS,
    NotMeasuredError,
    Result,
    Results,
    Variants,
    lookup,
    measure_in_turn,
    run_apart,
)

BACKENDS = ("tensorflow", "jax", "torch")
PACKAGES = ("seqframe", "numpy", "keras", "tensorflow", "jax", "torch", "grain")
PARITY = 1.05  # "no slower" allows for 5 %: two runs of one program differ by as much


def parse(
    doc: str,
    cases: Sequence[str],
    systems: Sequence[str],
    quick_cases: Sequence[str],
    quick_systems: Sequence[str],
    by_backend: bool = True,
    in_parts: bool = False,
    calls: int | None = None,
) -> argparse.Namespace:
    """Return the options of a command.

    Args:
        doc: str. The docstring of its file, for `--help`.
        cases: names that `--only` takes.
        systems: names that `--systems` takes.
        quick_cases: the cases of `--quick`.
        quick_systems: the systems of `--quick`.
        by_backend: bool. Whether there is a `--backend`.
        in_parts: bool. Whether there is a `--stored`.
        calls: int. The default of `--calls`; None: there is no such option.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    chosen = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: few or small cases")
    parser.add_argument("--only", nargs="+", choices=cases, metavar="NAME", help=", ".join(cases))
    parser.add_argument(
        "--systems", nargs="+", choices=systems, metavar="NAME", help=", ".join(systems)
    )
    if by_backend:
        parser.add_argument("--backend", nargs="+", choices=BACKENDS, help="default: all installed")
    parser.add_argument("--json", type=Path, help="where to write the results as JSON")
    if in_parts:
        stored = "results of earlier runs, printed too; without --only nothing else is measured"
        parser.add_argument("--stored", nargs="+", type=Path, metavar="JSON", help=stored)
    if calls is not None:
        parser.add_argument("--calls", type=int, default=calls, help=f"default: {calls:,}")
    options = parser.parse_args()
    quick = options.quick
    all_cases = [] if in_parts and options.stored else cases
    options.only = options.only or (quick_cases if quick else all_cases)
    options.systems = options.systems or (quick_systems if quick else systems)
    if by_backend:
        options.backend = options.backend or ([chosen] if quick else installed)
    options.rounds = LEAST_ROUNDS if quick else ROUNDS
    options.seconds = 0.1 if quick else 0.3
    return options


def compare(
    case: Any, backend: str, systems: dict[str, Variants], options: argparse.Namespace
) -> Results:
    """Return each chosen system's result on a case, measured in a process of the case's own."""
    show_progress(f"{backend}, {case.name}")
    chosen = {name: systems[name] for name in systems if name.partition(",")[0] in options.systems}
    try:
        return run_apart(measure_in_turn, case, backend, chosen, options.rounds, options.seconds)
    except NotMeasuredError as error:
        return {name: Result(remark=str(error)) for name in chosen}


def ratios(rows: dict[str, Results], system: str, other: str) -> dict[str, float]:
    """Return for each case how many times as long as another's a system's step takes."""
    nothing = Result()
    return {
        name: row.get(system, nothing).times(row.get(other, nothing)) for name, row in rows.items()
    }


def machine() -> str:
    """Return what figures depend on, as one line: processor, cores, memory, system, versions."""
    versions = []
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    processor = lookup("/proc/cpuinfo", "model name", platform.machine())
    memory = float(lookup("/proc/meminfo", "MemTotal", "nan").split()[0]) / 2**20
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, {memory:.1f} GB, {system}, {', '.join(versions)}"


@dataclass(frozen=True)
class Claim:
    """A figure that a page promises, and the figure of this run.

    Attributes:
        what: str. What is measured.
        target: str. The promise.
        reached: str. The figure of this run.
        met: bool, or None if this run cannot tell.
    """

    what: str
    target: str
    reached: str
    met: bool | None


def at_least(what: str, figures: dict[str, float] | float, least: float, unit: str = "×") -> Claim:
    """Return the claim that no figure is below a bound. Without a bound pass `-math.inf`."""
    return _claim(what, figures, least, unit, "≥", min, lambda figure: figure >= least)


def at_most(what: str, figures: dict[str, float] | float, most: float, unit: str = "×") -> Claim:
    """Return the claim that no figure is above a bound. Without a bound pass `math.inf`."""
    return _claim(what, figures, most, unit, "≤", max, lambda figure: figure <= most)


def _claim(
    what: str,
    figures: dict[str, float] | float,
    bound: float,
    unit: str,
    sign: str,
    worst_of: Callable[..., str],
    meets: Callable[[float], bool],
) -> Claim:
    named = figures if isinstance(figures, dict) else {"": figures}
    known = {name: figure for name, figure in named.items() if not math.isnan(figure)}
    worst = worst_of(known, key=known.__getitem__, default="")
    reached = show_number(known.get(worst, math.nan), unit) + (f" ({worst})" if worst else "")
    if math.isinf(bound):
        return Claim(what, "for comparison", reached, None)
    missed = sum(not meets(figure) for figure in known.values())
    if missed and worst:
        reached += f"; missed by {missed} of {len(known)}"
    return Claim(what, f"{sign} {bound:,g} {unit}", reached, not missed if known else None)


def report(options: argparse.Namespace, claims: Iterable[Claim], **results: Any) -> None:
    """Print the claims, and write everything as JSON if asked."""
    if options.quick:  # so short a run decides nothing
        claims = [replace(claim, met=None) for claim in claims]
    claims = list(claims)
    verdict = {True: "yes", False: "NO", None: "–"}
    rows = [(claim.what, claim.target, claim.reached, verdict[claim.met]) for claim in claims]
    print(f"\n**claims**\n\n{markdown_table(['claim', 'target', 'reached', 'met'], rows)}")
    if options.json:
        everything = dict(machine=machine(), **results, claims=claims)
        plain = json.loads(json.dumps(everything, default=asdict), parse_constant=lambda _: None)
        options.json.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def load(paths: Iterable[Path]) -> dict[str, dict[str, dict[str, Results]]]:
    """Return the results that `report` wrote as JSON: by backend, group, and case."""
    results: dict[str, dict[str, dict[str, Results]]] = {}
    for path in paths:
        for backend, groups in json.loads(path.read_text())["results"].items():
            for group, rows in groups.items():
                mine = results.setdefault(backend, {}).setdefault(group, {})
                mine |= {case: _read_row(row) for case, row in rows.items()}
    return results


def _read_row(row: dict[str, dict[str, Any]]) -> Results:
    return {
        system: Result(**{key: math.nan if it is None else it for key, it in result.items()})
        for system, result in row.items()
    }


def figures_table(
    title: str,
    rows: dict[str, Results],
    figure: Callable[[str, Result], str],
    pairs: Iterable[tuple[str, str]] = (),
    remarks: bool = False,
) -> str:
    """Return a table with a line for each case and a column for each system.

    Args:
        title: str. What the figures are.
        rows: for each case the results by system.
        figure: function of a case's name and a result. Returns the cell.
        pairs: pairs of systems. Each adds a column with the ratio of their steps.
        remarks: bool. Whether the last column tells the systems' remarks.
    """
    all_systems = next(iter(rows.values()))
    systems = [name for name in all_systems if any(row[name].rounds for row in rows.values())]
    shown = [pair for pair in pairs if {*pair} <= {*systems}]
    columns = [ratios(rows, *pair) for pair in shown]
    lines = []
    for name, row in rows.items():
        line = [name, *(figure(name, row[system]) for system in systems)]
        line += [show_number(column[name], "×") for column in columns]
        if remarks:
            line.append("; ".join(f"{s}: {row[s].remark}" for s in row if row[s].remark))
        lines.append(line)
    headers = [title, *systems, *(" / ".join(pair) for pair in shown)]
    return markdown_table([*headers, *["remarks"] * remarks], lines)


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as a Markdown table whose columns line up.

    >>> print(markdown_table(["system", "s"], [["seqframe", "0.006"], ["numpy", "0.02"]]))
    | system   | s     |
    |----------|-------|
    | seqframe | 0.006 |
    | numpy    | 0.02  |
    """
    lines = [list(headers), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    header, *body = ("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
    return "\n".join([header, rule, *body])


def show_number(value: float, unit: str = "", about: str = "") -> str:
    """Return a number with three significant digits; a dash for NaN.

    >>> show_number(0.0061234), show_number(74213.4, "×"), show_number(8.1e-7)
    ('0.00612', '74,213 ×', '8e-07')
    """
    if math.isnan(value):
        return "–"
    if 0 < abs(value) < 1e-4:
        return f"{about}{value:.0e} {unit}".rstrip()
    digits = max(2 - math.floor(math.log10(abs(value))), 0) if value else 0
    return f"{about}{value:,.{digits}f} {unit}".rstrip()


def show_progress(what: str = "") -> None:
    """Show what is being measured."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what} ", end="", file=sys.stderr, flush=True)
