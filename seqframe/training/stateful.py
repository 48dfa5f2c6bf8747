"""StatefulTrainer: the callback that resets a stateful model's state when it should."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import keras
import numpy as np

from seqframe import backend
from seqframe.aliases import Reset, States
from seqframe.backend.interrupts import PutOff
from seqframe.framing.lanes import Lanes
from seqframe.model.state import (
    assign_states,
    checked_states,
    get_states,
    model_batch_size,
    require_stateful,
    reset_states,
    stateful_layers,
)


class StatefulTrainer(keras.callbacks.Callback):
    """Resets a stateful model's state at each epoch, and keeps validation out of it.

    Use it with `model.fit`, `evaluate` and `predict`, and with `seqframe.fit`. It resets the state
    at the beginning and end of each epoch. Validation and prediction get a fresh state, and the
    training state is put back afterwards. It raises if a batch has another size than the state.
    Keras does not always do so.

    Args:
        reset: "epoch": at the beginning and end of each epoch. "batch": before each batch. "never".
            int n ≥ 1: before the batches 0, n, 2 n … of each epoch.
        lanes: Lanes that the model trains on. A row is also reset at each new sequence.
        initial_state: states to reset to, as `get_states` returns them; None for the layers' own
            initial state.

    Raises:
        ValueError: if `reset` is none of these. In `fit`, if the model has no stateful layer, or a
            batch has the wrong size.
        TypeError: if `lanes` is something else.

    Example:

    >>> import keras
    >>> from seqframe import SequenceFramer, StatefulTrainer
    >>> model = keras.Sequential([
    ...     keras.Input(batch_shape=(1, 1, 1)),
    ...     keras.layers.LSTM(4, stateful=True),
    ...     keras.layers.Dense(26, activation="softmax"),
    ... ])
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> X, y = SequenceFramer(1).frame("ABCDEFGHIJKLMNOPQRSTUVWXYZ").arrays()
    >>> history = model.fit(
    ...     X, y, batch_size=1, epochs=2, shuffle=False, verbose=0, callbacks=[StatefulTrainer()]
    ... )
    """

    def __init__(
        self,
        reset: Reset = "epoch",
        lanes: Lanes | None = None,
        initial_state: States | None = None,
    ):
        super().__init__()
        reset = int(reset) if isinstance(reset, np.integer) else reset
        is_count = isinstance(reset, int) and not isinstance(reset, bool) and reset >= 1
        if not is_count and reset not in ("epoch", "batch", "never"):
            raise ValueError(
                '`reset` must be "epoch", "batch", "never" or a number of batches ≥ 1. '
                f"Received: reset={reset!r}."
            )
        if lanes is not None and not isinstance(lanes, Lanes):
            raise TypeError(
                f"`lanes` must be `Lanes` or None. Received: {type(lanes).__name__}. Pass "
                "`frames.lanes(batch_size)`."
            )
        self.reset = reset
        self.lanes = lanes
        self.initial_state = initial_state
        self.in_program = False  # True: a program of `seqframe.fit` resets before each step
        self.paused = False  # True: between epochs in one call of such a program
        self._set_aside: list[Any] | None = None
        self._carried: dict[str, ExitStack] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        layers = require_stateful(self.model)
        if self.lanes is not None:
            require_batch_size(self.lanes.batch_size, model_batch_size(self.model))
        if self.initial_state is not None:
            checked_states(self.initial_state, layers, "initial_state")
        if not self.in_program:
            self._check_steps_per_execution()
        self._begin("train")

    def on_train_end(self, logs: Any = None) -> None:
        self._end("train")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.reset != "never" and not self.in_program:
            self._reset()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.reset != "never":
            self._reset()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.in_program:
            return
        every = reset_interval(self.reset, 0)
        if every and batch % every == 0:
            self._reset()
        elif self.lanes is not None and batch < len(self.lanes):
            rows = self.lanes.resets(batch)
            if rows.any():
                self._reset(rows)

    def on_test_begin(self, logs: Any = None) -> None:
        self._begin("test")

    def on_test_end(self, logs: Any = None) -> None:
        self._end("test")

    def on_predict_begin(self, logs: Any = None) -> None:
        self._begin("predict")

    def on_predict_end(self, logs: Any = None) -> None:
        self._end("predict")

    def _reset(self, rows: Any = None) -> None:
        if not self.paused:
            with PutOff():
                reset_states(self.model, self.initial_state, rows)

    def _check_steps_per_execution(self) -> None:
        """Raise if Keras runs several steps a call and the state is to be reset between them."""
        calls = self.model.steps_per_execution
        between = isinstance(self.reset, int) and self.reset % calls != 0
        if self.lanes is not None:
            between = between or any(
                self.lanes.resets(k).any() for k in range(len(self.lanes)) if k % calls
            )
        if calls > 1 and (between or self.reset == "batch"):
            refuse_resets_inside(calls)

    def _begin(self, kind: str) -> None:
        """Begin training, or validation or prediction with a fresh state."""
        layers = require_stateful(self.model)
        with PutOff():
            if kind != "train":
                built = all(layer.states is not None for layer in layers)
                self._set_aside = get_states(self.model) if built else None
                self._reset()
            layers = [layer for layer in layers if layer.states is not None]
            # `_end` closes it. After an exception, it closes when this callback is forgotten.
            self._carried[kind] = ExitStack()
            self._carried[kind].enter_context(backend.carried_states(self.model, layers))
            self._guard(kind)

    def _end(self, kind: str) -> None:
        with PutOff():
            self._unguard(kind)
            carried = self._carried.pop(kind, None)
            if carried is not None:
                carried.close()
            if kind == "train":
                return
            if self._set_aside is None:
                self._reset()
            else:
                assign_states(stateful_layers(self.model), self._set_aside)

    def _give_up(self, kind: str) -> None:
        """Undo the beginning of "train", "test" or "predict" after an exception.

        Keras calls no hook then. After training, the model keeps the state that it has reached.
        """
        if kind in self._carried:
            self._end(kind)

    def _guard(self, kind: str) -> None:
        """Let each step check its batch size before it changes anything.

        A callback does not see the data, but it can replace Keras's function of the model's step.
        `_unguard` puts Keras's function back. If an exception prevents this, the replacement only
        checks.
        """
        name = f"{kind}_function"
        current = getattr(self.model, name)
        if current is None:
            return  # `seqframe.fit` checks batches itself and never makes Keras's function.
        plain = getattr(current, "plain", current)
        if not hasattr(plain, "guarded"):
            # Kept with Keras's function, so that it is traced once, and again after `compile`.
            check = partial(_check_size, self.model)
            plain.guarded = backend.checked_function(self.model, kind, check)

        def guarded(*args: Any) -> Any:
            try:
                return plain.guarded(*args)
            except ValueError:
                self._give_up(kind)
                raise

        wrapper: Any = guarded
        wrapper.plain = plain
        setattr(self.model, name, wrapper)

    def _unguard(self, kind: str) -> None:
        name = f"{kind}_function"
        current = getattr(self.model, name)
        setattr(self.model, name, getattr(current, "plain", current))


def _check_size(model: keras.Model, received: int | None) -> int | None:
    """Return the batch size of the model's stateful layers; raise if a batch has another one."""
    expected = model_batch_size(model)
    if received is not None:
        require_batch_size(received, expected)
    return expected


def reset_interval(reset: Reset, steps: int) -> int:
    """Return after how many batches of an epoch a state is reset; 0: never.

    >>> reset_interval("epoch", 7), reset_interval("batch", 7), reset_interval(3, 7)
    (7, 1, 3)
    """
    return reset if isinstance(reset, int) else {"epoch": steps, "batch": 1, "never": 0}[reset]


def refuse_shuffle() -> None:
    """Raise, because the batches of a stateful model would be shuffled."""
    raise ValueError(
        "A stateful model takes its batches in order, because each continues the one before. "
        "Received: shuffle=True. Leave `shuffle` out, or make the model stateless."
    )


def refuse_resets_inside(calls: int) -> None:
    """Raise, because the state would be reset between steps that Keras runs in one call."""
    raise ValueError(
        "Keras calls no hook between the steps of one execution, so no state is reset there. "
        f"Received: a model compiled with steps_per_execution={calls}. Compile it with 1, or train "
        "with `seqframe.fit`, which resets inside its program."
    )


def check_whole(policy: StatefulTrainer) -> None:
    """Raise if a StatefulTrainer has a shard of lanes. Several processes train on whole lanes."""
    if policy.lanes is not None and policy.lanes._shard is not None:
        raise ValueError(
            "`lanes` of the StatefulTrainer must be whole lanes if several processes train one "
            "model. Received: a shard of lanes. Leave it out: `fit` resets the rows of the lanes "
            "that it gets."
        )


def require_batch_size(received: int, expected: int | None) -> None:
    """Raise if a batch has another size than the stateful layers."""
    if expected is not None and received != expected:
        samples = "" if expected == 1 else f" and a multiple of {expected} samples"
        raise ValueError(
            "Every batch of a stateful model, the last one too, must have the model's batch size, "
            f"{expected}. Received: a batch of {received}. Pass `batch_size={expected}`{samples}, "
            f"or frames instead of arrays to `seqframe.fit`, which makes lanes of {expected}."
        )
