"""python -m benchmarks.fidelity: how far our labelling of Next3D's faces is from the published one.

Each line is one difference that docs/fidelity.md names, measured on our own head (untrained: what
is measured is geometry, not the look). `--seg-texture PNG` adds SynthForge's published classes.

Example: python -m benchmarks.fidelity --faces 32
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from synthforge.jobs import parse_job_spec
from tools.semantic_map import agreement, draw_map
from workers.camera import project, to_camera
from workers.flame.embedding import Landmarks
from workers.flame.model import Flame
from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.own_head import own_head
from workers.generators.next3d.placement import (
    IDENTITY,
    METRES_PER_UNIT,
    PUBLISHED,
    Placement,
    look_at_m,
    to_volume,
)
from workers.generators.next3d.published import mask_focal, volume_points
from workers.generators.next3d.rays import focal_from_fov
from workers.generators.next3d.views import ORTH_SCALE, ORTH_SHIFT
from workers.sampling import Rig, sample_face
from workers.types import Camera, Float64Array

SIZE_PX = 512


@dataclass(frozen=True)
class Posed:
    """A head and its camera.

    Attributes:
        vertices: (V, 3) world metres, of the head model.
        landmarks: (68, 3), contour of the view.
        frozen: (68, 3), contour of the frontal view, as published.
        camera: of the picture.
        fov_deg: over the diagonal.
    """

    vertices: Float64Array
    landmarks: Float64Array
    frozen: Float64Array
    camera: Camera
    fov_deg: float


def posed(num_faces: int) -> list[Posed]:
    """Draw heads over the published ranges of view."""
    assets, topology, _ = own_head()
    flame, points = Flame(assets), Landmarks(topology.landmarks, assets.faces)
    neutral = np.zeros(flame.num_expression, np.float32)
    rig = Rig(look_at_m(Next3DConfig()), 0.12, flame.num_shape, flame.num_expression,
              {"neutral": neutral})  # fmt: skip
    spec = parse_job_spec(json.dumps({
        "count": num_faces, "generator": "next3d", "image": {"size": SIZE_PX},
        "pose": {"yaw": [-46, 46], "pitch": [-30, 30], "roll": 0},
        "camera": {"fov": [18, 24], "distance": 1.0}}))  # fmt: skip
    found = []
    for index in range(num_faces):
        face = sample_face(spec, rig, index, 0, "train")
        mesh = flame(torch.from_numpy(face.betas)[None], torch.from_numpy(face.expression)[None])
        cells = (
            topology.landmarks.cells([face.yaw_deg], [face.pitch_deg]),
            topology.landmarks.cells([0.0], [0.0]),
        )
        seen, frozen = (points.points(mesh.vertices, cell)[0].double().numpy() for cell in cells)
        vertices = mesh.vertices[0].double().numpy()
        found.append(Posed(vertices, seen, frozen, face.camera, face.scalars["camera.fov"]))
    return found


def pixels(points_m: Float64Array, camera: Camera) -> Float64Array:
    """(..., 2) of world points."""
    return project(to_camera(points_m, camera.world2cam), camera.intrinsics_px)


def apart_px(one: Float64Array, other: Float64Array) -> Float64Array:
    """(N,) distances."""
    return np.asarray(np.linalg.norm(one - other, axis=-1))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--seg-texture", type=Path, help="SynthForge's flame_seg_tex.png")
    arguments = parser.parse_args()
    heads = posed(arguments.faces)
    for name, values, unit in _differences(heads):
        say(name, f"mean {values.mean():.3f} {unit}, largest {values.max():.3f} {unit}")
    if arguments.seg_texture is not None:
        published = cv2.imread(str(arguments.seg_texture), cv2.IMREAD_COLOR)
        if published is None:
            parser.error(f"{arguments.seg_texture} is no picture")
        share = agreement(draw_map(), np.asarray(published[..., ::-1], np.uint8))["all"]
        say("semantic map, equal classes over the UV layout", f"{share:.1%}")
    return 0


def _differences(heads: list[Posed]) -> list[tuple[str, Float64Array, str]]:
    """Name, values and unit of each difference."""
    nominal, learnt = Placement(IDENTITY), Placement(PUBLISHED)
    slip, moved, masks, focal, contour, ray, steps = ([] for _ in range(7))
    for head in heads:
        camera = head.camera
        right = pixels(_placed(nominal, head.vertices), camera)
        off = volume_points(head.vertices, ORTH_SHIFT, ORTH_SCALE) - to_volume(head.vertices)
        slip.append(apart_px(pixels(head.vertices + off * METRES_PER_UNIT, camera), right))
        moved.append(apart_px(pixels(_placed(learnt, head.vertices), camera), right))
        seen = to_camera(head.vertices, camera.world2cam)
        off_axis = np.linalg.norm(seen[:, :2] / seen[:, 2:], axis=1)
        published_px = focal_from_fov(head.fov_deg) * SIZE_PX
        masks.append(off_axis * abs(float(mask_focal(head.fov_deg)) * SIZE_PX - published_px))
        focal.append(off_axis * abs(camera.intrinsics_px[0, 0] - published_px))
        jaws = (pixels(points[:17], camera) for points in (head.landmarks, head.frozen))
        contour.append(apart_px(*jaws))
        ray.append((np.linalg.norm(seen, axis=1) - seen[:, 2]) * 1000)
        steps.append(np.array([_published_step_mm()]))
    return [
        ("sign slip of 0.01 in y, vertices", np.concatenate(slip), "px"),
        ("published learnt map against the nominal way, vertices", np.concatenate(moved), "px"),
        ("masks' camera against the picture's, vertices", np.concatenate(masks), "px"),
        ("1.414 and 3.14159 in the focal length, vertices", np.concatenate(focal), "px"),
        ("contour frozen at the frontal one, 17 jaw points", np.concatenate(contour), "px"),
        ("ray distance instead of z, vertices", np.concatenate(ray), "mm"),
        ("step of the published 8-bit depth, full ray interval", np.concatenate(steps), "mm"),
    ]


def _placed(placement: Placement, vertices: Float64Array) -> Float64Array:
    moved = placement.in_metres
    return moved(vertices)


def _published_step_mm() -> float:
    near, far = Next3DConfig().rendering.ray_limits or (math.nan, math.nan)
    return (far - near) / 255 * METRES_PER_UNIT * 1000


def say(name: str, value: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"{name:58} {value}\n")


if __name__ == "__main__":
    sys.exit(main())
