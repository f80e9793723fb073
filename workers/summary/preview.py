"""The contact sheet: samples read back from the store, with their labels drawn over."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyarrow.parquet as pq

from synthforge.codecs import Array, decode_member
from synthforge.conventions import LANDMARK_GROUPS
from synthforge.samples import MEMBERS, SampleMeta, member_of_suffix, split_member_name
from synthforge.storage import Storage
from workers.encoding import encode_array
from workers.types import UInt8Array

NUM_SAMPLES: Final = 16
TILE_PX: Final = 176
SAMPLES_PER_ROW: Final = 2
JPEG_QUALITY: Final = 90
# One colour a class id, RGB: readable over skin, neighbours far apart.
_COLOURS: Final = np.array(
    [
        (30, 30, 34), (232, 190, 172), (120, 80, 40), (160, 110, 60), (66, 135, 245),
        (66, 200, 245), (245, 200, 66), (214, 60, 90), (90, 20, 40), (245, 120, 140),
        (96, 64, 140), (80, 180, 120), (140, 210, 90), (200, 150, 120), (70, 90, 110),
        (20, 220, 220), (220, 20, 220), (60, 50, 30), (250, 250, 120), (255, 128, 0),
    ],
    dtype=np.uint8,
)  # fmt: skip
_VISIBLE, _HIDDEN = (60, 255, 60), (255, 70, 70)


def contact_sheet(index_path: Path, storage: Storage) -> bytes:
    """Return `preview.jpg`: up to 16 samples, each with landmarks, classes, depth and normals.

    Args:
        index_path: the joined index of the dataset.
        storage: bound to the dataset's prefix.
    """
    return sheet_of(
        [
            read_sample(storage.read_range(place["shard"], place["offset"], place["num_bytes"]))
            for place in _places(index_path)
        ]
    )


def sheet_of(samples: Sequence[Mapping[str, Array | SampleMeta]]) -> bytes:
    """Return a JPEG of samples with their labels drawn over, each as `read_sample` has it."""
    per_row = SAMPLES_PER_ROW if len(samples) <= NUM_SAMPLES else 2 * SAMPLES_PER_ROW
    return _jpeg(_grid([_strip(sample) for sample in samples], per_row))


def _places(index_path: Path) -> Iterator[dict[str, Any]]:
    """Yield where evenly spread samples lie; one row group of the index is read at a time."""
    with pq.ParquetFile(index_path) as index:
        last = index.metadata.num_rows - 1
        chosen = np.unique(np.linspace(0, last, NUM_SAMPLES).astype(int))
        first = 0
        for group in range(index.num_row_groups):
            stop = first + index.metadata.row_group(group).num_rows
            here = chosen[(chosen >= first) & (chosen < stop)] - first
            if len(here):
                table = index.read_row_group(group, columns=["shard", "offset", "num_bytes"])
                yield from table.take(here).to_pylist()
            first = stop


def read_sample(run: bytes) -> dict[str, Array | SampleMeta]:
    """Decode one sample from its run of bytes in a shard, by the names of the members."""
    sample = {}
    with tarfile.open(fileobj=io.BytesIO(run), mode="r:") as archive:
        for info in archive:
            member = member_of_suffix(split_member_name(info.name)[1])
            file = archive.extractfile(info)
            assert file is not None, "a shard holds regular files alone"  # noqa: S101
            sample[member.name] = decode_member(member, file.read())
    return sample


def _strip(sample: Mapping[str, Array | SampleMeta]) -> UInt8Array:
    """Draw one sample's tiles side by side."""
    image, meta = sample["image"], sample["meta"]
    assert isinstance(image, np.ndarray)  # noqa: S101 - the table says so
    assert isinstance(meta, SampleMeta)  # noqa: S101
    tiles = [_landmarks_tile(_tile(image), meta)]
    if isinstance(classes := sample.get("segmentation"), np.ndarray):
        colours = _COLOURS[np.minimum(classes, len(_COLOURS) - 1)]
        tiles.append(_tile((0.35 * image + 0.65 * colours).astype(np.uint8)))
    if isinstance(depth := sample.get("depth"), np.ndarray):
        tiles.append(_tile(_depth_colours(depth)))
    if isinstance(normal := sample.get("normal"), np.ndarray):
        tiles.append(_tile(normal))
    return np.concatenate(tiles, axis=1)


def _landmarks_tile(tile: UInt8Array, meta: SampleMeta) -> UInt8Array:
    if meta.landmarks68 is None:
        return tile
    scale = TILE_PX / meta.width
    drawn = np.ascontiguousarray(tile)
    points = np.array(meta.landmarks68.xy_px) * scale
    for group in LANDMARK_GROUPS.values():
        chain = np.round(points[group.start : group.stop]).astype(np.int32)
        cv2.polylines(drawn, [chain[:, None]], False, (255, 255, 255), 1, cv2.LINE_AA)
    for (x, y), seen in zip(points, meta.landmarks68.visibility, strict=True):
        centre = (round(x), round(y))
        cv2.circle(drawn, centre, 1, _VISIBLE if seen == 2 else _HIDDEN, -1, cv2.LINE_AA)
    return drawn


def _depth_colours(depth: Array) -> UInt8Array:
    """Colour depth over the face's own range: near is warm, nothing is black."""
    there = depth > 0
    if not there.any():
        return np.zeros((*depth.shape, 3), dtype=np.uint8)
    near, far = np.percentile(depth[there], [1, 99])
    shade = np.clip((far - depth.astype(np.float32)) / max(far - near, 1.0), 0, 1)
    colours = cv2.applyColorMap((shade * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    colours[~there] = 0
    return np.asarray(colours[..., ::-1], dtype=np.uint8)


def _tile(picture: Array) -> UInt8Array:
    resized = cv2.resize(picture, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def _grid(strips: Sequence[UInt8Array], per_row: int) -> UInt8Array:
    blank = np.zeros_like(strips[0])
    padded = [*strips, *[blank] * (-len(strips) % per_row)]
    rows = [
        np.concatenate(padded[start : start + per_row], axis=1)
        for start in range(0, len(padded), per_row)
    ]
    return np.concatenate(rows, axis=0)


def _jpeg(picture: UInt8Array) -> bytes:
    member = next(member for member in MEMBERS if member.encoding == "jpg")
    return encode_array(member, picture, jpeg_quality=JPEG_QUALITY)
