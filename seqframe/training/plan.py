"""Plans: what is to be run, checked against the model and laid out as a schedule."""

import math
import warnings
from collections.abc import Iterable
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.aliases import Reset
from seqframe.backend.internals import has_unweighted_metrics
from seqframe.framing.cutters import frame_shapes
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.order import random_seed
from seqframe.framing.windows import check_integer
from seqframe.model.checks import check_embedding, check_one_output, check_shapes, check_weights
from seqframe.model.state import model_batch_size, require_stateful, reset_states, stateful_layers
from seqframe.training.arrays import check_real
from seqframe.training.feed import Feed, feed_arrays, feed_frames
from seqframe.training.schedule import Schedule, resets_every
from seqframe.training.stateful import StatefulTrainer, require_batch_size, reset_interval

_FEW = 0.98  # of the rows are frames: where more are, what the others count for hardly shows


def plan(
    model: keras.Model,
    frames: Any,
    kind: str,
    policy: StatefulTrainer | None,
    *,
    batch_size: int | None = None,
    shuffle: bool | None = False,
    seed: int | None = 0,
    class_weight: dict[int, float] | None = None,
    max_device_bytes: float = math.inf,
    redraw: bool = False,
    name: str = "frames",
) -> Schedule:
    """Check what is to be run on against the model, and lay out its steps.

    Args:
        model: keras.Model.
        frames: Frames, Lanes or arrays.
        kind: "train" | "test" | "predict".
        policy: StatefulTrainer that says when a stateful model is reset, or None.
        batch_size, shuffle, seed, class_weight, max_device_bytes, redraw: as `fit` has them.
        name: str. What to call the frames in an error.
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
    stateful = policy is not None
    if stateful and shuffle:
        raise ValueError(
            "A stateful model takes its batches in order, because each continues the one before. "
            "Received: shuffle=True. Leave `shuffle` out, or make the model stateless."
        )
    lanes = frames if isinstance(frames, Lanes) else None
    if lanes is not None:
        if batch_size not in (None, lanes.batch_size):
            raise ValueError(
                "Lanes have a batch size of their own, the number of lanes: "
                f"{lanes.batch_size}. Received: batch_size={batch_size}. Leave `batch_size` out, "
                f"or pass `frames.lanes({batch_size})`."
            )
        batch_size = lanes.batch_size
    framed = lanes.frames if lanes is not None else frames
    feed = _checked_feed(model, framed, kind, class_weight, max_device_bytes, redraw, name)
    if not model.built:
        _build(model, feed, batch_size)
    own = model_batch_size(model)
    size = batch_size or own or min(32, feed.size)
    require_batch_size(size, own)
    nbytes = _output_bytes(model, feed) if kind == "predict" else 0
    if not stateful:
        return Schedule(
            feed,
            min(size, feed.size),
            shuffle=lanes is None and shuffle is not False,
            seed=random_seed() if seed is None else seed,
            lanes=lanes,
            nbytes=nbytes,
        )
    # Validation is on a fresh state, whatever the policy in training.
    training = kind == "train"
    starts = (lanes or policy.lanes) if training else lanes
    if lanes is None and isinstance(framed, Frames):
        lanes = framed.lanes(size)
    if lanes is None and feed.size % size:
        require_batch_size(feed.size % size, own)
    steps = feed.size // size if lanes is None else len(lanes)
    resets = _resets(policy.reset if training else "epoch", steps, size, lanes, starts)
    if lanes is not None and kind != "predict":
        _warn_of_metrics(model, lanes)
    return Schedule(feed, size, lanes=lanes, resets=resets, nbytes=nbytes)


def _warn_of_metrics(model: keras.Model, lanes: Lanes) -> None:
    """Warn if many of the rows that metrics count are none."""
    rows, frames = len(lanes) * lanes.batch_size, len(lanes.frames)
    if frames < _FEW * rows and has_unweighted_metrics(model):
        warnings.warn(
            f"{rows - frames} of {rows} rows of the lanes ran out of data. `metrics` count them as "
            "frames. Pass these metrics to `compile` as `weighted_metrics`, which leave them out.",
            stacklevel=4,
        )


def _checked_feed(
    model: keras.Model,
    framed: Any,
    kind: str,
    class_weight: dict[int, float] | None,
    max_device_bytes: float,
    redraw: bool,
    name: str,
) -> Feed:
    """Return frames or arrays as a feed, if their shapes are the model's."""
    if isinstance(framed, Frames):
        feed = feed_frames(framed, class_weight, max_device_bytes, redraw)
        vocabulary = framed.vocabulary if framed.targets is framed.inputs else None
        symbols = None if vocabulary is None or kind == "predict" else len(vocabulary)
        y_shape = None if kind == "predict" else framed.y_shape
        if y_shape is not None:
            check_real(framed.targets.dtype, "targets")  # predictions may be of dates
            check_one_output(
                model, "Frames have one target: pass arrays, `(X, {name: y, …})`, as of `arrays()`."
            )
        check_shapes(model, framed.x_shape, y_shape, symbols)
        weight_shape = frame_shapes(framed.framer, framed.source).weight
        if y_shape is not None and weight_shape is not None:
            check_weights(model, y_shape, weight_shape)
        if framed.vocabulary is not None:
            check_embedding(model, len(framed.vocabulary))
        return feed.inputs_alone() if kind == "predict" else feed
    if redraw:
        raise ValueError(
            "`redraw=True` is for frames. Received: arrays, which are what they are. Pass the "
            "frames themselves."
        )
    if _is_dataset(framed):
        raise TypeError(
            f"`{name}` must be `Frames`, `Lanes` or arrays. Received: a dataset, "
            f"{type(framed).__name__}. Pass the frames or lanes that it was made of; or use "
            f"`model.{'fit' if kind == 'train' else kind.replace('test', 'evaluate')}`."
        )
    x, y, weight = (framed, None, None) if kind == "predict" else _unpack(framed, name)
    feed = feed_arrays(x, y, weight, class_weight, max_device_bytes)
    x, y = tree.map_structure(np.asarray, (x, y))
    if not tree.is_nested(x) and not tree.is_nested(y):
        check_shapes(model, x.shape[1:], None if kind == "predict" else y.shape[1:])
    return feed


def _output_bytes(model: keras.Model, feed: Feed) -> int:
    """Return the bytes that a frame's predictions take."""
    arrays, index = feed.load(np.zeros((1, model_batch_size(model) or 1), np.int64), room=1)
    x, _, _ = feed.gather(*backend.to_device((arrays, index[0])))
    # Kept, because Keras finds them by tracing the model. Past `__setattr__`, which tracks dicts.
    known = vars(model).setdefault("_seqframe_output_bytes", {})
    shapes = str(tree.map_structure(lambda item: (tuple(item.shape), item.dtype), x))
    if shapes not in known:
        specs = tree.map_structure(lambda item: keras.KerasTensor(item.shape, item.dtype), x)
        outputs = tree.flatten(model.compute_output_spec(specs))
        known[shapes] = sum(math.prod(output.shape[1:]) * 4 for output in outputs)
    return known[shapes]


def _resets(
    reset: Reset, steps: int, batch_size: int, lanes: Lanes | None, starts: Lanes | None
) -> np.ndarray:
    """Return which rows of the state each step of an epoch resets first.

    Args:
        reset: as StatefulTrainer has it.
        steps: int.
        batch_size: int.
        lanes: Lanes that the steps are of, or None.
        starts: Lanes that the user gave, whose rows are reset wherever they begin a new sequence;
            lanes made for the purpose leave the beginning of an epoch to the policy.
    """
    resets = resets_every(reset_interval(reset, steps), steps, batch_size)
    if starts is not None:
        require_batch_size(starts.batch_size, batch_size)
        if len(starts) != steps:
            raise ValueError(
                "`lanes` of the StatefulTrainer must be those that are trained on: "
                f"{steps} batches of {batch_size}. Received: {starts!r}."
            )
        resets |= starts.index(np.arange(steps))[2]
    elif lanes is not None:
        resets[1:] |= lanes.index(np.arange(1, steps))[2]
    return resets


def _unpack(frames: Any, name: str) -> tuple[Any, Any, Any]:
    if not isinstance(frames, tuple) or len(frames) not in (2, 3):
        raise TypeError(
            f"`{name}` must be `Frames`, `Lanes`, or a tuple of arrays `(X, y)` or "
            f"`(X, y, sample_weight)`. Received: {type(frames).__name__}."
        )
    x, y, *weight = frames
    return x, y, weight[0] if weight else None


def _is_dataset(data: Any) -> bool:
    """Whether data come batch by batch: a dataset of Keras, tf.data, PyTorch or Grain, a generator;
    what can be an array, or a nest of such, does not."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    is_nest = isinstance(data, (tuple, list, dict, str))
    return isinstance(data, Iterable) and not is_nest and not hasattr(data, "__array__")


def is_framed(data: Any) -> bool:
    return isinstance(data, (Frames, Lanes, tuple))


def _build(model: keras.Model, feed: Any, batch_size: int | None) -> None:
    """Build a model by calling it on a batch of zeros of the right shape."""
    if stateful_layers(model) and batch_size is None:
        raise ValueError(
            "A stateful model that is not built yet needs `batch_size`. Received: "
            "batch_size=None. Pass it, or give the model an `Input(batch_shape=…)`."
        )
    arrays, index = feed.load(np.zeros((1, batch_size or 1), np.int64), room=1)
    x, _, _ = feed.gather(*backend.to_device((arrays, index[0])))
    model(x)
    if stateful_layers(model):
        reset_states(model)


def find_policy(
    model: keras.Model, callbacks: Any
) -> tuple[StatefulTrainer | None, list[keras.callbacks.Callback]]:
    """Return the StatefulTrainer that says when a stateful model is reset, and the callbacks with
    it among them; None and the callbacks if the model is stateless."""
    callbacks = tree.flatten(callbacks or [])
    for item in callbacks:
        if isinstance(item, StatefulTrainer):
            require_stateful(model)
            return item, callbacks
    if not stateful_layers(model):
        return None, callbacks
    policy = StatefulTrainer()
    return policy, [*callbacks, policy]
