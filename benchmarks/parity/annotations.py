"""Our cameras and the published labelling against numbers recorded from the released code.

Files, each with or without something around its name: annotation_maths.npz (cameras, alignment,
projection), rays_depth_gate.npz, seg_render.npz (the published mask camera, drawn by our
rasteriser), label_decode.npz, sample_annotation.json (the published keys).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.parity.check import Check, count_unequal, largest
from workers.generators.next3d.published import (
    AffineMap,
    decode_colours,
    depth_to_8_bits,
    gate_error_px,
    mask_colours,
    mask_focal,
    passes_gate,
    project,
    to_camera,
    volume_points,
)
from workers.generators.next3d.rays import (
    camera_params,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
    pixel_rays,
)
from workers.raster.torch_portable import TorchRasteriser
from workers.types import Float64Array

Fixture = Mapping[str, NDArray[np.float64]]

CAMERA_TOLERANCE = 2e-6  # float32 of lengths up to 2.7, volume units
POINT_TOLERANCE = 2e-6  # volume units
PIXEL_TOLERANCE_PX = 1e-2
GATE_TOLERANCE_PX = 1e-9
COLOUR_TOLERANCE = 1  # of 255: truncation after arithmetic of another precision
JSON_LENGTHS = {
    "z": 512,
    "camera_params": 25,
    "flame_shape": 100,
    "flame_exp": 50,
    "flame_pose": 6,
    "2d_kps": 68,
    "fan_kps": 68,
    "mse": None,
}
"""The keys of a published annotation, and how many items each holds; None is a number."""


def checks(directory: Path) -> Iterator[Check]:
    """Check every annotation fixture under a directory."""
    for form, compare in COMPARISONS.items():
        for path in sorted(directory.rglob(f"*{form}*.npz")):
            with np.load(path, allow_pickle=False) as recorded:
                yield from compare(path.name, dict(recorded))
    for path in sorted(directory.rglob("*sample_annotation*.json")):
        yield _check_keys(path)


def _compare_maths(fixture: str, recorded: Fixture) -> Iterator[Check]:
    yield from _compare_cameras(fixture, recorded)
    points = _all_points(recorded)
    shift = recorded["orth_shift"].reshape(3)
    placed = volume_points(points, shift, float(recorded["orth_scale"].item()))
    if "pre_mlp" in recorded:
        yield largest(fixture, "placed", placed, recorded["pre_mlp"], tolerance=POINT_TOLERANCE)
    layers = (recorded[f"fc{n}_{part}"] for n in (1, 2) for part in ("weight", "bias"))
    aligned = AffineMap.from_layers(*layers)(placed)
    yield largest(fixture, "aligned", aligned, recorded["aligned"], tolerance=POINT_TOLERANCE)
    yield from _compare_projections(fixture, recorded, aligned)


def _compare_cameras(fixture: str, recorded: Fixture) -> Iterator[Check]:
    def angle(name: str) -> torch.Tensor:
        return torch.tensor(recorded[name] + math.pi / 2, dtype=torch.float32)

    pivot = torch.tensor(recorded["pivot"], dtype=torch.float32)
    radius = float(recorded["radius"])
    cameras = orbit_camera(angle("yaw"), angle("pitch"), pivot=pivot, radius=radius)
    intrinsics = torch.stack(
        [intrinsics_from_focal(focal_from_fov(float(fov))) for fov in recorded["fov_deg"]]
    )
    ours = {
        "cam2world": cameras,
        "intrinsics": intrinsics,
        "camera_params": camera_params(cameras, intrinsics),
    }
    for name, values in ours.items():
        yield largest(fixture, name, values, recorded[name], tolerance=CAMERA_TOLERANCE)


def _all_points(recorded: Fixture) -> Float64Array:
    """Vertices, then landmarks, of each camera's head."""
    every = np.concatenate([recorded["vertices"], recorded["landmarks"]], axis=1)
    return every[recorded["sample"].astype(np.int64)].astype(np.float64)


def _compare_projections(fixture: str, recorded: Fixture, aligned: Float64Array) -> Iterator[Check]:
    num_vertices, side = recorded["vertices"].shape[1], int(recorded["image_size"])
    in_camera = to_camera(aligned, recorded["cam2world"])
    vertices, landmarks = in_camera[:, :num_vertices], in_camera[:, num_vertices:]
    yield largest(fixture, "verts_cam", vertices, recorded["verts_cam"], tolerance=POINT_TOLERANCE)
    fov = recorded["fov_deg"]
    focal = np.array([focal_from_fov(float(each)) for each in fov])
    ours = {
        "pt2d": project(landmarks, focal, side),
        "verts_px_intrinsics": project(vertices, focal, side),
        "verts_px_segcam": project(vertices, mask_focal(fov), side),
    }
    for name, values in ours.items():
        yield largest(fixture, f"{name}, px", values, recorded[name], tolerance=PIXEL_TOLERANCE_PX)


def _compare_rays(fixture: str, recorded: Fixture) -> Iterator[Check]:
    cameras, intrinsics = (torch.tensor(recorded[name]) for name in ("cam2world", "intrinsics"))
    origins, directions = pixel_rays(cameras, intrinsics, int(recorded["resolution"]))
    origins = origins[:, None].expand_as(directions)
    for name, values in (("ray_origins", origins), ("ray_directions", directions)):
        yield largest(fixture, name, values, recorded[name], tolerance=CAMERA_TOLERANCE)
    grey = depth_to_8_bits(recorded["depth"])
    yield count_unequal(fixture, "depth_u8, pixels", grey, recorded["depth_u8"])
    error = gate_error_px(recorded["gate_projected"], recorded["gate_fan"])
    yield largest(
        fixture, "gate_error_px", error, recorded["gate_error_px"], tolerance=GATE_TOLERANCE_PX
    )
    yield count_unequal(fixture, "gate_accept", passes_gate(error), recorded["gate_accept"])


def _compare_masks(fixture: str, recorded: Fixture) -> Iterator[Check]:
    side = int(recorded["image_size"])
    focal = torch.tensor(mask_focal(recorded["fov_deg"]) * side, dtype=torch.float32)
    intrinsics = torch.eye(3).repeat(len(focal), 1, 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = side / 2
    faces = torch.tensor(recorded["faces"])
    rasteriser = TorchRasteriser()
    vertices = torch.tensor(recorded["verts_cam"])
    fragments = rasteriser.rasterise(vertices, faces, intrinsics, side, side)
    uv = rasteriser.interpolate(fragments, faces, torch.tensor(recorded["uvs"])).numpy()
    is_hit = (fragments.face_id >= 0).numpy()
    theirs = recorded["seg_rgb"].astype(np.int64)
    yield count_unequal(fixture, "covered pixels", is_hit, (theirs < 255).any(axis=-1))
    colours = mask_colours(uv, is_hit, recorded["texture"].astype(np.uint8))
    yield largest(fixture, "seg_rgb, of 255", colours, theirs, tolerance=COLOUR_TOLERANCE)


def _compare_decoding(fixture: str, recorded: Fixture) -> Iterator[Check]:
    palette = recorded["class_colours"][:-1]  # the last is the background's, and is not matched
    for kind in ("soft", "hard"):
        mask = recorded[f"seg_rgb_{kind}"].astype(np.uint8)
        labels, theirs = decode_colours(mask, palette), recorded[f"official_label_{kind}"]
        check = count_unequal(fixture, f"official_label_{kind}, pixels", labels, theirs)
        right = float((labels == recorded["true_label"]).mean())
        yield Check(
            check.fixture,
            check.quantity,
            check.error,
            check.tolerance,
            f"the published decoding is right for {right:.3f} of the pixels",
        )


def _check_keys(path: Path) -> Check:
    found = json.loads(path.read_text())
    wrong = sorted(
        {key for key, length in JSON_LENGTHS.items() if _length(found.get(key, "")) != length}
        | (found.keys() - JSON_LENGTHS.keys())
    )
    return Check(path.name, "keys missing, unknown or too short", len(wrong), 0, ", ".join(wrong))


def _length(value: object) -> int | None:
    return len(value) if isinstance(value, list | str) else None


COMPARISONS: dict[str, Callable[[str, Fixture], Iterator[Check]]] = {
    "annotation_maths": _compare_maths,
    "rays_depth_gate": _compare_rays,
    "seg_render": _compare_masks,
    "label_decode": _compare_decoding,
}
"""Form of a fixture, part of its file's name, to what compares it."""
