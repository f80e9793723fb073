"""Messages of the HTTP surface that the contract modules do not hold."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.job_status import JobStatus
from synthforge.jobs import MAX_COUNT, GeneratorKind
from synthforge.leases import PoolName
from synthforge.shards import FingerprintId

MAX_PRIORITY = 1000
Priority = Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)]


class JobChange(BaseModel):
    """What of a job may be changed: a higher priority is worked on first."""

    model_config = STRICT
    priority: Priority


class JobExtension(BaseModel):
    """How many samples the dataset is to have, those that it has included."""

    model_config = STRICT
    count: int = Field(ge=1, le=MAX_COUNT)


class JobPage(BaseModel):
    """Jobs, the newest first."""

    model_config = STRICT
    jobs: list[JobStatus]
    next: Annotated[str | None, Field(description="cursor of the next page; null on the last")]


class EstimateFigure(BaseModel):
    """A number a sample, and what it rests on."""

    model_config = STRICT
    value: float
    basis: Annotated[
        Literal["measured", "scaled", "built-in"],
        Field(
            description="measured: by this service, of such jobs; scaled: of other jobs of the "
            "generator; built-in: not measured here, a documented figure"
        ),
    ]
    num_samples: Annotated[int, Field(ge=0, description="that were measured")]


class EstimateAnswer(BaseModel):
    """What a job would cost."""

    model_config = STRICT
    num_samples: int
    num_shards: int
    num_bytes: Annotated[int, Field(description="of all shards")]
    num_refusals: Annotated[int, Field(description="draws that the quality gate will refuse")]
    workers: int
    worker_seconds: float
    gpu_seconds: Annotated[float, Field(description="of workers that hold one GPU each")]
    wall_s: Annotated[float, Field(description="from the first lease on, with these workers")]
    seconds_per_sample: EstimateFigure
    bytes_per_sample: EstimateFigure
    refusals_per_sample: EstimateFigure


class WebhookRequest(BaseModel):
    """Where to post changes of jobs' states."""

    model_config = STRICT
    url: str = Field(min_length=1, max_length=2000, description="https, of an allowed host")


class WebhookInfo(BaseModel):
    """A webhook."""

    model_config = STRICT
    id: str
    url: str
    created_at: datetime | None


class CreatedWebhook(WebhookInfo):
    """A webhook that was just created."""

    secret: Annotated[str, Field(description="signs what is posted; told this once")]


class WebhookList(BaseModel):
    """Every webhook of a key."""

    model_config = STRICT
    webhooks: list[WebhookInfo]


class DeliveryInfo(BaseModel):
    """One event on its way to one webhook."""

    model_config = STRICT
    id: Annotated[str, Field(description="header Webhook-Id, the same at each attempt")]
    state: Literal["pending", "taken", "dead"]
    attempts: int
    error: Annotated[str | None, Field(description="why the last attempt failed")]
    body: str
    created_at: datetime | None
    next_at: Annotated[datetime | None, Field(description="when it is tried again")]


class DeliveryList(BaseModel):
    """Deliveries of a webhook, the newest first."""

    model_config = STRICT
    deliveries: list[DeliveryInfo]


class ReportAnswer(BaseModel):
    """A report that was accepted, now or when it came before."""

    model_config = STRICT
    accepted: Literal[True]
    repeated: Annotated[bool, Field(description="it had been accepted before")]


class ReturnAnswer(BaseModel):
    """What became of work that was given back."""

    model_config = STRICT
    outcome: Annotated[
        Literal["open", "set_aside", "returned_before"],
        Field(description="open: it will be leased again; set_aside: its job failed"),
    ]


class PoolInfo(BaseModel):
    """A pool that asked for work within a day."""

    model_config = STRICT
    name: PoolName
    generators: list[GeneratorKind]
    fingerprint: Annotated[
        FingerprintId | None, Field(description="of its last lease; null before it had an actor")
    ]
    num_leased: Annotated[int, Field(ge=0)]
    seen_at: datetime


class PoolList(BaseModel):
    """Every pool that asked for work within a day."""

    model_config = STRICT
    pools: list[PoolInfo]


class Health(BaseModel):
    """The service's word on itself."""

    model_config = STRICT
    status: Literal["ok"]
