"""Plans, records and the manifest; every key and name of a dataset's objects."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from synthforge.distributions import STRICT
from synthforge.jobs import JobSpec, SplitName

SCHEMA_VERSION: Final = 1
SHARD_FOLDER: Final = "shards"
MANIFEST_FOLDER: Final = "manifests"  # a copy of each manifest that the dataset had
PARTS_FOLDER: Final = "parts"  # an index part a shard, until the summary joins them
MANIFEST_NAME: Final = "manifest.json"
CARD_NAME: Final = "README.md"
TOPOLOGY_NAME: Final = "topology.npz"
INDEX_NAME: Final = "index.parquet"
REPORT_JSON_NAME: Final = "report.json"
REPORT_HTML_NAME: Final = "report.html"
PREVIEW_NAME: Final = "preview.jpg"
SUMMARY_NAMES: Final = (
    CARD_NAME,
    TOPOLOGY_NAME,
    INDEX_NAME,
    REPORT_JSON_NAME,
    REPORT_HTML_NAME,
    PREVIEW_NAME,
)

_COPY: Final = re.compile(rf"{MANIFEST_FOLDER}/[0-9a-f]{{64}}\.json")
_STEM: Final = r"[a-z][a-z0-9_]{0,31}-[0-9]{6}-[0-9a-f]{12}"  # as `shard_key` makes it
# Whatever a job leaves below its prefix, but for the manifest and the summary's files. A directory
# keeps a file that is being written under a name of its own (`DirectoryStorage`), for ever where
# the writer was killed.
_OWN_KEY: Final = re.compile(
    rf"(?:{SHARD_FOLDER}/{_STEM}\.tar"
    rf"|{PARTS_FOLDER}/{_STEM}\.(?:parquet|json)"
    rf"|{PARTS_FOLDER}/summary/(?:{'|'.join(map(re.escape, SUMMARY_NAMES))})"
    rf"|{_COPY.pattern}"
    rf"|(?:(?:{SHARD_FOLDER}|{PARTS_FOLDER}(?:/summary)?|{MANIFEST_FOLDER})/)?"
    r"\.[0-9a-f]{16}\.tmp)"
)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FingerprintId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]  # exact in every JSON reader


class IndexRange(BaseModel):
    """Sample indices from `start` up to, not including, `stop`."""

    model_config = STRICT
    start: Count
    stop: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start >= self.stop:
            raise ValueError(f"start {self.start} is not below stop {self.stop}")
        return self


class ShardPlan(BaseModel):
    """Which samples a shard holds: one split, whole identities, in this order."""

    model_config = STRICT
    split: SplitName
    number: Annotated[int, Field(ge=0, lt=10**6)]
    indices: Annotated[tuple[IndexRange, ...], Field(strict=False, min_length=1)]

    @property
    def num_samples(self) -> int:
        """Samples in the shard."""
        return sum(piece.stop - piece.start for piece in self.indices)

    def sample_indices(self) -> Iterator[int]:
        """Yield the sample indices in the order in which the shard holds them."""
        for piece in self.indices:
            yield from range(piece.start, piece.stop)

    def position_of(self, index: int) -> int:
        """Return how many samples of the shard come before the one of an index.

        Raises:
            ValueError: the shard holds no such sample.
        """
        before = 0
        for piece in self.indices:
            if piece.start <= index < piece.stop:
                return before + index - piece.start
            before += piece.stop - piece.start
        raise ValueError(f"sample {index} is not in shard {self.split}-{self.number:06d}")


class Fingerprint(BaseModel):
    """All that a shard's bytes depend on besides its job and its plan."""

    model_config = STRICT
    code: str
    backend: str
    device: str
    libraries: dict[str, str]
    assets: dict[str, Sha256]

    @property
    def id(self) -> str:
        """The first 16 hex digits of the sha256 of the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class ShardRecord(BaseModel):
    """A shard that lies in the store: a row of the manifest."""

    model_config = STRICT
    name: str
    split: SplitName
    number: Annotated[int, Field(ge=0, lt=10**6)]
    num_samples: Annotated[int, Field(ge=1)]
    num_bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256
    indices: Annotated[tuple[IndexRange, ...], Field(strict=False, min_length=1)]
    rejected: dict[str, Count]
    fingerprint: FingerprintId

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        expected = shard_key(self.split, self.number, self.sha256)
        if self.name != expected:
            raise ValueError(f"name {self.name!r} does not fit the shard: {expected!r} would")
        return self


class StoredFile(BaseModel):
    """A file beside the shards."""

    model_config = STRICT
    name: str
    num_bytes: Count
    sha256: Sha256


class GeneratorInfo(BaseModel):
    """Who drew the faces, from what, under which licences."""

    model_config = STRICT
    kind: str
    versions: dict[str, str]
    assets: dict[str, Sha256]
    licences: dict[str, str]
    fingerprints: dict[str, Fingerprint] = Field(default_factory=dict)


class ManifestHead(BaseModel):
    """What a manifest says before its shards."""

    model_config = STRICT
    schema_version: Literal[1] = SCHEMA_VERSION
    job: JobSpec
    generator: GeneratorInfo
    synthetic: Literal[True] = True
    classes: dict[str, str]
    num_samples: Annotated[int, Field(ge=1)]
    splits: dict[SplitName, Count]
    files: Annotated[tuple[StoredFile, ...], Field(strict=False)]


class Manifest(ManifestHead):
    """The dataset exists when this does. A pure function of committed rows."""

    shards: Annotated[tuple[ShardRecord, ...], Field(strict=False, min_length=1)]
    parent: Sha256 | None = None
    digest: Sha256

    @model_validator(mode="after")
    def _check_sums(self) -> Self:
        sums = ShardSums()
        for shard in self.shards:
            sums.add(shard)
        sums.check(self, self.digest)
        return self

    def to_json(self) -> bytes:
        """Return the bytes that are stored, a line a shard: equal manifests, equal bytes."""
        data = self.model_dump(mode="json", exclude={"job", "shards"})
        data["job"] = json.loads(self.job.canonical_json())
        shards = (shard.model_dump_json() for shard in self.shards)
        return "".join(manifest_pieces(data, shards, lambda: self.digest)).encode()


def manifest_pieces(
    fields: Mapping[str, Any], shards: Iterable[str], digest: Callable[[], str]
) -> Iterator[str]:
    """Yield a manifest's text a shard at a time: there may be a million.

    Args:
        fields: JSON values of every field but `shards` and `digest`.
        shards: JSON of each ShardRecord, in order.
        digest: asked for once the shards have passed.
    """
    before = "{"
    for name in Manifest.model_fields:
        yield f'{before}\n "{name}": '
        before = ","
        if name == "shards":
            between = "[\n  "
            for shard in shards:
                yield between + shard
                between = ",\n  "
            yield "\n ]"
        else:
            value = digest() if name == "digest" else fields[name]
            yield json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n ")
    yield "\n}\n"


class ShardSums:
    """What the shards of a dataset add up to, as they pass in order."""

    def __init__(self) -> None:
        self.num_samples: dict[str, int] = {}
        self._digest = hashlib.sha256()

    def add(self, shard: ShardRecord) -> None:
        """Take in the next shard."""
        held = self.num_samples.get(shard.split, 0)
        self.num_samples[shard.split] = held + shard.num_samples
        self._digest.update(digest_line(shard))

    def digest(self) -> str:
        """Return the sha256 of the shards' `digest_line`s."""
        return self._digest.hexdigest()

    def check(self, head: ManifestHead, digest: str) -> None:
        """Compare with what a manifest says.

        Raises:
            ValueError: it says otherwise.
        """
        held = dict.fromkeys(head.splits, 0) | self.num_samples
        if held != head.splits or sum(held.values()) != head.num_samples:
            raise ValueError(f"splits {head.splits} differ from what the shards hold: {held}")
        if digest != self.digest():
            raise ValueError(f"digest {digest} is not that of the shards: {self.digest()}")


def dataset_digest(shards: Iterable[ShardRecord]) -> str:
    """Return the sha256 of the shards' `digest_line`s, in order."""
    sums = ShardSums()
    for shard in shards:
        sums.add(shard)
    return sums.digest()


def digest_line(shard: ShardRecord) -> bytes:
    """Return what a dataset's digest is made of: `<split> <number> <num_samples> <sha256>`."""
    line = f"{shard.split} {shard.number:06d} {shard.num_samples} {shard.sha256}\n"
    return line.encode("ascii")


def join_shards(
    splits: Iterable[str], older: Iterable[ShardRecord], newer: Iterable[ShardRecord]
) -> Iterator[ShardRecord]:
    """Yield a dataset's shards and those that extend it, in order of (split, number).

    Args:
        splits: in the order of the spec.
        older: of the dataset, in order.
        newer: of the extension, in order; their numbers follow the dataset's.
    """
    old, new = iter(older), iter(newer)
    old_next, new_next = next(old, None), next(new, None)
    for split in splits:
        while old_next is not None and old_next.split == split:
            yield old_next
            old_next = next(old, None)
        while new_next is not None and new_next.split == split:
            yield new_next
            new_next = next(new, None)


def sample_key(index: int) -> str:
    """Return the key that all members of a sample share."""
    return f"{index:09d}"


def shard_key(split: str, number: int, sha256: str) -> str:
    """Return a shard's path under the prefix; its own hash in it keeps other bytes away."""
    return f"{SHARD_FOLDER}/{split}-{number:06d}-{sha256[:12]}.tar"


def part_key(shard_name: str) -> str:
    """Return the path of the index part that belongs to a shard."""
    stem = shard_name.removeprefix(f"{SHARD_FOLDER}/").removesuffix(".tar")
    return f"{PARTS_FOLDER}/{stem}.parquet"


def tally_key(shard_name: str) -> str:
    """Return the path of the counts that belong to a shard, until the summary adds them up."""
    return part_key(shard_name).removesuffix(".parquet") + ".json"


def staged_key(name: str) -> str:
    """Return where an extension's summary keeps a file until the manifest is written.

    The dataset that it extends has a file of that name, and stays whole until then.
    """
    return f"{PARTS_FOLDER}/summary/{name}"


def manifest_copy_key(digest: str) -> str:
    """Return the path under which a manifest stays when the dataset is extended."""
    return f"{MANIFEST_FOLDER}/{digest}.json"


def is_own_key(key: str) -> bool:
    """Tell whether a key below shards/, parts/ or manifests/ is one that jobs give to objects.

    What has another name there is somebody else's: it is neither swept nor written beside. At the
    top only the name of a file that is being written is told to be a job's.
    """
    return _OWN_KEY.fullmatch(key) is not None


def is_manifest_copy(key: str) -> bool:
    """Tell whether a key is that of a manifest which stays when the dataset is extended."""
    return _COPY.fullmatch(key) is not None
