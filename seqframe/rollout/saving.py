"""A generator or a stepper in one file: Keras's `.keras` file, with its settings as a member."""

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
#: The arguments of a `Generator` that are saved besides the model and the framer.
SETTINGS = (*_FUNCTIONS, "from_logits", "targets", "quantiles", "stateful", "seed")
_OF_A_GENERATOR = (*SETTINGS, "framer")
_OF_A_STEPPER = ("framer", "rows", "state")
# Keras and `save` compress nothing. A file that was compressed later shrinks less than this.
_MOST_SHRUNK = 100
_SMALL = 2**20  # bytes: a small member may shrink more
_MOST_SETTINGS = 2**28  # bytes of settings: a vocabulary of ten million words

Loaded = TypeVar("Loaded")


def save_parts(
    path: str | Path, model: keras.Model, framer: SequenceFramer, settings: dict[str, Any]
) -> None:
    """Write the parts of a generator to a file; see `Generator.save`."""
    functions = {name: _serialized(name, settings[name]) for name in _FUNCTIONS}
    _write(path, model, {**settings, **functions, "framer": framer.get_config()})


def save_stepper(
    path: str | Path,
    model: keras.Model,
    framer: SequenceFramer | None,
    rows: int,
    state: list[Any],
) -> None:
    """Write the parts of a stepper to a file; see `Stepper.save`."""
    config = None if framer is None else framer.get_config()
    _write(path, model, {"framer": config, "rows": rows, "state": state})


def _write(path: str | Path, model: keras.Model, settings: dict[str, Any]) -> None:
    """Write a model and settings to a file."""
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
    try:
        text = json.dumps({**settings, "format": _FORMAT})
    except TypeError as error:
        raise ValueError(
            f"`save` found a value that JSON cannot: {error}. Use plain settings, with "
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

    def read(config: dict[str, Any]) -> dict[str, Any]:
        functions = {name: _deserialized(name, config[name], custom_objects) for name in _FUNCTIONS}
        return {**config, **functions, "framer": SequenceFramer.from_config(config["framer"])}

    return _load(path, custom_objects, {"Generator": _OF_A_GENERATOR}, read, make)


def load_stepper(
    path: str | Path, custom_objects: dict[str, Any] | None, make: Callable[..., Loaded]
) -> Loaded:
    """Return `make(model, framer, rows, state)` of a file; see `Stepper.load`."""

    def read(config: dict[str, Any]) -> dict[str, Any]:
        framer = config["framer"]
        return {
            "framer": None if framer is None else SequenceFramer.from_config(framer),
            "rows": config.get("rows", 1),
            "state": config.get("state"),
        }

    kinds = {"Stepper": _OF_A_STEPPER, "Generator": _OF_A_GENERATOR}
    return _load(path, custom_objects, kinds, read, make)


def _load(
    path: str | Path,
    custom_objects: dict[str, Any] | None,
    kinds: dict[str, tuple[str, ...]],
    read: Callable[[dict[str, Any]], dict[str, Any]],
    make: Callable[..., Loaded],
) -> Loaded:
    """Return `make(model=model, **read(settings))` of a file.

    `kinds` are the classes whose files it may be, with the names of their settings.
    """
    path, saved_by = check_path(path), " or ".join(f"`{kind}.save`" for kind in kinds)
    if not path.is_file():
        raise ValueError(
            f"`path` must be a file that {saved_by} wrote. Received: {str(path)!r}, no file."
        )
    config = _read_settings(path, kinds, saved_by)
    try:
        settings = read(config)
        model = keras.saving.load_model(path, custom_objects=custom_objects)
        return make(model=model, **settings)
    except Exception as error:
        # Keras and its readers raise errors of many types, which do not name the file.
        raise ValueError(
            f"`path` must be a whole file that {saved_by} wrote, and classes and functions of "
            f"your own must be registered or in `custom_objects`. Received: {str(path)!r}, which "
            f"cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _read_settings(path: Path, kinds: dict[str, tuple[str, ...]], saved_by: str) -> dict[str, Any]:
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
            f"`path` must be a whole file that {saved_by} wrote. Received: "
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
    if written != _FORMAT or not any({*config} == {*names} for names in kinds.values()):
        settings = next(iter(kinds.values()))
        hint = " Use `Stepper.load`." if {*config} == {*_OF_A_STEPPER} else ""
        raise ValueError(
            f"`path` must hold the settings {list(settings)}. Received: {str(path)!r} with "
            f"{sorted(config)}.{hint}"
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
    if isinstance(function, (list, tuple)):
        return [_serialized(name, each) for each in function]
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
    if isinstance(config, list) and name == "logits_processor":
        return [_deserialized(name, each, custom_objects) for each in config]
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
