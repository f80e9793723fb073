"""What happens to a job, as the service tells it (`text/event-stream`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.job_status import JobState, SampleCounts, ShardCounts


class JobEvent(BaseModel):
    """Something that happened to a job, and how it stood then.

    Attributes:
        at: by the database's clock; a service of before told events in seconds since 1970, and may
            still keep some.
    """

    model_config = STRICT
    id: int
    kind: str
    job_id: str
    at: Annotated[datetime, Field(strict=False)]
    state: JobState
    reason: str | None = None
    digest: str | None = None
    counts: SampleCounts
    shards: ShardCounts


def parse_events(lines: Iterable[str]) -> Iterator[JobEvent]:
    """Parse `text/event-stream`, as far as the service writes it."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            data = json.loads(fields["data"])
            event = data | {"id": int(fields["id"]), "kind": fields["event"]}
            yield JobEvent.model_validate_json(json.dumps(event))
            fields = {}
