"""The fast labeller for one CPU core: tensors in, arrays out, numba kernels between."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from torch import Tensor

from synthforge.conventions import CLASS_IDS, UV_STEPS
from synthforge.jobs import Annotation
from workers.annotate import numba_kernels
from workers.annotate.depth import STEPS_PER_M, check_reach
from workers.annotate.normals import LEAST_LENGTH, faces_around
from workers.annotate.pixels import PixelLabels
from workers.raster.protocol import Fragments
from workers.types import Float32Array, Float64Array, Topology, UInt8Array, UInt16Array


class NumbaLabeller:
    """`PixelLabeller` on one CPU core; the tensors must be on the CPU."""

    def __init__(self, topology: Topology) -> None:
        self._faces = np.ascontiguousarray(topology.faces, np.int32)
        self._uv = np.ascontiguousarray(topology.uv, np.float32)
        self._uv_faces = np.ascontiguousarray(topology.uv_faces, np.int32)
        self._classes = np.concatenate(
            [np.array([CLASS_IDS["background"]], np.uint8), topology.face_region]
        )
        self._around, self._first = faces_around(self._faces, len(topology.mirror))

    def segment(self, face_id: Tensor) -> UInt8Array:
        """See `PixelLabeller.segment`."""
        faces = face_id.numpy()
        classes = np.empty(faces.shape, np.uint8)
        numba_kernels.segment(faces, self._classes, classes)
        return classes

    def label(
        self,
        fragments: Fragments,
        vertices_cam: Tensor,
        intrinsics_px: Float64Array,
        asked: Collection[Annotation],
    ) -> PixelLabels:
        """See `PixelLabeller.label`."""
        u, v = self._uv_steps(fragments) if "uv" in asked else (None, None)
        vertices = vertices_cam[0].numpy()
        return PixelLabels(
            depth=_depth(fragments) if "depth" in asked else None,
            normal=self._normals(fragments, vertices, intrinsics_px)
            if "normals" in asked
            else None,
            u=u,
            v=v,
        )

    def _normals(
        self, fragments: Fragments, vertices: Float32Array, intrinsics_px: Float64Array
    ) -> UInt8Array:
        face_id, bary = fragments.face_id[0].numpy(), fragments.bary[0].numpy()
        normals = np.empty(vertices.shape, np.float32)
        facing = np.empty(len(self._faces), np.float32)
        numba_kernels.vertex_normals(
            np.ascontiguousarray(vertices),
            self._faces,
            self._around,
            self._first,
            LEAST_LENGTH,
            normals,
            facing,
        )
        coded = np.empty((*face_id.shape, 3), np.uint8)
        numba_kernels.encode_normals(
            face_id,
            bary,
            self._faces,
            normals,
            facing,
            intrinsics_px.astype(np.float32),
            LEAST_LENGTH,
            coded,
        )
        return coded

    def _uv_steps(self, fragments: Fragments) -> tuple[UInt16Array, UInt16Array]:
        face_id, bary = fragments.face_id[0].numpy(), fragments.bary[0].numpy()
        u, v = np.empty(face_id.shape, np.uint16), np.empty(face_id.shape, np.uint16)
        numba_kernels.quantise_uv(face_id, bary, self._uv_faces, self._uv, UV_STEPS, u, v)
        return u, v


def _depth(fragments: Fragments) -> UInt16Array:
    z = fragments.z[0].numpy()
    steps = np.empty(z.shape, np.uint16)
    check_reach(numba_kernels.quantise_depth(z, STEPS_PER_M, steps))
    return steps
