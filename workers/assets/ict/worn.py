"""What our head wears, fitted to another: hair, clothing, beard, headwear and glasses.

Our skin is laid on the other's by a spline; a part's vertex keeps its distance from the skin that
it stands on, and moves with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.assets.ict.bare import WORN_CELL
from workers.assets.ict.laying import Laid
from workers.closest import OnSurface, Surface
from workers.generators.builtin.fields import smoothstep
from workers.generators.builtin.head import BuiltinHead
from workers.types import BoolArray, Float32Array, Float64Array, Int32Array, UInt8Array

WORN_PARTS: Final = ("hair", "clothing", "beard", "headwear", "glasses")
_NECK_Z_M: Final = -0.03
_COLLAR_M: Final = (0.062, 0.075)  # of the neck's axis: nearer, the neck comes out of the collar
_COLLAR_DEPTH_M: Final = 0.01
_TUCKED_M: Final = 0.01

FOLLOWERS: Final = ("hair", "beard", "headwear")
"""Parts that take the skin's motion; clothing stays with the shoulders, glasses with the head."""


@dataclass(frozen=True)
class WornMesh:
    """The parts on the other head.

    Attributes:
        vertices: (W, 3) metres.
        triangles: (G, 3) into them.
        uv: (T, 2); uv_triangles (G, 3).
        region: (G,) class ids; part (G,) index into our parts' names.
        mirror: (W,) twins.
        roots: places on the other's skin, one a vertex.
        follows: (W,) whether it takes its root's motion.
        is_clothing: (W,).
    """

    vertices: Float64Array
    triangles: Int32Array
    uv: Float32Array
    uv_triangles: Int32Array
    region: UInt8Array
    part: UInt8Array
    mirror: Int32Array
    roots: OnSurface
    follows: UInt8Array
    is_clothing: UInt8Array


def fit_worn(head: BuiltinHead, laid: Laid, skin: Surface) -> WornMesh:
    """Fit our parts.

    Args:
        head: ours.
        laid: our skin on the other's.
        skin: the other's.
    """
    topology = head.topology
    rest = head.assets.v_template.astype(np.float64)
    numbers = [topology.part_names.index(name) for name in WORN_PARTS]
    kept = np.flatnonzero(np.isin(topology.face_part, numbers))
    ids, triangles = np.unique(topology.faces[kept], return_inverse=True)
    at = np.full(len(rest), -1, np.int32)
    at[ids] = np.arange(len(ids))
    own_skin = Surface(rest, topology.faces[topology.face_part == 0])
    root = own_skin.closest(rest[ids]).xyz
    stands = laid(rest[ids]) - laid(root)
    onto = skin.closest(laid(root))
    is_clothing = _of(topology.faces, topology.face_part, [topology.part_names.index("clothing")])
    is_clothing = is_clothing[ids]
    fitted = np.where(is_clothing[:, None] > 0, laid(rest[ids]), onto.xyz + stands)
    mirror = at[topology.mirror[ids]]
    fitted = 0.5 * (fitted + fitted[mirror] * [-1.0, 1.0, 1.0])
    followers = [topology.part_names.index(name) for name in FOLLOWERS]
    left, bottom, side = WORN_CELL
    return WornMesh(
        vertices=fitted,
        triangles=triangles.reshape(-1, 3).astype(np.int32),
        uv=(np.array([left, bottom]) + side * topology.uv).astype(np.float32),
        uv_triangles=topology.uv_faces[kept],
        region=topology.face_region[kept],
        part=topology.face_part[kept],
        mirror=mirror,
        roots=onto,
        follows=_of(topology.faces, topology.face_part, followers)[ids],
        is_clothing=is_clothing,
    )


def _of(faces: Int32Array, part: UInt8Array, numbers: list[int]) -> UInt8Array:
    """(V,) 1 on the vertices of parts."""
    out = np.zeros(int(faces.max()) + 1, np.uint8)
    out[faces[np.isin(part, numbers)]] = 1
    return out


def clothed(vertices: Float64Array, skin: BoolArray, worn: WornMesh) -> Float64Array:
    """(V,) how far each vertex of a head lies under the clothing: 1 on the shoulders.

    Args:
        vertices: (V, 3) of the head, metres.
        skin: (V,) whether each belongs to the skin.
        worn: the parts on it.
    """
    collar = float(worn.vertices[worn.is_clothing > 0, 1].max())
    around = np.hypot(vertices[:, 0], vertices[:, 2] - _NECK_Z_M)
    near, far = _COLLAR_M
    below = smoothstep(-_COLLAR_DEPTH_M, 0.0, collar - vertices[:, 1])
    return np.asarray(smoothstep(near, far, around) * below * skin)


def tucked_in(vertices: Float64Array, under: Float64Array, worn: WornMesh) -> Float64Array:
    """Draw the shoulders (V, 3) of a head under the clothing, by shares `under` (V,)."""
    cloth = worn.triangles[(worn.is_clothing[worn.triangles] > 0).all(1)]
    moved = np.flatnonzero(under > 0)
    place = Surface(worn.vertices, cloth).closest(vertices[moved])
    corners = worn.vertices[cloth[place.face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    stands_out = ((vertices[moved] - place.xyz) * normal).sum(1) > -_TUCKED_M
    out = vertices.copy()
    step = (place.xyz - _TUCKED_M * normal - vertices[moved]) * under[moved, None]
    out[moved[stands_out]] += step[stands_out]
    return out
