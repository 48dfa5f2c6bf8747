"""An epoch of batches: which windows, how long it takes, and whether it holds what it should."""

import importlib
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from _measure import PeakMemory

Series = list[np.ndarray]  # float32, (steps, features)
Epoch = Callable[[int], Iterable[tuple[Any, Any]]]  # the batches (x, y) of the epoch with a number

EXACT = 2**24  # float32 tells whole numbers below it apart


@dataclass(frozen=True)
class Workload:
    """What is framed, and how.

    Attributes:
        name: str. The name that `--only` takes.
        windows, length, features: int. The number of windows, and their shape.
        batch: int. Windows of a batch.
        systems: names of the systems to compare.
        series: int. The windows come from as many series of equal length.
        shuffle: bool.
        mapped: bool. Whether the series is a memory map of a file.
        batches: int. Batches that are asked for, or None for a whole epoch.
    """

    name: str
    windows: int
    length: int
    features: int
    batch: int
    systems: tuple[str, ...]
    series: int = 1
    shuffle: bool = True
    mapped: bool = False
    batches: int | None = None

    @property
    def steps(self) -> int:
        """Steps of each series."""
        return self.windows // self.series + self.length

    @property
    def total(self) -> int:
        """Batches of an epoch."""
        return self.batches or math.ceil(self.windows / self.batch)

    def data(self, path: Path) -> Series:
        """Return the series. Values count up, so the first one of a window tells which it is."""
        if self.mapped:
            return [np.memmap(path, np.float32, "r", shape=(self.steps, self.features))]
        shape = (self.series, self.steps, self.features)
        return list(np.arange(math.prod(shape), dtype=np.float32).reshape(shape))

    def __str__(self) -> str:
        source = f" from {self.series:,} series" if self.series > 1 else ""
        source += " from a memory map" if self.mapped else ""
        order = "shuffled" if self.shuffle else "in order"
        part = f", the first {self.batches:,} batches" if self.batches else ""
        shape = f"{self.length} × {self.features}"
        return f"{self.windows:,} windows of {shape}{source}, batch {self.batch:,}, {order}{part}"


def write_map(path: Path, steps: int) -> None:
    """Write a file of float32 steps that count up to `EXACT`, then begin again."""
    with path.open("wb") as file:
        for first in range(0, steps, EXACT):
            np.arange(min(EXACT, steps - first), dtype=np.float32).tofile(file)


@dataclass(frozen=True)
class Framing:
    """A way to get batches of windows.

    Attributes:
        make: function of the series and a workload. It sets up, and returns an `Epoch`.
        imports: modules that are imported before anything is measured.
        is_peer: bool. Whether it is the way of another library.
        copies_all: bool. Whether setting up copies every window.
        remark: str. What a reader of its figures should know.
    """

    make: Callable[[Series, Workload], Epoch]
    imports: tuple[str, ...] = ()
    is_peer: bool = False
    copies_all: bool = False
    remark: str = ""


@dataclass
class EpochResult:
    """What a system did on a workload; NaN for what was not measured.

    Attributes:
        seconds: float. One epoch.
        microseconds: float. One batch.
        setup, first_batch: float. Seconds.
        memory: float. Peak in bytes, while it sets up and delivers the first epoch.
        estimated: bool. Whether the epoch is extrapolated from a part.
        remarks: list of str.
    """

    seconds: float = math.nan
    microseconds: float = math.nan
    setup: float = math.nan
    first_batch: float = math.nan
    memory: float = math.nan
    estimated: bool = False
    remarks: list[str] = field(default_factory=list)


def measure_epochs(framing: Framing, workload: Workload, path: Path, seconds: float) -> EpochResult:
    """Return what a system does on a workload, in this process.

    Args:
        framing: Framing.
        workload: Workload.
        path: file of the memory map.
        seconds: float. A longer epoch is cut short, and no epoch begins later.
    """
    for module in framing.imports:
        importlib.import_module(module)
    _rehearse(framing, workload)
    data, result = workload.data(path), EpochResult()
    with PeakMemory() as memory:
        start = time.perf_counter()
        epoch = framing.make(data, workload)
        result.setup = time.perf_counter() - start
        total = _inspect(epoch(0), workload, seconds, result)
    result.memory = memory.bytes
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while not times or (time.perf_counter() < stop and (len(times) < 5 or sum(times) < 0.3)):
        taken = _time_epoch(epoch(len(times) + 1), total, seconds, times)
    if taken < total:
        result.estimated = True
        result.remarks.insert(0, f"≈ from {taken:,} of {total:,} batches")
    result.seconds = statistics.median(times)
    result.microseconds = result.seconds / total * 1e6
    return result


def _rehearse(framing: Framing, workload: Workload) -> None:
    """Run a few batches, so that what a library loads at first use does not count as set-up."""
    series = min(workload.series, 2)
    small = replace(workload, windows=2 * series * workload.batch, series=series, mapped=False)
    for _ in framing.make(small.data(Path()), small)(0):
        pass


def _time_epoch(batches: Iterable[Any], total: int, limit: float, times: list[float]) -> int:
    """Append the seconds of an epoch, and return the number of batches that were taken."""
    start = time.perf_counter()
    batches = iter(batches)
    next(batches)
    first = time.perf_counter() - start
    taken, stop = 1, start + limit
    for taken, _ in enumerate(batches, 2):
        if taken == total or time.perf_counter() > stop:
            break
    seconds = time.perf_counter() - start
    if taken < total:
        # The first batch is no example for the others: it fills buffers and draws the order.
        seconds = first + (seconds - first) / (taken - 1) * (total - 1)
    times.append(seconds)
    return taken


def _inspect(
    batches: Iterable[tuple[Any, Any]], workload: Workload, limit: float, result: EpochResult
) -> int:
    """Take the first epoch, note in the result what is wrong with it, and return its batches."""
    # Only a part of a memory map is read, and its values repeat.
    seen = np.full(0 if workload.mapped else workload.series * workload.steps, False)
    start, windows, taken = time.perf_counter(), 0, 0
    for taken, (x, y) in enumerate(batches, 1):
        if taken == 1:
            result.first_batch = time.perf_counter() - start
            result.remarks += _problems(np.asarray(x), np.asarray(y), workload)
        windows += len(x)
        if seen.size:
            values = np.asarray(x).reshape(len(x), -1)[:, 0].astype(np.int64)
            seen[values // workload.features] = True
        if taken == workload.batches or time.perf_counter() - start > limit:
            return workload.total
    distinct = int(seen.sum())
    if workload.windows > distinct and seen.size:
        result.remarks.append(f"misses {workload.windows - distinct:,} windows")
    if windows > distinct and seen.size:
        result.remarks.append(f"repeats {windows - distinct:,} windows")
    return taken


def _problems(x: np.ndarray, y: np.ndarray, workload: Workload) -> Iterable[str]:
    size, length, features = len(x), workload.length, workload.features
    if x.shape != (min(workload.batch, workload.windows), length, features):
        yield f"x is {x.shape}"
    first, target = (array.reshape(size, -1)[:, 0].astype(np.int64) for array in (x, y))
    if y.size != size * features or np.any((target - first - length * features) % EXACT):
        yield "y is not the next step"
