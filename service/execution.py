"""Work on jobs as the pools see it: heartbeats, reports and returns, checked against the plan."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Final

from service import bases, leasing, planning
from service.errors import NotASummaryError, ReportConflictError, StaleLeaseError, invalid
from service.leasing import Terms, Verdict
from service.planning import PlannedShard
from service.rates import Rate, RateBook, RateKey, rate_key
from service.sized_cache import SizedCache
from service.store import Store
from service.store.report_verbs import CommittedShard
from service.store.rows import JobRow, ShardRow
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.leases import Heartbeat, LeaseReturn, Report, ShardReport, SummaryReport
from synthforge.shards import SUMMARY_NAMES

RECORDS_A_PAGE = 1000
_CACHED_SPECS = 256
# One is 10 to 20 KB; of 100,000 scattered samples 3.4 MB of text and 12 MB of ranges.
_CACHED_PLAN_BYTES: Final = 64 << 20
_BYTES_A_RANGE: Final = 120  # a tuple of two ints


@lru_cache(maxsize=_CACHED_SPECS)
def spec_of(canonical: str) -> JobSpec:
    """Return the spec that the database holds as canonical JSON."""
    return parse_job_spec(canonical)


@lru_cache(maxsize=_CACHED_SPECS)
def _rate_key_of(canonical: str) -> RateKey:
    return rate_key(spec_of(canonical))


def planned(job: JobRow, position: int) -> PlannedShard:
    """Return the plan of a job's n-th shard: asked for when it is leased, and when reported."""
    key = (job.spec, job.base, position)
    return _plans.get(key, lambda: _planned(*key))


def _planned(canonical: str, base_text: str | None, position: int) -> PlannedShard:
    spec, base = spec_of(canonical), bases.plan_base(base_text)
    split, number = planning.nth_shard(spec, position, base)
    return planning.planned_shard(spec, split, number, base)


def _size_of(plan: PlannedShard) -> int:
    return len(plan.json) + _BYTES_A_RANGE * len(plan.bounds)


_plans: Final[SizedCache[tuple[str, str | None, int], PlannedShard]] = SizedCache(
    _CACHED_PLAN_BYTES, _size_of
)


def heartbeat(store: Store, token: str, beat: Heartbeat, terms: Terms) -> bool:
    """Let a lease live on; return whether its job ends, so that the work is for nothing.

    Raises:
        StaleLeaseError: the token does not hold its work any more.
    """
    return store.leases.heartbeat(token, beat, terms)


def report(store: Store, token: str, made: Report, book: RateBook | None = None) -> bool:
    """Accept finished work once; note in `book` what a shard cost that was not its worker's first.

    Returns:
        Whether anything changed; a report that comes twice changes nothing.

    Raises:
        InvalidRequestError: the report does not fit the lease.
        StaleLeaseError: the token does not hold its work any more.
        ReportConflictError: the token was reported otherwise before.
    """
    if isinstance(made, SummaryReport):
        files = made.model_dump_json(include={"files"})
        return store.reports.commit_summary(token, files, partial(_check_files, made))
    is_new, job, shard = store.reports.commit_shard(
        token,
        CommittedShard(
            record=made.record.model_dump_json(),
            num_samples=made.record.num_samples,
            num_bytes=made.record.num_bytes,
            num_rejected=sum(made.record.rejected.values()),
            fingerprint_id=made.fingerprint.id,
            fingerprint=made.fingerprint.model_dump_json(),
            generator=made.generator.model_dump_json(exclude={"fingerprints"}),
        ),
        partial(_check_record, made),
    )
    if is_new and book is not None and not made.is_first:
        record = made.record
        cost = Rate(
            num_samples=record.num_samples,
            num_rejected=sum(record.rejected.values()),
            num_bytes=record.num_bytes,
            seconds=book.seconds_since(shard.leased_at),
        )
        book.note(_rate_key_of(job.spec), cost)
    return is_new


def give_back(store: Store, token: str, returned: LeaseReturn) -> Verdict | None:
    """Take work back undone; None where it was given back before.

    Raises:
        StaleLeaseError: the token does not hold its work any more.
    """
    return store.reports.give_back(token, returned, _name_of)


def summary_records(store: Store, token: str, after: int) -> list[tuple[int, str]]:
    """Return position and record (JSON) of a page of committed shards, for a summary lease.

    Raises:
        StaleLeaseError: the token does not hold its work any more.
        NotASummaryError: the lease is of a shard.
    """
    job, shard = store.leases.held(token)
    if shard.state != "leased":
        raise StaleLeaseError
    if shard.kind != "summary":
        raise NotASummaryError("the lease is of a shard: only a summary reads the others' records")
    return store.datasets.records_page(job.num, after, RECORDS_A_PAGE)


def _name_of(job: JobRow, shard: ShardRow) -> str:
    if shard.kind == "summary":
        return "the summary"
    base = bases.plan_base(job.base)
    split, number = planning.nth_shard(spec_of(job.spec), shard.position, base)
    return f"shard {split}-{number:06d}"


def _check_kind(made: Report, shard: ShardRow) -> None:
    if made.kind != shard.kind:
        raise invalid("kind", made.kind, f"the lease is of a {shard.kind}")


def _check_record(made: ShardReport, job: JobRow, shard: ShardRow) -> None:
    _check_kind(made, shard)
    difference = leasing.mismatch(made.record, planned(job, shard.position))
    if difference is not None:
        field, given, expected = difference
        raise invalid(field, given, f"the lease's plan has {expected}")
    if made.record.fingerprint != made.fingerprint.id:
        raise invalid(
            "record.fingerprint",
            made.record.fingerprint,
            f"the fingerprint that follows has the id {made.fingerprint.id}",
        )
    if made.generator.kind != job.generator:
        raise invalid("generator.kind", made.generator.kind, f"the job's is {job.generator}")
    if job.fingerprint not in {None, made.fingerprint.id}:
        raise ReportConflictError(
            f"the job keeps to the fingerprint {job.fingerprint} of its first lease: "
            f"a shard of {made.fingerprint.id} cannot be in it"
        )


def _check_files(made: SummaryReport, _job: JobRow, shard: ShardRow) -> None:
    _check_kind(made, shard)
    names = [file.name for file in made.files]
    for name in names:
        if name not in SUMMARY_NAMES:
            raise invalid("files.name", name, f"one of {', '.join(SUMMARY_NAMES)} would do")
        if names.count(name) > 1:
            raise invalid("files.name", name, "a file is named twice: name each once")
