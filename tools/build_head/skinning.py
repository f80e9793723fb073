"""Joints, skinning weights and the regressor that lets joints follow the shape."""

from __future__ import annotations

import numpy as np

from tools.build_head import anatomy
from tools.build_head.fields import LIP_RINGS, MOUTH_Y, Fields
from tools.build_head.spline import Floats, smoothstep

PARENTS = np.array([-1, 0, 1, 1, 1], np.int32)
ROOT, NECK_JOINT, JAW, LEFT_EYE_JOINT, RIGHT_EYE_JOINT = range(5)
ROOT_AT = np.array([0.0, -140.0, -34.0])
NECK_AT = np.array([0.0, -72.0, -30.0])
JAW_AT = np.array([0.0, 3.0, -3.0])  # between the condyles, 13 mm before and below the ear canal
CORNER_SEGMENTS = 7.0


def jaw_weight(f: Fields) -> Floats:
    """(V,) 1 on the lower jaw, 0 above the line from the mouth's corner to the joint."""
    y, z = f.at[:, 1], f.at[:, 2]
    behind = np.clip(72.0 - z, 0.0, 90.0)
    line = MOUTH_Y + behind / 75.0 * 41.0
    softness = 1.2 + 0.30 * behind + np.maximum(f.fold - 8.0, 0.0) * 0.5
    weight = smoothstep(-softness, softness, line - y)
    weight = weight * smoothstep(-30.0, 8.0, z)
    below = np.maximum(smoothstep(28.0, 64.0, z), smoothstep(-90.0, -60.0, y))
    weight = weight * below
    # Towards its corner the slit's two sides share the way: the mouth opens to an oval.
    n = anatomy.NUM_LIP_SEGMENTS
    past_corner = np.arange(2 * n + 1) - n
    ramp = 0.5 + 0.5 * np.sin(0.5 * np.pi * np.clip(past_corner / CORNER_SEGMENTS, -1.0, 1.0))
    for name in ("lips", *LIP_RINGS):
        for ids in (f.mesh.sets[name], f.mesh.right(name)):
            weight[ids] = ramp
    weight[f.members("mouth_end")] = 0.5
    for part in ("hair", "clothing", "left_eye", "right_eye", "glasses"):
        weight[f.of_parts(part)] = 0.0
    weight[f.members("upper_teeth")] = 0.0
    weight[f.members("lower_teeth")] = 1.0
    weight[f.members("tongue")] = 1.0
    for k in range(10):
        weight[f.members(f"ear_{k}")] = 0.0
    weight[f.members("ear_end")] = 0.0
    weight[f.members("ear")] = 0.0
    return weight


def skinning_weights(f: Fields) -> Floats:
    """(V, 5) rows that sum to 1."""
    weights = np.zeros((len(f.at), 5))
    lean = f.at[:, 1] + 0.25 * np.maximum(f.at[:, 2], -30.0)
    head = smoothstep(-150.0, -84.0, lean)
    head[f.of_parts("hair", "teeth", "left_eye", "right_eye", "mouth", "tongue", "glasses")] = 1.0
    head[f.of_parts("clothing")] = 0.0
    weights[:, JAW] = jaw_weight(f) * head
    weights[:, NECK_JOINT] = head - weights[:, JAW]
    weights[:, ROOT] = 1.0 - head
    for ids, joint in (
        (f.mesh.sets["eyeball"], LEFT_EYE_JOINT),
        (f.mesh.right("eyeball"), RIGHT_EYE_JOINT),
    ):
        weights[ids] = 0.0
        weights[ids, joint] = 1.0
    return weights


def joint_regressor(f: Fields) -> Floats:
    """(5, V): each joint as a symmetric affine mix of vertices around it."""
    points = f.mesh.points
    out = np.zeros((5, len(points)))
    skin = f.is_skin
    near_jaw = skin & (np.abs(points[:, 1] - 4) < 22) & (np.abs(points[:, 2] + 2) < 16)
    near_jaw &= np.abs(points[:, 0]) > 60
    near_neck = skin & (np.abs(points[:, 1] + 75) < 14) & (points[:, 2] < 40)
    near_root = skin & (points[:, 1] < -128)
    for joint, region, target in (
        (ROOT, near_root, ROOT_AT), (NECK_JOINT, near_neck, NECK_AT), (JAW, near_jaw, JAW_AT),
    ):  # fmt: skip
        ids = np.nonzero(region)[0].astype(np.int32)
        out[joint, ids] = _affine_mix(points[ids], target)
    for joint, ids in (
        (LEFT_EYE_JOINT, f.mesh.sets["eyeball"]), (RIGHT_EYE_JOINT, f.mesh.right("eyeball")),
    ):  # fmt: skip
        centre = anatomy.EYE_CENTRE * [1.0 if joint == LEFT_EYE_JOINT else -1.0, 1.0, 1.0]
        out[joint, ids] = _affine_mix(points[ids], centre)
    return out


def _affine_mix(points: Floats, target: Floats) -> Floats:
    """The weights nearest to equal ones that sum to 1 and mix `points` (N, 3) to `target`."""
    A = np.concatenate([points.T, np.ones((1, len(points)))])
    equal = np.full(len(points), 1.0 / len(points))
    gap = np.r_[target, 1.0] - A @ equal
    out: Floats = equal + A.T @ np.linalg.solve(A @ A.T, gap)
    return out
