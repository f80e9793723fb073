"""WFLW: 98 points, a detector's box and six attributes, a line a face.

    DIR/WFLW_images/EVENT/NAME.jpg
    DIR/WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt

A line holds 196 coordinates, x0 y0 x1 y1 of the detector's box, the attributes (pose, expression,
illumination, make-up, occlusion, blur; 0 or 1) and the picture's name. Each attribute is a subset
of the test. Pixels are counted from 0 at their centres: 0.5 is added (the set does not say so:
assumed).

Source: Wu et al., "Look at Boundary", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trainer.datasets.points import WFLW_98
from trainer.datasets.real_set import (
    Box,
    DatasetError,
    Float64Array,
    RealSample,
    RealSet,
    existing_folder,
    read_picture,
    read_text,
)
from trainer.decoding import Sample

NAME: Final = "wflw"
TXT_OFFSET_PX: Final = 0.5
ATTRIBUTES: Final = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
_LISTS: Final = "WFLW_annotations/list_98pt_rect_attr_train_test"
_IMAGES: Final = "WFLW_images"
_NUM_NUMBERS: Final = 2 * 98 + 4 + len(ATTRIBUTES)


@dataclass(frozen=True)
class _Face:
    name: str
    points: Float64Array
    box: Box
    attributes: tuple[bool, ...]


def open_wflw(folder: Path) -> RealSet:
    """List WFLW; a picture may hold several faces, so a key is `NAME#LINE`.

    Raises:
        DatasetError: there is no such folder, no list in it, or a malformed line.
    """
    existing_folder(NAME, folder)
    faces: dict[str, _Face] = {}
    subsets: dict[str, tuple[str, ...]] = {}
    for split in ("train", "test"):
        path = folder / _LISTS / f"list_98pt_rect_attr_{split}.txt"
        found = {
            f"{face.name}#{split}{number}": face
            for number, face in enumerate(_read_list(path) if path.exists() else [], 1)
        }
        faces |= found
        subsets[split] = tuple(found)
    if not faces:
        raise DatasetError(
            f"{NAME}: no list_98pt_rect_attr_train.txt or _test.txt in {folder / _LISTS}"
        )
    for place, name in enumerate(ATTRIBUTES):
        subsets[name] = tuple(key for key in subsets["test"] if faces[key].attributes[place])

    def read(key: str) -> RealSample:
        if key not in faces:
            raise DatasetError(f"{NAME}: no face {key!r}")
        face = faces[key]
        image = read_picture(folder / _IMAGES / face.name)
        return RealSample(Sample(key=key, image=image, landmarks_px=face.points.astype(np.float32)))

    return RealSet(
        NAME,
        folder,
        subsets,
        read,
        ("test", *(name for name in ATTRIBUTES if subsets[name])),
        points=WFLW_98,
        framing="boxes",
        boxes={key: face.box for key, face in faces.items()},
    )


def _read_list(path: Path) -> list[_Face]:
    return [
        _face(path, number, line)
        for number, line in enumerate(read_text(path).splitlines(), 1)
        if line.strip()
    ]


def _face(path: Path, number: int, line: str) -> _Face:
    words = line.split()
    if len(words) != _NUM_NUMBERS + 1:
        raise DatasetError(f"{path}: line {number} has {len(words)} words, not {_NUM_NUMBERS + 1}")
    try:
        numbers = np.array([float(word) for word in words[:-1]])
    except ValueError:
        raise DatasetError(f"{path}: line {number}: words where numbers should be") from None
    x0, y0, x1, y1 = (float(value) for value in numbers[196:200] + TXT_OFFSET_PX)
    if not (np.isfinite(numbers).all() and x1 > x0 and y1 > y0):
        raise DatasetError(f"{path}: line {number}: an empty box, or no finite numbers")
    return _Face(
        words[-1],
        numbers[:196].reshape(98, 2) + TXT_OFFSET_PX,
        (x0, y0, x1, y1),
        tuple(value > 0 for value in numbers[200:]),
    )
