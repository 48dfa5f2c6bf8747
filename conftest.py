"""What holds for all tests: they run on the backend that KERAS_BACKEND names."""

import os

# Before any test imports Keras, so that its backend's start-up messages stay out of the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

BACKENDS = ("tensorflow", "jax", "torch")


def current_backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


# Each backend's module imports its backend, of which only the current one need be installed.
collect_ignore = [f"seqframe/backend/{name}.py" for name in BACKENDS if name != current_backend()]


def pytest_report_header() -> str:
    return f"Keras backend: {current_backend()}"
