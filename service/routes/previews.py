"""A few samples of a spec, at once; and the pools' side of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service import previews, submissions
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.documents import answers as documented
from service.documents import json_body, problem_answers
from service.messages import ReportAnswer
from service.routes.jobs import json_response
from service.routes.leases import Token
from synthforge.jobs import JobSpec
from synthforge.previews import MAX_SAMPLES, MEDIA_TYPE, PreviewGrant, PreviewReport, PreviewRequest

router = APIRouter(prefix="/v1/previews", tags=["previews"])
_REQUEST = TypeAdapter(PreviewRequest)
_REPORT = TypeAdapter(PreviewReport)
_TAR: Final[dict[str, Any]] = {"type": "string", "format": "binary"}


@router.post(
    "",
    operation_id="preview",
    response_class=Response,
    openapi_extra=json_body(JobSpec),
    responses={
        200: {
            "description": "A WebDataset tar: preview.jpg, a contact sheet, then the samples",
            "content": {MEDIA_TYPE: {"schema": _TAR}},
        },
        **problem_answers((413, 415, 422, 429)),
    },
)
async def preview(
    context: InContext,
    request: Request,
    body: JsonBody,
    samples: Annotated[int, Query(ge=1, le=MAX_SAMPLES, description="at most")] = 16,
) -> Response:
    """Render the first samples of a spec on a warm worker, before queued work."""
    spec = await run_in_threadpool(submissions.accepted_spec, context.settings, body)
    data = await previews.preview(context, spec, samples, request.is_disconnected)
    return Response(data, media_type=MEDIA_TYPE)


@router.post(
    "/leases",
    operation_id="lease_previews",
    openapi_extra=json_body(PreviewRequest),
    responses=documented(PreviewGrant, 413, 415, 422),
)
def lease_previews(context: InContext, body: JsonBody) -> Response:
    """Hand out previews to a pool that has warm workers."""
    return json_response(previews.lease(context, parsed(_REQUEST, body)).model_dump_json())


@router.post(
    "/leases/{token}/report",
    operation_id="report_preview",
    openapi_extra=json_body(PreviewReport),
    responses=documented(ReportAnswer, 409, 413, 415, 422),
)
def report_preview(context: InContext, token: Token, body: JsonBody) -> Response:
    """Take in that a preview lies in the store, or why it does not."""
    made = parsed(_REPORT, body)
    is_new = context.store.previews.report(token, made.model_dump_json())
    return json_response(ReportAnswer(accepted=True, repeated=not is_new).model_dump_json())
