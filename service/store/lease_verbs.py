"""The verbs of work in hand: lease, heartbeat, lapse. One token is one execution."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import and_, exists, insert, or_, select, update

from service import leasing
from service.database import Database, Transaction, database_now
from service.errors import StaleLeaseError
from service.leasing import Progress, Terms
from service.store.changes import after_release, change_job, change_shard, lock_held, lock_job
from service.store.rows import Granted, JobRow, LeaseKind, ShardRow, job_row, shard_row
from service.tables import LEASABLE_STATES, jobs, shards
from synthforge.jobs import JobState
from synthforge.leases import Heartbeat, LeaseRequest

_JOBS_LOOKED_AT = 64  # in one request for work
_TOKEN_BYTES = 18
_ENDING_STATES = {JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED}

_Taken = tuple[int, LeaseKind, str]  # position, kind, token


class LeaseVerbs:
    """What the service asks of its database about work that pools hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self, request: LeaseRequest, terms: Terms) -> list[Granted]:
        """Hand out work: of the highest priority first, then of the oldest job.

        One transaction a job: no transaction ever locks two of them.
        """
        granted: list[Granted] = []
        for num in self._jobs_with_work(request):
            granted += self._take(num, request, request.max_leases - len(granted), terms)
            if len(granted) >= request.max_leases:
                break
        return granted

    def _jobs_with_work(self, request: LeaseRequest) -> list[int]:
        given_back = exists().where(
            shards.c.job_num == jobs.c.num,
            shards.c.state == "open",
            shards.c.open_at <= database_now(),
        )
        summary_is_due = and_(
            jobs.c.state == JobState.FINALIZING.value, jobs.c.next_position == jobs.c.num_shards
        )
        keeps_to = jobs.c.fingerprint
        query = (
            select(jobs.c.num)
            .where(jobs.c.state.in_(LEASABLE_STATES))
            .where(jobs.c.generator.in_(request.generators))
            .where(or_(keeps_to.is_(None), keeps_to.in_(("", request.fingerprint.id))))
            .where(or_(jobs.c.next_position < jobs.c.num_shards, summary_is_due, given_back))
            .order_by(jobs.c.priority.desc(), jobs.c.num)
            .limit(_JOBS_LOOKED_AT)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def _take(self, num: int, request: LeaseRequest, limit: int, terms: Terms) -> list[Granted]:
        with self._database.write() as tx:
            job = lock_job(tx, num)
            if job.state.value not in LEASABLE_STATES or not leasing.may_work_on(
                job.generator, job.fingerprint, request
            ):  # it changed since it was looked at
                return []
            row = _leased_values(request, terms, tx.now)
            again = _lease_again(tx, job, limit, row)
            fresh = _lease_fresh(tx, job, limit - len(again), row)
            if again or fresh:
                job = _note_leased(tx, job, again + fresh, len(fresh), request.fingerprint.id)
        return [Granted(job, kind, position, token) for position, kind, token in again + fresh]

    def held(self, token: str) -> tuple[JobRow, ShardRow]:
        """Read the job and the piece of work that a token was given for, if it was the last.

        Raises:
            StaleLeaseError: the piece was leased anew since, or the token never was.
        """
        with self._database.read() as connection:
            found = connection.execute(select(shards).where(shards.c.token == token))
            row = found.mappings().first()
            if row is None:
                raise StaleLeaseError
            shard = shard_row(row)
            job = connection.execute(select(jobs).where(jobs.c.num == shard.job_num))
            return job_row(job.mappings().one()), shard

    def heartbeat(self, token: str, beat: Heartbeat, terms: Terms) -> bool:
        """Let a lease live on.

        Returns:
            Whether its job ends, so that the work is for nothing.

        Raises:
            StaleLeaseError: the token does not hold its work any more.
        """
        with self._database.write() as tx:
            job, shard = lock_held(tx, token)
            if shard.state != "leased":
                raise StaleLeaseError
            before = Progress(shard.num_samples, shard.num_rejected, shard.progress_at)
            after = leasing.advanced(before, beat.num_samples, beat.num_rejected, tx.now)
            change_shard(
                tx,
                shard,
                num_samples=after.num_samples,
                num_rejected=after.num_rejected,
                progress_at=after.progress_at,
                lapses_at=leasing.lapses_at(terms, after.progress_at, tx.now),
            )
            return job.state in _ENDING_STATES

    def lapse(self) -> int:
        """Take back every lease whose time is over; return how many there were."""
        over = (shards.c.state == "leased") & (shards.c.lapses_at <= database_now())
        with self._database.read() as connection:
            nums = sorted(set(connection.scalars(select(shards.c.job_num).where(over))))
        return sum(self._lapse_job(num) for num in nums)

    def _lapse_job(self, num: int) -> int:
        with self._database.write() as tx:
            job = lock_job(tx, num)
            lapsed = tx.connection.execute(
                update(shards)
                .where(
                    shards.c.job_num == num,
                    shards.c.state == "leased",
                    shards.c.lapses_at <= tx.now,
                )
                .values(state="open", open_at=tx.now)
                .returning(shards.c.kind)
            ).all()
            num_lapsed = sum(row.kind == "shard" for row in lapsed)
            if num_lapsed:
                after_release(tx, job, num_leased=job.num_leased - num_lapsed)
        return len(lapsed)


def _leased_values(request: LeaseRequest, terms: Terms, now: float) -> dict[str, Any]:
    """Return what every row has that is leased now."""
    return {
        "state": "leased",
        "pool": request.pool,
        "fingerprint": request.fingerprint.id,
        "num_samples": 0,
        "num_rejected": 0,
        "leased_at": now,
        "progress_at": now,
        "lapses_at": leasing.lapses_at(terms, now, now),
        "open_at": now,
    }


def _lease_again(tx: Transaction, job: JobRow, limit: int, row: dict[str, Any]) -> list[_Taken]:
    """Lease what was given back; the job is locked, so nobody else takes it meanwhile."""
    is_open = (shards.c.job_num == job.num) & (shards.c.state == "open")
    query = select(shards.c.position, shards.c.kind).where(is_open, shards.c.open_at <= tx.now)
    found = tx.connection.execute(query.order_by(shards.c.position).limit(limit)).all()
    taken: list[_Taken] = []
    for position, kind in found:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        tx.connection.execute(
            update(shards)
            .where(is_open, shards.c.position == position)
            .values(**row, token=token, executions=shards.c.executions + 1)
        )
        taken.append((position, kind, token))
    return taken


def _lease_fresh(tx: Transaction, job: JobRow, limit: int, row: dict[str, Any]) -> list[_Taken]:
    """Make the rows of pieces that nobody had before; the summary comes after the last shard."""
    stop = job.num_shards + (job.state is JobState.FINALIZING)
    first = job.next_position
    taken: list[_Taken] = [
        (
            position,
            "shard" if position < job.num_shards else "summary",
            secrets.token_urlsafe(_TOKEN_BYTES),
        )
        for position in range(first, min(first + limit, stop))
    ]
    if taken:
        new = row | {"job_num": job.num, "executions": 1, "deaths": 0, "deaths_at_samples": 0}
        tx.connection.execute(
            insert(shards),
            [
                new | {"position": position, "kind": kind, "token": token}
                for position, kind, token in taken
            ],
        )
    return taken


def _note_leased(
    tx: Transaction, job: JobRow, taken: list[_Taken], num_fresh: int, fingerprint: str
) -> JobRow:
    values: dict[str, Any] = {
        "next_position": job.next_position + num_fresh,
        "num_leased": job.num_leased + sum(kind == "shard" for _, kind, _ in taken),
    }
    if job.fingerprint == "":
        values["fingerprint"] = fingerprint
    if job.state is JobState.QUEUED:
        values |= {"state": JobState.RUNNING.value, "started_at": tx.now}
    return change_job(tx, job, **values)
