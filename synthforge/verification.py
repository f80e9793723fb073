"""Whether a dataset is what its manifest says: every byte read, every array decoded."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from pydantic import ValidationError

from synthforge.conventions import CLASSES
from synthforge.sample_checks import SampleExpectation, num_vertices_of
from synthforge.samples import split_member_name
from synthforge.shards import (
    MANIFEST_NAME,
    SUMMARY_NAMES,
    Manifest,
    ShardPlan,
    ShardRecord,
    StoredFile,
    manifest_copy_key,
    sample_key,
)
from synthforge.storage import NotFound, Storage, StorageRefused
from synthforge.tar_format import TarError, read_tar

MAX_MANIFEST_BYTES: Final = 1 << 30
MAX_FINDINGS_PER_SHARD: Final = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        where: the object, and the sample in it.
        what: is wrong there.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class VerifyProgress:
    """How far a verification is."""

    num_shards: int
    num_samples: int
    num_bytes: int
    total_shards: int
    total_samples: int


def verify_dataset(
    storage: Storage,
    *,
    num_threads: int = 2,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> Iterator[Finding]:
    """Yield all that is wrong with a dataset; nothing is wrong when nothing is yielded.

    Shards are streamed; memory holds one sample a thread.

    Args:
        storage: bound to the dataset's URL.
        num_threads: shards read beside each other.
        on_progress: called after each shard, in the caller's thread.

    Raises:
        StorageUnavailable: the store did not answer; that says nothing about the dataset.
    """
    try:
        data = storage.get_bytes(MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)
        manifest = Manifest.model_validate_json(data)
    except NotFound:
        yield Finding(MANIFEST_NAME, "not there: a dataset exists when its manifest does")
        return
    except (StorageRefused, ValidationError) as error:
        yield Finding(MANIFEST_NAME, _one_line(error))
        return
    yield from _manifest_bytes_findings(storage, manifest, data)
    yield from manifest_findings(manifest)
    for file in manifest.files:
        yield from _file_findings(storage, file)
    yield from _shards_findings(storage, manifest, num_threads, on_progress)


def manifest_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield what a manifest says against itself or its job; no store is asked."""
    for fault in (
        *_order_faults(manifest),
        *_index_faults(manifest),
        *_fingerprint_faults(manifest),
    ):
        yield Finding(MANIFEST_NAME, fault)
    if manifest.classes != {str(class_id): name for class_id, name in CLASSES.items()}:
        yield Finding(MANIFEST_NAME, "classes differ from the table of this release")
    for name in SUMMARY_NAMES:
        if name not in {file.name for file in manifest.files}:
            yield Finding(MANIFEST_NAME, f"files lack {name}")


def verify_shard(storage: Storage, record: ShardRecord, wanted: SampleExpectation) -> list[Finding]:
    """Return what is wrong with one shard; at most `MAX_FINDINGS_PER_SHARD`, then a last line."""
    findings = list(islice(_shard_findings(storage, record, wanted), MAX_FINDINGS_PER_SHARD + 1))
    if len(findings) > MAX_FINDINGS_PER_SHARD:
        findings[-1] = Finding(record.name, "and more: the rest of the shard was not looked at")
    return findings


def _order_faults(manifest: Manifest) -> Iterator[str]:
    splits = list(manifest.job.output.splits)
    if set(manifest.splits) - set(splits):
        yield f"splits {sorted(set(manifest.splits) - set(splits))} are none of the job's"
        return
    held = [(shard.split, shard.number) for shard in manifest.shards]
    counts = Counter(split for split, _ in held)
    if held != [(split, number) for split in splits for number in range(counts[split])]:
        yield "shards are not in the order of (split as in the job, number from 0)"


def _index_faults(manifest: Manifest) -> Iterator[str]:
    if manifest.num_samples != manifest.job.count:
        yield f"num_samples is {manifest.num_samples}; the job's count is {manifest.job.count}"
    views = manifest.job.identity.views
    ranges: list[tuple[int, int]] = []
    for shard in manifest.shards:
        pieces = [(piece.start, piece.stop) for piece in shard.indices]
        if sum(stop - start for start, stop in pieces) != shard.num_samples:
            yield f"{shard.name}: indices are not {shard.num_samples} samples"
        if any(
            start % views or (stop % views and stop != manifest.num_samples)
            for start, stop in pieces
        ):
            yield f"{shard.name}: it cuts an identity of {views} views"
        ranges += pieces
    reached = 0
    for start, stop in sorted(ranges):
        if start != reached:
            yield f"samples from {min(start, reached)} on are missing or held twice"
            return
        reached = stop
    if reached != manifest.num_samples:
        yield f"samples {reached} to {manifest.num_samples - 1} are in no shard"


def _fingerprint_faults(manifest: Manifest) -> Iterator[str]:
    known = manifest.generator.fingerprints
    for name, fingerprint in known.items():
        if fingerprint.id != name:
            yield f"fingerprint {name} is that of {fingerprint.id}"
    used = {shard.fingerprint for shard in manifest.shards}
    if unknown := sorted(used - set(known)):
        yield f"fingerprints {' '.join(unknown)} are not described"
    if manifest.job.output.reproducibility == "exact" and len(used) > 1:
        yield f"the job asks for one fingerprint, its shards have {len(used)}"


def _manifest_bytes_findings(
    storage: Storage, manifest: Manifest, data: bytes
) -> Iterator[Finding]:
    if manifest.to_json() != data:
        yield Finding(MANIFEST_NAME, "not the bytes that its content makes")
    copy = manifest_copy_key(manifest.digest)
    try:
        if storage.get_bytes(copy, max_bytes=MAX_MANIFEST_BYTES) != data:
            yield Finding(copy, f"differs from {MANIFEST_NAME}")
    except (NotFound, StorageRefused) as error:
        yield Finding(copy, _one_line(error))


def _file_findings(storage: Storage, file: StoredFile) -> Iterator[Finding]:
    stream = _Hashing(file.name, storage)
    yield from stream.drain()
    yield from stream.differences(file.num_bytes, file.sha256)


def _shards_findings(
    storage: Storage,
    manifest: Manifest,
    num_threads: int,
    on_progress: Callable[[VerifyProgress], None] | None,
) -> Iterator[Finding]:
    wanted = SampleExpectation.of(manifest.job)
    num_samples = num_bytes = 0
    with ThreadPoolExecutor(num_threads, thread_name_prefix="verify") as pool:
        results = _in_order(
            (pool.submit(verify_shard, storage, shard, wanted) for shard in manifest.shards),
            num_threads + 1,
        )
        for number, (shard, findings) in enumerate(
            zip(manifest.shards, results, strict=True), start=1
        ):
            yield from findings
            num_samples += shard.num_samples
            num_bytes += shard.num_bytes
            if on_progress is not None:
                totals = (len(manifest.shards), manifest.num_samples)
                on_progress(VerifyProgress(number, num_samples, num_bytes, *totals))


def _in_order(futures: Iterable[Future[list[Finding]]], num_ahead: int) -> Iterator[list[Finding]]:
    """Yield results in order, `num_ahead` of them under way: a dataset may have a million."""
    source = iter(futures)
    under_way = deque(islice(source, num_ahead))
    try:
        while under_way:
            yield under_way.popleft().result()
            under_way.extend(islice(source, 1))
    finally:
        for future in under_way:
            future.cancel()


def _shard_findings(
    storage: Storage, record: ShardRecord, wanted: SampleExpectation
) -> Iterator[Finding]:
    stream = _Hashing(record.name, storage)
    try:
        yield from _content_findings(stream, record, wanted)
    except TarError as error:
        if not stream.has_failed:
            yield Finding(record.name, str(error))
    yield from stream.drain()
    yield from stream.differences(record.num_bytes, record.sha256)


def _content_findings(
    stream: _Hashing, record: ShardRecord, wanted: SampleExpectation
) -> Iterator[Finding]:
    plan = ShardPlan(split=record.split, number=record.number, indices=record.indices)
    indices = plan.sample_indices()
    num_vertices: int | None = None
    members = ((*split_member_name(member.name), member.data) for member in read_tar(stream))
    for key, group in groupby(members, key=lambda member: member[0]):
        index = next(indices, None)
        if index is None or key != sample_key(index):
            due = "the end" if index is None else f"sample {sample_key(index)}"
            yield Finding(record.name, f"sample {key!r} stands where {due} should")
            return
        files = [(suffix, data) for _, suffix, data in group]
        if num_vertices is None:
            num_vertices = num_vertices_of(files, wanted.members)
        for fault in wanted.faults(files, index, record.split, num_vertices):
            yield Finding(f"{record.name} {key}", fault)
    missing = next(indices, None)
    if missing is not None:
        yield Finding(record.name, f"it ends before sample {sample_key(missing)}")


class _Hashing:
    """An object's chunks, counted and hashed on their way; none where the store lacks it."""

    def __init__(self, name: str, storage: Storage) -> None:
        self._name = name
        self._chunks = storage.stream(name)
        self._digest = hashlib.sha256()
        self._num_bytes = 0
        self._error: Exception | None = None

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self._digest.update(chunk)
                self._num_bytes += len(chunk)
                yield chunk
        except (NotFound, StorageRefused) as error:
            self._error = error

    def drain(self) -> Iterator[Finding]:
        """Read on to the end; yield why that failed."""
        deque(self, maxlen=0)
        if self._error is not None:
            yield Finding(self._name, _one_line(self._error))

    def differences(self, num_bytes: int, sha256: str) -> Iterator[Finding]:
        """Yield where size and hash of what was read differ from the manifest's."""
        if self._error is not None:
            return
        if self._num_bytes != num_bytes:
            yield Finding(
                self._name, f"{self._num_bytes} bytes long; the manifest says {num_bytes}"
            )
        elif self._digest.hexdigest() != sha256:
            yield Finding(
                self._name, f"sha256 is {self._digest.hexdigest()}; the manifest says {sha256}"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
