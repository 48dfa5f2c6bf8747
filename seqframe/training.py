"""fit: Keras's fit with each epoch as one compiled program."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import tree

from seqframe import backend
from seqframe.backend.internals import resumed_epoch
from seqframe.checks import check_compiled, check_shapes
from seqframe.epochs import EpochRunner, Logs
from seqframe.feed import feed_arrays, feed_frames
from seqframe.frames import Frames
from seqframe.lanes import Lanes
from seqframe.order import random_seed
from seqframe.schedule import Schedule, resets_every
from seqframe.state import model_batch_size, require_stateful, reset_states, stateful_layers
from seqframe.stateful import StatefulTrainer, require_batch_size
from seqframe.windows import check_integer


def fit(
    model: keras.Model,
    frames: Any,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    shuffle: bool | None = None,
    seed: int | None = None,
    validation_data: Any = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    verbose: str | int = "auto",
    initial_epoch: int = 0,
    class_weight: dict[int, float] | None = None,
    steps_per_execution: int | None = None,
    max_device_bytes: float = 2**30,
) -> keras.callbacks.History:
    """Train a model as `model.fit` does, with each epoch as one compiled program.

    The arithmetic is the model's own `train_step`; losses, metrics, callbacks, progress bar and
    History are Keras's. What is gone is the time between the steps.

    Args:
        model: keras.Model, compiled.
        frames: Frames; or Lanes, for a stateful model; or arrays `(X, y)` or `(X, y,
            sample_weight)`.
        batch_size: int ≥ 1. None: the stateful layers' own, else 32.
        epochs: int. Number of the last epoch, as in Keras.
        shuffle: bool. None: yes for stateless models, no for stateful ones, where True is an error.
            A stateful model trained on Frames gets them as lanes of its batch size; arrays keep
            their order.
        seed: int ≥ 0. Of the shuffle; None draws one.
        validation_data: Frames, Lanes or arrays as for `frames`, or whatever `model.evaluate` takes
            as a dataset. A stateful model validates on a fresh state, and gets its training state
            back.
        callbacks: list of keras.callbacks.Callback. A StatefulTrainer among them says when a
            stateful model is reset; without one, at the beginning and end of each epoch.
        verbose: "auto" | 0 | 1 | 2, as in Keras.
        initial_epoch: int. Number of the first epoch, counted from 0.
        class_weight: dict of class to weight.
        steps_per_execution: int ≥ 1. Steps that one call runs. None: the whole epoch; where a
            callback needs batch hooks, the model's own `steps_per_execution`.
        max_device_bytes: number. Data that take more bytes than this, as raw sequences, stay where
            they are and stream to the device in blocks of ready batches.

    Returns:
        keras.callbacks.History.

    Raises:
        ValueError: if the model is not compiled, frames do not fit it, a stateful model is to be
            shuffled or gets another batch size than its own; nothing is trained then.

    Example:

    >>> import keras
    >>> from seqframe import SequenceFramer, fit
    >>> frames = SequenceFramer(3).frame("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    >>> model = keras.Sequential([
    ...     keras.Input((3, 1)), keras.layers.LSTM(8), keras.layers.Dense(26, activation="softmax"),
    ... ])
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> history = fit(model, frames, batch_size=1, epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """
    check_compiled(model)
    epochs = check_integer("epochs", epochs, 0)
    if steps_per_execution is not None:
        check_integer("steps_per_execution", steps_per_execution, 1)
    policy = _policy(model, callbacks)
    schedule = _schedule(
        model, frames, batch_size, shuffle, seed, policy, class_weight, max_device_bytes
    )
    validation = None
    if _is_framed(validation_data):
        validation = _schedule(
            model,
            validation_data,
            schedule.batch_size,
            False,
            0,
            policy,
            max_device_bytes=max_device_bytes,
            name="validation_data",
        )
    trainer = EpochRunner(model, schedule, "train", policy)
    tester = None if validation is None else EpochRunner(model, validation, "test", policy)
    callbacks = list(callbacks or [])
    if policy is not None and policy not in callbacks:
        callbacks.append(policy)
    hooks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=1 if verbose == "auto" else verbose,
        epochs=epochs,
        steps=trainer.calls_end,
        model=model,
    )
    model.optimizer.build(model.trainable_variables)
    model.stop_training = False
    with backend.carried_states(model, stateful_layers(model)), _in_program(policy):
        hooks.on_train_begin()
        initial_epoch = resumed_epoch(model) or initial_epoch
        logs: Logs = {}
        unwatched = verbose == 0 and validation_data is None and steps_per_execution is None
        if unwatched and trainer.can_group(hooks):
            run = trainer.run_grouped(hooks, initial_epoch, epochs)
        else:
            run = trainer.run_epochs(hooks, initial_epoch, epochs, verbose, steps_per_execution)
        for epoch, logs in run:
            if tester is not None:
                logs |= tester.evaluate(hooks)
            elif validation_data is not None:
                found = model.evaluate(
                    validation_data, callbacks=hooks, return_dict=True, verbose=0
                )
                logs |= {f"val_{name}": value for name, value in found.items()}
            hooks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        if epochs > 0:
            model.optimizer.finalize_variable_values(model.trainable_variables)
        hooks.on_train_end(logs)
    return model.history


def _schedule(
    model: keras.Model,
    frames: Any,
    batch_size: int | None,
    shuffle: bool | None,
    seed: int | None,
    policy: StatefulTrainer | None,
    class_weight: dict[int, float] | None = None,
    max_device_bytes: float = math.inf,
    name: str = "frames",
) -> Schedule:
    """Check what is to be trained on against the model, and lay out its steps."""
    if batch_size is not None:
        batch_size = check_integer("batch_size", batch_size, 1)
    if seed is not None:
        seed = check_integer("seed", seed, 0)
    stateful = policy is not None
    if stateful and shuffle:
        raise ValueError(
            "A stateful model takes its batches in order, because each continues the one before. "
            "Received: shuffle=True. Leave `shuffle` out, or make the model stateless."
        )
    lanes = frames if isinstance(frames, Lanes) else None
    framed = lanes.frames if lanes is not None else frames
    if isinstance(framed, Frames):
        feed = feed_frames(framed, class_weight, max_device_bytes)
        x_shape, y_shape = framed.x_shape, framed.y_shape
        own_targets = framed.targets is framed.inputs and framed.vocabulary is not None
        symbols = len(framed.vocabulary) if own_targets else None
    else:
        x, y, weight = _unpack(frames, name)
        feed = feed_arrays(x, y, weight, class_weight, max_device_bytes)
        x, y = tree.map_structure(np.asarray, (x, y))
        single = not tree.is_nested(x) and not tree.is_nested(y)
        x_shape, y_shape = (x.shape[1:], y.shape[1:]) if single else (None, None)
        symbols = None
    if x_shape is not None:
        check_shapes(model, x_shape, y_shape, symbols)
    if not model.built:
        _build(model, feed, lanes.batch_size if lanes is not None else batch_size)
    own = model_batch_size(model)
    if lanes is not None:
        batch_size = lanes.batch_size
    size = batch_size or own or min(32, feed.size)
    require_batch_size(size, own)
    if not stateful:
        return Schedule(
            feed,
            min(size, feed.size),
            shuffle=lanes is None and shuffle is not False,
            seed=random_seed() if seed is None else seed,
            lanes=lanes,
        )
    training = name == "frames"
    starts = (lanes or policy.lanes) if training else lanes
    if lanes is None and isinstance(framed, Frames):
        lanes = framed.lanes(size)
    if lanes is None and feed.size % size:
        require_batch_size(feed.size % size, own)
    steps = feed.size // size if lanes is None else len(lanes)
    # Validation is on a fresh state, whatever the policy in training.
    reset = policy.reset if training else "epoch"
    resets = _resets(reset, steps, size, lanes, starts)
    return Schedule(feed, size, lanes=lanes, resets=resets)


def _resets(
    reset: str | int, steps: int, batch_size: int, lanes: Lanes | None, starts: Lanes | None
) -> np.ndarray:
    """Return which rows of the state each step of an epoch resets first.

    Args:
        reset: str or int, as StatefulTrainer has it.
        steps: int.
        batch_size: int.
        lanes: Lanes that the steps are of, or None.
        starts: Lanes that the user gave, whose rows are reset wherever they begin a new sequence;
            lanes made for the purpose leave the beginning of an epoch to the policy.
    """
    every = {"epoch": steps, "batch": 1, "never": 0}.get(reset, reset)
    resets = resets_every(every, steps, batch_size)
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


@contextmanager
def _in_program(policy: StatefulTrainer | None) -> Iterator[None]:
    """Tell a StatefulTrainer that the program does its resetting before each step."""
    if policy is None:
        yield
        return
    policy.in_program = True
    try:
        yield
    finally:
        policy.in_program = False


def _unpack(frames: Any, name: str) -> tuple[Any, Any, Any]:
    if not isinstance(frames, tuple) or len(frames) not in (2, 3):
        raise TypeError(
            f"`{name}` must be `Frames`, `Lanes`, or a tuple of arrays `(X, y)` or "
            f"`(X, y, sample_weight)`. Received: {type(frames).__name__}."
        )
    x, y, *weight = frames
    return x, y, weight[0] if weight else None


def _is_framed(data: Any) -> bool:
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


def _policy(model: keras.Model, callbacks: Any) -> StatefulTrainer | None:
    """Return the StatefulTrainer that says when a stateful model is reset; None if it is
    stateless."""
    given = [item for item in callbacks or [] if isinstance(item, StatefulTrainer)]
    if given:
        require_stateful(model)
        return given[0]
    return StatefulTrainer() if stateful_layers(model) else None
