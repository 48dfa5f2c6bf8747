"""
Train one model in several processes, under PyTorch
===================================================

`fit` in each process of a group trains one model. A loop of your own does so with PyTorch's
`DistributedDataParallel`, on the batches that `to_torch` deals out.

    python examples/scale/torch_processes.py

On a cluster, `torchrun` starts the processes, and `init_process_group` needs no arguments.
"""

import os
import tempfile
from datetime import timedelta

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from seqframe import SequenceFramer, fit

PROCESSES, EPOCHS = 2, 3


def make_data_and_model():
    """Return the same frames and the same model in each process."""
    steps = np.arange(1_016, dtype="float32")
    wave = np.sin(steps / 5) + np.random.default_rng(7).normal(scale=0.1, size=1_016)
    frames = SequenceFramer(24).frame(wave.astype("float32"))  # 992: 31 batches of 32

    keras.utils.set_random_seed(7)
    layers = [keras.Input((24, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu")]
    return frames, keras.Sequential([*layers, keras.layers.Dense(1)])


def train_by_fit():
    """Train by `fit`. `batch_size` is the size of the whole batch, of which each takes its rows."""
    frames, model = make_data_and_model()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    fit(model, frames, batch_size=32, epochs=EPOCHS, seed=7, verbose=0)
    return model


def train_by_hand():
    """Train by a loop of one's own. Each process has batches of its own size."""
    frames, model = make_data_and_model()
    dataset = frames.to_torch()
    sampler = dataset.sampler(32 // PROCESSES, shuffle=True, seed=7)  # this process's share
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=dataset.collate)
    shared = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(shared.parameters(), 0.01)
    for _ in range(EPOCHS):  # each pass over the loader is an epoch with an order of its own
        for x, y in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(shared(x)[:, 0], y)
            loss.backward()  # adds up the gradients of all processes
            optimizer.step()
    return model


def run(rank, processes, store, weights):
    """Train in one process, and write the weights of both ways to the shared array."""
    torch.set_num_threads(1)
    if processes > 1:
        distributed.init_process_group(
            "gloo",  # or "nccl" on GPUs
            init_method=f"file://{store}",
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=60),  # a process that hears nothing for so long ends
        )
    ways = [train_by_fit, train_by_hand] if processes > 1 else [train_by_fit]
    for number, way in enumerate(ways):
        model = way()
        weights[rank, number] = sum(float(np.abs(array).sum()) for array in model.get_weights())
    if processes > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    one, several = torch.zeros(1, 2), torch.zeros(PROCESSES, 2).share_memory_()
    run(0, 1, None, one)
    with tempfile.TemporaryDirectory() as folder:
        given = (PROCESSES, os.path.join(folder, "store"), several)
        torch.multiprocessing.spawn(run, given, nprocs=PROCESSES)
    for name, column in ("fit", 0), ("a loop of one's own", 1):
        apart = (several[:, column] - one[0, 0]).abs().max().item()
        print(f"{PROCESSES} processes by {name}: the sums of the weights differ by {apart:.0e}.")
