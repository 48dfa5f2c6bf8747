"""`future` has a row for each step that is forecast, and dates a forecast if its history cannot."""

import re

import numpy as np
import pandas as pd
import pytest
from models import numbers, recurrent, user_warnings, with_future

from seqframe import Generator, SequenceFramer, backtest
from seqframe.framing.dates import check_future, index_forecast


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
BOTH = pytest.mark.parametrize("whole", [False, True], ids=["after", "with history"])


def tables(index, whole):
    """Return a history and its future, of the forecast's steps or of the history's as well."""
    begin = 0 if whole else KNOWN
    history = pd.Series(np.arange(KNOWN * 1.0), index[:KNOWN])
    return history, pd.Series(1.0, index[begin : KNOWN + STEPS]), begin


def check(history, future, whole):
    check_future(history, future, whole, stacklevel=3)


@BOTH
@pytest.mark.parametrize("kind", WHOLE)
def test_every_date_of_future_is_checked(kind, whole):
    index = WHOLE[kind]
    history, future, begin = tables(index, whole)
    check(history, future, whole)
    for row in range(len(future)):
        for other in {*range(len(index))} - {begin + row}:
            dates = list(future.index)
            dates[row] = index[other]
            moved = future.set_axis(type(index)(dates))
            if kind == "business days" and row >= KNOWN - begin:
                check_guessed(history, moved, whole, index[begin + row], index[other])
                continue
            with pytest.raises(ValueError, match=re.escape(str(index[begin + row]))) as error:
                check(history, moved, whole)
            assert f"Received: {index[other]} in row {row}, " in str(error.value)


def check_guessed(history, moved, whole, guessed, other):
    """Some workdays are holidays, so later ones are taken, with a warning."""
    begin = KNOWN if whole else 0
    dates = [history.index[-1], *moved.index[begin:]]
    if sorted(set(dates)) != dates:
        with pytest.raises(ValueError, match=r"`future` must .* is due"):
            check(history, moved, whole)
        return
    message = rf"continue with {re.escape(str(guessed))}\. .* with {re.escape(str(other))}, which"
    with pytest.warns(UserWarning, match=message) as warned:
        check(history, moved, whole)
    assert [warning.filename for warning in user_warnings(warned)] == [__file__]
    assert index_forecast(history, STEPS, moved, whole).equals(moved.index[begin:])


@BOTH
@pytest.mark.parametrize("steps", [2, 3, 9])
@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "business days"])
def test_a_future_that_begins_late_is_refused(kind, steps, whole):
    """A law: even a short history without a frequency tells, if its dates are evenly apart."""
    index = WHOLE[kind]
    history = pd.Series(np.arange(steps * 1.0), no_freq(index[:steps]))
    for late in 1, 2:
        ahead = index[steps + late : steps + late + 3]
        future = pd.Series(1.0, index[:steps].append(ahead) if whole else ahead)
        # Two dates do not tell months, and a Monday may follow a Friday.
        if steps == 2 and (kind in ("month ends", "every other month") or late == 2):
            continue
        with pytest.raises(ValueError, match=re.escape(f"where {index[steps]} is due")):
            check(history, future, whole)
    far = future.index[:-1].append(future.index[-1:] + 200 * (index[1] - index[0]))
    with pytest.raises(ValueError, match="is due"):
        check(history, future.set_axis(far), whole)


def test_a_few_workdays_may_be_followed_by_any_day(recwarn):
    days = no_freq(pd.bdate_range("2026-01-05", periods=9))  # from Monday on
    for known in range(2, 6):
        history = pd.Series(1.0, days[:known])
        check(history, pd.Series(1.0, days[known : known + 4]), False)
        check(history, pd.Series(1.0, pd.date_range(days[known - 1], periods=5)[1:]), False)
    assert not user_warnings(recwarn)
    with pytest.warns(UserWarning, match=r"continue with 2026-01-08.* with 2026-01-09"):
        check(pd.Series(1.0, days[:3]), pd.Series(1.0, days[4:8]), False)


def test_dates_among_several_levels_are_checked():
    def of(days):
        return pd.Series(1.0, pd.MultiIndex.from_product([["north"], days]))

    days = WHOLE["days"]
    check(of(days[:9]), of(days[9:12]), False)
    check(of(days[:9]), pd.Series(1.0, days[9:12]), False)
    for future in of(days[10:13]), pd.Series(1.0, days[10:13]):
        with pytest.raises(ValueError, match=r"2026-01-11 .* in row 0, where 2026-01-10"):
            check(of(days[:9]), future, False)


@BOTH
@pytest.mark.parametrize("kind", WHOLE)
def test_after_dates_without_a_frequency_future_goes_forward(kind, whole):
    index = no_freq(WHOLE[kind].delete([3, 12]))
    history, future, begin = tables(index, whole)
    check(history, future, whole)
    row = KNOWN + 1 - begin  # the second step that is forecast
    order = [*range(row), row + 1, row, *range(row + 2, len(future))]
    with pytest.raises(ValueError, match=rf"in row {row + 1}, where a step after"):
        check(history, future.set_axis(future.index[order]), whole)
    if not whole:
        late = future.set_axis(index[[KNOWN - 1, *range(KNOWN + 1, KNOWN + STEPS)]])
        last = re.escape(str(index[KNOWN - 1]))
        with pytest.raises(ValueError, match=rf"in row 0, where a step after {last} is due"):
            check(history, late, whole)


def test_missing_dates_of_future_are_named():
    history, future, _ = tables(WHOLE["days"], whole=False)
    future.index = future.index.where(np.arange(len(future)) != 2)
    with pytest.raises(ValueError, match=r"NaT in row 2, where 2026-01-12"):
        check(history, future, whole=False)


def test_dates_of_future_go_forward_by_themselves():
    _, future, _ = tables(WHOLE["days"], whole=False)
    for history in np.arange(9.0), pd.Series(np.arange(9.0)):
        check(history, future, whole=False)
        with pytest.raises(ValueError, match="`future` must have dates that go strictly forward"):
            check(history, future[::-1], whole=False)


@BOTH
def test_indices_that_count_from_0_are_not_checked(whole):
    for index in (
        WHOLE["days"],
        pd.RangeIndex(16),
        pd.RangeIndex(2000, 2016),
        pd.Index([*"abc"] * 5),
    ):
        history, future, _ = tables(index, whole)
        check(history, future.reset_index(drop=True), whole)
        check(history, future.set_axis(list(range(len(future)))), whole)
    history, future, begin = tables(pd.RangeIndex(2000, 2016), whole)
    check(history, future, whole)
    with pytest.raises(ValueError, match=rf"Received: {2001 + begin} in row 0"):
        check(history, future.set_axis(future.index + 1), whole)


@BOTH
def test_other_labels_are_compared(whole):
    names = pd.Index([f"day {k}" for k in range(16)])
    history, future, begin = tables(names, whole)
    check(history, future, whole)
    wrong = future.set_axis(
        names[[begin - 1 if begin else 1, *range(begin + 1, begin + len(future))]]
    )
    with pytest.raises(ValueError, match=rf"Received: '{wrong.index[0]}' in row 0"):
        check(history, wrong, whole)
    # Names of weekdays repeat.
    weekdays = pd.Index([*"MTWTFSS"] * 3)
    check(*tables(weekdays, whole)[:2], whole)
    # Labels of different kinds are of different steps, unless they only count rows.
    for index in WHOLE["days"], pd.RangeIndex(2000, 2016):
        with pytest.raises(ValueError, match="of the same kind as the history"):
            check(tables(index, whole)[0], future, whole)
    check(tables(pd.RangeIndex(16), whole)[0], future, whole)


BERLIN = WHOLE["days"].tz_localize("Europe/Berlin")
MONTHS = pd.period_range("2026-01", periods=16, freq="M")
OTHERS = {  # dates of a history, and dates that cannot be compared with them
    "a time zone ahead": (WHOLE["days"], BERLIN, "datetime64", "Europe/Berlin"),
    "a time zone before": (BERLIN, WHOLE["days"], "Europe/Berlin", "datetime64"),
    "periods ahead": (MONTHS.to_timestamp(), MONTHS, "datetime64", "period.M"),
    "periods before": (MONTHS, MONTHS.to_timestamp(), "period.M", "datetime64"),
    "longer periods": (MONTHS.asfreq("D"), MONTHS, "period.D", "period.M"),
    "time differences": (WHOLE["days"], WHOLE["time differences"], "datetime64", "timedelta64"),
}


@BOTH
@pytest.mark.parametrize("kind", OTHERS)
def test_dates_of_another_kind_cannot_be_compared(kind, whole):
    before, ahead, has, received = OTHERS[kind]
    history, _, _ = tables(before, whole)
    _, future, _ = tables(ahead, whole)
    with pytest.raises(ValueError, match=f"`future` .*{received}.* for a history with .*{has}"):
        check(history, future, whole)
    check(history, future.to_numpy(), whole)  # a way out


# --- Dates of a forecast.

HOLE = WHOLE["days"].delete(3)


@BOTH
@pytest.mark.parametrize("kind", WHOLE)
def test_forecasts_have_the_dates_of_their_future(kind, whole):
    index = WHOLE[kind].rename("when")
    history, future, _ = tables(index, whole)
    for known in (None, future):
        found = index_forecast(history, STEPS, known, whole)
        assert found.equals(index[KNOWN : KNOWN + STEPS])
    # The dates of this history have no frequency.
    index = no_freq(index.delete([3, 10])).rename("when")
    history, future, _ = tables(index, whole)
    found = index_forecast(history, STEPS, future.rename_axis("other"), whole)
    assert found.equals(index[KNOWN : KNOWN + STEPS])
    assert found.name == "when"
    with pytest.warns(UserWarning, match="follow no frequency.*: 9 is the first"):
        assert index_forecast(history, STEPS, None, whole) is None


def test_dates_are_not_guessed_if_the_future_has_some():
    """Monday to Friday look like any five days."""
    days = no_freq(pd.bdate_range("2026-01-05", periods=9))
    history = pd.Series(np.arange(5.0), days[:5])
    future = pd.Series(np.arange(4.0), days[5:])
    assert index_forecast(history, 3, future, False).equals(days[5:8])
    assert index_forecast(history, 3, None, False)[0] == pd.Timestamp("2026-01-10")


def test_forecasts_after_a_hole(recwarn):
    generator = Generator(with_future(), SequenceFramer(3, horizon=2))
    history = pd.Series(numbers(9), HOLE[:9])
    plans = pd.Series(numbers(4), HOLE[9:13])  # rounded up to whole horizons
    for given, found in (
        ((history, plans), generator.forecast(history, 3, future=plans)),
        ((history, plans), generator.forecast([history] * 2, 3, future=[plans] * 2)[1]),
    ):
        assert found.index.equals(HOLE[9:12]), given
    noise = dict(num_samples=4, noise=numbers(5), quantiles=[0.5])
    assert generator.forecast(history, 3, future=plans, **noise).index.equals(HOLE[9:12])
    assert not user_warnings(recwarn)
    for rows in plans[:3], pd.Series(numbers(5), HOLE[9:14]):
        with pytest.raises(ValueError, match=r"`future` must have 4 rows"):
            generator.forecast(history, 3, future=rows)
    order = [*HOLE[9:12], HOLE[11]]
    with pytest.raises(ValueError, match=r"in row 3, where a step after 2026-01-13"):
        generator.forecast(history, 3, future=plans.set_axis(pd.DatetimeIndex(order)))


def test_trading_calendars_continue_as_their_future_does(recwarn):
    """Trading days look like business days until a holiday comes, here on the 25th."""
    days = no_freq(pd.bdate_range("2024-12-02", "2025-01-08").drop(["2024-12-25", "2025-01-01"]))
    history, plans = pd.Series(numbers(17), days[:17]), pd.Series(numbers(4), days[17:21])
    generator = Generator(with_future(), SequenceFramer(3, horizon=2))
    expected = generator.forecast(history.to_numpy(), 3, future=plans.to_numpy())
    assert not user_warnings(recwarn)
    with pytest.warns(UserWarning, match=r"with 2024-12-25.* with 2024-12-26") as warned:
        found = generator.forecast(history, 3, future=plans)
    assert [warning.filename for warning in user_warnings(warned)] == [__file__]
    assert found.index.equals(days[17:20])
    np.testing.assert_array_equal(found, expected)
    # Before the holiday they agree.
    recwarn.clear()
    generator.forecast(history[:-2], 1, future=plans[:2].set_axis(days[15:17]))
    assert not user_warnings(recwarn)
    # A frequency of its own is an error.
    exact = history.set_axis(pd.bdate_range("2024-12-02", periods=17))
    with pytest.raises(ValueError, match=r"where 2024-12-25 .* is due"):
        generator.forecast(exact, 3, future=plans)
    # Backtests warn as well.
    whole = pd.Series(numbers(26), days)
    with pytest.warns(UserWarning, match=r"with 2024-12-25.* with 2024-12-26") as warned:
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


def test_periods_with_holes_continue_as_dates_do(recwarn):
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
    with pytest.warns(UserWarning, match="numbered by steps: 11 is"):
        assert generator.forecast(hole, 2).index.equals(pd.RangeIndex(11, 13))
    # The way out.
    whole = hole.reindex(pd.period_range(hole.index[0], hole.index[-1])).interpolate()
    assert generator.forecast(whole, 2).index.equals(days[12:14].to_period("D"))


def test_a_backtest_checks_the_dates_of_its_future():
    generator = Generator(with_future(), SequenceFramer(3, horizon=2))
    data = pd.Series(numbers(14), HOLE[:14])
    plans = pd.Series(numbers(15), HOLE)
    expected = backtest(generator, data.to_numpy(), 3, future=plans.to_numpy())
    np.testing.assert_array_equal(
        backtest(generator, data, 3, future=plans).free_run, expected.free_run
    )
    moved = plans.set_axis(HOLE.shift(1, "D"))
    with pytest.raises(ValueError, match=r"2026-01-02 .* in row 0, where 2026-01-01"):
        backtest(generator, data, 3, future=moved)
    filled = plans.set_axis(WHOLE["days"][:15])
    with pytest.raises(ValueError, match=r"2026-01-04.* in row 3, where 2026-01-05"):
        backtest(generator, data, 3, future=filled)
