"""What the service and the pools say to each other about previews: a few samples, soon.

A preview is one file in the store, a WebDataset tar: `preview.jpg`, a contact sheet, then the
samples, byte for byte as the job's first shard would hold them.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.jobs import GeneratorKind, JobSpec
from synthforge.leases import MAX_MESSAGE, PoolName
from synthforge.shards import Count, ShardPlan, StoredFile

MAX_SAMPLES: Final = 64
MAX_PREVIEWS_PER_REQUEST: Final = 16
SHEET_NAME: Final = "preview.jpg"
PREVIEW_FILE: Final = "preview.tar"  # under the task's own prefix
MEDIA_TYPE: Final = "application/x-tar"


class PreviewRequest(BaseModel):
    """A pool with warm actors asks for previews."""

    model_config = STRICT
    pool: PoolName
    generators: Annotated[tuple[GeneratorKind, ...], Field(strict=False, min_length=1)]
    max_previews: int = Field(default=1, ge=1, le=MAX_PREVIEWS_PER_REQUEST)


class PreviewTask(BaseModel):
    """One preview for one execution; whoever waits for it gives up after `patience_s`."""

    model_config = STRICT
    token: str
    spec: JobSpec
    plan: ShardPlan
    output_url: str
    patience_s: float = Field(gt=0, description="nobody waits for it after that")


class PreviewGrant(BaseModel):
    """The answer to a request."""

    model_config = STRICT
    previews: Annotated[tuple[PreviewTask, ...], Field(strict=False)]
    retry_after_s: float = Field(default=1.0, ge=0, description="ask again after")


class PreviewReport(BaseModel):
    """The preview lies in the store, or why it never will."""

    model_config = STRICT
    file: StoredFile | None = None
    num_samples: Count = 0
    num_rejected: Count = 0
    seconds: float = Field(default=0.0, ge=0, description="of one worker")
    error: str = Field(default="", max_length=MAX_MESSAGE, description="why there is no file")
