"""A job from POST to manifest over HTTP, and every way it ends otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service import execution, planning
from service.app import create_app
from service.loops import Committer
from service.messages import JobPage, PoolList
from service.objects import storage_under
from service.settings import Settings
from service.store import Store
from synthforge.job_status import JobStatus
from synthforge.leases import LeaseReturn, ShardPage
from synthforge.shards import Manifest
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient

SPEC = {"count": 25, "output": {"samples_per_shard": 10, "splits": {"train": 0.8, "val": 0.2}}}


@pytest.fixture
def http(settings: Settings, store: Store) -> TestClient:
    """The real app on either database; its loops do not run, tests take their steps."""
    return TestClient(create_app(settings, store), raise_server_exceptions=False)


def submitted(http: TestClient, spec: dict[str, Any] | None = None) -> JobStatus:
    answer = http.post("/v1/jobs", json=spec or SPEC)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return JobStatus.model_validate_json(answer.content)


def status(http: TestClient, job_id: str) -> JobStatus:
    return JobStatus.model_validate_json(http.get(f"/v1/jobs/{job_id}").content)


def test_a_job_becomes_a_dataset(http: TestClient, settings: Settings) -> None:
    job = submitted(http)
    assert job.state == "queued"
    assert job.output_url == f"{settings.output_prefixes[0]}/{job.id}"
    while work := driver.lease(http, max_leases=2):
        for lease in work:
            assert driver.report(http, lease).json() == {"accepted": True, "repeated": False}
    assert status(http, job.id).state == "finalizing"
    assert http.get(f"/v1/jobs/{job.id}/manifest").status_code == 409
    assert Committer(http.app.state.context).step() == 1
    done = status(http, job.id)
    assert (done.state, done.counts.completed, done.shards.done) == ("succeeded", 25, 3)
    assert done.finished_at is not None
    content = http.get(f"/v1/jobs/{job.id}/manifest").content
    manifest = Manifest.model_validate_json(content)
    assert manifest.digest == done.digest
    assert manifest.splits == {"train": 20, "val": 5}
    storage = storage_under(settings.output_prefixes)(job.output_url)
    assert storage.get_bytes("manifest.json") == content == manifest.to_json()
    assert storage.get_bytes(f"manifests/{done.digest}.json") == content


def test_the_loops_finish_a_job_by_themselves(settings: Settings) -> None:
    with TestClient(create_app(replace(settings, reap_interval_s=0.01))) as http:
        job = submitted(http)
        while status(http, job.id).state != "succeeded":
            for lease in driver.lease(http, max_leases=9):
                driver.report(http, lease)


def test_a_repeated_report_is_accepted_and_changes_nothing(http: TestClient) -> None:
    job = submitted(http)
    (lease,) = driver.lease(http)
    driver.report(http, lease)
    assert driver.report(http, lease).json() == {"accepted": True, "repeated": True}
    assert status(http, job.id).shards.done == 1


def test_a_lease_tells_all_that_a_worker_needs(http: TestClient) -> None:
    job = submitted(http)
    (lease,) = driver.lease(http)
    assert (lease.job_id, lease.spec, lease.output_url) == (job.id, job.spec, job.output_url)
    assert lease.plan == planning.shard_plan(job.spec, "train", 0)
    assert (lease.lease_s, lease.heartbeat_s) == (30, 5)


def test_a_pool_without_work_is_told_when_to_ask_again(http: TestClient) -> None:
    answer = driver.post_json(http, "/v1/leases", driver.request().model_dump_json())
    assert answer.json() == {"leases": [], "retry_after_s": 1.0, "waiting": {}}


def test_a_heartbeat_tells_whether_to_go_on(http: TestClient) -> None:
    job = submitted(http)
    (lease,) = driver.lease(http)
    path = f"/v1/leases/{lease.token}/heartbeat"
    assert driver.post_json(http, path, '{"num_samples": 3}').json() == {
        "lease_s": 30,
        "cancelled": False,
    }
    assert http.post(f"/v1/jobs/{job.id}/cancel").json()["state"] == "cancelling"
    assert driver.post_json(http, path, '{"num_samples": 4}').json()["cancelled"] is True
    answer = driver.post_json(http, f"/v1/leases/{lease.token}/return", '{"reason": "cancelled"}')
    assert answer.json() == {"outcome": "open"}
    again = driver.post_json(http, f"/v1/leases/{lease.token}/return", '{"reason": "cancelled"}')
    assert again.json() == {"outcome": "returned_before"}
    assert status(http, job.id).state == "cancelled"
    assert http.post(f"/v1/jobs/{job.id}/cancel").status_code == 200


def test_a_summary_reads_the_records_of_its_job(http: TestClient) -> None:
    submitted(http)
    for lease in driver.lease(http, max_leases=9):
        refused = http.get(f"/v1/leases/{lease.token}/shards")
        assert refused.json()["type"] == "urn:synthforge:problem:not-a-summary"
        driver.report(http, lease)
    (summary,) = driver.lease(http)
    page = ShardPage.model_validate_json(http.get(f"/v1/leases/{summary.token}/shards").content)
    assert [(record.split, record.number) for record in page.shards] == [
        ("train", 0),
        ("train", 1),
        ("val", 0),
    ]
    assert page.next is None


def test_records_come_a_page_at_a_time(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RECORDS_A_PAGE", 2)
    submitted(http)
    for lease in driver.lease(http, max_leases=9):
        driver.report(http, lease)
    (summary,) = driver.lease(http)
    path = f"/v1/leases/{summary.token}/shards"
    first = ShardPage.model_validate_json(http.get(path).content)
    rest = ShardPage.model_validate_json(http.get(path, params={"after": first.next}).content)
    assert (len(first.shards), first.next, len(rest.shards), rest.next) == (2, "1", 1, None)


def test_the_same_idempotency_key_gives_the_same_job(http: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = http.post("/v1/jobs", json=SPEC, headers=headers)
    reordered = dict(reversed(SPEC.items())) | {"seed": 0}  # the same spec, written otherwise
    again = http.post("/v1/jobs", json=reordered, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    other = http.post("/v1/jobs", json=SPEC | {"seed": 1}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:synthforge:problem:idempotency-key-reused"


def test_a_key_is_replayed_after_its_dataset_is_there(http: TestClient, settings: Settings) -> None:
    spec = SPEC | {"output": {"url": f"{settings.output_prefixes[0]}/faces"}}
    headers = {"Idempotency-Key": "k1"}
    first = http.post("/v1/jobs", json=spec, headers=headers).json()
    open_storage(first["output_url"]).put_bytes("manifest.json", b"{}")
    again = http.post("/v1/jobs", json=spec, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])


def test_jobs_are_listed_by_cursor(http: TestClient) -> None:
    made = [submitted(http).id for _ in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = JobPage.model_validate_json(http.get("/v1/jobs", params=query).content)
        seen += [job.id for job in page.jobs]
        cursor = page.next
        if cursor is None:
            break
    assert seen == made[::-1]
    http.post(f"/v1/jobs/{made[0]}/cancel")
    found = http.get("/v1/jobs", params={"state": ["cancelled", "failed"]}).json()["jobs"]
    assert [job["id"] for job in found] == [made[0]]


def test_a_priority_is_changed_and_told(http: TestClient) -> None:
    job = submitted(http)
    changed = http.patch(f"/v1/jobs/{job.id}", json={"priority": 7})
    assert JobStatus.model_validate_json(changed.content).priority == 7
    http.post(f"/v1/jobs/{job.id}/cancel")
    refused = http.patch(f"/v1/jobs/{job.id}", json={"priority": 8})
    assert refused.status_code == 409
    assert "is cancelled" in refused.json()["detail"]


def test_pools_are_listed(http: TestClient) -> None:
    submitted(http)
    driver.lease(http, pool="pool-b", max_leases=2)
    pools = PoolList.model_validate_json(http.get("/v1/pools").content).pools
    assert [(pool.name, pool.num_leased) for pool in pools] == [("pool-b", 2)]


def test_metrics_count_what_happened(http: TestClient) -> None:
    submitted(http)
    for lease in driver.lease(http, max_leases=2):
        driver.report(http, lease)
    text = http.get("/metrics").text
    assert 'synthforge_jobs{state="running"} 1.0' in text
    assert "synthforge_shards_waiting 1.0" in text
    assert "synthforge_jobs_submitted_total 1.0" in text
    assert 'synthforge_leases_granted_total{kind="shard"} 2.0' in text
    assert "synthforge_samples_committed_total 20.0" in text
    assert 'synthforge_samples_rejected_total{reason="too_dark"} 2.0' in text
    shading = 'synthforge_worker_stage_seconds_total{generator="builtin",stage="shade"} 3.0'
    assert shading in text
    of_gpu = 'synthforge_worker_gpu_seconds_total{generator="builtin",stage="shade"} 2.5'
    assert of_gpu in text
    assert 'synthforge_shard_upload_seconds_bucket{le="0.25"} 2.0' in text
    assert 'route="/v1/jobs",status="202"' in text


def test_a_method_that_a_caller_makes_up_makes_no_series_of_its_own(http: TestClient) -> None:
    for number in range(3):
        assert http.request(f"MADEUP{number}", "/v1/jobs").status_code == 405
    text = http.get("/metrics").text
    assert "MADEUP" not in text
    assert 'synthforge_http_request_seconds_count{method="other"' in text


def test_shards_that_a_failed_jobs_pools_still_hold_count_as_leased(http: TestClient) -> None:
    submitted(http)
    first, _second = driver.lease(http, max_leases=2)
    returned = LeaseReturn(reason="failed", message="no")
    driver.post_json(http, f"/v1/leases/{first.token}/return", returned.model_dump_json())
    text = http.get("/metrics").text
    assert 'synthforge_jobs{state="failed"} 1.0' in text
    assert "synthforge_shards_waiting 0.0" in text
    assert "synthforge_shards_leased 1.0" in text


def test_health_is_told(http: TestClient) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok"}
    http.app.state.context.store.database.migrate("base")
    answer = http.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert http.get("/healthz").status_code == 200


def test_a_request_keeps_its_callers_id(http: TestClient) -> None:
    assert http.get("/healthz", headers={"X-Request-Id": "r-1"}).headers["x-request-id"] == "r-1"
    made = http.get("/healthz", headers={"X-Request-Id": "not one\x7f"}).headers["x-request-id"]
    assert len(made) == 16


def test_a_full_disk_is_told_and_takes_nothing_of_what_was_acknowledged(
    settings: Settings, sqlite_store: Store
) -> None:
    http = TestClient(create_app(settings, sqlite_store), raise_server_exceptions=False)
    made = [submitted(http).id]
    with sqlite_store.database.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    while (answer := http.post("/v1/jobs", json=SPEC)).status_code == 202:
        made.append(answer.json()["id"])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:synthforge:problem:database-unavailable"
    assert http.get("/readyz").status_code == 200  # what there is can still be read
    with sqlite_store.database.write() as tx:
        tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    made.append(submitted(http).id)
    listed = JobPage.model_validate_json(http.get("/v1/jobs?limit=100").content)
    assert [job.id for job in listed.jobs] == made[::-1][:100]
