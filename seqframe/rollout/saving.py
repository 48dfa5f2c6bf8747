"""A generator in one file: Keras's `.keras` file, with the settings as one more member."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import keras

from seqframe.files import check_path, written_beside
from seqframe.framing.framer import SequenceFramer
from seqframe.samplers import HubSampler

_MEMBER = "seqframe.json"
_FORMAT = 1
_FUNCTIONS = ("sampler", "feedback", "logits_processor")
_SETTINGS = (*_FUNCTIONS, "from_logits", "targets", "quantiles", "stateful", "seed", "framer")
# Keras and `save` compress nothing. A file that was compressed later shrinks less than this.
_MOST_SHRUNK = 100
_SMALL = 2**20  # bytes: a small member may shrink more
_MOST_SETTINGS = 2**28  # bytes of settings: a vocabulary of ten million words

Loaded = TypeVar("Loaded")


def save_parts(
    path: str | Path, model: keras.Model, framer: SequenceFramer, settings: dict[str, Any]
) -> None:
    """Write the parts of a generator to a file; see `Generator.save`."""
    path = check_path(path)
    if path.suffix != ".keras":
        raise ValueError(f'`path` must end in ".keras". Received: path={str(path)!r}.')
    if path.is_dir():
        raise ValueError(f"`path` must name a file. Received: path={str(path)!r}, a folder.")
    if not path.parent.is_dir():
        folder = str(path.parent)
        raise ValueError(
            f"`path` must be in a folder that exists. Received: path={str(path)!r}. Make it "
            f"first: `Path({folder!r}).mkdir(parents=True)`."
        )
    functions = {name: _serialized(name, settings[name]) for name in _FUNCTIONS}
    config = {**settings, **functions, "format": _FORMAT, "framer": framer.get_config()}
    try:
        text = json.dumps(config)
    except TypeError as error:
        raise ValueError(
            f"The generator holds a value that JSON cannot: {error}. Use plain settings, with "
            "strings or numbers as symbols."
        ) from None
    with written_beside(path) as unfinished:
        model.save(unfinished)
        # Opened, not made: if the file is gone, a new one would hold no model.
        with unfinished.open("rb+") as file, zipfile.ZipFile(file, "a") as archive:
            archive.writestr(_MEMBER, text)


def load_parts(
    path: str | Path, custom_objects: dict[str, Any] | None, make: Callable[..., Loaded]
) -> Loaded:
    """Return `make(**arguments)` of the arguments that a file holds; see `Generator.load`."""
    path = check_path(path)
    if not path.is_file():
        raise ValueError(f"`path` must be a generator's file. Received: {str(path)!r}, no file.")
    config = _read_settings(path)
    try:
        for name in _FUNCTIONS:
            config[name] = _deserialized(name, config[name], custom_objects)
        config["framer"] = SequenceFramer.from_config(config["framer"])
        model = keras.saving.load_model(path, custom_objects=custom_objects)
        return make(model=model, **config)
    except Exception as error:
        # Keras and its readers raise errors of many types, which do not name the file.
        raise ValueError(
            "`path` must be a whole file that `Generator.save` wrote, and classes and functions of "
            f"your own must be registered or in `custom_objects`. Received: {str(path)!r}, which "
            f"cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a file, after a check of the whole file."""
    try:
        with zipfile.ZipFile(path) as archive:
            is_own = _MEMBER in archive.namelist()
            problem = _find_problem(archive)
            config = json.loads(archive.read(_MEMBER)) if is_own and not problem else None
    # A damaged archive makes `zipfile` raise errors of many types.
    except Exception as error:
        is_own, problem = False, str(error)
    if problem or not is_own:
        raise ValueError(
            "`path` must be a whole file that `Generator.save` wrote. Received: "
            f"{str(path)!r}{': ' if problem else ''}{problem or ''}. Load a model with "
            "`keras.saving.load_model`."
        )
    config = config if isinstance(config, dict) else {}
    written = config.pop("format", None)
    if isinstance(written, int) and written > _FORMAT:
        raise ValueError(
            f"`path` was written by a newer version of seqframe. Received: {str(path)!r}. "
            "Upgrade seqframe."
        )
    if written != _FORMAT or {*config} != {*_SETTINGS}:
        raise ValueError(
            f"`path` must hold the settings {list(_SETTINGS)}. Received: {str(path)!r} with "
            f"{sorted(config)}."
        )
    return config


def _find_problem(archive: zipfile.ZipFile) -> str | None:
    """Return what is wrong with an archive, or None. Sizes come first: reading may take forever."""
    names = archive.namelist()
    if len({*names}) < len(names):
        return "two of its members have the same name"
    for each in archive.infolist():
        if each.file_size > _SMALL + _MOST_SHRUNK * each.compress_size or (
            each.filename == _MEMBER and each.file_size > _MOST_SETTINGS
        ):
            return f"{each.filename!r} would take {each.file_size:,} bytes"
    damaged = archive.testzip()
    return None if damaged is None else f"{damaged!r} is damaged"


def _serialized(name: str, function: Any) -> Any:
    """Return a function or an object as JSON-safe values, if its name can be resolved again."""
    if function is None:
        return None
    if isinstance(function, HubSampler):
        function = function.sampler
    if not _is_registered(function):
        raise ValueError(
            f"`{name}` cannot be saved without a registered name. Received: {function!r}. Define "
            "it in a module under `@keras.saving.register_keras_serializable()`, and import that "
            "module before loading."
        )
    return keras.saving.serialize_keras_object(function)


def _deserialized(name: str, config: Any, custom_objects: dict[str, Any] | None) -> Any:
    """Return the function or object that `_serialized` wrote, and nothing else of Keras's."""
    if config is None:
        return None
    if not isinstance(config, dict):
        raise TypeError(f"`{name}` must be a registered function or object")
    function = keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)
    own = (custom_objects or {}).values()
    if not (_is_registered(function) or any(each in (function, type(function)) for each in own)):
        raise TypeError(f"`{name}` must be a registered function or object, not {function!r}")
    return function


def _is_registered(function: Any) -> bool:
    """Whether the name of a function, or of an object's class, tells Keras what it is."""
    if type(function).__module__.partition(".")[0] == "keras_hub":
        return True
    named = function if hasattr(function, "__name__") else type(function)
    registered = keras.saving.get_registered_name(named)
    return keras.saving.get_registered_object(registered) is not None
