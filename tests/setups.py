"""Trainings whose result must not depend on where they were stopped. `kill.py` uses them, too."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from seqframe import SequenceFramer, StatefulTrainer, fit
from seqframe.model.state import state_variables, stateful_layers

WAVE = np.sin(np.arange(90) / 5).astype("float32")[:, None]
EPOCHS = 4


class Counting(keras.callbacks.Callback):
    """A user's callback with counters of its own, and hooks that do not commute."""

    def __init__(self):
        super().__init__()
        self.seen, self.begun = 0, []

    def get_state(self):
        return {"seen": self.seen, "begun": self.begun}

    def set_state(self, state):
        self.seen, self.begun = state["seen"], state["begun"]

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)
        # An epoch that is resumed may not do this twice.
        self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.9

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        logs["seen"] = float(self.seen + len(self.begun))


def built(parts, inputs=(3, 1), batch_size=None, optimizer=None, **kwargs):
    """Return a compiled model whose first weights and draws are the same every time."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(inputs, batch_size=batch_size), *parts()])
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", **kwargs)
    return model


def stateless():
    """Shuffled frames, dropout, validation, an average of the weights, counting callbacks."""
    train, validation = SequenceFramer(3).frame(WAVE).split(0.8, 0.2)
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=7)
    model = built(
        lambda: [layers.GRU(3), layers.Dropout(0.2), layers.Dense(1)],
        optimizer=optimizer,
        metrics=["mae"],
    )
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", patience=1),
        Counting(),
    ]
    # 72 frames: eleven batches of an epoch, the last one smaller.
    return model, train, callbacks, {"batch_size": 7, "seed": 5, "validation_data": validation}


def stopped_early():
    """Validation that never improves, so that early stopping ends the run."""
    train, validation = SequenceFramer(3).frame(WAVE).split(0.8, 0.2)
    model = built(lambda: [layers.Flatten(), layers.Dense(1)], optimizer="sgd")
    stop = keras.callbacks.EarlyStopping(
        "val_loss", mode="max", patience=2, min_delta=0.5, restore_best_weights=True
    )
    return model, train, [stop], {"batch_size": 16, "seed": 5, "validation_data": validation}


def redrawn():
    """Subsequences that are drawn anew in each epoch, and stream."""
    framer = SequenceFramer(5, mode="subsequences", num_samples=40, seed=7)
    model = built(lambda: [layers.LSTM(2), layers.Dense(1)], inputs=(5, 1))
    return model, framer.frame(WAVE), [], {"batch_size": 8, "seed": 1, "redraw": True}


def stateful():
    """One sequence, whose state is reset every five batches only, and in no epoch."""
    frames = SequenceFramer(3, sequence_stride=3).frame(WAVE)
    model = built(lambda: [layers.LSTM(2, stateful=True), layers.Dense(1)], batch_size=2)
    return model, frames, [StatefulTrainer(reset="never")], {}


def lanes():
    """Several sequences in lanes, with resets inside an epoch, and validation on a fresh state."""
    framer = SequenceFramer(3, sequence_stride=3)
    frames = framer.frame([WAVE[:50], WAVE[10:40], WAVE[5:27], WAVE[60:]])
    model = built(lambda: [layers.GRU(3, stateful=True), layers.Dense(1)], batch_size=2)
    stop = keras.callbacks.EarlyStopping(patience=3)
    return model, frames, [stop], {"validation_data": framer.frame(WAVE[30:60])}


SETUPS: dict[str, Callable] = {
    setup.__name__: setup for setup in (stateless, redrawn, lanes, stateful, stopped_early)
}


def train(name, *callbacks, **more):
    """Train one of the setups with more callbacks, and return its History and all its numbers."""
    model, frames, own, arguments = SETUPS[name]()
    given = {"epochs": EPOCHS, "verbose": 0, **arguments, **more}
    history = fit(model, frames, callbacks=[*callbacks, *own], **given)
    return history.epoch, history.history, numbers_of(model)


def numbers_of(model):
    """Return all numbers that a training leaves in a model and its optimizer."""
    states = state_variables(stateful_layers(model))
    variables = [*model.variables, *model.optimizer.variables, *states]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def same(one, other):
    """Whether two results of `train` are equal, bit for bit."""
    flat, others = keras.tree.flatten(one), keras.tree.flatten(other)
    return len(flat) == len(others) and all(map(_same, flat, others))


def _same(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )
