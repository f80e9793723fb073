"""One Ray cluster and one undisturbed dataset for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.engine import Engine, Made, small_spec
from tools.s3_server import S3Server
from workers.ray_runtime import ray_cluster


@pytest.fixture(scope="package")
def ray_on_this_machine(s3_server: S3Server) -> Iterator[None]:
    """Ray's actors inherit the environment, so the store's keys stand in it first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        with ray_cluster(None, num_cpus=2):
            yield


@pytest.fixture(scope="package")
def engine(ray_on_this_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="package")
def undisturbed(engine: Engine) -> Made:
    """The small job as one worker makes it."""
    return engine.run(small_spec())
