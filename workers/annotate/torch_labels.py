"""The portable labeller: whole-picture torch operations, on any device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from synthforge.jobs import Annotation
from workers.annotate.depth import quantise_depth
from workers.annotate.normals import VertexNormals, encode_normals, face_normals, pixel_rays
from workers.annotate.pixels import PixelLabels
from workers.annotate.segmentation import segment
from workers.annotate.uv import quantise_uv
from workers.raster.protocol import Fragments
from workers.raster.torch_portable import TorchRasteriser
from workers.types import Float64Array, Topology, UInt8Array, UInt16Array


@dataclass(frozen=True)
class _Tables:
    """The topology on one device."""

    faces: Tensor
    uv: Tensor
    uv_faces: Tensor
    face_region: Tensor
    vertex_normals: VertexNormals


class TorchLabeller:
    """`PixelLabeller` by torch; works where its arguments lie."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._rasteriser = TorchRasteriser()
        self._tables = cache(self._make_tables)

    def segment(self, face_id: Tensor) -> UInt8Array:
        """See `PixelLabeller.segment`."""
        classes = segment(face_id, self._tables(face_id.device).face_region)
        return np.asarray(classes.cpu().numpy())

    def label(
        self,
        fragments: Fragments,
        vertices_cam: Tensor,
        intrinsics_px: Float64Array,
        asked: Collection[Annotation],
    ) -> PixelLabels:
        """See `PixelLabeller.label`."""
        u, v = self._uv(fragments) if "uv" in asked else (None, None)
        return PixelLabels(
            depth=_steps(quantise_depth(fragments.z)) if "depth" in asked else None,
            normal=self._normals(fragments, vertices_cam, intrinsics_px)
            if "normals" in asked
            else None,
            u=u,
            v=v,
        )

    def _make_tables(self, device: torch.device) -> _Tables:
        topology = self._topology
        return _Tables(
            faces=torch.from_numpy(topology.faces).to(device),
            uv=torch.from_numpy(topology.uv).to(device),
            uv_faces=torch.from_numpy(topology.uv_faces).to(device),
            face_region=torch.from_numpy(topology.face_region).to(device),
            vertex_normals=VertexNormals(topology.faces, len(topology.mirror), device),
        )

    def _normals(
        self, fragments: Fragments, vertices_cam: Tensor, intrinsics_px: Float64Array
    ) -> UInt8Array:
        tables = self._tables(vertices_cam.device)
        of_vertices = tables.vertex_normals(vertices_cam)
        normals = self._rasteriser.interpolate(fragments, tables.faces, of_vertices)
        _, is_outside = face_normals(vertices_cam, tables.faces.long())
        facing = is_outside[0][fragments.face_id.long().clamp_min(0)]
        height_px, width_px = fragments.z.shape[1:]
        intrinsics = torch.from_numpy(intrinsics_px[None]).to(vertices_cam.device, torch.float32)
        rays = pixel_rays(intrinsics, height_px, width_px)
        coded = encode_normals(normals, fragments.face_id >= 0, rays, facing)
        return np.asarray(coded[0].cpu().numpy())

    def _uv(self, fragments: Fragments) -> tuple[UInt16Array, UInt16Array]:
        tables = self._tables(fragments.z.device)
        uv = self._rasteriser.interpolate(fragments, tables.uv_faces, tables.uv)
        u, v = quantise_uv(uv, fragments.face_id >= 0)
        return _steps(u), _steps(v)


def _steps(values: Tensor) -> UInt16Array:
    return np.asarray(values[0].cpu().numpy().astype(np.uint16))
