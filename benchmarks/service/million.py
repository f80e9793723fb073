"""A job of a million shards is finished: its manifest is written in memory that does not grow.

The shards' rows are written straight into the database, and the store is one that lists and sizes
a million objects without holding them: what is measured is the service's own part.
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, update

from service import manifests
from service.database import Database
from service.planning import total_shards
from service.store import Store
from service.store.job_verbs import NewJob
from service.tables import fingerprints, jobs, shards
from synthforge.job_status import JobState
from synthforge.jobs import JobSpec
from synthforge.leases import SummaryReport
from synthforge.shards import (
    SHARD_FOLDER,
    Fingerprint,
    GeneratorInfo,
    IndexRange,
    ShardRecord,
    StoredFile,
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
        if folder == SHARD_FOLDER:
            for number in range(NUM_SHARDS):
                yield StoredObject(shard_key("train", number, _sha256(number)), SHARD_BYTES, 0.0)


def finalize(folder: Path) -> tuple[float, float]:
    """Finish a job of a million shards.

    Returns:
        Seconds that it took, and by how much the process grew on the way, MiB.
    """
    database = Database(f"sqlite:///{folder}/million.db")
    database.migrate()
    store = Store(database)
    url = f"file://{folder}/million"
    job_num = _finished_job(store, url)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    (job,) = store.datasets.awaiting_manifest()
    assert manifests.commit(store, ManyObjects, job)
    took_s = time.perf_counter() - start
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ended = store.jobs.get("job-million")
    assert (ended.state, ended.num) == (JobState.SUCCEEDED, job_num), ended.reason
    database.close()
    return took_s, grown_kib / 1024


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


def _row(job_num: int, number: int) -> dict[str, object]:
    sha256 = _sha256(number)
    record = ShardRecord(
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
        "record": record.model_dump_json(),
    }


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()
