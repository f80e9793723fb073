"""An actor that the store keeps waiting takes on no more: its disk stays bounded."""

from __future__ import annotations

from pathlib import Path

from synthforge.shards import Fingerprint
from workers.slots import MAX_DELIVERING, STUCK_S, Awake, Slot


def slot() -> Slot:
    awake = Awake(Fingerprint.model_construct(), "node", Path("scratch"))
    return Slot("builtin", None, None, idle_since=0.0, awake=awake)


def test_an_actor_begins_the_next_shard_while_one_is_on_its_way_to_the_store() -> None:
    busy = slot()
    busy.delivering["first"] = "token"
    assert busy.is_free
    assert busy.is_busy


def test_with_two_on_their_way_it_begins_no_third() -> None:
    full = slot()
    for number in range(MAX_DELIVERING):
        full.delivering[number] = f"token {number}"
    assert not full.is_free
    del full.delivering[0]
    assert full.is_free


def test_an_actor_that_goes_on_long_after_its_lease_was_lost_is_stuck() -> None:
    busy = slot()
    busy.making_token = "token"
    busy.lose("another", 0.0)
    assert not busy.is_stuck(1e9)
    busy.lose("token", 10.0)
    busy.lose("token", 100.0)  # told twice
    assert not busy.is_stuck(10.0 + STUCK_S)
    assert busy.is_stuck(10.5 + STUCK_S)
    busy.end_making()  # it stopped after all
    assert not busy.is_stuck(1e9)


def test_an_actor_that_makes_a_shard_or_has_not_woken_begins_none() -> None:
    making, asleep = slot(), slot()
    making.making_token = "token"
    asleep.awake = None
    assert not making.is_free
    assert not asleep.is_free
