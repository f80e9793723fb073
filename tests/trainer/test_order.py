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
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_sample_once(
    counts: list[int], config: OrderConfig, epoch: int
) -> None:
    course = Course([np.array(counts)], ["a"], [1.0], config)
    expected = {(0, shard, row) for shard, count in enumerate(counts) for row in range(count)}
    found = all_of(course, epoch)
    assert len(found) == len(expected)
    assert set(found) == expected


@given(counts=COUNTS, config=CONFIGS, data=st.data())
@settings(max_examples=60, deadline=None)
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
    assert shard.tolist() == [2, 0, 1, 0, 2, 3, 2, 0, 2, 1]
    assert row.tolist() == [1, 1, 1, 2, 3, 0, 2, 0, 0, 0]
    assert stream.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 0]


def test_ranks_read_shards_of_their_own() -> None:
    course = Course([np.full(64, 10)], ["a"], [1.0], OrderConfig(num_streams=8))
    read: list[set[int]] = [set() for _ in range(4)]
    for start in range(0, 640, 32):
        whole = course.places(0, start, start + 32)
        for rank in range(4):
            read[rank] |= set(whole.take(rank_part(whole, rank, 4)).shard.tolist())
    assert [len(shards) for shards in read] == [16] * 4
    assert set.union(*read) == set(range(64))


def test_a_shuffle_mixes_shards_within_its_window_only() -> None:
    order = EpochOrder(np.full(12, 10), OrderConfig(window_shards=3, num_streams=1), 0, "a")
    shards = order.places(0, 120)[0].reshape(4, 30)
    assert all(len(set(window)) == 3 for window in shards.tolist())
    assert len(set(shards[0][:10].tolist())) == 3


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
@settings(max_examples=40, deadline=None)
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
