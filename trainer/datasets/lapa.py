"""LaPa: 11 classes and 106 points.

    DIR/{train,val,test}/images/*.jpg    labels/*.png (class ids)
    DIR/{train,val,test}/landmarks/*.txt ("106", then 106 rows "x y")
    DIR/{train,val,test}/depth/*.png     LaPa-D, if there: 8-bit grey, of no unit and no known sign

Source: Liu et al., "A New Dataset and Boundary-Attention Semantic Segmentation for Face Parsing",
AAAI 2020. Points count pixel centres from 0, so 0.5 is added (the set does not say so: assumed).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.classes import LAPA_11, ClassScheme
from trainer.datasets.points import LAPA_106
from trainer.datasets.real_set import (
    DatasetError,
    Float64Array,
    RealSample,
    RealSet,
    existing_folder,
    pictures_in,
    read_class_ids,
    read_grey,
    read_numbers,
    read_picture,
    read_text,
)
from trainer.datasets.sides import share_on_own_side
from trainer.decoding import Sample

NAME: Final = "lapa"
TXT_OFFSET_PX: Final = 0.5
_SUBSETS: Final = ("train", "val", "test")
_DEPTH_BASE, _DEPTH_STEP = np.uint16(10_000), np.uint16(4)  # 1 m, 0.4 mm a grey step
_LOOKED_AT: Final = 24  # pictures whose sides are looked at on opening


def open_lapa(folder: Path) -> RealSet:
    """List LaPa; see by its labels whose left its left is.

    Raises:
        DatasetError: there is no such folder, or nothing of the set in it.
    """
    existing_folder(NAME, folder)
    subsets = {
        subset: tuple(f"{subset}/{path.name}" for path in pictures_in(folder / subset / "images"))
        for subset in _SUBSETS
    }
    if not any(subsets.values()):
        raise DatasetError(f"{NAME}: no pictures in {folder}/{{{','.join(_SUBSETS)}}}/images")
    scheme, note = _sides(folder, subsets)

    def read(key: str) -> RealSample:
        subset, name = key.split("/")
        base, stem = folder / subset, Path(name).stem
        image = read_picture(base / "images" / name)
        height, width = image.shape[:2]
        points = read_points(base / "landmarks" / f"{stem}.txt")
        return RealSample(
            Sample(
                key=key,
                image=image,
                segmentation=read_class_ids(base / "labels" / f"{stem}.png", scheme, height, width),
                depth=_depth(base / "depth" / f"{stem}.png"),
                landmarks_px=points.astype(np.float32),
            )
        )

    return RealSet(
        NAME, folder, subsets, read, ("test",), points=LAPA_106, classes=scheme, notes=(note,)
    )


def read_points(path: Path) -> Float64Array:
    """Return (106, 2) pixels of a landmark file, the picture's corner at (0, 0)."""
    lines = read_text(path).split("\n", 1)
    if lines[0].strip() != str(LAPA_106.num_points):
        raise DatasetError(f"{path}: first line is {lines[0].strip()[:20]!r}, not '106'")
    body = lines[1] if len(lines) > 1 else ""
    return read_numbers(path, body.strip().splitlines(), LAPA_106.num_points) + TXT_OFFSET_PX


def _depth(path: Path) -> NDArray[np.uint16] | None:
    """Return a surface about 1 m away whose shape is the grey picture's; its sign is unknown."""
    if not path.exists():
        return None
    return (_DEPTH_BASE + _DEPTH_STEP * read_grey(path)).astype(np.uint16)


def _sides(folder: Path, subsets: dict[str, tuple[str, ...]]) -> tuple[ClassScheme, str]:
    """Return the class table whose sides are those of the labels, and a line that says so."""
    keys = next(keys for keys in subsets.values() if keys)
    step = max(len(keys) // _LOOKED_AT, 1)
    labels = (
        read_grey(folder / key.split("/")[0] / "labels" / f"{Path(key).stem}.png")
        for key in keys[::step][:_LOOKED_AT]
    )
    share, count = share_on_own_side(labels, LAPA_11)
    if count and share < 0.5:
        return LAPA_11.mirrored(), (
            f"its 'left' is the picture's: {100 * (1 - share):.0f} % of {count} labels lie so"
        )
    told = f"{100 * share:.0f} % of {count} labels lie so" if count else "no label tells"
    return LAPA_11, f"its 'left' is the subject's: {told}"
