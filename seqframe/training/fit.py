"""fit, evaluate, predict: as in Keras, but in compiled programs of up to whole epochs."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, overload

import keras

from seqframe.aliases import JitCompile, ProgramName, Verbose
from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.predictions import tabulate
from seqframe.model.inspect import check_compiled, check_model
from seqframe.training.by_keras import KerasRunner, runs_by_keras
from seqframe.training.checkpoint import find_checkpoint
from seqframe.training.epochs import Callbacks, EpochRunner, Validation, listed
from seqframe.training.nan import warn_of_nan
from seqframe.training.plan import find_policy, plan
from seqframe.training.programs import PROGRAMS


def fit(
    model: keras.Model,
    frames: Frames | Lanes | tuple[Any, ...],
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    shuffle: bool | None = None,
    seed: int | None = None,
    validation_data: Any = None,
    validation_freq: int | Sequence[int] = 1,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: Verbose = "auto",
    initial_epoch: int = 0,
    class_weight: dict[int, float] | None = None,
    steps_per_execution: int | None = None,
    program: ProgramName = "auto",
    jit_compile: JitCompile = "auto",
    max_device_bytes: float = 2**30,
    redraw: bool = False,
) -> keras.callbacks.History:
    """Train a model as `model.fit` does, in compiled programs of up to whole epochs.

    A program runs the model's own `train_step`. Losses, metrics, callbacks, progress bar and
    History are Keras's. PyTorch cannot compile such a program, so it runs a plain loop.

    Args:
        model: keras.Model, compiled.
        frames: Frames; or Lanes, for a stateful model; or arrays `(X, y)` or `(X, y,
            sample_weight)`. Instead of a dataset, pass its frames.
        batch_size: int ≥ 1. None: the stateful layers' batch size, else 32. Lanes have their own.
        epochs: int. Number of the last epoch, as in Keras.
        shuffle: bool. None: True for stateless models, False for stateful models. True is an error
            for a stateful model. It takes Frames as lanes of its batch size, and arrays in order.
            Lanes cut the sequences if there are fewer than rows. A log line says so.
        seed: int ≥ 0. Seed of the shuffle. None: a random one.
        validation_data: Frames, Lanes or arrays as for `frames`, or a dataset that
            `model.evaluate` takes. A stateful model validates on a fresh state, and gets its
            training state back.
        validation_freq: int or list of int, as in Keras. Validate after every n epochs, or after
            these epochs, counted from 1.
        callbacks: list of keras.callbacks.Callback. A StatefulTrainer says when a stateful model
            is reset. Without one, it is reset at the beginning and end of each epoch.
        verbose: "auto" | 0 | 1 | 2, as in Keras. Short epochs may share a call of the program, and
            their lines are then printed together.
        initial_epoch: int. Number of the first epoch, counted from 0.
        class_weight: dict of class to weight.
        steps_per_execution: int ≥ 1. Steps of one call of the program. None: as many as take about
            half a second, or about 0.15 seconds with a progress bar ("auto", 1). If a callback has
            hooks for batches, None takes the model's own `steps_per_execution`.
        program: "auto" | "loop" | "steps". Whether a program is a loop of many steps, or one step.
            "auto" chooses by the layers and by the clock. The log and `verbose=2` tell the choice.
        jit_compile: "auto" | bool. Whether XLA compiles it. "auto": as `model.compile` was told, or
            else what is faster. JAX always compiles. For PyTorch, True means `torch.compile`.
        max_device_bytes: number. If the raw sequences take more bytes, they stream to the device in
            blocks.
        redraw: bool. Whether to draw random subsequences anew in each epoch, as
            `frames.redraw(epoch)` does.

    Returns:
        keras.callbacks.History.

    Raises:
        ValueError: if the model is not compiled, if `frames`, `shuffle` or `batch_size` do not fit
            it, or if the backend cannot make the program. Nothing is trained then.
        TypeError: if `frames` is of another type, such as a dataset.

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
    initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
    if steps_per_execution is not None:
        check_integer("steps_per_execution", steps_per_execution, 1)
    if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
        validation_freq = [check_integer("validation_freq", each, 1) for each in validation_freq]
    else:
        validation_freq = check_integer("validation_freq", validation_freq, 1)
    if isinstance(validation_data, list):
        validation_data = tuple(validation_data)  # Keras takes lists, too
    _check_validation_data(validation_data)
    callbacks, runner = _runners(model, callbacks, program, jit_compile, verbose, max_device_bytes)
    checkpoint = find_checkpoint(callbacks)
    try:
        if checkpoint is not None:
            seed = checkpoint._open(seed)
        trainer = runner(
            frames,
            "train",
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            class_weight=class_weight,
            redraw=redraw,
        )
        if isinstance(validation_data, (Frames, Lanes, tuple)):
            own_size = isinstance(validation_data, Lanes)
            size = None if own_size else trainer.schedule.batch_size
            validation_data = runner(
                validation_data, "test", batch_size=size, name="validation_data"
            )
        if checkpoint is not None:
            is_planned = isinstance(validation_data, EpochRunner | KerasRunner)
            checkpoint._expect(trainer.schedule, validation_data.schedule if is_planned else None)
        return trainer.train(
            callbacks,
            initial_epoch,
            epochs,
            steps_per_execution,
            None if validation_data is None else Validation(validation_data, validation_freq),
            on_first_loss=partial(warn_of_nan, model, frames),
        )
    finally:
        if checkpoint is not None:
            checkpoint._close(model)


def _check_validation_data(data: Any) -> None:
    """Raise before training if data can be neither framed nor given to `model.evaluate`."""
    if data is None or isinstance(data, (Frames, Lanes, tuple, keras.utils.PyDataset)):
        return
    is_dataset = isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict, set))
    if not is_dataset or hasattr(data, "__array__"):
        raise TypeError(
            "`validation_data` must be `Frames`, `Lanes`, arrays `(X, y)` or a dataset. Received: "
            f"{type(data).__name__}. To hold out a share, cut the frames first: "
            "`train, validation = frames.split(0.8, 0.2)`."
        )


def _runners(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback] | None,
    program: ProgramName,
    jit_compile: JitCompile,
    verbose: Verbose,
    max_device_bytes: float,
) -> tuple[Callbacks, Callable[..., EpochRunner | KerasRunner]]:
    """Return all callbacks, and a function that makes the runner of some data.

    A runner uses compiled programs, or Keras's own loop. The function takes the arguments of
    `plan`.
    """
    check_choice("program", program, PROGRAMS)
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    check_choice("verbose", verbose, ("auto", 0, 1, 2))
    policy, flat = find_policy(model, callbacks)
    by_keras = runs_by_keras(model)
    limit = 0 if by_keras else max_device_bytes  # Keras's loop takes ready batches

    def runner(data: Any, kind: str, **arguments: Any) -> EpochRunner | KerasRunner:
        schedule = plan(model, data, kind, policy, max_device_bytes=limit, **arguments)
        if by_keras:
            return KerasRunner(model, schedule, policy, verbose)
        return EpochRunner(model, schedule, kind, policy, program, jit_compile, verbose)

    return flat, runner


@overload
def evaluate(
    model: keras.Model,
    frames: Frames | Lanes | tuple[Any, ...],
    *,
    batch_size: int | None = ...,
    verbose: Verbose = ...,
    callbacks: Sequence[keras.callbacks.Callback] | None = ...,
    return_dict: Literal[False] = ...,
    program: ProgramName = ...,
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
    program: ProgramName = ...,
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
    program: ProgramName = "auto",
    jit_compile: JitCompile = "auto",
    max_device_bytes: float = 2**30,
) -> float | list[float] | dict[str, float]:
    """Return a model's loss and metrics on frames, as `model.evaluate` does.

    A stateful model begins with a fresh state, and gets its own state back. It reads each sequence
    whole in one row of its batches, also if `frames` are Lanes. Rows without a sequence count for
    nothing. The loss is then the mean over all frames, and so are the metrics. Exceptions are a
    `test_step` or `compute_loss` of your own that ignores sample weights.

    Args:
        model, frames, batch_size, verbose, callbacks: as for `fit`.
        return_dict: bool. Whether to return a dict by name.
        program, jit_compile, max_device_bytes: as for `fit`.

    Returns:
        float if there is only a loss, else a list of the loss and the metrics; or a dict.

    Raises:
        ValueError, TypeError: as `fit`.

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
    callbacks, runner = _runners(model, callbacks, program, jit_compile, verbose, max_device_bytes)
    logs = runner(frames, "test", batch_size=batch_size).evaluate(callbacks)
    if return_dict:
        return logs
    values = listed(model, logs)
    return values[0] if len(values) == 1 else values


def predict(
    model: keras.Model,
    frames: Any,
    *,
    batch_size: int | None = None,
    verbose: Verbose = "auto",
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    program: ProgramName = "auto",
    jit_compile: JitCompile = "auto",
    max_device_bytes: float = 2**30,
    as_table: bool = False,
) -> Any:
    """Return a model's predictions for frames, as `model.predict` does.

    A stateful model begins with a fresh state, and gets its own state back. It reads each sequence
    whole in one row of its batches, also if `frames` are Lanes. So a sequence has the same
    predictions whatever else is predicted, with any batch size.

    Args:
        model: keras.Model.
        frames: Frames; or Lanes, for a stateful model; or an array of inputs, or a nest of arrays.
        batch_size, verbose, callbacks, program, jit_compile, max_device_bytes: as for `fit`.
        as_table: bool. Whether to return a table that names what is predicted.

    Returns:
        array `(frames, …)`, one prediction for each frame, in order. If the model has several
        outputs, a nest of arrays. With `as_table`, a DataFrame of the data's library, else a dict
        of columns that prints as a table. It has a row for each target step of each frame: the
        labels of its series, its date as the pandas index (else its raw index, "time"), its "step"
        ahead if the horizon is longer than one, and the predicted values.

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
    if as_table and not isinstance(frames, Frames | Lanes):
        raise TypeError(
            "`as_table=True` needs `Frames` or `Lanes`, which know their steps. Received: "
            f"{type(frames).__name__}. Frame the sequences, or leave `as_table` out."
        )
    callbacks, runner = _runners(model, callbacks, program, jit_compile, verbose, max_device_bytes)
    found = runner(frames, "predict", batch_size=batch_size).predict(callbacks)
    if not as_table:
        return found
    return tabulate(frames if isinstance(frames, Frames) else frames.frames, found)
