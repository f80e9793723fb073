"""Colours of fragments: what light each surface sends to the camera.

One fused kernel, float64 inside, no `fastmath`: the same picture gives the same bits. The parts:

* diffuse: ambient light from the vertices (with occlusion), the key light by a cosine that wraps
  further for red, as light scatters under skin;
* highlight: GGX of one width, approximate visibility and Fresnel terms (Karis, "Optimizing PBR
  for Mobile", 2015); hair: the cone of Kajiya and Kay (1989), two lobes;
* eyes: an analytic sphere with a cornea, so that highlights stay round on a coarse mesh.
"""

from __future__ import annotations

import numpy as np

from workers.generators.builtin.fragments import fragment_buffers, gather, resolve
from workers.generators.builtin.shading_inputs import (
    BROW,
    CLOTH,
    HAIR,
    LEFT_EYE,
    LIP,
    MOUTH,
    RIGHT_EYE,
    TEETH,
    ClothLook,
    EyeLook,
    Geometry,
    HairLook,
    Int8Array,
    Lights,
    Look,
    MouthLook,
    SkinLook,
    Triple,
)
from workers.raster.jit import compiled
from workers.types import Float32Array, Float64Array, UInt8Array

BAND_ROWS = 32  # rows whose fragments are shaded together: they stay in the cache


def shade(geometry: Geometry, lights: Lights, look: Look, backdrop: Float32Array) -> Float32Array:
    """Draw the head over the backdrop.

    Args:
        geometry: the posed head and what each quarter pixel sees.
        lights: of the sample.
        look: of the identity.
        backdrop: (h, w, 3) linear light, any size.

    Returns:
        (H, W, 3) linear light.
    """
    height, width = geometry.face_id.shape[0] // 2, geometry.face_id.shape[1] // 2
    picture = np.empty((height, width, 3), np.float32)
    values, material, pixel, share, rgb = fragment_buffers(BAND_ROWS, width)
    for first in range(0, height, BAND_ROWS):
        last = min(first + BAND_ROWS, height)
        num = gather(
            first, last, geometry.face_id, geometry.faces, geometry.uv_faces, geometry.uv,
            geometry.face_material, geometry.attributes, geometry.ray_matrices,
            geometry.intrinsics, values, material, pixel, share,
        )  # fmt: skip
        _shade_fragments(
            num, values, material, geometry.axes, lights, look.skin, look.eyes, look.hair,
            look.cloth, look.mouth, *look.maps, rgb,
        )  # fmt: skip
        resolve(first, last, num, pixel, share, rgb, backdrop, picture)
    return picture


@compiled
def _shade_fragments(
    num: int,
    values: Float32Array,
    material: UInt8Array,
    axes: Float64Array,
    lights: Lights,
    skin: SkinLook,
    eyes: EyeLook,
    hair: HairLook,
    cloth: ClothLook,
    mouth: MouthLook,
    skin_map: Int8Array,
    brow_maps: Float32Array,
    wrinkle_map: Float32Array,
    fibres: Int8Array,
    strands: Int8Array,
    eye_centres: Float64Array,
    eye_to_camera: Float64Array,
    eye_to_head: Float64Array,
    eye_openness: Float32Array,
    rgb: Float32Array,
) -> None:
    for i in range(num):
        kind = material[i]
        x, y = np.float64(values[i, 22]), np.float64(values[i, 23])
        length = np.sqrt(x * x + y * y + 1.0)
        view = (-x / length, -y / length, -1.0 / length)
        if kind <= LIP:
            color = _skin(
                i, values, kind, axes, view, lights, skin, skin_map, brow_maps, wrinkle_map
            )
        elif kind == LEFT_EYE or kind == RIGHT_EYE:
            color = _eye(
                i, values, 1 if kind == LEFT_EYE else 0, view, lights, eyes, fibres, eye_centres,
                eye_to_camera, eye_to_head, eye_openness,
            )  # fmt: skip
        elif kind == HAIR:
            color = _hair(i, values, axes, view, lights, hair, strands)
        else:
            color = _plain(i, values, kind, view, lights, mouth, cloth)
        rgb[i, 0], rgb[i, 1], rgb[i, 2] = color


@compiled
def _unit(x: float, y: float, z: float) -> Triple:
    scale = 1.0 / np.sqrt(max(x * x + y * y + z * z, 1e-20))
    return x * scale, y * scale, z * scale


@compiled
def _highlight(lights: Lights, n: Triple, view: Triple, facing: float, roughness: float) -> float:
    """The key light's mirror lobe over its irradiance, cosine included, for 4 % reflectance."""
    lx, ly, lz = lights.key[0], lights.key[1], lights.key[2]
    hx, hy, hz = _unit(lx + view[0], ly + view[1], lz + view[2])
    across = max(n[0] * hx + n[1] * hy + n[2] * hz, 0.0)
    along = max(lx * hx + ly * hy + lz * hz, 0.1)
    a2 = roughness**4
    t = across * across * (a2 - 1.0) + 1.0
    fresnel = 0.04 + 0.96 * (1.0 - along) ** 5
    return facing * fresnel * a2 / (4.0 * t * t * along * along * (roughness + 0.5))


@compiled
def _wrapped(facing: float, wrap: float) -> float:
    lit = max((facing + wrap) / (1.0 + wrap), 0.0)
    return lit * (1.0 - wrap * (1.0 - lit))


@compiled
def _skin(
    i: int,
    values: Float32Array,
    material: int,
    axes: Float64Array,
    view: Triple,
    lights: Lights,
    skin: SkinLook,
    skin_map: Int8Array,
    brow_maps: Float32Array,
    wrinkle_map: Float32Array,
) -> Triple:
    row = int(values[i, 21] * skin.texels_per_uv + skin.offset_v) & 511
    column = int(values[i, 20] * skin.texels_per_uv + skin.offset_u) & 511
    melanin = (
        skin.mottling_melanin * skin_map[row, column, 0]
        + skin.freckles * values[i, 16] * skin_map[row, column, 2]
    )
    blood = skin.mottling_blood * skin_map[row, column, 1]
    red = values[i, 8] * (1.0 - 0.45 * melanin - 0.12 * blood)
    green = values[i, 9] * (1.0 - 0.85 * melanin - 1.0 * blood)
    blue = values[i, 10] * (1.0 - 1.25 * melanin - 0.75 * blood)
    shine, roughness = skin.shine * (0.35 + 0.65 * values[i, 11]), skin.roughness
    bump = skin.pores
    if material == LIP:
        blend = np.float64(values[i, 15])
        red += (skin.lip_rgb[0] * (1.0 - 0.5 * melanin) - red) * blend
        green += (skin.lip_rgb[1] * (1.0 - 0.5 * melanin) - green) * blend
        blue += (skin.lip_rgb[2] * (1.0 - 0.5 * melanin) - blue) * blend
        shine, roughness, bump = skin.lip_gloss, 0.34, 1.6 * bump
    hairy = min(skin.stubble * values[i, 12] * (0.35 + skin_map[row, column, 5] * 0.012), 0.85)
    if material == BROW:
        hairy = max(hairy, _brow_cover(i, values, skin, brow_maps))
        red += (skin.brow_rgb[0] - red) * hairy
        green += (skin.brow_rgb[1] - green) * hairy
        blue += (skin.brow_rgb[2] - blue) * hairy
    else:
        red += (skin.stubble_rgb[0] - red) * hairy
        green += (skin.stubble_rgb[1] - green) * hairy
        blue += (skin.stubble_rgb[2] - blue) * hairy
    shine *= 1.0 - 0.8 * hairy
    slope_x, slope_y = bump * skin_map[row, column, 3], bump * skin_map[row, column, 4]
    dark = 1.0
    if values[i, 14] > 0.02:
        fold_x, fold_y, depth = _wrinkle(skin, values[i, 17], values[i, 18], wrinkle_map)
        gain = np.float64(values[i, 14])
        slope_x += gain * fold_x
        slope_y += gain * fold_y
        dark = 1.0 - min(0.32 * gain * depth, 0.6)
    n = _unit(
        values[i, 0] - axes[0, 0] * slope_x - axes[0, 1] * slope_y,
        values[i, 1] - axes[1, 0] * slope_x - axes[1, 1] * slope_y,
        values[i, 2] - axes[2, 0] * slope_x - axes[2, 1] * slope_y,
    )
    facing = n[0] * lights.key[0] + n[1] * lights.key[1] + n[2] * lights.key[2]
    lit = np.float64(values[i, 6])
    # The shadow's edge is reddish: red light scatters furthest under the skin.
    diffuse_r = _wrapped(facing, 0.38) * (lit + 0.35 * lit * (1.0 - lit))
    diffuse_g = _wrapped(facing, 0.20) * lit
    diffuse_b = _wrapped(facing, 0.14) * lit
    key = lights.key_rgb
    turned = max(1.0 - max(n[0] * view[0] + n[1] * view[1] + n[2] * view[2], 0.0), 0.0)
    mirror = lit * shine * _highlight(lights, n, view, max(facing, 0.0), roughness)
    sheen = 0.04 * shine + 0.16 * turned**4
    return (
        dark * (red * (values[i, 3] + key[0] * diffuse_r)) + key[0] * mirror + sheen * values[i, 3],
        dark * (green * (values[i, 4] + key[1] * diffuse_g))
        + key[1] * mirror
        + sheen * values[i, 4],
        dark * (blue * (values[i, 5] + key[2] * diffuse_b))
        + key[2] * mirror
        + sheen * values[i, 5],
    )


@compiled
def _brow_cover(i: int, values: Float32Array, skin: SkinLook, brow_maps: Float32Array) -> float:
    side = 1 if values[i, 17] > 0.0 else 0
    x, y = skin.brow_origin_left if side == 1 else skin.brow_origin_right
    column = int((values[i, 17] - x) * skin.brow_texels_per_m + 0.5)
    row = int((values[i, 18] - y) * skin.brow_texels_per_m + 0.5)
    rows, columns = brow_maps.shape[1], brow_maps.shape[2]
    hairs = brow_maps[side, min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)]
    inside = values[i, 13]
    cover = skin.brow_density * inside * (0.30 + 1.1 * hairs)
    return min(cover, 0.97)


@compiled
def _wrinkle(skin: SkinLook, rest_x: float, rest_y: float, maps: Float32Array) -> Triple:
    x = (rest_x - skin.wrinkle_origin[0]) * skin.wrinkle_texels_per_m
    y = (rest_y - skin.wrinkle_origin[1]) * skin.wrinkle_texels_per_m
    if x < 0.0 or y < 0.0 or x >= maps.shape[1] - 1 or y >= maps.shape[0] - 1:
        return 0.0, 0.0, 0.0
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    a, b, c, d = (1.0 - fy) * (1.0 - fx), (1.0 - fy) * fx, fy * (1.0 - fx), fy * fx
    return (
        a * maps[i, j, 0]
        + b * maps[i, j + 1, 0]
        + c * maps[i + 1, j, 0]
        + d * maps[i + 1, j + 1, 0],
        a * maps[i, j, 1]
        + b * maps[i, j + 1, 1]
        + c * maps[i + 1, j, 1]
        + d * maps[i + 1, j + 1, 1],
        a * maps[i, j, 2]
        + b * maps[i, j + 1, 2]
        + c * maps[i + 1, j, 2]
        + d * maps[i + 1, j + 1, 2],
    )


@compiled
def _step(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def _eye(
    i: int,
    values: Float32Array,
    side: int,
    view: Triple,
    lights: Lights,
    eyes: EyeLook,
    fibres: Int8Array,
    centres: Float64Array,
    to_camera: Float64Array,
    to_head: Float64Array,
    openness: Float32Array,
) -> Triple:
    d = _unit(
        values[i, 17] - centres[side, 0],
        values[i, 18] - centres[side, 1],
        values[i, 19] - centres[side, 2],
    )
    radius = np.sqrt(d[0] * d[0] + d[1] * d[1]) if d[2] > 0.0 else 1.0
    soft = max(0.6 * eyes.pixel, 0.02)
    turn = to_camera[side]
    n = _turned(turn, d[0], d[1], d[2])
    facing = n[0] * lights.key[0] + n[1] * lights.key[1] + n[2] * lights.key[2]
    red, green, blue = _eyeball_colour(eyes, d, radius, soft, fibres)
    h = _turned(to_head[side], d[0], d[1], d[2])
    sky = _openness(openness[side], h[0], h[1])
    lit = np.float64(values[i, 6]) * min(1.15 * sky, 1.0)
    iris = 1.0 - _step(eyes.iris_radius - soft, eyes.iris_radius + soft, radius)
    # The cornea gathers the key light on the far side of the iris.
    along = turn[0, 0] * lights.key[0] + turn[1, 0] * lights.key[1] + turn[2, 0] * lights.key[2]
    above = turn[0, 1] * lights.key[0] + turn[1, 1] * lights.key[1] + turn[2, 1] * lights.key[2]
    caustic = 1.0 - iris * (along * d[0] + above * d[1]) / eyes.iris_radius * 0.9
    diffuse = _wrapped(facing, 0.25) * lit * max(caustic, 0.2)
    bulge = 0.32 * (1.0 - _step(eyes.iris_radius, 1.35 * eyes.iris_radius, radius))
    n = _unit(*_turned(turn, d[0] * (1.0 + bulge), d[1] * (1.0 + bulge), d[2]))
    r_dot = 2.0 * (n[0] * view[0] + n[1] * view[1] + n[2] * view[2])
    rx, ry, rz = r_dot * n[0] - view[0], r_dot * n[1] - view[1], r_dot * n[2] - view[2]
    width = 0.012 + 0.05 * eyes.pixel
    spot = _step(
        lights.key_cosine - width,
        lights.key_cosine + width,
        rx * lights.key[0] + ry * lights.key[1] + rz * lights.key[2],
    )
    pane = _step(
        0.955, 0.985, rx * lights.window[0] + ry * lights.window[1] + rz * lights.window[2]
    )
    glint_key = 0.75 * spot * np.float64(values[i, 6]) * _step(0.1, 0.35, sky)
    glint_window = 0.35 * pane * _step(0.1, 0.35, sky)
    above = 0.5 - 0.5 * ry
    mirror = 0.045 * sky
    ambient = _step(0.0, 0.8, sky)
    key, window = lights.key_rgb, lights.window_rgb
    up, down = lights.sky_rgb, lights.ground_rgb
    occlusion = max(np.float64(values[i, 7]), 0.25)
    share = ambient / occlusion
    return (
        red * (values[i, 3] * share + key[0] * diffuse) + key[0] * glint_key + window[0] * glint_window
        + mirror * (down[0] + (up[0] - down[0]) * above),
        green * (values[i, 4] * share + key[1] * diffuse) + key[1] * glint_key + window[1] * glint_window
        + mirror * (down[1] + (up[1] - down[1]) * above),
        blue * (values[i, 5] * share + key[2] * diffuse) + key[2] * glint_key + window[2] * glint_window
        + mirror * (down[2] + (up[2] - down[2]) * above),
    )  # fmt: skip


@compiled
def _turned(turn: Float64Array, x: float, y: float, z: float) -> Triple:
    return (
        turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z,
        turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z,
        turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z,
    )


@compiled
def _eyeball_colour(
    eyes: EyeLook, d: Triple, radius: float, soft: float, fibres: Int8Array
) -> Triple:
    """White, iris with fibres and a dark limbal ring, pupil."""
    angle = np.arctan2(d[1], d[0])
    column = int(angle * (512.0 / (2.0 * np.pi))) & 511
    fibre = fibres[int(radius * 240.0) & 511, column, 0] / 32.0
    reddish = 0.10 * min(abs(d[0]) * 1.4, 1.0) + 0.02 * max(fibre, 0.0)
    red, green, blue = (
        eyes.sclera_rgb[0],
        eyes.sclera_rgb[1] * (1.0 - reddish),
        eyes.sclera_rgb[2] * (1.0 - 0.8 * reddish),
    )
    inner = (radius - eyes.pupil_radius) / (eyes.iris_radius - eyes.pupil_radius)
    towards = _step(0.25, 0.7, inner)
    grain = 1.0 + 0.22 * fibre
    ring = 1.0 - 0.72 * _step(0.66, 1.0, inner)
    iris = 1.0 - _step(eyes.iris_radius - 1.2 * soft, eyes.iris_radius + 1.2 * soft, radius)
    pupil = 1.0 - _step(eyes.pupil_radius - soft, eyes.pupil_radius + soft, radius)
    shade = grain * ring * (1.0 - pupil)
    ir = (eyes.ring_rgb[0] + (eyes.iris_rgb[0] - eyes.ring_rgb[0]) * towards) * shade + 0.003
    ig = (eyes.ring_rgb[1] + (eyes.iris_rgb[1] - eyes.ring_rgb[1]) * towards) * shade + 0.003
    ib = (eyes.ring_rgb[2] + (eyes.iris_rgb[2] - eyes.ring_rgb[2]) * towards) * shade + 0.003
    return red + (ir - red) * iris, green + (ig - green) * iris, blue + (ib - blue) * iris


@compiled
def _openness(grid: Float32Array, x: float, y: float) -> float:
    size = grid.shape[0]
    column = min(max((x + 1.0) * 0.5 * size - 0.5, 0.0), size - 1.001)
    row = min(max((y + 1.0) * 0.5 * size - 0.5, 0.0), size - 1.001)
    i, j = int(row), int(column)
    fy, fx = row - i, column - j
    top = grid[i, j] * (1.0 - fx) + grid[i, j + 1] * fx
    return top * (1.0 - fy) + (grid[i + 1, j] * (1.0 - fx) + grid[i + 1, j + 1] * fx) * fy


@compiled
def _hair(
    i: int,
    values: Float32Array,
    axes: Float64Array,
    view: Triple,
    lights: Lights,
    hair: HairLook,
    strands: Int8Array,
) -> Triple:
    n = _unit(values[i, 0], values[i, 1], values[i, 2])
    fx, fy, fz = (
        values[i, 17] - hair.crown[0],
        values[i, 18] - hair.crown[1],
        values[i, 19] - hair.crown[2],
    )
    reach = np.sqrt(fx * fx + fy * fy + fz * fz)
    along = reach * 1800.0 + hair.offset_along
    row = int(along) & 511
    lock = strands[(row * 2) & 511, int(along * 0.37) & 511, 1] / 32.0
    angle = np.arctan2(fx, fz) * (3.0 * 512.0 / (2.0 * np.pi)) + hair.offset_across
    angle += hair.curl * (lock + np.sin(along * 0.07))
    column = int(np.floor(angle)) & 511
    strand = strands[row, column, 0] / 32.0
    grey = _step(-0.25, 0.25, strands[row, column, 1] / 32.0 + 4.4 * hair.grey_share - 2.2)
    shade = max(1.0 + hair.contrast * strand, 0.15)
    red = (values[i, 8] + (hair.grey_rgb[0] - values[i, 8]) * grey) * shade
    green = (values[i, 9] + (hair.grey_rgb[1] - values[i, 9]) * grey) * shade
    blue = (values[i, 10] + (hair.grey_rgb[2] - values[i, 10]) * grey) * shade
    t = _turned(axes, fx, fy, fz)
    on_normal = t[0] * n[0] + t[1] * n[1] + t[2] * n[2]
    shift = 0.10 * strand
    tx, ty, tz = _unit(t[0] - on_normal * n[0], t[1] - on_normal * n[1], t[2] - on_normal * n[2])
    tx, ty, tz = _unit(tx + shift * n[0], ty + shift * n[1], tz + shift * n[2])
    key = lights.key
    facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
    hx, hy, hz = _unit(key[0] + view[0], key[1] + view[1], key[2] + view[2])
    cosine = tx * hx + ty * hy + tz * hz
    cone = max(1.0 - cosine * cosine, 0.0)
    wide = cone**8
    narrow = wide**4
    lit = np.float64(values[i, 6])
    gate = _step(-0.15, 0.45, facing) * lit
    diffuse = (0.35 * _wrapped(facing, 0.3) + 0.65 * max(facing, 0.0)) * lit
    gloss = hair.gloss * gate
    white, tinted = 0.05 * narrow * gloss, 0.55 * wide * gloss
    rgb = lights.key_rgb
    return (
        red * (values[i, 3] + rgb[0] * (diffuse + tinted)) + rgb[0] * white + 0.012 * values[i, 3],
        green * (values[i, 4] + rgb[1] * (diffuse + tinted))
        + rgb[1] * white
        + 0.012 * values[i, 4],
        blue * (values[i, 5] + rgb[2] * (diffuse + tinted)) + rgb[2] * white + 0.012 * values[i, 5],
    )


@compiled
def _plain(
    i: int,
    values: Float32Array,
    material: int,
    view: Triple,
    lights: Lights,
    mouth: MouthLook,
    cloth: ClothLook,
) -> Triple:
    """Mouth, teeth, clothing and what else has one colour a vertex."""
    n = _unit(values[i, 0], values[i, 1], values[i, 2])
    facing = n[0] * lights.key[0] + n[1] * lights.key[1] + n[2] * lights.key[2]
    lit = np.float64(values[i, 6])
    diffuse = _wrapped(facing, 0.2) * lit
    shine = 0.1
    red, green, blue = values[i, 8], values[i, 9], values[i, 10]
    if material == MOUTH:
        red, green, blue = mouth.mouth_rgb
        shine = 0.5
    elif material == TEETH:
        red, green, blue = mouth.teeth_rgb
        shine = 0.8
    elif material == CLOTH:
        red, green, blue = _cloth(cloth, values[i, 17], values[i, 18])
        shine = 0.0
    mirror = lit * shine * _highlight(lights, n, view, max(facing, 0.0), 0.35)
    key = lights.key_rgb
    return (
        red * (values[i, 3] + key[0] * diffuse) + key[0] * mirror,
        green * (values[i, 4] + key[1] * diffuse) + key[1] * mirror,
        blue * (values[i, 5] + key[2] * diffuse) + key[2] * mirror,
    )


@compiled
def _cloth(cloth: ClothLook, rest_x: float, rest_y: float) -> Triple:
    across = int(np.floor(rest_x / cloth.period)) & 1
    down = int(np.floor(rest_y / cloth.period)) & 1
    second = 0.0
    if cloth.pattern == 1:
        second = float(down)
    elif cloth.pattern == 2:
        second = float(across)
    elif cloth.pattern == 3:
        second = 0.5 * (across + down)
    a, b = cloth.first_rgb, cloth.second_rgb
    return (
        a[0] + (b[0] - a[0]) * second,
        a[1] + (b[1] - a[1]) * second,
        a[2] + (b[2] - a[2]) * second,
    )
