"""A head of FLAME's form for those who have no FLAME: our own, moved to where FLAME's lies.

Hair and clothes are left out, as FLAME has none; the skin under the hair is the scalp. Coefficients
beyond those of our own head do nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import CLASS_IDS
from synthforge.jobs import MAX_EXPRESSION, MAX_SHAPE
from workers.flame.assets import FlameAssets
from workers.flame.embedding import LandmarkEmbedding
from workers.generators.builtin.head import load_head
from workers.types import Float64Array, Int32Array, Topology, UInt8Array

PARTS = ("skin", "left_eye", "right_eye", "mouth", "teeth")

TO_FLAME_M = np.array([0.0, -0.006, -0.031])
"""From our head's origin to FLAME's: eyes and nose then lie within 4 mm of the mean FLAME's."""

SCALP_M = 0.018
"""Skin this near to the hair's shell is scalp."""


@lru_cache(maxsize=1)
def own_head() -> tuple[FlameAssets, Topology, str]:
    """Return the head, its topology, and the sha256 of the file that it is made of."""
    head = load_head()
    assets, topology = head.assets, head.topology
    wanted = [topology.part_names.index(name) for name in PARTS]
    faces_kept = np.flatnonzero(np.isin(topology.face_part, wanted))
    kept = np.unique(assets.faces[faces_kept])
    vertex_at = np.full(assets.num_vertices, -1, np.int32)
    vertex_at[kept] = np.arange(len(kept))
    face_at = np.full(len(assets.faces), -1, np.int32)
    face_at[faces_kept] = np.arange(len(faces_kept))
    faces = vertex_at[assets.faces[faces_kept]]
    moved = assets.v_template[kept] + TO_FLAME_M.astype(assets.v_template.dtype)
    return (
        FlameAssets.from_arrays(
            {
                "v_template": moved,
                "faces": faces,
                "shapedirs": _padded(assets.shapedirs[kept], MAX_SHAPE["next3d"]),
                "expressiondirs": _padded(assets.expressiondirs[kept], MAX_EXPRESSION["next3d"]),
                "posedirs": assets.posedirs[kept],
                "joint_regressor": _own_rows(assets.joint_regressor, kept),
                "parents": assets.parents,
                "weights": assets.weights[kept],
            }
        ),
        Topology(
            faces=faces,
            uv=topology.uv,
            uv_faces=topology.uv_faces[faces_kept],
            face_region=_regions(assets, topology, faces_kept),
            face_part=np.searchsorted(wanted, topology.face_part[faces_kept]).astype(np.uint8),
            part_names=PARTS,
            mirror=vertex_at[topology.mirror[kept]],
            landmarks=_moved_landmarks(topology.landmarks, face_at),
        ),
        head.sha256,
    )


def _padded(directions: NDArray[np.floating], count: int) -> NDArray[np.floating]:
    missing = count - directions.shape[2]
    return np.pad(directions, ((0, 0), (0, 0), (0, missing)))


def _own_rows(regressor: NDArray[np.floating], kept: Int32Array) -> NDArray[np.floating]:
    rows = regressor[:, kept]
    if not np.allclose(rows.sum(axis=1), 1, atol=1e-5):
        raise ValueError("a joint of the embedded head hangs on hair or clothes")
    return rows


def _regions(assets: FlameAssets, topology: Topology, faces_kept: NDArray[np.int64]) -> UInt8Array:
    """Class ids of the faces that are kept: as they are, and scalp where the hair's shell is."""
    shell = assets.v_template[np.unique(assets.faces[topology.face_region == CLASS_IDS["hair"]])]
    regions = topology.face_region[faces_kept].copy()
    middles: Float64Array = assets.v_template[assets.faces[faces_kept]].mean(axis=1)
    skin = np.flatnonzero(regions == CLASS_IDS["skin"])
    apart = np.linalg.norm(middles[skin, None] - shell[None], axis=-1).min(axis=1)
    regions[skin[apart < SCALP_M]] = CLASS_IDS["hair"]
    return regions


def _moved_landmarks(landmarks: LandmarkEmbedding, face_at: Int32Array) -> LandmarkEmbedding:
    arrays = landmarks.to_arrays()
    for name in ("landmark_face", "contour_face", "jaw_fixed_face"):
        arrays[name] = face_at[arrays[name]]
    return LandmarkEmbedding.from_arrays(arrays)
