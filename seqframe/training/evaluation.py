"""evaluate and predict: Keras's, each as one compiled program that leaves a model's state alone."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import keras

from seqframe import backend
from seqframe.aliases import JitCompile, Verbose
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.windows import check_choice
from seqframe.model.checks import check_compiled, check_model
from seqframe.model.state import stateful_layers
from seqframe.training.epochs import EpochRunner, Logs
from seqframe.training.fallback import evaluation_dataset, predict_by_keras, runs_by_keras
from seqframe.training.plan import find_policy, plan


@overload
def evaluate(
    model: keras.Model,
    frames: Frames | Lanes | tuple[Any, ...],
    *,
    batch_size: int | None = ...,
    verbose: Verbose = ...,
    callbacks: Sequence[keras.callbacks.Callback] | None = ...,
    return_dict: Literal[False] = ...,
    jit_compile: JitCompile = ...,
    max_device_bytes: float = ...,
) -> float | list[float]: ...


@overload
def evaluate(
    model: keras.Model,
    frames: Frames | Lanes | tuple[Any, ...],
    *,
    batch_size: int | None = ...,
    verbose: Verbose = ...,
    callbacks: Sequence[keras.callbacks.Callback] | None = ...,
    return_dict: Literal[True],
    jit_compile: JitCompile = ...,
    max_device_bytes: float = ...,
) -> dict[str, float]: ...


def evaluate(
    model: keras.Model,
    frames: Frames | Lanes | tuple[Any, ...],
    *,
    batch_size: int | None = None,
    verbose: Verbose = "auto",
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    return_dict: bool = False,
    jit_compile: JitCompile = "auto",
    max_device_bytes: float = 2**30,
) -> Any:
    """Return a model's loss and metrics on frames, as `model.evaluate` does.

    A stateful model begins with a fresh state, sees the frames in lanes, and gets its own state
    back. Where rows of the lanes ran out of data, its loss is divided by these as well, as Keras
    does, and `metrics` count them: `weighted_metrics` are means over frames alone.

    Args:
        model: keras.Model, compiled.
        frames: Frames; or Lanes, for a stateful model; or arrays `(X, y)` or `(X, y,
            sample_weight)`. Not a dataset: pass the frames that it was made of.
        batch_size: int ≥ 1. None: the stateful layers' own, else 32. Lanes have their own.
        verbose: "auto" | 0 | 1 | 2, as in Keras.
        callbacks: list of keras.callbacks.Callback.
        return_dict: bool. Return a dict by name.
        jit_compile, max_device_bytes: as `fit` has them.

    Returns:
        float where there is a loss alone, else a list of the loss and the metrics; or a dict.

    Raises:
        ValueError: as `fit`.
        TypeError: as `fit`.

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
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    policy, callbacks = find_policy(model, callbacks)
    by_keras = runs_by_keras(model)
    limits: dict[str, Any] = {
        "batch_size": batch_size,
        "max_device_bytes": 0 if by_keras else max_device_bytes,
    }
    schedule = plan(model, frames, "test", policy, **limits)
    if by_keras:
        given = {"verbose": verbose, "callbacks": callbacks, "return_dict": return_dict}
        return model.evaluate(evaluation_dataset(model, schedule), **given)
    runner = EpochRunner(model, schedule, "test", policy, jit_compile, verbose)
    logs = _run(runner, runner.evaluate, callbacks)
    if return_dict:
        return logs
    values = _listed(model, logs)
    return values[0] if len(values) == 1 else values


def predict(
    model: keras.Model,
    frames: Any,
    *,
    batch_size: int | None = None,
    verbose: Verbose = "auto",
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    jit_compile: JitCompile = "auto",
    max_device_bytes: float = 2**30,
) -> Any:
    """Return a model's predictions for frames, as `model.predict` does.

    A stateful model begins with a fresh state, sees the frames in lanes, and gets its own state
    back.

    Args:
        model: keras.Model.
        frames: Frames; or Lanes, for a stateful model; or an array of inputs, or a nest of such.
        batch_size: int ≥ 1. None: the stateful layers' own, else 32. Lanes have their own.
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
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    policy, callbacks = find_policy(model, callbacks)
    by_keras = runs_by_keras(model)
    limits: dict[str, Any] = {
        "batch_size": batch_size,
        "max_device_bytes": 0 if by_keras else max_device_bytes,
    }
    schedule = plan(model, frames, "predict", policy, **limits)
    if by_keras:
        return predict_by_keras(model, schedule, verbose=verbose, callbacks=callbacks)
    runner = EpochRunner(model, schedule, "predict", policy, jit_compile, verbose)
    return _run(runner, runner.predict, callbacks)


def _run(
    runner: EpochRunner,
    go: Callable[[keras.callbacks.CallbackList], Any],
    callbacks: list[keras.callbacks.Callback],
) -> Any:
    """Run one pass with Keras's hooks around it."""
    hooks = keras.callbacks.CallbackList(
        callbacks,
        add_progbar=runner.verbose != 0,
        verbose=1 if runner.verbose == "auto" else runner.verbose,
        epochs=1,
        steps=runner.calls_end,
        model=runner.model,
    )
    with backend.carried_states(runner.model, stateful_layers(runner.model)):
        return go(hooks)


def _listed(model: keras.Model, logs: Logs) -> list[Any]:
    """Return the values of logs as Keras lists them: metrics as the model has them, then others by
    name."""
    names: list[str] = []
    for metric in model.metrics:
        compiled = metric.name == "compile_metrics"
        names += [each.name for each in metric.metrics] if compiled else [metric.name]
    names = [name for name in names if name in logs]
    return [logs[name] for name in (*names, *sorted(logs.keys() - set(names)))]
