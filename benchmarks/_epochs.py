"""An epoch of batches, timed and checked: what is framed, by which system, and how it went."""

import importlib
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from _harness import PeakMemory

Series = list[np.ndarray]
Epoch = Callable[[int], Iterable[tuple[Any, Any]]]

EXACT = 2**24  # whole numbers that float32 tells apart
LEAST_SECONDS = 0.3  # short epochs are repeated for at least as long


@dataclass(frozen=True)
class Workload:
    """What is to be framed, and how.

    Attributes:
        name: str. As `--only` takes it.
        windows, length, features: int. How many windows of which shape.
        batch: int.
        systems: names of the systems to compare.
        series: int. The windows come from as many series of equal length.
        shuffle: bool.
        mapped: bool. The series is a memory map of a file.
        batches: int. How many of an epoch's batches are asked for; None for all.
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
        """Steps of a series."""
        return self.windows // self.series + self.length

    @property
    def delivered(self) -> int:
        """Windows that are asked for in an epoch."""
        return min(self.windows, (self.batches or self.windows) * self.batch)

    def data(self, path: Path) -> Series:
        """Return the series: values count up, so that a window's first one tells which it is.

        Args:
            path: file that `write_map` wrote, for a memory map.
        """
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
    """Write a file of float32 steps that count up as far as float32 can, then begin again."""
    with path.open("wb") as file:
        for first in range(0, steps, EXACT):
            np.arange(min(EXACT, steps - first), dtype=np.float32).tofile(file)


@dataclass(frozen=True)
class System:
    """A way to get batches of windows.

    Attributes:
        name: str. As `--systems` takes it.
        make: the function that sets it up.
        imports: modules that it needs, imported before anything is measured.
        is_peer: bool. Whether it is a library's own way to frame.
        copies_all: bool. Whether setting up copies every window.
        is_loader: bool. Whether it delivers the workload's windows, and is checked for it.
        remark: str. What a reader of its figures should know.
    """

    name: str
    make: Callable[[Series, Workload], Epoch]
    imports: tuple[str, ...] = ()
    is_peer: bool = False
    copies_all: bool = False
    is_loader: bool = True
    remark: str = ""


@dataclass
class Result:
    """What a system did on a workload; NaN for what was not measured.

    Attributes:
        seconds: float. An epoch.
        microseconds: float. A batch.
        memory: float. Bytes at the peak, while setting up and in the first epoch.
        setup, first_batch: float. Seconds.
        estimated: bool. Whether the epoch was cut short and extrapolated.
        remarks: list of str.
    """

    seconds: float = math.nan
    microseconds: float = math.nan
    memory: float = math.nan
    setup: float = math.nan
    first_batch: float = math.nan
    estimated: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether there is anything but a remark."""
        return not math.isnan(self.seconds)


def measure(system: System, workload: Workload, path: Path, repeats: int, limit: float) -> Result:
    """Return what a system does on a workload, in this process.

    Args:
        system: System.
        workload: Workload.
        path: file of the memory map.
        repeats: int. Epochs that are timed, at least, where the limit allows.
        limit: float. Seconds after which an epoch is cut short, and no other begun.
    """
    for module in system.imports:
        importlib.import_module(module)
    _rehearse(system, workload)
    data, first = workload.data(path), FirstEpoch(workload)
    with PeakMemory() as memory:
        start = time.perf_counter()
        epoch = system.make(data, workload)
        setup = time.perf_counter() - start
        first.take(epoch(0), limit)
    batches = first.batches / first.share
    times: list[float] = []
    taken, stop = 0, time.perf_counter() + limit
    while not times or (time.perf_counter() < stop and len(times) < repeats):
        seconds, taken = _time_epoch(epoch(len(times) + 1), batches, limit)
        times.append(seconds)
        repeats = max(repeats, math.ceil(LEAST_SECONDS / seconds))
    estimated = taken < batches
    remarks = first.remarks if system.is_loader else []
    if estimated:
        remarks.insert(0, f"≈ from {taken:,} of {batches:,.0f} batches")
    seconds = statistics.median(times)
    per_batch = seconds / batches * 1e6
    return Result(seconds, per_batch, memory.bytes, setup, first.first_batch, estimated, remarks)


def _rehearse(system: System, workload: Workload) -> None:
    """Run through a few batches: what a library loads or starts at first use is no set-up."""
    series = min(workload.series, 2)
    small = replace(workload, windows=2 * series * workload.batch, series=series, mapped=False)
    for _ in system.make(small.data(Path()), small)(0):
        pass


def _time_epoch(batches: Iterable[Any], total: float, limit: float) -> tuple[float, int]:
    """Return how many seconds an epoch takes, and of how many of its batches they are known."""
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
        # The first batch stands for no other: buffers are filled and orders drawn for it.
        seconds = first + (seconds - first) / (taken - 1) * (total - 1)
    return seconds, taken


class FirstEpoch:
    """The epoch that does not count: takes its batches and finds out what they hold.

    Attributes:
        batches, windows: int. How many were taken.
        first_batch: float. Seconds until the first one came.
        share: float. Which part of the epoch was taken before the time was up.
        remarks: list of str. What is unusual about the batches.
    """

    def __init__(self, workload: Workload):
        self._workload = workload
        # Of a memory map only a part is read, and its values repeat.
        self._seen = np.full(0 if workload.mapped else workload.series * workload.steps, False)
        self.batches = self.windows = 0
        self.first_batch, self.share = math.nan, 1.0
        self.remarks: list[str] = []

    def take(self, batches: Iterable[tuple[Any, Any]], limit: float) -> None:
        """Take batches until they end, are as many as the workload asks for, or time is up."""
        start = time.perf_counter()
        for x, y in batches:
            if not self.batches:
                self.first_batch = time.perf_counter() - start
                self._inspect(np.asarray(x), np.asarray(y))
            self.batches += 1
            self.windows += len(x)
            if self._seen.size:
                values = np.asarray(x).reshape(len(x), -1)[:, 0].astype(np.int64)
                self._seen[values // self._workload.features] = True
            if self.batches == self._workload.batches:
                return
            if time.perf_counter() - start > limit:
                self.share = min(self.windows / self._workload.delivered, 1.0)
                return
        if self._seen.size:
            self._count(int(self._seen.sum()))

    def _inspect(self, x: np.ndarray, y: np.ndarray) -> None:
        workload = self._workload
        size, length, features = len(x), workload.length, workload.features
        if x.shape != (min(workload.batch, workload.windows), length, features):
            self.remarks.append(f"x is {x.shape}")
        first, target = (array.reshape(size, -1)[:, 0].astype(np.int64) for array in (x, y))
        if y.size != size * features or np.any((target - first - length * features) % EXACT):
            self.remarks.append("y is not the next step")

    def _count(self, distinct: int) -> None:
        missed, repeated = self._workload.windows - distinct, self.windows - distinct
        if missed:
            self.remarks.append(f"misses {missed:,} windows")
        if repeated:
            self.remarks.append(f"repeats {repeated:,} windows")
