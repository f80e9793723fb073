"""ICT-FaceKit's morphable head: identity and expression to posed vertices and named points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
# Transparent cards over the eyes; they hide nothing in a label.
_HIDDEN: Final = ("lacrimal_fluid", "eye_blend", "eye_occlusion", "eyelashes")
_IDENTITY_MODES: Final = 50


@dataclass(frozen=True)
class IctHead:
    """The model's arrays, centimetres, +y up, +z out of the face, +x to the subject's left.

    Attributes:
        neutral: (V, 3).
        identity: (K, V * 3) modes, weights of unit normal spread.
        expression: name -> (V * 3) mode, weights 0 to 1.
        triangles: (F, 3) of the opaque regions.
        region: (F,) index into `regions`.
        regions: names.
        landmarks: (68,) vertex ids in iBUG order.
        iris: right, left: vertex ids.
    """

    neutral: Float32Array
    identity: Float32Array
    expression: dict[str, Float32Array]
    triangles: NDArray[np.int32]
    region: NDArray[np.int8]
    regions: tuple[str, ...]
    landmarks: NDArray[np.int32]
    iris: tuple[slice, slice]

    def vertices(self, weights: Float32Array, activations: dict[str, float]) -> Float32Array:
        """Return (V, 3) of identity weights (K,) and named activations."""
        flat = self.neutral.ravel() + weights @ self.identity
        for name, value in activations.items():
            flat += np.float32(value) * self.expression[name]
        return flat.reshape(-1, 3)


def load_head(path: Path) -> IctHead:
    """Read the compact export of the model (`ict_facekit_small.npz`)."""
    with np.load(path, allow_pickle=False) as arrays:
        names = tuple(str(name) for name in arrays["region_names"])
        region = arrays["polygon_region"][arrays["triangle_polygon"]]
        shown = np.array([not name.startswith(_HIDDEN) for name in names])[region]
        sub = [str(name) for name in arrays["subregion_names"]]
        spans = [
            arrays["subregion_vertex_ranges"][sub.index(f"iris_{s}")] for s in ("right", "left")
        ]
        return IctHead(
            neutral=arrays["neutral"],
            identity=arrays["identity"][:_IDENTITY_MODES]
            .astype(np.float32)
            .reshape(_IDENTITY_MODES, -1),
            expression={
                str(name): mode.astype(np.float32).ravel()
                for name, mode in zip(arrays["expression_names"], arrays["expression"], strict=True)
            },
            triangles=arrays["triangles"][shown],
            region=region[shown],
            regions=names,
            landmarks=arrays["landmarks68"],
            iris=(slice(*map(int, spans[0])), slice(*map(int, spans[1]))),
        )


def vertex_normals(vertices: Float32Array, triangles: NDArray[np.int32]) -> Float32Array:
    """Return (V, 3) unit normals, weighted by area."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    facet = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(
                triangles[:, corner], facet[:, axis], len(vertices)
            ).astype(np.float32)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, 1e-9), np.float32)
