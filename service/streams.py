"""A job's events as a stream; no database connection is held while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

from service.context import Context
from service.dispatch import call
from service.store.rows import EventRow, JobRow

EVENTS_AT_ONCE: Final = 500


async def job_events(context: Context, job: JobRow, after: int) -> AsyncIterator[str]:
    """Yield the events of a job behind a sequence number, until it ends or the service does.

    That the job has ended is read before its last events are, so that none is missed.
    """
    database = context.store.database
    silent_since = time.monotonic()
    while True:
        current = await call(database, context.store.jobs.get, job.id)
        while current.num_events > after:
            found = await call(
                database, context.store.jobs.events, current.num, after, EVENTS_AT_ONCE
            )
            for event in found:
                yield event_text(event)
            after = found[-1].seq if found else current.num_events
            silent_since = time.monotonic()
        if current.state.is_final or context.stopping.is_set():
            return
        if time.monotonic() - silent_since >= context.settings.events_keepalive_s:
            yield ": still here\n\n"
            silent_since = time.monotonic()
        await asyncio.sleep(context.settings.events_poll_s)


def event_text(event: EventRow) -> str:
    """Return an event as `text/event-stream` has it; `data` is JSON in one line."""
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {event.data}\n\n"
