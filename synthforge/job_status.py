"""What the service says of a job: `JobStatus`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.jobs import JobSpec


class JobState(StrEnum):
    """Where a job is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job will change no more by itself."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class SampleCounts(BaseModel):
    """Samples of a job."""

    model_config = STRICT
    total: int
    completed: int
    rejected: int


class ShardCounts(BaseModel):
    """Shards of a job."""

    model_config = STRICT
    total: int
    done: int
    leased: int
    set_aside: int


class JobStatus(BaseModel):
    """What the service tells of a job."""

    model_config = STRICT
    id: str
    state: JobState
    reason: str | None = None
    spec: JobSpec
    counts: SampleCounts
    shards: ShardCounts
    priority: int = 0
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output_url: str
    digest: str | None = None
    parent: str | None = Field(
        default=None, description="digest of the dataset that this job adds samples to"
    )
    deleted_at: datetime | None = Field(default=None, description="when its dataset was deleted")
    request_id: str | None = Field(
        default=None, description="of the request that made it: logs of its shards name it too"
    )
