"""The mouth: where it is in the front view, and cutting it out and pasting it back.

Boxes differ from image to image; cutting and pasting are two small matrices an image, so the whole
batch stays on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workers.generators.next3d import forms

OUTER_LIP = slice(48, 60)
"""iBUG points around the lips."""

LIP_CORNERS = (48, 54)

BOX_SCALE = 1.2
"""Side of the box over the larger of the lips' width and height."""


def mouth_boxes(landmarks: Tensor, resolution: int) -> Tensor:
    """The square around the lips, in whole pixels.

    Args:
        landmarks: (B, 68, 2) float32, view coordinates u, d.
        resolution: side of the view's image.

    Returns:
        (B, 4) int64: row0, row1, col0, col1, half-open. All roundings are towards zero, and half
        the side is floored, as published; a box may reach beyond the image.
    """
    half = resolution / 2.0
    pixels = landmarks * half + half
    lips = pixels[:, OUTER_LIP]
    extent = (lips.amax(1) - lips.amin(1)).amax(1)  # (B,)
    reach = ((extent.double() * BOX_SCALE).trunc() / 2.0).floor().float()
    centre = (pixels[:, LIP_CORNERS[0]] + pixels[:, LIP_CORNERS[1]]) / 2.0
    low, high = (centre - reach[:, None]).trunc(), (centre + reach[:, None]).trunc()
    return torch.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]], 1).long()


def resize_weights(num_in: Tensor, num_out: Tensor, max_in: int, max_out: int) -> Tensor:
    """Matrices of anti-aliased linear resampling from `num_in` to `num_out` samples.

    Args:
        num_in: (B,) float32, samples of each input; the further columns hold 0.
        num_out: (B,) float32, samples of each output; the further rows hold 0.
        max_in: columns.
        max_out: rows.

    Returns:
        (B, max_out, max_in) float32; a row sums to 1. The kernel is a triangle, widened by the
        factor of reduction; sample centres are at (i + 0.5) of their grid.
    """
    device = num_in.device
    scale = (num_in / num_out.clamp(min=1.0))[:, None, None]
    reach = scale.clamp(min=1.0)
    centre = (torch.arange(max_out, device=device)[:, None] + 0.5) * scale
    position = torch.arange(max_in, device=device) + 0.5
    weight = (1.0 - (position - centre).abs() / reach).clamp(min=0.0)
    weight = weight * (position < num_in[:, None, None])
    weight = weight * (torch.arange(max_out, device=device)[:, None] < num_out[:, None, None])
    return weight / weight.sum(2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def _shift_columns(weight: Tensor, first: Tensor, num_columns: int) -> Tensor:
    """Move column k of each matrix to column first + k of `num_columns`; what falls off is lost."""
    source = torch.arange(num_columns, device=weight.device) - first[:, None]  # (B, num_columns)
    inside = (source >= 0) & (source < weight.shape[2])
    index = source.clamp(0, weight.shape[2] - 1)[:, None].expand(-1, weight.shape[1], -1)
    return weight.gather(2, index) * inside[:, None]


def crop_mouths(images: Tensor, boxes: Tensor, resolution: int) -> Tensor:
    """Cut the boxes out and resize them: (B, C, n, n) -> (B, C, resolution, resolution) float32.

    What a box holds beyond the image counts as zero.
    """
    side = images.shape[-1]
    out = torch.full_like(boxes[:, 0], resolution, dtype=torch.float32)
    rows, cols = (
        _shift_columns(resize_weights((high - low).float(), out, 2 * side, resolution), low, side)[
            :, None
        ]
        for low, high in (boxes[:, 0:2].unbind(1), boxes[:, 2:4].unbind(1))
    )
    return rows @ (images @ cols.mT)


def paste_mouths(images: Tensor, mouths: Tensor, boxes: Tensor) -> Tensor:
    """Resize the mouths to their boxes and paste them over the images, with hard edges.

    Args:
        images: (B, C, n, n) float32.
        mouths: (B, C, m, m) float32.
        boxes: (B, 4) of `mouth_boxes`; what lies beyond the image is left out.

    Returns:
        (B, C, n, n) float32.
    """
    if forms.is_on_processor(images):
        rows = zip(images, mouths, boxes.tolist(), strict=True)
        return torch.stack([_pasted(*row) for row in rows])
    return _paste_by_masks(images, mouths, boxes)


def _pasted(image: Tensor, mouth: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """`paste_mouths` of one image: (C, n, n), (C, m, m); only what the box holds is computed."""
    side = image.shape[-1]
    pasted = image.clone()
    (row0, rows), (col0, cols) = (
        _part_inside(low, high, mouth.shape[-1], side) for low, high in (box[0:2], box[2:4])
    )
    resized = rows @ (mouth @ cols.T)
    pasted[:, row0 : row0 + len(rows), col0 : col0 + len(cols)] = resized
    return pasted


def _part_inside(low: int, high: int, size: int, side: int) -> tuple[int, Tensor]:
    """Where the part of [low, high) that the image has begins, and the rows that resample to it."""
    first, last = min(max(low, 0), side), min(max(high, 0), side)
    if last <= first:
        return 0, torch.zeros(0, size)
    extent = torch.tensor([float(size)]), torch.tensor([float(high - low)])
    return first, resize_weights(*extent, size, high - low)[0, first - low : last - low]


def _paste_by_masks(images: Tensor, mouths: Tensor, boxes: Tensor) -> Tensor:
    """`paste_mouths` by matrices of one shape, whatever the boxes: for any device."""
    side, size = images.shape[-1], mouths.shape[-1]
    full = torch.full_like(boxes[:, 0], size, dtype=torch.float32)
    sides = [boxes[:, 0:2].unbind(1), boxes[:, 2:4].unbind(1)]
    rows, cols = (
        _shift_columns(resize_weights(full, (high - low).float(), size, 2 * side).mT, low, side).mT[
            :, None
        ]
        for low, high in sides
    )
    at = torch.arange(side, device=images.device)
    in_rows, in_cols = ((at >= low[:, None]) & (at < high[:, None]) for low, high in sides)
    inside = in_rows[:, None, :, None] & in_cols[:, None, None, :]
    return torch.where(inside, rows @ (mouths @ cols.mT), images)
