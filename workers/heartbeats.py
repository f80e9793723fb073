"""The heartbeats of leases: sent when due, and the pool's own clock when nobody answers them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

from synthforge.client import Client
from synthforge.leases import Heartbeat, HeartbeatAnswer
from synthforge.refusals import ApiError
from workers.job_log import about
from workers.messenger import Messenger, is_gone
from workers.slots import Work

log = logging.getLogger(__name__)


class Heartbeats:
    """Keeps leases alive; tells which are gone and which are for nothing."""

    def __init__(self, client: Client, messenger: Messenger, clock: Callable[[], float]) -> None:
        """Send nothing yet; `clock` gives seconds that only rise."""
        self._client = client
        self._messenger = messenger
        self._clock = clock

    def tend(
        self,
        works: dict[str, Work],
        abandon: Callable[[str], None],
        cancel: Callable[[str], None],
    ) -> None:
        """Take in answers, and send what is due.

        Args:
            works: of one actor, by token.
            abandon: called where the lease is another's, or may be by our own clock.
            cancel: called once where the service says that the work is for nothing.
        """
        for token, work in list(works.items()):
            with about(work.lease):
                if not self._lives_on(token, work, cancel):
                    abandon(token)

    def _lives_on(self, token: str, work: Work, cancel: Callable[[str], None]) -> bool:
        """Take in the answer to one lease's heartbeat, and send the next where it is due."""
        if not self._is_answered_well(token, work, cancel):
            return False
        now = self._clock()
        if work.beating is None and now - work.beat_at >= work.lease.heartbeat_s:
            work.beat_at = now
            work.beating = self._sent(token, work)
        if now - work.answered_at > work.lease.lease_s:  # it may be another's by now
            log.warning("no heartbeat of the lease was answered in its time")
            return False
        return True

    def _is_answered_well(self, token: str, work: Work, cancel: Callable[[str], None]) -> bool:
        if work.beating is None or not work.beating.done():
            return True
        answer, work.beating = work.beating, None
        try:
            told = answer.result()
        except ApiError as error:
            log.warning("a heartbeat was not answered: %s", error)
            return not is_gone(error)
        work.answered_at = work.beat_at  # the service counts from when it was asked, or later
        if told.cancelled and not work.cancelled_by_service:
            work.cancelled_by_service = True
            cancel(token)
        return True

    def _sent(self, token: str, work: Work) -> Future[HeartbeatAnswer]:
        done = work.progress
        other = done.num_rejected + done.num_steps
        beat = Heartbeat(num_samples=done.num_samples, num_rejected=other)
        return self._messenger.ask(lambda: self._client.heartbeat(token, beat))
