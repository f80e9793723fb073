"""`synthforge gc`: the rules, each against what it must not touch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete
from typer.testing import CliRunner

from service import clearing
from service.loops import Clearer
from service.retention import refuse
from service.settings import Settings
from service.store import Store
from service.tables import jobs
from synthforge.cli import app
from synthforge.commands.inputs import CommandError
from synthforge.job_status import JobState
from synthforge.storage import Storage, StoredObject, open_storage
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import SPEC, extended, finished, posted

DAY_S = 86_400.0


def collect(http: TestClient) -> list[str]:
    """Let everything go that the rules name; return what it was."""
    context = http.app.state.context
    gone = []
    for found in refuse(context.store, context.open_storage, context.settings, pytest.fail):
        gone.append(found.what)
        found.let_go()
    return gone


def age(http: TestClient, days: float) -> None:
    driver.age(http.app.state.context.store, days * DAY_S)


def test_nothing_of_a_young_service_goes(http: TestClient) -> None:
    finished(http, posted(http, "/v1/jobs", **SPEC))
    posted(http, f"/v1/jobs/{posted(http, '/v1/jobs', **SPEC).id}/cancel", 200)
    posted(http, "/v1/jobs", **SPEC)
    assert collect(http) == []


def test_old_events_go_and_the_job_stays(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    live = posted(http, "/v1/jobs", **SPEC)
    age(http, 31)
    assert collect(http) == [f"events and log of job {job.id}"]
    assert http.get(f"/v1/jobs/{job.id}/events").text == ""
    assert http.get(f"/v1/jobs/{job.id}").json()["state"] == "succeeded"
    assert len(http.app.state.context.store.jobs.events(2, 0, 9)) == 1, live.id
    assert collect(http) == []


def test_what_a_cancelled_job_left_goes_after_a_week_and_a_retry_begins_anew(
    http: TestClient,
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    for lease in driver.lease(http):
        driver.report(http, lease)
    posted(http, f"/v1/jobs/{job.id}/cancel", 200)
    age(http, 8)
    assert collect(http) == [f"what job {job.id} (cancelled) left under {job.output_url}"]
    assert list(open_storage(job.output_url).list_objects()) == []
    retried = posted(http, f"/v1/jobs/{job.id}/retry", 200)
    assert (retried.state, retried.shards.done) == (JobState.QUEUED, 0)
    finished(http, job)


def test_late_uploads_go_and_what_the_manifest_names_stays(
    http: TestClient, settings: Settings
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    manifest = finished(http, job)
    storage = open_storage(job.output_url)
    late = ("shards/train-000000-0123456789ab.tar", "parts/train-000000-0123456789ab.json")
    young, foreign = "shards/val-000000-0123456789ab.tar", "shards/00000.tar"
    for key in (*late, young, foreign):
        storage.put_bytes(key, b"late")
    folder = Path(job.output_url.removeprefix("file://"))
    old = time.time() - 2 * DAY_S
    for path in folder.rglob("*"):
        if path.name not in young:
            os.utime(path, (old, old))
    age(http, 2)
    gone = collect(http)
    assert gone == [
        f"{job.output_url}/{late[1]} (4 bytes)",
        f"{job.output_url}/{late[0]} (4 bytes)",
    ]
    kept = {found.key for found in storage.list_objects()}
    assert {shard.name for shard in manifest.shards} < kept
    assert {young, foreign} < kept  # the one may be on its way, the other is nobody's of ours


WRITER_THAT_DIES = """
import os, signal, sys
from synthforge.storage import open_storage

def die(_num_bytes):
    os.kill(os.getpid(), signal.SIGKILL)

open_storage(sys.argv[1], on_bytes=die).put_bytes("report.json", b"half of it")
"""


def test_what_a_killed_writer_left_at_a_datasets_top_goes_once_no_writer_can_live(
    http: TestClient,
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    killed = subprocess.run([sys.executable, "-c", WRITER_THAT_DIES, job.output_url], check=False)
    assert killed.returncode == -signal.SIGKILL
    (half,) = Path(job.output_url.removeprefix("file://")).glob(".*.tmp")
    assert half.read_bytes() == b"half of it"
    age(http, 2)
    assert collect(http) == []  # for all that gc knows it is being written
    old = time.time() - 2 * DAY_S
    os.utime(half, (old, old))
    assert collect(http) == [f"{job.output_url}/{half.name} (10 bytes)"]
    assert not half.exists()


@pytest.mark.parametrize("was_finished", [False, True])
def test_uploads_that_came_after_a_job_was_deleted_go_unless_a_job_is_there_by_now(
    http: TestClient, was_finished: bool
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    late = driver.lease(http)[0]
    driver.report(http, late)
    if was_finished:
        finished(http, job)
        http.delete(f"/v1/jobs/{job.id}/dataset")
    else:
        posted(http, f"/v1/jobs/{job.id}/cancel?data=delete", 200)
    assert Clearer(http.app.state.context).step() == 1
    storage = open_storage(job.output_url)
    driver.carry_out(late, storage)
    storage.put_bytes("README.md", b"somebody's, since")
    _make_old(Path(job.output_url.removeprefix("file://")))
    assert collect(http) == []  # deleted a moment ago
    age(http, 2)
    context = http.app.state.context
    (found,) = refuse(context.store, context.open_storage, context.settings, pytest.fail)
    other = posted(http, "/v1/jobs", **SPEC | {"output": {"url": job.output_url}})
    found.let_go()
    assert found.what.startswith(f"{job.output_url}/shards/")
    assert storage.head(found.what.split()[0].removeprefix(f"{job.output_url}/"))
    posted(http, f"/v1/jobs/{other.id}/cancel", 200)
    assert collect(http) == [found.what]
    assert [left.key for left in storage.list_objects()] == ["README.md"]
    assert collect(http) == []


def test_a_dataset_with_nothing_beside_it_is_read_once_until_a_job_ends_there(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    look = clearing.unnamed_objects

    def noted(storage: Storage) -> Iterator[StoredObject]:
        read.append(storage.url)
        return look(storage)

    monkeypatch.setattr(clearing, "unnamed_objects", noted)
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    storage = open_storage(job.output_url)
    storage.put_bytes("shards/train-000009-0123456789ab.tar", b"young")
    folder = Path(job.output_url.removeprefix("file://"))
    age(http, 2)
    for _ in range(2):  # what is there may be on its way, and is looked at again
        assert collect(http) == []
    _make_old(folder)
    assert len(collect(http)) == 1
    assert collect(http) == []
    assert len(read) == 4
    assert collect(http) == []
    assert len(read) == 4

    child = extended(http, job, 60)
    late = driver.lease(http)[0]
    driver.report(http, late)
    posted(http, f"/v1/jobs/{child.id}/cancel?data=delete", 200)
    assert Clearer(http.app.state.context).step() == 1
    age(http, 0.5)
    assert collect(http) == []  # its upload may be under way
    driver.carry_out(late, storage)
    _make_old(folder)
    age(http, 2)
    (gone,) = collect(http)
    assert gone.startswith(f"{job.output_url}/shards/")
    assert collect(http) == []
    num_read = len(read)
    assert collect(http) == []
    assert len(read) == num_read


def _make_old(folder: Path) -> None:
    old = time.time() - 2 * DAY_S
    for path in folder.rglob("*"):
        os.utime(path, (old, old))


def test_a_prefix_where_an_extension_works_is_left_alone(http: TestClient) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    finished(http, job)
    extended(http, job, 40)
    open_storage(job.output_url).put_bytes("shards/x.tar", b"x")
    age(http, 2)
    assert http.app.state.context.store.retention.settled_datasets(DAY_S) == []


def test_jobs_without_data_are_forgotten_and_datasets_stay(http: TestClient) -> None:
    gone = posted(http, "/v1/jobs", **SPEC)
    posted(http, f"/v1/jobs/{gone.id}/cancel", 200)
    job = posted(http, "/v1/jobs", **SPEC)
    manifest = finished(http, job)
    age(http, 181)
    assert collect(http)[-2:] == [f"shard rows of job {job.id}", f"job {gone.id}"]
    assert http.get(f"/v1/jobs/{gone.id}").status_code == 404
    assert http.get(f"/v1/jobs/{job.id}/manifest").content == manifest.to_json()
    assert finished(http, extended(http, job, 40)).parent == manifest.digest
    assert collect(http) == []


def test_a_job_that_was_retried_since_it_was_found_keeps_all_it_has(http: TestClient) -> None:
    context = http.app.state.context
    empty, begun = (posted(http, "/v1/jobs", **SPEC) for _ in range(2))
    posted(http, f"/v1/jobs/{empty.id}/cancel", 200)
    for lease in driver.lease(http):
        driver.report(http, lease)
    posted(http, f"/v1/jobs/{begun.id}/cancel", 200)
    age(http, 200)
    found = list(refuse(context.store, context.open_storage, context.settings, pytest.fail))
    assert [each.what.split()[0] for each in found] == ["events", "events", "what", "job"]
    for job in (empty, begun):
        posted(http, f"/v1/jobs/{job.id}/retry", 200)
    before = [http.get(f"/v1/jobs/{job.id}").json() for job in (empty, begun)]
    left = [found.key for found in open_storage(begun.output_url).list_objects()]
    for each in found:
        each.let_go()
    assert [http.get(f"/v1/jobs/{job.id}").json() for job in (empty, begun)] == before
    assert [found.key for found in open_storage(begun.output_url).list_objects()] == left != []
    assert len(context.store.jobs.events(1, 0, 9)) == 3  # queued, cancelled, queued


def test_a_job_that_ran_and_ended_again_since_it_was_found_is_not_forgotten(
    http: TestClient,
) -> None:
    context = http.app.state.context
    job = posted(http, "/v1/jobs", **SPEC)
    posted(http, f"/v1/jobs/{job.id}/cancel", 200)
    age(http, 200)
    found = list(refuse(context.store, context.open_storage, context.settings, pytest.fail))
    posted(http, f"/v1/jobs/{job.id}/retry", 200)
    driver.report(http, driver.lease(http)[0])
    posted(http, f"/v1/jobs/{job.id}/cancel", 200)
    for each in found:
        each.let_go()
    assert http.get(f"/v1/jobs/{job.id}").json()["shards"]["done"] == 1


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_prefix_that_is_another_jobs_since_it_was_found_is_left_alone(
    http: TestClient, is_forgotten: bool
) -> None:
    context = http.app.state.context
    job = posted(http, "/v1/jobs", **SPEC)
    driver.report(http, driver.lease(http)[0])
    posted(http, f"/v1/jobs/{job.id}/cancel", 200)
    age(http, 8)
    (found,) = refuse(context.store, context.open_storage, context.settings, pytest.fail)
    posted(http, "/v1/jobs", **SPEC | {"output": {"url": job.output_url}})
    if is_forgotten:
        with context.store.database.write() as tx:
            tx.connection.execute(delete(jobs).where(jobs.c.id == job.id))
    left = [found.key for found in open_storage(job.output_url).list_objects()]
    found.let_go()
    assert [found.key for found in open_storage(job.output_url).list_objects()] == left != []


def test_what_the_store_refuses_is_told_and_holds_up_nothing_else(
    http: TestClient, settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = posted(http, "/v1/jobs", **SPEC)
    driver.report(http, driver.lease(http)[0])
    job, gone, deleted = (posted(http, "/v1/jobs", **SPEC) for _ in range(3))
    for stopped in (gone, begun):
        posted(http, f"/v1/jobs/{stopped.id}/cancel", 200)
    for done in (job, deleted):
        finished(http, done)
    http.delete(f"/v1/jobs/{deleted.id}/dataset")
    Clearer(http.app.state.context).step()
    age(http, 200)
    monkeypatch.setenv("SYNTHFORGE_DATABASE_URL", str(sqlite_store.database.engine.url))
    monkeypatch.setenv("SYNTHFORGE_OUTPUT_PREFIXES", f"{settings.output_prefixes[0]}-of-now")
    told = CliRunner().invoke(app, ["gc"])
    assert isinstance(told.exception, CommandError)
    refused = "does not lie under"
    assert f"dataset of job {job.id}: {job.output_url} {refused}" in told.stderr
    assert (
        f"what may have come late under {deleted.output_url}: {deleted.output_url} {refused}"
        in (told.stderr)
    )
    assert f"under {begun.output_url} stays: {begun.output_url} {refused}" in told.stderr
    assert http.get(f"/v1/jobs/{gone.id}").status_code == 404


def test_a_dry_run_lets_nothing_go(
    http: TestClient, settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    posted(http, f"/v1/jobs/{job.id}/cancel", 200)
    age(http, 200)
    monkeypatch.setenv("SYNTHFORGE_DATABASE_URL", str(sqlite_store.database.engine.url))
    monkeypatch.setenv("SYNTHFORGE_OUTPUT_PREFIXES", ",".join(settings.output_prefixes))
    for _ in range(2):
        told = CliRunner().invoke(app, ["gc", "--dry-run"])
        assert told.exit_code == 0, told.output
        assert told.stdout.splitlines() == [f"events and log of job {job.id}", f"job {job.id}"]
    assert CliRunner().invoke(app, ["gc"]).exit_code == 0
    assert http.get(f"/v1/jobs/{job.id}").status_code == 404
