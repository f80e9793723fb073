"""Taking up a job that failed or was cancelled."""

from __future__ import annotations

from pydantic import TypeAdapter

from service import actions
from service.errors import StorageUnavailableError
from service.execution import spec_of
from service.objects import StorageFactory
from service.settings import Settings
from service.store import Store
from service.store.rows import JobRow
from service.submissions import check_generator
from synthforge.job_status import JobState
from synthforge.shards import PARTS_FOLDER, SHARD_FOLDER, ShardRecord, part_key, tally_key
from synthforge.storage import Storage, StorageError

_RECORD = TypeAdapter(ShardRecord)


def retry(settings: Settings, store: Store, open_storage: StorageFactory, job_id: str) -> JobRow:
    """Take a job up where it was.

    A job that failed with every shard committed failed over what lies in the store: shards whose
    objects are gone are made again.

    Raises:
        UnknownJobError, StateConflictError, OutputTakenError, QuotaExceededError: as
            `ActionVerbs.retry`.
        InvalidRequestError: its generator cannot be had any more.
        StorageUnavailableError: the store, or the registry of assets, does not tell what is there.
    """
    job = store.jobs.get(job_id)
    if job.state in actions.RETRY.begins:
        check_generator(spec_of(job.spec), settings)
    lost: list[int] = []
    if job.state is JobState.FAILED and job.num_done == job.num_shards:
        try:
            lost = _lost_shards(store, open_storage(job.output_url), job)
        except StorageError as error:
            raise StorageUnavailableError(f"job {job.id}: {error}") from None
    return store.actions.retry(job_id, lost)


def _lost_shards(store: Store, storage: Storage, job: JobRow) -> list[int]:
    """Return the positions of committed shards that the store has no longer, or not whole."""
    held = {
        found.key: found.num_bytes
        for folder in (SHARD_FOLDER, PARTS_FOLDER)
        for found in storage.list_objects(folder)
    }
    lost = []
    for position, text in store.datasets.records(job.num):
        record = _RECORD.validate_json(text)
        parts = (part_key(record.name), tally_key(record.name))
        if held.get(record.name) != record.num_bytes or not all(part in held for part in parts):
            lost.append(position)
    return lost
