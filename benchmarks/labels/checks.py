"""What is measured of one sample: each check yields errors, by the names of `gauges.LIMITS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.labels import geometry as geo
from benchmarks.labels.dataset import Dataset, Sample
from benchmarks.labels.gauges import Float64Array
from synthforge.codecs import Array
from synthforge.samples import CameraMeta, LandmarksMeta

NUM_RAYS = 400
NUM_MESH_POINTS = 200
NUM_WINDOWS = 400
WINDOW_SHARE = 7 / 256  # of the picture's side: one length on the head, whatever the pixels
SMOOTH_M = 3e-4  # a window is smooth where a plane leaves less than this, root mean square
FLAT_M = 0.005  # span of depth around a landmark where it is on smooth ground
COVER_M = 1e-4  # a surface farther than this in front of a landmark covers it
EDGE_ON_DEG = 80  # a triangle turned this far away drops by millimetres inside a pixel
SHORTENED_M = 0.003
REACH_M = 0.002  # a point farther than this from every triangle is off the mesh by any count
DEPTH_UNIT_M = 1e-4
UV_STEPS = 65534
INNER = slice(17, 68)
FACE_CLASSES = range(1, 10)

Measured = tuple[str, Float64Array, int]
"""Name of the check, errors, and how many ties were left out."""


@dataclass(frozen=True)
class View:
    """One sample's mesh and camera in float64, and random numbers of its own.

    Attributes:
        sample: as its files have it.
        topology: of the dataset.
        K: (3, 3) intrinsics, pixels.
        vertices: (V, 3) camera axes.
        faces: (F, 3).
        patches: (51, F) whether a triangle lies around an inner landmark.
        random: seeded by the sample's index.
    """

    sample: Sample
    topology: dict[str, Array]
    K: Float64Array
    vertices: Float64Array
    faces: geo.IntArray
    patches: geo.BoolArray
    random: np.random.Generator

    @property
    def depth_m(self) -> Float64Array:
        """(H, W) metres; 0 where nothing is."""
        return self.sample.arrays["depth"].astype(np.float64) * DEPTH_UNIT_M

    def pixels(self, where: geo.BoolArray, count: int) -> geo.IntArray:
        """Choose up to `count` pixels of a mask: (N, 2) rows and columns."""
        rows, columns = np.nonzero(where)
        chosen = self.random.permutation(len(rows))[:count]
        return np.stack([rows[chosen], columns[chosen]], -1)


def view_of(sample: Sample, dataset: Dataset) -> View:
    """Gather what the checks of a sample need; it must have camera, head, landmarks and arrays."""
    topology = dataset.topology
    return View(
        sample=sample,
        topology=topology,
        K=np.array(camera_of(sample).intrinsics_px),
        vertices=sample.arrays["dense"].astype(np.float64),
        faces=topology["faces"].astype(np.int64),
        patches=dataset.patches,
        random=np.random.default_rng(sample.meta.index),
    )


def camera_of(sample: Sample) -> CameraMeta:
    """Return the camera of a sample that has one."""
    assert sample.meta.camera is not None
    return sample.meta.camera


def landmarks_of(sample: Sample) -> LandmarksMeta:
    """Return the landmarks of a sample that has them."""
    assert sample.meta.landmarks68 is not None
    return sample.meta.landmarks68


def check_projection(view: View) -> Iterator[Measured]:
    """a: 3D landmarks against the 2D ones."""
    landmarks = landmarks_of(view.sample)
    pixels = geo.project(np.array(landmarks.xyz_m), view.K)
    yield "projection", np.linalg.norm(pixels - np.array(landmarks.xy_px), axis=1), 0


def check_landmark_depth(view: View) -> Iterator[Measured]:
    """b: depth at visible inner landmarks whose neighbours lie at about the same depth.

    A step of less than `FLAT_M` is smooth ground by this rule, though it has two surfaces: an
    eyeball behind a lid's rim, lips that overlap, a moustache over a lip. `landmark_depth` is where
    rays of our own tell that the pixel shows the landmark's surface, not edge-on, and nothing
    before the landmark; `landmark_depth_any` is all.
    """
    landmarks, depth = landmarks_of(view.sample), view.depth_m
    seen = np.flatnonzero(np.array(landmarks.visibility[INNER]) == 2)
    points, pixels = (np.array(part)[INNER] for part in (landmarks.xyz_m, landmarks.xy_px))
    column, row = np.floor(pixels[seen]).astype(np.int64).T
    inside = (np.minimum(row, column) > 0) & (row < depth.shape[0] - 1)
    inside &= column < depth.shape[1] - 1
    seen, row, column = seen[inside], row[inside], column[inside]
    around = np.stack([depth[row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    flat = (np.ptp(around, axis=0) < FLAT_M) & (around.min(0) > 0)
    seen, at = seen[flat], np.stack([row, column], -1)[flat]
    errors = 1e3 * np.abs(depth[at[:, 0], at[:, 1]] - points[seen, 2])
    is_shown = _shows_landmark(view, at, seen) & ~_is_covered(view, points[seen])
    is_shown &= _incidence_deg(view, points[seen], seen) < EDGE_ON_DEG
    yield "landmark_depth", errors[is_shown], int((~is_shown).sum())
    yield "landmark_depth_any", errors, 0


def _shows_landmark(view: View, at: geo.IntArray, landmark: geo.IntArray) -> geo.BoolArray:
    """Whether rays through pixels' centres first meet the triangles around an inner landmark."""
    found = geo.cross_all(geo.centres(at), view.vertices, view.faces, view.K)
    first, is_sure = first_hits(found, len(at), view.topology["face_region"])
    return np.asarray(is_sure & (first >= 0) & view.patches[landmark, found.face[first]])


def _is_covered(view: View, points: Float64Array) -> geo.BoolArray:
    """Whether a surface lies before points; within 3 mm they count as seen all the same."""
    found = geo.cross_all(geo.project(points, view.K), view.vertices, view.faces, view.K)
    before_m = np.linalg.norm(points, axis=1)[found.ray] - found.distance_m
    covered = np.zeros(len(points), np.bool_)
    covered[found.ray[before_m > COVER_M]] = True
    return covered


def _incidence_deg(view: View, points: Float64Array, landmark: geo.IntArray) -> Float64Array:
    """Angles between rays to inner landmarks and the normals of their triangles, 0 to 90."""
    face = view.topology["landmark_face"][landmark]
    a, b, c = (view.vertices[view.faces[face, corner]] for corner in range(3))
    angle = geo.angle_deg(np.cross(b - a, c - a), points)
    return np.minimum(angle, 180 - angle)


def check_depth_on_mesh(view: View) -> Iterator[Measured]:
    """c: unprojected depth against the triangles of the mesh."""
    depth = view.depth_m
    chosen = view.pixels(depth > 0, NUM_MESH_POINTS)
    points = geo.ray_through(geo.centres(chosen), view.K) * depth[chosen[:, 0], chosen[:, 1], None]
    distance = geo.distance_to_mesh(points, view.vertices, view.faces, REACH_M)
    yield "depth_on_mesh", 1e3 * distance, 0


def check_normals(view: View) -> Iterator[Measured]:
    """d: normals against planes through the depth around."""
    depth = view.depth_m
    half = max(1, round((WINDOW_SHARE * len(depth) - 1) / 2))
    windows = np.lib.stride_tricks.sliding_window_view(depth, (2 * half + 1, 2 * half + 1))
    covered = depth > 0
    inner = np.zeros_like(covered)
    inner[half:-half, half:-half] = windows.min((2, 3)) > 0
    chosen = view.pixels(inner, NUM_WINDOWS)
    gradient, roughness = geo.planes_through(windows[chosen[:, 0] - half, chosen[:, 1] - half])
    smooth = roughness < SMOOTH_M
    chosen, (middle, right, down) = chosen[smooth], gradient[smooth].T
    # 1/z = A x/z + B y/z + C: pixels are steps of 1/f of x/z and y/z.
    a, b = right * view.K[0, 0], down * view.K[1, 1]
    x, y, _ = geo.ray_through(geo.centres(chosen), view.K).T
    fitted = -np.stack([a, b, middle - a * x - b * y], -1)
    coded = view.sample.arrays["normal"][chosen[:, 0], chosen[:, 1]]
    yield "normals", geo.angle_deg(fitted, coded / 127.5 - 1), 0


def check_hits(view: View) -> Iterator[Measured]:
    """c', e, f: depth, class and UV against rays cast through random pixels."""
    arrays, topology = view.sample.arrays, view.topology
    shape = arrays["segmentation"].shape
    chosen = view.pixels(np.ones(shape, np.bool_), NUM_RAYS)
    row, column = chosen.T
    found = geo.cross_all(geo.centres(chosen), view.vertices, view.faces, view.K)
    first, is_sure = first_hits(found, len(chosen), topology["face_region"])
    is_hit = is_sure & (first >= 0)
    hit = first[is_hit]
    expected = np.zeros(len(chosen), np.int64)
    expected[is_hit] = topology["face_region"][found.face[hit]]
    wrong = expected != arrays["segmentation"][row, column]
    num_ties = int((~is_sure).sum())
    yield "segmentation", wrong[is_sure].astype(np.float64), num_ties
    row, column = row[is_hit], column[is_hit]
    direction = geo.ray_through(geo.centres(chosen[is_hit]), view.K)
    z = found.distance_m[hit] / np.linalg.norm(direction, axis=1)
    yield "depth_of_hit", 1e3 * np.abs(z - view.depth_m[row, column]), num_ties
    corners = topology["uv"][topology["uv_faces"][found.face[hit]]].astype(np.float64)
    steps = 1 + UV_STEPS * (found.bary[hit][:, :, None] * corners).sum(1)
    named = np.stack([arrays["u"][row, column], arrays["v"][row, column]], -1)
    yield "uv", np.abs(steps - named).max(1), num_ties


def first_hits(
    found: geo.Crossings, num_rays: int, regions: Array
) -> tuple[geo.IntArray, geo.BoolArray]:
    """Return the first sure crossing of each ray, -1 where there is none, and whether it is that.

    It is not where the ray grazes an edge before it, or where a surface of another region lies
    within `geo.TIE_M` of it.
    """
    order = np.lexsort((found.distance_m, found.ray))
    sure = order[found.is_sure[order]]
    first = np.full(num_rays, -1)
    rays, where = np.unique(found.ray[sure], return_index=True)
    first[rays] = sure[where]
    reach = np.full(num_rays, np.inf)
    reach[rays] = found.distance_m[first[rays]] + geo.TIE_M
    region = np.where(first >= 0, regions[found.face[first]], 0)
    near = found.distance_m < reach[found.ray]
    differs = regions[found.face] != region[found.ray]
    is_sure = np.ones(num_rays, np.bool_)
    is_sure[found.ray[near & (differs | ~found.is_sure)]] = False
    return first, is_sure


def check_visibility(view: View) -> Iterator[Measured]:
    """g: visibility against rays to the landmarks."""
    landmarks = landmarks_of(view.sample)
    points = np.array(landmarks.xyz_m)
    pixels = geo.project(points, view.K)
    inside = (pixels >= 0).all(1) & (
        pixels < [view.sample.meta.width, view.sample.meta.height]
    ).all(1)
    found = geo.cross_all(pixels, view.vertices, view.faces, view.K)
    spare = np.linalg.norm(points, axis=1)[found.ray] - SHORTENED_M - found.distance_m
    hidden = np.zeros(len(points), np.bool_)
    hidden[found.ray[(spare > geo.TIE_M) & found.is_sure]] = True
    doubtful = np.zeros(len(points), np.bool_)
    doubtful[found.ray[(np.abs(spare) <= geo.TIE_M) | ((spare > 0) & ~found.is_sure)]] = True
    expected = np.where(inside, np.where(hidden, 1, 2), 0)
    is_sure = hidden | ~doubtful | ~inside
    wrong = (expected != np.array(landmarks.visibility))[is_sure]
    yield "visibility", wrong.astype(np.float64), int((~is_sure).sum())


def check_mesh_points(view: View) -> Iterator[Measured]:
    """i: landmarks against the topology's points of `dense`."""
    landmarks, topology = landmarks_of(view.sample), view.topology

    def placed(face: Array, bary: Array) -> Float64Array:
        corners = view.vertices[view.faces[face]]
        return np.asarray((bary[..., None] * corners).sum(-2))

    xyz = np.array(landmarks.xyz_m)
    inner = placed(topology["landmark_face"], topology["landmark_bary"])
    jaw = placed(topology["jaw_fixed_face"], topology["jaw_fixed_bary"])
    contours = placed(topology["contour_face"], topology["contour_bary"])  # (Y, P, 17, 3)
    to_contours = np.linalg.norm(contours - xyz[:17], axis=-1).max(-1)
    errors = [
        np.linalg.norm(inner - xyz[INNER], axis=1),
        np.linalg.norm(jaw - np.array(landmarks.jaw_fixed_xyz_m), axis=1),
        to_contours.min(keepdims=True).ravel(),  # one cell holds all 17
    ]
    yield "landmarks_on_mesh", 1e3 * np.concatenate(errors), 0


def check_background(view: View) -> Iterator[Measured]:
    """i: one background in every label."""
    arrays = view.sample.arrays
    is_there = arrays["depth"] > 0
    differing = int(((arrays["normal"] > 0).any(-1) != is_there).sum())
    for name in ("segmentation", "u", "v"):
        differing += int(((arrays[name] > 0) != is_there).sum())
    yield "background", np.array([float(differing)]), 0


def check_boxes(view: View) -> Iterator[Measured]:
    """i: both boxes, and the measured quality."""
    meta, classes = view.sample.meta, view.sample.arrays["segmentation"]
    points = np.array(landmarks_of(view.sample).xy_px)
    bounds = np.concatenate([points.min(0), points.max(0)])
    is_face = np.isin(classes, list(FACE_CLASSES))
    row, column = np.nonzero(is_face)
    visible = [column.min(), row.min(), column.max() + 1, row.max() + 1] if len(row) else []
    claimed = list(meta.bbox_visible_px or ())
    errors = np.abs(bounds - np.array(meta.bbox_px))
    yield "boxes", np.append(errors, 0.0 if visible == claimed else np.inf), 0
    inside = ((points >= 0) & (points < [meta.width, meta.height])).all(1)
    quality = [
        meta.quality["face"] - is_face.mean(),
        meta.quality["landmarks_inside"] - inside.mean(),
    ]
    yield "quality", np.abs(quality), 0


CHECKS: tuple[Callable[[View], Iterator[Measured]], ...] = (
    check_projection,
    check_landmark_depth,
    check_depth_on_mesh,
    check_hits,
    check_normals,
    check_visibility,
    check_mesh_points,
    check_background,
    check_boxes,
)
"""Those that need nothing but the files; `asked.py` compares with the job."""
