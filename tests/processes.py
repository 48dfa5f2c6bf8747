"""One of several processes that train one model together under JAX.

A script: `processes.py NUMBER COUNT PORT FOLDER`. It writes what it found to the folder. Then the
last process dies, and the others must end.
"""

import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
from models import compiled, numbers, recurrent

from seqframe import (
    Checkpoint,
    Generator,
    SequenceFramer,
    StatefulTrainer,
    evaluate,
    fit,
    get_states,
    predict,
)

FRAMES = SequenceFramer(2).frame(numbers(22))
SEVERAL = SequenceFramer(1).frame([numbers(n, seed=n) for n in (9, 6, 6)])
PARTS = SequenceFramer(2).frame(numbers(19))  # 17 frames: the last batch is of 2 rows


def stateless(batch_size, **kwargs):
    """Return the history, the evaluation, the predictions and the weights of a model."""
    model, given = compiled(recurrent(), "adam"), {"batch_size": batch_size, "verbose": 0, **kwargs}
    history = fit(model, FRAMES, epochs=2, seed=1, validation_data=FRAMES[:8], **given).history
    found = [list(history.values()), evaluate(model, FRAMES, **given)]
    return [*found, predict(model, FRAMES, **given), *model.get_weights()]


def stateful():
    model = compiled(recurrent(batch_size=3, steps=1), "adam")
    given = {"callbacks": [StatefulTrainer("never")], "verbose": 0}
    history = fit(model, SEVERAL.lanes(3), epochs=2, **given).history
    found = [list(history.values()), predict(model, SEVERAL, verbose=0)]
    return [*found, *model.get_weights(), *get_states(model)[0]]


def rollout():
    model = compiled(recurrent())
    return Generator(model, FRAMES.framer).forecast(numbers(5), 4)


def shards(index):
    """Return what a model makes of two epochs, of which each process feeds its own part."""
    part = PARTS.shard(2, index)
    model, given = compiled(recurrent(), "adam"), {"batch_size": 8, "verbose": 0}
    history = fit(model, part, epochs=2, seed=3, validation_data=part, **given).history
    found = [list(history.values()), evaluations(model, index), *model.get_weights()]
    return found, predict(model, part, **given)


def evaluations(model, index=None):
    """Evaluate whole frames, or this process's parts of them. Each frame counts once."""
    found = []
    for frames, batch_size in (PARTS, 8), (PARTS, 32), (PARTS.subset(slice(15)), 8):
        for steps in 1, 2, None:
            if index is not None:
                data, given = frames.shard(2, index), {"steps": steps}
            elif steps is None:
                data, given = frames, {}
            else:  # the first batches of each part
                count, second = batch_size // 2 * steps, (len(frames) + 1) // 2
                numbers = {*range(min(count, second)), *range(second, len(frames))[:count]}
                data, given = frames.subset(sorted(numbers)), {}
            found.append(evaluate(model, data, batch_size=batch_size, verbose=0, **given))
    return found


def shards_in_one_process():
    """Return the same of whole batches, which are made of a batch of each part."""
    model, given = compiled(recurrent(), "adam"), {"batch_size": 8, "verbose": 0}
    logs = {}

    def joined(epoch, **order):
        parts = [PARTS.shard(2, index).batches(4, epoch=epoch, **order) for index in range(2)]
        arrays = [zip(*batches, strict=True) for batches in zip(*parts, strict=True)]
        return tuple(
            np.concatenate([each for batch in column for each in batch])
            for column in zip(*arrays, strict=True)
        )

    for epoch in range(2):
        run = {"initial_epoch": epoch, "epochs": epoch + 1, "shuffle": False}
        train = joined(epoch, shuffle=True, seed=3)
        history = fit(model, train, validation_data=PARTS, **run, **given).history
        for name, (value,) in history.items():
            logs.setdefault(name, []).append(value)
    found = [list(logs.values()), evaluations(model), *model.get_weights()]
    return found, [predict(model, PARTS.shard(2, index), **given) for index in range(2)]


def shards_of_lanes(index=None):
    """Return the weights after training on lanes, or on this process's share of them."""
    model, lanes = compiled(recurrent(batch_size=3, steps=1), "adam"), SEVERAL.lanes(3)
    fit(model, lanes if index is None else lanes.shard(2, index), epochs=2, verbose=0)
    return model.get_weights()


class StoppedError(Exception):
    """Ends a training in the middle of an epoch."""


class StopAt(keras.callbacks.Callback):
    """Raises after a batch, or lets the process die."""

    def __init__(self, epoch, batch, dies=False):
        super().__init__()
        self.place, self.dies = (epoch, batch), dies

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            if self.dies:
                os._exit(3)
            raise StoppedError


def resumable(folder, *callbacks):
    """Return the weights of a training that goes on where the last one stopped."""
    model = compiled(recurrent(), "adam")
    given = {"callbacks": [Checkpoint(folder, every=2), *callbacks], "verbose": 0}
    fit(model, FRAMES, epochs=2, batch_size=4, seed=5, program="loop", **given)
    return model.get_weights()


def refusal(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError


def main(rank, count, port, folder):
    import jax

    given = {"heartbeat_timeout_seconds": 20}
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), rank, **given)
    keras.utils.set_random_seed(1)
    alone = compiled(recurrent())
    found = {"apart": refusal(lambda: fit(alone, FRAMES, verbose=0))}
    devices = keras.distribution.list_devices()  # two of each process
    other = keras.distribution.DataParallel(devices=[devices[2 - 2 * rank]])
    keras.distribution.set_distribution(other)
    found["elsewhere"] = refusal(lambda: fit(alone, FRAMES, verbose=0))
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[::2]))
    found["batches"] = stateless(7)
    found["blocks"] = stateless(4, max_device_bytes=0)
    found["states"] = stateful()
    found["rollout"] = rollout()
    model = keras.Sequential([keras.layers.SimpleRNN(2), keras.layers.Dense(1)])  # not built
    model.compile("sgd", "mse")
    fit(model, FRAMES, verbose=0)  # by one seed
    found["by one seed"] = model.get_weights()
    other = SequenceFramer(2).frame(numbers(22, seed=rank))
    found["other data"] = refusal(lambda: fit(model, other, verbose=0))
    keras.distribution.set_distribution(keras.distribution.DataParallel())  # on all devices
    found["shards"] = shards(rank)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[::2]))
    found["shards of lanes"] = shards_of_lanes(rank)
    refused = {
        "the other's": (compiled(recurrent()), PARTS.shard(2, 1 - rank), 8),
        "none in one": (compiled(recurrent()), PARTS.shard(2, 0) if rank else PARTS, 8),
        "of other frames": (compiled(recurrent()), (PARTS if rank else FRAMES).shard(2, rank), 8),
        "cut again": (compiled(recurrent()), PARTS.shard(2, rank).subset(slice(8)), 8),
        "odd batches": (compiled(recurrent()), PARTS.shard(2, rank), 7),
        "stateful": (compiled(recurrent(batch_size=2)), PARTS.shard(2, rank), 2),
    }
    eager, uncompiled = (
        compiled(recurrent(), **how) for how in ({"run_eagerly": True}, {"jit_compile": False})
    )
    refused["eager"] = eager, PARTS, 8
    refused["not compiled"] = uncompiled, PARTS.shard(2, rank), 8
    others = SequenceFramer(2).frame(numbers(19, seed=rank))
    refused["of other values"] = compiled(recurrent()), others.shard(2, rank), 8
    found["refused"] = {
        why: refusal(lambda case=case: fit(*case[:2], batch_size=case[2], verbose=0))
        for why, case in refused.items()
    }
    lanes = SEVERAL.lanes(4).shard(2, rank)
    given = {"callbacks": [StatefulTrainer(lanes=lanes)], "verbose": 0}
    stateful_model = compiled(recurrent(batch_size=4, steps=1))
    found["refused"]["lanes"] = refusal(lambda: fit(stateful_model, lanes, **given))
    with suppress(StoppedError):
        resumable(folder / "run", StopAt(1, 4))
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    end = StopAt(1 if rank else -1, 0, dies=True)
    fit(model, FRAMES, epochs=10**6, callbacks=[end], verbose=0)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4], Path(sys.argv[4]))
