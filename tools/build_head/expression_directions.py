"""Named directions of expression: action units of both sides, millimetres per unit."""

from __future__ import annotations

import numpy as np

from tools.build_head import anatomy
from tools.build_head.fields import Fields, lid_dome
from tools.build_head.skin import lip_arch
from tools.build_head.skinning import jaw_weight
from tools.build_head.spline import Floats, smoothstep

BLINK_PER_UNIT = 0.42  # about two and a half units close the eye
LID_REACH_MM = 12.0  # how far from their edges the lids still move along
LID_MEET = 0.16  # share of the opening, from below, where the lids meet


def _lid_weights(f: Fields) -> tuple[Floats, Floats, Floats]:
    """Weights of the upper and the lower lid (1 at its edge) and the place along the lid."""
    above, below, along = f.lid_gap()
    near = (f.at[:, 2] > 40) & (np.abs(f.at[:, 1] - 30) < 22) & f.is_skin
    inside = np.clip(4.4 * along * (1 - along), 0.0, 1.0) ** 0.35
    upper = np.where(near & (above > -3.5) & (above > below), 1.0, 0.0)
    lower = np.where(near & (below > -3.5) & (below >= above), 1.0, 0.0)
    upper *= smoothstep(LID_REACH_MM, 0.0, np.maximum(above, 0.0))
    lower *= smoothstep(LID_REACH_MM, 0.0, np.maximum(below, 0.0))
    n = anatomy.NUM_LID_SEGMENTS
    index = np.arange(2 * n)
    for name, share in (("lids", 1.0), ("lid_margin", 1.0), ("lid_bag", 0.25)):
        for ids in (f.mesh.sets[name], f.mesh.right(name)):
            upper[ids] = share * (index < n)
            lower[ids] = share * (index > n)
            corner = ids[[0, n]]
            upper[corner] = lower[corner] = 0.0
    return upper * inside, lower * inside, along


def lids_moved(f: Fields, upper_share: float, lower_share: float) -> Floats:
    """(V, 3): the lids' edges moved over the eyeball by shares of the lids' opening (+ closes)."""
    upper, lower, _along = _lid_weights(f)
    top, bottom = anatomy.upper_lid(), anatomy.lower_lid()
    x = np.clip(f.fold, top[0, 0], top[-1, 0])
    opening = np.interp(x, top[:, 0], top[:, 1]) - np.interp(x, bottom[:, 0], bottom[:, 1])
    down = -upper * upper_share * opening + lower * lower_share * opening
    moved = f.at.copy()
    moved[:, 1] += down
    before = np.maximum(lid_dome(f.at) - f.at[:, 2], 0.0)
    # Half of the way the straight path would dip into the ball: end a little outside of the dome.
    dome = lid_dome(moved) + 1.1 * np.minimum(np.abs(down) / 4.0, 1.0)
    depth = np.where(np.abs(down) > 1e-9, np.maximum(dome - before - f.at[:, 2], -1.0), 0.0)
    weight = np.maximum(upper, lower)
    return np.stack([0 * down, down, depth * weight], 1)


def _eyes(f: Fields) -> dict[str, Floats]:
    full = lids_moved(f, 1.0 - LID_MEET, LID_MEET)
    raised = -lids_moved(f, 0.16, 0.0)
    squint = lids_moved(f, 0.08, 0.1) + f.bump((31, 19, 70), (12, 5, 14), (0, 0.8, 0.7))
    cheek = f.bump((38, 6, 66), (14, 11, 20), (0.4, 2.2, 1.5)) + lids_moved(f, 0.0, 0.04)
    return {
        "blink": BLINK_PER_UNIT * full,
        "upper_lid_raise": raised,
        "squint": squint,
        "cheek_raise": cheek,
    }


def _brows(f: Fields) -> dict[str, Floats]:
    return {
        "brow_raise_inner": f.bump((16, 52, 80), (10, 10, 25), (0, 3.2, 0.3))
        + f.bump((12, 75, 80), (14, 9, 25), (0, 1.0, 0.4)),
        "brow_raise_outer": f.bump((44, 53, 70), (14, 9, 25), (0, 3.2, 0))
        + f.bump((38, 76, 72), (16, 9, 25), (0, 1.0, 0.4)),
        "brow_lower": f.bump((19, 49, 80), (13, 8, 25), (-1.6, -2.4, 0.8))
        + f.bump((5, 47, 84), (4, 7, 12), (0, -0.5, 0.8)),
    }


def _nose_and_mouth_sides(f: Fields) -> dict[str, Floats]:
    lips = f.lips(9.0)[:, None]
    upper = f.is_upper[:, None]
    corner = f.blob((26, -38.6, 72), (10, 9, 18))
    smile = f.push(corner, (2.6, 2.5, -1.4)) + f.bump((40, -6, 66), (12, 12, 18), (0.6, 1.8, 1.8))
    smile += f.push(f.blob((14, -38.6, 82), (9, 8, 14)) * f.lips(), (1.2, 0.7, -0.9))
    smile += f.bump((27, -20, 74), (4, 9, 12), (0.3, 0.5, -0.9))
    raise_upper = f.push(f.blob((12, -30, 84), (9, 8, 16)), (0.2, 1.8, 0.6)) * upper
    raise_upper += f.bump((20, -14, 78), (7, 9, 12), (0.2, 1.0, 0.8))
    lower_down = f.push(f.blob((11, -46, 84), (11, 8, 16)), (0.2, -1.8, 0.4)) * (1 - upper)
    return {
        "nose_wrinkle": f.bump((13, -6, 86), (7, 10, 14), (0.3, 1.8, 0.2))
        + f.bump((10, 22, 80), (7, 12, 12), (0, 0.6, 0.8))
        + f.bump((16, 46, 80), (10, 7, 20), (-0.6, -0.9, 0.3)),
        "smile": smile,
        "frown": f.push(corner, (0.6, -2.4, -0.4))
        + f.bump((28, -52, 70), (8, 8, 14), (0, -0.8, 0.6)),
        "dimple": f.push(corner, (1.6, 0.3, -2.0))
        + f.bump((36, -36, 66), (6, 8, 12), (0, 0, -1.0)),
        "mouth_stretch": f.push(corner, (2.4, -0.8, -1.0))
        + f.push(f.blob((13, -38.6, 82), (10, 9, 14)), (1.1, 0, -0.6)) * lips,
        "upper_lip_raise": raise_upper,
        "lower_lip_depress": lower_down,
        "cheek_puff": f.bump((45, -28, 58), (14, 16, 22), (2.2, 0, 2.2)),
    }


def _gather(f: Fields, share: float) -> Floats:
    """(V, 3): the mouth's width drawn in by a share of the distance from the midline."""
    weight = f.lips(9.0)
    inward = -share * f.mesh.points[:, 0]
    forward = lip_arch(np.minimum(f.fold, 27.0)) - lip_arch(np.minimum(f.fold, 27.0) * (1 - share))
    out = np.stack([inward, 0 * inward, 0.8 * forward], 1)
    return weight[:, None] * out


def _mouth(f: Fields) -> dict[str, Floats]:
    lips, tight = f.lips(9.0), f.lips(3.5)
    up, low = f.is_upper, 1.0 - f.is_upper
    middle = np.exp(-0.5 * (f.fold / 13.0) ** 2)
    y = f.at[:, 1] - (-38.6)
    toward = -np.sign(y) * np.minimum(np.abs(y), 9.0)
    thin = np.stack([0 * y, 0.22 * toward * tight, -0.9 * tight * middle], 1)
    chin = f.bump((0, -66, 82), (14, 10, 16), (0, 2.2, 0.8))
    jaw = jaw_weight(f)
    return {
        "lips_part": f.push(lips * low * middle, (0, -2.0, 0.2))
        + f.push(lips * up * middle, (0, 0.6, 0)),
        "pucker": _gather(f, 0.15) + f.push(lips * middle, (0, 0, 3.0)),
        "funnel": _gather(f, 0.1)
        + f.push(lips * middle * up, (0, 1.4, 2.4))
        + f.push(lips * middle * low, (0, -1.8, 2.0)),
        "lip_press": thin,
        "lip_tighten": 0.6 * thin + 0.5 * _gather(f, 0.1),
        "lip_suck_upper": f.push(tight * up * middle, (0, -1.2, -2.2)),
        "lip_suck_lower": f.push(tight * low * middle, (0, 1.2, -2.2)),
        "chin_raise": chin
        + f.push(f.lips(6.0) * low * middle, (0, 1.4, 0.9))
        + f.push(tight * up * middle, (0, 0.6, 0.3)),
        "mouth_left": lips[:, None] * np.array([2.2, 0.0, 0.0]),
        "jaw_forward": jaw[:, None] * np.array([0.0, -0.2, 2.2]),
        "jaw_left": jaw[:, None] * np.array([1.8, 0.0, 0.0]),
        "nostril_flare_both": f.bump((14, -11, 85), (5, 5, 9), (0.9, 0.6, 0.2)),
    }


def expression_directions(f: Fields) -> dict[str, Floats]:
    """Every direction by name: (V, 3) millimetres per unit; *_left is the subject's left."""
    out: dict[str, Floats] = {}
    for name, both in (_brows(f) | _eyes(f) | _nose_and_mouth_sides(f)).items():
        still = f.of_parts("hair", "clothing", "left_eye", "right_eye", "teeth", "tongue")
        both[still] = 0.0
        left = f.left_half(both)
        out[f"{name}_left"] = left
        out[f"{name}_right"] = left[f.mesh.mirror] * [-1.0, 1.0, 1.0]
    on_jaw = np.union1d(f.members("lower_teeth"), f.members("tongue"))
    for name, displacement in _mouth(f).items():
        still = f.of_parts("hair", "clothing", "left_eye", "right_eye", "teeth", "tongue")
        if name in ("jaw_forward", "jaw_left"):
            still[on_jaw] = False
        displacement[still] = 0.0
        out[name] = displacement
    return out
