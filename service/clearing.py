"""Deleting what jobs left in the store: a dataset, manifest first, or what no manifest names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from service.claims import LostClaimError, claimed
from service.errors import StorageUnavailableError
from service.named_shards import NamedShards, unnamed
from service.objects import StorageFactory
from service.store import Store
from service.store.claim_verbs import awaits_clearance
from service.store.rows import JobRow
from synthforge.manifest_reader import ManifestReader
from synthforge.shards import (
    MANIFEST_FOLDER,
    MANIFEST_NAME,
    SUMMARY_NAMES,
    is_manifest_copy,
)
from synthforge.storage import NotFound, Storage, StorageError, StoredObject

_LOG: Final = logging.getLogger(__name__)


def delete_dataset(store: Store, open_storage: StorageFactory, job_id: str) -> JobRow:
    """Have a job's dataset deleted; its manifest goes at once, the rest follows.

    Raises:
        UnknownJobError, StateConflictError, OutputTakenError: as `ActionVerbs.clear`.
        StorageUnavailableError: the store does not answer; the deletion goes on once it does.
    """
    job = store.actions.clear(job_id)
    if job.clearing == "dataset":
        with claimed(store, job.num, awaits_clearance) as claim:
            if claim is not None:  # else a replica clears it already, the manifest first
                _delete_manifest(open_storage, job)
    return job


def _delete_manifest(open_storage: StorageFactory, job: JobRow) -> None:
    try:
        open_storage(job.output_url).delete(MANIFEST_NAME)
    except StorageError as error:
        raise StorageUnavailableError(f"dataset of job {job.id}: {error}") from None


def clear(store: Store, open_storage: StorageFactory, job: JobRow) -> bool:
    """Delete what a job that is being cleared left in the store.

    One replica does so at a time: once the job is cleared it may be retried, and the next job at
    its prefix may give its shards the very names of those that are deleted here.

    Returns:
        Whether the job was cleared by this call; another replica may be at it, or have been first.

    Raises:
        StorageError: the store does not answer; to be tried again.
    """
    with claimed(store, job.num, awaits_clearance) as claim:
        if claim is None:
            return False
        try:
            storage = open_storage(claim.job.output_url)
            for key in _doomed(storage, is_dataset=claim.job.clearing == "dataset"):
                claim.check_now_and_then()
                storage.delete(key)
            return store.actions.cleared(job.num, claim.holder)
        except LostClaimError as error:
            _LOG.warning("a deletion is left to others", extra={"reason": str(error)})
            return False


def _doomed(storage: Storage, *, is_dataset: bool) -> Iterator[str]:
    """Yield the keys to delete, in order: once the manifest is gone there is no dataset.

    A manifest that stays is that of the dataset which a cancelled job was adding to.
    """
    named = None if is_dataset else _named_at(storage)
    if is_dataset:
        yield MANIFEST_NAME
    for found in unnamed(storage, named or NamedShards()):
        yield found.key
    if named is None:
        yield from SUMMARY_NAMES
        for found in storage.list_objects(MANIFEST_FOLDER):
            if is_manifest_copy(found.key):
                yield found.key


def unnamed_objects(storage: Storage) -> Iterator[StoredObject]:
    """Yield what jobs left under a dataset's prefix that its manifest does not name.

    Neither the manifest nor the listing is held whole.

    Raises:
        StorageError: also where the manifest cannot be read.
    """
    named = _named_at(storage)
    if named is not None:
        yield from unnamed(storage, named)


def _named_at(storage: Storage) -> NamedShards | None:
    """Return what the manifest at a prefix names; None where there is no manifest.

    Raises:
        StorageError: also where it cannot be read to its end: then nothing may be deleted.
    """
    named = NamedShards()
    try:
        for shard in ManifestReader(storage.stream(MANIFEST_NAME)).shards():
            named.add(shard)
    except NotFound:
        return None
    except ValueError as error:
        raise StorageError(f"{storage.url}/{MANIFEST_NAME} is none: {error}") from None
    return named
