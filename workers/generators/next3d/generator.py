"""Next3D as a `FaceGenerator`: FLAME poses the head, the network dresses it, one face at a time.

A face is computed alone, by calls whose shapes never change, with its own random numbers: its
picture does not depend on who else is in a chunk. What an identity's faces share is kept by
`IdentityCache`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from synthforge.shards import GeneratorInfo
from workers.flame.assets import FlameAssets
from workers.flame.embedding import Landmarks
from workers.flame.model import Flame
from workers.generators.next3d import depth_view
from workers.generators.next3d.expressions import expression_presets
from workers.generators.next3d.identity_cache import IdentityCache, IdentityRequest
from workers.generators.next3d.network import DrawnPlanes, Next3DNetwork
from workers.generators.next3d.placement import (
    Placement,
    VolumeCamera,
    look_at_m,
    volume_camera,
)
from workers.generators.next3d.rays import (
    camera_params,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
)
from workers.generators.next3d.sampling import VolumeDraws
from workers.sampling import Rig, face_height
from workers.types import Described, FaceParams, PosedHeads, Topology, VolumeView

CHUNK_SIZE: Final = 1
TRAINED_FOV_DEG: Final = 18.837
"""Of the cameras that FFHQ's crops were aligned to."""

Conditioning = Literal["fixed", "render"]


IRIS_RADIUS: Final = 0.49  # over the eyeball's: 5.9 mm over 12 mm, of most adults
PUPIL_RADIUS: Final = 0.17


@dataclass(frozen=True)
class Head:
    """The head that the network dresses.

    Attributes:
        assets: the model, float32.
        topology: of its mesh.
    """

    assets: FlameAssets
    topology: Topology


class Next3DGenerator:
    """`FaceGenerator` of a Next3D network.

    Args:
        network: built and laid out.
        head: of the same mesh.
        placement: of the mesh in the volume.
        conditioning: `fixed`: every latent is mapped under one camera in front of the face, so that
            an identity looks the same from everywhere; `render`: under the picture's, as published.
        info: what it is made of.
        is_learnt: whether the weights are trained.
    """

    def __init__(
        self,
        network: Next3DNetwork,
        head: Head,
        *,
        placement: Placement,
        conditioning: Conditioning,
        info: GeneratorInfo,
        is_learnt: bool,
    ) -> None:
        self._network = network
        self._cache = IdentityCache(network)
        self._flame = Flame(head.assets)
        self._landmarks = Landmarks(head.topology.landmarks, head.assets.faces)
        self._topology = head.topology
        self._placement = placement
        self._conditioning = conditioning
        self._info = info
        self._is_learnt = is_learnt
        self._front = frontal_camera(network)
        self._rig = Rig(
            look_at_m=look_at_m(network.config),
            face_height_m=face_height(
                placement(torch.from_numpy(head.assets.v_template)).double().numpy(), head.topology
            ),
            num_betas=self._flame.num_shape,
            num_expression=self._flame.num_expression,
            presets=expression_presets(head.assets, head.topology.landmarks),
            num_latent=network.config.z_dim,
        )

    @property
    def chunk_size(self) -> int:
        """See `FaceGenerator.chunk_size`."""
        return CHUNK_SIZE

    @property
    def topology(self) -> Topology:
        """See `FaceGenerator.topology`."""
        return self._topology

    @property
    def rig(self) -> Rig:
        """See `FaceGenerator.rig`."""
        return self._rig

    def info(self) -> GeneratorInfo:
        """See `FaceGenerator.info`."""
        return self._info

    def describe(self, face: FaceParams) -> Described:  # noqa: ARG002 - alike for all
        """See `FaceGenerator.describe`: who is seen, the network alone knows; eyes are average."""
        return Described(None, None, IRIS_RADIUS, PUPIL_RADIUS)

    def pose(self, faces: Sequence[FaceParams]) -> PosedHeads:
        """See `FaceGenerator.pose`; `vertices` are where the volume shows the mesh."""

        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(face, name) for face in faces]))

        poses = {
            name: stacked(name) for name in ("neck_pose", "jaw_pose", "leye_pose", "reye_pose")
        }
        mesh = self._flame(stacked("betas"), stacked("expression"), **poses)
        transforms = mesh.joint_transforms.clone()
        transforms[:, :, :3, 3] = self._placement(transforms[:, :, :3, 3])
        return PosedHeads(self._placement(mesh.vertices), transforms, mesh.vertices)

    def observe(self, face: FaceParams, head: PosedHeads) -> VolumeView:
        """See `FaceGenerator.observe`."""
        side = 2 * self._network.config.neural_resolution
        rendering = self._network.config.rendering
        camera = volume_camera(face.camera, self._network.config)
        with torch.inference_mode():
            draws = VolumeDraws.deterministic(
                1, side * side, rendering.num_coarse, rendering.num_fine, self._network.device
            )
            seen = self._network.render(
                self._planes(face, head, camera),
                camera.params.to(self._network.device),
                draws,
                resolution=side,
                ray_shift=camera.ray_shift,
            )
        return depth_view.view_of(
            seen.rays, face.camera, self._placement.margin_m, is_learnt=self._is_learnt
        )

    def render(self, faces: Sequence[FaceParams], heads: PosedHeads) -> Tensor:
        """See `FaceGenerator.render`."""
        with torch.inference_mode():
            return torch.stack(
                [self._picture(face, heads.row(row)) for row, face in enumerate(faces)]
            )

    def _picture(self, face: FaceParams, head: PosedHeads) -> Tensor:
        """(H, W, 3) uint8."""
        config = self._network.config
        camera = volume_camera(face.camera, config)
        planes = self._planes(face, head, camera)
        draws = VolumeDraws.of_samples(
            [face.streams],
            config.neural_resolution**2,
            config.rendering.num_coarse,
            config.rendering.num_fine,
            self._network.device,
        )
        params = camera.params.to(self._network.device)
        seen = self._network.render(planes, params, draws, ray_shift=camera.ray_shift)
        image = self._network.upscale(planes, seen.features)
        size = (face.camera.height_px, face.camera.width_px)
        if tuple(image.shape[-2:]) != size:
            image = functional.interpolate(
                image, size, mode="bilinear", align_corners=False, antialias=True
            )
        return (image[0] * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0)

    def _planes(self, face: FaceParams, head: PosedHeads, camera: VolumeCamera) -> DrawnPlanes:
        latent, vertices = face.latent, head.model_vertices
        assert latent is not None  # noqa: S101 - the rig asks for one
        assert vertices is not None  # noqa: S101 - `pose` made it
        request = IdentityRequest(
            z=torch.from_numpy(latent.z),
            conditioning_camera=(camera.params if self._conditioning == "render" else self._front)[
                0
            ],
            truncation_psi=latent.truncation_psi,
            truncation_cutoff=latent.truncation_cutoff,
        )
        return self._cache.planes(request, torch.cat([vertices[0], self._points(vertices)[0]]))

    def _points(self, vertices: Tensor) -> Tensor:
        """(1, 68, 3): as published, the contour is the frontal one; only the lips are looked at."""
        frontal = self._topology.landmarks.cells([0.0], [0.0])
        return self._landmarks.points(vertices, frontal)


def frontal_camera(network: Next3DNetwork) -> Tensor:
    """(1, 25) the camera in front of the face that the network knows best."""
    config = network.config
    middle = torch.tensor([math.pi / 2])
    pose = orbit_camera(
        middle, middle, pivot=torch.tensor(config.orbit_pivot), radius=config.orbit_radius
    )
    return camera_params(pose, intrinsics_from_focal(focal_from_fov(TRAINED_FOV_DEG))[None])
