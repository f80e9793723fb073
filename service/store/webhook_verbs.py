"""The verbs of webhooks and their deliveries."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import bindparam, delete, func, insert, select, update

from service.database import Database, database_now
from service.errors import UnknownWebhookError
from service.tables import IS_DELIVERY_PENDING, deliveries, webhooks

DeliveryState = Literal["pending", "taken", "dead"]

_MINE: Final = (webhooks.c.id == bindparam("wanted")) & (webhooks.c.owner == bindparam("mine"))
_OLDEST_DUE: Final = (
    select(deliveries.c.webhook_num, func.min(deliveries.c.num))
    .where(IS_DELIVERY_PENDING, deliveries.c.next_at <= database_now())
    .group_by(deliveries.c.webhook_num)
)
_CLAIM: Final = (
    update(deliveries)
    .where(deliveries.c.num == bindparam("wanted"), IS_DELIVERY_PENDING)
    .where(deliveries.c.next_at <= bindparam("now"))
    .values(next_at=bindparam("until"), attempts=deliveries.c.attempts + 1)
    .returning(deliveries)
)
_CHANGE: Final = update(deliveries).where(
    deliveries.c.num == bindparam("wanted"), IS_DELIVERY_PENDING
)
# A failure says nothing once the delivery was claimed anew.
_FAIL: Final = _CHANGE.where(deliveries.c.attempts == bindparam("attempt"))


@dataclass(frozen=True)
class WebhookRow:
    """A URL that an owner's events are posted to, and the secret that signs them."""

    num: int
    id: str
    owner: str
    url: str
    secret: str
    created_at: float


@dataclass(frozen=True)
class DeliveryRow:
    """One event on its way to one webhook; times are seconds since 1970."""

    num: int
    id: str
    webhook_num: int
    body: str
    state: DeliveryState
    attempts: int
    next_at: float
    error: str | None
    created_at: float


class WebhookVerbs:
    """What the service asks of its database about webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, owner: str, url: str, secret: str) -> WebhookRow:
        """Keep a webhook."""
        with self._database.write() as tx:
            new = {
                "id": f"hook-{secrets.token_hex(8)}",
                "owner": owner,
                "url": url,
                "secret": secret,
                "created_at": tx.now,
            }
            row = tx.connection.execute(insert(webhooks).returning(webhooks), new).one()
            return WebhookRow(*row)

    def all(self, owner: str) -> list[WebhookRow]:
        """Read an owner's webhooks, the oldest first."""
        query = select(webhooks).where(webhooks.c.owner == owner).order_by(webhooks.c.num)
        with self._database.read() as connection:
            return [WebhookRow(*row) for row in connection.execute(query)]

    def remove(self, owner: str, webhook_id: str) -> WebhookRow:
        """Forget a webhook and what was on its way to it.

        Raises:
            UnknownWebhookError: the owner has none of that id.
        """
        with self._database.write() as tx:
            wanted = {"wanted": webhook_id, "mine": owner}
            row = tx.connection.execute(select(webhooks).where(_MINE), wanted).first()
            if row is None:
                raise UnknownWebhookError(webhook_id)
            found = WebhookRow(*row)
            here = deliveries.c.webhook_num == found.num
            tx.connection.execute(delete(deliveries).where(here))
            tx.connection.execute(delete(webhooks).where(webhooks.c.num == found.num))
            return found

    def deliveries(
        self, owner: str, webhook_id: str, states: Sequence[DeliveryState], limit: int
    ) -> list[DeliveryRow]:
        """Read the latest deliveries of a webhook, the newest first.

        Raises:
            UnknownWebhookError: the owner has none of that id.
        """
        with self._database.read() as connection:
            wanted = {"wanted": webhook_id, "mine": owner}
            num = connection.scalar(select(webhooks.c.num).where(_MINE), wanted)
            if num is None:
                raise UnknownWebhookError(webhook_id)
            query = select(deliveries).where(deliveries.c.webhook_num == num)
            if states:
                query = query.where(deliveries.c.state.in_(states))
            query = query.order_by(deliveries.c.num.desc()).limit(limit)
            return [DeliveryRow(*row) for row in connection.execute(query)]

    def due(self) -> dict[int, int]:
        """Read the webhooks that something is due for, each with its oldest delivery, by number."""
        with self._database.read() as connection:
            return {int(webhook): int(num) for webhook, num in connection.execute(_OLDEST_DUE)}

    def claim(self, num: int, claim_s: float) -> tuple[DeliveryRow, WebhookRow] | None:
        """Take a delivery that is due, with its webhook; nobody else has it for now.

        Returns None where somebody was faster.
        """
        with self._database.write() as tx:
            now = {"now": tx.now, "until": tx.now + claim_s, "wanted": num}
            row = tx.connection.execute(_CLAIM, now).first()
            if row is None:
                return None
            delivery = DeliveryRow(*row)
            of_it = select(webhooks).where(webhooks.c.num == delivery.webhook_num)
            return delivery, WebhookRow(*tx.connection.execute(of_it).one())

    def note_taken(self, delivery: DeliveryRow) -> None:
        """Say that a delivery was taken; whoever says so, it is."""
        with self._database.write() as tx:
            values = {"wanted": delivery.num, "state": "taken", "error": None}
            tx.connection.execute(_CHANGE, values)

    def note_dead(self, delivery: DeliveryRow, error: str) -> None:
        """Give a delivery up."""
        self._fail(delivery, error, state="dead")

    def note_failed(self, delivery: DeliveryRow, error: str, again_in_s: float) -> None:
        """Say why a delivery was not taken, and when it is tried again."""
        self._fail(delivery, error, again_in_s=again_in_s)

    def _fail(
        self,
        delivery: DeliveryRow,
        error: str,
        state: DeliveryState = "pending",
        again_in_s: float = 0.0,
    ) -> None:
        with self._database.write() as tx:
            values = {"state": state, "error": error, "next_at": tx.now + again_in_s}
            asked = {"wanted": delivery.num, "attempt": delivery.attempts}
            tx.connection.execute(_FAIL, asked | values)
