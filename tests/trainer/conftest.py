"""Small datasets in the dataset's own form, without anything that makes faces."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.samples import SampleMeta, sample_json
from synthforge.shards import (
    GeneratorInfo,
    IndexRange,
    Manifest,
    ShardRecord,
    dataset_digest,
    sample_key,
    shard_key,
)
from trainer.batches import Batch

Members = dict[str, bytes]
IDENTITY = [[float(i == j) for j in range(4)] for i in range(4)]


@dataclass(frozen=True)
class MadeDataset:
    """A dataset in a folder, and what its samples are."""

    folder: Path
    manifest: Manifest
    keys: list[str] = field(default_factory=list)


def png(array: np.ndarray) -> bytes:
    """Encode an array of RGB or grey as PNG."""
    flipped = array[..., ::-1] if array.ndim == 3 else array
    done, data = cv2.imencode(".png", np.ascontiguousarray(flipped))
    assert done
    return data.tobytes()


def sample_members(index: int, split: str, size_px: int) -> Members:
    """A picture that tells its index, labels that agree with it."""
    random = np.random.default_rng(index)
    image = random.integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
    depth = random.integers(0, 65536, (size_px, size_px)).astype(np.uint16)
    points = random.uniform(0, size_px, (68, 2)).round(3).tolist()
    meta = {
        "index": index,
        "identity": index // 2,
        "split": split,
        "attempt": 0,
        "width": size_px,
        "height": size_px,
        "camera": {"world2cam": IDENTITY, "intrinsics_px": [row[:3] for row in IDENTITY[:3]]},
        "head": {
            "yaw_deg": float(index % 90 - 45),
            "pitch_deg": 0.0,
            "roll_deg": 0.0,
            "betas": [0.0, 1.0],
            "expression": [0.5],
            **{f"{joint}_pose": [0.0, 0.0, 0.0] for joint in ("neck", "jaw", "leye", "reye")},
            "global_orient": [0.0, 0.0, 0.0],
            "gaze_left": [0.0, 0.0, -1.0],
            "gaze_right": [0.0, 0.0, -1.0],
        },
        "landmarks68": {
            "xy_px": points,
            "xyz_m": [[0.0, 0.0, 1.0]] * 68,
            "jaw_fixed_xyz_m": [[0.0, 0.0, 1.0]] * 17,
            "visibility": [index % 3] * 68,
        },
        "quality": {"face_share": 0.5},
    }
    SampleMeta.model_validate_json(sample_json(meta))
    return {
        "png": png(image),
        "seg.png": png((image[..., 0] % 20).astype(np.uint8)),
        "depth.png": png(depth),
        "json": sample_json(meta),
    }


def tar_bytes(samples: dict[str, Members]) -> bytes:
    """Write samples as a plain tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples.items():
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_dataset(
    folder: Path, shard_sizes: dict[str, list[int]], *, size_px: int = 16, first_index: int = 0
) -> MadeDataset:
    """Write shards of the given numbers of samples, split by split, and the manifest."""
    (folder / "shards").mkdir(parents=True)
    records, keys, start = [], [], first_index
    for split, sizes in shard_sizes.items():
        for number, count in enumerate(sizes):
            indices = range(start, start + count)
            start += count
            data = tar_bytes({sample_key(i): sample_members(i, split, size_px) for i in indices})
            sha256 = hashlib.sha256(data).hexdigest()
            (folder / shard_key(split, number, sha256)).write_bytes(data)
            keys += [sample_key(i) for i in indices]
            records.append(
                ShardRecord(
                    name=shard_key(split, number, sha256),
                    split=split,
                    number=number,
                    num_samples=count,
                    num_bytes=len(data),
                    sha256=sha256,
                    indices=[IndexRange(start=indices[0], stop=indices[-1] + 1)],
                    rejected={},
                    fingerprint="0" * 16,
                )
            )
    splits = {split: sum(sizes) for split, sizes in shard_sizes.items()}
    manifest = Manifest(
        job=JobSpec(count=sum(splits.values())),
        generator=GeneratorInfo(kind="builtin", versions={}, assets={}, licences={}),
        classes={str(number): name for number, name in CLASSES.items()},
        num_samples=sum(splits.values()),
        splits=splits,
        files=(),
        shards=records,
        digest=dataset_digest(records),
    )
    (folder / "manifest.json").write_bytes(manifest.to_json())
    return MadeDataset(folder, manifest, keys)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Models here are tiny: threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., MadeDataset]:
    """Return `write_dataset`: folder, split -> samples of each shard."""
    return write_dataset


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeDataset:
    """97 training samples in 10 shards, 7 others; nobody changes it."""
    sizes = {"train": [10, 10, 10, 10, 10, 10, 10, 10, 10, 7], "val": [7]}
    return write_dataset(tmp_path_factory.mktemp("made") / "faces", sizes)


@pytest.fixture
def face_samples() -> Batch:
    """Eight pictures of ellipses with parts, 32 x 32, whose labels follow from the picture."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:32, 0:32] + 0.5
    images, classes, points = [], [], []
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    for _ in range(8):
        x, y = random.uniform(14, 18, 2)
        across, down = random.uniform(8, 11, 2)
        inside = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2
        mouth = (abs(columns - x) < 4) & (abs(rows - y - 4) < 2)
        label = np.where(mouth, 8, np.where(inside < 1, 1, 0)).astype(np.uint8)
        palette = random.integers(0, 256, (20, 3))
        image = palette[label] + random.integers(-10, 10, (32, 32, 3))
        images.append(image.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
        classes.append(label)
        circle = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], -1)
        circle[36], circle[45] = (x - 5, y - 2), (x + 5, y - 2)
        points.append(circle.astype(np.float32))
    return Batch(
        keys=tuple(map(str, range(8))),
        weight=torch.ones(8),
        image=torch.from_numpy(np.stack(images)),
        segmentation=torch.from_numpy(np.stack(classes)),
        landmarks_px=torch.from_numpy(np.stack(points)),
    )
