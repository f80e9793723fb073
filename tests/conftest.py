"""What every test may ask for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tools.postgres_server import PostgresServer
    from tools.s3_server import S3Server

REPOSITORY = Path(__file__).resolve().parent.parent

# An example may take as long as the machine needs: what a property says depends on no clock.
settings.register_profile("synthforge", deadline=None)
settings.load_profile("synthforge")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded fixtures beside the checkout; skips without one, fails in CI."""
    path = Path(os.environ.get("SYNTHFORGE_SHARED", REPOSITORY.parent / "shared"))
    if path.is_dir():
        return path
    message = f"no recorded fixtures at {path.name}/ beside the checkout (set SYNTHFORGE_SHARED)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test fetches goes to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3-compatible server, one for the whole session; starts when first asked for."""
    from tools.s3_server import serve_s3  # noqa: PLC0415 - boto3 is slow to import

    with serve_s3() as server:
        yield server


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket; the AWS_* variables lead to its server during the test."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server.make_bucket(f"test-{secrets.token_hex(6)}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, one for the whole session; starts when first asked for."""
    from tools.postgres_server import serve_postgres  # noqa: PLC0415 - most sessions need none

    with serve_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the service's schema, to be copied for each test."""
    from service.database import Database  # noqa: PLC0415

    name = postgres_server.create_database()
    database = Database(postgres_server.url(name))
    database.migrate()
    database.close()
    return name


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of an empty, migrated PostgreSQL database of this test's own."""
    name = postgres_server.create_database(postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
