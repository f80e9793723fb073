"""Keys: made, listed and revoked by an admin's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import TypeAdapter
from starlette.responses import Response

from service import keys
from service.answers import key_info
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.dispatch import database_only
from service.documents import answers as documented
from service.documents import json_body
from service.routes.jobs import VISIBLE_ASCII, json_response
from synthforge.keys import CreatedKey, KeyInfo, KeyList, KeyRequest

router = APIRouter(prefix="/v1/keys", tags=["keys"])

KeyId = Annotated[
    str, Path(description="as GET /v1/keys lists it", pattern=VISIBLE_ASCII, max_length=64)
]
_REQUEST = TypeAdapter(KeyRequest)


@router.post(
    "",
    status_code=201,
    operation_id="create_key",
    openapi_extra=json_body(KeyRequest),
    responses=documented(CreatedKey, 413, 415, 422, status=201, what="Made"),
)
@database_only
def create_key(context: InContext, body: JsonBody) -> Response:
    """Make a key; this answer alone holds it."""
    row, key = keys.issue(context.store, parsed(_REQUEST, body))
    made = CreatedKey(**key_info(row).model_dump(), key=key)
    return json_response(made.model_dump_json(), 201)


@router.get("", operation_id="list_keys", responses=documented(KeyList))
@database_only
def list_keys(context: InContext) -> Response:
    """List every key, and what of its limits is in use."""
    listed = KeyList(keys=[key_info(row) for row in context.store.keys.all()])
    return json_response(listed.model_dump_json())


@router.delete("/{key_id}", operation_id="revoke_key", responses=documented(KeyInfo, 404, 422))
@database_only
def revoke_key(context: InContext, key_id: KeyId) -> Response:
    """Let a key do nothing more, at once and on every replica."""
    return json_response(key_info(context.store.keys.revoke(key_id)).model_dump_json())
