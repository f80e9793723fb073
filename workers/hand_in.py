"""What becomes of leased work, told to the service: a report, or the work given back undone."""

from __future__ import annotations

import logging
from typing import Final

from synthforge import telemetry
from synthforge.client import Client
from synthforge.leases import MAX_MESSAGE, Lease, LeaseReturn, Report
from synthforge.refusals import ApiError
from workers.job_log import about, of_trace
from workers.messenger import Messenger

log = logging.getLogger(__name__)

_PEACEFUL: Final = {"stopping", "cancelled"}  # nobody need look into these


class HandIn:
    """Tells for as long as a lease lasts; never waits."""

    def __init__(self, client: Client, messenger: Messenger) -> None:
        self._client = client
        self._messenger = messenger

    def report(self, lease: Lease, report: Report) -> None:
        """Hand finished work in; a report that is refused for good gives the work back."""

        def hand_in() -> None:
            with telemetry.span("report", lease.traceparent, of_trace(lease), "client"):
                is_news = self._client.report(lease.token, report)
            log.info("%s is committed%s", lease.what, "" if is_news else ", as it was before")

        def give_up(error: ApiError) -> None:
            log.error("the report is refused: %s", error)
            message = f"refused: {error}"[:MAX_MESSAGE]
            self.give_back(lease, LeaseReturn(reason="failed", message=message))

        with about(lease):
            self._messenger.tell(hand_in, lease.lease_s, give_up)

    def give_back(self, lease: Lease, returned: LeaseReturn) -> None:
        """Give work back undone."""
        level = logging.INFO if returned.reason in _PEACEFUL else logging.WARNING
        why = f"{returned.reason}: {returned.message}" if returned.message else returned.reason
        with about(lease):
            log.log(level, "%s comes back undone, %s", lease.what, why)
            self._messenger.tell(lambda: self._client.return_(lease.token, returned), lease.lease_s)
