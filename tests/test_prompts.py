"""Prompts and stops of every kind, through `generate`."""

import keras
import numpy as np
import pytest
from test_generator import Follow, assert_alike, follower

from seqframe import Generator, SequenceFramer, Vocabulary

ABC = Vocabulary("ABC")
PADDED_ABC = Vocabulary("ABC", reserve_padding=True)
WORDS = Vocabulary(["the", "cat", "sat"])
NOTES = Vocabulary([60, 64, 67])
CHORDS = Vocabulary([(60, 64), (62, 65), (64, 67)])


def counting(vocabulary):
    """Return a generator that counts through ids, and a prompt of the first id."""
    if vocabulary is None:
        model = keras.Sequential([keras.Input((1, 1)), Follow(count=9)])
        return Generator(model, SequenceFramer(1)), np.array([0])
    return follower(vocabulary), np.array([int(vocabulary.reserve_padding)])


def naive_stop(ids, stops):
    """Return where the first stop begins, as a reader finds it, or None."""
    for end in range(1, len(ids) + 1):
        ended = [len(s) for s in stops if len(s) <= end and ids[end - len(s) : end] == list(s)]
        if ended:
            return end - max(ended)
    return None


STOPS = [
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
    (64, NOTES, ((1,),)),  # if symbols are numbers, a number is a symbol
    ([64, 60], NOTES, ((1,), (0,))),
    (np.array([1]), NOTES, ((1,),)),  # and an array is ids
    ((60, 64), CHORDS, ((0,),)),  # if symbols are tuples, a tuple is one of them
    ([(60, 64), (62, 65)], CHORDS, ((0,), (1,))),
    (((60, 64), (62, 65)), CHORDS, ((0,), (1,))),
    (5, None, ((5,),)),
    ([5, np.array([1, 2])], None, ((5,), (1, 2))),
]


@pytest.mark.parametrize(("stop", "vocabulary", "ids"), STOPS)
def test_a_continuation_ends_before_a_stop(stop, vocabulary, ids):
    """`ids` are the stops as sequences of ids."""
    generator, prompt = counting(vocabulary)
    whole = generator.generate(prompt, 12).tolist()
    found = generator.generate(prompt, 12, stop=stop).tolist()
    assert found == whole[: naive_stop(whole, ids)]


WRONG_STOPS = [
    *(
        (stop, ABC)
        for stop in ["", ["A", ""], [], "AX", [["A", "B"]], 3, -1, [1.5], [[0, 1]], [None]]
    ),
    *((stop, WORDS) for stop in ["dog", "the cat", [["the", "cat"]]]),
    (61, NOTES),
    *((stop, None) for stop in ["AB", -1, 1.5, 1.0, True]),
    *((np.array(stop), ABC) for stop in [[0, 7], [1.5], [[0, 1]]]),
    (np.array([], int), ABC),
]


@pytest.mark.parametrize(("stop", "vocabulary"), WRONG_STOPS)
def test_stops_are_symbols_or_ids(stop, vocabulary):
    generator, prompt = counting(vocabulary)
    with pytest.raises((TypeError, ValueError), match="stop"):
        generator.generate(prompt, 3, stop=stop)


@pytest.mark.parametrize(
    ("vocabulary", "prompt", "expected"),
    [
        (ABC, "", "CA"),
        (ABC, [], [2, 0]),
        (ABC, ["", ""], ["CA", "CA"]),
        (PADDED_ABC, [], [3, 1]),
        (WORDS, [], ["sat", "the"]),
        (WORDS, (), ["sat", "the"]),
        (WORDS, [[], []], [["sat", "the"], ["sat", "the"]]),
        (NOTES, [], [67, 60]),
        (CHORDS, [[], []], [[(64, 67), (60, 64)]] * 2),
        (None, [], [2, 3]),
    ],
)
def test_an_empty_prompt_after_a_state_has_a_kind_too(vocabulary, prompt, expected):
    generator, first = counting(vocabulary)
    several = len(prompt) > 0
    _, state = generator.generate([first, first] if several else first, 1, return_state=True)
    assert_alike(generator.generate(prompt, 2, state=state), expected)
