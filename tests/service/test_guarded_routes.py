"""Every operation of the OpenAPI document asks for a key that may: none is forgotten."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.routing import APIRoute

import service.routes
from service.access import SCOPE_OF, scope_of
from service.app import create_app
from service.database import Database
from service.keys import issue
from service.settings import Settings
from service.store import Store
from synthforge.keys import SCOPES, KeyRequest, Scope
from tests.service.driver import TestClient
from tests.service.test_refusals import refusal

OPEN: Final = {"healthz", "readyz"}
OUTSIDE_THE_DOCUMENT: Final = {"/openapi.json", "/docs", "/docs/oauth2-redirect"}


@dataclass(frozen=True)
class Operation:
    """One row of the OpenAPI document."""

    id: str
    method: str
    path: str
    scope: str | None


def _operations() -> list[Operation]:
    """Read the document that the service publishes; no database is opened for it."""
    document = create_app(Settings(), Store(Database("sqlite:///none.db"))).openapi()
    return [
        Operation(found["operationId"], method.upper(), path, found.get("x-scope"))
        for path, methods in document["paths"].items()
        for method, found in methods.items()
    ]


OPERATIONS: Final = _operations()
each_guarded = pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.scope], ids=lambda each: str(each.id)
)


@dataclass(frozen=True)
class Guarded:
    """A service that asks for keys; what is sent here names nothing that exists.

    Attributes:
        revoked: a key of every scope that was revoked.
        able: by scope, a key that has it alone.
        narrow: by scope, a key that has every other but admin.
    """

    app: Any
    revoked: str
    able: dict[Scope, str]
    narrow: dict[Scope, str]

    def ask(self, operation: Operation, **headers: str | bytes) -> Any:
        """Send a request, each operation's from an address of its own."""
        http = TestClient(self.app, raise_server_exceptions=False, client=(operation.id, 1))
        path = re.sub(r"{[^}]*}", "x", operation.path)
        return http.request(operation.method, path, headers=headers)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def guarded(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    path = folder / "service.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    store = Store(Database(f"sqlite:///{path}"))

    def key_with(*scopes: Scope) -> tuple[str, str]:
        row, key = issue(store, KeyRequest(name="-".join(scopes), scopes=scopes))
        return row.id, key

    revoked_id, revoked = key_with(*SCOPES)
    store.keys.revoke(revoked_id)
    yield Guarded(
        create_app(Settings(output_prefixes=(str(folder),)), store),
        revoked,
        able={scope: key_with(scope)[1] for scope in SCOPES},
        narrow={
            scope: key_with(*(other for other in SCOPES if other not in {scope, "admin"}))[1]
            for scope in SCOPES
        },
    )
    store.database.close()


def test_the_document_names_every_route_and_the_table_every_operation() -> None:
    written = set()
    for module in pkgutil.iter_modules(service.routes.__path__):
        router = importlib.import_module(f"service.routes.{module.name}").router
        written |= {route.operation_id for route in router.routes if isinstance(route, APIRoute)}
    assert {each.id for each in OPERATIONS} == written == set(SCOPE_OF)
    assert {each.id for each in OPERATIONS if each.scope is None} == OPEN


def test_only_the_document_and_its_page_stand_outside_the_document(guarded: Guarded) -> None:
    paths = {str(getattr(route, "path", "")) for route in guarded.app.routes}
    documented = {each.path for each in OPERATIONS}
    assert {path for path in paths if path} - documented <= OUTSIDE_THE_DOCUMENT


def test_an_operation_that_the_table_forgets_is_an_admins() -> None:
    assert scope_of("new_route") == "admin"
    assert scope_of(None) == "admin"


@each_guarded
def test_no_operation_answers_without_a_key_that_may(
    guarded: Guarded, operation: Operation
) -> None:
    scope: Any = operation.scope
    good = guarded.able["admin"]
    wrong: list[dict[str, str | bytes]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer " + "x" * 43},
        {"Authorization": f"Bearer {guarded.revoked}"},
        {"Authorization": f"Bearer {good[:-1]}"},
        {"Authorization": f"Bearer {good} {good}"},
        {"Authorization": f"Basic {good}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"X-Api-Key": good, "Cookie": f"key={good}"},
    ]
    for headers in wrong:
        answer = guarded.ask(operation, **headers)
        refusal(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    narrow = guarded.ask(operation, Authorization=f"Bearer {guarded.narrow[scope]}")
    assert scope in refusal(narrow, 403, "forbidden").detail
    for able in (guarded.able[scope], good):
        answer = guarded.ask(operation, Authorization=f"Bearer {able}")
        assert answer.status_code not in {401, 403, 500}
