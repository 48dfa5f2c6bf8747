"""A NaN in a forecast is said to come from where it comes from."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from models import numbers, seeded

from seqframe import Generator, SequenceFramer, backtest

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


SOURCES = [  # of the history and the future, steps that are lost; what is said
    (None, 2, "history 0, and NaN at step 2 of the future. Fill it in"),
    (7, 2, "history 0, and NaN at step 2 of the future"),
    (7, None, "history 0, and NaN at step 7 of the history. Fill it in"),
    (5, 9, "history 0, and NaN at step 5 of the history"),  # what is not used does no harm
]


@pytest.mark.parametrize(("past", "ahead", "message"), SOURCES)
def test_the_step_that_is_missing_is_named(past, ahead, message):
    history = numbers(8) if past is None else lost(numbers(8), past)
    future = numbers(12, seed=1) if ahead is None else lost(numbers(12, seed=1), ahead)
    made = generator()
    with pytest.raises(ValueError, match=re.escape(message)):
        made.forecast(history, 4, future=future)
    second = message.replace("history 0", "history 1")
    with pytest.raises(ValueError, match=re.escape(second)):
        made.forecast([numbers(5), history], 4, future=[numbers(6), future])
    dated = pd.Series(history, DAYS[:8]), pd.Series(future, DAYS[8:20])
    which = int(re.search(r"step (\d+) of the", message).group(1))
    day = DAYS[which + (8 if "future" in message else 0)]
    with pytest.raises(ValueError, match=re.escape(f"at step {which} ({day}) of the")):
        made.forecast(dated[0], 4, future=dated[1])
    if ahead == 2:
        infinite = np.where(np.isnan(future), np.inf, future)
        with pytest.raises(ValueError, match="and infinity at step 2 of the future"):
            made.forecast(numbers(8), 4, future=lost(infinite, 3))


def test_a_future_on_the_clock_of_its_history():
    made = generator(return_sequences=True)
    with pytest.raises(ValueError, match="and NaN at step 9 of the future"):
        made.forecast(numbers(8), 4, future=lost(numbers(12, seed=1), 9))


def test_a_model_that_diverged_is_to_blame():
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
    message = r"step 0 of origin 16, and NaN at step 15 of the data\. Fill"
    with pytest.raises(ValueError, match=message):
        backtest(made, past, 2, future=future, **options)
    message = r"step 0 of origin 16 of sequence 1, and NaN at step 15 of the data"
    with pytest.raises(ValueError, match=message):
        backtest(made, [numbers(20), past], 2, future=[numbers(20), future], **options)
    dated = [pd.Series(values, DAYS[:30]) for values in (past, future)]
    message = r"origin 16 \(2026-01-17.*\), and NaN at step 15 \(2026-01-16.*\) of the data"
    with pytest.raises(ValueError, match=message):
        backtest(made, dated[0].to_frame("a"), 2, future=dated[1], **options)
    clean, ahead = numbers(30), lost(future, 20)
    with pytest.raises(ValueError, match=r"of origin (17|18|19|20).* at step 20 of the future"):
        backtest(made, clean, 2, future=ahead, **options)
