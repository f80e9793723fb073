"""Previews: asked for, made by whoever is warm, answered once, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from service.app import create_app
from service.objects import storage_under
from service.previews import plan_of, sweep
from service.settings import Settings
from service.store import Store
from service.store.preview_verbs import NewPreview, PreviewRow, PreviewVerbs
from service.tables import previews
from synthforge.jobs import JobSpec
from synthforge.previews import (
    PREVIEW_FILE,
    PreviewGrant,
    PreviewReport,
    PreviewRequest,
    PreviewTask,
)
from synthforge.storage import Storage, StorageUnavailable, open_storage
from tests.service import driver
from tests.service.driver import TestClient

SPEC = {"count": 40, "output": {"samples_per_shard": 10, "splits": {"train": 0.5, "val": 0.5}}}


@pytest.fixture
def http(settings: Settings, sqlite_store: Store) -> TestClient:
    quick = replace(settings, preview_timeout_s=5.0, max_previews=2)
    return TestClient(create_app(quick, sqlite_store), raise_server_exceptions=False)


def leased(http: TestClient, generators: tuple[str, ...] = ("builtin",)) -> list[PreviewTask]:
    request = PreviewRequest(pool="pool-a", generators=generators)  # type: ignore[arg-type]
    answer = driver.post_json(http, "/v1/previews/leases", request.model_dump_json())
    assert answer.status_code == 200, answer.text
    return list(PreviewGrant.model_validate_json(answer.content).previews)


def lease_one(http: TestClient) -> PreviewTask:
    while not (tasks := leased(http)):
        pass
    return tasks[0]


def report(http: TestClient, task: PreviewTask, made: PreviewReport) -> httpx.Response:
    path = f"/v1/previews/leases/{task.token}/report"
    return driver.post_json(http, path, made.model_dump_json())


@contextmanager
def asking(http: TestClient, query: str = "") -> Iterator[list[httpx.Response]]:
    """Ask for a preview on a thread; the answer is there when the block has ended."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(http.post(f"/v1/previews{query}", json=SPEC))
    )
    thread.start()
    yield answers
    thread.join()


def left(settings: Settings) -> list[str]:
    """Names of all that lies under the output prefix, folders too."""
    folder = Path(settings.output_prefixes[0].removeprefix("file://"))
    return [path.name for path in folder.rglob("*")]


def test_a_preview_is_answered_as_the_worker_put_it_and_then_gone(
    http: TestClient, settings: Settings
) -> None:
    with asking(http, "?samples=7") as answers:
        task = lease_one(http)
        assert task.plan.num_samples == 7
        assert 0 < task.patience_s <= 5
        file = open_storage(task.output_url).put_bytes(PREVIEW_FILE, b"a tar")
        assert report(http, task, PreviewReport(file=file, num_samples=7)).json() == {
            "accepted": True,
            "repeated": False,
        }
    (answer,) = answers
    assert (answer.status_code, answer.content) == (200, b"a tar")
    assert answer.headers["content-type"] == "application/x-tar"
    assert left(settings) == []
    assert report(http, task, PreviewReport(file=file)).status_code == 409


def test_a_preview_is_given_to_one_pool(http: TestClient) -> None:
    with asking(http):
        assert leased(http, ("next3d",)) == []
        task = lease_one(http)
        assert leased(http) == []
        report(http, task, PreviewReport(error="sample 3 was refused 20 times"))


def test_why_a_preview_cannot_be_made_is_told(http: TestClient) -> None:
    with asking(http) as answers:
        report(http, lease_one(http), PreviewReport(error="sample 3 was refused 20 times"))
    assert answers[0].status_code == 422
    assert answers[0].json()["detail"] == "sample 3 was refused 20 times"


def test_a_spec_that_cannot_be_is_refused_at_once(http: TestClient) -> None:
    assert http.post("/v1/previews", json={"count": 0}).status_code == 422
    assert http.post("/v1/previews?samples=65", json=SPEC).status_code == 422


def test_who_waits_in_vain_is_told_and_late_files_are_swept(
    settings: Settings, sqlite_store: Store
) -> None:
    app = create_app(replace(settings, preview_timeout_s=0.3), sqlite_store)
    http = TestClient(app)
    with asking(http) as answers:
        task = lease_one(http)
    assert answers[0].status_code == 503
    assert "no worker made the preview within 0.3 s" in answers[0].json()["detail"]
    for key in (PREVIEW_FILE, ".0123456789abcdef.tmp"):  # the other's worker was killed
        open_storage(task.output_url).put_bytes(key, b"late")
    assert sweep(app.state.context) == 0
    with sqlite_store.database.write() as tx:
        tx.connection.execute(update(previews).values(expires_at=previews.c.expires_at - 61))
    assert sweep(app.state.context) == 1
    assert left(settings) == []
    assert leased(http) == []


def test_a_preview_that_is_there_when_the_service_stops_is_answered(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = http.app.state.context.stopping
    looked = PreviewVerbs.get

    def made_meanwhile(held: PreviewVerbs, token: str) -> PreviewRow | None:
        seen = looked(held, token)
        if not stopping.is_set():
            task = lease_one(http)
            file = open_storage(task.output_url).put_bytes(PREVIEW_FILE, b"a tar")
            report(http, task, PreviewReport(file=file))
            stopping.set()
        return seen

    monkeypatch.setattr(PreviewVerbs, "get", made_meanwhile)
    assert http.post("/v1/previews", json=SPEC).content == b"a tar"


def test_a_preview_whose_store_is_away_holds_up_no_other_and_a_refused_one_is_forgotten(
    settings: Settings, sqlite_store: Store
) -> None:
    kept = settings.output_prefixes[0]
    for name, prefix in (("a", f"{kept}-away"), ("b", "file:///given/up"), ("c", kept)):
        new = NewPreview(name, "builtin", "{}", 1, f"{prefix}/.previews/{name}")
        sqlite_store.previews.ask(new, patience_s=-61, most=9)

    def opened(url: str) -> Storage:
        if url.endswith("-away"):
            raise StorageUnavailable("the store is away")
        return storage_under(settings.output_prefixes)(url)

    context = create_app(settings, sqlite_store, opened).state.context
    assert sweep(context) == 2
    assert [row.token for row in sqlite_store.previews.left()] == ["a"]


def test_more_previews_than_may_be_are_refused(http: TestClient) -> None:
    with asking(http), asking(http):
        first, second = lease_one(http), lease_one(http)
        refused = http.post("/v1/previews", json=SPEC)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        for task in (first, second):
            report(http, task, PreviewReport(error="no"))


@pytest.mark.parametrize(
    ("count", "num_samples", "expected"), [(40, 7, 7), (40, 64, 10), (3, 9, 2)]
)
def test_a_previews_samples_are_the_first_of_the_job(
    count: int, num_samples: int, expected: int
) -> None:
    spec = JobSpec.model_validate(SPEC | {"count": count})
    plan = plan_of(spec, num_samples)
    whole = driver.plans(spec)[0]
    assert list(plan.sample_indices()) == list(whole.sample_indices())[:expected]
    assert (plan.split, plan.number) == (whole.split, 0)
