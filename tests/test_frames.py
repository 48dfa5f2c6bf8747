"""Frames are a lazy collection: indexed, viewed, copied, split and described."""

import copy
import pickle
import threading

import numpy as np
import pytest
from batches import peak_memory

from seqframe import SequenceFramer, Vocabulary

STEPS = np.arange(100, 140)


def framed(length=3, steps=STEPS, **arguments):
    return SequenceFramer(length, **arguments).frame(steps)


def values(batches):
    """Return batches as one nested list."""
    return [(x.tolist(), y.tolist()) for x, y in batches]


# --- Indexing.


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (slice(None), range(37)),
        (slice(3, 9), range(3, 9)),
        (slice(30, 99), range(30, 37)),  # cut off, as for a list
        (slice(9, 3), []),
        (slice(None, None, -5), range(36, -1, -5)),
        ([3, 1, 3], [3, 1, 3]),
        ([-1, 0, -37], [36, 0, 0]),
        ((5, 6), [5, 6]),
        (np.array([5, -1]), [5, 36]),
        (np.array([5], np.uint8), [5]),
        (np.array([-1], np.int8), [36]),
        (range(4), range(4)),
        ([np.int64(2), 3], [2, 3]),
        ([], []),
        (np.array([]), []),
        (np.arange(37) > 33, range(34, 37)),
        ([True] + [False] * 36, [0]),
        (np.zeros(37, bool), []),
    ],
)
def test_indexing_gives_many_frames(index, chosen):
    frames = framed()
    x, y = frames[index]
    assert x.tolist() == [[[100 + i + k] for k in range(3)] for i in chosen]
    assert y.tolist() == [103 + i for i in chosen]
    assert (x.shape, y.shape) == ((len(chosen), 3, 1), (len(chosen),))
    assert x.flags.writeable
    assert frames.lengths(index).tolist() == [3] * len(chosen)
    assert frames.mask(index).shape == (len(chosen), 3)


@pytest.mark.parametrize("number", [int, np.int64, np.int8, np.array, np.uint16])
@pytest.mark.parametrize("index", [0, 36])
def test_indexing_gives_one_frame(number, index):
    frames = framed()
    x, y = frames[number(index)]
    assert x.tolist() == [[100 + index], [101 + index], [102 + index]]
    assert (y, np.ndim(y)) == (103 + index, 0)


@pytest.mark.parametrize(
    ("index", "received"), [(37, 37), (-38, -38), ([0, 37, 99], 37), (np.array([-99]), -99)]
)
def test_indexing_raises_out_of_range(index, received):
    frames = framed()
    for use in (frames.__getitem__, frames.lengths, frames.mask):
        with pytest.raises(IndexError, match=f"index {received}"):
            use(index)


def test_steps_raise_out_of_range():
    frames = framed()
    assert frames.steps(-1).targets.tolist() == [39]
    assert frames.steps(np.int8(-1)).inputs.tolist() == [36, 37, 38]
    for outside in (37, -38, 2**70):
        with pytest.raises(IndexError, match=rf"index {outside}"):
            frames.steps(outside)
    with pytest.raises(TypeError):
        frames.steps(1.5)


@pytest.mark.parametrize(
    "index",
    [1.0, "1", None, True, [1.5], ["a"], [[1, 2]], np.zeros(3, bool), [True, False]],
)
def test_indexing_raises_for_other_types(index):
    with pytest.raises(TypeError, match="An index must be an integer"):
        framed()[index]


def test_iteration_goes_through_all_frames():
    frames = framed(steps=np.arange(3000))
    pairs = list(frames)
    assert len(pairs) == len(frames) == 2997
    assert [y for _, y in pairs] == list(range(3, 3000))
    assert pairs[5][0].tolist() == [[5], [6], [7]]


# --- Views and memory.


@pytest.mark.parametrize("sequences", [1, 3])
def test_framing_and_batching_take_the_memory_of_a_batch(sequences):
    data = [np.zeros((20_000, 8)) for _ in range(sequences)]  # 100 windows a batch: 640 KB
    framer = SequenceFramer(100)
    batch = 100 * 100 * 8 * 8
    assert peak_memory(lambda: framer.frame(data)) < 50_000
    assert peak_memory(lambda: framer.frame(data[0]).arrays()) < 50_000
    frames = framer.frame(data)

    def go_through():
        for x, y in frames.batches(100, shuffle=True, seed=1):
            del x, y

    np.random.default_rng()  # NumPy loads what draws random numbers when it is first asked for
    # A batch, and the order of the epoch.
    assert peak_memory(go_through) < 1.2 * batch + 8 * 2 * len(frames) + 2**20


def test_threads_share_frames():
    frames = SequenceFramer(3).frame([np.arange(1000), np.arange(1000, 3000)])
    wrong = []

    def read(seed):
        order = np.random.default_rng(seed).permutation(len(frames))
        x, y = frames._take(order)
        if (y - x[:, -1, 0] != 1).any():
            wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("mode", ["windows", "prefixes", "subsequences"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_frames_can_be_copied_and_sent_to_another_process(mode, duplicate):
    framer = SequenceFramer(3, mode=mode, num_samples=50 if mode == "subsequences" else None)
    frames = framer.frame(["ABCDEFG" * 50, "GFEDCBA" * 9])
    expected = values([frames.arrays()])
    twin = duplicate(frames)
    assert values([twin.arrays()]) == expected
    assert twin.source.inputs is twin.source.targets
    assert twin.vocabulary == frames.vocabulary


# --- Batches.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": 2.5}, TypeError, "batch_size=2.5"),
        ({"batch_size": 2, "seed": -1}, ValueError, "seed=-1"),
        ({"batch_size": 2, "epoch": -1}, ValueError, "epoch=-1"),
        ({"batch_size": 2, "epoch": 0.5}, TypeError, "epoch=0.5"),
    ],
)
def test_batches_check_their_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        framed().batches(**arguments)


# --- Splits.


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [({}, 4), ({"sampling_rate": 2}, 6), ({"mode": "prefixes", "min_length": 3}, 4)],
)
def test_a_part_has_a_frame(arguments, needed):
    frames = framed(3, np.arange(30), **arguments)
    with pytest.raises(ValueError, match=rf"Part 1 .* {needed} steps\. .* 3 steps") as error:
        frames.split(0.9, 0.1)
    if "mode" not in arguments:
        assert "`share_history=True`" in str(error.value)
        assert len(frames.split(0.9, 0.1, share_history=True)[1]) == 3


# --- Random subsequences.


def test_redraw_draws_another_epoch():
    frames = framed(5, mode="subsequences", num_samples=40, seed=7)
    drawn = [values([frames.redraw(epoch).arrays()]) for epoch in range(4)]
    assert drawn[0] == values([frames.arrays()])
    assert all(drawn[k] != drawn[j] for k in range(4) for j in range(k))
    assert values([frames.redraw(3).redraw(1).arrays()]) == drawn[1]
    part = frames.split(0.5, 0.5)[1]
    assert part.redraw(1).steps(0).inputs.min() >= 20  # a part's draws stay its own
    assert values([part.redraw(0).arrays()]) == values([part.arrays()])
    with pytest.raises(ValueError, match="epoch=-1"):
        frames.redraw(-1)


# --- Text.


@pytest.mark.parametrize(
    ("framer", "sequences", "targets", "lines"),
    [
        (SequenceFramer(2, horizon=2), "ABCDE", None, ["AB -> CD", "BC -> DE"]),
        (SequenceFramer(3, sampling_rate=2), "ABCDEFG", None, ["ACE -> F", "BDF -> G"]),
        (SequenceFramer(2, return_sequences=True), "ABCD", None, ["AB -> BC", "BC -> CD"]),
        (
            SequenceFramer(2, return_sequences=True, horizon=2),
            "ABCD",
            None,
            ["AB -> BC | CD"],
        ),
        (SequenceFramer(3, mode="prefixes"), "ABC", None, ["A -> B", "AB -> C"]),
        (SequenceFramer(2, gap=-1), "ABC", None, ["AB -> B", "BC -> C"]),
        (SequenceFramer(1), "AB", np.array([[0.5, 1], [2, 3]]), ["A -> [2 3]"]),
        (SequenceFramer(1), "AB", "BA", ["A -> 0"]),  # ids: they may mean something else
        (SequenceFramer(1, horizon=2), [0.25, 1, 2], None, ["0.25 -> 1 2"]),
        (
            SequenceFramer(3, mode="prefixes", vocabulary=Vocabulary("AB", reserve_padding=True)),
            "ABA",
            None,
            ["A -> B", "AB -> A"],
        ),
    ],
)
def test_describe(framer, sequences, targets, lines, capsys):
    framer.frame(sequences, targets).describe()
    assert capsys.readouterr().out.splitlines() == lines


def test_repr():
    assert repr(framed(horizon=2)) == "Frames(36 of x (3, 1), y (2,))"
    frames = SequenceFramer(3, layout="features").frame([np.zeros((9, 2))] * 4)
    assert repr(frames) == "Frames(24 of x (1, 6), y (2,) over 4 sequences)"
    gap = np.array([1.0, 2.0, 3.0, np.nan, 5.0, 6.0, 7.0, 8.0])
    left_out = SequenceFramer(2).frame([gap, gap[4:]], skip_nan=True)
    assert repr(left_out) == "Frames(5 of x (2, 1), y () over 2 sequences, 3 left out)"


def test_frames_read_the_users_arrays_where_they_lie():
    steps = np.arange(6)
    frames = SequenceFramer(2).frame(steps)
    steps[0] = 9  # the guide says not to
    assert frames[0][0].ravel().tolist() == frames.arrays()[0][0].ravel().tolist() == [9, 1]
