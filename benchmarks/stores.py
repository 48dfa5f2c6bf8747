"""
How fast frames are read from stores
====================================

A series of 8 features in float32 lies on disk, as an HDF5 dataset or a Zarr array. Its windows are
32 steps long and lie end to end, so a batch has the bytes of the steps that it reads.

    python benchmarks/stores.py             # all: about a minute; needs 1 GB of disk
    python benchmarks/stores.py --quick     # a smoke run: small files

The rows:

- **hdf5**: one run of bytes. **hdf5-chunks**: chunks of 256 kB, compressed by gzip.
- **zarr**: chunks of 1 MB, compressed as Zarr does by default.

The columns:

- **slices**: `store[a:b]` from the first row to the last, 4 MB at a time.
- **in-order**: an epoch of `frames.batches(256)`. **blocks**: the same with `shuffle="blocks"`.
- **frames**: the same with `shuffle="frames"`, of which a few batches are timed.
- **by-hand** is the floor of blocks: NumPy alone reads 32 MB at a time into one array, as much as
  frames shuffle together, and gathers batches of its windows in random order.

So **blocks / slices** can hardly be below **by-hand / slices**.

All are timed in turn, in one process, and a ratio is the median over rounds. The files were just
written, so the system reads them from its own memory. A disk makes all columns slower.

Then: the bytes of a pickle of frames over a memory map, and the time to frame many DataFrames, in
relation to the same values as arrays. The floor of the latter is one call of pandas for each table:
`framer.frame([table.to_numpy() for table in tables])`.
"""

import pickle
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _report import Claim, at_most, machine, markdown_table, parse, report, show_number

from seqframe import SequenceFramer

LENGTH, FEATURES, BATCH = 32, 8, 256
STEPS, SHRINK = 2**22, 16
SLICE = 2**17  # rows: 4 MB
TOGETHER = 2**20  # rows: 32 MB
SERIES, SERIES_STEPS = 100_000, 20
FEW = 4  # batches of single frames


def hdf5(folder: Path, values: np.ndarray, **how: Any) -> Any:
    import h5py

    file = h5py.File(folder / f"{len(how)}.h5", "w")
    file.create_dataset("values", data=values, **how)
    return file["values"]


def hdf5_chunks(folder: Path, values: np.ndarray) -> Any:
    return hdf5(folder, values, chunks=(2**13, FEATURES), compression="gzip", compression_opts=1)


def zarr_array(folder: Path, values: np.ndarray) -> Any:
    import zarr

    kwargs = {"shape": values.shape, "chunks": (2**15, FEATURES), "dtype": values.dtype}
    array = zarr.create_array(folder / "values.zarr", **kwargs)
    array[:] = values
    return array


STORES: dict[str, Callable[..., Any]] = {
    "hdf5": hdf5,
    "hdf5-chunks": hdf5_chunks,
    "zarr": zarr_array,
}
COLUMNS = ["slices", "in-order", "blocks", "frames", "by-hand"]
COMPARED = ["slices", "in-order", "by-hand"]
OTHERS = ["memory-map", "dataframes"]


def passes(store: Any) -> dict[str, Callable[[], float]]:
    """Return for each column a function that reads, and returns the share of the epoch."""
    framer = SequenceFramer(LENGTH, sequence_stride=LENGTH)

    def slices() -> float:
        for first in range(0, store.shape[0], SLICE):
            store[first : first + SLICE]
        return 1.0

    def epoch(**kwargs: Any) -> float:
        for _ in framer.frame(store).batches(BATCH, **kwargs):  # anew, with no page in memory
            pass
        return 1.0

    def few() -> float:
        batches = framer.frame(store).batches(BATCH, shuffle="frames", seed=1)
        for _ in range(FEW):
            next(batches)
        return FEW / len(batches)

    def by_hand() -> float:
        rng, array = np.random.default_rng(1), np.empty((TOGETHER, FEATURES), store.dtype)
        windows = array.reshape(-1).view(np.dtype((np.void, array[:LENGTH].nbytes)))
        for first in range(0, store.shape[0], TOGETHER):
            part = array[: store.shape[0] - first]
            if hasattr(store, "read_direct"):
                store.read_direct(part, np.s_[first : first + len(part)])
            else:
                part[:] = store[first : first + len(part)]
            order = rng.permutation(len(part) // LENGTH)
            for k in range(0, len(order), BATCH):
                windows[order[k : k + BATCH]]
        return 1.0

    return {
        "slices": slices,
        "in-order": epoch,
        "blocks": lambda: epoch(shuffle="blocks", seed=1),
        "frames": few,
        "by-hand": by_hand,
    }


def measure_store(make: Callable[..., Any], steps: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of an epoch in each round, by column."""
    values = np.random.default_rng(0).normal(size=(steps, FEATURES)).astype(np.float32).round(2)
    with tempfile.TemporaryDirectory() as folder:
        ways = passes(make(Path(folder), values))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):  # the first one warms up
            for name, run in ways.items():
                start = time.perf_counter()
                share = run()
                seconds[name].append((time.perf_counter() - start) / share)
    return {name: each[1:] for name, each in seconds.items()}


def over(seconds: dict[str, list[float]], one: str, other: str) -> float:
    return median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def pickle_bytes(steps: int) -> int:
    """Return the bytes of a pickle of frames over a memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.npy"
        np.lib.format.open_memmap(path, "w+", "float32", (steps, FEATURES)).flush()
        return len(pickle.dumps(SequenceFramer(LENGTH).frame(path)))


def time_tables(series: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds to frame arrays, and DataFrames of the same values, in each round."""
    import pandas

    arrays = list(np.random.default_rng(0).normal(size=(series, SERIES_STEPS, 3)))
    tables = [pandas.DataFrame(array, columns=[*"abc"]) for array in arrays]
    framer = SequenceFramer(5)
    ways: dict[str, Callable[[], Any]] = {
        "arrays": lambda: framer.frame(arrays),
        "tables": lambda: framer.frame(tables),
        "to_numpy": lambda: framer.frame([table.to_numpy() for table in tables]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first one warms up
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: each[1:] for name, each in seconds.items()}


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    shrink = SHRINK if options.quick else 1
    steps, claims, results = STEPS // shrink, [], {}
    rows = []
    for name in STORES:
        if name not in options.only:
            continue
        seconds = results[name] = measure_store(STORES[name], steps, options.rounds)
        ratios = [over(seconds, "blocks", other) for other in COMPARED]
        figures = [show_number(median(seconds[column])) for column in COLUMNS]
        rows.append([name, *figures, *(show_number(ratio, "×") for ratio in ratios)])
        claims += store_claims(name, *ratios)
    headers = ["s/epoch", *COLUMNS, *(f"blocks / {name}" for name in COMPARED)]
    print(f"\n{markdown_table(headers, rows)}")
    if "memory-map" in options.only:
        nbytes = results["memory-map"] = pickle_bytes(steps)
        claims.append(at_most("pickle of frames over a memory map", nbytes / 1000, 100, "kB"))
    if "dataframes" in options.only:
        seconds = results["dataframes"] = time_tables(SERIES // shrink, options.rounds)
        figures = [f"{name} {show_number(median(each))}" for name, each in seconds.items()]
        print(f"\n{SERIES // shrink:,} series, seconds: {', '.join(figures)}")
        by_arrays, by_pandas = (over(seconds, "tables", other) for other in ("arrays", "to_numpy"))
        claims.append(at_most("DataFrames / arrays", by_arrays, 2))
        claims.append(at_most("DataFrames / `to_numpy` of each", by_pandas, 2))
    report(options, claims, results=results)


def store_claims(name: str, by_slices: float, in_order: float, by_hand: float) -> list[Claim]:
    return [
        at_most(f"{name}: blocks / slices of the same bytes", by_slices, 2),
        at_most(f"{name}: blocks / the same batches in order", in_order, 2),
        at_most(f"{name}: blocks / NumPy's shuffle of the same windows by hand", by_hand, 2),
    ]


if __name__ == "__main__":
    names = [*STORES, *OTHERS]
    main(parse(__doc__, names, COLUMNS, names, COLUMNS, by_backend=False))
