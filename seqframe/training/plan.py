"""Plans: frames or arrays, checked against a model and laid out as a schedule."""

import logging
import math
import warnings
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.aliases import Reset
from seqframe.backend.common import first_batch
from seqframe.backend.internals import unweighted_metrics
from seqframe.backend.interrupts import PutOff
from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes, warn_of_steps
from seqframe.framing.order import random_seed
from seqframe.model.inspect import check_embedding, check_one_output, check_shapes, check_weights
from seqframe.model.state import model_batch_size, require_stateful, reset_states, stateful_layers
from seqframe.training.feed import (
    ClassWeight,
    Feed,
    check_class_weight,
    check_real,
    feed_arrays,
    feed_frames,
)
from seqframe.training.schedule import Schedule
from seqframe.training.stateful import StatefulTrainer, require_batch_size, reset_interval

logger = logging.getLogger("seqframe")

_FEW = 0.98  # from this share of frames among a lane's rows, the other rows hardly matter


def find_policy(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback] | None
) -> tuple[StatefulTrainer | None, list[keras.callbacks.Callback]]:
    """Return the StatefulTrainer of a stateful model, made if needed, and all callbacks."""
    flat = tree.flatten([] if callbacks is None else callbacks)
    for item in flat:
        if not isinstance(item, keras.callbacks.Callback):
            raise TypeError(
                "`callbacks` must be a list of `keras.callbacks.Callback`. Received: "
                f"{item!r} among them. Pass for instance `[keras.callbacks.EarlyStopping()]`."
            )
        if isinstance(item, StatefulTrainer):
            require_stateful(model)
            return item, flat
    if not stateful_layers(model):
        return None, flat
    policy = StatefulTrainer()
    return policy, [*flat, policy]


def plan(
    model: keras.Model,
    frames: Any,
    kind: str,
    policy: StatefulTrainer | None,
    *,
    batch_size: int | None = None,
    shuffle: bool | None = False,
    seed: int | None = 0,
    class_weight: ClassWeight = None,
    max_device_bytes: float = math.inf,
    redraw: bool = False,
    name: str = "frames",
) -> Schedule:
    """Check data against a model, and lay out the steps of an epoch.

    `kind` is "train", "test" or "predict". `policy` says when a stateful model is reset. Errors
    call the data `name`. The other arguments are as in `fit`.
    """
    if batch_size is not None:
        batch_size = check_integer("batch_size", batch_size, 1)
    if seed is not None:
        seed = check_integer("seed", seed, 0)
    if not isinstance(max_device_bytes, Real) or not max_device_bytes >= 0:
        raise ValueError(
            "`max_device_bytes` must be a number ≥ 0. Received: "
            f"max_device_bytes={max_device_bytes!r}."
        )
    check_choice("shuffle", shuffle, (None, True, False))
    check_choice("redraw", redraw, (True, False))
    check_class_weight(class_weight)
    if policy is not None and shuffle:
        raise ValueError(
            "A stateful model takes its batches in order, because each continues the one before. "
            "Received: shuffle=True. Leave `shuffle` out, or make the model stateless."
        )
    lanes = frames if isinstance(frames, Lanes) else None
    if lanes is not None:
        if batch_size not in (None, lanes.batch_size):
            raise ValueError(
                f"Lanes have a batch size of their own: {lanes.batch_size}. Received: batch_size="
                f"{batch_size}. Leave `batch_size` out, or pass `frames.lanes({batch_size})`."
            )
        batch_size = lanes.batch_size
    framed = lanes.frames if lanes is not None else frames
    if isinstance(framed, Frames):
        feed = _frames_feed(model, framed, kind, class_weight, max_device_bytes, redraw)
    elif redraw:
        raise ValueError("`redraw=True` is for frames. Received: arrays. Pass the frames.")
    else:
        x, y, weight = _checked_arrays(framed, kind, name)
        feed = feed_arrays(x, y, weight, class_weight, max_device_bytes)
        if not tree.is_nested(x) and not tree.is_nested(y):
            check_shapes(model, np.shape(x)[1:], None if y is None else np.shape(y)[1:])
    if not model.built:
        _build(model, feed, batch_size)
    own = model_batch_size(model)
    size = batch_size or own or min(32, feed.size)
    require_batch_size(size, own)
    nbytes = _output_bytes(model, feed) if kind == "predict" else 0
    training = kind == "train"
    if policy is None:
        lanes = lanes if training else None  # without a state, frames need no lanes
        return Schedule(
            feed,
            min(size, feed.size),
            shuffle=lanes is None and shuffle is not False,
            seed=random_seed() if seed is None else seed,
            lanes=lanes,
            nbytes=nbytes,
        )
    # Validation uses a fresh state, whatever the policy in training.
    given = (lanes or policy.lanes) if training else None
    if isinstance(framed, Frames):
        lanes = _lanes(model, framed, size, lanes, training)
    if lanes is None and feed.size % size:
        require_batch_size(feed.size % size, own)
    steps = feed.size // size if lanes is None else len(lanes)
    resets = _resets(policy.reset if training else "epoch", steps, size, lanes, given)
    if lanes is not None and training:
        _warn_of_metrics(model, lanes)
    return Schedule(feed, size, lanes=lanes, resets=resets, nbytes=nbytes)


def _lanes(
    model: keras.Model, frames: Frames, batch_size: int, given: Lanes | None, training: bool
) -> Lanes:
    """Return the lanes of a stateful model: in training as given, or else of whole sequences."""
    if not training:
        if given is None:
            warn_of_steps(frames, stacklevel=5)
        return Lanes(frames, batch_size, cut=False)
    lanes = given or frames.lanes(batch_size)
    if lanes._is_cut:
        logger.info(
            "Sequences are cut into %d lanes to train %r, because there are fewer sequences.",
            batch_size,
            model.name,
        )
    return lanes


def _frames_feed(
    model: keras.Model,
    frames: Frames,
    kind: str,
    class_weight: ClassWeight,
    max_device_bytes: float,
    redraw: bool,
) -> Feed:
    """Return frames as a feed, if their shapes are the model's."""
    predicts = kind == "predict"
    feed = feed_frames(frames, class_weight, max_device_bytes, redraw, only_inputs=predicts)
    if predicts:
        check_shapes(model, frames.x_shape, None)
    else:
        source = frames.source
        check_real(source.targets.dtype, "targets")  # predictions may be for frames of dates
        check_one_output(
            model, "Frames have one target. Pass arrays `(X, {name: y, …})` of `frames.arrays()`."
        )
        vocabulary = frames.vocabulary if source.targets is source.inputs else None
        symbols = None if vocabulary is None else len(vocabulary)
        check_shapes(model, frames.x_shape, frames.y_shape, symbols)
        weight_shape = frames.sample_weight_shape
        if weight_shape is not None:
            check_weights(model, frames.y_shape, weight_shape)
    if frames.vocabulary is not None:
        check_embedding(model, len(frames.vocabulary))
    return feed


def _checked_arrays(arrays: Any, kind: str, name: str) -> tuple[Any, Any, Any]:
    """Return inputs, targets and sample weights, or raise if the data are something else."""
    is_nest = isinstance(arrays, (tuple, list, dict, str))
    if isinstance(arrays, keras.utils.PyDataset) or (
        isinstance(arrays, Iterable) and not is_nest and not hasattr(arrays, "__array__")
    ):
        keras_own = {"train": "fit", "test": "evaluate", "predict": "predict"}[kind]
        raise TypeError(
            f"`{name}` must be `Frames`, `Lanes` or arrays. Received: a dataset, "
            f"{type(arrays).__name__}. Pass its frames or lanes, or use `model.{keras_own}`."
        )
    if kind == "predict":
        return arrays, None, None
    if not isinstance(arrays, tuple) or len(arrays) not in (2, 3):
        raise TypeError(
            f"`{name}` must be `Frames`, `Lanes`, or a tuple of arrays `(X, y)` or "
            f"`(X, y, sample_weight)`. Received: {type(arrays).__name__}."
        )
    x, y, weight = (*arrays, None)[:3]
    return x, y, weight


def _first_inputs(feed: Feed, batch_size: int) -> Any:
    """Return the inputs of a batch on the device."""
    arrays, columns = feed.load(np.zeros((1, batch_size), np.int64), room=1)
    return first_batch(feed.gather, (*backend.to_device((arrays, columns)), []))[0]


def _build(model: keras.Model, feed: Feed, batch_size: int | None) -> None:
    """Build a model by calling it on a batch."""
    stateful = bool(stateful_layers(model))
    if stateful and batch_size is None:
        raise ValueError(
            "A stateful model that is not built yet needs `batch_size`. Received: "
            "batch_size=None. Pass it, or give the model an `Input(batch_shape=…)`."
        )
    inputs = _first_inputs(feed, batch_size or 1)
    with PutOff():
        model(inputs)
        if stateful:
            reset_states(model)


def _output_bytes(model: keras.Model, feed: Feed) -> int:
    """Return the bytes that a frame's predictions take."""
    # Kept, because Keras traces the model to find them. `__setattr__` would track the dict.
    known = vars(model).setdefault("_seqframe_output_bytes", {})
    key = feed.form
    if key not in known:
        x = _first_inputs(feed, model_batch_size(model) or 1)
        specs = tree.map_structure(lambda item: keras.KerasTensor(item.shape, item.dtype), x)
        outputs = tree.flatten(model.compute_output_spec(specs))
        known[key] = sum(math.prod(output.shape[1:]) * 4 for output in outputs)
    return known[key]


def _resets(
    reset: Reset, steps: int, batch_size: int, lanes: Lanes | None, given: Lanes | None
) -> np.ndarray:
    """Return which rows of the state each step of an epoch resets first.

    The rows of lanes that the user gave are reset at each new sequence. With lanes made here,
    `reset` decides about the beginning of an epoch.
    """
    every = reset_interval(reset, steps)
    whole = np.arange(steps) % every == 0 if every else np.zeros(steps, bool)
    resets = np.repeat(whole[:, None], batch_size, axis=1)
    if given is not None:
        require_batch_size(given.batch_size, batch_size)
        if len(given) != steps:
            raise ValueError(
                "`lanes` of the StatefulTrainer must be the lanes of the training: "
                f"{steps} batches of {batch_size}. Received: {given!r}."
            )
        resets |= given._index(np.arange(steps))[2]
    elif lanes is not None:
        resets[1:] |= lanes._index(np.arange(1, steps))[2]
    return resets


def _warn_of_metrics(model: keras.Model, lanes: Lanes) -> None:
    """Warn if metrics count many rows that are no frames."""
    rows, frames = len(lanes) * lanes.batch_size, len(lanes.frames)
    if frames < _FEW * rows and unweighted_metrics(model):
        warnings.warn(
            f"{rows - frames} of {rows} rows of the lanes ran out of data, and `metrics` count "
            "them. Pass these metrics to `compile` as `weighted_metrics`, which leave them out.",
            stacklevel=5,
        )
