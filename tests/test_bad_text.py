"""Bad prompts, ids, stops, states and vocabularies are refused at the call, by their names."""

import keras
import numpy as np
import pytest
from models import numbers
from test_generator import Follow, follower

from seqframe import (
    Generator,
    SequenceFramer,
    Vocabulary,
    get_states,
    reset_states,
    set_states,
)
from seqframe.samplers import BeamSampler

ABC, NOTES = Vocabulary("ABC"), Vocabulary([60, 64, 67])
MASKED = np.ma.masked_array([0, 1, 2], [False, True, False])
HUGE = 2**64


@pytest.fixture(scope="module")
def abc():
    return follower()


@pytest.fixture(scope="module")
def notes():
    return follower(NOTES)


@pytest.fixture(scope="module")
def plain():
    return Generator(keras.Sequential([keras.Input((1, 1)), Follow(count=9)]), SequenceFramer(1))


# Ids are compared before they are cast: 2**32 + 1 is no 1.
WRONG_IDS = [
    np.array([2**32 + 1]),
    np.array([2**63 + 1], np.uint64),
    np.array([0, -(2**32)]),
    np.array([0, 9]),
    [0, 1, 9],
    [0, 2**32],
    [HUGE],
    [0, -HUGE],
    np.array([HUGE], object),
    np.array([1.0]),
    np.array([True]),
    np.array([1j]),
    np.array([[0], [1]]),
    np.array(0),
    MASKED,
    [None],
    [0, None],
    {0, 1},
    {"A": 0},
    b"A",
    None,
    5,
    1.5,
]


def shown(value):
    return f"{type(value).__name__} {str(value)[:20]}"


@pytest.mark.parametrize("wrong", WRONG_IDS, ids=shown)
@pytest.mark.parametrize("name", ["abc", "plain", "notes"])
def test_prompts_that_hold_no_ids(name, wrong, request):
    generator = request.getfixturevalue(name)
    for call in generator.generate, generator.stream:
        with pytest.raises((TypeError, ValueError), match=r"prompt|Unknown symbol"):
            call(wrong, 3)


@pytest.mark.parametrize(
    "wrong", [2**32, 2**32 + 1, HUGE, -HUGE, [HUGE], np.array([2**32 + 1]), MASKED, b"A", {"A"}, {}]
)
@pytest.mark.parametrize("name", ["abc", "plain", "notes"])
def test_stops_that_are_none(name, wrong, request):
    with pytest.raises((TypeError, ValueError), match="stop"):
        request.getfixturevalue(name).generate([60] if name == "notes" else [0], 3, stop=wrong)


@pytest.mark.parametrize(
    "options", [{"steps": 10**14}, {"steps": HUGE}, {"num_samples": 10**14}, {"num_samples": HUGE}]
)
def test_counts_that_no_machine_has_room_for(abc, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}`"):
        abc.generate("A", **{"steps": 3, **options})
    if name == "steps":
        with pytest.raises(ValueError, match="`steps`"):
            abc.stream("A", **options)


def test_beams_that_no_machine_has_room_for():
    with pytest.raises(ValueError, match="bytes"):
        follower(sampler=BeamSampler(10**14)).generate("A", 3)
    with pytest.raises(ValueError, match="`num_beams`"):
        BeamSampler(HUGE)


WRONG_DECODED = [
    ([0, 7], ValueError),
    ([0, -1], ValueError),
    ([HUGE], ValueError),
    ([2**63, 0], ValueError),
    (np.array([2**63 + 1], np.uint64), ValueError),
    ([0, -HUGE], ValueError),
    (MASKED, TypeError),
    ([0, None], TypeError),
    ([0.5], TypeError),
    ([1j], TypeError),
    ("A", TypeError),
]


@pytest.mark.parametrize(("ids", "error"), WRONG_DECODED, ids=shown)
@pytest.mark.parametrize("vocabulary", [ABC, NOTES, Vocabulary("ABC", reserve_padding=True)])
def test_ids_that_no_vocabulary_has(vocabulary, ids, error):
    with pytest.raises(error, match=r"`ids` must|An id must be in 0 … \d\. Received"):
        vocabulary.decode(ids)


@pytest.mark.parametrize("ids", [[0, 1, 7], np.array([0, -1]), [[0, 1], [0, 7]], [0, HUGE]])
def test_frames_hold_ids_of_the_vocabulary(ids):
    for vocabulary in ABC, Vocabulary("ABC", reserve_padding=True):
        with pytest.raises((TypeError, ValueError), match="`sequences`"):
            SequenceFramer(1, vocabulary=vocabulary).frame(ids)


def test_none_is_a_symbol():
    assert Vocabulary.from_sequences([None, None]).symbols == (None,)
    with pytest.raises(TypeError, match="of types NoneType, int"):
        Vocabulary.from_sequences([None, 1])
    assert Vocabulary([None, 1]).encode([1, None]).tolist() == [1, 0]


@pytest.mark.parametrize(
    "use",
    [
        lambda: Vocabulary.from_sequences(MASKED),
        lambda: NOTES.encode(MASKED + 60),
        lambda: ABC.decode(MASKED),
    ],
)
def test_masked_arrays_would_lose_their_mask(use):
    with pytest.raises(TypeError, match="masked array"):
        use()


SURROGATES = "A\ud800\udfffB"


def test_lone_surrogates_are_symbols(tmp_path, capsys):
    """They cannot be printed, so `describe` shows their code."""
    vocabulary = Vocabulary(SURROGATES)
    frames = SequenceFramer(2, vocabulary=vocabulary).frame(2 * SURROGATES)
    frames.describe(2)
    assert capsys.readouterr().out == "A\\ud800 -> \\udfff\n\\ud800\\udfff -> B\n"
    SequenceFramer(1).frame([["\ud800", "word"] * 3]).describe(1)
    assert capsys.readouterr().out == "\\ud800 -> word\n"
    encoding = keras.layers.CategoryEncoding(4, output_mode="one_hot")  # repeats the last symbol
    model = keras.Sequential([keras.Input((1,)), encoding])
    generator = Generator(model, SequenceFramer(1, layout="tokens", vocabulary=vocabulary))
    generator.save(tmp_path / "surrogates.keras")
    loaded = Generator.load(tmp_path / "surrogates.keras")
    assert loaded.framer.vocabulary == vocabulary
    assert loaded.generate("A\ud800", 3) == 3 * "\ud800"


WRONG_STATES = [
    (np.ones((2, 3)) + 1j, TypeError),
    (np.full((2, 3), "1.0"), TypeError),
    (np.full((2, 3), None), TypeError),
    (np.ma.masked_array(np.ones((2, 3)), np.eye(2, 3)), TypeError),
    (np.ones((3, 2)), ValueError),
    (np.ones(3), ValueError),
    (1.0, ValueError),
    (None, (TypeError, ValueError)),
]


@pytest.mark.parametrize(("wrong", "error"), WRONG_STATES, ids=shown)
def test_states_that_no_layer_has(wrong, error):
    rnn = keras.layers.SimpleRNN(3, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, 1, 1)), rnn])
    before = numbers(2, 3)
    set_states(model, [[before]])
    for write, name in (set_states, "states"), (reset_states, "values"):
        with pytest.raises(error, match=f"`{name}` must"):
            write(model, [[wrong]])
        np.testing.assert_array_equal(get_states(model)[0][0], before)
    for right in np.ones((2, 3), int), np.ones((2, 3), bool), keras.ops.ones((2, 3)):
        set_states(model, [[right]])
        np.testing.assert_array_equal(get_states(model)[0][0], np.ones((2, 3)))


@pytest.mark.parametrize("rows", [[HUGE], [2**63], -HUGE, [1.5], "0", [None], 1j])
def test_rows_that_no_state_has(rows):
    rnn = keras.layers.SimpleRNN(3, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, 1, 1)), rnn])
    with pytest.raises(ValueError, match="`rows` must be row numbers in 0 … 1"):
        reset_states(model, rows=rows)


# --- Steps at which no symbol can be chosen.


def stopping(logits, generated, step):
    """Allow nothing after the second symbol."""
    return keras.ops.where(step >= 2, -np.inf, logits)


@pytest.mark.parametrize("embeds", [False, True])
def test_a_fault_after_a_stop_does_not_count(embeds):
    framer = SequenceFramer(1, layout="tokens", vocabulary=ABC)
    if embeds:  # which reads no negative ids
        parts = [keras.layers.Embedding(3, 3), keras.layers.Flatten()]
        model = keras.Sequential([keras.Input((1,)), *parts])
        model.set_weights([np.roll(np.eye(3), 1, axis=1)])
        generator = Generator(model, framer, logits_processor=stopping, from_logits=True)
    else:
        generator = Generator(follower().model, follower().framer, logits_processor=stopping)
    assert generator.generate("A", 9, stop="C") == "B"
    assert generator.generate(["A", "B"], 9, stop=["C", "A"]) == ["B", ""]
    assert list(generator.stream("A", 9, stop="C")) == ["B"]
    for call in (lambda: generator.generate("A", 9), lambda: list(generator.stream("A", 9))):
        with pytest.raises(ValueError, match=r"At least one symbol must be left.*step 2 of row 0"):
            call()
