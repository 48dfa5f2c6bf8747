"""A generator predicts the columns that its model was trained on, one series at a time."""

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import layers
from models import numbers, seeded, user_warnings

from seqframe import Generator, SequenceFramer, backtest

NAMES = ["units", "price", "holiday"]
TABLE = pd.DataFrame(numbers(12, 3), columns=NAMES)
LIBRARIES = pytest.mark.parametrize("library", [pd, pl])


def flat(outputs, features=3):
    parts = [keras.Input((2, features)), layers.Flatten(), layers.Dense(outputs)]
    return seeded(keras.Sequential(parts), scale=0.3)


@pytest.mark.parametrize(
    ("trained", "default"),
    [
        (None, None),
        ("price", "price"),
        (["price"], ["price"]),
        ([2, 0], ["holiday", "units"]),
        (NAMES[::-1], NAMES[::-1]),
        (NAMES, None),  # all of them, as without
    ],
    ids=str,
)
def test_a_generator_predicts_the_target_columns_of_its_framer(trained, default):
    frames = SequenceFramer(2).frame(TABLE, targets=trained)
    outputs = 1 if isinstance(trained, str) else 3 if trained is None else len(trained)
    model, given = flat(outputs), {}
    generator = Generator(model, frames.framer)
    assert generator.targets == default
    told = Generator(model, frames.framer, targets=trained)
    if outputs < 3:
        given["future"] = TABLE[:3]
    found, expected = (each.forecast(TABLE, 3, **given) for each in (generator, told))
    assert type(found) is type(expected)
    assert found.equals(expected)
    known = {"future": TABLE} if outputs < 3 else {}  # on the clock of the data
    np.testing.assert_array_equal(
        backtest(generator, TABLE, 2, **known).free_run, backtest(told, TABLE, 2, **known).free_run
    )
    # What a function of the user's feeds back need not be of the targets.
    feeding = Generator(model, frames.framer, feedback=lambda prediction, last: last)
    assert feeding.targets is None


SAME = [("price", 1), ("price", "price"), ("price", ["price"]), (["price", "units"], (1, 0))]
OTHERS = [("price", "units"), ("price", 0), (["price", "units"], ["units", "price"])]


@pytest.mark.parametrize(("trained", "targets"), SAME)
def test_targets_may_be_repeated(trained, targets):
    framer = SequenceFramer(2, columns=NAMES, target_columns=trained)
    found = Generator(flat(len(np.atleast_1d(trained))), framer, targets=targets).targets
    assert found == (list(targets) if isinstance(targets, tuple) else targets)


@pytest.mark.parametrize(("trained", "targets"), [*OTHERS, ("price", np.array([1, 0]))])
def test_targets_that_contradict_training_are_refused(trained, targets):
    framer = SequenceFramer(2, columns=NAMES, target_columns=trained)
    model = flat(len(np.atleast_1d(targets)))
    for feedback in None, lambda prediction, last: last:
        with pytest.raises(ValueError, match=r"`targets` .*trained on"):
            Generator(model, framer, targets=targets, feedback=feedback)
    unnamed = SequenceFramer(2, target_columns="price")  # positions say nothing without columns
    assert Generator(flat(1), unnamed, targets=0).targets == 0
    with pytest.raises(ValueError, match=r"trained on, 'price'.*targets='units'"):
        Generator(flat(1), unnamed, targets="units")


@LIBRARIES
def test_reading_columns_by_position_warns(library, recwarn):
    """If the order of the columns differs, the forecast is wrong."""
    table = library.DataFrame({name: TABLE[name].to_numpy() for name in NAMES})
    framer = SequenceFramer(2)
    frames = framer.frame(table, targets="units")
    model = flat(1)
    for use in (
        lambda generator: generator.forecast(table, 2, future=table[:2]),
        lambda generator: generator.forecast([table, table], 2, future=[table[:2], table[:2]]),
        lambda generator: backtest(generator, table, 2, future=table),
    ):
        for quiet in (
            Generator(model, frames.framer),
            Generator(model, frames.framer, targets="units"),
        ):
            use(quiet)
        assert not user_warnings(recwarn)
        with pytest.warns(UserWarning, match=r"knows no columns.*frames\.framer") as warned:
            use(Generator(model, framer, targets="units"))
        assert {warning.filename for warning in user_warnings(warned)} == {__file__}
        recwarn.clear()
    # Positions are what they say, and so is a table of one column.
    by_place = Generator(model, framer, targets=0)
    by_place.forecast(table, 2, future=TABLE.to_numpy()[:2, 1:])
    generator = Generator(model, framer, targets="units")
    backtest(generator, frames, 2, future=["price", "holiday"])
    one = Generator(flat(1, features=1), framer, targets="units")
    one.forecast(table[["units"]], 2)
    assert not user_warnings(recwarn)


# --- One series at a time.


@LIBRARIES
@pytest.mark.parametrize("by", ["store", ["store", "item"]])
def test_a_table_of_several_series_in_a_list_is_refused(library, by):
    labels = {"store": ["a"] * 12 + ["b"] * 12, "item": ["x"] * 24, "units": numbers(24)}
    panel = library.DataFrame(labels)
    columns = ["units"]
    frames = SequenceFramer(2).frame(panel[[*columns, "store", "item"]], by=["store", "item"])
    framer = SequenceFramer(2, columns=columns, by=by)
    assert frames.framer.by == ("store", "item")
    generator = Generator(flat(1, features=1), framer)
    for name, use in {
        "history": lambda table: generator.forecast(table, 2),
        "sequences": lambda table: backtest(generator, table, 2),
    }.items():
        with pytest.raises(ValueError, match=rf"`{name}\[1\]` .*'store'.*2 labels.*one table for"):
            use([panel[:12], panel])
        use(panel[:12])
        use(panel[["units"]])
        parts = panel.partition_by("store") if library is pl else None
        use(parts or [part for _, part in panel.groupby("store")])


@LIBRARIES
@pytest.mark.parametrize("columns", [None, ["units"]])
def test_a_table_of_one_series_is_forecast_without_its_label(library, columns):
    panel = library.DataFrame({"store": [1] * 12 + [2] * 12, "units": numbers(24)})
    framer = SequenceFramer(2, columns=columns, by="store")
    generator = Generator(flat(1, features=1), framer)
    parts = [panel[:12], panel[12:]]
    bare = [part[["units"]] for part in parts]
    for found, expected in zip(
        generator.forecast(parts, 3), generator.forecast(bare, 3), strict=True
    ):
        assert list(found.columns) == ["units"]
        np.testing.assert_array_equal(found, expected)
    for found in backtest(generator, parts, 2), backtest(generator, framer.frame(parts), 2):
        np.testing.assert_array_equal(found.free_run, backtest(generator, bare, 2).free_run)


@pytest.mark.parametrize("make", [np.array, pd.Index, pd.Series, tuple])
def test_targets_may_be_an_array_of_names(make, tmp_path):
    for names in ["price"], ["holiday", "units"]:
        given, others = make(names), [name for name in NAMES if name not in names]
        expected = SequenceFramer(2).frame(TABLE, targets=names, future=others)
        frames = SequenceFramer(2).frame(TABLE, targets=given, future=make(others))
        assert frames.framer == expected.framer
        for found, array in zip(frames.arrays()[1], expected.arrays()[1], strict=True):
            np.testing.assert_array_equal(found, array)
        generator = Generator(flat(len(names)), SequenceFramer(2, columns=NAMES), targets=given)
        assert list(generator.targets) == names
        future = TABLE.drop(columns=names)
        forecast = generator.forecast(TABLE, 2, future=future[:2])
        assert forecast.columns.tolist() == names
        generator.save(tmp_path / "generator.keras")
        assert Generator.load(tmp_path / "generator.keras").targets == names
        assert backtest(generator, TABLE, 2, future=future).actual.shape[2:] == (len(names),)
