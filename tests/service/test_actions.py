"""Pause, resume, cancel and retry: what they do, and which state refuses them."""

from __future__ import annotations

import pytest

from service import actions, execution
from service.errors import OutputTakenError, StateConflictError
from service.leasing import Terms
from service.loops import Committer
from service.store import Store
from synthforge.job_status import JobState, JobStatus
from synthforge.leases import LeaseReturn
from synthforge.shards import part_key, tally_key
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_lease_verbs import lease_one, made_by
from tests.service.test_store import submit

TERMS = Terms(lease_s=30, heartbeat_s=5, stall_s=100)
SPEC = {"count": 20, "output": {"samples_per_shard": 10}}


def test_a_paused_job_leases_no_more_and_its_running_shards_finish(store: Store) -> None:
    submit(store, "a")
    first = lease_one(store)
    assert store.actions.pause("a").state == JobState.PAUSED
    assert store.leases.lease(driver.request(), TERMS) == []
    assert execution.report(store, first.token, made_by(first))
    assert store.jobs.get("a").state == JobState.PAUSED
    assert store.actions.resume("a").state == JobState.RUNNING
    assert lease_one(store).position == 1


def test_a_job_whose_last_shard_came_while_it_was_paused_is_finished_on_resume(
    store: Store,
) -> None:
    submit(store, "a", num_shards=1)
    lease = lease_one(store)
    store.actions.pause("a")
    execution.report(store, lease.token, made_by(lease))
    assert store.jobs.get("a").state == JobState.PAUSED
    assert store.actions.resume("a").state == JobState.FINALIZING
    assert lease_one(store).kind == "summary"


def test_a_job_paused_before_it_began_is_queued_again(store: Store) -> None:
    submit(store, "a")
    store.actions.pause("a")
    assert store.actions.resume("a").state == JobState.QUEUED


def test_a_shard_that_cannot_be_made_fails_a_paused_job_too(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    store.actions.pause("a")
    execution.give_back(store, lease.token, LeaseReturn(reason="failed", message="no GPU"))
    assert store.jobs.get("a").state == JobState.FAILED


def test_a_retried_job_goes_on_where_it_was(store: Store) -> None:
    submit(store, "a")
    first, second = store.leases.lease(driver.request(max_leases=2), TERMS)
    execution.report(store, first.token, made_by(first))
    execution.give_back(store, second.token, LeaseReturn(reason="failed", message="no GPU"))
    failed = store.jobs.get("a")
    assert (failed.state, failed.num_set_aside) == (JobState.FAILED, 1)
    retried = store.actions.retry("a")
    assert (retried.state, retried.reason, retried.finished_at) == (JobState.RUNNING, None, None)
    assert (retried.num_done, retried.num_set_aside) == (1, 0)
    again = lease_one(store)
    assert again.position == 1
    execution.report(store, again.token, made_by(again))
    assert store.jobs.get("a").state == JobState.FINALIZING


def test_a_retried_job_forgets_the_deaths_of_its_shards(store: Store) -> None:
    submit(store, "a")
    lease = lease_one(store)
    lost = LeaseReturn(reason="lost", num_samples=4)
    for _ in range(2):
        execution.give_back(store, lease.token, lost)
        lease = lease_one(store)
    execution.give_back(store, lease.token, lost)
    store.actions.retry("a")
    again = lease_one(store)
    execution.give_back(store, again.token, lost)
    assert store.jobs.get("a").state == JobState.RUNNING


def test_a_job_is_not_retried_on_a_prefix_that_is_anothers_by_now(store: Store) -> None:
    submit(store, "a", "s3://bkt/x")
    store.actions.cancel("a")
    submit(store, "b", "s3://bkt/x/y")
    with pytest.raises(OutputTakenError, match="job b"):
        store.actions.retry("a")
    assert store.jobs.get("a").state == JobState.CANCELLED


@pytest.mark.parametrize(
    ("action", "state", "allowed"),
    [
        ("pause", JobState.FINALIZING, "queued or running can be paused"),
        ("pause", JobState.SUCCEEDED, "queued or running can be paused"),
        ("resume", JobState.CANCELLED, "paused can be resumed"),
        ("cancel", JobState.FINALIZING, "queued, running or paused can be cancelled"),
        ("retry", JobState.PAUSED, "failed or cancelled can be retried"),
        ("retry", JobState.CANCELLING, "failed or cancelled can be retried"),
        ("retry", JobState.SUCCEEDED, "failed or cancelled can be retried"),
    ],
)
def test_a_state_that_does_not_allow_an_action_is_named(
    action: str, state: JobState, allowed: str
) -> None:
    with pytest.raises(StateConflictError, match=f"job a is {state.value}: .*{allowed}"):
        getattr(actions, action.upper()).changes("a", state)


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry"])
def test_every_state_either_begins_repeats_or_refuses_an_action(action: str) -> None:
    asked = getattr(actions, action.upper())
    assert not set(asked.begins) & set(asked.repeats)
    for state in JobState:
        if state in asked.begins + asked.repeats:
            assert asked.changes("a", state) == (state in asked.begins)
        else:
            with pytest.raises(StateConflictError):
                asked.changes("a", state)


def _job(http: TestClient, path: str) -> JobStatus:
    answer = http.post(path)
    assert answer.status_code == 200, answer.text
    return JobStatus.model_validate_json(answer.content)


def test_actions_over_http_are_repeated_without_harm(http: TestClient) -> None:
    path = f"/v1/jobs/{http.post('/v1/jobs', json=SPEC).json()['id']}"
    assert _job(http, f"{path}/pause").state == "paused"
    assert _job(http, f"{path}/pause").state == "paused"
    assert _job(http, f"{path}/resume").state == "queued"
    assert _job(http, f"{path}/resume").state == "queued"
    assert _job(http, f"{path}/cancel").state == "cancelled"
    refused = http.post(f"{path}/pause")
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:synthforge:problem:state-conflict",
    )
    assert _job(http, f"{path}/retry").state == "queued"
    assert _job(http, f"{path}/retry").state == "queued"


def test_shards_that_vanished_from_the_store_are_made_again_on_retry(http: TestClient) -> None:
    path = f"/v1/jobs/{http.post('/v1/jobs', json=SPEC).json()['id']}"
    driver.work_until_empty(http)
    status = JobStatus.model_validate_json(http.get(path).content)
    storage = open_storage(status.output_url)
    records = [driver.shard_report(lease).record for lease in driver.plans(status.spec)]
    for record in records:
        storage.put_bytes(part_key(record.name), b"part")
        storage.put_bytes(tally_key(record.name), b"tally")
    storage.delete(records[1].name)
    committer = Committer(http.app.state.context)
    committer.step()
    failed = JobStatus.model_validate_json(http.get(path).content)
    assert failed.state == "failed"
    assert "is not in the store" in str(failed.reason)
    retried = _job(http, f"{path}/retry")
    assert (retried.state, retried.shards.done, retried.counts.completed) == ("running", 1, 10)
    driver.work_until_empty(http)
    committer.step()
    assert JobStatus.model_validate_json(http.get(path).content).state == "succeeded"
