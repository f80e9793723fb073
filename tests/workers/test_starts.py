"""One bad node ends no pool; a pool none of whose actors can start ends at once."""

from __future__ import annotations

from workers.starts import LONGEST_BACK_OFF_S, SHUNNED_S, Starts


class Clock:
    """Moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_after_a_failed_start_the_next_one_waits_longer_and_longer() -> None:
    clock = Clock()
    starts = Starts(clock)
    starts.went_well()
    for wait_s in (1, 2, 4):
        starts.failed()
        clock.now += wait_s - 0.1
        assert not starts.is_due
        clock.now += 0.1
        assert starts.is_due
    for _ in range(100):
        starts.failed()
    clock.now += LONGEST_BACK_OFF_S
    assert starts.is_due
    starts.went_well()
    starts.failed()
    clock.now += 1
    assert starts.is_due


def test_nothing_is_started_anew_before_one_actor_was_seen_to_work() -> None:
    clock = Clock()
    starts = Starts(clock)
    assert starts.is_due
    starts.failed()
    clock.now += 1000
    assert not starts.is_due
    starts.went_well()
    assert starts.is_due


def test_a_node_in_trouble_is_shunned_for_a_while() -> None:
    clock = Clock()
    starts = Starts(clock)
    starts.shun("b")
    starts.shun("a")
    assert starts.shunned() == ("a", "b")
    clock.now += SHUNNED_S
    assert starts.shunned() == ()
