"""Bad input to framing raises at the call, and the error names the argument and the way out."""

import numpy as np
import pandas as pd
import pytest
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer

HUGE, LARGE = 2**63, 10**12
VALUES = np.arange(100.0)
FRAMES = SequenceFramer(3).frame(VALUES)
DRAWN = SequenceFramer(3, mode="subsequences", num_samples=2**40, seed=1).frame(VALUES)
PADDED = SequenceFramer(3, mode="prefixes").frame(VALUES)


def framed(*args, **arguments):
    return lambda: SequenceFramer(*args, **arguments).frame(VALUES)


def framer(*args, **arguments):
    return lambda: SequenceFramer(*args, **arguments)


DRAWS = dict(mode="subsequences", num_samples=3, seed=1)
PREFIXES = dict(mode="prefixes")

# What an error must say, and calls that raise it.
VALUE_ERRORS = [
    # Integers of 64 bits and more.
    ("`sequence_length` must be", framer(HUGE)),
    ("`horizon` must be", framer(3, horizon=HUGE)),
    ("`gap` must be", framer(3, gap=HUGE)),
    ("`sequence_stride` must be", framer(3, sequence_stride=HUGE)),
    ("`sampling_rate` must be", framer(3, sampling_rate=10**40)),
    ("`min_length` must be", framer(3, min_length=HUGE, **PREFIXES)),
    ("`num_samples` must be", framer(3, **DRAWS | {"num_samples": HUGE})),
    ("`seed` must be", framer(3, **DRAWS | {"seed": HUGE})),
    ("`padding_value`", framed(3, padding_value=10**400, **PREFIXES)),
    ("fewer than 2\\*\\*62 steps", framer(2**61, sampling_rate=4)),
    ("fewer than 2\\*\\*62 steps", framer(3, gap=2**62)),
    ("`batch_size` must be", lambda: FRAMES.batches(HUGE)),
    ("`epoch` must be", lambda: FRAMES.batches(5, epoch=HUGE)),
    ("`epoch` must be", lambda: FRAMES.batches(5).at_epoch(HUGE)),
    ("`epoch` must be", lambda: DRAWN.redraw(HUGE)),
    ("`seed` must be", lambda: FRAMES.batches(5, shuffle=True, seed=HUGE)),
    ("`seed` must be", lambda: FRAMES.split(0.5, 0.5, by="sequences", seed=HUGE)),
    ("`num_shards` must be", lambda: FRAMES.batches(5).shard(HUGE, 0)),
    ("`batch_size` must be", lambda: FRAMES.lanes(HUGE)),
    ("`n` must be", lambda: FRAMES.folds(HUGE)),
    ("`gap` must be", lambda: FRAMES.folds(2, gap=HUGE)),
    ("`test_size` must be", lambda: FRAMES.folds(2, test_size=HUGE)),
    ("`count` must be", lambda: FRAMES.describe(HUGE)),
    ("`count` must be", lambda: FRAMES.describe(-1)),
    # More than there is.
    ("needs 1000000000001 steps", framed(LARGE)),
    ("n=1000000000000 needs more", lambda: FRAMES.folds(LARGE)),
    ("has no frame", lambda: FRAMES.folds(2, gap=LARGE)),
    ("`batch_size` must not exceed", lambda: FRAMES.lanes(LARGE)),
    # More than the machine's memory.
    ("One frame would take .* bytes", framed(10**10, **PREFIXES)),
    ("One frame would take .* bytes", framed(10**10, **DRAWS)),
    ("One frame would take .* bytes", framed(3, horizon=10**10, wrap=True, **DRAWS)),
    ("1,099,511,627,776 frames would take .* bytes.*`batches`", DRAWN.arrays),
    ("The index would take .* bytes", lambda: DRAWN[:]),
    ("The index would take .* bytes", DRAWN.lengths),
    ("The index would take .* bytes", DRAWN.mask),
    ("A batch would take .* bytes.*`batch_size`", lambda: DRAWN.batches(2**39)),
    # Configs.
    ("`config` must have .* none of that name", lambda: SequenceFramer.from_config({})),
    (
        r"`config` must have .* unknown names \['steps'\]",
        lambda: SequenceFramer.from_config({"sequence_length": 3, "steps": 1}),
    ),
]
TYPE_ERRORS = [
    ("`config` must be a dict", lambda: SequenceFramer.from_config(None)),
    ("`config` must be a dict", lambda: SequenceFramer.from_config([3])),
    ("`sequence_length` must be", lambda: SequenceFramer.from_config({"sequence_length": "3"})),
    ("`index` must not be a masked array", lambda: FRAMES[np.ma.array([1, 2], mask=[0, 1])]),
    ("`index` must not be a masked array", lambda: PADDED.mask(np.ma.array([1], mask=[1]))),
    ("`count` must be an integer", lambda: FRAMES.describe("all")),
]


@pytest.mark.parametrize(("message", "call"), VALUE_ERRORS)
def test_bad_values_raise(message, call):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("message", "call"), TYPE_ERRORS)
def test_bad_types_raise(message, call):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("index", [HUGE, -HUGE, [LARGE], [HUGE]])
def test_places_that_do_not_exist_raise(index):
    with pytest.raises(IndexError, match="There are 97 frames"):
        FRAMES[index]
    if not isinstance(index, list):
        lanes = SequenceFramer(1).frame(VALUES).lanes(5)
        for look in FRAMES.steps, FRAMES.batches(5).__getitem__, lanes.resets:
            with pytest.raises(IndexError, match="There are"):
                look(index)


RECORDS = np.zeros(9, [("a", "f4"), ("b", "f4")])
NO_NUMBERS = {
    "records": RECORDS,
    "a record array": RECORDS.view(np.recarray),
    "objects": np.array([object()] * 9),
    "None": np.array([None] * 9),
    "bytes": np.array([b"a"] * 9),
    "mixed": np.array([1, "a"] * 4 + [2], object),
    "a table of strings": np.array([["a", "b"]] * 9),
    "masked": np.ma.array(np.arange(9.0), mask=np.arange(9) > 4),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("name", ["sequences", "targets", "future", "sample_weight", "valid"])
@pytest.mark.parametrize("listed", [False, True])
def test_what_holds_no_numbers_is_refused(name, kind, listed):
    values, numbers = NO_NUMBERS[kind], np.arange(9.0)
    given = {"sequences": numbers, name: values}
    if listed:
        given = {argument: [value, value] for argument, value in given.items()}
    with pytest.raises(TypeError, match=rf"`{name}(\[0\])?` must (not )?(hold|be)"):
        SequenceFramer(2).frame(**given)


def test_padded_frames_are_copied_part_by_part(monkeypatch):
    """A law: all frames in parts equal all at once."""
    for each in False, True:
        padded = SequenceFramer(3, mode="prefixes", return_sequences=each)
        frames = padded.frame(VALUES, future=VALUES, sample_weight=VALUES)
        expected = frames[:]
        monkeypatch.setattr("seqframe.framing.frames._COPY_BYTES", 7 * frames._nbytes)
        found = frames.arrays()
        np.testing.assert_array_equal(found[0]["future"], expected[0]["future"])
        for one, other in zip(
            [found[0]["past"], *found[1:]], [expected[0]["past"], *expected[1:]], strict=True
        ):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


# --- Mistakes that people make first, with tables and stacks.


@EACH_LIBRARY
@pytest.mark.parametrize("listed", [False, True])
def test_an_error_names_columns_of_text_and_the_ways_out(library, listed):
    table = library.DataFrame({"units": [1.0, 2, 3], "price": [1, 2, 3], "kind": [*"abc"]})
    message = (
        r"`sequences(\[0\])?` must hold numbers\..*'kind' .*`columns=\['units', 'price'\]`, or "
        r"encode them as integers.*`by`"
    )
    with pytest.raises(TypeError, match=message):
        SequenceFramer(2).frame([table, table] if listed else table)
    framer = SequenceFramer(2, columns=["units", "price"])
    assert len(framer.frame(table)) == 1
    with pytest.raises(TypeError, match=r"`targets` must hold numbers\..*'kind'.*encode"):
        framer.frame(table, targets="kind")


DAYS = pd.date_range("2026-01-01", periods=6)
PANEL = pd.DataFrame(
    {"units": np.arange(10.0), "price": 10 + np.arange(10.0)},
    pd.MultiIndex.from_tuples(
        [("n", day) for day in DAYS] + [("s", day) for day in DAYS[:4]], names=["store", "day"]
    ),
)


def test_levels_of_an_index_are_labels():
    columns = PANEL.reset_index("store")
    assert columns.index.name == "day"
    for arguments in (
        {},
        {"targets": "units"},
        {"targets": PANEL["price"]},
        {"targets": PANEL[["price"]].iloc[[*range(6, 10), *range(6)]]},
        {"future": PANEL[["price"]], "targets": "units"},
        {"sample_weight": PANEL["price"]},
    ):
        found = SequenceFramer(2).frame(PANEL, by="store", **arguments)
        given = {
            name: value.reset_index("store") if isinstance(value, pd.DataFrame) else value
            for name, value in arguments.items()
        }
        for name, value in given.items():
            if isinstance(value, pd.Series):
                given[name] = value.droplevel("store")
        expected = SequenceFramer(2).frame(columns, by="store", **given)
        found_again = found.framer.frame(PANEL, **arguments)
        for frames in found, found_again:
            for one, other in zip(frames[:], expected[:], strict=True):
                np.testing.assert_equal(one, other)
            assert frames.labels().tolist() == expected.labels().tolist()
            np.testing.assert_array_equal(frames.dates(), expected.dates())
    assert SequenceFramer(2).frame(PANEL["units"], by="store").y_shape == ()
    only = PANEL.droplevel("day")
    assert SequenceFramer(2).frame(only, by="store").labels().tolist() == [*"nnnnss"]


def test_errors_of_levels_name_them():
    with pytest.raises(ValueError, match=r"level 'store' .*groupby\(level='store'\).*`by='store'`"):
        SequenceFramer(2).frame(PANEL)
    with pytest.raises(
        ValueError, match=r"`by` names the column 'shop'.*\['units', .*'store', 'day"
    ):
        SequenceFramer(2).frame(PANEL, by="shop")
    shifted = PANEL[["price"]].set_axis(
        pd.MultiIndex.from_tuples([(s, d + pd.Timedelta(1, "D")) for s, d in PANEL.index]), axis=0
    )
    shifted.index.names = PANEL.index.names
    with pytest.raises(ValueError, match=r"`future` must have the dates .*2026-01-02 .* of 'n'"):
        SequenceFramer(2).frame(PANEL, by="store", future=shifted)


def test_shifted_dates_name_the_series():
    """Also where pandas has lost the frequency, as after `groupby`."""
    panel = PANEL.reset_index("store")
    assert panel.index.freq is None
    late = panel["price"].set_axis([*DAYS, *DAYS[1:5]])
    for name in "targets", "sample_weight":
        with pytest.raises(ValueError, match=rf"`{name}` .*2026-01-02 .*of 's'"):
            SequenceFramer(2).frame(panel, by="store", **{name: late})
    parts = [part["units"] for _, part in panel.groupby("store")]
    lates = [part["price"].shift(1, freq="D") for _, part in panel.groupby("store")]
    with pytest.raises(ValueError, match=r"`future\[0\]` .*2026-01-02 .* instead of 2026-01-01"):
        SequenceFramer(2).frame(parts, future=lates)


def test_series_of_other_numbers_are_refused():
    series = pd.Series(np.arange(6.0))
    for other in series.set_axis(range(1, 7)), series[::-1], series.set_axis([0, 1, 2, 4, 5, 6]):
        with pytest.raises(ValueError, match="`targets` must have the index of the sequence"):
            SequenceFramer(2).frame(series, targets=other)
        with pytest.raises(ValueError, match=r"`targets\[1\]` must have the index"):
            SequenceFramer(2).frame([series, series], targets=[series, other])


@pytest.mark.parametrize("layout", ["timesteps", "features"])
def test_a_stack_is_doubted(layout):
    stack = np.zeros((10, 20, 3))
    framer = SequenceFramer(4, layout=layout)
    message = r"may be a stack\..*\(10, 20, 3\).* 10 steps of shape \(20, 3\).*`list\(stack\)`"
    with pytest.warns(UserWarning, match=message) as caught:
        framer.frame(stack)
    assert [each.filename for each in caught] == [__file__]
    with pytest.raises(ValueError, match=r"No frame fits.*`list\(stack\)`, for one `\[array\]`"):
        SequenceFramer(15).frame(stack)


@pytest.mark.filterwarnings("error")
def test_the_ways_out_of_a_stack_are_silent():
    stack = np.zeros((10, 20, 3))
    assert len(SequenceFramer(4).frame(list(stack))) == 10 * 16
    assert len(SequenceFramer(4).frame([stack])) == 6
