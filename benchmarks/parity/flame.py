"""Our FLAME layer against the published ones: files, vertices, landmarks, contour bins.

Fixtures of a tag lie in one folder: TAG_parity_*.npz with the inputs and what was recorded,
TAG_generic_model[_chumpy].pkl[.xz], TAG_flame_static_embedding.pkl,
TAG_flame_dynamic_embedding.npy. evil_*.pkl and evil_*.npy are hostile and must be refused.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.parity.check import Check, count_unequal, largest
from workers.flame.assets import FlameAssets
from workers.flame.embedding import Landmarks, flame_contour_bin, flame_contour_yaw_deg
from workers.flame.model import Flame, FlameMesh
from workers.flame.official import (
    cell_of_bin,
    contour_yaw_sense,
    read_contour_bins,
    read_embedding,
    read_model,
    to_view_grid,
)
from workers.flame.safe_pickle import BadPickleError

Fixture = Mapping[str, NDArray[np.float64]]

TOLERANCE_M = {torch.float32: 1e-6, torch.float64: 1e-12}
SMPLX_TOLERANCE_M = 1e-6
YAW_TOLERANCE_DEG = 1e-9
EXECUTED_MARKER = Path("SYNTHFORGE_UNSAFE_PICKLE_EXECUTED")


@dataclass(frozen=True)
class Head:
    """A model file and, where the folder has them, the landmarks that go with it."""

    name: str
    assets: FlameAssets
    landmarks: LandmarkFiles | None


@dataclass(frozen=True)
class LandmarkFiles:
    """The landmark layer in both precisions, and which way its yaw bins run."""

    layers: Mapping[torch.dtype, Landmarks]
    yaw_sense: int


@dataclass(frozen=True)
class Case:
    """One recorded file held against one model file."""

    fixture: str
    head: Head
    recorded: Fixture

    @property
    def root(self) -> Tensor:
        return torch.tensor(self.recorded["pose"][:, :3])

    @property
    def neck(self) -> Tensor:
        return torch.tensor(self.recorded["neck"])


def checks(directory: Path) -> Iterator[Check]:
    """Check every FLAME fixture under a directory."""
    for path in sorted([*directory.rglob("evil_*.pkl*"), *directory.rglob("evil_*.npy*")]):
        yield _refusal(path)
    tags: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(directory.rglob("*_parity_*.npz")):
        tags.setdefault((path.parent, path.name.split("_parity_")[0]), []).append(path)
    for (folder, tag), fixtures in tags.items():
        models = [p for name in _model_names(tag) for p in _present(folder, name)]
        if not models:
            yield Check(f"{tag}_parity_*.npz", "model files", 1, 0, "no model of this tag is there")
        for model in models:
            head = _load(model, tag)
            for path in fixtures:
                with np.load(path, allow_pickle=False) as recorded:
                    yield from _compare(path.name, head, dict(recorded))


def _refusal(path: Path) -> Check:
    """A hostile pickle is right when it is refused and nothing ran."""
    was_there = EXECUTED_MARKER.exists()
    read = read_contour_bins if ".npy" in path.suffixes else read_model
    try:
        read(_read(path), path.name)
        is_refused, note = False, "it was read"
    except BadPickleError as error:
        is_refused, note = True, f"refused: {error}"
    is_wrong = not is_refused or (EXECUTED_MARKER.exists() and not was_there)
    return Check(path.name, "hostile pickles not refused", float(is_wrong), 0, note)


def _model_names(tag: str) -> tuple[str, str]:
    return f"{tag}_generic_model.pkl", f"{tag}_generic_model_chumpy.pkl"


def _present(folder: Path, name: str) -> list[Path]:
    return [folder / n for n in (name, f"{name}.xz") if (folder / n).is_file()][:1]


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _load(model: Path, tag: str) -> Head:
    assets = read_model(_read(model), model.name)
    static = _present(model.parent, f"{tag}_flame_static_embedding.pkl")
    dynamic = _present(model.parent, f"{tag}_flame_dynamic_embedding.npy")
    if not static or not dynamic:
        return Head(model.name, assets, None)
    embedding = read_embedding(
        _read(static[0]),
        _read(dynamic[0]),
        static_source=static[0].name,
        dynamic_source=dynamic[0].name,
    )
    grid = to_view_grid(embedding, assets)
    layers = {dtype: Landmarks(grid, assets.faces, dtype=dtype) for dtype in TOLERANCE_M}
    return Head(model.name, assets, LandmarkFiles(layers, contour_yaw_sense(embedding, assets)))


def _compare(name: str, head: Head, recorded: Fixture) -> Iterator[Check]:
    case = Case(f"{name} on {head.name}", head, recorded)
    yield count_unequal(case.fixture, "faces", head.assets.faces, recorded["faces"])
    yield from _compare_bins(case)
    for dtype, suffix in ((torch.float32, ""), (torch.float64, "_f64")):
        mesh = _pose(case, dtype)
        yield from _compare_mesh(case, mesh, dtype, suffix)
        if head.landmarks is not None:
            yield from _compare_landmarks(case, head.landmarks, mesh.vertices, suffix)


def _compare_bins(case: Case) -> Iterator[Check]:
    recorded = case.recorded
    yaw = flame_contour_yaw_deg(case.root, case.neck)
    yield largest(
        case.fixture,
        "contour yaw, degrees",
        yaw,
        recorded["contour_yaw_deg"],
        tolerance=YAW_TOLERANCE_DEG,
    )
    bins = flame_contour_bin(yaw)
    yield count_unequal(case.fixture, "contour bins", bins, recorded["contour_bin"])


def _pose(case: Case, dtype: torch.dtype) -> FlameMesh:
    given = {name: torch.tensor(values, dtype=dtype) for name, values in case.recorded.items()}
    layer = Flame(
        case.head.assets,
        num_shape=given["shape"].shape[1],
        num_expression=given["expr"].shape[1],
        dtype=dtype,
    )
    return layer(
        given["shape"],
        given["expr"],
        global_orient=given["pose"][:, :3],
        neck_pose=given["neck"],
        jaw_pose=given["pose"][:, 3:],
        leye_pose=given["eye"][:, :3],
        reye_pose=given["eye"][:, 3:],
        transl=given["transl"],
    )


def _compare_mesh(case: Case, mesh: FlameMesh, dtype: torch.dtype, suffix: str) -> Iterator[Check]:
    kind = str(dtype).removeprefix("torch.")
    yield largest(
        case.fixture,
        f"vertices {kind}, m",
        mesh.vertices,
        case.recorded[f"vertices{suffix}"],
        tolerance=TOLERANCE_M[dtype],
    )
    if f"smplx_joints{suffix}" in case.recorded:
        yield largest(
            case.fixture,
            f"joints {kind}, m",
            mesh.joint_transforms[:, :, :3, 3],
            case.recorded[f"smplx_joints{suffix}"],
            tolerance=SMPLX_TOLERANCE_M,
        )


def _compare_landmarks(
    case: Case, landmarks: LandmarkFiles, vertices: Tensor, suffix: str
) -> Iterator[Check]:
    dtype = vertices.dtype
    layer = landmarks.layers[dtype]

    def points(neck: Tensor) -> Tensor:
        bins = flame_contour_bin(flame_contour_yaw_deg(case.root, neck))
        return layer.points(vertices, cell_of_bin(bins, landmarks.yaw_sense))

    yield largest(
        case.fixture,
        f"landmarks {str(dtype).removeprefix('torch.')}, m",
        points(case.neck),
        case.recorded[f"landmarks{suffix}"],
        tolerance=TOLERANCE_M[dtype],
    )
    if dtype == torch.float64 and "smplx_landmarks_root_yaw_only" in case.recorded:
        yield largest(
            case.fixture,
            "landmarks by the root's yaw alone, m",
            points(torch.zeros_like(case.neck)),
            case.recorded["smplx_landmarks_root_yaw_only"],
            tolerance=SMPLX_TOLERANCE_M,
        )
