"""Cuts of hair: where each vertex of the hair's shell goes for a length, from bald to long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthforge.truths import BALD_BELOW
from workers.closest import Surface
from workers.generators.builtin.fields import smoothstep
from workers.generators.builtin.worn import (
    COVERED_HAIR,
    WornParts,
    check_size,
    covered_hair,
    halves,
    wears_hat,
)
from workers.generators.builtin.worn_layout import HAIR_COLUMNS, HAIR_RINGS
from workers.types import FaceParams, Float32Array, Float64Array, Int32Array, Topology

LONG_FROM = 0.55  # above this hair falls below the hairline
LONGEST_FALL_M = 0.15
LEVEL_FROM = 0.75  # above this long hair ends at one height all around, not along the hairline
UNEVEN_SHARE = 0.04  # of the fall, by which locks end higher or lower
SPREAD_M = 0.016  # by which long hair stands off further than a cap of it
THICKNESS_M = 0.012  # of long hair at its ends
ROUNDED_M = 0.012  # by which its front edge turns in
CLEAR_AFTER_M = 0.01  # of fall
INSIDE_SHARE = 0.5  # of the fall, that closes it from below
# Off the skin, at the crown and below: the shell's faces cut short where the skull is round, and
# those at the crown are long.
LEAST_STAND_M = (0.0065, 0.0025)
_NUM_LEVELS = 32  # heights at which its width is taken
_SMOOTHED = 4  # columns on either side of one, over which long hair hangs in one curve


@dataclass(frozen=True)
class HairShell:
    """The hair part of a head at rest.

    Attributes:
        vertices: (H,) indices of the hair's vertices in the mesh: rings of `num_around` from the
            crown to the hairline, then the crown and the point inside the skull that closes it.
        num_around: columns, once around the head.
        root_corners: (H, 3) corners of the skin's face that each is nearest to.
        root_bary: (H, 3) their shares of the nearest point.
        around: (H,) 0 at the front of the head to 1 behind.
        along: (H,) height, 0 at the crown to 1 at the hair's lowest point.
        descent: (H,) ring, 0 at the crown to 1 at the hairline.
        above_nape: (H,) metres from the hairline of its column down to the hair's lowest point.
        covered: (H,) 1 where a hat would cover it.
    """

    vertices: Int32Array
    num_around: int
    root_corners: Int32Array
    root_bary: Float64Array
    around: Float64Array
    along: Float64Array
    descent: Float64Array
    above_nape: Float64Array
    covered: Float64Array


def hair_shell(
    topology: Topology, rest: Float64Array, is_skin: Float32Array, worn: WornParts | None
) -> HairShell | None:
    """Measure the hair part of a head at rest; None where it has none.

    Args:
        topology: with a part named `hair`.
        rest: (V, 3) metres.
        is_skin: (V,) 1 on skin.
        worn: the parts that the head may wear.

    Raises:
        ValueError: the part is not laid out as `worn_layout` says.
    """
    if "hair" not in topology.part_names:
        return None
    left, right = halves(topology, "hair")
    num_ringed = HAIR_COLUMNS * len(HAIR_RINGS)
    check_size("hair", len(left), num_ringed + 2)
    to_back, to_front = (
        half[:num_ringed].reshape(len(HAIR_RINGS), HAIR_COLUMNS) for half in (left, right)
    )
    rings = np.concatenate([to_back, to_front[:, -2:0:-1]], axis=1)
    vertices = np.append(rings, left[num_ringed:]).astype(np.int32)
    points = rest[vertices]
    skin = topology.faces[(is_skin[topology.faces] > 0).all(1)]
    root = Surface(rest, skin).closest(points)
    height, num_around = points[:, 1], rings.shape[1]
    lowest, top = float(height.min()), float(height.max())
    turn = np.abs(np.linspace(0.0, 2.0, num_around, endpoint=False) - 1.0)
    above_nape = rest[rings[-1], 1] - lowest
    return HairShell(
        vertices=vertices,
        num_around=num_around,
        root_corners=skin[root.face],
        root_bary=root.bary,
        around=_of_each(1.0 - turn),
        along=(top - height) / (top - lowest),
        descent=np.append(np.repeat(HAIR_RINGS, num_around), [0.0, 0.0]),
        above_nape=_of_each(above_nape),
        covered=covered_hair(worn, rest, vertices),
    )


def _of_each(of_column: Float64Array) -> Float64Array:
    """Return (H,) what columns have, and 0 for the crown and the point inside."""
    return np.append(np.tile(of_column, len(HAIR_RINGS)), [0.0, 0.0])


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
    if length > LONG_FROM:
        _let_fall(length, u, shell, cut, up)
    return np.asarray(cut, np.float32)


def _let_fall(
    length: float, u: Float64Array, shell: HairShell, hair: Float64Array, up: Float64Array
) -> None:
    """Hang long hair from where it leaves the skull, in place.

    It parts at the temples at once: where it grew longer over a few columns, its edge stood beside
    the face as a pointed slab. Around the head it hangs in one smooth curve, not in the hairline's.

    Args:
        length: of `LONG_FROM` to 1.
        u: (5,) numbers of the identity's cut, 0 to 1.
        shell: of the head at rest.
        hair: (H, 3) a cap of it, world metres; changed.
        up: (3,) the posed head's upward direction.
    """
    parting = 0.24 + 0.08 * u[4]
    beside = smoothstep(parting, parting + 0.03, shell.around)
    leaves = beside * np.clip((shell.descent - 0.4) / 0.6, 0.0, 1.0) ** 2
    grown, level = (
        float(smoothstep(LONG_FROM, full, np.full(1, length))[0]) for full in (1.0, LEVEL_FROM)
    )
    fall = grown * LONGEST_FALL_M * (0.5 + 0.5 * u[2])
    locks = np.sin(20.0 * shell.around + 6.3 * u[3]) + np.sin(31.0 * shell.around + 6.3 * u[4])
    hang = leaves * (level * shell.above_nape + fall * (1.0 + UNEVEN_SHARE * locks))
    hang[-1] = INSIDE_SHARE * fall
    away = hair - hair.mean(0)
    height = away @ up
    away -= height[:, None] * up
    reach = np.linalg.norm(away, axis=1)
    width = _width(reach, height, height - hang, shell.num_around)
    width += SPREAD_M * np.minimum(hang / 0.05, 1.0)
    behind = smoothstep(parting, parting + 0.2, shell.around)  # in front it ends thin
    width -= THICKNESS_M * ((0.1 + 0.9 * behind) * smoothstep(0.9, 1.0, shell.descent))
    width -= ROUNDED_M * (1.0 - behind)
    further = np.minimum(hang / CLEAR_AFTER_M, 1.0) * np.maximum(width - reach, 0.0)
    hair += (further / np.maximum(reach, 1e-6))[:, None] * away - hang[:, None] * up


def _width(
    reach: Float64Array, height: Float64Array, hung: Float64Array, num_around: int
) -> Float64Array:
    """Return (H,) metres off the head's axis at which hair that hangs down to `hung` is clear of
    the cap: as wide as the widest of its column above.

    Args:
        reach: (H,) metres off the axis of the cap's vertices.
        height: (H,) of these along the axis.
        hung: (H,) heights asked for.
        num_around: columns.
    """
    rings = reach[:-2].reshape(-1, num_around)
    widest = np.maximum.accumulate(rings, axis=0)
    below = -height[:-2].reshape(-1, num_around)
    levels = np.linspace(below.min(), below.max(), _NUM_LEVELS)
    columns = zip(below.T, widest.T, strict=True)
    profile = _smoothed(np.stack([np.interp(levels, *column) for column in columns]))
    at = (-hung[:-2] - levels[0]) / (levels[1] - levels[0])
    at = np.clip(at.reshape(-1, num_around), 0.0, _NUM_LEVELS - 1.001)
    level, share = at.astype(np.int64), at % 1.0
    column = np.arange(num_around)
    lower, upper = profile[column, level], profile[column, level + 1]
    return np.append(lower + share * (upper - lower), [0.0, 0.0])


def _smoothed(of_column: Float64Array) -> Float64Array:
    """Return (C, ...) means over neighbours once around, weighed as a triangle."""
    steps = range(-_SMOOTHED, _SMOOTHED + 1)
    weights = [_SMOOTHED + 1 - abs(step) for step in steps]
    rolled = (w * np.roll(of_column, k, axis=0) for w, k in zip(weights, steps, strict=True))
    return np.asarray(sum(rolled) / sum(weights))
