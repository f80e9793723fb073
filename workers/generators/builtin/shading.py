"""Colours of fragments: what light each surface sends to the camera.

No `fastmath`: the same picture gives the same bits. Skin is lit in vectors. The parts:

* diffuse: ambient light of the vertices; the key light's cosine wraps further for red, as in skin;
* highlight: GGX, approximate visibility and Fresnel terms (Karis, "Optimizing PBR for Mobile",
  2015); hair: the cone of Kajiya and Kay (1989), two lobes;
* eyes: an analytic sphere with a cornea, so that highlights stay round on a coarse mesh.

Inner functions take numbers, not arrays: those cost a reference count a call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.generators.builtin import shading_inputs as code
from workers.generators.builtin.shading_inputs import (
    ClothLook,
    EyeLook,
    HairLook,
    Int8Array,
    Lights,
    MouthLook,
    SkinLook,
    Triple,
)
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array, Float64Array, UInt8Array

CHUNK = 128  # fragments of skin that are lit together
NUM_PLANES = 22  # numbers of each: see `_look_up_skin`
# The skin's arithmetic stays in it: a bare constant would widen the vectors.
F: Callable[[float], float] = np.float32  # type: ignore[assignment]


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
    rgb: Float32Array,
) -> None:
    """Some fragments at a time: what the maps say of them, then their light in vectors."""
    members = np.empty(CHUNK, np.int64)
    room = np.zeros(NUM_PLANES * CHUNK, np.float32)
    tones = np.empty((8, 3), np.float32)
    for c in range(3):
        tones[0, c], tones[1, c] = lights.key[c], lights.key_rgb[c]
        tones[2, c], tones[3, c] = skin.lip_rgb[c], skin.brow_rgb[c]
        tones[4, c] = skin.stubble_rgb[c]
        for row in range(3):
            tones[5 + row, c] = axes[row, c]
    first = 0
    while first < num:
        count = 0
        while first < num and count < CHUNK:
            if material[first] <= code.LIP:
                members[count] = first
                count += 1
            first += 1
        _look_up_skin(members[:count], values, material, skin, skin_map, brow_maps, wrinkles, room)
        _light_skin(room, tones)
        for j in range(count):
            for c in range(3):
                rgb[members[j], c] = room[c * CHUNK + j]


@compiled
def _look_up_skin(
    members: NDArray[np.int64],
    values: Float32Array,
    material: UInt8Array,
    skin: SkinLook,
    skin_map: Int8Array,
    brow_maps: Float32Array,
    wrinkles: Float32Array,
    room: Float32Array,
) -> None:
    """Fill the planes of `_light_skin`."""
    for j in range(members.shape[0]):
        n = members[j]
        kind = material[n]
        row = int(values[n, 21] * skin.texels_per_uv + skin.offset_v) & 511
        column = int(values[n, 20] * skin.texels_per_uv + skin.offset_u) & 511
        melanin = skin.mottling_melanin * skin_map[row, column, 0]
        melanin += skin.freckles * values[n, 16] * skin_map[row, column, 2]
        blood = skin.mottling_blood * skin_map[row, column, 1]
        bump = 1.6 * skin.pores if kind == code.LIP else skin.pores
        slope_x, slope_y = bump * skin_map[row, column, 3], bump * skin_map[row, column, 4]
        hairy = min(values[n, 12] * (0.35 + skin_map[row, column, 5] * 0.012), 0.85)
        rest_x, rest_y = np.float64(values[n, 17]), np.float64(values[n, 18])
        if kind == code.BROW:
            side = 1 if rest_x > 0.0 else 0
            origin = skin.brow_origin_left if side == 1 else skin.brow_origin_right
            column = int((rest_x - origin[0]) * skin.brow_texels_per_m + 0.5)
            row = int((rest_y - origin[1]) * skin.brow_texels_per_m + 0.5)
            row = min(max(row, 0), brow_maps.shape[1] - 1)
            column = min(max(column, 0), brow_maps.shape[2] - 1)
            cover = values[n, 13] * (0.55 + 1.2 * brow_maps[side, row, column])
            hairy = max(hairy, min(skin.brow_density * cover, 0.97))
        dark, gain = 1.0, np.float64(values[n, 14])
        if gain > 0.02:
            x = (rest_x - skin.wrinkle_origin[0]) * skin.wrinkle_texels_per_m
            y = (rest_y - skin.wrinkle_origin[1]) * skin.wrinkle_texels_per_m
            if 0.0 <= x < wrinkles.shape[1] - 1 and 0.0 <= y < wrinkles.shape[0] - 1:
                row, column = int(y), int(x)
                y, x = y - row, x - column
                a, b, c, d = (1.0 - y) * (1.0 - x), (1.0 - y) * x, y * (1.0 - x), y * x
                near, far = wrinkles[row], wrinkles[row + 1]
                slope_x += gain * (
                    a * near[column, 0] + b * near[column + 1, 0]
                    + c * far[column, 0] + d * far[column + 1, 0]
                )  # fmt: skip
                slope_y += gain * (
                    a * near[column, 1] + b * near[column + 1, 1]
                    + c * far[column, 1] + d * far[column + 1, 1]
                )  # fmt: skip
                depth = (
                    a * near[column, 2] + b * near[column + 1, 2]
                    + c * far[column, 2] + d * far[column + 1, 2]
                )  # fmt: skip
                dark = 1.0 - min(0.32 * gain * depth, 0.6)
        for k in range(11):  # the attributes' own columns
            room[k * CHUNK + j] = values[n, k]
        shine = skin.lip_gloss if kind == code.LIP else skin.shine * (0.35 + 0.65 * values[n, 11])
        room[7 * CHUNK + j] = dark
        room[11 * CHUNK + j] = shine * (1.0 - 0.8 * hairy)
        room[12 * CHUNK + j] = 0.34 if kind == code.LIP else skin.roughness
        room[13 * CHUNK + j], room[14 * CHUNK + j] = melanin, blood
        room[15 * CHUNK + j], room[16 * CHUNK + j] = slope_x, slope_y
        room[17 * CHUNK + j] = hairy
        room[18 * CHUNK + j] = 1.0 if kind == code.BROW else 0.0
        room[19 * CHUNK + j] = values[n, 15] if kind == code.LIP else np.float32(0.0)
        room[20 * CHUNK + j], room[21 * CHUNK + j] = values[n, 22], values[n, 23]


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
    for j in range(CHUNK):
        dark, is_brow = room[7 * CHUNK + j], room[18 * CHUNK + j]
        hairs = _mixed(stubble, brow, is_brow)
        colour = _skin_colour(
            (dark * room[8 * CHUNK + j], dark * room[9 * CHUNK + j], dark * room[10 * CHUNK + j]),
            room[13 * CHUNK + j],
            room[14 * CHUNK + j],
            lip,
            room[19 * CHUNK + j],
        )
        slope_x, slope_y = room[15 * CHUNK + j], room[16 * CHUNK + j]
        normal = _unit(
            room[j] - xx * slope_x - xy * slope_y,
            room[CHUNK + j] - yx * slope_x - yy * slope_y,
            room[2 * CHUNK + j] - zx * slope_x - zy * slope_y,
        )
        room[j], room[CHUNK + j], room[2 * CHUNK + j] = _skin_light(
            key,
            key_rgb,
            _mixed(colour, hairs, room[17 * CHUNK + j]),
            normal,
            _view(room[20 * CHUNK + j], room[21 * CHUNK + j]),
            (room[3 * CHUNK + j], room[4 * CHUNK + j], room[5 * CHUNK + j]),
            room[6 * CHUNK + j],
            room[11 * CHUNK + j],
            room[12 * CHUNK + j],
        )


@inlined
def _skin_colour(base: Triple, melanin: float, blood: float, lip: Triple, lips: float) -> Triple:
    red = base[0] * (F(1.0) - F(0.45) * melanin - F(0.12) * blood)
    green = base[1] * (F(1.0) - F(0.85) * melanin - blood)
    blue = base[2] * (F(1.0) - F(1.25) * melanin - F(0.75) * blood)
    pale = F(1.0) - F(0.5) * melanin
    return _mixed((red, green, blue), (pale * lip[0], pale * lip[1], pale * lip[2]), lips)


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
    diffuse_r = _wrapped(facing, F(0.38), F(1.0 / 1.38)) * lit * (F(1.35) - F(0.35) * lit)
    diffuse_g = _wrapped(facing, F(0.20), F(1.0 / 1.20)) * lit
    diffuse_b = _wrapped(facing, F(0.14), F(1.0 / 1.14)) * lit
    towards = n[0] * view[0] + n[1] * view[1] + n[2] * view[2]
    turned = max(F(1.0) - max(towards, F(0.0)), F(0.0))
    mirror = lit * shine * _highlight(key, n, view, max(facing, F(0.0)), roughness)
    sheen = F(0.04) * shine + F(0.16) * turned * turned * turned * turned
    return (
        colour[0] * (ambient[0] + rgb[0] * diffuse_r) + rgb[0] * mirror + sheen * ambient[0],
        colour[1] * (ambient[1] + rgb[1] * diffuse_g) + rgb[1] * mirror + sheen * ambient[1],
        colour[2] * (ambient[2] + rgb[2] * diffuse_b) + rgb[2] * mirror + sheen * ambient[2],
    )


@inlined
def _view(x: float, y: float) -> Triple:
    """Unit vector from a hit on the ray (x, y, 1) to the camera."""
    scale = F(-1.0) / np.sqrt(x * x + y * y + F(1.0))
    return x * scale, y * scale, scale


@inlined
def _unit(x: float, y: float, z: float) -> Triple:
    scale = F(1.0) / np.sqrt(max(x * x + y * y + z * z, F(1e-20)))
    return x * scale, y * scale, z * scale


@compiled
def _turned(turn: Float64Array, side: int, d: Triple) -> Triple:
    return (
        turn[side, 0, 0] * d[0] + turn[side, 0, 1] * d[1] + turn[side, 0, 2] * d[2],
        turn[side, 1, 0] * d[0] + turn[side, 1, 1] * d[1] + turn[side, 1, 2] * d[2],
        turn[side, 2, 0] * d[0] + turn[side, 2, 1] * d[1] + turn[side, 2, 2] * d[2],
    )


@inlined
def _mixed(a: Triple, b: Triple, share: float) -> Triple:
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


@compiled
def _step(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def _wave(x: float) -> float:
    """A sine of period 1, by two parabolas."""
    t: float = x - np.floor(x)
    return 16.0 * t * (0.5 - t) if t < 0.5 else 16.0 * (t - 0.5) * (t - 1.0)


@inlined
def _wrapped(facing: float, wrap: float, per_reach: float) -> float:
    """A cosine that reaches around the terminator; `per_reach` is 1 / (1 + wrap)."""
    lit = max((facing + wrap) * per_reach, F(0.0))
    return lit * (F(1.0) - wrap * (F(1.0) - lit))


@inlined
def _highlight(key: Triple, n: Triple, view: Triple, facing: float, roughness: float) -> float:
    """The key light's mirror lobe over its irradiance, cosine included, for 4 % reflectance.

    The half vector stays unnormalised: with h = key + view and q = h . h, the cosine of half the
    angle between light and view is sqrt(q) / 2, and the lobe needs one division.
    """
    x, y, z = key[0] + view[0], key[1] + view[1], key[2] + view[2]
    q = max(x * x + y * y + z * z, F(0.04))
    across = max(n[0] * x + n[1] * y + n[2] * z, F(0.0))
    a2 = roughness * roughness * roughness * roughness
    t = across * across * (a2 - F(1.0)) + q
    away: float = max(F(1.0) - F(0.5) * np.sqrt(q), F(0.0))
    fresnel = F(0.04) + F(0.96) * away * away * away * away * away
    return facing * fresnel * a2 * q / max(t * t * (roughness + F(0.5)), F(1e-9))


@compiled
def shade_eyes(
    num: int,
    values: Float32Array,
    material: UInt8Array,
    lights: Lights,
    eyes: EyeLook,
    fibres: Int8Array,
    centres: Float64Array,
    to_camera: Float64Array,
    to_head: Float64Array,
    openness: Float32Array,
    key_in_eye: Float64Array,
    rgb: Float32Array,
) -> None:
    size = openness.shape[1]
    for n in range(num):
        if material[n] not in (code.LEFT_EYE, code.RIGHT_EYE):
            continue
        side = 1 if material[n] == code.LEFT_EYE else 0
        d = _unit(
            values[n, 17] - centres[side, 0],
            values[n, 18] - centres[side, 1],
            values[n, 19] - centres[side, 2],
        )
        radius = np.sqrt(d[0] * d[0] + d[1] * d[1]) if d[2] > 0.0 else 1.0
        angle = np.arctan2(d[1], d[0])
        column = int(angle * (512.0 / (2.0 * np.pi))) & 511
        fibre = fibres[int(radius * 240.0) & 511, column, 0] / 32.0
        h = _turned(to_head, side, d)
        x = min(max((h[0] + 1.0) * 0.5 * size - 0.5, 0.0), size - 1.001)
        y = min(max((h[1] + 1.0) * 0.5 * size - 0.5, 0.0), size - 1.001)
        i, j = int(y), int(x)
        y, x = y - i, x - j
        sky = (1.0 - y) * (openness[side, i, j] * (1.0 - x) + openness[side, i, j + 1] * x)
        sky += y * (openness[side, i + 1, j] * (1.0 - x) + openness[side, i + 1, j + 1] * x)
        bulge = 1.0 + 0.32 * (1.0 - _step(eyes.iris_radius, 1.35 * eyes.iris_radius, radius))
        cornea = _turned(to_camera, side, (bulge * d[0], bulge * d[1], d[2]))
        share = 1.0 / max(np.float64(values[n, 7]), 0.25)
        rgb[n, 0], rgb[n, 1], rgb[n, 2] = _eye_light(
            lights,
            eyes,
            _eyeball_colour(eyes, d[0], radius, fibre),
            _turned(to_camera, side, d),
            _unit(cornea[0], cornea[1], cornea[2]),
            _view(values[n, 22], values[n, 23]),
            (share * values[n, 3], share * values[n, 4], share * values[n, 5]),
            np.float64(values[n, 6]),
            sky,
            radius,
            (key_in_eye[side, 0] * d[0] + key_in_eye[side, 1] * d[1]) / eyes.iris_radius,
        )


@compiled
def _eyeball_colour(eyes: EyeLook, aside: float, radius: float, fibre: float) -> Triple:
    """White, iris with fibres and a dark limbal ring, pupil."""
    soft = max(0.6 * eyes.pixel, 0.02)
    reddish = 0.10 * min(abs(aside) * 1.4, 1.0) + 0.02 * max(fibre, 0.0)
    red, green, blue = eyes.sclera_rgb
    green *= 1.0 - reddish
    blue *= 1.0 - 0.8 * reddish
    inner = (radius - eyes.pupil_radius) / (eyes.iris_radius - eyes.pupil_radius)
    outward = _step(0.25, 0.7, inner)
    iris = 1.0 - _step(eyes.iris_radius - 1.2 * soft, eyes.iris_radius + 1.2 * soft, radius)
    pupil = 1.0 - _step(eyes.pupil_radius - soft, eyes.pupil_radius + soft, radius)
    shade = (1.0 + 0.22 * fibre) * (1.0 - 0.72 * _step(0.66, 1.0, inner)) * (1.0 - pupil)
    around = _mixed(eyes.ring_rgb, eyes.iris_rgb, outward)
    around = (around[0] * shade + 0.003, around[1] * shade + 0.003, around[2] * shade + 0.003)
    return _mixed((red, green, blue), around, iris)


@compiled
def _eye_light(
    lights: Lights,
    eyes: EyeLook,
    colour: Triple,
    n: Triple,
    cornea: Triple,
    view: Triple,
    ambient: Triple,
    lit: float,
    sky: float,
    radius: float,
    towards_key: float,
) -> Triple:
    key, window = lights.key, lights.window
    facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
    soft = max(0.6 * eyes.pixel, 0.02)
    iris = 1.0 - _step(eyes.iris_radius - soft, eyes.iris_radius + soft, radius)
    # The cornea gathers the key light on the far side of the iris.
    caustic = max(1.0 - 0.9 * iris * towards_key, 0.2)
    diffuse = _wrapped(facing, 0.25, 1.0 / 1.25) * lit * min(1.15 * sky, 1.0) * caustic
    twice = 2.0 * (cornea[0] * view[0] + cornea[1] * view[1] + cornea[2] * view[2])
    rx, ry = twice * cornea[0] - view[0], twice * cornea[1] - view[1]
    rz = twice * cornea[2] - view[2]
    width = 0.012 + 0.05 * eyes.pixel
    on_key = rx * key[0] + ry * key[1] + rz * key[2]
    on_window = rx * window[0] + ry * window[1] + rz * window[2]
    seen = _step(0.1, 0.35, sky)
    glint = 0.75 * lit * seen * _step(lights.key_cosine - width, lights.key_cosine + width, on_key)
    pane = 0.22 * seen * _step(0.972, 0.985, on_window)
    above, mirror, open_sky = 0.5 - 0.5 * ry, 0.045 * sky, _step(0.0, 0.8, sky)
    k, w, up, down = lights.key_rgb, lights.window_rgb, lights.sky_rgb, lights.ground_rgb
    return (
        colour[0] * (ambient[0] * open_sky + k[0] * diffuse)
        + k[0] * glint + w[0] * pane + mirror * (down[0] + (up[0] - down[0]) * above),
        colour[1] * (ambient[1] * open_sky + k[1] * diffuse)
        + k[1] * glint + w[1] * pane + mirror * (down[1] + (up[1] - down[1]) * above),
        colour[2] * (ambient[2] * open_sky + k[2] * diffuse)
        + k[2] * glint + w[2] * pane + mirror * (down[2] + (up[2] - down[2]) * above),
    )  # fmt: skip


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
    for i in range(num):
        if material[i] != code.HAIR:
            continue
        n = _unit(values[i, 0], values[i, 1], values[i, 2])
        fx = values[i, 17] - hair.crown[0]
        fy = values[i, 18] - hair.crown[1]
        fz = values[i, 19] - hair.crown[2]
        along = np.sqrt(fx * fx + fy * fy + fz * fz) * 1800.0 + hair.offset_along
        row = int(along) & 511
        angle = np.arctan2(fx, fz) * (4.0 * 512.0 / (2.0 * np.pi)) + hair.offset_across
        lock = strands[0, int(np.floor(0.3 * angle)) & 511, 1] / 32.0
        angle += hair.curl * _wave(along * hair.wave + 0.35 * lock)
        column = int(np.floor(angle)) & 511
        strand = strands[row, column, 0] / 32.0
        spread = 1.6 * hair.grey_share * (1.0 - hair.grey_share)
        grey = hair.grey_share + spread * strands[row, column, 1] / 32.0
        grey = min(max(grey, 0.0), 1.0)
        shade = max(1.0 + hair.contrast * strand, 0.15)
        colour = _mixed((values[i, 8], values[i, 9], values[i, 10]), hair.grey_rgb, grey)
        colour = (colour[0] * shade, colour[1] * shade, colour[2] * shade)
        tx = axes[0, 0] * fx + axes[0, 1] * fy + axes[0, 2] * fz
        ty = axes[1, 0] * fx + axes[1, 1] * fy + axes[1, 2] * fz
        tz = axes[2, 0] * fx + axes[2, 1] * fy + axes[2, 2] * fz
        lift = 0.10 * strand - (tx * n[0] + ty * n[1] + tz * n[2]) / max(
            np.sqrt(tx * tx + ty * ty + tz * tz), 1e-9
        )
        t = _unit(tx, ty, tz)
        t = _unit(t[0] + lift * n[0], t[1] + lift * n[1], t[2] + lift * n[2])
        ambient = (np.float64(values[i, 3]), np.float64(values[i, 4]), np.float64(values[i, 5]))
        view = _view(values[i, 22], values[i, 23])
        rgb[i, 0], rgb[i, 1], rgb[i, 2] = _hair_light(
            lights, colour, n, t, view, ambient, np.float64(values[i, 6]), hair.gloss
        )


@compiled
def _hair_light(
    lights: Lights,
    colour: Triple,
    n: Triple,
    t: Triple,
    view: Triple,
    ambient: Triple,
    lit: float,
    gloss: float,
) -> Triple:
    key, rgb = lights.key, lights.key_rgb
    facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
    h = _unit(key[0] + view[0], key[1] + view[1], key[2] + view[2])
    cosine = t[0] * h[0] + t[1] * h[1] + t[2] * h[2]
    wide = max(1.0 - cosine * cosine, 0.0) ** 8
    gate = gloss * _step(-0.15, 0.45, facing) * lit
    diffuse = (0.35 * _wrapped(facing, 0.3, 1.0 / 1.3) + 0.65 * max(facing, 0.0)) * lit
    white = 0.05 * wide * wide * wide * wide * gate
    tinted = diffuse + 0.55 * wide * gate
    return (
        colour[0] * (ambient[0] + rgb[0] * tinted) + rgb[0] * white + 0.012 * ambient[0],
        colour[1] * (ambient[1] + rgb[1] * tinted) + rgb[1] * white + 0.012 * ambient[1],
        colour[2] * (ambient[2] + rgb[2] * tinted) + rgb[2] * white + 0.012 * ambient[2],
    )


@compiled
def shade_plain(
    num: int,
    values: Float32Array,
    material: UInt8Array,
    lights: Lights,
    mouth: MouthLook,
    cloth: ClothLook,
    rgb: Float32Array,
) -> None:
    """Mouth, teeth, clothing and what else has one colour a vertex."""
    key = lights.key_rgb
    for i in range(num):
        kind = material[i]
        if kind <= code.RIGHT_EYE or kind == code.HAIR:
            continue
        n = _unit(values[i, 0], values[i, 1], values[i, 2])
        facing = n[0] * lights.key[0] + n[1] * lights.key[1] + n[2] * lights.key[2]
        lit = np.float64(values[i, 6])
        colour: Triple = (
            np.float64(values[i, 8]),
            np.float64(values[i, 9]),
            np.float64(values[i, 10]),
        )
        shine = 0.1
        if kind == code.MOUTH:
            colour, shine = mouth.mouth_rgb, 0.5
        elif kind == code.TEETH:
            colour, shine = mouth.teeth_rgb, 0.8
        elif kind == code.CLOTH:
            colour = _cloth(cloth, values[i, 17], values[i, 18])
            shine = 0.0
        view = _view(values[i, 22], values[i, 23])
        mirror = lit * shine * _highlight(lights.key, n, view, max(facing, 0.0), 0.35)
        diffuse = _wrapped(facing, 0.2, 1.0 / 1.2) * lit
        rgb[i, 0] = colour[0] * (values[i, 3] + key[0] * diffuse) + key[0] * mirror
        rgb[i, 1] = colour[1] * (values[i, 4] + key[1] * diffuse) + key[1] * mirror
        rgb[i, 2] = colour[2] * (values[i, 5] + key[2] * diffuse) + key[2] * mirror


@compiled
def _cloth(cloth: ClothLook, rest_x: float, rest_y: float) -> Triple:
    across = cloth.pattern & 2 and int(np.floor(rest_x / cloth.period)) & 1
    down = cloth.pattern & 1 and int(np.floor(rest_y / cloth.period)) & 1
    share = (across + down) / (2.0 if cloth.pattern == 3 else 1.0)
    return _mixed(cloth.first_rgb, cloth.second_rgb, share)
