"""Opens every file of a registry and holds them against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from synthforge.assets import AssetKind
from synthforge.storage import StorageError
from workers.assets.loading import AssetLoader
from workers.generators.next3d.checkpoint import TOPOLOGY_TENSORS, Next3DWeights, used_tensors


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        kind: the asset.
        is_right: whether it can be used.
        says: what it holds, or what is wrong and what would do.
    """

    kind: AssetKind
    is_right: bool
    says: str


def check_assets(loader: AssetLoader) -> Iterator[Finding]:
    """Fetch, open and compare every asset that the registry holds."""
    for entry in loader.registry.entries():
        check = _CHECKS.get(entry.kind)
        if check is None:
            continue
        try:
            yield Finding(entry.kind, True, check(loader))
        except (ValueError, StorageError, OSError) as error:
            yield Finding(entry.kind, False, " ".join(str(error).split()))


def _model(loader: AssetLoader) -> str:
    model = loader.flame_model()
    return (
        f"{model.num_vertices} vertices, {len(model.faces)} faces, {model.num_shape} shape and "
        f"{model.num_expression} expression directions"
    )


def _embedding(loader: AssetLoader) -> str:
    if loader.registry.find("flame_model") is None:
        return "opened; no model to compare it with"
    both: tuple[AssetKind, ...] = ("flame_static_embedding", "flame_dynamic_embedding")
    missing = [kind for kind in both if loader.registry.find(kind) is None]
    if missing:
        raise ValueError(f"the other half, {missing[0]}, is missing: import it")
    grid = loader.landmarks(loader.flame_model())
    return f"fits the model; contour from {grid.contour_yaw_deg[0]:.0f} degrees of yaw on"


def _masks(loader: AssetLoader) -> str:
    masks = loader.masks()
    last = max(int(ids.max(initial=0)) for ids in masks.values())
    if loader.registry.find("flame_model") is not None:
        num_vertices = loader.flame_model().num_vertices
        if last >= num_vertices:
            raise ValueError(f"names vertex {last}, the model has {num_vertices}: of another mesh")
    return f"{len(masks)} regions"


def _uv_layout(loader: AssetLoader) -> str:
    layout = loader.uv_layout()
    if loader.registry.find("flame_model") is not None:
        num_faces = len(loader.flame_model().faces)
        if len(layout["ft"]) != num_faces:
            raise ValueError(f"has {len(layout['ft'])} faces, the model {num_faces}: another mesh")
    return f"{len(layout['vt'])} points, {len(layout['ft'])} faces"


def _semantic_map(loader: AssetLoader) -> str:
    classes = loader.semantic_map()
    return f"{classes.shape[1]} x {classes.shape[0]} pixels, {len(np.unique(classes))} classes"


def _checkpoint(loader: AssetLoader) -> str:
    weights = loader.checkpoint()
    tensors = used_tensors(weights.tensors, weights.config)
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds a number that is not finite: import it again")
    _compare_faces(loader, weights)
    count = sum(array.size for name, array in tensors.items() if name not in TOPOLOGY_TENSORS)
    return f"{count / 1e6:.1f} million numbers, {weights.config.wiring}"


def _compare_faces(loader: AssetLoader, weights: Next3DWeights) -> None:
    """The checkpoint dresses the mesh that the head model poses; which corner is first is free."""
    if loader.registry.find("flame_model") is None:
        return
    ours, theirs = loader.flame_model().faces, weights.tensors["faces"][0]
    if ours.shape != theirs.shape or (np.sort(ours, axis=1) != np.sort(theirs, axis=1)).any():
        raise ValueError("its faces are not the FLAME model's: one of them is of another mesh")


def _ict_head(loader: AssetLoader) -> str:
    head = loader.ict_head()
    return (
        f"{head.assets.num_vertices} vertices, {len(head.shape_names)} shape and "
        f"{len(head.expression_names)} expression directions"
    )


def _topology(loader: AssetLoader) -> str:
    return f"{loader.checkpoint_topology()['faces'].shape[1]} faces"


_CHECKS: Final[Mapping[AssetKind, Callable[[AssetLoader], str]]] = {
    "flame_model": _model,
    "flame_static_embedding": _embedding,
    "flame_dynamic_embedding": _embedding,
    "flame_masks": _masks,
    "flame_texture_uv": _uv_layout,
    "next3d_checkpoint": _checkpoint,
    "next3d_topology": _topology,
    "semantic_map": _semantic_map,
    "ict_head": _ict_head,
}
