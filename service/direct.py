"""Routes in constant use, answered without FastAPI's resolver.

FastAPI finds a route twice over and resolves one dependency after another, which takes longer than
all the work of a status read. The routes stay as they are declared, documented and, for whoever
sends what does not fit, answered: a request is taken here only where its path is as documented.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Final, cast

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from service.access import scope_of
from service.bodies import read_body
from service.context import Context
from service.dispatch import call

DIRECT: Final = ("get_job", "lease", "heartbeat", "report", "return_lease")
"""Operations that take the context, at most one parameter of the path, and perhaps a body."""
_PARAMETER: Final = re.compile(r"{(\w+)}")
_AS_DOCUMENTED: Final = r"(?P<\1>[!-.0-~]{1,64})"  # `VISIBLE_ASCII` without a slash


class DirectRoute(BaseRoute):
    """Answers for a route that touches nothing but the database: key, body, work."""

    def __init__(self, route: APIRoute) -> None:
        self._route = route
        self._method = next(iter(route.methods or ()))
        self._pattern = re.compile(_PARAMETER.sub(_AS_DOCUMENTED, route.path))
        self._scope = scope_of(route.operation_id)
        # What `dispatch.database_only` wraps.
        self._work = cast("Callable[..., Response]", route.endpoint.__wrapped__)  # type: ignore[attr-defined]
        self._takes_body = "body" in signature(self._work).parameters

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a request fits exactly."""
        if scope["type"] != "http" or scope["method"] != self._method or scope["root_path"]:
            return Match.NONE, {}
        found = self._pattern.fullmatch(scope["path"])
        if found is None:
            return Match.NONE, {}
        return Match.FULL, {"route": self._route, "path_params": found.groupdict()}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing is read of the body of one that is refused."""
        context: Context = scope["app"].state.context
        request = Request(scope, receive)
        database = context.store.database
        if self._takes_body:
            await call(database, self._admit, context, request)
            body = await read_body(request)
            response = await call(database, self._work, context, **request.path_params, body=body)
        else:
            response = await call(database, self._admit_and_work, context, request)
        await response(scope, receive, send)

    def _admit(self, context: Context, request: Request) -> None:
        peer = request.client.host if request.client else ""
        principal = context.gate.admit(request.headers.get("authorization"), self._scope, peer)
        request.scope["key_id"] = principal.owner

    def _admit_and_work(self, context: Context, request: Request) -> Response:
        self._admit(context, request)
        return self._work(context, **request.path_params)


def direct_routes(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return what answers, before FastAPI does, for those of these routes that are `DIRECT`."""
    return [
        DirectRoute(route)
        for route in routes
        if isinstance(route, APIRoute) and route.operation_id in DIRECT
    ]
