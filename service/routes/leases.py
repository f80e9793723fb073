"""The pools' side: lease, heartbeat, report, return, and what a summary reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from service import answers, execution
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.dispatch import database_only
from service.documents import answers as documented
from service.documents import json_body
from service.messages import PoolList, ReportAnswer, ReturnAnswer
from service.routes.jobs import VISIBLE_ASCII, json_response
from service.store.rows import Granted
from synthforge import telemetry
from synthforge.leases import (
    Heartbeat,
    HeartbeatAnswer,
    LeaseGrant,
    LeaseRequest,
    LeaseReturn,
    Report,
    ShardPage,
    ShardReport,
    SummaryReport,
)

router = APIRouter(prefix="/v1", tags=["leases"])

Token = Annotated[str, Path(description="of the lease", pattern=VISIBLE_ASCII, max_length=64)]
_REQUEST = TypeAdapter(LeaseRequest)
_HEARTBEAT = TypeAdapter(Heartbeat)
_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
_RETURN = TypeAdapter(LeaseReturn)


@router.post(
    "/leases",
    operation_id="lease",
    openapi_extra=json_body(LeaseRequest),
    responses=documented(LeaseGrant, 413, 415, 422),
)
@database_only
def lease(context: InContext, body: JsonBody) -> Response:
    """Hand out work to a pool; tell one that has no actor how much waits."""
    request = parsed(_REQUEST, body)
    begun_ns = time.time_ns()
    granted = context.store.leases.lease(request, context.terms)
    context.metrics.count_granted(granted)
    if telemetry.is_on():
        _trace_granted(granted, request.pool, begun_ns)
    wait_s = 0.0 if granted else context.settings.retry_after_s
    waiting = context.store.leases.waiting() if request.fingerprint is None else {}
    return json_response(answers.grant_json(granted, context.terms, wait_s, waiting))


def _trace_granted(granted: Sequence[Granted], pool: str, begun_ns: int) -> None:
    """Put each lease into the trace of its job: the request is of the pool's own trace."""
    window_ns = (begun_ns, time.time_ns())
    for lease in granted:
        about = {"job_id": lease.job.id, "position": str(lease.position), "pool": pool}
        telemetry.record("lease", window_ns, about, lease.job.traceparent)


@router.post(
    "/leases/{token}/heartbeat",
    operation_id="heartbeat",
    openapi_extra=json_body(Heartbeat),
    responses=documented(HeartbeatAnswer, 409, 413, 415, 422),
)
@database_only
def heartbeat(context: InContext, token: Token, body: JsonBody) -> Response:
    """Let a lease live on."""
    beat = parsed(_HEARTBEAT, body)
    cancelled = execution.heartbeat(context.store, token, beat, context.terms)
    answer = HeartbeatAnswer(lease_s=context.terms.lease_s, cancelled=cancelled)
    return json_response(answer.model_dump_json())


@router.post(
    "/leases/{token}/report",
    operation_id="report",
    openapi_extra=json_body(ShardReport, SummaryReport),
    responses=documented(ReportAnswer, 409, 413, 415, 422),
)
@database_only
def report(context: InContext, token: Token, body: JsonBody) -> Response:
    """Accept finished work, once."""
    made = parsed(_REPORT, body)
    is_new = execution.report(context.store, token, made, context.rates)
    if is_new:
        context.metrics.count_report(made)
        if isinstance(made, SummaryReport):  # a shard alone completes no dataset
            context.manifest_due.set()
    answer = ReportAnswer(accepted=True, repeated=not is_new)
    return json_response(answer.model_dump_json())


@router.post(
    "/leases/{token}/return",
    operation_id="return_lease",
    openapi_extra=json_body(LeaseReturn),
    responses=documented(ReturnAnswer, 409, 413, 415, 422),
)
@database_only
def return_lease(context: InContext, token: Token, body: JsonBody) -> Response:
    """Take work back undone."""
    returned = parsed(_RETURN, body)
    verdict = execution.give_back(context.store, token, returned)
    if verdict is not None:
        context.metrics.leases_returned.labels(returned.reason).inc()
    answer = ReturnAnswer(outcome=verdict.outcome if verdict else "returned_before")
    return json_response(answer.model_dump_json())


@router.get(
    "/leases/{token}/shards",
    operation_id="list_committed_shards",
    responses=documented(ShardPage, 409, 422),
)
def list_committed_shards(
    context: InContext,
    token: Token,
    after: Annotated[int, Query(ge=-1, lt=2**31, description="`next` of the page before")] = -1,
) -> Response:
    """Read a job's committed shards in the order of the manifest; for a summary lease."""
    records = execution.summary_records(context.store, token, after)
    return json_response(answers.shard_page_json(records, execution.RECORDS_A_PAGE))


@router.get("/pools", operation_id="list_pools", responses=documented(PoolList))
@database_only
def list_pools(context: InContext) -> Response:
    """List the pools that asked for work within a day."""
    return json_response(answers.pools_json(context.store.pools.all()))
