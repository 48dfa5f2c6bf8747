"""Data of any kind are read as one sequence or as several."""

from datetime import datetime

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

# Sequences, a vocabulary, and how many they are: None is one sequence as it is.
COUNTS = [
    ("", None, None),
    ([], None, None),
    ([1, 2.5, np.float32(3), np.array(4), True], None, None),
    (["A", "B"], None, None),  # single characters: symbols of one sequence
    (["the"], WORDS, None),
    ([(60,)], CHORDS, None),
    (pd.DataFrame(FRAME), None, None),
    (["A"], None, 1),
    (["", "A"], None, 2),
    (["the", "cat"], None, 2),  # texts, unless a vocabulary has them as symbols
    (["the", "cat"], Vocabulary("theca"), 2),
    ([[]], None, 1),
    ([[1], []], None, 2),
    ((np.arange(3),), None, 1),
    ([[60, 64], [67]], NOTES, 2),
    ([[(60, 64), (60,)], [(60,)]], CHORDS, 2),
    ([[[1, 2], [3]]], None, 1),  # ragged, but a list of one
    ([pd.DataFrame(FRAME)] * 2, None, 2),
]


@pytest.mark.parametrize(("sequences", "vocabulary", "count"), COUNTS)
def test_one_sequence_is_kept_whole_and_several_are_listed(sequences, vocabulary, count):
    split = split_sequences(sequences, vocabulary)
    assert len(split) == (count or 1)
    expected = [sequences] if count is None else sequences
    assert all(one is other for one, other in zip(split, expected, strict=True))


@pytest.mark.parametrize(
    "words",
    [
        ["the", "cat"],
        ("the", "cat"),
        np.array(["the", "cat"], object),
        np.array(["the", "cat"], np.dtypes.StringDType()),
        pd.Series(["the", "cat"], index=[3, 3]),
        pd.Series(["the", "cat"], dtype="category"),
        pl.Series(["the", "cat"], dtype=pl.Categorical),
    ],
)
def test_symbols_are_told_from_numbers(words):
    assert is_symbolic(words)
    ids = to_array(words, "sequences", WORDS)
    assert (ids.dtype, ids.tolist()) == (np.int32, [0, 1])
    with pytest.raises(ValueError, match=r"`history` .*`vocabulary`"):
        to_array(words, "history")


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


MIXED = {"a": [1], "b": ["x"], "c": [datetime(2024, 1, 1)]}


@pytest.mark.parametrize(
    ("sequence", "error", "message"),
    [
        (3, TypeError, "int"),
        (None, TypeError, "NoneType"),
        (b"ABC", TypeError, "bytes"),
        ({1, 2}, TypeError, "set"),
        ((i for i in range(3)), TypeError, "generator"),
        (pd.DataFrame(MIXED).groupby("a"), TypeError, r"`\[part for _, part in …\]`"),
        (pl.DataFrame(MIXED).group_by("a"), TypeError, "`.part for _, part"),
        (np.array(3), ValueError, "time axis"),
        (np.float64(3), ValueError, "time axis"),
        ([[1, 2], [3]], ValueError, "ragged"),
        ([1, [2]], ValueError, "ragged"),
        (np.array([1, None]), TypeError, "dtype=object"),
        ([None, None], TypeError, "dtype=object"),
        # The message names the columns of a table that are no numbers.
        (pd.DataFrame(MIXED), TypeError, r"'b' \(String\), 'c' \(Datetime.*`table.set_index"),
        (pl.DataFrame(MIXED), TypeError, r"'b' \(String\), 'c' \(Datetime"),
        (pd.DataFrame({"a": pd.array([True, None], "boolean")}), TypeError, r"'a' \(Boolean\)"),
        (np.array([["A", "B"]]), TypeError, "<U1 and 2 dimensions"),
        (np.array([b"A", b"B"]), TypeError, "S1"),
        (np.ma.array([1, 2], mask=[0, 1]), TypeError, "masked"),
        (np.zeros(3, "V4"), TypeError, "V4"),
        (np.zeros(3, [("a", float)]), TypeError, "'<f8'"),
    ],
)
def test_other_values_are_refused_as_sequences(sequence, error, message):
    with pytest.raises(error, match=f"`prompt`.*{message}"):
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
        ("d", ["a", "b"], r"'d'.*\['a', 'b'\]"),
        (["a", "d"], ["a", "b"], "'d'"),
        ("a", None, "no column names"),
        (2, ["a", "b"], "0 … 1.*=2"),
        ([0, -3], None, "0 … 1.*=-3"),
        ([0, -2], None, r"twice.*\[0, 0\]"),
        (["b", 1], ["a", "b"], r"twice.*\[1, 1\]"),
    ],
)
def test_unknown_columns_are_refused(columns, names, message):
    for argument in "targets", "future":
        with pytest.raises(ValueError, match=f"`{argument}`.*{message}"):
            find_columns(columns, names, 2, argument)


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
