"""What a pool's and an actor's log lines are about: the job, the shard, the lease, the request."""

from __future__ import annotations

from contextlib import AbstractContextManager

from synthforge.json_logs import TOKEN_SHOWN, bound
from synthforge.leases import Lease


def about(lease: Lease) -> AbstractContextManager[None]:
    """Say of every line that is logged inside which work it is about, and who asked for it."""
    return bound(
        job_id=lease.job_id,
        shard=lease.what,
        token=lease.token[:TOKEN_SHOWN],
        request_id=lease.request_id,
    )
