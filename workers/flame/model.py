"""The FLAME layer: coefficients and joint rotations in, posed vertices out.

Any head of `FlameAssets` goes through it, the licensed FLAME and our own alike.

Same bytes: a head's vertices do not depend on what else is in its batch, on its row, or on the
batch's size. The two large products are made a row at a time, with operands of one shape and
alignment, and everything between them is arithmetic that rounds in one way only
(`workers/flame/rotations.py`). What can still move the last bit is the device, the library
version and the thread count: workers call `torch.set_num_threads(1)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.flame.assets import NUM_JOINTS, PARENTS, FlameAssets
from workers.flame.rotations import axis_angle_to_matrix, matrix_product
from workers.types import Float64Array

_NUM_AFFINE = 12  # numbers of a 3x4 transform


@dataclass(frozen=True)
class FlameMesh:
    """Posed heads, in the head model's frame, metres.

    Attributes:
        vertices: (B, V, 3).
        joint_transforms: (B, 5, 4, 4) rigid, from each joint's own axes to the head model's
            frame: the rotation of the joint and all above it, and where the joint lies. Joints
            are root, neck, jaw, left eye, right eye. The head's axes are the neck's rotation; an
            eye looks along its third column.
    """

    vertices: Tensor
    joint_transforms: Tensor


class Flame:
    """Poses a head model.

    Args:
        assets: the head model.
        num_shape: identity coefficients taken, from the first; all of them if None. Fewer cost
            less and equal zeros for the rest.
        num_expression: expression coefficients taken.
        dtype: torch.float32 or torch.float64.
        device: where the layer computes.

    Raises:
        ValueError: the model holds fewer coefficients than asked for.
    """

    def __init__(
        self,
        assets: FlameAssets,
        *,
        num_shape: int | None = None,
        num_expression: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.num_shape = _count("num_shape", num_shape, assets.num_shape)
        self.num_expression = _count("num_expression", num_expression, assets.num_expression)
        self.num_vertices = assets.num_vertices
        self.dtype = dtype
        self.device = torch.device(device)
        self._has_correctives = bool(np.any(assets.posedirs))

        base, directions = _stacked_directions(
            assets, self.num_shape, self.num_expression, with_pose=self._has_correctives
        )
        self._base = torch.from_numpy(base).to(self.device, dtype)  # (3V + 15,)
        # Stored a direction a row and used transposed: the product then streams through memory.
        self._directions = torch.from_numpy(directions).to(self.device, dtype).t()  # (3V + 15, K)
        weights = np.ascontiguousarray(assets.weights.T)
        self._weights = torch.from_numpy(weights).to(self.device, dtype)  # (5, V)

    def __call__(
        self,
        betas: Tensor,
        expression: Tensor,
        *,
        global_orient: Tensor | None = None,
        neck_pose: Tensor | None = None,
        jaw_pose: Tensor | None = None,
        leye_pose: Tensor | None = None,
        reye_pose: Tensor | None = None,
        transl: Tensor | None = None,
    ) -> FlameMesh:
        """Pose a batch of heads. Gradients flow to every argument.

        Args:
            betas: (B, num_shape) identity coefficients, standard deviations.
            expression: (B, num_expression).
            global_orient: (B, 3) axis-angle in radians, about joint 0 and not the origin; None
                is no rotation, here and below.
            neck_pose: (B, 3).
            jaw_pose: (B, 3).
            leye_pose: (B, 3), the subject's left eye.
            reye_pose: (B, 3).
            transl: (B, 3) metres, added last.

        Raises:
            ValueError: a shape differs from the above.

        Source: Li et al., "Learning a model of facial shape and expression from 4D scans", 2017;
            linear blend skinning with pose correctives, after SMPL (Loper et al. 2015).
        """
        batch = len(betas)
        self._check("betas", betas, batch, self.num_shape)
        self._check("expression", expression, batch, self.num_expression)
        poses = {
            "global_orient": global_orient,
            "neck_pose": neck_pose,
            "jaw_pose": jaw_pose,
            "leye_pose": leye_pose,
            "reye_pose": reye_pose,
        }
        vectors = [self._vectors(name, pose, batch) for name, pose in poses.items()]
        rotations = axis_angle_to_matrix(torch.stack(vectors, dim=1))  # (B, 5, 3, 3)
        shaped = self._shape(betas, expression, rotations)  # (B, 3V + 15)
        joints = shaped[:, 3 * self.num_vertices :].reshape(batch, NUM_JOINTS, 3)
        turns, origins = _chain(rotations, joints)
        if transl is not None:
            origins = origins + self._vectors("transl", transl, batch)[:, None]
        affine = _skinning(turns, origins, joints)  # (B, 12, 5)
        planes = [self._skin(shaped[row], affine[row]) for row in range(batch)]
        empty = betas.new_zeros(0, self.num_vertices, 3)
        vertices = torch.stack(planes) if planes else empty
        return FlameMesh(vertices, _homogeneous(turns, origins))

    def _shape(self, betas: Tensor, expression: Tensor, rotations: Tensor) -> Tensor:
        """Blend shapes and pose correctives: vertices as three planes of V, then the joints."""
        parts = [betas, expression]
        if self._has_correctives:
            identity = torch.eye(3, dtype=self.dtype, device=self.device)
            parts.append((rotations[:, 1:] - identity).flatten(1))
        coefficients = torch.cat(parts, dim=1)  # (B, K)
        rows = [torch.addmv(self._base, self._directions, row.clone()) for row in coefficients]
        return torch.stack(rows) if rows else self._base.new_zeros(0, len(self._base))

    def _skin(self, shaped: Tensor, affine: Tensor) -> Tensor:
        """Blend the joints' transforms at every vertex of one head, (V, 3), and apply them."""
        x, y, z = shaped[: 3 * self.num_vertices].view(3, self.num_vertices)
        blended = (affine.clone() @ self._weights).view(3, 4, self.num_vertices)
        planes: Tensor = blended[:, 0] * x + blended[:, 1] * y + blended[:, 2] * z + blended[:, 3]
        return planes.t()

    def _vectors(self, name: str, values: Tensor | None, batch: int) -> Tensor:
        if values is None:
            return torch.zeros(batch, 3, dtype=self.dtype, device=self.device)
        self._check(name, values, batch, 3)
        return values

    def _check(self, name: str, values: Tensor, batch: int, width: int) -> None:
        if values.shape != (batch, width) or values.dtype != self.dtype:
            raise ValueError(
                f"{name} is {values.dtype} of shape {tuple(values.shape)}, "
                f"this layer takes {self.dtype} of shape {(batch, width)}"
            )


def _count(name: str, asked: int | None, available: int) -> int:
    if asked is not None and not 0 <= asked <= available:
        raise ValueError(f"{name} is {asked}, the head model has 0 to {available}")
    return available if asked is None else asked


def _stacked_directions(
    assets: FlameAssets, num_shape: int, num_expression: int, *, with_pose: bool
) -> tuple[Float64Array, Float64Array]:
    """One matrix for everything linear: base (3V + 15,) and directions (K, 3V + 15), float64.

    Columns are the vertices' x, y and z planes, then the joints, which the regressor makes of
    shaped vertices: as it is linear, its product with each direction is made here, once. Pose
    correctives move vertices only.
    """
    regressor = assets.joint_regressor.astype(np.float64)

    def columns(vertices: Float64Array) -> Float64Array:
        """(..., V, 3) to (..., 3V + 15)."""
        planes = np.moveaxis(vertices, -1, -2).reshape(*vertices.shape[:-2], -1)
        joints = (regressor @ vertices).reshape(*vertices.shape[:-2], -1)
        return np.concatenate([planes, joints], axis=-1)

    linear = np.concatenate(
        [assets.shapedirs[:, :, :num_shape], assets.expressiondirs[:, :, :num_expression]], axis=2
    )
    rows = columns(np.moveaxis(linear.astype(np.float64), 2, 0))
    if with_pose:
        correctives = columns(np.moveaxis(assets.posedirs.astype(np.float64), 2, 0))
        correctives[:, -3 * NUM_JOINTS :] = 0
        rows = np.concatenate([rows, correctives])
    return columns(assets.v_template.astype(np.float64)), np.ascontiguousarray(rows)


def _chain(rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Compose the joints' rotations down the tree.

    Args:
        rotations: (B, 5, 3, 3) each joint's own.
        joints: (B, 5, 3) at rest.

    Returns:
        turns: (B, 5, 3, 3) composed rotations.
        origins: (B, 5, 3) where the joints go.
    """
    turns, origins = [rotations[:, 0]], [joints[:, 0]]
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        bone = joints[:, joint] - joints[:, parent]
        turns.append(matrix_product(turns[parent], rotations[:, joint]))
        origins.append(matrix_product(turns[parent], bone[..., None])[..., 0] + origins[parent])
    return torch.stack(turns, dim=1), torch.stack(origins, dim=1)


def _skinning(turns: Tensor, origins: Tensor, joints: Tensor) -> Tensor:
    """The transform of each joint from the rest pose, (B, 12, 5): its 3x4 matrix row-major."""
    shift = origins - matrix_product(turns, joints[..., None])[..., 0]
    affine = torch.cat([turns, shift[..., None]], dim=-1)  # (B, 5, 3, 4)
    return affine.reshape(len(turns), NUM_JOINTS, _NUM_AFFINE).transpose(1, 2)


def _homogeneous(turns: Tensor, origins: Tensor) -> Tensor:
    affine = torch.cat([turns, origins[..., None]], dim=-1)
    bottom = torch.tensor([0, 0, 0, 1], dtype=turns.dtype, device=turns.device)
    return torch.cat([affine, bottom.expand(len(turns), NUM_JOINTS, 1, 4)], dim=2)
