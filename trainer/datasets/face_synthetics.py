"""FaceSynthetics: 19 classes and 70 points, three files a picture in one folder.

    DIR/NNNNNN.png    NNNNNN_seg.png (class ids, 255 = ignore)    NNNNNN_ldmks.txt (70 rows "x y")

It has no split: the last tenth of the numbers is the test subset, so that no picture that is
measured on is trained on. Points are projections: the picture's corner is taken to be (0, 0), with
no offset (the set does not say so: assumed).

Source: Wood et al., "Fake It Till You Make It", ICCV 2021; microsoft/FaceSynthetics, README.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from trainer.datasets.classes import FACE_SYNTHETICS_19
from trainer.datasets.points import FACE_SYNTHETICS_70
from trainer.datasets.real_set import (
    DatasetError,
    RealSample,
    RealSet,
    existing_folder,
    pictures_in,
    read_class_ids,
    read_numbers,
    read_picture,
    read_text,
)
from trainer.decoding import Sample

NAME: Final = "facesynthetics"
_TEST_SHARE: Final = 10  # one in so many


def open_face_synthetics(folder: Path) -> RealSet:
    """List FaceSynthetics.

    Raises:
        DatasetError: there is no such folder, or nothing of the set in it.
    """
    existing_folder(NAME, folder)
    keys = tuple(path.name for path in pictures_in(folder) if path.stem.isdigit())
    if not keys:
        raise DatasetError(f"{NAME}: no pictures NNNNNN.png in {folder}")
    num_test = max(len(keys) // _TEST_SHARE, 1)

    def read(key: str) -> RealSample:
        stem = Path(key).stem
        image = read_picture(folder / key)
        height, width = image.shape[:2]
        labels = folder / f"{stem}_seg.png"
        points_file = folder / f"{stem}_ldmks.txt"
        points = read_numbers(
            points_file,
            read_text(points_file).strip().splitlines(),
            FACE_SYNTHETICS_70.num_points,
        )
        return RealSample(
            Sample(
                key=key,
                image=image,
                segmentation=read_class_ids(labels, FACE_SYNTHETICS_19, height, width),
                landmarks_px=points.astype(np.float32),
            )
        )

    return RealSet(
        NAME,
        folder,
        {"train": keys[:-num_test], "test": keys[-num_test:]},
        read,
        ("test",),
        points=FACE_SYNTHETICS_70,
        classes=FACE_SYNTHETICS_19,
        notes=(f"no split of its own: the last {num_test} pictures are the test subset",),
    )
