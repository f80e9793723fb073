"""Tells what a file is by what it holds, never by its name."""

from __future__ import annotations

import mmap
import zipfile
from pathlib import Path

from synthforge.assets import AssetError, AssetKind

_PICKLE_MARKS: tuple[tuple[bytes, AssetKind], ...] = (
    (b"_reconstruct_persistent_obj", "next3d_checkpoint"),
    (b"shapedirs", "flame_model"),
    (b"lmk_b_coords", "flame_static_embedding"),
    (b"left_eyeball", "flame_masks"),
)
"""A word that a pickle of each kind holds and the others lack; its strict reader follows."""

_NPY = b"\x93NUMPY"
_PNG = b"\x89PNG\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE_STARTS = (b"\x80", b"(", b"}", b"c")
_OTHER_EMBEDDING = b"full_lmk_faces_idx"  # DECA's landmark_embedding.npy
_KNOWN = (
    "FLAME model, landmark embeddings, vertex masks, UV layout (.npz or .obj), Next3D pickle or "
    "semantic map (.png)"
)


def recognise(path: Path) -> AssetKind:
    """Return the kind of a file that a user offers.

    Raises:
        AssetError: it is empty, or none of the kinds.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if not start:
            raise AssetError(f"{path.name} is empty: get it from its publisher again")
        if start == _PNG:
            return "semantic_map"
        if start[:4] == _ZIP:
            return _of_archive(path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if start[:6] == _NPY:
                return _of_npy(path, content)
            if start.startswith(_PICKLE_STARTS):
                return _of_pickle(path, content)
            if _is_obj(content):
                return "flame_texture_uv"
    raise _unknown(path)


def _of_archive(path: Path) -> AssetKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile as error:
        raise AssetError(f"{path.name} is torn ({error}): get it again") from None
    if {"vt.npy", "ft.npy"} <= names:
        return "flame_texture_uv"
    if any(name.endswith(".pkl") for name in names):
        raise AssetError(f"{path.name} is an archive: unpack it and import the files in it")
    raise _unknown(path)


def _of_npy(path: Path, content: mmap.mmap) -> AssetKind:
    if content.find(_OTHER_EMBEDDING) >= 0:
        raise AssetError(
            f"{path.name} is DECA's landmark file, with its own sign of yaw: import RingNet's "
            "flame_static_embedding.pkl and flame_dynamic_embedding.npy"
        )
    if content.find(b"lmk_b_coords") >= 0:
        return "flame_dynamic_embedding"
    raise _unknown(path)


def _of_pickle(path: Path, content: mmap.mmap) -> AssetKind:
    for mark, kind in _PICKLE_MARKS:
        if content.find(mark) >= 0:
            return kind
    raise _unknown(path)


def _is_obj(content: mmap.mmap) -> bool:
    return content.find(b"\nvt ") >= 0 and content.find(b"\nf ") >= 0


def _unknown(path: Path) -> AssetError:
    return AssetError(f"{path.name} is none of the files that can be imported: {_KNOWN}")
