"""Symbols become ids and come back."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqframe import Vocabulary

# Any code point, those beyond the Basic Multilingual Plane and lone surrogates among them.
CHARACTERS = st.characters(exclude_categories=())


@given(text=st.text(CHARACTERS, min_size=1), reserve_padding=st.booleans())
def test_text_comes_back(text, reserve_padding):
    vocabulary = Vocabulary.from_sequences(text, reserve_padding=reserve_padding)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == [
        sorted(set(text)).index(character) + reserve_padding for character in text
    ]
    assert vocabulary.decode(ids) == text
    assert vocabulary.encode(list(text)).tolist() == ids.tolist()
    assert len(vocabulary) == len(set(text)) + reserve_padding


SYMBOLS = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()), st.none())


@given(symbols=st.lists(SYMBOLS, min_size=1, unique=True), data=st.data(), padded=st.booleans())
def test_symbols_of_any_kind_come_back(symbols, data, padded):
    vocabulary = Vocabulary(symbols, reserve_padding=padded)
    sequence = data.draw(st.lists(st.sampled_from(symbols)))
    ids = vocabulary.encode(sequence)
    assert ids.dtype == np.int32
    assert ids.tolist() == [symbols.index(symbol) + padded for symbol in sequence]
    assert list(vocabulary.decode(ids)) == sequence
    restored = Vocabulary.from_config(json.loads(json.dumps(vocabulary.get_config())))
    assert restored == vocabulary
    assert hash(restored) == hash(vocabulary)
    assert restored.encode(sequence).tolist() == ids.tolist()


@pytest.mark.parametrize(
    ("symbols", "sequence", "ids"),
    [
        ("ABC", "", []),
        ("ABC", [], []),
        ("CBA", "ABC", [2, 1, 0]),  # the order given
        ("a😀é\U0010ffff", "é\U0010ffff😀a", [2, 3, 1, 0]),  # beyond 16 bits
        ("ABC", np.array(list("CA")), [2, 0]),
        ("ABC", np.array(list("CA"), object), [2, 0]),
        ("ABC", ("C", "A"), [2, 0]),
        ("ABC", iter("CA"), [2, 0]),
        (["the", "cat"], ["cat", "the"], [1, 0]),
        (["the", "cat"], np.array(["cat", "the"]), [1, 0]),
        (np.array(["the", "cat"]), ["cat", "the"], [1, 0]),
        ([60, 64, 67], [67, 60], [2, 0]),
        ([60, 64, 67], np.array([67, 60], np.uint8), [2, 0]),
        (np.array([60, 64, 67]), [np.int64(67), 60.0], [2, 0]),  # equal numbers are one symbol
        ([(60, 64), (60,)], [(60,), (60, 64)], [1, 0]),  # chords
    ],
)
def test_encode(symbols, sequence, ids):
    assert Vocabulary(symbols).encode(sequence).tolist() == ids


@pytest.mark.parametrize(
    ("sequence", "symbol", "position"),
    [
        ("ABZ", "Z", 2),
        ("ZAB", "Z", 0),
        ("AB😀", "😀", 2),  # far beyond the largest symbol
        ("AB\U0010ffff", "\U0010ffff", 2),
        ("A\0", "\0", 1),  # below the smallest
        ("ab", "a", 0),  # case matters
        (["A", "BC"], "BC", 1),
        (["A", 7], 7, 1),
        (np.array(["A", "D"]), "D", 1),
    ],
)
def test_an_unknown_symbol_is_named_with_its_position(sequence, symbol, position):
    named = re.escape(f"Unknown symbol {symbol!r} at position {position}:")
    with pytest.raises(ValueError, match=named):
        Vocabulary("ABC").encode(sequence)


def test_words_are_not_encoded_from_a_string():
    with pytest.raises(TypeError, match=r"not a string. Received: 'the cat'. Split it first"):
        Vocabulary(["the", "cat"]).encode("the cat")


@pytest.mark.parametrize("symbols", ["", [], (), np.array([])])
def test_a_vocabulary_has_a_symbol(symbols):
    with pytest.raises(ValueError, match="`symbols` must hold at least one symbol"):
        Vocabulary(symbols)


@pytest.mark.parametrize(
    ("symbols", "twice"),
    [("ABA", "'A'"), (["the", "cat", "cat"], "'cat'"), ([1, 2, np.int8(1)], 1)],
)
def test_symbols_are_distinct(symbols, twice):
    with pytest.raises(
        ValueError, match=f"`symbols` must be distinct. Received: {twice} more than"
    ):
        Vocabulary(symbols)


@pytest.mark.parametrize(
    "use",
    [
        lambda: Vocabulary([["A"]]),
        lambda: Vocabulary.from_sequences([["A"]]),
        lambda: Vocabulary("ABC").encode([["A"]]),
        lambda: ["A"] in Vocabulary("ABC"),
    ],
)
def test_a_symbol_is_hashable(use):
    with pytest.raises(TypeError, match=r"must be hashable .* Received: \['A'\]"):
        use()


def test_symbols_that_have_no_order_are_not_collected():
    with pytest.raises(TypeError, match=r"of types int, str. Convert them, or give their order"):
        Vocabulary.from_sequences(["A", 1])
    assert Vocabulary(["A", 1]).encode([1, "A"]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        (np.array([[2], [0], [1], [1]]), "CABB"),  # as it comes out of a frame
        (np.array([[2, 0, 1]]), "CAB"),  # as one of features
        (np.array([2, 0], np.uint8), "CA"),
        (np.array([]), ""),
        (np.zeros((0, 1)), ""),
        (1, "B"),
    ],
)
def test_decode(ids, text):
    assert Vocabulary("ABC").decode(ids) == text


def test_ids_are_integers():
    for each in [0.9, 1.7], np.array([0.0, 1.0], "float32"), [True, False], ["A"], [None]:
        with pytest.raises(TypeError, match=r"`ids` must be integers\. Received: dtype=.*argmax"):
            Vocabulary("AB").decode(each)


def test_ids_of_several_sequences_are_not_run_together():
    ids, vocabulary = np.array([[2, 0], [1, 1]]), Vocabulary("ABC")
    for each in ids, ids[..., None], ids.tolist():
        with pytest.raises(ValueError, match=r"one sequence\. Received: shape \(2, 2.*for row in"):
            vocabulary.decode(each)
        assert [vocabulary.decode(row) for row in each] == ["CA", "BB"]  # the way out


def test_decode_leaves_padding_out():
    vocabulary = Vocabulary("ABC", reserve_padding=True)
    assert vocabulary.padding_id == 0
    assert vocabulary.decode([0, 0, 3, 1]) == "CA"
    assert Vocabulary("ABC").padding_id is None
    assert Vocabulary(["the", "cat"], reserve_padding=True).decode([0, 2, 0, 1]) == ["cat", "the"]


@pytest.mark.parametrize(
    ("ids", "received"), [([0, 3], "3 at position 1"), ([-1], "-1 at position 0")]
)
def test_an_id_is_in_range(ids, received):
    with pytest.raises(ValueError, match=f"An id must be in 0 … 2. Received: {received}"):
        Vocabulary("ABC").decode(ids)


def test_equality_is_of_symbols_order_and_padding():
    assert Vocabulary("AB") == Vocabulary(["A", "B"])
    assert Vocabulary("AB") != Vocabulary("BA")
    assert Vocabulary("AB") != Vocabulary("AB", reserve_padding=True)
    assert Vocabulary("AB") != "AB"


def test_repr_is_short():
    assert repr(Vocabulary("AB", reserve_padding=True)) == "Vocabulary('AB', reserve_padding=True)"
    assert repr(Vocabulary(["the", "cat"])) == "Vocabulary(['the', 'cat'])"
    assert len(repr(Vocabulary(range(1000)))) < 60


@pytest.mark.parametrize(
    ("vocabulary", "sequence", "ids"),
    [
        (Vocabulary("?AB", unknown="?"), "AXB", [1, 0, 2]),
        (Vocabulary("AB?", unknown="?"), "AX\U0001f600", [0, 2, 2]),  # beyond the table
        (Vocabulary("?AB", unknown="?", reserve_padding=True), "AXB", [2, 1, 3]),
        (Vocabulary(["<unk>", "cat"], unknown="<unk>"), ["cat", "dog", 7], [1, 0, 0]),
        (Vocabulary([0, 3, 5], unknown=0), np.array([3, 4, 5, 0]), [1, 0, 2, 0]),
        (Vocabulary([(0,), (1,)], unknown=(0,)), [(1,), (2,)], [1, 0]),
    ],
)
def test_unknown_replaces_out_of_vocabulary_symbols(vocabulary, sequence, ids):
    for each in vocabulary, Vocabulary.from_config(json.loads(json.dumps(vocabulary.get_config()))):
        assert each.encode(sequence).tolist() == ids
        assert each == vocabulary
        assert hash(each) == hash(vocabulary)
    assert vocabulary != Vocabulary(
        vocabulary.symbols, reserve_padding=vocabulary.reserve_padding
    )  # by which they are an error
    assert f"unknown={vocabulary.unknown!r}" in repr(vocabulary)


def test_unknown_is_one_of_the_symbols():
    with pytest.raises(ValueError, match=r"`unknown` must be one.*unknown='\?'. Add it"):
        Vocabulary("AB", unknown="?")


def test_rare_symbols_become_unknown():
    words = list("abacba")
    vocabulary = Vocabulary.from_sequences(words, unknown="<unk>", min_count=2)
    assert vocabulary.symbols == ("<unk>", "a", "b")
    assert vocabulary.decode(vocabulary.encode(words)) == ["a", "b", "a", "<unk>", "b", "a"]
    # A symbol that the data hold is not added twice, however rare.
    again = Vocabulary.from_sequences([*words, "<unk>"], unknown="<unk>", min_count=2)
    assert again == vocabulary
    with pytest.raises(ValueError, match=r"`min_count`.*min_count=2 without `unknown`"):
        Vocabulary.from_sequences(words, min_count=2)
