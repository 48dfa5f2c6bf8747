"""
Train one model in several processes, under JAX
===============================================

Each process has its own devices, as a machine of a cluster has. All of them make the same frames
and call the same `fit`. Each one takes its own rows of every batch. JAX adds up the gradients.

    python examples/scale/jax_processes.py

On a cluster, start one process on each machine, and give all of them the first machine's address.
"""

import json
import os
import socket
import subprocess
import sys

PROCESSES = 2


def train(address, processes, number):
    """Train a network, and print its loss and the sum of its weights."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["JAX_CPU_COLLECTIVES_IMPLEMENTATION"] = "gloo"  # GPUs and TPUs need no such line
    import keras
    import numpy as np

    from seqframe import SequenceFramer, fit

    if processes > 1:
        keras.distribution.initialize(address, processes, number)
        keras.distribution.set_distribution(keras.distribution.DataParallel())

    steps = np.arange(1_000, dtype="float32")
    wave = np.sin(steps / 5) + np.random.default_rng(7).normal(scale=0.1, size=1_000)
    frames = SequenceFramer(24).frame(wave.astype("float32"))  # the same in each process

    keras.utils.set_random_seed(7)
    layers = [keras.Input((24, 1)), keras.layers.LSTM(8), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    # `batch_size` is the size of the whole batch: with two processes, 16 rows for each.
    history = fit(model, frames, batch_size=32, epochs=3, seed=7, verbose=0)
    weights = sum(float(np.abs(weight).sum()) for weight in model.get_weights())
    print(json.dumps({"loss": history.history["loss"][-1], "weights": weights}))


def start(processes):
    """Run `train` in so many processes of this machine, and return what each one printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, __file__, address, str(processes), str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit("A process failed. Its error stands above.")
    return [json.loads(text.splitlines()[-1]) for text in printed]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        (one,), several = start(1), start(PROCESSES)
        print("one process:", one)
        for number, result in enumerate(several):
            print(f"process {number} of {PROCESSES}:", result)
        apart = max(abs(result["weights"] - one["weights"]) for result in several)
        print(f"The sums of the weights differ by {apart:.0e}.")
