"""Where the work of a request is done: at once, or on a thread.

SQLite answers in a fraction of a millisecond and has one writer: a thread would only add what it
costs to hand work over, a quarter of a status read. So on SQLite what touches nothing but the
database is done where the request is read. PostgreSQL is a network away,
and the object store is always: what waits for them waits on a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar, cast

from service.database import Database

if TYPE_CHECKING:
    from service.context import Context

_P = ParamSpec("_P")
_T = TypeVar("_T")
# As many as the pool keeps connections. Starlette's own threads take three times as long to reach.
_THREADS: Final = ThreadPoolExecutor(20, thread_name_prefix="database")


async def call(
    database: Database, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Do work that touches nothing but the database."""
    if database.answers_at_once:
        return work(*args, **kwargs)
    job = functools.partial(contextvars.copy_context().run, work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, job)


def database_only(
    route: Callable[Concatenate[Context, _P], _T],
) -> Callable[Concatenate[Context, _P], Awaitable[_T]]:
    """Mark a route that touches nothing but the database; its first parameter is the context."""

    @functools.wraps(route)
    async def dispatched(context: Context, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await call(context.store.database, route, context, *args, **kwargs)

    return cast("Callable[Concatenate[Context, _P], Awaitable[_T]]", dispatched)
