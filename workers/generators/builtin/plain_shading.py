"""Light of mouth, teeth, tongue, clothing and whatever else has one colour a vertex."""

from __future__ import annotations

import numpy as np

from workers.generators.builtin import shading_inputs as code
from workers.generators.builtin.shading_inputs import ClothLook, Lights, MouthLook, Triple
from workers.generators.builtin.shading_terms import highlight, mixed, towards_camera, unit, wrapped
from workers.raster.jit import compiled
from workers.types import Float32Array, UInt8Array


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
    """Mouth, teeth, tongue, clothing and what else has one colour a vertex."""
    key = lights.key_rgb
    for i in range(num):
        kind = material[i]
        if kind <= code.RIGHT_EYE or kind == code.HAIR:
            continue
        n = unit(values[i, 0], values[i, 1], values[i, 2])
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
        elif kind == code.TONGUE:
            colour, shine = mouth.tongue_rgb, 0.6
        elif kind == code.CLOTH:
            colour = _cloth(cloth, values[i, 17], values[i, 18])
            shine = 0.0
        view = towards_camera(values[i, 22], values[i, 23])
        mirror = lit * shine * highlight(lights.key, n, view, max(facing, 0.0), 0.35)
        diffuse = wrapped(facing, 0.2, 1.0 / 1.2) * lit
        rgb[i, 0] = colour[0] * (values[i, 3] + key[0] * diffuse) + key[0] * mirror
        rgb[i, 1] = colour[1] * (values[i, 4] + key[1] * diffuse) + key[1] * mirror
        rgb[i, 2] = colour[2] * (values[i, 5] + key[2] * diffuse) + key[2] * mirror


@compiled
def _cloth(cloth: ClothLook, rest_x: float, rest_y: float) -> Triple:
    across = cloth.pattern & 2 and int(np.floor(rest_x / cloth.period)) & 1
    down = cloth.pattern & 1 and int(np.floor(rest_y / cloth.period)) & 1
    share = (across + down) / (2.0 if cloth.pattern == 3 else 1.0)
    return mixed(cloth.first_rgb, cloth.second_rgb, share)
