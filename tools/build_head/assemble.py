"""The whole mesh of the mean head, both halves, all parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tools.build_head.beard import add_beard
from tools.build_head.chart import Chart
from tools.build_head.clothing import add_clothing
from tools.build_head.eyeball import add_eyeball
from tools.build_head.glasses import add_glasses
from tools.build_head.hair import add_hair
from tools.build_head.half_mesh import HalfMesh, WholeMesh, mirror
from tools.build_head.headwear import add_headwear
from tools.build_head.layout import lay_out
from tools.build_head.loft import Loft
from tools.build_head.orient import flips_to_face_outward
from tools.build_head.skin import add_skin
from tools.build_head.spline import Floats
from tools.build_head.teeth import add_teeth
from tools.build_head.tongue import add_tongue


def assemble() -> tuple[WholeMesh, Chart, Floats]:
    """Every part of the mean head (millimetres), the chart and the skin's places (N, 2) on it."""
    loft = Loft()
    chart = Chart(loft)
    half = HalfMesh()
    layout = lay_out(chart)
    add_skin(half, chart, layout)
    add_eyeball(half)
    add_teeth(half)
    add_hair(half, loft)
    add_clothing(half, loft)
    add_beard(half, loft)
    add_headwear(half, loft)
    add_glasses(half)
    add_tongue(half)
    mesh = mirror(half)
    flip = flips_to_face_outward(mesh.points, mesh.triangles)[:, None]
    whole = replace(
        mesh,
        triangles=np.where(flip, mesh.triangles[:, ::-1], mesh.triangles),
        uv_triangles=np.where(flip, mesh.uv_triangles[:, ::-1], mesh.uv_triangles),
    )
    return whole, chart, layout.plane
