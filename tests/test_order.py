"""Orders are permutations and draws are uniform. Both depend only on (seed, epoch, index)."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe.framing.order import Order, epoch_order, uniform

LARGE = 2**16  # above it, no permutation is kept in memory
SEEDS = st.integers(0, 2**64)
EPOCHS = st.integers(0, 10**6)


def whole(size, seed=0, epoch=0):
    return epoch_order(size, seed, epoch, np.arange(size))


def chi_square(counts):
    """Return how far counts are from even, in standard deviations of random counts."""
    freedom = counts.size - 1
    mean = counts.mean()
    return (((counts - mean) ** 2 / mean).sum() - freedom) / np.sqrt(2 * freedom)


@settings(deadline=None, max_examples=25)
@given(size=st.integers(LARGE - 3, 3 * LARGE) | st.just(2 * LARGE), seed=SEEDS, epoch=EPOCHS)
def test_every_large_order_is_a_permutation(size, seed, epoch):
    assert np.bincount(whole(size, seed, epoch), minlength=size).tolist() == [1] * size


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 2**62), seed=SEEDS, epoch=EPOCHS, data=st.data())
def test_orders_of_any_size_never_repeat_an_item(size, seed, epoch, data):
    positions = data.draw(st.lists(st.integers(0, size - 1), max_size=50, unique=True))
    if size > LARGE:
        order = epoch_order(size, seed, epoch, np.array(positions, np.int64))
        assert order.dtype == np.int64
        assert len(set(order.tolist())) == len(positions)
        assert all(0 <= item < size for item in order.tolist())


@pytest.mark.parametrize("size", [1, 2, 100, LARGE, LARGE + 1, LARGE + 77, 2 * LARGE])
def test_any_position_can_be_asked_for(size):
    order = whole(size, seed=3, epoch=5)
    for positions in (
        np.arange(min(size, 600))[::-1],
        np.arange(min(size, 600)).reshape(-1, 2) if size > 1 else np.zeros((1, 1), int),
        np.asfortranarray(np.arange(min(size, 600)).reshape(2, -1)) if size > 1 else np.array([0]),
        np.array([size - 1], np.uint64),
        np.empty(0, np.int64),
        [0, size - 1],
    ):
        found = epoch_order(size, 3, 5, positions)
        np.testing.assert_array_equal(found, order[np.asarray(positions, np.int64)])
    for position in range(0, size, max(size // 60, 1)):  # a scalar
        assert epoch_order(size, 3, 5, position) == order[position]


@pytest.mark.parametrize("size", [300, LARGE + 300])
def test_seeds_and_epochs_have_different_orders(size):
    orders = {tuple(whole(size, seed, epoch)[:50]) for seed in range(8) for epoch in range(8)}
    assert len(orders) == 64
    assert whole(size, 1, 2).tolist() == whole(size, 1, 2).tolist()


@pytest.mark.parametrize("size", [40, LARGE + 1, 100_000, 2 * LARGE])
def test_every_item_comes_first_equally_often(size):
    drawn = np.array([epoch_order(size, seed, 1, np.arange(8)) for seed in range(4000)])
    for place in range(8):
        counts = np.bincount(drawn[:, place] * 40 // size, minlength=40)
        assert chi_square(counts) < 4
    for before, after in pairwise(drawn.T):  # no item tells which one follows
        counts = np.bincount((after - before) % size * 39 // size, minlength=39)
        assert chi_square(counts) < 4


@pytest.mark.parametrize("size", [LARGE + 1, 100_000, 2 * LARGE, 1_000_000])
def test_batches_of_a_large_order_are_mixed(size):
    order = whole(size, seed=1)
    batches = order[: size // 256 * 256].reshape(-1, 256)
    from_each_part = np.array([np.bincount(batch * 16 // size, minlength=16) for batch in batches])
    scores = [chi_square(counts) for counts in from_each_part]
    assert abs(np.mean(scores)) < 0.3
    assert 0.7 < np.std(scores) < 1.3


@pytest.mark.parametrize("stream", [0, 1])
def test_uniform_is_uniform(stream):
    draws = uniform(seed=7, epoch=0, index=np.arange(100_000), stream=stream)
    assert draws.dtype == np.float64
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(chi_square(np.bincount((draws * 100).astype(int), minlength=100))) < 4
    pairs = (draws[:-1] * 10).astype(int) * 10 + (draws[1:] * 10).astype(int)
    assert abs(chi_square(np.bincount(pairs, minlength=100))) < 4


def test_uniform_streams_epochs_and_seeds_are_independent():
    index = np.arange(50_000)
    draws = [
        uniform(seed, epoch, index, stream)
        for seed in (0, 1)
        for epoch in (0, 1)
        for stream in (0, 1)
    ]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 4 / np.sqrt(len(index))


@given(seed=SEEDS, epoch=EPOCHS, stream=st.integers(0, 9), first=st.integers(0, 2**40))
def test_a_draw_depends_only_on_its_number(seed, epoch, stream, first):
    index = np.arange(first, first + 12)
    draws = uniform(seed, epoch, index, stream)
    np.testing.assert_array_equal(uniform(seed, epoch, index[::-3], stream), draws[::-3])
    np.testing.assert_array_equal(
        uniform(seed, epoch, index.reshape(3, 4), stream), draws.reshape(3, 4)
    )


# --- Order, whole or a shard.


@given(size=st.integers(1, 2**62), data=st.data())
def test_a_shard_takes_every_nth_item(size, data):
    num_shards = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, num_shards - 1))
    order = Order(size, size > LARGE, seed=7)
    shard = order.shard(num_shards, index)
    assert len(shard) == (size - index + num_shards - 1) // num_shards
    positions = np.array(data.draw(st.lists(st.integers(0, len(shard) - 1), max_size=5)), np.int64)
    np.testing.assert_array_equal(shard(positions, 1), order(positions * num_shards + index, 1))


def test_order_draws_one_seed_and_takes_another():
    order = Order(50, shuffle=True)
    positions = np.arange(50)
    assert order(positions, 0).tolist() == whole(50, order.seed).tolist()
    assert order.seed != Order(50, shuffle=True).seed
    other = Order(50, shuffle=True, seed=0).shard(3, 1).with_seed(order.seed)
    assert other(np.arange(5), 4).tolist() == whole(50, order.seed, 4)[1:15:3].tolist()


def test_shard_raises_for_a_shuffle_without_seed():
    with pytest.raises(ValueError, match="`seed`"):
        Order(10, shuffle=True).shard(2, 0)
    assert len(Order(10).shard(2, 0)) == 5
