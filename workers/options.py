"""What a person chooses of a pool; imports nothing heavy, so that a command says it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.raster.select import Backend


@dataclass(frozen=True)
class PoolOptions:
    """What a person chooses of a pool.

    Attributes:
        service_url: of the control plane.
        output_prefixes: URLs under which these workers write, and nowhere else.
        num_workers: actors, at most; on a cluster as many as there is work.
        key: of the service; it stays with the pool, no actor and no job record sees it.
        ray_address: of a running cluster; None starts one here.
        cpus_per_worker: Ray's count, fractions allowed, so too of GPUs.
        gpus_per_worker: Ray's count.
        idle_s: on a cluster, an actor without work is kept warm for so long.
        backend: of the rasteriser.
        chunks_in_flight: rendered chunks that may wait for the encoder.
        traces_url: that traces of pool and actors go to; '' makes none.
        logs_as_json: of the actors, for programs; else what goes wrong, for people.
    """

    service_url: str
    output_prefixes: tuple[str, ...]
    num_workers: int
    key: str | None = field(default=None, repr=False)
    ray_address: str | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    idle_s: float = 300.0
    backend: Backend = "numba"
    chunks_in_flight: int = 2
    traces_url: str = ""
    logs_as_json: bool = False
