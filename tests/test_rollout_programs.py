"""A Generator compiles few programs, and keeps few."""

import gc
import os
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from models import Counter, assert_same, numbers, seeded

from seqframe import Generator, SequenceFramer, Vocabulary, backtest

compiles = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="PyTorch runs each step itself"
)


@pytest.fixture
def generator():
    """A generator of windows whose model counts how often it is traced."""
    parts = [keras.Input((4, 1)), Counter(), layers.Flatten(), layers.Dense(1, "tanh")]
    return Generator(seeded(keras.Sequential(parts)), SequenceFramer(4), seed=0)


def traces(generator):
    return generator.model.layers[0].calls


def histories(*lengths):
    return [numbers(length, seed=length) for length in lengths]


def seeded_symbols(sampler="random"):
    """Return a generator of symbols whose model is stateful."""
    parts = [keras.Input(batch_shape=(1, 1, 1)), Counter(), layers.GRU(4, stateful=True)]
    model = seeded(keras.Sequential([*parts, layers.Dense(3, "softmax")]))
    return Generator(model, SequenceFramer(1, vocabulary=Vocabulary("ABC")), sampler=sampler)


@compiles
def test_a_few_more_series_and_steps_need_no_new_program(generator):
    generator.forecast(histories(4, 9, 5, 4, 6), 7)
    before = traces(generator)
    # Another number of series, other lengths, fewer and more steps.
    for series, steps in (
        ((4, 9, 5, 4, 6, 8), 7),
        ((30, 4, 4, 4, 4), 7),
        ((5,) * 6, 1),
        ((4,) * 5, 64),
    ):
        generator.forecast(histories(*series), steps)
    assert traces(generator) == before


MANY_CALLS = """
import keras, numpy as np
from seqframe import Generator, SequenceFramer
from seqframe.rollout import loop
loop._SECONDS = 1e-9  # a call of the program for each pass
for length, steps in (5, 9), (2, 7), (9, 20):
    layers = [keras.Input(batch_shape=(1, 1)), keras.layers.Embedding(3, 2)]
    model = keras.Sequential([*layers, keras.layers.GRU(2, stateful=True), keras.layers.Dense(3)])
    generator = Generator(model, SequenceFramer(1, layout="tokens"), sampler="random", seed=1)
    for _ in range(2):
        generator.generate(np.zeros(length, int), steps, temperature=float(length), top_k=2)
        length += 3
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow compiles for each constant"
)
def test_other_positions_and_new_models_need_no_new_program():
    """A log line of TensorFlow counts what XLA has compiled: one program."""
    environment = {**os.environ, "TF_CPP_VMODULE": "device_compiler=1", "TF_CPP_MIN_LOG_LEVEL": "0"}
    ran = subprocess.run(
        [sys.executable, "-c", MANY_CALLS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr.count("Compilation of XLA executable time") == 1


@compiles
def test_a_few_more_prompts_need_no_new_program():
    generator = seeded_symbols()
    generator.generate(["A", "B", "C"], 5, num_samples=2)
    before = traces(generator)
    generator.generate(["A", "B", "C", "B"], 9, num_samples=2)
    assert traces(generator) == before


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_series_in_any_number_give_what_each_gives(generator, count):
    series = histories(*range(4, 4 + count))
    found = generator.forecast(series, 6)
    assert len(found) == count
    for history, forecast in zip(series, found, strict=True):
        assert_same(forecast, generator.forecast(history, 6), atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("options", [{}, {"num_samples": 3}, {"return_scores": True}])
def test_prompts_in_any_number_give_what_each_gives(count, options):
    # Under a random sampler each row draws by its own number.
    generator = seeded_symbols("greedy")
    prompts = ["A", "BC", "CAB", "B", "ACBAC"][:count]
    together = generator.generate(prompts, 8, **options)
    alone = [generator.generate(prompt, 8, **options) for prompt in prompts]
    if "return_scores" not in options:
        assert together == alone
        return
    texts, scores = together
    assert texts == [text for text, _ in alone]
    np.testing.assert_allclose(scores, [score for _, score in alone], rtol=1e-5)


def test_a_state_has_as_many_rows_as_prompts():
    generator = seeded_symbols()
    generator.seed = 3
    whole = generator.generate(["A", "B", "C"], 9)
    first, state = generator.generate(["A", "B", "C"], 4, return_state=True)
    assert [len(array) for array in (state.tail, state.lengths, *state.states)] == [3, 3, 3]
    rest = generator.generate(["", "", ""], 5, state=state)
    assert [one + other for one, other in zip(first, rest, strict=True)] == whole


@compiles
def test_a_backtest_compiles_one_program(generator):
    built = traces(generator)
    generator.forecast(histories(4), 3)
    of_one_program = traces(generator) - built
    backtest(generator, numbers(40), 3)
    assert traces(generator) == built + 2 * of_one_program
    # One step longer, another horizon, another stride, for about as many origins.
    for steps, horizon, stride in (41, 3, 1), (43, 5, 1), (80, 3, 2):
        backtest(generator, numbers(steps), horizon, stride=stride)
    assert traces(generator) == built + 2 * of_one_program


def test_functions_of_noise_are_not_all_kept(generator):
    def forecast(noise):
        return generator.forecast(numbers(6), 3, num_samples=2, noise=noise)

    def shift(number):
        return lambda prediction, seed: prediction + number

    first, kept = forecast(shift(0)), []
    for number in range(1, 9):
        noise = shift(number)
        forecast(noise)
        kept.append(weakref.ref(noise))
    del noise
    gc.collect()
    assert sum(noise() is not None for noise in kept) <= 4
    # What was dropped is compiled again, and gives the same.
    assert_same(forecast(shift(0)), first)


SCALE = 1.0


@compiles
def test_functions_that_compute_the_same_share_a_program(generator):
    def paths(scale):
        options = {"num_samples": 2, "noise": lambda prediction, seed: prediction + scale}
        return generator.forecast(numbers(6), 3, **options)

    first = paths(0.5)
    before = traces(generator)
    assert_same(paths(0.5), first)
    assert traces(generator) == before
    assert (paths(1.0) != first).all()
    assert traces(generator) > before


def test_functions_that_may_compute_something_else_share_no_program(generator, monkeypatch):
    def paths(noise):
        return generator.forecast(numbers(6), 3, num_samples=2, noise=noise)

    shift = np.array([0.5], "float32")
    made = [lambda p, seed: p + shift[0], lambda p, seed: p + SCALE]
    before = [paths(noise) for noise in made]
    shift[0] = 2.0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    made = [lambda p, seed: p + shift[0], lambda p, seed: p + SCALE]
    for noise, old in zip(made, before, strict=True):
        assert (paths(noise) != old).any()
