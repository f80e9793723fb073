"""One face of the stand-in: drawn parameters to a picture and its labels in both conventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.standin.charts import NEW, OLD, face_classes, paint_chart
from benchmarks.standin.ict import IctHead, vertex_normals
from benchmarks.standin.raster import draw, interpolate
from synthforge.conventions import CLASS_IDS
from trainer.datasets.points import LAPA_106

Float32Array = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]
_SUPERSAMPLE: Final = 2
_FACE_CM: Final = 15.5  # longer side of the landmarks' box, about
_CENTRE_CM: Final = np.array([0.0, 0.3, 5.0], np.float32)
_INSIDE: Final = ("mouth_socket", "gums_and_tongue", "teeth")
_COLOURS: Final = {"teeth": (225, 215, 200), "gums_and_tongue": (170, 80, 85), "dark": (70, 25, 28)}
_SKIN: Final = np.array([[236, 196, 172], [205, 156, 125], [146, 98, 70], [92, 60, 45]], np.float32)
_HAIR: Final = np.array([[28, 22, 20], [74, 48, 32], [150, 110, 64], [120, 118, 116]], np.float32)
_IRIS: Final = np.array([[80, 50, 30], [70, 100, 130], [90, 110, 70]], np.float32)
_IRIS_CM, _PUPIL_CM = 0.6, 0.25
# The new convention of the 68 points: offsets from the old ones, cm, mirrored for the left half.
_BROWS_UP: Final = 0.4
_JAW_SLIDE: Final = 0.35  # of the way to the next point towards the chin
_TIP_UP: Final = 0.35
_LIPS_OUT: Final = 0.2
_LOWER_BROW: Final = 0.65  # below the upper one, in the order of 106


@dataclass(frozen=True)
class Face:
    """A picture and its labels.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        old_classes: (S, S) ids of `synthforge.conventions`, hair among them; so too `new_classes`.
        new_classes: with other borders of brows and nose.
        old_points: (68, 2) pixels, corner origin; so too the others.
        new_points: (68, 2), the same order by another rule.
        lapa_points: (106, 2).
        yaw_deg: above 0 the nose points to the picture's right.
    """

    image: UInt8Array
    old_classes: UInt8Array
    new_classes: UInt8Array
    old_points: Float32Array
    new_points: Float32Array
    lapa_points: Float32Array
    yaw_deg: float


class Studio:
    """Draws faces of one head model.

    Args:
        head: the model.
        size_px: side of the pictures.
    """

    def __init__(self, head: IctHead, size_px: int) -> None:
        self._head, self._size_px = head, size_px
        self._old_chart, self._new_chart = paint_chart(head, OLD), paint_chart(head, NEW)
        self._rest_normals = vertex_normals(head.neutral, head.triangles)
        index = {name: i for i, name in enumerate(head.regions)}
        skin = (index["face"], index["head_and_neck"])
        self._skin_triangles = head.triangles[np.isin(head.region, skin)]

    def draw(self, random: np.random.Generator) -> Face:
        """Draw one face; everything about it comes from `random`."""
        head = self._head
        vertices = head.vertices(
            (0.8 * random.standard_normal(len(head.identity))).astype(np.float32), _act(random)
        )
        cap = self._hair(vertices, random)
        turn, yaw_deg = _turn(random)
        project = _Camera(turn, random, self._size_px)
        both = np.concatenate([vertices, cap.vertices])
        triangles = np.concatenate([head.triangles, cap.triangles + len(vertices)])
        pixels, depth = project(both)
        size = self._size_px * _SUPERSAMPLE
        ids, weights = draw(pixels * _SUPERSAMPLE, depth, triangles, size)
        painted = self._paint(ids, weights, triangles, both, turn, random)
        old_points, new_points = self._points(vertices)
        return Face(
            image=_finished(painted.colours, ids >= 0, random, self._size_px),
            old_classes=painted.old[1::_SUPERSAMPLE, ::_SUPERSAMPLE],
            new_classes=painted.new[1::_SUPERSAMPLE, ::_SUPERSAMPLE],
            old_points=project(old_points)[0],
            new_points=project(new_points)[0],
            lapa_points=project(self._lapa_points(vertices, new_points))[0],
            yaw_deg=yaw_deg,
        )

    def _hair(self, vertices: Float32Array, random: np.random.Generator) -> _Cap:
        """Return a shell over the scalp, of a length and hairline of its own."""
        x, y, z = self._head.neutral.T
        if random.random() < 0.08:
            return _Cap(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        line = random.uniform(7.2, 10.0) + random.uniform(-0.06, 0.03) * x**2
        side = random.uniform(-14.0, 5.0)
        level = np.where(
            z > 3.5, line, np.where(z > -2.0, side + (z + 2) * (line - side) / 5.5, side)
        )
        above = y - level
        thick = random.uniform(0.5, 2.4) * np.clip(above / 2.5, 0.12, 1.0)
        wave = 0.25 * np.sin(random.uniform(0.8, 2.5) * (x + y + 2 * z) + random.uniform(0, 6))
        shell = vertices + self._rest_normals * (thick + wave * (thick > 0.4))[:, None]
        kept = (above[self._skin_triangles] > 0).all(1)
        return _Cap(shell.astype(np.float32), self._skin_triangles[kept])

    def _points(self, vertices: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return the 68 points by the old and by the new rule, (68, 3) each."""
        old = vertices[self._head.landmarks]
        new = old.copy()
        new[17:27, 1] += _BROWS_UP
        new[:8] += _JAW_SLIDE * (old[1:9] - old[:8])
        new[9:17] += _JAW_SLIDE * (old[8:16] - old[9:17])
        new[30, 1] += _TIP_UP
        new[49:54, 1] += _LIPS_OUT
        new[55:60, 1] -= _LIPS_OUT
        return old, new

    def _lapa_points(self, vertices: Float32Array, new: Float32Array) -> Float32Array:
        """Return the 106 points: means of the 68, brows' lower edges, and the pupils themselves."""
        points = np.stack([new[list(sources)].mean(0) for sources in LAPA_106.from_ibug])
        points[38:42, 1] -= _LOWER_BROW
        points[47:51, 1] -= _LOWER_BROW
        for place, iris in zip((104, 105), self._head.iris, strict=True):
            points[place] = vertices[iris].mean(0)
        return np.asarray(points, np.float32)

    def _paint(
        self,
        ids: NDArray[np.int32],
        weights: Float32Array,
        triangles: NDArray[np.int32],
        vertices: Float32Array,
        turn: Float32Array,
        random: np.random.Generator,
    ) -> _Painted:
        head, there = self._head, ids >= 0
        hit, weight = ids[there], weights[there]
        corners = triangles[hit]
        count = len(head.neutral)
        rest = interpolate(head.neutral, corners % count, weight)
        is_hair = hit >= len(head.triangles)
        region = np.where(is_hair, -1, head.region[np.minimum(hit, len(head.region) - 1)])
        names = np.array([*head.regions, "hair"])[region]
        old, new = face_classes(self._old_chart, rest), face_classes(self._new_chart, rest)
        for classes in (old, new):
            classes[names == "eyeball_left"] = CLASS_IDS["left_eye"]
            classes[names == "eyeball_right"] = CLASS_IDS["right_eye"]
            classes[np.isin(names, _INSIDE)] = CLASS_IDS["inner_mouth"]
            classes[is_hair] = CLASS_IDS["hair"]
        albedo = _albedo(old, names, rest, self._off_axis(rest), random)
        normal = interpolate(vertex_normals(vertices, triangles), corners, weight) @ turn.T
        colours = _lit(albedo, normal, random)
        size = ids.shape[0]
        canvas = np.zeros((size, size, 3), np.float32)
        canvas[there] = colours
        maps = [np.zeros((size, size), np.uint8) for _ in range(2)]
        maps[0][there], maps[1][there] = old, new
        return _Painted(canvas, maps[0], maps[1])

    def _off_axis(self, rest: Float32Array) -> Float32Array:
        """Return (N,) how far rest positions on an eyeball lie beside its iris's centre, cm."""
        centres = [self._head.neutral[span].mean(0)[:2] for span in self._head.iris]
        away = [np.linalg.norm(rest[:, :2] - centre, axis=1) for centre in centres]
        return np.asarray(np.minimum(*away), np.float32)


@dataclass(frozen=True)
class _Cap:
    vertices: Float32Array
    triangles: NDArray[np.int32]


@dataclass(frozen=True)
class _Painted:
    colours: Float32Array
    old: UInt8Array
    new: UInt8Array


class _Camera:
    """Projects the turned head; focal length and framing drawn at random."""

    def __init__(self, turn: Float32Array, random: np.random.Generator, size_px: int) -> None:
        self._turn = turn
        share = random.uniform(0.55, 0.7)  # of the picture's side that the face takes
        self._focal_px = size_px * random.uniform(2.4, 4.8)
        self._away_cm = self._focal_px * _FACE_CM / (share * size_px)
        shift = random.normal(0, 0.025, 2) + np.array([0.0, 0.09])
        self._centre_px = size_px * (0.5 + shift)

    def __call__(self, points: Float32Array) -> tuple[Float32Array, Float32Array]:
        camera = (points - _CENTRE_CM) @ self._turn.T + np.array([0, 0, self._away_cm], np.float32)
        pixels = camera[:, :2] / camera[:, 2:] * self._focal_px + self._centre_px
        return pixels.astype(np.float32), camera[:, 2].astype(np.float32)


def _act(random: np.random.Generator) -> dict[str, float]:
    """Draw an expression: some mouth, some lids and brows, a gaze that both eyes share."""
    found = {"jawOpen": max(random.normal(0.05, 0.2), 0.0)}
    for name in (
        "mouthSmile",
        "mouthFrown",
        "browInnerUp",
        "browDown",
        "eyeSquint",
        "mouthStretch",
    ):
        if random.random() < 0.35:
            both = random.uniform(0, 0.8)
            for side in "LR":
                found[f"{name}_{side}"] = both * random.uniform(0.8, 1.0)
    if random.random() < 0.25:
        found["mouthPucker"] = random.uniform(0, 0.7)
    across, up = random.uniform(-0.9, 0.9), random.uniform(-0.7, 0.7)
    inner, outer = ("L", "R") if across > 0 else ("R", "L")
    found[f"eyeLookIn_{inner}"] = found[f"eyeLookOut_{outer}"] = abs(across)
    found |= dict.fromkeys(
        ("eyeLookUp_L", "eyeLookUp_R") if up > 0 else ("eyeLookDown_L", "eyeLookDown_R"), abs(up)
    )
    return found


def _turn(random: np.random.Generator) -> tuple[Float32Array, float]:
    """Draw the rotation from head to camera, and its yaw in degrees."""
    yaw, pitch, roll = np.deg2rad(random.normal(0, (18.0, 9.0, 6.0)).clip(-45, 45))
    c, s = np.cos(yaw), np.sin(yaw)
    around_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(-pitch), np.sin(-pitch)
    around_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(-roll), np.sin(-roll)
    around_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    turn = np.diag([1.0, -1, -1]) @ around_x @ around_y @ around_z
    return turn.astype(np.float32), float(np.rad2deg(yaw))


def _tone(palette: Float32Array, random: np.random.Generator) -> Float32Array:
    """Return a colour between two neighbours of a palette."""
    place = random.uniform(0, len(palette) - 1)
    low = int(place)
    mix = palette[low] + (place - low) * (palette[min(low + 1, len(palette) - 1)] - palette[low])
    return np.asarray(mix + random.normal(0, 6, 3), np.float32)


def _albedo(
    classes: UInt8Array,
    names: NDArray[np.str_],
    rest: Float32Array,
    off_axis: Float32Array,
    random: np.random.Generator,
) -> Float32Array:
    """Return (N, 3) colours before light."""
    skin, hair, iris = (_tone(palette, random) for palette in (_SKIN, _HAIR, _IRIS))
    colours = np.repeat(skin[None], len(classes), 0)
    lips = skin * (0.9, 0.62, 0.62) + random.normal(0, 8, 3)
    for name in ("upper_lip", "lower_lip"):
        colours[classes == CLASS_IDS[name]] = lips
    for name in ("left_brow", "right_brow"):
        colours[classes == CLASS_IDS[name]] = 0.65 * hair + 0.35 * skin
    for side in ("left", "right"):
        eye = classes == CLASS_IDS[f"{side}_eye"]
        colours[eye] = (226, 222, 218)
        colours[eye & (off_axis < _IRIS_CM)] = iris
        colours[eye & (off_axis < _PUPIL_CM)] = (12, 10, 10)
    colours[names == "mouth_socket"] = _COLOURS["dark"]
    for name in ("teeth", "gums_and_tongue"):
        colours[names == name] = _COLOURS[name]
    strands = classes == CLASS_IDS["hair"]
    phase = rest[strands] @ random.normal(0, 1, 3).astype(np.float32)
    colours[strands] = hair * (1 + 0.25 * np.sin(9 * phase + 3 * np.sin(2.1 * phase)))[:, None]
    spots = np.sin(2.7 * rest[:, 0] + random.uniform(0, 6)) * np.sin(3.1 * rest[:, 1])
    return np.asarray(colours * (1 + 0.03 * spots)[:, None], np.float32)


def _lit(albedo: Float32Array, normal: Float32Array, random: np.random.Generator) -> Float32Array:
    """Return colours under one lamp and a bright room; normals in the camera's frame."""
    lamp = np.array([random.uniform(-1.2, 1.2), random.uniform(-1.3, 0.4), -1.0])
    lamp /= np.linalg.norm(lamp)
    facing = np.abs(normal @ lamp.astype(np.float32)) * (normal @ lamp > 0)
    ambient = random.uniform(0.35, 0.65)
    tint = 1 + random.normal(0, 0.05, 3)
    return np.asarray(albedo * (ambient + (1.1 - ambient) * facing)[:, None] * tint, np.float32)


def _finished(
    colours: Float32Array, there: NDArray[np.bool_], random: np.random.Generator, size_px: int
) -> UInt8Array:
    """Put the face before a blurred room and bring the picture to its size."""
    size = len(colours)
    cells = int(random.integers(2, 9))
    room = random.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
    room = 0.5 * room + 0.5 * random.uniform(0, 255, 3).astype(np.float32)
    behind = cv2.resize(room, (size, size), interpolation=cv2.INTER_CUBIC)
    whole = np.where(there[..., None], colours, behind)
    small = cv2.resize(whole, (size_px, size_px), interpolation=cv2.INTER_AREA)
    noisy = small + random.normal(0, random.uniform(0, 4), small.shape)
    return np.asarray(np.rint(noisy.clip(0, 255)), np.uint8)
