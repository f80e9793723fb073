"""A picture in linear light: fragments gathered, shaded, laid over the backdrop; band by band."""

from __future__ import annotations

import numpy as np

from workers.generators.builtin.eye_shading import shade_eyes
from workers.generators.builtin.fragments import compose, fragment_room, gather
from workers.generators.builtin.hair_shading import shade_hair
from workers.generators.builtin.plain_shading import shade_plain
from workers.generators.builtin.shading_inputs import Geometry, Lights, Look
from workers.generators.builtin.skin_shading import shade_skin
from workers.types import Float32Array

BAND_ROWS = 48  # rows whose fragments are shaded together: they stay in the cache


def draw_picture(
    geometry: Geometry, lights: Lights, look: Look, backdrop: Float32Array
) -> Float32Array:
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
    room = fragment_room(BAND_ROWS, width)
    maps = look.maps
    key_in_eye = np.array(lights.key) @ maps.eye_to_camera  # (2, 3) in the eyeballs' own axes
    for first in range(0, height, BAND_ROWS):
        last = min(first + BAND_ROWS, height)
        num = gather(first, last, geometry, room)
        surfaces = (num, room.values, room.material)
        shade_skin(
            *surfaces, geometry.axes, lights, look.skin, maps.skin, maps.brows, maps.wrinkles,
            maps.folded, room.rgb,
        )  # fmt: skip
        shade_eyes(
            *surfaces, lights, look.eyes, maps.fibres, maps.eye_centres, maps.eye_to_camera,
            maps.eye_to_head, maps.eye_openness, maps.to_resting_lids, key_in_eye, room.rgb,
        )  # fmt: skip
        shade_hair(*surfaces, geometry.axes, lights, look.hair, maps.strands, room.rgb)
        shade_plain(*surfaces, lights, look.mouth, look.cloth, room.rgb)
        compose(first, last, num, room, backdrop, picture)
    return picture
