"""What is done to a job: reorder, pause, resume, cancel, retry."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.responses import Response

from service import answers, retries
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.documents import answers as documented
from service.documents import json_body
from service.messages import JobChange
from service.routes.jobs import JobId, json_response
from service.store.rows import JobRow
from synthforge.jobs import JobStatus

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_CHANGE = TypeAdapter(JobChange)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = documented(JobStatus, 404, 409, 422)


def _job(job: JobRow) -> Response:
    return json_response(answers.job_json(job))


@router.patch(
    "/{job_id}",
    operation_id="change_job",
    openapi_extra=json_body(JobChange),
    responses=documented(JobStatus, 404, 409, 413, 415, 422),
)
def change_job(context: InContext, job_id: JobId, body: JsonBody) -> Response:
    """Move a job before or behind others."""
    change = parsed(_CHANGE, body)
    return _job(context.store.actions.set_priority(job_id, change.priority))


@router.post("/{job_id}/pause", operation_id="pause_job", responses=_ANSWERS)
def pause_job(context: InContext, job_id: JobId) -> Response:
    """Lease no more of a job; what runs of it goes on to its end."""
    return _job(context.store.actions.pause(job_id))


@router.post("/{job_id}/resume", operation_id="resume_job", responses=_ANSWERS)
def resume_job(context: InContext, job_id: JobId) -> Response:
    """Go on with a paused job."""
    return _job(context.store.actions.resume(job_id))


@router.post("/{job_id}/cancel", operation_id="cancel_job", responses=_ANSWERS)
def cancel_job(context: InContext, job_id: JobId) -> Response:
    """Stop a job: nothing more of it is leased, and what runs is told to stop."""
    return _job(context.store.actions.cancel(job_id))


@router.post("/{job_id}/retry", operation_id="retry_job", responses=_ANSWERS)
def retry_job(context: InContext, job_id: JobId) -> Response:
    """Take a failed or cancelled job up where it was; shards set aside are tried again."""
    return _job(retries.retry(context.store, context.open_storage, job_id))
