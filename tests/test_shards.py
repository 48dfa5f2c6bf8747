"""Shards for processes: disjoint, together whole, and all with the same number of batches."""

import json
from itertools import islice, product

import numpy as np
import pytest
from batches import flat

from seqframe import SequenceFramer

STEPS = np.linspace(-1, 1, 40, dtype="float32")
LISTED = [STEPS, 2 * STEPS[:9], 3 * STEPS[:17], STEPS[:3]]
MISSING = ~np.isin(np.arange(40), (5, 20, 21))
KINDS = {
    "one sequence": lambda: SequenceFramer(3).frame(STEPS),
    "several sequences": lambda: SequenceFramer(2).frame(LISTED),
    "stride, horizon, gap": lambda: SequenceFramer(3, sequence_stride=2, horizon=2, gap=1).frame(
        LISTED[:3], future=[1 - each for each in LISTED[:3]]
    ),
    "every step": lambda: SequenceFramer(3, return_sequences=True, sampling_rate=2).frame(STEPS),
    "prefixes": lambda: SequenceFramer(4, mode="prefixes").frame(LISTED),
    "padded ends": lambda: SequenceFramer(
        4, sequence_stride=3, pad_end=True, return_sequences=True
    ).frame(STEPS),
    "missing": lambda: SequenceFramer(2).frame(STEPS, valid=MISSING),
    "a part": lambda: SequenceFramer(2).frame(LISTED[:3]).split(0.5, 0.5, share_history=True)[1],
    "weights of steps": lambda: SequenceFramer(2).frame(LISTED, sample_weight=LISTED),
    "weights of frames": lambda: SequenceFramer(2, sequence_stride=3).frame(
        STEPS, sample_weight=np.linspace(0, 1, 13)
    ),
    "columns": lambda: SequenceFramer(2).frame(
        STEPS.reshape(20, 2), targets=STEPS[:20], sample_weight=STEPS[20:]
    ),
}


def assert_same(arrays, expected):
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, other, strict=True)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("num_shards", [1, 2, 3, 5])
def test_shards_of_frames_are_the_frames_and_equally_large(make, num_shards):
    frames = make()
    share, rest = divmod(len(frames), num_shards)
    whole = [flat(frames[k]) for k in range(len(frames))]
    has_weights = frames.sample_weight_shape is not None
    for drop_last in (False, True):
        parts = [
            frames.shard(num_shards, index, drop_last=drop_last) for index in range(num_shards)
        ]
        assert {len(part) for part in parts} == {share + (rest > 0 and not drop_last)}
        assert len({len(part.batches(4)) for part in parts}) == 1
        first = 0
        for index, part in enumerate(parts):
            count = share + (index < rest and not drop_last)
            own = [flat(part[k]) for k in range(len(part))]
            for k in range(count):
                expected = whole[first + k]
                assert_same(own[k][: len(expected)], expected)
                if len(own[k]) > len(expected):
                    assert (own[k][-1] == 1).all()
                (sequence, *steps), (other, *theirs) = part.steps(k), frames.steps(first + k)
                assert sequence == other
                assert_same(steps, theirs)
            if count < len(part):  # it repeats its last frame, which weighs nothing
                inputs = len(own[-1]) - 1
                assert_same(own[-1][:inputs], own[-2][:inputs])
                assert (own[-1][-1] == 0).all()
            first += count
            needs_weights = has_weights or (rest > 0 and not drop_last)
            assert (part.sample_weight_shape is not None) == needs_weights
        assert first == len(frames) - (rest if drop_last else 0)


def test_a_shard_holds_only_its_part():
    frames = SequenceFramer(3).frame([STEPS] * 4)
    part = frames.shard(4, 1)
    assert part.source.steps.tolist() == [40]
    assert SequenceFramer(3).frame(STEPS[:39]).shard(2, 1).source.steps.tolist() == [21]


def test_shards_of_random_subsequences_must_divide():
    frames = SequenceFramer(5, mode="subsequences", num_samples=20, seed=7).frame(STEPS)
    parts = [frames.shard(2, index)[:][1] for index in range(2)]
    assert_same(np.concatenate(parts), frames[:][1])
    with pytest.raises(ValueError, match="`drop_last=True`"):
        frames.shard(3, 0)
    assert len(frames.shard(3, 2, drop_last=True)) == 6


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((2, 2), ValueError, "`num_shards`.*index=2"),
        ((0, 0), ValueError, "num_shards=0"),
        ((2, -1), ValueError, "index=-1"),
        ((38, 0), ValueError, "num_shards=38"),
        ((2.0, 0), TypeError, "num_shards=2.0"),
    ],
)
def test_shard_checks_its_arguments(given, error, message):
    frames = SequenceFramer(3).frame(STEPS)
    for whole in frames, SequenceFramer(1).frame(STEPS).lanes(37):
        with pytest.raises(error, match=message):
            whole.shard(*given)


LANES = {
    "one sequence": lambda size: SequenceFramer(1).frame(STEPS).lanes(size),
    "several sequences": lambda size: SequenceFramer(1).frame([*LISTED, STEPS[:5]]).lanes(size),
}


@pytest.mark.parametrize("kind", LANES)
def test_shards_of_lanes_are_the_rows_and_have_all_batches(kind):
    for size, num_shards in product((2, 3, 4, 5), (1, 2, 3)):
        if num_shards > size:
            continue
        lanes = LANES[kind](size)
        shards = [lanes.shard(num_shards, index) for index in range(num_shards)]
        assert {len(shard) for shard in shards} == {len(lanes)}
        assert {shard.batch_size for shard in shards} == {-(-size // num_shards)}
        for k, batches in enumerate(zip(lanes, *shards, strict=True)):
            whole, *parts = map(flat, batches)
            first = 0
            for index, part in enumerate(parts):
                count = size // num_shards + (index < size % num_shards)
                assert_same([a[:count] for a in part], [a[first : first + count] for a in whole])
                own = shards[index].resets(k)
                assert_same(own[:count], lanes.resets(k)[first : first + count])
                assert (part[-1][count:] == 0).all()
                first += count


def test_any_number_of_processes_goes_on_with_lanes():
    lanes = LANES["several sequences"](4)
    running = lanes.shard(2, 0).batches()
    list(islice(running, 3))
    state = json.loads(json.dumps(running.get_state()))
    for again in lanes.batches(), lanes.shard(4, 3).batches():
        again.set_state(state)
        assert again.position == 3


def test_fingerprints_tell_frames_apart():
    def frames(steps=STEPS, length=3, **given):
        return SequenceFramer(length, **given).frame(steps)

    one = frames().fingerprint
    assert one == frames(STEPS.copy()).fingerprint
    changed = STEPS.copy()
    changed[20] += 1e-6
    names = {"Ann": STEPS}
    others = [frames(changed), frames(STEPS[:39]), frames(length=4), frames(horizon=2)]
    others += [frames(names), frames(STEPS.astype("float64")), frames().shard(2, 0)]
    assert len({one, *(other.fingerprint for other in others)}) == 8
    large = np.zeros(100_000, np.int8)
    assert frames(large).fingerprint == frames(large).fingerprint
