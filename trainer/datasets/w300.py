"""300-W: iBUG's 68 points on pictures of AFW, HELEN, LFPW and iBUG, as `.pts` beside each.

    DIR/{afw, ibug, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset}/*.jpg, *.pts

Training: AFW and the train sets of HELEN and LFPW (3148 pictures in the full set). Tests: common =
the test sets of HELEN and LFPW (554), challenging = iBUG (135), full = both.

Source: Sagonas et al., "300 Faces in-the-Wild Challenge", ICCV-W 2013. `.pts` counts pixels from 1
(it is MATLAB's), the first pixel's centre being (1, 1): ours is (0.5, 0.5), so 0.5 is taken away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from trainer.datasets.points import IBUG_68
from trainer.datasets.real_set import (
    DatasetError,
    Float64Array,
    RealSample,
    RealSet,
    existing_folder,
    pictures_in,
    read_numbers,
    read_picture,
    read_text,
)
from trainer.decoding import Sample

NAME: Final = "300w"
PTS_OFFSET_PX: Final = -0.5
_FOLDERS: Final = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
}


def open_300w(folder: Path) -> RealSet:
    """List 300-W in its own folders; those that are absent have no pictures.

    Raises:
        DatasetError: there is no such folder, or nothing of the set in it.
    """
    existing_folder(NAME, folder)
    subsets = {
        name: tuple(key for part in parts for key in _keys_in(folder, part))
        for name, parts in _FOLDERS.items()
    }
    if not any(subsets.values()):
        looked = ", ".join(part for parts in _FOLDERS.values() for part in parts)
        raise DatasetError(f"{NAME}: no pictures in {folder}/ {looked}")
    subsets["full"] = subsets["common"] + subsets["challenging"]

    def read(key: str) -> RealSample:
        path = folder / key
        points = read_pts(path.with_suffix(".pts"), IBUG_68.num_points)
        return RealSample(
            Sample(key=key, image=read_picture(path), landmarks_px=points.astype(np.float32))
        )

    return RealSet(
        NAME,
        folder,
        subsets,
        read,
        test=("common", "challenging", "full"),
        points=IBUG_68,
        framing="boxes",
    )


def read_pts(path: Path, num_points: int) -> Float64Array:
    """Return (num_points, 2) pixels of a `.pts` file, the picture's corner at (0, 0).

    Raises:
        DatasetError: it is missing, malformed, or has another number of points.
    """
    head, brace, rest = read_text(path).partition("{")
    body, closing, _ = rest.partition("}")
    if not brace or not closing:
        raise DatasetError(f"{path}: no braces around the points")
    declared = _declared(path, head)
    if declared != num_points:
        raise DatasetError(f"{path}: n_points is {declared}, not {num_points}")
    return read_numbers(path, body.strip().splitlines(), num_points) + PTS_OFFSET_PX


def _declared(path: Path, head: str) -> int:
    for line in head.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "n_points" and value.strip().isdigit():
            return int(value)
    raise DatasetError(f"{path}: no line 'n_points: N' before the points")


def _keys_in(folder: Path, part: str) -> list[str]:
    return [f"{part}/{path.name}" for path in pictures_in(folder / part)]
