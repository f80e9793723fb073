"""Whether the service lives, whether it can work, and how it fares."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from service.context import InContext
from service.documents import answers as documented
from service.documents import problem_answers
from service.errors import NotReadyError
from service.messages import Health
from service.metrics import METRICS_MEDIA_TYPE
from service.routes.jobs import json_response

router = APIRouter(tags=["health"])
_OK = Health(status="ok").model_dump_json()


@router.get("/healthz", operation_id="healthz", responses=documented(Health))
def healthz() -> Response:
    """Answer: the process lives."""
    return json_response(_OK)


@router.get("/readyz", operation_id="readyz", responses=documented(Health))
def readyz(context: InContext) -> Response:
    """Answer whether the database is there, with this release's schema."""
    if context.stopping.is_set() or not context.store.database.is_ready():
        raise NotReadyError("the service stops, or its database is not there: try another replica")
    return json_response(_OK)


@router.get(
    "/metrics",
    operation_id="metrics",
    responses={
        200: {"description": "Prometheus' text format", "content": {"text/plain": {}}},
        **problem_answers(()),
    },
)
def metrics(context: InContext) -> Response:
    """Tell Prometheus how the service fares."""
    return Response(context.metrics.exposition(), headers={"Content-Type": METRICS_MEDIA_TYPE})
