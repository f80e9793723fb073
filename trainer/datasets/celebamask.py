"""CelebAMask-HQ: 19 classes, as one mask a part.

    DIR/CelebA-HQ-img/ID.jpg (1024 pixels a side)
    DIR/CelebAMask-HQ-mask-anno/{ID // 2000}/{ID:05d}_{part}.png (512 pixels a side)
    DIR/CelebA-HQ-to-CelebA-mapping.txt, DIR/list_eval_partition.txt (CelebA's): which ID is where

Parts that a face lacks have no file. Masks are painted in the authors' order, later ones over
earlier ones; `l_` is the subject's left, but `l_lip` the lower lip. Pictures are brought to 512,
the masks' own size: two pixels a side make one, so no offset arises.

Source: Lee et al., "MaskGAN", CVPR 2020; switchablenorms/CelebAMask-HQ, g_mask.py (the order) and
g_partition.py (the split, by CelebA's own: 0 train, 1 val, 2 test).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from trainer.datasets.classes import CELEBAMASK_19
from trainer.datasets.real_set import (
    DatasetError,
    RealSample,
    RealSet,
    UInt8Array,
    existing_folder,
    pictures_in,
    read_grey,
    read_picture,
    read_text,
)
from trainer.datasets.sides import share_on_own_side
from trainer.decoding import Sample

NAME: Final = "celebamask"
SIZE_PX: Final = 512
# In the order of painting, which is that of the class ids 1 to 18.
PARTS: Final = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
_MASKS_A_FOLDER: Final = 2000
_IMAGES, _MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
_MAPPING, _PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
_SPLITS: Final = {"0": "train", "1": "val", "2": "test"}
_LOOKED_AT: Final = 16


def open_celebamask(folder: Path) -> RealSet:
    """List CelebAMask-HQ; without the two lists all of it is the test subset, and a note says so.

    Raises:
        DatasetError: there is no such folder, nothing of the set in it, or its sides are swapped.
    """
    existing_folder(NAME, folder)
    keys = [path.name for path in pictures_in(folder / _IMAGES) if path.stem.isdigit()]
    if not keys:
        raise DatasetError(f"{NAME}: no pictures ID.jpg in {folder / _IMAGES}")
    keys.sort(key=lambda key: int(Path(key).stem))
    subsets, note = _split(folder, keys)

    def read(key: str) -> RealSample:
        image = cv2.resize(
            read_picture(folder / _IMAGES / key), (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA
        )
        classes = _classes(folder / _MASKS, int(Path(key).stem))
        return RealSample(Sample(key=key, image=image, segmentation=classes))  # type: ignore[arg-type]

    _check_sides(folder, keys)
    return RealSet(
        NAME, folder, subsets, read, ("test",), classes=CELEBAMASK_19, notes=(note,) if note else ()
    )


def _classes(masks: Path, number: int) -> UInt8Array:
    """Return (512, 512) class ids, painted part by part."""
    base = masks / str(number // _MASKS_A_FOLDER)
    classes = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    found = 0
    for class_id, part in enumerate(PARTS, 1):
        path = base / f"{number:05d}_{part}.png"
        if not path.exists():
            continue
        mask = read_grey(path)
        if mask.shape != classes.shape:
            raise DatasetError(f"{path}: is {mask.shape[1]} x {mask.shape[0]}, not {SIZE_PX}")
        classes[mask > 127] = class_id
        found += 1
    if not found:
        raise DatasetError(f"{base}/{number:05d}_*.png: no mask of any part")
    return classes


def _split(folder: Path, keys: list[str]) -> tuple[dict[str, tuple[str, ...]], str]:
    mapping, partition = folder / _MAPPING, folder / _PARTITION
    if not (mapping.exists() and partition.exists()):
        missing = " and ".join(p.name for p in (mapping, partition) if not p.exists())
        return {"test": tuple(keys)}, f"no split: {missing} missing; every picture is measured"
    split_of = {row[0]: row[1] for row in _rows(partition, 2)}
    original = {row[0]: row[2] for row in _rows(mapping, 3) if row[0].isdigit()}
    subsets: dict[str, list[str]] = {name: [] for name in _SPLITS.values()}
    for key in keys:
        name = original.get(Path(key).stem)
        split = _SPLITS.get(split_of.get(name or "", ""))
        if split is None:
            raise DatasetError(f"{mapping}: {key} is {name}, which {partition.name} has not")
        subsets[split].append(key)
    return {name: tuple(held) for name, held in subsets.items()}, ""


def _rows(path: Path, columns: int) -> list[tuple[str, ...]]:
    rows = [tuple(line.split()) for line in read_text(path).splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise DatasetError(f"{path}: line {number} has {len(row)} columns, not {columns}")
    return rows


def _check_sides(folder: Path, keys: list[str]) -> None:
    step = max(len(keys) // _LOOKED_AT, 1)
    labels = (_classes(folder / _MASKS, int(Path(k).stem)) for k in keys[::step][:_LOOKED_AT])
    share, count = share_on_own_side(labels, CELEBAMASK_19)
    if count >= 3 and share < 0.5:
        raise DatasetError(
            f"{NAME}: l_ parts lie on the picture's left in {100 * (1 - share):.0f} % of {count} "
            f"pictures: their sides are swapped, or the pictures mirrored"
        )
