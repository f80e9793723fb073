"""Reads ICT-FaceKit as its users have it: a clone of OBJ files, or one .npz export of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from synthforge.assets import AssetError
from workers.flame.arrays_file import Array, read_arrays
from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

MODEL_FOLDER: Final = "FaceXModel"
NUM_VERTICES: Final = 26_719
NUM_IDENTITY: Final = 100
NUM_EXPRESSIONS: Final = 53
# Polygons of each region, from the first to before the last: the geometry table of its README.
REGIONS: Final[Mapping[str, tuple[int, int]]] = {
    "face": (0, 9230),
    "head_and_neck": (9230, 11144),
    "mouth_socket": (11144, 13226),
    "eye_socket_left": (13226, 13630),
    "eye_socket_right": (13630, 14034),
    "gums_and_tongue": (14034, 17006),
    "teeth": (17006, 21496),
    "sclera_left": (21496, 22296),
    "iris_left": (22296, 23094),
    "sclera_right": (23094, 23894),
    "iris_right": (23894, 24692),
    "cards": (24692, 26384),  # lacrimal fluid, eye blend and occlusion, lashes: drawn on by others
}
_WOULD_DO: Final = (
    "a clone of https://github.com/ICT-VGL/ICT-FaceKit (26,719 vertices), or a folder with one "
    ".npz export of it, would do"
)
_ARRAYS: Final = (
    "neutral", "identity", "expression", "expression_names", "polygons", "polygon_uvs", "uvs",
    "landmarks68",
)  # fmt: skip


@dataclass(frozen=True)
class FaceKit:
    """The model as published. Centimetres; +x subject's left, +y up, +z out of the face.

    Attributes:
        neutral: (V, 3).
        identity: (100, V, 3) offsets per standard deviation.
        expression: (E, V, 3) offsets at full activation.
        expression_names: of them.
        triangles: (F, 3); triangle_uvs (F, 3) too.
        uvs: (T, 2) over tiles: the whole part of u is the tile.
        region: (F,) index into `REGIONS`.
        landmarks: (68,) vertices, iBUG order.
    """

    neutral: Float32Array
    identity: Float32Array
    expression: Float32Array
    expression_names: tuple[str, ...]
    triangles: Int32Array
    triangle_uvs: Int32Array
    uvs: Float32Array
    region: UInt8Array
    landmarks: Int32Array

    def offsets(self, name: str) -> Float64Array:
        """(V, 3) of one expression, centimetres."""
        return np.asarray(self.expression[self.expression_names.index(name)], np.float64)


def read_facekit(folder: Path) -> FaceKit:
    """Read a clone, or an export.

    Raises:
        AssetError: the folder holds neither, or its files are not the published ones.
    """
    if (folder / MODEL_FOLDER).is_dir():
        return _of_clone(folder / MODEL_FOLDER)
    exports = sorted(folder.glob("*.npz"))
    if len(exports) != 1:
        raise AssetError(
            f"{folder} holds no {MODEL_FOLDER} folder and {len(exports)} .npz files: {_WOULD_DO}"
        )
    try:
        arrays = read_arrays(exports[0], _ARRAYS)
    except ValueError as error:
        raise AssetError(f"{error}: {_WOULD_DO}") from None
    return face_kit(arrays)


def face_kit(arrays: Mapping[str, Array]) -> FaceKit:
    """Check arrays against the published model and split its polygons.

    Raises:
        AssetError: they are of another model.
    """
    polygons = np.asarray(arrays["polygons"], np.int32)
    neutral = np.asarray(arrays["neutral"], np.float32)
    names = tuple(map(str, arrays["expression_names"].tolist()))
    found = {
        "vertices": len(neutral),
        "polygons": len(polygons),
        "identity modes": len(arrays["identity"]),
        "expressions": len(names),
    }
    published = (NUM_VERTICES, REGIONS["cards"][1], NUM_IDENTITY, NUM_EXPRESSIONS)
    if tuple(found.values()) != published or len(arrays["expression"]) != len(names):
        told = ", ".join(f"{count} {name}" for name, count in found.items())
        raise AssetError(f"ICT-FaceKit: {told}: {_WOULD_DO}")
    region = np.repeat(
        np.arange(len(REGIONS), dtype=np.uint8), [last - first for first, last in REGIONS.values()]
    )
    triangles, of_polygon = _triangles(polygons)
    uv_triangles, _ = _triangles(np.asarray(arrays["polygon_uvs"], np.int32))
    return FaceKit(
        neutral=neutral,
        identity=np.asarray(arrays["identity"], np.float32),
        expression=np.asarray(arrays["expression"], np.float32),
        expression_names=names,
        triangles=triangles,
        triangle_uvs=uv_triangles,
        uvs=np.asarray(arrays["uvs"], np.float32),
        region=region[of_polygon],
        landmarks=np.asarray(arrays["landmarks68"], np.int32),
    )


def _triangles(polygons: Int32Array) -> tuple[Int32Array, Int32Array]:
    """Split quads (a, b, c, d) into (a, b, c) and (a, c, d); a triangle's last corner is -1."""
    both = np.stack([polygons[:, [0, 1, 2]], polygons[:, [0, 2, 3]]], 1).reshape(-1, 3)
    owner = np.repeat(np.arange(len(polygons), dtype=np.int32), 2)
    whole = both[:, 2] >= 0
    return np.ascontiguousarray(both[whole]), owner[whole]


def _of_clone(folder: Path) -> FaceKit:
    try:
        indices = json.loads((folder / "vertex_indices.json").read_text())
        names = [str(name) for name in indices["expressions"]]
        landmarks = np.array(indices["idx_to_landmark_verts"], np.int32)
        neutral, uvs, polygons, polygon_uvs = read_obj(folder / "generic_neutral_mesh.obj")
        targets = [f"identity{number:03d}" for number in range(NUM_IDENTITY)] + names
        offsets = [_offsets(folder / f"{name}.obj", neutral) for name in targets]
    except (OSError, KeyError, ValueError) as error:
        raise AssetError(f"{folder}: {error}: {_WOULD_DO}") from None
    return face_kit(
        {
            "neutral": neutral,
            "identity": np.stack(offsets[:NUM_IDENTITY]),
            "expression": np.array(offsets[NUM_IDENTITY:]),
            "expression_names": np.array(names),
            "polygons": polygons,
            "polygon_uvs": polygon_uvs,
            "uvs": uvs,
            "landmarks68": landmarks,
        }
    )


def _offsets(path: Path, neutral: Float32Array) -> Float32Array:
    vertices = _numbers(path.read_text("ascii").splitlines(), "v ", 3)
    if vertices.shape != neutral.shape:
        raise AssetError(f"{path.name} has {len(vertices)} vertices, the neutral {len(neutral)}")
    return vertices - neutral


def read_obj(path: Path) -> tuple[Float32Array, Float32Array, Int32Array, Int32Array]:
    """Read vertices (V, 3), uvs (T, 2), polygons (P, 4) and their uvs (P, 4), -1 after triangles.

    Raises:
        ValueError: a line is none of such a file.
    """
    lines = path.read_text("ascii").splitlines()
    corners = [line.split()[1:] for line in lines if line.startswith("f ")]
    polygons = np.full((len(corners), 4), -1, np.int32)
    polygon_uvs = polygons.copy()
    for row, polygon in enumerate(corners):
        for column, corner in enumerate(polygon):
            vertex, uv = corner.split("/")[:2]
            polygons[row, column], polygon_uvs[row, column] = int(vertex) - 1, int(uv) - 1
    return _numbers(lines, "v ", 3), _numbers(lines, "vt ", 2), polygons, polygon_uvs


def _numbers(lines: list[str], start: str, count: int) -> Float32Array:
    rows = [line.split()[1 : count + 1] for line in lines if line.startswith(start)]
    return np.array(rows, np.float64).reshape(-1, count).astype(np.float32)
