"""Whose turn it is: priority first, then the owner that has the fewest leases, then age."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.leasing import Terms, fair_shares
from service.store import Store
from tests.service import driver
from tests.service.test_store import submit

TERMS = Terms(lease_s=30, heartbeat_s=5, stall_s=100)


@pytest.fixture
def shared(store: Store) -> Store:
    """A store that knows three owners."""
    driver.add_owners(store, "ann", "bob", "cat")
    return store


def owners_of(store: Store, max_leases: int, **options: object) -> list[str]:
    request = driver.request(max_leases=max_leases, **options)  # type: ignore[arg-type]
    return [lease.job.owner for lease in store.leases.lease(request, TERMS)]


def test_two_owners_are_served_alike_however_many_jobs_each_has(shared: Store) -> None:
    for number in range(5):
        submit(shared, f"ann{number}", owner="ann")
    submit(shared, "bob", owner="bob", num_shards=2)
    assert Counter(owners_of(shared, 4)) == {"ann": 2, "bob": 2}


def test_the_owner_with_the_fewest_leases_comes_first(shared: Store) -> None:
    submit(shared, "a", owner="ann", num_shards=2)
    assert owners_of(shared, 1) == ["ann"]
    submit(shared, "b", owner="bob", num_shards=2)
    assert owners_of(shared, 1) == ["bob"]
    assert sorted(owners_of(shared, 2)) == ["ann", "bob"]


def test_what_one_owner_leaves_the_others_get(shared: Store) -> None:
    submit(shared, "a", owner="ann", num_shards=1)
    submit(shared, "b1", owner="bob", num_shards=2)
    submit(shared, "b2", owner="bob", num_shards=2)
    assert Counter(owners_of(shared, 9)) == {"ann": 1, "bob": 4}


def test_an_owner_whose_jobs_a_pool_cannot_do_holds_nobody_up(shared: Store) -> None:
    submit(shared, "a", owner="ann", generator="next3d")
    submit(shared, "b", owner="bob")
    assert owners_of(shared, 2) == ["bob", "bob"]


def test_priority_stands_above_fairness(shared: Store) -> None:
    submit(shared, "a", owner="ann", num_shards=2)
    submit(shared, "b", owner="bob", num_shards=2)
    submit(shared, "c", owner="cat", num_shards=2, priority=3)
    assert owners_of(shared, 2) == ["cat", "cat"]
    assert sorted(owners_of(shared, 9)) == ["ann", "ann", "bob", "bob"]


def test_lower_priorities_follow_in_the_same_request(shared: Store) -> None:
    submit(shared, "a", owner="ann", num_shards=1)
    submit(shared, "b", owner="ann", num_shards=1, priority=1)
    submit(shared, "c", owner="bob", num_shards=1, priority=1)
    assert owners_of(shared, 9) == ["ann", "bob", "ann"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30)), st.integers(0, 60))
def test_shares_level_what_each_owner_has(leased: dict[str, int], limit: int) -> None:
    shares = fair_shares(leased, limit)
    assert sum(shares.values()) == (limit if leased else 0)
    after = {owner: count + shares.get(owner, 0) for owner, count in leased.items()}
    for owner in shares:  # nobody who got something has more than one above anybody else
        assert after[owner] <= min(after.values()) + 1
