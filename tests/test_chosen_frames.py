"""Models train on subsets and predict the newest windows, on every backend."""

import keras
import numpy as np
import pandas as pd
import pytest

from seqframe import SequenceFramer, evaluate, fit, predict

RNG = np.random.default_rng(7)
SEQUENCES = [RNG.normal(size=(n, 2)).astype("float32") for n in (25, 11, 17)]
FRAMERS = {
    "windows": SequenceFramer(4),
    "prefixes": SequenceFramer(4, mode="prefixes"),
    "subsequences": SequenceFramer(4, mode="subsequences", num_samples=20, seed=1),
}


def model_of(frames):
    keras.utils.set_random_seed(3)
    inputs = {name: keras.Input(shape, name=name) for name, shape in frames.x_shape.items()}
    read = keras.layers.GRU(4)(inputs["past"])
    known = keras.layers.Flatten()(inputs["future"])
    output = keras.layers.Dense(2)(keras.layers.Concatenate()([read, known]))
    model = keras.Model(inputs, output)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("kind", FRAMERS)
def test_a_subset_trains_as_its_arrays_do(kind):
    futures = [each + 1 for each in SEQUENCES]
    frames = FRAMERS[kind].frame(SEQUENCES, future=[each[:, :1] * 2 for each in futures])
    subset = frames.subset([7, 2, 2, 19, 11, 12, 13])
    X, y = subset.arrays()
    one, other = model_of(frames), model_of(frames)
    fit(one, subset, batch_size=2, epochs=2, shuffle=False, verbose=0)
    fit(other, (X, y), batch_size=2, epochs=2, shuffle=False, verbose=0)
    for found, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    found = evaluate(one, subset, verbose=0)
    expected = evaluate(one, (X, y), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(predict(one, subset, verbose=0), one.predict(X, verbose=0), 1e-4)


@pytest.mark.parametrize("kind", FRAMERS)
def test_the_newest_windows_are_predicted(kind):
    framer = FRAMERS[kind]
    futures = [np.arange(len(each) + 3, dtype="float32") / 9 for each in SEQUENCES]
    frames = framer.frame(SEQUENCES, future=futures)
    model = model_of(frames)
    newest = frames.framer.newest(SEQUENCES, future=futures)
    x = {
        "past": np.stack([each[-4:] for each in SEQUENCES]),
        "future": np.array(
            [[[future[len(each)]]] for each, future in zip(SEQUENCES, futures, strict=True)]
        ),
    }
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(predict(model, newest, verbose=0), expected, rtol=1e-4, atol=1e-6)


def test_predictions_of_the_newest_windows_have_dates():
    days = pd.date_range("2026-01-01", periods=12)
    table = pd.DataFrame({"heat": np.arange(12.0), "plant": 1}, days)
    panel = pd.concat([table, table[:9].assign(plant=2)])
    framer = SequenceFramer(3, columns=["heat"], by="plant", target_columns="alarm", gap=-1)
    frames = framer.frame(panel.assign(alarm=panel["heat"] % 2))
    model = keras.Sequential([keras.Input(frames.x_shape), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    found = predict(model, framer.newest(panel), as_table=True, verbose=0)
    assert found.index.tolist() == [days[11], days[8]]
    assert found["plant"].tolist() == [1, 2]
    assert found.columns[-1] == "alarm"
