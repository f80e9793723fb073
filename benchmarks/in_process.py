"""Whole datasets made in plain processes: no service, no Ray, the very bytes that a pool writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from service.planning import nth_shard, num_split_samples, shard_plan, total_shards
from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.leases import Lease, ShardReport
from synthforge.shards import (
    MANIFEST_NAME,
    Manifest,
    ShardPlan,
    ShardRecord,
    StoredFile,
    dataset_digest,
    manifest_copy_key,
)
from synthforge.storage import open_storage
from workers.shard_worker import ShardWorker, WorkerSettings

_HIDES_GPUS = "CUDA_VISIBLE_DEVICES"


def make_dataset(spec: JobSpec, folder: Path, processes: int = 1) -> str:
    """Make a dataset in a new folder; return its URL.

    Args:
        spec: of the job.
        folder: of the dataset.
        processes: that make shards, a shard at a time; they draw on the CPU, as actors do that
            asked for no GPU. With one, all is done in this process.

    Raises:
        FileExistsError: the folder is there already.
        PlanError: the job cannot be made here.
    """
    folder.mkdir(parents=True)
    url = f"file://{folder.resolve()}"
    positions = range(total_shards(spec))
    if processes == 1:
        reports = [_make_shard(spec, url, position) for position in positions]
        files = _summarise(spec, url, [report.record for report in reports])
    else:
        with ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_hide_gpus
        ) as pool:
            made = [pool.submit(_make_shard, spec, url, position) for position in positions]
            reports = [each.result() for each in made]
            records = [report.record for report in reports]
            files = pool.submit(_summarise, spec, url, records).result()
    _write_manifest(spec, url, reports, files)
    return url


def _write_manifest(
    spec: JobSpec, url: str, reports: Sequence[ShardReport], files: tuple[StoredFile, ...]
) -> None:
    records = tuple(report.record for report in reports)
    fingerprints = {report.fingerprint.id: report.fingerprint for report in reports}
    manifest = Manifest(
        job=spec,
        generator=reports[0].generator.model_copy(update={"fingerprints": fingerprints}),
        classes={str(class_id): name for class_id, name in CLASSES.items()},
        num_samples=spec.count,
        splits={split: num_split_samples(spec, split) for split in spec.output.splits},
        files=files,
        shards=records,
        digest=dataset_digest(records),
    )
    storage = open_storage(url)
    storage.put_bytes(manifest_copy_key(manifest.digest), manifest.to_json())
    storage.put_bytes(MANIFEST_NAME, manifest.to_json())


def _make_shard(spec: JobSpec, url: str, position: int) -> ShardReport:
    """Make the n-th shard of a job and put it into the store."""
    plan = shard_plan(spec, *nth_shard(spec, position))
    lease = _lease("shard", spec, url, plan)
    worker = _worker(url)
    worker.make(lease)
    return worker.deliver(lease.token)


def _summarise(spec: JobSpec, url: str, records: Sequence[ShardRecord]) -> tuple[StoredFile, ...]:
    return _worker(url).summarise(_lease("summary", spec, url), tuple(records)).files


@lru_cache(maxsize=1)
def _worker(url: str) -> ShardWorker:
    """Return this process's worker for a dataset."""
    return ShardWorker(WorkerSettings((url,), Path(_scratch().name)))


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is gone when this process ends."""
    return tempfile.TemporaryDirectory(prefix="synthforge-")


def _hide_gpus() -> None:
    os.environ[_HIDES_GPUS] = ""


def _lease(
    kind: Literal["shard", "summary"], spec: JobSpec, url: str, plan: ShardPlan | None = None
) -> Lease:
    return Lease(
        token=kind,
        kind=kind,
        job_id="in-process",
        spec=spec,
        output_url=url,
        plan=plan,
        lease_s=60,
        heartbeat_s=10,
    )
