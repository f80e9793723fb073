"""Whose an output prefix is: one job's at a time, nested ones included."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, or_, select

from service.database import Transaction
from service.errors import OutputTakenError, field_error
from service.tables import jobs
from synthforge.jobs import JobState
from synthforge.urls import parse_url

# A job in these states holds its prefix: it writes there, or its dataset lies there.
_HOLDS_PREFIX: Final = tuple(
    state.value for state in JobState if state not in {JobState.FAILED, JobState.CANCELLED}
)
# '0' follows '/': between the two lies all that is under the prefix, and nothing else.
_UNDER: Final = (jobs.c.output_url > bindparam("first")) & (jobs.c.output_url < bindparam("stop"))
_TAKEN: Final = (
    select(jobs.c.id, jobs.c.state, jobs.c.output_url)
    .where(or_(jobs.c.output_url.in_(bindparam("urls", expanding=True)), _UNDER))
    .where(jobs.c.state.in_(_HOLDS_PREFIX))
    .limit(1)
)


def check_prefix_is_free(tx: Transaction, url: str) -> None:
    """Check that no job has a prefix, one that encloses it, or one that lies under it.

    Submissions are to be serialized until the commit.

    Raises:
        OutputTakenError: naming the job and its prefix.
    """
    parameters = {"urls": (url, *enclosing_urls(url)), "first": f"{url}/", "stop": f"{url}0"}
    taken = tx.connection.execute(_TAKEN, parameters).first()
    if taken is not None:
        message = f"job {taken.id} ({taken.state}) has {taken.output_url}: a prefix apart would do"
        raise OutputTakenError(
            f"output.url is {url!r}: {message}", [field_error("output.url", url, message)]
        )


def enclosing_urls(url: str) -> tuple[str, ...]:
    """Return the canonical URL of every prefix that a canonical URL lies under."""
    num_segments = len(parse_url(url).segments)
    parts = url.split("/")
    return tuple("/".join(parts[: len(parts) - cut]) for cut in range(1, num_segments + 1))
