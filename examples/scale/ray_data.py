"""
Frame sequences that come as rows, with Ray Data
================================================

A data lake has rows: a sensor, a time, a value. A sequence lies scattered over many files and
blocks. Ray Data brings the rows of a sensor together, and seqframe frames them.

    pip install -e ".[ray]"
    python examples/scale/ray_data.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import ray

from seqframe import SequenceFramer

SENSORS, STEPS, LENGTH = 6, 500, 48
framer = SequenceFramer(LENGTH)


def save(rows, folder):
    """Write a sensor's values, in the order of time, as an array. Return one row about it."""
    rows = rows.sort_values("time")
    name = rows["sensor"].iloc[0]
    np.save(folder / f"{name}.npy", rows["value"].to_numpy("float32"))
    return pd.DataFrame({"sensor": [name], "steps": [len(rows)]})


def windows(rows):
    """Return the ready windows of the rows, as one row for each window."""
    values = rows.sort_values("time")["value"].to_numpy("float32")
    x, y = framer.frame(values).arrays()
    return {"x": x[..., 0], "y": y}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    # The rows come in the order of time, so the sensors are mixed.
    random = np.random.default_rng(7)
    rows = pd.DataFrame(
        {
            "time": np.repeat(np.arange(STEPS), SENSORS),
            "sensor": np.tile([f"sensor-{k}" for k in range(SENSORS)], STEPS),
            "value": random.normal(size=SENSORS * STEPS).astype("float32"),
        }
    )
    dataset = ray.data.from_pandas(rows)

    # %%
    # Bring each sensor's rows together once, and write them as arrays.
    folder = Path(tempfile.mkdtemp())
    by_sensor = dataset.groupby("sensor", num_partitions=SENSORS)
    found = by_sensor.map_groups(save, fn_kwargs={"folder": folder}, batch_format="pandas")
    names = sorted(row["sensor"] for row in found.take_all())

    # %%
    # Training maps the arrays into memory. It reads only what a batch needs, in any order.
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    frames = framer.frame(arrays)
    print(f"{len(frames)} frames over {sum(array.nbytes for array in arrays.values()):,} bytes")

    # %%
    # Ready windows can travel through Ray, too. Each step is in many windows, so they take
    # `sequence_length` times the bytes, and a shuffle moves them all.
    ready = by_sensor.map_groups(windows, batch_format="pandas").take_all()
    size = sum(row["x"].nbytes for row in ready)
    print(f"{len(ready)} ready windows of {size:,} bytes")

    # %%
    # `map_batches` calls a function with any rows that lie together. Sensors are mixed in them, and
    # windows across their borders are lost.
    one_sensor = ray.data.from_pandas(rows[rows["sensor"] == names[0]])
    lost = one_sensor.map_batches(windows, batch_size=100, batch_format="pandas").count()
    print(f"{names[0]} has {STEPS - LENGTH} windows, and map_batches finds {lost}")
    ray.shutdown()
