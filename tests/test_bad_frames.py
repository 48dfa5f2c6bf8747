"""Bad input to framing raises at the call, and the error names the argument and the way out."""

import numpy as np
import pytest

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
