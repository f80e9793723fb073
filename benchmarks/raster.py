"""How long a frame takes: `python -m benchmarks.raster [--repeats N] [--backend NAME]`.

Process time of one thread, milliseconds, a closed mesh of 10,000 faces that fills two thirds of the
picture. The least of the repeats is what the code costs; the median says what the machine added.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from workers.raster.select import Backend, make_rasteriser
from workers.raster.visibility import visibility

SIZES_PX = (512, 1024)
DISTANCE_M = 1.08
FOCAL_PER_WIDTH = 4.7
NUM_LANDMARKS = 68


def head_like_mesh(num_rows: int = 50) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Make an ellipsoid of the size of a head before the camera.

    Returns:
        vertices: (V, 3) camera axes (OpenCV), metres.
        faces: (4 num_rows^2, 3), anticlockwise as seen from outside; those at the poles are flat.
    """
    num_columns = 2 * num_rows
    polar = np.linspace(0, np.pi, num_rows + 1)[:, None]
    azimuth = np.linspace(0, 2 * np.pi, num_columns, endpoint=False)[None]
    x = 0.085 * np.sin(polar) * np.cos(azimuth)
    y = -0.13 * np.cos(polar) * np.ones_like(azimuth)
    z = DISTANCE_M - 0.10 * np.sin(polar) * np.sin(azimuth)
    vertices = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    row, column = np.meshgrid(np.arange(num_rows), np.arange(num_columns), indexing="ij")
    here = row * num_columns + column
    beside = row * num_columns + (column + 1) % num_columns
    upper = np.stack([here, beside, here + num_columns], -1)
    lower = np.stack([beside, beside + num_columns, here + num_columns], -1)
    return vertices, np.stack([upper, lower], 2).reshape(-1, 3).astype(np.int32)


def camera_of(size_px: int) -> NDArray[np.float64]:
    """(3, 3) intrinsics under which the mesh fills two thirds of a square picture."""
    focal = FOCAL_PER_WIDTH * size_px
    return np.array([[focal, 0, size_px / 2], [0, focal, size_px / 2], [0, 0, 1]])


def measure(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least and median process time of one call, milliseconds; the first call is not counted."""
    work()
    times_ms = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times_ms.append((time.process_time() - start) * 1e3)
    return min(times_ms), statistics.median(times_ms)


def report(backend: Backend, size_px: int, repeats: int) -> None:
    """Print a line for each thing that the backend does at this size."""
    corners, triangles = head_like_mesh()
    rasteriser = make_rasteriser(backend)
    vertices, faces = torch.from_numpy(corners)[None], torch.from_numpy(triangles)
    K = torch.from_numpy(camera_of(size_px))[None]
    normals = torch.rand(1, len(corners), 3)
    fragments = rasteriser.rasterise(vertices, faces, K, size_px, size_px)
    share = float((fragments.face_id >= 0).float().mean())
    tasks: dict[str, Callable[[], object]] = {
        "rasterise": lambda: rasteriser.rasterise(vertices, faces, K, size_px, size_px),
        "first_faces": lambda: rasteriser.first_faces(vertices, faces, K, size_px, size_px),
        "interpolate 3": lambda: rasteriser.interpolate(fragments, faces, normals),
    }
    for name, work in tasks.items():
        least, median = measure(work, repeats)
        print(
            f"{backend:10} {size_px:5} px  {share:4.0%} covered  {name:14}"
            f"{least:9.2f} ms  (median {median:.2f})"
        )


def report_visibility(repeats: int) -> None:
    """Print a line for the ray test of 68 points."""
    vertices, faces = head_like_mesh()
    points = vertices[:: len(vertices) // NUM_LANDMARKS][:NUM_LANDMARKS].astype(np.float64)
    size_px = SIZES_PX[0]
    least, median = measure(
        lambda: visibility(
            points, vertices, faces, camera_of(size_px), height_px=size_px, width_px=size_px
        ),
        repeats,
    )
    print(f"visibility of {len(points)} points: {least:.2f} ms  (median {median:.2f})")


def main() -> None:
    """Measure the backends that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--backend", action="append", choices=["numba", "torch", "pytorch3d"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for backend in arguments.backend or ["numba", "torch"]:
        for size_px in SIZES_PX:
            report(backend, size_px, arguments.repeats if backend == "numba" else 5)
    report_visibility(arguments.repeats)


if __name__ == "__main__":
    main()
