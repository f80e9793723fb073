"""Rows to JSON. A spec is kept as canonical text and goes out as that text, never parsed again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from service.bases import base_dataset
from service.execution import planned
from service.leasing import Terms
from service.store.changes import progress_counts
from service.store.rows import Granted, JobRow, KeyRow, LogRow, PoolRow
from service.times import moment, told_time
from synthforge.keys import KeyInfo

_PLAIN_KEY_FIELDS = frozenset(KeyInfo.model_fields) - {"created_at", "revoked_at"}


def job_json(job: JobRow) -> str:
    """Return a job as a `JobStatus`."""
    before = json.dumps({"id": job.id, "state": job.state.value, "reason": job.reason})
    after = json.dumps(
        progress_counts(job)
        | {
            "priority": job.priority,
            "created_at": told_time(job.created_at),
            "started_at": told_time(job.started_at),
            "finished_at": told_time(job.finished_at),
            "output_url": job.output_url,
            "digest": job.digest,
            "parent": _parent(job),
            "deleted_at": told_time(job.deleted_at),
            "request_id": job.request_id,
        }
    )
    return f'{before[:-1]}, "spec": {job.spec}, {after[1:]}'


def jobs_json(jobs: Sequence[JobRow], next_cursor: str | None) -> str:
    """Return a page of jobs as a `JobPage`."""
    listed = ", ".join(job_json(job) for job in jobs)
    return f'{{"jobs": [{listed}], "next": {json.dumps(next_cursor)}}}'


def grant_json(
    granted: Sequence[Granted],
    terms: Terms,
    retry_after_s: float,
    waiting: Mapping[str, int],
) -> str:
    """Return leases as a `LeaseGrant`."""
    leases = ", ".join(_lease_json(lease, terms) for lease in granted)
    after = json.dumps({"retry_after_s": retry_after_s, "waiting": dict(waiting)})
    return f'{{"leases": [{leases}], {after[1:]}'


def shard_page_json(records: Sequence[tuple[int, str]], page_size: int) -> str:
    """Return records as a `ShardPage`; its `next` is the last position, where more may follow."""
    listed = ", ".join(record for _, record in records)
    following = str(records[-1][0]) if len(records) == page_size else None
    return f'{{"shards": [{listed}], "next": {json.dumps(following)}}}'


def log_page_json(lines: Sequence[LogRow], dropped: int, cursor: int) -> str:
    """Return lines as a `LogPage`; its `next` is the last one's number, or the cursor again."""
    listed = [
        {
            "seq": line.seq,
            "at": told_time(line.at),
            "level": line.level,
            "message": line.message,
            "shard": line.shard,
            "token": line.token,
            "pool": line.pool,
        }
        for line in lines
    ]
    following = lines[-1].seq if lines else cursor
    return json.dumps({"lines": listed, "dropped": dropped, "next": str(following)})


def pools_json(pools: Sequence[PoolRow]) -> str:
    """Return pools as a `PoolList`."""
    listed = [
        {
            "name": pool.name,
            "generators": pool.generators,
            "fingerprint": pool.fingerprint or None,
            "num_leased": pool.num_leased,
            "seen_at": told_time(pool.seen_at),
        }
        for pool in pools
    ]
    return json.dumps({"pools": listed})


def key_info(key: KeyRow) -> KeyInfo:
    """Return what is told of a key."""
    return KeyInfo.model_validate(
        {field: getattr(key, field) for field in _PLAIN_KEY_FIELDS}
        | {"created_at": moment(key.created_at), "revoked_at": moment(key.revoked_at)}
    )


def _lease_json(granted: Granted, terms: Terms) -> str:
    plan = "null"
    if granted.kind == "shard":
        plan = planned(granted.job, granted.position).json
    before = json.dumps({"token": granted.token, "kind": granted.kind, "job_id": granted.job.id})
    after = json.dumps(
        {
            "output_url": granted.job.output_url,
            "parent": _parent(granted.job),
            "lease_s": terms.lease_s,
            "heartbeat_s": terms.heartbeat_s,
            "request_id": granted.job.request_id,
            "traceparent": granted.job.traceparent,
        }
    )
    return f'{before[:-1]}, "spec": {granted.job.spec}, "plan": {plan}, {after[1:]}'


def _parent(job: JobRow) -> str | None:
    base = base_dataset(job.base)
    return None if base is None else base.digest
