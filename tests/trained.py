"""Train, evaluate and predict in every way, under every strategy, and look for changed data.

A script, because logical devices have to be set up before a backend runs anything. It prints each
way and strategy, and raises if the user's data, in memory or in a file, have changed.
"""

import gc
import os
import sys
import warnings
from contextlib import nullcontext
from importlib.util import find_spec

import grain
import keras
import numpy as np

import seqframe
from seqframe import SequenceFramer

STEPS = 528  # 512 windows of 16: a number that no program pads


def aligned(steps):
    """Return an array at an address that a framework may take over without a copy."""
    memory = np.empty(4 * steps + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    array = memory[begin : begin + 4 * steps].view("float32")
    array[:] = np.linspace(1, 2, steps)
    return array


def strategies():
    """Return the names of strategies, and the contexts in which a model is built."""
    backend = keras.backend.backend()
    yield "none", nullcontext
    if backend == "tensorflow":
        import tensorflow as tf

        yield "one device", tf.distribute.OneDeviceStrategy("CPU:0").scope
        yield "mirrored", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
    if backend == "jax":
        distribution = keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
        yield "data parallel", distribution.scope


def two_devices():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        (cpu, *_) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )


def make_model():
    model = keras.Sequential([keras.Input((16, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def ways(frames):
    """Return functions of a model by the name of what they train on."""
    size = 32
    batches = frames.batches(size)
    quiet = dict(verbose=0)
    read = grain.MapDataset.source(batches).to_iter_dataset()
    found = {
        "batches": lambda model: model.fit(
            iter(frames.batches(size)), steps_per_epoch=len(batches), **quiet
        ),
        "train_on_batch": lambda model: [model.train_on_batch(*batch) for batch in batches],
        "dataset": lambda model: model.fit(frames.dataset(size), shuffle=False, **quiet),
        "lanes": lambda model: model.fit(frames.lanes(size).dataset(), shuffle=False, **quiet),
        "to_grain": lambda model: model.fit(frames.to_grain().batch(size), **quiet),
        "batches by Grain": lambda model: model.fit(read, **quiet),
        "arrays": lambda model: model.fit(
            *frames.arrays()[:2], sample_weight=frames.arrays()[2], shuffle=False, **quiet
        ),
        "evaluate arrays": lambda model: model.evaluate(*frames.arrays()[:2], **quiet),
        "predict arrays": lambda model: model.predict(frames.arrays()[0], **quiet),
        "seqframe.fit": lambda model: seqframe.fit(model, frames, batch_size=size, **quiet),
        "seqframe.fit of arrays": lambda model: seqframe.fit(
            model, frames.arrays(), batch_size=size, shuffle=False, **quiet
        ),
        "seqframe.fit of a stream": lambda model: seqframe.fit(
            model, frames, batch_size=size, shuffle=False, max_device_bytes=0, **quiet
        ),
        "seqframe.evaluate": lambda model: seqframe.evaluate(
            model, frames, batch_size=size, **quiet
        ),
        "seqframe.predict": lambda model: seqframe.predict(model, frames, batch_size=size, **quiet),
    }
    if find_spec("torch"):
        from torch.utils.data import DataLoader

        torch_frames = frames.to_torch()
        loader = DataLoader(torch_frames, size, collate_fn=torch_frames.collate)
        found["to_torch"] = lambda model: model.fit(loader, **quiet)
    if keras.backend.backend() == "tensorflow":
        found["to_tf"] = lambda model: model.fit(frames.to_tf(size), **quiet)
        found["evaluate to_tf"] = lambda model: model.evaluate(frames.to_tf(size), **quiet)
    return found


def main(path):
    # Under a strategy, Keras's own `fit` reads Python datasets by TensorFlow's MultiDeviceIterator,
    # which waits for Python threads when it ends. The garbage collector would end it while it holds
    # the lock that these threads need. `tests/mirrored.py` runs `seqframe.fit`, which has none.
    gc.disable()
    two_devices()
    np.sin(np.arange(STEPS) / 10).astype("float32").tofile(path)
    data, weights = np.memmap(path, "float32", "r+"), aligned(STEPS)
    frames = SequenceFramer(16).frame(data, sample_weight=weights)

    def contents():
        data.flush()
        with open(path, "rb") as file:
            return file.read(), data.tobytes(), weights.tobytes()

    before = contents()
    for strategy, scope in strategies():
        with scope():
            model = make_model()
        for name, way in ways(frames).items():
            with scope():
                for _ in range(2):
                    way(model)
            print(f"{strategy}: {name}", flush=True)
            if contents() != before:
                raise SystemExit(f"{name} changed the user's data, strategy: {strategy}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # an orderly end would end Keras's iterators, too
