"""Light of skin, brows and lips, some fragments at a time.

First what the maps say of each fragment, then the arithmetic of all in vectors. The light:

* diffuse: ambient light of the vertices; the key light's cosine wraps further for red, as in skin;
* highlight: GGX, approximate visibility and Fresnel terms (Karis, "Optimizing PBR for Mobile",
  2015).

No `fastmath`: the same picture gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.generators.builtin import shading_inputs as code
from workers.generators.builtin.shading_inputs import Int8Array, Lights, SkinLook, Triple
from workers.generators.builtin.shading_terms import (
    F,
    highlight,
    mixed,
    towards_camera,
    unit,
    wrapped,
)
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

CHUNK = 128  # fragments that are lit together: their planes stay in the nearest cache
TILE = 512  # side of the skin texture
SMOOTH = 0.02  # a fold of less gain does not show

# Planes of a chunk: the columns of a fragment's values up to 23, then the texture's channels.
NUM_COLUMNS = 24
FOLD_Y, BROW_COVER, FOLD_X, REST_X, REST_Y, FOLD_DARK = 7, 13, 14, 17, 18, 19
TEXTURE = 24
IS_LIP, IS_BROW, NUM_PLANES = 30, 31, 32


@compiled
def shade_skin(
    num: int,
    values: Float32Array,
    material: UInt8Array,
    axes: Float64Array,
    lights: Lights,
    skin: SkinLook,
    skin_map: Int8Array,
    brow_maps: Float32Array,
    wrinkles: Float32Array,
    folded: UInt8Array,
    rgb: Float32Array,
) -> None:
    """Write the colours of all fragments of skin, brows and lips."""
    members = np.empty(CHUNK, np.int64)
    room = np.zeros(NUM_PLANES * CHUNK, np.float32)
    place, packed = np.empty(CHUNK, np.int32), np.zeros(2 * CHUNK, np.int32)
    texels = skin_map.reshape(TILE * TILE * 8).view(np.int64)
    tones = _tones(axes, lights, skin)
    first = 0
    while first < num:
        count = 0
        while first < num and count < CHUNK:
            if material[first] <= code.LIP:
                members[count] = first
                count += 1
            first += 1
        _collect(members[:count], values, material, room)
        _look_up_texture(count, skin, texels, place, packed, room)
        _look_up_relief(count, skin, brow_maps, wrinkles, folded, room)
        _light_skin(room, tones)
        for j in range(count):
            for c in range(3):
                rgb[members[j], c] = room[c * CHUNK + j]


@compiled
def _tones(axes: Float64Array, lights: Lights, skin: SkinLook) -> Float32Array:
    """The numbers of `_light_skin`, single precision."""
    tones = np.empty((11, 3), np.float32)
    for c in range(3):
        tones[0, c], tones[1, c] = lights.key[c], lights.key_rgb[c]
        tones[2, c], tones[3, c] = skin.lip_rgb[c], skin.brow_rgb[c]
        tones[4, c] = skin.stubble_rgb[c]
        for row in range(3):
            tones[5 + row, c] = axes[row, c]
    tones[8, 0], tones[8, 1] = skin.mottling_melanin, skin.mottling_blood
    tones[8, 2], tones[9, 0] = skin.freckles, skin.pores
    tones[9, 1], tones[9, 2] = skin.brow_density, skin.lip_gloss
    tones[10, 0], tones[10, 1], tones[10, 2] = skin.shine, skin.roughness, 0.0
    return tones


@compiled
def _collect(
    members: NDArray[np.int64], values: Float32Array, material: UInt8Array, room: Float32Array
) -> None:
    """Turn the members' rows of values into planes."""
    for j in range(members.shape[0]):
        n = np.uint32(members[j])
        at = np.uint32(j)
        for k in range(NUM_COLUMNS):
            room[k * CHUNK + at] = values[n, k]
        room[IS_LIP * CHUNK + at] = F(1.0) if material[n] == code.LIP else F(0.0)
        room[IS_BROW * CHUNK + at] = F(1.0) if material[n] == code.BROW else F(0.0)


@compiled
def _look_up_texture(
    count: int,
    skin: SkinLook,
    texels: NDArray[np.int64],
    place: Int32Array,
    packed: Int32Array,
    room: Float32Array,
) -> None:
    """Fill the planes of the texture's channels: the bytes of a texel are read in one go."""
    scale, from_u, from_v = F(skin.texels_per_uv), F(skin.offset_u), F(skin.offset_v)
    mask = np.int32(TILE - 1)
    for j in range(CHUNK):
        column = np.int32(room[20 * CHUNK + j] * scale + from_u) & mask
        row = np.int32(room[21 * CHUNK + j] * scale + from_v) & mask
        place[j] = row * np.int32(TILE) + column
    for j in range(count):
        texel = texels[np.uint32(place[j])]
        packed[j], packed[CHUNK + j] = np.int32(texel), np.int32(texel >> 32)
    for j in range(CHUNK):
        low, high = packed[j], packed[CHUNK + j]
        room[TEXTURE * CHUNK + j] = np.float32(np.int32(low << 24) >> 24)
        room[(TEXTURE + 1) * CHUNK + j] = np.float32(np.int32(low << 16) >> 24)
        room[(TEXTURE + 2) * CHUNK + j] = np.float32(np.int32(low << 8) >> 24)
        room[(TEXTURE + 3) * CHUNK + j] = np.float32(low >> 24)
        room[(TEXTURE + 4) * CHUNK + j] = np.float32(np.int32(high << 24) >> 24)
        room[(TEXTURE + 5) * CHUNK + j] = np.float32(np.int32(high << 16) >> 24)


@compiled
def _look_up_relief(
    count: int,
    skin: SkinLook,
    brow_maps: Float32Array,
    wrinkles: Float32Array,
    folded: UInt8Array,
    room: Float32Array,
) -> None:
    """Cover of the brows' hairs, and slopes and shade of folds."""
    brow_scale, scale = F(skin.brow_texels_per_m), F(skin.wrinkle_texels_per_m)
    from_x, from_y = F(skin.wrinkle_origin[0]), F(skin.wrinkle_origin[1])
    last_row, last_column = F(wrinkles.shape[0] - 1), F(wrinkles.shape[1] - 1)
    width, folds = wrinkles.shape[1], wrinkles.reshape(wrinkles.size)
    for j in range(count):
        rest_x, rest_y = room[REST_X * CHUNK + j], room[REST_Y * CHUNK + j]
        gain = room[FOLD_X * CHUNK + j]
        room[FOLD_X * CHUNK + j] = room[FOLD_Y * CHUNK + j] = F(0.0)
        room[FOLD_DARK * CHUNK + j] = F(1.0)
        if room[IS_BROW * CHUNK + j] > F(0.0):
            side = 1 if rest_x > F(0.0) else 0
            origin = skin.brow_origin_left if side == 1 else skin.brow_origin_right
            column = int((rest_x - F(origin[0])) * brow_scale + F(0.5))
            row = int((rest_y - F(origin[1])) * brow_scale + F(0.5))
            row = min(max(row, 0), brow_maps.shape[1] - 1)
            column = min(max(column, 0), brow_maps.shape[2] - 1)
            room[BROW_COVER * CHUNK + j] *= F(0.55) + F(1.2) * brow_maps[side, row, column]
        else:
            room[BROW_COVER * CHUNK + j] = F(0.0)
        if gain > F(SMOOTH):
            x, y = (rest_x - from_x) * scale, (rest_y - from_y) * scale
            if F(0.0) <= x < last_column and F(0.0) <= y < last_row:
                row, column = int(y), int(x)
                if folded[row, column] == 0:
                    continue
                y, x = y - F(row), x - F(column)
                a, b = (F(1.0) - y) * (F(1.0) - x), (F(1.0) - y) * x
                c, d = y * (F(1.0) - x), y * x
                i = np.uint32(3 * (row * width + column))
                k = np.uint32(i + 3 * width)
                slope_x = a * folds[i] + b * folds[i + 3] + c * folds[k] + d * folds[k + 3]
                slope_y = a * folds[i + 1] + b * folds[i + 4] + c * folds[k + 1] + d * folds[k + 4]
                depth = a * folds[i + 2] + b * folds[i + 5] + c * folds[k + 2] + d * folds[k + 5]
                room[FOLD_X * CHUNK + j], room[FOLD_Y * CHUNK + j] = gain * slope_x, gain * slope_y
                room[FOLD_DARK * CHUNK + j] = F(1.0) - min(F(0.32) * gain * depth, F(0.6))


@compiled
def _light_skin(room: Float32Array, tones: Float32Array) -> None:
    """Colours of a chunk, over its first three planes.

    One flat array and whole chunks: so the compiler knows without a test that nothing overlaps.
    """
    key = (tones[0, 0], tones[0, 1], tones[0, 2])
    key_rgb = (tones[1, 0], tones[1, 1], tones[1, 2])
    lip = (tones[2, 0], tones[2, 1], tones[2, 2])
    brow = (tones[3, 0], tones[3, 1], tones[3, 2])
    stubble = (tones[4, 0], tones[4, 1], tones[4, 2])
    xx, xy, yx, yy = tones[5, 0], tones[5, 1], tones[6, 0], tones[6, 1]
    zx, zy = tones[7, 0], tones[7, 1]
    mottling_melanin, mottling_blood, freckles = tones[8, 0], tones[8, 1], tones[8, 2]
    pores, density, gloss = tones[9, 0], tones[9, 1], tones[9, 2]
    shine, roughness = tones[10, 0], tones[10, 1]
    for j in range(CHUNK):
        is_lip, dark = room[IS_LIP * CHUNK + j], room[FOLD_DARK * CHUNK + j]
        melanin = mottling_melanin * room[24 * CHUNK + j]
        melanin += freckles * room[16 * CHUNK + j] * room[26 * CHUNK + j]
        colour = _skin_colour(
            (dark * room[8 * CHUNK + j], dark * room[9 * CHUNK + j], dark * room[10 * CHUNK + j]),
            melanin,
            mottling_blood * room[25 * CHUNK + j],
            lip,
            is_lip * room[15 * CHUNK + j],
        )
        hairy = min(room[12 * CHUNK + j] * (F(0.35) + F(0.012) * room[29 * CHUNK + j]), F(0.85))
        hairy = max(hairy, min(density * room[BROW_COVER * CHUNK + j], F(0.97)))
        hairs = mixed(stubble, brow, room[IS_BROW * CHUNK + j])
        bump = pores + F(0.6) * pores * is_lip
        slope_x = bump * room[27 * CHUNK + j] + room[FOLD_X * CHUNK + j]
        slope_y = bump * room[28 * CHUNK + j] + room[FOLD_Y * CHUNK + j]
        normal = unit(
            room[j] - xx * slope_x - xy * slope_y,
            room[CHUNK + j] - yx * slope_x - yy * slope_y,
            room[2 * CHUNK + j] - zx * slope_x - zy * slope_y,
        )
        shiny = shine * (F(0.35) + F(0.65) * room[11 * CHUNK + j])
        shiny = (shiny + (gloss - shiny) * is_lip) * (F(1.0) - F(0.8) * hairy)
        room[j], room[CHUNK + j], room[2 * CHUNK + j] = _skin_light(
            key,
            key_rgb,
            mixed(colour, hairs, hairy),
            normal,
            towards_camera(room[22 * CHUNK + j], room[23 * CHUNK + j]),
            (room[3 * CHUNK + j], room[4 * CHUNK + j], room[5 * CHUNK + j]),
            room[6 * CHUNK + j],
            shiny,
            roughness + (F(0.34) - roughness) * is_lip,
        )


@inlined
def _skin_colour(base: Triple, melanin: float, blood: float, lip: Triple, lips: float) -> Triple:
    red = base[0] * (F(1.0) - F(0.45) * melanin - F(0.12) * blood)
    green = base[1] * (F(1.0) - F(0.85) * melanin - blood)
    blue = base[2] * (F(1.0) - F(1.25) * melanin - F(0.75) * blood)
    pale = F(1.0) - F(0.5) * melanin
    return mixed((red, green, blue), (pale * lip[0], pale * lip[1], pale * lip[2]), lips)


@inlined
def _skin_light(
    key: Triple,
    rgb: Triple,
    colour: Triple,
    n: Triple,
    view: Triple,
    ambient: Triple,
    lit: float,
    shine: float,
    roughness: float,
) -> Triple:
    facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
    # The shadow's edge is reddish: red light scatters furthest under the skin.
    diffuse_r = wrapped(facing, F(0.38), F(1.0 / 1.38)) * lit * (F(1.35) - F(0.35) * lit)
    diffuse_g = wrapped(facing, F(0.20), F(1.0 / 1.20)) * lit
    diffuse_b = wrapped(facing, F(0.14), F(1.0 / 1.14)) * lit
    towards = n[0] * view[0] + n[1] * view[1] + n[2] * view[2]
    turned = max(F(1.0) - max(towards, F(0.0)), F(0.0))
    mirror = lit * shine * highlight(key, n, view, max(facing, F(0.0)), roughness)
    sheen = F(0.04) * shine + F(0.16) * turned * turned * turned * turned
    return (
        colour[0] * (ambient[0] + rgb[0] * diffuse_r) + rgb[0] * mirror + sheen * ambient[0],
        colour[1] * (ambient[1] + rgb[1] * diffuse_g) + rgb[1] * mirror + sheen * ambient[1],
        colour[2] * (ambient[2] + rgb[2] * diffuse_b) + rgb[2] * mirror + sheen * ambient[2],
    )
