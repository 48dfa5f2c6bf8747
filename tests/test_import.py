"""Framing needs NumPy alone, and every public name is there."""

import os
import subprocess
import sys

import pytest

import seqframe

HEAVY = ("keras", "tensorflow", "jax", "torch", "pandas", "polars", "matplotlib")

FRAMING = """
import sys
import numpy as np
from seqframe import SequenceFramer, Vocabulary
frames = SequenceFramer(2, vocabulary=Vocabulary("ABC")).frame(["ABCABCABC", "CBACBA"])
next(frames.batches(3, shuffle=True, seed=1))
frames.arrays(), frames.steps(1), frames.mask(), frames.split(0.5, 0.5), frames.describe()
steps = np.zeros((20, 2))
SequenceFramer(1).frame(steps, targets=0).lanes(2)[0]
subsequences = SequenceFramer(3, mode="subsequences", num_samples=9).frame(steps)
subsequences.redraw(1)[0]
SequenceFramer.from_config(frames.framer.get_config())
"""


@pytest.mark.parametrize("code", ["import sys, seqframe", FRAMING], ids=["import", "framing"])
def test_framing_loads_numpy_alone(code):
    report = f"print('loaded:', *[name for name in {HEAVY} if name in sys.modules])"
    script = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    assert script.stdout.splitlines()[-1].strip() == "loaded:"


def test_what_needs_keras_is_loaded_on_first_use():
    code = "import sys, seqframe; seqframe.fit; print('keras' in sys.modules)"
    script = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert script.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("name", seqframe.__all__)
def test_public_names_are_there(name):
    assert getattr(seqframe, name).__name__ == name
    assert getattr(seqframe, name).__doc__
    assert name in dir(seqframe)
    assert vars(seqframe)[name] is getattr(seqframe, name)  # kept, once it is loaded


def test_public_names_are_sorted_and_complete():
    assert list(seqframe.__all__) == sorted(seqframe.__all__)
    assert set(seqframe._LOADED_ON_USE) <= set(seqframe.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'seqframe' has no attribute 'framer_of'"):
        _ = seqframe.framer_of


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_backend_that_is_not_installed_is_told(backend):
    code = f"import sys; sys.modules[{backend!r}] = None; from seqframe import fit"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.returncode == 1
    assert f"ImportError: Keras's backend '{backend}' is not installed" in ran.stderr
    assert f'pip install "seqframe[{backend}]"' in ran.stderr
