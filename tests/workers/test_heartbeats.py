"""A lease lives by answered heartbeats; a worker that hears nothing stops by its own clock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from synthforge.jobs import parse_job_spec
from synthforge.leases import Heartbeat, HeartbeatAnswer, Lease
from synthforge.refusals import ApiError, StaleLeaseError, UnavailableError
from workers.executions import Progress
from workers.heartbeats import Heartbeats
from workers.slots import Work

LEASE_S, HEARTBEAT_S = 30.0, 5.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Line:
    """Client and messenger in one: answers at once what it was told to answer."""

    def __init__(self) -> None:
        self.answer: HeartbeatAnswer | ApiError | None = HeartbeatAnswer(
            lease_s=LEASE_S, cancelled=False
        )
        self.beats: list[Heartbeat] = []

    def heartbeat(self, token: str, beat: Heartbeat) -> HeartbeatAnswer:
        assert token == "token"
        self.beats.append(beat)
        if isinstance(self.answer, ApiError):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def ask(self, question: Callable[[], HeartbeatAnswer]) -> Future[HeartbeatAnswer]:
        future: Future[HeartbeatAnswer] = Future()
        try:
            answered = question()
        except ApiError as error:
            future.set_exception(error)
        else:
            future.set_result(answered)
        return future


class Pool:
    """One lease, looked after a second at a time."""

    def __init__(self) -> None:
        self.clock, self.line = Clock(), Line()
        self.heartbeats = Heartbeats(self.line, self.line, self.clock)  # type: ignore[arg-type]
        lease = Lease.model_validate(
            {
                "token": "token",
                "kind": "summary",
                "job_id": "job",
                "spec": parse_job_spec('{"count": 1}').model_dump(mode="json", by_alias=True),
                "output_url": "file:///out/faces",
                "lease_s": LEASE_S,
                "heartbeat_s": HEARTBEAT_S,
            }
        )
        now = self.clock()
        self.works = {"token": Work(lease, answered_at=now, beat_at=now)}
        self.abandoned: list[float] = []
        self.cancelled: list[float] = []

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now_s += 1.0
            self.heartbeats.tend(self.works, self._abandon, self._cancel)

    def _abandon(self, token: str) -> None:
        del self.works[token]
        self.abandoned.append(self.clock() - 100.0)

    def _cancel(self, token: str) -> None:
        assert token in self.works
        self.cancelled.append(self.clock() - 100.0)


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_an_answered_lease_lives_and_tells_how_far_it_is(pool: Pool) -> None:
    pool.works["token"].progress = Progress(num_samples=7, num_rejected=2)
    pool.live(300)
    assert pool.abandoned == []
    assert len(pool.line.beats) == 300 / HEARTBEAT_S
    assert pool.line.beats[-1] == Heartbeat(num_samples=7, num_rejected=2)


def test_bytes_on_their_way_to_the_store_are_progress(pool: Pool) -> None:
    pool.works["token"].progress = Progress(num_samples=7, num_rejected=2, num_steps=40)
    pool.live(int(HEARTBEAT_S) + 1)
    assert pool.line.beats[-1] == Heartbeat(num_samples=7, num_rejected=42)


def test_a_lease_whose_heartbeats_nobody_answers_is_stopped_by_the_pools_own_clock(
    pool: Pool,
) -> None:
    pool.live(10)
    pool.line.answer = UnavailableError(0, "about:blank", "cannot be reached")
    pool.live(100)
    assert pool.abandoned == [10 + LEASE_S + 1], "the last that was answered left at 10 s"


def test_it_counts_from_when_the_heartbeat_left_not_from_its_late_answer(pool: Pool) -> None:
    late: Future[HeartbeatAnswer] = Future()
    pool.line.ask = lambda _: late  # type: ignore[method-assign]
    pool.live(20)
    late.set_result(HeartbeatAnswer(lease_s=LEASE_S, cancelled=False))
    pool.line.ask = lambda _: Future()  # type: ignore[method-assign]
    pool.live(100)
    assert pool.abandoned == [HEARTBEAT_S + LEASE_S + 1]


def test_a_lease_that_is_anothers_is_stopped_at_once(pool: Pool) -> None:
    pool.line.answer = StaleLeaseError(409, "about:blank", "it is another's")
    pool.live(int(HEARTBEAT_S) + 2)
    assert pool.abandoned == [HEARTBEAT_S + 1]


def test_work_that_is_for_nothing_is_told_so_once(pool: Pool) -> None:
    pool.line.answer = HeartbeatAnswer(lease_s=LEASE_S, cancelled=True)
    pool.live(100)
    assert pool.cancelled == [HEARTBEAT_S + 1]
    assert pool.abandoned == []
