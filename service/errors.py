"""What can go wrong with a request, and in one table the problem type and status of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from synthforge.field_errors import FieldError

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_URN: Final = "urn:synthforge:problem:"
_QUOTA_WAIT_S: Final = 60


class ServiceError(Exception):
    """A request that is not done, and why: one line, and the fields at fault where there are."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    @property
    def headers(self) -> Mapping[str, str]:
        """What of HTTP goes with the answer."""
        return {}


class UnauthorizedError(ServiceError):
    """There is no key, or one that is not known."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Say what kind of key is asked for (RFC 6750)."""
        return {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ServiceError):
    """The key may not do this."""


class UnknownKeyError(ServiceError):
    """No key has that id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"no key has the id {key_id[:80]!r}: `synthforge keys list` (GET /v1/keys) shows those "
            "there are"
        )


class RateLimitedError(ServiceError):
    """Too many requests in too short a time."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__(f"too many requests: wait {self.wait_s} s, then send fewer")

    @property
    def headers(self) -> Mapping[str, str]:
        """Say when to come again."""
        return {"Retry-After": str(self.wait_s)}


class QuotaExceededError(ServiceError):
    """A limit of the key is used up; it is free again when jobs end or data is deleted."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Say when to come again: jobs take a while to end."""
        return {"Retry-After": str(_QUOTA_WAIT_S)}


class UnknownWebhookError(ServiceError):
    """The key has no webhook of that id."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f"you have no webhook {webhook_id[:80]!r}: GET /v1/webhooks lists those there are"
        )


class InvalidRequestError(ServiceError):
    """A field holds what cannot be."""


class UnsupportedMediaTypeError(ServiceError):
    """The body is not said to be JSON."""


class BodyTooLargeError(ServiceError):
    """The body is longer than the service reads."""


class UnknownJobError(ServiceError):
    """No job has that id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"no job has the id {job_id[:80]!r}: `synthforge jobs` (GET /v1/jobs) lists "
            "those there are"
        )


class StateConflictError(ServiceError):
    """The job's state does not allow it."""

    def __init__(self, job_id: str, state: str, allowed: str, done: str) -> None:
        super().__init__(f"job {job_id} is {state}: one that is {allowed} can be {done}")


class BeingClearedError(ServiceError):
    """What the job left in the store is being deleted."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"what job {job_id} left is being deleted: try again when it is")


class DatasetDeletedError(ServiceError):
    """The job's dataset is there no longer."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the dataset of job {job_id} was deleted: submit its spec again")


class NotYetError(ServiceError):
    """The job has not come so far."""


class OutputTakenError(ServiceError):
    """Another job writes, or wrote, to that prefix."""


class KeyReusedError(ServiceError):
    """The Idempotency-Key came with another body before."""


class StaleLeaseError(ServiceError):
    """The token does not hold its work, or no longer."""

    def __init__(self) -> None:
        super().__init__(
            "the lease is not held: it lapsed, was given back, or never was; "
            "throw the work away and lease anew"
        )


class ReportConflictError(ServiceError):
    """The lease was reported with another record before."""


class NotASummaryError(ServiceError):
    """The lease is of a shard, and asks for what only a summary may read."""


class StorageUnavailableError(ServiceError):
    """The object store does not answer; the same request may do later."""


class TooManyPreviewsError(ServiceError):
    """As many previews as may be are waited for already."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} previews are waited for already: ask again in a moment")

    @property
    def headers(self) -> Mapping[str, str]:
        """Say when to come again."""
        return {"Retry-After": "1"}


class PreviewFailedError(ServiceError):
    """The worker cannot make the preview."""


class PreviewTimeoutError(ServiceError):
    """No worker made the preview in time."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(
            f"no worker made the preview within {patience_s:g} s: is a pool up, with an actor that "
            "runs this generator? Fewer samples, or smaller ones, take less"
        )


class ShuttingDownError(ServiceError):
    """This process ends, and what it was asked for with it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the service is shutting down, {what} is not waited for: ask again")


class NotReadyError(ServiceError):
    """The service cannot work now."""


@dataclass(frozen=True)
class ProblemKind:
    """How an exception is told: RFC 9457's status, type (after our URN) and title."""

    status: int
    name: str
    title: str


PROBLEMS: Final[dict[type[ServiceError], ProblemKind]] = {
    UnauthorizedError: ProblemKind(401, "unauthorized", "A key is needed"),
    ForbiddenError: ProblemKind(403, "forbidden", "The key may not do this"),
    UnknownKeyError: ProblemKind(404, "unknown-key", "There is no such key"),
    RateLimitedError: ProblemKind(429, "rate-limited", "There are too many requests"),
    QuotaExceededError: ProblemKind(429, "quota-exceeded", "A limit of the key is used up"),
    InvalidRequestError: ProblemKind(422, "invalid-request", "The request cannot be accepted"),
    UnsupportedMediaTypeError: ProblemKind(415, "unsupported-media-type", "The body must be JSON"),
    BodyTooLargeError: ProblemKind(413, "body-too-large", "The body is too large"),
    UnknownJobError: ProblemKind(404, "unknown-job", "There is no such job"),
    StateConflictError: ProblemKind(409, "state-conflict", "The job's state does not allow it"),
    BeingClearedError: ProblemKind(409, "being-cleared", "The job's objects are being deleted"),
    DatasetDeletedError: ProblemKind(410, "dataset-deleted", "The dataset was deleted"),
    NotYetError: ProblemKind(409, "not-yet", "The job has not come so far"),
    OutputTakenError: ProblemKind(409, "output-taken", "Another job has the output prefix"),
    KeyReusedError: ProblemKind(
        422, "idempotency-key-reused", "The Idempotency-Key has another body"
    ),
    StaleLeaseError: ProblemKind(409, "stale-lease", "The lease is not held"),
    ReportConflictError: ProblemKind(409, "report-conflict", "The lease was reported otherwise"),
    NotASummaryError: ProblemKind(409, "not-a-summary", "The lease is not of a summary"),
    StorageUnavailableError: ProblemKind(
        503, "storage-unavailable", "The object store is not there"
    ),
    TooManyPreviewsError: ProblemKind(429, "too-many-previews", "There are too many previews"),
    PreviewFailedError: ProblemKind(422, "preview-failed", "The preview cannot be made"),
    PreviewTimeoutError: ProblemKind(503, "preview-timeout", "No worker made the preview in time"),
    ShuttingDownError: ProblemKind(503, "shutting-down", "The service is shutting down"),
    UnknownWebhookError: ProblemKind(404, "unknown-webhook", "There is no such webhook"),
    NotReadyError: ProblemKind(503, "not-ready", "The service is not ready"),
}


def field_error(field: str, value: object, message: str) -> FieldError:
    """Return one field's fault; a long value is cut."""
    shown = str(value)
    return FieldError(
        field=field, message=message, value=shown if len(shown) <= 80 else shown[:77] + "..."
    )


def invalid(field: str, value: object, message: str) -> InvalidRequestError:
    """Return the error of one field: where, what was given, what would do."""
    error = field_error(field, value, message)
    return InvalidRequestError(f"{field} is {error.value!r}: {message}", [error])
