"""Where a job may write: nothing of somebody else's is written over, swept or deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.loops import Clearer
from service.objects import storage_under
from service.settings import Settings
from service.store import Store
from synthforge.job_status import JobStatus
from synthforge.shards import is_own_key, part_key, shard_key, staged_key, tally_key
from synthforge.storage import Storage, StorageRefused, open_storage
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import SPEC, finished, posted

OWN = shard_key("train", 3, "0123456789abcdef")
FOREIGN = "shards/00003.tar"


def spec_at(url: str) -> dict[str, Any]:
    return {**SPEC, "output": {"url": url, "samples_per_shard": 10}}


def asked(http: TestClient, url: str) -> httpx.Response:
    return http.post("/v1/jobs", json=spec_at(url))


@pytest.fixture
def url(settings: Settings) -> str:
    return f"{settings.output_prefixes[0]}/faces"


@pytest.mark.parametrize(
    ("key", "is_own"),
    [
        (OWN, True),
        (part_key(OWN), True),
        (tally_key(OWN), True),
        (staged_key("README.md"), True),
        (f"manifests/{'0' * 64}.json", True),
        ("shards/.0123456789abcdef.tmp", True),
        (".0123456789abcdef.tmp", True),
        ("old/.0123456789abcdef.tmp", False),
        ("shards/", False),
        (FOREIGN, False),
        ("shards/a (1).tar", False),
        (f"old/{OWN}", False),
        (f"{OWN}.bak", False),
        ("parts/summary/notes.txt", False),
        ("manifests/mine.json", False),
        ("README.md", False),
    ],
)
def test_a_key_of_ours_is_told_by_its_name(key: str, is_own: bool) -> None:
    assert is_own_key(key) == is_own


@pytest.mark.parametrize(
    "key", [FOREIGN, OWN, "parts/a.parquet", "manifests/x.json", "README.md", "preview.jpg"]
)
def test_a_prefix_that_holds_what_is_not_ours_is_409(http: TestClient, url: str, key: str) -> None:
    open_storage(url).put_bytes(key, b"precious")
    refused = asked(http, url)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["type"] == "urn:synthforge:problem:output-taken"
    assert problem["errors"][0]["field"] == "output.url"
    assert f"{key} lies there already" in problem["detail"]


def test_what_lies_elsewhere_below_the_prefix_is_no_matter(http: TestClient, url: str) -> None:
    open_storage(url).put_bytes("notes/todo.txt", b"precious")
    assert asked(http, url).status_code == 202


def test_what_an_ended_job_left_is_no_hindrance_but_what_came_since_is(
    http: TestClient, url: str
) -> None:
    first = asked(http, url).json()
    driver.report(http, driver.lease(http)[0])
    posted(http, f"/v1/jobs/{first['id']}/cancel", 200)
    second = asked(http, url)
    assert second.status_code == 202, second.text
    posted(http, f"/v1/jobs/{second.json()['id']}/cancel", 200)
    open_storage(url).put_bytes(FOREIGN, b"precious")
    assert FOREIGN in asked(http, url).json()["detail"]


@pytest.mark.parametrize("was_finished", [False, True])
def test_an_upload_that_comes_after_its_job_was_deleted_is_no_hindrance_and_is_swept(
    http: TestClient, url: str, was_finished: bool
) -> None:
    first = posted(http, "/v1/jobs", **spec_at(url))
    late = driver.lease(http)[0]
    driver.report(http, late)
    if was_finished:
        finished(http, first)
        assert http.delete(f"/v1/jobs/{first.id}/dataset").status_code == 202
    else:
        posted(http, f"/v1/jobs/{first.id}/cancel?data=delete", 200)
    assert Clearer(http.app.state.context).step() == 1
    storage = open_storage(url)
    assert list(storage.list_objects()) == []
    driver.carry_out(late, storage)  # its pool did not hear of it
    storage.put_bytes(shard_key("train", 0, "0123456789abcdef"), b"other bytes, of another worker")
    second = asked(http, url)
    assert second.status_code == 202, second.text
    manifest = finished(http, JobStatus.model_validate_json(second.content))
    left = {found.key for found in storage.list_objects("shards")}
    assert left == {shard.name for shard in manifest.shards}


def test_sweeping_and_deleting_spare_names_that_no_job_gives(http: TestClient, url: str) -> None:
    storage = open_storage(url)
    job = posted(http, "/v1/jobs", **spec_at(url))
    foreign = (FOREIGN, "parts/a.parquet", "manifests/mine.json")
    for key in foreign:  # it came after the job was accepted
        storage.put_bytes(key, b"precious")
    finished(http, job)
    assert all(storage.head(key) == 8 for key in foreign)
    http.delete(f"/v1/jobs/{job.id}/dataset")
    assert Clearer(http.app.state.context).step() == 1
    assert {found.key for found in storage.list_objects()} == set(foreign)


def test_an_output_prefix_itself_is_no_jobs(http: TestClient, settings: Settings) -> None:
    prefix = settings.output_prefixes[1]
    refused = asked(http, f"{prefix}/")
    assert refused.status_code == 422
    assert f"a folder below, as {prefix}/faces, would do" in refused.json()["detail"]


def test_a_store_that_refuses_its_listing_is_told_at_once(
    settings: Settings, sqlite_store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(where: str) -> Storage:
        storage = storage_under(settings.output_prefixes)(where)

        def refuse(_storage: Storage, _folder: str = "") -> None:
            raise StorageRefused("the store refuses: 403 AccessDenied")

        monkeypatch.setattr(type(storage), "list_objects", refuse)
        return storage

    refused = asked(TestClient(create_app(settings, sqlite_store, refusing)), url)
    assert refused.status_code == 422
    assert "403 AccessDenied" in refused.json()["detail"]


def test_generate_takes_its_prefix_whole_and_goes_on_where_one_was_broken_off(
    tmp_path: Path, sqlite_store: Store
) -> None:
    alone = Settings(output_prefixes=(str(tmp_path / "faces"),), auth="off", whole_prefix="allowed")
    http = TestClient(create_app(alone, sqlite_store))
    storage = open_storage(alone.output_prefixes[0])
    storage.put_bytes("README.md", b"precious")
    assert "README.md lies there" in asked(http, alone.output_prefixes[0]).json()["detail"]
    storage.put_bytes(OWN, b"of a run that was broken off")
    assert asked(http, alone.output_prefixes[0]).status_code == 202
