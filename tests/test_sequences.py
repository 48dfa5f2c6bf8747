"""What a user passes is understood as the sequences that it is."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from libraries import EACH_LIBRARY

from seqframe import Vocabulary
from seqframe.framing.sequences import (
    are_columns,
    find_columns,
    is_symbolic,
    join_steps,
    split_sequences,
    to_array,
)

WORDS = Vocabulary(["the", "cat", "sat"])
NOTES = Vocabulary([60, 64, 67])
CHORDS = Vocabulary([(60, 64), (60,)])
FRAME = {"price": [1.0, 2.0, 3.0], "volume": [4.0, 5.0, 6.0]}

# Things that are one sequence, with the vocabulary that makes them so.
ONE = [
    ("ABC", None),
    ("", None),
    ([1, 2, 3], None),
    ((1, 2, 3), None),
    ([1, 2.5, np.float32(3), np.array(4), True], None),
    ([], None),
    (["A", "B"], None),  # single characters: symbols of one sequence
    (["A", "B"], Vocabulary("AB")),
    (["the", "cat"], WORDS),
    (["the"], WORDS),
    ([60, 64], NOTES),
    ([(60, 64), (60,)], CHORDS),
    ([(60,)], CHORDS),
    (np.arange(3), None),
    (np.zeros((2, 3)), None),
    (np.array(["the", "cat"]), None),
    (pd.Series([1, 2], index=[7, 7]), None),
    (pd.DataFrame(FRAME), None),
    (pl.Series([1, 2]), None),
    (pl.DataFrame(FRAME), None),
]

# Things that are several, and how many.
SEVERAL = [
    (["ABC", "DE"], None, 2),
    (["ABC"], None, 1),
    (["A"], None, 1),
    (["", "A"], None, 2),
    (["the", "cat"], None, 2),  # texts, unless a vocabulary has them as symbols
    (["the", "cat"], Vocabulary("theca"), 2),
    ([[1, 2], [3]], None, 2),
    ([(1, 2), (3,)], None, 2),
    ([[]], None, 1),
    ([[1], []], None, 2),
    ([np.arange(3), np.arange(2)], None, 2),
    ((np.arange(3),), None, 1),
    ([["the", "cat"], ["sat"]], WORDS, 2),
    ([[60, 64], [67]], NOTES, 2),
    ([[(60, 64), (60,)], [(60,)]], CHORDS, 2),
    ([[[1, 2], [3]]], None, 1),  # ragged, but a list of one
    ([pd.DataFrame(FRAME)] * 2, None, 2),
    ([pl.Series([1, 2])], None, 1),
]


@pytest.mark.parametrize(("sequences", "vocabulary"), ONE)
def test_one_sequence_is_kept_whole(sequences, vocabulary):
    (only,) = split_sequences(sequences, vocabulary)
    assert only is sequences


@pytest.mark.parametrize(("sequences", "vocabulary", "count"), SEVERAL)
def test_several_sequences_are_listed(sequences, vocabulary, count):
    split = split_sequences(sequences, vocabulary)
    assert len(split) == count
    assert all(one is other for one, other in zip(split, sequences, strict=True))


@pytest.mark.parametrize(
    "sequence",
    [
        "ABC",
        "",
        ["the", "cat"],
        ("A", "B"),
        np.array(["the", "cat"]),
        np.array(["the", "cat"], object),
        np.array(["the", "cat"], np.dtypes.StringDType()),
        pd.Series(["the", "cat"], index=[3, 3]),
        pd.Series(["the", "cat"], dtype="category"),
        pl.Series(["the", "cat"]),
        pl.Series(["the", "cat"], dtype=pl.Categorical),
    ],
)
def test_symbols_are_told_from_numbers(sequence):
    assert is_symbolic(sequence)
    vocabulary = Vocabulary("ABC") if isinstance(sequence, (str, tuple)) else WORDS
    ids = to_array(sequence, "sequences", vocabulary)
    assert ids.dtype == np.int32
    assert ids.tolist() == list(range(len(sequence)))
    with pytest.raises(ValueError, match="`history` holds symbols, which need a `vocabulary`"):
        to_array(sequence, "history")


@pytest.mark.parametrize(
    ("sequence", "vocabulary", "ids"),
    [
        ([67, 60], NOTES, [2, 0]),  # a list is of symbols
        (np.array([67, 60]), NOTES, [67, 60]),  # an array of numbers is of ids
        ([(60,), (60, 64)], CHORDS, [1, 0]),
        ([2, 0], Vocabulary("ABC"), [2, 0]),  # numbers are never characters: these are ids
    ],
)
def test_numbers_may_be_symbols(sequence, vocabulary, ids):
    assert to_array(sequence, "sequences", vocabulary).tolist() == ids


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5),
        np.arange(10.0)[::2],
        np.arange(10.0)[::-1],
        np.zeros((5, 2), np.float16),
        np.zeros((5, 2, 3), np.uint8, order="F"),
        np.zeros(5, bool),
        np.zeros(5, ">f4"),
        np.zeros(5, "M8[s]"),
    ],
)
def test_arrays_are_taken_as_they_are(array):
    assert to_array(array, "sequences") is array


@EACH_LIBRARY
def test_data_frames_and_series_are_not_cast(library):
    for dtype in ("float32", "int16", "bool"):
        values = np.array([1, 0, 1], dtype)
        assert to_array(library.Series(values), "sequences").dtype == dtype
        array = to_array(library.DataFrame({"a": values, "b": values}), "sequences")
        assert (array.shape, array.dtype) == ((3, 2), dtype)
    assert to_array(library.DataFrame(FRAME), "sequences").tolist() == [[1, 4], [2, 5], [3, 6]]


def test_objects_that_convert_to_arrays_are_taken():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3)

    assert to_array(Tensor(), "sequences").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("sequence", "error", "message"),
    [
        (3, TypeError, "`prompt` must be a string, a list, an array .* Received: int."),
        (None, TypeError, "Received: NoneType."),
        (b"ABC", TypeError, "Received: bytes."),
        ({"a": [1, 2]}, TypeError, "Received: dict."),
        ({1, 2}, TypeError, "Received: set."),
        ((i for i in range(3)), TypeError, "Received: generator."),
        (
            pd.DataFrame({"a": [1, 1, 2], "b": 1.0}).groupby("a"),
            TypeError,
            r"Received: DataFrameGroupBy\. Pass `\[part for _, part in …\]` of it",
        ),
        (pl.DataFrame({"a": [1, 1, 2]}).group_by("a"), TypeError, "GroupBy. Pass `.part for _, pa"),
        (np.array(3), ValueError, "`prompt` must have a time axis. Received: a single value"),
        (np.float64(3), ValueError, "`prompt` must have a time axis. Received: a single value"),
        ([[1, 2], [3]], ValueError, "`prompt` is ragged: .* the same number of features"),
        ([1, [2]], ValueError, "`prompt` is ragged"),
        (np.array([1, None]), TypeError, "`prompt` must hold numbers.* Received: dtype=object"),
        ([None, None], TypeError, "dtype=object and 1 dimensions. Convert it first"),
        # Tables: which column it is.
        (
            pd.DataFrame({"a": [1], "b": ["x"], "c": pd.to_datetime(["2024-01-01"])}),
            TypeError,
            r"`prompt`.*'b' \(String\), 'c' \(Datetime.*`by`.*`table.set_index",
        ),
        (
            pl.DataFrame({"a": [1], "b": ["x"], "c": [date(2024, 1, 1)]}),
            TypeError,
            r"table with the columns 'b' \(String\), 'c' \(Date\)\. Name",
        ),
        (
            pl.DataFrame({"a": [1.0], "c": [datetime(2024, 1, 1)]}),
            TypeError,
            r"table with the columns 'c' \(Datetime\(.*\)\)\. Name",
        ),
        (
            pd.DataFrame({"a": pd.array([True, None], "boolean"), "b": [1.5, 2.5]}),
            TypeError,
            r"`prompt`.*columns 'a' \(Boolean\)",
        ),
        (np.array([["A", "B"]]), TypeError, "dtype=<U1 and 2 dimensions"),
        (np.array([b"A", b"B"]), TypeError, r"dtype=\|S1 and 1 dimensions"),
        (np.ma.array([1, 2], mask=[0, 1]), TypeError, "masked array.* 1 masked values. Fill them"),
        # Records.
        (np.zeros(3, "V4"), TypeError, r"must hold numbers.* dtype=\|V4"),
        (np.zeros(3, [("a", float)]), TypeError, r"dtype=\[\('a', '<f8'\)\].* Convert it first"),
    ],
)
def test_other_values_are_refused_as_sequences(sequence, error, message):
    with pytest.raises(error, match=message):
        to_array(sequence, "prompt")


def test_short_floats_are_numbers():
    # NumPy counts them among the records.
    short = pytest.importorskip("ml_dtypes", reason="it defines NumPy's bfloat16").bfloat16
    assert to_array(np.zeros(3, short), "sequences").dtype == short


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ("b", 1),
        (0, 0),
        (-1, 2),
        (np.int64(1), 1),
        (["b"], [1]),
        (["c", "a"], [2, 0]),
        (("b", -1), [1, 2]),
        (np.array(["c", "a"]), [2, 0]),
        (np.array(["b"], object), [1]),
        (pd.Index(["c", "b"]), [2, 1]),
    ],
)
def test_find_columns(columns, found):
    assert find_columns(columns, ["a", "b", "c"], 3) == found


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ("d", ["a", "b"], r"the column 'd', but the sequence has columns \['a', 'b'\]"),
        (["a", "d"], ["a", "b"], "the column 'd'"),
        (
            "a",
            None,
            "the sequence has no column names. Name one of its columns, or give a position",
        ),
        (2, ["a", "b"], "must be a column in 0 … 1. Received: targets=2"),
        ([0, -3], None, "must be a column in 0 … 1. Received: targets=-3"),
        ([0, -2], None, r"a column twice. Received: targets=\[0, -2\], which are .* \[0, 0\]"),
        (["b", 1], ["a", "b"], r"names a column twice. .* which are the columns \[1, 1\]. Leave"),
    ],
)
def test_columns_that_are_not_there(columns, names, message):
    with pytest.raises(ValueError, match=message):
        find_columns(columns, names, 2)
    with pytest.raises(ValueError, match=message.replace("targets=", "future=")):
        find_columns(columns, names, 2, "future")


@pytest.mark.parametrize(
    ("targets", "are"),
    [
        ("price", True),
        (0, True),
        (np.int64(1), True),
        (["price"], True),
        (("price", 1), True),
        ([0, 2], True),
        ([], False),
        ([0, 3, 1, 2], False),  # more than there are columns: a label for each step
        ([1, 1], False),  # the same twice: labels
        ([True, False], False),
        ([0.0, 1.0], False),
        ([[0], [1]], False),
        (np.array([0, 1]), False),
        (pd.Index([0, 1]), False),
        # Arrays of strings are names as lists are.
        (np.array(["price"]), True),
        (np.array(["price", "units"], object), True),
        (pd.Index(["price", "units"]), True),
        (pd.Index(list("abcd")), False),
        (np.array(["A", "A"]), False),
        (np.array([["price"]]), False),
        (None, False),
    ],
)
def test_columns_are_told_from_values(targets, are):
    assert are_columns(targets, width=3) is are


def test_join_steps():
    assert join_steps(np.array([1, 0]), WORDS) == "cat the"
    assert join_steps(np.array([1, 0]), NOTES) == "64 60"
    assert join_steps(np.array([1, 0]), Vocabulary("AB")) == "BA"
    assert join_steps(np.array([[1, 0], [2, 3]]), None) == "[1 0] [2 3]"
    # With a vocabulary too: ids of several columns, and numbers that are no ids.
    assert join_steps(np.array([[1, 0], [0, 0]]), Vocabulary("AB")) == "BAAA"
    assert join_steps(np.array([0.5, 1.0]), Vocabulary("AB")) == "0.5 1"
