"""What the service's refusals are in Python: one class a kind, from problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import httpx
from pydantic import ValidationError

from synthforge.field_errors import FieldError

BLANK: Final = "about:blank"  # RFC 9457: no more is known than the status
_STALE_LEASE: Final = "urn:synthforge:problem:stale-lease"


class ApiError(Exception):
    """The service refused a request; its problem details (RFC 9457) say why.

    Attributes:
        status: of HTTP.
        type: URN of the kind of problem.
        detail: what is wrong and what would do, in one line.
        errors: each field at fault.
        retry_after_s: wait so long before the same call, if the service said so.
    """

    def __init__(
        self, status: int, type_: str, detail: str, errors: Iterable[FieldError] = ()
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.type = type_
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = 0.0


class InvalidRequestError(ApiError):
    """A field holds what cannot be (413, 415, 422)."""


class UnauthorizedError(ApiError):
    """No key, or one that is not known or revoked (401)."""


class ForbiddenError(ApiError):
    """The key has not the scope, or the job is of another key (403)."""


class NotFoundError(ApiError):
    """There is no such job or key (404)."""


class ConflictError(ApiError):
    """The state of the job does not allow it (409)."""


class StaleLeaseError(ConflictError):
    """The token does not hold its work any more: throw the work away and lease anew."""


class UnavailableError(ApiError):
    """The service cannot be reached, or says that it cannot work now (0, 429, 502 to 504)."""


class UnreachableError(UnavailableError):
    """No answer came: nothing listens there, or the network is in the way (0)."""

    def __init__(self, detail: str) -> None:
        super().__init__(0, BLANK, detail)


def refusal_of(answer: httpx.Response) -> ApiError:
    """Turn an answer of 4xx or 5xx to the error that says so."""
    type_, detail, errors = BLANK, f"{answer.status_code} {answer.reason_phrase}", []
    try:
        problem = answer.json()
        type_, detail = str(problem["type"]), str(problem["detail"])
        errors = [FieldError.model_validate(error) for error in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError, ValidationError):
        pass  # a proxy's page, not the service's word: the status has to do
    match answer.status_code:
        case 401:
            kind: type[ApiError] = UnauthorizedError
        case 403:
            kind = ForbiddenError
        case 409 if type_ == _STALE_LEASE:
            kind = StaleLeaseError
        case 409:
            kind = ConflictError
        case 404:
            kind = NotFoundError
        case 413 | 415 | 422:
            kind = InvalidRequestError
        case 429 | 502 | 503 | 504:
            kind = UnavailableError
        case _:
            kind = ApiError
    refusal = kind(answer.status_code, type_, detail, errors)
    told = answer.headers.get("Retry-After", "")
    refusal.retry_after_s = float(told) if told.isdigit() else 0.0
    return refusal
