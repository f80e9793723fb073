"""What an operator sets of a pool."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthforge.jobs import GENERATOR_KINDS, GeneratorKind
from workers.scaling import Bounds
from workers.shard_worker import WorkerSettings


@dataclass(frozen=True)
class PoolSettings:
    """What an operator sets of a pool.

    Attributes:
        name: of the pool, unique on the service.
        worker: settings of each actor; its scratch folders are made under `worker.scratch`.
        bounds: how many actors, and how long they are kept warm.
        cpus_per_worker: of Ray's count; fractions are allowed, so too of GPUs.
        gpus_per_worker: of Ray's count.
        generators: kinds that the actors can run; each actor keeps one of them warm.
        secrets: of this process, struck out of what the service is told of its log.
    """

    name: str
    worker: WorkerSettings
    bounds: Bounds
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    generators: tuple[GeneratorKind, ...] = GENERATOR_KINDS
    secrets: tuple[str, ...] = field(default=(), repr=False)
