"""Posed heads of the embedded generator, before cameras that see them in every way."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from workers.generators.protocol import FaceGenerator
from workers.generators.registry import open_generator
from workers.raster.numba_cpu import NumbaRasteriser
from workers.raster.protocol import Fragments
from workers.sampling import sample_face
from workers.types import FaceParams, Topology

SIZE_PX = 128


@dataclass(frozen=True)
class Scene:
    """Heads as the labellers meet them."""

    topology: Topology
    faces: list[FaceParams]
    vertices_cam: Tensor
    fragments: Fragments

    def one(self, row: int) -> Fragments:
        only = slice(row, row + 1)
        hit = self.fragments
        return Fragments(hit.face_id[only], hit.bary[only], hit.z[only])


def spec_of(**changes: object) -> JobSpec:
    document = {"count": 1000, "image": {"size": SIZE_PX}, "annotations": list(ANNOTATIONS)}
    return parse_job_spec(json.dumps(document | changes))


@pytest.fixture(scope="session")
def generator() -> FaceGenerator:
    return open_generator(spec_of().generator)


@pytest.fixture(scope="session")
def scene(generator: FaceGenerator) -> Scene:
    """Eight faces: up to 85 degrees aside, mouths open, some cut by the picture's edge."""
    spec = spec_of(
        pose={"yaw": [-85, 85], "pitch": [-40, 40], "roll": [-40, 40]},
        expression={"jaw_open": [0, 25]},
        camera={"fov": [8, 30]},
    )
    faces = [sample_face(spec, generator.rig, i, 0, "train") for i in range(generator.chunk_size)]
    world2cam = torch.stack([torch.from_numpy(face.camera.world2cam) for face in faces])
    vertices = generator.pose(faces).vertices.double()
    in_camera = vertices @ world2cam[:, :3, :3].transpose(1, 2) + world2cam[:, None, :3, 3]
    vertices_cam = in_camera.float().contiguous()
    intrinsics = torch.stack([torch.from_numpy(face.camera.intrinsics_px) for face in faces])
    triangles = torch.from_numpy(generator.topology.faces)
    fragments = NumbaRasteriser().rasterise(vertices_cam, triangles, intrinsics, SIZE_PX, SIZE_PX)
    return Scene(generator.topology, faces, vertices_cam, fragments)
