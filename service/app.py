"""Wires the service together and decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from sqlalchemy.exc import OperationalError

from service import documents, problems
from service.access import Gate, authorize
from service.context import Context
from service.database import Database, place_of
from service.direct import direct_routes
from service.loops import make_loops, stop_all
from service.metrics import Metrics
from service.objects import StorageFactory, storage_under
from service.requests import RequestLog
from service.routes import (
    actions,
    datasets,
    estimates,
    events,
    health,
    jobs,
    keys,
    leases,
    logs,
    previews,
    webhooks,
)
from service.settings import Settings
from service.store import Store
from synthforge import __version__
from synthforge.telemetry import tracing


def open_store(settings: Settings, *, must_exist: bool = False) -> Store:
    """Open the database and bring its schema to this release's.

    Args:
        settings: name it.
        must_exist: make no file where there is none.

    Raises:
        ValueError: the setting names no database.
        OSError: the database cannot be opened, in the words of its driver; or is not there.
    """
    database = Database(settings.database_url, sqlite_synchronous=settings.sqlite_synchronous)
    where = place_of(settings.database_url)
    if must_exist and database.is_missing:
        raise OSError(
            f"no database {where}: set SYNTHFORGE_DATABASE_URL as the service has it, or be in the "
            "folder that the service was started in"
        )
    try:
        database.migrate()
    except OperationalError as error:
        raise OSError(f"the database {where} cannot be opened: {error.orig}") from error
    return Store(database)


def create_app(
    settings: Settings, store: Store | None = None, storage_factory: StorageFactory | None = None
) -> FastAPI:
    """Make the service.

    Args:
        settings: of the operator.
        store: an open database; by default that of the settings, migrated.
        storage_factory: opens the object store at a URL; by default under the settings' prefixes.
    """
    held = store or open_store(settings)
    context = Context(
        settings=settings,
        store=held,
        open_storage=storage_factory or storage_under(settings.output_prefixes),
        metrics=Metrics(held),
        gate=Gate(settings, held),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loops = make_loops(context)
        for loop in loops:
            loop.start()
        try:
            with tracing(settings.traces_url, "synthforge-service"):
                yield
        finally:
            context.stopping.set()
            stop_all(loops)
            held.database.close()

    app = FastAPI(
        title="SynthForge",
        version=__version__,
        description="Annotated synthetic face datasets on demand.",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        dependencies=[Depends(authorize)],
    )
    app.state.context = context
    for routes in (
        jobs,
        actions,
        datasets,
        estimates,
        previews,
        events,
        webhooks,
        leases,
        logs,
        keys,
        health,
    ):
        app.include_router(routes.router)
        app.router.routes[:0] = direct_routes(routes.router.routes)
    problems.install(app)
    documents.install(app)
    app.add_middleware(RequestLog, metrics=context.metrics)
    return app
