"""Who may do what: one table of routes, one gate before all of them.

A route that the table does not name is for `admin` alone, so a new one is never open by mistake.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from service.dispatch import call
from service.errors import ForbiddenError, RateLimitedError, UnauthorizedError
from service.limits import RateLimit
from service.settings import Settings
from service.store import Store
from synthforge.keys import SCOPES, Scope

_FAILURES_PER_S: Final = 10.0  # wrong keys from one address
_ANYONE_RATE: Final = "(anyone)"

# None: open to all.
SCOPE_OF: Final[dict[str, Scope | None]] = {
    "healthz": None,
    "readyz": None,
    "metrics": "read",
    "submit_job": "submit",
    "change_job": "submit",
    "pause_job": "submit",
    "resume_job": "submit",
    "cancel_job": "submit",
    "retry_job": "submit",
    "extend_job": "submit",
    "estimate_job": "read",
    "preview": "submit",
    "create_webhook": "submit",
    "delete_webhook": "submit",
    "list_webhooks": "submit",
    "list_deliveries": "submit",
    "lease_previews": "worker",
    "report_preview": "worker",
    "delete_dataset": "admin",
    "list_jobs": "read",
    "get_job": "read",
    "watch_job": "read",
    "get_job_logs": "read",
    "get_manifest": "read",
    "list_pools": "read",
    "lease": "worker",
    "heartbeat": "worker",
    "report": "worker",
    "return_lease": "worker",
    "tell_logs": "worker",
    "list_committed_shards": "worker",
    "create_key": "admin",
    "list_keys": "admin",
    "revoke_key": "admin",
}


def scope_of(operation_id: str | None) -> Scope | None:
    """Return what a route asks of a key; None asks for no key."""
    return SCOPE_OF.get(operation_id or "", "admin")


@dataclass(frozen=True)
class Principal:
    """Whoever sends a request.

    Attributes:
        owner: id of the key, by which jobs are owned; '' where no keys are asked for.
        name: for people.
        scopes: what the key may do.
    """

    owner: str
    name: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Tell whether this scope, or admin, is the key's."""
        return scope in self.scopes or "admin" in self.scopes


ANYONE: Final = Principal(owner="", name="anyone", scopes=frozenset(SCOPES))


class Gate:
    """Lets requests pass: by key, by scope, and not too many."""

    def __init__(
        self, settings: Settings, store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._asks_for_keys = settings.auth == "keys"
        self._store = store
        self._clock = clock
        self._rate = RateLimit(settings.rate_limit_per_s)
        self._failures = RateLimit(_FAILURES_PER_S)

    def asks_the_database(self, scope: Scope | None) -> bool:
        """Tell whether `admit` looks a key up."""
        return self._asks_for_keys and scope is not None

    def admit(self, authorization: str | None, scope: Scope | None, peer: str) -> Principal:
        """Return who asks; safe to use from threads.

        Args:
            authorization: the header.
            scope: that the route needs; None for a route that is open.
            peer: address of the caller.

        Raises:
            UnauthorizedError: no key, or one that is not known or revoked.
            ForbiddenError: the key has not the scope.
            RateLimitedError: too many requests.
        """
        if scope is None:
            return ANYONE
        if not self._asks_for_keys:
            self._check_rate(self._rate, _ANYONE_RATE)
            return ANYONE
        principal = self._identify(authorization, peer)
        self._check_rate(self._rate, principal.owner)
        if not principal.may(scope):
            held = ", ".join(sorted(principal.scopes))
            raise ForbiddenError(
                f"the key {principal.name} has the scopes {held}: this needs {scope}"
            )
        return principal

    def _identify(self, authorization: str | None, peer: str) -> Principal:
        kind, _, key = (authorization or "").partition(" ")
        principal = None
        if kind.lower() == "bearer" and key:
            principal = self._look_up(hash_key(key.strip()))
        if principal is None:
            self._check_rate(self._failures, peer)
            raise UnauthorizedError(
                "the key is not known, or was revoked: `synthforge keys list` shows an admin "
                "those there are"
                if key
                else "no key was sent: set SYNTHFORGE_KEY_FILE to its file, or SYNTHFORGE_KEY, for "
                "the command (over HTTP the header Authorization: Bearer KEY); `synthforge keys "
                "bootstrap` beside the service's database makes the first one"
            )
        return principal

    def _look_up(self, digest: str) -> Principal | None:
        """Ask the database at every request: a key that a replica revoked is refused by all."""
        row = self._store.keys.by_hash(digest)
        if row is None or row.revoked_at is not None or not hmac.compare_digest(row.hash, digest):
            return None
        return Principal(row.id, row.name, frozenset(row.scopes))

    def _check_rate(self, limit: RateLimit, name: str) -> None:
        wait_s = limit.take(name, self._clock())
        if wait_s:
            raise RateLimitedError(wait_s)


def hash_key(key: str) -> str:
    """Return what the service keeps of a key: random keys of 128 bits and more need no salt."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


async def authorize(request: Request) -> Principal:
    """Let a request pass to its route, or raise; a job is changed by its owner or an admin."""
    context = request.app.state.context
    scope = scope_of(getattr(request.scope.get("route"), "operation_id", None))
    peer = request.client.host if request.client else ""
    gate: Gate = context.gate
    asked = (request.headers.get("authorization"), scope, peer)
    if gate.asks_the_database(scope):
        principal = await call(context.store.database, gate.admit, *asked)
    else:
        principal = gate.admit(*asked)
    request.scope["key_id"] = principal.owner
    job_id = request.path_params.get("job_id")
    if scope == "submit" and job_id is not None and "admin" not in principal.scopes:
        owner = await call(context.store.database, context.store.jobs.owner_of, job_id)
        if owner not in {None, principal.owner}:
            raise ForbiddenError(
                f"job {job_id} is of another key: its own, or an admin's, would do"
            )
    return principal


InPrincipal = Annotated[Principal, Depends(authorize)]
