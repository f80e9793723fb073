"""From ICT-FaceKit to the arrays of a head's file, as workers/generators/builtin/head.py reads it.

The published model has shape and expression; joints, skinning, classes, outline, one UV map and
what may be worn are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import CLASS_IDS
from workers.assets.ict import rig
from workers.assets.ict.bare import METRES_PER_CM, BareHead, bare_head
from workers.assets.ict.facekit import REGIONS, FaceKit
from workers.assets.ict.laying import Laid
from workers.assets.ict.marks import (
    contour,
    ear_ends,
    ear_of_face,
    inner_points,
    rest_points,
    skin_classes,
)
from workers.assets.ict.worn import WornMesh, clothed, fit_worn, tucked_in
from workers.closest import OnSurface, Surface
from workers.flame.arrays_file import Array
from workers.flame.assets import NUM_JOINTS, PARENTS
from workers.flame.embedding import NUM_CONTOUR
from workers.generators.builtin.head import BuiltinHead
from workers.types import BoolArray, Float64Array, Int32Array

UNIT: Final = 0.42
"""Share of a published expression that a coefficient of 1 activates: our own head's units."""

# Made by joints, or made to go with an opened jaw alone: mouthClose shuts the lips over it.
NOT_EXPRESSIONS: Final = ("jawOpen", "mouthClose", "eyeLook")
_ROOT, _NECK, _JAW, _LEFT_EYE, _RIGHT_EYE = range(NUM_JOINTS)
_NUM_NEAR_JOINT: Final = 400  # skin vertices that a joint of the skin is mixed of
_EYES: Final = ((_LEFT_EYE, "L", "left_eye"), (_RIGHT_EYE, "R", "right_eye"))
_BACK_CLASS: Final = {"mouth": "inner_mouth", "teeth": "inner_mouth"}


@dataclass(frozen=True)
class _Rigged:
    """Joints (5, 3) metres, weights (V, 5) and correctives (V, 3, 36) of the bare head."""

    joints: Float64Array
    weights: Float64Array
    posedirs: Float64Array


def head_arrays(kit: FaceKit, own: BuiltinHead) -> dict[str, Array]:
    """Return every array of the head's file.

    Args:
        kit: as published.
        own: our head: whose joints, classes, outline and worn parts are laid on it.

    Raises:
        AssetError: the model is not the published one.
    """
    own_points = rest_points(own)
    part_names = own.topology.part_names
    bare = bare_head(kit, own_points[[36, 45]].mean(0), part_names)
    is_skin = bare.part == part_names.index("skin")
    skin = Surface(bare.vertices, bare.triangles[is_skin])
    published = bare.vertices[np.searchsorted(bare.ids, kit.landmarks)]
    inner = inner_points(published[NUM_CONTOUR:], skin)
    points = np.concatenate([published[:NUM_CONTOUR], inner.xyz])
    laid = _lay(own, own_points, points, bare, skin)
    worn = fit_worn(own, laid, skin)
    under = clothed(bare.vertices, _is_of(bare, "skin"), worn)
    tucked = tucked_in(bare.vertices, under, worn)
    both = 0.5 * (tucked + tucked[bare.mirror] * [-1.0, 1.0, 1.0])
    bare = replace(bare, vertices=np.where(under[:, None] > 0, both, tucked))
    rigged = _rig(kit, bare, own, laid, under)
    outer = np.flatnonzero(is_skin)  # rows of the skin's faces in the whole mesh
    roots = bare.triangles[outer[worn.roots.face]]
    num_bare = len(bare.vertices)
    return {
        "v_template": np.concatenate([bare.vertices, worn.vertices]).astype(np.float32),
        "faces": np.concatenate([bare.triangles, worn.triangles + num_bare]),
        "uv": np.concatenate([bare.uv, worn.uv]),
        "uv_faces": np.concatenate([bare.uv_triangles, worn.uv_triangles + len(bare.uv)]),
        "shapedirs": _directions(kit.identity, 1.0 - under, bare, worn, roots),
        "shape_names": np.array([f"identity_{i:03d}" for i in range(len(kit.identity))]),
        **_expressions(kit, UNIT * (1.0 - under), bare, worn, roots),
        "posedirs": _followed(rigged.posedirs, worn, roots).astype(np.float16),
        "joint_regressor": _regressor(bare, rigged.joints, len(worn.vertices)),
        "parents": np.array(PARENTS, np.int32),
        "weights": _weights(rigged.weights, worn, roots),
        "face_region": np.concatenate([_classes(own, laid, bare, is_skin), worn.region]),
        "face_part": np.concatenate([bare.part, worn.part]),
        "part_names": np.array(part_names),
        "mirror": np.concatenate([bare.mirror, worn.mirror + num_bare]).astype(np.int32),
        **_landmarks(inner, outer),
        **_outline(own, laid, skin, outer),
    }


def _lay(
    own: BuiltinHead, own_points: Float64Array, points: Float64Array, bare: BareHead, skin: Surface
) -> Laid:
    rest, topology = own.assets.v_template.astype(np.float64), own.topology
    left_ear = np.unique(topology.faces[topology.face_region == CLASS_IDS["left_ear"]])
    face = np.unique(bare.triangles[bare.region == list(REGIONS).index("face")])
    pins = np.concatenate([own_points, ear_ends(rest[left_ear])])
    pinned_to = np.concatenate([points, ear_ends(ear_of_face(bare.vertices[face]))])
    ours = np.unique(topology.faces[topology.face_region == CLASS_IDS["skin"]])
    return Laid(rest[ours], skin, pins, pinned_to)


def _classes(own: BuiltinHead, laid: Laid, bare: BareHead, is_skin: BoolArray) -> Array:
    """(F,) class ids of the bare head's faces."""
    out = np.zeros(len(bare.triangles), np.uint8)
    for number, part in enumerate(bare.parts):
        name = _BACK_CLASS.get(part, part)
        if name in CLASS_IDS:
            out[bare.part == number] = CLASS_IDS[name]
    out[is_skin] = skin_classes(own, laid, bare.vertices, bare.triangles[is_skin])
    sockets = [list(REGIONS).index(f"eye_socket_{side}") for side in ("left", "right")]
    out[np.isin(bare.region, sockets)] = CLASS_IDS["skin"]
    return out


def _landmarks(inner: OnSurface, outer: NDArray[np.int64]) -> dict[str, Array]:
    return {
        "landmark_face": outer[inner.face].astype(np.int32),
        "landmark_bary": inner.bary.astype(np.float32),
    }


def _outline(
    own: BuiltinHead, laid: Laid, skin: Surface, outer: NDArray[np.int64]
) -> dict[str, Array]:
    arrays = contour(own, laid, skin)
    for name in ("contour_face", "jaw_fixed_face"):
        arrays[name] = outer[arrays[name].astype(np.int64)].astype(np.int32)
    return arrays


def _rig(
    kit: FaceKit, bare: BareHead, own: BuiltinHead, laid: Laid, under: Float64Array
) -> _Rigged:
    published = kit.neutral[bare.ids].astype(np.float64)
    teeth = bare.of_part("teeth")
    opened = kit.offsets("jawOpen")[bare.ids]
    lower = teeth[np.linalg.norm(opened[teeth], axis=1) > 1.0]
    jaw_turn = rig.fit_turn(published[lower], opened[lower])
    jaw = rig.jaw_weights(published, opened, jaw_turn)
    jaw[lower] = 1.0
    weights = _bare_weights(bare, own, laid, jaw, under)
    features = {
        (_JAW, rig.PITCH): rig.corrective(published, opened, jaw_turn, weights[:, _JAW])
        / jaw_turn.rotation[2, 1]
    }
    rest = own.assets.v_template.astype(np.float64)
    joints = laid(own.assets.joint_regressor.astype(np.float64) @ rest) * [0.0, 1.0, 1.0]
    joints[_JAW] = jaw_turn.pivot * METRES_PER_CM + bare.moved_m
    for joint, side, part in _EYES:
        eye = bare.of_part(part)
        features |= _lids(kit, bare, joint, side)
        joints[joint] = rig.sphere_centre(published[eye]) * METRES_PER_CM + bare.moved_m
    metres = {at: METRES_PER_CM * each for at, each in features.items()}
    return _Rigged(joints, weights, rig.pose_directions(len(bare.ids), metres))


def _lids(
    kit: FaceKit, bare: BareHead, joint: int, side: str
) -> dict[tuple[int, int], Float64Array]:
    """How the lids go with the eye, up and down, left and right: mean of both ways."""
    sine = float(np.sin(rig.LOOK_RAD))
    left, right = ("Out", "In") if side == "L" else ("In", "Out")

    def per_sine(positive: str, negative: str) -> Float64Array:
        ways = [kit.offsets(f"eyeLook{way}_{side}")[bare.ids] for way in (positive, negative)]
        return np.asarray((ways[0] - ways[1]) / (2.0 * sine))

    return {
        (joint, rig.PITCH): per_sine("Down", "Up"),
        (joint, rig.YAW): per_sine(left, right),
    }


def _bare_weights(
    bare: BareHead, own: BuiltinHead, laid: Laid, jaw: Float64Array, under: Float64Array
) -> Float64Array:
    """(V, 5): the shoulders' share as on our head, the jaw's as published, eyes their own."""
    ours = own.topology.face_part == 0
    rest = laid(own.assets.v_template.astype(np.float64))
    place = Surface(rest, own.topology.faces[ours]).closest(bare.vertices)
    corners = own.topology.faces[ours][place.face]
    still = (own.assets.weights[:, _ROOT].astype(np.float64)[corners] * place.bary).sum(1)
    still = np.clip(0.5 * (still + still[bare.mirror]), under, 1.0)
    for part in ("mouth", "teeth", "left_eye", "right_eye"):
        still[bare.of_part(part)] = 0.0
    out = np.zeros((len(bare.vertices), NUM_JOINTS))
    out[:, _ROOT], out[:, _JAW] = still, jaw * (1.0 - still)
    out[:, _NECK] = 1.0 - out[:, _ROOT] - out[:, _JAW]
    for joint, _, part in _EYES:
        eye = bare.of_part(part)
        out[eye], out[eye, joint] = 0.0, 1.0
    return out


def _regressor(bare: BareHead, joints: Float64Array, num_worn: int) -> Array:
    """(5, V + W) float32: eyes of the eyeballs, the others of the skin around them."""
    out = np.zeros((NUM_JOINTS, len(bare.vertices) + num_worn), np.float32)
    skin = _is_of(bare, "skin")
    for joint in (_ROOT, _NECK, _JAW):
        gap = np.where(skin, np.linalg.norm(bare.vertices - joints[joint], axis=1), np.inf)
        near = gap <= np.sort(gap)[_NUM_NEAR_JOINT]
        near[bare.mirror[near]] = True
        out[joint, : len(near)] = rig.regressor_row(bare.vertices, near, joints[joint])
    for joint, _, part in _EYES:
        eye = _is_of(bare, part)
        out[joint, : len(eye)] = rig.regressor_row(bare.vertices, eye, joints[joint])
    return out


def _is_of(bare: BareHead, part: str) -> BoolArray:
    out = np.zeros(len(bare.vertices), bool)
    out[bare.of_part(part)] = True
    return out


def _expressions(
    kit: FaceKit, scale: Float64Array, bare: BareHead, worn: WornMesh, roots: Int32Array
) -> dict[str, Array]:
    kept = [i for i, n in enumerate(kit.expression_names) if not n.startswith(NOT_EXPRESSIONS)]
    return {
        "expressiondirs": _directions(kit.expression[kept], scale, bare, worn, roots),
        "expression_names": np.array([kit.expression_names[i] for i in kept]),
    }


def _directions(
    offsets: Array, scale: Float64Array, bare: BareHead, worn: WornMesh, roots: Int32Array
) -> NDArray[np.float16]:
    """(V + W, 3, K) metres a unit; `scale` (V,) keeps shoulders still under the clothing."""
    metres = np.asarray(offsets, np.float64)[:, bare.ids] * (METRES_PER_CM * scale[:, None])
    whole = _followed(np.moveaxis(metres, 0, -1), worn, roots)
    # Less than a thousandth of a millimetre is nothing.
    return np.where(np.abs(whole) < 1e-6, 0.0, whole).astype(np.float16)


def _followed(rows: Float64Array, worn: WornMesh, roots: Int32Array) -> Float64Array:
    """Rows (V, ...) with those of the worn parts after them, which take their roots' mix."""
    shape = (-1, 3) + (1,) * (rows.ndim - 1)
    mixed = (rows[roots] * worn.roots.bary.reshape(shape)).sum(1)
    mixed[worn.follows == 0] = 0.0
    return np.concatenate([rows, mixed])


def _weights(bare: Float64Array, worn: WornMesh, roots: Int32Array) -> NDArray[np.float32]:
    out = _followed(bare, worn, roots)
    still = np.r_[np.zeros(len(bare), np.uint8), 1 - worn.follows] > 0
    cloth = np.r_[np.zeros(len(bare), np.uint8), worn.is_clothing] > 0
    out[still] = np.eye(NUM_JOINTS)[_NECK]
    out[cloth] = np.eye(NUM_JOINTS)[_ROOT]
    return out.astype(np.float32)
