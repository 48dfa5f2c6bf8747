"""Targets, future and weights are matched with sequences by group and date, or refused."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer


def panel(library, lengths, seed=0, **names):
    """Return a table of groups of these lengths by label, one below the other."""
    labels = [label for label, length in lengths.items() for _ in range(length)]
    values = np.random.default_rng(seed).integers(0, 99, len(labels)).astype(float)
    by, column = names.get("by", "store"), names.get("column", "units")
    return library.DataFrame({by: labels, column: values})


def parts(table, lengths, column):
    """Return a column of each group, by label."""
    edges = np.cumsum([0, *lengths.values()])
    values = table[column].to_numpy()[:, None]
    spans = zip(lengths, edges[:-1], edges[1:], strict=True)
    return {label: values[begin:end] for label, begin, end in spans}


def assert_same(found, expected):
    """Assert that the arrays of frames with a future, or without, are the same."""
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, dict):
            assert_same(one.values(), other.values())
        else:
            np.testing.assert_array_equal(one, other)


@EACH_LIBRARY
@pytest.mark.parametrize("numeric", [False, True])
@given(
    lengths=st.lists(st.integers(3, 6), min_size=1, max_size=4),
    ahead=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_future_is_matched_by_its_own_labels(library, numeric, lengths, ahead):
    names = range(len(lengths)) if numeric else "abcd"
    lengths = dict(zip(names, lengths, strict=False))
    longer = {label: length + ahead.draw(st.integers(0, 3)) for label, length in lengths.items()}
    order = ahead.draw(st.permutations([*longer, *([9] if numeric else ["z"])]))
    plans_lengths = {label: longer.get(label, 2) for label in order}  # and one of no sequence
    sales, plans = panel(library, lengths), panel(library, plans_lengths, 1, column="price")
    frames = SequenceFramer(2).frame(sales, by="store", future=plans)
    each, futures = parts(sales, lengths, "units"), parts(plans, plans_lengths, "price")
    expected = SequenceFramer(2).frame(
        list(each.values()), future=[futures[label] for label in lengths]
    )
    assert_same(frames.arrays(), expected.arrays())
    assert frames.framer.future_columns == ("price",)
    # And so does the framer that remembers what tells them apart.
    assert_same(frames.framer.frame(sales, future=plans).arrays(), expected.arrays())


@EACH_LIBRARY
def test_targets_are_matched_by_their_labels(library):
    lengths = {"n": 4, "s": 3}
    sales = panel(library, lengths)
    sold = panel(library, {"s": 3, "n": 4}, 1, column="sold")
    frames = SequenceFramer(2).frame(sales, sold, by="store")
    each, targets = parts(sales, lengths, "units"), parts(sold, {"s": 3, "n": 4}, "sold")
    expected = SequenceFramer(2).frame([each["n"], each["s"]], [targets["n"], targets["s"]])
    assert_same(frames.arrays(), expected.arrays())


@EACH_LIBRARY
def test_the_labels_of_a_list_are_no_features(library):
    tables = [panel(library, {1: 4}), panel(library, {2: 3})]
    plans = [panel(library, {1: 6}, 1, column="price"), panel(library, {2: 3}, 2, column="price")]
    frames = SequenceFramer(2).frame(tables, by="store", future=plans)
    assert frames.framer.future_columns == ("price",)
    assert frames.x_shape == {"past": (2, 1), "future": (1, 1)}


@EACH_LIBRARY
def test_a_column_that_the_framer_names_stays(library):
    sales = panel(library, {1: 4, 2: 4})
    plans = panel(library, {1: 4, 2: 4}, 1, column="price")
    framer = SequenceFramer(2, future_columns=["store", "price"])
    assert framer.frame(sales, by="store", future=plans).x_shape["future"] == (1, 2)


SALES = panel(pd, {"n": 4, "s": 4})
PLANS = panel(pd, {"n": 6, "s": 6}, column="price")
LABELLED = {
    "longer": (PLANS[["price"]], r"`future` .* 12 rows for 8 steps\. Give it the columns.*store"),
    "an array": (np.zeros(9), "`future` .* Received: 9 rows for 8 steps"),
    "a short group": (PLANS[3:], "at least one row .* Received: 3 rows for 'n', which has 4 steps"),
    "without a group": (PLANS[:6], "no row of 's'"),
    "in pieces": (PLANS.iloc[[0, 6, 1, 7]], "must follow each other"),
}


@pytest.mark.parametrize("case", LABELLED)
def test_future_without_matching_groups_is_refused(case):
    future, message = LABELLED[case]
    with pytest.raises(ValueError, match=message):
        SequenceFramer(2).frame(SALES, by="store", future=future)


def test_future_of_labelled_arrays_is_as_long_as_they_are():
    labels = SALES["store"].to_numpy()
    units = SALES["units"].to_numpy()
    assert len(SequenceFramer(2).frame(units, by=labels, future=np.zeros(8))) == 4
    with pytest.raises(ValueError, match=r"`future` .* 9 rows for 8 steps\. Pass lists"):
        SequenceFramer(2).frame(units, by=labels, future=np.zeros(9))


def test_future_needs_all_columns_that_by_names():
    sales = SALES.assign(item=1)
    with pytest.raises(ValueError, match="must have all columns that `by` names"):
        SequenceFramer(2).frame(sales, by=["store", "item"], future=PLANS)


@EACH_LIBRARY
def test_targets_have_a_row_for_each_step_of_a_group(library):
    sales = panel(library, {"n": 4, "s": 4})
    sold = panel(library, {"n": 5, "s": 3}, column="sold")
    with pytest.raises(ValueError, match="5 rows for 'n', which has 4 steps"):
        SequenceFramer(2).frame(sales, sold, by="store")


# Dates: targets, future and weights have the dates of the sequence.

DAYS = pd.date_range("2026-01-01", periods=7)
SERIES = pd.Series(np.arange(5.0), DAYS[:5])
CLOCKS = {
    "days": DAYS,
    "months": pd.period_range("2026-01", periods=7, freq="M"),
    "hours": pd.timedelta_range("0h", periods=7, freq="h"),
    "zoned": DAYS.tz_localize("Europe/Berlin"),
}
KINDS = {
    "targets": lambda index: pd.Series(np.arange(len(index)), index),
    "future": lambda index: pd.DataFrame({"price": np.arange(len(index))}, index),
    "sample_weight": lambda index: pd.Series(np.ones(len(index)), index),
    "valid": lambda index: pd.Series(np.ones(len(index), bool), index),
}


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("name", KINDS)
def test_tables_need_the_dates_of_the_sequence(name, kind):
    clock, make = CLOCKS[kind], KINDS[name]
    series = pd.Series(np.arange(5.0), clock[:5])
    framer = SequenceFramer(2)

    def frame(index, series=series):
        values = make(index)
        if isinstance(series, list):
            values = [make(series[0].index), values]
        return framer.frame(series, **{name: values})

    assert len(frame(clock[:5])) == 3
    for wrong in clock[1:6], clock[:5][::-1], clock[[0, 1, 2, 4, 5]]:
        with pytest.raises(ValueError, match=f"`{name}` must have the dates of the sequence"):
            frame(wrong)
        with pytest.raises(ValueError, match=rf"`{name}\[1\]` must have the dates"):
            frame(wrong, [series, series])
    # An index that only counts rows says nothing of dates. Other numbers cannot be dates.
    assert len(frame(range(5))) == 3
    with pytest.raises(ValueError, match=f"`{name}` must have .* same kind .* int64 for"):
        frame(range(7, 12))
    assert len(frame(clock[1:6], series.to_numpy())) == 3


def test_future_may_be_longer_than_the_sequence():
    assert len(SequenceFramer(2).frame(SERIES, future=KINDS["future"](DAYS))) == 3


@pytest.mark.parametrize("index", [DAYS.tz_localize("UTC"), DAYS.to_period("D")])
def test_dates_of_another_kind_are_refused(index):
    with pytest.raises(
        ValueError, match=rf"`future` must have .* same kind .* {re.escape(str(index.dtype))} for"
    ):
        SequenceFramer(2).frame(SERIES, future=KINDS["future"](index))


def test_dates_of_groups_are_compared_group_by_group():
    sales = SALES.set_index(DAYS[:4].append(DAYS[2:6]))
    plans = PLANS.set_index(DAYS[:6].append(DAYS[2:].append(DAYS[:1] + pd.Timedelta(days=9))))
    frames = SequenceFramer(2).frame(sales, by="store", future=plans)
    assert len(frames) == 4
    # A future may begin before its group.
    early = PLANS.set_index(DAYS[:6].append(DAYS[1:]))
    x, _ = SequenceFramer(2).frame(sales, by="store", future=early).arrays()
    prices = PLANS["price"].to_numpy()
    assert x["future"].ravel().tolist() == prices[[2, 3, 9, 10]].tolist()
    late = PLANS.set_index(DAYS[:6].append(DAYS[3:].append(DAYS[:2] + pd.Timedelta(days=9))))
    with pytest.raises(ValueError, match=r"Received: 2026-01-04 .* instead of .*-03 .*of 's'"):
        SequenceFramer(2).frame(sales, by="store", future=late)
    weights = pd.Series(np.ones(8), DAYS[:4].append(DAYS[1:5]))
    with pytest.raises(ValueError, match=r"`sample_weight` must have the dates"):
        SequenceFramer(2).frame(sales, by="store", sample_weight=weights)


def test_weights_of_frames_may_have_any_index():
    assert len(SequenceFramer(2).frame(SERIES, sample_weight=pd.Series(np.ones(3), DAYS[2:5]))) == 3


# Numbers and names in an index tell steps as dates do.

INDEXES = {
    "numbers": pd.RangeIndex(100, 107),
    "years": pd.Index([2020, 2021, 2022, 2023, 2025, 2026, 2030]),
    "uneven": pd.Index([0.5, 1.5, 2.0, 4.0, 8.0, 9.0, 11.0]),
    "names": pd.Index([*"abcdefg"]),
    "categories": pd.CategoricalIndex([*"abcdefg"]),
    "levels": pd.MultiIndex.from_arrays([["x"] * 7, [*"abcdefg"]]),
    "Python's dates": pd.Index([day.date() for day in DAYS], dtype=object),
    "days without a frequency": pd.DatetimeIndex(list(DAYS)),
}


@pytest.mark.parametrize("kind", INDEXES)
@pytest.mark.parametrize("name", KINDS)
def test_tables_need_the_index_of_the_sequence(name, kind):
    index, make, framer = INDEXES[kind], KINDS[name], SequenceFramer(2)
    series = pd.Series(np.arange(5.0), index[:5])
    assert len(framer.frame(series, **{name: make(index[:5])})) == 3
    for wrong in index[1:6], index[:5][::-1], index[[0, 1, 2, 4, 5]], index[[0, 0, 1, 2, 3]]:
        with pytest.raises(ValueError, match=f"`{name}` must have the (dates|index) of the seq"):
            framer.frame(series, **{name: make(wrong)})
        array = make(wrong).to_numpy()
        assert len(framer.frame(series, **{name: array})) == 3  # the way out


@pytest.mark.parametrize("kind", INDEXES | CLOCKS)
@pytest.mark.parametrize("listed", [False, True])
def test_future_is_matched_by_its_index(kind, listed):
    """A future may begin before the sequence and end after it."""
    index = (INDEXES | CLOCKS)[kind]
    plans = pd.DataFrame({"price": np.arange(7.0)}, index)
    for start in 0, 1, 2:
        series = pd.Series(np.arange(5.0), index[start : start + 5])
        given = ([series] * 2, [plans] * 2) if listed else (series, plans)
        x, _ = SequenceFramer(2).frame(given[0], future=given[1]).arrays()
        expected = np.arange(start + 2.0, start + 5)
        np.testing.assert_array_equal(x["future"].ravel()[:3], expected)


def test_numbers_of_rows_are_labels():
    """A part of a table keeps its numbers, so it fits the same part of another."""
    sales = pd.DataFrame({"units": np.arange(9.0)})
    plans = pd.DataFrame({"price": np.arange(12.0) * 10})
    for begin in 0, 4:
        x, y = SequenceFramer(2).frame(sales[begin:], future=plans).arrays()
        np.testing.assert_array_equal(x["future"].ravel(), y.ravel() * 10)
    with pytest.raises(ValueError, match=r"`future` must have the index .* 3 instead of 0"):
        SequenceFramer(2).frame(sales, future=plans[3:])
    with pytest.raises(ValueError, match=r"`targets` must have the index .* 0 instead of 4"):
        SequenceFramer(2).frame(sales[4:], targets=plans[:5].reset_index(drop=True))


def test_numbers_of_the_rows_of_groups_are_no_labels():
    """Numbers that repeat from group to group are steps; others are numbers of rows."""
    frame = SequenceFramer(2).frame
    mixed = SALES.set_axis([3, 9, 4, 1, 7, 2, 8, 5])
    plans = PLANS.set_axis([20, 11, 15, 12, 19, 18, 17, 10, 16, 14, 13, 21])
    expected = frame(SALES, by="store", future=PLANS).arrays()
    assert_same(frame(mixed, by="store", future=plans).arrays(), expected)
    weeks = SALES.set_axis([*range(30, 34)] * 2)
    early = PLANS.set_axis([*range(29, 35)] * 2)
    x, _ = frame(weeks, by="store", future=early).arrays()
    prices = PLANS["price"].to_numpy()
    np.testing.assert_array_equal(x["future"].ravel(), prices[[3, 4, 9, 10]])
    with pytest.raises(ValueError, match=r"must have the index .* 31 instead of 30 of 'n'"):
        frame(weeks, by="store", future=PLANS.set_axis([*range(31, 37)] * 2))


@EACH_LIBRARY
@pytest.mark.parametrize("name", ["targets", "future"])
def test_series_that_are_swapped_are_refused(library, name):
    tables = [panel(library, {"n": 4}), panel(library, {"s": 4})]
    others = [panel(library, {"n": 4}, 1, column="x"), panel(library, {"s": 4}, 2, column="x")]
    for framer, by in (SequenceFramer(2, by="store"), None), (SequenceFramer(2), "store"):
        assert len(framer.frame(tables, **{name: others}, by=by)) == 4
        message = rf"`{name}\[0\]` must be of the same series as `sequences\[0\]`.*store='s'"
        with pytest.raises(ValueError, match=message):
            framer.frame(tables, **{name: others[::-1]}, by=by)


@pytest.mark.parametrize("groups", ["a", "ab"])
def test_a_filtered_history_takes_the_future_of_its_own_rows(groups):
    """`dropna` leaves the numbers of the rows, by which the future is found."""
    table = pd.DataFrame({"store": sorted([*groups] * 6), "units": np.arange(6.0 * len(groups))})
    table["price"] = 100 + table["units"]
    table["lag"] = table.groupby("store")["units"].shift(2)
    history, future = table.dropna(), table[["store", "price"]]
    framer = SequenceFramer(3, columns=["units"])
    x, _ = framer.frame(history[["store", "units"]], by="store", future=future).arrays()
    np.testing.assert_array_equal(x["future"].ravel(), 100 + x["past"][:, -1].ravel() + 1)


@pytest.mark.parametrize(("begin", "distance"), [(0, 1.0), (0, 1e-10), (1.7e9, 1.0)])
def test_numbers_in_an_index_are_told_apart_by_their_distance(begin, distance):
    index = begin + distance * np.arange(12)
    series, future = (pd.Series(np.arange(12.0) + k, index) for k in (0, 100))
    x, _ = SequenceFramer(2).frame(series.iloc[1:10], future=future).arrays()
    np.testing.assert_array_equal(x["future"].ravel(), 100 + x["past"][:, -1].ravel() + 1)
    with pytest.raises(ValueError, match="from its first step on"):
        SequenceFramer(2).frame(series, targets=pd.Series(np.arange(12.0), np.roll(index, 1)))


def test_indexes_of_intervals_and_with_missing_labels():
    values = pd.Series(np.arange(8.0))
    values.index = pd.interval_range(0, 8)
    x, _ = SequenceFramer(2).frame(values.iloc[1:7], future=values).arrays()
    np.testing.assert_array_equal(x["future"].ravel(), x["past"][:, -1].ravel() + 1)
    values.index = ["a", None, *"cdefgh"]
    assert len(SequenceFramer(2).frame(values, targets=values * 2)) == 6
