"""Errors and warnings name the step of the data that made a forecast or a loss NaN."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from models import compiled, numbers, recurrent, seeded, user_warnings

from seqframe import Generator, SequenceFramer, backtest, fit

DAYS = pd.date_range("2026-01-01", periods=40)


def generator(**settings):
    rule = SequenceFramer(3, horizon=2, **settings)
    ahead = (3, 2, 1) if rule.return_sequences else (2, 1)
    past, future = keras.Input((3, 1), name="past"), keras.Input(ahead, name="future")
    if rule.return_sequences:
        merged = layers.Concatenate()([past, layers.Reshape((3, 2))(future)])
    else:
        merged = layers.Concatenate()([layers.Flatten()(past), layers.Flatten()(future)])
    model = seeded(keras.Model({"past": past, "future": future}, layers.Dense(2)(merged)))
    return Generator(model, rule)


def lost(values, at, value=np.nan):
    values = values.copy()
    values[at] = value
    return values


SOURCES = [  # the missing step of the history and of the future, and the message
    (None, 2, "history 0, and NaN at step 2 of the future. Fill it in"),
    (7, 2, "history 0, and NaN at step 2 of the future"),
    (7, None, "history 0, and NaN at step 7 of the history. Fill it in"),
    (5, None, "history 0, and NaN at step 5 of the history"),
]


@pytest.mark.parametrize(("past", "ahead", "message"), SOURCES)
def test_a_forecast_names_the_missing_step(past, ahead, message):
    history = numbers(8) if past is None else lost(numbers(8), past)
    future = numbers(4, seed=1) if ahead is None else lost(numbers(4, seed=1), ahead)
    made = generator()
    with pytest.raises(ValueError, match=re.escape(message)):
        made.forecast(history, 4, future=future)
    second = message.replace("history 0", "history 1")
    with pytest.raises(ValueError, match=re.escape(second)):
        made.forecast([numbers(5), history], 4, future=[numbers(4), future])
    dated = pd.Series(history, DAYS[:8]), pd.Series(future, DAYS[8:12])
    which = int(re.search(r"step (\d+) of the", message).group(1))
    day = DAYS[which + (8 if "future" in message else 0)]
    with pytest.raises(ValueError, match=re.escape(f"at step {which} ({day}) of the")):
        made.forecast(dated[0], 4, future=dated[1])
    if ahead == 2:
        infinite = np.where(np.isnan(future), np.inf, future)
        with pytest.raises(ValueError, match="and infinity at step 2 of the future"):
            made.forecast(numbers(8), 4, future=lost(infinite, 3))


def test_a_future_with_the_history_steps_names_the_missing_step():
    made = generator(return_sequences=True)
    with pytest.raises(ValueError, match="and NaN at step 9 of the future"):
        made.forecast(numbers(8), 4, future=lost(numbers(12, seed=1), 9))


def test_a_diverged_model_is_named():
    made = generator()
    made.model.set_weights([w * np.nan for w in made.model.get_weights()])
    with pytest.raises(ValueError, match=r"all finite\. Look at the model's weights"):
        made.forecast(numbers(8), 4, future=numbers(4))


@pytest.mark.parametrize("history", [None, 5])
@pytest.mark.parametrize("settings", [{}, {"return_sequences": True}])
def test_a_backtest_names_the_origin(settings, history):
    made = generator(**settings)
    past, future = lost(numbers(30), 15), numbers(30, seed=1)
    options = {"history": history, "start": 10}
    # The first that sees step 15 forecasts step 16.
    message = r"step 0 of origin 16, and NaN at step 15 of the sequence\. Fill"
    with pytest.raises(ValueError, match=message):
        backtest(made, past, 2, future=future, **options)
    message = r"step 0 of origin 16 of sequence 1, and NaN at step 15 of the sequence"
    with pytest.raises(ValueError, match=message):
        backtest(made, [numbers(20), past], 2, future=[numbers(20), future], **options)
    dated = [pd.Series(values, DAYS[:30]) for values in (past, future)]
    message = r"origin 16 \(2026-01-17.*\), and NaN at step 15 \(2026-01-16.*\) of the sequence"
    with pytest.raises(ValueError, match=message):
        backtest(made, dated[0].to_frame("a"), 2, future=dated[1], **options)
    clean, ahead = numbers(30), lost(future, 20)
    with pytest.raises(ValueError, match=r"of origin (17|18|19|20).* at step 20 of the future"):
        backtest(made, clean, 2, future=ahead, **options)


RULE = SequenceFramer(2)
BROKEN = RULE.frame([numbers(20), lost(numbers(20), 7)])
CYCLE = SequenceFramer(2, mode="subsequences", num_samples=9, wrap=True, min_length=2, seed=1)
ASIDE = (BROKEN.arrays()[0], lost(np.nan_to_num(BROKEN.arrays()[1]), [0, 4]))
TRAINED_ON = {
    "frames": (BROKEN, "3 of 36 frames.*`skip_nan=True`"),
    "targets": (RULE.frame(numbers(9), lost(numbers(9), 8)), "1 of 7 frames"),
    "some skipped": (RULE.frame(lost(numbers(9), 8), valid=np.arange(9) > 5), "1 of 1 frames"),
    "lanes": (SequenceFramer(1).frame(lost(numbers(9), 3)).lanes(2), "2 of 8 frames"),
    "arrays": (ASIDE, "4 of 36 samples"),
    "draws": (CYCLE.frame(lost(numbers(4), 3)), "1 steps"),
}


@pytest.mark.parametrize("verbose", [0, 2])
@pytest.mark.parametrize("kind", TRAINED_ON)
def test_a_nan_loss_is_explained_once(kind, verbose, recwarn):
    data, message = TRAINED_ON[kind]
    model = compiled(recurrent(steps=1 if kind == "lanes" else 2))
    fit(model, data, epochs=3, verbose=verbose)
    (warning,) = user_warnings(recwarn)
    assert re.search("The loss is NaN.*" + message, str(warning.message))
    assert warning.filename == __file__


def test_a_nan_loss_is_explained_in_keras_own_loop(recwarn):
    fit(compiled(recurrent(), run_eagerly=True), BROKEN, epochs=2, verbose=0)
    (warning,) = user_warnings(recwarn)
    assert "3 of 36 frames" in str(warning.message)


def test_a_nan_loss_with_whole_data_is_not_explained(recwarn, monkeypatch):
    model = compiled(recurrent())
    model.set_weights([w * np.nan for w in model.get_weights()])
    data = [numbers(9), lost(numbers(9), 3)]
    whole, skipped = RULE.frame(numbers(9)), RULE.frame(data, skip_nan=True)
    for frames in (whole, skipped, whole.arrays()):
        assert np.isnan(fit(model, frames, epochs=2, verbose=0).history["loss"]).all()
    # If the loss is a number, the data are not searched.
    monkeypatch.setattr("seqframe.training.nan.count_touching_nan", None)
    fit(compiled(recurrent()), whole, epochs=2, verbose=0)
    assert not user_warnings(recwarn)
