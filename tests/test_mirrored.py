"""A strategy of TensorFlow shares batches among devices, and gives what one device gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import current_backend

pytestmark = pytest.mark.skipif(
    current_backend() != "tensorflow", reason="the strategies are TensorFlow's"
)
pytest.importorskip("keras", reason="they train models of Keras")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what a process finds that ends as any other, with its garbage collector on."""
    folder = tmp_path_factory.mktemp("mirrored")
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, str(HERE / "mirrored.py"), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return {**json.loads(ran.stdout.splitlines()[-1]), "log": ran.stderr}


CASES = ["frames", "uneven", "weights", "a stream", "arrays", "lanes", "eager"]


@pytest.mark.parametrize("case", CASES)
def test_two_devices_train_as_one(case, found):
    assert set(found["one"]) == set(CASES)
    assert np.isfinite(found["one"][case]).all()
    np.testing.assert_allclose(found["two"][case], found["one"][case], atol=1e-5)


def test_a_stateful_model_trains_under_a_strategy_of_one_device(found):
    none, single = found["stateful"]
    np.testing.assert_allclose(single, none, atol=1e-5)


def test_two_devices_go_on_where_one_stopped_in_mid_epoch(found):
    none, two = found["resumed"]
    np.testing.assert_allclose(two, none, atol=1e-5)


def test_devices_draw_by_the_seeds_of_layers(found):
    one, again = found["drawn"]
    assert one == again
    assert len(set(one)) == 3


def test_strategies_run_programs_and_refuse_what_they_cannot_share(found):
    assert all("2 replicas" in message for message in found["refused"])
    assert len(found["refused"]) == 3
    assert "`keras.distribution`" in found["workers"]
    assert "`keras.distribution`" in found["servers"]
    assert "`jit_compile=False`" in found["compiled"]
    by_keras = [line for line in found["log"].splitlines() if "Keras's own loop" in line]
    assert sum("run_eagerly=True" in line for line in by_keras) == 6  # three uses, twice
    assert sum("a distribution strategy" in line for line in by_keras) == len(by_keras) - 6 <= 2
