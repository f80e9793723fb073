"""The head's texture drawn on the planes: rasterised from each view, sampled, masked, filled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.generators.next3d.bilinear import sample_images
from workers.generators.next3d.fill import fill_enclosed
from workers.generators.next3d.plane_raster import PlaneFragments, rasterise_plane
from workers.generators.next3d.topology import DressedTopology
from workers.generators.next3d.views import view_points, view_rotations


@dataclass(frozen=True)
class HeadViews:
    """A batch of heads seen from some views, before any texture.

    Attributes:
        fragments: one a view.
        uv: (V, B, n, n, 2) float32, the place in the texture; (0, 0) where there is no head.
        masked_alpha: (V, B, 1, n, n), coverage times the texture's mask.
        alpha: (V, B, 1, n, n), the same with all that is enclosed filled.
        landmarks: (V, B, 68, 2), view coordinates.
    """

    fragments: tuple[PlaneFragments, ...]
    uv: Tensor
    masked_alpha: Tensor
    alpha: Tensor
    landmarks: Tensor


def view_heads(
    vertices: Tensor, topology: DressedTopology, views: tuple[int, ...], resolution: int
) -> HeadViews:
    """Rasterise heads from some views.

    Args:
        vertices: (B, V + 68, 3) float32, metres, head model's frame; the landmarks come last.
        topology: the mesh.
        views: of `views.VIEW_ANGLES_DEG`.
        resolution: n.
    """
    num_vertices = vertices.shape[1] - 68
    points = view_points(vertices, view_rotations(views, vertices.device))
    fragments = tuple(
        rasterise_plane(seen[:, :num_vertices], topology.faces, resolution) for seen in points
    )
    uv = torch.stack([_interpolate_uv(part, topology.corner_uv) for part in fragments])
    covered = torch.stack([part.face_id >= 0 for part in fragments])
    mask = topology.uv_mask.expand(len(uv), -1, -1, -1)
    drawn = sample_images(mask, uv.flatten(1, 2)).view(covered.shape)
    masked_alpha = (covered * drawn)[:, :, None]
    return HeadViews(
        fragments=fragments,
        uv=uv,
        masked_alpha=masked_alpha,
        alpha=fill_enclosed(masked_alpha.flatten(0, 1)).view(masked_alpha.shape),
        landmarks=points[:, :, num_vertices:, :2],
    )


def _interpolate_uv(fragments: PlaneFragments, corner_uv: Tensor) -> Tensor:
    """(B, n, n, 2); barycentrics are 0 where there is no head, and so is the result."""
    corners = corner_uv[fragments.face_id.clamp(min=0)]  # (B, n, n, 3, 2)
    return (fragments.bary[..., None] * corners).sum(-2)


def sample_texture(textures: Tensor, uv: Tensor) -> Tensor:
    """Draw the texture into the views.

    Args:
        textures: (B, C, m, m).
        uv: (V, B, n, n, 2).

    Returns:
        (V, B, C, n, n). Neither coverage nor mask is applied: empty pixels hold the texture's
        centre, which the mouth and the blending network see as their background.
    """
    batched = sample_images(textures, uv.transpose(0, 1))  # (B, V, n, n, C)
    return batched.permute(1, 0, 4, 2, 3)
