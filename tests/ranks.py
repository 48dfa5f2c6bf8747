"""Train in two processes of a PyTorch group, and print what they find as JSON.

A script, because a process group is made once in a process: `python ranks.py rank store folder`.
"""

import contextlib
import json
import os
import sys
from datetime import timedelta

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader

from seqframe import Checkpoint, SequenceFramer, StatefulTrainer, evaluate, fit, predict

STEPS = np.random.default_rng(0).normal(size=11).astype("float32")
FRAMES = SequenceFramer(2).frame(STEPS)  # 9 frames: one rank has no row of the last batch
WEIGHTED = SequenceFramer(2).frame(STEPS, sample_weight=np.abs(STEPS))
LABELS = np.arange(9) % 2
CASES = {
    "frames": (FRAMES, {}),
    "weights": (WEIGHTED, {"validation_data": FRAMES}),
    "a stream": (WEIGHTED, {"max_device_bytes": 0, "validation_data": WEIGHTED}),
    "arrays": ((FRAMES.arrays()[0], LABELS), {"class_weight": {0: 2.0}, "shuffle": False}),
    "lanes": (SequenceFramer(1).frame([STEPS, STEPS[:4]]).lanes(3), {"batch_size": None}),
}


def make_model(length=2, seed=1, loss="mse", layers=(), **given):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((length, 1)), keras.layers.Flatten(), *layers])
    model.add(keras.layers.Dense(3, kernel_regularizer="l2"))
    model.add(keras.layers.Dense(1))
    optimizer = keras.optimizers.Adam(0.01, clipnorm=1.0)
    model.compile(optimizer, loss, metrics=["mae"], weighted_metrics=["mse"], **given)
    return model


def numbers_of(model, history):
    values = [history[name] for name in sorted(history)] + list(model.get_weights())
    return np.concatenate([np.ravel(value) for value in values]).tolist()


def trained(name, seed=1):
    """Return the History and the weights of a training."""
    data, given = CASES[name]
    model = make_model(1 if name == "lanes" else 2, seed)
    given = {"batch_size": 4, "epochs": 3, "seed": 1, "verbose": 0, **given}
    return numbers_of(model, fit(model, data, **given).history)


def crash_after(steps, crash):
    """Return a callback that calls `crash` after some steps. A Checkpoint saves nothing of it."""
    left = iter(range(steps - 1))

    def end_step(batch, logs):
        if next(left, None) is None:
            crash()

    return keras.callbacks.LambdaCallback(on_train_batch_end=end_step)


def stop():
    raise InterruptedError


def resumed(folder, *callbacks):
    """Train with a checkpoint after each step."""
    model = make_model()
    callbacks = [Checkpoint(folder, every=1), *callbacks]
    given = {"batch_size": 4, "epochs": 3, "seed": 5, "verbose": 0, "callbacks": callbacks}
    return numbers_of(model, fit(model, FRAMES, **given).history)


def told(attempt):
    try:
        attempt()
    except ValueError as error:
        return str(error)
    return None


def stateful():
    model = keras.Sequential(
        [keras.Input(batch_shape=(1, 1, 1)), keras.layers.SimpleRNN(1, stateful=True)]
    )
    model.compile("sgd", "mse")
    one = SequenceFramer(1).frame(STEPS)
    evaluate(model, one, verbose=0)  # by itself it may
    fit(model, one, callbacks=[StatefulTrainer()], verbose=0)


def refusals(rank):
    """Return the errors of what ranks cannot train together."""
    other = SequenceFramer(2).frame(STEPS + rank)
    quiet = {"verbose": 0, "batch_size": 4}
    loader = DataLoader(FRAMES.to_torch(), 4)
    norm = [keras.layers.BatchNormalization()]
    attempts = {
        "data": lambda: fit(make_model(), other, **quiet),
        "seed": lambda: fit(make_model(), FRAMES, seed=rank, **quiet),
        "epochs": lambda: fit(make_model(), FRAMES, epochs=1 + rank, **quiet),
        "weights": lambda: fit(make_model(layers=[keras.layers.Dense(2 + rank)]), FRAMES, **quiet),
        "dataset": lambda: fit(make_model(), loader, verbose=0),
        "validation": lambda: fit(make_model(), FRAMES, validation_data=loader, **quiet),
        "eager": lambda: fit(make_model(run_eagerly=True), FRAMES, **quiet),
        "compiled": lambda: fit(make_model(), FRAMES, jit_compile=True, **quiet),
        "normalization": lambda: fit(make_model(layers=norm), FRAMES, **quiet),
        "sum": lambda: fit(make_model(loss=keras.losses.MeanSquaredError("sum")), FRAMES, **quiet),
        "stateful": stateful,
    }
    return {name: told(attempt) for name, attempt in attempts.items()}


def sampled(shuffle):
    """Return the targets that this rank's loader gives in two epochs."""
    dataset = FRAMES.to_torch()
    sampler = dataset.sampler(2, shuffle=shuffle, seed=7)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=dataset.collate)
    return [[y.tolist() for _, y in loader] for _ in range(2)]


def main(rank, store, folder):
    found = {"one": {name: trained(name) for name in CASES}}
    path = os.path.join(folder, f"alone.{rank}")
    found["whole run"] = resumed(path)
    shared = os.path.join(folder, "shared")
    if rank == 0:
        with contextlib.suppress(InterruptedError):
            resumed(shared, crash_after(5, stop))
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    # Each rank begins with other weights, and ends with those of rank 0.
    found["two"] = {name: trained(name, seed=1 + rank) for name in CASES}
    # Both go on where one process stopped, in mid-epoch. Only rank 0 can read its file.
    mine = shared if rank == 0 else path + ".none"
    with contextlib.suppress(InterruptedError):
        resumed(mine, crash_after(2, stop))  # again in mid-epoch
    found["resumed"] = resumed(mine)
    found["refused"] = refusals(rank)
    found["sampled"] = [sampled(shuffle) for shuffle in (False, True)]
    if rank == 0:  # the other one does not wait for it
        model = make_model()
        found["alone"] = [
            evaluate(model, FRAMES, verbose=0),
            len(predict(model, FRAMES, verbose=0)),
        ]
    unseeded = make_model(seed=rank)
    history = fit(unseeded, FRAMES, batch_size=4, epochs=2, verbose=0).history
    found["unseeded"] = numbers_of(unseeded, history)
    print(json.dumps(found), flush=True)
    if rank == 1:
        fit(
            make_model(),
            FRAMES,
            batch_size=4,
            verbose=0,
            callbacks=[crash_after(2, lambda: os._exit(3))],
        )
    try:
        fit(make_model(), FRAMES, batch_size=4, verbose=0)
    except RuntimeError as error:
        print(f"RuntimeError: {error}", file=sys.stderr)
    os._exit(0)  # an orderly end would wait for the rank that died


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), *sys.argv[2:])
