"""What the service and the workers' pools say to each other. One token is one execution."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.jobs import GeneratorKind, JobSpec
from synthforge.shards import (
    Count,
    Fingerprint,
    GeneratorInfo,
    Sha256,
    ShardPlan,
    ShardRecord,
    StoredFile,
)

PoolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
MAX_LEASES_PER_REQUEST = 256
MAX_MESSAGE: Final = 2000  # characters of what a pool or a worker says


class LeaseRequest(BaseModel):
    """A pool asks for work: what it can do, and how much at once.

    A pool without actors has no fingerprint yet: it is given no lease, and told what waits.
    """

    model_config = STRICT
    pool: PoolName
    generators: Annotated[tuple[GeneratorKind, ...], Field(strict=False, min_length=1)]
    fingerprint: Fingerprint | None = None
    max_leases: int = Field(default=1, ge=1, le=MAX_LEASES_PER_REQUEST)


class Lease(BaseModel):
    """One piece of work for one execution.

    A `shard` lease carries a plan; a `summary` lease has its worker write report, preview, card,
    topology and index of a job whose shards are all in the store.
    """

    model_config = STRICT
    token: str
    kind: Literal["shard", "summary"]
    job_id: str
    spec: JobSpec
    output_url: str
    plan: ShardPlan | None = None
    parent: Sha256 | None = Field(
        default=None, description="digest of the dataset at output_url that the job adds to"
    )
    lease_s: float = Field(gt=0, description="lapses when no heartbeat is answered for so long")
    heartbeat_s: float = Field(gt=0, description="the pool reports progress this often")
    request_id: str | None = Field(
        default=None, description="of the request that made the job; for the worker's log lines"
    )
    traceparent: str | None = Field(
        default=None, description="of that request's span (W3C Trace Context), if it is traced"
    )

    @property
    def what(self) -> str:
        """The piece's name for people, as `train-000012`, or `summary`."""
        return self.kind if self.plan is None else f"{self.plan.split}-{self.plan.number:06d}"


class LeaseGrant(BaseModel):
    """The answer to a request: no lease, one, or several."""

    model_config = STRICT
    leases: Annotated[tuple[Lease, ...], Field(strict=False)]
    retry_after_s: float = Field(default=1.0, ge=0, description="ask again after, when empty")
    waiting: dict[GeneratorKind, Count] = Field(
        default_factory=dict,
        description="pieces of work that nobody holds, by generator; told where no fingerprint is",
    )


class Heartbeat(BaseModel):
    """How far an execution is; a count that stands still lets the lease lapse too."""

    model_config = STRICT
    num_samples: Count
    num_rejected: Count = Field(
        default=0,
        description="draws refused, and other work that ends no sample: MiB put into the store and "
        "read back, steps of a summary",
    )


class HeartbeatAnswer(BaseModel):
    """Whether to go on."""

    model_config = STRICT
    lease_s: float
    cancelled: bool = Field(default=False, description="stop, throw the shard away, return it")


class ShardReport(BaseModel):
    """The shard lies in the store under this name, read back and right."""

    model_config = STRICT
    kind: Literal["shard"] = "shard"
    record: ShardRecord
    fingerprint: Fingerprint
    generator: GeneratorInfo
    seconds: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        max_length=32,
        description="of one worker, by stage: processor time of its threads; `upload`: elapsed",
    )
    gpu_seconds: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        max_length=32,
        description="of its GPU, by stage, between events on its stream; empty without one",
    )
    is_first: bool = Field(
        default=False,
        description="of its worker and generator: kernels were compiled and weights read meanwhile",
    )


class SummaryReport(BaseModel):
    """The files beside the shards lie in the store."""

    model_config = STRICT
    kind: Literal["summary"] = "summary"
    files: Annotated[tuple[StoredFile, ...], Field(strict=False)]


Report = Annotated[ShardReport | SummaryReport, Field(discriminator="kind")]


class LeaseReturn(BaseModel):
    """The work comes back undone.

    Reasons: `lost` the actor died over it; `interrupted` the actor ended for another reason: its
    node was lost, it was told to leave, it was at other work; `stopping` the pool leaves;
    `cancelled` the service said so; `failed` it cannot be done (the message says why), trying again
    would not help; `store` the object store did not take it, or the machine lacked something (disk,
    memory, a sound GPU): try again later.
    """

    model_config = STRICT
    reason: Literal["lost", "interrupted", "stopping", "cancelled", "failed", "store"]
    message: str = Field(default="", max_length=MAX_MESSAGE)
    num_samples: Count = Field(
        default=0, description="samples before the one at work when it ended"
    )


class ShardPage(BaseModel):
    """Committed shards of a job, for the summary; a page at a time in order of the manifest."""

    model_config = STRICT
    shards: Annotated[tuple[ShardRecord, ...], Field(strict=False)]
    next: str | None = None
