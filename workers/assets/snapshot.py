"""What a registry held at one moment: generator and fingerprint are made of the same files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from synthforge.assets import KINDS, AssetEntry, AssetKind, asset_hashes
from workers.assets.registry import AssetRegistry, open_assets


@dataclass(frozen=True)
class AssetSnapshot:
    """The entries of a registry when they were read, an `AssetSource`; equal hashes are equal.

    Attributes:
        hashes: kind and sha256 of each, in the order of the kinds.
        registry: to fetch them from.
        held: by kind.
    """

    hashes: tuple[tuple[str, str], ...]
    registry: AssetRegistry = field(compare=False)
    held: dict[AssetKind, AssetEntry] = field(compare=False)

    @classmethod
    def of(cls, url: str | None, kinds: Iterable[AssetKind] = KINDS) -> Self:
        """Read a registry.

        Args:
            url: None takes what SYNTHFORGE_ASSETS says, and nothing where it says none.
            kinds: to read; the store is asked for no other.

        Raises:
            AssetError: a description is malformed.
            StorageError: the store does not answer.
        """
        registry = open_assets(url)
        entries = [entry for kind in kinds if (entry := registry.find(kind)) is not None]
        return cls(
            hashes=tuple(asset_hashes(entries).items()),
            registry=registry,
            held={entry.kind: entry for entry in entries},
        )

    def only(self, kinds: Iterable[AssetKind]) -> Self:
        """Return what it has of some kinds."""
        held = {kind: self.held[kind] for kind in kinds if kind in self.held}
        hashes = tuple(asset_hashes(held.values()).items())
        return replace(self, hashes=hashes, held=held)

    def differs(self, other: Self, kinds: Iterable[AssetKind]) -> AssetKind | None:
        """Return the first of some kinds that is another file there, or there alone."""
        held, there = dict(self.hashes), dict(other.hashes)
        return next((kind for kind in kinds if held.get(kind) != there.get(kind)), None)

    def entries(self) -> tuple[AssetEntry, ...]:
        """See `AssetRegistry.entries`."""
        return tuple(self.held.values())

    def find(self, kind: AssetKind) -> AssetEntry | None:
        """See `AssetRegistry.find`."""
        return self.held.get(kind)

    def fetch(self, entry: AssetEntry, cache_folder: Path) -> Path:
        """See `AssetRegistry.fetch`."""
        return self.registry.fetch(entry, cache_folder)
