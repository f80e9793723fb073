"""Samples stacked to tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from synthforge.conventions import DEPTH_UNIT_M
from synthforge.samples import SampleMeta
from trainer.batch_memory import Allocate, fresh
from trainer.decoding import Sample

_STACKED = (
    "image",
    "segmentation",
    "depth",
    "normal",
    "u",
    "v",
    "dense",
    "landmarks_px",
    "visibility",
)


@dataclass(frozen=True, repr=False)
class Batch:
    """What one step takes; a label that was not asked for is None.

    Attributes:
        keys: of the samples, in order.
        weight: (B,) float32: 1, or 0 for a sample that only fills a short batch up.
        image: (B, 3, H, W) uint8 RGB, channels last in memory.
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

    def __repr__(self) -> str:
        """Name the samples, and each tensor's shape and type: its numbers would fill pages."""
        keys = ", ".join(self.keys if len(self) <= 2 else (self.keys[0], "...", self.keys[-1]))
        tensors = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        told = [f"{name}={_told(tensor)}" for name, tensor in tensors.items() if tensor is not None]
        return f"Batch({len(self)} samples: {keys}; {', '.join(told)})"

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


def _told(tensor: Tensor) -> str:
    where = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}{where}"


def collate(
    samples: Iterable[Sample], weights: Sequence[float], allocate: Allocate = fresh
) -> Batch:
    """Stack samples of one size.

    Each goes to its place before the next is asked for, so that an iterator that decodes need not
    hold a batch twice.

    Args:
        samples: as many as weights.
        weights: of the samples.
        allocate: gives the memory.

    Raises:
        ValueError: pictures differ in size, or a label is missing in some of the samples.
    """
    stack = _Stack(len(weights), allocate)
    for sample in samples:
        stack.add(sample)
    return Batch(
        keys=tuple(stack.keys),
        weight=torch.tensor(weights, dtype=torch.float32),
        # Channels stay last in memory, where they lie in a picture: (B, 3, H, W) without a copy.
        image=stack.arrays.pop("image").permute(0, 3, 1, 2),
        **stack.arrays,
        **_geometry(stack.focals_px, stack.metas),
    )


class _Stack:
    """The rows of a batch, filled one by one."""

    def __init__(self, size: int, allocate: Allocate) -> None:
        self._size, self._allocate = size, allocate
        self.keys: list[str] = []
        self.focals_px: list[float | None] = []
        self.metas: list[SampleMeta | None] = []
        self.arrays: dict[str, Tensor] = {}

    def add(self, sample: Sample) -> None:
        """Put a sample in the next row."""
        row = len(self.keys)
        for name in _STACKED:
            array = getattr(sample, name)
            if row == 0 and array is not None:
                self.arrays[name] = self._allocate((self._size, *array.shape), array.dtype)
            if (array is None) is (name in self.arrays):
                has, others = ("no ", "") if array is None else ("", "not ")
                raise ValueError(
                    f"sample {sample.key} has {has}{name}, others of its batch do {others}"
                )
            if array is not None:
                self._put(name, row, array)
        self.keys.append(sample.key)
        self.focals_px.append(sample.focal_px)
        self.metas.append(sample.meta)

    def _put(self, name: str, row: int, array: NDArray[Any]) -> None:
        place = self.arrays[name][row].numpy()
        if place.shape != array.shape:
            sizes = sorted({place.shape, array.shape})
            raise ValueError(f"{name}s of sizes {sizes} do not stack: give size_px")
        place[...] = array


def _geometry(
    focals_px: Sequence[float | None], metas: Sequence[SampleMeta | None]
) -> dict[str, Tensor]:
    found = {}
    focal = [focal_px for focal_px in focals_px if focal_px is not None]
    if len(focal) == len(focals_px):
        found["focal_px"] = torch.tensor(focal, dtype=torch.float32)
    known = [meta for meta in metas if meta is not None]
    if len(known) < len(metas):
        return found
    cameras = [meta.camera for meta in known if meta.camera is not None]
    if len(cameras) == len(known):
        found["world2cam"] = torch.tensor([camera.world2cam for camera in cameras])
        found["intrinsics_px"] = torch.tensor([camera.intrinsics_px for camera in cameras])
    heads = [meta.head for meta in known if meta.head is not None]
    if len(heads) == len(known):
        pose = [(head.yaw_deg, head.pitch_deg, head.roll_deg) for head in heads]
        found["pose_deg"] = torch.tensor(pose)
    return found
