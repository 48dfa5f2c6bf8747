"""How the tests run: on which backend, which of them, and what is freed between them."""

import ast
import contextlib
import ctypes
import gc
import inspect
import itertools
import os
import re
import signal
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

# Keras reads it when a test imports it: the backend's start-up messages stay out of the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The workers inherit it: freed memory goes back, instead of staying with each of many threads.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")

ROOT = Path(__file__).parent
SOURCE = ROOT / "seqframe"
BACKENDS = ("tensorflow", "jax", "torch")
WITH_KERAS = ("keras", "ml_dtypes", *BACKENDS)  # what an installation of Keras brings


def current_backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def pytest_report_header() -> str:
    return f"Keras backend: {current_backend()}"


# --- Which files are collected.


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("seqframe")
    group.addoption(
        "--without-keras", action="store_true", help="only files that load without Keras"
    )
    group.addoption(
        "--per-backend", action="store_true", help="only files that load Keras or a backend"
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "project: a check of the whole project, which needs every package of the extra [test]",
        "once: a slow check that depends on no version of a dependency",
        "xla: under TensorFlow, compile programs with XLA as users do",
    ):
        config.addinivalue_line("markers", line)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's job in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Choose files by what they import when they load, so that no list of files is kept."""
    if collection_path.suffix != ".py":
        return None
    loaded = packages_loaded_by(collection_path)
    folder = collection_path.parent.name
    left_out = (
        # Scripts, which tests run in processes of their own: some choose a backend.
        (folder == "tests" and collection_path.name[:5] != "test_" and loaded & {*BACKENDS})
        # Only the current backend has to be installed.
        or (folder == "backend" and loaded & {*BACKENDS} - {current_backend()})
        or (config.getoption("without_keras") and loaded & {*WITH_KERAS, "matplotlib"})
        or (config.getoption("per_backend") and not loaded & {"keras", *BACKENDS})
    )
    return True if left_out else None


@cache
def packages_loaded_by(path: Path) -> frozenset[str]:
    """Return the packages that a file imports when it loads, directly or through files of ours."""
    loaded: set[str] = set()
    ahead = [path, path.parent / "__init__.py"] if path.is_relative_to(SOURCE) else [path]
    seen = {*ahead}
    while ahead:
        for name in names_imported_by(ahead.pop()):
            own = file_of(name)
            if own is None:
                loaded.add(name.partition(".")[0])
                continue
            package = [own.parent / "__init__.py"] if own.is_relative_to(SOURCE) else []
            new = {own, *package} - seen
            seen |= new
            ahead += new
    return frozenset(loaded)


def names_imported_by(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(name: str) -> Path | None:
    """Return the file of a module of ours, or of a public name of seqframe."""
    package, _, rest = name.partition(".")
    if package != "seqframe":
        own = ROOT / "tests" / f"{package}.py"
        return own if own.is_file() else None
    base = ROOT / "seqframe" / rest.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py", base.parent.with_suffix(".py")):
        if rest and path.is_file():
            return path
    return file_of(public_names().get(rest, "")) or ROOT / "seqframe" / "__init__.py"


@cache
def public_names() -> dict[str, str]:
    """Return where each public name of seqframe stands: `Generator` in `seqframe.rollout…`."""
    tree = ast.parse((ROOT / "seqframe" / "__init__.py").read_text("utf-8"))
    return {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seqframe.")
        for alias in node.names
    }


# Doctests of what only TensorFlow can do.
ONLY_TENSORFLOW = {"seqframe.rollout.generator.Generator.export"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip a doctest if it imports a package that is not installed, or is of another backend."""
    for item in items:
        if not isinstance(item, pytest.DoctestItem):
            continue
        source = "".join(example.source for example in item.dtest.examples)
        imported = re.findall(r"^(?:import|from) (\w+)", source, re.M)
        missing = sorted(name for name in set(imported) if find_spec(name) is None)
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))
        elif item.name in ONLY_TENSORFLOW and current_backend() != "tensorflow":
            item.add_marker(pytest.mark.skip(reason="needs Keras's TensorFlow backend"))


# --- What is freed. The frameworks keep programs after their models are gone.


TESTS_DONE = itertools.count(1)


@pytest.fixture(autouse=True)
def freed_programs() -> Iterator[None]:
    """Free the programs that tests leave behind in JAX's caches, after every 25 of them."""
    yield
    if next(TESTS_DONE) % 25 or "keras" not in sys.modules:
        return
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()
    if sys.platform == "linux":
        # Otherwise the C library keeps what was freed: most of 1 GB of JAX's programs.
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def freed_gradients() -> Iterator[None]:
    """Free the graphs of a test that TensorFlow registers, one for each custom gradient."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import ops

        registered = ops.gradient_registry._registry
        for name in [name for name in registered if name.startswith("CustomGradient-")]:
            del registered[name]


@pytest.fixture(autouse=True)
def graphs_instead_of_xla(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run TensorFlow's programs as graphs, unless a test is marked `xla` or names XLA itself.

    TensorFlow keeps every program that XLA compiles until its process ends: 4 to 8 MB each.
    """
    if current_backend() != "tensorflow" or "tensorflow" not in sys.modules:
        return
    if request.node.get_closest_marker("xla") or names_xla(request.node):
        return
    tensorflow = sys.modules["tensorflow"]
    function = tensorflow.function

    def graph(*args: object, jit_compile: object = None, **kwargs: object) -> object:
        return function(*args, **kwargs)

    monkeypatch.setattr(tensorflow, "function", graph)


@pytest.fixture
def every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the first steps of each fit in every form that the backend has, one after the other."""
    from seqframe import backend
    from seqframe.training import programs

    monkeypatch.setattr(programs, "_PAYBACK", -float("inf"))
    monkeypatch.setattr(programs, "_SLOW", float("inf"))
    monkeypatch.setattr(programs, "_PIECES", 1)
    monkeypatch.setattr(backend, "promising", lambda known, forms, *run: forms, raising=False)


def names_xla(item: pytest.Item) -> bool:
    tested = getattr(item, "function", None)
    return bool(
        tested and re.search("jit_compile|xla", inspect.getsource(tested) + item.name, re.I)
    )
