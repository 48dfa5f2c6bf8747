"""Plans: frames or arrays, checked against a model and laid out as a schedule."""

import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.aliases import Reset, Shuffle
from seqframe.backend.common import first_batch
from seqframe.backend.internals import unweighted_metrics
from seqframe.backend.interrupts import PutOff
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes, warn_of_steps
from seqframe.framing.order import Blocks, random_seed
from seqframe.framing.shards import Shard
from seqframe.model.inspect import check_embedding, check_one_output, check_shapes, check_weights
from seqframe.model.state import model_batch_size, require_stateful, reset_states, stateful_layers
from seqframe.training.data import Arrays
from seqframe.training.feed import ClassWeight, Feed, check_real, feed_arrays, feed_frames
from seqframe.training.schedule import Schedule
from seqframe.training.stateful import (
    StatefulTrainer,
    refuse_shuffle,
    require_batch_size,
    reset_interval,
)
from seqframe.training.targets import check_labels, check_loss, check_targets

logger = logging.getLogger("seqframe")

_FRAMES_SEARCHED = 4096  # together, for class ids that are none
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
    data: Frames | Lanes | Arrays,
    kind: str,
    policy: StatefulTrainer | None,
    *,
    batch_size: int | None = None,
    shuffle: Shuffle | None = False,
    seed: int | None = 0,
    class_weight: ClassWeight = None,
    max_device_bytes: float = math.inf,
    redraw: bool = False,
    steps: int | None = None,
    shard: Shard | None = None,
) -> Schedule:
    """Check data against a model, and lay out the steps of an epoch.

    `kind` is "train", "test" or "predict". `policy` says when a stateful model is reset. `steps` is
    Keras's `steps_per_epoch` in training, and else the most steps. `shard` tells which shard of the
    whole the data are, if other processes feed the other ones. The other arguments are as in `fit`.
    """
    if policy is not None and shuffle:
        refuse_shuffle()
    if shard is not None:
        if policy is not None:
            _refuse_shards(model)
        max_device_bytes = 0  # no device holds the data of all processes
    training = kind == "train"
    lanes = data if isinstance(data, Lanes) else None
    if lanes is not None:
        if batch_size not in (None, lanes.batch_size):
            raise ValueError(
                f"Lanes have a batch size of their own: {lanes.batch_size}. Received: batch_size="
                f"{batch_size}. Leave `batch_size` out, or pass `frames.lanes({batch_size})`."
            )
        batch_size = lanes.batch_size
    framed: Any = data.frames if isinstance(data, Lanes) else data
    if isinstance(framed, Frames):
        how = {"redraw": redraw, "one_by_one": shuffle == "frames"}
        feed = _frames_feed(model, framed, kind, class_weight, max_device_bytes, **how)
    else:
        feed = _arrays_feed(model, framed, kind, class_weight, max_device_bytes, redraw)
    if not model.built:
        _build(model, feed, batch_size)
    own = model_batch_size(model)
    whole = feed.size if shard is None else feed.size * shard.num_shards
    # As Keras divides the samples if it is given steps, but no batch size.
    usual = -(-whole // steps) if training and steps else min(32, whole)
    size = batch_size or own or usual
    require_batch_size(size, own)
    laid_out: dict[str, Any] = {
        "nbytes": _output_bytes(model, feed) if kind == "predict" else 0,
        "most_steps": None if training else steps,
    }
    if policy is None:
        laid_out["lanes"] = lanes = lanes if training else None  # no state, so no lanes
        if shard is None:
            size = min(size, feed.size)
        else:
            backend.check_shares(size)
            laid_out["idle"] = shard.short if kind == "test" else 0
        laid_out["shuffle"] = lanes is None and _shuffled(framed, feed, shuffle)
        laid_out["seed"] = backend.agreed(random_seed()) if seed is None else seed
    else:
        # Validation uses a fresh state, whatever the policy in training.
        given = (lanes or policy.lanes) if training else None
        if isinstance(framed, Frames):
            laid_out["lanes"] = lanes = _lanes(model, framed, size, lanes, training)
        if lanes is None and feed.size % size:
            require_batch_size(feed.size % size, own)
        count = feed.size // size if lanes is None else len(lanes)
        reset = policy.reset if training else "epoch"
        laid_out["resets"] = _resets(reset, count, size, lanes, given)
        if lanes is not None and training:
            _warn_of_metrics(model, lanes)
    if lanes is not None and kind == "predict" and steps is not None:
        raise ValueError(
            "`steps` is for batches in order. Received: steps="
            f"{steps} for a stateful model, which reads each sequence whole. Leave it out."
        )
    schedule = Schedule(feed, size, shard=shard, **laid_out)
    if training and steps not in (None, schedule.batches):
        raise ValueError(
            "An epoch of frames or arrays takes all of them. Received: steps_per_epoch="
            f"{steps} for {schedule.batches} batches. Leave it out, or pass a dataset."
        )
    return schedule


def _refuse_shards(model: keras.Model) -> None:
    raise ValueError(
        f"The model {model.name!r} is stateful, so that all processes need whole sequences. "
        "Received: `frames.shard(…)`. Pass the whole frames, or for training "
        "`frames.lanes(batch_size).shard(count, index)`."
    )


def _shuffled(data: Any, feed: Feed, shuffle: Shuffle | None) -> bool | Blocks:
    """Return whether single frames are shuffled, or which blocks of them."""
    if isinstance(data, Frames) and (feed.nbytes_streamed or isinstance(shuffle, str)):
        return data._shuffled(True if shuffle is None else shuffle)
    if isinstance(shuffle, str):
        raise ValueError(
            f"`shuffle={shuffle!r}` is for frames. Received: arrays. Pass True or False."
        )
    return shuffle is not False


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
    **given: bool,
) -> Feed:
    """Return frames as a feed, if their shapes are the model's."""
    predicts = kind == "predict"
    feed = feed_frames(frames, class_weight, max_device_bytes, only_inputs=predicts, **given)
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
        check_loss(model)
        check_targets(model, frames.y_shape)
        check_shapes(model, frames.x_shape, frames.y_shape, symbols)
        weight_shape = frames.sample_weight_shape
        if weight_shape is not None:
            check_weights(model, frames.y_shape, weight_shape)
        in_order = feed.arrays.get(feed.gather.y.array) if feed.gather.y is not None else None
        if symbols is None and weight_shape is None and in_order is not None:
            parts = range(0, len(frames), _FRAMES_SEARCHED)
            check_labels(
                model,
                in_order,
                lambda: (frames[part : part + _FRAMES_SEARCHED][1] for part in parts),
            )
    if frames.vocabulary is not None:
        check_embedding(model, len(frames.vocabulary))
    return feed


def _arrays_feed(
    model: keras.Model,
    arrays: Arrays,
    kind: str,
    class_weight: ClassWeight,
    max_device_bytes: float,
    redraw: bool,
) -> Feed:
    """Return arrays as a feed, if their shapes are the model's."""
    if redraw:
        raise ValueError("`redraw=True` is for frames. Received: arrays. Pass the frames.")
    x, y, weight = arrays if kind != "predict" else (arrays.x, None, None)
    if kind != "predict":
        check_loss(model, y is not None)
    feed = feed_arrays(x, y, weight, class_weight, max_device_bytes)
    y_shape = None if y is None or tree.is_nested(y) else np.shape(y)[1:]
    if y_shape is not None:
        check_targets(model, y_shape)
    if not tree.is_nested(x) and not tree.is_nested(y):
        check_shapes(model, np.shape(x)[1:], y_shape, are_frames=False)
    if y_shape is not None and "y" in feed.arrays:
        check_labels(model, feed.arrays["y"], lambda: [_weighed(**feed.arrays)])
    return feed


def _weighed(x: Any, y: np.ndarray, weight: Any = None) -> np.ndarray:
    """Return the targets of the samples whose weight is not 0."""
    if weight is None or tree.is_nested(weight):
        return y
    return y[weight.reshape(len(weight), -1).any(axis=1)]


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
