"""Glasses: the mesh of a frame with lenses; whoever wears them moves every point of it."""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head import anatomy
from tools.build_head.half_mesh import GLASSES, HalfMesh, Ints, strip
from tools.build_head.uv import cells
from workers.generators.builtin.eyewear import (
    NUM_ARM,
    NUM_BRIDGE,
    NUM_LENS,
    NUM_OUTLINE,
    NUM_RIM,
    NUM_SECTION,
    Frame,
    left_half,
)

MILLIMETRES = 1e3
UV_LEFT, UV_WIDTH = 0.505, 0.48
UV_TOP, UV_HEIGHT = 0.2745, 0.0045


def mean_frame() -> Frame:
    """The frame that the head's file holds."""
    return Frame(
        lens_centre=np.array([0.0325, -0.002, 0.031]),
        half_width_m=0.025,
        half_height_m=0.019,
        squareness=2.6,
        thickness_m=0.0013,
        bridge_lift_m=0.004,
        ear=np.array([0.076, 0.004, -0.068]),
        is_dark=True,
    )


def add_glasses(half: HalfMesh) -> None:
    """Add the left half: rim, bridge and arm as closed tubes, the lens as a closed plate."""
    points = MILLIMETRES * left_half(mean_frame()) + anatomy.EYE_CENTRE * [0.0, 1.0, 1.0]
    points[NUM_RIM + NUM_BRIDGE - NUM_SECTION : NUM_RIM + NUM_BRIDGE, 0] = 0.0
    ids = half.add_points("glasses", points)
    rim, bridge, arm, lens = np.split(ids, np.cumsum([NUM_RIM, NUM_BRIDGE, NUM_ARM]))
    sections = rim.reshape(NUM_OUTLINE, NUM_SECTION)
    pieces = _tube([*sections, sections[0]])
    pieces += [*_tube(list(bridge.reshape(-1, NUM_SECTION))), _cap(bridge[:NUM_SECTION])]
    arm_sections = list(arm.reshape(-1, NUM_SECTION))
    pieces += [*_tube(arm_sections), _cap(arm_sections[0]), _cap(arm_sections[-1])]
    front, back = lens[: NUM_LENS // 2], lens[NUM_LENS // 2 :]
    for side in (front, back):
        ring = np.r_[side[:-1], side[:1]]
        pieces.append(np.stack([ring[:-1], ring[1:], np.full(NUM_OUTLINE, side[-1])], 1))
    pieces.append(strip(front[:-1], back[:-1], is_closed=True))
    triangles = np.concatenate(pieces).astype(np.int32)
    uv = cells(len(triangles), UV_LEFT, UV_WIDTH, UV_TOP, UV_HEIGHT)
    half.add_triangles(triangles, uv, GLASSES, "glasses")


def _tube(sections: list[Ints]) -> list[Ints]:
    return [strip(a, b, is_closed=True) for a, b in itertools.pairwise(sections)]


def _cap(section: Ints) -> Ints:
    a, b, c, d = section
    return np.array([[a, b, c], [a, c, d]], np.int32)
