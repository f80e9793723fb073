"""A job from POST to manifest over HTTP, and every way it ends otherwise."""

from __future__ import annotations

from typing import Any

from service.app import storage_under
from service.loops import Committer
from service.settings import Settings
from synthforge.jobs import JobStatus
from synthforge.leases import Lease, LeaseGrant
from synthforge.shards import Manifest
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient

SPEC = {"count": 25, "output": {"samples_per_shard": 10, "splits": {"train": 0.8, "val": 0.2}}}


def submitted(http: TestClient, spec: dict[str, Any] | None = None) -> JobStatus:
    answer = http.post("/v1/jobs", json=spec or SPEC)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return JobStatus.model_validate_json(answer.content)


def leased(http: TestClient, **options: Any) -> tuple[Lease, ...]:
    answer = http.post(
        "/v1/leases",
        content=driver.request(**options).model_dump_json(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    return LeaseGrant.model_validate_json(answer.content).leases


def posted(http: TestClient, path: str, content: str) -> Any:
    return http.post(path, content=content, headers={"Content-Type": "application/json"})


def carry_out(http: TestClient, lease: Lease) -> Any:
    report = driver.carry_out(lease, open_storage(lease.output_url))
    return posted(http, f"/v1/leases/{lease.token}/report", report.model_dump_json())


def status(http: TestClient, job_id: str) -> JobStatus:
    return JobStatus.model_validate_json(http.get(f"/v1/jobs/{job_id}").content)


def test_a_job_becomes_a_dataset(http: TestClient, settings: Settings) -> None:
    job = submitted(http)
    assert job.state == "queued"
    assert job.output_url == f"{settings.output_prefixes[0]}/{job.id}"
    while work := leased(http, max_leases=2):
        for lease in work:
            assert carry_out(http, lease).json() == {"accepted": True, "repeated": False}
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
