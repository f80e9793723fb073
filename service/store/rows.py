"""Rows as they leave the store: frozen, typed, nothing of SQL left.

Fields stand in the order of the table's columns: a row is read by position, the fastest way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synthforge.job_status import JobState

ShardState = Literal["open", "leased", "done", "set_aside"]
Clearing = Literal["objects", "dataset"]
LeaseKind = Literal["shard", "summary"]


@dataclass(frozen=True)
class JobRow:
    """A job as the database holds it; times are seconds since 1970."""

    num: int
    id: str
    owner: str
    idempotency_key: str | None
    state: JobState
    reason: str | None
    spec: str
    generator: str
    output_url: str
    priority: int
    fingerprint: str | None
    num_samples: int
    num_completed: int
    num_rejected: int
    num_shards: int
    num_done: int
    num_leased: int
    num_set_aside: int
    next_position: int
    num_events: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    told_at: float
    files: str | None
    digest: str | None
    num_bytes: int
    clearing: Clearing | None
    deleted_at: float | None
    base: str | None
    request_id: str | None
    traceparent: str | None
    cleared_at: float | None
    swept_at: float | None


@dataclass(frozen=True)
class ShardRow:
    """A shard, or the summary, that was leased at least once."""

    job_num: int
    position: int
    kind: LeaseKind
    state: ShardState
    token: str
    pool: str
    fingerprint: str
    executions: int
    deaths: int
    deaths_at_samples: int
    num_samples: int
    num_rejected: int
    leased_at: float
    progress_at: float
    lapses_at: float
    open_at: float
    record: str | None


@dataclass(frozen=True)
class EventRow:
    """Something that happened to a job; `data` is JSON."""

    seq: int
    kind: str
    data: str


@dataclass(frozen=True)
class LogRow:
    """A line of a job's log."""

    job_num: int
    seq: int
    at: float
    level: str
    message: str
    shard: str | None
    token: str | None
    pool: str
    num_bytes: int


@dataclass(frozen=True)
class PoolRow:
    """A pool that asked for work, and what it holds."""

    name: str
    generators: tuple[str, ...]
    fingerprint: str
    seen_at: float
    num_leased: int


@dataclass(frozen=True)
class KeyRow:
    """A key as the database holds it: its hash, what it may do, what of its limits is in use."""

    num: int
    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    max_jobs: int | None
    max_samples: int | None
    max_bytes: int | None
    num_jobs: int
    num_samples: int
    num_bytes: int
    created_at: float
    revoked_at: float | None


@dataclass(frozen=True)
class Granted:
    """One lease handed out: the job as it is now, and which of its pieces."""

    job: JobRow
    kind: LeaseKind
    position: int
    token: str


def job_row(row: Sequence[Any]) -> JobRow:
    """Read a row of `jobs`."""
    num, job_id, owner, key, state, *rest = row
    return JobRow(num, job_id, owner, key, JobState(state), *rest)


def shard_row(row: Sequence[Any]) -> ShardRow:
    """Read a row of `shards`."""
    return ShardRow(*row)


def key_row(row: Sequence[Any]) -> KeyRow:
    """Read a row of `api_keys`."""
    num, key_id, name, key_hash, scopes, *rest = row
    return KeyRow(num, key_id, name, key_hash, tuple(scopes.split(",")), *rest)
