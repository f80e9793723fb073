"""Previews: a few samples of a spec, on a warm actor, before anything that is queued.

Whoever asks waits; the worker puts one tar into the store, under the first output prefix; the
service answers it and deletes it. A preview that nobody fetches is swept.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool

from service import planning
from service.context import Context
from service.errors import (
    PreviewFailedError,
    PreviewTimeoutError,
    ShuttingDownError,
    StorageUnavailableError,
    invalid,
)
from service.execution import spec_of
from service.store.preview_verbs import NewPreview, PreviewRow
from synthforge.jobs import JobSpec
from synthforge.previews import (
    MAX_SAMPLES,
    PREVIEW_FILE,
    PreviewGrant,
    PreviewReport,
    PreviewRequest,
    PreviewTask,
)
from synthforge.shards import IndexRange, ShardPlan
from synthforge.storage import Storage, StorageError, StorageRefused
from synthforge.urls import join_url

_LOG: Final = logging.getLogger(__name__)
FOLDER: Final = ".previews"  # under the first output prefix
_TOKEN_BYTES: Final = 18
_LOOK_EVERY_S: Final = 0.05
_AGAIN_S: Final = 0.5  # an idle pool looks for previews this often
_MAX_BYTES: Final = 1 << 28


def plan_of(spec: JobSpec, num_samples: int) -> ShardPlan:
    """Return the first samples of a job's first shard: the very ones that the job would make."""
    first = planning.shard_plan(spec, *planning.nth_shard(spec, 0))
    left, pieces = num_samples, []
    for piece in first.indices:
        if left > 0:
            stop = min(piece.stop, piece.start + left)
            pieces.append(IndexRange(start=piece.start, stop=stop))
            left -= stop - piece.start
    return first.model_copy(update={"indices": tuple(pieces)})


async def preview(
    context: Context, spec: JobSpec, num_samples: int, is_gone: Callable[[], Awaitable[bool]]
) -> bytes:
    """Have a preview made, and return its tar; no database connection is held while waiting.

    Args:
        context: the service's parts.
        spec: of the job to be.
        num_samples: at most; a job of fewer has fewer.
        is_gone: tells whether whoever asked has left.

    Raises:
        TooManyPreviewsError: as many as may be are waited for already.
        PreviewFailedError: it cannot be made; the message says why.
        PreviewTimeoutError: no worker made it in time.
        ShuttingDownError: the service ends before one did.
        StorageUnavailableError: the store does not give it.
    """
    settings = context.settings
    if not 1 <= num_samples <= MAX_SAMPLES:
        raise invalid("samples", num_samples, f"1 to {MAX_SAMPLES} would do")
    token = f"preview-{secrets.token_urlsafe(_TOKEN_BYTES)}"
    new = NewPreview(
        token=token,
        generator=spec.generator.kind,
        spec=spec.canonical_json().decode(),
        num_samples=num_samples,
        output_url=join_url(settings.output_prefixes[0], FOLDER, token),
    )
    patience_s = settings.preview_timeout_s
    await run_in_threadpool(context.store.previews.ask, new, patience_s, settings.max_previews)
    end = time.monotonic() + patience_s
    while True:
        is_stopping = context.stopping.is_set()  # then the last look is after it
        row = await run_in_threadpool(context.store.previews.get, token)
        if row is not None and row.report is not None:
            return await run_in_threadpool(_fetched, context, row)
        if is_stopping or time.monotonic() >= end or await is_gone():
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    await run_in_threadpool(context.store.previews.withdraw, token)
    if is_stopping:
        raise ShuttingDownError("the preview")
    raise PreviewTimeoutError(patience_s)


def lease(context: Context, request: PreviewRequest) -> PreviewGrant:
    """Hand out previews to a pool that has warm actors."""
    granted = context.store.previews.lease(request.generators, request.max_previews)
    tasks = []
    for row, patience_s in granted:
        spec = spec_of(row.spec)
        tasks.append(
            PreviewTask(
                token=row.token,
                spec=spec,
                plan=plan_of(spec, row.num_samples),
                output_url=row.output_url,
                patience_s=patience_s,
            )
        )
    return PreviewGrant(previews=tuple(tasks), retry_after_s=_AGAIN_S)


def sweep(context: Context) -> int:
    """Delete the files of previews that nobody fetched; return how many were swept.

    One whose store does not answer waits, and holds up no other; one whose store refuses for good
    is forgotten: its prefix may be none of the service's any more.
    """
    num_swept = 0
    for row in context.store.previews.left():
        try:
            storage, key = _place_of(context, row)
            # Also what a worker that was killed had begun to write.
            for found in storage.list_objects(key.rpartition("/")[0]):
                storage.delete(found.key)
        except StorageError as error:
            told = {"url": row.output_url, "reason": str(error)}
            _LOG.warning("a preview's file is not swept", extra=told)
            if not isinstance(error, StorageRefused):
                continue
        context.store.previews.forget(row.token)
        num_swept += 1
    return num_swept


def _fetched(context: Context, row: PreviewRow) -> bytes:
    """Take a preview out of the store."""
    report = PreviewReport.model_validate_json(row.report or "{}")
    if report.file is None:
        context.store.previews.forget(row.token)
        raise PreviewFailedError(report.error or "the worker does not say why")
    try:
        storage, key = _place_of(context, row)
        data = storage.get_bytes(key, max_bytes=_MAX_BYTES)
        storage.delete(key)
    except StorageError as error:  # what is left of it is swept
        raise StorageUnavailableError(f"the preview: {error}") from None
    context.store.previews.forget(row.token)
    return data


def _place_of(context: Context, row: PreviewRow) -> tuple[Storage, str]:
    """Return the store of the output prefix, and the file's key there: its folders go with it."""
    folder = f"{FOLDER}/{row.token}"
    prefix = row.output_url.removesuffix(f"/{folder}")
    return context.open_storage(prefix), f"{folder}/{PREVIEW_FILE}"
