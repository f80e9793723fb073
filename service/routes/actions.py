"""What is done to a job: reorder, pause, resume, cancel, retry, extend."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from service import answers, extensions, retries
from service.access import InPrincipal
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.dispatch import database_only
from service.documents import answers as documented
from service.documents import json_body
from service.messages import JobChange, JobExtension
from service.routes.jobs import JobId, json_response
from service.store.rows import JobRow
from synthforge.job_status import JobStatus

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_CHANGE = TypeAdapter(JobChange)
_EXTENSION = TypeAdapter(JobExtension)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = documented(JobStatus, 404, 409, 422)


def _job(job: JobRow) -> Response:
    return json_response(answers.job_json(job))


@router.patch(
    "/{job_id}",
    operation_id="change_job",
    openapi_extra=json_body(JobChange),
    responses=documented(JobStatus, 404, 409, 413, 415, 422),
)
@database_only
def change_job(context: InContext, job_id: JobId, body: JsonBody) -> Response:
    """Move a job before or behind others."""
    change = parsed(_CHANGE, body)
    return _job(context.store.actions.set_priority(job_id, change.priority))


@router.post("/{job_id}/pause", operation_id="pause_job", responses=_ANSWERS)
@database_only
def pause_job(context: InContext, job_id: JobId) -> Response:
    """Lease no more of a job; what runs of it goes on to its end."""
    return _job(context.store.actions.pause(job_id))


@router.post("/{job_id}/resume", operation_id="resume_job", responses=_ANSWERS)
@database_only
def resume_job(context: InContext, job_id: JobId) -> Response:
    """Go on with a paused job."""
    return _job(context.store.actions.resume(job_id))


@router.post("/{job_id}/cancel", operation_id="cancel_job", responses=_ANSWERS)
@database_only
def cancel_job(
    context: InContext,
    job_id: JobId,
    data: Annotated[
        Literal["keep", "delete"], Query(description="what becomes of the shards that are done")
    ] = "keep",
) -> Response:
    """Stop a job: nothing more of it is leased, and what runs is told to stop."""
    job = context.store.actions.cancel(job_id, deletes=data == "delete")
    if job.clearing:
        context.clearing_due.set()
    return _job(job)


@router.post("/{job_id}/retry", operation_id="retry_job", responses=_ANSWERS)
def retry_job(context: InContext, job_id: JobId) -> Response:
    """Take a failed or cancelled job up where it was; shards set aside are tried again."""
    return _job(retries.retry(context.settings, context.store, context.open_storage, job_id))


@router.post(
    "/{job_id}/extend",
    status_code=202,
    operation_id="extend_job",
    openapi_extra=json_body(JobExtension),
    responses=documented(
        JobStatus, 404, 409, 410, 413, 415, 422, status=202, what="Accepted: the job that adds"
    ),
)
def extend_job(
    context: InContext, principal: InPrincipal, job_id: JobId, body: JsonBody
) -> Response:
    """Add samples to the dataset of a job that succeeded, by a job of its own."""
    asked = parsed(_EXTENSION, body)
    job, is_new = extensions.extend(
        context.settings, context.store, job_id, asked.count, principal.owner
    )
    if is_new:
        context.metrics.jobs_submitted.inc()
    return json_response(answers.job_json(job), 202, location=f"/v1/jobs/{job.id}")
