"""Dates go strictly forward within a sequence, or they are refused."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import numbers, recurrent

from seqframe import Generator, SequenceFramer, backtest

DAYS = pd.date_range("2026-01-01", periods=8)
MONTHS = pd.period_range("2026-01", periods=8, freq="M")
HOURS = pd.timedelta_range("0h", periods=8, freq="h")
ZONED = pd.date_range("2026-03-29", periods=8, freq="h", tz="Europe/Berlin")  # a clock change
UNEVEN = DAYS.delete([2, 5]).append(pd.DatetimeIndex(["2026-02-01", "2026-03-01"]))
CLOCKS = {"days": DAYS, "months": MONTHS, "hours": HOURS, "zoned": ZONED, "uneven": UNEVEN}


@pytest.fixture(scope="module")
def generator():
    return Generator(recurrent(steps=2), SequenceFramer(2))


def uses(generator):
    return {
        "sequences": lambda table: SequenceFramer(2).frame(table),
        "history": lambda table: generator.forecast(table, 2),
        "data": lambda table: backtest(generator, table, 2),
    }


ORDERS = {  # rows of a clock in an order: the first pair of rows that does not go forward
    "newest first": ([7, 6, 5, 4, 3, 2, 1, 0], 0),
    "shuffled": ([0, 1, 4, 2, 3, 5, 6, 7], 2),
    "one twice": ([0, 1, 2, 3, 3, 5, 6, 7], 3),
    "two series": ([0, 1, 2, 3, 0, 1, 2, 3], 3),
    "the last": ([0, 1, 2, 3, 4, 5, 7, 6], 6),
}


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("name", ["sequences", "history", "data"])
@pytest.mark.parametrize("order", ORDERS)
def test_dates_that_do_not_go_forward_are_refused(generator, name, order, kind):
    rows, at = ORDERS[order]
    index = CLOCKS[kind][rows]
    use = uses(generator)[name]
    series = pd.Series(np.arange(8.0), index)
    repeats = order in ("one twice", "two series")
    name = "sequences" if name == "data" else name
    pair = re.escape(f"Received: {index[at]} in row {at}, then {index[at + 1]}. ")
    message = rf"`{name}` must have dates .* {pair}Sort it"
    with pytest.raises(ValueError, match=message):
        use(series)
    with pytest.raises(ValueError, match=message.replace(f"`{name}`", rf"`{name}\[1\]`")):
        use([series.sort_index().groupby(level=0).first(), series])
    if not repeats and not (name == "history" and kind == "uneven"):
        use(series.sort_index())  # the advice works


@pytest.mark.parametrize("name", ["sequences", "history", "data"])
@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(8, 0, -1),
        pd.Index([3, 1, 2, 2, 5, 0, 7, 6]),
        pd.Index(list("hgfedcba")),
        pd.Index([1.0, np.nan, 0.5, 3, 2, 2, 2, 1]),
        pd.MultiIndex.from_product([["a", "b"], [2, 1, 4, 3]]),
        pd.MultiIndex.from_product([["a"], DAYS]),
        *CLOCKS.values(),
    ],
    ids=lambda index: type(index).__name__,
)
def test_only_dates_must_go_forward(generator, name, index):
    use = uses(generator)[name]
    if name != "history" or index is not UNEVEN:
        use(pd.Series(np.arange(8.0), index))


PANELS = {  # levels of an index of eight rows: the row and the level that tell series apart
    "a store": ({"store": [*"aaaabbbb"], "date": [*DAYS[:4]] * 2}, 3, "store", "'a'", "'b'"),
    "dates go on": ({"store": [*"aaaabbbb"], "date": DAYS}, 3, "store", "'a'", "'b'"),
    "months": ({"date": MONTHS, "store": [*"aaaaabbb"]}, 4, "store", "'a'", "'b'"),
    "no names": ({0: [*"aabbbbbb"], 1: DAYS}, 1, 0, "'a'", "'b'"),
    "numbers": ({"store": [7, 7, 7, 7, 8, 8, 8, 8], "date": DAYS}, 3, "store", "7", "8"),
    "two levels": ({"k": [1] * 8, "item": [*"aaaabbbb"], "date": DAYS}, 3, "item", "'a'", "'b'"),
}


@pytest.mark.parametrize("kind", PANELS)
@pytest.mark.parametrize("name", ["sequences", "history", "data"])
def test_an_index_of_several_series_is_refused(generator, name, kind):
    levels, row, level, before, after = PANELS[kind]
    table = pd.DataFrame({"value": numbers(8)}, pd.MultiIndex.from_arrays([*levels.values()]))
    table.index.names = [None if each == 0 or each == 1 else each for each in levels]
    use = uses(generator)[name]
    received = rf"Received: {before} in row {row}, then {after}\."
    name = "sequences" if name == "data" else name
    message = rf"`{name}` must be one series.* level {level!r} .* {received} Pass .*groupby"
    with pytest.raises(ValueError, match=message):
        use(table)
    with pytest.raises(ValueError, match=message.replace(f"`{name}`", rf"`{name}\[1\]`")):
        use([table[:row], table])
    if kind != "no names":  # the advice works, if groups are long enough
        use([part for _, part in table.groupby(level=level) if len(part) > 3])


def test_dates_in_a_level_go_forward_in_each_group():
    index = pd.MultiIndex.from_arrays([[*"aaaabbbb"], [*DAYS[:4]] * 2], names=["store", "date"])
    table = pd.DataFrame({"value": numbers(8), "store": index.get_level_values(0)}, index)
    expected = SequenceFramer(2).frame(table.reset_index(drop=True), by="store").arrays()
    labels = index.get_level_values("store")
    for panel, by in (table, "store"), (table[["value"]], labels):
        found = SequenceFramer(2).frame(panel, by=by).arrays()
        np.testing.assert_array_equal(found[0], expected[0])
        with pytest.raises(ValueError, match=r"must have dates that go strictly .* of 'a'"):
            SequenceFramer(2).frame(panel.iloc[[1, 0, *range(2, 8)]], by=by)
        with pytest.raises(ValueError, match=r"level 'store' .* in row 1, then 'b'"):
            SequenceFramer(2).frame(panel.iloc[[0, 1, *range(4, 8)]], by=[1] * 6)


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_missing_date_is_not_forward(at):
    days = DAYS.where(np.arange(8) != at)
    with pytest.raises(ValueError, match=r"Received: .*NaT.*without a date"):
        SequenceFramer(2).frame(pd.Series(np.arange(8.0), days))


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_dates_of_tables_are_checked_one_by_one(tables):
    """A law: tables pass together where each passes alone. 5 is a missing date."""
    tables = [*tables, [0, 1]]
    days = DAYS.where(np.arange(8) != 5)
    parts = [pd.DataFrame({"value": 1.0}, days[np.array(each, int)]) for each in tables]
    lone = [each if len(each) > 1 else [0] for each in tables]  # one row has no next one
    bad = [k for k, each in enumerate(lone) if each != sorted(set(each)) or 5 in each]
    framer = SequenceFramer(1, gap=-1)
    if not bad:
        with warnings.catch_warnings(action="ignore"):  # of empty tables
            assert len(framer.frame(parts)) == sum(map(len, tables))
        return
    with pytest.raises(ValueError, match=rf"`sequences\[{bad[0]}\]` must have dates"):
        framer.frame(parts)


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=6), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_dates_of_groups_are_checked_one_by_one(groups):
    """A law: groups pass together where each passes alone."""
    days = [DAYS[each] for each in groups]
    labels = np.repeat(np.arange(len(groups)), [len(each) for each in groups])
    table = pd.DataFrame({"group": labels, "value": 1.0}, days[0].append(days[1:]))
    bad = [k for k, each in enumerate(groups) if each != sorted(set(each))]
    for by in "group", labels:
        if not bad:
            assert len(SequenceFramer(2).frame(table[["value"]] if by is labels else table, by=by))
            continue
        with pytest.raises(ValueError, match="must have dates that go strictly forward") as error:
            SequenceFramer(2).frame(table[["value"]] if by is labels else table, by=by)
        if len(groups) > 1:
            assert f" of {bad[0]}. " in str(error.value)


@pytest.mark.parametrize("name", ["sequences", "history", "data"])
@pytest.mark.parametrize("make", [pd.Index, pd.array, pd.Categorical])
def test_pandas_arrays_without_an_index_are_arrays(generator, name, make):
    values = np.arange(8.0)
    found, expected = (uses(generator)[name](each) for each in (make(values), values))
    if name == "sequences":
        np.testing.assert_array_equal(found.arrays()[0], expected.arrays()[0])
    elif name == "history":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_array_equal(found.free_run, expected.free_run)
    symbols = make(list("abca"))
    assert SequenceFramer(2).frame(symbols).framer.vocabulary.symbols == ("a", "b", "c")


@pytest.mark.parametrize("name", ["sequences", "history", "data"])
def test_groupby_is_refused_as_a_sequence(generator, name):
    table = pd.DataFrame({"group": [1, 1, 1, 2, 2, 2, 2], "value": numbers(7)})
    grouped = table.groupby("group")["value"]
    with pytest.raises(TypeError, match=r"must be .*SeriesGroupBy.*part for _, part in"):
        uses(generator)[name](grouped)
    uses(generator)[name]([part for _, part in grouped])  # the advice works
