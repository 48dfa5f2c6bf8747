"""A type checker knows what users get, and finds their mistakes."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seqframe

pytestmark = pytest.mark.project
pytest.importorskip("keras", reason="public names that train and roll out need it")
ROOT = Path(seqframe.__file__).parent.parent

# What Keras and the backends return is Any, whether they are installed or not.
CONFIGURATION = """
[mypy]
strict = true
follow_imports = silent

[mypy-keras.*,tensorflow.*,jax.*,torch.*,grain.*,matplotlib.*,narwhals.*,pandas.*,polars.*]
follow_imports = skip
follow_imports_for_stubs = true
ignore_missing_imports = true
"""
OPENING = """
import keras
import numpy as np
import seqframe
from seqframe import *

model: keras.Model
array: np.ndarray
framer: SequenceFramer
frames: Frames
lanes: Lanes
vocabulary: Vocabulary
generator: Generator
"""
# Each expression with its type, or in brackets with the code of the error.
TOLD = [
    ("SequenceFramer(3).frame('ABCDE')", "Frames"),
    ("SequenceFramer(3).frame([array, array], targets='price', by=['shop', 'item'])", "Frames"),
    ("SequenceFramer.from_config(framer.get_config())", "SequenceFramer"),
    ("SequenceFramer('3')", "[arg-type]"),
    ("SequenceFramer(3, mode='window')", "[arg-type]"),
    ("SequenceFramer(3, layout='features_first')", "[arg-type]"),
    ("SequenceFramer(3, padding='left')", "[arg-type]"),
    ("SequenceFramer(3, 'prefixes')", "[call-arg]"),
    ("len(frames)", "int"),
    ("frames['A']", "[index]"),
    ("frames.x_shape", "tuple[int, ...] | dict[str, tuple[int, ...]]"),
    ("frames.y_shape", "tuple[int, ...]"),
    ("frames.mask(array)", "ndarray"),
    ("frames.steps(0)", "FrameSteps"),
    ("frames.left_out", "LeftOut"),
    ("frames.split(0.7, 0.3)", "list[Frames]"),
    ("frames.split(0.5, 0.5, by='steps')", "[arg-type]"),
    ("frames.folds(3, mode='sliding', by='sequences')", "list[tuple[Frames, Frames]]"),
    ("frames.folds(2, mode='growing')", "[arg-type]"),
    ("frames.batches(32, shuffle=True).shard(2, 0)", "Batches"),
    ("frames.batches('32')", "[arg-type]"),
    ("frames.shuffle()", "[attr-defined]"),
    ("frames.dataset(32).epoch", "int"),
    ("frames.lanes(32)", "Lanes"),
    ("lanes[0]", "tuple[Any, ndarray, ndarray]"),
    ("lanes.resets(0)", "ndarray"),
    ("vocabulary.encode('CAB')", "ndarray"),
    ("fit(model, array, array)", "Any"),
    ("fit(model, frames, batch_size='32')", "[arg-type]"),
    ("fit(model, frames, verbose='no')", "[arg-type]"),
    ("StatefulTrainer(3, lanes)", "StatefulTrainer"),
    ("StatefulTrainer(reset='epochs')", "[arg-type]"),
    ("evaluate(model, frames)", "float | list[float]"),
    ("evaluate(model, lanes, return_dict=True)", "dict[str, float]"),
    ("evaluate(model, frames, return_dict='yes')", "[call-overload]"),
    ("set_states(model, 'zeros')", "[arg-type]"),
    ("Generator(model, framer, sampler=lambda logits, seed: logits)", "Generator"),
    ("Generator(model, sampler='beams')", "[arg-type]"),
    ("generator.generate('AB', 7)", "str"),
    ("generator.generate(np.zeros(3), 7)", "ndarray"),
    ("generator.generate('AB', 7, num_samples=2)", "Any"),
    ("generator.generate('AB', 7, sampler='top_p', top_p=0.9, seed=1)", "str"),
    ("generator.generate('AB', 7, temperature='hot')", "[call-overload]"),
    ("generator.generate('AB', '7')", "[call-overload]"),
    ("generator.stream('AB', 7)", "Iterator[str]"),
    ("generator.forecast(np.zeros(3), 7, num_samples=9, noise='dropout')", "ndarray"),
    ("generator.forecast(array, 7, noise=0.5)", "[call-overload]"),
    ("generator.export('folder', kind='text')", "[arg-type]"),
    ("Generator.load('model.keras')", "Generator"),
    ("backtest(generator, array, 7)", "Backtest"),
    ("seqframe.fitted", "[attr-defined]"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What mypy says about each line of a script: its type, or the code of its error."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "mypy.ini").write_text(CONFIGURATION)
    lines = [f"reveal_type({expression})" for expression, _ in TOLD]
    (folder / "script.py").write_text("\n".join([*OPENING.splitlines(), *lines]))
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "script.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not ran.stderr
    said = {}
    found = re.findall(r"^script\.py:(\d+): (note|error): (.*)", ran.stdout, re.M)
    for number, kind, text in found:
        line = int(number) - len(OPENING.splitlines())
        if kind == "error":
            said[line] = text[text.rindex("[") :]
        elif text.startswith("Revealed"):
            said.setdefault(line, without_modules(text.split('"')[1]))
    return {expression: said.get(line) for line, (expression, _) in enumerate(TOLD, start=1)}


def without_modules(type_):
    short = re.sub(r"\b[\w.]+\.(?=\w)", "", type_)
    short = re.sub(r"tuple\[.*, fallback=(\w+)\]", r"\1", short)
    return re.sub(r"ndarray\[tuple\[[^]]*\], dtype\[\w*\]\]", "ndarray", short)


@pytest.mark.parametrize(("expression", "expected"), TOLD)
def test_a_type_checker_gives_types_and_finds_mistakes(told, expression, expected):
    assert told[expression] == expected


def test_the_package_is_typed():
    assert (ROOT / "seqframe" / "py.typed").is_file()


def public_members(kind):
    """Return the public methods of a class that are seqframe's own, except Keras's hooks."""
    for owner in kind.__mro__:
        if owner.__module__.startswith("seqframe"):
            for name, member in vars(owner).items():
                is_method = inspect.isfunction(member) or isinstance(member, classmethod)
                if is_method and not name.startswith(("_", "on_")):
                    yield pytest.param(getattr(kind, name), id=f"{kind.__name__}.{name}")


PUBLIC = [getattr(seqframe, name) for name in seqframe.__all__]


@pytest.mark.parametrize(
    "public",
    [
        *(value for value in PUBLIC if callable(value)),
        *(member for value in PUBLIC if inspect.isclass(value) for member in public_members(value)),
    ],
)
def test_public_docstrings_have_examples(public):
    assert ">>> " in (inspect.getdoc(public) or "")
