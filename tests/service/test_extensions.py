"""A dataset that is added to: the old shards stay, the new ones follow, splits and all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from service import bases, planning
from service.app import create_app
from service.clearing import clear
from service.loops import Committer
from service.planning import Base
from service.settings import Settings
from service.store import Store
from synthforge.job_status import JobStatus
from synthforge.jobs import JobSpec
from synthforge.shards import Manifest, staged_key
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient

SPEC = {
    "count": 26,
    "identity": {"views": 2},
    "output": {"samples_per_shard": 10, "splits": {"train": 0.8, "val": 0.2}},
}


def posted(http: TestClient, path: str, status: int = 202, **body: Any) -> JobStatus:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return JobStatus.model_validate_json(answer.content)


def finished(http: TestClient, job: JobStatus) -> Manifest:
    driver.work_until_empty(http)
    Committer(http.app.state.context).step()
    answer = http.get(f"/v1/jobs/{job.id}/manifest")
    assert answer.status_code == 200, answer.text
    return Manifest.model_validate_json(answer.content)


def extended(http: TestClient, job: JobStatus, count: int) -> JobStatus:
    return posted(http, f"/v1/jobs/{job.id}/extend", count=count)


def test_an_extension_keeps_the_old_shards_and_names_its_parent(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    before = finished(http, job)
    child = extended(http, job, 60)
    assert (child.output_url, child.parent, child.counts.total) == (
        job.output_url,
        before.digest,
        34,
    )
    after = finished(http, child)
    assert (after.parent, after.num_samples, after.job.count) == (before.digest, 60, 60)
    held = {shard.name: shard for shard in after.shards}
    assert all(held[shard.name] == shard for shard in before.shards)
    numbers = [(shard.split, shard.number) for shard in after.shards]
    assert numbers == sorted(numbers, key=lambda pair: (pair[0] != "train", pair[1]))
    storage = open_storage(job.output_url)
    assert storage.get_bytes("manifest.json") == after.to_json()
    assert storage.get_bytes(f"manifests/{before.digest}.json") == before.to_json()
    assert http.get(f"/v1/jobs/{job.id}/manifest").content == before.to_json()


def test_an_extension_is_extended_again(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    first = finished(http, job)
    child = extended(http, job, 40)
    second = finished(http, child)
    third = finished(http, extended(http, child, 62))
    assert (second.parent, third.parent) == (first.digest, second.digest)
    assert {shard.name for shard in second.shards} < {shard.name for shard in third.shards}
    covered = sorted(index for shard in third.shards for piece in shard.indices
                     for index in range(piece.start, piece.stop))  # fmt: skip
    assert covered == list(range(62))


def test_the_same_extension_asked_for_again_is_the_same_job(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    child = extended(http, job, 40)
    assert extended(http, job, 40).id == child.id
    refused = http.post(f"/v1/jobs/{job.id}/extend", json={"count": 50})
    assert refused.status_code == 409
    assert f"job {child.id} (queued) extends" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("spec", "count", "message"),
    [
        (SPEC, 26, "the dataset has 26 samples: more would do"),
        (SPEC | {"count": 25}, 40, "end within an identity of 2 views"),
        ({"count": 4, "output": {"samples_per_shard": 1}}, 10**7, "more than 1000000 shards"),
    ],
)
def test_a_count_that_cannot_be_is_refused(
    http: TestClient, spec: dict[str, Any], count: int, message: str
) -> None:
    job = posted(http, "/v1/jobs", **spec)
    finished(http, job)
    refused = http.post(f"/v1/jobs/{job.id}/extend", json={"count": count})
    assert refused.status_code == 422
    assert message in refused.json()["detail"]


def test_only_a_dataset_is_extended(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    refused = http.post(f"/v1/jobs/{job.id}/extend", json={"count": 40})
    assert refused.status_code == 409
    assert "is queued: one that is succeeded can be extended" in refused.json()["detail"]


def test_the_parents_files_stay_until_the_extension_is_whole(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    storage = open_storage(job.output_url)
    before = {found.key for found in storage.list_objects()}
    child = extended(http, job, 40)
    for lease in driver.lease(http, max_leases=9):
        driver.report(http, lease)
    storage.put_bytes("report.json", b"the parent's")
    (summary,) = driver.lease(http)
    assert (summary.kind, summary.parent) == ("summary", child.parent)
    driver.report(http, summary)
    assert storage.get_bytes("report.json") == b"the parent's"
    assert storage.head(staged_key("report.json")) is not None
    Committer(http.app.state.context).step()
    assert storage.get_bytes("report.json") == b"report.json"
    after = {found.key for found in storage.list_objects()}
    assert all(key.startswith(("shards/", "manifests/")) for key in after - before)


def test_an_extension_that_is_cancelled_and_deleted_leaves_its_parent(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    manifest = finished(http, job)
    child = extended(http, job, 60)
    for lease in driver.lease(http, max_leases=1):
        driver.report(http, lease)
    assert posted(http, f"/v1/jobs/{child.id}/cancel?data=delete", 200).state == "cancelling"
    context = http.app.state.context
    (due,) = context.store.actions.awaiting_clearance()
    assert clear(context.store, context.open_storage, due)
    storage = open_storage(job.output_url)
    assert {found.key for found in storage.list_objects("shards")} == {
        shard.name for shard in manifest.shards
    }
    assert storage.get_bytes("manifest.json") == manifest.to_json()
    assert posted(http, f"/v1/jobs/{child.id}/retry", 200).state == "queued"
    assert finished(http, child).num_samples == 60


def test_a_parents_manifest_that_is_none_fails_the_extension_by_name(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    digest = finished(http, job).digest
    child = extended(http, job, 40)
    driver.work_until_empty(http)
    open_storage(job.output_url).put_bytes(f"manifests/{digest}.json", b"{}")
    assert Committer(http.app.state.context).step() == 1
    status = JobStatus.model_validate_json(http.get(f"/v1/jobs/{child.id}").content)
    assert status.state == "failed"
    assert f"manifests/{digest}.json is no manifest" in (status.reason or "")


def test_what_cannot_be_made_any_more_is_neither_extended_nor_retried(
    http: TestClient, settings: Settings, sqlite_store: Store
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    stopped = posted(http, "/v1/jobs", **SPEC)
    posted(http, f"/v1/jobs/{stopped.id}/cancel", 200)
    without = TestClient(create_app(replace(settings, generators=("next3d",)), sqlite_store))
    for refused in (
        without.post(f"/v1/jobs/{job.id}/extend", json={"count": 40}),
        without.post(f"/v1/jobs/{stopped.id}/retry"),
    ):
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "generator.kind"


def _specs() -> st.SearchStrategy[tuple[JobSpec, list[int]]]:
    shares = st.sampled_from([{"a": 1.0}, {"a": 0.5, "b": 0.5}, {"a": 0.7, "b": 0.2, "c": 0.1}])

    def spec(views: int, per_shard: int, splits: dict[str, float], grown: list[int]) -> Any:
        counts = [views * sum(grown[: n + 1]) for n in range(len(grown))]
        output = {"samples_per_shard": per_shard, "splits": splits}
        document = {"count": counts[-1], "identity": {"views": views}, "output": output}
        return JobSpec.model_validate(document), counts

    steps = st.lists(st.integers(1, 40), min_size=1, max_size=4)
    return st.builds(spec, st.integers(1, 4), st.integers(1, 12), shares, steps)


@trying(max_examples=80)
@given(_specs())
def test_any_line_of_extensions_covers_every_sample_once_in_whole_identities(
    drawn: tuple[JobSpec, list[int]],
) -> None:
    largest, counts = drawn
    base, seen = Base(), []
    for count in counts:
        spec = largest.model_copy(update={"count": count})
        names = set()
        for position in range(planning.total_shards(spec, base)):
            split, number = planning.nth_shard(spec, position, base)
            plan = planning.shard_plan(spec, split, number, base)
            indices = list(plan.sample_indices())
            assert {planning.split_of(spec, i // spec.identity.views) for i in indices} == {split}
            assert len(indices) % spec.identity.views == 0
            names.add((split, number))
            seen += indices
        shards = bases.num_shards_of_splits(spec, base)
        assert names == {
            (split, number)
            for split, stop in shards.items()
            for number in range(base.shards.get(split, 0), stop)
        }
        base = Base(count, shards)
    assert sorted(seen) == list(range(counts[-1]))
