"""Next3D as a `FaceGenerator`: FLAME poses the head, the network dresses it, a chunk at a time.

A chunk is computed by calls whose shapes never change, each face with its own random numbers: a
picture does not depend on who else is in the chunk. What an identity's faces share is kept by
`IdentityCache`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
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
from workers.generators.next3d.placement import Placement, look_at_m, volume_camera
from workers.generators.next3d.rays import (
    camera_params,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
)
from workers.generators.next3d.recording import Function, Recordings
from workers.generators.next3d.sampling import VolumeDraws
from workers.sampling import Rig, face_height
from workers.types import Described, FaceParams, PosedHeads, Topology, VolumeView

CHUNK_SIZE: Final = {"cpu": 1, "cuda": 16}
"""Faces drawn in one pass. A GPU starts the same number of kernels for one face and for sixteen; a
CPU gains nothing, and its kernels would choose their roundings by the batch. Planes of as many
people and meshes are drawn in one pass too.
"""

CHUNKS_KEPT: Final = 4
"""Chunks whose planes are kept: a face's are asked for at the gate and again for its picture."""

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
        chunk_size: faces in a chunk; None takes `CHUNK_SIZE` of the network's device.
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
        chunk_size: int | None = None,
    ) -> None:
        self._network = network
        self._device = network.device
        self._chunk_size = CHUNK_SIZE[self._device.type] if chunk_size is None else chunk_size
        kept = CHUNKS_KEPT * self._chunk_size
        self._recordings = Recordings(network.device)
        self._cache = IdentityCache(
            network,
            max_identities=kept,
            max_meshes=kept,
            rows=self._chunk_size,
            recordings=self._recordings,
        )
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
        return self._chunk_size

    @property
    def device(self) -> torch.device:
        """See `FaceGenerator.device`."""
        return self._network.device

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

    def observe(self, faces: Sequence[FaceParams], heads: PosedHeads) -> list[VolumeView]:
        """See `FaceGenerator.observe`."""
        config = self._network.config
        side, rendering = 2 * config.neural_resolution, config.rendering

        def measure(*given: Tensor) -> tuple[Tensor, ...]:
            table, last_w, params, shift = given
            draws = VolumeDraws.deterministic(
                len(params), side * side, rendering.num_coarse, rendering.num_fine, params.device
            )
            planes = DrawnPlanes(table, last_w)
            rays = self._network.measure(planes, params, draws, resolution=side, ray_shift=shift)
            return depth_view.median_ray_depth(rays), rays.march.opacity

        with torch.inference_mode():
            ray_depth, opacity = self._recorded("observe", measure, *self._sight(faces, heads))
        cameras = [face.camera for face in faces]
        return depth_view.views_of(
            ray_depth, opacity, cameras, self._placement.margin_m, is_learnt=self._is_learnt
        )

    def render(self, faces: Sequence[FaceParams], heads: PosedHeads) -> Tensor:
        """See `FaceGenerator.render`."""
        config = self._network.config
        side, rendering = config.neural_resolution, config.rendering
        size = (faces[0].camera.height_px, faces[0].camera.width_px)

        def draw(*given: Tensor) -> tuple[Tensor, ...]:
            table, last_w, params, shift, stratified, importance = given
            planes = DrawnPlanes(table, last_w)
            numbers = VolumeDraws(stratified, importance)
            seen = self._network.render(planes, params, numbers, resolution=side, ray_shift=shift)
            return (_picture(self._network.upscale(planes, seen.features), size),)

        with torch.inference_mode():
            numbers = VolumeDraws.of_samples(
                [face.streams for face in faces],
                side * side,
                rendering.num_coarse,
                rendering.num_fine,
                self._device,
            )
            (images,) = self._recorded(
                ("render", size),
                draw,
                *self._sight(faces, heads),
                numbers.stratified,
                numbers.importance,
            )
        return images

    def _recorded(self, name: Hashable, function: Function, *given: Tensor) -> tuple[Tensor, ...]:
        """Call through the recordings, where rays are bounded without a look at them."""
        if self._network.config.rendering.ray_limits is None:
            return function(*(each.to(self._device) for each in given))
        return self._recordings(name, function, *given)

    def _sight(
        self, faces: Sequence[FaceParams], heads: PosedHeads
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The faces' planes and styles, their cameras, and the shifts of their rays."""
        cameras = [volume_camera(face.camera, self._network.config) for face in faces]
        params = torch.cat([camera.params for camera in cameras])
        shift = torch.tensor([camera.ray_shift for camera in cameras])
        planes = self._planes(faces, heads, params)
        return planes.table, planes.last_w, params, shift

    def _planes(
        self, faces: Sequence[FaceParams], heads: PosedHeads, cameras: Tensor
    ) -> DrawnPlanes:
        vertices = heads.model_vertices
        assert vertices is not None  # noqa: S101 - `pose` made it
        conditioning = cameras if self._conditioning == "render" else self._front.expand_as(cameras)
        requests = [
            _request(face, camera) for face, camera in zip(faces, conditioning, strict=True)
        ]
        return self._cache.planes(
            requests, list(torch.cat([vertices, self._points(vertices)], dim=1))
        )

    def _points(self, vertices: Tensor) -> Tensor:
        """(B, 68, 3): as published, the contour is the frontal one; only the lips are looked at."""
        level = [0.0] * len(vertices)
        return self._landmarks.points(vertices, self._topology.landmarks.cells(level, level))


def _picture(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) nominally in [-1, 1] to (B, H, W, 3) uint8."""
    if tuple(images.shape[-2:]) != size:
        images = functional.interpolate(
            images, size, mode="bilinear", align_corners=False, antialias=True
        )
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _request(face: FaceParams, conditioning_camera: Tensor) -> IdentityRequest:
    latent = face.latent
    assert latent is not None  # noqa: S101 - the rig asks for one
    return IdentityRequest(
        z=torch.from_numpy(latent.z),
        conditioning_camera=conditioning_camera,
        truncation_psi=latent.truncation_psi,
        truncation_cutoff=latent.truncation_cutoff,
    )


def frontal_camera(network: Next3DNetwork) -> Tensor:
    """(1, 25) the camera in front of the face that the network knows best."""
    config = network.config
    middle = torch.tensor([math.pi / 2])
    pose = orbit_camera(
        middle, middle, pivot=torch.tensor(config.orbit_pivot), radius=config.orbit_radius
    )
    return camera_params(pose, intrinsics_from_focal(focal_from_fov(TRAINED_FOV_DEG))[None])
