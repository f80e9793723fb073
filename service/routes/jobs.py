"""Jobs: submit, list, read."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service import answers, submissions
from service.access import InPrincipal
from service.bodies import JsonBody
from service.context import InContext
from service.dispatch import call, database_only
from service.documents import answers as documented
from service.documents import json_body
from service.messages import JobPage
from synthforge.job_status import JobState, JobStatus
from synthforge.jobs import JobSpec

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

VISIBLE_ASCII = r"^[!-~]+$"
JobId = Annotated[
    str, Path(description="as POST /v1/jobs answered it", pattern=VISIBLE_ASCII, max_length=64)
]
MAX_PAGE = 500
_MAX_CURSOR = 2**62


def json_response(content: str, status: int = 200, location: str | None = None) -> Response:
    """Return JSON text as it is."""
    headers = {"Location": location} if location else None
    return Response(content, status, headers, media_type="application/json")


@router.post(
    "",
    status_code=202,
    operation_id="submit_job",
    openapi_extra=json_body(JobSpec),
    responses=documented(JobStatus, 409, 413, 415, 422, status=202, what="Accepted"),
)
async def submit_job(
    context: InContext,
    principal: InPrincipal,
    body: JsonBody,
    idempotency_key: Annotated[
        str | None,
        Header(description="the same key and spec give the same job again", max_length=255),
    ] = None,
) -> Response:
    """Accept a dataset to be made."""
    spec = submissions.parse(body, idempotency_key)
    submit = partial(
        submissions.submit,
        context.settings,
        context.store,
        context.open_storage,
        spec,
        idempotency_key,
        principal.owner,
    )
    if submissions.is_quick(spec):
        job, is_new = await call(context.store.database, submit)
    else:
        job, is_new = await run_in_threadpool(submit)
    if is_new:
        context.metrics.jobs_submitted.inc()
    return json_response(answers.job_json(job), 202, location=f"/v1/jobs/{job.id}")


@router.get("", operation_id="list_jobs", responses=documented(JobPage, 422))
@database_only
def list_jobs(
    context: InContext,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[
        int | None, Query(ge=1, le=_MAX_CURSOR, description="`next` of the page before")
    ] = None,
    state: Annotated[list[JobState] | None, Query(description="only jobs in these states")] = None,
) -> Response:
    """List jobs, the newest first."""
    jobs = context.store.jobs.page(limit, cursor, state or ())
    following = str(jobs[-1].num) if len(jobs) == limit else None
    return json_response(answers.jobs_json(jobs, following))


@router.get("/{job_id}", operation_id="get_job", responses=documented(JobStatus, 404, 422))
@database_only
def get_job(context: InContext, job_id: JobId) -> Response:
    """Tell how a job stands."""
    return json_response(answers.job_json(context.store.jobs.get(job_id)))
