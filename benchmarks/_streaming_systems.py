"""The systems that `streaming.py` compares: seqframe and Keras, on data that may not fit."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _measure import System, Variants

BUFFER = 10_000  # samples of a shuffle buffer
SEED = 7


@dataclass(frozen=True)
class Streaming:
    """What is trained: a network of two dense layers, on samples in shuffled order.

    Attributes:
        name: str. The name that `--only` takes.
        samples, features: int. The inputs, an array or the windows of a series.
        batch: int. Samples of a batch.
        units: int. Units of the hidden layer.
        length: int. Steps of a window, or 0 for an array of samples.
    """

    name: str
    samples: int
    features: int
    batch: int
    units: int
    length: int = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch. There is no smaller last batch."""
        return self.samples // self.batch

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return (self.length, self.features) if self.length else (self.features,)

    def frames(self) -> Any:
        """Return the data for seqframe: arrays, or the windows of a series."""
        generator, count = np.random.default_rng(SEED), self.samples
        if not self.length:
            x = generator.standard_normal((count, self.features), np.float32)
            return x, x[:, :1].copy()
        from seqframe import SequenceFramer

        series = generator.standard_normal((count + self.length, self.features), np.float32)
        return SequenceFramer(self.length).frame(series, targets=[0])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the same data as arrays in memory of their own."""
        frames = self.frames()
        return frames if isinstance(frames, tuple) else tuple(map(np.array, frames.arrays()))

    def model(self, **kwargs: Any) -> Any:
        """Return the compiled network; `kwargs` are for `compile`."""
        import keras

        keras.utils.set_random_seed(SEED)
        hidden = keras.layers.Dense(self.units, "relu")
        flat = [keras.Input(self.shape), keras.layers.Flatten()]
        model = keras.Sequential([*flat, hidden, keras.layers.Dense(1)])
        model.compile("adam", "mse", **kwargs)
        return model


class Fits(System):
    """Calls of `fit` for some epochs; `prepare` returns a function of the number of epochs."""

    def __init__(self, case: Streaming, prepare: Callable[[Streaming], Callable[[int], Any]]):
        self._per_epoch, self._epochs = case.steps, 1
        self._fit = prepare(case)

    @property
    def steps(self) -> int:
        return self._per_epoch * self._epochs

    def grow(self, factor: float) -> bool:
        self._epochs = max(round(self._epochs * factor), self._epochs + 1)
        return True

    def run(self) -> Any:
        return self._fit(self._epochs)


def _seqframe(case: Streaming, **kwargs: Any) -> Callable[[int], Any]:
    import seqframe

    model, data = case.model(), case.frames()
    return lambda epochs: seqframe.fit(
        model, data, batch_size=case.batch, epochs=epochs, shuffle=True, verbose=0, **kwargs
    )


def _arrays(case: Streaming, whole: bool = False) -> Callable[[int], Any]:
    model = case.model(steps_per_execution=case.steps if whole else 1)
    x, y = case.arrays()
    return lambda epochs: model.fit(x, y, batch_size=case.batch, epochs=epochs, verbose=0)


def _tf_data(case: Streaming, whole: bool = False) -> Callable[[int], Any]:
    import tensorflow as tf

    model = case.model(steps_per_execution=case.steps if whole else 1)
    samples = tf.data.Dataset.from_tensor_slices(case.arrays()).shuffle(BUFFER)
    dataset = samples.batch(case.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    return lambda epochs: model.fit(dataset, epochs=epochs, verbose=0)


def _either(prepare: Callable[..., Any]) -> Variants:
    """Return the variants with one step in an execution, and with a whole epoch."""
    return [partial(Fits, prepare=partial(prepare, whole=whole)) for whole in (False, True)]


SYSTEMS: dict[str, Variants] = {
    "seqframe": [partial(Fits, prepare=partial(_seqframe, max_device_bytes=0))],
    "resident": [partial(Fits, prepare=_seqframe)],
    "fit-arrays": _either(_arrays),
    "fit-tf-data": _either(_tf_data),
}
