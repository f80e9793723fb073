"""Light of hair, some fragments at a time: the cone of Kajiya and Kay (1989), in two lobes."""

from __future__ import annotations

import numpy as np

from workers.generators.builtin import shading_inputs as code
from workers.generators.builtin.shading_inputs import HairLook, Int8Array, Lights, Triple
from workers.generators.builtin.shading_terms import (
    F,
    mixed,
    smooth_step,
    towards_camera,
    unit,
    wave,
    wrapped,
)
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

CHUNK = 128
TILE = 512  # side of the strands' texture
TEXELS_PER_M = 1800.0  # along a strand
TEXELS_PER_RAD = 4.0 * TILE / (2.0 * np.pi)  # around the crown
LOCKS_PER_TEXEL = 0.3

# Planes of a chunk: the columns of a fragment's values up to 23, then what the texture says.
NUM_COLUMNS = 24
STRAND, GREYNESS, ACROSS, ALONG, NUM_PLANES = 24, 25, 26, 27, 28


@compiled
def shade_hair(
    num: int,
    values: Float32Array,
    material: UInt8Array,
    axes: Float64Array,
    lights: Lights,
    hair: HairLook,
    strands: Int8Array,
    rgb: Float32Array,
) -> None:
    """Write the colours of all fragments of hair."""
    members = np.empty(CHUNK, np.int64)
    room = np.zeros(NUM_PLANES * CHUNK, np.float32)
    place = np.empty(CHUNK, np.int32)
    texels = strands.reshape(TILE * TILE, 2)
    first = 0
    while first < num:
        count = 0
        while first < num and count < CHUNK:
            if material[first] == code.HAIR:
                members[count] = first
                count += 1
            first += 1
        for j in range(count):
            n = np.uint32(members[j])
            for k in range(NUM_COLUMNS):
                room[k * CHUNK + np.uint32(j)] = values[n, k]
        _follow_strands(count, hair, texels, place, room)
        _light_hair(axes, lights, hair, room)
        for j in range(count):
            for c in range(3):
                rgb[members[j], c] = room[c * CHUNK + j]


@compiled
def _follow_strands(
    count: int, hair: HairLook, texels: Int8Array, place: Int32Array, room: Float32Array
) -> None:
    """Which strand each fragment lies on: its brightness and whether it is grey."""
    x, y, z = F(hair.crown[0]), F(hair.crown[1]), F(hair.crown[2])
    start, first_strand = F(hair.offset_along), F(hair.offset_across)
    curl, turns = F(hair.curl), F(hair.wave)
    mask = np.int32(TILE - 1)
    for j in range(CHUNK):
        fx, fy = room[17 * CHUNK + j] - x, room[18 * CHUNK + j] - y
        fz = room[19 * CHUNK + j] - z
        along = np.sqrt(fx * fx + fy * fy + fz * fz) * F(TEXELS_PER_M) + start
        across = _angle(fx, fz) * F(TEXELS_PER_RAD) + first_strand
        room[17 * CHUNK + j], room[18 * CHUNK + j], room[19 * CHUNK + j] = fx, fy, fz
        room[ALONG * CHUNK + j], room[ACROSS * CHUNK + j] = along, across
        place[j] = np.int32(np.floor(F(LOCKS_PER_TEXEL) * across)) & mask
    for j in range(count):
        room[STRAND * CHUNK + j] = F(texels[np.uint32(place[j]), 1])
    for j in range(CHUNK):
        along, lock = room[ALONG * CHUNK + j], room[STRAND * CHUNK + j] * F(1.0 / 32.0)
        across = room[ACROSS * CHUNK + j] + curl * wave(along * turns + F(0.35) * lock)
        row, column = np.int32(along) & mask, np.int32(np.floor(across)) & mask
        place[j] = row * np.int32(TILE) + column
    for j in range(count):
        at = np.uint32(place[j])
        room[STRAND * CHUNK + j] = F(texels[at, 0])
        room[GREYNESS * CHUNK + j] = F(texels[at, 1])


@inlined
def _angle(x: float, z: float) -> float:
    """Angle of (x, z) from the z axis, radians from -pi to pi, within 1e-4.

    Source: Abramowitz and Stegun, 4.4.49, the first terms of arctan on [0, 1].
    """
    a, b = abs(x), abs(z)
    t = min(a, b) / max(a, b, F(1e-12))
    s = t * t
    angle = t * (
        F(0.9998660)
        + s * (F(-0.3302995) + s * (F(0.1801410) + s * (F(-0.0851330) + s * F(0.0208351))))
    )
    angle = F(0.5 * np.pi) - angle if a > b else angle
    angle = F(np.pi) - angle if z < F(0.0) else angle
    return -angle if x < F(0.0) else angle


@compiled
def _light_hair(axes: Float64Array, lights: Lights, hair: HairLook, room: Float32Array) -> None:
    """Colours of a chunk, over its first three planes."""
    xx, xy, xz = F(axes[0, 0]), F(axes[0, 1]), F(axes[0, 2])
    yx, yy, yz = F(axes[1, 0]), F(axes[1, 1]), F(axes[1, 2])
    zx, zy, zz = F(axes[2, 0]), F(axes[2, 1]), F(axes[2, 2])
    key = (F(lights.key[0]), F(lights.key[1]), F(lights.key[2]))
    key_rgb = (F(lights.key_rgb[0]), F(lights.key_rgb[1]), F(lights.key_rgb[2]))
    grey_rgb = (F(hair.grey_rgb[0]), F(hair.grey_rgb[1]), F(hair.grey_rgb[2]))
    share, contrast, gloss = F(hair.grey_share), F(hair.contrast / 32.0), F(hair.gloss)
    spread = F(0.8 * hair.grey_share * (1.0 - hair.grey_share) / 32.0)
    for j in range(CHUNK):
        n = unit(room[j], room[CHUNK + j], room[2 * CHUNK + j])
        fx, fy, fz = room[17 * CHUNK + j], room[18 * CHUNK + j], room[19 * CHUNK + j]
        strand = room[STRAND * CHUNK + j]
        grey = min(max(share + spread * room[GREYNESS * CHUNK + j], F(0.0)), F(1.0))
        shade = max(F(1.0) + contrast * strand, F(0.15))
        base = (room[8 * CHUNK + j], room[9 * CHUNK + j], room[10 * CHUNK + j])
        colour = mixed(base, grey_rgb, grey)
        colour = (colour[0] * shade, colour[1] * shade, colour[2] * shade)
        t = unit(
            xx * fx + xy * fy + xz * fz, yx * fx + yy * fy + yz * fz, zx * fx + zy * fy + zz * fz
        )
        # Onto the surface, and a little up or down with the strand.
        lift = F(0.10 / 32.0) * strand - (t[0] * n[0] + t[1] * n[1] + t[2] * n[2])
        room[j], room[CHUNK + j], room[2 * CHUNK + j] = _hair_light(
            key,
            key_rgb,
            colour,
            n,
            unit(t[0] + lift * n[0], t[1] + lift * n[1], t[2] + lift * n[2]),
            towards_camera(room[22 * CHUNK + j], room[23 * CHUNK + j]),
            (room[3 * CHUNK + j], room[4 * CHUNK + j], room[5 * CHUNK + j]),
            room[6 * CHUNK + j],
            gloss,
        )


@inlined
def _hair_light(
    key: Triple,
    rgb: Triple,
    colour: Triple,
    n: Triple,
    t: Triple,
    view: Triple,
    ambient: Triple,
    lit: float,
    gloss: float,
) -> Triple:
    facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
    h = unit(key[0] + view[0], key[1] + view[1], key[2] + view[2])
    cosine = t[0] * h[0] + t[1] * h[1] + t[2] * h[2]
    wide = max(F(1.0) - cosine * cosine, F(0.0))
    wide = wide * wide
    wide = wide * wide
    wide = wide * wide
    gate = gloss * smooth_step(F(-0.15), F(0.45), facing) * lit
    diffuse = F(0.35) * wrapped(facing, F(0.3), F(1.0 / 1.3)) + F(0.65) * max(facing, F(0.0))
    diffuse *= lit
    white = F(0.05) * wide * wide * wide * wide * gate
    tinted = diffuse + F(0.55) * wide * gate
    glow = F(0.012)
    return (
        colour[0] * (ambient[0] + rgb[0] * tinted) + rgb[0] * white + glow * ambient[0],
        colour[1] * (ambient[1] + rgb[1] * tinted) + rgb[1] * white + glow * ambient[1],
        colour[2] * (ambient[2] + rgb[2] * tinted) + rgb[2] * white + glow * ambient[2],
    )
