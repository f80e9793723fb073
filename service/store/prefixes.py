"""Whose an output prefix is: one job's at a time, nested ones included.

A dataset that was extended is of a line of jobs, each adding to the one before: the last of them
has the prefix.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Select, bindparam, or_, select

from service.bases import base_dataset
from service.database import Transaction
from service.errors import OutputTakenError, field_error
from service.store.rows import JobRow, job_row
from service.tables import jobs
from synthforge.job_status import JobState
from synthforge.urls import parse_url

# A job in these states holds its prefix, until what it left there is deleted.
_HOLDING_STATES: Final = tuple(
    state.value for state in JobState if state not in {JobState.FAILED, JobState.CANCELLED}
)
_HOLDS: Final = jobs.c.deleted_at.is_(None) & or_(
    jobs.c.state.in_(_HOLDING_STATES), jobs.c.clearing.is_not(None)
)
# '0' follows '/': between the two lies all that is under the prefix, and nothing else.
_UNDER: Final = (jobs.c.output_url > bindparam("first")) & (jobs.c.output_url < bindparam("stop"))
_ROUND: Final = or_(jobs.c.output_url.in_(bindparam("urls", expanding=True)), _UNDER)
_TAKEN: Final = select(jobs).where(_ROUND).where(_HOLDS).where(jobs.c.num != bindparam("job"))
_TAKEN_BY_ANY: Final = _TAKEN.limit(1)
_LINE: Final[Select[tuple[object, ...]]] = (
    select(jobs).where(jobs.c.output_url == bindparam("url")).where(_HOLDS).order_by(jobs.c.num)
)


def check_prefix_is_free(tx: Transaction, url: str, job: JobRow | None = None) -> None:
    """Check that no job has a prefix, one that encloses it, or one that lies under it.

    Submissions are to be serialized until the commit.

    Args:
        tx: open transaction.
        url: the prefix, canonical.
        job: that goes back to its own prefix; the dataset that it adds to may lie there.

    Raises:
        OutputTakenError: naming the job and its prefix.
    """
    parameters = {
        "urls": (url, *enclosing_urls(url)),
        "first": f"{url}/",
        "stop": f"{url}0",
        "job": -1 if job is None else job.num,
    }
    base = None if job is None else base_dataset(job.base)
    # All of a line are asked for, and few: an ORDER BY would have SQLite walk the table by it.
    query = _TAKEN_BY_ANY if base is None else _TAKEN
    holders = [job_row(row) for row in tx.connection.execute(query, parameters)]
    last = max(holders, key=lambda holder: holder.num, default=None)
    if last is not None and (base is None or last.num != base.job_num):
        raise _taken(last, url)


def successor(tx: Transaction, job: JobRow) -> JobRow | None:
    """Return the job that adds, or added, to a job's dataset; None where there is none."""
    for row in tx.connection.execute(_LINE, {"url": job.output_url}):
        later = job_row(row)
        if later.num > job.num:
            return later
    return None


def _taken(holder: JobRow, url: str) -> OutputTakenError:
    message = f"job {holder.id} ({holder.state}) has {holder.output_url}: a prefix apart would do"
    return OutputTakenError(
        f"output.url is {url!r}: {message}", [field_error("output.url", url, message)]
    )


def enclosing_urls(url: str) -> tuple[str, ...]:
    """Return the canonical URL of every prefix that a canonical URL lies under."""
    num_segments = len(parse_url(url).segments)
    parts = url.split("/")
    return tuple("/".join(parts[: len(parts) - cut]) for cut in range(1, num_segments + 1))
