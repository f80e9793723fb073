"""What a job would cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service import estimates, submissions
from service.bodies import JsonBody
from service.context import InContext
from service.documents import answers as documented
from service.documents import json_body
from service.messages import EstimateAnswer, EstimateFigure
from service.routes.jobs import json_response
from synthforge.jobs import JobSpec

router = APIRouter(prefix="/v1", tags=["jobs"])
MAX_WORKERS = 100_000


@router.post(
    "/estimates",
    operation_id="estimate_job",
    openapi_extra=json_body(JobSpec),
    responses=documented(EstimateAnswer, 413, 415, 422),
)
def estimate_job(
    context: InContext,
    body: JsonBody,
    workers: Annotated[
        int | None,
        Query(ge=1, le=MAX_WORKERS, description="that make it; by default as many as work now"),
    ] = None,
) -> Response:
    """Tell what a job would cost: time, bytes, shards and refusals; nothing is kept or run."""
    spec = submissions.parsed_spec(body)
    measured = context.store.rates.of_generator(spec.generator.kind)
    at_work = sum(pool.num_leased for pool in context.store.pools.all())
    found = estimates.estimate(spec, measured, workers or max(1, at_work))
    answer = EstimateAnswer(
        num_samples=found.num_samples,
        num_shards=found.num_shards,
        num_bytes=round(found.num_bytes.value * found.num_samples),
        num_refusals=round(found.refusals.value * found.num_samples),
        workers=found.workers,
        worker_seconds=round(found.worker_seconds, 3),
        gpu_seconds=round(found.worker_seconds, 3) if spec.generator.kind == "next3d" else 0.0,
        wall_s=round(found.wall_s, 3),
        seconds_per_sample=_figure(found.seconds),
        bytes_per_sample=_figure(found.num_bytes),
        refusals_per_sample=_figure(found.refusals),
    )
    return json_response(answer.model_dump_json())


def _figure(figure: estimates.Figure) -> EstimateFigure:
    return EstimateFigure(
        value=round(figure.value, 6), basis=figure.basis, num_samples=figure.num_samples
    )
