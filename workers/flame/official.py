"""Reads the files that FLAME's publishers distribute, and keeps them in a safe form.

The model (`generic_model.pkl`, `FLAME_NEUTRAL.pkl`, `flame2023*.pkl`) and the static landmark
embedding are pickles of Python 2 with chumpy and SciPy objects in them; the dynamic embedding is
a .npy file with a pickle inside. All go through `workers/flame/safe_pickle.py`, which runs
nothing. `save_npz` writes the same numbers without pickles; `assets.load_npz` and
`embedding.load_embedding_npz` read them back.

Source of keys, shapes and bins: the published file layouts of FLAME (Li et al., SIGGRAPH Asia
2017) and RingNet (Sanyal et al., CVPR 2019).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from workers.flame.arrays_file import Array, read_npy_header, write_arrays
from workers.flame.assets import NUM_JOINTS, FlameAssets
from workers.flame.embedding import NUM_CONTOUR, NUM_STATIC, LandmarkEmbedding
from workers.flame.pickled_arrays import FLAME_GLOBALS, CscMatrix, only_object, plain_array
from workers.flame.safe_pickle import BadPickleError, loads
from workers.types import Float64Array, Int32Array

NUM_IDENTITY_DIRECTIONS = 300  # of `shapedirs`; the rest, 100 in the released files, is expression
MAX_BIN_DEG = 39
BIN_YAW_DEG = np.concatenate(
    [np.arange(0, MAX_BIN_DEG + 1), -np.arange(1, MAX_BIN_DEG + 1)]
).astype(np.int64)
"""(79,) the yaw that each bin of the dynamic embedding stands for, in FLAME's own sense."""

MASK_REGIONS = (
    "boundary",
    "eye_region",
    "face",
    "forehead",
    "left_ear",
    "left_eye_region",
    "left_eyeball",
    "lips",
    "neck",
    "nose",
    "right_ear",
    "right_eye_region",
    "right_eyeball",
    "scalp",
)
"""Regions of the published vertex masks."""

_LAST_BIN = len(BIN_YAW_DEG) - 1
_T = TypeVar("_T")


@dataclass(frozen=True)
class OfficialEmbedding:
    """FLAME's 68 landmarks as published: 51 fixed points and 17 contour points in 79 yaw bins.

    Attributes:
        static_face: (51,) int32 face of each point, iBUG 17 to 67.
        static_bary: (51, 3) barycentrics in it.
        bins_face: (79, 17) int32, rows as `BIN_YAW_DEG`.
        bins_bary: (79, 17, 3).
    """

    static_face: Int32Array
    static_bary: Float64Array
    bins_face: Int32Array
    bins_bary: Float64Array


def read_model(data: bytes, source: str) -> FlameAssets:
    """Read a FLAME model file.

    Args:
        data: the file's bytes.
        source: its name, for errors.

    Raises:
        ForbiddenGlobalError: the pickle asks for something no FLAME model needs.
        BadPickleError: it is torn, or an entry is missing or malformed.
    """
    entries = _entries(loads(data, FLAME_GLOBALS, source=source), source)
    return _named(source, lambda: _model_of(entries))


def read_embedding(
    static: bytes, dynamic: bytes, *, static_source: str, dynamic_source: str
) -> OfficialEmbedding:
    """Read FLAME's landmark files: the static pickle and the dynamic .npy.

    Raises:
        ForbiddenGlobalError: one asks for something no such file needs.
        BadPickleError: one is torn, or its entries have other shapes.
    """
    static_face, static_bary = read_static_points(static, static_source)
    bins_face, bins_bary = read_contour_bins(dynamic, dynamic_source)
    return OfficialEmbedding(static_face, static_bary, bins_face, bins_bary)


def read_static_points(data: bytes, source: str) -> tuple[Int32Array, Float64Array]:
    """Read the static embedding, a pickle: faces (51,) and barycentrics (51, 3)."""
    entries = _entries(loads(data, FLAME_GLOBALS, source=source), source)
    return _named(source, lambda: _points_of(entries, (NUM_STATIC,)))


def read_contour_bins(data: bytes, source: str) -> tuple[Int32Array, Float64Array]:
    """Read the dynamic embedding, a pickle in a .npy: faces (79, 17), barycentrics (79, 17, 3)."""
    entries = _entries(_npy_object(data, source), source)
    return _named(source, lambda: _points_of(entries, (len(BIN_YAW_DEG), NUM_CONTOUR)))


def read_masks(data: bytes, source: str) -> dict[str, Int32Array]:
    """Read the vertex masks, a pickle: the ids of each region's vertices. Regions overlap."""
    entries = _entries(loads(data, FLAME_GLOBALS, source=source), source)
    return _named(source, lambda: _regions_of(entries))


def cell_of_bin(bin_index: NDArray[np.int64], yaw_sense: int) -> NDArray[np.int64]:
    """Find the row of `to_view_grid`'s grid that holds a bin of the dynamic embedding."""
    return MAX_BIN_DEG + yaw_sense * BIN_YAW_DEG[bin_index]


def contour_yaw_sense(embedding: OfficialEmbedding, assets: FlameAssets) -> int:
    """Tell whether bins 1 to 39 serve a head seen at positive yaw (+1) or at negative yaw (-1).

    Published codes disagree: FLAME_PyTorch takes bins 40 and up for a positive turn about +y,
    DECA the others. The mesh decides: a head that turns by some yaw shows an outline that has
    turned on the head by as much the other way, about the same upright axis.
    """
    corners = assets.v_template[assets.faces[embedding.bins_face]].astype(np.float64)
    points = np.einsum("bkc,bkcd->bkd", embedding.bins_bary, corners)  # (79, 17, 3)
    around = points - assets.v_template.mean(axis=0)
    first, last = around[_LAST_BIN], around[MAX_BIN_DEG]  # -39 and +39 in FLAME's sense
    turn_about_y = (first[:, 2] * last[:, 0] - first[:, 0] * last[:, 2]).sum()
    return 1 if turn_about_y < 0 else -1


def to_view_grid(embedding: OfficialEmbedding, assets: FlameAssets) -> LandmarkEmbedding:
    """Order the bins by the yaw at which a camera sees the head, the project's sign.

    FLAME has one row of pitch. The points fixed on the mesh are the frontal ones, bin 0.
    """
    num_faces = len(assets.faces)
    for name in ("static_face", "bins_face"):
        ids = getattr(embedding, name)
        if ids.min() < 0 or ids.max() >= num_faces:
            raise ValueError(f"{name} names a face outside 0..{num_faces - 1}: of another mesh")
    sense = contour_yaw_sense(embedding, assets)
    bins = np.argsort(cell_of_bin(np.arange(len(BIN_YAW_DEG)), sense))
    return LandmarkEmbedding(
        landmark_face=embedding.static_face,
        landmark_bary=embedding.static_bary,
        contour_yaw_deg=np.sort(BIN_YAW_DEG).astype(np.float64),
        contour_pitch_deg=np.zeros(1),
        contour_face=embedding.bins_face[bins][:, None],
        contour_bary=embedding.bins_bary[bins][:, None],
        jaw_fixed_face=embedding.bins_face[0],
        jaw_fixed_bary=embedding.bins_bary[0],
    )


def save_npz(path: Path, assets: FlameAssets, embedding: LandmarkEmbedding) -> str:
    """Write model and landmarks as plain arrays, one file; equal numbers make equal bytes.

    Returns:
        The file's sha256, which `assets.load_npz` and `embedding.load_embedding_npz` check.
    """
    return write_arrays(path, {**assets.to_arrays(), **embedding.to_arrays()})


def _model_of(entries: dict[object, object]) -> FlameAssets:
    template = plain_array(_entry(entries, "v_template"))
    directions = plain_array(_entry(entries, "shapedirs"))
    if directions.ndim != 3 or directions.shape[2] <= NUM_IDENTITY_DIRECTIONS:
        raise ValueError(
            f"shapedirs has shape {directions.shape}, FLAME's is (V, 3, 400): "
            f"{NUM_IDENTITY_DIRECTIONS} for identity, the rest for expression"
        )
    regressor = _entry(entries, "J_regressor")
    return FlameAssets.from_arrays(
        {
            "v_template": template,
            "faces": _whole("f", plain_array(_entry(entries, "f"))),
            "shapedirs": directions[:, :, :NUM_IDENTITY_DIRECTIONS],
            "expressiondirs": directions[:, :, NUM_IDENTITY_DIRECTIONS:],
            "posedirs": plain_array(_entry(entries, "posedirs")),
            "joint_regressor": _dense(regressor, len(template)),
            "parents": _parents(plain_array(_entry(entries, "kintree_table"))),
            "weights": plain_array(_entry(entries, "weights")),
        }
    )


def _dense(regressor: object, num_vertices: int) -> Array:
    if isinstance(regressor, CscMatrix):
        return regressor.dense((NUM_JOINTS, num_vertices))
    return plain_array(regressor)


def _parents(tree: Array) -> Int32Array:
    """Row 0 of FLAME's `kintree_table`, where the root's parent is -1 stored without a sign."""
    if tree.shape != (2, NUM_JOINTS):
        raise ValueError(f"kintree_table has shape {tree.shape}, FLAME's is (2, {NUM_JOINTS})")
    parents: Int32Array = tree[0].astype(np.int64).astype(np.uint32).view(np.int32)
    return parents


def _points_of(
    entries: dict[object, object], shape: tuple[int, ...]
) -> tuple[Int32Array, Float64Array]:
    faces = _whole("lmk_face_idx", plain_array(_entry(entries, "lmk_face_idx")))
    bary = plain_array(_entry(entries, "lmk_b_coords")).astype(np.float64)
    if faces.shape != shape or bary.shape != (*shape, 3):
        raise ValueError(
            f"lmk_face_idx and lmk_b_coords have shapes {faces.shape} and {bary.shape}, "
            f"expected {shape} and {(*shape, 3)}"
        )
    return faces, bary


def _regions_of(entries: dict[object, object]) -> dict[str, Int32Array]:
    missing = sorted(set(MASK_REGIONS) - entries.keys())
    if missing:
        raise ValueError(f"regions are missing: {', '.join(missing)}")
    regions = {str(name): plain_array(ids) for name, ids in entries.items()}
    return {name: _whole(name, ids).reshape(-1) for name, ids in regions.items()}


def _whole(name: str, numbers: Array) -> Int32Array:
    if numbers.dtype.kind not in "iu" or (numbers.size and numbers.max() > np.iinfo(np.int32).max):
        raise ValueError(f"{name} holds numbers that are no index")
    return numbers.astype(np.int32)


def _npy_object(data: bytes, source: str) -> object:
    """Read the one object that `numpy.save` pickled behind a .npy header."""
    stream = io.BytesIO(data)
    try:
        shape, _, dtype = read_npy_header(stream)
    except ValueError as error:
        raise BadPickleError(f"{source} is no .npy file: {error}") from None
    if shape != () or not dtype.hasobject:
        raise BadPickleError(f"{source} holds {dtype} of shape {str(shape)[:60]}, not one object")
    payload = memoryview(data)[stream.tell() :]
    pickled = loads(payload, FLAME_GLOBALS, source=source)
    return _named(source, lambda: only_object(pickled))


def _entries(value: object, source: str) -> dict[object, object]:
    if not isinstance(value, dict):
        raise BadPickleError(f"{source} holds a {type(value).__name__}, expected a dictionary")
    return value


def _entry(entries: dict[object, object], name: str) -> object:
    if name not in entries:
        raise ValueError(f"entry {name!r} is missing")
    return entries[name]


def _named(source: str, read: Callable[[], _T]) -> _T:
    """Run a reader of ours; whatever it finds wrong is said in one line with the file's name."""
    try:
        return read()
    except (ValueError, TypeError, OverflowError) as error:
        raise BadPickleError(f"{source}: {error}") from None
