"""Makes labelled faces: draw, pose, rasterise, judge; then, of the accepted, picture and labels.

The gate stands before the renderer, so a refused draw costs a mesh and a raster, no picture.
Everything runs in chunks of the generator's fixed size, the last one padded, on one thread:
a face's bytes depend on nothing but its own draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from synthforge.jobs import JobSpec
from workers.annotate.depth import quantise_depth
from workers.annotate.landmarks import FaceLandmarks, locate_landmarks
from workers.annotate.meta import sample_meta
from workers.annotate.normals import (
    VertexNormals,
    encode_normals,
    faces_seen_from_outside,
    pixel_rays,
)
from workers.annotate.segmentation import segment
from workers.annotate.uv import quantise_uv
from workers.encoding import LabelledFace
from workers.flame.embedding import Landmarks
from workers.generators.protocol import FaceGenerator
from workers.quality import Accepted, Rejected, judge, measure
from workers.raster.protocol import Fragments, Rasteriser
from workers.sampling import sample_face
from workers.timing import Stages
from workers.types import FaceParams, Float64Array, PosedHeads, UInt8Array, UInt16Array

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """One attempt to be made at one sample."""

    index: int
    attempt: int
    split: str


@dataclass(frozen=True)
class Candidate:
    """A face that passed the gate: its mesh and what the camera hits; leading axis 1 everywhere."""

    face: FaceParams
    heads: PosedHeads
    vertices_cam: Tensor
    fragments: Fragments
    segmentation: UInt8Array
    landmarks: FaceLandmarks
    verdict: Accepted


@dataclass(frozen=True)
class Refusal:
    """A face that did not pass, and why."""

    face: FaceParams
    verdict: Rejected


class FaceMaker:
    """Makes the faces of one job."""

    def __init__(
        self, spec: JobSpec, generator: FaceGenerator, rasteriser: Rasteriser, stages: Stages
    ) -> None:
        self._spec = spec
        self._generator = generator
        self._rasteriser = rasteriser
        self._stages = stages
        topology = generator.topology
        self._topology = topology
        self._faces = torch.from_numpy(topology.faces)
        self._uv = torch.from_numpy(topology.uv)
        self._uv_faces = torch.from_numpy(topology.uv_faces)
        self._face_region = torch.from_numpy(topology.face_region)
        self._landmarks = Landmarks(topology.landmarks, topology.faces)
        self._vertex_normals = VertexNormals(topology.faces, len(topology.mirror))

    @property
    def chunk_size(self) -> int:
        """Faces that one call makes."""
        return self._generator.chunk_size

    def propose(self, draws: Sequence[Draw]) -> list[Candidate | Refusal]:
        """Draw, pose, rasterise and judge up to `chunk_size` faces."""
        with self._stages.timed("parameters"):
            drawn = [
                sample_face(self._spec, self._generator.rig, draw.index, draw.attempt, draw.split)
                for draw in draws
            ]
        faces = _padded(drawn, self.chunk_size)
        with self._stages.timed("head"):
            heads = self._generator.pose(faces)
            vertices_cam = _to_camera(heads.vertices, faces)
        with self._stages.timed("raster"):
            fragments = self._rasterise(vertices_cam, faces)
        with self._stages.timed("annotate"):
            segmentation = segment(fragments.face_id, self._face_region)
            return [
                self._judged(
                    face,
                    PosedHeads(heads.vertices[[i]], heads.joint_transforms[[i]]),
                    vertices_cam[[i]],
                    Fragments(fragments.face_id[[i]], fragments.bary[[i]], fragments.z[[i]]),
                    segmentation[i].numpy(),
                )
                for i, face in enumerate(drawn)
            ]

    def finish(self, candidates: Sequence[Candidate]) -> list[LabelledFace]:
        """Draw the pictures of up to `chunk_size` accepted faces and label them."""
        padded = _padded(candidates, self.chunk_size)
        with self._stages.timed("shade"):
            heads = PosedHeads(
                torch.cat([candidate.heads.vertices for candidate in padded]),
                torch.cat([candidate.heads.joint_transforms for candidate in padded]),
            )
            images = self._generator.render([candidate.face for candidate in padded], heads)
        with self._stages.timed("annotate"):
            return [
                self._labelled(candidate, images[i].numpy())
                for i, candidate in enumerate(candidates)
            ]

    def _rasterise(self, vertices_cam: Tensor, faces: Sequence[FaceParams]) -> Fragments:
        intrinsics = torch.stack([torch.from_numpy(face.camera.intrinsics_px) for face in faces])
        size_px = self._spec.image.size
        return self._rasteriser.rasterise(
            vertices_cam, self._faces, intrinsics.float(), size_px, size_px
        )

    def _judged(
        self,
        face: FaceParams,
        heads: PosedHeads,
        vertices_cam: Tensor,
        fragments: Fragments,
        segmentation: UInt8Array,
    ) -> Candidate | Refusal:
        cell = self._topology.landmarks.cells([face.yaw_deg], [face.pitch_deg])
        landmarks = locate_landmarks(
            _double(self._landmarks.points(vertices_cam, cell)[0]),
            _double(self._landmarks.jaw_fixed(vertices_cam)[0]),
            vertices_cam[0].numpy(),
            self._topology.faces,
            face.camera,
        )
        verdict = judge(measure(landmarks.xy_px, segmentation), self._spec.quality)
        if isinstance(verdict, Rejected):
            return Refusal(face, verdict)
        return Candidate(face, heads, vertices_cam, fragments, segmentation, landmarks, verdict)

    def _labelled(self, candidate: Candidate, image: UInt8Array) -> LabelledFace:
        asked = self._spec.annotations
        u, v = self._uv_steps(candidate) if "uv" in asked else (None, None)
        return LabelledFace(
            image=image,
            segmentation=candidate.segmentation if "segmentation" in asked else None,
            depth=_uint16(quantise_depth(candidate.fragments.z)) if "depth" in asked else None,
            normal=self._normals(candidate) if "normals" in asked else None,
            u=u,
            v=v,
            dense=candidate.vertices_cam[0].numpy() if "landmarks_dense" in asked else None,
            meta=sample_meta(
                self._spec,
                candidate.face,
                joint_transforms=candidate.heads.joint_transforms[0].numpy(),
                landmarks=candidate.landmarks,
                segmentation=candidate.segmentation,
                measured=candidate.verdict.measured,
            ),
        )

    def _normals(self, candidate: Candidate) -> UInt8Array:
        fragments = candidate.fragments
        normals = self._rasteriser.interpolate(
            fragments, self._faces, self._vertex_normals(candidate.vertices_cam)
        )
        outside = faces_seen_from_outside(candidate.vertices_cam, self._faces.long())
        facing = outside[0][fragments.face_id.long().clamp_min(0)]
        size_px = self._spec.image.size
        intrinsics = torch.from_numpy(candidate.face.camera.intrinsics_px[None]).float()
        rays = pixel_rays(intrinsics, size_px, size_px)
        return np.asarray(encode_normals(normals, fragments.face_id >= 0, rays, facing)[0].numpy())

    def _uv_steps(self, candidate: Candidate) -> tuple[UInt16Array, UInt16Array]:
        fragments = candidate.fragments
        uv = self._rasteriser.interpolate(fragments, self._uv_faces, self._uv)
        u, v = quantise_uv(uv, fragments.face_id >= 0)
        return _uint16(u), _uint16(v)


def _to_camera(vertices: Tensor, faces: Sequence[FaceParams]) -> Tensor:
    """Transform (B, V, 3) to camera axes, a coordinate at a time: no product of varying shape."""
    world2cam = torch.stack([torch.from_numpy(face.camera.world2cam) for face in faces]).float()
    rows = [
        vertices[..., 0] * world2cam[:, row, 0, None]
        + vertices[..., 1] * world2cam[:, row, 1, None]
        + vertices[..., 2] * world2cam[:, row, 2, None]
        + world2cam[:, row, 3, None]
        for row in range(3)
    ]
    return torch.stack(rows, dim=-1)


def _padded(items: Sequence[T], size: int) -> list[T]:
    return [*items, *[items[-1]] * (size - len(items))]


def _double(points: Tensor) -> Float64Array:
    return np.asarray(points.double().numpy())


def _uint16(steps: Tensor) -> UInt16Array:
    return np.asarray(steps[0].numpy().astype(np.uint16))
