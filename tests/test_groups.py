"""Groups of a table are framed as a list of sequences, and called by their labels."""

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from batches import assert_same as assert_same_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer, Vocabulary

NAMES = ["b", "a", "c"]
LABELS = ["b"] * 7 + ["a"] * 9 + ["c"] * 6  # in the table's own order
VALUES = np.arange(44.0).reshape(22, 2)
TARGETS, FUTURE, WEIGHTS = np.arange(100, 122), np.arange(66).reshape(22, 3), np.arange(22) / 8
VALID = ~np.isin(np.arange(22), (0, 21))


def table(library, labels=LABELS, **columns):
    return library.DataFrame({"x": VALUES[:, 0], "group": labels, "y": VALUES[:, 1], **columns})


def listed(array):
    """Return what belongs to the groups as a list."""
    return [array[:7], array[7:16], array[16:]]


def assert_same(frames, expected, labels=NAMES):
    """Compare frames of groups with those of a list of sequences, with their steps."""
    assert len(frames) == len(expected)
    assert_same_batch(frames.arrays(), expected.arrays())
    for i in range(len(frames)):
        mine, theirs = frames.steps(i), expected.steps(i)
        assert mine.sequence == labels[theirs.sequence]
        assert mine.inputs.tolist() == theirs.inputs.tolist()
        assert mine.targets.tolist() == theirs.targets.tolist()
    assert frames._breaks.tolist() == expected._breaks.tolist()


# --- The law: groups are a list of sequences.


@EACH_LIBRARY
@pytest.mark.parametrize(
    ("own", "each"),
    [
        (dict(), dict()),
        (dict(targets="y"), dict(targets=1)),
        (dict(targets=["y", "x"]), dict(targets=[1, 0])),
        (dict(targets="y", future=["x"]), dict(targets=1, future=[0])),
        (dict(targets=0), dict(targets=0)),  # counted without the column of labels
        (dict(targets=TARGETS), dict(targets=listed(TARGETS))),
        (
            dict(future=FUTURE, sample_weight=WEIGHTS),
            dict(future=listed(FUTURE), sample_weight=listed(WEIGHTS)),
        ),
        (
            dict(targets=TARGETS, valid=VALID, sample_weight=listed(WEIGHTS)),
            dict(targets=listed(TARGETS), valid=listed(VALID), sample_weight=listed(WEIGHTS)),
        ),
    ],
)
@pytest.mark.parametrize(
    "framer",
    [
        SequenceFramer(2),
        SequenceFramer(2, horizon=2, return_sequences=True),
        SequenceFramer(1, sequence_stride=2, gap=1),
        SequenceFramer(3, mode="prefixes", min_length=2),
        SequenceFramer(3, mode="subsequences", num_samples=30, seed=2),
    ],
    ids=repr,
)
def test_groups_are_framed_as_a_list_of_them(library, framer, own, each):
    frames = framer.frame(table(library), by="group", **own)
    expected = framer.frame(listed(VALUES), **each)
    assert_same(frames, expected)
    splits = [((0.6, 0.4), {}), ((0.4, 0.6), dict(by="sequences", seed=1))]
    for fractions, how in splits:
        parts = zip(frames.split(*fractions, **how), expected.split(*fractions, **how), strict=True)
        for part, other in parts:
            assert_same(part, other)
    for part, other in zip(frames.folds(1)[0], expected.folds(1)[0], strict=True):
        assert_same(part, other)


def test_weights_of_frames_are_in_the_order_of_the_table():
    framer = SequenceFramer(2)
    counts = [5, 7, 4]
    weights = np.arange(16.0)
    expected = framer.frame(listed(VALUES), sample_weight=np.split(weights, np.cumsum(counts)[:-1]))
    assert_same(framer.frame(table(pd), by="group", sample_weight=weights), expected)


@given(
    lengths=st.lists(st.integers(4, 9), min_size=1, max_size=6),
    length=st.integers(1, 2),
    padded=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_any_groups_are_a_list(lengths, length, padded):
    values = np.arange(sum(lengths) * 1.0)
    labels = np.repeat(np.arange(len(lengths)) * -3, lengths)
    framer = SequenceFramer(length, mode="prefixes" if padded else "windows", gap=1)
    expected = framer.frame(np.split(values, np.cumsum(lengths)[:-1]))
    assert_same(framer.frame(values, by=labels), expected, [-3 * k for k in range(len(lengths))])


# --- Labels of any type, for data of any type.


@EACH_LIBRARY
@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([1, 1, 1, 0, 0, 0], [1, 0]),
        ([0.5] * 3 + [-np.inf] * 3, [0.5, -np.inf]),
        ([True] * 3 + [False] * 3, [True, False]),
        (["x"] * 3 + [""] * 3, ["x", ""]),
        (["x"] * 6, ["x"]),
        (np.arange("2026-01-01", "2026-01-03", dtype="M8[D]").repeat(3), None),
        (np.arange("2026-01-01", "2026-01-03", dtype="M8[D]").repeat(3).astype("M8[ns]"), None),
    ],
    ids=str,
)
def test_labels_may_be_of_any_type(library, labels, found):
    frames = SequenceFramer(2).frame(library.DataFrame({"g": labels, "v": np.arange(6.0)}), by="g")
    names = [frames.steps(i).sequence for i in range(len(frames))]
    days = [np.datetime64("2026-01-01"), np.datetime64("2026-01-02")]
    assert list(dict.fromkeys(names)) == (days if found is None else found)


def test_labels_may_be_categories():
    labels = ["x"] * 3 + ["y"] * 3
    for categories in (
        pd.DataFrame({"g": pd.Categorical(labels), "v": range(6)}),
        pl.DataFrame({"g": pl.Series(labels, dtype=pl.Categorical), "v": range(6)}),
    ):
        frames = SequenceFramer(2).frame(categories, by="g")
        assert [frames.steps(i).sequence for i in range(2)] == ["x", "y"]


@EACH_LIBRARY
@pytest.mark.parametrize("by", [["group", "run"], ("group", "run"), ["run", "group"]])
def test_several_columns_make_a_label_together(library, by):
    runs = [1] * 4 + [2] * 3 + [2] * 3 + [1] * 6 + [1] * 6
    frames = SequenceFramer(2).frame(table(library, run=runs), by=by)
    names = dict.fromkeys(frames.steps(i).sequence for i in range(len(frames)))
    pairs = [("b", 1), ("b", 2), ("a", 2), ("a", 1), ("c", 1)]
    assert list(names) == [pair if by[0] == "group" else pair[::-1] for pair in pairs]
    assert frames.x_shape == (2, 2)


@pytest.mark.parametrize(
    "by",
    [
        np.array(LABELS),
        pd.Series(LABELS, index=range(22, 0, -1)),
        pl.Series(LABELS),
        np.array(LABELS, object),
        np.array(LABELS, np.dtypes.StringDType()),
    ],
    ids=lambda by: type(by).__module__ + str(by.dtype),
)
@pytest.mark.parametrize("data", [VALUES, VALUES.tolist(), [VALUES], pd.DataFrame(VALUES)])
def test_labels_may_be_an_array_of_their_own(by, data):
    if isinstance(data, list) and len(data) > 1:
        by, data = by, np.array(data)
    frames = SequenceFramer(2).frame(data, by=by)
    assert_same(frames, SequenceFramer(2).frame(listed(VALUES)))


def test_texts_and_lists_may_be_labelled(capsys):
    SequenceFramer(2).frame("ABCXYZ", by=[0, 0, 0, 1, 1, 1]).describe()
    SequenceFramer(1).frame([1, 2, 3, 4], by=np.array(["x", "x", "y", "y"])).describe()
    words = Vocabulary(["the", "cat", "sat"])
    framer = SequenceFramer(1, vocabulary=words)
    framer.frame(["the", "cat", "the", "sat"], by=[1, 1, 2, 2]).describe()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["AB -> C", "XY -> Z", "1 -> 2", "3 -> 4", "the -> cat", "the -> sat"]


def test_columns_are_taken_by_their_place():
    # pandas may call columns by numbers, and two by one name.
    numbered = pd.DataFrame(np.column_stack([np.repeat([0, 1, 2], [7, 9, 6]), VALUES]))
    assert_same(
        SequenceFramer(2).frame(numbered, by="0"), SequenceFramer(2).frame(listed(VALUES)), range(3)
    )
    twice = pd.DataFrame(numbered.to_numpy(), columns=["g", "v", "v"])
    assert SequenceFramer(2).frame(twice, by="g").x_shape == (2, 2)
    twice.columns = ["g", "g", "v"]
    with pytest.raises(ValueError, match=r"`by` names the column 'g', which .* once"):
        SequenceFramer(2).frame(twice, by="g")


def test_columns_without_the_labels_are_not_copied():
    data = pd.DataFrame(
        {"group": np.repeat([0, 1], 6000), "x": np.ones(12000), "y": np.ones(12000)}
    )
    own = data[["x", "y"]].to_numpy()
    if not np.shares_memory(own, data[["x", "y"]].to_numpy()):
        pytest.skip("pandas before 3 copies the columns that it selects")
    frames = SequenceFramer(3).frame(data, by="group")
    assert all(np.shares_memory(array, own) for array in frames.source.inputs.arrays)


def test_an_array_is_not_copied():
    data = np.zeros((22, 3))
    frames = SequenceFramer(2).frame(data, by=np.array(LABELS))
    assert all(np.shares_memory(array, data) for array in frames.source.inputs.arrays)


# --- Errors.

MISSING = r"`by` must give every row a label. .* Leave those rows out, or fill in a label"


@EACH_LIBRARY
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 7 + ["b"] * 9 + ["a"] * 6, r"rows of 'a' again after another group. Sort the"),
        ([1, 2] * 11, r"rows of 1 again .* Sort the table by group and time first"),
        ([None] * 22, MISSING),
        (["a"] * 21 + [None], MISSING),
        ([None] * 3 + ["a"] * 19, MISSING),
        ([1.0] * 10 + [np.nan] * 12, MISSING),
        (np.array(["2026-01-01"] * 20 + ["NaT"] * 2, "M8[ms]"), MISSING),
    ],
    ids=lambda value: str(value)[:20],
)
def test_rows_of_a_group_must_follow_each_other_and_have_labels(library, labels, message):
    with pytest.raises(ValueError, match=message):
        SequenceFramer(2).frame(table(library, labels), by="group")


@pytest.mark.parametrize("labels", [["a"] * 21 + [None], [None] * 22, [None] + ["a"] * 21])
@pytest.mark.parametrize("dtype", ["string", "object", "category"])
def test_pandas_missing_value_is_no_label(labels, dtype):
    with pytest.raises(ValueError, match=MISSING):
        SequenceFramer(2).frame(table(pd, pd.array(labels, dtype=dtype)), by="group")
    one_row = table(pd, pd.array(labels, dtype=dtype))[-1:]
    if labels[-1] is None:
        with pytest.raises(ValueError, match=MISSING):
            SequenceFramer(1, gap=-1).frame(one_row, by="group")


def parts_of(whole):
    """Return the groups of a table as tables of its library."""
    whole = nw.from_native(whole)
    labels = whole["group"].unique(maintain_order=True)
    return [whole.filter(nw.col("group") == label).to_native() for label in labels]


@EACH_LIBRARY
@pytest.mark.parametrize("labels", [LABELS, [1] * 7 + [2] * 9 + [3] * 6])
@pytest.mark.parametrize("own", [dict(by="group"), dict(by="group", columns=["y", "x"])])
def test_a_list_of_groups_is_framed_as_their_table(library, labels, own):
    """Their labels, numbers too, are no feature: whether the framer knows them, or `frame`."""
    whole = table(library, labels)
    expected = SequenceFramer(2, **own).frame(whole)
    parts = parts_of(whole)
    given = own | dict(by=None)
    for frames in (
        SequenceFramer(2, **own).frame(parts),
        SequenceFramer(2, **given).frame(parts, by="group"),
        SequenceFramer(2, **given).frame(parts, by=["group"]),
        expected.framer.frame(parts),
    ):
        assert frames.x_shape == (2, 2)
        assert frames.framer == expected.framer
        assert_same(expected, frames, {label: label for label in labels})


@EACH_LIBRARY
def test_columns_of_the_framer_are_features(library):
    framer = SequenceFramer(2, columns=["x", "group"], by="group")
    parts = parts_of(table(library, [1] * 7 + [2] * 9 + [3] * 6))
    np.testing.assert_array_equal(framer.frame(parts)[0][0], [[0, 1], [2, 1]])


@EACH_LIBRARY
def test_each_table_of_a_list_is_one_group(library):
    whole = table(library)
    with pytest.raises(ValueError, match=r"`sequences\[1\]` must be one series: 'group' tells"):
        SequenceFramer(2).frame([whole[:7], whole], by="group")
    with pytest.raises(ValueError, match=r"`by` names the column 'z'"):
        SequenceFramer(2).frame(parts_of(whole), by="z")
    only = [nw.from_native(part).select("group").to_native() for part in parts_of(whole)]
    with pytest.raises(ValueError, match=r"`by` must leave some columns of `sequences\[0\]`"):
        SequenceFramer(2, by="group").frame(only)


@EACH_LIBRARY
@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("z", r"`by`.*'z'.*\['x', 'group', 'y'"),
        (["group", "z"], "`by`.*'z'"),
        ([], "`by`.*columns"),
        (["group", "x", "y"], "`by`.*features"),
        (1, r"`by`.*shape \(\) for 22"),
        (np.zeros(21), r"`by`.*shape \(21,\) for 22 rows"),
        (np.zeros((22, 2)), r"`by`.*shape \(22, 2\)"),
    ],
)
def test_by_names_columns_or_labels_rows(library, by, message):
    with pytest.raises(ValueError, match=message):
        SequenceFramer(2).frame(table(library), by=by)


@pytest.mark.parametrize(
    ("data", "by", "error", "message"),
    [
        (VALUES, "group", TypeError, "`by`.*ndarray.*array of labels"),
        (VALUES, LABELS, TypeError, "`by`.*DataFrame"),
        ("ABCD", "group", TypeError, "`by`.* a str"),
        (pd.Series([1, 2]), "group", TypeError, "`by`.* a Series"),
        ([VALUES, VALUES], [1] * 22, ValueError, "`by`.* a list of 2.*Stack them, or leave"),
        (pd.DataFrame({"g": [], "v": []}), "g", ValueError, "`by`.*some rows"),
        (np.zeros((0, 2)), np.array([]), ValueError, "`by`.*some rows"),
    ],
)
def test_by_is_refused_without_groups(data, by, error, message):
    with pytest.raises(error, match=message):
        SequenceFramer(2).frame(data, by=by)


@EACH_LIBRARY
def test_groups_without_a_frame_are_left_out(library):
    message = r"2 of 3 sequences .* left out: 2 too short \('b', 'c'\)\. .* needs 8 steps"
    with pytest.warns(UserWarning, match=message):
        frames = SequenceFramer(7).frame(table(library), by="group")
    assert {frames.steps(i).sequence for i in range(len(frames))} == {"a"}
    with pytest.raises(ValueError, match=r"22 steps of the 3 sequences, or .* 16 frames.*: 9 numb"):
        SequenceFramer(2).frame(table(library), by="group", sample_weight=np.ones(9))
    # So is a group whose steps are missing.
    valid = np.arange(22) >= 7
    with pytest.warns(UserWarning, match=r"left out: 1 with a missing step .* \('b'\)"):
        frames = SequenceFramer(2).frame(table(library), by="group", valid=valid)
    assert frames.steps(0).sequence == "a"


def test_a_list_of_strings_is_of_names_and_an_array_of_labels():
    table, labels = pd.DataFrame({"v": np.arange(6.0)}), ["n"] * 3 + ["s"] * 3
    with pytest.raises(ValueError, match=r"names the column 'n'.*`np.array\(labels\)`"):
        SequenceFramer(2).frame(table, by=labels)
    assert len(SequenceFramer(2).frame(table, by=np.array(labels))) == 2
