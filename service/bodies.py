"""Bodies as bytes: of the right type, not too long, parsed strictly as JSON by the contract."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from service.access import scope_of
from service.errors import BodyTooLargeError, InvalidRequestError, UnsupportedMediaTypeError
from service.settings import Settings
from synthforge.field_errors import field_errors

_T = TypeVar("_T")


async def read_body(request: Request) -> bytes:
    """Read a JSON body, no further than the limit.

    Raises:
        UnsupportedMediaTypeError, BodyTooLargeError, InvalidRequestError: it is none.
    """
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
        raise UnsupportedMediaTypeError(
            f"Content-Type is {given[:80]!r}: application/json (UTF-8) would do"
        )
    limit = _limit(request)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise BodyTooLargeError(f"the body has more than {limit} bytes: fewer would do")
    except ClientDisconnect:
        raise InvalidRequestError("the body ended before its Content-Length") from None
    return bytes(body)


def _limit(request: Request) -> int:
    """Return how long a body may be: workers may send more than others, once they were let in."""
    settings: Settings = request.app.state.context.settings
    operation_id = getattr(request.scope.get("route"), "operation_id", None)
    is_of_worker = scope_of(operation_id) == "worker"
    return settings.worker_body_limit_bytes if is_of_worker else settings.body_limit_bytes


JsonBody = Annotated[bytes, Depends(read_body)]


def parsed(adapter: TypeAdapter[_T], body: bytes) -> _T:
    """Parse a body by the contract.

    Raises:
        InvalidRequestError: naming each field at fault.
    """
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        errors = field_errors(error)
        first = errors[0]
        raise InvalidRequestError(f"{first.field}: {first.message}", errors) from None
