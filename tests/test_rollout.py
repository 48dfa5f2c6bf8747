"""Rollouts: the compiled one equals a loop of Keras's own calls, step for step."""

import keras
import numpy as np
import pytest
from keras import layers
from models import Counter, assert_same, compiled, contents, numbers, run, seeded

from seqframe import Generator, SequenceFramer, Vocabulary, reset_states
from seqframe.model.state import carry_state, model_batch_size, stateful_layers

SYMBOLS = 4
VOCABULARY = Vocabulary("ABCD")


def padded(x, framer):
    """Return input steps filled up to the framer's length."""
    missing = framer.sequence_length - len(x)
    filling = np.full((missing, *x.shape[1:]), framer.padding_value, x.dtype)
    return np.concatenate([filling, x] if framer.padding == "pre" else [x, filling])


def laid_out(x, framer):
    """Return input steps as a batch of one."""
    if framer.layout == "tokens":
        return x[None]
    if framer.layout == "features":
        return x.reshape(1, 1, -1)
    return x.reshape(1, len(x), -1)


def stateless_outputs(model, framer, known):
    """Yield what a model says to the window that ends `gap` steps before the end of `known`."""
    while True:
        x = np.array(known[: len(known) - framer.gap])[-framer.geometry.span :]
        real = len(x)
        x = padded(x, framer) if framer.geometry.pads else x[:: framer.sampling_rate]
        output = model.predict_on_batch(laid_out(x, framer))[0]
        if framer.return_sequences:
            output = output[real - 1 if framer.geometry.pads and framer.padding == "post" else -1]
        yield output


def stateful_outputs(model, framer, known):
    """Yield what a model says after the step `gap` before the end of `known`, fed one by one."""
    width = framer.geometry.span if framer.layout == "features" else 1
    rows = model_batch_size(model)
    reset_states(model)
    fed = width
    while True:
        due = len(known) - framer.gap
        while fed <= due:
            x = laid_out(np.array(known[fed - width : fed]), framer)
            with carry_state(model):
                output = model.predict_on_batch(np.repeat(x, rows, axis=0))[0]
            fed += 1
        yield output[-1] if framer.return_sequences else output


def naive(model, framer, prompt, steps, pick):
    """Return `steps` predictions, fed back in by a plain loop."""
    known = list(np.asarray(prompt))
    outputs = stateful_outputs if stateful_layers(model) else stateless_outputs
    outputs = outputs(model, framer, known)
    begin = len(known)
    while len(known) < begin + steps:
        known.extend(pick(next(outputs)))
    return np.array(known[begin : begin + steps])


def likeliest(output):
    return np.atleast_1d(np.argmax(output, axis=-1)).astype("int32")


def values_like(prompt, framer):
    return lambda output: output.reshape(framer.horizon, *np.shape(prompt)[1:])


def chain(*parts, steps, features=1, batch_size=None, outputs=SYMBOLS, horizon=1, seed=6):
    """Return a model of these layers with an output for each symbol.

    Its weights are large, and without a bias at its end, so that its symbols vary.
    """
    shape = (steps,) if features is None else (steps, features)
    inputs = keras.Input(shape, batch_size=batch_size)
    model = [inputs, *parts, layers.Dense(horizon * outputs, use_bias=False)]
    if horizon > 1:
        model.append(layers.Reshape((horizon, outputs)))
    return seeded(keras.Sequential(model), scale=2, seed=seed)


def framer(length, **kwargs):
    return SequenceFramer(length, vocabulary=VOCABULARY, **kwargs)


PREFIXES = {"mode": "prefixes"}
WIDE = {"return_sequences": True}
EMBEDDING = {"input_dim": SYMBOLS, "output_dim": 2}


def functional(steps, batch_size):
    inputs = keras.Input((steps, 1), batch_size=batch_size)
    hidden = layers.GRU(3, stateful=True, return_sequences=True)(inputs)
    hidden = layers.Concatenate()([hidden, inputs])
    outputs = layers.Dense(SYMBOLS, use_bias=False)(layers.LSTM(2, stateful=True)(hidden))
    return seeded(keras.Model(inputs, outputs), scale=2, seed=6)


def nested(batch_size):
    inner = keras.Sequential(
        [keras.Input((1, 1), batch_size=batch_size), layers.LSTM(3, stateful=True)]
    )
    return chain(inner, steps=1, batch_size=batch_size)


STATELESS = {
    "windows": lambda: (framer(3), chain(layers.LSTM(3), steps=3)),
    "features": lambda: (
        framer(3, layout="features"),
        chain(layers.GRU(3), steps=1, features=3, seed=5),
    ),
    "tokens": lambda: (
        framer(3, layout="tokens"),
        chain(layers.Embedding(**EMBEDDING), layers.LSTM(3), steps=3, features=None),
    ),
    "sampling rate": lambda: (framer(3, sampling_rate=2), chain(layers.LSTM(3), steps=3)),
    "gap": lambda: (framer(3, gap=1), chain(layers.LSTM(3), steps=3)),
    "gap, rate, blocks": lambda: (
        framer(2, gap=2, sampling_rate=2, horizon=3),
        chain(layers.LSTM(3), steps=2, horizon=3),
    ),
    "a target for each step": lambda: (
        framer(3, return_sequences=True),
        chain(layers.GRU(3, **WIDE), steps=3),
    ),
    "prefixes": lambda: (framer(6, **PREFIXES), chain(layers.LSTM(3), steps=6)),
    "prefixes, padded after": lambda: (
        framer(6, padding="post", padding_value=7, **PREFIXES),
        chain(layers.LSTM(3), steps=6),
    ),
    "prefixes, features": lambda: (
        framer(6, layout="features", padding="post", **PREFIXES),
        chain(layers.Flatten(), steps=1, features=6),
    ),
    "prefixes, padded after, a target for each step": lambda: (
        framer(6, padding="post", **PREFIXES, **WIDE),
        chain(layers.GRU(3, **WIDE), steps=6),
    ),
    "prefixes, gap, masked": lambda: (
        framer(6, gap=1, padding_value=-1, **PREFIXES),
        chain(layers.Masking(-1), layers.LSTM(3), steps=6),
    ),
    "subsequences, any number of steps": lambda: (
        framer(4, mode="subsequences", num_samples=9),
        chain(layers.LSTM(3), steps=None),
    ),
}
STATEFUL = {
    "LSTM": lambda: (framer(1), chain(layers.LSTM(3, stateful=True), steps=1, batch_size=4)),
    "two layers, five steps declared": lambda: (
        framer(5),
        functional(5, batch_size=4),
        functional(1, batch_size=4),  # Keras lets the other take five steps only
    ),
    "stacked cells": lambda: (
        framer(1),
        chain(
            layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], stateful=True),
            steps=1,
            batch_size=4,
            seed=4,
        ),
    ),
    "nested": lambda: (framer(1), nested(4)),
    "features, gap": lambda: (
        framer(3, layout="features", gap=1),
        chain(layers.GRU(3, stateful=True), steps=1, features=3, batch_size=2),
    ),
    "tokens, blocks, gap": lambda: (
        framer(5, layout="tokens", horizon=3, gap=1),
        chain(
            layers.Embedding(**EMBEDDING),
            layers.SimpleRNN(3, stateful=True),
            steps=5,
            features=None,
            batch_size=1,
            horizon=3,
        ),
    ),
    "a target for each step": lambda: (
        framer(4, return_sequences=True),
        chain(layers.LSTM(3, stateful=True, **WIDE), steps=4, batch_size=3),
    ),
}
KINDS = {**STATELESS, **STATEFUL}
# The longest is longer than a window and than the least width of a buffer.
PROMPTS = ["BADCAB", "ACDBBACD", "DDABCADBADCBADCABCDA"]
STEPS = 12


@pytest.mark.xla
@pytest.mark.parametrize("kind", KINDS)
def test_generated_symbols_equal_a_plain_loop(kind):
    rule, model, *twin = KINDS[kind]()
    looped = twin[0] if twin else model
    prompts = ["A", "DBA", *PROMPTS][0 if rule.geometry.pads and not rule.gap else 2 :]
    expected = [
        VOCABULARY.decode(naive(looped, rule, VOCABULARY.encode(p), STEPS, likeliest))
        for p in prompts
    ]
    assert len(set("".join(expected))) > 1  # else there is nothing to tell apart
    generator = Generator(model, rule)
    before = contents(model)

    assert generator.generate(prompts, STEPS) == expected
    assert [generator.generate(p, STEPS) for p in prompts] == expected
    assert_same(contents(model), before)


FORECASTS = {
    "one column": (
        (9,),
        lambda: (SequenceFramer(3), chain(layers.LSTM(3), steps=3, outputs=1)),
    ),
    "images": (
        (9, 2, 1, 1),
        lambda: (
            SequenceFramer(3, layout="features"),
            chain(layers.Flatten(), steps=1, features=6, outputs=2),
        ),
    ),
    "blocks of two columns": (
        (9, 2),
        lambda: (
            SequenceFramer(3, horizon=3, gap=1),
            chain(layers.LSTM(3), steps=3, features=2, outputs=2, horizon=3),
        ),
    ),
    "stateful, blocks of two columns": (
        (20, 2),
        lambda: (
            SequenceFramer(1, horizon=3),
            chain(
                layers.GRU(3, stateful=True),
                steps=1,
                features=2,
                outputs=2,
                batch_size=2,
                horizon=3,
            ),
        ),
    ),
}


@pytest.mark.xla
@pytest.mark.parametrize("kind", FORECASTS)
def test_a_forecast_equals_a_plain_loop(kind):
    shape, make = FORECASTS[kind]
    rule, model = make()
    history = numbers(*shape)
    if rule.gap:  # older windows predict the steps of the gap
        between = naive(model, rule, history, rule.gap, values_like(history, rule))
        known = np.concatenate([history, between])
    else:
        known = history
    expected = naive(model, rule, known, 8, values_like(history, rule))

    forecast = Generator(model, rule).forecast(history, 8)

    assert forecast.shape == (8, *shape[1:])
    assert forecast.dtype == keras.config.floatx()
    np.testing.assert_allclose(forecast, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def generator():
    """A generator whose model is stateful, and counts its calls."""
    model = chain(Counter(), layers.LSTM(3, stateful=True), steps=1, batch_size=2)
    compiled(model, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Generator(model, framer(1))


def test_more_steps_begin_with_fewer(generator):
    long = generator.generate("ABCDA", 200)
    assert len(long) == 200
    for steps in 1, 2, 20, 63, 64, 65, 199:
        assert generator.generate("ABCDA", steps) == long[:steps]


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs each step itself")
def test_programs_are_compiled_for_sizes_not_for_each_prompt(generator):
    counter = generator.model.layers[0]
    generator.generate("ABCD", 64)
    calls = counter.calls
    for prompt, steps in ("A", 1), ("DCBA", 64), (16 * "B", 30):
        generator.generate(prompt, steps)
    assert counter.calls == calls


def test_a_generator_does_not_change_its_model(tmp_path):
    model = compiled(functional(1, batch_size=2), metrics=["mae"])
    model(numbers(2, 1, 1))  # a state that is not fresh
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())

    def identities():
        states = [v for layer in stateful_layers(model) for v in layer.states]
        return [id(v) for v in (*model.variables, *states)]

    before, own, config = contents(model), identities(), str(model.get_config())

    generator = Generator(model, framer(1), sampler="random", seed=1)
    text = generator.generate(["ABC", "D"], 20, num_samples=2)

    assert_same(contents(model), before)
    assert identities() == own
    assert str(model.get_config()) == config
    # It still takes exactly two rows.
    twin(numbers(2, 1, 1))
    assert_same(run(model, numbers(2, 1, 1)), run(twin, numbers(2, 1, 1)), atol=1e-6)
    with pytest.raises(Exception, match=r"batch|size|shape|[Dd]imension"):
        model(numbers(3, 1, 1))

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded.get_weights(), model.get_weights())
    again = Generator(loaded, framer(1), sampler="random", seed=1)
    assert again.generate(["ABC", "D"], 20, num_samples=2) == text


def test_training_after_a_generation_shows_in_the_next(generator):
    model = generator.model
    prompt = VOCABULARY.encode("ABCA")
    before = generator.generate(prompt, STEPS)
    kept = model.get_weights()
    try:
        model.optimizer.learning_rate = 1.0
        with carry_state(model):
            for _ in range(20):
                model.train_on_batch(np.array([[[0.0]], [[2.0]]]), np.array([3, 3]))
        after = generator.generate(prompt, STEPS)
        expected = naive(model, generator.framer, prompt, STEPS, likeliest)
    finally:
        model.set_weights(kept)
    assert after.tolist() == expected.tolist() != before.tolist()
    assert generator.generate(prompt, STEPS).tolist() == before.tolist()
