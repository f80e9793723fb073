"""Log lines about a job: as pools tell them, and as the service answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.leases import MAX_MESSAGE, PoolName

LogLevel = Literal["info", "warning", "error"]
LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)  # the least first
MAX_LINES_TOLD: Final = 200  # at once
MAX_PAGE: Final = 1000

_Shard = Annotated[str | None, Field(pattern=r"^[a-z0-9-]{1,64}$")]
_Token = Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_-]{1,8}$")]
_LATEST_S: Final = 4_102_444_800.0  # the year 2100


class LogLine(BaseModel):
    """One line that a worker or a pool logged about a job.

    Attributes:
        at: by the clock of whoever logged it, seconds since 1970.
        shard: as `train-000012`, or `summary`.
        token: the first characters of the lease's.
    """

    model_config = STRICT
    job_id: str = Field(pattern=r"^[!-~]{1,64}$")
    at: float = Field(ge=0, le=_LATEST_S)
    level: LogLevel
    message: str = Field(max_length=MAX_MESSAGE)
    shard: _Shard = None
    token: _Token = None


class LogBatch(BaseModel):
    """What a pool and its actors logged since it told before."""

    model_config = STRICT
    pool: PoolName
    lines: Annotated[
        tuple[LogLine, ...], Field(strict=False, min_length=1, max_length=MAX_LINES_TOLD)
    ]


class LogAnswer(BaseModel):
    """How many of the lines were kept; those of jobs that are not known are not."""

    model_config = STRICT
    kept: int


class LogEntry(BaseModel):
    """One line of a job's log; `pool` is `service` where the service itself says it."""

    model_config = STRICT
    seq: int
    at: datetime
    level: LogLevel
    message: str
    shard: str | None = None
    token: str | None = None
    pool: str


class LogPage(BaseModel):
    """Lines of a job's log, the oldest first."""

    model_config = STRICT
    lines: list[LogEntry]
    dropped: Annotated[
        int, Field(ge=0, description="the job's oldest lines, gone since more were logged")
    ]
    next: Annotated[str, Field(description="cursor of what follows, now or later")]


def levels_from(least: LogLevel) -> tuple[LogLevel, ...]:
    """Return a level and those above it."""
    return LEVELS[LEVELS.index(least) :]


def one_line(text: str, most: int = MAX_MESSAGE) -> str:
    """Return text in one line, every character printable, no longer than `most`."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())
    return line if len(line) <= most else line[: most - 3] + "..."
