from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.order import Order, Purpose, epoch_order, random_words
from holdfast.errors import UsageError

MASK = 2**64 - 1
# Stores hold positions in these orders: a change here breaks every resume.
GOLDEN_0_0 = [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
GOLDEN_MAX_7 = [3, 0, 7, 4, 6, 9, 8, 1, 5, 2]


def philox4x64(key, counter):
    """Philox4x64-10 as the paper states it (Salmon et al. 2011), apart from NumPy."""
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = x0 * 0xD2E7470EE14C6C93, x2 * 0xCA5A826395121157
        x0, x1, x2, x3 = (p1 >> 64) ^ x1 ^ k0, p1 & MASK, (p0 >> 64) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [x0, x1, x2, x3]


def make(length=10, batch_size=3, shuffle=True, seed=0, drop_last=False, rank=0, world_size=1):
    return Order(length, batch_size, shuffle, seed, drop_last, rank, world_size)


def ranks(world_size, **more):
    return [make(rank=r, world_size=world_size, **more) for r in range(world_size)]


def test_the_rule_never_changes():
    assert epoch_order(10, seed=0, epoch=0).tolist() == GOLDEN_0_0
    assert epoch_order(10, seed=2**64 - 1, epoch=7).tolist() == GOLDEN_MAX_7


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (5, 3), (2**64 - 1, 2**40)])
def test_words_are_philox_as_published(seed, epoch):
    words = random_words(seed, epoch, Purpose.SAMPLE, 9, 8).tolist()
    # The counter is counted up before each block.
    blocks = [philox4x64((seed, epoch), (counter, 0, 0, 1)) for counter in (10, 11)]
    assert words == blocks[0] + blocks[1]
    assert random_words(seed, epoch, Purpose.SAMPLE, 10, 4).tolist() == blocks[1]


def test_order_is_by_rising_word():
    words = random_words(3, 4, Purpose.ORDER, 0, 50).tolist()
    assert epoch_order(50, 3, 4).tolist() == sorted(range(50), key=lambda i: words[i])


@given(st.integers(1, 200), st.integers(0, MASK), st.integers(0, 1000))
def test_is_a_permutation(n, seed, epoch):
    order = epoch_order(n, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_seeds_and_epochs_differ_and_are_not_mixed_up():
    orders = {tuple(epoch_order(30, s, e).tolist()) for s in range(10) for e in range(10)}
    assert len(orders) == 100


def test_without_shuffling():
    assert epoch_order(4, 9, 9, shuffle=False).tolist() == [0, 1, 2, 3]


def test_same_in_a_fresh_process():
    code = "from holdfast.data import epoch_order; print(epoch_order(20, 1, 2).tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(epoch_order(20, 1, 2).tolist())


def test_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].tolist()
    epoch_order(100, 0, 0)
    assert np.random.get_state()[1].tolist() == before


@given(
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 9)),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 3),
)
def test_ranks_share_the_global_order(n, batch_size, world_size, drop_last, epoch):
    global_batch = (batch_size or 1) * world_size
    if drop_last and n < global_batch:
        with pytest.raises(UsageError, match="nothing to deliver"):
            make(n, batch_size, drop_last=True, world_size=world_size)
        return
    orders = ranks(world_size, length=n, batch_size=batch_size, drop_last=drop_last)
    walks = [list(o.walk(epoch, 0)) for o in orders]
    assert {len(w) for w in walks} == {orders[0].deliveries}
    whole = epoch_order(n, 0, epoch).tolist()
    given_out = []
    for same_time in zip(*walks, strict=True):
        assert len({len(d.indices) for d in same_time}) == 1
        places = {p: i for d in same_time for p, i in zip(d.positions, d.indices, strict=True)}
        given_out += [places[p] for p in sorted(places)]
    if drop_last:
        assert given_out == whole[: n - n % global_batch]
    else:
        assert given_out == (whole * world_size)[: -(-n // world_size) * world_size]


@given(st.integers(1, 60), st.booleans(), st.sampled_from([(1, 12), (2, 6), (3, 4), (4, 3)]))
def test_global_batches_are_the_same_at_another_world_size(n, drop_last, split):
    world_size, batch_size = split
    if drop_last and n < 12:
        return
    one = make(n, 12, drop_last=drop_last)
    many = ranks(world_size, length=n, batch_size=batch_size, drop_last=drop_last)
    assert many[0].deliveries == one.deliveries
    for k, delivery in enumerate(one.walk(1, 0)):
        together = {i for o in many for i in list(o.walk(1, 0))[k].indices}
        # All but the last may not even have a sample given out twice.
        assert set(delivery.indices) <= together
        if k < one.deliveries - 1:
            assert set(delivery.indices) == together


@given(st.integers(1, 40), st.integers(1, 7), st.data())
def test_a_walk_may_start_anywhere(n, batch_size, data):
    order = make(n, batch_size)
    start = data.draw(st.integers(0, order.deliveries))
    assert list(order.walk(2, start)) == list(order.walk(2, 0))[start:]


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 0},
        {"length": 2.5},
        {"batch_size": 0},
        {"seed": -1},
        {"seed": 2**64},
        {"world_size": 0},
        {"rank": 1},
        {"rank": -1},
    ],
)
def test_impossible_orders_are_refused(wrong):
    with pytest.raises(UsageError):
        make(**wrong)
