"""What holds for all tests: they run on the backend that KERAS_BACKEND names."""

import os
import re
from importlib.util import find_spec

import pytest

# Before any test imports Keras, so that its backend's start-up messages stay out of the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def current_backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


# Each backend's modules import it, of which only the current one need be installed.
MODULES = {"tensorflow": ["tensorflow"], "jax": ["jax"], "torch": ["torch"]}
collect_ignore = [
    f"seqframe/backend/{module}.py"
    for name, modules in MODULES.items()
    for module in modules
    if name != current_backend()
]


def pytest_report_header() -> str:
    return f"Keras backend: {current_backend()}"


# Doctests of what one backend alone can do.
ONLY_TENSORFLOW = {"seqframe.rollout.generator.Generator.export"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip a doctest that imports a library which is not installed, or is of another backend."""
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
