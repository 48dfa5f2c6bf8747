"""What a type checker tells a user, and that every public name has its types and its example."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seqframe
from seqframe import samplers
from seqframe.framing.batches import Batches
from seqframe.framing.collection import FrameSteps
from seqframe.framing.lanes import LaneBatches
from seqframe.rollout.prompts import GeneratorState
from seqframe.training import datasets

ROOT = Path(__file__).parent.parent

# Keras and the backends are left out, installed or not: what comes from them is Any. A bare
# `np.ndarray` is one of anything, which mypy calls incomplete before NumPy 2.2.
CONFIGURATION = """
[mypy]
strict = true
disallow_any_generics = false
follow_imports = silent

[mypy-keras.*,tensorflow.*,torch.*,grain.*,matplotlib.*,pandas.*,polars.*]
follow_imports = skip
follow_imports_for_stubs = true
ignore_missing_imports = true
"""

OPENING = """
from collections.abc import Iterator
from typing import Any, Literal, assert_type

import keras
import numpy as np

from seqframe import (
    Backtest, Frames, Generator, Lanes, SequenceFramer, StatefulTrainer, Vocabulary, backtest,
    carry_state, evaluate, fit, get_states, predict, reset_states, set_states,
)
from seqframe.framing.batches import Batches
from seqframe.framing.collection import FrameSteps
from seqframe.framing.lanes import LaneBatches

model: keras.Model
array: np.ndarray
framer: SequenceFramer
frames: Frames
lanes: Lanes
vocabulary: Vocabulary
generator: Generator
"""

# An expression, and its type; several lines for what depends on an argument. mypy does not tell
# which overload takes an array whose dtype is Any.
TYPES = [
    ("SequenceFramer(3).frame('ABCDE')", "Frames"),
    ("SequenceFramer(3).frame([array, array], targets='price', by=['shop', 'item'])", "Frames"),
    ("SequenceFramer.from_config(framer.get_config())", "SequenceFramer"),
    ("framer.mode", "Literal['windows', 'prefixes', 'subsequences']"),
    ("framer.vocabulary", "Vocabulary | None"),
    ("len(frames)", "int"),
    ("frames[3]", "tuple[Any, ...]"),
    ("frames[[3, 1]]", "tuple[Any, ...]"),
    ("frames.x_shape", "tuple[int, ...] | dict[str, tuple[int, ...]]"),
    ("frames.y_shape", "tuple[int, ...]"),
    ("frames.arrays()", "tuple[Any, ...]"),
    ("frames.mask(array)", "np.ndarray"),
    ("frames.lengths(slice(3))", "np.ndarray"),
    ("frames.steps(0)", "FrameSteps"),
    ("frames.split(0.7, 0.3)", "list[Frames]"),
    ("frames.folds(3, mode='sliding', by='sequences')", "list[tuple[Frames, Frames]]"),
    ("frames.batches(32, shuffle=True)", "Batches"),
    ("frames.batches(32).shard(2, 0)", "Batches"),
    ("frames.dataset(32).epoch", "int"),
    ("frames.to_tf(32)", "Any"),
    ("frames.lanes(32)", "Lanes"),
    ("lanes.batches()", "LaneBatches"),
    ("lanes[0]", "tuple[Any, np.ndarray, np.ndarray]"),
    ("lanes.resets(0)", "np.ndarray"),
    ("vocabulary.encode('CAB')", "np.ndarray"),
    ("vocabulary.decode([2, 0, 1])", "str | list[Any]"),
    ("fit(model, frames, batch_size=32, verbose=0)", "Any"),
    ("fit(model, (array, array), callbacks=[StatefulTrainer(3, lanes)])", "Any"),
    ("evaluate(model, frames)", "float | list[float]"),
    ("evaluate(model, lanes, return_dict=True)", "dict[str, float]"),
    ("predict(model, array)", "Any"),
    ("get_states(model)", "list[list[Any]]"),
    ("reset_states(model, get_states(model), rows=[0, 1])", "None"),
    ("Generator(model, framer, sampler=lambda logits, seed: logits)", "Generator"),
    ("generator.generate('AB', 7)", "str"),
    ("generator.generate(np.zeros(3), 7)", "np.ndarray"),
    ("generator.generate(['AB', 'C'], 7)", "Any"),
    ("generator.generate('AB', 7, num_samples=2)", "Any"),
    ("generator.generate('AB', 7, return_state=True)", "Any"),
    ("generator.stream('AB', 7)", "Iterator[str]"),
    ("generator.forecast(np.zeros(3), 7, num_samples=9, noise='dropout')", "np.ndarray"),
    ("generator.forecast(np.zeros(3), 7, num_samples=9, noise=array)", "np.ndarray"),
    ("generator.forecast([1.0, 2.0], 7)", "Any"),
    ("generator.save('model.keras')", "None"),
    ("Generator.load('model.keras')", "Generator"),
    ("backtest(generator, array, 7)", "Backtest"),
    ("backtest(generator, array, 7).errors()", "dict[str, np.ndarray]"),
]

REFUSED = [
    ("SequenceFramer('3')", "arg-type"),
    ("SequenceFramer(3, mode='window')", "arg-type"),
    ("SequenceFramer(3, layout='features_first')", "arg-type"),
    ("SequenceFramer(3, padding='left')", "arg-type"),
    ("SequenceFramer(3, 'prefixes')", "call-arg"),
    ("frames['A']", "index"),
    ("frames.batches('32')", "arg-type"),
    ("frames.split(0.5, 0.5, by='steps')", "arg-type"),
    ("frames.folds(2, mode='growing')", "arg-type"),
    ("frames.shuffle()", "attr-defined"),
    ("fit(model, array)", "arg-type"),
    ("fit(model, frames, batch_size='32')", "arg-type"),
    ("fit(model, frames, verbose='no')", "arg-type"),
    ("fit(model, frames, jit_compile='yes')", "arg-type"),
    ("evaluate(model, frames, return_dict='yes')", "call-overload"),
    ("StatefulTrainer(reset='epochs')", "arg-type"),
    ("set_states(model, 'zeros')", "arg-type"),
    ("Generator(model, sampler='beams')", "arg-type"),
    ("generator.generate('AB', '7')", "call-overload"),
    ("generator.forecast(array, 7, noise=0.5)", "call-overload"),
    ("generator.forecast(array, 7, noise='drop-out')", "arg-type"),
    ("generator.export('folder', kind='text')", "arg-type"),
    ("seqframe.fitted", "attr-defined"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What mypy says of each line of `TYPES` and `REFUSED`, by the line."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "mypy.ini").write_text(CONFIGURATION)
    lines = [*OPENING.splitlines(), "import seqframe"]
    place = {}
    for expression, expected in TYPES:
        lines.append(f"assert_type({expression}, {expected})")
        place[expression] = len(lines)
    for expression, _ in REFUSED:
        lines.append(expression)
        place[expression] = len(lines)
    (folder / "script.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "script.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not ran.stderr
    errors = re.findall(r"^script\.py:(\d+): error: (.*)", ran.stdout, re.M)
    assert {int(line) for line, _ in errors} <= set(place.values()), ran.stdout
    return {
        expression: [error for line, error in errors if int(line) == number]
        for expression, number in place.items()
    }


@pytest.mark.parametrize("expression", [expression for expression, _ in TYPES])
def test_what_is_returned_has_a_type(told, expression):
    assert told[expression] == []


@pytest.mark.parametrize(("expression", "code"), REFUSED)
def test_a_mistake_is_refused(told, expression, code):
    (error,) = told[expression]
    assert error.endswith(f"[{code}]")


def test_the_package_says_that_it_has_types():
    assert (Path(seqframe.__file__).parent / "py.typed").is_file()


# --- Every public name has its types, and an example.

SAMPLERS = [kind for kind in vars(samplers).values() if inspect.isclass(kind)]
PUBLIC = [
    *(getattr(seqframe, name) for name in seqframe.__all__),
    *(kind for kind in SAMPLERS if kind.__module__ == samplers.__name__),
    Batches,
    FrameSteps,
    GeneratorState,
    LaneBatches,
    datasets.FramesDataset,
    datasets.LanesDataset,
]

# What the package's modules call of each other. Users have no need of it.
INTERNAL = {
    "choose",
    "draw_seed",
    "gather",
    "give_up",
    "locate",
    "place",
    "rank",
    "resolve",
    "rollout",
    "views",
    "written",
}


def public_members(kind):
    """Return the public methods and properties of a class that are seqframe's own, by name."""
    found = {}
    for owner in kind.__mro__:
        if owner.__module__.startswith("seqframe"):
            for name, member in vars(owner).items():
                if isinstance(member, (classmethod, staticmethod)):
                    member = member.__func__
                is_hook = name.startswith("on_")  # Keras's
                if not (name.startswith("_") or is_hook) and (
                    inspect.isfunction(member) or isinstance(member, property)
                ):
                    found.setdefault(name, member)
    return found


MEMBERS = [
    pytest.param(kind, name, member, id=f"{kind.__name__}.{name}")
    for kind in PUBLIC
    if inspect.isclass(kind)
    for name, member in public_members(kind).items()
]


def missing_types(function, of_class=False):
    """Return the parameters of a function that have no type, and "return"."""
    signature = inspect.signature(function)
    parameters = [
        each for each in signature.parameters.values() if each.name not in ("self", "cls")
    ]
    missing = [each.name for each in parameters if each.annotation is each.empty]
    untold = not of_class and signature.return_annotation is signature.empty
    return [*missing, *(["return"] if untold else [])]


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_a_public_name_has_types_and_an_example(public):
    assert missing_types(public, inspect.isclass(public)) == []
    assert ">>> " in public.__doc__


@pytest.mark.parametrize(("kind", "name", "member"), MEMBERS)
def test_a_public_method_has_types_and_an_example(kind, name, member):
    is_property = isinstance(member, property)
    assert missing_types(member.fget if is_property else member) == []
    described = inspect.getdoc(getattr(kind, name))
    assert described
    assert is_property or name in INTERNAL or ">>> " in described
