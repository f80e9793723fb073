"""A large manifest is read and written a shard at a time, whatever it is read for."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any, Final

import pytest

from service import clearing, links, manifests
from service.bases import BaseDataset
from service.manifests import Parent
from synthforge.jobs import JobSpec
from synthforge.manifest_reader import ManifestReader
from synthforge.shards import (
    IndexRange,
    ManifestHead,
    ShardRecord,
    dataset_digest,
    manifest_pieces,
    shard_key,
)
from synthforge.storage import StoredObject
from tests.service import driver
from tests.service.test_manifests import FILES, FINGERPRINTS

NUM_SHARDS: Final = 8_000
TEXT_BYTES: Final = 350 * NUM_SHARDS  # of the manifest, about; parsed: eight times that
MOST_BYTES: Final = 2 << 20  # a few pieces of text; of each shard 17 bytes
SPEC: Final = JobSpec.model_validate(
    {"count": NUM_SHARDS, "output": {"samples_per_shard": 1, "splits": {"train": 1.0}}}
)


def record(number: int) -> ShardRecord:
    sha256 = f"{number:064x}"
    return ShardRecord(
        name=shard_key("train", number, sha256),
        split="train",
        number=number,
        num_samples=1,
        num_bytes=1000,
        sha256=sha256,
        indices=(IndexRange(start=number, stop=number + 1),),
        rejected={},
        fingerprint=driver.FINGERPRINT.id,
    )


class ManyShards:
    """A store of a large dataset that holds nothing of it."""

    url = "file:///many"

    def __init__(self) -> None:
        self.digest = dataset_digest(record(number) for number in range(NUM_SHARDS))

    def stream(self, _key: str) -> Iterator[bytes]:
        head = ManifestHead(
            job=SPEC,
            generator=driver.GENERATOR,
            classes={},
            num_samples=NUM_SHARDS,
            splits={"train": NUM_SHARDS},
            files=(),
        )
        fields = head.model_dump(mode="json") | {"parent": None}
        texts = (record(number).model_dump_json() for number in range(NUM_SHARDS))
        text = manifest_pieces(fields, texts, lambda: self.digest)
        while piece := "".join(islice(text, 200)):
            yield piece.encode()

    def list_objects(self) -> Iterator[StoredObject]:
        for number in range(2 * NUM_SHARDS):
            yield StoredObject(shard_key("train", number, f"{number:064x}"), 1000, 0.0)

    def presign(self, key: str, _expires_s: int) -> str:
        return f"https://store/{key}?X-Amz-Signature={'0' * 64}"


def peak_bytes(work: Callable[[], Any]) -> int:
    """Return how much memory work takes at most, beyond what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def store() -> Any:
    return ManyShards()


def test_links_of_many_shards_take_no_memory(store: Any) -> None:
    job: Any = SimpleNamespace(
        id="j", deleted_at=None, clearing=None, digest=store.digest, output_url=store.url
    )
    num_bytes = 0

    def answer() -> None:
        nonlocal num_bytes
        for piece in links.manifest_with_links(lambda _url: store, job, 60):
            num_bytes += len(piece)

    assert peak_bytes(answer) < MOST_BYTES
    assert num_bytes > TEXT_BYTES / 2 + 150 * NUM_SHARDS
    document = json.loads(b"".join(links.manifest_with_links(lambda _url: store, job, 60)))
    assert list(document["links"]) == [shard["name"] for shard in document["shards"]]


class Counted:
    """A file that counts what is written."""

    num_bytes = 0

    def write(self, data: bytes, /) -> int:
        self.num_bytes += len(data)
        return len(data)


def test_an_extension_of_many_shards_takes_no_memory(store: Any) -> None:
    num_new = 100
    spec = SPEC.model_copy(update={"count": NUM_SHARDS + num_new})
    base = BaseDataset(
        job_num=1, digest=store.digest, count=NUM_SHARDS, shards={"train": NUM_SHARDS}
    )
    file = Counted()
    written = []

    def extend() -> None:
        new = (record(NUM_SHARDS + number).model_dump_json() for number in range(num_new))
        parent = Parent(base, ManifestReader(store.stream("manifest.json")))
        written.append(manifests.write_manifest(file, spec, new, FINGERPRINTS, FILES, parent))

    assert peak_bytes(extend) < MOST_BYTES
    assert file.num_bytes > TEXT_BYTES / 2
    assert record(NUM_SHARDS + num_new - 1).name in written[0].shards


def test_the_unnamed_of_many_objects_take_no_memory(store: Any) -> None:
    num_unnamed = 0

    def collect() -> None:
        nonlocal num_unnamed
        for _ in clearing.unnamed_objects(store):
            num_unnamed += 1

    assert peak_bytes(collect) < MOST_BYTES
    assert num_unnamed == NUM_SHARDS
