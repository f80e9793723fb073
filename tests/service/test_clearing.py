"""Deleting: what a cancelled job did, or a whole dataset, manifest first."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from service import claims
from service.claims import CLAIM_S
from service.clearing import clear, delete_dataset
from service.loops import Clearer
from service.patience import LONGEST_WAIT_S
from service.settings import Settings
from service.store.action_verbs import ActionVerbs
from service.store.claim_verbs import awaits_clearance
from service.store.rows import JobRow
from service.tables import commits
from synthforge.job_status import JobStatus
from synthforge.storage import StorageUnavailable, open_storage
from synthforge.storage.directory import DirectoryStorage
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import SPEC, extended, finished, posted


def status(http: TestClient, job: JobStatus) -> JobStatus:
    return JobStatus.model_validate_json(http.get(f"/v1/jobs/{job.id}").content)


def keys(job: JobStatus) -> list[str]:
    """Keys under a job's prefix; where there are none, its folder is gone too."""
    found = [found.key for found in open_storage(job.output_url).list_objects()]
    assert Path(job.output_url.removeprefix("file://")).exists() == bool(found)
    return found


def test_a_job_cancelled_with_its_data_leaves_nothing(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    first, running = driver.lease(http, max_leases=2)
    driver.report(http, first)
    cancelling = posted(http, f"/v1/jobs/{job.id}/cancel?data=delete", 200)
    assert cancelling.state == "cancelling"
    clearer = Clearer(http.app.state.context)
    assert clearer.step() == 0  # a shard still runs
    driver.report(http, running)
    assert keys(job) != []
    assert clearer.step() == 1
    ended = status(http, job)
    assert (ended.state, ended.shards.done, ended.counts.completed) == ("cancelled", 0, 0)
    assert keys(job) == []
    assert posted(http, f"/v1/jobs/{job.id}/cancel?data=delete", 200).state == "cancelled"
    assert clearer.step() == 0


def test_a_cancelled_job_keeps_what_is_done_until_it_is_to_be_deleted(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    for lease in driver.lease(http):
        driver.report(http, lease)
    assert posted(http, f"/v1/jobs/{job.id}/cancel", 200).shards.done == 1
    assert len(keys(job)) == 1
    posted(http, f"/v1/jobs/{job.id}/cancel?data=delete", 200)
    assert Clearer(http.app.state.context).step() == 1
    assert keys(job) == []


def test_what_another_job_has_by_now_is_not_deleted(http: TestClient, settings: Settings) -> None:
    output = {"url": f"{settings.output_prefixes[0]}/faces", "samples_per_shard": 10}
    spec = SPEC | {"output": output}
    job = posted(http, "/v1/jobs", **spec)
    for lease in driver.lease(http):
        driver.report(http, lease)
    posted(http, f"/v1/jobs/{job.id}/cancel", 200)
    other = posted(http, "/v1/jobs", **spec)
    refused = http.post(f"/v1/jobs/{job.id}/cancel?data=delete")
    assert refused.json()["type"] == "urn:synthforge:problem:output-taken"
    assert other.id in refused.json()["detail"]


def test_a_dataset_is_deleted_with_its_manifest_first(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    deleted: list[str] = []
    delete = DirectoryStorage.delete

    def noted(storage: DirectoryStorage, key: str) -> None:
        deleted.append(key)
        delete(storage, key)

    monkeypatch.setattr(DirectoryStorage, "delete", noted)
    assert http.delete(f"/v1/jobs/{job.id}/dataset").status_code == 202
    assert deleted == ["manifest.json"]
    assert http.get(f"/v1/jobs/{job.id}/manifest").status_code == 410
    assert Clearer(http.app.state.context).step() == 1
    assert deleted[1] == "manifest.json"
    assert keys(job) == []
    gone = status(http, job)
    assert gone.state == "succeeded"
    assert gone.deleted_at is not None
    again = http.delete(f"/v1/jobs/{job.id}/dataset")
    assert JobStatus.model_validate_json(again.content) == gone
    assert http.post(f"/v1/jobs/{job.id}/extend", json={"count": 40}).status_code == 410


def test_a_deleted_dataset_leaves_its_prefix(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    spec = SPEC | {"output": {"url": job.output_url}}
    assert http.post("/v1/jobs", json=spec).status_code == 409
    http.delete(f"/v1/jobs/{job.id}/dataset")
    assert http.post("/v1/jobs", json=spec).status_code == 409
    Clearer(http.app.state.context).step()
    assert posted(http, "/v1/jobs", **spec).output_url == job.output_url


def test_a_dataset_that_was_extended_is_deleted_through_the_last_job(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    child = extended(http, job, 40)
    finished(http, child)
    refused = http.delete(f"/v1/jobs/{job.id}/dataset")
    assert refused.status_code == 409
    assert child.id in refused.json()["detail"]
    assert http.delete(f"/v1/jobs/{child.id}/dataset").status_code == 202
    Clearer(http.app.state.context).step()
    assert status(http, job).deleted_at == status(http, child).deleted_at is not None
    assert keys(job) == []


def test_a_store_that_fails_half_way_is_asked_again(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    http.delete(f"/v1/jobs/{job.id}/dataset")
    now = [0.0]
    clearer = Clearer(http.app.state.context, clock=lambda: now[0])
    delete = DirectoryStorage.delete

    def failing(storage: DirectoryStorage, key: str) -> None:
        if key.startswith("shards/val"):
            raise StorageUnavailable("the store is away")
        delete(storage, key)

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryStorage, "delete", failing)
        assert clearer.step() == 0
    assert status(http, job).deleted_at is None
    assert clearer.step() == 0  # it does not ask again at once
    now[0] += LONGEST_WAIT_S
    assert clearer.step() == 1
    assert keys(job) == []


def cleared(http: TestClient, row: JobRow) -> bool:
    context = http.app.state.context
    return clear(context.store, context.open_storage, row)


def cancelled_with_data(http: TestClient) -> tuple[JobStatus, JobRow]:
    """Return a job whose objects are to be deleted, and its row as a replica's loop reads it."""
    job = posted(http, "/v1/jobs", **SPEC)
    for lease in driver.lease(http, max_leases=2):
        driver.report(http, lease)
    posted(http, f"/v1/jobs/{job.id}/cancel?data=delete", 200)
    (row,) = http.app.state.context.store.actions.awaiting_clearance()
    return job, row


def test_a_replica_that_comes_late_deletes_nothing_of_a_job_that_was_retried(
    http: TestClient,
) -> None:
    job, row = cancelled_with_data(http)
    assert cleared(http, row)
    posted(http, f"/v1/jobs/{job.id}/retry", 200)
    for lease in driver.lease(http, max_leases=2):
        driver.report(http, lease)  # the same bytes under the same names
    made = keys(job)
    assert not cleared(http, row)
    assert keys(job) == made != []


def test_one_replica_clears_a_job_at_a_time(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, row = cancelled_with_data(http)
    other: list[bool] = []
    delete = DirectoryStorage.delete

    def other_tries(storage: DirectoryStorage, key: str) -> None:
        before = keys(job)
        other.append(cleared(http, row))
        assert keys(job) == before
        delete(storage, key)

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryStorage, "delete", other_tries)
        assert cleared(http, row)
    assert len(other) > 2
    assert not any(other)


def test_a_replica_whose_claim_another_has_by_now_deletes_no_more(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = http.app.state.context.store
    job, row = cancelled_with_data(http)
    before = keys(job)
    delete = DirectoryStorage.delete

    def other_claims(storage: DirectoryStorage, key: str) -> None:
        with store.database.write() as tx:
            tx.connection.execute(update(commits).values(holder="another"))
        delete(storage, key)

    monkeypatch.setattr(DirectoryStorage, "delete", other_claims)
    # At each step, long since the claim was renewed.
    slow = SimpleNamespace(monotonic=count(0.0, CLAIM_S).__next__)
    monkeypatch.setattr(claims, "time", slow)
    assert not cleared(http, row)
    assert len(keys(job)) == len(before) - 1
    assert status(http, job).state == "cancelling"


def test_the_holder_of_the_claim_alone_says_that_a_job_is_cleared_and_once(
    http: TestClient,
) -> None:
    store = http.app.state.context.store
    job, row = cancelled_with_data(http)
    assert store.claims.take(row.num, awaits_clearance, "one", CLAIM_S)
    assert not store.actions.cleared(row.num, "another")
    assert status(http, job).state == "cancelling"
    assert store.actions.cleared(row.num, "one")
    posted(http, f"/v1/jobs/{job.id}/retry", 200)
    driver.report(http, driver.lease(http)[0])
    assert not store.actions.cleared(row.num, "one")  # its claim was not given back yet
    assert status(http, job).shards.done == 1


def test_a_deletion_that_another_replica_was_first_with_leaves_the_next_dataset_there(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = http.app.state.context
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    mark = type(context.store.actions).clear

    def others_are_faster(verbs: ActionVerbs, job_id: str) -> JobRow:
        marked = mark(verbs, job_id)
        assert Clearer(context).step() == 1
        finished(http, posted(http, "/v1/jobs", **SPEC | {"output": {"url": job.output_url}}))
        return marked

    monkeypatch.setattr(ActionVerbs, "clear", others_are_faster)
    delete_dataset(context.store, context.open_storage, job.id)
    assert "manifest.json" in keys(job)


def test_a_dataset_in_a_folder_has_no_links(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    refused = http.get(f"/v1/jobs/{job.id}/manifest?links=presigned")
    assert refused.status_code == 422
    assert "a file:// store gives no links; s3:// does" in refused.json()["detail"]


def test_a_running_job_has_no_dataset_to_delete(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    refused = http.delete(f"/v1/jobs/{job.id}/dataset")
    assert refused.status_code == 409
    assert "is queued" in refused.json()["detail"]
