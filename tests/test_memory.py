"""The user's data, in memory and on disk, stay as they are whatever they are trained with."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import seqframe
from conftest import current_backend

pytestmark = pytest.mark.project

HERE = Path(__file__).parent
STRATEGIES = {
    "tensorflow": {"none", "one device", "mirrored"},
    "jax": {"none", "data parallel"},
    "torch": {"none"},
}


def test_training_leaves_the_users_data_as_they_are(tmp_path):
    """Every adapter, and `fit`, `evaluate` and `predict`, under every strategy of the backend."""
    package = Path(seqframe.__file__).parents[1]
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]),
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    command = [sys.executable, str(HERE / "trained.py"), str(tmp_path / "raw.bin")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout[-300:] + result.stderr[-2000:]
    lines = [line.split(": ") for line in result.stdout.splitlines() if line.count(": ") == 1]
    assert {strategy for strategy, _ in lines} == STRATEGIES[current_backend()]
    ways = {name for _, name in lines}
    assert {"batches", "dataset", "lanes", "to_grain", "arrays"} < ways
    assert ("to_torch" in ways) == (find_spec("torch") is not None)
    assert {"seqframe.fit", "seqframe.evaluate", "seqframe.predict"} < ways
    assert ("to_tf" in ways) == (current_backend() == "tensorflow")
    assert len(lines) == len(ways) * len(STRATEGIES[current_backend()])
