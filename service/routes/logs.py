"""Logs by job: what pools tell of their work, and what is read of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from service import answers, job_logs
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.dispatch import database_only
from service.documents import answers as documented
from service.documents import json_body
from service.routes.jobs import JobId, json_response
from synthforge.job_logs import MAX_PAGE, LogAnswer, LogBatch, LogLevel, LogPage

router = APIRouter(prefix="/v1", tags=["logs"])
_BATCH = TypeAdapter(LogBatch)


@router.get(
    "/jobs/{job_id}/logs", operation_id="get_job_logs", responses=documented(LogPage, 404, 422)
)
@database_only
def get_job_logs(
    context: InContext,
    job_id: JobId,
    level: Annotated[LogLevel, Query(description="lines of this level and above")] = "info",
    cursor: Annotated[
        int, Query(ge=0, lt=2**31, description="`next` of the page before; 0: from the oldest")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 200,
) -> Response:
    """Read what workers logged about a job: shards done, refusals, retries, failures."""
    rows, dropped = context.store.logs.page(job_id, cursor, level, limit)
    return json_response(answers.log_page_json(rows, dropped, cursor))


@router.post(
    "/logs",
    operation_id="tell_logs",
    openapi_extra=json_body(LogBatch),
    responses=documented(LogAnswer, 413, 415, 422),
)
@database_only
def tell_logs(context: InContext, body: JsonBody) -> Response:
    """Take in what a pool and its actors logged about jobs."""
    kept = job_logs.keep(context.store, parsed(_BATCH, body))
    return json_response(LogAnswer(kept=kept).model_dump_json())
