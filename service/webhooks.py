"""Webhooks: each change of a job's state, posted and signed, until it is taken or given up.

A delivery is written in the transaction that changes the job, so none is lost; it may come twice.
Signatures are those of Standard Webhooks (standardwebhooks.com), version 1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import logging
import random
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

from service import outbound
from service.context import Context
from service.errors import invalid
from service.outbound import OutboundPolicy, RefusedTargetError, Resolve
from service.settings import Settings
from service.store import Store
from service.store.webhook_verbs import DeliveryRow, WebhookRow

_LOG: Final = logging.getLogger(__name__)
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the standard's, no secret
_SECRET_BYTES: Final = 32
# Waits before each further attempt, seconds: about a day in all; then it is a dead letter.
BACK_OFF_S: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)
_JITTER: Final = 0.2
_NUM_THREADS: Final = 4
_LOOK_AGAIN_S: Final = 0.25
_RESOLVING_S: Final = 60.0  # a name's look-up has limits of its own, those of the machine


def policy_of(settings: Settings) -> OutboundPolicy:
    """Return where the operator lets webhooks go."""
    return OutboundPolicy(settings.webhook_hosts, settings.webhook_private == "allowed")


def register(store: Store, settings: Settings, owner: str, url: str) -> WebhookRow:
    """Keep a webhook of an owner; its secret is told this once.

    Raises:
        InvalidRequestError: the URL is not one that the operator allows.
    """
    try:
        policy_of(settings).check_url(url)
    except RefusedTargetError as error:
        raise invalid("url", url, str(error)) from None
    key = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    return store.webhooks.add(owner, url, f"{SECRET_PREFIX}{key}")


def signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Return the header that proves a delivery: HMAC-SHA256 over id, timestamp and body."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Deliverer:
    """Sends the deliveries that are due, one of a webhook at a time, in turn.

    So a receiver that takes its time, or is gone with a thousand deliveries waiting, holds one
    thread, and the others' wait for as long as the slow ones take once.
    """

    def __init__(self, context: Context, resolve: Resolve = outbound.resolve) -> None:
        self._context = context
        self._policy = policy_of(context.settings)
        self._resolve = resolve
        self._turn = threading.Condition()
        self._in_flight: set[int] = set()
        self._turns = itertools.count()
        self._last_turn: dict[int, int] = {}  # of webhooks that something was due for

    def step(self) -> int:
        """Return how many were sent, taken or not."""
        if not self._context.store.webhooks.due():
            return 0
        with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="webhook") as threads:
            return sum(threads.map(lambda _: self._send_all(), range(_NUM_THREADS)))

    def _send_all(self) -> int:
        """Send one after another until nothing is due and no thread is at work any more."""
        num_sent, stopping = 0, self._context.stopping
        while not stopping.is_set():
            with self._turn:
                claimed = self._claim_next()
                if claimed is None and not self._in_flight:
                    break
                if claimed is None:  # a slow host has one thread: what comes meanwhile, the others
                    self._turn.wait(_LOOK_AGAIN_S)
                    continue
            try:
                self._deliver(claimed)
            finally:
                with self._turn:
                    self._in_flight.discard(claimed[1].num)
                    self._turn.notify_all()
            num_sent += 1
        return num_sent

    def _claim_next(self) -> tuple[DeliveryRow, WebhookRow] | None:
        """Take the oldest delivery of the webhook whose turn was longest ago."""
        webhooks = self._context.store.webhooks
        claim_s = self._context.settings.webhook_timeout_s + _RESOLVING_S  # longer than it takes
        due = webhooks.due()
        self._last_turn = {num: self._last_turn.get(num, -1) for num in due}
        free = [num for num in due if num not in self._in_flight]
        for webhook in sorted(free, key=self._last_turn.__getitem__):
            claimed = webhooks.claim(due[webhook], claim_s)
            if claimed is not None:  # else another replica has it
                self._in_flight.add(webhook)
                self._last_turn[webhook] = next(self._turns)
                return claimed
        return None

    def _deliver(self, due: tuple[DeliveryRow, WebhookRow]) -> None:
        delivery, webhook = due
        fault = self._fault(delivery, webhook)
        webhooks = self._context.store.webhooks
        if fault is None:
            webhooks.note_taken(delivery)
        elif delivery.attempts > len(BACK_OFF_S):
            told = {"delivery": delivery.id, "webhook": webhook.id, "reason": fault}
            _LOG.warning("a webhook was given up", extra=told)
            webhooks.note_dead(delivery, fault)
        else:
            wait_s = BACK_OFF_S[delivery.attempts - 1]
            spread = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
            webhooks.note_failed(delivery, fault, wait_s * spread)

    def _fault(self, delivery: DeliveryRow, webhook: WebhookRow) -> str | None:
        """Send; return why it was not taken."""
        body, timestamp = delivery.body.encode(), int(time.time())
        headers = {
            "Webhook-Id": delivery.id,
            "Webhook-Timestamp": str(timestamp),
            "Webhook-Signature": signature(webhook.secret, delivery.id, timestamp, body),
        }
        timeout_s = self._context.settings.webhook_timeout_s
        try:
            status = outbound.post(
                webhook.url, body, headers, self._policy, timeout_s, self._resolve
            )
        except RefusedTargetError as error:
            return f"refused: {error}"
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:500]
        return None if 200 <= status < 300 else f"it answered {status}"
