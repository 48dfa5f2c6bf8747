"""What a generator's model predicts is what it was trained on, of one series at a time."""

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import layers
from models import numbers, seeded, user_warnings

from seqframe import Generator, SequenceFramer, backtest
from seqframe.rollout.targets import choose_targets

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
def test_a_generator_knows_what_its_model_was_trained_on(trained, default):
    frames = SequenceFramer(2).frame(TABLE, targets=trained)
    outputs = 1 if isinstance(trained, str) else 3 if trained is None else len(trained)
    model, given = flat(outputs), {}
    generator = Generator(model, frames.framer)
    assert generator.targets == default
    told = Generator(model, frames.framer, targets=trained)
    if outputs < 3:
        given["future"] = TABLE
    found, expected = (each.forecast(TABLE, 3, **given) for each in (generator, told))
    assert type(found) is type(expected)
    assert found.equals(expected)
    known = {"future": TABLE} if outputs < 3 else {}
    np.testing.assert_array_equal(
        backtest(generator, TABLE, 2, **known).free_run, backtest(told, TABLE, 2, **known).free_run
    )
    # What a function of the user's feeds back need not be of the targets.
    feeding = Generator(model, frames.framer, feedback=lambda prediction, last: last)
    assert feeding.targets is None


def test_one_column_is_as_without_targets():
    table = TABLE[["units"]]
    for targets in "units", ["units"], None:
        frames = SequenceFramer(2).frame(table, targets=targets)
        found = Generator(flat(1, features=1), frames.framer).forecast(table, 3)
        assert found.columns.tolist() == ["units"]


SAME = [("price", 1), ("price", "price"), ("price", ["price"]), (["price", "units"], (1, 0))]
OTHERS = [("price", "units"), ("price", 0), (["price", "units"], ["units", "price"])]


@pytest.mark.parametrize(("trained", "targets"), SAME)
def test_targets_may_be_said_again(trained, targets):
    framer = SequenceFramer(2, columns=NAMES, target_columns=trained)
    assert choose_targets(targets, framer, False) is targets


@pytest.mark.parametrize(("trained", "targets"), [*OTHERS, ("price", np.array([1, 0]))])
def test_targets_that_contradict_training_are_refused_at_once(trained, targets):
    framer = SequenceFramer(2, columns=NAMES, target_columns=trained)
    for feedback in None, lambda prediction, last: last:
        with pytest.raises(ValueError, match=r"`targets` must be those that the model was trained"):
            Generator(flat(len(np.atleast_1d(targets))), framer, targets=targets, feedback=feedback)
    unnamed = SequenceFramer(2, target_columns="price")  # positions say nothing without columns
    assert choose_targets(0, unnamed, False) == 0
    with pytest.raises(ValueError, match=r"trained on, 'price'\. Received: targets='units'"):
        choose_targets("units", unnamed, False)


@pytest.mark.parametrize("targets", ["Units", ["units", "x"], 3, -4])
def test_targets_are_among_the_columns(targets):
    framer = SequenceFramer(2, columns=NAMES)
    with pytest.raises(ValueError, match=r"`targets` (names the column|must be a column in)"):
        Generator(flat(1), framer, targets=targets)


@LIBRARIES
def test_columns_by_position_are_said_to_be(library, recwarn):
    """Where their order is another one, the forecast is wrong."""
    table = library.DataFrame({name: TABLE[name].to_numpy() for name in NAMES})
    framer = SequenceFramer(2)
    frames = framer.frame(table, targets="units")
    model = flat(1)
    for use in (
        lambda generator: generator.forecast(table, 2, future=table),
        lambda generator: generator.forecast([table, table], 2, future=[table, table]),
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
    by_place.forecast(table, 2, future=TABLE.to_numpy()[:, 1:])
    backtest(Generator(model, framer, targets="units"), frames, 2)
    one = Generator(flat(1, features=1), framer, targets="units")
    one.forecast(table[["units"]], 2)
    assert not user_warnings(recwarn)


# --- One series at a time.


@LIBRARIES
@pytest.mark.parametrize("by", ["store", ["store", "item"]])
def test_a_panel_is_not_one_history(library, by):
    labels = {"store": ["a"] * 12 + ["b"] * 12, "item": ["x"] * 24, "units": numbers(24)}
    panel = library.DataFrame(labels)
    columns = ["units"]
    frames = SequenceFramer(2).frame(panel[[*columns, "store", "item"]], by=["store", "item"])
    framer = SequenceFramer(2, columns=columns, by=by)
    assert frames.framer.by == ("store", "item")
    generator = Generator(flat(1, features=1), framer)
    way = "partition_by" if library is pl else r"part for _, part in table.groupby\('store'\)"
    for name, use in {
        "history": lambda table: generator.forecast(table, 2),
        "data": lambda table: backtest(generator, table, 2),
    }.items():
        message = rf"`{name}` must be one series: 'store' .* with 2 labels .*: a, b\. .*{way}"
        with pytest.raises(ValueError, match=message):
            use(panel)
        with pytest.raises(ValueError, match=rf"`{name}\[1\]` must be one series"):
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


def test_a_panel_is_not_one_future():
    shop = TABLE.assign(store="a")
    frames = SequenceFramer(2).frame(shop, targets="units", by="store")
    generator = Generator(flat(1), frames.framer)
    plans = pd.concat([shop, shop.assign(store="b")], ignore_index=True)
    with pytest.raises(ValueError, match="`future` must be one series: 'store'"):
        generator.forecast(shop, 3, future=plans)
    assert len(generator.forecast(shop, 3, future=shop)) == 3


def test_labels_that_are_missing_are_labels():
    framer = SequenceFramer(2, columns=["units"], by="store")
    table = pd.DataFrame({"units": numbers(4), "store": ["a", "a", None, None]})
    with pytest.raises(ValueError, match="with 2 labels"):
        Generator(flat(1, features=1), framer).forecast(table, 2)


@pytest.mark.parametrize("make", [np.array, pd.Index, pd.Series, tuple])
def test_names_in_an_array_are_names(make, tmp_path):
    for names in ["price"], ["holiday", "units"]:
        given = make(names)
        expected = SequenceFramer(2).frame(TABLE, targets=names, future=names)
        frames = SequenceFramer(2).frame(TABLE, targets=given, future=given)
        assert frames.framer == expected.framer
        for found, array in zip(frames.arrays()[1], expected.arrays()[1], strict=True):
            np.testing.assert_array_equal(found, array)
        generator = Generator(flat(len(names)), SequenceFramer(2, columns=NAMES), targets=given)
        assert list(generator.targets) == names
        future = TABLE.drop(columns=names)
        forecast = generator.forecast(TABLE, 2, future=future)
        assert forecast.columns.tolist() == names
        generator.save(tmp_path / "generator.keras")
        assert Generator.load(tmp_path / "generator.keras").targets == names
        assert backtest(generator, TABLE, 2, future=future).actual.shape[2:] == (len(names),)
