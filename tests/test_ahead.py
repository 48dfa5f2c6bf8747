"""What is known ahead is of the steps that are forecast, and dates them where a history cannot."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from models import numbers, recurrent, seeded, user_warnings

from seqframe import Generator, SequenceFramer, backtest
from seqframe.rollout.ahead import check_future, index_forecast
from seqframe.rollout.continuation import is_guess


def no_freq(index):
    """Return dates that do not say how far apart they are."""
    return type(index)(list(index))


WHOLE = {
    "days": pd.date_range("2026-01-01", periods=16),
    "days, no freq": no_freq(pd.date_range("2026-01-01", periods=16)),
    "business days": no_freq(pd.bdate_range("2026-01-01", periods=16)),
    "month ends": no_freq(pd.date_range("2026-01-31", periods=16, freq="ME")),
    "hours of a time zone": no_freq(
        pd.date_range("2026-03-28 20:00", periods=16, freq="h", tz="Europe/Berlin")
    ),
    "quarters": pd.period_range("2026Q1", periods=16, freq="Q"),
    "every other month": pd.period_range("2026-01", periods=32, freq="M")[::2],
    "time differences": no_freq(pd.timedelta_range("0h", periods=16, freq="h")),
}
KNOWN, STEPS = 9, 4  # of 16


def tables(index, on_clock):
    history = pd.Series(np.arange(KNOWN * 1.0), index[:KNOWN])
    begin = 0 if on_clock else KNOWN
    return history, pd.Series(np.arange(len(index) - begin), index[begin:]), begin


@pytest.mark.parametrize("on_clock", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_every_date_that_is_used_is_checked(kind, on_clock):
    index = WHOLE[kind]
    history, future, begin = tables(index, on_clock)
    check_future(history, future, STEPS, on_clock)
    used = STEPS + (KNOWN if on_clock else 0)
    for row in range(len(future)):
        for other in {*range(len(index))} - {begin + row}:
            moved = future.copy()
            dates = list(future.index)
            dates[row] = index[other]
            moved.index = type(index)(dates)
            if row >= used:
                check_future(history, moved, STEPS, on_clock)
                continue
            if is_guess(history.index) and row >= KNOWN - begin:
                check_guessed(history, moved, on_clock, index[begin + row], index[other])
                continue
            with pytest.raises(ValueError, match=re.escape(str(index[begin + row]))) as error:
                check_future(history, moved, STEPS, on_clock)
            assert str(index[other]) in str(error.value)
            assert f" in row {row}, where " in str(error.value) or row == 0


def check_guessed(history, moved, on_clock, guessed, other):
    """After dates that do not say how far apart they are, others are right if they go forward."""
    begin = KNOWN if on_clock else 0
    dates = [history.index[-1], *moved.index[begin : begin + STEPS]]
    if sorted(set(dates)) != dates:
        with pytest.raises(ValueError, match=r"`future` must (begin|have the dates)"):
            check_future(history, moved, STEPS, on_clock)
        return
    message = rf"go on with {re.escape(str(guessed))}, .* have {re.escape(str(other))}, and these"
    with pytest.warns(UserWarning, match=message) as warned:
        check_future(history, moved, STEPS, on_clock, stacklevel=2)
    assert [warning.filename for warning in user_warnings(warned)] == [__file__]
    found = index_forecast(history, STEPS, moved, on_clock)
    assert found.equals(moved.index[begin : begin + STEPS])


@pytest.mark.parametrize("on_clock", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_after_dates_of_no_frequency_they_only_go_forward(kind, on_clock):
    whole = WHOLE[kind]
    index = no_freq(whole.delete([3, 12]))
    history, future, begin = tables(index, on_clock)
    check_future(history, future, STEPS, on_clock)
    swapped = future.copy()
    row = KNOWN + 1 - begin  # the second step that is forecast
    order = [*range(row), row + 1, row, *range(row + 2, len(future))]
    swapped.index = future.index[order]
    with pytest.raises(ValueError, match=r"`future` must have the dates of the steps") as error:
        check_future(history, swapped, STEPS, on_clock)
    assert f"in row {row + 1}, where " in str(error.value)
    if not on_clock:
        late = future.copy()
        late.index = index[[KNOWN - 1, *range(KNOWN + 1, len(index))]]
        message = rf"begin after the history, whose last step is {re.escape(str(index[KNOWN - 1]))}"
        with pytest.raises(ValueError, match=message + r"\. Received"):
            check_future(history, late, STEPS, on_clock)


def test_a_missing_date_ahead_is_named():
    history, future, _ = tables(WHOLE["days"], on_clock=False)
    future.index = future.index.where(np.arange(len(future)) != 2)
    with pytest.raises(ValueError, match=r"with NaT in row 2, where 2026-01-12"):
        check_future(history, future, STEPS, on_clock=False)


def test_dates_ahead_of_a_history_without_dates_go_forward():
    _, future, _ = tables(WHOLE["days"], on_clock=False)
    for history in np.arange(9.0), pd.Series(np.arange(9.0)):
        check_future(history, future, STEPS, on_clock=False)
        with pytest.raises(ValueError, match="`future` must have dates that go strictly forward"):
            check_future(history, future[::-1], STEPS, on_clock=False)


BERLIN = WHOLE["days"].tz_localize("Europe/Berlin")
MONTHS = pd.period_range("2026-01", periods=16, freq="M")
OTHERS = {  # dates of a history, and dates that cannot be compared with them: what each is, a way
    "a time zone ahead": (
        WHOLE["days"],
        BERLIN,
        "no time zone",
        "Europe/Berlin",
        "future.tz_localize(None)",
    ),
    "a time zone before": (
        BERLIN,
        WHOLE["days"],
        "Europe/Berlin",
        "no",
        "future.tz_localize('Europe/Berlin')",
    ),
    "periods ahead": (MONTHS.to_timestamp(), MONTHS, "dates", "freq M", "future.to_timestamp()"),
    "periods before": (MONTHS, MONTHS.to_timestamp(), "freq M", "dates", "future.to_period('M')"),
    "longer periods": (MONTHS.asfreq("D"), MONTHS, "freq D", "freq M", ""),
    "Python's ahead": (
        WHOLE["days"],
        pd.Index(WHOLE["days"].date),
        "dates of no",
        "Python's own dates",
        "future.set_axis(pandas.to_datetime(future.index))",
    ),
    "Python's before": (
        pd.Index(WHOLE["days"].date),
        WHOLE["days"],
        "Python's own dates",
        "dates of no",
        "history.set_axis(pandas.to_datetime(history.index))",
    ),
    "time differences": (WHOLE["days"], WHOLE["time differences"], "dates", "differences", ""),
}


@pytest.mark.parametrize("on_clock", [False, True])
@pytest.mark.parametrize("kind", OTHERS)
def test_dates_of_another_kind_cannot_be_compared(kind, on_clock):
    before, ahead, has, received, way_out = OTHERS[kind]
    history, _, begin = tables(before, on_clock)
    future = pd.Series(1.0, ahead[begin:])
    message = f"a table with .*{received}.* for a history with .*{has}.*{re.escape(way_out)}.*array"
    with pytest.raises(ValueError, match=message):
        check_future(history, future, STEPS, on_clock)
    # The ways out are such.
    check_future(history, future.to_numpy(), STEPS, on_clock)
    if way_out:
        given = {"future": future, "history": history}
        given[way_out.partition(".")[0]] = eval(way_out, {"pandas": pd, **given})
        check_future(given["history"], given["future"], STEPS, on_clock)


def test_numbers_are_not_compared_with_dates():
    history, future, _ = tables(WHOLE["days"], on_clock=False)
    for index in pd.RangeIndex(len(future)), pd.Index([f"day {k}" for k in range(len(future))]):
        check_future(history, future.set_axis(index), STEPS, on_clock=False)


class Derived(pd.Series):
    """A class of somebody else's, as geopandas has one."""


def test_what_is_derived_from_pandas_is_checked_too():
    history, future, _ = tables(WHOLE["days"], on_clock=False)
    for past, ahead in (Derived(history), future), (history, Derived(future)):
        check_future(past, ahead, STEPS, on_clock=False)
        with pytest.raises(ValueError, match="`future` must begin with the step after"):
            check_future(past, ahead[1:], STEPS, on_clock=False)
        assert index_forecast(past, 2, ahead, on_clock=False).equals(future.index[:2])


# --- Dates of a forecast.

HOLE = WHOLE["days"].delete(3)


@pytest.mark.parametrize("on_clock", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_forecast_has_the_dates_of_its_future(kind, on_clock):
    whole = WHOLE[kind].rename("when")
    history, future, _ = tables(whole, on_clock)
    expected = whole[KNOWN : KNOWN + STEPS]
    for known in (None, future):
        assert index_forecast(history, STEPS, known, on_clock).equals(expected)
    # Whatever they are, where the history's own tell nothing.
    whole = no_freq(whole.delete([3, 10])).rename("when")
    history, future, _ = tables(whole, on_clock)
    found = index_forecast(history, STEPS, future.rename_axis("other"), on_clock)
    assert found.equals(whole[KNOWN : KNOWN + STEPS])
    assert found.name == "when"
    fill = "reindex" if isinstance(whole, pd.PeriodIndex) else "asfreq"
    with pytest.warns(UserWarning, match=f"follow no frequency.*: 9 is the first.*{fill}"):
        assert index_forecast(history, STEPS, None, on_clock) is None


def test_few_dates_are_not_guessed_where_the_future_has_some():
    """Monday to Friday look like any five days."""
    days = no_freq(pd.bdate_range("2026-01-05", periods=9))
    history = pd.Series(np.arange(5.0), days[:5])
    future = pd.Series(np.arange(4.0), days[5:])
    assert index_forecast(history, 3, future, False).equals(days[5:8])
    assert index_forecast(history, 3, None, False)[0] == pd.Timestamp("2026-01-10")


def with_future():
    past, future = keras.Input((3, 1), name="past"), keras.Input((2, 1), name="future")
    merged = layers.Concatenate()([layers.Flatten()(past), layers.Flatten()(future)])
    model = seeded(keras.Model({"past": past, "future": future}, layers.Dense(2)(merged)))
    return Generator(model, SequenceFramer(3, horizon=2))


def test_forecasts_after_a_hole(recwarn):
    generator = with_future()
    history, plans, _ = tables(HOLE, on_clock=False)
    history, plans = history.astype("float32"), plans.astype("float32")
    found = generator.forecast(history, 3, future=plans)
    assert found.index.equals(HOLE[9:12])
    several = generator.forecast([history, history], 3, future=[plans, plans])
    assert several[1].index.equals(HOLE[9:12])
    quantiles = generator.forecast(
        history, 3, future=plans, num_samples=4, noise=numbers(5), quantiles=[0.5]
    )
    assert quantiles.index.equals(HOLE[9:12])
    assert not user_warnings(recwarn)
    # Rounded up to whole horizons, the fourth date is used too.
    order = [*HOLE[9:12], HOLE[11], *HOLE[13:]]
    with pytest.raises(ValueError, match=r"in row 3, where a date after 2026-01-13"):
        generator.forecast(history, 3, future=plans.set_axis(pd.DatetimeIndex(order)))


def test_a_trading_calendar_goes_on_as_its_future_does(recwarn):
    """Trading days look like business days until a holiday comes, here on the 25th."""
    days = no_freq(pd.bdate_range("2024-12-02", "2025-01-08").drop(["2024-12-25", "2025-01-01"]))
    history, plans = pd.Series(numbers(17), days[:17]), pd.Series(numbers(9), days[17:])
    generator = with_future()
    expected = generator.forecast(history.to_numpy(), 3, future=plans.to_numpy())
    assert not user_warnings(recwarn)
    with pytest.warns(UserWarning, match=r"with 2024-12-25.* have 2024-12-26") as warned:
        found = generator.forecast(history, 3, future=plans)
    assert [warning.filename for warning in user_warnings(warned)] == [__file__]
    assert found.index.equals(days[17:20])
    np.testing.assert_array_equal(found, expected)
    # Before the holiday they agree.
    recwarn.clear()
    assert generator.forecast(history[:-1], 1, future=plans.set_axis(days[16:25])).index == days[16]
    assert len(user_warnings(recwarn)) == 1  # of the second step of a horizon of two
    recwarn.clear()
    generator.forecast(history[:-2], 1, future=plans.set_axis(days[15:24]))
    assert not user_warnings(recwarn)
    # A frequency of its own is an error.
    exact = history.set_axis(pd.bdate_range("2024-12-02", periods=17))
    with pytest.raises(ValueError, match="begin with the step after the history, 2024-12-25"):
        generator.forecast(exact, 3, future=plans)
    # As is one of the history's, to a backtest; those after it are taken.
    whole = pd.Series(numbers(26), days)
    with pytest.warns(UserWarning, match=r"with 2024-12-25.* have 2024-12-26") as warned:
        backtest(generator, history, 3, future=whole)
    assert [warning.filename for warning in user_warnings(warned)] == [__file__]


def test_a_forecast_numbered_by_steps_says_so():
    generator = Generator(recurrent(steps=2), SequenceFramer(2))
    history = pd.Series(numbers(9), HOLE[:9])
    with pytest.warns(UserWarning, match="numbered by steps") as warned:
        found = generator.forecast([history, history], 3)
    assert found[0].index.equals(pd.RangeIndex(9, 12))
    assert {warning.filename for warning in user_warnings(warned)} == {__file__}
    # The way out.
    whole = generator.forecast(history.asfreq("D").interpolate(), 3)
    assert whole.index.equals(WHOLE["days"][10:13])


def test_periods_with_holes_go_on_as_dates_do(recwarn):
    generator = Generator(recurrent(steps=2), SequenceFramer(2))
    days = pd.date_range("2026-01-01", periods=33)
    third = pd.Series(numbers(11), days[::3].to_period("D"))
    found = generator.forecast(third[:9], 2)
    assert found.index.equals(third.index[9:])
    assert found.index.to_timestamp().equals(
        generator.forecast(third[:9].set_axis(no_freq(days[::3][:9])), 2).index
    )
    assert not user_warnings(recwarn)
    hole = pd.Series(numbers(11), days[:12].to_period("D").delete(4))
    with pytest.warns(UserWarning, match=r"numbered by steps: 11 is .*reindex\(pandas.period_ra"):
        assert generator.forecast(hole, 2).index.equals(pd.RangeIndex(11, 13))
    # The way out.
    whole = hole.reindex(pd.period_range(hole.index[0], hole.index[-1])).interpolate()
    assert generator.forecast(whole, 2).index.equals(days[12:14].to_period("D"))


def test_a_backtest_is_told_of_its_own_dates():
    generator = with_future()
    data = pd.Series(numbers(14), HOLE[:14])
    plans = pd.Series(numbers(15), HOLE)
    expected = backtest(generator, data.to_numpy(), 3, future=plans.to_numpy())
    np.testing.assert_array_equal(
        backtest(generator, data, 3, future=plans).free_run, expected.free_run
    )
    moved = plans.set_axis(HOLE.shift(1, "D"))
    with pytest.raises(ValueError, match="begin where the history does, 2026-01-01"):
        backtest(generator, data, 3, future=moved)
    filled = plans.set_axis(WHOLE["days"][:15])
    with pytest.raises(ValueError, match=r"with 2026-01-04.* in row 3, where 2026-01-05"):
        backtest(generator, data, 3, future=filled)
