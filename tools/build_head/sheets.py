"""`python -m tools.build_head.sheets --out DIR` draws contact sheets of the head to look at."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tools.build_head.preview import view
from workers.flame.model import Flame
from workers.generators.builtin.head import BuiltinHead, load_head

NUM_PEOPLE = 24
COLUMNS = 8
SIZE_PX = 240
SHOWN_UNITS = 1.7
SHOWN_SDS = 2.5

Image = NDArray[np.uint8]


class _Studio:
    """Poses the head and draws it."""

    def __init__(self, head: BuiltinHead) -> None:
        self.head = head
        self._flame = Flame(head.assets)

    def draw(
        self,
        betas: NDArray[np.float64],
        units: NDArray[np.float64],
        jaw_deg: float,
        yaw_deg: float,
        *,
        width_mm: float = 320.0,
    ) -> Image:
        jaw = torch.tensor([[np.deg2rad(jaw_deg), 0.0, 0.0]], dtype=torch.float32)
        mesh = self._flame(
            torch.from_numpy(betas[None].astype(np.float32)),
            torch.from_numpy(units[None].astype(np.float32)),
            jaw_pose=jaw,
        )
        points = mesh.vertices[0].double().numpy() * 1000
        topology = self.head.topology
        return view(
            points, topology.faces, topology.face_region, yaw_deg, 0.0, SIZE_PX, width_mm=width_mm
        )


def _sheet(pictures: list[Image], names: list[str]) -> Image:
    for picture, name in zip(pictures, names, strict=True):
        cv2.putText(picture, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1)
    blank = np.full_like(pictures[0], 255)
    padded = pictures + [blank] * (-len(pictures) % COLUMNS)
    rows = [np.hstack(padded[i : i + COLUMNS]) for i in range(0, len(padded), COLUMNS)]
    return np.vstack(rows)


def _people(studio: _Studio) -> Image:
    rng = np.random.default_rng(0)
    num_shape, num_units = len(studio.head.shape_names), len(studio.head.expression_names)
    pictures = []
    for i in range(NUM_PEOPLE):
        betas = np.clip(rng.normal(size=num_shape), -3, 3)
        units = np.clip(0.7 * rng.normal(size=num_units), -2, 2) * (i >= COLUMNS)
        jaw = float(rng.uniform(0, 15)) * (i >= COLUMNS)
        pictures.append(studio.draw(betas, units, jaw, float(rng.uniform(-50, 50))))
    return _sheet(pictures, [""] * NUM_PEOPLE)


def _expressions(studio: _Studio) -> Image:
    names = list(studio.head.expression_names)
    still = np.zeros(len(studio.head.shape_names))
    unit = np.eye(len(names)) * SHOWN_UNITS
    return _sheet([studio.draw(still, u, 0.0, -20.0, width_mm=190.0) for u in unit], names)


def _shapes(studio: _Studio) -> Image:
    names = list(studio.head.shape_names)
    still = np.zeros(len(studio.head.expression_names))
    signed = [s * SHOWN_SDS * e for e in np.eye(len(names)) for s in (-1, 1)]
    labels = [f"{sign} {name}" for name in names for sign in "-+"]
    return _sheet([studio.draw(b, still, 0.0, -30.0) for b in signed], labels)


def main() -> None:
    """Write people.png, expressions.png and shapes.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    studio = _Studio(load_head())
    for name, draw in (("people", _people), ("expressions", _expressions), ("shapes", _shapes)):
        cv2.imwrite(str(out / f"{name}.png"), draw(studio)[..., ::-1])
        print(out / f"{name}.png")


if __name__ == "__main__":
    main()
