"""The three feature planes: what they hold and how a point reads them."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.generators.next3d.bilinear import corner_rows, weighted_rows

PLANE_COORDINATES = ((0, 1), (0, 2), (2, 1))
"""World axes that a plane's columns and rows follow: (X, Y), (X, Z), (Z, Y).

EG3D's third plane is (Z, X); Next3D's is not. And planes 1 and 2 are drawn with the side and the
top view, whose axes are (Z, Y) and (X, Z): they are read the wrong way round, as the weights were
trained. Only the front plane holds what it shows.
"""

TABLE_COORDINATES = ((0, 1), (2, 0), (2, 1))
"""The same of a table's planes. The second is turned over, so that a ray, which runs along Z, finds
its samples side by side in both planes that have Z: rows apart would meet in few sets of a cache.
"""

PLANE_AXES = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
)
"""The same as the checkpoint stores it: a plane's columns, rows and normal, one row each."""


def blend_planes(static: Tensor, rendered: Tensor, alpha: Tensor) -> Tensor:
    """Lay the drawn planes over the static ones.

    Args:
        static: (B, 3, C, n, n).
        rendered: (B, k, C, n, n), the first k planes.
        alpha: (B, k, 1, n, n) in [0, 1].

    Returns:
        (B, 3, C, n, n): rendered * alpha + static * (1 - alpha); planes from k on are static.
    """
    batch, num_planes, channels, n, _ = static.shape
    drawn = rendered.shape[1]
    # channels last, as the networks leave theirs and the table wants them
    planes = static.new_empty(batch, num_planes, n, n, channels).permute(0, 1, 4, 2, 3)
    planes[:, :drawn] = rendered * alpha + static[:, :drawn] * (1.0 - alpha)
    planes[:, drawn:] = static[:, drawn:]
    return planes


def plane_table(planes: Tensor) -> Tensor:
    """(B, 3, C, n, n) -> (B*3*n*n, C): the form in which planes are read.

    Channels last, and the second plane turned over: see `TABLE_COORDINATES`.
    """
    batch, _, channels, n, _ = planes.shape
    table = planes.new_empty(batch, 3, n, n, channels)
    for plane, transposed in enumerate((False, True, False)):
        image = planes[:, plane].mT if transposed else planes[:, plane]
        table[:, plane] = image.permute(0, 2, 3, 1)
    return table.view(-1, channels)


def mean_features(table: Tensor, points: Tensor, resolution: int, box_side: float) -> Tensor:
    """Read the three planes at points and average.

    Args:
        table: (B*3*n*n, C) of `plane_table`.
        points: (B, P, 3) float32, volume units; zeros are read outside the box.
        resolution: n.
        box_side: side of the volume's box.

    Returns:
        (B, P, C).
    """
    batch, num_points, _ = points.shape
    axes = torch.tensor(TABLE_COORDINATES, device=points.device)
    xy = (points * (2.0 / box_side))[..., axes]  # (B, P, 3, 2)
    index, weight = corner_rows(xy, resolution, resolution)  # (B, P, 3, 4)
    plane = torch.arange(batch * 3, device=points.device).view(batch, 1, 3, 1)
    index = index + plane * (resolution * resolution)
    rows = weighted_rows(table, index.view(-1, 12), weight.view(-1, 12) / 3.0)
    return rows.view(batch, num_points, -1)
