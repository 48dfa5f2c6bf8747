"""Batches hold the frames in the order of the epoch, and can be stopped and resumed anywhere."""

import copy
import json
import pickle
from itertools import combinations, islice, product

import numpy as np
import pytest
from batches import assert_all_same, assert_same, flat, peak_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import SequenceFramer
from seqframe.framing.order import epoch_order

STEPS = np.arange(100, 140)


def framed(length=3, steps=STEPS, **arguments):
    return SequenceFramer(length, **arguments).frame(steps)


def valid_but(*missing):
    return ~np.isin(np.arange(40), missing)


def drawn(seed=7):
    return framed(5, mode="subsequences", num_samples=23, seed=seed)


# Made anew each time, as after a restart.
KINDS = {
    "one sequence": framed,
    "several sequences": lambda: framed(2, [STEPS, STEPS[:9] + 100, STEPS[:17] + 200]),
    "rows": lambda: framed(2, STEPS.reshape(20, 2), return_sequences=True),
    "no view": lambda: framed(3, STEPS.reshape(20, 2), layout="features", sampling_rate=2),
    "prefixes": lambda: framed(mode="prefixes"),
    "subsequences": drawn,
    "missing": lambda: SequenceFramer(2).frame(STEPS, valid=valid_but(5, 20, 21)),
    "future and weight": lambda: SequenceFramer(2, horizon=2).frame(
        STEPS, future=STEPS / 4, sample_weight=np.arange(40)
    ),
    "weight of a frame": lambda: SequenceFramer(2, sequence_stride=3).frame(
        STEPS, sample_weight=np.linspace(0, 1, 13)
    ),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


def targets(batches):
    return [y.tolist() for _, y, *_ in batches]


def flat_targets(batches):
    return [one for batch in targets(batches) for one in batch]


# --- Which frames are in which batch.


@every_kind
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_the_frames_in_the_order_of_the_epoch(make, shuffle):
    frames = make()
    count = len(frames)
    order = np.arange(count)
    for size, drop_last in product((1, 3, 8, count, 99), (False, True)):
        for epoch in (0, 5):
            if shuffle:
                order = epoch_order(count, 2, epoch, np.arange(count))
            batches = frames.batches(
                size, shuffle=shuffle, seed=2, epoch=epoch, drop_last=drop_last
            )
            firsts = range(0, count // size * size if drop_last else count, size)
            expected = [frames[order[first : first + size]] for first in firsts]
            assert len(batches) == len(expected)
            assert_all_same([batches[k] for k in range(len(batches))], expected)
            assert_all_same([batches[~k] for k in range(len(batches))], expected[::-1])
            assert_all_same(batches, expected)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 100_000),
    batch_size=st.integers(1, 500),
    shuffle=st.booleans(),
    data=st.data(),
)
def test_indexing_and_iterating_give_the_same_batches(size, batch_size, shuffle, data):
    # Large enough that order, place and gather are worked out for many batches at once.
    frames = SequenceFramer(1).frame([np.arange(size + 1), np.arange(3)])
    batches = frames.batches(batch_size, shuffle=shuffle, seed=1)
    k = data.draw(st.integers(0, len(batches) - 1))
    assert_same(next(islice(batches, k, None)), batches[k])
    order = batches.order(np.arange(len(frames)), 0)
    for begin in data.draw(st.lists(st.integers(0, len(batches) - 1), max_size=5)):
        for number in range(begin, min(begin + 3, len(batches))):  # in turn, here and there
            first = number * batch_size
            assert_same(batches[number], frames[order[first : first + batch_size]])


def test_redrawn_batches_use_the_draws_of_their_epoch():
    frames = drawn()
    for epoch, shuffle in product(range(3), (False, True)):
        arguments = {"shuffle": shuffle, "seed": 1, "epoch": epoch}
        expected = frames.redraw(epoch).batches(8, **arguments)
        batches = frames.batches(8, redraw=True, **arguments)
        assert_all_same([batches[k] for k in range(3)], [expected[k] for k in range(3)])
        assert_all_same(batches, expected)
    assert targets(frames.batches(8, redraw=True, epoch=1)) != targets(frames.batches(8, epoch=1))


# --- Shards.


@every_kind
@pytest.mark.parametrize("shuffle", [False, True])
def test_shards_are_disjoint_and_together_everything(make, shuffle):
    frames = make()
    count = len(frames)
    for num_shards, size, drop_last in product((1, 2, 3, count), (1, 4), (False, True)):
        whole = frames.batches(size, shuffle=shuffle, seed=3, epoch=1, drop_last=drop_last)
        shards = [whole.shard(num_shards, index) for index in range(num_shards)]
        order = whole.order(np.arange(count), 1)
        for index, shard in enumerate(shards):
            own = order[index::num_shards]
            if drop_last:  # the same number of batches for every worker
                own = own[: count // num_shards // size * size]
            expected = [frames[own[first : first + size]] for first in range(0, len(own), size)]
            assert len(shard) == len(expected)
            assert_all_same([shard[k] for k in range(len(shard))], expected)
            assert_all_same(shard, expected)
        assert max(map(len, shards)) - min(map(len, shards)) <= (0 if drop_last else 1)


# --- Stopped and resumed.

STOPPED = {
    "in order": {},
    "shuffled": {"shuffle": True},
    "another epoch": {"shuffle": True, "epoch": 3},
    "last dropped": {"shuffle": True, "drop_last": True},
    "by a seed": {"shuffle": True, "seed": 7},
}


def resumed(batches, again):
    """Give `again` the state of `batches`, as after a restart, and return it."""
    again.set_state(json.loads(json.dumps(batches.get_state())))
    return again


@every_kind
@pytest.mark.parametrize("arguments", STOPPED.values(), ids=STOPPED.keys())
@pytest.mark.parametrize("shard", [None, (3, 1)])
def test_batches_resume_on_frames_made_anew(make, arguments, shard):
    def batches():
        if not shard:
            return make().batches(4, **arguments)
        return make().batches(4, **{"seed": 3, **arguments}).shard(*shard)

    for stop in range(len(batches()) + 1):
        stopped, again = batches(), batches()
        for _ in range(stop):
            next(stopped)
        next(again, None)  # wherever it stood
        assert len(list(map(again.__getitem__, range(len(again))))) == len(again)
        assert_all_same(resumed(stopped, again), list(stopped))
        assert_all_same(
            [again[k] for k in range(len(again))], [*map(stopped.__getitem__, range(len(again)))]
        )


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("shard", [(1, 0), (2, 1)])
def test_redrawn_batches_resume(shuffle, shard):
    arguments = {"shuffle": shuffle, "seed": 5, "redraw": True, "drop_last": True}
    for stop in range(3):
        stopped = drawn().batches(4, epoch=2, **arguments).shard(*shard)
        list(islice(stopped, stop))
        again = resumed(stopped, drawn().batches(4, **arguments).shard(*shard))
        assert again.epoch == 2
        assert_all_same(again, list(stopped))


OPERATIONS = st.sampled_from(["next", "loop", "nest", "zip", "state", "copy", "pickle"])


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(st.tuples(OPERATIONS, st.integers(0, 3)), max_size=12),
    kind=st.sampled_from(sorted(KINDS)),
    shuffle=st.booleans(),
)
def test_all_ways_of_iterating_share_one_position(operations, kind, shuffle):
    duplicates = {"copy": copy.copy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}
    batches = KINDS[kind]().batches(2, shuffle=shuffle)
    rest = [batches[k] for k in range(len(batches))]
    for operation, count in operations:
        taken = []
        if operation == "next":
            taken = [next(batches) for _ in range(min(count, len(rest)))]
        elif operation == "loop":
            for batch in islice(batches, count):
                taken.append(batch)
        elif operation == "nest":
            for batch in batches:
                taken += [batch, *islice(batches, count)]
                if len(taken) > count + 1:  # the outer loop has gone on
                    break
            assert len(taken) == min(2 * count + 2, len(rest))
        elif operation == "zip":  # which drops one where it finds no partner
            pairs = list(islice(zip(batches, batches, strict=False), count))
            assert len(pairs) == min(count, len(rest) // 2)
            taken = [batch for pair in pairs for batch in pair]
        elif operation == "state":
            batches = resumed(batches, KINDS[kind]().batches(2, shuffle=shuffle))
        else:
            before, batches = batches, duplicates[operation](batches)
            next(before, None)  # which does not move the copy
        assert_all_same(taken, rest[: len(taken)])
        rest = rest[batches.position - (len(batches) - len(rest)) :]
    assert_all_same(batches, rest)
    assert next(batches, None) is None


def test_an_exhausted_iterator_stays_exhausted_until_it_is_set_back():
    batches = framed().batches(10, shuffle=True)
    start = batches.get_state()
    once = targets(batches)
    assert list(batches) == []
    with pytest.raises(StopIteration):
        next(batches)
    batches.set_state(start)
    assert targets(batches) == once


# --- States of other frames or batches.


def test_set_state_raises_for_other_frames_of_equal_number():
    pairs = [
        (drawn(), drawn(8)),
        (drawn(), drawn().redraw(1)),
        (drawn(None), drawn(None)),  # each draws a seed of its own
        tuple(framed(steps=[STEPS, STEPS]).split(0.5, 0.5, by="sequences")),
        tuple(framed(steps=np.arange(80)).split(0.5, 0.5)),
        tuple(SequenceFramer(2).frame(STEPS, valid=valid_but(k)) for k in (5, 9)),
        tuple(SequenceFramer(2).frame(STEPS, by=np.array([name] * 40)) for name in "ab"),
    ]
    for one, other in pairs:
        assert len(one) == len(other)
        with pytest.raises(ValueError, match=r"`state`.*fingerprint"):
            one.batches(4).set_state(other.batches(4).get_state())


@pytest.mark.parametrize("name", ["batch_size", "drop_last", "shuffle", "redraw"])
def test_set_state_raises_for_other_batches(name):
    value = {"batch_size": 5}.get(name, True)
    state = drawn().batches(**{"batch_size": 4, name: value}).get_state()
    with pytest.raises(ValueError, match=f"{name}={value},"):
        drawn().batches(4).set_state(state)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("workers", [(1, 2), (2, 1), (3, 2), (2, 3), (2, 2)])
def test_any_number_of_workers_goes_on_from_the_state_of_one(workers, drop_last):
    """Stopped after each number of batches, the others take each frame that is left once."""
    before, after = workers
    arguments = {"shuffle": True, "seed": 7, "drop_last": drop_last}
    order = flat_targets(framed().batches(1, shuffle=True, seed=7, epoch=2))
    for taken in range(len(framed().batches(3, **arguments).shard(before, before - 1)) + 1):
        stopped = framed().batches(3, epoch=2, **arguments).shard(before, before - 1)
        list(islice(stopped, taken))
        shards = [framed().batches(3, **arguments).shard(after, index) for index in range(after)]
        for shard in shards:
            shard.set_state(json.loads(json.dumps(stopped.get_state())))
            assert shard.epoch == 2
        again = framed().batches(3, **arguments).shard(after, 0)
        again.set_state(shards[0].get_state())
        seen = [flat_targets(shard) for shard in shards]
        assert flat_targets(again) == seen[0]
        rest = order[taken * 3 * before :]
        own = [rest[index::after] for index in range(after)]
        even = len(rest) // after // 3 * 3
        assert seen == [part[:even] if drop_last else part for part in own]
        assert len({len(shard) for shard in shards}) == 1 or not drop_last
        assert targets(shards[0].at_epoch(3)) == targets(
            framed().batches(3, epoch=3, **arguments).shard(after, 0)
        )


@pytest.mark.parametrize("state", [None, {}, [], 3, "state", {"epoch": 1}])
def test_set_state_raises_for_other_values(state):
    with pytest.raises(TypeError, match="`get_state`"):
        framed().batches(4).set_state(state)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("batch", 11, ValueError),
        ("batch", -1, ValueError),
        ("batch", 1.5, TypeError),
        ("epoch", -1, ValueError),
        ("epoch", None, TypeError),
        ("seed", "7", TypeError),
        ("batch_size", None, ValueError),
        ("begin", -1, ValueError),
        ("num_shards", 0, ValueError),
    ],
)
def test_a_damaged_state_raises_and_changes_nothing(name, value, error):
    batches = framed().batches(4, shuffle=True, seed=7)
    next(batches)
    before = batches.get_state()
    with pytest.raises(error, match=f"{name}={value!r}"):
        batches.set_state({**before, "batch": 5, "epoch": 2, name: value})
    assert batches.get_state() == before
    assert targets(batches) == targets(framed().batches(4, shuffle=True, seed=7))[1:]


# --- Memory.


@every_kind
@pytest.mark.parametrize("size", [1, 3, 8])
def test_batches_are_writable_and_share_no_memory(make, size):
    frames = make()
    kept = [rows.copy() for rows in flat(frames[:])]
    source = frames.source
    data = [
        array
        for rows in (source.inputs, source.targets, source.future, source.weight)
        for array in (rows.arrays if rows else ())
    ]
    for batches in (
        frames.batches(size),
        frames.batches(size, shuffle=True),
        frames.batches(size).shard(2, 0),
        map(frames.batches(size).__getitem__, range(2)),
    ):
        arrays = [array for batch in batches for array in flat(batch)]
        assert not any(np.shares_memory(*pair) for pair in product(arrays, data))
        assert not any(np.shares_memory(*pair) for pair in combinations(arrays, 2))
        for number, array in enumerate(arrays):
            array[:] = number  # so none of them is written over by another
        assert all((array == number).all() for number, array in enumerate(arrays))
    assert all(map(np.array_equal, flat(frames[:]), kept))


# --- Very long sequences.

SIZE = 10**10


@pytest.mark.parametrize("columns", [(), (100,)])
def test_sequences_larger_than_memory_are_shuffled_and_split(columns):
    steps = np.broadcast_to(np.float32(7), (SIZE, *columns))  # of four bytes

    def shuffle_and_split():
        frames = SequenceFramer(50, horizon=3).frame(steps)
        assert len(frames) == SIZE - 52
        batches = frames.batches(256, shuffle=True)
        assert len(batches) == -(-len(frames) // 256)
        batches.set_state({**batches.get_state(), "batch": len(batches) // 3})
        x, y = next(batches)
        assert (x.shape, y.shape) == ((256, 50, *(columns or (1,))), (256, 3, *columns))
        assert len(batches.shard(1000, 999)[-1][1]) <= 256
        for part in frames.split(0.5, 0.5):
            assert len(part) == SIZE // 2 - 52
            assert len(next(part.batches(256))[1]) == 256

    assert peak_memory(shuffle_and_split) < 8 * 256 * 53 * 4 * 100


def test_windows_far_into_a_sequence_are_at_their_places():
    steps = np.zeros(3 * 2**30, np.uint8)  # memory that is never touched takes none
    frames = SequenceFramer(2).frame(steps)
    batches = frames.batches(4, shuffle=True, seed=1)
    k = len(batches) // 3
    firsts = batches.order(np.arange(4 * k, 4 * k + 4), 0)
    assert len(set(firsts)) == 4
    assert max(firsts) > 2**31
    for number, first in enumerate(firsts):
        steps[first : first + 3] = 10 * number + np.arange(3)
    expected = [[10 * number, 10 * number + 1] for number in range(4)]
    x, y = batches[k]
    assert (x[:, :, 0].tolist(), y.tolist()) == (expected, [2, 12, 22, 32])
    batches.set_state({**batches.get_state(), "batch": k})
    assert_same(next(batches), (x, y))


# --- Errors.


@pytest.mark.parametrize("index", [1.0, True, None, "0", slice(0, 2), [0]])
def test_the_number_of_a_batch_is_an_integer(index):
    with pytest.raises(TypeError, match="integer"):
        framed().batches(4)[index]


@pytest.mark.parametrize("index", [10, -11, np.int8(10), np.uint8(200)])
def test_the_number_of_a_batch_is_in_range(index):
    batches = framed().batches(4)
    assert_same(batches[np.int8(-1)], batches[9])
    with pytest.raises(IndexError, match=f"index {int(index)}"):
        batches[index]


@pytest.mark.parametrize(
    ("num_shards", "index", "error", "message"),
    [
        (2, 2, ValueError, "`num_shards`.*index=2"),
        (2, -1, ValueError, "index=-1"),
        (2, 0.0, TypeError, "index=0.0"),
        (0, 0, ValueError, "num_shards=0"),
        (2.0, 0, TypeError, "num_shards=2.0"),
        (38, 0, ValueError, "num_shards=38"),
    ],
)
def test_shard_checks_its_arguments(num_shards, index, error, message):
    with pytest.raises(error, match=message):
        framed().batches(4).shard(num_shards, index)


def test_a_shard_is_cut_once():
    shard = framed().batches(4).shard(2, 1)
    with pytest.raises(ValueError, match=r"shard 1 of 2.*`shard` once"):
        shard.shard(2, 0)


@pytest.mark.parametrize("mode", ["windows", "prefixes"])
def test_redraw_needs_random_frames(mode):
    with pytest.raises(ValueError, match=f"`redraw=True`.*{mode}"):
        framed(mode=mode).batches(4, redraw=True)
