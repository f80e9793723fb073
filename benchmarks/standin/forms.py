"""Writes the stand-in in the forms of 300-W and of LaPa, and its labels in the old convention.

Its faces are drawn by (split, number): no face, and so no identity, is in two splits. Settings are
chosen on `val`; figures that are reported come from `test`, which no choice has seen.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.standin.ict import load_head
from benchmarks.standin.scene import Face, Studio
from trainer.datasets.classes import LAPA_11
from trainer.datasets.frames import points_box
from trainer.datasets.lapa import TXT_OFFSET_PX
from trainer.datasets.w300 import PTS_OFFSET_PX

BOXES_NAME: Final = "boxes.csv"
TRUTH_NAME: Final = "old_truth.npz"
_QUALITY: Final = 95
_BOX_NOISE: Final = 0.04  # of a box's side: what a detector is off by
# A test split that a figure was read from before the next choice gives way to a fresh one: 3 did.
_SEED_OF: Final = {"train": 1, "val": 2, "test": 4}

HeldOut = Literal["val", "test"]


@dataclass(frozen=True)
class StandIn:
    """Where the two forms of the stand-in lie.

    Attributes:
        w300: folder in 300-W's form, with `boxes.csv` of a detector that is a little off.
        lapa: folder in LaPa's form.
        truth: labels of the held-out pictures in the old convention, by name.
        held_out: the split that both forms hold beside `train`.
    """

    w300: Path
    lapa: Path
    truth: Path
    held_out: HeldOut


def make_stand_in(
    head_file: Path,
    folder: Path,
    held_out: HeldOut,
    num_train: int,
    num_held_out: int,
    size_px: int,
) -> StandIn:
    """Draw and write the stand-in, or take what a run before has written.

    300-W's form has no validation split: the held-out faces are its test set, whichever they are.
    """
    made = StandIn(folder / "300w", folder / "lapa", folder / TRUTH_NAME, held_out)
    if made.truth.exists():
        return made
    studio = Studio(load_head(head_file), size_px)
    boxes: list[tuple[str, ...]] = []
    old: dict[str, NDArray[np.generic]] = {}
    for split, count in (("train", num_train), (held_out, num_held_out)):
        for number in range(count):
            random = face_random(split, number)
            face = studio.draw(random)
            stem = f"{split}{number:05d}"
            part = _part_of_300w(split, number)
            _write_300w(made.w300 / part, stem, face)
            _write_lapa(made.lapa / split, stem, face)
            box = _detected(face, random)
            boxes.append((f"{part}/{stem}.jpg", *(f"{value:.2f}" for value in box)))
            if split == held_out:
                old[f"{stem}_points"], old[f"{stem}_classes"] = face.old_points, face.old_classes
    with (made.w300 / BOXES_NAME).open("w", newline="") as file:
        csv.writer(file).writerows([("name", "x0", "y0", "x1", "y1"), *boxes])
    np.savez_compressed(made.truth, **old)  # type: ignore[arg-type]
    return made


def face_random(split: str, number: int) -> np.random.Generator:
    """Return the source of all that a face of a split is made of."""
    return np.random.default_rng((_SEED_OF[split], number))


def _part_of_300w(split: str, number: int) -> str:
    if split == "train":
        return "helen/trainset"
    return "ibug" if number % 4 == 3 else "helen/testset"


def _write_300w(folder: Path, stem: str, face: Face) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_picture(folder / f"{stem}.jpg", face)
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in face.new_points - PTS_OFFSET_PX)
    (folder / f"{stem}.pts").write_text(f"version: 1\nn_points:  68\n{{\n{rows}\n}}")


def _write_lapa(folder: Path, stem: str, face: Face) -> None:
    for part in ("images", "labels", "landmarks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _write_picture(folder / "images" / f"{stem}.jpg", face)
    labels = LAPA_11.relabelling()[face.new_classes]
    cv2.imwrite(str(folder / "labels" / f"{stem}.png"), labels)
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in face.lapa_points - TXT_OFFSET_PX)
    (folder / "landmarks" / f"{stem}.txt").write_text(f"106\n{rows}\n")


def _write_picture(path: Path, face: Face) -> None:
    cv2.imwrite(str(path), face.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _detected(face: Face, random: np.random.Generator) -> NDArray[np.float64]:
    box = np.array(points_box(face.old_points))
    side = max(box[2] - box[0], box[3] - box[1])
    return np.asarray(box + side * _BOX_NOISE * random.standard_normal(4))
