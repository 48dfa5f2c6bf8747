"""A generator in one file: Keras's `.keras` file, with the settings as one more member."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from seqframe.framing.framer import SequenceFramer
from seqframe.samplers import HubSampler

_MEMBER = "seqframe.json"
_FORMAT = 1
_FUNCTIONS = ("sampler", "feedback", "logits_processor")


def save_parts(
    path: str | Path, model: keras.Model, framer: SequenceFramer, settings: dict[str, Any]
) -> None:
    """Write the parts of a generator to a file; see `Generator.save`."""
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f'`path` must end in ".keras". Received: path={str(path)!r}.')
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
    # Written under another name, then renamed: an older file stays whole if this fails.
    unfinished = path.with_name(f".{path.stem}.unfinished.keras")
    try:
        model.save(unfinished)
        with zipfile.ZipFile(unfinished, "a") as archive:
            archive.writestr(_MEMBER, text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_parts(path: str | Path, custom_objects: dict[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of the generator that a file holds; see `Generator.load`."""
    if not Path(path).is_file():
        raise ValueError(f"`path` must be a generator's file. Received: {str(path)!r}, no file.")
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(_MEMBER))
        written = config.pop("format")
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError):
        raise ValueError(
            "`path` must be a file that `Generator.save` wrote. Received: "
            f"{str(path)!r}. Load a model with `keras.saving.load_model`."
        ) from None
    if written != _FORMAT:
        raise ValueError(
            f"`path` was written by a newer version of seqframe. Received: {str(path)!r}. "
            "Upgrade seqframe."
        )
    for name in _FUNCTIONS:
        if config[name] is not None:
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
    config["framer"] = SequenceFramer.from_config(config["framer"])
    return {"model": keras.saving.load_model(path, custom_objects=custom_objects), **config}


def _serialized(name: str, function: Any) -> Any:
    """Return a function or an object as JSON-safe values, if its name can be resolved again."""
    if function is None:
        return None
    if isinstance(function, HubSampler):
        function = function.sampler
    registered = keras.saving.get_registered_name(
        function if hasattr(function, "__name__") else type(function)
    )
    is_hub = type(function).__module__.partition(".")[0] == "keras_hub"
    if keras.saving.get_registered_object(registered) is None and not is_hub:
        raise ValueError(
            f"`{name}` cannot be saved without a registered name. Received: {function!r}. Define "
            "it in a module under `@keras.saving.register_keras_serializable()`, and import that "
            "module before loading."
        )
    return keras.saving.serialize_keras_object(function)
