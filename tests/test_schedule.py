"""Schedule: each frame once an epoch, in the order asked for, and resets where they belong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import SequenceFramer
from seqframe.training.feed import feed_arrays, feed_frames
from seqframe.training.schedule import Schedule, resets_every

SIZES = [(1, 1), (4, 2), (5, 2), (5, 5), (7, 3), (2, 3), (3, 1)]  # frames, batch size


def schedule(size, batch_size, **kwargs):
    return Schedule(feed_arrays(np.zeros(size), np.zeros(size), None), batch_size, **kwargs)


def order(of, epoch):
    """Return the frames of an epoch in the order in which they are trained on."""
    rows = of.epochs(epoch, 1)["index"][: of.steps].ravel()
    return [*rows, *(of.last_batch(epoch)[1]["index"].ravel() if of.remainder else ())]


@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_unshuffled_frames_come_in_order(size, batch_size):
    plain = schedule(size, batch_size)
    assert (plain.steps, plain.remainder) == divmod(size, batch_size)
    for epoch in range(3):
        assert order(plain, epoch) == list(range(size))
    assert "reset" not in plain.epochs(0, 1)
    assert "weight" not in plain.epochs(0, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32), st.integers(0, 10**6))
def test_a_shuffled_epoch_is_a_permutation(size, batch_size, seed, epoch):
    shuffled = schedule(size, batch_size, shuffle=True, seed=seed)
    frames = order(shuffled, epoch)
    assert sorted(frames) == list(range(size))
    assert frames == order(schedule(size, batch_size, shuffle=True, seed=seed), epoch)


def test_each_epoch_and_each_seed_has_its_own_order():
    orders = [
        tuple(order(schedule(30, 4, shuffle=True, seed=seed), epoch))
        for seed in range(3)
        for epoch in range(4)
    ]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_epochs_in_one_call_are_the_epochs_one_by_one(shuffle, size, batch_size):
    resets = resets_every(2, size // batch_size, batch_size)
    of = schedule(size, batch_size, shuffle=shuffle, seed=3, resets=resets)
    if not of.steps:
        return
    together = of.epochs(2, 3)
    for name, rows in together.items():
        # A call's rows are as many however many epochs it has: one program runs them all.
        assert len(rows) == of.steps * of.epochs_a_call
        alone = [of.epochs(epoch, 1)[name][: of.steps] for epoch in (2, 3, 4)]
        np.testing.assert_array_equal(rows[: 3 * of.steps], np.concatenate(alone))


@pytest.mark.parametrize(
    ("size", "batch_size", "epochs"),
    [
        (4096, 1, 1),  # exactly the room for steps
        (2048, 1, 2),
        (2049, 1, 1),  # one too many for two
        (10_000, 1, 1),  # a long epoch still runs
        (2**18, 2**17, 4),  # the room for indices, before that for steps
        (2**21, 2**20, 1),
        (1, 2, 4096),  # no full batch at all
    ],
)
def test_a_call_has_room_for_so_many_epochs(size, batch_size, epochs):
    assert schedule(size, batch_size).epochs_a_call == epochs


@pytest.mark.parametrize("every", range(5))
def test_the_whole_state_is_reset_every_so_many_steps(every):
    rows = schedule(14, 2, resets=resets_every(every, 7, 2)).epochs(0, 2)
    if not every:
        assert "reset" not in rows
        return
    expected = [[k % every == 0] * 2 for k in range(7)]
    np.testing.assert_array_equal(rows["reset"][:14], 2 * expected)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("lengths", [[9], [3, 3, 3], [5, 2, 4, 3], [2, 6, 2]])
def test_lanes_are_followed(lengths, first, batch_size):
    frames = SequenceFramer(1).frame(
        [np.arange(100 * i, 100 * i + n) for i, n in enumerate(lengths)]
    )
    lanes = frames.lanes(batch_size)
    feed = feed_frames(frames)
    resets = np.stack([lanes.resets(k) for k in range(len(lanes))])
    resets[0] &= first
    of = Schedule(feed, batch_size, lanes=lanes, resets=resets)
    rows = of.epochs(0, 1)
    assert (of.steps, of.remainder) == (len(lanes), 0)
    weights = np.stack([weight for *_, weight in lanes])
    values = feed.arrays["x"][rows["index"][: of.steps]]
    np.testing.assert_array_equal(values.ravel(), np.stack([x for x, *_ in lanes]).ravel())
    assert ("weight" in rows) == (not weights.all())
    assert ("reset" in rows) == resets.any()
    np.testing.assert_array_equal(
        rows.get("weight", np.ones((of.steps, 1)))[: of.steps] * weights, weights
    )
    if "reset" in rows:
        np.testing.assert_array_equal(rows["reset"][: of.steps], resets)
