"""The end of a job: every record checked, then the manifest, last. A dataset exists when it does.

The manifest is a pure function of committed rows: any replica writes the same bytes, any number
of times, so a crash anywhere on the way is mended by doing it all again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import TypeAdapter, ValidationError

from service import planning
from service.errors import NotYetError, StorageUnavailableError
from service.execution import spec_of
from service.objects import StorageFactory
from service.store import Store
from service.store.rows import JobRow
from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.leases import SummaryReport
from synthforge.shards import (
    MANIFEST_NAME,
    PARTS_FOLDER,
    SHARD_FOLDER,
    SUMMARY_NAMES,
    Fingerprint,
    GeneratorInfo,
    Manifest,
    ShardRecord,
    StoredFile,
    dataset_digest,
    manifest_copy_key,
)
from synthforge.storage import Storage, StorageError

_LOG: Final = logging.getLogger(__name__)
_RECORD: Final = TypeAdapter(ShardRecord)


class ManifestError(Exception):
    """The committed rows, or the objects they name, do not make a dataset."""


def commit(store: Store, open_storage: StorageFactory, job: JobRow) -> bool:
    """Write the manifest of a job whose shards and summary lie in the store.

    Returns:
        Whether the job ended by this call; another replica may have been first.

    Raises:
        StorageError: the store does not answer; to be tried again.
    """
    try:
        storage = open_storage(job.output_url)
        manifest = build_manifest(
            spec_of(job.spec),
            (record for _, record in store.datasets.records(job.num)),
            store.datasets.fingerprints(job.num),
            job.files or "",
        )
        check_objects(storage, manifest)
    except ManifestError as error:
        _LOG.error("no manifest", extra={"job_id": job.id, "reason": str(error)})
        return store.datasets.fail(job.num, f"no manifest: {error}")
    content = manifest.to_json()
    storage.put_bytes(manifest_copy_key(manifest.digest), content)
    storage.put_bytes(MANIFEST_NAME, content)
    sweep(storage, manifest)
    return store.datasets.succeed(job.num, manifest.digest)


def build_manifest(
    spec: JobSpec,
    records: Iterable[str],
    fingerprints: Iterable[tuple[str, str, str]],
    files: str,
) -> Manifest:
    """Make the manifest from committed rows.

    Args:
        spec: of the job.
        records: JSON of each ShardRecord, in order of the plan.
        fingerprints: id, JSON of the Fingerprint, JSON of the GeneratorInfo, in order of id.
        files: JSON of the summary's files.

    Raises:
        ManifestError: a plan has no record, or a record no plan.
    """
    shards = tuple(_checked_records(spec, records))
    splits = {split: planning.num_split_samples(spec, split) for split in spec.output.splits}
    try:
        return Manifest(
            job=spec,
            generator=merge_generators(fingerprints),
            classes={str(class_id): name for class_id, name in CLASSES.items()},
            num_samples=spec.count,
            splits=splits,
            files=_ordered_files(files),
            shards=shards,
            digest=dataset_digest(shards),
        )
    except ValidationError as error:
        raise ManifestError(str(error.errors(include_url=False)[0]["msg"])) from None


def merge_generators(fingerprints: Iterable[tuple[str, str, str]]) -> GeneratorInfo:
    """Join what each fingerprint's workers told of the generator.

    Where two differ, the first in order of fingerprint keeps the plain name, and the others'
    values stand under `name@fingerprint`: nothing is lost, and the order of reports plays no part.

    Raises:
        ManifestError: there is no fingerprint, or two kinds of generator.
    """
    kinds: set[str] = set()
    tables: dict[str, dict[str, str]] = {"versions": {}, "assets": {}, "licences": {}}
    held: dict[str, Fingerprint] = {}
    for fingerprint_id, fingerprint, generator in fingerprints:
        info = GeneratorInfo.model_validate_json(generator)
        held[fingerprint_id] = Fingerprint.model_validate_json(fingerprint)
        kinds.add(info.kind)
        for table, values in tables.items():
            for name, value in getattr(info, table).items():
                if values.setdefault(name, value) != value:
                    values[f"{name}@{fingerprint_id}"] = value
    if len(kinds) != 1:
        raise ManifestError(f"the shards have {len(kinds)} kinds of generator, not one")
    return GeneratorInfo(
        kind=kinds.pop(),
        versions=tables["versions"],
        assets=tables["assets"],
        licences=tables["licences"],
        fingerprints=held,
    )


def read(open_storage: StorageFactory, job: JobRow) -> bytes:
    """Return a finished job's manifest as it lies in the store.

    Raises:
        NotYetError: the job has not succeeded.
        StorageUnavailableError: the store does not give it.
    """
    if job.digest is None:
        raise NotYetError(f"job {job.id} is {job.state}: its manifest is there once it succeeded")
    try:
        return open_storage(job.output_url).get_bytes(manifest_copy_key(job.digest))
    except StorageError as error:
        raise StorageUnavailableError(f"manifest of job {job.id}: {error}") from None


def check_objects(storage: Storage, manifest: Manifest) -> None:
    """Check that every object that a manifest names lies in the store, in its size.

    The listing is asked first, a thousand objects at a time; an object that it lacks is asked for
    by name, since some stores list late.

    Raises:
        ManifestError: naming the first object that is not there or has another size.
        StorageError: the store does not answer.
    """
    listed = {found.key: found.num_bytes for found in storage.list_objects(SHARD_FOLDER)}
    named_objects: tuple[ShardRecord | StoredFile, ...] = (*manifest.shards, *manifest.files)
    for named in named_objects:
        num_bytes = listed.get(named.name)
        if num_bytes != named.num_bytes:
            num_bytes = storage.head(named.name)
        if num_bytes != named.num_bytes:
            state = "is not in the store" if num_bytes is None else f"has {num_bytes} bytes there"
            raise ManifestError(f"{named.name} ({named.num_bytes} bytes) {state}")


def sweep(storage: Storage, manifest: Manifest) -> None:
    """Delete what no manifest names: index parts, and shards of executions that came too late.

    Raises:
        StorageError: the store does not answer; sweeping again is harmless.
    """
    named = {shard.name for shard in manifest.shards}
    for folder in (PARTS_FOLDER, SHARD_FOLDER):
        for found in list(storage.list_objects(folder)):
            if found.key not in named:
                storage.delete(found.key)


def _checked_records(spec: JobSpec, records: Iterable[str]) -> Iterator[ShardRecord]:
    """Parse records; each must be the plan's next. Its samples were checked at its report."""
    expected = (
        (split, number)
        for split in spec.output.splits
        for number in range(planning.num_shards(spec, split))
    )
    for text in records:
        record = _RECORD.validate_json(text)
        planned = next(expected, None)
        if planned != (record.split, record.number):
            raise ManifestError(f"{record.name} stands where the plan has {planned}")
        yield record
    missing = next(expected, None)
    if missing is not None:
        raise ManifestError(f"shard {missing[0]}-{missing[1]:06d} has no record")


def _ordered_files(files: str) -> tuple[StoredFile, ...]:
    report = SummaryReport.model_validate_json(files)
    return tuple(sorted(report.files, key=lambda file: SUMMARY_NAMES.index(file.name)))
