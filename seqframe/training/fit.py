"""fit, evaluate, predict: as in Keras, but in compiled programs of up to whole epochs."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, overload

import keras

from seqframe.aliases import JitCompile, ProgramName, Shuffle, Verbose
from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.predictions import tabulate
from seqframe.model.inspect import check_compiled, check_model
from seqframe.training.checkpoint import find_checkpoint
from seqframe.training.data import hold_out, is_dataset, sort_data
from seqframe.training.epochs import Validation, listed
from seqframe.training.feed import check_class_weight
from seqframe.training.nan import warn_of_nan
from seqframe.training.runners import check_integers, make_runners


def fit(
    model: keras.Model,
    frames: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    shuffle: Shuffle | None = None,
    seed: int | None = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    validation_freq: int | Sequence[int] = 1,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: Verbose = "auto",
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    class_weight: dict[int, float] | None = None,
    sample_weight: Any = None,
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
        frames: Frames, or Lanes for a stateful model. Or an array of inputs, or a list or dict of
            arrays, as Keras's `x`. A tuple is `(X, y)` or `(X, y, sample_weight)`. Keras's own loop
            trains on a dataset: a keras.utils.PyDataset, tf.data.Dataset, DataLoader or generator.
        y: array of targets, or a list or dict of arrays; for arrays only.
        batch_size: int ≥ 1. None: the stateful layers' batch size, else 32. Lanes and datasets have
            their own.
        epochs: int. Number of the last epoch, as in Keras.
        shuffle: bool. None: True for stateless models, False for stateful models. True is an error
            for a stateful model. It takes Frames as lanes of its batch size, and arrays in order.
            Lanes cut the sequences if there are fewer than rows. A log line says so. "blocks" and
            "frames" are as for `Frames.batches`.
        seed: int ≥ 0. Seed of the shuffle. None: a random one.
        validation_data: Frames, Lanes, arrays or a dataset, as for `frames`. A stateful model
            validates on a fresh state, and gets its training state back.
        validation_split: float. Share of the last samples of arrays to validate on, as in Keras.
            For frames use `frames.split`.
        validation_freq: int or list of int, as in Keras. Validate after every n epochs, or after
            these epochs, counted from 1.
        validation_steps: int ≥ 1. Validate on so many of the first batches. None: on all.
        validation_batch_size: int ≥ 1. None: as in training.
        callbacks: list of keras.callbacks.Callback. A StatefulTrainer says when a stateful model
            is reset. Without one, it is reset at the beginning and end of each epoch.
        verbose: "auto" | 0 | 1 | 2, as in Keras. Short epochs may share a call of the program, and
            their lines are then printed together.
        initial_epoch: int. Number of the first epoch, counted from 0.
        steps_per_epoch: int ≥ 1. Batches of an epoch of a dataset, as in Keras. Frames and arrays
            give all of theirs.
        class_weight: dict of class to weight.
        sample_weight: array, or a list or dict of arrays; for arrays only. Frames have weights if
            they were given to `frame`.
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
        ValueError: if the model is not compiled. If the data, `shuffle` or `batch_size` do not fit
            it or its loss. If the backend cannot make the program. Nothing is trained then.
        TypeError: if the data are of another type.

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
    if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
        validation_freq = [check_integer("validation_freq", each, 1) for each in validation_freq]
    else:
        validation_freq = check_integer("validation_freq", validation_freq, 1)
    steps_per_execution, steps_per_epoch, validation_steps, validation_batch_size = check_integers(
        steps_per_execution=steps_per_execution,
        steps_per_epoch=steps_per_epoch,
        validation_steps=validation_steps,
        validation_batch_size=validation_batch_size,
    )
    if seed is not None:
        seed = check_integer("seed", seed, 0)
    check_choice("shuffle", shuffle, (None, True, False, "blocks", "frames"))
    check_choice("redraw", redraw, (True, False))
    check_class_weight(class_weight)
    data = sort_data(frames, y, sample_weight)
    if validation_data is not None:
        if isinstance(validation_data, list):
            validation_data = tuple(validation_data)  # as Keras takes it
        validation_data = sort_data(validation_data, name="validation_data")
    if validation_split and validation_data is None:
        data, validation_data = hold_out(data, validation_split)
    callbacks, runner = make_runners(
        model, data, callbacks, program, jit_compile, verbose, max_device_bytes
    )
    given: dict[str, Any] = {"shuffle": shuffle, "seed": seed, "redraw": redraw}
    checkpoint = find_checkpoint(callbacks)
    try:
        if checkpoint is not None:
            given["seed"] = checkpoint._open(seed, data if is_dataset(data) else None)
        trainer = runner(
            data, "train", batch_size, steps_per_epoch, class_weight=class_weight, **given
        )
        validation = None
        if validation_data is not None:
            size = validation_batch_size
            if size is None and not isinstance(validation_data, Lanes) and trainer.schedule:
                size = trainer.schedule.batch_size
            if is_dataset(validation_data):
                size = None
            validator = runner(validation_data, "test", size, validation_steps)
            validation = Validation(validator, validation_freq)
        if checkpoint is not None:
            on = None if validation is None else validation.runner.schedule
            checkpoint._expect(trainer.schedule, on)
        return trainer.train(
            callbacks,
            initial_epoch,
            epochs,
            steps_per_execution,
            validation,
            on_first_loss=partial(warn_of_nan, data),
        )
    finally:
        if checkpoint is not None:
            checkpoint._close(model)


@overload
def evaluate(
    model: keras.Model,
    frames: Any,
    y: Any = ...,
    *,
    batch_size: int | None = ...,
    verbose: Verbose = ...,
    sample_weight: Any = ...,
    steps: int | None = ...,
    callbacks: Sequence[keras.callbacks.Callback] | None = ...,
    return_dict: Literal[False] = ...,
    program: ProgramName = ...,
    jit_compile: JitCompile = ...,
    max_device_bytes: float = ...,
) -> float | list[float]: ...


@overload
def evaluate(
    model: keras.Model,
    frames: Any,
    y: Any = ...,
    *,
    batch_size: int | None = ...,
    verbose: Verbose = ...,
    sample_weight: Any = ...,
    steps: int | None = ...,
    callbacks: Sequence[keras.callbacks.Callback] | None = ...,
    return_dict: Literal[True],
    program: ProgramName = ...,
    jit_compile: JitCompile = ...,
    max_device_bytes: float = ...,
) -> dict[str, float]: ...


def evaluate(
    model: keras.Model,
    frames: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    verbose: Verbose = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
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
        model, frames, y, batch_size, verbose, sample_weight, callbacks: as for `fit`.
        steps: int ≥ 1. Take so many of the first batches. None: all.
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
    data = sort_data(frames, y, sample_weight)
    callbacks, runner = make_runners(
        model, data, callbacks, program, jit_compile, verbose, max_device_bytes
    )
    logs = runner(data, "test", batch_size, steps).evaluate(callbacks)
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
    steps: int | None = None,
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
        frames: Frames; or Lanes, for a stateful model; or an array of inputs, or a nest of arrays;
            or a dataset.
        steps: int ≥ 1. Take so many of the first batches. None: all.
        batch_size, verbose, callbacks, program, jit_compile, max_device_bytes: as for `fit`.
        as_table: bool. Whether to return a table that names what is predicted.

    Returns:
        array `(frames, …)`, one prediction for each frame, in order. If the model has several
        outputs, a nest of arrays. With `as_table`, a DataFrame of the data's library, else a dict
        of columns that prints as a table. It has a row for each target step of each frame, with the
        labels of its series and the predicted values. The pandas index has the dates. Without
        dates, a column "time" has the raw index. If the horizon is longer than one, a column "step"
        tells how many steps ahead a row is.

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
    if as_table and steps is not None:
        raise ValueError(
            f"`as_table=True` takes all frames. Received: steps={steps}. Leave out one of the two."
        )
    data = sort_data(frames, only_x=True)
    callbacks, runner = make_runners(
        model, data, callbacks, program, jit_compile, verbose, max_device_bytes
    )
    found = runner(data, "predict", batch_size, steps).predict(callbacks)
    if not as_table:
        return found
    return tabulate(frames if isinstance(frames, Frames) else frames.frames, found)
