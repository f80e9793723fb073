"""Server-sent events of a job: what happened since, then what happens, until it ends."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Header
from starlette.responses import StreamingResponse

from service import streams
from service.context import InContext
from service.dispatch import call
from service.documents import problem_answers
from service.errors import invalid
from service.routes.jobs import JobId

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
EVENT_SCHEMA: Final = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"enum": ["state", "progress"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_SEQUENCE = re.compile(r"[0-9]{1,9}")


@router.get(
    "/{job_id}/events",
    operation_id="watch_job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events: `id` a sequence a job, `event` state or progress, `data` JSON",
            "content": {"text/event-stream": {"schema": EVENT_SCHEMA}},
        },
        **problem_answers((404, 422)),
    },
)
async def watch_job(
    context: InContext,
    job_id: JobId,
    last_event_id: Annotated[
        str | None, Header(description="id of the last event seen; those after it are sent")
    ] = None,
) -> StreamingResponse:
    """Tell a job's events as they happen; the stream ends when the job does."""
    if last_event_id and not _SEQUENCE.fullmatch(last_event_id):
        raise invalid("Last-Event-ID", last_event_id, "the id of an event would do")
    job = await call(context.store.database, context.store.jobs.get, job_id)
    stream = streams.job_events(context, job, after=int(last_event_id or 0))
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )
