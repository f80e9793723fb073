"""Opens the generator that a job names; what is open stays open while memory has room."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from synthforge.assets import taken_assets
from synthforge.jobs import Generator
from workers.assets.snapshot import AssetSnapshot
from workers.generators.protocol import FaceGenerator
from workers.generators.warm import Warm, free_memory_share

_WARM: Final[Warm[FaceGenerator]] = Warm(free_memory_share)


def open_generator(generator: Generator, assets: AssetSnapshot | None = None) -> FaceGenerator:
    """Return the generator of a job, warm.

    Args:
        generator: of the job.
        assets: licensed files that it may use; None reads what SYNTHFORGE_ASSETS says.

    Raises:
        ValueError: assets are missing, or do not fit each other.
        StorageError: the registry does not answer.
    """
    if generator.head_model == "builtin":
        return _builtin()
    taken = taken_assets(generator)
    held = AssetSnapshot.of(None, taken) if assets is None else assets.only(taken)
    if generator.head == "ict":
        return _WARM.get(("ict", held), lambda: _other_head(held))
    return _WARM.get((generator, held), lambda: _next3d(generator, held))


def read_hashes(assets: AssetSnapshot) -> Mapping[str, str]:
    """Return the sha256 of every file that generators may read, by name.

    Args:
        assets: of `assets_of_kind`: an actor has one fingerprint, whichever generator of its kind
            a job names.
    """
    from workers.generators.builtin.head import load_head  # noqa: PLC0415 - who renders pays for it

    return {"head": load_head().sha256, **dict(assets.hashes)}


@lru_cache(maxsize=1)
def _builtin() -> FaceGenerator:
    # Loads kernels and the head: only those who render pay for it.
    from workers.generators.builtin.generator import BuiltinGenerator  # noqa: PLC0415

    return BuiltinGenerator()


def _other_head(assets: AssetSnapshot) -> FaceGenerator:
    from workers.assets.loading import shared_loader  # noqa: PLC0415 - opens licensed files
    from workers.generators.builtin.generator import BuiltinGenerator  # noqa: PLC0415

    return BuiltinGenerator(shared_loader(assets).ict_head())


def _next3d(generator: Generator, assets: AssetSnapshot) -> FaceGenerator:
    from workers.generators.next3d.opening import open_next3d  # noqa: PLC0415 - loads the network

    return open_next3d(generator, assets)
