"""A target is never among the inputs at its own step, however it is given."""

import numpy as np
import pandas as pd
import pytest
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer

RNG = np.random.default_rng(7)
VALUES = RNG.normal(size=(30, 3))
NAMES = ["price", "units", "label"]
TABLE = pd.DataFrame(VALUES, columns=NAMES)
PARTS = [VALUES[:12], VALUES[12:]]
SAME_STEP = [
    SequenceFramer(5, gap=-1),
    SequenceFramer(5, gap=-1, horizon=2),
    SequenceFramer(5, gap=-1, return_sequences=True),
    SequenceFramer(5, gap=-1, mode="prefixes"),
    SequenceFramer(5, gap=-1, mode="subsequences", num_samples=9, seed=1),
]


def copies(targets, sequences=VALUES):
    return dict(sequences=sequences, targets=targets)


LEAKS = {
    "a name": copies("label", TABLE),
    "names": copies(["label"], TABLE),
    "some names": copies(["units", "label"], TABLE),
    "a position": copies(2, TABLE),
    "a position of an array": copies(2),
    "a negative position": copies([-1]),
    "a view": copies(VALUES[:, 2]),
    "a copy": copies(VALUES[:, 2].copy()),
    "a column of a copy": copies(np.stack([RNG.normal(size=30), VALUES[:, 1]], axis=1)),
    "a Series": copies(TABLE["label"], TABLE),
    "a table": copies(TABLE[["label"]], TABLE),
    "a list of arrays": copies([part[:, 0] for part in PARTS], PARTS),
    "a flat sequence": copies(VALUES[:, 0].copy(), VALUES[:, 0]),
    "labels of a group": dict(sequences=TABLE.assign(g=1), targets="label", by="g"),
    "with a hole": copies(
        np.where(np.arange(30) == 3, np.nan, VALUES[:, 0]),
        np.where(np.arange(90).reshape(30, 3) == 9, np.nan, VALUES),
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("framer", SAME_STEP, ids=repr)
def test_targets_are_no_inputs_at_their_own_step(framer, leak):
    with pytest.raises(ValueError, match=r"`targets` must not be inputs .*`gap=-1`.*`gap=0`"):
        framer.frame(**LEAKS[leak])
    forward = SequenceFramer.from_config(framer.get_config() | {"gap": 0})
    assert len(forward.frame(**LEAKS[leak]))


@EACH_LIBRARY
def test_columns_are_the_way_out(library):
    table = library.DataFrame({name: VALUES[:, k] for k, name in enumerate(NAMES)})
    with pytest.raises(ValueError, match=r"as `columns=\['price', 'units'\]`"):
        SequenceFramer(5, gap=-1).frame(table, targets="label")
    for targets, y in ("label", VALUES[4:, 2]), (["label"], VALUES[4:, 2:]):
        framer = SequenceFramer(5, gap=-1, columns=["price", "units"])
        frames = framer.frame(table, targets=targets)
        found = frames.arrays()
        np.testing.assert_array_equal(
            found[0], SequenceFramer(5, gap=-1).frame(VALUES[:, :2])[:][0]
        )
        np.testing.assert_array_equal(found[1], y)
        # The framer that remembers its columns frames the table again.
        assert frames.framer.target_columns == (targets if targets == "label" else ("label",))
        again = frames.framer.frame(table[::-1] if library is pd else table)
        assert again.framer is frames.framer
    both = SequenceFramer(5, columns=["price", "label"]).frame(table, targets=["units", "label"])
    np.testing.assert_array_equal(both[:][1], VALUES[5:, 1:])


@EACH_LIBRARY
def test_future_may_be_a_column_that_is_no_input(library):
    table = library.DataFrame({name: VALUES[:, k] for k, name in enumerate(NAMES)})
    framer = SequenceFramer(5, columns=["label"])
    frames = framer.frame(table, targets="label", future=["price", "units"])
    x, y = frames.arrays()
    np.testing.assert_array_equal(x["future"][:, 0], VALUES[5:, :2])
    np.testing.assert_array_equal(y, VALUES[5:, 2])
    assert frames.framer.future_columns == ("price", "units")


def test_columns_of_groups_may_be_no_inputs():
    table = TABLE.assign(store=np.repeat(["n", "s"], 15))
    framer = SequenceFramer(5, gap=-1, columns=["price"])
    frames = framer.frame(table, targets="label", by="store", future=["units"])
    x, y = frames.arrays()
    np.testing.assert_array_equal(y, np.concatenate([VALUES[4:15, 2], VALUES[19:, 2]]))
    np.testing.assert_array_equal(x["future"].ravel(), np.delete(VALUES[4:, 1], range(11, 15)))
    np.testing.assert_array_equal(frames.framer.frame(table).arrays()[1], y)


FUTURES = {
    "a name": dict(targets="label", future=["label"]),
    "names": dict(targets=["units", "label"], future=["price", "label"]),
    "a position": dict(targets="label", future=[2]),
    "positions": dict(targets=2, future=[0, 2]),
    "a table": dict(targets="label", future=TABLE),
    "a Series": dict(targets="label", future=TABLE["label"]),
    "targets that are a Series": dict(targets=TABLE["label"], future=["label"]),
    "the sequence itself": dict(future=["label"]),
}


@pytest.mark.parametrize("case", FUTURES)
@pytest.mark.parametrize("gap", [0, 3])
def test_future_holds_no_target(case, gap):
    with pytest.raises(ValueError, match=r"`future` must not hold a target.*'label'"):
        SequenceFramer(5, gap=gap).frame(TABLE, **FUTURES[case])


def test_future_holds_no_target_that_is_no_input():
    framer = SequenceFramer(5, gap=-1, columns=["price"])
    for targets in "label", ["label", "units"], TABLE["label"]:
        for future in ["label"], TABLE[["label"]]:
            with pytest.raises(ValueError, match=r"`future` must not hold a target.*'label'"):
                framer.frame(TABLE, targets=targets, future=future)


def test_future_of_an_array_holds_no_target():
    with pytest.raises(ValueError, match=r"`future` must not hold a target.*'2'"):
        SequenceFramer(5).frame(VALUES, targets=[2, 0], future=[2])
    assert len(SequenceFramer(5).frame(VALUES, targets=[2, 0], future=[1]))


def test_what_is_no_leak_is_framed():
    framer = SequenceFramer(5, gap=-1)
    ones, flags = np.ones(30), np.arange(30) % 2
    assert len(framer.frame(np.stack([ones, flags], 1), targets=ones))  # a constant proves nothing
    assert len(framer.frame(VALUES, targets=VALUES[::-1, 0]))
    late = VALUES[:, 0].copy()
    late[-1] += 1
    assert len(framer.frame(VALUES, targets=late))
    days = np.arange(30).astype("M8[D]")
    assert len(framer.frame(VALUES, targets=days))
    X, y = framer.frame(VALUES).arrays()  # without targets, the inputs are to be reconstructed
    np.testing.assert_array_equal(X[:, -1], y)


@pytest.mark.filterwarnings("ignore:.*sequences without a frame")
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_an_empty_sequence_hides_no_leak(order):
    sequences = [VALUES[:0], VALUES][order]
    with pytest.raises(ValueError, match="must not be inputs at their own step"):
        SequenceFramer(5, gap=-1).frame(sequences, [each.copy() for each in sequences])
