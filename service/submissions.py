"""Accepting a job: its generator, its place, its plan; then it is kept, once a key."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Final

from service import planning
from service.errors import InvalidRequestError, StorageUnavailableError, invalid
from service.objects import StorageFactory
from service.places import check_place, output_url_of
from service.settings import Settings
from service.store import Store
from service.store.job_verbs import NewJob
from service.store.rows import JobRow
from synthforge.assets import SET_TO, AssetError, AssetKind, missing_assets, needed_assets
from synthforge.field_errors import SpecError
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.json_logs import request_id
from synthforge.storage import StorageError, open_storage
from synthforge.telemetry import traceparent

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
_JOB_ID_BYTES: Final = 8
_QUICK_PERIOD: Final = 1000  # identities: dealing them takes below a millisecond
_NO_REGISTRY: Final = f"no registry: set {SET_TO}, for the service and for its workers"
_MISSING: Final = {
    "next3d": "SYNTHFORGE_GENERATORS of the service does not list it; 'builtin' needs no assets",
    "builtin": "SYNTHFORGE_GENERATORS of the service does not list it",
}


def parse(document: bytes, idempotency_key: str | None) -> JobSpec:
    """Read a job spec as it came over the wire.

    Raises:
        InvalidRequestError: the spec or the Idempotency-Key cannot be.
    """
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise invalid("Idempotency-Key", idempotency_key, "1 to 255 printable ASCII would do")
    return parsed_spec(document)


def is_quick(spec: JobSpec) -> bool:
    """Tell whether accepting a job takes a moment, and asks nobody but the database."""
    asks_a_store = spec.output.url is not None or needed_assets(spec.generator)
    return not asks_a_store and planning.deal_period(spec) <= _QUICK_PERIOD


def submit(
    settings: Settings,
    store: Store,
    open_storage: StorageFactory,
    spec: JobSpec,
    idempotency_key: str | None,
    owner: str = "",
) -> tuple[JobRow, bool]:
    """Accept a job for the key whose id is `owner`.

    Returns:
        The job, and whether it is new; the same key and spec give the same job again.

    Raises:
        InvalidRequestError: its generator or its URL cannot be.
        KeyReusedError: the key came with another spec before.
        OutputTakenError: a job or a dataset has the prefix, or something else lies there.
        QuotaExceededError: a limit of the owner's is used up.
        StorageUnavailableError: the store at the prefix does not answer.
    """
    check_generator(spec, settings)
    new = replace(_new_job(spec, settings, idempotency_key), owner=owner)
    if spec.output.url is not None:
        earlier = store.jobs.earlier(new, settings.idempotency_kept_s)
        if earlier is not None:
            return earlier, False
        is_ours = settings.whole_prefix == "allowed" or store.jobs.has_left(new.output_url)
        check_place(open_storage, new.output_url, is_ours=is_ours)
    return store.jobs.submit(new, settings.idempotency_kept_s)


def accepted_spec(settings: Settings, document: bytes) -> JobSpec:
    """Read a job spec that the pools can carry out.

    Raises:
        InvalidRequestError: the spec, or its generator, cannot be.
        StorageUnavailableError: the registry of assets does not answer.
    """
    spec = parsed_spec(document)
    check_generator(spec, settings)
    return spec


def parsed_spec(document: bytes) -> JobSpec:
    """Read a job spec as it came over the wire.

    Raises:
        InvalidRequestError: naming each field at fault.
    """
    try:
        return parse_job_spec(document)
    except SpecError as error:
        raise InvalidRequestError(str(error), error.errors) from None


def check_generator(spec: JobSpec, settings: Settings) -> None:
    """Check that pools can be asked for a job's faces, and that its assets are there.

    Raises:
        InvalidRequestError: the service does not list the generator, or assets are missing.
        StorageUnavailableError: the registry of assets does not answer.
    """
    kind = spec.generator.kind
    if kind not in settings.generators:
        raise invalid("generator.kind", kind, _MISSING[kind])
    missing = _missing_assets(spec, settings)
    if missing:
        place = settings.assets or _NO_REGISTRY
        head = spec.generator.head
        raise invalid(
            "generator.kind" if head is None else "generator.head",
            head or kind,
            f"its assets {', '.join(missing)} are missing ({place}): synthforge assets import "
            f"{'FILE' if head is None else 'ict-facekit DIR'} brings each in, "
            "synthforge assets status says where they come from"
            + ("; generator.untrained: true needs none" if kind == "next3d" else ""),
        )


def _missing_assets(spec: JobSpec, settings: Settings) -> tuple[AssetKind, ...]:
    needed = needed_assets(spec.generator)
    if not needed or not settings.assets:
        return needed
    try:
        return missing_assets(open_storage(settings.assets), spec.generator)
    except (StorageError, AssetError) as error:
        raise StorageUnavailableError(f"the registry of assets: {error}") from None


def _new_job(spec: JobSpec, settings: Settings, idempotency_key: str | None) -> NewJob:
    job_id = f"job-{secrets.token_hex(_JOB_ID_BYTES)}"
    output_url = output_url_of(spec, settings, job_id)
    return NewJob(
        id=job_id,
        spec=spec.canonical_json().decode(),
        generator=spec.generator.kind,
        output_url=output_url,
        num_samples=spec.count,
        num_shards=planning.total_shards(spec),
        is_exact=spec.output.reproducibility == "exact",
        idempotency_key=idempotency_key,
        request_id=request_id(),
        traceparent=traceparent(),
    )
