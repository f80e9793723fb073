"""Taking a job up again: what was lost is made anew, and counted once."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from service import retries
from service.errors import QuotaExceededError
from service.loops import Clearer, Committer
from service.settings import Settings
from service.store import Store
from service.tables import api_keys, fingerprints, jobs
from synthforge.leases import Lease, ShardReport
from synthforge.shards import Fingerprint
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import SPEC, finished, posted
from tests.service.test_store import submit


def reported(http: TestClient, lease: Lease, fingerprint: Fingerprint) -> ShardReport:
    """Carry a shard out and report it as made by workers of this fingerprint."""
    assert lease.plan is not None
    made = driver.shard_report(lease.plan, fingerprint)
    driver.carry_out(lease, open_storage(lease.output_url))
    answer = driver.post_json(http, f"/v1/leases/{lease.token}/report", made.model_dump_json())
    assert answer.status_code == 200, answer.text
    return made


def kept_bytes(store: Store, owner: str) -> int:
    with store.database.read() as connection:
        query = select(api_keys.c.num_bytes).where(api_keys.c.id == owner)
        return int(connection.scalars(query).one())


def test_lost_shards_made_again_are_counted_once(http: TestClient, sqlite_store: Store) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    driver.add_owners(sqlite_store, "ann")
    with sqlite_store.database.write() as tx:
        tx.connection.execute(update(jobs).values(owner="ann"))
    (first,) = driver.lease(http)
    lost = reported(http, first, driver.OTHER_FINGERPRINT)
    driver.work_until_empty(http)
    open_storage(job.output_url).delete(lost.record.name)
    assert Committer(http.app.state.context).step() == 1
    assert posted(http, f"/v1/jobs/{job.id}/retry", 200).state == "running"
    whole = finished(http, job)
    num_bytes = sum(shard.num_bytes for shard in whole.shards)
    assert sqlite_store.jobs.get(job.id).num_bytes == num_bytes
    assert kept_bytes(sqlite_store, "ann") == num_bytes
    # What the lost shard was made with made nothing of what is there.
    assert set(whole.generator.fingerprints) == {driver.FINGERPRINT.id}


def test_a_cleared_job_forgets_what_its_shards_were_made_with(
    http: TestClient, sqlite_store: Store
) -> None:
    job = posted(http, "/v1/jobs", **SPEC)
    reported(http, driver.lease(http)[0], driver.OTHER_FINGERPRINT)
    posted(http, f"/v1/jobs/{job.id}/cancel?data=delete", 200)
    assert Clearer(http.app.state.context).step() == 1
    with sqlite_store.database.read() as connection:
        assert connection.execute(select(fingerprints)).all() == []
    posted(http, f"/v1/jobs/{job.id}/retry", 200)
    assert set(finished(http, job).generator.fingerprints) == {driver.FINGERPRINT.id}


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_jobs": 1}, "1 is its limit"),
        ({"max_samples": 39}, "limit of 39"),
        ({"max_bytes": 1, "num_bytes": 1}, "1 is its limit"),
    ],
)
def test_a_retry_keeps_to_its_owners_limits(
    store: Store, settings: Settings, limit: dict[str, int], said: str
) -> None:
    driver.add_owners(store, "ann")
    stopped = submit(store, "a", owner="ann")
    store.actions.cancel(stopped.id)
    other = submit(store, "b", owner="ann")
    with store.database.write() as tx:
        tx.connection.execute(update(api_keys).values(**limit))
    with pytest.raises(QuotaExceededError, match=said):
        retries.retry(settings, store, open_storage, stopped.id)
    assert store.jobs.get(stopped.id).state == "cancelled"
    store.actions.cancel(other.id)
    if "max_bytes" not in limit:
        assert retries.retry(settings, store, open_storage, stopped.id).state == "queued"
