"""Framing needs NumPy alone, and every public name is there."""

import ast
import os
import subprocess
import sys
from pathlib import Path

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


# What the modules of each part import when they are loaded: in one direction. Training and rollouts
# know nothing of each other, and what framing hands on to others it imports when that is asked for.
PARTS = {
    "__init__": {"framing"},
    "aliases": set(),
    "framing": {"aliases"},
    "samplers": {"framing"},
    "backend": set(),
    "model": {"aliases", "framing", "backend"},
    "training": {"aliases", "framing", "backend", "model"},
    "rollout": {"aliases", "framing", "samplers", "backend", "model"},
    "plotting": {"framing", "rollout"},
}
ROOT = Path(seqframe.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(path):
    """Return the parts of seqframe that a module imports at its outermost level."""
    names = []
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom):
            names += [f"{statement.module}.{name.name}" for name in statement.names]
        elif isinstance(statement, ast.Import):
            names += [name.name for name in statement.names]
    return {name.split(".")[1] for name in names if name.startswith("seqframe.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_go_in_one_direction(path):
    part = part_of(path)
    assert imported_parts(path) - {part} <= PARTS[part]


def test_the_parts_are_those_of_the_package():
    assert {part_of(path) for path in MODULES} == set(PARTS)
