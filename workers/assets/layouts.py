"""Reads UV layouts (.npz, .obj) and semantic maps (.png) of users."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from synthforge.assets import AssetError
from synthforge.conventions import CLASSES
from workers.flame.arrays_file import Array, read_arrays
from workers.types import UInt8Array

_MAX_OBJ_BYTES = 64 << 20
_SIGNATURE_BYTES = 8
_COLOUR_TYPE_AT = 25
_GREY, _PALETTE = 0, 3
_MAX_MAP_PX = 8192


def read_uv_layout(path: Path) -> dict[str, Array]:
    """Read the UV layout of a head: `vt` (T, 2) float32, v up; `ft` (F, 3) int32.

    Rows of `ft` are the model's faces, in its order.

    Raises:
        AssetError: shapes or numbers are none of a layout.
    """
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    arrays = read_arrays(path, ("vt", "ft")) if is_archive else _of_obj(path)
    vt, ft = arrays["vt"].astype(np.float32), arrays["ft"].astype(np.int64)
    if vt.ndim != 2 or vt.shape[1] != 2 or ft.ndim != 2 or ft.shape[1] != 3 or not len(ft):
        raise AssetError(f"{path.name}: vt {vt.shape}, ft {ft.shape}; a layout has (T, 2), (F, 3)")
    if not np.isfinite(vt).all() or ft.min() < 0 or ft.max() >= len(vt):
        raise AssetError(
            f"{path.name}: ft names points outside 0..{len(vt) - 1}, or vt is not finite"
        )
    return {"vt": vt, "ft": ft.astype(np.int32)}


def read_semantic_map(path: Path) -> UInt8Array:
    """Read class ids over a UV layout: (H, W), its first row at v = 1.

    Raises:
        AssetError: it is no 8-bit PNG of one channel or a palette, or holds an unknown class.
    """
    classes = cv2.imdecode(np.frombuffer(_as_grey(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if classes is None or classes.dtype != np.uint8 or classes.ndim != 2:
        raise AssetError(f"{path.name}: a semantic map is a PNG of 8-bit class ids, one channel")
    unknown = sorted(set(np.unique(classes).tolist()) - set(CLASSES))
    if unknown or max(classes.shape) > _MAX_MAP_PX:
        listed = ", ".join(map(str, unknown[:12]))
        raise AssetError(
            f"{path.name}: {classes.shape} pixels with unknown classes {listed or 'none'}; at most "
            f"{_MAX_MAP_PX} pixels a side, and ids of docs/conventions.md, would do"
        )
    return np.asarray(classes, np.uint8)


def _of_obj(path: Path) -> dict[str, Array]:
    if path.stat().st_size > _MAX_OBJ_BYTES:
        raise AssetError(f"{path.name} has more than {_MAX_OBJ_BYTES} bytes: no head has as many")
    points: list[list[float]] = []
    faces: list[list[int]] = []
    for number, line in enumerate(path.read_text("latin-1").splitlines(), 1):
        kind, _, rest = line.partition(" ")
        try:
            if kind == "vt":
                points.append([float(word) for word in rest.split()[:2]])
            elif kind == "f":
                faces.append([int(corner.split("/")[1]) - 1 for corner in rest.split()])
        except (ValueError, IndexError):
            raise AssetError(f"{path.name} line {number}: {line[:60]!r} has no UV") from None
    if not points or any(len(face) != 3 for face in faces):
        raise AssetError(f"{path.name}: its faces are no triangles with UV")
    return {"vt": np.array(points), "ft": np.array(faces)}


def _as_grey(path: Path) -> bytes:
    """Take a palette's indices for what they are: the header is made to say grey.

    Indices of 8 bits and grey of 8 bits lie in the file in the same way; a decoder would look the
    colours up.
    """
    raw = path.read_bytes()
    header_end = _SIGNATURE_BYTES + 4 + 4 + 13
    if len(raw) <= header_end + 4 or raw[_COLOUR_TYPE_AT] != _PALETTE:
        return raw
    header = bytearray(raw[_SIGNATURE_BYTES + 4 : header_end])  # its name and its 13 bytes
    header[4 + 9] = _GREY
    checksum = struct.pack(">I", zlib.crc32(header))
    return raw[: _SIGNATURE_BYTES + 4] + bytes(header) + checksum + raw[header_end + 4 :]
