"""Where the work of a request is done: at once, or on a thread.

SQLite answers in a fraction of a millisecond and has one writer: a thread would only add what it
costs to hand work over, a quarter of a status read. So on SQLite what touches nothing but the
database is done where the request is read. PostgreSQL is a network away,
and the object store is always: what waits for them waits on a thread.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from starlette.concurrency import run_in_threadpool

from service.database import Database

if TYPE_CHECKING:
    from service.context import Context

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def call(
    database: Database, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Do work that touches nothing but the database."""
    if database.answers_at_once:
        return work(*args, **kwargs)
    return await run_in_threadpool(work, *args, **kwargs)


def database_only(
    route: Callable[Concatenate[Context, _P], _T],
) -> Callable[Concatenate[Context, _P], Awaitable[_T]]:
    """Mark a route that touches nothing but the database; its first parameter is the context."""

    @functools.wraps(route)
    async def dispatched(context: Context, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await call(context.store.database, route, context, *args, **kwargs)

    return cast("Callable[Concatenate[Context, _P], Awaitable[_T]]", dispatched)
