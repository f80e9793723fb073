"""Opens Next3D for a job: with the assets of a registry, or untrained with whatever there is."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from synthforge.assets import (
    AssetEntry,
    AssetError,
    AssetKind,
    asset_hashes,
    asset_licences,
    asset_versions,
)
from synthforge.jobs import Generator
from synthforge.shards import GeneratorInfo
from workers.assets.snapshot import AssetSnapshot
from workers.generators.next3d import heads
from workers.generators.next3d.calibration import read_calibration
from workers.generators.next3d.checkpoint import Next3DWeights, build_network, untrained_weights
from workers.generators.next3d.config import Next3DConfig, RenderingConfig
from workers.generators.next3d.generator import Conditioning, Head, Next3DGenerator
from workers.generators.next3d.network import Next3DNetwork
from workers.generators.next3d.own_head import own_head
from workers.generators.next3d.placement import IDENTITY, PUBLISHED, Placement

UNTRAINED_SEED: Final = 20240611
"""Of the random weights: one untrained network for everybody. The day of the SynthForge paper."""

SMALL: Final = Next3DConfig(
    channel_base=512,
    channel_max=8,
    neural_resolution=32,
    rendering=RenderingConfig(num_coarse=12, num_fine=12),
    upscaling_widths=(8, 4),
)
"""An untrained network that a CPU runs in a tenth of a second, every part of it in its place."""

_CACHE_FOLDER: Final = "synthforge-assets"


@dataclass(frozen=True)
class _Assets:
    """The assets that a generator is opened with.

    Attributes:
        entries: by kind.
        paths: local copies, by kind.
    """

    entries: Mapping[AssetKind, AssetEntry]
    paths: Mapping[AssetKind, Path]

    @classmethod
    def fetched(cls, held: AssetSnapshot, kinds: tuple[AssetKind, ...]) -> _Assets:
        """Fetch those of some kinds that the registry has."""
        folder = Path(tempfile.gettempdir()) / _CACHE_FOLDER
        found = {kind: held.fetch(kind, folder) for kind in kinds}
        paths = {kind: path for kind, path in found.items() if path is not None}
        return cls({kind: held.entries[kind] for kind in paths}, paths)

    def path(self, kind: AssetKind) -> Path:
        """Return an asset that cannot be done without.

        Raises:
            AssetError: the registry lacks it.
        """
        if kind not in self.paths:
            raise AssetError(
                f"{kind} is missing in the registry: 'synthforge assets status' says where it "
                "comes from; generator.untrained needs none"
            )
        return self.paths[kind]


_FLAME_KINDS: Final[tuple[AssetKind, ...]] = ("flame_model", *heads.EMBEDDINGS)
_LAYOUT_KINDS: Final[tuple[AssetKind, ...]] = ("flame_texture_uv", "semantic_map")
_TRAINED_KINDS: Final[tuple[AssetKind, ...]] = (
    *_FLAME_KINDS,
    "next3d_checkpoint",
    "semantic_map",
    "calibration",
)


def open_next3d(generator: Generator, held: AssetSnapshot) -> Next3DGenerator:
    """Open the generator that a job names.

    Raises:
        AssetError: an asset is missing or is not what its description says.
        ValueError: an asset does not fit another.
    """
    if generator.untrained:
        return _open_untrained(generator, held)
    assets = _Assets.fetched(held, _TRAINED_KINDS)
    assert generator.conditioning is not None  # noqa: S101 - filled in
    if "calibration" not in assets.paths:
        return _open_trained(assets, Placement(PUBLISHED), generator.conditioning, "published")
    assets.path("next3d_checkpoint")  # or say that it is missing
    checkpoint = assets.entries["next3d_checkpoint"]
    placement = read_calibration(assets.paths["calibration"], checkpoint.sha256)
    return _open_trained(assets, placement, generator.conditioning, "fitted")


def open_unaligned(held: AssetSnapshot) -> Next3DGenerator:
    """Open the trained generator with the mesh placed the nominal way: what calibration starts from.

    Errors as `open_next3d`.
    """
    return _open_trained(
        _Assets.fetched(held, _TRAINED_KINDS), Placement(IDENTITY), "fixed", "none"
    )


def _open_trained(
    assets: _Assets, placement: Placement, conditioning: Conditioning, calibration: str
) -> Next3DGenerator:
    weights = Next3DWeights.load(assets.path("next3d_checkpoint"))
    model = heads.read_flame(assets.path("flame_model"))
    embedding = heads.read_embedding(
        assets.path("flame_static_embedding"), assets.path("flame_dynamic_embedding"), model
    )
    layout = heads.checkpoint_layout(weights.tensors, model)
    own_map = assets.paths.get("semantic_map")
    topology = heads.flame_topology(model, embedding, layout, own_map=own_map)
    entries = tuple(assets.entries.values())
    info = GeneratorInfo(
        kind="next3d",
        versions=asset_versions(entries)
        | {"wiring": weights.config.wiring, "calibration": calibration},
        assets=asset_hashes(entries),
        licences=asset_licences(entries),
    )
    return Next3DGenerator(
        _network(weights),
        Head(model, topology),
        placement=placement,
        conditioning=conditioning,
        info=info,
        is_learnt=True,
    )


def _open_untrained(generator: Generator, held: AssetSnapshot) -> Next3DGenerator:
    config = SMALL if generator.network == "small" else Next3DConfig()
    head, info = _untrained_head(held)
    weights = untrained_weights(config, heads.network_topology(head.topology), seed=UNTRAINED_SEED)
    marked = info.model_copy(
        update={"versions": info.versions | {"weights": f"untrained {generator.network}"}}
    )
    assert generator.conditioning is not None  # noqa: S101 - filled in
    return Next3DGenerator(
        _network(weights),
        head,
        placement=Placement(PUBLISHED),
        conditioning=generator.conditioning,
        info=marked,
        is_learnt=False,
    )


def _untrained_head(held: AssetSnapshot) -> tuple[Head, GeneratorInfo]:
    """The registry's FLAME where it has one with its landmarks, else our own head."""
    assets = _Assets.fetched(held, (*_FLAME_KINDS, *_LAYOUT_KINDS))
    if any(kind not in assets.paths for kind in _FLAME_KINDS):
        own, topology, sha256 = own_head()
        return Head(own, topology), GeneratorInfo(
            kind="next3d",
            versions={"head": f"embedded {sha256[:12]}"},
            assets={"head": sha256},
            licences={"head": "Apache-2.0"},
        )
    model = heads.read_flame(assets.path("flame_model"))
    embedding = heads.read_embedding(
        assets.path("flame_static_embedding"), assets.path("flame_dynamic_embedding"), model
    )
    layout_path = assets.paths.get("flame_texture_uv")
    layout = (
        heads.projected_layout(model) if layout_path is None else heads.read_layout(layout_path)
    )
    own_map = assets.paths.get("semantic_map") if layout_path is not None else None
    topology = heads.flame_topology(model, embedding, layout, own_map=own_map)
    entries = tuple(assets.entries.values())
    return Head(model, topology), GeneratorInfo(
        kind="next3d",
        versions=asset_versions(entries),
        assets=asset_hashes(entries),
        licences=asset_licences(entries),
    )


def _network(weights: Next3DWeights) -> Next3DNetwork:
    with torch.inference_mode():
        return build_network(weights)
