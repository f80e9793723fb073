"""The verbs of work in hand: lease, heartbeat, lapse. One token is one execution."""

from __future__ import annotations

import secrets
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from service import leasing
from service.database import Database, Transaction, database_now
from service.errors import StaleLeaseError
from service.leasing import Deaths, Progress, Terms
from service.statements import Prepared, Session
from service.store.backlog import count_waiting
from service.store.changes import (
    FAILS_FROM,
    after_release,
    change_job,
    change_shard,
    lock_held,
    lock_job,
)
from service.store.log_verbs import SERVICE, NewLine, add_lines
from service.store.pool_verbs import fingerprint_id, note_pool, pool_is_noted
from service.store.rows import Granted, JobRow, LeaseKind, ShardRow, job_row, shard_row
from service.store.turns import Turn, next_turn
from service.tables import IS_LEASED, IS_OPEN, LEASABLE_STATES, jobs, shards
from synthforge.job_status import JobState
from synthforge.leases import Heartbeat, LeaseRequest

_TOKEN_BYTES: Final = 18
_ENDING_STATES: Final = {JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED}

_Taken = tuple[int, LeaseKind, str]  # position, kind, token

# Not DISTINCT: for its sake SQLite would walk the whole primary key.
_JOBS_WITH_LAPSED: Final = Prepared(
    select(shards.c.job_num).where(IS_LEASED, shards.c.lapses_at <= database_now())
)
_LAPSE: Final = Prepared(
    update(shards)
    .where(
        shards.c.job_num == bindparam("job"),
        IS_LEASED,
        shards.c.lapses_at <= bindparam("now"),
    )
    .values(state="open", open_at=bindparam("now"))
    .returning(shards)
)
_END_ALL: Final = update(shards).where(IS_LEASED).values(lapses_at=0.0)
_OPEN: Final = Prepared(
    select(shards.c.position, shards.c.kind)
    .where(
        shards.c.job_num == bindparam("job"),
        IS_OPEN,
        shards.c.open_at <= bindparam("now"),
    )
    .order_by(shards.c.position)
    .limit(bindparam("limit"))
)
_LEASE_AGAIN: Final = Prepared(
    update(shards)
    .where(
        shards.c.job_num == bindparam("job"),
        shards.c.position == bindparam("at"),
        IS_OPEN,
    )
    .values(executions=shards.c.executions + 1)
)
_LEASE_FRESH: Final = Prepared(insert(shards))
_HELD: Final = Prepared(
    select(jobs, shards)
    .join(jobs, jobs.c.num == shards.c.job_num)
    .where(shards.c.token == bindparam("token"))
)
_NUM_JOB_COLUMNS: Final = len(jobs.c)


class LeaseVerbs:
    """What the service asks of its database about work that pools hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self, request: LeaseRequest, terms: Terms) -> list[Granted]:
        """Hand out work, in the order of `service.store.turns`.

        What has lapsed is taken back on the way. One transaction a job: no transaction ever
        locks two of them. A pool without a fingerprint is given nothing.
        """
        if request.fingerprint is None:
            self.note_asking(request)
            return []
        with self._database.session() as session:
            has_lapsed = session.row(_JOBS_WITH_LAPSED, {}) is not None
            is_noted = pool_is_noted(session, request)
            turn = Turn() if has_lapsed else _next_turn(session, request, request.max_leases)
        if not is_noted:
            note_pool(self._database, request)
        if has_lapsed:
            self.lapse(terms)
            turn = self._turn(request, request.max_leases)
        granted: list[Granted] = []
        while True:
            taken = self._take_turn(turn, request, terms)
            granted += taken
            left = request.max_leases - len(granted)
            if turn.is_last or not taken or not left:
                return granted
            turn = self._turn(request, left)

    def _turn(self, request: LeaseRequest, limit: int) -> Turn:
        with self._database.session() as session:
            return _next_turn(session, request, limit)

    def _take_turn(self, turn: Turn, request: LeaseRequest, terms: Terms) -> list[Granted]:
        granted: list[Granted] = []
        for nums, share in turn.shares:
            left = share
            for num in nums:
                taken = self._take(num, request, left, terms)
                granted += taken
                left -= len(taken)
                if not left:
                    break
        return granted

    def waiting(self) -> dict[str, int]:
        """Count the pieces of work that nobody holds, by generator."""
        with self._database.read() as connection:
            return count_waiting(connection)

    def note_asking(self, request: LeaseRequest) -> None:
        """Write down that a pool asks, if it was not just now."""
        with self._database.session() as session:
            is_noted = pool_is_noted(session, request)
        if not is_noted:
            note_pool(self._database, request)

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
                job = _note_leased(tx, job, again + fresh, len(fresh), fingerprint_id(request))
        return [Granted(job, kind, position, token) for position, kind, token in again + fresh]

    def held(self, token: str) -> tuple[JobRow, ShardRow]:
        """Read the job and the piece of work that a token was given for, if it was the last.

        Raises:
            StaleLeaseError: the piece was leased anew since, or the token never was.
        """
        with self._database.session() as session:
            row = session.row(_HELD, {"token": token})
        if row is None:
            raise StaleLeaseError
        return job_row(row[:_NUM_JOB_COLUMNS]), shard_row(row[_NUM_JOB_COLUMNS:])

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

    def lapse(self, terms: Terms) -> int:
        """Take back every lease whose time is over; return how many there were.

        A piece that stood still again and again at one sample is set aside, and fails its job.
        """
        with self._database.session() as session:
            nums = sorted({int(num) for (num,) in session.rows(_JOBS_WITH_LAPSED, {})})
        return sum(self._lapse_job(num, terms) for num in nums)

    def end_all(self) -> None:
        """Let every lease lapse now: the caller knows that all pools are gone."""
        with self._database.write() as tx:
            tx.connection.execute(_END_ALL)

    def _lapse_job(self, num: int, terms: Terms) -> int:
        with self._database.write() as tx:
            job = lock_job(tx, num)
            rows = tx.session.rows(_LAPSE, {"job": num, "now": tx.now})
            lapsed = [shard_row(row) for row in rows]
            if lapsed:
                add_lines(tx, num, [_lapse_line(tx.now, shard) for shard in lapsed])
                values = _judged_stalls(tx, job, lapsed, terms)
                values["num_leased"] = job.num_leased - sum(s.kind == "shard" for s in lapsed)
                after_release(tx, job, **values)
        return len(lapsed)


def _judged_stalls(
    tx: Transaction, job: JobRow, lapsed: list[ShardRow], terms: Terms
) -> dict[str, Any]:
    """Count the stalls of pieces that lapsed; return what they change on their job's row."""
    values: dict[str, Any] = {"num_set_aside": job.num_set_aside}
    for shard in lapsed:
        if not leasing.stood_still(terms, shard.progress_at, shard.lapses_at):
            continue
        deaths = Deaths(shard.deaths, shard.deaths_at_samples)
        verdict = leasing.judge_stall(terms, shard.num_samples, deaths, _what(shard), tx.now)
        change_shard(
            tx,
            shard,
            state=verdict.outcome,
            deaths=verdict.deaths.count,
            deaths_at_samples=verdict.deaths.num_samples,
        )
        if verdict.outcome == "set_aside":
            values["num_set_aside"] += shard.kind == "shard"
            if job.state in FAILS_FROM:
                values |= {"state": JobState.FAILED.value, "reason": verdict.reason}
    return values


def _what(shard: ShardRow) -> str:
    return "the summary" if shard.kind == "summary" else f"shard {shard.position} of the job"


def _lapse_line(now: float, shard: ShardRow) -> NewLine:
    """Tell of a lease whose pool cannot: it is gone, or hangs."""
    message = (
        f"the lease of {_what(shard)} lapsed after {shard.num_samples} samples: pool {shard.pool} "
        "was silent, or its count stood still; another execution follows"
    )
    return NewLine(at=now, level="warning", message=message, pool=SERVICE)


def _next_turn(session: Session, request: LeaseRequest, limit: int) -> Turn:
    wanted = {
        "generators": f",{','.join(request.generators)},",
        "fingerprint": fingerprint_id(request),
    }
    return next_turn(session, wanted, limit)


def _leased_values(request: LeaseRequest, terms: Terms, now: float) -> dict[str, Any]:
    """Return what every row has that is leased now."""
    return {
        "state": "leased",
        "pool": request.pool,
        "fingerprint": fingerprint_id(request),
        "num_samples": 0,
        "num_rejected": 0,
        "leased_at": now,
        "progress_at": now,
        "lapses_at": leasing.lapses_at(terms, now, now),
        "open_at": now,
    }


def _lease_again(tx: Transaction, job: JobRow, limit: int, row: dict[str, Any]) -> list[_Taken]:
    """Lease what was given back; the job is locked, so nobody else takes it meanwhile."""
    parameters = {"job": job.num, "now": tx.now, "limit": limit}
    taken: list[_Taken] = [
        (position, kind, secrets.token_urlsafe(_TOKEN_BYTES))
        for position, kind in tx.session.rows(_OPEN, parameters)
    ]
    for position, _kind, token in taken:
        tx.session.change(_LEASE_AGAIN, row | {"token": token, "job": job.num, "at": position})
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
        tx.session.change_each(
            _LEASE_FRESH,
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
