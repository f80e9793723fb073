"""The end of a job: every record checked, then the manifest, last. A dataset exists when it does.

The manifest is a pure function of committed rows: any replica writes the same bytes, any number
of times, so a crash anywhere on the way is mended by doing it all again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

from pydantic import TypeAdapter

from service import bases, planning
from service.bases import BaseDataset
from service.claims import CLAIM_S, Claim, LostClaimError, claimed
from service.errors import DatasetDeletedError, NotYetError, StorageUnavailableError
from service.execution import spec_of
from service.named_shards import NamedShards, unnamed
from service.objects import StorageFactory
from service.store import Store
from service.store.claim_verbs import awaits_manifest
from service.store.rows import JobRow
from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.leases import SummaryReport
from synthforge.manifest_reader import ManifestReader
from synthforge.shards import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    SHARD_FOLDER,
    SUMMARY_NAMES,
    Fingerprint,
    GeneratorInfo,
    ShardRecord,
    ShardSums,
    StoredFile,
    join_shards,
    manifest_copy_key,
    manifest_pieces,
    staged_key,
)
from synthforge.storage import NotFound, Storage, StorageError

_LOG: Final = logging.getLogger(__name__)
_RECORD: Final = TypeAdapter(ShardRecord)


class SupportsWrite(Protocol):
    """A file that takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take them."""
        ...


class ManifestError(Exception):
    """The committed rows, or the objects they name, do not make a dataset."""


def commit(store: Store, open_storage: StorageFactory, job: JobRow) -> bool:
    """Write the manifest of a job whose shards and summary lie in the store.

    It passes through a local file, a shard at a time: a million shards take no more memory than
    their names' hashes and sizes. One replica does so at a time.

    Returns:
        Whether the job ended by this call; another replica may be at it, or have been first.

    Raises:
        StorageError: the store does not answer; to be tried again.
    """
    with claimed(store, job.num, awaits_manifest) as claim:
        if claim is None:
            return False
        try:
            return _commit(store, open_storage(job.output_url), claim)
        except ManifestError as error:
            _LOG.error("no manifest", extra={"job_id": job.id, "reason": str(error)})
            return store.datasets.fail(job.num, f"no manifest: {error}")
        except LostClaimError as error:
            _LOG.warning("a manifest is left to others", extra={"reason": str(error)})
            return False


def _commit(store: Store, storage: Storage, claim: Claim) -> bool:
    job = claim.job
    with tempfile.NamedTemporaryFile(prefix="synthforge-manifest-") as file:
        written = write_manifest(
            file,
            spec_of(job.spec),
            (record for _, record in store.datasets.records(job.num)),
            store.datasets.fingerprints(job.num),
            job.files or "",
            _parent_of(storage, job),
        )
        check_shards(storage, written.shards)
        if written.is_extension:
            claim.check()
            publish_files(storage, written.files)
        check_files(storage, written.files)
        file.flush()
        path = Path(file.name)
        storage.put_file(path, manifest_copy_key(written.digest), written.sha256)
        claim.check()
        storage.put_file(path, MANIFEST_NAME, written.sha256)
    # Another replica ends the job, so that it can be extended, a whole claim later at the earliest:
    # what is older than half a claim is no child's. Clocks may differ, and some stores round up.
    sweep(storage, written.shards, before_s=claim.began_at + CLAIM_S / 2)
    return store.datasets.succeed(job.num, written.digest)


@dataclass(frozen=True)
class Written:
    """A manifest that was written to a local file.

    Attributes:
        digest: of the dataset.
        sha256: of the file.
        files: beside the shards.
        shards: that it names.
        is_extension: it adds to another dataset.
    """

    digest: str
    sha256: str
    files: tuple[StoredFile, ...]
    shards: NamedShards
    is_extension: bool


def write_manifest(
    file: SupportsWrite,
    spec: JobSpec,
    records: Iterable[str],
    fingerprints: Iterable[tuple[str, str, str]],
    files: str,
    parent: Parent | None = None,
) -> Written:
    """Write the manifest from committed rows.

    Args:
        file: that takes its bytes.
        spec: of the job.
        records: JSON of each ShardRecord, in order of the plan.
        fingerprints: id, JSON of the Fingerprint, JSON of the GeneratorInfo, in order of id.
        files: JSON of the summary's files.
        parent: the dataset that the job adds to; its shards come into this one.

    Raises:
        ManifestError: a plan has no record, or a record no plan; or the parent's manifest is none.
    """
    ordered_files = _ordered_files(files)
    older = None if parent is None else parent.manifest.head.generator
    fields = {
        "schema_version": SCHEMA_VERSION,
        "job": json.loads(spec.canonical_json()),
        "generator": merge_generators(fingerprints, older).model_dump(mode="json"),
        "synthetic": True,
        "classes": {str(class_id): name for class_id, name in CLASSES.items()},
        "num_samples": spec.count,
        "splits": {split: planning.num_split_samples(spec, split) for split in spec.output.splits},
        "files": [file.model_dump(mode="json") for file in ordered_files],
        "parent": None if parent is None else parent.base.digest,
    }
    passing = _PassingShards()
    own = _checked_records(spec, records, planning.NOTHING if parent is None else parent.base.plan)
    joined = join_shards(spec.output.splits, () if parent is None else parent.shards(), own)
    file_hash = hashlib.sha256()
    for piece in manifest_pieces(fields, passing.noted(joined), passing.sums.digest):
        data = piece.encode()
        file_hash.update(data)
        file.write(data)
    held = dict.fromkeys(spec.output.splits, 0) | passing.sums.num_samples
    if held != fields["splits"]:
        raise ManifestError(f"splits {fields['splits']} differ from what the shards hold: {held}")
    return Written(
        digest=passing.sums.digest(),
        sha256=file_hash.hexdigest(),
        files=ordered_files,
        shards=passing.names,
        is_extension=parent is not None,
    )


class _PassingShards:
    """What is noted of shards on their way into the manifest."""

    def __init__(self) -> None:
        self.names = NamedShards()
        self.sums = ShardSums()

    def noted(self, shards: Iterable[ShardRecord]) -> Iterator[str]:
        """Yield the JSON of each shard."""
        for shard in shards:
            self.names.add(shard)
            self.sums.add(shard)
            yield shard.model_dump_json()


def merge_generators(
    fingerprints: Iterable[tuple[str, str, str]], older: GeneratorInfo | None = None
) -> GeneratorInfo:
    """Join what each fingerprint's workers told of the generator.

    Where two differ, the first in order of fingerprint keeps the plain name, and the others'
    values stand under `name@fingerprint`: nothing is lost, and the order of reports plays no part.
    What a dataset that is added to tells stays as it is.

    Raises:
        ManifestError: there is no fingerprint, or two kinds of generator.
    """
    kinds = set() if older is None else {older.kind}
    tables: dict[str, dict[str, str]] = {
        table: {} if older is None else dict(getattr(older, table))
        for table in ("versions", "assets", "licences")
    }
    held: dict[str, Fingerprint] = {} if older is None else dict(older.fingerprints)
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


def stream(open_storage: StorageFactory, job: JobRow) -> Iterator[bytes]:
    """Open a finished job's manifest, and return its bytes in pieces.

    Raises: at the call; later only what breaks on the way.
        NotYetError: the job has not succeeded.
        DatasetDeletedError: the dataset is gone.
        StorageUnavailableError: the store does not give it.
    """
    if job.deleted_at is not None or job.clearing == "dataset":
        raise DatasetDeletedError(job.id)
    if job.digest is None:
        raise NotYetError(f"job {job.id} is {job.state}: its manifest is there once it succeeded")
    pieces = _pieces(open_storage, job, manifest_copy_key(job.digest))
    return chain([next(pieces)], pieces)


def _pieces(open_storage: StorageFactory, job: JobRow, key: str) -> Iterator[bytes]:
    try:
        yield from open_storage(job.output_url).stream(key)
    except StorageError as error:
        raise StorageUnavailableError(f"manifest of job {job.id}: {error}") from None


def publish_files(storage: Storage, files: Sequence[StoredFile]) -> None:
    """Put an extension's files from where its summary left them to where a dataset has them.

    Until now they were those of the dataset that is extended. A file that is staged no longer
    was published by a call before this one.

    Raises:
        ManifestError: a file is neither staged nor published.
        StorageError: the store does not answer; publishing again is harmless.
    """
    staged = [file for file in files if storage.head(staged_key(file.name)) == file.num_bytes]
    check_files(storage, [file for file in files if file not in staged])
    for file in staged:
        storage.copy(staged_key(file.name), file.name, file.sha256)


def check_shards(storage: Storage, shards: NamedShards) -> None:
    """Check that every shard that a manifest names lies in the store, in its size.

    The listing is asked first, a thousand objects at a time; an object that it lacks is asked for
    by name, since some stores list late.

    Raises:
        ManifestError: naming the first object that is not there or has another size.
        StorageError: the store does not answer.
    """
    for found in storage.list_objects(SHARD_FOLDER):
        shards.see(found.key, found.num_bytes)
    for name, num_bytes in shards.unseen():
        _check_size(name, num_bytes, storage.head(name))


def check_files(storage: Storage, files: Iterable[StoredFile]) -> None:
    """Check that every file beside the shards lies in the store, in its size.

    Raises: as `check_shards`.
    """
    for file in files:
        _check_size(file.name, file.num_bytes, storage.head(file.name))


def _check_size(name: str, num_bytes: int, found: int | None) -> None:
    if found != num_bytes:
        state = "is not in the store" if found is None else f"has {found} bytes there"
        raise ManifestError(f"{name} ({num_bytes} bytes) {state}")


def sweep(storage: Storage, shards: NamedShards, before_s: float) -> None:
    """Delete what no manifest names: index parts, late shards, files whose writer was killed.

    Args:
        storage: of the dataset.
        shards: that the manifest names; those that follow their numbers are an extension's.
        before_s: seconds since 1970; what was written later stays.

    Raises:
        StorageError: the store does not answer; sweeping again is harmless.
    """
    for found in unnamed(storage, shards):
        if found.modified_s <= before_s and not shards.is_beyond(found.key):
            storage.delete(found.key)


@dataclass(frozen=True)
class Parent:
    """The dataset that a job adds to.

    Attributes:
        base: what the database holds of it.
        manifest: its own, begun to be read: the copy that never changes.
    """

    base: BaseDataset
    manifest: ManifestReader

    def shards(self) -> Iterator[ShardRecord]:
        """Yield its shards, in order.

        Raises:
            ManifestError: its manifest breaks off, or is of another dataset.
        """
        try:
            yield from self.manifest.shards()
        except ValueError as error:
            raise _no_manifest(self.base.digest, error) from None
        if (self.manifest.digest, self.manifest.head.num_samples) != (
            self.base.digest,
            self.base.count,
        ):
            raise ManifestError(f"{manifest_copy_key(self.base.digest)} is of another dataset")


def _parent_of(storage: Storage, job: JobRow) -> Parent | None:
    base = bases.base_dataset(job.base)
    if base is None:
        return None
    try:
        pieces = storage.stream(manifest_copy_key(base.digest))
        return Parent(base, ManifestReader(pieces))
    except NotFound as error:
        raise ManifestError(f"the dataset that is added to: {error}") from None
    except ValueError as error:
        raise _no_manifest(base.digest, error) from None


def _no_manifest(digest: str, error: ValueError) -> ManifestError:
    return ManifestError(f"{manifest_copy_key(digest)} is no manifest: {error}")


def _checked_records(
    spec: JobSpec, records: Iterable[str], base: planning.Base
) -> Iterator[ShardRecord]:
    """Parse records; each must be the plan's next. Its samples were checked at its report."""
    expected = (
        (split, base.shards.get(split, 0) + number)
        for split in spec.output.splits
        for number in range(planning.num_shards(spec, split, base))
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
