"""Errors on the wire: RFC 9457 problem details for every answer of 4xx and 5xx."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.errors import PROBLEM_MEDIA_TYPE, PROBLEM_URN, PROBLEMS, ServiceError, field_error
from synthforge.field_errors import FieldError

_LOG: Final = logging.getLogger(__name__)
RETRY_AFTER_S: Final = 1


class Problem(BaseModel):
    """RFC 9457 problem details; `errors` names each field at fault."""

    type: Annotated[str, Field(description="urn:synthforge:problem:NAME, or about:blank")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="what is wrong, and what would do, in one line")]
    instance: Annotated[str, Field(description="path of the request")]
    request_id: Annotated[str, Field(description="X-Request-Id of the answer; the log names it")]
    errors: list[FieldError] = []


def install(app: FastAPI) -> None:
    """Have the app answer every error with problem details."""
    for kind, handler in _HANDLERS:
        app.add_exception_handler(kind, handler)


def problem_response(
    request: Request,
    status: int,
    detail: str,
    *,
    name: str | None = None,
    title: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return problem details; without a name the type is about:blank, as RFC 9457 has it."""
    body: dict[str, Any] = {
        "type": f"{PROBLEM_URN}{name}" if name else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": request.scope["request_id"],
        "errors": [error.model_dump() for error in errors],
    }
    extra = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Response(
        json.dumps(body), status, {**extra, **(headers or {})}, media_type=PROBLEM_MEDIA_TYPE
    )


async def _service_error(request: Request, error: ServiceError) -> Response:
    kind = PROBLEMS[type(error)]
    request.app.state.context.metrics.count_refusal(kind.name)
    return problem_response(
        request,
        kind.status,
        error.detail,
        name=kind.name,
        title=kind.title,
        errors=error.errors,
        headers=error.headers,
    )


async def _parameter_error(request: Request, error: RequestValidationError) -> Response:
    errors = [
        field_error(".".join(map(str, item["loc"][1:])), item.get("input"), item["msg"])
        for item in error.errors()
    ]
    first = errors[0]
    return problem_response(
        request,
        422,
        f"{first.field} is {first.value!r}: {first.message}",
        name="invalid-request",
        title="The request cannot be accepted",
        errors=errors,
    )


async def _http_error(request: Request, error: HTTPException) -> Response:
    details = {
        404: "nothing is served at this path: GET /openapi.json lists what is",
        405: f"{request.method} is not for this path: the header Allow lists what is",
    }
    return problem_response(
        request,
        error.status_code,
        details.get(error.status_code, error.detail),
        headers=error.headers,
    )


async def _database_error(request: Request, error: Exception) -> Response:
    _LOG.error("the database does not answer", exc_info=error)
    return problem_response(
        request,
        503,
        "the database does not answer: try again",
        name="database-unavailable",
        title="The database is not there",
    )


async def _bug(request: Request, error: Exception) -> Response:
    told = {"path": request.url.path, "request_id": request.scope["request_id"]}
    _LOG.error("a request failed", exc_info=error, extra=told)
    # Answered outside of the middleware that would say the id.
    headers = {"X-Request-Id": request.scope["request_id"]}
    return problem_response(request, 500, "the service failed: its log says how", headers=headers)


# Starlette types a handler by the widest exception, and calls it with its own alone.
_HANDLERS: Final[tuple[tuple[type[Exception], Any], ...]] = (
    (ServiceError, _service_error),
    (RequestValidationError, _parameter_error),
    (HTTPException, _http_error),
    (OperationalError, _database_error),
    (NoConnectionError, _database_error),
    (Exception, _bug),
)
