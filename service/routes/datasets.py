"""The dataset of a finished job: its manifest, its links, its end."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from service import answers, clearing, links, manifests
from service.context import InContext
from service.documents import answers as documented
from service.routes.jobs import JobId, json_response
from synthforge.job_status import JobStatus
from synthforge.shards import Manifest
from synthforge.storage import MAX_LINK_S

router = APIRouter(prefix="/v1/jobs", tags=["datasets"])
DEFAULT_LINK_S: Final = 24 * 3600
_SECRET: Final = {"Cache-Control": "no-store"}  # whoever has the links reads the dataset


@router.get(
    "/{job_id}/manifest",
    operation_id="get_manifest",
    responses=documented(Manifest, 404, 409, 410, 422),
)
def get_manifest(
    context: InContext,
    job_id: JobId,
    with_links: Annotated[
        Literal["presigned"] | None,
        Query(alias="links", description="adds `links`: of each shard and file a URL to read it"),
    ] = None,
    expires: Annotated[
        int, Query(ge=1, le=MAX_LINK_S, description="how long links are good, seconds")
    ] = DEFAULT_LINK_S,
) -> Response:
    """Return the manifest, byte for byte as it lies in the store; with links if asked for."""
    job = context.store.jobs.get(job_id)
    if with_links is None:
        pieces = manifests.stream(context.open_storage, job)
        return StreamingResponse(pieces, media_type="application/json")
    linked = links.manifest_with_links(context.open_storage, job, expires)
    return StreamingResponse(linked, headers=_SECRET, media_type="application/json")


@router.delete(
    "/{job_id}/dataset",
    status_code=202,
    operation_id="delete_dataset",
    responses=documented(JobStatus, 404, 409, 422, status=202, what="The manifest is gone"),
)
def delete_dataset(context: InContext, job_id: JobId) -> Response:
    """Delete a job's dataset, manifest first; or what a job that did not succeed left."""
    job = clearing.delete_dataset(context.store, context.open_storage, job_id)
    context.clearing_due.set()
    return json_response(answers.job_json(job), 202)
