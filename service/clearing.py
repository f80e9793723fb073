"""Deleting what jobs left in the store: a dataset, manifest first, or what no manifest names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from service.claims import LostClaimError, claimed
from service.errors import StorageUnavailableError
from service.objects import StorageFactory
from service.store import Store
from service.store.claim_verbs import awaits_clearance
from service.store.rows import JobRow
from synthforge.shards import (
    MANIFEST_FOLDER,
    MANIFEST_NAME,
    PARTS_FOLDER,
    SHARD_FOLDER,
    SUMMARY_NAMES,
    Manifest,
    is_own_key,
)
from synthforge.storage import NotFound, Storage, StorageError, StoredObject

_LOG: Final = logging.getLogger(__name__)
_FOLDERS: Final = (PARTS_FOLDER, SHARD_FOLDER)


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
    manifest = None if is_dataset else _manifest_at(storage)
    if is_dataset:
        yield MANIFEST_NAME
    yield from [found.key for found in _not_in(storage, manifest)]
    if manifest is None:
        yield from SUMMARY_NAMES
        copies = [found.key for found in storage.list_objects(MANIFEST_FOLDER)]
        yield from filter(is_own_key, copies)


def unnamed_objects(storage: Storage) -> list[StoredObject]:
    """Return the shards and parts under a dataset's prefix that its manifest does not name.

    What has a name that no job gives is not ours, and is left out.

    Raises:
        StorageError: also where the manifest cannot be read.
    """
    manifest = _manifest_at(storage)
    return [] if manifest is None else _not_in(storage, manifest)


def _not_in(storage: Storage, manifest: Manifest | None) -> list[StoredObject]:
    named = set() if manifest is None else {shard.name for shard in manifest.shards}
    return [
        found
        for folder in _FOLDERS
        for found in storage.list_objects(folder)
        if is_own_key(found.key) and found.key not in named
    ]


def _manifest_at(storage: Storage) -> Manifest | None:
    """Return the manifest at a prefix, where there is one.

    Raises:
        StorageError: also where it cannot be read: then nothing may be deleted.
    """
    try:
        return Manifest.model_validate_json(storage.get_bytes(MANIFEST_NAME))
    except NotFound:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]["msg"]
        raise StorageError(f"{storage.url}/{MANIFEST_NAME} is none: {first}") from None
