"""What the renderer knows of a head before any face is drawn: measured once, when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from synthforge.conventions import CLASS_IDS
from workers.flame.model import Flame
from workers.generators.builtin import shading_inputs as code
from workers.generators.builtin.fields import FaceFields, face_fields, smoothstep
from workers.generators.builtin.front_maps import (
    BrowMaps,
    FrontMap,
    brow_map,
    folded_cells,
    join_brows,
    wrinkle_map,
)
from workers.generators.builtin.lids import LidOverEye, lids_over_eyes
from workers.generators.builtin.noise import SKIN_TEXEL_M
from workers.generators.builtin.occlusion import sky_visibility, vertex_normals
from workers.generators.builtin.worn import WornParts, worn_parts
from workers.raster.protocol import Rasteriser
from workers.types import Float32Array, Float64Array, Int32Array, Topology, UInt8Array

OPEN_JAW_DEG = 24.0  # occlusion is measured with the mouth closed and this far open
TEETH_LIGHT = 0.75  # lips part before the jaw drops: a smile shows lit teeth
TEETH_SHADE_M = (0.006, 0.022)  # behind the foremost tooth
SCALP_REACH_M = (0.006, 0.016)
EYE_GRID = 32
EYE_WINDOW_M = 0.042
EYE_BIAS_M = 0.0003
LEFT_EYE_JOINT, RIGHT_EYE_JOINT = 3, 4
WORN_CLASSES = ("glasses", "headwear", "facial_hair")
WORN_LIGHT = 0.85  # share of open sky over what is worn

_MATERIAL_OF_CLASS = {
    "left_brow": code.BROW,
    "right_brow": code.BROW,
    "left_eye": code.LEFT_EYE,
    "right_eye": code.RIGHT_EYE,
    "upper_lip": code.LIP,
    "lower_lip": code.LIP,
    "inner_mouth": code.MOUTH,
    "hair": code.HAIR,
    "facial_hair": code.HAIR,
    "clothing": code.CLOTH,
    "skin": code.SKIN,
    "nose": code.SKIN,
    "left_ear": code.SKIN,
    "right_ear": code.SKIN,
    "neck": code.SKIN,
}
_MATERIAL_OF_PART = {"teeth": code.TEETH, "tongue": code.TONGUE}


@dataclass(frozen=True)
class HeadSurface:
    """A head at rest, ready to be dressed and lit.

    Attributes:
        topology: of the mesh.
        faces: (F, 3), a copy that may be lent to torch (a file's arrays are read-only).
        rest: (V, 3) metres.
        landmarks: (51, 3) iBUG 17 to 67 at rest, metres.
        face_material: (F,) codes of `shading_inputs`.
        hair_vertices: (V,) 1 on the hair's.
        scalp: (V,) 1 on the skin under the hair, fading out beyond the hairline.
        behind_lips: (V,) share of the light of an open mouth that teeth get at the least.
        fields: masks of the face.
        occlusion: (2, V) share of open sky, mouth closed and open by `OPEN_JAW_DEG`.
        eye_centres: (2, 3) metres, right and left.
        eye_radius: metres.
        eye_openness: (2, 32, 32) share of open sky over the eyeball's front.
        wrinkles: map of the folds.
        folded: where that map is not 0, see `folded_cells`.
        brows: map of the brows' hairs.
        texels_per_uv: of the skin texture over the UV map, for its true scale on the face.
        crown: (3,) metres, from where hair falls.
        worn: the parts that the head may wear, if it has them.
        lids: skin around the eyes, and the eyeballs.
    """

    topology: Topology
    faces: Int32Array
    rest: Float64Array
    landmarks: Float64Array
    face_material: UInt8Array
    hair_vertices: UInt8Array
    scalp: Float32Array
    behind_lips: Float32Array
    fields: FaceFields
    occlusion: Float32Array
    eye_centres: Float64Array
    eye_radius: float
    eye_openness: Float32Array
    wrinkles: FrontMap
    folded: UInt8Array
    brows: BrowMaps
    texels_per_uv: float
    crown: Float64Array
    worn: WornParts | None
    lids: tuple[LidOverEye, ...]


def measure_surface(flame: Flame, topology: Topology, rasteriser: Rasteriser) -> HeadSurface:
    """Measure a head.

    Args:
        flame: poses it.
        topology: its mesh; the eyes' parts are named `left_eye` and `right_eye`.
        rasteriser: draws the depth maps of the occlusion.
    """
    rest, joints = _posed(flame, 0.0)
    opened, _ = _posed(flame, np.deg2rad(OPEN_JAW_DEG))
    faces, embedding = topology.faces.copy(), topology.landmarks
    corners = rest[faces[embedding.landmark_face]]
    landmarks = (corners * embedding.landmark_bary[..., None]).sum(1)
    material = face_materials(topology)
    fields = face_fields(rest, faces, topology.face_region, landmarks)
    centres = joints[[RIGHT_EYE_JOINT, LEFT_EYE_JOINT]]
    radius = _eye_radius(rest, faces, material, centres)
    is_hair = np.zeros(len(rest), np.uint8)
    is_hair[faces[topology.face_region == CLASS_IDS["hair"]]] = 1
    worn = worn_parts(topology, rest)
    wrinkles = wrinkle_map(landmarks)
    always = ~np.isin(topology.face_region, [CLASS_IDS[name] for name in WORN_CLASSES])
    # Teeth shade nothing: on each other, a few millimetres apart, the maps would be too coarse.
    bare = faces[always & (topology.face_region != CLASS_IDS["hair"]) & (material != code.TEETH)]
    return HeadSurface(
        topology=topology,
        faces=faces,
        rest=rest,
        landmarks=landmarks,
        face_material=material,
        hair_vertices=is_hair,
        scalp=_scalp(rest, faces, is_hair, fields),
        behind_lips=_behind_lips(rest, faces[material == code.TEETH]),
        fields=fields,
        occlusion=np.stack(
            [_occlusion(v, faces[always], bare, is_hair, worn, rasteriser) for v in (rest, opened)]
        ),
        eye_centres=centres,
        eye_radius=radius,
        eye_openness=_eye_openness(rest, faces, material, centres, radius, rasteriser),
        wrinkles=wrinkles,
        folded=folded_cells(wrinkles.texels),
        brows=join_brows(
            _brow(rest, topology, landmarks, "right"), _brow(rest, topology, landmarks, "left")
        ),
        worn=worn,
        lids=lids_over_eyes(topology, rest),
        texels_per_uv=_texels_per_uv(rest, topology, material),
        crown=np.array(
            [
                0.0,
                rest[is_hair > 0, 1].max(initial=_top(rest, fields)) - 0.012,
                _middle(rest, fields)[2] - 0.035,
            ]
        ),
    )


def face_materials(topology: Topology) -> UInt8Array:
    """Return each face's material: by its class, and what the mouth holds by its part."""
    table = np.full(256, code.PLAIN, np.uint8)
    for name, material in _MATERIAL_OF_CLASS.items():
        table[CLASS_IDS[name]] = material
    out = table[topology.face_region]
    for name, material in _MATERIAL_OF_PART.items():
        if name in topology.part_names:
            out[topology.face_part == topology.part_names.index(name)] = material
    return np.ascontiguousarray(out)


def _posed(flame: Flame, jaw_rad: float) -> tuple[Float64Array, Float64Array]:
    """Vertices and joints of the mean head with the jaw turned."""
    zeros = torch.zeros
    jaw = torch.tensor([[jaw_rad, 0.0, 0.0]], dtype=flame.dtype)
    mesh = flame(
        zeros(1, flame.num_shape, dtype=flame.dtype),
        zeros(1, flame.num_expression, dtype=flame.dtype),
        jaw_pose=jaw,
    )
    vertices = mesh.vertices[0].double().numpy()
    return np.ascontiguousarray(vertices), mesh.joint_transforms[0, :, :3, 3].double().numpy()


def _behind_lips(rest: Float64Array, teeth: Int32Array) -> Float32Array:
    """Front teeth get most light; those at the sides stand in the shadow of the cheeks."""
    out = np.zeros(len(rest), np.float32)
    if len(teeth):
        behind = rest[teeth, 2].max() - rest[:, 2]
        light = TEETH_LIGHT * (1.0 - smoothstep(*TEETH_SHADE_M, behind))
        out[teeth] = light[teeth]
    return out


def _scalp(
    rest: Float64Array, faces: Int32Array, is_hair: UInt8Array, fields: FaceFields
) -> Float32Array:
    """How near each skin vertex is to the hair, or how deep below it."""
    hair = rest[is_hair > 0]
    out = np.zeros(len(rest), np.float32)
    if not len(hair):
        return out
    triangles = rest[faces[(is_hair[faces] > 0).all(1)]]
    points = np.concatenate([hair, triangles.mean(1)])
    near, far = SCALP_REACH_M
    for v in np.flatnonzero(fields.skin > 0):
        gap = float(np.sqrt(((points - rest[v]) ** 2).sum(1).min()))
        out[v] = min(max((far - gap) / (far - near), 0.0), 1.0)
    return out * (1.0 - fields.brow)


def _middle(rest: Float64Array, fields: FaceFields) -> Float64Array:
    above = rest[(fields.skin > 0) & (fields.neck < 0.1)]
    return np.asarray(0.5 * (above.max(0) + above.min(0)))


def _top(rest: Float64Array, fields: FaceFields) -> float:
    return float(rest[fields.skin > 0, 1].max())


def _eye_radius(
    rest: Float64Array, faces: Int32Array, material: UInt8Array, centres: Float64Array
) -> float:
    eye = np.unique(faces[material == code.RIGHT_EYE])
    return float(np.median(np.linalg.norm(rest[eye] - centres[0], axis=1)))


def _occlusion(
    vertices: Float64Array,
    faces: Int32Array,
    bare_faces: Int32Array,
    is_hair: UInt8Array,
    worn: WornParts | None,
    rasteriser: Rasteriser,
) -> Float32Array:
    """Skin is occluded by all but hair, which may be cut; hair by all but what may be worn."""
    normals = vertex_normals(vertices, faces)
    bare = sky_visibility(vertices, normals, vertices, bare_faces, rasteriser)
    whole = sky_visibility(vertices, normals, vertices, faces, rasteriser)
    out = np.where(is_hair > 0, np.maximum(whole, 0.35), bare)
    if worn is not None:
        out[worn.vertices] = WORN_LIGHT
    return out.astype(np.float32)


def _eye_openness(
    rest: Float64Array,
    faces: Int32Array,
    material: UInt8Array,
    centres: Float64Array,
    radius: float,
    rasteriser: Rasteriser,
) -> Float32Array:
    others = np.ascontiguousarray(
        faces[~np.isin(material, [code.LEFT_EYE, code.RIGHT_EYE, code.HAIR, code.PLAIN])]
    )
    at = (np.arange(EYE_GRID) + 0.5) / EYE_GRID * 2.0 - 1.0
    x, y = np.meshgrid(at, at)
    flat = np.minimum(np.hypot(x, y), 0.98)
    stretch = flat / np.maximum(np.hypot(x, y), 1e-9)
    d = np.stack([x * stretch, y * stretch, np.sqrt(1.0 - flat**2)], -1).reshape(-1, 3)
    grids = []
    for centre in centres:
        points = centre + radius * d
        window = (centre, EYE_WINDOW_M)
        seen = sky_visibility(points, d, rest, others, rasteriser, window=window, bias_m=EYE_BIAS_M)
        grids.append(seen.reshape(EYE_GRID, EYE_GRID))
    return np.stack(grids)


def _brow(rest: Float64Array, topology: Topology, landmarks: Float64Array, side: str) -> FrontMap:
    is_brow = topology.face_region == CLASS_IDS[f"{side}_brow"]
    outline = rest[np.unique(topology.faces[is_brow])][:, :2]
    inner, outer = (21, 17) if side == "right" else (22, 26)
    return brow_map(outline, landmarks[inner - 17, :2], landmarks[outer - 17, :2])


def _texels_per_uv(rest: Float64Array, topology: Topology, material: UInt8Array) -> float:
    """Median over the face's skin of length in space over length in the UV map."""
    chosen = (material == code.SKIN) & (topology.face_region == CLASS_IDS["skin"])
    a, b, c = (rest[topology.faces[chosen, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    p, q, r = (topology.uv[topology.uv_faces[chosen, k]].astype(np.float64) for k in range(3))
    e, f = q - p, r - p
    uv_area = np.abs(e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0])
    good = (uv_area > 1e-12) & (area > 1e-12)
    return float(np.median(np.sqrt(area[good] / uv_area[good]))) / SKIN_TEXEL_M
