"""A generator in one file: a `.keras` file, with what is not the model's beside it."""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from seqframe.framing.framer import SequenceFramer
from seqframe.samplers import HubSampler

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator

_MEMBER = "seqframe.json"
_FORMAT = 1


def save_generator(generator: "Generator", path: str | Path) -> None:
    """Write a generator to a file; see `Generator.save`."""
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f'`path` must end in ".keras". Received: path={str(path)!r}.')
    if not path.parent.is_dir():
        folder = str(path.parent)
        raise ValueError(
            f"`path` must be in a folder that exists. Received: path={str(path)!r}, and no folder "
            f"{folder!r}. Make it first, as `Path({folder!r}).mkdir(parents=True)`."
        )
    sampler = generator.sampler
    functions = {
        "sampler": sampler.sampler if isinstance(sampler, HubSampler) else sampler,
        "feedback": generator.feedback,
        "logits_processor": generator.logits_processor,
    }
    config = {
        "format": _FORMAT,
        "framer": generator.framer.get_config(),
        **{name: _serialized(name, function) for name, function in functions.items()},
        "targets": generator.targets,
        "from_logits": generator.from_logits,
        "stateful": generator.stateful,
        "seed": generator.seed,
    }
    try:
        text = json.dumps(config)
    except TypeError as error:
        raise ValueError(
            f"The generator holds what JSON cannot: {error}. Use symbols that are strings or "
            "numbers, and plain settings."
        ) from None
    # Beside the file that may be there, which stays whole if this fails.
    unfinished = path.with_name(f".{path.stem}.unfinished.keras")
    try:
        generator.model.save(unfinished)
        with zipfile.ZipFile(unfinished, "a") as archive:
            archive.writestr(_MEMBER, text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_generator(path: str | Path, custom_objects: dict[str, Any] | None = None) -> "Generator":
    """Read a generator from a file; see `Generator.load`."""
    from seqframe.rollout.generator import Generator

    if not Path(path).is_file():
        raise ValueError(f"`path` must be a generator's file. Received: {str(path)!r}, no file.")
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(_MEMBER))
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError):
        raise ValueError(
            f"`path` must be a generator's file. Received: {str(path)!r}, which `Generator.save` "
            "did not write. Load a model with `keras.saving.load_model`."
        ) from None
    if config.pop("format") != _FORMAT:
        raise ValueError(
            f"`path` was written by a newer version of seqframe. Received: {str(path)!r}. "
            "Upgrade seqframe."
        )
    model = keras.saving.load_model(path, custom_objects=custom_objects)
    for name in ("sampler", "feedback", "logits_processor"):
        if config[name] is not None:
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
    framer = SequenceFramer.from_config(config.pop("framer"))
    return Generator(model, framer, **config)


def _serialized(name: str, function: Any) -> Any:
    """Return a function or an object as JSON-safe values, if it can be found again by its name."""
    if function is None:
        return None
    registered = keras.saving.get_registered_name(
        function if hasattr(function, "__name__") else type(function)
    )
    if keras.saving.get_registered_object(registered) is None and not _is_hub(function):
        raise ValueError(
            f"`{name}` cannot be saved: it is not known by a name. Received: {function!r}. Define "
            "it in a module, under `@keras.saving.register_keras_serializable()`, which then has "
            "to be imported before loading."
        )
    return keras.saving.serialize_keras_object(function)


def _is_hub(function: Any) -> bool:
    return type(function).__module__.partition(".")[0] == "keras_hub"
