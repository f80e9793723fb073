"""The manifest: made of committed rows alone, written last, and again after any crash."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from service import manifests, planning
from service.app import create_app
from service.claims import CLAIM_S
from service.loops import Committer
from service.manifests import ManifestError
from service.named_shards import NamedShards
from service.settings import Settings
from service.store import Store
from service.store.claim_verbs import awaits_manifest
from service.store.rows import JobRow
from service.tables import commits
from synthforge.jobs import JobSpec
from synthforge.leases import SummaryReport
from synthforge.shards import Manifest, ShardRecord, StoredFile
from synthforge.storage import Storage, StorageUnavailable, open_storage
from tests.service import driver
from tests.service.driver import TestClient

SPEC = JobSpec.model_validate(
    {"count": 50, "output": {"samples_per_shard": 8, "splits": {"train": 0.8, "val": 0.2}}}
)
PLANS = [
    planning.shard_plan(SPEC, *planning.nth_shard(SPEC, position))
    for position in range(planning.total_shards(SPEC))
]
RECORDS = [driver.shard_report(plan).record.model_dump_json() for plan in PLANS]
FINGERPRINTS = [
    (
        driver.FINGERPRINT.id,
        driver.FINGERPRINT.model_dump_json(),
        driver.GENERATOR.model_dump_json(),
    )
]
FILES = SummaryReport(
    files=tuple(
        StoredFile(name=name, num_bytes=1, sha256="0" * 64)
        for name in ("topology.npz", "README.md")
    )
).model_dump_json(include={"files"})


def built(records: list[str] = RECORDS) -> Manifest:
    file = io.BytesIO()
    written = manifests.write_manifest(file, SPEC, records, FINGERPRINTS, FILES)
    manifest = Manifest.model_validate_json(file.getvalue())
    assert manifest.to_json() == file.getvalue()
    assert manifest.digest == written.digest
    assert hashlib.sha256(file.getvalue()).hexdigest() == written.sha256
    return manifest


def test_a_manifest_holds_every_plan_once_in_order() -> None:
    manifest = built()
    assert [(shard.split, shard.number) for shard in manifest.shards] == [
        (plan.split, plan.number) for plan in PLANS
    ]
    assert manifest.splits == {"train": 40, "val": 10}
    assert [file.name for file in manifest.files] == ["README.md", "topology.npz"]
    assert manifest.generator.fingerprints == {driver.FINGERPRINT.id: driver.FINGERPRINT}
    assert Manifest.model_validate_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (RECORDS[:-1], "shard val-000001 has no record"),
        (RECORDS[1:], r"train-000001-\w+.tar stands where the plan has \('train', 0\)"),
        ([*RECORDS, RECORDS[-1]], "stands where the plan has None"),
        ([RECORDS[0], RECORDS[0], *RECORDS[2:]], r"where the plan has \('train', 1\)"),
    ],
)
def test_records_that_are_not_the_plan_make_no_manifest(records: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        built(records)


def test_records_of_fewer_samples_make_no_manifest() -> None:
    record = json.loads(RECORDS[0])
    record["num_samples"] -= 1
    with pytest.raises(ManifestError, match="differ from what the shards hold"):
        built([json.dumps(record), *RECORDS[1:]])


def test_names_are_held_exactly_and_what_no_listing_showed_is_known() -> None:
    records = [ShardRecord.model_validate_json(text) for text in RECORDS]
    named = NamedShards()
    for record in records:
        named.add(record)
    assert all(record.name in named for record in records)
    first = records[0].name
    for other in (
        first.replace("train", "val"),
        first.replace("000000", "000001"),
        first.replace("000000", "999999"),
        first.replace(".tar", ".parquet"),
        first.replace("shards/", "parts/"),
        first[:-5] + ("0" if first[-5] != "0" else "1") + ".tar",
        "shards/notes",
    ):
        assert other not in named, other
    for record in records[1:]:
        named.see(record.name, record.num_bytes)
    named.see(records[1].name, 1)
    assert list(named.unseen()) == [(record.name, record.num_bytes) for record in records[:2]]


def test_what_fingerprints_tell_is_joined_and_nothing_lost() -> None:
    first = driver.GENERATOR.model_copy(update={"versions": {"head": "1", "torch": "2"}})
    other = driver.GENERATOR.model_copy(update={"versions": {"head": "2"}, "licences": {}})
    rows = [
        (fingerprint.id, fingerprint.model_dump_json(), info.model_dump_json())
        for fingerprint, info in ((driver.FINGERPRINT, first), (driver.OTHER_FINGERPRINT, other))
    ]
    joined = manifests.merge_generators(rows)
    assert joined.versions == {
        "head": "1",
        "torch": "2",
        f"head@{driver.OTHER_FINGERPRINT.id}": "2",
    }
    assert joined.licences == driver.GENERATOR.licences
    assert set(joined.fingerprints) == {driver.FINGERPRINT.id, driver.OTHER_FINGERPRINT.id}


def test_two_kinds_of_generator_make_no_manifest() -> None:
    other = driver.GENERATOR.model_copy(update={"kind": "next3d"})
    rows = [*FINGERPRINTS, ("f" * 16, FINGERPRINTS[0][1], other.model_dump_json())]
    with pytest.raises(ManifestError, match="2 kinds of generator"):
        manifests.merge_generators(rows)


@pytest.fixture
def finalizing(settings: Settings, sqlite_store: Store) -> JobRow:
    """A job whose shards and summary all lie in the store."""
    http = TestClient(create_app(settings, sqlite_store))
    job_id = driver.post_json(http, "/v1/jobs", SPEC.canonical_json()).json()["id"]
    driver.work_until_empty(http)
    return sqlite_store.jobs.get(job_id)


class CrashingStorage:
    """A real store that is gone after so many puts."""

    def __init__(self, storage: Storage, puts: int) -> None:
        self._storage = storage
        self._puts = puts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def put_file(self, path: Path, key: str, sha256: str) -> StoredFile:
        if self._puts == 0:
            raise StorageUnavailable(f"{key}: the store is gone")
        self._puts -= 1
        return self._storage.put_file(path, key, sha256)


@pytest.mark.parametrize("puts", [0, 1])
def test_a_crash_on_the_way_is_mended_by_doing_it_again(
    finalizing: JobRow, sqlite_store: Store, puts: int
) -> None:
    def crashing(url: str) -> Any:
        return CrashingStorage(open_storage(url), puts)

    with pytest.raises(StorageUnavailable):
        manifests.commit(sqlite_store, crashing, finalizing)
    storage = open_storage(finalizing.output_url)
    assert storage.head("manifest.json") is None  # the dataset does not exist yet
    assert sqlite_store.jobs.get(finalizing.id).state == "finalizing"
    assert manifests.commit(sqlite_store, open_storage, finalizing)
    assert storage.head("manifest.json")


def test_what_no_manifest_names_is_swept(finalizing: JobRow, sqlite_store: Store) -> None:
    storage = open_storage(finalizing.output_url)
    late = (
        "parts/train-000000-0123456789ab.parquet",
        "shards/train-000000-0123456789ab.tar",
        ".0123456789abcdef.tmp",  # its writer was killed
        "manifests/.0123456789abcdef.tmp",
    )
    for key in (*late, "notes.txt", ".notes.tmp"):
        storage.put_bytes(key, b"late")
    assert manifests.commit(sqlite_store, open_storage, finalizing)
    manifest = Manifest.model_validate_json(storage.get_bytes("manifest.json"))
    left = {found.key for found in storage.list_objects()}
    assert not left & set(late)
    assert {shard.name for shard in manifest.shards} <= left
    assert {"notes.txt", ".notes.tmp"} < left  # no names of ours


def test_a_replica_goes_on_where_another_died_and_writes_the_same_bytes(
    finalizing: JobRow, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(finalizing.output_url)
    with monkeypatch.context() as patched:
        patched.setattr(manifests, "sweep", _gone)
        with pytest.raises(StorageUnavailable):
            manifests.commit(sqlite_store, open_storage, finalizing)
    first = storage.get_bytes("manifest.json")
    storage.delete("manifest.json")
    assert sqlite_store.claims.take(finalizing.num, awaits_manifest, "dead", 0)  # it lapsed at once
    assert manifests.commit(sqlite_store, open_storage, finalizing)
    assert storage.get_bytes("manifest.json") == first


def _gone(*_arguments: object, **_options: object) -> None:
    raise StorageUnavailable("the store is gone")


def test_a_replica_that_comes_late_gives_no_deleted_dataset_its_manifest_back(
    finalizing: JobRow, sqlite_store: Store
) -> None:
    assert manifests.commit(sqlite_store, open_storage, finalizing)
    storage = open_storage(finalizing.output_url)
    storage.delete("manifest.json")
    assert not manifests.commit(sqlite_store, open_storage, finalizing)
    assert storage.head("manifest.json") is None


class PausedStorage(CrashingStorage):
    """A real store; before each manifest is put, something else happens."""

    def __init__(self, storage: Storage, happens: Callable[[str], object]) -> None:
        super().__init__(storage, 9)
        self._happens = happens

    def put_file(self, path: Path, key: str, sha256: str) -> StoredFile:
        self._happens(key)
        return super().put_file(path, key, sha256)


def test_one_replica_commits_a_job_at_a_time(finalizing: JobRow, sqlite_store: Store) -> None:
    ended: list[bool] = []

    def paused(url: str) -> Any:
        def other_tries(_key: str) -> None:
            ended.append(manifests.commit(sqlite_store, open_storage, finalizing))

        return PausedStorage(open_storage(url), other_tries)

    assert manifests.commit(sqlite_store, paused, finalizing)
    assert ended == [False, False]


def test_a_replica_whose_claim_another_has_by_now_writes_no_manifest(
    finalizing: JobRow, sqlite_store: Store
) -> None:
    def paused(url: str) -> Any:
        def other_claims(_key: str) -> None:
            with sqlite_store.database.write() as tx:
                tx.connection.execute(update(commits).values(holder="another"))

        return PausedStorage(open_storage(url), other_claims)

    assert not manifests.commit(sqlite_store, paused, finalizing)
    storage = open_storage(finalizing.output_url)
    assert storage.head("manifest.json") is None
    assert sqlite_store.jobs.get(finalizing.id).state == "finalizing"


def test_a_claim_is_one_replicas_until_it_lapses_or_is_given_back(
    finalizing: JobRow, sqlite_store: Store
) -> None:
    num, held = finalizing.num, sqlite_store.claims
    assert held.take(num, awaits_manifest, "a", 60)
    assert held.take(num, awaits_manifest, "b", 60) is None
    assert held.keep(num, awaits_manifest, "a", 60)
    assert not held.keep(num, awaits_manifest, "b", 60)
    held.release(num, "b")
    assert held.take(num, awaits_manifest, "b", 60) is None
    held.release(num, "a")
    assert held.take(num, awaits_manifest, "b", 60)
    assert sqlite_store.datasets.fail(num, "no")
    assert not held.keep(num, awaits_manifest, "b", 60)  # nothing to commit any more


def test_a_sweep_spares_what_is_new_and_what_an_extension_made(
    finalizing: JobRow, sqlite_store: Store
) -> None:
    storage = open_storage(finalizing.output_url)
    kept = {
        "new": "shards/train-000000-0123456789ab.tar",
        "child's": "shards/train-000099-0123456789ab.tar",
        "child's part": "parts/train-000099-0123456789ab.parquet",
    }
    for key in kept.values():
        storage.put_bytes(key, b"x")
    later = time.time() + CLAIM_S
    os.utime(Path(finalizing.output_url.removeprefix("file://")) / kept["new"], (later, later))
    assert manifests.commit(sqlite_store, open_storage, finalizing)
    assert all(storage.head(key) for key in kept.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [("delete", "is not in the store"), ("cut", "has 1 bytes there")],
)
def test_no_manifest_names_an_object_that_is_not_there(
    finalizing: JobRow, sqlite_store: Store, change: str, reason: str
) -> None:
    storage = open_storage(finalizing.output_url)
    found = next(iter(storage.list_objects("shards")))
    storage.delete(found.key)
    if change == "cut":
        storage.put_bytes(found.key, b"x")
    assert manifests.commit(sqlite_store, open_storage, finalizing)
    job = sqlite_store.jobs.get(finalizing.id)
    assert job.state == "failed"
    assert found.key in (job.reason or "")
    assert reason in (job.reason or "")
    assert storage.head("manifest.json") is None


def test_a_listing_that_comes_late_is_not_believed(
    finalizing: JobRow, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateListing(CrashingStorage):
        def list_objects(self, _folder: str = "") -> Iterator[Any]:
            return iter(())

    def late(url: str) -> Any:
        return LateListing(open_storage(url), 9)

    assert manifests.commit(sqlite_store, late, finalizing)
    assert sqlite_store.jobs.get(finalizing.id).state == "succeeded"


def test_the_committer_waits_for_a_store_that_is_gone(
    finalizing: JobRow, sqlite_store: Store, settings: Settings
) -> None:
    calls: list[str] = []

    def gone(url: str) -> Any:
        calls.append(url)
        raise StorageUnavailable("connection refused")

    committer = Committer(create_app(settings, sqlite_store, gone).state.context)
    assert committer.step() == 0
    assert committer.step() == 0  # it does not ask again at once
    assert calls == [finalizing.output_url]
    assert sqlite_store.jobs.get(finalizing.id).state == "finalizing"


def test_a_manifest_that_cannot_be_read_is_503(
    finalizing: JobRow, sqlite_store: Store, settings: Settings
) -> None:
    manifests.commit(sqlite_store, open_storage, finalizing)
    http = TestClient(create_app(settings, sqlite_store))
    digest = sqlite_store.jobs.get(finalizing.id).digest
    path = Path(finalizing.output_url.removeprefix("file://")) / "manifests" / f"{digest}.json"
    path.unlink()
    assert http.get(f"/v1/jobs/{finalizing.id}/manifest").status_code == 503
