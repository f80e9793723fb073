"""The database's times, seconds since 1970, as answers, events and webhooks tell them: ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


def moment(seconds: float | None) -> datetime | None:
    """Return a time of the database."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@overload
def told_time(seconds: float) -> str: ...


@overload
def told_time(seconds: None) -> None: ...


@overload
def told_time(seconds: float | None) -> str | None: ...


def told_time(seconds: float | None) -> str | None:
    """Return a time of the database as text: ISO 8601 in UTC, as 2026-11-26T10:52:59.685013Z."""
    at = moment(seconds)
    return None if at is None else at.isoformat().removesuffix("+00:00") + "Z"
