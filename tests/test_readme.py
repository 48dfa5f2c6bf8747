"""The README's first example prints what the README says it prints."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="the README shows TensorFlow's output")
def test_the_first_example():
    code, output = re.findall(r"```(?:python)?\n(.*?)```", README.read_text("utf-8"), re.S)[:2]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.stdout == output, ran.stderr
    assert len(code.splitlines()) == 12
