"""Inventories of the few outside names that the reference links to, for builds without network."""

import zlib
from pathlib import Path

_INVENTORIES = {
    "python": {
        "library/functions": ["bool", "float", "int", "object"],
        "library/stdtypes": ["bytes", "dict", "list", "range", "str", "tuple"],
        "library/exceptions": [
            "ImportError",
            "IndexError",
            "KeyError",
            "RuntimeError",
            "StopIteration",
            "TypeError",
            "ValueError",
        ],
        "library/constants": ["None"],
        "library/pathlib": ["pathlib.Path"],
        "library/typing": ["typing.Any", "typing.Literal", "typing.NamedTuple"],
        "library/collections.abc": [
            f"collections.abc.{name}"
            for name in ("Callable", "Hashable", "Iterable", "Iterator", "Mapping", "Sequence")
        ],
    },
    "numpy": {
        "reference/generated/numpy.ndarray": ["numpy.ndarray"],
        "reference/generated/numpy.dtype": ["numpy.dtype"],
        "reference/typing": ["numpy.typing.ArrayLike"],
    },
    "keras": {  # the names of docstrings, and those of signatures
        "models/model": ["keras.Model", "keras.src.models.model.Model"],
        "callbacks": ["keras.callbacks.History", "keras.src.callbacks.history.History"],
        "callbacks/base_callback": [
            "keras.callbacks.Callback",
            "keras.src.callbacks.callback.Callback",
        ],
        "utils/python_utils": [
            "keras.utils.PyDataset",
            "keras.src.trainers.data_adapters.py_dataset_adapter.PyDataset",
        ],
    },
}

_ENDS = {"keras": "/"}  # of addresses


def write_inventory(project: str, folder: Path) -> Path:
    """Write a project's inventory in Sphinx's format, version 2, and return its path."""
    lines = [
        f"{name} py:{_role(name)} 1 {page}{_ENDS.get(project, '.html#$')} -\n"
        for page, names in _INVENTORIES[project].items()
        for name in names
    ]
    header = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{project}.inv"
    path.write_bytes(header.encode() + zlib.compress("".join(lines).encode()))
    return path


def _role(name: str) -> str:
    if name in ("None", "typing.Any", "typing.Literal", "numpy.typing.ArrayLike"):
        return "data"
    return "exception" if name.endswith(("Error", "Iteration")) else "class"
