"""A scratch dataset with every annotation, made in process: no service, no pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthforge.conventions import CLASSES
from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from synthforge.leases import Lease
from synthforge.shards import (
    MANIFEST_NAME,
    IndexRange,
    Manifest,
    ShardPlan,
    dataset_digest,
    manifest_copy_key,
)
from synthforge.storage import open_storage
from workers.generators.builtin.head import load_head
from workers.shard_worker import ShardWorker, WorkerSettings

SPLIT = "train"


def scratch_spec(num_samples: int, size_px: int, **changes: Any) -> JobSpec:
    """Return a job that moves all that the default leaves still."""
    document = {
        "count": num_samples,
        "image": {"size": size_px, "format": "jpg"},
        "pose": {"yaw": [-75, 75], "pitch": [-30, 30], "roll": [-30, 30]},
        "neck": {"yaw": [-15, 15], "pitch": [-10, 10], "roll": [-10, 10]},
        "camera": {"fov": [12, 27], "distance": [0.9, 1.4]},
        "annotations": list(ANNOTATIONS),
    }
    return parse_job_spec(json.dumps(document | changes))


def covered_spec(num_samples: int, size_px: int, **changes: Any) -> JobSpec:
    """Return such a job in which all that hides a face is worn: lids are between open and shut."""
    half_shut = {"type": "uniform", "low": 0.4, "high": 2.6}
    lids = (load_head().expression_names.index(f"blink_{side}") for side in ("left", "right"))
    worn = {
        "hair_length": {"type": "uniform", "low": 0.7, "high": 1},
        "beard": {"type": "uniform", "low": 0.15, "high": 1},
        "moustache": {"type": "uniform", "low": 0.2, "high": 1},
        "glasses": 1.0,
        "lens_tint": {"type": "choice", "values": [0, 1], "weights": [3, 1]},
        "headwear": {"type": "choice", "values": [0.5, 1], "weights": [1, 1]},
    }
    expression = {"coefficients": {"per_index": {str(lid): half_shut for lid in lids}}}
    return scratch_spec(num_samples, size_px, appearance=worn, expression=expression, **changes)


def make_dataset(spec: JobSpec, folder: Path, worker: ShardWorker | None = None) -> str:
    """Make a whole dataset of one shard in a new folder; return its URL."""
    output = folder / "dataset"
    output.mkdir(parents=True)
    url = f"file://{output.resolve()}"
    worker = worker or ShardWorker(WorkerSettings((url,), folder / "scratch"))
    plan = ShardPlan(split=SPLIT, number=0, indices=(IndexRange(start=0, stop=spec.count),))
    shard_lease, summary_lease = _lease("shard", spec, url, plan), _lease("summary", spec, url)
    worker.make(shard_lease)
    report = worker.deliver(shard_lease.token)
    files = worker.summarise(summary_lease, (report.record,)).files
    made_by = report.generator.model_copy(
        update={"fingerprints": {report.fingerprint.id: report.fingerprint}}
    )
    manifest = Manifest(
        job=spec,
        generator=made_by,
        classes={str(class_id): name for class_id, name in CLASSES.items()},
        num_samples=spec.count,
        splits={SPLIT: spec.count},
        files=files,
        shards=(report.record,),
        digest=dataset_digest((report.record,)),
    )
    storage = open_storage(url)
    storage.put_bytes(manifest_copy_key(manifest.digest), manifest.to_json())
    storage.put_bytes(MANIFEST_NAME, manifest.to_json())
    return url


def _lease(kind: Any, spec: JobSpec, url: str, plan: ShardPlan | None = None) -> Lease:
    return Lease(
        token=kind,
        kind=kind,
        job_id="scratch",
        spec=spec,
        output_url=url,
        plan=plan,
        lease_s=60,
        heartbeat_s=10,
    )
