"""PyTorch: what is played back is what would have been computed."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import compiled, numbers

from seqframe import Generator, SequenceFramer

if keras.backend.backend() != "torch":
    pytest.skip("a workaround for PyTorch", allow_module_level=True)

import torch

from seqframe.backend import playback
from seqframe.backend.playback import Playback


def test_it_is_played_after_the_calls_that_recording_is_worth():
    calls = []

    def function(x):
        calls.append(len(calls))
        return [x + 1]

    play, tensor = Playback(function), torch.ones(2)
    assert [play(tensor) for _ in range(playback.WARM)] == [None] * playback.WARM
    assert len(calls) == 1
    (played,) = play(torch.tensor([4.0, 5.0]))
    assert played.tolist() == [5.0, 6.0]
    assert not play.is_trusted
    play.compare([played], function(torch.tensor([4.0, 5.0])))
    assert play.is_trusted
    assert play(torch.tensor([7.0, 8.0]))[0].tolist() == [8.0, 9.0]
    assert len(calls) == 2


@pytest.mark.parametrize(
    "expected",
    [[5.0, 6.5], [5.0], [[5.0, 6.0]], [float("nan"), 6.0], [float("inf"), 6.0]],
)
def test_what_plays_something_else_is_not_trusted(expected):
    play = Playback(lambda x: [x + 1])
    for _ in range(playback.WARM):
        play(torch.ones(2))
    play.compare(play(torch.tensor([4.0, 5.0])), [torch.tensor(expected)])
    assert not play.is_trusted
    assert play(torch.ones(2)) is None


def test_small_numbers_are_compared_as_closely_as_large_ones():
    play = Playback(lambda x: [x])
    for _ in range(playback.WARM):
        play(torch.ones(2))
    small = torch.tensor([1e-7, float("-inf")])
    play.compare([small], [2 * small])
    assert not play.is_trusted


def test_what_cannot_be_recorded_is_not_played():
    def branches(x):
        return [x + 1 if x.sum() > 0 else x]

    play = Playback(branches)
    assert [play(torch.ones(2)) for _ in range(playback.WARM + 2)] == [None] * (playback.WARM + 2)


def rolled(layer, steps=12, **options):
    """Return a forecast by a model with a layer of one's own, and the generator that made it."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((1, 1)), layer, layers.LSTM(3), layers.Dense(1)])
    generator = Generator(model, SequenceFramer(1), **options)
    return generator.forecast(numbers(4), steps), generator


def is_played(generator):
    (rollout,) = generator._rollouts.values()
    return [found.is_trusted for found in rollout._call._playbacks.values()] == [True]


class Branching(layers.Layer):
    def call(self, x):
        return x * 2 if float(ops.max(x)) > 0 else x


class Counting(layers.Layer):
    """Computes something else each time."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * self.calls


class Drawing(layers.Layer):
    def call(self, x):
        return x + torch.randn(x.shape)


class MeanOfSome(layers.Layer):
    """Reads how many values are positive, as the size of a tensor."""

    def call(self, x):
        some = x[x > 0]
        return x - some.sum() / max(len(some), 1)


class ByNumPy(layers.Layer):
    def call(self, x):
        return x * (1 + abs(float(ops.convert_to_numpy(x).max())))


class Assigning(layers.Layer):
    """Counts its calls in a variable of its own."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + self.calls


class InPlace(layers.Layer):
    def call(self, x):
        x -= ops.mean(x, axis=1, keepdims=True) / 2
        return x


class OutOfPlace(layers.Layer):
    def call(self, x):
        return x - ops.mean(x, axis=1, keepdims=True) / 2


REFUSED = [Branching, Counting, Drawing, MeanOfSome, ByNumPy, Assigning, InPlace]


@pytest.mark.parametrize("layer", REFUSED)
def test_layers_that_cannot_be_recorded_run_as_they_are(layer, monkeypatch):
    forecast, generator = rolled(layer())
    assert not is_played(generator)
    if layer not in (Counting, Drawing):
        monkeypatch.setattr(playback, "WARM", 1000)
        np.testing.assert_array_equal(forecast, rolled(layer())[0])


def test_a_recording_is_the_plain_steps(monkeypatch):
    played, generator = rolled(layers.Rescaling(2.0), 30)
    assert is_played(generator)
    monkeypatch.setattr(playback, "WARM", 1000)
    plain, generator = rolled(layers.Rescaling(2.0), 30)
    assert not is_played(generator)
    np.testing.assert_allclose(played, plain, rtol=1e-6)


def test_weights_are_read_anew_in_each_call():
    model = compiled(keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)]))
    generator = Generator(model, SequenceFramer(2))
    history = numbers(4)
    before = generator.forecast(history, 20)
    assert is_played(generator)
    model.set_weights([2 * weight for weight in model.get_weights()])
    after = generator.forecast(history, 20)
    np.testing.assert_array_equal(after, Generator(model, SequenceFramer(2)).forecast(history, 20))
    assert not np.allclose(before, after)


def test_histories_of_another_dtype_get_a_recording_of_their_own():
    _, generator = rolled(layers.Rescaling(2.0))
    half, whole = numbers(4).astype("float16"), numbers(4)
    for history in half, whole, half:
        expected = rolled(layers.Rescaling(2.0))[1].forecast(history, 20)
        np.testing.assert_allclose(generator.forecast(history, 20), expected, rtol=1e-3)


def test_what_a_layer_changes_in_place_is_not_the_history():
    one, other = rolled(InPlace())[0], rolled(OutOfPlace())[0]
    np.testing.assert_allclose(one, other, rtol=1e-6)


def symbolic(*first):
    """Return a generator of symbols with a layer that reads values."""
    inputs = keras.Input((3,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(6, 4)(first[0](inputs) if first else inputs))
    model = keras.Model(inputs, layers.Dense(6)(x))
    model.set_weights([3 * numbers(*w.shape, seed=k) for k, w in enumerate(model.get_weights())])
    return Generator(model, SequenceFramer(3, layout="tokens"))


@pytest.mark.parametrize("first", [[], [layers.Hashing(6)]], ids=["plain", "hashed"])
def test_a_rollout_that_stands_still_proves_nothing(first):
    generator = symbolic(*first)
    prompts = [np.array(each, "int32") for each in ([0, 1, 2], [4, 0, 1], [5, 5, 3])]
    before = [generator.generate(prompt, 6).tolist() for prompt in prompts]
    for start in range(6):
        generator.generate(np.full(3, start, "int32"), 40)
    assert [generator.generate(prompt, 6).tolist() for prompt in prompts] == before


def test_attention_is_played():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 2))
    attended = layers.MultiHeadAttention(2, 3)(inputs, inputs, use_causal_mask=True)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(attended)))
    generator = Generator(model, SequenceFramer(4))
    generator.forecast(numbers(6, 2), 12)
    assert is_played(generator)


def test_a_model_of_other_variables_is_not_played():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)])
    generator, history = Generator(model, SequenceFramer(2)), numbers(4)
    before = generator.forecast(history, 12)
    assert is_played(generator)
    model.layers[-1].enable_lora(1)
    np.testing.assert_allclose(generator.forecast(history, 12), before, rtol=1e-5)


def test_nothing_is_played_while_pytorch_casts():
    _, generator = rolled(layers.Rescaling(2.0))
    plain = generator.forecast(numbers(4), 5)
    with torch.autocast("cpu", torch.bfloat16):
        generator.forecast(numbers(4), 5)
    np.testing.assert_array_equal(generator.forecast(numbers(4), 5), plain)


@pytest.mark.parametrize("inside_first", [False, True])
def test_a_generator_works_inside_and_outside_of_inference_mode(inside_first):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((1, 1), batch_size=1), layers.LSTM(3, stateful=True), layers.Dense(1)]
    )
    generator, found = Generator(model), []
    for inside in (inside_first, not inside_first):
        with torch.inference_mode(inside):
            found.append(generator.forecast(numbers(4), 9))
    np.testing.assert_array_equal(*found)


def test_threads_roll_out_one_after_the_other():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((1, 1), batch_size=1), layers.LSTM(3, stateful=True), layers.Dense(1)]
    )
    histories = [numbers(5, seed=k) for k in range(4)]
    expected = [Generator(model).forecast(history, 60) for history in histories]
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(Generator(model).forecast, history, 60) for history in histories]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.result(), other, rtol=1e-5)
