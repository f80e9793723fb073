"""One Ray cluster and one undisturbed dataset for all end-to-end tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from synthforge.client import Client
from synthforge.keys import KEY_FILE_VARIABLE
from tests.end_to_end.engine import Engine, Made, make, small_spec
from tools.s3_server import S3Server
from workers.ray_runtime import ray_cluster


@pytest.fixture(scope="package")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The key of every service; clients and pools find it in a file, as a cluster's nodes do."""
    made = secrets.token_hex(32)
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_FILE_VARIABLE, str(path))
        yield made


@pytest.fixture(scope="package")
def ray_on_this_machine(s3_server: S3Server, key: str) -> Iterator[None]:
    """Ray's actors inherit the environment, so the store's keys stand in it first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        with ray_cluster(None, num_cpus=2, num_gpus=1):  # one that is only counted
            yield


@pytest.fixture(scope="package")
def engine(ray_on_this_machine: None, key: str, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"), key=key)


@pytest.fixture(scope="package")
def warm(engine: Engine) -> Iterator[Client]:
    """A service whose pool keeps one actor, for all tests that need no other."""
    with engine.running() as client:
        yield client


@pytest.fixture(scope="package")
def undisturbed(warm: Client) -> Made:
    """The small job as one worker makes it."""
    return make(warm, small_spec())
