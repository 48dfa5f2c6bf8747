"""Models that Keras's own loops run, because no compiled program of ours can."""

import logging
from typing import Any

import keras

from seqframe import backend
from seqframe.frames import Frames
from seqframe.lanes import Lanes
from seqframe.schedule import Schedule
from seqframe.stateful import StatefulTrainer

logger = logging.getLogger("seqframe")


def runs_by_keras(model: keras.Model) -> bool:
    """Whether a model has to run by Keras's own loops, with a log line that says why."""
    if getattr(model, "run_eagerly", False):
        reason = "it is compiled with `run_eagerly=True`"
    elif keras.distribution.distribution() is not None:
        reason = "a `keras.distribution` is set"
    elif backend.is_distributed(model):
        reason = "it is under a distribution strategy"
    else:
        return False
    logger.warning("%r runs by Keras's own loop, step by step: %s.", model.name, reason)
    return True


def keras_data(
    frames: Any, schedule: Schedule, policy: StatefulTrainer | None
) -> tuple[dict[str, Any], StatefulTrainer | None]:
    """Return what Keras's `fit`, `evaluate` or `predict` takes for frames, by argument, and the
    trainer that resets their state.

    Args:
        frames: Frames, Lanes or arrays that `schedule` was laid out of.
        schedule: Schedule.
        policy: StatefulTrainer, or None.
    """
    if not isinstance(frames, (Frames, Lanes)):
        x, y, weight = frames if len(frames) == 3 else (*frames, None)
        shuffle = {"shuffle": schedule.shuffle}
        size = {"batch_size": schedule.batch_size}
        return {"x": x, "y": y, "sample_weight": weight, **size, **shuffle}, policy
    lanes = frames if isinstance(frames, Lanes) else schedule.lanes
    if lanes is None:
        order = {"shuffle": schedule.shuffle, "seed": schedule.seed}
        return {"x": frames.dataset(schedule.batch_size, **order), "shuffle": False}, policy
    if policy is not None and policy.lanes is None:
        policy = StatefulTrainer(policy.reset, lanes, policy.initial_state)
    return {"x": lanes.dataset(), "shuffle": False}, policy


def fit_by_keras(
    model: keras.Model,
    frames: Any,
    schedule: Schedule,
    policy: StatefulTrainer | None,
    validation_data: Any,
    callbacks: list[keras.callbacks.Callback] | None,
    **arguments: Any,
) -> keras.callbacks.History:
    """Train by Keras's own `fit`; `validation_data` and `arguments` are what that takes."""
    data, own = keras_data(frames, schedule, policy)
    callbacks = [callback for callback in callbacks or [] if callback is not policy]
    if own is not None:
        callbacks.append(own)
    return model.fit(**data, validation_data=validation_data, callbacks=callbacks, **arguments)


def evaluation_data(frames: Any, schedule: Schedule) -> dict[str, Any]:
    """Return what Keras's `evaluate` takes for frames, by argument.

    Raises:
        ValueError: if rows would have to be reset on the way, which Keras's own loop cannot.
    """
    data, _ = keras_data(frames, schedule, None)
    del data["shuffle"]
    if schedule.resets is not None and schedule.resets[1:].any():
        raise ValueError(
            "Keras's own loop cannot reset the rows of a state that begin a new sequence while it "
            "evaluates or predicts. Received: lanes of several sequences. Pass one sequence, or "
            "run the model without `run_eagerly` and distribution."
        )
    return data


def validation_pair(data: dict[str, Any]) -> Any:
    """Return what Keras's `fit` takes as `validation_data`."""
    if "y" not in data:
        return data["x"]
    weight = data["sample_weight"]
    return (data["x"], data["y"]) if weight is None else (data["x"], data["y"], weight)
