"""AFLW2000-3D: 68 points with those that are hidden, and the head's pose, a `.mat` a picture.

    DIR/imageNNNNN.jpg (450 x 450)    DIR/imageNNNNN.mat

All of it is a test set, and its pictures are crops of one face each. Of a `.mat` two plain arrays
are read, `pt3d_68` (3, 68) and `Pose_Para` (1, 7): pitch, yaw, roll in radians, shift and scale.
MATLAB's version 5 format holds data alone, no code: SciPy's reader only decodes it, and object
arrays are refused. Pixels are counted from 1: 0.5 is taken away. Its yaw is ours negated.

Source: Zhu et al., "Face Alignment Across Large Poses", CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.points import IBUG_68
from trainer.datasets.real_set import (
    DatasetError,
    RealSample,
    RealSet,
    existing_folder,
    pictures_in,
    read_picture,
)
from trainer.decoding import Sample

NAME: Final = "aflw2000"
MAT_OFFSET_PX: Final = -0.5
_ARRAYS: Final = {"pt3d_68": (3, 68), "Pose_Para": (1, 7)}


def open_aflw2000(folder: Path) -> RealSet:
    """List AFLW2000-3D.

    Raises:
        DatasetError: there is no such folder, or nothing of the set in it.
    """
    existing_folder(NAME, folder)
    keys = tuple(p.name for p in pictures_in(folder) if p.with_suffix(".mat").exists())
    if not keys:
        raise DatasetError(f"{NAME}: no pictures with a .mat beside them in {folder}")

    def read(key: str) -> RealSample:
        arrays = read_mat((folder / key).with_suffix(".mat"))
        points = arrays["pt3d_68"][:2].T + MAT_OFFSET_PX
        yaw_deg = -float(np.rad2deg(arrays["Pose_Para"][0, 1]))
        image = read_picture(folder / key)
        return RealSample(
            Sample(key=key, image=image, landmarks_px=points.astype(np.float32)), yaw_deg
        )

    return RealSet(NAME, folder, {"test": keys}, read, ("test",), points=IBUG_68)


def read_mat(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the two arrays of a `.mat`.

    Raises:
        DatasetError: it is missing, no version 5 file, or an array is absent or of another shape.
    """
    from scipy.io import loadmat  # noqa: PLC0415 - an optional library, for this set alone

    try:
        content: dict[str, Any] = loadmat(path, variable_names=list(_ARRAYS))
    except FileNotFoundError:
        raise DatasetError(f"{path}: missing") from None
    except Exception as error:  # SciPy raises many kinds on a malformed file
        raise DatasetError(f"{path}: no MATLAB file of version 5: {str(error)[:100]}") from None
    found = {}
    for name, shape in _ARRAYS.items():
        array = content.get(name)
        if array is None or array.shape != shape or array.dtype.kind not in "fiu":
            held = "missing" if array is None else f"{array.dtype} {array.shape}"
            raise DatasetError(f"{path}: {name} is {held}, not numbers of {shape}")
        found[name] = np.asarray(array, np.float64)
        if not np.isfinite(found[name]).all():
            raise DatasetError(f"{path}: {name} is not finite")
    return found
