"""Where on a face things are: soft masks over the vertices, measured from the landmarks at rest.

They know no particular head: any mesh with regions and the 51 inner landmarks gets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from synthforge.conventions import CLASS_IDS
from workers.types import BoolArray, Float32Array, Float64Array, Int32Array, UInt8Array

SKIN_CLASSES = (
    "skin",
    "left_brow",
    "right_brow",
    "nose",
    "upper_lip",
    "lower_lip",
    "left_ear",
    "right_ear",
    "neck",
)
MEAN_EYE_SPAN_M = 0.090  # between the outer eye corners, by which the masks' sizes are scaled
FIRST_INNER_LANDMARK = 17


@dataclass(frozen=True)
class FaceFields:
    """(V,) float32 each, 0 to 1, 0 on vertices that are not skin.

    Attributes:
        skin: 1 on every vertex of a skin class.
        flush: cheeks, nose, ears and chin, where blood shows.
        socket: the shaded ring around the eyes and under them.
        lid_edge: the lid margin with its lashes.
        oil: forehead, nose and chin, which shine.
        beard: where a beard grows.
        freckles: nose and upper cheeks.
        brow: the brows, less at their border.
        lips: the lips, less at their border.
        wrinkles: the front of the face, where the wrinkle map applies.
        neck: the neck.
    """

    skin: Float32Array
    flush: Float32Array
    socket: Float32Array
    lid_edge: Float32Array
    oil: Float32Array
    beard: Float32Array
    freckles: Float32Array
    brow: Float32Array
    lips: Float32Array
    wrinkles: Float32Array
    neck: Float32Array


def face_fields(
    vertices: Float64Array,
    faces: Int32Array,
    face_region: UInt8Array,
    landmarks: Float64Array,
) -> FaceFields:
    """Measure the masks of a head at rest.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        face_region: (F,) class ids.
        landmarks: (51, 3) iBUG points 17 to 67 on the mesh.
    """
    place = _Places(vertices, landmarks)
    skin = in_classes(len(vertices), faces, face_region, SKIN_CLASSES).astype(np.float64)
    ears = in_classes(len(vertices), faces, face_region, ("left_ear", "right_ear"))
    neck = _soft(
        in_classes(len(vertices), faces, face_region, ("neck",)).astype(float), faces, rounds=3
    )
    lips = _inner(len(vertices), faces, face_region, ("upper_lip", "lower_lip"), 0.7)
    brow = _inner(len(vertices), faces, face_region, ("left_brow", "right_brow"), 0.65)
    fields = {
        "flush": np.maximum(_flush(place), 0.5 * ears),
        "socket": _socket(place),
        "lid_edge": _lid_edge(place),
        "oil": _oil(place),
        "beard": _beard(place) * (1.0 - lips),
        "freckles": _freckles(place),
        "wrinkles": smoothstep(-0.02, 0.03, vertices[:, 2] - place.eyes[:, 2].mean() + 0.03),
    }
    masked = {name: (skin * field).astype(np.float32) for name, field in fields.items()}
    whole = {"skin": skin, "brow": brow, "lips": lips, "neck": skin * neck}
    return FaceFields(**masked, **{name: f.astype(np.float32) for name, f in whole.items()})


def in_classes(
    num_vertices: int, faces: Int32Array, face_region: UInt8Array, classes: tuple[str, ...]
) -> BoolArray:
    """Return which vertices belong to a face of one of the classes."""
    chosen = np.isin(face_region, [CLASS_IDS[name] for name in classes])
    out = np.zeros(num_vertices, bool)
    out[faces[chosen]] = True
    return out


def smoothstep(low: float, high: float, x: Float64Array) -> Float64Array:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


class _Places:
    """The landmarks by their iBUG numbers, and distances in units of a mean face's millimetres."""

    def __init__(self, vertices: Float64Array, landmarks: Float64Array) -> None:
        self._landmarks = landmarks
        span = float(np.linalg.norm(self.mark(45) - self.mark(36)))
        self.mm = 1e-3 * span / MEAN_EYE_SPAN_M
        self.vertices = vertices
        self.eyes = np.stack(
            [
                np.mean([self.mark(i) for i in range(36, 42)], axis=0),
                np.mean([self.mark(i) for i in range(42, 48)], axis=0),
            ]
        )

    def mark(self, index: int) -> Float64Array:
        """(3,) one landmark."""
        return np.asarray(self._landmarks[index - FIRST_INNER_LANDMARK])

    def bump(
        self, centre: Float64Array, size_mm: tuple[float, float, float] | float
    ) -> Float64Array:
        """(V,) a Gaussian around a point; sizes are its standard deviations."""
        offset = (self.vertices - centre) / (self.mm * np.asarray(size_mm))
        return np.asarray(np.exp(-0.5 * (offset**2).sum(1)))

    def shifted(self, point: Float64Array, x: float, y: float, z: float) -> Float64Array:
        """A point moved by millimetres; x is away from the midline."""
        outward = np.sign(point[0]) * x
        return np.asarray(point + self.mm * np.array([outward, y, z]))


def _flush(place: _Places) -> Float64Array:
    nose = 0.8 * place.bump(place.mark(30), 11.0) + 0.5 * place.bump(place.mark(33), 9.0)
    cheeks = sum(
        place.bump(place.shifted(eye, 9.0, -27.0, 5.0), (15.0, 12.0, 20.0)) for eye in place.eyes
    )
    chin = 0.4 * place.bump(place.shifted(place.mark(57), 0.0, -18.0, 0.0), 11.0)
    return np.minimum(np.asarray(nose + 0.9 * cheeks + chin), 1.0)


def _socket(place: _Places) -> Float64Array:
    out = np.zeros(len(place.vertices))
    for eye in place.eyes:
        ring = place.bump(eye, (16.0, 9.0, 14.0))
        bag = place.bump(place.shifted(eye, -3.0, -10.0, 0.0), (10.0, 4.5, 12.0))
        inner = place.bump(place.shifted(eye, -14.0, 1.0, 0.0), (5.0, 7.0, 10.0))
        out += 0.6 * ring + 0.55 * bag + 0.45 * inner
    return np.minimum(out, 1.0)


def _lid_edge(place: _Places) -> Float64Array:
    out = np.zeros(len(place.vertices))
    for first in (36, 42):
        upper = [place.mark(first + i) for i in range(4)]
        lower = [place.mark(first + i) for i in (3, 4, 5, 0)]
        out += np.exp(-0.5 * (_distance_to(place.vertices, upper) / (0.8 * place.mm)) ** 2)
        out += 0.3 * np.exp(-0.5 * (_distance_to(place.vertices, lower) / (0.6 * place.mm)) ** 2)
    return np.minimum(out, 1.0)


def _oil(place: _Places) -> Float64Array:
    brow = 0.5 * (place.mark(21) + place.mark(22))
    forehead = place.bump(place.shifted(brow, 0.0, 26.0, 0.0), (32.0, 18.0, 30.0))
    bridge = place.bump(place.mark(28), (7.0, 20.0, 14.0)) + place.bump(place.mark(30), 9.0)
    chin = 0.6 * place.bump(place.shifted(place.mark(57), 0.0, -16.0, 0.0), 9.0)
    cheeks = sum(0.5 * place.bump(place.shifted(e, 8.0, -20.0, 0.0), 11.0) for e in place.eyes)
    return np.minimum(np.asarray(0.8 * forehead + bridge + chin + cheeks), 1.0)


def _beard(place: _Places) -> Float64Array:
    """Below a line from under the nose over the cheek to the ear; down to the upper neck."""
    mm, v = place.mm, place.vertices
    base, mouth = place.mark(33)[1], place.mark(48)[1]
    eye_y = place.eyes[:, 1].mean()
    steps_mm = np.array([0.0, 14.0, 28.0, 46.0, 58.0, 70.0])
    heights = np.array(
        [base - mm, base - 2 * mm, base - 12 * mm, mouth + 2 * mm, base, eye_y - 5 * mm]
    )
    line = np.interp(np.abs(v[:, 0]) / mm, steps_mm, heights)
    chin = place.mark(57)[1] - 25.0 * mm
    below = smoothstep(-3.0 * mm, 7.0 * mm, line - v[:, 1])
    above = smoothstep(chin - 45.0 * mm, chin - 15.0 * mm, v[:, 1])
    ahead = smoothstep(-65.0 * mm, -45.0 * mm, v[:, 2] - place.eyes[:, 2].mean())
    return below * above * ahead


def _freckles(place: _Places) -> Float64Array:
    cheeks = sum(
        place.bump(place.shifted(eye, 6.0, -20.0, 5.0), (18.0, 13.0, 25.0)) for eye in place.eyes
    )
    return np.minimum(np.asarray(cheeks + place.bump(place.mark(29), 15.0)), 1.0)


def _distance_to(points: Float64Array, polyline: list[Float64Array]) -> Float64Array:
    best = np.full(len(points), np.inf)
    for a, b in pairwise(polyline):
        along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a) + 1e-18), 0.0, 1.0)
        best = np.minimum(best, np.linalg.norm(points - a - along[:, None] * (b - a), axis=1))
    return best


def _inner(
    num_vertices: int,
    faces: Int32Array,
    face_region: UInt8Array,
    classes: tuple[str, ...],
    at_border: float,
) -> Float64Array:
    """1 inside the classes' region, `at_border` on its border, 0 outside."""
    inside = in_classes(num_vertices, faces, face_region, classes)
    chosen = np.isin(face_region, [CLASS_IDS[name] for name in classes])
    outside = np.zeros(num_vertices, bool)
    outside[faces[~chosen]] = True
    return np.where(inside, np.where(outside, at_border, 1.0), 0.0)


def _soft(field: Float64Array, faces: Int32Array, rounds: int) -> Float64Array:
    """Average each vertex with those of its faces, `rounds` times."""
    for _ in range(rounds):
        total, count = np.zeros(len(field)), np.zeros(len(field))
        of_face = field[faces].mean(1)
        for corner in range(3):
            np.add.at(total, faces[:, corner], of_face)
            np.add.at(count, faces[:, corner], 1.0)
        field = np.where(count > 0, total / np.maximum(count, 1.0), field)
    return field
