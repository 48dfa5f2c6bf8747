"""The scripts of examples/scale/ run on a laptop, where their engine is installed."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.project

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "examples" / "scale"
# What a script needs, and what it must print.
EXPECTED = {
    "jax_processes": (["jax"], r"process 1 of 2:.*\nThe sums of the weights differ by (\S+)\.\n"),
    "torch_processes": (["torch"], r"fit:.* differ by (\S+)\.\n.*own:.* differ by (\S+)\.\n"),
    "ray_train": (["ray", "torch"], r"2 workers: .*\nThe sums of the weights differ by (\S+)\.\n"),
    "ray_data": (["ray", "pandas"], r"2712 frames over 12,000 bytes\n2712 ready .* 520,704 bytes"),
    "grain_epochs": (["grain"], r"'next_index': 40}\nThe weights differ by 0e\+00\.\n"),
}


def test_each_script_is_tested_and_shown():
    names = {path.stem for path in SCRIPTS.glob("*.py")}
    page = (ROOT / "docs/guide/scale.md").read_text("utf-8")
    assert names == {*EXPECTED} == set(re.findall(r"`python examples/scale/(\w+)\.py`", page))


@pytest.mark.parametrize("name", EXPECTED)
def test_script_runs(name):
    needed, printed = EXPECTED[name]
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        pytest.skip(f"the script needs {' and '.join(missing)}")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),  # the workers of Ray start in folders of their own
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",  # otherwise Ray writes a token to the home folder
    }
    ran = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    found = re.search(printed, ran.stdout)
    assert found, ran.stdout
    assert all(float(apart) < 1e-4 for apart in found.groups())
