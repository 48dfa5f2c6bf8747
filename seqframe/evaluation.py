"""evaluate and predict: Keras's, each as one compiled program that leaves a model's state alone."""

from collections.abc import Callable
from typing import Any

import keras

from seqframe import backend
from seqframe.checks import check_compiled, check_model
from seqframe.epochs import EpochRunner
from seqframe.fallback import evaluation_data, runs_by_keras
from seqframe.frames import Frames
from seqframe.lanes import Lanes
from seqframe.plan import find_policy, plan
from seqframe.schedule import in_place
from seqframe.state import stateful_layers
from seqframe.stateful import StatefulTrainer


def evaluate(
    model: keras.Model,
    frames: Any,
    *,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    callbacks: list[keras.callbacks.Callback] | None = None,
    return_dict: bool = False,
    jit_compile: bool | str = "auto",
    max_device_bytes: float = 2**30,
) -> Any:
    """Return a model's loss and metrics on frames, as `model.evaluate` does.

    A stateful model begins with a fresh state, sees the frames in lanes, and gets its own state
    back.

    Args:
        model: keras.Model, compiled.
        frames: Frames; or Lanes, for a stateful model; or arrays `(X, y)` or `(X, y,
            sample_weight)`.
        batch_size: int ≥ 1. None: the stateful layers' own, else 32.
        verbose: "auto" | 0 | 1 | 2, as in Keras.
        callbacks: list of keras.callbacks.Callback.
        return_dict: bool. Return a dict by name.
        jit_compile, max_device_bytes: as `fit` has them.

    Returns:
        float where there is a loss alone, else a list of the loss and the metrics; or a dict.

    Raises:
        ValueError: as `fit`.

    Example:

    >>> import keras
    >>> from seqframe import SequenceFramer, evaluate
    >>> frames = SequenceFramer(2).frame([1.0, 2.0, 3.0, 4.0])
    >>> layers = [keras.Input((2, 1)), keras.layers.Flatten()]
    >>> zero = keras.Sequential([*layers, keras.layers.Dense(1, kernel_initializer="zeros")])
    >>> zero.compile(loss="mae")
    >>> evaluate(zero, frames, verbose=0)
    3.5
    """
    check_compiled(model)
    policy = find_policy(model, callbacks)
    limits = {"batch_size": batch_size, "max_device_bytes": max_device_bytes}
    schedule = plan(model, frames, "test", policy, **limits)
    if runs_by_keras(model):
        data = evaluation_data(frames, schedule)
        given = {"verbose": verbose, "return_dict": return_dict}
        return model.evaluate(**data, callbacks=_with_policy(callbacks, policy), **given)
    runner = EpochRunner(model, schedule, "test", policy, jit_compile, verbose)
    logs = _run(runner, runner.evaluate, callbacks)
    if return_dict:
        return logs
    # JAX sorts what it returns; Keras lists metrics as the model does.
    names = [name for name in model.get_metrics_result() if name in logs]
    values = [logs[name] for name in names]
    return values[0] if len(values) == 1 else values


def predict(
    model: keras.Model,
    frames: Any,
    *,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    callbacks: list[keras.callbacks.Callback] | None = None,
    jit_compile: bool | str = "auto",
    max_device_bytes: float = 2**30,
) -> Any:
    """Return a model's predictions for frames, as `model.predict` does.

    A stateful model begins with a fresh state, sees the frames in lanes, and gets its own state
    back.

    Args:
        model: keras.Model.
        frames: Frames; or Lanes, for a stateful model; or an array of inputs, or a nest of such.
        batch_size: int ≥ 1. None: the stateful layers' own, else 32.
        verbose: "auto" | 0 | 1 | 2, as in Keras.
        callbacks: list of keras.callbacks.Callback.
        jit_compile, max_device_bytes: as `fit` has them.

    Returns:
        array `(frames, …)`, one prediction for each frame, in the order of the frames; a nest of
        arrays where the model has several outputs.

    Raises:
        ValueError: if frames do not fit the model.

    Example:

    >>> import keras
    >>> from seqframe import SequenceFramer, predict
    >>> frames = SequenceFramer(2).frame([1.0, 2.0, 3.0, 4.0])
    >>> last = keras.Sequential([keras.Input((2, 1)), keras.layers.Lambda(lambda x: x[:, -1])])
    >>> predict(last, frames, verbose=0).ravel()
    array([2., 3.], dtype=float32)
    """
    check_model(model)
    policy = find_policy(model, callbacks)
    limits = {"batch_size": batch_size, "max_device_bytes": max_device_bytes}
    schedule = plan(model, frames, "predict", policy, **limits)
    if runs_by_keras(model):
        framed = isinstance(frames, (Frames, Lanes))
        data = evaluation_data(frames if framed else (frames, None), schedule)
        given = {"batch_size": data.get("batch_size"), "verbose": verbose}
        predictions = model.predict(data["x"], callbacks=_with_policy(callbacks, policy), **given)
        place = schedule.places(0, schedule.steps) if schedule.lanes is not None else None
        return keras.tree.map_structure(
            lambda rows: rows if place is None else in_place(rows, place), predictions
        )
    runner = EpochRunner(model, schedule, "predict", policy, jit_compile, verbose)
    return _run(runner, runner.predict, callbacks)


def _run(
    runner: EpochRunner,
    go: Callable[[keras.callbacks.CallbackList], Any],
    callbacks: list[keras.callbacks.Callback] | None,
) -> Any:
    """Run one pass with Keras's hooks around it."""
    hooks = keras.callbacks.CallbackList(
        _with_policy(callbacks, runner.policy),
        add_progbar=runner.verbose != 0,
        verbose=1 if runner.verbose == "auto" else runner.verbose,
        epochs=1,
        steps=runner.calls_end,
        model=runner.model,
    )
    with backend.carried_states(runner.model, stateful_layers(runner.model)):
        return go(hooks)


def _with_policy(
    callbacks: list[keras.callbacks.Callback] | None, policy: StatefulTrainer | None
) -> list[keras.callbacks.Callback]:
    callbacks = list(callbacks or [])
    return callbacks if policy is None or policy in callbacks else [*callbacks, policy]
