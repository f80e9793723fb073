"""The numbers a FLAME-shaped head model is made of.

One layer serves two heads: the licensed FLAME, read by `workers/flame/official.py`, and our own,
`workers/generators/builtin/head.npz`. Both are this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.flame.arrays_file import Array, read_arrays
from workers.types import Int32Array

FloatArray = NDArray[np.float32] | NDArray[np.float64]

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")
NUM_JOINTS = len(JOINT_NAMES)
PARENTS = (-1, 0, 1, 1, 1)
NUM_POSE_FEATURES = 9 * (NUM_JOINTS - 1)  # rotation-matrix entries of every joint but the root

_WEIGHT_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class FlameAssets:
    """A head model with FLAME's structure. Metres; +x subject's left, +y up, +z out of the face.

    Floating arrays share one dtype, float32 or float64.

    Attributes:
        v_template: (V, 3) the mean head.
        faces: (F, 3) int32, counter-clockwise seen from outside.
        shapedirs: (V, 3, S) metres per unit of each identity coefficient.
        expressiondirs: (V, 3, E) metres per unit of each expression coefficient.
        posedirs: (V, 3, 36) correctives, metres per unit of R - I, row-major, joints 1 to 4.
        joint_regressor: (5, V) joints from shaped vertices.
        parents: (5,) int32, [-1, 0, 1, 1, 1]: root, neck, jaw, left eye, right eye.
        weights: (V, 5) skinning weights; rows sum to 1.

    Raises:
        ValueError: shapes do not fit each other, a number is not finite, a face names a vertex
            that is not there, or the joints are not FLAME's.
    """

    v_template: FloatArray
    faces: Int32Array
    shapedirs: FloatArray
    expressiondirs: FloatArray
    posedirs: FloatArray
    joint_regressor: FloatArray
    parents: Int32Array
    weights: FloatArray

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_values()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> FlameAssets:
        """Build from arrays named as the fields, of any numeric dtype.

        Floats become float64 if any of them is, else float32.
        """
        is_double = any(arrays[name].dtype == np.float64 for name in _FLOAT_FIELDS)

        def floats(name: str) -> FloatArray:
            if is_double:
                return np.ascontiguousarray(arrays[name], np.float64)
            return np.ascontiguousarray(arrays[name], np.float32)

        return cls(
            v_template=floats("v_template"),
            faces=np.ascontiguousarray(arrays["faces"], np.int32),
            shapedirs=floats("shapedirs"),
            expressiondirs=floats("expressiondirs"),
            posedirs=floats("posedirs"),
            joint_regressor=floats("joint_regressor"),
            parents=np.ascontiguousarray(arrays["parents"], np.int32),
            weights=floats("weights"),
        )

    @property
    def num_vertices(self) -> int:
        return len(self.v_template)

    @property
    def num_shape(self) -> int:
        return int(self.shapedirs.shape[2])

    @property
    def num_expression(self) -> int:
        return int(self.expressiondirs.shape[2])

    def to_arrays(self) -> dict[str, Array]:
        """Name every array, in the order of the fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _check_shapes(self) -> None:
        num_vertices = len(self.v_template)
        expected: dict[str, tuple[int | None, ...]] = {
            "v_template": (num_vertices, 3),
            "faces": (None, 3),
            "shapedirs": (num_vertices, 3, None),
            "expressiondirs": (num_vertices, 3, None),
            "posedirs": (num_vertices, 3, NUM_POSE_FEATURES),
            "joint_regressor": (NUM_JOINTS, num_vertices),
            "parents": (NUM_JOINTS,),
            "weights": (num_vertices, NUM_JOINTS),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            fits = len(found) == len(shape) and all(
                want in (None, side) for side, want in zip(found, shape, strict=True)
            )
            if not fits:
                wanted = ", ".join("any" if side is None else str(side) for side in shape)
                raise ValueError(f"{name} has shape {found}, a head of this kind has ({wanted})")

    def _check_values(self) -> None:
        for name in _FLOAT_FIELDS:
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds a number that is not finite")
        if self.faces.size and not 0 <= self.faces.min() <= self.faces.max() < self.num_vertices:
            raise ValueError(f"faces names a vertex outside 0..{self.num_vertices - 1}")
        if tuple(self.parents.tolist()) != PARENTS:
            raise ValueError(f"parents is {self.parents.tolist()}, FLAME's are {list(PARENTS)}")
        if np.abs(self.weights.sum(axis=1) - 1).max(initial=0.0) > _WEIGHT_SUM_TOLERANCE:
            raise ValueError("weights has a row that does not sum to 1")


_INT_FIELDS = ("faces", "parents")
_FLOAT_FIELDS = tuple(f.name for f in fields(FlameAssets) if f.name not in _INT_FIELDS)


def load_npz(path: Path, *, sha256: str | None = None) -> FlameAssets:
    """Load a head from one .npz whose arrays are named as the fields of `FlameAssets`.

    Our own head's data file and a converted FLAME (`save_npz`) are both such files; arrays of
    other names in it (UV map, regions, landmarks) are left alone.

    Args:
        path: the file.
        sha256: what its bytes must hash to; None skips the comparison.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is torn or no head, or the hash differs.
    """
    names = [field.name for field in fields(FlameAssets)]
    arrays = read_arrays(path, names, sha256=sha256)
    try:
        return FlameAssets.from_arrays(arrays)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
