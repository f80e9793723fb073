"""The manifest of a finished job."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from service import manifests
from service.context import InContext
from service.documents import answers as documented
from service.routes.jobs import JobId
from synthforge.shards import Manifest

router = APIRouter(prefix="/v1/jobs", tags=["datasets"])


@router.get(
    "/{job_id}/manifest",
    operation_id="get_manifest",
    responses=documented(Manifest, 404, 409, 422),
)
def get_manifest(context: InContext, job_id: JobId) -> Response:
    """Return the manifest, byte for byte as it lies in the store."""
    job = context.store.jobs.get(job_id)
    content = manifests.read(context.open_storage, job)
    return Response(content, media_type="application/json")
