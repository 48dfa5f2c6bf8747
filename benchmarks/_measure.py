"""How the benchmarks measure: in child processes, in rounds in which systems take turns."""

import contextlib
import ctypes
import gc
import logging
import math
import multiprocessing
import os
import signal
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

ROUNDS = 5
LEAST_ROUNDS = 3  # of `--quick`, and of slow cases
LIMIT = 30  # seconds after which a slow case has no more rounds than these
TIMEOUT = 900  # seconds of a child process
SAMPLING = 0.001  # seconds between two looks at the memory


class NotMeasuredError(Exception):
    """Says why a system was not measured: not installed, too slow, or an error of its own."""


def run_apart(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, called in a fresh and silent Python process.

    Raises:
        NotMeasuredError: if the call raises, the process dies, or it takes longer than `TIMEOUT`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, begin_child) as pool:
        try:
            return pool.submit(_call, function, args).result()
        except BrokenProcessPool:
            raise NotMeasuredError(f"died, or took more than {TIMEOUT} s") from None


def begin_child() -> None:
    signal.alarm(TIMEOUT)
    # Frameworks print when they are imported, some of them from C++.
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    logging.disable()
    warnings.simplefilter("ignore")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except Exception as error:  # not all of these pickle
        raise NotMeasuredError(summary(error)) from None


def summary(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, NotMeasuredError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"not installed ({error.name})"
    return f"{type(error).__name__}: {error}".splitlines()[0]


class System:
    """One way to do what a case asks for.

    Attributes:
        steps: int. Steps of a run.
        made: what the last run returned.
        setup: float. Seconds of setting up. NaN: what the first run takes more than a later one.
        remark: str. What a reader of its figures should know.
    """

    steps: int
    made: Any = None
    setup = math.nan
    remark = ""

    def run(self) -> Any:
        """Do `steps` steps."""
        raise NotImplementedError

    def clock(self) -> float:
        """Return the seconds of a run."""
        start = time.perf_counter()
        self.made = self.run()
        return time.perf_counter() - start

    def grow(self, factor: float) -> bool:
        """Make runs longer by a factor, at most; return False if they cannot be longer."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise NotMeasuredError if the first run did something wrong."""


@dataclass
class Result:
    """What a system did on a case.

    Attributes:
        rounds: list of float. Seconds of one step in each round; empty if it was not measured.
        steps: int. Steps of a run.
        setup: float. Seconds of setting up and compilation.
        peak: float. Bytes that a run holds at most, beyond what it finds.
        remark: str. What a reader should know, or why it was not measured.
    """

    rounds: list[float] = field(default_factory=list)
    steps: int = 0
    setup: float = math.nan
    peak: float = math.nan
    remark: str = ""

    @property
    def microseconds(self) -> float:
        """One step: the median over rounds."""
        return statistics.median(self.rounds or [math.nan]) * 1e6

    def seconds(self, steps: int) -> float:
        """Return the seconds of a first run of so many steps."""
        return self.setup + self.microseconds / 1e6 * steps

    def times(self, other: "Result") -> float:
        """Return how many times as long as another's a step takes: the median over rounds.

        Both ran shortly after each other in a round, so other work of the machine hit both.
        """
        pairs = zip(self.rounds, other.rounds, strict=False)
        return statistics.median([mine / its for mine, its in pairs] or [math.nan])


Results = dict[str, Result]  # by system
Variants = Sequence[Callable[[Any], System]]  # the fastest counts


class Timed:
    """A system that is compiled, and whose runs take about `seconds`."""

    def __init__(self, system: System, seconds: float):
        self.system, self.rounds = system, []
        self._first, self._first_steps = system.clock(), system.steps
        system.check()
        with PeakMemory() as memory:
            taken = system.clock()
        self.peak = memory.bytes
        while taken < seconds / 2 and system.grow(min(seconds / taken, 8)):
            taken = system.clock()
        self.step = taken / system.steps

    def repeat(self) -> None:
        """Time one more run."""
        self.rounds.append(self.system.clock() / self.system.steps)

    def result(self) -> Result:
        """Return what was timed."""
        step, setup = statistics.median(self.rounds), self.system.setup
        if math.isnan(setup):
            setup = max(self._first - step * self._first_steps, 0.0)
        return Result(self.rounds, self.system.steps, setup, self.peak, self.system.remark)


def measure_in_turn(
    case: Any, backend: str, systems: dict[str, Variants], rounds: int, seconds: float
) -> Results:
    """Return each system's result. In every round all run, one after another, in this process."""
    os.environ["KERAS_BACKEND"] = backend  # before Keras is imported
    timed = {name: _fastest(variants, case, seconds) for name, variants in systems.items()}
    stop = time.perf_counter() + LIMIT
    for number in range(rounds):
        if number < LEAST_ROUNDS or time.perf_counter() < stop:
            for each in timed.values():
                if isinstance(each, Timed):
                    each.repeat()
    return {
        name: each.result() if isinstance(each, Timed) else Result(remark=each)
        for name, each in timed.items()
    }


def _fastest(variants: Variants, case: Any, seconds: float) -> Timed | str:
    """Return the fastest variant, or why none can be measured."""
    ready, problem = [], ""
    for make in variants:
        try:
            ready.append(Timed(make(case), seconds))
        except Exception as error:  # the other systems can still be compared
            problem = summary(error)
    return min(ready, key=lambda each: each.step, default=problem)


class PeakMemory:
    """The most memory that this process holds in a `with` block, beyond what it held before.

    It counts what the process allocates (`RssAnon` in `/proc/self/status`). The pages of mapped
    files belong to the operating system. A thread looks every millisecond.

    Attributes:
        bytes: float. NaN if the system has no `/proc`.
    """

    bytes = math.nan

    def __enter__(self) -> "PeakMemory":
        self._before = self._peak = settled_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SAMPLING / 2)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        sys.setswitchinterval(self._interval)
        self.bytes = max(self._peak, _own_memory()) - self._before

    def _watch(self) -> None:
        while not self._done.wait(SAMPLING):
            self._peak = max(self._peak, _own_memory())


def settled_memory() -> float:
    """Return the bytes that this process allocates, after all that can be freed is."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that is kept would look used
    return _own_memory()


def _own_memory() -> float:
    return float(lookup("/proc/self/status", "RssAnon", "nan").split()[0]) * 1024


def lookup(path: str, name: str, default: str) -> str:
    """Return what a file of `/proc` says of a name."""
    with contextlib.suppress(OSError), open(path) as lines:
        for line in lines:
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    return default
