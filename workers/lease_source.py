"""Where a pool gets its work: the service, seen from a worker."""

from __future__ import annotations

from typing import Protocol

from synthforge.leases import (
    Heartbeat,
    HeartbeatAnswer,
    LeaseGrant,
    LeaseRequest,
    LeaseReturn,
    Report,
    ShardPage,
)


class LeaseGone(Exception):  # noqa: N818 - says what happened
    """The token is not, or no longer, that of an open execution."""


class SourceUnavailable(Exception):  # noqa: N818 - says what happened
    """The service gave no answer; it may later."""


class LeaseSource(Protocol):
    """The workers' side of the service. Each call may raise `SourceUnavailable`."""

    def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Ask for work."""
        ...

    def heartbeat(self, token: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Say how far an execution is; raises `LeaseGone`."""
        ...

    def report(self, token: str, report: Report) -> None:
        """Say that the work lies in the store; raises `LeaseGone`."""
        ...

    def return_(self, token: str, undone: LeaseReturn) -> None:
        """Give work back undone; raises `LeaseGone`."""
        ...

    def shards(self, token: str, after: str | None) -> ShardPage:
        """Return a page of the committed shards of a summary lease's job."""
        ...
