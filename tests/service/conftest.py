"""A service on a fresh database and a folder, for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.app import create_app
from service.database import Database
from service.settings import Settings
from service.store import Store
from tests.service.driver import TestClient


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "service.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The URL of an empty, migrated SQLite database of this test's own."""
    path = tmp_path / "service.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty, migrated database, of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store on an empty, migrated database of either kind."""
    database = Database(database_url)
    yield Store(database)
    database.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with two folders that datasets may lie under."""
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'service.db'}",
        output_prefixes=(str(tmp_path / "datasets"), str(tmp_path / "elsewhere")),
        auth="off",
        events_poll_s=0.01,
        reap_interval_s=3600,
    )


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """A store on SQLite: for what does not touch the database's own ways."""
    database = Database(sqlite_url)
    yield Store(database)
    database.close()


@pytest.fixture
def http(settings: Settings, sqlite_store: Store) -> TestClient:
    """The real app through an ASGI client; its loops do not run, tests take their steps."""
    return TestClient(create_app(settings, sqlite_store), raise_server_exceptions=False)
