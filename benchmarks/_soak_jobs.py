"""The jobs that `soak.py` repeats: each as seqframe does it, and as Keras does."""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import seqframe as sf

LENGTH, UNITS, STEPS = 8, 8, 6
#: Does a job for the call number `k`.
Job = Callable[[int], Any]


def series(steps: int = 200) -> np.ndarray:
    """Return a wave of so many steps."""
    return np.sin(np.arange(steps) / 5).astype("float32")


def frames(steps: int = 200) -> sf.Frames:
    """Return the windows of a wave."""
    return sf.SequenceFramer(LENGTH).frame(series(steps))


def arrays(steps: int = 200) -> Any:
    """Return the windows of a wave as arrays in memory of their own."""
    return tuple(map(np.array, frames(steps).arrays()))


def network(dropout: float = 0.0) -> keras.Model:
    """Return a new compiled network."""
    model = keras.Sequential(
        [
            keras.Input((LENGTH, 1)),
            keras.layers.GRU(UNITS, dropout=dropout),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mean_squared_error")
    return model


def roll_by_predict(model: keras.Model, histories: list[np.ndarray], steps: int = STEPS) -> None:
    """Roll a network out as Keras's users do: a loop over `predict_on_batch`."""
    known = np.stack([history[-LENGTH:] for history in histories])
    for _ in range(steps):
        predicted = model.predict_on_batch(known[:, -LENGTH:, None])
        known = np.concatenate([known, predicted], axis=1)


# --- One model, again and again.


def fit() -> tuple[Job, Job]:
    """Fit one model on the same data."""
    ours, theirs, data, (x, y) = network(), network(), frames(), arrays()
    return (
        lambda k: sf.fit(ours, data, verbose=0),
        lambda k: theirs.fit(x, y, verbose=0),
    )


def evaluate() -> tuple[Job, Job]:
    """Evaluate one model on the same data."""
    ours, theirs, data, (x, y) = network(), network(), frames(), arrays()
    return (
        lambda k: sf.evaluate(ours, data, verbose=0),
        lambda k: theirs.evaluate(x, y, verbose=0),
    )


def predict() -> tuple[Job, Job]:
    """Predict the same data with one model."""
    ours, theirs, data, (x, _) = network(), network(), frames(), arrays()
    return (
        lambda k: sf.predict(ours, data, verbose=0),
        lambda k: theirs.predict(x, verbose=0),
    )


def forecast() -> tuple[Job, Job]:
    """Forecast from one history with one model."""
    ours, theirs, history = sf.Generator(network()), network(), series()
    return (
        lambda k: ours.forecast(history, STEPS),
        lambda k: roll_by_predict(theirs, [history]),
    )


def save_and_load() -> tuple[Job, Job]:
    """Save one model, and load it."""
    ours, theirs = sf.Generator(network()), network()
    path = Path(tempfile.mkdtemp(), "saved.keras")

    def save_ours(k: int) -> None:
        ours.save(path)
        sf.Generator.load(path)

    def save_theirs(k: int) -> None:
        theirs.save(path)
        keras.saving.load_model(path)

    return save_ours, save_theirs


# --- Another size each time.


def samples_to_predict() -> tuple[Job, Job]:
    """Predict another number of samples each time."""
    ours, theirs = network(), network()
    return (
        lambda k: sf.predict(ours, frames(40 + k), verbose=0),
        lambda k: theirs.predict(arrays(40 + k)[0], verbose=0),
    )


def samples_to_evaluate() -> tuple[Job, Job]:
    """Evaluate on another number of samples each time."""
    ours, theirs = network(), network()
    return (
        lambda k: sf.evaluate(ours, frames(40 + k), verbose=0),
        lambda k: theirs.evaluate(*arrays(40 + k), verbose=0),
    )


def longer_data() -> tuple[Job, Job]:
    """Fit one model on a series that is a step longer each time."""
    ours, theirs = network(), network()
    return (
        lambda k: sf.fit(ours, frames(200 + k), verbose=0),
        lambda k: theirs.fit(*arrays(200 + k), verbose=0),
    )


def histories() -> tuple[Job, Job]:
    """Forecast from another number of histories each time."""
    ours, theirs = sf.Generator(network()), network()
    return (
        lambda k: ours.forecast([series()] * (2 + k), STEPS),
        lambda k: roll_by_predict(theirs, [series()] * (2 + k)),
    )


def nightly() -> tuple[Job, Job]:
    """Each day: a backtest on a day more, and a forecast with its residuals."""
    ours, theirs = sf.Generator(network(), seed=7), network()

    def day(k: int) -> None:
        known = series(100 + k)
        residuals = sf.backtest(ours, known, STEPS).residuals
        ours.forecast(known, STEPS, num_samples=5, noise=residuals)

    def day_by_keras(k: int) -> None:
        known = series(100 + k)
        ends = range(LENGTH, len(known) - STEPS + 1)
        roll_by_predict(theirs, [known[:end] for end in ends])
        theirs.predict_on_batch(np.stack([known[end - LENGTH : end] for end in ends])[..., None])
        roll_by_predict(theirs, [known] * 5)

    return day, day_by_keras


# --- Something new each time.


def new_model() -> tuple[Job, Job]:
    """Fit a new model each time."""
    data, (x, y) = frames(), arrays()
    return (
        lambda k: sf.fit(network(), data, verbose=0),
        lambda k: network().fit(x, y, verbose=0),
    )


def new_generator() -> tuple[Job, Job]:
    """Forecast with a new Generator of one model each time."""
    ours, theirs, history = network(), network(), series()
    return (
        lambda k: sf.Generator(ours).forecast(history, STEPS),
        lambda k: roll_by_predict(theirs, [history]),
    )


def generator_of_new_model() -> tuple[Job, Job]:
    """Forecast with a new model each time."""
    history = series()
    return (
        lambda k: sf.Generator(network()).forecast(history, STEPS),
        lambda k: roll_by_predict(network(), [history]),
    )


def new_noise() -> tuple[Job, Job]:
    """Draw sample paths with a new function of noise each time."""
    ours, theirs, history = sf.Generator(network(), seed=7), network(), series()
    scales = itertools.count(1)

    def draw(k: int) -> None:
        scale = next(scales) / 1000

        def noise(prediction: Any, seed: Any) -> Any:
            return prediction + scale * keras.random.normal(prediction.shape, seed=seed)

        ours.forecast(history, STEPS, num_samples=5, noise=noise)

    return draw, lambda k: roll_by_predict(theirs, [history] * 5)


# By name: what makes the two jobs.
JOBS: dict[str, Callable[[], tuple[Job, Job]]] = {
    "fit": fit,
    "evaluate": evaluate,
    "predict": predict,
    "forecast": forecast,
    "save-and-load": save_and_load,
    "samples-to-predict": samples_to_predict,
    "samples-to-evaluate": samples_to_evaluate,
    "longer-data": longer_data,
    "histories": histories,
    "nightly": nightly,
    "new-model": new_model,
    "new-generator": new_generator,
    "generator-of-new-model": generator_of_new_model,
    "new-noise": new_noise,
}
