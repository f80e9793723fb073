"""What `synthforge gc` lets go, by stated rules; nothing that a manifest names is touched.

1. Events and logs of jobs that ended, and webhook deliveries that were taken or given up, after
   `events_kept_s`. Measured rates of samples that were made long ago at last, after `jobs_kept_s`.
2. What failed and cancelled jobs left in the store, after `unfinished_kept_s`; until then a retry
   goes on with it.
3. Under the prefix of a dataset: shards, parts and files half written that its manifest does not
   name and that are older than a day, where nobody works on it. Where there is nothing it looks
   no more until another job ends there: in a year there are many datasets.
4. Where a job's objects or its dataset were deleted and no job is since: shards and parts that
   came after that, older than a day, of uploads that were under way.
5. After `jobs_kept_s`: jobs that have nothing in the store, and the shards' rows of datasets that
   stand, since their manifests hold the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from service import clearing
from service.errors import OutputTakenError, StateConflictError, UnknownJobError
from service.named_shards import NamedShards, unnamed
from service.objects import StorageFactory
from service.settings import Settings
from service.store import Store
from service.store.retention_verbs import RetentionVerbs
from service.store.rows import JobRow
from synthforge.shards import MANIFEST_NAME
from synthforge.storage import Storage, StorageError, StoredObject

SETTLED_S: Final = 86_400.0  # no upload of a lost worker is under way for so long


@dataclass(frozen=True)
class Refuse:
    """Something to let go: what it is, and the call that does so."""

    what: str
    let_go: Callable[[], object]


def refuse(
    store: Store, open_storage: StorageFactory, settings: Settings, told: Callable[[str], None]
) -> Iterator[Refuse]:
    """Yield what is to go, in the order of the rules; nothing goes by itself.

    Args:
        store: of jobs.
        open_storage: opens the object store at a URL.
        settings: of the service.
        told: is told of each dataset that cannot be looked at, and why; the others go on.
    """
    held = store.retention
    yield from _old_records(held, settings)
    for job in held.unfinished(settings.unfinished_kept_s):
        what = f"what job {job.id} ({job.state.value}) left under {job.output_url}"
        yield Refuse(what, partial(_clear, store, open_storage, job))
    for job in held.settled_datasets(SETTLED_S):
        try:
            yield from _unnamed(held, job, open_storage(job.output_url))
        except StorageError as error:
            told(f"dataset of job {job.id}: {error}")
    for url in held.cleared_prefixes(SETTLED_S):
        try:
            yield from _late(held, open_storage(url))
        except StorageError as error:
            told(f"what may have come late under {url}: {error}")
    for job in held.with_old_shards(settings.jobs_kept_s):
        yield Refuse(f"shard rows of job {job.id}", partial(held.drop_shards, job.num))
    for job in held.forgettable(settings.jobs_kept_s):
        yield Refuse(f"job {job.id}", partial(held.forget, job.num))


def _old_records(held: RetentionVerbs, settings: Settings) -> Iterator[Refuse]:
    """Yield what was written down and is of no use any more."""
    events_s, jobs_s = settings.events_kept_s, settings.jobs_kept_s
    for job in held.with_old_events(events_s):
        yield Refuse(f"events and log of job {job.id}", partial(held.drop_events, job.num))
    if num := held.num_old_deliveries(events_s):
        yield Refuse(f"{num} webhook deliveries", partial(held.drop_deliveries, events_s))
    if num := held.num_old_rates(jobs_s):
        yield Refuse(f"{num} measured rates", partial(held.drop_rates, jobs_s))


def _clear(store: Store, open_storage: StorageFactory, job: JobRow) -> None:
    """Clear a job, unless it was retried or forgotten since, or its prefix is another's by now."""
    try:
        marked = store.actions.clear(job.id)
    except (OutputTakenError, StateConflictError, UnknownJobError):
        return
    if marked.clearing and not marked.num_leased:
        clearing.clear(store, open_storage, marked)


def _unnamed(held: RetentionVerbs, job: JobRow, storage: Storage) -> Iterator[Refuse]:
    num_found = 0
    for found in clearing.unnamed_objects(storage):
        num_found += 1
        if _is_settled(found):
            yield Refuse(_name_of(storage, found), partial(storage.delete, found.key))
    if not num_found:
        held.note_swept(job.num)


def _late(held: RetentionVerbs, storage: Storage) -> Iterator[Refuse]:
    def let_go(key: str) -> None:
        if held.is_cleared(storage.url, SETTLED_S):  # else a job began there since
            storage.delete(key)

    if storage.head(MANIFEST_NAME) is None:
        for found in unnamed(storage, NamedShards()):
            if _is_settled(found):
                yield Refuse(_name_of(storage, found), partial(let_go, found.key))


def _is_settled(found: StoredObject) -> bool:
    return found.modified_s < time.time() - SETTLED_S


def _name_of(storage: Storage, found: StoredObject) -> str:
    return f"{storage.url}/{found.key} ({found.num_bytes} bytes)"
