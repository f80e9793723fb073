"""The OpenAPI document: bodies are parsed from raw bytes, and documented here all the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.access import scope_of
from service.errors import PROBLEM_MEDIA_TYPE
from service.messages import (
    CreatedWebhook,
    DeliveryList,
    EstimateAnswer,
    Health,
    JobChange,
    JobExtension,
    JobPage,
    PoolList,
    ReportAnswer,
    ReturnAnswer,
    WebhookInfo,
    WebhookList,
    WebhookRequest,
)
from service.problems import Problem
from synthforge.job_logs import LogAnswer, LogBatch, LogPage
from synthforge.job_status import JobStatus
from synthforge.jobs import JobSpec
from synthforge.keys import CreatedKey, KeyInfo, KeyList, KeyRequest
from synthforge.leases import (
    Heartbeat,
    HeartbeatAnswer,
    LeaseGrant,
    LeaseRequest,
    LeaseReturn,
    ShardPage,
    ShardReport,
    SummaryReport,
)
from synthforge.previews import PreviewGrant, PreviewReport, PreviewRequest
from synthforge.shards import Manifest

_REF: Final = "#/components/schemas/{model}"
_READ: Final[tuple[type[BaseModel], ...]] = (
    JobSpec,
    JobChange,
    KeyRequest,
    JobExtension,
    LeaseRequest,
    Heartbeat,
    ShardReport,
    SummaryReport,
    LeaseReturn,
    LogBatch,
    PreviewReport,
    PreviewRequest,
    WebhookRequest,
)
_ANSWERED: Final[tuple[type[BaseModel], ...]] = (
    CreatedKey,
    CreatedWebhook,
    DeliveryList,
    EstimateAnswer,
    Health,
    HeartbeatAnswer,
    JobPage,
    JobStatus,
    KeyInfo,
    KeyList,
    LeaseGrant,
    LogAnswer,
    LogPage,
    Manifest,
    PoolList,
    PreviewGrant,
    Problem,
    ReportAnswer,
    ReturnAnswer,
    ShardPage,
    WebhookInfo,
    WebhookList,
)


def ref(model: type[BaseModel]) -> dict[str, str]:
    """Return the reference to a model's schema."""
    return {"$ref": _REF.format(model=model.__name__)}


def json_body(*models: type[BaseModel]) -> dict[str, Any]:
    """Return a route's `openapi_extra` for a body of one of these models."""
    schema: dict[str, Any] = ref(models[0])
    if len(models) > 1:
        schema = {"oneOf": [ref(model) for model in models]}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def answers(
    model: type[BaseModel], *problems: int, status: int = 200, what: str = "Done"
) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: one answer, and problem details of these statuses."""
    content = {"application/json": {"schema": ref(model)}}
    return {status: {"description": what, "content": content}, **problem_answers(problems)}


def problem_answers(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of problem details; any route may find the database gone."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": ref(Problem)}}
    return {
        status: {"description": _MEANINGS[status], "content": content}
        for status in sorted({*statuses, 500, 503})
    }


_MEANINGS: Final = {
    401: "The key is missing, not known or revoked",
    403: "The key has not the scope, or the job is of another key",
    404: "There is no such job or key",
    409: "The state of the job or of the lease does not allow it",
    410: "Its dataset was deleted",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "A field of the request cannot be accepted",
    429: "Too many requests, or a limit of the key is used up; Retry-After says when to come again",
    500: "The service failed",
    503: "The database or the object store does not answer; try again",
}


def install(app: FastAPI) -> None:
    """Have the app publish the document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    _, schemas = models_json_schema(
        [(model, "validation") for model in (*_READ, *_ANSWERED)], ref_template=_REF
    )
    made["components"] = {
        "schemas": schemas["$defs"],
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    for operations in made["paths"].values():
        for operation in operations.values():
            _document_access(operation)
    return made


def _document_access(operation: dict[str, Any]) -> None:
    """Tell which scope an operation asks for, and what else it may answer for that."""
    scope = scope_of(operation["operationId"])
    if scope is None:
        return
    operation["security"] = [{"key": []}]
    operation["x-scope"] = scope
    refusals = {str(status): answer for status, answer in problem_answers((401, 403, 429)).items()}
    operation["responses"] = dict(sorted((refusals | operation["responses"]).items()))
