"""On several devices under JAX, `fit`, `evaluate`, `predict` and rollouts give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import seqframe

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="Keras's distributions are JAX's only"
)


def test_a_mesh_gives_what_one_device_gives():
    path = [str(Path(seqframe.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(path),
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        NPROC="16",  # threads for the devices
    )
    command = [sys.executable, str(HERE / "meshes.py")]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr[-3000:]
    assert {"states", "rollouts", "model parallel"} <= set(ran.stdout.splitlines())
    by_keras = [line for line in ran.stderr.splitlines() if "Keras's own loop" in line]
    assert all("run_eagerly=True" in line for line in by_keras)
