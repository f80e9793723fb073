"""What every route works with, made once by `create_app`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from service.access import Gate
from service.leasing import Terms
from service.metrics import Metrics
from service.objects import StorageFactory
from service.rates import RateBook
from service.settings import Settings
from service.store import Store


@dataclass(frozen=True)
class Context:
    """The service's parts.

    Attributes:
        stopping: set when the service shuts down; open event streams end.
        rates: what shards cost, since it was last written down.
        manifest_due: set when a job may be ready for its manifest.
        clearing_due: set when what a job left in the store is to be deleted.
    """

    settings: Settings
    store: Store
    open_storage: StorageFactory
    metrics: Metrics
    gate: Gate
    stopping: threading.Event = field(default_factory=threading.Event)
    rates: RateBook = field(default_factory=RateBook)
    manifest_due: threading.Event = field(default_factory=threading.Event)
    clearing_due: threading.Event = field(default_factory=threading.Event)

    @property
    def terms(self) -> Terms:
        """How long a lease lives."""
        held = self.settings
        return Terms(lease_s=held.lease_s, heartbeat_s=held.heartbeat_s, stall_s=held.stall_s)


async def _context(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


InContext = Annotated[Context, Depends(_context)]
