"""Runners: which loop runs some data, a compiled program or Keras's own."""

import logging
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import keras

from seqframe import backend
from seqframe.aliases import JitCompile, ProgramName, Shuffle, Verbose
from seqframe.framing.checks import check_choice, check_integer
from seqframe.training.by_keras import KerasRunner
from seqframe.training.checkpoint import facts_of
from seqframe.training.data import Data, is_dataset
from seqframe.training.epochs import Callbacks, EpochRunner
from seqframe.training.plan import find_policy, plan
from seqframe.training.processes import check_same, check_shards
from seqframe.training.programs import PROGRAMS
from seqframe.training.stateful import StatefulTrainer, refuse_shuffle
from seqframe.training.targets import check_loss

logger = logging.getLogger("seqframe")

Runner = EpochRunner | KerasRunner
_USES = {"train": "training", "test": "validation", "predict": "prediction"}


def make_runners(
    model: keras.Model,
    data: Data,
    callbacks: Sequence[keras.callbacks.Callback] | None,
    program: ProgramName,
    jit_compile: JitCompile,
    verbose: Verbose,
    max_device_bytes: float,
) -> tuple[Callbacks, Callable[..., Runner]]:
    """Return all callbacks, and a function that makes the runner of some data.

    A runner uses compiled programs, or Keras's own loop. The function takes data, what they are
    for, a batch size, a number of steps, and the arguments of `plan`.
    """
    check_choice("program", program, PROGRAMS)
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    check_choice("verbose", verbose, ("auto", 0, 1, 2))
    if not isinstance(max_device_bytes, Real) or not max_device_bytes >= 0:
        raise ValueError(
            "`max_device_bytes` must be a number ≥ 0. Received: "
            f"max_device_bytes={max_device_bytes!r}."
        )
    if is_dataset(data) and program != "auto":
        raise ValueError(
            f"`program` is for frames and arrays. Received: program={program!r} with a "
            f"{type(data).__name__}, which Keras's own loop reads. Leave `program` out."
        )
    policy, flat = find_policy(model, callbacks)
    reason = why_by_keras(model, data)
    if reason is not None:
        level = logging.INFO if is_dataset(data) else logging.WARNING
        logger.log(level, "%r runs by Keras's own loop, step by step: %s.", model.name, reason)
    limit = max_device_bytes if reason is None else 0  # Keras's loop takes ready batches

    def runner(
        data: Data,
        kind: str,
        batch_size: int | None,
        steps: int | None = None,
        **given: Any,
    ) -> Runner:
        check_integers(batch_size=batch_size, steps=steps)
        backend.check_processes(model, kind, policy is not None, why_by_keras(model, data))
        if is_dataset(data):
            given = _dataset_arguments(model, data, kind, policy, batch_size, **given)
            return KerasRunner(model, data, kind, policy, verbose, steps, **given)
        if reason is not None and backend.spans_processes():
            raise ValueError(
                "Keras's own loop reads frames and arrays in one process only. Received: several "
                f"processes, and {reason}. Compile the model without `run_eagerly=True` and "
                "`jit_compile=False`, or pass a `tf.data.Dataset` to `model.fit`."
            )
        given |= {"batch_size": batch_size, "steps": steps, "max_device_bytes": limit}
        data, shard = check_shards(data)
        with backend.scope(model):
            schedule = plan(model, data, kind, policy, shard=shard, **given)
        check_same(lambda: facts_of(schedule, _USES[kind]))
        if reason is not None:
            return KerasRunner(model, schedule, kind, policy, verbose)
        return EpochRunner(model, schedule, kind, policy, program, jit_compile, verbose)

    return flat, runner


def _dataset_arguments(
    model: keras.Model,
    dataset: Any,
    kind: str,
    policy: StatefulTrainer | None,
    batch_size: int | None,
    seed: int | None = None,
    shuffle: Shuffle | None = None,
    redraw: bool = False,
    class_weight: dict[int, float] | None = None,
) -> dict[str, Any]:
    """Return the arguments of Keras's `fit` for a dataset, or raise if one is for other data."""
    by_blocks = shuffle if isinstance(shuffle, str) else None
    others = ("seed", seed), ("redraw", redraw or None), ("shuffle", by_blocks)
    for name, value in ("batch_size", batch_size), *others:
        if value is not None:
            raise ValueError(
                f"`{name}` is for frames and arrays. Received: {name}={value} with a "
                f"{type(dataset).__name__}, which makes its own batches. Leave `{name}` out."
            )
    if kind != "predict":
        check_loss(model, stacklevel=5)
    if policy is not None and shuffle:
        refuse_shuffle()
    if shuffle is None:  # Keras shuffles the batches of a PyDataset, and no other dataset
        shuffle = policy is None and isinstance(dataset, keras.utils.PyDataset)
    return {"shuffle": shuffle, "class_weight": class_weight} if kind == "train" else {}


def why_by_keras(model: keras.Model, data: Data) -> str | None:
    """Return why only Keras's own loops can run a model on some data; None if programs can."""
    if is_dataset(data):
        return f"the data are a {type(data).__name__}"
    if getattr(model, "run_eagerly", False):
        return "it is compiled with `run_eagerly=True`"
    if not backend.compiles(model):
        return "it is compiled with `jit_compile=False`, which under JAX means: not at all"
    if keras.distribution.distribution() is not None and not backend.COMPILES_MESHES:
        return "a `keras.distribution` is set"
    if backend.needs_keras_loop(model):
        return "it is under a distribution strategy"
    return None


def check_integers(**arguments: Any) -> None:
    """Raise if an argument is neither None nor an integer ≥ 1."""
    for name, value in arguments.items():
        if value is not None:
            check_integer(name, value, 1)
