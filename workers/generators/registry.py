"""Opens the generator that a job names; what is open stays open."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from synthforge.jobs import GENERATOR_KINDS, Generator
from workers.generators.protocol import FaceGenerator


@lru_cache(maxsize=2)
def open_generator(generator: Generator, assets_url: str | None = None) -> FaceGenerator:
    """Return the generator of a job, warm.

    Args:
        generator: of the job.
        assets_url: registry of licensed files; None takes what SYNTHFORGE_ASSETS says.

    Raises:
        ValueError: this worker has no such generator, or assets are missing or unfit.
    """
    if generator.kind == "builtin":
        # Loads kernels and the head: only those who render pay for it.
        from workers.generators.builtin.generator import BuiltinGenerator  # noqa: PLC0415

        return BuiltinGenerator()
    if generator.kind == "next3d":
        from workers.assets import open_assets  # noqa: PLC0415
        from workers.generators.next3d.opening import open_next3d  # noqa: PLC0415

        return open_next3d(generator, open_assets(assets_url))
    raise ValueError(
        f"generator.kind: this worker has no {generator.kind!r}, only {', '.join(GENERATOR_KINDS)}"
    )


@lru_cache(maxsize=2)
def asset_hashes(assets_url: str | None = None) -> Mapping[str, str]:
    """Return the sha256 of every file that this worker's generators may read, by name.

    The embedded head, and what the registry holds when this is first asked.

    Args:
        assets_url: as of `open_generator`.
    """
    from synthforge import assets as contract  # noqa: PLC0415 - with the storage behind it
    from workers.assets import open_assets  # noqa: PLC0415
    from workers.generators.builtin.head import load_head  # noqa: PLC0415

    held = contract.asset_hashes(open_assets(assets_url).entries())
    return {"head": load_head().sha256, **held}
