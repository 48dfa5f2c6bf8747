"""Processes under JAX train one model together, on the same data, and end together."""

import logging
import os
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import processes
import pytest
from models import assert_same

import seqframe

HERE = Path(__file__).parent
COUNT = 2
WAIT = 60  # seconds in which the others end when a process has died
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="Keras's processes are JAX's only"
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder with what each of two processes found, and how they ended."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = [str(Path(seqframe.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(path),
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        NPROC="16",  # XLA aborts if a device waits long, unless there are as many cores
        JAX_CPU_COLLECTIVES_IMPLEMENTATION="gloo",
    )
    ranks = [
        subprocess.Popen(
            [sys.executable, HERE / "processes.py", str(number), str(COUNT), str(port), folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(COUNT)
    ]
    try:
        _, last = ranks[-1].communicate(timeout=120)
        assert ranks[-1].returncode == 3, last[-3000:]
        _, first = ranks[0].communicate(timeout=WAIT)
    finally:
        for process in ranks:
            process.kill()
    return folder, ranks[0].returncode, first


@pytest.fixture(scope="module")
def found(ended):
    """What each process found."""
    return [pickle.loads((ended[0] / f"{k}.pickle").read_bytes()) for k in range(COUNT)]


def test_processes_give_what_one_gives(found):
    alone = {
        "batches": processes.stateless(7),
        "blocks": processes.stateless(4),
        "states": processes.stateful(),
        "rollout": processes.rollout(),
    }
    for each in found:
        assert_same({name: each[name] for name in alone}, alone, atol=1e-6)


def test_processes_train_on_their_parts_as_one_does_on_joined_batches(found):
    whole, predictions = processes.shards_in_one_process()
    for each, own in zip(found, predictions, strict=True):
        assert_same(each["shards"], (whole, own), atol=1e-6)
        assert_same(each["shards of lanes"], processes.shards_of_lanes(), atol=1e-6)


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("the other's", r"Received: shard\(2, 1\), shard\(2, 0\) in"),
        ("none in one", r"Received: none, shard\(2, 0\) in"),
        ("of other frames", r"other frames in the processes \[1\]"),
        ("of other values", r"other frames in the processes \[1\]"),
        ("eager", "several processes, and it is compiled with `run_eagerly=True`"),
        ("not compiled", "several processes, and it is compiled with `jit_compile=False`"),
        ("cut again", "shard them last"),
        ("odd batches", "a batch of 7 on 2 devices of 2 processes"),
        ("stateful", r"`frames.lanes\(batch_size\).shard\(count, index\)`"),
    ],
)
def test_processes_refuse_shards_that_are_not_their_own(found, why, message):
    for each in found:
        assert re.search(message, each["refused"][why])


def test_processes_draw_one_seed(found):
    first, second = found
    assert_same(second["by one seed"], first["by one seed"], atol=0)


def test_processes_refuse_other_data_and_to_train_apart(found):
    for each in found:
        assert "data of the training in the processes [1]" in each["other data"]
        assert "set_distribution" in each["apart"]
        assert "devices of all processes" in each["elsewhere"]


def test_one_process_goes_on_where_two_stopped(ended, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="seqframe"):
        resumed = processes.resumable(ended[0] / "run", processes.StopAt(9, 0))
    assert re.search(r"goes on at epoch 2, step [2-6]\b", caplog.text)
    assert_same(resumed, processes.resumable(tmp_path / "whole"), atol=1e-6)


def test_the_others_end_when_a_process_dies(ended):
    _, code, log = ended
    assert code not in (0, None), log[-3000:]
