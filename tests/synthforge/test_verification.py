"""What is wrong with a dataset is found, and said in one line that names the place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.samples import CameraMeta, SampleMeta, member_of_suffix, members_of
from synthforge.shards import (
    MANIFEST_NAME,
    SUMMARY_NAMES,
    Fingerprint,
    GeneratorInfo,
    IndexRange,
    Manifest,
    ShardPlan,
    ShardRecord,
    dataset_digest,
    manifest_copy_key,
    shard_key,
)
from synthforge.storage import Storage, StorageUnavailable, open_storage
from synthforge.verification import VerifyProgress, verify_dataset
from workers.encoding import EncodedSample, LabelledFace, encode_array, encode_face
from workers.shard_writer import ShardWriter

SIZE = 64
SPEC = JobSpec.model_validate(
    {
        "count": 10,
        "identity": {"views": 2},
        "image": {"size": SIZE},
        "annotations": ["segmentation", "depth", "landmarks_dense", "camera"],
        "output": {"splits": {"train": 0.6, "val": 0.4}, "samples_per_shard": 4},
    }
)
PLANS = (
    ShardPlan(split="train", number=0, indices=(IndexRange(start=0, stop=4),)),
    ShardPlan(split="train", number=1, indices=(IndexRange(start=6, stop=8),)),
    ShardPlan(
        split="val", number=0, indices=(IndexRange(start=4, stop=6), IndexRange(start=8, stop=10))
    ),
)
FINGERPRINT = Fingerprint(code="1", backend="numba", device="cpu", libraries={}, assets={})
EYE4 = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))
EYE3 = tuple(tuple(float(row == column) for column in range(3)) for row in range(3))

Change = Callable[[EncodedSample], EncodedSample | None]


def make_sample(index: int, split: str) -> EncodedSample:
    rng = np.random.default_rng(index)
    meta = SampleMeta(
        index=index, identity=index // 2, split=split, attempt=0, width=SIZE, height=SIZE,
        camera=CameraMeta(world2cam=EYE4, intrinsics_px=EYE3), quality={"min_face": 0.25},
    )  # fmt: skip
    face = LabelledFace(
        meta=meta,
        image=rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8),
        segmentation=rng.integers(0, 20, (SIZE, SIZE), np.uint8),
        depth=rng.integers(0, 65535, (SIZE, SIZE), np.uint16),
        dense=rng.normal(size=(20, 3)).astype(np.float32),
    )
    return encode_face(face, members_of(SPEC))


def unchanged(sample: EncodedSample) -> EncodedSample | None:
    return sample


def write_dataset(
    storage: Storage, scratch: Path, change: Change = unchanged, **manifest_changes: Any
) -> Manifest:
    """Write a dataset of ten samples; `change` may alter or drop each of them."""
    records = []
    for plan in PLANS:
        with ShardWriter(scratch / "shard.tar") as writer:
            for index in plan.sample_indices():
                sample = change(make_sample(index, plan.split))
                if sample is not None:
                    writer.add(sample)
            shard = writer.close()
        name = shard_key(plan.split, plan.number, shard.sha256)
        storage.put_file(shard.path, name, shard.sha256)
        records.append(
            ShardRecord(
                name=name,
                split=plan.split,
                number=plan.number,
                num_samples=plan.num_samples,
                num_bytes=shard.num_bytes,
                sha256=shard.sha256,
                indices=plan.indices,
                rejected={},
                fingerprint=FINGERPRINT.id,
            )
        )
    fields: dict[str, Any] = {
        "job": SPEC,
        "generator": GeneratorInfo(
            kind="builtin", versions={}, assets={}, licences={},
            fingerprints={FINGERPRINT.id: FINGERPRINT},
        ),
        "classes": {str(class_id): name for class_id, name in CLASSES.items()},
        "num_samples": 10,
        "splits": {"train": 6, "val": 4},
        "files": tuple(storage.put_bytes(name, name.encode()) for name in SUMMARY_NAMES),
        "shards": tuple(records),
    }  # fmt: skip
    fields |= manifest_changes
    manifest = Manifest(digest=dataset_digest(fields["shards"]), **fields)
    storage.put_bytes(manifest_copy_key(manifest.digest), manifest.to_json())
    storage.put_bytes(MANIFEST_NAME, manifest.to_json())
    return manifest


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"{tmp_path}/dataset")


def findings(storage: Storage) -> list[str]:
    found = [str(finding) for finding in verify_dataset(storage)]
    assert all("\n" not in line for line in found)
    return found


def with_member(
    index: int, suffix: str, edit: Callable[[bytes], bytes]
) -> Callable[[EncodedSample], EncodedSample]:
    def change(sample: EncodedSample) -> EncodedSample:
        if sample.meta.index != index:
            return sample
        members = tuple((name, edit(data) if name == suffix else data) for name, data in
                        sample.members)  # fmt: skip
        return replace(sample, members=members)

    return change


def edit_meta(**changes: Any) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        held = json.loads(data) | changes
        kept = {name: value for name, value in held.items() if value is not None}
        return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()

    return edit


def test_a_right_dataset_has_no_findings(storage: Storage, tmp_path: Path) -> None:
    manifest = write_dataset(storage, tmp_path)
    seen: list[VerifyProgress] = []
    assert list(verify_dataset(storage, num_threads=3, on_progress=seen.append)) == []
    assert [progress.num_samples for progress in seen] == [4, 6, 10]
    assert seen[-1].num_bytes == sum(shard.num_bytes for shard in manifest.shards)
    assert (seen[-1].total_shards, seen[-1].total_samples) == (3, 10)


def test_a_place_without_a_manifest_is_no_dataset(storage: Storage) -> None:
    assert findings(storage) == [
        "manifest.json: not there: a dataset exists when its manifest does"
    ]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\x00", b'{"schema_version": 2}'])
def test_a_manifest_that_is_none_is_named(storage: Storage, data: bytes) -> None:
    storage.put_bytes(MANIFEST_NAME, data)
    (line,) = findings(storage)
    assert line.startswith("manifest.json: ")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.999])
def test_a_flipped_bit_anywhere_in_a_shard_is_found(
    storage: Storage, tmp_path: Path, share: float
) -> None:
    name = write_dataset(storage, tmp_path).shards[1].name
    data = bytearray(storage.get_bytes(name))
    data[int(len(data) * share)] ^= 4
    storage.put_bytes(name, bytes(data))
    found = findings(storage)
    assert any(line.startswith(f"{name}: sha256 is") for line in found)
    assert all(line.startswith(name) for line in found)


def test_a_torn_shard_is_found(storage: Storage, tmp_path: Path) -> None:
    name = write_dataset(storage, tmp_path).shards[0].name
    data = storage.get_bytes(name)
    storage.put_bytes(name, data[:20000])
    found = findings(storage)
    assert f"{name}: 20000 bytes long; the manifest says {len(data)}" in found
    assert any("ends too early" in line for line in found)


def test_a_shard_that_is_gone_is_found(storage: Storage, tmp_path: Path) -> None:
    name = write_dataset(storage, tmp_path).shards[2].name
    storage.delete(name)
    (line,) = findings(storage)
    assert line.startswith(f"{name}: ")
    assert "no such object" in line


def test_files_beside_the_shards_are_checked(storage: Storage, tmp_path: Path) -> None:
    write_dataset(storage, tmp_path)
    storage.put_bytes("index.parquet", b"other content")
    storage.put_bytes("README.md", b"9 bytes!!")
    storage.delete("report.html")
    found = " | ".join(findings(storage))
    assert "index.parquet: sha256 is" in found
    assert "README.md: sha256 is" in found
    assert "report.html: report.html: no such object" in found


def test_the_manifest_s_copy_is_checked(storage: Storage, tmp_path: Path) -> None:
    copy = manifest_copy_key(write_dataset(storage, tmp_path).digest)
    storage.put_bytes(copy, b"{}")
    assert findings(storage) == [f"{copy}: differs from manifest.json"]
    storage.delete(copy)
    assert findings(storage) == [f"{copy}: {copy}: no such object"]


def test_a_manifest_in_another_form_is_found(storage: Storage, tmp_path: Path) -> None:
    manifest = write_dataset(storage, tmp_path)
    storage.put_bytes(MANIFEST_NAME, json.dumps(json.loads(manifest.to_json())).encode())
    assert "manifest.json: not the bytes that its content makes" in findings(storage)


WRONG_META = {
    "index": (edit_meta(index=7), "meta: index is 7; 5 would do"),
    "identity": (edit_meta(identity=9), "meta: identity is 9; 2 would do"),
    "split": (edit_meta(split="train"), "meta: split is 'train'; 'val' would do"),
    "width": (edit_meta(width=32), "meta: width is 32; 64 would do"),
    "lacks": (edit_meta(camera=None), "meta: camera is missing, against the job"),
    "unknown": (edit_meta(job_id="x"), "meta: "),
    "spaces": (lambda data: data.replace(b":", b": "), "meta: not the canonical JSON"),
    "none": (lambda data: data[:-1], "meta: "),
}


@pytest.mark.parametrize("name", WRONG_META)
def test_a_json_that_does_not_fit_is_found(storage: Storage, tmp_path: Path, name: str) -> None:
    edit, reason = WRONG_META[name]
    val = write_dataset(storage, tmp_path, with_member(5, "json", edit)).shards[2].name
    (line,) = findings(storage)
    assert line.startswith(f"{val} 000000005: {reason}")


def test_an_array_that_does_not_decode_is_found(storage: Storage, tmp_path: Path) -> None:
    write_dataset(storage, tmp_path, with_member(1, "depth.png", lambda data: data[:-40]))
    (line,) = findings(storage)
    assert "000000001: depth: a png that is torn" in line


def test_an_array_of_another_kind_is_found(storage: Storage, tmp_path: Path) -> None:
    grey = make_sample(0, "train").members[1][1]
    write_dataset(storage, tmp_path, with_member(1, "depth.png", lambda _: grey))
    (line,) = findings(storage)
    assert "000000001: depth: a png of 8 bits" in line


def test_a_pixel_of_no_class_is_found(storage: Storage, tmp_path: Path) -> None:
    wrong = np.zeros((SIZE, SIZE), np.uint8)
    wrong[3, 4:6] = 77
    data = encode_array(member_of_suffix("seg.png"), wrong)
    write_dataset(storage, tmp_path, with_member(1, "seg.png", lambda _: data))
    (line,) = findings(storage)
    assert "000000001: segmentation: 2 pixels of 77, which is no class" in line


def test_a_mesh_of_another_size_is_found(storage: Storage, tmp_path: Path) -> None:
    data = encode_array(member_of_suffix("dense.npy"), np.full((19, 3), np.nan, np.float32))
    write_dataset(storage, tmp_path, with_member(1, "dense.npy", lambda _: data))
    (line,) = findings(storage)
    assert "000000001: dense: shape (19, 3)" in line


def test_a_member_too_many_or_too_few_is_found(storage: Storage, tmp_path: Path) -> None:
    def drop(sample: EncodedSample) -> EncodedSample:
        return replace(sample, members=(sample.members[0], sample.members[-1]))

    write_dataset(storage, tmp_path, drop)
    found = findings(storage)
    assert len(found) == 10
    assert found[0].endswith(
        "000000000: members jpg json; jpg seg.png depth.png dense.npy json would do"
    )


def test_a_sample_that_is_missing_is_found(storage: Storage, tmp_path: Path) -> None:
    def drop(sample: EncodedSample) -> EncodedSample | None:
        return None if sample.meta.index in {1, 7} else sample

    manifest = write_dataset(storage, tmp_path, drop)
    assert findings(storage) == [
        f"{manifest.shards[0].name}: sample '000000002' stands where sample 000000001 should",
        f"{manifest.shards[1].name}: it ends before sample 000000007",
    ]


def test_the_findings_of_one_shard_are_bounded(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthforge.verification.MAX_FINDINGS_PER_SHARD", 2)
    write_dataset(storage, tmp_path, lambda sample: replace(sample, members=sample.members[1:]))
    found = findings(storage)
    assert sum(line.endswith("was not looked at") for line in found) == 2
    assert len(found) == 3 + 2 + 3


def relabelled(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    first = manifest.shards[0].model_copy(update=changes)
    return {"shards": (first, *manifest.shards[1:])}


def test_a_manifest_against_its_job_is_found(storage: Storage, tmp_path: Path) -> None:
    right = write_dataset(storage, tmp_path)
    other = right.generator.model_copy(update={"fingerprints": {"0" * 16: FINGERPRINT}})
    changes: list[tuple[dict[str, Any], str]] = [
        ({"shards": right.shards[::-1]}, "not in the order"),
        ({"job": SPEC.model_copy(update={"count": 12})}, "the job's count is 12"),
        ({"classes": {"0": "background"}}, "classes differ"),
        ({"files": right.files[1:]}, "files lack README.md"),
        ({"generator": other}, f"fingerprint {'0' * 16} is that of"),
        ({"generator": other}, f"fingerprints {FINGERPRINT.id} are not described"),
        (relabelled(right, indices=(IndexRange(start=0, stop=3),)), "indices are not 4 samples"),
        (relabelled(right, indices=(IndexRange(start=0, stop=3),)), "cuts an identity"),
        (relabelled(right, indices=(IndexRange(start=2, stop=6),)), "from 0 on are missing"),
        (relabelled(right, indices=(IndexRange(start=0, stop=6),)), "from 4 on"),
    ]
    for fields, reason in changes:
        write_dataset(storage, tmp_path, **fields)
        assert any(reason in line for line in findings(storage)), reason


def test_a_store_that_does_not_answer_is_no_finding(tmp_path: Path) -> None:
    storage = open_storage(f"{tmp_path}/dataset")
    write_dataset(storage, tmp_path)

    class Silent(type(storage)):  # type: ignore[misc]
        def stream(self, key: str) -> Any:
            raise StorageUnavailable(f"{key}: no answer")

    with pytest.raises(StorageUnavailable):
        list(verify_dataset(Silent(storage.location, storage.root)))


def test_a_verification_may_be_left_early(storage: Storage, tmp_path: Path) -> None:
    write_dataset(storage, tmp_path, lambda sample: replace(sample, members=sample.members[1:]))
    verification = verify_dataset(storage)
    next(verification)
    verification.close()


def test_the_files_of_the_dataset_are_hashed_as_they_are(storage: Storage, tmp_path: Path) -> None:
    manifest = write_dataset(storage, tmp_path)
    for file in manifest.files:
        assert hashlib.sha256(storage.get_bytes(file.name)).hexdigest() == file.sha256
