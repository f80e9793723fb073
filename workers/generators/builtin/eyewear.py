"""Glasses: a frame of tubes and two lenses, as points for any style of frame on any head.

Only the left half is made, in the order in which the head's file lists its vertices; the right one
is its mirror image. Local axes: the origin lies between the eyeballs' centres, +x to the subject's
left, +y up, +z forward; metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.types import Float64Array

NUM_OUTLINE: Final = 20
NUM_SECTION: Final = 4  # points around a tube
_BRIDGE_STEPS: Final = (0.0, 0.5, 1.0)  # from the rim to the midline
_ARM_STEPS: Final = (0.0, 0.05, 0.55, 0.92, 1.0)  # from the rim past the ear's top
NUM_RIM: Final = NUM_OUTLINE * NUM_SECTION
NUM_BRIDGE: Final = len(_BRIDGE_STEPS) * NUM_SECTION
NUM_ARM: Final = len(_ARM_STEPS) * NUM_SECTION
NUM_LENS: Final = 2 * (NUM_OUTLINE + 1)
_WRAP_RADIUS_M: Final = 0.13  # frames curve around the face
_HOOK_M: Final = 0.022  # of the arm's end below the ear's top
_SQUARE: Final = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]) / np.sqrt(2.0)


@dataclass(frozen=True)
class Frame:
    """A style of frame on one head.

    Attributes:
        lens_centre: (3,) of the left lens.
        half_width_m: of a lens; half_height_m too.
        squareness: exponent of the lens' outline: 2 is an ellipse, 5 nearly a rectangle.
        thickness_m: radius of the rim's tube; of the arms' too.
        bridge_lift_m: of the bridge above the lenses' centres.
        ear: (3,) where the left arm rests.
        is_dark: whether the lenses are tinted; clear ones are not there at all.
    """

    lens_centre: Float64Array
    half_width_m: float
    half_height_m: float
    squareness: float
    thickness_m: float
    bridge_lift_m: float
    ear: Float64Array
    is_dark: bool


def left_half(frame: Frame) -> Float64Array:
    """Return (N, 3) points: rim, bridge, arm, lens; the bridge's last section has x = 0."""
    outline = _outline(frame)
    centre = _wrapped(frame, np.zeros((1, 2)))[0]
    lens = _lens(frame, outline, centre)
    return np.concatenate([_rim(frame, outline), _bridge(frame, outline), _arm(frame), lens])


def _outline(frame: Frame) -> Float64Array:
    """(NUM_OUTLINE, 3) around the lens, from its temporal side upward."""
    angle = 2.0 * np.pi * np.arange(NUM_OUTLINE) / NUM_OUTLINE
    c, s = np.cos(angle), np.sin(angle)
    n = frame.squareness
    radius = (np.abs(c) ** n + np.abs(s) ** n) ** (-1.0 / n)
    flat = np.stack([frame.half_width_m * radius * c, frame.half_height_m * radius * s], 1)
    return _wrapped(frame, flat)


def _wrapped(frame: Frame, flat: Float64Array) -> Float64Array:
    """Lay (N, 2) offsets from the lens' centre onto a cylinder around the face."""
    x = frame.lens_centre[0] + flat[:, 0]
    back = (x**2 - frame.lens_centre[0] ** 2) / (2.0 * _WRAP_RADIUS_M)
    y = frame.lens_centre[1] + flat[:, 1]
    return np.stack([x, y, frame.lens_centre[2] - back + 0.08 * flat[:, 1]], 1)


def _rim(frame: Frame, outline: Float64Array) -> Float64Array:
    middle = outline.mean(0)
    outward = outline - middle
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    forward = np.array([0.0, 0.0, 1.0])
    offsets = _SQUARE[:, 0, None] * outward[:, None] + _SQUARE[:, 1, None] * forward
    return np.asarray((outline[:, None] + frame.thickness_m * offsets).reshape(-1, 3))


def _bridge(frame: Frame, outline: Float64Array) -> Float64Array:
    start = outline[NUM_OUTLINE // 2 - 2]  # on the nasal side, above the middle
    end = start * [0.0, 1.0, 1.0] + [0.0, frame.bridge_lift_m, 0.002]
    points = []
    for step in _BRIDGE_STEPS:
        at = start + (end - start) * [step, np.sin(0.5 * np.pi * step), step]
        for up, forward in _SQUARE:
            points.append(at + frame.thickness_m * np.array([0.0, up, forward]))
    return np.array(points)


def _arm(frame: Frame) -> Float64Array:
    hinge = _wrapped(frame, np.array([[frame.half_width_m, 0.45 * frame.half_height_m]]))[0]
    corner = np.array([max(hinge[0] + 0.004, frame.ear[0] - 0.004), hinge[1], hinge[2] - 0.006])
    end = frame.ear + np.array([-0.003, -_HOOK_M, -0.016])
    ahead = corner + 0.55 * (frame.ear - corner)
    points = []
    for at in (hinge, corner, ahead, frame.ear, end):
        for across, up in _SQUARE:
            half = frame.thickness_m * np.array([0.7 * across, up, 0.0])
            points.append(at + half)
    return np.array(points)


def _lens(frame: Frame, outline: Float64Array, centre: Float64Array) -> Float64Array:
    """Front and back of a tinted lens; a clear one is a point."""
    front = np.concatenate([outline, centre[None]])
    if not frame.is_dark:
        return np.broadcast_to(centre, (NUM_LENS, 3)).copy()
    half = np.array([0.0, 0.0, 0.0006])
    return np.concatenate([front + half, front - half])
