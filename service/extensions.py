"""Adding samples to a finished dataset: a child job makes shards, and leaves the old ones alone.

The child's spec is the parent's with a larger count. No draw and no deal of an identity depends on
the count, so every sample of the parent is the child's too; the child plans from the first
identity that the parent has not. It writes under the parent's prefix, and its manifest, which
names the shards of both, takes the parent's place when it is whole.
"""

from __future__ import annotations

import json
import secrets
from typing import Final

from service import actions, bases
from service.bases import BaseDataset
from service.errors import InvalidRequestError, invalid
from service.execution import spec_of
from service.planning import total_shards
from service.settings import Settings
from service.store import Store
from service.store.job_verbs import NewJob
from service.store.rows import JobRow
from service.submissions import check_generator
from synthforge.field_errors import SpecError
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.json_logs import request_id
from synthforge.telemetry import traceparent

_JOB_ID_BYTES: Final = 8


def extend(
    settings: Settings, store: Store, parent_id: str, count: int, owner: str = ""
) -> tuple[JobRow, bool]:
    """Accept a job that adds samples to the dataset of another.

    Args:
        settings: of the service.
        store: of jobs.
        parent_id: of a job that succeeded.
        count: samples that the dataset is to have then.
        owner: id of the key that orders it; '' without keys.

    Returns:
        The child, and whether it is new: the same extension asked for again is the same child.

    Raises:
        UnknownJobError: there is no such job.
        StateConflictError: it has no dataset (any more), or not yet.
        OutputTakenError: the dataset was extended otherwise.
        QuotaExceededError: a limit of the owner's is used up.
        InvalidRequestError: no dataset of that count contains the parent's, or its generator
            cannot be had any more.
        StorageUnavailableError: the registry of assets does not answer.
    """
    parent = store.jobs.get(parent_id)
    actions.EXTEND.changes(parent.id, parent.state)
    spec = _larger(spec_of(parent.spec), count)
    check_generator(spec, settings)
    base = _base_of(parent)
    child = NewJob(
        id=f"job-{secrets.token_hex(_JOB_ID_BYTES)}",
        spec=spec.canonical_json().decode(),
        generator=parent.generator,
        output_url=parent.output_url,
        num_samples=count - base.count,
        num_shards=total_shards(spec, base.plan),
        is_exact=spec.output.reproducibility == "exact",
        owner=owner,
        priority=parent.priority,
        fingerprint=parent.fingerprint,
        base=base.model_dump_json(),
        request_id=request_id(),
        traceparent=traceparent(),
    )
    return store.actions.extend(parent.id, child)


def _larger(spec: JobSpec, count: int) -> JobSpec:
    views = spec.identity.views
    if count <= spec.count:
        raise invalid("count", count, f"the dataset has {spec.count} samples: more would do")
    if spec.count % views:
        raise invalid(
            "count",
            count,
            f"the dataset's {spec.count} samples end within an identity of {views} views, and a "
            "shard holds whole identities: only one whose count they divide can be extended",
        )
    document = spec.model_dump(mode="json", exclude_none=True) | {"count": count}
    try:
        return parse_job_spec(json.dumps(document))
    except SpecError as error:
        raise InvalidRequestError(str(error), error.errors) from None


def _base_of(parent: JobRow) -> BaseDataset:
    assert parent.digest is not None, "a job that succeeded has a digest"  # noqa: S101
    spec = spec_of(parent.spec)
    return BaseDataset(
        job_num=parent.num,
        digest=parent.digest,
        count=spec.count,
        shards=bases.num_shards_of_splits(spec, bases.plan_base(parent.base)),
    )
