"""Samples stacked to tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from synthforge.conventions import DEPTH_UNIT_M
from trainer.decoding import Sample

_STACKED = (
    "segmentation",
    "depth",
    "normal",
    "u",
    "v",
    "dense",
    "landmarks_px",
    "visibility",
)


@dataclass(frozen=True)
class Batch:
    """What one step takes; a label that was not asked for is None.

    Attributes:
        keys: of the samples, in order.
        weight: (B,) float32: 1, or 0 for a sample that only fills a short batch up.
        image: (B, 3, H, W) uint8 RGB.
        segmentation: (B, H, W) uint8 class ids; 255 = ignore.
        depth: (B, H, W) uint16, units of 0.1 mm; 0 = nothing there.
        normal: (B, H, W, 3) uint8; see `Sample`.
        u: (B, H, W) uint16; so too v.
        v: (B, H, W) uint16.
        dense: (B, V, 3) float32, metres, camera axes.
        landmarks_px: (B, 68, 2) float32.
        visibility: (B, 68) uint8.
        focal_px: (B,) float32, focal length in pixels of the picture as it is.
        world2cam: (B, 4, 4) float32; as written, whatever the augmentation did.
        intrinsics_px: (B, 3, 3) float32; as written.
        pose_deg: (B, 3) float32, yaw, pitch, roll; as written.
    """

    keys: tuple[str, ...]
    weight: Tensor
    image: Tensor
    segmentation: Tensor | None = None
    depth: Tensor | None = None
    normal: Tensor | None = None
    u: Tensor | None = None
    v: Tensor | None = None
    dense: Tensor | None = None
    landmarks_px: Tensor | None = None
    visibility: Tensor | None = None
    focal_px: Tensor | None = None
    world2cam: Tensor | None = None
    intrinsics_px: Tensor | None = None
    pose_deg: Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def depth_m(self) -> Tensor | None:
        """Depth in metres, (B, H, W) float32; 0 = nothing there."""
        return None if self.depth is None else self.depth.to(torch.float32) * DEPTH_UNIT_M

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on a device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory; PyTorch's loader calls this."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        held: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in held.items():
            held[name] = change(value) if isinstance(value, Tensor) else value
        return type(self)(**held)


def collate(samples: Sequence[Sample], weights: Sequence[float]) -> Batch:
    """Stack samples of one size.

    Raises:
        ValueError: pictures differ in size, or a label is missing in some of the samples.
    """
    sizes = {sample.image.shape for sample in samples}
    if len(sizes) > 1:
        raise ValueError(f"pictures of sizes {sorted(sizes)} do not stack: give size_px")
    arrays = {name: _stacked(samples, name) for name in _STACKED}
    image = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(
        keys=tuple(sample.key for sample in samples),
        weight=torch.tensor(weights, dtype=torch.float32),
        image=image.permute(0, 3, 1, 2).contiguous(),
        **{name: tensor for name, tensor in arrays.items() if tensor is not None},
        **_geometry(samples),
    )


def _stacked(samples: Sequence[Sample], name: str) -> Tensor | None:
    arrays = [getattr(sample, name) for sample in samples]
    if all(array is None for array in arrays):
        return None
    missing = [sample.key for sample, array in zip(samples, arrays, strict=True) if array is None]
    if missing:
        raise ValueError(f"sample {missing[0]} has no {name}, others of its batch have")
    return torch.from_numpy(np.stack(arrays))


def _geometry(samples: Sequence[Sample]) -> dict[str, Tensor]:
    found = {}
    focal = [sample.focal_px for sample in samples if sample.focal_px is not None]
    if len(focal) == len(samples):
        found["focal_px"] = torch.tensor(focal, dtype=torch.float32)
    metas = [sample.meta for sample in samples if sample.meta is not None]
    if len(metas) < len(samples):
        return found
    cameras = [meta.camera for meta in metas if meta.camera is not None]
    if len(cameras) == len(metas):
        found["world2cam"] = torch.tensor([camera.world2cam for camera in cameras])
        found["intrinsics_px"] = torch.tensor([camera.intrinsics_px for camera in cameras])
    heads = [meta.head for meta in metas if meta.head is not None]
    if len(heads) == len(metas):
        pose = [(head.yaw_deg, head.pitch_deg, head.roll_deg) for head in heads]
        found["pose_deg"] = torch.tensor(pose)
    return found
