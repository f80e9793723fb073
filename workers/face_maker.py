"""Makes labelled faces: draw, pose, rasterise, judge; then, of the accepted, labels and picture.

The gate stands before labels and renderer, so a refused draw costs a mesh and a raster, no picture.
Everything runs in chunks of the generator's fixed size, the last one padded, on one thread:
a face's bytes depend on nothing but its own draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from synthforge.jobs import JobSpec
from synthforge.samples import SampleMeta
from synthforge.shards import GeneratorInfo
from workers.annotate.eyes import eyeball_vertices, locate_eyes
from workers.annotate.landmarks import FaceLandmarks, locate_landmarks
from workers.annotate.meta import sample_meta
from workers.annotate.occlusion import measure_occlusion
from workers.annotate.pixels import PixelLabels
from workers.annotate.select import make_labeller
from workers.annotate.volume import compose, hide_behind, measure_volume, segment_by_map
from workers.encoding import LabelledFace
from workers.flame.embedding import Landmarks
from workers.generators.protocol import FaceGenerator
from workers.plugins import PUBLISHED_LIMIT_PX, PlugIns, fill_unknown, judge_detected
from workers.quality import Accepted, Rejected, judge, judge_volume, measure
from workers.raster.protocol import Fragments
from workers.raster.select import Backend, make_rasteriser
from workers.sampling import sample_face
from workers.timing import Stages
from workers.types import FaceParams, Float32Array, Float64Array, PosedHeads, UInt8Array, VolumeView

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """One attempt to be made at one sample."""

    index: int
    attempt: int
    split: str


@dataclass(frozen=True)
class Judged:
    """A face that every gate so far let pass; see `Candidate`.

    Attributes:
        face: the draw.
        heads: its mesh.
        vertices_cam: (1, V, 3) camera axes.
        fragments: what is seen; B = 1.
        segmentation: (H, W) class ids.
        landmarks: the 68 points.
        verdict: of the gates so far.
        image: (H, W, 3) the picture, where a gate had to see it.
    """

    face: FaceParams
    heads: PosedHeads
    vertices_cam: Tensor
    fragments: Fragments
    segmentation: UInt8Array
    landmarks: FaceLandmarks
    verdict: Accepted
    image: UInt8Array | None = None


@dataclass(frozen=True)
class Candidate:
    """A face that passed the gate, with all its labels: what is left is the picture.

    Attributes:
        face: the draw.
        heads: its mesh; leading axis 1, as of `vertices_cam`.
        vertices_cam: (1, V, 3) camera axes.
        segmentation: (H, W) class ids.
        labels: the other label pictures that the job asks for.
        landmarks: the 68 points.
        verdict: of the gate.
        image: (H, W, 3) the picture, where the gate had to see it.
    """

    face: FaceParams
    heads: PosedHeads
    vertices_cam: Tensor
    segmentation: UInt8Array
    labels: PixelLabels
    landmarks: FaceLandmarks
    verdict: Accepted
    image: UInt8Array | None = None


@dataclass(frozen=True)
class Refusal:
    """A face that did not pass, and why."""

    face: FaceParams
    verdict: Rejected


class FaceMaker:
    """Makes the faces of one job."""

    def __init__(
        self, spec: JobSpec, generator: FaceGenerator, backend: Backend, stages: Stages
    ) -> None:
        self._spec = spec
        self._generator = generator
        self._stages = stages
        self._topology = generator.topology
        self._faces = torch.from_numpy(self._topology.faces)
        region_map = self._topology.region_map
        self._region_map = None if region_map is None else torch.from_numpy(region_map)
        self._uv_faces = torch.from_numpy(self._topology.uv_faces).long()
        self._uv = torch.from_numpy(self._topology.uv)
        self._rasteriser = make_rasteriser(backend)
        self._labeller = make_labeller(backend, self._topology)
        self._landmarks = Landmarks(self._topology.landmarks, self._topology.faces)
        self._eyeballs = eyeball_vertices(self._topology)
        self._plugins = PlugIns.of(spec)

    @property
    def chunk_size(self) -> int:
        """Faces that one call makes."""
        return self._generator.chunk_size

    def info(self) -> GeneratorInfo:
        """Tell who draws and labels the faces, the job's plug-ins included."""
        info = self._generator.info()
        return info.model_copy(update={"versions": info.versions | self._plugins.versions})

    def propose(self, draws: Sequence[Draw]) -> list[Candidate | Refusal]:
        """Draw, pose, rasterise and judge up to `chunk_size` faces, and label those that pass."""
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
            segmentation = self._segmented(fragments)
            found: list[Judged | Refusal] = [
                self._judged(
                    face, heads.row(i), vertices_cam[i : i + 1], _cut(fragments, i), classes
                )
                for i, (face, classes) in enumerate(zip(drawn, segmentation, strict=False))
            ]
            found = _through(found, self._observed)
            if self._plugins.detector is not None:
                found = _through(found, self._detected)
            return [each if isinstance(each, Refusal) else self._candidate(each) for each in found]

    def finish(self, candidates: Sequence[Candidate]) -> list[LabelledFace]:
        """Draw the pictures of up to `chunk_size` accepted faces."""
        drawn = [candidate.image for candidate in candidates if candidate.image is not None]
        images = drawn if len(drawn) == len(candidates) else self._drawn(candidates)
        with self._stages.timed("annotate"):
            return [
                self._labelled(candidate, image)
                for candidate, image in zip(candidates, images, strict=False)
            ]

    def _drawn(self, drawn: Sequence[Judged | Candidate]) -> list[UInt8Array]:
        """Pictures of up to a chunk of faces, made of a whole one."""
        with self._stages.timed("shade", on_gpu=True):
            images = self._generator.render(*self._chunk(drawn))
            return list(images.cpu().numpy())

    def _chunk(self, faces: Sequence[Judged | Candidate]) -> tuple[list[FaceParams], PosedHeads]:
        """Faces and meshes, the last repeated to fill a chunk."""
        padded = _padded(faces, self.chunk_size)
        return [each.face for each in padded], PosedHeads.stacked([each.heads for each in padded])

    def _rasterise(self, vertices_cam: Tensor, faces: Sequence[FaceParams]) -> Fragments:
        intrinsics = torch.stack([torch.from_numpy(face.camera.intrinsics_px) for face in faces])
        size_px = self._spec.image.size
        return self._rasteriser.rasterise(
            vertices_cam,
            self._faces.to(vertices_cam.device),
            intrinsics.to(vertices_cam.device),
            size_px,
            size_px,
        )

    def _segmented(self, fragments: Fragments) -> UInt8Array:
        """(B, H, W) class ids of the mesh."""
        if self._region_map is None:
            return self._labeller.segment(fragments.face_id)
        device = fragments.z.device
        tables = (table.to(device) for table in (self._region_map, self._uv_faces, self._uv))
        return segment_by_map(fragments, *tables)

    def _judged(
        self,
        face: FaceParams,
        heads: PosedHeads,
        vertices_cam: Tensor,
        fragments: Fragments,
        segmentation: UInt8Array,
    ) -> Judged | Refusal:
        """Judge a face by its mesh."""
        landmarks = self._located(face, vertices_cam.cpu())
        verdict = judge(measure(landmarks.xy_px, segmentation), self._spec.quality)
        if isinstance(verdict, Rejected):
            return Refusal(face, verdict)
        return Judged(face, heads, vertices_cam, fragments, segmentation, landmarks, verdict)

    def _observed(self, judged: Sequence[Judged]) -> list[Judged | Refusal]:
        """Judge faces by the matter that their pictures show, and label what is in front."""
        with self._stages.timed("observe", on_gpu=True):
            views = self._generator.observe(*self._chunk(judged))
        return [
            each if view is None else self._seen_in(view, each)
            for each, view in zip(judged, views, strict=False)
        ]

    def _seen_in(self, view: VolumeView, judged: Judged) -> Judged | Refusal:
        seen = measure_volume(judged.fragments, judged.segmentation, view)
        verdict = judge_volume({**judged.verdict.measured, **seen}, self._spec.quality)
        if isinstance(verdict, Rejected):
            return Refusal(judged.face, verdict)
        composite = compose(judged.fragments, judged.segmentation, view)
        return replace(
            judged,
            fragments=composite.fragments,
            segmentation=composite.segmentation,
            landmarks=hide_behind(judged.landmarks, view),
            verdict=verdict,
        )

    def _detected(self, judged: Sequence[Judged]) -> list[Judged | Refusal]:
        """Judge faces by what the job's detector sees in their pictures."""
        images = self._drawn(judged)
        return [self._detected_in(image, each) for each, image in zip(judged, images, strict=False)]

    def _detected_in(self, image: UInt8Array, judged: Judged) -> Judged | Refusal:
        detector, quality = self._plugins.detector, self._spec.quality
        assert detector is not None  # noqa: S101 - asked for
        limit_px = quality.max_detector_error or PUBLISHED_LIMIT_PX
        verdict = judge_detected(judged.landmarks.xy_px, detector(image), len(image), limit_px)
        if isinstance(verdict, Rejected):
            return Refusal(judged.face, verdict)
        both = Accepted({**judged.verdict.measured, **verdict.measured})
        return replace(judged, verdict=both, image=image)

    def _candidate(self, judged: Judged) -> Candidate:
        """Add the label pictures."""
        labels = self._labeller.label(
            judged.fragments,
            judged.vertices_cam,
            judged.face.camera.intrinsics_px,
            self._spec.annotations,
        )
        return Candidate(
            judged.face,
            judged.heads,
            judged.vertices_cam,
            judged.segmentation,
            labels,
            judged.landmarks,
            judged.verdict,
            judged.image,
        )

    def _located(self, face: FaceParams, vertices_cam: Tensor) -> FaceLandmarks:
        cell = self._topology.landmarks.cells([face.yaw_deg], [face.pitch_deg])
        return locate_landmarks(
            _double(self._landmarks.points(vertices_cam, cell)[0]),
            _double(self._landmarks.jaw_fixed(vertices_cam)[0]),
            vertices_cam[0].numpy(),
            self._topology.faces,
            face.camera,
        )

    def _labelled(self, candidate: Candidate, image: UInt8Array) -> LabelledFace:
        asked, labels = self._spec.annotations, candidate.labels
        segmentation = candidate.segmentation
        if self._plugins.parser is not None:
            segmentation = fill_unknown(segmentation, self._plugins.parser(image))
        has_dense = "landmarks_dense" in asked
        vertices_cam = candidate.vertices_cam[0].cpu().numpy()
        return LabelledFace(
            image=image,
            segmentation=segmentation if "segmentation" in asked else None,
            depth=labels.depth,
            normal=labels.normal,
            u=labels.u,
            v=labels.v,
            dense=vertices_cam if has_dense else None,
            meta=self._meta(candidate, segmentation, vertices_cam),
        )

    def _meta(
        self, candidate: Candidate, segmentation: UInt8Array, vertices_cam: Float32Array
    ) -> SampleMeta:
        face, asked = candidate.face, self._spec.annotations
        transforms = candidate.heads.joint_transforms[0].cpu().numpy()
        described = self._generator.describe(face)
        eyes = occlusion = None
        if "landmarks68" in asked:
            eyes = locate_eyes(
                described,
                self._eyeballs,
                face.camera,
                vertices_cam=vertices_cam,
                joint_transforms=transforms,
                landmarks_m=candidate.landmarks.xyz_m,
                segmentation=segmentation,
            )
        if "segmentation" in asked:
            occlusion = measure_occlusion(vertices_cam, self._topology, face.camera, segmentation)
        return sample_meta(
            self._spec,
            face,
            joint_transforms=transforms,
            landmarks=candidate.landmarks,
            segmentation=candidate.segmentation,
            measured=candidate.verdict.measured,
            described=described,
            eyes=eyes,
            occlusion=occlusion,
        )


def _to_camera(vertices: Tensor, faces: Sequence[FaceParams]) -> Tensor:
    """Transform (B, V, 3) to camera axes, a coordinate at a time: no product of varying shape."""
    cameras = torch.stack([torch.from_numpy(face.camera.world2cam) for face in faces])
    world2cam = cameras.to(vertices.device, torch.float32)
    rows = [
        vertices[..., 0] * world2cam[:, row, 0, None]
        + vertices[..., 1] * world2cam[:, row, 1, None]
        + vertices[..., 2] * world2cam[:, row, 2, None]
        + world2cam[:, row, 3, None]
        for row in range(3)
    ]
    return torch.stack(rows, dim=-1)


def _through(
    found: Sequence[Judged | Refusal], gate: Callable[[list[Judged]], list[Judged | Refusal]]
) -> list[Judged | Refusal]:
    """Ask one more gate about those that are not refused yet, all at once."""
    left = [each for each in found if isinstance(each, Judged)]
    asked = iter(gate(left) if left else [])
    return [next(asked) if isinstance(each, Judged) else each for each in found]


def _padded(items: Sequence[T], size: int) -> list[T]:
    return [*items, *[items[-1]] * (size - len(items))]


def _cut(fragments: Fragments, row: int) -> Fragments:
    only = slice(row, row + 1)
    return Fragments(fragments.face_id[only], fragments.bary[only], fragments.z[only])


def _double(points: Tensor) -> Float64Array:
    return np.asarray(points.double().numpy())
