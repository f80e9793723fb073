"""The published mesh as parts of ours: what is kept, where it lies, its one UV map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from synthforge.assets import AssetError
from workers.assets.ict.facekit import REGIONS, FaceKit
from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

METRES_PER_CM: Final = 0.01
_MIRROR_TOLERANCE_M: Final = 5e-4

# The cards and the irises inside the eyeballs are left out: labels are of solid surfaces, and our
# shading draws irises.
PART_OF_REGION: Final[Mapping[str, str]] = {
    "face": "skin",
    "head_and_neck": "skin",
    "eye_socket_left": "skin",
    "eye_socket_right": "skin",
    "mouth_socket": "mouth",
    "gums_and_tongue": "mouth",
    "teeth": "teeth",
    "sclera_left": "left_eye",
    "sclera_right": "right_eye",
}
# Left, bottom and side of a region's cell in the atlas; the published charts fill them.
_CELLS: Final[Mapping[str, tuple[float, float, float]]] = {
    "face": (0.0, 0.44, 0.56),
    "head_and_neck": (0.56, 0.56, 0.44),
    "eye_socket_left": (0.56, 0.56, 0.44),
    "eye_socket_right": (0.56, 0.56, 0.44),
    "mouth_socket": (0.56, 0.56, 0.44),
    "gums_and_tongue": (0.0, 0.0, 0.2),
    "teeth": (0.2, 0.0, 0.2),
    "sclera_left": (0.0, 0.22, 0.2),
    "sclera_right": (0.2, 0.22, 0.2),
}
WORN_CELL: Final = (0.44, 0.0, 0.54)
_ONE_TILE: Final = ("face", "head_and_neck", "eye_socket_left", "eye_socket_right", "mouth_socket")


@dataclass(frozen=True)
class BareHead:
    """The kept mesh. Metres, axes of our head's frame.

    Attributes:
        ids: (V,) its vertices in the published mesh.
        vertices: (V, 3).
        triangles: (F, 3).
        uv: (T, 2); uv_triangles (F, 3).
        region: (F,) index into `REGIONS`.
        part: (F,) index into `parts`.
        parts: their names.
        mirror: (V,) each vertex' twin.
        moved_m: (3,) what was added to the published places, once in metres.
    """

    ids: Int32Array
    vertices: Float64Array
    triangles: Int32Array
    uv: Float32Array
    uv_triangles: Int32Array
    region: UInt8Array
    part: UInt8Array
    parts: tuple[str, ...]
    mirror: Int32Array
    moved_m: Float64Array

    def of_part(self, name: str) -> Int32Array:
        """(N,) vertices of a part."""
        return np.unique(self.triangles[self.part == self.parts.index(name)])


def bare_head(kit: FaceKit, eyes_m: Float64Array, part_names: tuple[str, ...]) -> BareHead:
    """Cut the published mesh to what is kept.

    Args:
        kit: as published.
        eyes_m: (3,) the middle of our head's outer eye corners: theirs is laid on it.
        part_names: of our head.

    Raises:
        AssetError: the mesh is not symmetric.
    """
    names = list(REGIONS)
    wanted = [names.index(name) for name in PART_OF_REGION]
    kept = np.flatnonzero(np.isin(kit.region, wanted)).astype(np.int32)
    region = kit.region[kept]
    ids, triangles = np.unique(kit.triangles[kept], return_inverse=True)
    metres = kit.neutral.astype(np.float64) * METRES_PER_CM
    moved = (eyes_m - metres[kit.landmarks[[36, 45]]].mean(0)) * [0.0, 1.0, 1.0]
    vertices = metres[ids] + moved
    table = np.array([part_names.index(PART_OF_REGION.get(name, "skin")) for name in names])
    uv, uv_triangles = _atlas(kit, kept)
    faces: Int32Array = triangles.reshape(-1, 3).astype(np.int32)
    return BareHead(
        ids=ids.astype(np.int32),
        vertices=vertices,
        triangles=faces,
        uv=uv,
        uv_triangles=uv_triangles,
        region=region,
        part=table[region].astype(np.uint8),
        parts=part_names,
        mirror=_mirror(vertices, faces, region, names),
        moved_m=moved,
    )


def _atlas(kit: FaceKit, kept: Int32Array) -> tuple[Float32Array, Int32Array]:
    """Lay the published tiles into the cells of one map: (T, 2) and (F, 3)."""
    corners = kit.triangle_uvs[kept]
    out = np.zeros((len(kept), 3, 2))
    for name, (left, bottom, side) in _CELLS.items():
        chosen = kit.region[kept] == list(REGIONS).index(name)
        uv = kit.uvs[corners[chosen]].astype(np.float64)
        if name in _ONE_TILE:
            uv[..., 0] -= np.floor(uv[..., 0].min())
        else:
            low, high = uv.reshape(-1, 2).min(0), uv.reshape(-1, 2).max(0)
            uv = 0.005 + 0.99 * (uv - low) / (high - low)
        out[chosen] = np.array([left, bottom]) + side * uv
    uv, index = np.unique(out.reshape(-1, 2).astype(np.float32), axis=0, return_inverse=True)
    return uv, index.reshape(-1, 3).astype(np.int32)


def _mirror(
    vertices: Float64Array, triangles: Int32Array, region: UInt8Array, names: list[str]
) -> Int32Array:
    """(V,) twins, found among the vertices of the region on the other side."""
    first = np.full(len(vertices), 255, np.uint8)
    first[triangles[::-1].ravel()] = np.repeat(region[::-1], 3)
    out = np.full(len(vertices), -1, np.int32)
    for number, name in enumerate(names):
        here = np.flatnonzero(first == number)
        if not len(here):
            continue
        there = np.flatnonzero(first == names.index(_other_side(name)))
        gap, near = cKDTree(vertices[there]).query(vertices[here] * [-1.0, 1.0, 1.0])
        if gap.max() > _MIRROR_TOLERANCE_M:
            raise AssetError(
                f"ICT-FaceKit: {name} has no mirror image: it is not the published one"
            )
        out[here] = there[near]
    left_over = np.flatnonzero(out[out] != np.arange(len(out)))
    if len(left_over):  # two vertices chose one: those that nobody chose have each other
        near = cKDTree(vertices[left_over]).query(vertices[left_over] * [-1.0, 1.0, 1.0])[1]
        out[left_over] = left_over[near]
    return out


def _other_side(name: str) -> str:
    if name.endswith("_left"):
        return name.removesuffix("_left") + "_right"
    return name.removesuffix("_right") + "_left" if name.endswith("_right") else name
