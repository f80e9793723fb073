"""Plans, records, names and the manifest."""

from __future__ import annotations

import hashlib
import json

import pytest
from pydantic import ValidationError

from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.shards import (
    GeneratorInfo,
    IndexRange,
    Manifest,
    ShardPlan,
    ShardRecord,
    dataset_digest,
    part_key,
    sample_key,
    shard_key,
)


def record(split: str, number: int, start: int, stop: int) -> ShardRecord:
    sha256 = hashlib.sha256(f"{split}{number}".encode()).hexdigest()
    return ShardRecord(
        name=shard_key(split, number, sha256),
        split=split,
        number=number,
        num_samples=stop - start,
        num_bytes=10240,
        sha256=sha256,
        indices=(IndexRange(start=start, stop=stop),),
        rejected={"face_too_small": 2},
        fingerprint="0123456789abcdef",
    )


def manifest(*shards: ShardRecord) -> Manifest:
    splits: dict[str, int] = {}
    for shard in shards:
        splits[shard.split] = splits.get(shard.split, 0) + shard.num_samples
    return Manifest(
        job=JobSpec(count=sum(splits.values())),
        generator=GeneratorInfo(kind="builtin", versions={}, assets={}, licences={}),
        classes={str(class_id): name for class_id, name in CLASSES.items()},
        num_samples=sum(splits.values()),
        splits=splits,
        files=(),
        shards=shards,
        digest=dataset_digest(shards),
    )


def test_the_digest_is_the_hash_of_the_lines_that_the_design_names() -> None:
    shard = record("train", 3, 0, 5)
    line = f"train 000003 5 {shard.sha256}\n".encode()
    assert dataset_digest([shard]) == hashlib.sha256(line).hexdigest()


def test_a_manifest_reads_back_as_it_was_written() -> None:
    written = manifest(record("train", 0, 0, 5), record("val", 0, 5, 7))
    read = Manifest.model_validate_json(written.to_json())
    assert read == written
    assert read.to_json() == written.to_json()
    assert json.loads(written.to_json())["synthetic"] is True


def test_a_manifest_has_a_line_a_shard_and_its_fields_in_order() -> None:
    written = manifest(record("train", 0, 0, 5), record("val", 0, 5, 7))
    text = written.to_json().decode()
    assert [line for line in text.splitlines() if '"sha256"' in line] == [
        f"  {written.shards[0].model_dump_json()},",
        f"  {written.shards[1].model_dump_json()}",
    ]
    assert list(json.loads(text)) == list(Manifest.model_fields)
    assert text.isascii()


def test_a_manifest_whose_sums_or_digest_are_wrong_is_refused() -> None:
    data = json.loads(manifest(record("train", 0, 0, 5)).to_json())
    for wrong in ({"digest": "0" * 64}, {"num_samples": 6}, {"splits": {"train": 4}}):
        with pytest.raises(ValidationError):
            Manifest.model_validate_json(json.dumps(data | wrong))


def test_a_record_whose_name_does_not_carry_its_hash_is_refused() -> None:
    data = record("train", 0, 0, 5).model_dump() | {"name": "shards/train-000000.tar"}
    with pytest.raises(ValidationError, match="does not fit"):
        ShardRecord.model_validate(data)


def test_names_are_those_of_the_design() -> None:
    assert sample_key(42) == "000000042"
    name = shard_key("train", 0, "0f3c9a1b2d4e" + "0" * 52)
    assert name == "shards/train-000000-0f3c9a1b2d4e.tar"
    assert part_key(name) == "parts/train-000000-0f3c9a1b2d4e.parquet"


def test_a_plan_lists_its_samples_in_order() -> None:
    plan = ShardPlan(
        split="val",
        number=0,
        indices=(IndexRange(start=3, stop=5), IndexRange(start=9, stop=10)),
    )
    assert list(plan.sample_indices()) == [3, 4, 9]
    assert plan.num_samples == 3
