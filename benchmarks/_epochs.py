"""An epoch of batches: which windows, how long it takes, and whether it holds what it should."""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _measure import System

Series = list[np.ndarray]  # float32, (steps, features)
Batches = Iterable[tuple[Any, Any]]  # x: windows, y: the steps after them
Epoch = Callable[[int], Batches]  # the batches of the epoch with a number

EXACT = 2**24  # float32 tells whole numbers below it apart
LIMIT = 3.0  # seconds after which an epoch is cut short


@dataclass(frozen=True)
class Workload:
    """What is framed, and how.

    Attributes:
        name: str. The name that `--only` takes.
        windows, length, features: int. The number of windows, and their shape.
        batch: int. Windows of a batch.
        series: int. The windows come from as many series of equal length.
        file: str. Name of the file of a memory map, or "" for series in memory.
        batches: int. Batches that are asked for, or 0 for a whole epoch.
    """

    name: str
    windows: int
    length: int
    features: int
    batch: int
    series: int = 1
    file: str = ""
    batches: int = 0

    @property
    def steps(self) -> int:
        """Steps of each series."""
        return self.windows // self.series + self.length

    @property
    def total(self) -> int:
        """Batches of an epoch."""
        return self.batches or math.ceil(self.windows / self.batch)

    @property
    def shuffle(self) -> bool:
        """Whether windows are shuffled."""
        return self.name != "in-order"

    def data(self) -> Series:
        """Return the series. Values count up, so the first one of a window tells which it is."""
        if self.file:
            return [np.memmap(self.file, np.float32, "r", shape=(self.steps, self.features))]
        shape = (self.series, self.steps, self.features)
        return list(np.arange(math.prod(shape), dtype=np.float32).reshape(shape))

    def write(self) -> None:
        """Write the file: values count up to `EXACT`, then begin again."""
        with open(self.file, "wb") as file:
            for first in range(0, self.steps, EXACT):
                np.arange(min(EXACT, self.steps - first), dtype=np.float32).tofile(file)

    def shrink(self) -> "Workload":
        """Return a workload of a fiftieth of the size."""
        windows, series = self.windows // 50, max(self.series // 50, 1)
        return replace(self, windows=windows, series=series, batches=self.batches // 50)


class Epochs(System):
    """A way to deliver the batches of a workload.

    The first run rehearses: it imports the libraries, and takes batches of two short series. The
    second one sets up and inspects the first epoch. Others only take batches.

    Args:
        workload: Workload.
        frame: function of series and a workload. It sets up, and returns an `Epoch`.
    """

    def __init__(self, workload: Workload, frame: Callable[[Series, Workload], Epoch]):
        self.workload, self.frame = workload, frame
        self.count, self.number, self.steps = 1, 0, workload.total
        self.epoch: Epoch | None = None
        self.data: Series | None = None
        # Only a part of a memory map is read, and its values repeat.
        self.seen = np.full(0 if workload.file else workload.series * workload.steps, False)

    def grow(self, factor: float) -> bool:
        before = self.count
        self.count = math.ceil(before * factor)
        return self.steps >= self.workload.total

    def clock(self) -> float:
        if self.data is None:
            self.rehearse()
            self.data = self.workload.data()
            return 0.0
        if self.epoch is None:
            start = time.perf_counter()
            self.epoch = self.frame(self.data, self.workload)
            self.setup = time.perf_counter() - start
            return self.inspect()
        runs = [self.take() for _ in range(self.count)]
        self.steps = sum(taken for taken, _ in runs)
        return sum(seconds for _, seconds in runs)

    def rehearse(self) -> None:
        """Run a few batches, so that what a library loads at first use does not count."""
        series = min(self.workload.series, 2)
        windows = 2 * series * self.workload.batch
        small = replace(self.workload, windows=windows, series=series, file="", batches=0)
        for _ in self.frame(small.data(), small)(0):
            pass

    def take(self) -> tuple[int, float]:
        """Take an epoch or its first part. Return the number of batches, and the seconds."""
        self.number += 1
        start = time.perf_counter()
        batches = iter(self.epoch(self.number))
        next(batches)
        first = time.perf_counter() - start
        taken = 1
        for taken, _ in enumerate(itertools.islice(batches, self.workload.total - 1), 2):
            if time.perf_counter() > start + LIMIT:
                # The first batch is no example for others: it fills buffers and draws the order.
                return taken, (time.perf_counter() - start - first) / (taken - 1) * taken
        return self.workload.total, time.perf_counter() - start

    def inspect(self) -> float:
        """Take the first epoch, and remark what is wrong with it. Return its seconds."""
        workload, seen, remarks, windows = self.workload, self.seen, [], 0
        start = time.perf_counter()
        for taken, (x, y) in enumerate(self.epoch(0), 1):
            if taken == 1:
                remarks += problems(np.asarray(x), np.asarray(y), workload)
            windows += len(x)
            if seen.size:
                values = np.asarray(x).reshape(len(x), -1)[:, 0].astype(np.int64)
                seen[values // workload.features] = True
            if taken == workload.batches or time.perf_counter() > start + LIMIT:
                break
        else:
            distinct = int(seen.sum())
            if workload.windows > distinct:
                remarks.append(f"misses {workload.windows - distinct:,} windows")
            if windows > distinct:
                remarks.append(f"repeats {windows - distinct:,} windows")
        self.remark = ", ".join(remarks)
        return time.perf_counter() - start


def problems(x: np.ndarray, y: np.ndarray, workload: Workload) -> Iterable[str]:
    """Yield what is wrong with the first batch."""
    size, length, features = len(x), workload.length, workload.features
    if x.shape != (min(workload.batch, workload.windows), length, features):
        yield f"x is {x.shape}"
    first, target = (array.reshape(size, -1)[:, 0].astype(np.int64) for array in (x, y))
    if y.size != size * features or np.any((target - first - length * features) % EXACT):
        yield "y is not the next step"
