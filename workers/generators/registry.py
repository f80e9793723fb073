"""Opens the generator that a job names; what is open stays open."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from synthforge.jobs import Generator, GeneratorKind
from workers.generators.protocol import FaceGenerator

AVAILABLE: Final[tuple[GeneratorKind, ...]] = ("builtin",)


@lru_cache(maxsize=4)
def open_generator(generator: Generator) -> FaceGenerator:
    """Return the generator of a job, warm.

    Raises:
        ValueError: this worker has no such generator.
    """
    if generator.kind == "builtin":
        # Loads kernels and the head: only those who render pay for it.
        from workers.generators.builtin.generator import BuiltinGenerator  # noqa: PLC0415

        return BuiltinGenerator()
    raise ValueError(
        f"generator.kind: this worker has no {generator.kind!r}, only {', '.join(AVAILABLE)}"
    )
