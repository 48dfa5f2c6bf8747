"""Programs use what layers learned by `adapt` at the call, not when they were compiled."""

import keras
import numpy as np
import pytest
from keras import layers
from models import Counter, assert_same, compiled, numbers, seeded

from seqframe import Generator, SequenceFramer, evaluate, fit, predict

TORCH = keras.backend.backend() == "torch"  # which has no program: the layers run at each step
STEPS = 5
HISTORY = numbers(6)
DATA, OTHER = numbers(40, 3, 1), 3 + 5 * numbers(40, 3, 1, seed=1)
FRAMES = SequenceFramer(3).frame(numbers(20))


def model_with(kind, data=DATA, seed=0):
    """Return a model with an adapted layer in an inner model, that layer, and a counter."""
    layer = {
        "normalization": lambda: layers.Normalization(axis=None),
        "discretization": lambda: layers.Discretization(num_bins=4),
    }[kind]()
    layer.adapt(data)  # a layer of bins is built by that
    counter = Counter()
    inner = keras.Sequential([keras.Input((3, 1)), layer, layers.Rescaling(0.5)])
    model = keras.Sequential(
        [keras.Input((3, 1)), inner, counter, layers.Flatten(), layers.Dense(1)]
    )
    compiled(seeded(model, seed=seed))
    layer.adapt(data)
    return model, layer, counter


def adapt(model, layer, other, path):
    layer.adapt(OTHER)


def load(model, layer, other, path):
    other.save_weights(path)
    model.load_weights(path)


USES = {
    "forecast": lambda model, generator: generator.forecast(HISTORY, STEPS),
    "predict": lambda model, generator: predict(model, FRAMES, batch_size=4),
    "evaluate": lambda model, generator: evaluate(model, FRAMES, batch_size=4, verbose=0),
    "fit": lambda model, generator: fit(
        model, FRAMES, batch_size=4, epochs=2, shuffle=False, verbose=0
    ).history["loss"],
}


# Keras does not save the boundaries of a Discretization with the weights.
CASES = [*((name, "normalization", adapt) for name in USES), ("predict", "normalization", load),
         ("predict", "discretization", adapt), ("forecast", "normalization", load)]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "change"), CASES)
def test_programs_use_newly_adapted_values(name, kind, change, tmp_path):
    use = USES[name]
    model, layer, counter = model_with(kind)
    generator = Generator(model, FRAMES.framer)
    first = use(model, generator)
    before = counter.calls
    use(model, generator)
    assert TORCH or counter.calls == before  # nothing is traced anew
    other, *_ = model_with(kind, OTHER, seed=1)
    change(model, layer, other, tmp_path / "of.weights.h5")
    fresh, *_ = model_with(kind, OTHER)
    fresh.set_weights(model.get_weights())
    found = use(model, generator)
    expected = use(fresh, Generator(fresh, FRAMES.framer))
    assert_same(found, expected, atol=1e-6)
    assert not np.allclose(found, first, rtol=1e-3)
