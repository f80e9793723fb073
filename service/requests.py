"""Around every request: an id, the time it took, and a line in the log.

The id goes with whatever is done for the request: into its log lines, into the problem that answers
it, and with the job that it makes to the shards of that job.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from synthforge import telemetry
from synthforge.json_logs import TOKEN_SHOWN, bound

_LOG: Final = logging.getLogger("service.access")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADER: Final = b"x-request-id"
# A caller may make methods up; each would be a series of metrics that never goes.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TRACEPARENT: Final = b"traceparent"


class RequestLog:
    """Counts, times and logs each request; the caller's X-Request-Id is kept, or one is made."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        header = _request_id(scope)
        request_id = header.decode()
        scope["request_id"] = request_id  # a failure is answered outside of this
        status = 500
        start = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_HEADER, header)]
            await send(message)

        with bound(request_id=request_id):
            try:
                if telemetry.is_on():
                    await self._traced(scope, receive, send_with_id, request_id)
                else:
                    await self._app(scope, receive, send_with_id)
            finally:
                self._note(scope, status, time.perf_counter() - start)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Answer one request in a span, which goes on from the caller's."""
        parent = telemetry.valid(_header(scope, _TRACEPARENT))
        method = scope["method"]
        with telemetry.span(method, parent, {"request_id": request_id}, "server") as span:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.note(status=message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_noted)
            finally:
                span.rename(f"{method} {_route_of(scope)}")

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        route = _route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).observe(took_s)
        _LOG.info(
            "request",
            extra={
                "method": scope["method"],
                "path": _shown_path(scope),
                "status": status,
                "key": scope.get("key_id", ""),
                "took_ms": round(took_s * 1000, 2),
            },
        )


def _route_of(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "(none)")


def _header(scope: Scope, wanted: bytes) -> str | None:
    found = (value.decode("latin-1") for name, value in scope["headers"] if name == wanted)
    return next(found, None)


def _shown_path(scope: Scope) -> str:
    """Return the path; of a lease's token no more than finds it."""
    path: str = scope["path"]
    token = scope.get("path_params", {}).get("token", "")
    return path.replace(token, token[:TOKEN_SHOWN] + "...", 1) if token else path


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == _HEADER and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
