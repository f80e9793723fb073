"""The order of a stream as a pure function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.order import Course, EpochOrder, OrderConfig, rank_part

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=14).filter(any)
CONFIGS = st.builds(
    OrderConfig,
    seed=st.integers(0, 2**40),
    window_shards=st.integers(1, 5),
    num_streams=st.integers(1, 6),
)


def all_of(course: Course, epoch: int) -> list[tuple[int, int, int]]:
    places = course.places(epoch, 0, course.epoch_size)
    return list(zip(places.dataset, places.shard, places.row, strict=True))


@given(counts=COUNTS, config=CONFIGS, epoch=st.integers(0, 5))
@settings(max_examples=60)
def test_an_epoch_holds_every_sample_once(
    counts: list[int], config: OrderConfig, epoch: int
) -> None:
    course = Course([np.array(counts)], ["a"], [1.0], config)
    expected = {(0, shard, row) for shard, count in enumerate(counts) for row in range(count)}
    found = all_of(course, epoch)
    assert len(found) == len(expected)
    assert set(found) == expected


@given(counts=COUNTS, config=CONFIGS, data=st.data())
@settings(max_examples=60)
def test_a_part_of_the_order_is_read_without_the_rest(
    counts: list[int], config: OrderConfig, data: st.DataObject
) -> None:
    order = EpochOrder(np.array(counts), config, 3, "a")
    start = data.draw(st.integers(0, order.num_samples))
    stop = data.draw(st.integers(start, order.num_samples))
    whole = order.places(0, order.num_samples)
    part = EpochOrder(np.array(counts), config, 3, "a").places(start, stop)
    for all_places, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_places[start:stop], some)


def test_seed_epoch_and_dataset_each_give_another_order() -> None:
    counts = np.full(20, 5)
    orders = {
        tuple(np.concatenate(EpochOrder(counts, OrderConfig(seed), epoch, name).places(0, 100)))
        for seed, epoch, name in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]
    }
    assert len(orders) == 4


def test_the_order_is_the_one_that_saved_states_rely_on() -> None:
    shard, row, stream = EpochOrder(
        np.array([3, 2, 4, 1]), OrderConfig(seed=7, window_shards=2, num_streams=2), 0, "a"
    ).places(0, 10)
    assert shard.tolist() == [2, 2, 0, 2, 0, 2, 0, 1, 3, 1]
    assert row.tolist() == [0, 1, 0, 3, 2, 2, 1, 1, 0, 0]
    assert stream.tolist() == [0, 0, 1, 0, 1, 0, 1, 0, 1, 0]


def begun_at(order: EpochOrder) -> list[int]:
    """Positions at which a shard is read for the first time."""
    shards = order.places(0, order.num_samples)[0]
    return sorted(np.unique(shards, return_index=True)[1].tolist())


def test_the_first_batch_needs_one_shard_and_the_others_follow_at_an_even_pace() -> None:
    begun = begun_at(EpochOrder(np.full(128, 1000), OrderConfig(), 0, "a"))
    assert begun[0] == 0
    assert begun[1] > 100, "a first batch of 100 comes from one shard"
    assert np.diff(begun).max() < 1200
    later = np.diff(begun[40:90])
    assert later.min() > 800
    assert later.mean() == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("counts", [[1, 100], [100, 1, 1], [5] * 3, [1] * 40])
def test_streams_of_any_length_leave_no_gap(counts: list[int]) -> None:
    shard, row, _ = EpochOrder(np.array(counts), OrderConfig(), 1, "a").places(0, sum(counts))
    assert len(set(zip(shard.tolist(), row.tolist(), strict=True))) == sum(counts)


def test_ranks_read_shards_of_their_own() -> None:
    course = Course([np.full(256, 10)], ["a"], [1.0], OrderConfig(num_streams=8))
    read: list[set[int]] = [set() for _ in range(4)]
    for start in range(0, 2560, 32):
        whole = course.places(0, start, start + 32)
        for rank in range(4):
            read[rank] |= set(whole.take(rank_part(whole, rank, 4)).shard.tolist())
    # Where few streams are live, at the epoch's ends, ranks share them.
    assert all(64 <= len(shards) <= 64 + 8 for shards in read)
    assert set.union(*read) == set(range(256))


def test_a_sample_comes_within_the_window_that_its_shard_begins() -> None:
    order = EpochOrder(np.full(12, 30), OrderConfig(window_shards=3, num_streams=1), 0, "a")
    shards = order.places(0, 360)[0]
    assert [len(set(part)) for part in shards.reshape(12, 30).tolist()][1:-1] == [3] * 10
    for shard in range(12):
        places = np.flatnonzero(shards == shard)
        assert 40 < places.max() - places.min() < 90


def test_a_mixture_keeps_its_weights_and_repeats_none_before_all_came() -> None:
    counts = [np.full(10, 100), np.full(5, 20), np.full(2, 50)]
    course = Course(counts, ["a", "b", "c"], [0.5, 0.3, 0.2], OrderConfig())
    assert course.epoch_size == 1200
    seen: list[list[tuple[int, int]]] = [[], [], []]
    for epoch in range(4):
        for dataset, shard, row in all_of(course, epoch):
            seen[dataset].append((shard, row))
    shares = np.array([len(rows) for rows in seen]) / 4800
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.01)
    for rows, size in zip(seen, (1000, 100, 100), strict=True):
        for start in range(0, len(rows) - size, size):
            assert len(set(rows[start : start + size])) == size


def test_a_mixture_is_the_same_read_in_any_pieces() -> None:
    counts = [np.full(30, 50), np.full(5, 20)]
    whole = Course(counts, ["a", "b"], [3, 1], OrderConfig()).places(1, 0, 1600)
    course = Course(counts, ["a", "b"], [3, 1], OrderConfig())
    pieces = [course.places(1, start, start + 37) for start in range(0, 1600, 37)]
    for name in ("dataset", "shard", "row", "stream", "epoch"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(whole, name))


@given(num_ranks=st.integers(1, 9), size=st.integers(1, 40))
@settings(max_examples=40)
def test_parts_of_a_batch_are_as_equal_as_can_be(num_ranks: int, size: int) -> None:
    whole = Course([np.full(9, 5)], ["a"], [1], OrderConfig()).places(0, 0, size)
    parts = [rank_part(whole, rank, num_ranks) for rank in range(num_ranks)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(whole)))


def test_a_dataset_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="dataset b: no sample is left"):
        Course([np.array([3]), np.array([0])], ["a", "b"], [1, 1], OrderConfig())
    with pytest.raises(ValueError, match="window_shards is 0: at least 1"):
        OrderConfig(window_shards=0)
