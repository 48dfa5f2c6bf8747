"""From the same weights, every Keras backend trains to the same weights."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

pytestmark = pytest.mark.project

BACKENDS = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]

TRAIN = """
import json, keras, numpy as np
from seqframe import SequenceFramer, fit

def train(stateful):
    draw = np.random.default_rng(1)
    frames = SequenceFramer(2, sequence_stride=2).frame(draw.normal(size=201).astype("float32"))
    recurrent = [
        keras.layers.LSTM(4, stateful=stateful, return_sequences=True),
        keras.layers.GRU(3, stateful=stateful),
    ]
    inputs = keras.Input(frames.x_shape, batch_size=2 if stateful else None)
    model = keras.Sequential([inputs, *recurrent, keras.layers.Dense(1)])
    model.set_weights([0.5 * draw.normal(size=w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = fit(model, frames, batch_size=2, epochs=1, shuffle=False, verbose=0)
    x = np.reshape(np.linspace(-1, 1, 4), (2, 2, 1)).astype("float32")
    return history.history["loss"], keras.ops.convert_to_numpy(model(x)).ravel().tolist()

print(json.dumps([train(stateful) for stateful in (False, True)]))
"""


def train(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, "-c", TRAIN], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.skipif(len(BACKENDS) < 2, reason="only one Keras backend is installed")
def test_backends_agree_after_50_steps():
    first, *others = [train(backend) for backend in BACKENDS]
    for other in others:
        for (loss, prediction), (other_loss, other_prediction) in zip(first, other, strict=True):
            np.testing.assert_allclose(loss, other_loss, atol=1e-4)
            np.testing.assert_allclose(prediction, other_prediction, atol=1e-4)
