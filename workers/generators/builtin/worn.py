"""What a head may wear: beard, hat and glasses, put where this face has them or folded away.

Their vertices are always part of the mesh. What is not worn is folded into one point inside the
head: its triangles have no area and no pixel sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from synthforge.conventions import CLASS_IDS
from synthforge.truths import GROWN_FROM
from workers.generators.builtin.eyewear import NUM_LENS, Frame, left_half
from workers.generators.builtin.fields import smoothstep
from workers.generators.builtin.worn_layout import (
    BEARD_COLUMNS,
    BEARD_RINGS,
    BRIM_COLUMNS,
    BRIM_ROWS,
    HAT_COLUMNS,
    HAT_RINGS,
)
from workers.types import FaceParams, Float32Array, Float64Array, Int32Array, Topology

GLASSES_FROM: Final = 0.5
DARK_FROM: Final = 0.5
HAT_FROM, CAP_FROM = 0.25, 0.75
GOATEE_SHARE: Final = 0.3  # of those who grow a beard
COVERED_HAIR: Final = 0.3  # share of its thickness that hair keeps under a hat
INNER_DEPTH_M: Final = 0.001  # of the beard's inner layer below the skin at rest
_SUNK_M: Final = 0.002  # further down when worn: its faces cut short where the skin is hollow
HAT_INNER_DEPTH_M: Final = 0.002
_HIDDEN_M: Final = -0.0005  # of the outer layer where nothing grows, before it sinks too
_BARE_SINKS: Final = 0.6  # share of that where nothing grows at the lips: further, into the mouth
_SINKS_BELOW_M: Final = 0.0024  # of height
_HAT_REACH_M: Final = 0.03  # hair nearer than this to the skull below the hat is covered by it
_TUFTS: Final = 0.04  # of a beard's height: more, and its triangles lie 10 degrees off its normals
_FIRST_INNER: Final = 17
_EYE_CORNERS: Final = (36, 39, 42, 45)


@dataclass(frozen=True)
class WornParts:
    """Vertices of the parts, left half and right half in the same order.

    Attributes:
        beard_outer: (2, B); beard_inner too.
        hat_outer: (2, H); hat_inner too.
        brim: (2, R).
        glasses: (2, G).
        ears: (2, 3) three vertices at the top of each ear, left and right.
    """

    beard_outer: Int32Array
    beard_inner: Int32Array
    hat_outer: Int32Array
    hat_inner: Int32Array
    brim: Int32Array
    glasses: Int32Array
    ears: Int32Array

    @property
    def vertices(self) -> Int32Array:
        """All of them, each once."""
        parts = (
            self.beard_outer, self.beard_inner, self.hat_outer, self.hat_inner, self.brim,
            self.glasses,
        )  # fmt: skip
        return np.unique(np.concatenate([part.ravel() for part in parts]))


def worn_parts(topology: Topology, rest: Float64Array) -> WornParts | None:
    """Find the parts in a mesh; None where it has none.

    Args:
        topology: parts named `beard`, `headwear`, `glasses`.
        rest: (V, 3) metres.
    """
    if not {"beard", "headwear", "glasses"} <= set(topology.part_names):
        return None
    beard, hat, glasses = (halves(topology, name) for name in ("beard", "headwear", "glasses"))
    num_beard = BEARD_COLUMNS * len(BEARD_RINGS)
    num_hat = HAT_COLUMNS * len(HAT_RINGS) + 1
    check_size("beard", beard.shape[1], 2 * num_beard)
    check_size("headwear", hat.shape[1], 2 * num_hat + 2 * BRIM_COLUMNS * BRIM_ROWS)
    return WornParts(
        beard_outer=beard[:, :num_beard],
        beard_inner=beard[:, num_beard:],
        hat_outer=hat[:, :num_hat],
        hat_inner=hat[:, num_hat : 2 * num_hat],
        brim=hat[:, 2 * num_hat :],
        glasses=glasses,
        ears=_ear_tops(topology, rest),
    )


def check_size(name: str, num_vertices: int, expected: int) -> None:
    """Refuse a part whose half has another number of vertices than `worn_layout` gives it.

    Raises:
        ValueError: it has.
    """
    if num_vertices != expected:
        raise ValueError(
            f"head.npz: part {name!r} has {num_vertices} vertices a half, not {expected}: "
            "`python -m tools.build_head` writes it anew"
        )


def halves(topology: Topology, name: str) -> Int32Array:
    """Return (2, N) vertices of a part as `worn_layout` lists them, left half and right half."""
    part = topology.face_part == topology.part_names.index(name)
    vertices = np.unique(topology.faces[part])
    left = vertices[topology.mirror[vertices] >= vertices]
    return np.stack([left, topology.mirror[left]]).astype(np.int32)


def _ear_tops(topology: Topology, rest: Float64Array) -> Int32Array:
    ear = np.unique(topology.faces[topology.face_region == CLASS_IDS["left_ear"]])
    top = ear[np.argsort(-rest[ear, 1], kind="stable")[:3]]
    return np.stack([top, topology.mirror[top]]).astype(np.int32)


def wears_hat(params: FaceParams) -> bool:
    """Tell whether a face wears a hat or a cap."""
    return params.scalars["appearance.headwear"] >= HAT_FROM


def wears_glasses(params: FaceParams) -> bool:
    """Tell whether a face wears glasses."""
    return params.scalars["appearance.glasses"] >= GLASSES_FROM


def has_beard(params: FaceParams) -> bool:
    """Tell whether a face has a beard or a moustache."""
    scalars = params.scalars
    return max(scalars["appearance.beard"], scalars["appearance.moustache"]) >= GROWN_FROM


def has_goatee(params: FaceParams) -> bool:
    """Tell whether a face's beard, if it grows one, leaves the cheeks bare."""
    return bool(params.streams.identity_uniforms("appearance.beard_style", 8)[0] < GOATEE_SHARE)


def covered_hair(parts: WornParts | None, rest: Float64Array, hair: Int32Array) -> Float64Array:
    """Return (N,) 1 for hair that a hat would cover, 0 for hair below its edge.

    Args:
        parts: of the head.
        rest: (V, 3) metres.
        hair: (N,) vertices.
    """
    if parts is None:
        return np.zeros(len(hair))
    inner = parts.hat_inner.ravel()
    rings = np.append(np.repeat(HAT_RINGS, HAT_COLUMNS), 0.0)
    along = np.tile(rings, 2)
    gaps = ((rest[hair][:, None] - rest[inner][None]) ** 2).sum(-1)
    nearest = gaps.argmin(1)
    is_near = gaps[np.arange(len(hair)), nearest] < _HAT_REACH_M**2
    return np.where(is_near & (along[nearest] < 1.0), 1.0, 0.0)


def dress(
    params: FaceParams,
    parts: WornParts,
    topology: Topology,
    vertices: Float32Array,
    head_turn: Float64Array,
) -> None:
    """Put on what a face wears and fold the rest away, in place.

    Args:
        params: of the face.
        parts: of the head.
        topology: its faces and landmarks.
        vertices: (V, 3) posed, world metres; changed.
        head_turn: (3, 3) rotation of the head in the world.
    """
    posed = vertices.astype(np.float64)
    inside = posed[parts.hat_inner[0, -1]] - head_turn @ [0.0, 0.08, 0.0]
    if has_beard(params):
        off = _outward(posed, parts.beard_outer, parts.beard_inner)
        shape = beard_shape(params)
        vertices[parts.beard_outer] = _beard(shape, posed[parts.beard_inner], off, head_turn)
        vertices[parts.beard_inner] = posed[parts.beard_inner] - shape.sunk[..., None] * off
    else:
        vertices[parts.beard_outer] = vertices[parts.beard_inner] = inside
    if wears_hat(params):
        vertices[parts.hat_outer] = _hat(params, parts, posed)
        if params.scalars["appearance.headwear"] < CAP_FROM:
            vertices[parts.brim] = inside
    else:
        vertices[parts.hat_outer] = vertices[parts.hat_inner] = vertices[parts.brim] = inside
    if wears_glasses(params):
        vertices[parts.glasses] = _glasses(params, parts, topology, posed, head_turn)
    else:
        vertices[parts.glasses] = inside


def _outward(posed: Float64Array, outer: Int32Array, inner: Int32Array) -> Float64Array:
    """(2, N, 3) unit vectors off the skin."""
    away = posed[outer] - posed[inner]
    return np.asarray(away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-9))


class BeardShape(NamedTuple):
    """A beard's layers, metres.

    Attributes:
        height: (2, B) of the outer one off the skin.
        fall: (2, B) how far hair hangs below.
        sunk: (2, B) how far the inner one goes further below the skin than at rest.
    """

    height: Float64Array
    fall: Float64Array
    sunk: Float64Array


def _beard(
    shape: BeardShape, skin: Float64Array, off: Float64Array, head_turn: Float64Array
) -> Float64Array:
    """(2, B, 3) the outer layer over the inner one at rest, `skin`; `off` is outward."""
    down = -head_turn[:, 1]
    stand = (INNER_DEPTH_M + shape.height)[..., None] * off
    return np.asarray(skin + stand + shape.fall[..., None] * down)


def beard_shape(params: FaceParams) -> BeardShape:
    """Return the layers of a beard or a moustache.

    The style is the identity's: how far up the cheeks, how wide around the chin, how long.
    """
    length, moustache = (params.scalars[f"appearance.{n}"] for n in ("beard", "moustache"))
    u = params.streams.identity_uniforms("appearance.beard_style", 8)
    column = np.repeat(np.linspace(0.0, 1.0, BEARD_COLUMNS), len(BEARD_RINGS))
    ring = np.tile(BEARD_RINGS, BEARD_COLUMNS)
    lip = 1.0 - smoothstep(0.17, 0.26, column)
    chin = smoothstep(0.62, 0.86, column)
    is_goatee = has_goatee(params)
    cheeks = 0.0 if is_goatee else 1.0
    reach = _beard_reach(column, u[1], is_goatee=is_goatee)
    soft = smoothstep(0.0, 0.25, ring) * (1.0 - smoothstep(0.35, 1.0, ring / reach))
    beside = smoothstep(0.46, 0.6, column) if is_goatee else smoothstep(0.5, 0.7, column)
    under = 1.0 - lip if moustache >= GROWN_FROM else beside
    grown = lip * _grown(moustache) * (0.75 + 0.25 * u[2])
    grown = grown + under * np.maximum(cheeks, smoothstep(0.55, 0.7, column)) * (
        _grown(length) * (0.7 + 0.9 * chin)
    )
    wild = params.streams.of_identity("appearance.beard_tufts").standard_normal((2, len(column)))
    is_middle = (column == 0.0) | (column == 1.0)
    wild[1, is_middle] = wild[0, is_middle]  # both halves have these vertices in common
    height = grown * soft * (1.0 + _TUFTS * np.clip(wild, -2.0, 2.0))
    hang = max(length - 0.45, 0.0) / 0.55 * 0.06 * u[3]
    fall = hang * chin * np.sin(np.pi * np.clip(ring, 0.0, 1.0)) * soft
    thin = np.clip(1.0 - height / _SINKS_BELOW_M, 0.0, 1.0)  # at its edge it sinks into the skin
    sunk = _SUNK_M * np.maximum(smoothstep(0.1, 0.4, ring), _BARE_SINKS * (grown <= 0.0))
    sunk = np.tile(sunk, (2, 1))
    return BeardShape(height + thin * (_HIDDEN_M - sunk), fall * (1.0 - thin), sunk)


def _beard_reach(column: Float64Array, full: float, *, is_goatee: bool) -> Float64Array:
    """Return (B,) the ring at which hair ends: a moustache narrows towards the mouth's corner, and
    the cheek's line falls from the sideburn in a hollow curve. Where it ended in steps, horns
    stood on the cheeks.

    Args:
        column: (B,) 0 under the nose, 1 under the chin.
        full: 0 a narrow style, 1 a full one.
        is_goatee: the cheeks are bare.
    """
    if is_goatee:
        columns = [0.0, 0.13, 0.3, 0.55, 0.6]
        return np.interp(column, columns, [1.2, 1.1, 0.3, 0.3, 0.5 + 0.3 * full])
    cheek = 0.35 + 0.25 * full
    columns = [0.0, 0.13, 0.3, 0.4, 0.5, 0.56, 0.63, 0.7, 0.78]
    reaches = [1.2, 1.1, 0.4, cheek, cheek, cheek + 0.05, 0.62, 0.85, 1.0]
    return np.interp(column, columns, reaches)


def _grown(length: float) -> float:
    """Height of hair of a length of 0 to 1, metres."""
    return 0.0 if length < GROWN_FROM else 0.002 + 0.008 * length


def _hat(params: FaceParams, parts: WornParts, posed: Float64Array) -> Float64Array:
    """(2, H, 3) the outer layer: a knit hat is thicker, and higher at its crown."""
    u = params.streams.identity_uniforms("appearance.headwear_style", 3)
    is_cap = params.scalars["appearance.headwear"] >= CAP_FROM
    along = np.append(np.repeat(HAT_RINGS, HAT_COLUMNS), 0.0)
    edge = smoothstep(0.6, 1.0, along)
    full = 0.012 + 0.006 * u[0] if is_cap else 0.013 + 0.014 * u[0]
    height = full * (1.0 - edge) + (0.006 + 0.003 * u[1]) * edge
    off = _outward(posed, parts.hat_outer, parts.hat_inner)
    return np.asarray(posed[parts.hat_inner] + (HAT_INNER_DEPTH_M + height)[:, None] * off)


def _glasses(
    params: FaceParams,
    parts: WornParts,
    topology: Topology,
    posed: Float64Array,
    head_turn: Float64Array,
) -> Float64Array:
    """(2, G, 3) both halves, fitted to eyes, nose and ears."""
    embedding = topology.landmarks
    corners = posed[topology.faces[embedding.landmark_face]]
    marks = (corners * embedding.landmark_bary[..., None]).sum(1)
    eyes = marks[[k - _FIRST_INNER for k in _EYE_CORNERS]]
    middle = eyes.mean(0)
    local = (marks - middle) @ head_turn
    ears = (posed[parts.ears].mean(1) - middle) @ head_turn
    mirror = np.array([-1.0, 1.0, 1.0])
    half = left_half(_frame(params, local, 0.5 * (ears[0] + ears[1] * mirror)))
    both = np.stack([half, half * mirror])
    return np.asarray(both @ head_turn.T + middle)


def _frame(params: FaceParams, marks: Float64Array, ear: Float64Array) -> Frame:
    """Return the frame of an identity; `marks` (51, 3) and `ear` (3,) in the frame's local axes."""
    u = params.streams.identity_uniforms("appearance.glasses_style", 7)
    span = 0.5 * float(marks[45 - _FIRST_INNER, 0] - marks[36 - _FIRST_INNER, 0])
    bridge = marks[27 - _FIRST_INNER]
    half_width = span * (0.52 + 0.10 * u[0])
    thickness = 0.0007 + 0.0018 * u[3] ** 2
    return Frame(
        lens_centre=np.array(
            [max(0.72 * span, half_width + 0.007 + thickness), -0.003, bridge[2] + 0.007]
        ),
        half_width_m=half_width,
        half_height_m=half_width * (0.62 + 0.38 * u[1]),
        squareness=2.0 + 3.5 * u[2] ** 1.5,
        thickness_m=thickness,
        bridge_lift_m=0.001 + 0.004 * u[4],
        ear=ear + np.array([-0.002, 0.001, 0.0]),
        is_dark=params.scalars["appearance.lens_tint"] >= DARK_FROM,
    )


def lens_vertices(parts: WornParts) -> Int32Array:
    """Return the vertices of both lenses."""
    return parts.glasses[:, -NUM_LENS:].ravel()
