"""fit: Keras's fit in a compiled program, up to whole epochs a call."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from numbers import Real
from typing import Any

import keras

from seqframe import backend
from seqframe.aliases import JitCompile, Verbose
from seqframe.backend.internals import resumed_epoch
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.windows import check_choice, check_integer
from seqframe.model.checks import check_compiled
from seqframe.model.state import stateful_layers
from seqframe.training.epochs import EpochRunner, Logs
from seqframe.training.fallback import fit_by_keras, runs_by_keras
from seqframe.training.nan import warn_of_nan
from seqframe.training.plan import find_policy, is_framed, plan
from seqframe.training.stateful import StatefulTrainer


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
    jit_compile: JitCompile = "auto",
    max_device_bytes: float = 2**30,
    redraw: bool = False,
) -> keras.callbacks.History:
    """Train a model as `model.fit` does, in a compiled program, up to whole epochs a call.

    Under PyTorch, which cannot compile a loop, it is a plain one.

    The arithmetic is the model's own `train_step`; losses, metrics, callbacks, progress bar and
    History are Keras's. What is gone is the time between the steps.

    Args:
        model: keras.Model, compiled.
        frames: Frames; or Lanes, for a stateful model; or arrays `(X, y)` or `(X, y,
            sample_weight)`. Not a dataset: pass the frames that it was made of.
        batch_size: int ≥ 1. None: the stateful layers' own, else 32. Lanes have their own.
        epochs: int. Number of the last epoch, as in Keras.
        shuffle: bool. None: yes for stateless models, no for stateful ones, where True is an error.
            A stateful model trained on Frames gets them as lanes of its batch size; arrays keep
            their order.
        seed: int ≥ 0. Of the shuffle; None draws one.
        validation_data: Frames, Lanes or arrays as for `frames`, or whatever `model.evaluate` takes
            as a dataset. A stateful model validates on a fresh state, and gets its training state
            back.
        validation_freq: int or list of int, as in Keras: validate every so many epochs, or after
            these, counted from 1.
        callbacks: list of keras.callbacks.Callback. A StatefulTrainer among them says when a
            stateful model is reset; without one, at the beginning and end of each epoch.
        verbose: "auto" | 0 | 1 | 2, as in Keras. A progress bar ("auto", 1) cuts an epoch into up
            to 20 calls of the program; at 0, where nothing looks at the epochs, short ones run
            together.
        initial_epoch: int. Number of the first epoch, counted from 0.
        class_weight: dict of class to weight.
        steps_per_execution: int ≥ 1. Steps that one call runs. None: the whole epoch; a twentieth
            of it where a progress bar is shown; the model's own `steps_per_execution` where a
            callback has hooks for batches.
        jit_compile: "auto": with XLA where it works, else without, with a log line that says why.
            True: with XLA (PyTorch: `torch.compile`) or not at all. False: without (JAX always
            compiles).
        max_device_bytes: number. Data that take more bytes than this, as raw sequences, stay where
            they are and stream to the device in blocks of ready batches.
        redraw: bool. Random subsequences: draw them anew in each epoch, as `frames.redraw(epoch)`
            has them.

    Returns:
        keras.callbacks.History.

    Raises:
        ValueError: if the model is not compiled, frames do not fit it, a stateful model is to be
            shuffled or gets another batch size than its own; nothing is trained then.
        TypeError: if `frames` is something else, such as a dataset.

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
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    if isinstance(validation_data, (Real, str)):
        raise TypeError(
            "`validation_data` must be `Frames`, `Lanes`, arrays `(X, y)` or a dataset. Received: "
            f"validation_data={validation_data!r}. To hold out a share, cut the frames first: "
            "`train, validation = frames.split(0.8, 0.2)`."
        )
    if isinstance(validation_data, list):
        validation_data = tuple(validation_data)  # as Keras takes it
    policy, callbacks = find_policy(model, callbacks)
    by_keras = runs_by_keras(model)
    if by_keras:
        max_device_bytes = 0  # Keras's loop takes ready batches
    schedule = plan(
        model,
        frames,
        "train",
        policy,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        class_weight=class_weight,
        max_device_bytes=max_device_bytes,
        redraw=redraw,
    )
    validation = None
    if is_framed(validation_data):
        validation = plan(
            model,
            validation_data,
            "test",
            policy,
            batch_size=None if isinstance(validation_data, Lanes) else schedule.batch_size,
            max_device_bytes=max_device_bytes,
            name="validation_data",
        )
    if by_keras:
        history = fit_by_keras(
            model,
            schedule,
            policy,
            callbacks,
            validation_data=validation_data if validation is None else validation,
            validation_freq=validation_freq,
            epochs=epochs,
            initial_epoch=initial_epoch,
            verbose=verbose,
        )
        warn_of_nan(frames, next(iter(history.history.get("loss", ())), None))
        return history
    trainer = EpochRunner(model, schedule, "train", policy, jit_compile, verbose)
    tester = None
    if validation is not None:
        tester = EpochRunner(model, validation, "test", policy, jit_compile, verbose)
    hooks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=1 if verbose == "auto" else verbose,
        epochs=epochs,
        steps=trainer.calls_end,
        model=model,
    )
    if not model.optimizer.built:  # not every optimizer asks that itself
        model.optimizer.build(model.trainable_variables)
    model.stop_training = False
    with backend.carried_states(model, stateful_layers(model)), _in_program(policy):
        hooks.on_train_begin()
        initial_epoch = resumed_epoch(model) or initial_epoch
        logs: Logs = {}
        unwatched = verbose == 0 and validation_data is None and steps_per_execution is None
        if unwatched and trainer.can_group(hooks):
            run = trainer.run_grouped(hooks, initial_epoch, epochs)
            # Keras's list looks for values to convert, which takes longer than a small epoch.
            ended = hooks.callbacks
        else:
            run = trainer.run_epochs(hooks, initial_epoch, epochs, steps_per_execution)
            ended = [hooks]
        with closing(run):
            for epoch, logs in run:
                if epoch == initial_epoch:
                    warn_of_nan(frames, logs.get("loss"))
                if _is_due(validation_freq, epoch):
                    logs |= _validate(model, tester, validation_data, hooks)
                for callback in ended:
                    callback.on_epoch_end(epoch, logs)
                if model.stop_training:
                    break
        if epochs > 0:
            model.optimizer.finalize_variable_values(model.trainable_variables)
        hooks.on_train_end(logs)
    return model.history


def _is_due(validation_freq: int | Sequence[int], epoch: int) -> bool:
    """Whether to validate after an epoch; Keras counts these from 1."""
    if isinstance(validation_freq, int):
        return (epoch + 1) % validation_freq == 0
    return epoch + 1 in validation_freq


def _validate(
    model: keras.Model, tester: EpochRunner | None, data: Any, hooks: keras.callbacks.CallbackList
) -> Logs:
    """Return the logs of validation, named `val_…`; none where there is nothing to validate on."""
    if tester is not None:
        found = tester.evaluate(hooks)
    elif data is not None:
        with backend.values_kept(model):
            found = model.evaluate(data, callbacks=hooks, return_dict=True, verbose=0)
    else:
        found = {}
    return {f"val_{name}": value for name, value in found.items()}


@contextmanager
def _in_program(policy: StatefulTrainer | None) -> Iterator[None]:
    """Tell a StatefulTrainer that the program does its resetting before each step."""
    if policy is None:
        yield
        return
    policy.in_program = True
    try:
        yield
    except BaseException:
        policy.give_up("test")  # where a dataset's validation was under way
        policy.give_up("train")
        raise
    finally:
        policy.in_program = False
