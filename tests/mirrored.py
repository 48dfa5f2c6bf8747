"""Train on one device and on two of TensorFlow's, and print what both find as JSON.

A script, because devices are made when TensorFlow starts.
"""

import contextlib
import json
import os
import socket
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from seqframe import Checkpoint, SequenceFramer, evaluate, fit, predict

STEPS = np.random.default_rng(0).normal(size=11).astype("float32")
FRAMES = SequenceFramer(2).frame(STEPS)  # 9 frames: one device has no row of the last batch
WEIGHTED = SequenceFramer(2).frame(STEPS, sample_weight=np.abs(STEPS))
LABELS = np.arange(9) % 2
CASES = {
    "frames": (FRAMES, {}),
    "uneven": (FRAMES, {"batch_size": 5}),
    "weights": (WEIGHTED, {"validation_data": FRAMES}),
    "a stream": (WEIGHTED, {"max_device_bytes": 0, "validation_data": WEIGHTED}),
    "arrays": ((FRAMES.arrays()[0], LABELS), {"class_weight": {0: 2.0}, "shuffle": False}),
    "lanes": (SequenceFramer(1).frame([STEPS, STEPS[:4]]).lanes(3), {"batch_size": None}),
    "eager": (FRAMES, {"batch_size": 3}),  # Keras's own loop, which needs even shares
}


def make_model(context, length=2, **given):
    with context:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((length, 1)), keras.layers.Flatten()])
        model.add(keras.layers.Dense(3, kernel_regularizer="l2"))
        model.add(keras.layers.Dense(1))
        optimizer = keras.optimizers.Adam(0.01)
        model.compile(optimizer, "mse", metrics=["mae"], weighted_metrics=["mse"], **given)
    return model


def trained(name, context):
    data, given = CASES[name]
    given = {"batch_size": 4, "epochs": 3, "seed": 1, "verbose": 0, **given}
    model = make_model(context, 1 if name == "lanes" else 2, run_eagerly=name == "eager")
    if name == "eager":
        data = FRAMES.subset(np.arange(8))
        given["batch_size"] = 4
    history = fit(model, data, **given).history
    frames = data if name != "arrays" and name != "lanes" else None
    found = [history[name] for name in sorted(history)] + list(model.get_weights())
    if frames is not None:
        found += [evaluate(model, frames, batch_size=4, verbose=0)]
        found += [predict(model, frames, batch_size=4, verbose=0)]
    return np.concatenate([np.ravel(each) for each in found]).tolist()


def stateful(context):
    """Return what a stateful model finds, under a strategy of one device or none."""
    with context:
        keras.utils.set_random_seed(1)
        layers = [keras.Input(batch_shape=(2, 1, 1)), keras.layers.GRU(2, stateful=True)]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("adam", "mse")
    frames = SequenceFramer(1).frame([STEPS, STEPS[:4], STEPS[:5]])
    history = fit(model, frames, epochs=2, validation_data=frames, verbose=0).history
    found = [*history.values(), predict(model, frames, verbose=0), *model.get_weights()]
    return np.concatenate([np.ravel(each) for each in found]).tolist()


def drawn(scope):
    """Return the losses of a model with dropout, and of the same training again."""
    found = []
    for _ in range(2):
        with scope():
            keras.utils.set_random_seed(1)
            layers = [keras.Input((2, 1)), keras.layers.GRU(4), keras.layers.Dropout(0.5)]
            model = keras.Sequential([*layers, keras.layers.Dense(1)])
            model.compile("adam", "mse")
        history = fit(model, FRAMES, batch_size=4, epochs=3, seed=1, verbose=0).history
        found.append(history["loss"])
    return found


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise InterruptedError


def resumed(context, folder):
    """Return what a training that stops in mid-epoch on one device finds on others."""
    given = {"batch_size": 4, "epochs": 2, "seed": 1, "verbose": 0}
    with contextlib.suppress(InterruptedError):
        callbacks = [Checkpoint(folder, every=1), Stop()]
        fit(make_model(contextlib.nullcontext()), FRAMES, callbacks=callbacks, **given)
    model = make_model(context)
    history = fit(model, FRAMES, callbacks=[Checkpoint(folder, every=1)], **given).history
    return [*history["loss"], *history["mae"], *np.ravel(model.get_weights()[0]).tolist()]


def told(attempt, *args, **given):
    try:
        attempt(*args, **given)
    except ValueError as error:
        return str(error)
    return None


def refused(context):
    with context:
        inputs = keras.Input(batch_shape=(4, 1, 1))
        model = keras.Sequential([inputs, keras.layers.SimpleRNN(1, stateful=True)])
        model.compile("sgd", "mse")
    frames = SequenceFramer(1).frame(STEPS)
    return [told(use, model, frames, verbose=0) for use in (fit, evaluate, predict)]


def parameter_servers():
    """Return a strategy of a worker and a server, which run in this process."""
    spec = tf.train.ClusterSpec({"worker": [free_address()], "ps": [free_address()]})
    for job in spec.jobs:
        SERVERS.append(tf.distribute.Server(spec, job_name=job, task_index=0))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, rpc_layer="grpc")
    return tf.distribute.ParameterServerStrategy(resolver)


def free_address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


SERVERS = []  # they end with the process


def main(folder):
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # It must be made before anything runs.
    workers = tf.distribute.MultiWorkerMirroredStrategy()
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    single = tf.distribute.OneDeviceStrategy("CPU:1")
    none = contextlib.nullcontext
    print(
        json.dumps(
            {
                "one": {name: trained(name, none()) for name in CASES},
                "two": {name: trained(name, mirrored.scope()) for name in CASES},
                "stateful": [stateful(none()), stateful(single.scope())],
                "resumed": [
                    resumed(context, os.path.join(folder, name))
                    for name, context in (("none", none()), ("two", mirrored.scope()))
                ],
                "drawn": drawn(mirrored.scope),
                "refused": refused(mirrored.scope()),
                "workers": told(fit, make_model(workers.scope()), FRAMES),
                "compiled": told(fit, make_model(mirrored.scope()), FRAMES, jit_compile=True),
                # The last: it joins this process to a cluster.
                "servers": told(fit, make_model(parameter_servers().scope()), FRAMES),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
