"""The user's data, in memory and on disk, stay as they are whatever they are trained with."""

import os
import subprocess
import sys

import pytest

from conftest import current_backend

pytestmark = pytest.mark.project

# Two logical devices have to be set up before TensorFlow runs anything, so in another process.
SCRIPT = """
import sys

import keras
import numpy as np
import tensorflow as tf

import seqframe
from seqframe import SequenceFramer

(cpu, *_) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
path = sys.argv[1]
np.sin(np.arange(3216) / 10).astype("float32").tofile(path)
before = open(path, "rb").read()
data = np.memmap(path, "float32", "r+")
frames = SequenceFramer(16).frame(data)
ways = {
    "to_tf": lambda model: model.fit(frames.to_tf(32), verbose=0),
    "batches": lambda model: model.fit(
        iter(frames.batches(32)), steps_per_epoch=len(frames.batches(32)), verbose=0
    ),
    "dataset": lambda model: model.fit(frames.dataset(32), shuffle=False, verbose=0),
    "arrays": lambda model: model.fit(*frames.arrays(), shuffle=False, verbose=0),
    "fit": lambda model: seqframe.fit(model, frames, shuffle=False, verbose=0),
    "evaluate": lambda model: seqframe.evaluate(model, frames, verbose=0),
    "predict": lambda model: seqframe.predict(model, frames, verbose=0),
}
strategies = [tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])]
for strategy in strategies:
    with strategy.scope():
        layers = [keras.Input((16, 1)), keras.layers.LSTM(8), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
    for name, way in ways.items():
        for _ in range(2):
            way(model)
        data.flush()
        if open(path, "rb").read() != before:
            raise SystemExit(f"{name} changed the file under {type(strategy).__name__}")
"""


@pytest.mark.skipif(current_backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_training_leaves_the_users_file_as_it_is(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "raw.bin")]
    result = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert result.returncode == 0, result.stderr[-2000:]
