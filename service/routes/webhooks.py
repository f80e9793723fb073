"""Webhooks: whom to tell of each change of a job's state."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from service import webhooks
from service.access import InPrincipal
from service.bodies import JsonBody, parsed
from service.context import InContext
from service.documents import answers as documented
from service.documents import json_body
from service.messages import (
    CreatedWebhook,
    DeliveryInfo,
    DeliveryList,
    WebhookInfo,
    WebhookList,
    WebhookRequest,
)
from service.routes.jobs import MAX_PAGE, VISIBLE_ASCII, json_response
from service.store.webhook_verbs import DeliveryState, WebhookRow
from service.times import moment

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
WebhookId = Annotated[
    str, Path(description="as it was created", pattern=VISIBLE_ASCII, max_length=64)
]
_REQUEST = TypeAdapter(WebhookRequest)


@router.post(
    "",
    status_code=201,
    operation_id="create_webhook",
    openapi_extra=json_body(WebhookRequest),
    responses=documented(CreatedWebhook, 413, 415, 422, status=201, what="Created"),
)
def create_webhook(context: InContext, principal: InPrincipal, body: JsonBody) -> Response:
    """Have changes of your jobs' states posted to a URL; its secret is told this once."""
    url = parsed(_REQUEST, body).url
    made = webhooks.register(context.store, context.settings, principal.owner, url)
    answer = CreatedWebhook(**_info(made).model_dump(), secret=made.secret)
    return json_response(answer.model_dump_json(), 201)


@router.get("", operation_id="list_webhooks", responses=documented(WebhookList))
def list_webhooks(context: InContext, principal: InPrincipal) -> Response:
    """List your webhooks."""
    held = [_info(row) for row in context.store.webhooks.all(principal.owner)]
    return json_response(WebhookList(webhooks=held).model_dump_json())


@router.delete(
    "/{webhook_id}", operation_id="delete_webhook", responses=documented(WebhookInfo, 404, 422)
)
def delete_webhook(context: InContext, principal: InPrincipal, webhook_id: WebhookId) -> Response:
    """Forget a webhook, and what is on its way to it."""
    removed = context.store.webhooks.remove(principal.owner, webhook_id)
    return json_response(_info(removed).model_dump_json())


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="list_deliveries",
    responses=documented(DeliveryList, 404, 422),
)
def list_deliveries(
    context: InContext,
    principal: InPrincipal,
    webhook_id: WebhookId,
    state: Annotated[
        list[DeliveryState] | None, Query(description="dead: those that were given up")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Response:
    """List what was, is or could not be delivered, the newest first."""
    found = context.store.webhooks.deliveries(principal.owner, webhook_id, state or (), limit)
    listed = [
        DeliveryInfo(
            id=row.id,
            state=row.state,
            attempts=row.attempts,
            error=row.error,
            body=row.body,
            created_at=moment(row.created_at),
            next_at=moment(row.next_at) if row.state == "pending" else None,
        )
        for row in found
    ]
    return json_response(DeliveryList(deliveries=listed).model_dump_json())


def _info(row: WebhookRow) -> WebhookInfo:
    return WebhookInfo(id=row.id, url=row.url, created_at=moment(row.created_at))
