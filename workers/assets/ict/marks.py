"""Classes of the skin's faces and the 68 points, on the other head's mesh."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from synthforge.conventions import CLASS_IDS
from workers.assets.ict.laying import Laid
from workers.closest import OnSurface, Surface
from workers.flame.arrays_file import Array
from workers.flame.embedding import NUM_CONTOUR
from workers.flame.outline import PITCH_GRID_DEG, YAW_GRID_DEG, outermost
from workers.generators.builtin.head import BuiltinHead
from workers.types import Float64Array, Int32Array, Topology, UInt8Array

_SKIN_PART: Final = 0

# Published points of the brows lie on their upper edge, those of the nose's ridge high on it; of
# near-frontal annotated photographs these lie lower by (metres):
ANNOTATED_LOWER_M: Final = {
    **dict.fromkeys(range(17, 27), 0.0045), 27: 0.003, 28: 0.004, 29: 0.006, 30: 0.005,
}  # fmt: skip
_VOTES: Final = 6  # rounds in which borders of classes get smooth
_EAR_AHEAD_M: Final = 0.012  # nothing of an ear lies before it
_EAR_SHARE: Final = 0.865  # of the outermost point from the midline
_SAMPLES: Final = ((1, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 4))  # places on a face that vote


def rest_points(head: BuiltinHead) -> Float64Array:
    """(68, 3) of our head at rest, the frontal outline."""
    topology, rest = head.topology, head.assets.v_template.astype(np.float64)
    marks = topology.landmarks
    face = np.concatenate([marks.jaw_fixed_face, marks.landmark_face])
    bary = np.concatenate([marks.jaw_fixed_bary, marks.landmark_bary])
    return on_faces(rest, topology.faces, face, bary)


def on_faces(
    vertices: Float64Array, faces: Int32Array, face: Int32Array, bary: Float64Array
) -> Float64Array:
    """(..., 3) points on faces."""
    return np.asarray((vertices[faces[face]] * bary[..., None]).sum(-2))


def ear_of_face(face: Float64Array) -> Float64Array:
    """(N, 3) the left ear of a face's vertices: what stands out behind the cheek."""
    behind = face[(face[:, 2] < _EAR_AHEAD_M) & (face[:, 0] > 0)]
    return np.asarray(behind[behind[:, 0] > _EAR_SHARE * behind[:, 0].max()])


def ear_ends(left_ear: Float64Array) -> Float64Array:
    """(8, 3) top, bottom, hindmost and outermost of a left ear (N, 3), then those mirrored."""
    ends = [left_ear[:, 1].argmax(), left_ear[:, 1].argmin(), left_ear[:, 2].argmin()]
    left = left_ear[[*ends, left_ear[:, 0].argmax()]]
    return np.concatenate([left, left * [-1.0, 1.0, 1.0]])


def skin_classes(
    head: BuiltinHead, laid: Laid, vertices: Float64Array, triangles: Int32Array
) -> UInt8Array:
    """(F,) class ids of skin faces: those of our skin that lies on them."""
    topology = head.topology
    ours = topology.face_part == _SKIN_PART
    faces, regions = topology.faces[ours], topology.face_region[ours]
    rest = laid(head.assets.v_template.astype(np.float64))
    shares = np.array(_SAMPLES, np.float64)
    shares /= shares.sum(1, keepdims=True)
    places = np.einsum("sk,fkd->fsd", shares, rest[faces]).reshape(-1, 3)
    _, near = cKDTree(places).query(vertices[triangles].mean(1))
    out: UInt8Array = regions[near // len(_SAMPLES)]
    for _ in range(_VOTES):
        out = _voted(out, triangles)
    return out


def _voted(classes: UInt8Array, triangles: Int32Array) -> UInt8Array:
    """Give a face that two or three neighbours agree against their class; brows and lips stay."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    )
    _, edge = np.unique(edges, axis=0, return_inverse=True)
    owner = np.tile(np.arange(len(triangles)), 3)
    order = np.argsort(edge, kind="stable")
    edge, owner = edge[order], owner[order]
    pair = np.flatnonzero(edge[1:] == edge[:-1])
    votes = np.zeros((len(triangles), len(CLASS_IDS) + 1), np.uint8)
    for one, other in ((pair, pair + 1), (pair + 1, pair)):
        np.add.at(votes, (owner[one], classes[owner[other]]), 1)
    winner = votes.argmax(1).astype(np.uint8)
    plain = [CLASS_IDS[name] for name in ("skin", "neck", "nose", "left_ear", "right_ear")]
    changed = (votes.max(1) >= 2) & np.isin(classes, plain) & np.isin(winner, plain)
    return np.where(changed, winner, classes)


def inner_points(published: Float64Array, skin: Surface) -> OnSurface:
    """Points 17 to 67 (51, 3) on the skin: the published ones, some where annotators put them.

    Args:
        published: (51, 3) metres.
        skin: of the head.
    """
    moved = published.copy()
    for number, down_m in ANNOTATED_LOWER_M.items():
        moved[number - NUM_CONTOUR, 1] -= down_m
    return skin.closest(moved)


def contour(head: BuiltinHead, laid: Laid, skin: Surface) -> dict[str, Array]:
    """Return the arrays of the outline: our slides, laid on the other's skin."""
    slides = [_slide(head.topology, head, k) for k in range(NUM_CONTOUR)]
    placed: dict[int, OnSurface] = {
        k: skin.closest(laid(points)) for k, points in enumerate(slides)
    }
    where = {k: place.xyz for k, place in placed.items()}
    shape = (len(YAW_GRID_DEG), len(PITCH_GRID_DEG), NUM_CONTOUR)
    face, bary = np.zeros(shape, np.int32), np.zeros((*shape, 3))
    for i, yaw in enumerate(YAW_GRID_DEG):
        for j, pitch in enumerate(PITCH_GRID_DEG):
            for k, best in enumerate(outermost(where, float(yaw), float(pitch))):
                face[i, j, k], bary[i, j, k] = placed[k].face[best], placed[k].bary[best]
    level, ahead = int(np.abs(PITCH_GRID_DEG).argmin()), int(np.abs(YAW_GRID_DEG).argmin())
    return {
        "contour_yaw_deg": YAW_GRID_DEG.astype(np.float32),
        "contour_pitch_deg": PITCH_GRID_DEG.astype(np.float32),
        "contour_face": face,
        "contour_bary": bary.astype(np.float32),
        "jaw_fixed_face": face[ahead, level],
        "jaw_fixed_bary": bary[ahead, level].astype(np.float32),
    }


def _slide(topology: Topology, head: BuiltinHead, k: int) -> Float64Array:
    """(N, 3) the points that our outline's point k takes over all views, in order."""
    marks = topology.landmarks
    face, bary = marks.contour_face[..., k].ravel(), marks.contour_bary[..., k, :].reshape(-1, 3)
    rest = head.assets.v_template.astype(np.float64)
    points = np.unique(on_faces(rest, topology.faces, face, bary).round(7), axis=0)
    if len(points) < 2:
        return points
    middle = points.mean(0)
    axis = np.linalg.svd(points - middle)[2][0]
    points = points[np.argsort((points - middle) @ axis)]
    between = [points[:-1] + t * (points[1:] - points[:-1]) for t in (0.0, 0.25, 0.5, 0.75)]
    return np.concatenate([*between, points[-1:]])
