"""Named directions of identity: millimetres per standard deviation, over all vertices."""

from __future__ import annotations

import numpy as np

from tools.build_head import anatomy
from tools.build_head.fields import Fields, Vector
from tools.build_head.shape_recipes import BUMP_DIRECTIONS, COMBINED
from tools.build_head.spline import Floats, smoothstep

FULL_HAIR_MM = 11.0


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
    return f.push(weight / weight[f.mesh.sets["eyeball"]].max(), (1.12, 0.0, 0.0))


def _eye_size(f: Fields) -> Floats:
    centre = anatomy.EYE_CENTRE * np.stack([f.side, np.ones_like(f.side), np.ones_like(f.side)], 1)
    offset = f.mesh.points - centre
    weight = f.blob((31.5, 30.0, 60.0), (15.0, 11.0, 25.0))
    weight[f.members("eyeball")] = 1.0
    out: Floats = 0.033 * weight[:, None] * offset
    return out


def _eye_opening(f: Fields) -> Floats:
    above, below, along = f.lid_gap()
    arch = np.sqrt(np.clip(4.0 * along * (1 - along), 0.0, 1.0)) * f.is_skin
    upper = np.exp(-np.maximum(above, 0.0) / 5.0) * (above > -4.0) * (above > below)
    lower = np.exp(-np.maximum(below, 0.0) / 5.0) * (below > -4.0) * (below >= above)
    near = (f.at[:, 2] > 40) * (np.abs(f.at[:, 1] - 30) < 30)
    return f.push(arch * near * (0.4 * upper - 0.25 * lower), (0.0, 1.0, 0.0))


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
    out: Floats = 0.055 * _ear(f)[:, None] * offset
    return out


def _ear_flare(f: Fields) -> Floats:
    out = _ear(f) * np.maximum(-14.0 - f.mesh.points[:, 2], 0.0) / 30.0
    return f.push(out, (2.6, 0.0, 0.4))


def _shift(f: Fields, centre: Vector, sigma: Vector, vector: Vector) -> Floats:
    """A push that does not mirror: both halves move the same way."""
    weight = f.blob(centre, sigma)
    out: Floats = weight[:, None] * np.asarray(vector)
    return out


def _skew(f: Fields, centre: Vector, sigma: Vector, vector: Vector) -> Floats:
    """A push of the left side and its opposite on the right: one goes up, the other down."""
    fade = np.clip(f.at[:, 0] / 12.0, -1.0, 1.0)
    out: Floats = (f.blob(centre, sigma) * fade)[:, None] * np.asarray(vector)
    return out


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
    full = is_hair * np.linalg.norm(thickness, axis=1) / FULL_HAIR_MM
    high = smoothstep(60.0, 120.0, f.at[:, 1])
    front = smoothstep(20.0, 60.0, f.at[:, 2])
    part = np.clip(f.at[:, 0] / 40.0, -1.0, 1.0)
    edge = f.blob((0.0, 100.0, 78.0), (45.0, 24.0, 30.0))
    temple = f.blob((44.0, 92.0, 55.0), (14.0, 16.0, 22.0))
    return {
        "hair_volume": 0.12 * is_hair[:, None] * thickness,
        "hair_top_volume": f.push(full * high, (0.0, 1.6, 0.0)),
        "hair_front_volume": f.push(full * high * front, (0.0, 1.1, 1.3)),
        "hairline_height": f.push(is_hair * edge, (0.0, 3.0, -2.6)),
        "hairline_recession": f.push(is_hair * temple, (0.0, 3.2, -3.2)),
        "asymmetry_hair_part": (full * high * part)[:, None] * [0.3, 1.0, 0.0],
    }


def shape_directions(f: Fields) -> dict[str, Floats]:
    """Every direction by name: (V, 3) millimetres per standard deviation."""
    out = {
        "head_size": _head_size(f),
        "face_width": _face_width(f),
        "face_height": _face_height(f),
        "head_width": _head_width(f),
        "head_depth": _head_depth(f),
        "forehead_height": _forehead_height(f),
        "eye_spacing": _eye_spacing(f),
        "eye_size": _eye_size(f),
        "eye_opening": _eye_opening(f),
        "eye_tilt": _eye_tilt(f),
        "eye_depth": _eye_depth(f),
        "upper_lip_fullness": _upper_lip_fullness(f),
        "lower_lip_fullness": _lower_lip_fullness(f),
        "cupids_bow": _cupids_bow(f),
        "ear_size": _ear_size(f),
        "ear_flare": _ear_flare(f),
    }
    for name, bumps in BUMP_DIRECTIONS.items():
        out[name] = sum((f.bump(*b) for b in bumps), np.zeros_like(f.at))
    out |= _hair(f) | _asymmetries(f)
    for name, recipe in COMBINED.items():
        out[name] = sum((k * out[part] for part, k in recipe.items()), np.zeros_like(f.at))
    return {name: f.on_eyeballs(d) for name, d in _without_clothes(f, out).items()}


def _without_clothes(f: Fields, directions: dict[str, Floats]) -> dict[str, Floats]:
    still = f.of_parts("clothing", "glasses")
    for displacement in directions.values():
        displacement[still] = 0.0
    return directions
