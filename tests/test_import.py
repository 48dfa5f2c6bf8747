"""Imports stay light and run one way, and every public name exists."""

import ast
import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seqframe

HEAVY = (
    *("keras", "tensorflow", "jax", "torch"),
    *("narwhals", "pandas", "polars", "pyarrow", "matplotlib"),
)
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


def run(code, **environment):
    """Run a script in a new process, and return what it prints and its error."""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **environment}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ran.stdout, ran.stderr


@pytest.mark.parametrize("code", ["import sys, seqframe", FRAMING], ids=["import", "framing"])
def test_framing_loads_only_numpy(code):
    printed, error = run(f"{code}\nprint([name for name in {HEAVY} if name in sys.modules])")
    assert printed.splitlines()[-1:] == ["[]"], error


@pytest.mark.parametrize("name", seqframe.__all__)
def test_public_names_exist(name):
    pytest.importorskip("keras", reason="what trains and rolls out needs it")
    value = getattr(seqframe, name)
    assert value.__name__.rpartition(".")[2] == name
    assert value.__doc__
    assert name in dir(seqframe)
    assert vars(seqframe)[name] is value  # the second use does not load it again


def test_public_names_are_sorted():
    assert list(seqframe.__all__) == sorted(seqframe.__all__)


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="module 'seqframe' has no attribute 'framer_of'"):
        _ = seqframe.framer_of


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_missing_backends_are_named(backend):
    pytest.importorskip("keras", reason="it names the backend")
    code = f"import sys; sys.modules[{backend!r}] = None; from seqframe import fit"
    _, error = run(code, KERAS_BACKEND=backend)
    assert f"pip install {backend}" in error


# --- Imports run one way. Those inside functions and under TYPE_CHECKING count as well.

# What the modules of each part may import. All may import aliases and files, which import none.
ALLOWED = {
    "plot": ["plot"],
    "datasets": [],
    "framing": ["framing", "plot"],
    "samplers": ["backend", "framing"],
    "processors": ["samplers", "framing"],
    "backend": ["backend", "framing.checks"],
    "model": ["model", "backend", "framing"],
    "training": ["training", "model", "backend", "framing"],
    "rollout": ["rollout", "processors", "samplers", "model", "backend", "framing"],
}
ROOT = Path(seqframe.__file__).parent.parent
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "seqframe").rglob("*.py"))
}


def find_imports(code, module, is_package=False):
    """Return the modules of seqframe that a module's code imports, each with the first line."""
    parents = module.split(".") if is_package else module.split(".")[:-1]
    found = {}
    for node in ast.walk(ast.parse(code)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            literal = ast.unparse(node.args[0]).lstrip("f").strip("'\"")
            names = fnmatch.filter(PATHS, re.sub("{.*?}", "*", literal))
        for name in names:
            # `from seqframe.a import b` names a module, or something inside the module a.
            name = name if name in PATHS else name.rpartition(".")[0]
            if name in PATHS:
                found[name] = min(node.lineno, found.get(name, node.lineno))
    return found


# No module may import from seqframe/__init__.py, which imports from all of them.
IMPORTS = {
    module: find_imports(path.read_text("utf-8"), module, path.stem == "__init__")
    for module, path in PATHS.items()
    if module != "seqframe"
}


def describe_arrow(module, name):
    return f"  {PATHS[module].relative_to(ROOT)}:{IMPORTS[module][name]} imports {name}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import seqframe.framing.frames", "seqframe.framing.frames"),
        ("from seqframe.framing.frames import Frames", "seqframe.framing.frames"),
        ("from seqframe.framing import frames", "seqframe.framing.frames"),
        ("from seqframe import Frames", "seqframe"),
        ("from . import framer", "seqframe.framing.framer"),
        ("from .framer import SequenceFramer", "seqframe.framing.framer"),
        ("from ..backend import internals", "seqframe.backend.internals"),
        ("def f():\n    from seqframe.framing import frames", "seqframe.framing.frames"),
        ("if TYPE_CHECKING:\n    import seqframe.framing.frames", "seqframe.framing.frames"),
        ("import_module('seqframe.framing.frames')", "seqframe.framing.frames"),
        ("importlib.import_module(f'seqframe.backend.ja{x}')", "seqframe.backend.jax"),
    ],
)
def test_every_kind_of_import_is_found(code, expected):
    assert list(find_imports(code, "seqframe.framing.lanes")) == [expected]


def test_imports_run_one_way():
    wrong = [
        describe_arrow(module, name)
        for module, imports in IMPORTS.items()
        for name in imports
        if not any(
            f"{name}.".startswith(f"seqframe.{part}.")
            for part in ["aliases", "files", *ALLOWED.get(module.split(".")[1], [])]
        )
    ]
    assert not wrong, "\n".join([f"{len(wrong)} imports run back up:", *wrong])


def find_circles(imports):
    """Return the sets of modules that import each other in a circle."""

    def reached_from(module):
        seen, ahead = set(), [module]
        while ahead:
            new = set(imports.get(ahead.pop(), ())) - seen
            seen |= new
            ahead += new
        return seen

    reached = {module: reached_from(module) for module in imports}
    return {
        frozenset(other for other in reached[module] if module in reached.get(other, ()))
        for module in imports
        if module in reached[module]
    }


def test_circles_are_found():
    found = find_circles({"a": "bd", "b": "c", "c": "a", "d": "e", "e": "", "f": "f"})
    assert found == {frozenset("abc"), frozenset("f")}


def test_no_imports_make_a_circle():
    lines = []
    for circle in sorted(find_circles(IMPORTS), key=sorted):
        lines.append(f"{len(circle)} modules import each other in a circle:")
        lines += [
            describe_arrow(module, name)
            for module in sorted(circle)
            for name in sorted(circle.intersection(IMPORTS[module]))
        ]
    assert not lines, "\n".join(lines)
