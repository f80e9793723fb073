"""A sheet of the faces that a model errs most on: found points red, those of the labels green."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.real_faces.photographs import Float64Array, LandmarkedFace, UInt8Array

_TILE_PX: Final = 192
_COLUMNS: Final = 6
_ROWS: Final = 4
_RED: Final = (0, 0, 255)  # OpenCV's order: blue, green, red
_GREEN: Final = (0, 255, 0)


def write_worst(
    path: Path, faces: Sequence[LandmarkedFace], found: Float64Array, errors: Float64Array
) -> None:
    """Write the sheet, the worst face first.

    Args:
        path: of the PNG.
        faces: F photographs.
        found: (F, 68, 2) points of one crop.
        errors: (F, 68) mean errors.
    """
    order = np.argsort(-errors.mean(1))[: _COLUMNS * _ROWS]
    tiles = [_tile(faces[i], found[i], float(errors[i].mean())) for i in order]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
    rows = [np.hstack(tiles[k : k + _COLUMNS]) for k in range(0, len(tiles), _COLUMNS)]
    cv2.imwrite(str(path), np.vstack(rows))


def _tile(face: LandmarkedFace, found: Float64Array, error: float) -> UInt8Array:
    x0, y0, x1, _ = face.box
    zoom = _TILE_PX / (x1 - x0)
    matrix = np.array([[zoom, 0, -x0 * zoom], [0, zoom, -y0 * zoom]])
    tile = cv2.warpAffine(face.image[..., ::-1], matrix, (_TILE_PX, _TILE_PX))
    for points, colour in ((face.landmarks_px, _GREEN), (found, _RED)):
        for x, y in (points - [x0, y0]) * zoom:
            cv2.circle(tile, (round(x), round(y)), 1, colour, -1)
    cv2.putText(tile, f"{error:.1%}", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return np.asarray(tile, np.uint8)
