"""What every backend asks of its arguments, before an index reaches a kernel unchecked."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.raster.protocol import Fragments
from workers.raster.rule import GUARD_PX

FLOATS = (torch.float32, torch.float64)
INDICES = (torch.int32, torch.int64)


def check_meshes(
    vertices_cam: Tensor, faces: Tensor, intrinsics_px: Tensor, height_px: int, width_px: int
) -> None:
    """Refuse arguments of `Rasteriser.rasterise` that are not what its docstring says."""
    _check_shape("vertices_cam", vertices_cam, (None, None, 3), FLOATS)
    batch = vertices_cam.shape[0]
    _check_shape("intrinsics_px", intrinsics_px, (batch, 3, 3), FLOATS)
    check_faces(faces, vertices_cam.shape[1])
    check_same_device(vertices_cam=vertices_cam, faces=faces, intrinsics_px=intrinsics_px)
    for name, value in (("height_px", height_px), ("width_px", width_px)):
        if not 1 <= value <= int(GUARD_PX):
            raise ValueError(f"{name} is {value}; the rasteriser takes 1 to {int(GUARD_PX)}")


def check_attributes(fragments: Fragments, faces: Tensor, attributes: Tensor) -> None:
    """Refuse arguments of `Rasteriser.interpolate` that are not what its docstring says."""
    batch = fragments.face_id.shape[0]
    lead: tuple[int | None, ...] = (batch,) if attributes.ndim == 3 else ()
    _check_shape("attributes", attributes, (*lead, None, None), (torch.float32,))
    check_faces(faces, attributes.shape[-2])
    check_same_device(face_id=fragments.face_id, faces=faces, attributes=attributes)
    if fragments.face_id.numel() and int(fragments.face_id.max()) >= faces.shape[0]:
        raise ValueError(
            f"fragments.face_id reaches {int(fragments.face_id.max())}, but faces has "
            f"{faces.shape[0]} rows: pass one row for each face that was rasterised"
        )


def check_faces(faces: Tensor, num_corners: int) -> None:
    """Refuse faces that are not (F, 3) indices of `num_corners` corners."""
    _check_shape("faces", faces, (None, 3), INDICES)
    if not faces.numel():
        return
    low, high = (int(value) for value in faces.aminmax())
    if low < 0 or high >= num_corners:
        raise ValueError(f"faces holds indices {low} to {high}; there are {num_corners} corners")


def check_same_device(**tensors: Tensor) -> None:
    """Refuse tensors of different devices."""
    if len({tensor.device for tensor in tensors.values()}) > 1:
        found = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise ValueError(f"tensors lie on different devices: {found}; move them to one")


def _check_shape(
    name: str, tensor: Tensor, shape: tuple[int | None, ...], dtypes: tuple[torch.dtype, ...]
) -> None:
    wanted = ", ".join("any" if size is None else str(size) for size in shape)
    fits = tensor.ndim == len(shape) and all(
        size is None or size == actual for size, actual in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be ({wanted})")
    if tensor.dtype not in dtypes:
        allowed = " or ".join(str(dtype) for dtype in dtypes)
        raise ValueError(f"{name} is {tensor.dtype}; it must be {allowed}")
