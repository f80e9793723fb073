"""A service, a Ray cluster and pools, all real, on this machine."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.app import create_app
from service.keys import issue
from service.server import serving
from service.settings import Settings
from synthforge.client import Client
from synthforge.job_status import JobState
from synthforge.jobs import GENERATOR_KINDS, JobSpec, parse_job_spec
from synthforge.keys import KeyRequest
from synthforge.shards import MANIFEST_NAME, Manifest
from synthforge.storage import open_storage
from workers.orphans import descendants
from workers.pool_settings import PoolSettings
from workers.scaling import Bounds
from workers.shard_worker import WorkerSettings

# Every third draw, about, sees 7 cm of a head at 1.08 m: most landmarks lie outside the picture.
OFTEN_TOO_NARROW = {"type": "choice", "values": [5, 17], "weights": [1, 2]}

if TYPE_CHECKING:
    from workers.actors import Actor


def small_spec(**changes: object) -> JobSpec:
    """A job of 14 tiny samples in five shards, some of whose draws the gate refuses."""
    document = {
        "count": 14,
        "seed": 5,
        "image": {"size": 96},
        "camera": {"fov": OFTEN_TOO_NARROW},
        "annotations": ["landmarks68", "segmentation", "depth", "normals", "camera", "head"],
        "output": {"samples_per_shard": 4, "splits": {"train": 0.75, "val": 0.25}},
    }
    return parse_job_spec(json.dumps(document | changes))


@dataclass
class Made:
    """A dataset that a job has made."""

    url: str
    manifest: Manifest

    @property
    def digest(self) -> str:
        return self.manifest.digest


def make(client: Client, spec: JobSpec, meanwhile: Callable[[str], None] | None = None) -> Made:
    """Make a dataset; `meanwhile` is called with the job's id while it is made."""
    job = client.submit(spec)
    if meanwhile is not None:
        meanwhile(job.id)
    status = client.wait(job.id)
    assert status.state is JobState.SUCCEEDED, status.reason
    document = open_storage(status.output_url).get_bytes(MANIFEST_NAME)
    return Made(status.output_url, Manifest.model_validate_json(document))


class Engine:
    """Runs jobs through POST, leases, actors, store and manifest.

    Args:
        folder: for databases, scratch and, without a prefix, datasets.
        prefix: URL under which datasets lie.
        assets_url: registry of licensed files.
        key: that the services ask for; None: they ask for none.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str | None = None,
        assets_url: str | None = None,
        key: str | None = None,
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._assets_url = assets_url
        self._key = key
        self._num_services = 0

    @property
    def scratch(self) -> Path:
        """Below it each actor has a folder of its own."""
        return self._folder / "scratch"

    @contextmanager
    def running(
        self,
        num_workers: int = 1,
        *,
        chunks_in_flight: int = 2,
        gpus_per_worker: float = 0.0,
        actor_class: type[Actor] | None = None,
    ) -> Iterator[Client]:
        """Hold a service and a pool with so many actors."""
        with (
            self.service() as (url, settings),
            Client(url) as client,
            self.pool(
                url,
                settings,
                num_workers,
                chunks_in_flight=chunks_in_flight,
                gpus_per_worker=gpus_per_worker,
                actor_class=actor_class,
            ),
        ):
            yield client

    @contextmanager
    def service(self) -> Iterator[tuple[str, Settings]]:
        """Run a service with a database and, without a prefix, a folder of its own."""
        self._num_services += 1
        folder = self._folder / f"service-{self._num_services}"
        folder.mkdir()
        settings = Settings(
            database_url=f"sqlite:///{folder}/jobs.db",
            output_prefixes=(self._prefix or str(folder / "datasets"),),
            generators=GENERATOR_KINDS,
            port=0,
            auth="off" if self._key is None else "keys",
            heartbeat_s=0.5,
            lease_s=20.0,
            retry_after_s=0.1,
        )
        app = create_app(settings)
        if self._key is not None:
            wanted = KeyRequest(name="all", scopes=("submit", "read", "worker"))
            issue(app.state.context.store, wanted, self._key)
        with serving(settings, app) as url:
            yield url, settings

    @contextmanager
    def pool(
        self,
        url: str,
        settings: Settings,
        num_workers: int,
        *,
        chunks_in_flight: int = 2,
        gpus_per_worker: float = 0.0,
        bounds: Bounds | None = None,
        actor_class: type[Actor] | None = None,
    ) -> Iterator[None]:
        """Run a pool of so many actors, or within bounds."""
        from workers import actors  # noqa: PLC0415 - Ray reads its environment
        from workers.pool import Pool  # noqa: PLC0415

        worker = WorkerSettings(
            output_prefixes=settings.output_prefixes,
            scratch=self.scratch,
            chunks_in_flight=chunks_in_flight,
            assets_url=self._assets_url,
        )
        stop = threading.Event()
        with Client(url, retry_for_s=0) as client:
            fixed = Bounds(least=num_workers, most=num_workers, idle_s=60)
            wanted = PoolSettings(
                name="test-pool",
                worker=worker,
                bounds=bounds or fixed,
                cpus_per_worker=0.5,
                gpus_per_worker=gpus_per_worker,
            )
            pool = Pool(wanted, client, actor_class or actors.Actor)
            thread = threading.Thread(target=pool.run, args=(stop,))
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()


def actors_of_this_process(name: str) -> list[int]:
    """Return the process ids of the actors of a class that Ray runs for this process."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(f"ray::{name}".encode()):
            found.append(pid)
    return found
