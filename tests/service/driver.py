"""What the service's tests share: a pool that makes shards without rendering, and moved time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import httpx
from sqlalchemy import insert, update

from service import execution, planning
from service.store import Store
from service.store.rows import JobRow
from service.tables import api_keys, jobs, pools, shards
from synthforge.jobs import JobSpec
from synthforge.leases import Lease, LeaseGrant, LeaseRequest, ShardReport, SummaryReport
from synthforge.shards import (
    SUMMARY_NAMES,
    Fingerprint,
    GeneratorInfo,
    ShardPlan,
    ShardRecord,
    shard_key,
    staged_key,
)
from synthforge.storage import Storage, open_storage

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it would rather have httpx2
    warnings.simplefilter("ignore", UserWarning)
    from starlette.testclient import TestClient

__all__ = ["TestClient"]

FINGERPRINT = Fingerprint(
    code="0.1.0", backend="numba", device="cpu", libraries={"torch": "2.13.0"}, assets={}
)
OTHER_FINGERPRINT = FINGERPRINT.model_copy(update={"device": "H100"})
GENERATOR = GeneratorInfo(
    kind="builtin", versions={"head": "1"}, assets={}, licences={"head": "Apache-2.0"}
)


def request(
    pool: str = "pool-a",
    max_leases: int = 1,
    fingerprint: Fingerprint = FINGERPRINT,
    generators: Sequence[str] = ("builtin",),
) -> LeaseRequest:
    """Return what a pool sends for work."""
    return LeaseRequest(
        pool=pool,
        generators=tuple(generators),  # type: ignore[arg-type]
        fingerprint=fingerprint,
        max_leases=max_leases,
    )


def plans(spec: JobSpec) -> list[ShardPlan]:
    """Return every plan of a job, in order."""
    return [
        planning.shard_plan(spec, *planning.nth_shard(spec, position))
        for position in range(planning.total_shards(spec))
    ]


def plan_of(job: JobRow, position: int) -> ShardPlan:
    """Return the plan that a lease of this piece carries."""
    return ShardPlan.model_validate_json(execution.planned(job, position).json)


def shard_bytes(plan: ShardPlan) -> bytes:
    """Return what stands for the tar of a plan: equal plans, equal bytes."""
    return plan.model_dump_json().encode()


def shard_report(plan: ShardPlan, fingerprint: Fingerprint = FINGERPRINT) -> ShardReport:
    """Return the report of a plan that was carried out."""
    data = shard_bytes(plan)
    sha256 = hashlib.sha256(data).hexdigest()
    record = ShardRecord(
        name=shard_key(plan.split, plan.number, sha256),
        split=plan.split,
        number=plan.number,
        num_samples=plan.num_samples,
        num_bytes=len(data),
        sha256=sha256,
        indices=plan.indices,
        rejected={"too_dark": 1},
        fingerprint=fingerprint.id,
    )
    seconds = {"shade": 1.5, "upload": 0.2}
    return ShardReport(
        record=record,
        fingerprint=fingerprint,
        generator=GENERATOR,
        seconds=seconds,
        gpu_seconds={"shade": 1.25},
    )


def carry_out(lease: Lease, storage: Storage) -> ShardReport | SummaryReport:
    """Do a lease's work: put its objects into the store, and return the report."""
    if lease.plan is None:
        key_of = str if lease.parent is None else staged_key
        files = [
            storage.put_bytes(key_of(name), name.encode()).model_copy(update={"name": name})
            for name in SUMMARY_NAMES
        ]
        return SummaryReport(files=tuple(files))
    report = shard_report(lease.plan)
    storage.put_bytes(report.record.name, shard_bytes(lease.plan))
    return report


def post_json(http: TestClient, path: str, content: str | bytes) -> httpx.Response:
    """Post JSON text as it is."""
    return http.post(path, content=content, headers={"Content-Type": "application/json"})


def lease(http: TestClient, **options: Any) -> tuple[Lease, ...]:
    """Ask for work over HTTP; options as of `request`."""
    answer = post_json(http, "/v1/leases", request(**options).model_dump_json())
    assert answer.status_code == 200, answer.text
    return LeaseGrant.model_validate_json(answer.content).leases


def report(http: TestClient, lease: Lease) -> httpx.Response:
    """Carry a lease's work out and report it over HTTP."""
    made = carry_out(lease, open_storage(lease.output_url))
    return post_json(http, f"/v1/leases/{lease.token}/report", made.model_dump_json())


def work_until_empty(http: TestClient) -> None:
    """Carry out and report all the work there is."""
    while work := lease(http, max_leases=9):
        for piece in work:
            assert report(http, piece).status_code == 200


def add_owners(store: Store, *owners: str) -> None:
    """Keep keys of these ids, without limits."""
    counts = dict.fromkeys(("num_jobs", "num_samples", "num_bytes", "created_at"), 0)
    rows = [
        {"id": owner, "name": owner, "hash": owner, "scopes": "submit"} | counts for owner in owners
    ]
    with store.database.write() as tx:
        tx.connection.execute(insert(api_keys), rows)


def age(store: Store, seconds: float) -> None:
    """Move time: everything the database knows of happened so much earlier."""
    times: dict[Any, tuple[str, ...]] = {
        shards: ("leased_at", "progress_at", "lapses_at", "open_at"),
        jobs: (
            "created_at", "started_at", "finished_at", "told_at", "deleted_at", "cleared_at",
            "swept_at",
        ),
        pools: ("seen_at",),
    }  # fmt: skip
    with store.database.write() as tx:
        for table, names in times.items():
            earlier = {name: table.c[name] - seconds for name in names}
            tx.connection.execute(update(table).values(**earlier))
