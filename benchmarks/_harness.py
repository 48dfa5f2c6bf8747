"""What the benchmarks share: processes, rounds, peak memory, the machine, claims, tables, JSON."""

import contextlib
import ctypes
import gc
import importlib.metadata
import json
import logging
import math
import multiprocessing
import os
import platform
import statistics
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_SAMPLING = 0.001  # seconds between two looks at the memory


class NotMeasuredError(Exception):
    """Says why something could not be measured: not installed, too slow, an error of its own."""


@dataclass(frozen=True)
class Claim:
    """A figure that is promised somewhere, and the one that this run reached.

    Attributes:
        what: str. What is measured, and against what.
        target: str. The figure promised.
        reached: str. The figure of this run.
        met: bool, or None where the run did not measure it.
    """

    what: str
    target: str
    reached: str
    met: bool | None


@dataclass
class Rounds:
    """How long a step of a system took, in rounds in which systems take turns.

    Attributes:
        seconds: list of float. A step, in each round; none where it was not measured.
        remark: str. What a reader should know, or why it was not measured.
    """

    seconds: list[float] = field(default_factory=list)
    remark: str = ""

    @property
    def microseconds(self) -> float:
        """A step: the median over rounds."""
        return statistics.median(self.seconds or [math.nan]) * 1e6

    def times(self, other: "Rounds") -> float:
        """Return how many times as long as another's a step takes: the median over rounds.

        In a round both run shortly after each other, so that what else the machine does then hits
        both.
        """
        pairs = zip(self.seconds, other.seconds, strict=False)
        return statistics.median([mine / its for mine, its in pairs] or [math.nan])


def run_apart(function: Callable[..., Any], *args: Any, timeout: float = 600.0) -> Any:
    """Return `function(*args)`, run in a fresh Python process that keeps its output to itself.

    Args:
        function: a function of a module, with arguments and a result that pickle.
        *args: its arguments.
        timeout: float. Seconds after which the process is stopped.

    Raises:
        NotMeasuredError: if the process raised, was killed, or ran out of time.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, args))
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            raise NotMeasuredError(f"stopped after {timeout:.0f} s")
        succeeded, value = receiver.recv()
    except EOFError:
        process.join()
        raise NotMeasuredError(f"died with exit code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
    if not succeeded:
        raise NotMeasuredError(value)
    return value


def _answer(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    # Frameworks talk on import, some of them from C++: nothing of that belongs between the tables.
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    logging.disable()
    warnings.simplefilter("ignore")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        sender.send((True, function(*args)))
    except ModuleNotFoundError as error:
        sender.send((False, f"not installed ({error.name})"))
    except Exception as error:
        sender.send((False, f"{type(error).__name__}: {error}".splitlines()[0]))


class PeakMemory:
    """The most memory that this process held in a `with` block, less what it held before.

    Only its own counts, that is what it allocated (`RssAnon` in `/proc/self/status`): the pages of
    mapped files are the operating system's. A thread looks every millisecond.

    Attributes:
        bytes: float. NaN where the system has no `/proc`.
    """

    bytes = math.nan

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed but kept would be taken for held
        self._before = self._peak = _own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_SAMPLING / 2)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        sys.setswitchinterval(self._interval)
        self.bytes = max(self._peak, _own_memory()) - self._before

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLING):
            self._peak = max(self._peak, _own_memory())


def _own_memory() -> float:
    return _kilobytes("/proc/self/status", "RssAnon") * 1024


def _kilobytes(path: str, field: str) -> float:
    with contextlib.suppress(OSError), open(path) as lines:
        for line in lines:
            if line.startswith(field):
                return float(line.split()[1])
    return math.nan


def describe_machine(packages: Iterable[str]) -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, memory, system, versions of packages."""
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(_kilobytes("/proc/meminfo", "MemTotal") / 2**20, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine_line(machine: dict[str, Any]) -> str:
    """Return a machine's description as one line of text."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, "
        f"{machine['system']}, Python {machine['python']}, {versions}"
    )


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
    header, *body = (
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
    return "\n".join([header, rule, *body])


def at_least(what: str, figures: dict[str, float], least: float) -> Claim:
    """Return the claim that the least of some ratios is no less than that; NaN is left out."""
    return _claim(what, figures, min, least, "≥", lambda figure: figure >= least)


def at_most(what: str, figures: dict[str, float], most: float) -> Claim:
    """Return the claim that the largest of some ratios is no more than that; NaN is left out."""
    return _claim(what, figures, max, most, "≤", lambda figure: figure <= most)


def _claim(
    what: str,
    figures: dict[str, float],
    find: Callable[..., str],
    target: float,
    sign: str,
    meets: Callable[[float], bool],
) -> Claim:
    figures = {name: figure for name, figure in figures.items() if not math.isnan(figure)}
    worst = find(figures, key=figures.__getitem__, default="")
    reached = show_number(figures.get(worst, math.nan), "×") + (f" ({worst})" if worst else "")
    if math.isinf(target):
        return Claim(what, "for comparison", reached, None)
    missing = sum(not meets(value) for value in figures.values())
    if missing:
        reached += f"; missed by {missing} of {len(figures)}"
    return Claim(what, f"{sign} {target:g} ×", reached, not missing if worst else None)


def claims_table(claims: Iterable[Claim]) -> str:
    """Return claims as a table that ends in whether each is met."""
    verdict = {True: "yes", False: "NO", None: "–"}
    rows = [(claim.what, claim.target, claim.reached, verdict[claim.met]) for claim in claims]
    return markdown_table(["claim", "target", "reached", "met"], rows)


def show_number(value: float, unit: str = "", about: str = "") -> str:
    """Return a number with three significant digits and no exponent; a dash for NaN.

    >>> show_number(0.0061234), show_number(74213.4, unit="×"), show_number(math.nan, unit="×")
    ('0.00612', '74,213 ×', '–')
    """
    if math.isnan(value):
        return "–"
    digits = max(2 - math.floor(math.log10(abs(value))), 0) if value else 0
    return f"{about}{value:,.{digits}f} {unit}".rstrip()


def show_progress(what: str = "") -> None:
    """Show what is being measured, until that is known."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what} ", end="", file=sys.stderr, flush=True)


def write_json(path: Path, **results: Any) -> None:
    """Write results as JSON; dataclasses become objects, NaN becomes null."""
    plain = json.loads(json.dumps(results, default=asdict), parse_constant=lambda _: None)
    path.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
