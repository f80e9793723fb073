"""A job of a million shards is finished, and its manifest read again, in memory that does not grow.

The shards' rows are written straight into the database, and the store is one that lists and sizes
a million objects without holding them: what is measured is the service's own part.
"""

from __future__ import annotations

import hashlib
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, update

from service import manifests
from service.bases import BaseDataset
from service.clearing import unnamed_objects
from service.database import Database
from service.links import manifest_with_links as links
from service.manifests import Parent
from service.planning import total_shards
from service.store import Store
from service.store.job_verbs import NewJob
from service.store.rows import JobRow
from service.tables import fingerprints, jobs, shards
from synthforge.job_status import JobState
from synthforge.jobs import JobSpec
from synthforge.leases import SummaryReport
from synthforge.manifest_reader import ManifestReader
from synthforge.shards import (
    SHARD_FOLDER,
    Fingerprint,
    GeneratorInfo,
    IndexRange,
    ShardRecord,
    StoredFile,
    manifest_copy_key,
    shard_key,
)
from synthforge.storage import DirectoryStorage, StoredObject, open_storage

NUM_SHARDS: Final = 10**6
ROWS_AT_ONCE: Final = 10_000
SHARD_BYTES: Final = 1000
FINGERPRINT: Final = Fingerprint(
    code="0.1.0", backend="none", device="none", libraries={}, assets={}
)
GENERATOR: Final = GeneratorInfo(kind="builtin", versions={}, assets={}, licences={})
SPEC: Final = JobSpec.model_validate(
    {"count": NUM_SHARDS, "output": {"samples_per_shard": 1, "splits": {"train": 1.0}}}
)


class ManyObjects:
    """A folder that says it holds every shard; what is put there is really put."""

    def __init__(self, url: str) -> None:
        self._folder = open_storage(url)
        assert isinstance(self._folder, DirectoryStorage)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)

    def list_objects(self, folder: str = "") -> Iterator[StoredObject]:
        """List the shards, none of them a file."""
        if folder in {"", SHARD_FOLDER}:
            for number in range(NUM_SHARDS):
                yield StoredObject(shard_key("train", number, _sha256(number)), SHARD_BYTES, 0.0)

    def presign(self, key: str, expires_s: int) -> str:
        """Return a link that is signed by nobody: signing takes boto3 0.3 ms."""
        return f"https://store/{key}?X-Amz-Expires={expires_s}"


@dataclass(frozen=True)
class Step:
    """Something that was done with a million shards: what, in seconds, and growth in MiB."""

    what: str
    took_s: float
    grown_mib: float


def finish_and_read(folder: Path) -> Iterator[Step]:
    """Finish a job of a million shards, then do what reads its manifest.

    Growth is of the process's peak: of later steps what they took beyond all before.
    """
    database = Database(f"sqlite:///{folder}/million.db")
    database.migrate()
    store = Store(database)
    url = f"file://{folder}/million"
    job_num = _finished_job(store, url)
    (job,) = store.datasets.awaiting_manifest()
    yield _step("a manifest is written", lambda: manifests.commit(store, ManyObjects, job))
    ended = store.jobs.get("job-million")
    assert (ended.state, ended.num) == (JobState.SUCCEEDED, job_num), ended.reason
    yield _step("  is given with links", lambda: _drain(links(ManyObjects, ended, 60)))
    yield _step("  is extended", lambda: _extend(ended))
    yield _step("  is compared by gc", lambda: _drain(unnamed_objects(ManyObjects(url))))
    database.close()


def _step(what: str, work: Callable[[], object]) -> Step:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    work()
    took_s = time.perf_counter() - start
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Step(what, took_s, grown_kib / 1024)


def _drain(pieces: Iterable[object]) -> None:
    for _ in pieces:
        pass


def _extend(job: JobRow) -> None:
    """Write the manifest of an extension; no split has a number for another shard."""
    storage = ManyObjects(job.output_url)
    assert job.digest is not None
    base = BaseDataset(
        job_num=job.num, digest=job.digest, count=NUM_SHARDS, shards={"train": NUM_SHARDS}
    )
    parent = Parent(base, ManifestReader(storage.stream(manifest_copy_key(job.digest))))
    told = (FINGERPRINT.id, FINGERPRINT.model_dump_json(), GENERATOR.model_dump_json())
    with tempfile.TemporaryFile() as file:
        manifests.write_manifest(file, SPEC, [], [told], job.files or "", parent)


def _finished_job(store: Store, url: str) -> int:
    """Put a job into the database all of whose shards, and whose summary, were reported."""
    new = NewJob(
        id="job-million",
        spec=SPEC.canonical_json().decode(),
        generator="builtin",
        output_url=url,
        num_samples=NUM_SHARDS,
        num_shards=total_shards(SPEC),
    )
    job, _ = store.jobs.submit(new, 1.0)
    readme = open_storage(url).put_bytes("README.md", b"x")
    files = SummaryReport(files=(StoredFile.model_validate(readme.model_dump()),))
    for first in range(0, NUM_SHARDS, ROWS_AT_ONCE):
        with store.database.write() as tx:
            rows = [_row(job.num, number) for number in range(first, first + ROWS_AT_ONCE)]
            tx.connection.execute(insert(shards), rows)
    with store.database.write() as tx:
        told = {
            "fingerprint": FINGERPRINT.model_dump_json(),
            "generator": GENERATOR.model_dump_json(),
        }
        held = {"job_num": job.num, "id": FINGERPRINT.id, **told}
        tx.connection.execute(insert(fingerprints), held)
        done = {"state": "finalizing", "files": files.model_dump_json(include={"files"})}
        tx.connection.execute(update(jobs).where(jobs.c.num == job.num).values(**done))
    return job.num


def _record(number: int) -> ShardRecord:
    sha256 = _sha256(number)
    return ShardRecord(
        name=shard_key("train", number, sha256),
        split="train",
        number=number,
        num_samples=1,
        num_bytes=SHARD_BYTES,
        sha256=sha256,
        indices=(IndexRange(start=number, stop=number + 1),),
        rejected={},
        fingerprint=FINGERPRINT.id,
    )


def _row(job_num: int, number: int) -> dict[str, object]:
    return {
        "job_num": job_num,
        "position": number,
        "kind": "shard",
        "state": "done",
        "token": f"t{number}",
        "pool": "p",
        "fingerprint": FINGERPRINT.id,
        "executions": 1,
        "deaths": 0,
        "deaths_at_samples": 0,
        "num_samples": 1,
        "num_rejected": 0,
        "leased_at": 0.0,
        "progress_at": 0.0,
        "lapses_at": 0.0,
        "open_at": 0.0,
        "record": _record(number).model_dump_json(),
    }


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()
