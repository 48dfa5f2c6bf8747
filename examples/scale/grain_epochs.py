"""
Checkpoint the input with Grain
===============================

Grain reads batches in threads or processes, and its iterator tells its position. Each epoch has an
order of its own. A run that stops in mid-epoch goes on with the batch that it would have read next.

    pip install -e ".[grain]"
    python examples/scale/grain_epochs.py
"""

import json
import tempfile
from pathlib import Path

import grain
import keras
import numpy as np

from seqframe import SequenceFramer

EPOCHS, BATCH_SIZE = 3, 32

wave = np.sin(np.arange(1_000) / 5) + np.random.default_rng(7).normal(scale=0.1, size=1_000)
frames = SequenceFramer(24).frame(wave.astype("float32"))


# %%
# Each call makes the same batches, because the order depends on seed, epoch and index only. Grain
# prefetches 500 elements in 16 threads by default. A batch is large, so fewer are faster.
def read():
    dataset = frames.to_grain(BATCH_SIZE, shuffle=True, seed=7, epochs=EPOCHS, drop_last=True)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)))


def make_model():
    keras.utils.set_random_seed(7)
    layers = [keras.Input((24, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu")]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def train(model, batches):
    for x, y in batches:
        model.train_on_batch(x, y)


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())

    # %%
    # A run without a stop.
    whole = make_model()
    train(whole, read())

    # %%
    # A run that stops in the second epoch. It saves the model and the iterator's state.
    model, batches = make_model(), read()
    train(model, (next(batches) for _ in range(40)))
    model.save(folder / "model.keras")
    (folder / "input.json").write_text(json.dumps(batches.get_state()))
    print("stopped at", batches.get_state())

    # %%
    # It goes on in another process, or on another machine.
    model, batches = keras.models.load_model(folder / "model.keras"), read()
    batches.set_state(json.loads((folder / "input.json").read_text()))
    train(model, batches)
    pairs = zip(model.get_weights(), whole.get_weights(), strict=True)
    print(f"The weights differ by {max(np.abs(a - b).max() for a, b in pairs):.0e}.")
