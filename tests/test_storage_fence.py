"""The fence around the stores: what lies outside is refused at POST, and again by the worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.app import create_app
from service.settings import Settings
from synthforge.jobs import JobSpec
from synthforge.leases import Lease
from synthforge.shards import IndexRange, ShardPlan
from synthforge.storage import StorageRefused, open_storage
from tests.service.driver import TestClient
from tests.service.test_refusals import refusal
from workers.face_stream import PlanError
from workers.shard_worker import ShardWorker, WorkerSettings

# {root} is a folder; its data/ and the prefix s3://faces/data are allowed.
OUTSIDE = [
    "s3://faces",
    "s3://faces/database",  # a sibling that begins alike
    "s3://faces/dat",
    "s3://faces/Data/x",
    "s3://faces/data/../other",
    "s3://faces/data/x/../../other",
    "s3://faces/data/%2e%2e/other",
    "s3://faces/data/..%2fother",
    "s3://faces/data/%252e%252e/other",  # no name of an object: S3 clients decode it once more
    "s3://faces/data\\..\\other",
    "s3://other/data/x",
    "s3://faces.other/data/x",
    "s3://FACES/data/x",
    "s3://key:hunter2@faces/data/x",
    "s3://faces:9000/data/x",
    "s3://127.0.0.1/data/x",
    "s3://faces/data/x?endpoint=http://evil",
    "s3://faces/data/x?endpoint_override=evil",
    "s3://faces/data/x#y",
    "s3://faces/data/\u0000x",
    "s3:faces/data/x",
    "http://faces/data/x",
    "http://169.254.169.254/latest/meta-data",
    "https://s3.amazonaws.com/faces/data/x",
    "gs://faces/data/x",
    "file://host{root}/data/x",
    "file://{root}",
    "file://{root}/database",
    "file://{root}/data-beside/x",
    "file://{root}/data/../other",
    "file://{root}/data/%2e%2e/other",
    "file://{root}/data/a/../../other",
    "file://{root}/data/..%2fother",
    "{root}/data/../other",
    "../data/x",
    "data/x",
    "file:///etc",
    "/",
    "",
]
INSIDE = [
    "s3://faces/data/x",
    "s3://faces//data/./x/",
    "s3://faces/data/y/../x",
    "s3://faces/other/../data/x",
    "file://{root}/data/x",
    "{root}/data/x/",
    "file://{root}/other/../data/x",
]


@pytest.fixture
def prefixes(tmp_path: Path) -> tuple[str, ...]:
    return ("s3://faces/data", f"file://{tmp_path}/data")


@pytest.fixture
def http(tmp_path: Path, prefixes: tuple[str, ...]) -> Iterator[TestClient]:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/jobs.db", output_prefixes=prefixes, auth="off"
    )
    app = create_app(settings, storage_factory=lambda _url: open_storage(f"file://{tmp_path}/data"))
    yield TestClient(app)
    app.state.context.store.database.close()


@pytest.fixture
def worker(tmp_path: Path, prefixes: tuple[str, ...]) -> ShardWorker:
    return ShardWorker(WorkerSettings(prefixes, tmp_path / "scratch"))


def lease_to(url: str) -> Lease:
    """Return a lease as no honest service would give it: its URL was not checked."""
    spec = JobSpec.model_validate({"count": 1, "image": {"size": 64}, "annotations": ["camera"]})
    plan = ShardPlan(split="train", number=0, indices=(IndexRange(start=0, stop=1),))
    return Lease(
        token="t",
        kind="shard",
        job_id="job",
        spec=spec,
        output_url=url,
        plan=plan,
        lease_s=30,
        heartbeat_s=5,
    )


@pytest.mark.parametrize("url", OUTSIDE)
def test_no_job_is_accepted_outside_the_fence(http: TestClient, tmp_path: Path, url: str) -> None:
    spec = {"count": 1, "output": {"url": url.format(root=tmp_path)}}
    problem = refusal(http.post("/v1/jobs", json=spec), 422)
    assert problem.errors[0].field == "output.url"
    assert "hunter2" not in problem.model_dump_json()
    assert http.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("url", OUTSIDE)
def test_no_worker_writes_outside_its_fence(worker: ShardWorker, tmp_path: Path, url: str) -> None:
    with pytest.raises(PlanError) as refused:
        worker.make(lease_to(url.format(root=tmp_path)))
    assert "hunter2" not in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {"scratch"}


@pytest.mark.parametrize("url", INSIDE)
def test_one_place_has_one_name(http: TestClient, tmp_path: Path, url: str) -> None:
    spec = {"count": 1, "output": {"url": url.format(root=tmp_path)}}
    answer = http.post("/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    assert answer.json()["output_url"] in {"s3://faces/data/x", f"file://{tmp_path}/data/x"}


@pytest.mark.parametrize("field", ["endpoint", "endpoint_url", "credentials", "storage_options"])
def test_a_job_cannot_name_another_endpoint(http: TestClient, field: str) -> None:
    body = {"count": 1, "output": {field: "http://evil"}}
    assert refusal(http.post("/v1/jobs", json=body), 422).errors[0].field == f"output.{field}"


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, prefixes: tuple[str, ...]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "outside")
    url = f"file://{tmp_path}/data/link/x"
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/jobs.db", output_prefixes=prefixes, auth="off"
    )
    app = create_app(settings)
    answer = TestClient(app).post("/v1/jobs", json={"count": 1, "output": {"url": url}})
    assert refusal(answer, 422).errors[0].field == "output.url"
    app.state.context.store.database.close()
    worker = ShardWorker(WorkerSettings(prefixes, tmp_path / "scratch"))
    worker.make(lease_to(url))
    with pytest.raises(StorageRefused):
        worker.deliver("t")
    assert list((tmp_path / "outside").iterdir()) == []
