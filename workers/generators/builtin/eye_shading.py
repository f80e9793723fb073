"""Light of the eyes: analytic spheres with corneas, so highlights stay round on a coarse mesh."""

from __future__ import annotations

import numpy as np

from workers.generators.builtin import shading_inputs as code
from workers.generators.builtin.shading_inputs import EyeLook, Int8Array, Lights, Triple
from workers.generators.builtin.shading_terms import (
    mixed,
    smooth_step,
    towards_camera,
    unit,
    wrapped,
)
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array, Float64Array, UInt8Array

# Of the upper lashes, as seen from the front: shares of the eyeball's radius, on lids at rest. It
# stretches and shrinks with the opening.
LASH_LENGTH = 0.13
# The flesh of the inner corner, towards the nose in shares of the eyeball's radius: none to all.
CARUNCLE = (0.6, 0.8)
# Corners that the lids hide from the sky get this share of it from lids and eye, which are wet and
# throw highlights back too; from none to all, towards a corner in shares of the eyeball's radius.
CORNER_LIGHT = 0.4
CORNERS = (0.55, 0.9)
CORNEA_MIRROR = 0.025  # reflectance of water and cornea, index 1.376, seen from straight ahead


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
    to_resting_lids: Float64Array,
    key_in_eye: Float64Array,
    rgb: Float32Array,
) -> None:
    for n in range(num):
        if material[n] not in (code.LEFT_EYE, code.RIGHT_EYE):
            continue
        side = 1 if material[n] == code.LEFT_EYE else 0
        d = unit(
            values[n, 17] - centres[side, 0],
            values[n, 18] - centres[side, 1],
            values[n, 19] - centres[side, 2],
        )
        radius = np.sqrt(d[0] * d[0] + d[1] * d[1]) if d[2] > 0.0 else 1.0
        angle = np.arctan2(d[1], d[0])
        column = int(angle * (512.0 / (2.0 * np.pi))) & 511
        fibre = fibres[int(radius * 240.0) & 511, column, 0] / 32.0
        h = _turned(to_head, side, d)
        height = to_resting_lids[side, 0] * h[1] + to_resting_lids[side, 1]
        inward = -h[0] if side == 1 else h[0]
        sky = _open_sky(openness, side, h[0], height)
        sky += (1.0 - sky) * CORNER_LIGHT * smooth_step(CORNERS[0], CORNERS[1], abs(h[0]))
        above = _open_sky(openness, side, h[0], height + LASH_LENGTH)
        # The upper lid's lashes throw shade on the eye where one's length higher there is the lid.
        # Shade is no cover: the pixel stays the eye's.
        under = smooth_step(-0.1, 0.15, height) * (1.0 - smooth_step(0.1, 0.6, above))
        bulge = 1.0 + 0.32 * (1.0 - smooth_step(eyes.iris_radius, 1.35 * eyes.iris_radius, radius))
        cornea = _turned(to_camera, side, (bulge * d[0], bulge * d[1], d[2]))
        share = 1.0 / max(np.float64(values[n, 7]), 0.25)
        rgb[n, 0], rgb[n, 1], rgb[n, 2] = _eye_light(
            lights,
            eyes,
            _shaded(
                mixed(
                    _eyeball_colour(eyes, d[0], radius, fibre),
                    eyes.caruncle_rgb,
                    smooth_step(CARUNCLE[0], CARUNCLE[1], inward),
                ),
                eyes.lash_shade * under,
            ),
            _turned(to_camera, side, d),
            unit(cornea[0], cornea[1], cornea[2]),
            towards_camera(values[n, 22], values[n, 23]),
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
    outward = smooth_step(0.25, 0.7, inner)
    iris = 1.0 - smooth_step(eyes.iris_radius - 1.2 * soft, eyes.iris_radius + 1.2 * soft, radius)
    pupil = 1.0 - smooth_step(eyes.pupil_radius - soft, eyes.pupil_radius + soft, radius)
    shade = (1.0 + 0.22 * fibre) * (1.0 - 0.72 * smooth_step(0.66, 1.0, inner)) * (1.0 - pupil)
    around = mixed(eyes.ring_rgb, eyes.iris_rgb, outward)
    around = (around[0] * shade + 0.003, around[1] * shade + 0.003, around[2] * shade + 0.003)
    return mixed((red, green, blue), around, iris)


@compiled
def _open_sky(openness: Float32Array, side: int, across: float, height: float) -> float:
    """Share of open sky over the eyeball at (across, height), in shares of its radius."""
    size = openness.shape[1]
    x = min(max((across + 1.0) * 0.5 * size - 0.5, 0.0), size - 1.001)
    y = min(max((height + 1.0) * 0.5 * size - 0.5, 0.0), size - 1.001)
    i, j = int(y), int(x)
    y, x = y - i, x - j
    sky = (1.0 - y) * (openness[side, i, j] * (1.0 - x) + openness[side, i, j + 1] * x)
    sky += y * (openness[side, i + 1, j] * (1.0 - x) + openness[side, i + 1, j + 1] * x)
    return float(sky)


@inlined
def _shaded(colour: Triple, share: float) -> Triple:
    left = 1.0 - share
    return left * colour[0], left * colour[1], left * colour[2]


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
    iris = 1.0 - smooth_step(eyes.iris_radius - soft, eyes.iris_radius + soft, radius)
    # The cornea gathers the key light on the far side of the iris.
    caustic = max(1.0 - 0.9 * iris * towards_key, 0.2)
    diffuse = wrapped(facing, 0.25, 1.0 / 1.25) * lit * min(1.15 * sky, 1.0) * caustic
    twice = 2.0 * (cornea[0] * view[0] + cornea[1] * view[1] + cornea[2] * view[2])
    rx, ry = twice * cornea[0] - view[0], twice * cornea[1] - view[1]
    rz = twice * cornea[2] - view[2]
    width = 0.012 + 0.05 * eyes.pixel
    on_key = rx * key[0] + ry * key[1] + rz * key[2]
    on_window = rx * window[0] + ry * window[1] + rz * window[2]
    seen = smooth_step(0.1, 0.35, sky)
    glint = (
        0.75
        * lit
        * seen
        * smooth_step(lights.key_cosine - width, lights.key_cosine + width, on_key)
    )
    pane = 0.22 * seen * smooth_step(0.972, 0.985, on_window)
    above, mirror, open_sky = 0.5 - 0.5 * ry, CORNEA_MIRROR * sky, smooth_step(0.0, 0.8, sky)
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
def _turned(turn: Float64Array, side: int, d: Triple) -> Triple:
    return (
        turn[side, 0, 0] * d[0] + turn[side, 0, 1] * d[1] + turn[side, 0, 2] * d[2],
        turn[side, 1, 0] * d[0] + turn[side, 1, 1] * d[1] + turn[side, 1, 2] * d[2],
        turn[side, 2, 0] * d[0] + turn[side, 2, 1] * d[1] + turn[side, 2, 2] * d[2],
    )
