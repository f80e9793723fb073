"""The store's verbs of jobs, on every database there is."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from service import execution
from service.errors import KeyReusedError, OutputTakenError, StateConflictError, UnknownJobError
from service.leasing import Terms
from service.store import Store, changes
from service.store.job_verbs import NewJob
from service.store.rows import JobRow
from synthforge.job_status import JobState
from synthforge.jobs import JobSpec
from synthforge.leases import LeaseReturn
from tests.service import driver

TERMS = Terms(lease_s=30, heartbeat_s=5, stall_s=100)
DAY_S = 86_400.0


def new_job(job_id: str, url: str | None = None, **changes: object) -> NewJob:
    spec = JobSpec.model_validate({"count": 20, "output": {"samples_per_shard": 10}})
    url = url or f"s3://bucket/data/{job_id}"
    made = NewJob(
        id=job_id,
        spec=spec.canonical_json().decode(),
        generator="builtin",
        output_url=url,
        num_samples=20,
        num_shards=2,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def submit(store: Store, job_id: str, url: str | None = None, **changes: object) -> JobRow:
    return store.jobs.submit(new_job(job_id, url, **changes), DAY_S)[0]


def test_a_million_shard_job_costs_one_row(store: Store) -> None:
    job = submit(store, "a", num_shards=10**6)
    assert store.jobs.get("a") == job
    assert (job.state, job.num_shards, job.next_position) == (JobState.QUEUED, 10**6, 0)
    assert job.created_at > 1.7e9


def test_an_unknown_job_is_said_to_be_unknown(store: Store) -> None:
    with pytest.raises(UnknownJobError, match="'x'"):
        store.jobs.get("x")
    with pytest.raises(UnknownJobError):
        store.actions.cancel("x")


def test_the_same_key_and_spec_give_the_same_job(store: Store) -> None:
    first, is_new = store.jobs.submit(new_job("a", idempotency_key="k"), DAY_S)
    again, is_again_new = store.jobs.submit(new_job("b", idempotency_key="k"), DAY_S)
    assert (is_new, is_again_new) == (True, False)
    assert again.id == first.id


def test_the_same_key_with_another_spec_is_refused(store: Store) -> None:
    submit(store, "a", idempotency_key="k")
    with pytest.raises(KeyReusedError, match="made job a"):
        submit(store, "b", idempotency_key="k", spec="{}")


def test_a_key_is_forgotten_after_a_day(store: Store) -> None:
    submit(store, "a", idempotency_key="k")
    driver.age(store, DAY_S + 1)
    assert submit(store, "b", idempotency_key="k", spec="{}").id == "b"
    assert store.jobs.get("a").idempotency_key is None


def test_a_key_is_its_owners_own(store: Store) -> None:
    driver.add_owners(store, "ann", "bob")
    submit(store, "a", idempotency_key="k", owner="ann")
    assert submit(store, "b", idempotency_key="k", owner="bob").id == "b"


def test_many_threads_with_one_key_make_one_job(store: Store) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(
            target=lambda name=f"job{i}": made.append(  # type: ignore[misc]
                submit(store, name, idempotency_key="k").id
            )
        )
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    "url",
    ["s3://bkt/data/x", "s3://bkt/data/x/y", "s3://bkt/data/x/y/z", "s3://bkt/data", "s3://bkt"],
)
def test_one_prefix_or_nested_ones_are_of_one_job(store: Store, url: str) -> None:
    submit(store, "a", "s3://bkt/data/x")
    with pytest.raises(OutputTakenError, match=r"job a \(queued\) has s3://bkt/data/x"):
        submit(store, "b", url)


@pytest.mark.parametrize(
    "url", ["s3://bkt/data/xy", "s3://bkt/data/w", "s3://cup/data/x", "s3://bkt/da"]
)
def test_prefixes_apart_do_not_meet(store: Store, url: str) -> None:
    submit(store, "a", "s3://bkt/data/x")
    assert submit(store, "b", url).output_url == url


def test_a_cancelled_job_leaves_its_prefix(store: Store) -> None:
    submit(store, "a", "s3://bkt/x")
    store.actions.cancel("a")
    assert submit(store, "b", "s3://bkt/x").id == "b"


def test_jobs_are_paged_from_the_newest(store: Store) -> None:
    made = [submit(store, f"j{i}") for i in range(5)]
    store.actions.cancel("j1")
    first = store.jobs.page(2)
    assert [job.id for job in first] == ["j4", "j3"]
    assert [job.id for job in store.jobs.page(9, before=first[-1].num)] == ["j2", "j1", "j0"]
    assert [job.id for job in store.jobs.page(9, None, [JobState.CANCELLED])] == ["j1"]
    assert store.jobs.page(9, before=made[0].num) == []


def test_the_higher_priority_is_worked_on_first(store: Store) -> None:
    for job_id in "abc":
        submit(store, job_id)
    store.actions.set_priority("c", 5)
    store.actions.set_priority("a", -1)
    granted = store.leases.lease(driver.request(max_leases=6), TERMS)
    assert [lease.job.id for lease in granted] == ["c", "c", "b", "b", "a", "a"]


def test_a_job_that_has_ended_is_not_reordered(store: Store) -> None:
    submit(store, "a")
    store.actions.cancel("a")
    assert store.actions.set_priority("a", 0).priority == 0  # changes nothing
    with pytest.raises(StateConflictError, match="a is cancelled"):
        store.actions.set_priority("a", 1)


def test_cancelling_waits_for_what_is_leased(store: Store) -> None:
    submit(store, "a")
    assert store.leases.lease(driver.request(), TERMS)
    assert store.actions.cancel("a").state == JobState.CANCELLING
    assert store.leases.lease(driver.request("pool-b"), TERMS) == []
    driver.age(store, 31)
    assert store.leases.lapse(TERMS) == 1
    assert store.jobs.get("a").state == JobState.CANCELLED
    assert store.actions.cancel("a").state == JobState.CANCELLED


def test_events_are_a_sequence_of_their_job(store: Store) -> None:
    first, second = submit(store, "a"), submit(store, "b")
    store.leases.lease(driver.request(), TERMS)
    store.actions.cancel("a")
    store.actions.cancel("b")
    events = store.jobs.events(first.num, 0, 10)
    assert [(event.seq, event.kind) for event in events] == [
        (1, "state"),
        (2, "state"),
        (3, "state"),
    ]
    assert '"state":"cancelling"' in events[-1].data
    assert [event.seq for event in store.jobs.events(second.num, 1, 10)] == [2]


def test_of_a_job_that_runs_for_long_the_latest_progress_is_kept_and_every_state(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("EVENT_SPACING_S", 0.0), ("PROGRESS_KEPT", 10), ("_CUT_EVERY", 5)):
        monkeypatch.setattr(changes, name, value)
    job, other = submit(store, "a"), submit(store, "b")
    store.actions.set_priority("b", -1)
    for _ in range(20):
        (lease,) = store.leases.lease(driver.request(), TERMS)
        execution.give_back(store, lease.token, LeaseReturn(reason="stopping"))
    store.actions.cancel("a")
    last = store.jobs.get("a").num_events
    held = [(event.seq, event.kind) for event in store.jobs.events(job.num, 0, 99)]
    assert [seq for seq, kind in held if kind == "state"] == [1, 2, last]
    assert 10 <= len(held) - 3 < 15
    assert [seq for seq, _ in held[2:]] == list(range(held[2][0], last + 1))
    assert [event.kind for event in store.jobs.events(other.num, 0, 99)] == ["state", "progress"]


def test_progress_is_told_once_a_second_at_most(store: Store) -> None:
    job = submit(store, "a", num_shards=9)
    store.leases.lease(driver.request(max_leases=2), TERMS)
    store.leases.lease(driver.request(), TERMS)
    assert store.jobs.get("a").num_events == 2  # queued, running
    driver.age(store, 1.5)
    store.leases.lease(driver.request(), TERMS)
    last = store.jobs.events(job.num, 2, 10)
    assert [event.kind for event in last] == ["progress"]
    assert '"leased":4' in last[0].data
