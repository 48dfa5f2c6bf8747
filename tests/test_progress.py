"""The pace of calls and the progress bar change how fast a model trains, and nothing else."""

import itertools
import re
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, contents, numbers, put_back, seeded

from seqframe import evaluate, fit, predict
from seqframe.training.pace import Pace

pytestmark = pytest.mark.once

X, Y = numbers(20, 2, 1), numbers(20, 1, seed=1)
FULL = X, Y  # ten batches of 2
UNEVEN = X[:19], Y[:19]  # the last batch is smaller
STEPS, EPOCHS = 10, 5

# Seconds from each reading of the clock to the next.
CLOCKS = {
    "stands still": [0.0],  # calls become as long as they may
    "slow": [9.0],  # every call has one step
    "jumps": [0.0, 9.0, 1e-3],
}


@pytest.fixture(scope="module")
def simple():
    inner = [keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)]
    model = compiled(seeded(keras.Sequential(inner)), "adam", metrics=["mae"])
    return model, contents(model)


@pytest.fixture
def set_clock(monkeypatch):
    """Return a function that sets the seconds between readings of the runner's clock.

    The runner also forgets the speed of its model.
    """

    def use(seconds):
        readings = itertools.accumulate(itertools.cycle(seconds))
        clock = SimpleNamespace(perf_counter=lambda: next(readings))
        monkeypatch.setattr("seqframe.training.epochs.time", clock)
        monkeypatch.setattr("seqframe.training.pace._paces", WeakKeyDictionary())

    return use


@pytest.fixture
def calls(monkeypatch):
    """Return a list that grows by the steps of each call."""
    found, learn = [], Pace.learn

    def recorded(self, steps, seconds):
        found.append(steps)
        learn(self, steps, seconds)

    monkeypatch.setattr(Pace, "learn", recorded)
    return found


def train(simple, data=FULL, **kwargs):
    """Return the History and the numbers after training the model from its beginning."""
    model, before = simple
    put_back(model, before)
    given = {"batch_size": 2, "seed": 3, "epochs": EPOCHS, "verbose": 0, **kwargs}
    return fit(model, data, **given).history, contents(model)


def looking(seen=None):
    """Return a callback that looks at epochs and, if it is given a list, at batches."""
    hooks = {"on_epoch_end": lambda epoch, logs: None}
    if seen is not None:
        hooks["on_train_batch_end"] = lambda batch, logs: seen.append(batch)
    return keras.callbacks.LambdaCallback(**hooks)


WAYS = {
    "plain": lambda: {},
    "a smaller last batch": lambda: {"data": UNEVEN},
    "validation": lambda: {"validation_data": UNEVEN},
    "a look at epochs": lambda: {"callbacks": [looking()]},
    "early stopping": lambda: {"callbacks": [keras.callbacks.EarlyStopping("loss", mode="max")]},
    "steps_per_execution": lambda: {"steps_per_execution": 3},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("clock", CLOCKS)
def test_neither_clock_nor_bar_changes_the_training(clock, way, simple, set_clock):
    expected = train(simple, **WAYS[way]())
    for verbose in "auto", 0, 1, 2:
        set_clock(CLOCKS[clock])
        assert_same(train(simple, **WAYS[way](), verbose=verbose), expected)


@pytest.mark.parametrize("clock", CLOCKS)
def test_batch_hooks_keep_the_steps_of_the_model(clock, simple, set_clock):
    set_clock(CLOCKS[clock])
    seen = []
    train(simple, callbacks=[looking(seen)], verbose=1, epochs=2)
    assert seen == [*range(STEPS)] * 2


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("data", [FULL, UNEVEN], ids=["full", "uneven"])
def test_neither_clock_nor_bar_changes_evaluation(clock, data, simple, set_clock, monkeypatch):
    model, _ = simple
    for most in 2**22, 6:  # chunks of an epoch, and of three steps
        monkeypatch.setattr("seqframe.training.schedule._MOST_INDICES", most)
        loss = evaluate(model, data, batch_size=2, verbose=0)
        predictions = predict(model, data[0], batch_size=2, verbose=0)
        for verbose in 0, 1:
            set_clock(CLOCKS[clock])
            assert evaluate(model, data, batch_size=2, verbose=verbose) == loss
            found = predict(model, data[0], batch_size=2, verbose=verbose)
            np.testing.assert_array_equal(found, predictions)


@pytest.mark.parametrize(
    ("clock", "verbose", "more", "expected"),
    [
        # The first call is one step. Then an epoch is one call, and then epochs share one.
        ("stands still", 1, {}, [1, 9, 40]),
        ("stands still", 1, {"validation_data": FULL}, [1, 9, 10, 10, 10, 10]),
        ("stands still", 0, {}, [1, 9, 40]),
        ("stands still", 2, {}, [1, 9, 40]),
        ("stands still", 0, {"callbacks": [looking()]}, [1, 9, *[10] * 4]),
        ("stands still", 0, {"steps_per_execution": 4}, [1, 3, 4, 2, *[4, 4, 2] * 4]),
        # Calls are short, whatever hooks there are between steps.
        ("slow", 1, {}, [1] * 50),
        ("slow", 0, {}, [1] * 50),
        ("slow", 0, {"callbacks": [looking()]}, [1] * 50),
        ("slow", 0, {"steps_per_execution": 4}, [1] * 50),
    ],
)
def test_calls_take_the_steps_that_their_time_allows(
    clock, verbose, more, expected, simple, set_clock, calls
):
    set_clock(CLOCKS[clock])
    train(simple, **more, verbose=verbose)
    # Validation has a pace of its own: a step, and then all others.
    validation = [1, 9, *[10] * 4] if "validation_data" in more else []
    assert sorted(calls) == sorted(expected + validation)
    if not validation:
        assert calls == expected


def test_the_next_fit_goes_on_at_the_speed_of_the_last_one(simple, set_clock, calls):
    set_clock(CLOCKS["stands still"])
    for verbose, expected in [(1, [1, 9]), (1, [10]), (0, [1, 9]), ("auto", [10])]:
        train(simple, epochs=1, verbose=verbose)
        assert calls == expected
        calls.clear()
    train(simple, epochs=1, verbose=1, batch_size=4)  # each batch size has a speed of its own
    assert calls == [1, 4]


def test_longer_frames_have_a_speed_of_their_own(set_clock, calls):
    pooled = [keras.Input((None, 1)), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    model = compiled(keras.Sequential(pooled))
    set_clock(CLOCKS["stands still"])
    for steps, expected in [(2, [1, 9]), (50, [1, 9]), (2, [10])]:
        fit(model, (numbers(20, steps, 1), Y), batch_size=2, verbose=0)
        assert calls == expected
        calls.clear()


@pytest.mark.parametrize(
    ("left", "seconds", "steps"),
    [
        (10, None, 7),  # a fixed number of steps, and then the rest
        (5, None, 5),
        (10, 1.0, 10),  # rather one call of 10 than two of 5
        (11, 1.0, 6),  # rather 6 and 5 than 7 and 4
        (5, 1.0, 5),
        (70, 1.0, 7),
    ],
)
def test_steps_of_the_next_call(left, seconds, steps):
    assert Pace(7, seconds).next(left) == steps


@pytest.mark.parametrize(
    ("steps", "took", "after"),
    [
        (100, 0.5, 200),
        (100, 2.0, 50),
        (100, 1e9, 1),
        (100, 0.0, 6400),  # at most 64 times as many
        (10, 0.01, 1000),  # the last call of an epoch was shorter
    ],
)
def test_a_pace_follows_the_speed(steps, took, after):
    pace, fixed = Pace(100, 1.0), Pace(100)
    for each in pace, fixed:
        each.learn(steps, took)
    assert (pace.steps, fixed.steps) == (after, 100)


def last_lines(printed):
    """Return an epoch's number and its last line, for each epoch, without times and colours."""
    printed = re.sub(r"\x1b\[\d+m", "", printed)
    parts = re.split(r"(Epoch \d+/\d+)\n", printed)[1:]
    lines = [re.split(r"[\n\r]", part.strip())[-1] for part in parts]
    return [re.sub(r"( -)? \d+s( -)? \d+[mu]?s/step", "", line) for line in lines]


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
@pytest.mark.parametrize("more", [{}, {"validation_data": FULL}], ids=["plain", "validation"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_the_bar_ends_as_in_keras(clock, more, verbose, simple, set_clock, capsys):
    model, before = simple
    put_back(model, before)
    given = {"batch_size": 2, "epochs": EPOCHS, "shuffle": False, "verbose": verbose, **more}
    model.fit(X, Y, **given)
    expected = last_lines(capsys.readouterr().out)
    put_back(model, before)
    set_clock(CLOCKS[clock])
    fit(model, FULL, **given)
    assert last_lines(capsys.readouterr().out) == expected
    assert len(expected) == 2 * EPOCHS
    assert expected[-2] == f"Epoch {EPOCHS}/{EPOCHS}"
    assert re.match(rf"{STEPS}/{STEPS}.* - loss: \d", expected[-1])


def test_epochs_of_one_call_share_its_time(simple, set_clock, capsys, monkeypatch):
    set_clock([5000.0])
    monkeypatch.setattr("seqframe.training.pace._FIRST", 30)
    train(simple, epochs=2, verbose=2)
    times = re.findall(rf"{STEPS}/{STEPS} - (\d+)s - (\d+)s/step", capsys.readouterr().out)
    assert len(times) == 2
    assert all(2500 <= int(epoch) < 2600 and 250 <= int(step) < 260 for epoch, step in times)


@pytest.mark.parametrize("use", [evaluate, predict])
def test_evaluation_shows_its_last_step(use, simple, set_clock, capsys):
    set_clock(CLOCKS["jumps"])
    use(simple[0], UNEVEN if use is evaluate else X[:19], batch_size=2, verbose=1)
    assert "10/10" in capsys.readouterr().out.splitlines()[-1]
