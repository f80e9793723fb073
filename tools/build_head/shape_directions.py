"""Named directions of identity: millimetres per standard deviation, over all vertices."""

from __future__ import annotations

import numpy as np

from tools.build_head import anatomy
from tools.build_head.fields import Fields, Vector
from tools.build_head.spline import Floats, smoothstep

# A direction as a sum of Gaussian pushes: (centre, sigma, push) on the subject's left, mirrored.
Bumps = list[tuple[Vector, Vector, Vector]]

BUMP_DIRECTIONS: dict[str, Bumps] = {
    "forehead_slope": [((0, 100, 70), (60, 26, 45), (0, 0, -3.6))],
    "forehead_bulge": [((24, 84, 75), (22, 18, 25), (0, 0, 1.6))],
    "temple_width": [((68, 50, 25), (25, 24, 26), (2.0, 0, 0))],
    "brow_ridge": [((24, 47, 78), (19, 8, 16), (0, 0, 1.7))],
    "glabella": [((0, 49, 82), (10, 9, 14), (0, 0, 1.1))],
    "brow_height": [((34, 52, 76), (22, 6.5, 25), (0, 1.7, 0))],
    "brow_arch": [((44, 54, 70), (11, 7, 25), (0, 1.5, 0)), ((16, 50, 80), (8, 7, 25), (0, -0.8, 0))],
    "brow_spacing": [((20, 51, 80), (12, 7, 25), (1.3, 0, 0))],
    "lid_hood": [((34, 38.5, 70), (14, 3.6, 12), (0, -1.1, 0.9))],
    "lid_bag": [((31, 16, 70), (11, 5, 14), (0, 0, 1.0))],
    "nose_length": [((0, -8, 92), (19, 14, 26), (0, -2.6, 0)), ((0, 12, 90), (13, 12, 20), (0, -1.0, 0))],
    "nose_width": [((14, -9, 86), (7, 9, 14), (0.9, 0, 0))],
    "nose_protrusion": [((0, -6, 100), (13, 14, 20), (0, 0, 1.8))],
    "nose_bridge_height": [((0, 20, 88), (8, 17, 18), (0, 0, 1.3))],
    "nose_bridge_width": [((8, 17, 82), (5.5, 15, 12), (0.75, 0, 0))],
    "nose_hump": [((0, 14, 92), (6.5, 6.5, 12), (0, 0, 1.0))],
    "nose_tip_height": [((0, -7, 102), (11, 8, 14), (0, 1.7, 0))],
    "nose_tip_width": [((6, -6, 100), (5, 7, 10), (0.9, 0, 0))],
    "nose_root_depth": [((0, 35, 80), (8, 8, 14), (0, 0, -1.2))],
    "nostril_flare": [((14, -11, 85), (5, 5, 9), (0.6, 0.6, 0.3))],
    "cheekbone_prominence": [((46, 6, 62), (13, 12, 18), (0.7, 0, 1.8))],
    "cheekbone_width": [((66, 12, 25), (16, 15, 26), (1.9, 0, 0))],
    "cheek_fullness": [((50, -24, 48), (15, 17, 22), (1.6, 0, 1.7))],
    "nasolabial_depth": [((25, -20, 74), (4, 12, 14), (0, 0, -0.9)), ((33, -20, 70), (6, 12, 14), (0, 0, 0.6))],
    "maxilla_protrusion": [((0, -30, 82), (27, 16, 26), (0, 0, 1.6))],
    "jaw_width": [((55, -48, 5), (19, 20, 34), (1.9, 0, 0))],
    "jaw_angle_height": [((55, -52, 0), (17, 17, 24), (0, 2.4, 0))],
    "chin_height": [((0, -78, 72), (30, 17, 32), (0, -2.2, 0))],
    "chin_protrusion": [((0, -70, 78), (24, 15, 24), (0, 0, 2.2))],
    "chin_width": [((22, -71, 66), (14, 13, 20), (1.9, 0, 0))],
    "chin_cleft": [((0, -70, 84), (2.6, 6, 9), (0, 0, -0.6))],
    "double_chin": [((0, -92, 42), (28, 13, 20), (0, -3.2, 1.2))],
    "mouth_width": [((24, -38.6, 74), (9, 9, 14), (1.6, 0, -0.4))],
    "mouth_height": [((0, -38, 82), (30, 11, 22), (0, 1.5, 0))],
    "mouth_corner_height": [((26, -38.6, 72), (7, 6, 12), (0, 0.9, 0))],
    "lip_protrusion": [((0, -39, 88), (17, 9, 12), (0, 0, 1.3))],
    "philtrum_depth": [((0, -23, 86), (2.2, 5, 8), (0, 0, -0.45)), ((4.4, -23, 86), (2, 5, 8), (0, 0, 0.4))],
    "ear_height": [((72, 12, -30), (14, 34, 24), (0, 1.8, 0))],
    "ear_lobe_size": [((72, -18, -22), (9, 9, 10), (0.4, -1.6, -0.4))],
    "neck_width": [((56, -112, -25), (24, 34, 60), (3.2, 0, 0)), ((0, -112, 20), (40, 30, 24), (0, 0, 1.0))],
    "larynx": [((0, -112, 26), (9, 10, 12), (0, 0, 1.3))],
    "nape_fullness": [((0, -45, -75), (40, 30, 30), (0, 0, -2.6))],
}  # fmt: skip

# Combined directions: how many units of others one standard deviation takes along. Means differ
# by sex, age and population as in the tables of docs/head.md.
COMBINED: dict[str, dict[str, float]] = {
    "sex": {
        "head_size": 0.65, "face_width": 0.25, "face_height": 0.35, "jaw_width": 0.5, "brow_ridge": 0.95,
        "glabella": 0.7, "forehead_slope": 0.5, "forehead_bulge": -0.5, "brow_height": -0.6,
        "brow_arch": -0.5, "nose_width": 0.4, "nose_protrusion": 0.45, "nose_length": 0.35, "chin_height": 0.55,
        "chin_width": 0.7, "chin_protrusion": 0.3, "cheek_fullness": -0.3, "eye_opening": -0.35,
        "neck_width": 1.0, "larynx": 1.0, "upper_lip_fullness": -0.35, "lower_lip_fullness": -0.3,
        "eye_size": -0.2, "jaw_angle_height": -0.5, "lip_protrusion": -0.15, "hairline_height": 0.25,
    },
    "age": {
        "upper_lip_fullness": -0.6, "lower_lip_fullness": -0.45, "nasolabial_depth": 1.5, "lid_hood": 0.9,
        "lid_bag": 1.0, "nose_length": 0.35, "nose_tip_height": -0.6, "ear_lobe_size": 1.0, "ear_size": 0.35,
        "cheek_fullness": -0.35, "temple_width": -0.5, "double_chin": 0.5, "mouth_corner_height": -0.7,
        "brow_height": -0.4, "eye_opening": -0.35, "hairline_recession": 0.6, "hairline_height": 0.3, "nose_width": 0.25,
    },
    "weight": {
        "cheek_fullness": 1.3, "double_chin": 1.3, "neck_width": 0.7, "jaw_width": 0.3, "face_width": 0.2,
        "nape_fullness": 0.6, "lid_bag": 0.2, "cheekbone_prominence": -0.3,
    },
    "ancestry_east_asia": {
        "nose_bridge_height": -0.9, "nose_protrusion": -0.7, "nose_width": 0.3, "brow_ridge": -0.6, "eye_depth": 0.8,
        "lid_hood": 0.8, "eye_tilt": 0.6, "face_width": 0.35, "cheekbone_width": 0.5, "cheekbone_prominence": 0.4,
        "nose_root_depth": 0.5, "eye_opening": -0.35, "head_width": 0.4, "head_depth": -0.5, "eye_spacing": 0.3,
    },
    "ancestry_africa": {
        "nose_width": 1.1, "nose_bridge_height": -0.8, "nose_bridge_width": 0.8, "nose_protrusion": -0.4,
        "upper_lip_fullness": 1.1, "lower_lip_fullness": 0.9, "lip_protrusion": 1.0, "maxilla_protrusion": 1.0,
        "nostril_flare": 0.4, "mouth_width": 0.5, "nose_tip_width": 0.4, "eye_spacing": 0.35, "head_depth": 0.3,
        "chin_protrusion": -0.4, "ear_size": -0.3,
    },
}  # fmt: skip


def _neck_fade(f: Fields) -> Floats:
    """1 on the head, 0 from the collar down: shoulders do not take part."""
    return smoothstep(-150.0, -95.0, f.at[:, 1])


def _head_size(f: Fields) -> Floats:
    return 0.022 * (f.at - [0.0, -60.0, -20.0]) * _neck_fade(f)[:, None]


def _face_width(f: Fields) -> Floats:
    weight = smoothstep(95.0, 30.0 - 40.0, f.at[:, 1]) * _neck_fade(f)
    weight = weight * smoothstep(-70.0, 10.0, f.at[:, 2])
    return np.stack([0.026 * f.at[:, 0] * weight, 0 * weight, 0 * weight], 1)


def _face_height(f: Fields) -> Floats:
    down = -np.clip(36.0 - f.at[:, 1], 0.0, 120.0) / 117.0 * 4.2
    down = down * smoothstep(-60.0, 20.0, f.at[:, 2]) * _neck_fade(f)
    return np.stack([0 * down, down, 0 * down], 1)


def _head_width(f: Fields) -> Floats:
    weight = smoothstep(-10.0, 50.0, f.at[:, 1]) * smoothstep(75.0, 20.0, f.at[:, 2])
    return np.stack([0.034 * f.at[:, 0] * weight, 0 * weight, 0 * weight], 1)


def _head_depth(f: Fields) -> Floats:
    back = np.minimum(f.at[:, 2] - 10.0, 0.0) * 0.05 * smoothstep(-70.0, 10.0, f.at[:, 1])
    return np.stack([0 * back, 0 * back, back], 1)


def _forehead_height(f: Fields) -> Floats:
    up = np.maximum(f.at[:, 1] - 58.0, 0.0) / 88.0 * 5.0
    return np.stack([0 * up, up, 0 * up], 1)


def _eye_spacing(f: Fields) -> Floats:
    weight = f.blob((31.5, 30.0, 60.0), (17.0, 15.0, 30.0))
    return f.push(weight / weight[f.mesh.sets["eyeball"]].max(), (1.2, 0.0, 0.0))


def _eye_size(f: Fields) -> Floats:
    centre = anatomy.EYE_CENTRE * np.stack([f.side, np.ones_like(f.side), np.ones_like(f.side)], 1)
    offset = f.mesh.points - centre
    weight = f.blob((31.5, 30.0, 60.0), (15.0, 11.0, 25.0))
    weight[f.members("eyeball")] = 1.0
    return 0.033 * weight[:, None] * offset


def _eye_opening(f: Fields) -> Floats:
    above, below, along = f.lid_gap()
    arch = np.sqrt(np.clip(4.0 * along * (1 - along), 0.0, 1.0)) * f.is_skin
    upper = np.exp(-np.maximum(above, 0.0) / 5.0) * (above > -4.0) * (above > below)
    lower = np.exp(-np.maximum(below, 0.0) / 5.0) * (below > -4.0) * (below >= above)
    near = (f.at[:, 2] > 40) * (np.abs(f.at[:, 1] - 30) < 30)
    return f.push(arch * near * (0.55 * upper - 0.35 * lower), (0.0, 1.0, 0.0))


def _eye_tilt(f: Fields) -> Floats:
    weight = f.blob((33.0, 30.0, 62.0), (17.0, 9.0, 22.0)) * f.is_skin
    turn = 0.055 * (f.fold - 31.5)
    return f.push(weight * turn, (0.0, 1.0, 0.0))


def _eye_depth(f: Fields) -> Floats:
    weight = f.blob((31.5, 30.0, 60.0), (16.0, 12.0, 30.0))
    return f.push(weight / weight[f.mesh.sets["eyeball"]].max(), (0.0, 0.0, 1.2))


def _upper_lip_fullness(f: Fields) -> Floats:
    lip = f.blob((0.0, -32.0, 88.0), (15.0, 4.2, 14.0)) * f.is_upper * f.lips(4.0)
    return f.push(lip, (0.0, 1.1, 0.8))


def _lower_lip_fullness(f: Fields) -> Floats:
    lip = f.blob((0.0, -46.0, 86.0), (15.0, 4.6, 14.0)) * (1 - f.is_upper) * f.lips(4.0)
    return f.push(lip, (0.0, -1.2, 0.8))


def _cupids_bow(f: Fields) -> Floats:
    peak = f.blob((6.0, -28.8, 88.0), (3.2, 3.0, 9.0)) - 0.8 * f.blob(
        (0.0, -30.2, 88.0), (2.4, 3, 9)
    )
    return f.push(peak * f.is_upper * f.lips(4.0), (0.0, 0.7, 0.2))


def _ear(f: Fields) -> Floats:
    """(V,) 1 on the ears, falling to 0 at their attachment's surroundings."""
    weight = np.zeros(len(f.mesh.points))
    for k in range(10):
        weight[f.members(f"ear_{k}")] = 0.6 if k == 0 else 1.0
    weight[f.members("ear_end")] = 1.0
    return weight


def _ear_size(f: Fields) -> Floats:
    offset = f.mesh.points - np.stack([70.0 * f.side, 8.0 + 0 * f.side, -18.0 + 0 * f.side], 1)
    return 0.055 * _ear(f)[:, None] * offset


def _ear_flare(f: Fields) -> Floats:
    out = _ear(f) * np.maximum(-14.0 - f.mesh.points[:, 2], 0.0) / 30.0
    return f.push(out, (2.6, 0.0, 0.4))


def _shift(f: Fields, centre: Vector, sigma: Vector, vector: Vector) -> Floats:
    """A push that does not mirror: both halves move the same way."""
    weight = f.blob(centre, sigma)
    return weight[:, None] * np.asarray(vector)


def _skew(f: Fields, centre: Vector, sigma: Vector, vector: Vector) -> Floats:
    """A push of the left side and its opposite on the right: one goes up, the other down."""
    fade = np.clip(f.at[:, 0] / 12.0, -1.0, 1.0)
    return (f.blob(centre, sigma) * fade)[:, None] * np.asarray(vector)


def _asymmetries(f: Fields) -> dict[str, Floats]:
    return {
        "asymmetry_nose_bend": _shift(f, (0, -4, 96), (16, 15, 25), (1.0, 0, 0)),
        "asymmetry_jaw_shift": _shift(f, (0, -62, 60), (45, 28, 60), (1.4, 0, 0)),
        "asymmetry_mouth_tilt": _skew(f, (26, -38, 75), (14, 12, 25), (0, 0.7, 0)),
        "asymmetry_eye_height": _skew(f, (31.5, 30, 62), (18, 13, 30), (0, 0.6, 0)),
        "asymmetry_brow_height": _skew(f, (34, 52, 74), (20, 8, 25), (0, 1.0, 0)),
        "asymmetry_face_width": _shift(f, (62, 0, 25), (22, 45, 45), (1.1, 0, 0)),
        "asymmetry_ear_height": _skew(f, (72, 10, -28), (14, 34, 24), (0, 1.2, 0)),
        "asymmetry_cheek_depth": _skew(f, (44, -5, 60), (18, 22, 25), (0, 0, 0.9)),
    }


def _hair(f: Fields) -> dict[str, Floats]:
    is_hair = f.of_parts("hair").astype(float)
    thickness = f.mesh.points - f.at
    high = smoothstep(60.0, 120.0, f.at[:, 1])
    front = smoothstep(20.0, 60.0, f.at[:, 2])
    edge = f.blob((0.0, 100.0, 78.0), (45.0, 24.0, 30.0))
    temple = f.blob((44.0, 92.0, 55.0), (14.0, 16.0, 22.0))
    up_scalp = np.stack([0 * edge, 0.75 * edge, -0.65 * edge], 1)
    return {
        "hair_volume": 0.12 * is_hair[:, None] * thickness,
        "hair_top_volume": f.push(is_hair * high * np.linalg.norm(thickness, axis=1) / 11, (0, 1.6, 0)),
        "hair_front_volume": f.push(is_hair * high * front * np.linalg.norm(thickness, axis=1) / 11, (0, 1.1, 1.3)),
        "hairline_height": 4.0 * is_hair[:, None] * up_scalp,
        "hairline_recession": 4.5 * (is_hair * temple)[:, None] * [0, 0.7, -0.72],
        "asymmetry_hair_part": (is_hair * high * np.clip(f.at[:, 0] / 40, -1, 1) * np.linalg.norm(thickness, axis=1) / 11)[:, None] * [0.3, 1.0, 0],
    }  # fmt: skip


def shape_directions(f: Fields) -> dict[str, Floats]:
    """Every direction by name: (V, 3) millimetres per standard deviation."""
    out = {
        "head_size": _head_size(f), "face_width": _face_width(f), "face_height": _face_height(f),
        "head_width": _head_width(f), "head_depth": _head_depth(f), "forehead_height": _forehead_height(f),
        "eye_spacing": _eye_spacing(f), "eye_size": _eye_size(f), "eye_opening": _eye_opening(f),
        "eye_tilt": _eye_tilt(f), "eye_depth": _eye_depth(f), "upper_lip_fullness": _upper_lip_fullness(f),
        "lower_lip_fullness": _lower_lip_fullness(f), "cupids_bow": _cupids_bow(f),
        "ear_size": _ear_size(f), "ear_flare": _ear_flare(f),
    }  # fmt: skip
    for name, bumps in BUMP_DIRECTIONS.items():
        out[name] = sum((f.bump(*b) for b in bumps), np.zeros_like(f.at))
    out |= _hair(f) | _asymmetries(f)
    for name, recipe in COMBINED.items():
        out[name] = sum((k * out[part] for part, k in recipe.items()), np.zeros_like(f.at))
    return _without_clothing(f, out)


def _without_clothing(f: Fields, directions: dict[str, Floats]) -> dict[str, Floats]:
    still = f.of_parts("clothing")
    for displacement in directions.values():
        displacement[still] = 0.0
    return directions
