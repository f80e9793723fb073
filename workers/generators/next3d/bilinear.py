"""Bilinear look-ups with zeros outside, as one weighted sum of table rows a point.

A channels-last image is a table of rows; a look-up names four of them and four weights. Tri-plane
features (three look-ups and their mean) are one sum of twelve rows: no intermediate is stored, and
rows are read whole.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def corner_rows(xy: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels around each point, and their weights.

    Args:
        xy: (..., 2) float32, x right and y down; -1 and 1 are the image's outer borders, so that
            pixel j's centre is at (2j + 1)/width - 1.
        height: rows of the image.
        width: columns.

    Returns:
        index (..., 4) int64, row * width + column; weight (..., 4) float32, 0 outside the image.
    """
    column = (xy[..., 0] + 1.0) * (0.5 * width) - 0.5
    row = (xy[..., 1] + 1.0) * (0.5 * height) - 0.5
    left, top = column.floor(), row.floor()
    across = torch.stack([left + 1.0 - column, column - left], -1)  # (..., 2)
    down = torch.stack([top + 1.0 - row, row - top], -1)
    columns = torch.stack([left, left + 1.0], -1)
    rows = torch.stack([top, top + 1.0], -1)
    across = across * ((columns >= 0) & (columns <= width - 1))
    down = down * ((rows >= 0) & (rows <= height - 1))
    columns = columns.clamp(0, width - 1).long()
    rows = rows.clamp(0, height - 1).long()
    index = rows[..., :, None] * width + columns[..., None, :]
    weight = down[..., :, None] * across[..., None, :]
    return index.flatten(-2), weight.flatten(-2)


def weighted_rows(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sum table rows by weight.

    Args:
        table: (N, C) float.
        index: (P, k) int64.
        weight: (P, k) float32.

    Returns:
        (P, C) in the dtype of `table`.
    """
    return functional.embedding_bag(
        index, table, mode="sum", per_sample_weights=weight.to(table.dtype)
    )


def as_table(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B*H*W, C): pixels as rows, image after image.

    Always a fresh tensor: a view of a one-channel image has strides that send `embedding_bag` down
    another path, with other roundings, and the mask is compared to the last bit.
    """
    batch, channels, height, width = images.shape
    table = images.new_empty(batch, height, width, channels)
    return table.copy_(images.permute(0, 2, 3, 1)).view(-1, channels)


def sample_images(images: Tensor, xy: Tensor) -> Tensor:
    """Look points up, each in its own image.

    Args:
        images: (B, C, H, W).
        xy: (B, ..., 2) as `corner_rows` takes them.

    Returns:
        (B, ..., C).
    """
    batch, channels, height, width = images.shape
    index, weight = corner_rows(xy, height, width)
    index = index + torch.arange(batch, device=index.device).view(-1, *([1] * (xy.ndim - 1))) * (
        height * width
    )
    rows = weighted_rows(as_table(images), index.reshape(-1, 4), weight.reshape(-1, 4))
    return rows.view(*xy.shape[:-1], channels)
