"""Prompts: laid out without loss, encoded as the vocabulary has them, ended where they are told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import SequenceFramer, Vocabulary
from seqframe.model.context import context_steps, least_steps
from seqframe.rollout.prompts import GeneratorState, lay_out
from seqframe.rollout.text import (
    _decode_ids as decode_ids,
    _encode_prompt as encode_prompt,
    _encode_stops as encode_stops,
    _first_stop as first_stop,
    _split_prompts as split_prompts,
)

ABC = Vocabulary("ABC")
PADDED_ABC = Vocabulary("ABC", reserve_padding=True)
WORDS = Vocabulary(["the", "cat", "sat"])
NOTES = Vocabulary([60, 64, 67])
CHORDS = Vocabulary([(60, 64), (62, 65)])

FRAMERS = [
    SequenceFramer(1),
    SequenceFramer(3),
    SequenceFramer(3, gap=2),
    SequenceFramer(2, sampling_rate=3, horizon=4),
    SequenceFramer(3, layout="features", gap=1),
    SequenceFramer(5, mode="prefixes", padding_value=-7),
    SequenceFramer(5, mode="prefixes", layout="features", horizon=2, gap=1),
]


def draw_rows(data, least, features=()):
    """Return arrays of different lengths and of numbers that are never a padding value."""
    lengths = data.draw(st.lists(st.integers(least, least + 40), min_size=1, max_size=3))
    rng = np.random.default_rng(sum(lengths))
    return [rng.integers(1, 99, (length, *features)) for length in lengths]


def needed(framer, stepped):
    """Return how many steps a prompt of a framer has at least."""
    return least_steps(framer, stepped) + framer.gap


@given(
    st.data(),
    st.sampled_from(FRAMERS),
    st.booleans(),
    st.integers(1, 200),
    st.sampled_from([(), (2,)]),
)
@settings(max_examples=200, deadline=None)
def test_prompts_end_where_what_follows_begins(data, framer, stepped, steps, features):
    rows = draw_rows(data, needed(framer, stepped), features)
    context = context_steps(framer, stepped)

    prompts = lay_out(rows, steps, framer, stepped, seed=3)

    width, buffer = prompts.width, prompts.buffer
    room = buffer.shape[1] - width
    assert buffer.shape == (len(rows), width + room, *features)
    assert buffer.dtype == rows[0].dtype
    assert room >= steps + framer.horizon - 1
    assert (buffer[:, width:] == framer.padding_value).all()
    for row, line, real, begin in zip(rows, buffer, prompts.lengths, prompts.begins, strict=True):
        kept = min(len(row), width)
        assert real == kept >= min(len(row), context + framer.gap)
        np.testing.assert_array_equal(line[width - kept : width], row[len(row) - kept :])
        assert (line[: width - kept] == framer.padding_value).all()
        if stepped:
            assert kept == len(row)
            # Its first window is in the buffer, and holds no more padding than it may.
            assert begin - context + 1 >= 0
            assert begin + 1 - (width - kept) == least_steps(framer, stepped)
    assert (prompts.seed, prompts.drawn, prompts.future, prompts.states) == (3, 0, None, None)


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("framer", FRAMERS, ids=repr)
def test_there_are_few_sizes(framer, stepped):
    """Each size is a program to compile."""

    def size(length, steps):
        rows = [np.arange(length)]
        prompts = lay_out(rows, steps, framer, stepped, seed=0)
        return prompts.width, prompts.buffer.shape[1] - prompts.width

    least = needed(framer, stepped)
    widths = {size(length, 1)[0] for length in range(least, 200)}
    rooms = {size(least, steps)[1] for steps in range(1, 1_000)}
    assert len(widths) <= (6 if stepped else 1)
    assert len(rooms) <= 6


@given(st.data(), st.sampled_from(FRAMERS), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_is_known_ahead_stands_at_its_step(data, framer, stepped, on_clock):
    rows = draw_rows(data, needed(framer, stepped))
    steps = data.draw(st.integers(1, 70))
    extra = data.draw(st.integers(0, 90))
    # Row `t` of the future holds 1000 + t, where 0 is the first step of the prompt.
    futures = [
        np.arange(0 if on_clock else len(row), len(row) + steps + framer.horizon - 1 + extra) + 1000
        for row in rows
    ]

    prompts = lay_out(
        rows, steps, framer, stepped, 0, futures=[f[:, None] for f in futures], on_clock=on_clock
    )

    assert prompts.future.shape == (*prompts.buffer.shape[:2], 1)
    for row, line in zip(rows, prompts.future[..., 0], strict=True):
        clock = np.arange(len(line)) - prompts.width + len(row)
        first = 0 if on_clock else len(row)
        known = (clock >= first) & (clock < len(row) + steps + framer.horizon - 1)
        np.testing.assert_array_equal(line[known], 1000 + clock[known])
        assert not line[clock < first].any()


@given(st.data(), st.sampled_from(FRAMERS), st.booleans(), st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_a_state_and_a_prompt_end_like_the_whole(data, framer, stepped, cut):
    whole = draw_rows(data, needed(framer, stepped) + 30)
    context = context_steps(framer, stepped)
    keep = context + framer.gap
    head, rest = [row[: len(row) - cut] for row in whole], [row[len(row) - cut :] for row in whole]
    tails, lengths = [], []
    for row in head:
        tail = row[-keep:]
        filling = np.full(keep - len(tail), framer.padding_value)
        tails.append(np.concatenate([filling, tail]))
        lengths.append(len(tail))
    state = GeneratorState(np.array(tails), np.array(lengths), [np.zeros(2)], seed=5, drawn=9)

    found = lay_out(rest, 20, framer, stepped, 5, state)

    assert (found.seed, found.drawn, found.states) == (5, 9, state.states)
    expected = lay_out(whole, 20, framer, stepped, 5)
    for k in range(len(whole)):
        seen = min(keep, len(whole[k]))
        np.testing.assert_array_equal(
            found.buffer[k, found.width - seen : found.width],
            expected.buffer[k, expected.width - seen : expected.width],
        )
        assert min(found.lengths[k], keep) == min(expected.lengths[k], keep)
    if stepped:
        # The model was shown all steps of before but the last `gap + 1`.
        np.testing.assert_array_equal(found.begins, found.width - cut - framer.gap - 1)
        assert (found.begins - context + 1 >= 0).all()


def naive_stop(ids, stops):
    """Return what `first_stop` is to return, step by step as a reader would."""
    for end in range(1, len(ids) + 1):
        ended = [len(s) for s in stops if len(s) <= end and ids[end - len(s) : end] == list(s)]
        if ended:
            return end - max(ended), end
    return None


IDS = st.lists(st.integers(0, 2), max_size=30)
STOPS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=3)


@given(IDS, STOPS)
@settings(max_examples=500, deadline=None)
def test_the_first_stop_is_what_a_reader_finds(ids, stops):
    assert first_stop(np.array(ids, int), stops) == naive_stop(ids, stops)


ENCODED = [
    (None, ABC, ()),
    ("B", ABC, ((1,),)),
    ("CAB", ABC, ((2, 0, 1),)),
    (["AB", "C"], ABC, ((0, 1), (2,))),
    (("AB", "C"), ABC, ((0, 1), (2,))),
    (["A", 1, np.int64(2)], ABC, ((0,), (1,), (2,))),
    (np.array([1, 2]), ABC, ((1, 2),)),
    ([np.array([1, 2]), 0], ABC, ((1, 2), (0,))),
    ("A", PADDED_ABC, ((1,),)),
    (0, PADDED_ABC, ((0,),)),
    ("cat", WORDS, ((1,),)),
    (["cat", "sat"], WORDS, ((1,), (2,))),
    (2, WORDS, ((2,),)),
    (64, NOTES, ((1,),)),  # where symbols are numbers, a number is a symbol
    ([64, 60], NOTES, ((1,), (0,))),
    (np.array([1]), NOTES, ((1,),)),  # and an array is ids, as ever
    ((60, 64), CHORDS, ((0,),)),  # where symbols are tuples, a tuple is one of them
    ([(60, 64), (62, 65)], CHORDS, ((0,), (1,))),
    (((60, 64), (62, 65)), CHORDS, ((0,), (1,))),
    (5, None, ((5,),)),
    ([5, np.array([1, 2])], None, ((5,), (1, 2))),
]


@pytest.mark.parametrize(("stop", "vocabulary", "expected"), ENCODED)
def test_stops_as_ids(stop, vocabulary, expected):
    assert encode_stops(stop, vocabulary) == expected


WRONG_STOPS = [
    ("", ABC, "must not hold an empty string"),
    (["A", ""], ABC, "must not hold an empty string"),
    ([], ABC, "must name at least one"),
    ("AX", ABC, "`stop`: Unknown symbol 'X' at position 1"),
    ("dog", WORDS, "`stop`: a stop is one symbol, .*Received: 'dog'"),
    ("the cat", WORDS, r"Received: 'the cat'. For several symbols in a row .*`vocabulary.encode"),
    ([["the", "cat"]], WORDS, r"a stop is one symbol, .*Received: \['the', 'cat'\]. For several"),
    ([["A", "B"]], ABC, r"a stop is one symbol, .*a string of them. Received: \['A', 'B'\]"),
    (61, NOTES, "`stop`: Unknown symbol 61"),
    ("AB", None, "which needs a `vocabulary`. Received: 'AB'"),
    (3, ABC, r"ids of `stop` must be in 0 … 2. Received: 3"),
    (-1, ABC, r"ids of `stop` must be in 0 … 2. Received: -1"),
    (-1, None, r"ids of `stop` must be in 0 … "),
    (np.array([0, 7]), ABC, r"ids of `stop` must be in 0 … 2"),
    # What would become an id only by being cut off, flattened or counted as a number.
    (1.5, None, r"a one-dimensional array of ids, or a list of these. Received: 1.5"),
    (1.0, None, r"Received: 1.0"),
    (True, None, r"Received: True"),
    (np.array([1.5]), ABC, r"a one-dimensional array of ids"),
    (np.array([[0, 1]]), ABC, r"a one-dimensional array of ids"),
    (np.array([], int), ABC, r"a one-dimensional array of ids"),
]


@pytest.mark.parametrize(("stop", "vocabulary", "message"), WRONG_STOPS)
def test_stops_that_are_none(stop, vocabulary, message):
    with pytest.raises(ValueError, match=message):
        encode_stops(stop, vocabulary)


@pytest.mark.parametrize("stop", [1.5, [[0, 1]], None])
def test_stops_of_the_wrong_kind(stop):
    with pytest.raises((TypeError, ValueError)):
        encode_stops([stop], ABC)


SPLIT = [
    ("AB", ABC, ["AB"], False),
    ("", ABC, [""], False),
    ([], ABC, [[]], False),
    (["A"], ABC, ["A"], True),
    (["A", "B"], ABC, ["A", "B"], True),  # prompts, though as a sequence they would be symbols
    (("A", "B"), ABC, ["A", "B"], True),
    (["", ""], ABC, ["", ""], True),
    ([0, 1], ABC, [[0, 1]], False),
    ([[0], [1, 2]], ABC, [[0], [1, 2]], True),
    (["the", "cat"], WORDS, [["the", "cat"]], False),
    ([["the"], ["cat", "sat"]], WORDS, [["the"], ["cat", "sat"]], True),
    ([[], []], WORDS, [[], []], True),
    ([60, 64], NOTES, [[60, 64]], False),
    ([(60, 64)], CHORDS, [[(60, 64)]], False),
    ([[(60, 64)], []], CHORDS, [[(60, 64)], []], True),
]


@pytest.mark.parametrize(("prompt", "vocabulary", "expected", "several"), SPLIT)
def test_one_prompt_or_several(prompt, vocabulary, expected, several):
    assert split_prompts(prompt, vocabulary) == (expected, several)


@pytest.mark.parametrize(
    ("prompt", "vocabulary", "expected"),
    [
        ("", ABC, "CA"),
        ([], ABC, [2, 0]),
        ([], PADDED_ABC, [2, 0]),
        ([], WORDS, ["sat", "the"]),
        ((), WORDS, ["sat", "the"]),
        ([], NOTES, [67, 60]),
        ([], None, [2, 0]),
    ],
)
def test_nothing_is_continued_as_its_kind(prompt, vocabulary, expected):
    assert encode_prompt(prompt, vocabulary).shape == (0,)
    assert decode_ids(np.array([2, 0]), prompt, vocabulary) == expected


def test_what_is_no_prompt():
    for prompt, vocabulary in ([0.5], None), (np.zeros((2, 2), int), ABC), ([1.0, 2.0], ABC):
        with pytest.raises(ValueError, match=r"one-dimensional array of ids.*use `forecast`"):
            encode_prompt(prompt, vocabulary)
