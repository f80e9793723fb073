"""Leases, heartbeats, reports and returns in the store: nothing lost, nothing twice."""

from __future__ import annotations

import threading

import pytest

from service import execution
from service.errors import InvalidRequestError, ReportConflictError, StaleLeaseError
from service.leasing import Terms
from service.store import Store
from service.store.rows import Granted
from synthforge.job_status import JobState
from synthforge.leases import Heartbeat, LeaseReturn, ShardReport, SummaryReport
from synthforge.shards import StoredFile
from tests.service import driver
from tests.service.test_store import submit

TERMS = Terms(lease_s=30, heartbeat_s=5, stall_s=100)


def lease_one(store: Store, pool: str = "pool-a") -> Granted:
    (granted,) = store.leases.lease(driver.request(pool), TERMS)
    return granted


def made_by(granted: Granted) -> ShardReport:
    return driver.shard_report(driver.plan_of(granted.job, granted.position))


def test_a_lapsed_lease_goes_to_the_next_worker(store: Store) -> None:
    submit(store, "a", num_shards=1)
    first = lease_one(store)
    assert store.leases.lease(driver.request("pool-b"), TERMS) == []
    driver.age(store, 31)
    second = lease_one(store, "pool-b")
    assert second.position == first.position
    assert second.token != first.token


def test_a_heartbeat_keeps_a_lease(store: Store) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    for num_samples in (1, 2, 3):
        driver.age(store, 29)
        assert not execution.heartbeat(
            store, lease.token, Heartbeat(num_samples=num_samples), TERMS
        )
    assert store.leases.lapse(TERMS) == 0


def test_a_sample_count_that_stands_still_lets_a_lease_lapse(store: Store) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    for _ in range(4):
        execution.heartbeat(store, lease.token, Heartbeat(num_samples=0), TERMS)
        driver.age(store, 25.1)
    assert store.leases.lapse(TERMS) == 1


def test_a_shard_that_stands_still_three_times_at_one_sample_fails_its_job(store: Store) -> None:
    job = submit(store, "a", num_shards=2)
    for _ in range(3):
        lease = lease_one(store)
        assert lease.position == 0
        for _ in range(4):
            execution.heartbeat(store, lease.token, Heartbeat(num_samples=7), TERMS)
            driver.age(store, 25.1)
        assert store.leases.lapse(TERMS) == 1
    failed = store.jobs.get(job.id)
    assert failed.state is JobState.FAILED
    assert failed.reason == (
        "shard 0 of the job was set aside: 3 times in a row it did not get beyond 7 samples, "
        "at last it stood still for 100 s"
    )
    assert (failed.num_set_aside, failed.num_leased) == (1, 0)


def test_silence_alone_sets_no_shard_aside(store: Store) -> None:
    job = submit(store, "a", num_shards=1)
    for _ in range(5):
        lease_one(store)
        driver.age(store, 31)
        assert store.leases.lapse(TERMS) == 1
    assert store.jobs.get(job.id).state is JobState.RUNNING


def test_a_late_report_of_a_lapsed_lease_is_refused(store: Store) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    driver.age(store, 31)
    store.leases.lapse(TERMS)
    with pytest.raises(StaleLeaseError):
        execution.report(store, lease.token, made_by(lease))
    with pytest.raises(StaleLeaseError):
        execution.heartbeat(store, lease.token, Heartbeat(num_samples=1), TERMS)
    again = lease_one(store)
    with pytest.raises(StaleLeaseError):
        execution.report(store, lease.token, made_by(lease))
    assert execution.report(store, again.token, made_by(again))


def test_a_report_that_comes_twice_is_accepted_once(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    assert execution.report(store, lease.token, made_by(lease))
    assert not execution.report(store, lease.token, made_by(lease))
    job = store.jobs.get("a")
    assert (job.num_done, job.num_completed, job.num_rejected) == (1, 10, 1)


def test_the_first_accepted_report_stands(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    report = made_by(lease)
    execution.report(store, lease.token, report)
    other = report.record.model_copy(update={"num_bytes": 7})
    with pytest.raises(ReportConflictError):
        execution.report(store, lease.token, report.model_copy(update={"record": other}))
    assert next(store.datasets.records(1)) == (0, report.record.model_dump_json())


def test_a_record_that_is_not_the_plans_is_refused(store: Store) -> None:
    submit(store, "a")
    first, second = store.leases.lease(driver.request(max_leases=2), TERMS)
    with pytest.raises(InvalidRequestError, match=r"record.number is '1': the lease's plan has 0"):
        execution.report(store, first.token, made_by(second))
    assert store.jobs.get("a").num_done == 0


def test_a_report_must_be_of_its_fingerprint_and_generator(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    report = made_by(lease)
    changed = {"fingerprint": driver.OTHER_FINGERPRINT}
    with pytest.raises(InvalidRequestError, match=r"record\.fingerprint"):
        execution.report(store, lease.token, report.model_copy(update=changed))
    other = driver.GENERATOR.model_copy(update={"kind": "next3d"})
    with pytest.raises(InvalidRequestError, match=r"generator\.kind"):
        execution.report(store, lease.token, report.model_copy(update={"generator": other}))


def test_an_exact_job_keeps_to_the_fingerprint_of_its_first_lease(store: Store) -> None:
    submit(store, "a", is_exact=True)
    lease = lease_one(store)
    stranger = driver.request("pool-b", fingerprint=driver.OTHER_FINGERPRINT)
    assert store.leases.lease(stranger, TERMS) == []
    execution.give_back(store, lease.token, LeaseReturn(reason="stopping"))
    assert store.leases.lease(stranger, TERMS) == []
    again = lease_one(store)
    plan = driver.plan_of(again.job, again.position)
    with pytest.raises(ReportConflictError, match="keeps to the fingerprint"):
        execution.report(store, again.token, driver.shard_report(plan, driver.OTHER_FINGERPRINT))
    assert execution.report(store, again.token, made_by(again))


def test_a_pool_gets_only_what_it_can_do(store: Store) -> None:
    submit(store, "a", generator="next3d")
    assert store.leases.lease(driver.request(), TERMS) == []
    assert store.leases.lease(driver.request(generators=("builtin", "next3d")), TERMS)


def test_work_given_back_is_leased_again_and_twice_given_back_once(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    stopping = LeaseReturn(reason="stopping")
    assert execution.give_back(store, lease.token, stopping) is not None
    assert execution.give_back(store, lease.token, stopping) is None
    assert store.jobs.get("a").num_leased == 0
    assert lease_one(store).position == lease.position


def test_work_that_was_reported_cannot_be_given_back(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    execution.report(store, lease.token, made_by(lease))
    with pytest.raises(StaleLeaseError):
        execution.give_back(store, lease.token, LeaseReturn(reason="lost"))


def test_a_store_that_failed_is_waited_for(store: Store) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    execution.give_back(store, lease.token, LeaseReturn(reason="store"))
    assert store.leases.lease(driver.request(), TERMS) == []
    driver.age(store, 1.1)
    assert lease_one(store).position == 0


def test_a_shard_that_kills_three_workers_fails_its_job_and_no_other(store: Store) -> None:
    submit(store, "a", num_shards=2)
    submit(store, "b")
    first, second = store.leases.lease(driver.request(max_leases=2), TERMS)
    for _ in range(3):
        lost = LeaseReturn(reason="lost", num_samples=4)
        execution.give_back(store, first.token, lost)
        if store.jobs.get("a").state == JobState.RUNNING:
            (first,) = store.leases.lease(driver.request(), TERMS)
    job = store.jobs.get("a")
    assert job.state == JobState.FAILED
    assert job.reason == (
        "shard train-000000 was set aside: its worker died 3 times after 4 samples"
    )
    assert (job.num_set_aside, job.num_leased) == (1, 1)
    assert execution.heartbeat(store, second.token, Heartbeat(num_samples=1), TERMS)  # told to stop
    assert lease_one(store).job.id == "b"


def test_what_cannot_be_done_fails_its_job_at_once(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    execution.give_back(store, lease.token, LeaseReturn(reason="failed", message="no GPU"))
    job = store.jobs.get("a")
    assert (job.state, job.reason) == (JobState.FAILED, "shard train-000000 failed: no GPU")
    assert store.leases.lease(driver.request(), TERMS) == []


def test_a_cancelling_job_tells_its_workers_and_ends_with_the_last(store: Store) -> None:
    submit(store, "a")
    first, second = store.leases.lease(driver.request(max_leases=2), TERMS)
    store.actions.cancel("a")
    assert execution.heartbeat(store, first.token, Heartbeat(num_samples=1), TERMS)
    execution.give_back(store, first.token, LeaseReturn(reason="cancelled"))
    assert store.jobs.get("a").state == JobState.CANCELLING
    execution.report(store, second.token, made_by(second))  # it was done when it heard
    assert store.jobs.get("a").state == JobState.CANCELLED


def test_the_summary_is_leased_once_every_shard_is_in_the_store(store: Store) -> None:
    submit(store, "a")
    leases = store.leases.lease(driver.request(max_leases=9), TERMS)
    for lease in leases:
        assert lease.kind == "shard"
        execution.report(store, lease.token, made_by(lease))
    assert store.jobs.get("a").state == JobState.FINALIZING
    summary = lease_one(store)
    assert (summary.kind, summary.position) == ("summary", 2)
    assert store.leases.lease(driver.request(), TERMS) == []
    assert len(execution.summary_records(store, summary.token, -1)) == 2
    assert len(execution.summary_records(store, summary.token, 0)) == 1
    with pytest.raises(InvalidRequestError, match="the lease is of a summary"):
        execution.report(store, summary.token, made_by(leases[0]))
    driver.age(store, 31)
    store.leases.lapse(TERMS)
    with pytest.raises(StaleLeaseError):
        execution.summary_records(store, summary.token, -1)
    again = lease_one(store)  # a lapsed summary is leased again
    assert store.datasets.awaiting_manifest() == []
    files = SummaryReport(files=(StoredFile(name="README.md", num_bytes=1, sha256="0" * 64),))
    assert execution.report(store, again.token, files)
    assert not execution.report(store, again.token, files)
    assert [job.id for job in store.datasets.awaiting_manifest()] == ["a"]


def test_a_summary_given_back_is_leased_again(store: Store) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    execution.report(store, lease.token, made_by(lease))
    summary = lease_one(store)
    execution.give_back(store, summary.token, LeaseReturn(reason="stopping"))
    assert lease_one(store).kind == "summary"


def test_a_summary_that_cannot_be_made_fails_its_job(store: Store) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    plan = driver.plan_of(lease.job, lease.position)
    execution.report(store, lease.token, driver.shard_report(plan))
    summary = lease_one(store)
    execution.give_back(store, summary.token, LeaseReturn(reason="failed", message="disk full"))
    assert store.jobs.get("a").reason == "the summary failed: disk full"


@pytest.mark.parametrize(
    ("names", "message"),
    [(("other.txt",), "one of README.md"), (("README.md", "README.md"), "named twice")],
)
def test_a_summary_has_known_files(store: Store, names: tuple[str, ...], message: str) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    execution.report(store, lease.token, made_by(lease))
    summary = lease_one(store)
    files = tuple(StoredFile(name=name, num_bytes=1, sha256="0" * 64) for name in names)
    with pytest.raises(InvalidRequestError, match=message):
        execution.report(store, summary.token, SummaryReport(files=files))


def test_many_pools_at_once_get_each_shard_once(store: Store) -> None:
    submit(store, "a", num_shards=64)
    taken: list[int] = []

    def work(pool: str) -> None:
        while granted := store.leases.lease(driver.request(pool, max_leases=3), TERMS):
            taken.extend(lease.position for lease in granted)

    threads = [threading.Thread(target=work, args=(f"pool-{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(64))


def test_pools_are_remembered_for_a_day(store: Store) -> None:
    submit(store, "a")
    lease_one(store, "pool-b")
    lease_one(store, "pool-a")
    seen = store.pools.all()
    assert [(pool.name, pool.generators, pool.num_leased) for pool in seen] == [
        ("pool-a", ("builtin",), 1),
        ("pool-b", ("builtin",), 1),
    ]
    driver.age(store, 86_401)
    store.leases.lease(driver.request("pool-b"), TERMS)
    assert store.pools.forget() == 1
    assert [pool.name for pool in store.pools.all()] == ["pool-b"]
    assert store.pools.forget() == 0
