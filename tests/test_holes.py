"""Dates that a table lacks are counted, where dates are regular."""

import warnings

import numpy as np
import pandas as pd
import pytest

from seqframe import SequenceFramer
from seqframe.framing import dates, holes

DAYS = pd.date_range("2026-01-01", periods=40)
REGULAR = {
    "days": DAYS,
    "days at noon": DAYS + pd.Timedelta(hours=12),
    "days of a zone": pd.date_range("2026-03-10", periods=40, tz="Europe/Berlin"),
    "hours of a zone": pd.date_range("2026-03-28", periods=40, freq="h", tz="Europe/Berlin"),
    "quarters of an hour": pd.date_range("2026-01-01", periods=40, freq="15min"),
    "weeks": pd.date_range("2026-01-01", periods=40, freq="W"),
    "months": pd.date_range("2026-01-01", periods=40, freq="MS"),
    "ends of months": pd.date_range("2026-01-01", periods=40, freq="ME"),
    "last workdays": pd.date_range("2026-01-01", periods=40, freq="BME"),
    "quarters": pd.date_range("2026-01-01", periods=40, freq="QS"),
    "years": pd.date_range("1980-01-01", periods=40, freq="YS"),
    "periods": pd.period_range("2026-01", periods=40, freq="M"),
    "periods of days": pd.period_range("2026-01", periods=40, freq="D"),
    "time differences": pd.timedelta_range("0h", periods=40, freq="3h"),
}
UNEVEN = {
    "workdays": pd.date_range("2026-01-01", periods=40, freq="B").delete([3, 17]),
    "opening days": DAYS[DAYS.day_of_week != 6].delete([5]),
    "events": pd.DatetimeIndex(np.cumsum(np.arange(40) % 7 + 1) * 10**9 * 1234),
    "visits": pd.DatetimeIndex(
        pd.Timestamp("2026-01-01") + pd.to_timedelta(np.cumsum(25 + np.arange(40) % 9), "D")
    ),
    "two": DAYS[[0, 5]],
    "numbers": pd.Index([1, 2, 5, 6, 7, 8]),
}


def frame(index, **arguments):
    return SequenceFramer(1, **arguments).frame(pd.Series(np.arange(float(len(index))), index))


@pytest.mark.parametrize("kind", REGULAR)
@pytest.mark.parametrize("holes", [[3], [1, 2, 20], [30, 34, 35, 36]])
def test_a_hole_in_regular_dates_is_counted(kind, holes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame(REGULAR[kind])
        frame(REGULAR[kind][[*range(40)]])  # as it is, but without a frequency
    message = rf"holes in its dates\. Received: {len(holes)} missing steps\. .*`skip_nan=True`"
    with pytest.warns(UserWarning, match=message) as caught:
        frame(REGULAR[kind].delete(holes))
    assert [each.filename for each in caught] == [__file__]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", UNEVEN)
def test_uneven_dates_have_no_holes(kind):
    frame(UNEVEN[kind])


def test_the_warning_names_the_series():
    def part(store, lost):
        return pd.DataFrame({"store": store, "units": 1.0}, DAYS.delete(lost))

    parts = [part("a", []), part("b", [3, 4]), part("c", [7]), part("d", [])]
    message = r"3 missing steps: 2 of {}, 1 of {}\. Rows around"
    with pytest.warns(UserWarning, match=message.format("'b'", "'c'")):
        SequenceFramer(2).frame(pd.concat(parts), by="store")
    with pytest.warns(UserWarning, match=message.format(1, 2)):
        SequenceFramer(2).frame([each[["units"]] for each in parts])
    levels = pd.concat(parts).set_index("store", append=True)
    with pytest.warns(UserWarning, match=message.format("'b'", "'c'")):
        SequenceFramer(2).frame(levels, by="store")
    many = pd.concat([part(str(k), [3]) for k in range(9)])
    with pytest.warns(UserWarning, match=r"9 missing steps: 1 of '0', .* 1 of '4', …\. Rows"):
        SequenceFramer(2).frame(many, by="store")


def test_holes_of_series_are_counted_one_by_one():
    """A law: the holes of all series are those of each, whatever their neighbours are."""
    spans = [(index, 0, len(index)) for index in [*REGULAR.values(), *UNEVEN.values()]]
    spans += [(index.delete([3, 7, 8]), 0, len(index) - 3) for index in REGULAR.values()]
    spans += [(DAYS.delete([3, 20]), *span) for span in [(0, 9), (4, 15), (8, 30), (0, 2)]]
    spans = [span for span in spans if dates.is_clock(span[0])]
    each = [int(holes.count_holes([span])[0]) for span in spans]
    assert each.count(3) == len(REGULAR)
    assert each[-4:] == [1, 0, 1, 0]
    assert holes.count_holes(spans).tolist() == each
    assert holes.count_holes(spans[::-1]).tolist() == each[::-1]


@pytest.mark.filterwarnings("error")
def test_the_ways_out_are_silent():
    holed = pd.DataFrame({"units": np.arange(39.0)}, DAYS.delete([9]))
    assert len(SequenceFramer(2).frame(holed.asfreq("D"), skip_nan=True)) == 35
    assert len(SequenceFramer(2).frame(holed.reset_index(drop=True))) == 37
    # A frame of one step has no neighbours.
    SequenceFramer(1, gap=-1).frame(holed)
