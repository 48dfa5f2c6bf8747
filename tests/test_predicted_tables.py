"""Predictions as tables: each row has the series, the date and the values of its target step."""

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import layers
from models import numbers, recurrent

from seqframe import SequenceFramer, Vocabulary, predict
from seqframe.framing.predictions import tabulate

FRAMERS = {
    "windows": dict(sequence_length=3),
    "two ahead": dict(sequence_length=3, horizon=2, sequence_stride=2),
    "after a gap": dict(sequence_length=2, horizon=3, gap=1),
    "the last step": dict(sequence_length=3, gap=-1, columns=["price"]),
    "prefixes": dict(sequence_length=4, mode="prefixes"),
    "each step": dict(sequence_length=3, return_sequences=True),
    "each step, padded": dict(sequence_length=4, mode="prefixes", return_sequences=True, horizon=2),
}
DAYS = pd.date_range("2026-01-01", periods=12, name="day")


def panel():
    parts = [
        pd.DataFrame({"store": store, "units": numbers(size), "price": numbers(size, seed=1)}, days)
        for store, size, days in [("north", 12, DAYS), ("south", 7, DAYS[5:])]
    ]
    return pd.concat(parts)


@pytest.mark.parametrize("targets", ["units", ["units", "price"]])
@pytest.mark.parametrize("kind", FRAMERS)
def test_each_row_has_the_date_of_its_target(kind, targets):
    """A law: targets, taken as predictions, are the values of their series and dates."""
    framer, table = SequenceFramer(**FRAMERS[kind]), panel()
    targets = "units" if kind == "the last step" else targets
    names = [targets] if isinstance(targets, str) else targets
    whole = framer.frame(table, targets=targets, by="store")
    known = table.set_index("store", append=True)[names]
    for frames in whole, *whole.split(0.5, 0.5, share_history=framer.mode == "windows"):
        y = frames.arrays()[1]
        found = tabulate(frames, y)
        assert found.index.name == "day"
        ahead = ["step"] if framer.horizon > 1 else []
        assert list(found.columns) == ["store", *ahead, *names]
        expected = known.loc[list(zip(found.index, found["store"], strict=True))]
        np.testing.assert_array_equal(found[names], expected)
        # Frame by frame, in order, without padding.
        stores, rows = frames.labels().tolist(), []
        for number in range(len(frames)):
            steps = frames.steps(number).targets.reshape(-1, framer.horizon)
            rows += [(stores[number], k + 1) for _ in steps for k in range(framer.horizon)]
        assert found["store"].tolist() == [store for store, _ in rows]
        if ahead:
            assert found["step"].tolist() == [step for _, step in rows]


@pytest.mark.parametrize("library", [pd, pl])
def test_tables_without_dates_number_their_steps(library):
    table = library.DataFrame({"store": ["a"] * 8 + ["b"] * 7, "units": numbers(15)})
    frames = SequenceFramer(2).frame(table, targets="units", by="store").split(0.5, 0.5)[1]
    found = tabulate(frames, frames.arrays()[1])
    assert type(found) is library.DataFrame
    assert list(found.columns) == ["store", "time", "units"]
    assert found["time"].to_list() == [6, 7, 5, 6]
    np.testing.assert_array_equal(found["units"], np.asarray(table["units"])[[6, 7, 13, 14]])


def test_the_newest_windows_have_the_dates_that_follow():
    frames = SequenceFramer(3, horizon=2).frame(panel(), targets="units", by="store")
    found = tabulate(frames.framer.newest(panel()), np.arange(4.0).reshape(2, 2))
    after = DAYS[-1] + pd.to_timedelta([1, 2], unit="D")
    assert found.index.equals(after.append(after).rename("day"))
    assert found["store"].tolist() == ["north"] * 2 + ["south"] * 2
    assert found["units"].tolist() == [0, 1, 2, 3]


WIDTHS = {
    # What is predicted, by which the columns are named.
    "a value": ((), ["prediction"]),
    "quantiles": ((3,), ["prediction_0", "prediction_1", "prediction_2"]),
}


@pytest.mark.parametrize("kind", WIDTHS)
def test_columns_without_names_are_numbered(kind):
    shape, names = WIDTHS[kind]
    frames = SequenceFramer(2, horizon=2).frame([np.arange(6.0), np.arange(5.0)])
    found = tabulate(frames, numbers(5, 2, *shape))
    assert list(found) == ["series", "time", "step", *names]
    assert found["series"].tolist() == [0] * 6 + [1] * 4


def test_the_columns_of_symbols_are_their_names():
    framer = SequenceFramer(2, vocabulary=Vocabulary("ABC"))
    found = tabulate(framer.frame("ABCAB"), np.eye(3))
    assert list(found) == ["time", "A", "B", "C"]


def test_predictions_of_a_model_come_with_their_dates():
    table = panel()
    frames = SequenceFramer(3).frame(table, targets="units", by="store")
    model = recurrent(steps=3, features=2)
    expected = predict(model, frames, verbose=0).ravel()
    found = predict(model, frames, verbose=0, as_table=True)
    np.testing.assert_array_equal(found["units"], expected)
    assert found.index.equals(DAYS[3:].append(DAYS[8:]))
    stateful = recurrent(steps=1, features=2, batch_size=2)
    lanes = SequenceFramer(1).frame(table, targets="units", by="store").lanes(2)
    found = predict(stateful, lanes, verbose=0, as_table=True)
    assert found["store"].tolist() == ["north"] * 11 + ["south"] * 6
    np.testing.assert_array_equal(found["units"], predict(stateful, lanes, verbose=0).ravel())


def test_what_cannot_be_a_table_is_refused():
    frames = SequenceFramer(2, horizon=3).frame(numbers(9))
    with pytest.raises(TypeError, match="`as_table=True` needs `Frames`"):
        predict(recurrent(), frames.arrays()[0], verbose=0, as_table=True)
    with pytest.raises(ValueError, match="`as_table=True` needs values for each of the 3 target"):
        predict(recurrent(outputs=2), frames, verbose=0, as_table=True)
    inputs = keras.Input((2, 1))
    flat = layers.Flatten()(inputs)
    with pytest.raises(TypeError, match="`as_table=True` is for a model with one output"):
        predict(keras.Model(inputs, [flat, flat]), frames, verbose=0, as_table=True)


def test_predictions_of_other_steps_are_refused():
    frames = SequenceFramer(2, horizon=2).frame(np.arange(9.0))
    with pytest.raises(ValueError, match="2 target steps"):
        tabulate(frames, np.zeros((len(frames), 3, 2)))


def test_a_target_may_have_the_name_of_another_column():
    frames = SequenceFramer(2).frame(pd.DataFrame({"time": np.arange(9.0)}))
    assert list(tabulate(frames, np.zeros(len(frames)))) == ["time", "time_predicted"]
