"""A real set on disk: which pictures it has, in which subsets, and how one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.datasets.classes import ClassScheme
from trainer.datasets.points import PointScheme
from trainer.decoding import Sample

Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 of a face, pixels, the picture's corner at (0, 0)."""


class DatasetError(ValueError):
    """A real set that is not as its form says: what is missing or malformed, and where."""


@dataclass(frozen=True)
class RealSample:
    """One picture of a real set.

    Attributes:
        sample: picture and labels in the set's own points and classes; depth in steps of its own.
        yaw_deg: of the head where the set tells it, our sign: above 0 the nose points to the
            picture's right.
    """

    sample: Sample
    yaw_deg: float | None = None


@dataclass(frozen=True)
class RealSet:
    """A real set on disk.

    Attributes:
        name: `300w`, `lapa`, ...
        folder: where it lies.
        subsets: name -> keys; a key names one picture of the set.
        read: a key to its picture and labels.
        test: names of the subsets that are measured on, in the order of tables.
        points: order of its landmarks; None if it has none.
        classes: its class table; None if it has none.
        framing: `whole`: every picture is a crop of one face already; `boxes`: it needs one.
        boxes: that come with the set itself, made by a detector.
        notes: what was assumed or found on opening, a line each.
    """

    name: str
    folder: Path
    subsets: Mapping[str, tuple[str, ...]]
    read: Callable[[str], RealSample]
    test: tuple[str, ...]
    points: PointScheme | None = None
    classes: ClassScheme | None = None
    framing: Literal["whole", "boxes"] = "whole"
    boxes: Mapping[str, Box] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def keys(self, subset: str) -> tuple[str, ...]:
        """Return the keys of a subset.

        Raises:
            DatasetError: there is none of that name, or nothing in it.
        """
        if not self.subsets.get(subset):
            there = ", ".join(name for name, keys in self.subsets.items() if keys) or "none"
            raise DatasetError(f"{self.name} in {self.folder}: no {subset!r} subset; has {there}")
        return self.subsets[subset]


def existing_folder(name: str, folder: Path) -> Path:
    """Return the folder, or say that it is not there."""
    if not folder.is_dir():
        raise DatasetError(f"{name}: {folder} is no folder")
    return folder


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures right in a folder, by name; none if it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


def read_picture(path: Path) -> UInt8Array:
    """Return (H, W, 3) RGB by the pixels as stored: no turn by EXIF, labels do not follow it."""
    if not path.exists():  # OpenCV would warn of it on a line of its own
        raise DatasetError(f"{path}: missing")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DatasetError(f"{path}: no readable picture")
    return np.ascontiguousarray(image[..., ::-1])


def read_class_ids(path: Path, scheme: ClassScheme, height: int, width: int) -> UInt8Array:
    """Return (H, W) class ids of a grey picture; 255 is ignore.

    Raises:
        DatasetError: it is missing, of another size than its picture, or has unknown ids.
    """
    ids = read_grey(path)
    if ids.shape != (height, width):
        raise DatasetError(
            f"{path}: is {ids.shape[1]} x {ids.shape[0]}, its picture {width} x {height}"
        )
    known = np.zeros(256, bool)
    known[: scheme.num_classes] = known[255] = True
    if not known[ids].all():
        unknown = int(ids[~known[ids]][0])
        raise DatasetError(
            f"{path}: class id {unknown}; {scheme.name} has 0-{scheme.num_classes - 1}"
        )
    return ids


def read_grey(path: Path) -> UInt8Array:
    """Return (H, W) of an 8-bit picture of one channel, or of equal ones."""
    grey = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if grey is None:
        raise DatasetError(f"{path}: {'no readable picture' if path.exists() else 'missing'}")
    if grey.ndim == 3:
        if (grey[..., :3] != grey[..., :1]).any():
            raise DatasetError(f"{path}: colours where class ids or a mask should be")
        grey = grey[..., 0]
    if grey.dtype != np.uint8:
        raise DatasetError(f"{path}: {grey.dtype} where 8 bits should be")
    return np.ascontiguousarray(grey)


def read_numbers(path: Path, lines: Iterable[str], count: int, columns: int = 2) -> Float64Array:
    """Return (count, columns) numbers, a row a line.

    Raises:
        DatasetError: there are more or fewer rows, or one that is not of numbers.
    """
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            raise DatasetError(
                f"{path}: row {number} is {line.strip()[:40]!r}, no numbers"
            ) from None
        if len(row) != columns or not np.isfinite(row).all():
            raise DatasetError(
                f"{path}: row {number} is {line.strip()[:40]!r}: not {columns} numbers"
            )
        rows.append(row)
    if len(rows) != count:
        raise DatasetError(f"{path}: {len(rows)} points, not {count}")
    return np.array(rows, np.float64)


def read_text(path: Path) -> str:
    """Return a text file, or say that it is missing or no text."""
    try:
        return path.read_text("utf-8", errors="strict")
    except FileNotFoundError:
        raise DatasetError(f"{path}: missing") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: no text") from None
