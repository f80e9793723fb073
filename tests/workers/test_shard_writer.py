"""Samples become a tar that other programs read; equal samples, equal bytes."""

from __future__ import annotations

import gc
import hashlib
import io
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from synthforge.codecs import CodecError, decode_array, decode_meta
from synthforge.jobs import ANNOTATIONS, JobSpec
from synthforge.samples import HeadMeta, SampleMeta, member_of_suffix, members_of
from synthforge.shards import part_key, shard_key
from synthforge.storage import StorageRefused, open_storage
from workers.encoding import EncodedSample, LabelledFace, encode_face
from workers.index import INDEX_SCHEMA, ROW_GROUP_ROWS, IndexRow, join_parts, write_part
from workers.shard_writer import ShardFile, ShardWriter
from workers.upload import upload_shard

SIZE = 64
SPEC = JobSpec(count=8, annotations=ANNOTATIONS)
ZERO3 = (0.0, 0.0, 0.0)


def make_meta(index: int) -> SampleMeta:
    head = HeadMeta(
        yaw_deg=index + 0.5, pitch_deg=-3.0, roll_deg=0.25, betas=(0.1, -0.2), expression=(0.3,),
        global_orient=ZERO3, neck_pose=ZERO3, jaw_pose=ZERO3, leye_pose=ZERO3, reye_pose=ZERO3,
        gaze_left=ZERO3, gaze_right=ZERO3,
    )  # fmt: skip
    return SampleMeta(
        index=index, identity=index // 2, split="train", attempt=index % 3, width=SIZE, height=SIZE,
        head=head, bbox_px=(1.5, 2.0, 30.0, 40.0), bbox_visible_px=(1, 2, 30, 40),
        quality={"min_face": 0.5, "landmarks_inside": 1.0},
    )  # fmt: skip


def make_face(index: int) -> LabelledFace:
    rng = np.random.default_rng(index)

    def draw(dtype: Any, *channels: int) -> Any:
        return rng.integers(0, np.iinfo(dtype).max, (SIZE, SIZE, *channels), dtype, endpoint=True)

    return LabelledFace(
        meta=make_meta(index),
        image=draw(np.uint8, 3),
        segmentation=draw(np.uint8),
        depth=draw(np.uint16),
        normal=draw(np.uint8, 3),
        u=draw(np.uint16),
        v=draw(np.uint16),
        dense=rng.normal(size=(50, 3)).astype(np.float32),
    )


def make_sample(index: int) -> EncodedSample:
    return encode_face(make_face(index), members_of(SPEC))


def write_shard(path: Path, indices: range) -> ShardFile:
    with ShardWriter(path) as writer:
        for index in indices:
            writer.add(make_sample(index))
        return writer.close()


def test_members_stand_in_the_order_of_the_table() -> None:
    suffixes = [suffix for suffix, _ in make_sample(3).members]
    assert suffixes == [
        "jpg",
        "seg.png",
        "depth.png",
        "normal.png",
        "u.png",
        "v.png",
        "dense.npy",
        "json",
    ]


def test_only_what_is_asked_for_is_encoded() -> None:
    spec = JobSpec.model_validate(
        {"count": 1, "annotations": ["depth"], "image": {"format": "png"}}
    )
    sample = encode_face(make_face(0), members_of(spec))
    assert [suffix for suffix, _ in sample.members] == ["png", "depth.png", "json"]
    assert np.array_equal(
        decode_array(member_of_suffix("png"), sample.members[0][1]), make_face(0).image
    )


def test_a_face_that_lacks_what_is_asked_for_is_refused_by_name() -> None:
    bare = LabelledFace(meta=make_meta(4), image=make_face(4).image)
    with pytest.raises(CodecError, match="segmentation: the job asks for it, and sample 4 lacks"):
        encode_face(bare, members_of(SPEC))


def test_an_array_of_another_size_than_the_picture_is_refused_by_name() -> None:
    face = LabelledFace(meta=make_meta(4), image=np.zeros((SIZE, SIZE + 8, 3), np.uint8))
    with pytest.raises(CodecError, match=r"image: shape \(64, 72, 3\)"):
        encode_face(face, members_of(JobSpec(count=1, annotations=())))


def test_equal_samples_make_equal_bytes(tmp_path: Path) -> None:
    first = write_shard(tmp_path / "a.tar", range(5))
    second = write_shard(tmp_path / "b.tar", range(5))
    assert first.sha256 == second.sha256
    assert first.rows == second.rows
    data = first.path.read_bytes()
    assert data == second.path.read_bytes()
    assert (first.num_samples, first.num_bytes) == (5, len(data))
    assert first.sha256 == hashlib.sha256(data).hexdigest()


def test_a_row_finds_its_sample_by_one_range_of_the_tar(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", range(5))
    data = shard.path.read_bytes()
    for index, row in enumerate(shard.rows):
        run = data[row.offset : row.offset + row.num_bytes]
        assert hashlib.sha256(run).hexdigest() == row.sha256
        with tarfile.open(fileobj=io.BytesIO(run)) as archive:  # a run is read as an archive
            names = archive.getnames()
        assert {name.partition(".")[0] for name in names} == {f"{index:09d}"}
    assert shard.rows[3].yaw_deg == 3.5
    assert (shard.rows[3].identity, shard.rows[3].attempt) == (1, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_webdataset_library_reads_our_shards(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", range(4))
    dataset = webdataset.WebDataset(str(shard.path), shardshuffle=False)
    samples = list(dataset)
    gc.collect()  # the library leaves its file open: let the warning be of this test
    assert [sample["__key__"] for sample in samples] == [f"{index:09d}" for index in range(4)]
    face = make_face(2)
    depth = decode_array(member_of_suffix("depth.png"), samples[2]["depth.png"])
    assert np.array_equal(depth, face.depth)
    assert decode_meta(samples[2]["json"]) == face.meta


def test_tar_members_have_no_time_and_no_owner(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", range(2))
    with tarfile.open(shard.path) as archive:
        for member in archive:
            held = (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode)
            assert held == (0, 0, 0, "", "", 0o644)
            assert not member.pax_headers


def test_nothing_has_the_shard_s_name_before_it_is_closed(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.add(make_sample(0))
        assert [path.name for path in tmp_path.iterdir()] == ["a.tar.tmp"]
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    def add_twice() -> None:
        with ShardWriter(tmp_path / "a.tar") as writer:
            writer.add(make_sample(0))
            writer.add(make_sample(0))

    with pytest.raises(ValueError, match="already"):
        add_twice()
    assert list(tmp_path.iterdir()) == []


def test_a_shard_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sample"), ShardWriter(tmp_path / "a.tar") as writer:
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_written_once(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.add(make_sample(7))
        with pytest.raises(ValueError, match="000000007 is in the shard already"):
            writer.add(make_sample(7))


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    sample = make_sample(0)
    size = sum(len(data) for _, data in sample.members)
    tracemalloc.start()
    with ShardWriter(tmp_path / "a.tar") as writer:
        for index in range(200):
            writer.add(EncodedSample(make_meta(index), sample.members))
        writer.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * size  # of 200


def make_rows(count: int, first: int = 0) -> list[IndexRow]:
    return [
        IndexRow(
            key=f"{index:09d}", offset=index * 512, num_bytes=512, sha256="0" * 64, index=index,
            identity=index, split="train", attempt=0, width=8, height=8, yaw_deg=None,
            pitch_deg=None, roll_deg=None, bbox_px=None, bbox_visible_px=None, quality={},
            opening_left=None, opening_right=None, hidden=None, attributes={},
        )
        for index in range(first, first + count)
    ]  # fmt: skip


def test_the_index_holds_a_row_a_sample(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", range(3))
    write_part(tmp_path / "a.parquet", "shards/a.tar", shard.rows)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema == INDEX_SCHEMA
    row = table.to_pylist()[1]
    assert (row["key"], row["shard"], row["yaw_deg"]) == ("000000001", "shards/a.tar", 1.5)
    assert row["bbox_px"] == [1.5, 2.0, 30.0, 40.0]
    assert row["bbox_visible_px"] == [1, 2, 30, 40]
    assert dict(row["quality"]) == {"landmarks_inside": 1.0, "min_face": 0.5}


def test_equal_rows_make_an_equal_part(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_part(tmp_path / name, "shards/a.tar", make_rows(100))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parts_join_in_order_into_few_row_groups(tmp_path: Path) -> None:
    counts, parts, first = (ROW_GROUP_ROWS - 1, 3, 5), [], 0
    for count in counts:
        part = tmp_path / f"{first}.parquet"
        write_part(part, f"shards/{first}.tar", make_rows(count, first))
        parts.append(part)
        first += count
    assert join_parts(parts, tmp_path / "index.parquet") == sum(counts)
    file = pq.ParquetFile(tmp_path / "index.parquet")
    assert file.num_row_groups == 2
    assert file.read(["index"])["index"].to_pylist() == list(range(sum(counts)))
    join_parts(parts, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "index.parquet").read_bytes()


def test_an_uploaded_shard_lies_at_the_key_of_its_hash(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "local.tar", range(3))
    storage = open_storage(f"{tmp_path}/store")
    uploaded = upload_shard(storage, shard, "train", 7)
    name = shard_key("train", 7, shard.sha256)
    assert uploaded.tar.name == name
    assert storage.get_bytes(name) == shard.path.read_bytes()
    assert uploaded.part.name == part_key(name)
    rows = pq.read_table(io.BytesIO(storage.get_bytes(part_key(name)))).to_pylist()
    assert [row["shard"] for row in rows] == [name] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local.tar", "store"]


def test_a_shard_that_changed_on_the_disk_is_not_uploaded(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "local.tar", range(3))
    data = bytearray(shard.path.read_bytes())
    data[1000] ^= 1
    shard.path.write_bytes(data)
    storage = open_storage(f"{tmp_path}/store")
    with pytest.raises(StorageRefused, match="sha256"):
        upload_shard(storage, shard, "train", 7)
    assert list(storage.list_objects("shards")) == []
