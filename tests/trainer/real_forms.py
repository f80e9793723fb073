"""Small sets written in the forms of the real ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.datasets.classes import FACE_SYNTHETICS_19, LAPA_11, ClassScheme
from trainer.datasets.points import IBUG_68, POINT_SCHEMES, PointScheme


def face_points(scheme: PointScheme, side: int) -> NDArray[np.float64]:
    """Return points of a face-like figure whose right eye lies on the picture's left."""
    angles = np.linspace(0, np.pi, 17)
    points = np.zeros((68, 2))
    points[:17] = np.stack([0.5 - 0.35 * np.cos(angles), 0.4 + 0.45 * np.sin(angles)], -1)
    points[17:27] = np.stack([np.linspace(0.22, 0.78, 10), np.full(10, 0.3)], -1)
    points[27:36] = [(0.5, y) for y in np.linspace(0.38, 0.6, 9)]
    for start, centre in ((36, 0.35), (42, 0.65)):
        turn = np.pi - np.linspace(0, 2 * np.pi, 6, endpoint=False)
        points[start : start + 6] = np.stack(
            [centre + 0.06 * np.cos(turn), 0.4 - 0.03 * np.sin(turn)], -1
        )
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    points[48:] = np.stack([0.5 - 0.12 * np.cos(turn), 0.7 - 0.05 * np.sin(turn)], -1)
    mixed = [points[list(sources)].mean(0) for sources in scheme.from_ibug]
    return np.stack(mixed) * side


def face_classes(scheme: ClassScheme, side: int) -> NDArray[np.uint8]:
    """Return a label with skin, two eyes and hair, right eye on the picture's left."""
    label = np.zeros((side, side), np.uint8)
    for name, top, bottom, left, right in (
        ("hair", 0.0, 0.25, 0.2, 0.8),
        ("skin", 0.2, 0.9, 0.2, 0.8),
        ("right_eye", 0.35, 0.45, 0.28, 0.42),
        ("left_eye", 0.35, 0.45, 0.58, 0.72),
    ):
        rows = slice(round(top * side), round(bottom * side))
        label[rows, round(left * side) : round(right * side)] = scheme.names.index(name)
    return label


def write_picture(path: Path, side: int = 32, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    cv2.imwrite(str(path), random.integers(0, 256, (side, side, 3), dtype=np.uint8))


def write_300w(folder: Path, num_train: int = 3) -> Path:
    places = [f"helen/trainset/t{i}" for i in range(num_train)]
    for number, place in enumerate([*places, "lfpw/testset/c0", "ibug/i0"]):
        write_picture(folder / f"{place}.jpg", seed=number)
        rows = "\n".join(f"{x} {y}" for x, y in face_points(IBUG_68, 32) + 0.5)
        (folder / f"{place}.pts").write_text(f"version: 1\nn_points:  68\n{{\n{rows}\n}}")
    return folder


def write_lapa(folder: Path, num_train: int = 3, *, mirrored: bool = False) -> Path:
    scheme = LAPA_11.mirrored() if mirrored else LAPA_11
    for split, count in (("train", num_train), ("test", 2)):
        for number in range(count):
            base = folder / split
            write_picture(base / "images" / f"p{number}.jpg", seed=number)
            for part in ("labels", "landmarks"):
                (base / part).mkdir(exist_ok=True)
            cv2.imwrite(str(base / "labels" / f"p{number}.png"), face_classes(scheme, 32))
            points = face_points(POINT_SCHEMES["lapa106"], 32) - 0.5
            rows = "\n".join(f"{x:.4f} {y:.4f}" for x, y in points)
            (base / "landmarks" / f"p{number}.txt").write_text(f"106\n{rows}\n")
    return folder


def write_face_synthetics(folder: Path, count: int = 11) -> Path:
    for number in range(count):
        write_picture(folder / f"{number:06d}.png")
        label = face_classes(FACE_SYNTHETICS_19, 32)
        label[0, 0] = 255
        cv2.imwrite(str(folder / f"{number:06d}_seg.png"), label)
        points = face_points(POINT_SCHEMES["facesynthetics70"], 32)
        np.savetxt(folder / f"{number:06d}_ldmks.txt", points, fmt="%.6f")
    return folder


def write_wflw(folder: Path) -> Path:
    lists = folder / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    write_picture(folder / "WFLW_images" / "0--Parade" / "two.jpg", 64)
    points = face_points(POINT_SCHEMES["wflw98"], 64) - 0.5
    numbers = " ".join(f"{value:.4f}" for value in points.ravel())
    line = f"{numbers} 10 12 50 60 {{}} 0 0 0 0 1 0--Parade/two.jpg\n"
    (lists / "list_98pt_rect_attr_train.txt").write_text(line.format(0))
    (lists / "list_98pt_rect_attr_test.txt").write_text(line.format(1) + line.format(0))
    return folder
