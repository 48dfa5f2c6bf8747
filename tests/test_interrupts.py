"""Ctrl-C at any instant of a rollout ends it soon, and leaves model and Generator as they were."""

import signal

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, contents, numbers, recurrent, seeded
from test_interrupted_training import instants, interrupted_after

from seqframe import Generator, SequenceFramer, Vocabulary, backend
from seqframe.backend.interrupts import PutOff
from seqframe.rollout import loop
from seqframe.samplers import BeamSampler

pytestmark = pytest.mark.once

VOCABULARY = Vocabulary("ABC")


def symbols(stateful=True, **options):
    if stateful:
        inputs, framer = keras.Input((1,), batch_size=1), SequenceFramer(1, layout="tokens")
    else:
        inputs, framer = keras.Input((3,)), SequenceFramer(3, layout="tokens")
    framer = SequenceFramer.from_config({**framer.get_config(), "vocabulary": None})
    parts = [layers.Embedding(3, 2), layers.GRU(3, stateful=stateful), layers.Dense(3)]
    model = seeded(keras.Sequential([inputs, *parts]), scale=1.0)
    return Generator(model, framer, from_logits=True, seed=3, **options)


def values(stateful=True, **options):
    model = recurrent(batch_size=2 if stateful else None, steps=1 if stateful else 3)
    return Generator(model, SequenceFramer(1 if stateful else 3), seed=3, **options)


PROMPTS = [np.array([0, 2, 1, 1, 0]), np.array([1, 0, 2])]
HISTORIES = [numbers(7), numbers(4)]
ROLLOUTS = {
    "generate": lambda: (symbols(), lambda g: g.generate(PROMPTS, 30)),
    "windows": lambda: (symbols(False, sampler="random"), lambda g: g.generate(PROMPTS, 30)),
    "beams": lambda: (symbols(sampler=BeamSampler(3)), lambda g: g.generate(PROMPTS, 30)),
    "stream": lambda: (symbols(sampler="random"), lambda g: list(g.stream(PROMPTS, 30))),
    "state": lambda: (symbols(), lambda g: g.generate(PROMPTS, 30, return_state=True)[0]),
    "forecast": lambda: (values(), lambda g: g.forecast(HISTORIES, 30)),
    "residuals": lambda: (
        values(False),
        lambda g: g.forecast(HISTORIES, 30, num_samples=2, noise=np.array([-0.5, 0.0, 0.7])),
    ),
    "dropout": lambda: (
        dropping(),
        lambda g: g.forecast(HISTORIES, 30, num_samples=2, noise="dropout"),
    ),
}


def dropping():
    parts = [layers.LSTM(3, recurrent_dropout=0.3), layers.Dropout(0.5), layers.Dense(1)]
    model = seeded(keras.Sequential([keras.Input((3, 1)), *parts]))
    return Generator(model, SequenceFramer(3), seed=3)


@pytest.fixture
def calls(monkeypatch):
    """Let each pass of a rollout take a tenth of a second, and return the passes of each call."""
    counted, now = [], [0.0]
    own = backend.scalars

    def scalars(*given):
        counted.append(int(given[-1]))
        return own(*given)

    def finish(tensors):
        now[0] += 0.1 * counted[-1]

    monkeypatch.setattr(backend, "scalars", scalars, raising=False)
    monkeypatch.setattr(backend, "finish", finish, raising=False)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    return counted


@pytest.mark.parametrize("name", ROLLOUTS)
def test_a_rollout_in_pieces_gives_what_it_gives_in_one(name, monkeypatch, calls):
    generator, roll = ROLLOUTS[name]()
    found = roll(generator)
    assert max(calls) <= 2  # of a quarter of a second
    assert sum(calls) >= 30
    calls.clear()
    monkeypatch.setattr(loop, "_SECONDS", 1e9)
    monkeypatch.setattr(loop, "_GROWTH", 1e9)
    again, roll = ROLLOUTS[name]()
    roll(again)  # the first call tells that the second may be long
    calls.clear()
    assert_same(roll(again), found)
    assert max(calls) >= 30 or name == "stream"


def test_a_long_prompt_is_read_in_pieces(calls):
    symbols().generate(np.arange(200) % 3, 1)
    assert max(calls) <= 2
    assert sum(calls) == 200


@pytest.mark.parametrize("name", ["generate", "stream", "forecast", "beams"])
def test_an_interrupted_rollout_leaves_everything_as_it_was(name):
    generator, roll = ROLLOUTS[name]()
    model = generator.model
    before, attributes = contents(model), [dict(vars(layer)) for layer in model.layers]
    expected = roll(generator)

    def first():
        roll(Generator(keras.models.clone_model(model), generator.framer, from_logits=True))

    # The second one compiles, which takes most of its time.
    for run, count in ((lambda: roll(generator), 10), (first, 2)):
        for seconds in instants(run, count):
            interrupted_after(seconds, run)
            assert_same(contents(model), before)
            assert [dict(vars(layer)) for layer in model.layers] == attributes
            assert_same(roll(generator), expected)


# --- Signals that wait.


@pytest.fixture
def alarms():
    """Handle SIGALRM for a test, and yield the numbers of the alarms that were handled."""
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(len(heard)))
    yield heard
    signal.signal(signal.SIGALRM, before)


def test_many_signals_are_all_served(alarms):
    with PutOff():
        for _ in range(2000):  # more than Python's stack is deep
            signal.raise_signal(signal.SIGALRM)
        assert not alarms
    assert len(alarms) == 2000


def test_a_handler_may_choose_another_one(alarms):
    def first(*_):
        alarms.append("gently")
        signal.signal(signal.SIGALRM, lambda *_: alarms.append("now"))

    signal.signal(signal.SIGALRM, first)
    with PutOff() as interrupts:
        signal.raise_signal(signal.SIGALRM)
        interrupts.serve()
    signal.raise_signal(signal.SIGALRM)
    assert alarms == ["gently", "now"]


def test_a_third_ctrl_c_is_heard_at_once():
    reached = []

    def press_often():
        with PutOff():
            for _ in range(9):
                signal.raise_signal(signal.SIGINT)
                reached.append(None)

    with pytest.raises(KeyboardInterrupt):
        press_often()
    assert len(reached) == 2
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
