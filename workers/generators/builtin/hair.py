"""Cuts of hair: where each vertex of the hair's shell goes for a length, from bald to long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthforge.truths import BALD_BELOW
from workers.closest import Surface
from workers.generators.builtin.fields import smoothstep
from workers.generators.builtin.worn import COVERED_HAIR, WornParts, covered_hair, wears_hat
from workers.types import FaceParams, Float32Array, Float64Array, Int32Array, UInt8Array

LONG_FROM = 0.55  # above this hair falls below the hairline
LONGEST_FALL_M = 0.15
# Off the skin, at the crown and below: the shell's faces cut short where the skull is round, and
# those at the crown are long.
LEAST_STAND_M = (0.0065, 0.0025)


@dataclass(frozen=True)
class HairShell:
    """The hair part of a head at rest.

    Attributes:
        vertices: (H,) indices of the hair's vertices in the mesh.
        root_corners: (H, 3) corners of the skin's face that each is nearest to.
        root_bary: (H, 3) their shares of the nearest point.
        around: (H,) 0 at the front of the head to 1 behind, measured about the crown.
        along: (H,) 0 at the crown to 1 at the hair's border.
        covered: (H,) 1 where a hat would cover it.
    """

    vertices: Int32Array
    root_corners: Int32Array
    root_bary: Float64Array
    around: Float64Array
    along: Float64Array
    covered: Float64Array


def hair_shell(
    rest: Float64Array,
    faces: Int32Array,
    is_hair_face: UInt8Array,
    is_skin: Float32Array,
    worn: WornParts | None,
) -> HairShell:
    """Measure the hair part of a head at rest.

    Args:
        rest: (V, 3) metres.
        faces: (F, 3).
        is_hair_face: (F,) of the hair's class.
        is_skin: (V,) 1 on skin.
        worn: the parts that the head may wear.
    """
    vertices = np.unique(faces[is_hair_face > 0]).astype(np.int32)
    points = rest[vertices]
    if not len(vertices):
        nothing = np.zeros(0)
        return HairShell(
            vertices, np.zeros((0, 3), np.int32), np.zeros((0, 3)), nothing, nothing, nothing
        )
    skin = faces[(is_skin[faces] > 0).all(1)]
    root = Surface(rest, skin).closest(points)
    top = points[:, 1].max()
    middle_z = 0.5 * (points[:, 2].max() + points[:, 2].min())
    around = np.abs(np.arctan2(points[:, 0], points[:, 2] - middle_z)) / np.pi
    along = (top - points[:, 1]) / max(float(top - points[:, 1].min()), 1e-6)
    covered = covered_hair(worn, rest, vertices)
    return HairShell(vertices, skin[root.face], root.bary, around, along, covered)


def cut_hair(
    params: FaceParams, shell: HairShell, vertices: Float32Array, up: Float64Array
) -> Float32Array:
    """Return (H, 3) posed positions of the hair's vertices for a face's length of hair.

    Args:
        params: of the face.
        shell: of the head at rest.
        vertices: (V, 3) posed, world metres.
        up: (3,) the posed head's upward direction.
    """
    posed = vertices[shell.vertices].astype(np.float64)
    length = params.scalars["appearance.hair_length"]
    if length < BALD_BELOW:
        inside = 0.5 * (posed.max(0) + posed.min(0)) - 0.04 * up
        return np.broadcast_to(inside, posed.shape).astype(np.float32)
    roots = (vertices[shell.root_corners] * shell.root_bary[..., None]).sum(1)
    u = params.streams.identity_uniforms("appearance.hair_cut", 5)
    # Short hair lies close; sides are cut shorter than the top.
    closeness = 0.12 + 0.88 * smoothstep(BALD_BELOW, 0.5, np.full(1, length))[0]
    side = smoothstep(0.15, 0.45, shell.around) * smoothstep(0.25, 0.7, shell.along)
    gain = closeness * (0.75 + 0.6 * u[0]) * (1.0 - (0.75 * u[1] * (1.0 - length)) * side)
    if wears_hat(params):
        gain = gain * (1.0 - (1.0 - COVERED_HAIR) * shell.covered)
    at_crown = 1.0 - smoothstep(0.03, 0.2, shell.along)
    least = LEAST_STAND_M[1] + (LEAST_STAND_M[0] - LEAST_STAND_M[1]) * at_crown
    away = np.maximum(np.linalg.norm(posed - roots, axis=1), 1e-9)
    gain = np.maximum(gain, np.minimum(least / away, 1.0))
    cut = roots + (posed - roots) * gain[:, None]
    fall = smoothstep(LONG_FROM, 1.0, np.full(1, length))[0] * LONGEST_FALL_M * (0.5 + 0.5 * u[2])
    hang = fall * smoothstep(0.22, 0.36, shell.around) * smoothstep(0.35, 1.0, shell.along)
    outward = posed - posed.mean(0)
    outward -= (outward @ up)[:, None] * up
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    spread = 0.016 * np.minimum(hang / 0.05, 1.0)
    return np.asarray(cut - hang[:, None] * up + spread[:, None] * outward, dtype=np.float32)
