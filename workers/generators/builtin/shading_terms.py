"""Terms that several materials share: plain functions of numbers, compiled into their callers.

Single precision by their constants: a bare one would widen the vectors of a caller.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workers.generators.builtin.shading_inputs import Triple
from workers.raster.jit import inlined

F: Callable[[float], float] = np.float32  # type: ignore[assignment]


@inlined
def towards_camera(x: float, y: float) -> Triple:
    """Unit vector from a hit on the ray (x, y, 1) to the camera."""
    scale = F(-1.0) / np.sqrt(x * x + y * y + F(1.0))
    return x * scale, y * scale, scale


@inlined
def unit(x: float, y: float, z: float) -> Triple:
    scale = F(1.0) / np.sqrt(max(x * x + y * y + z * z, F(1e-20)))
    return x * scale, y * scale, z * scale


@inlined
def mixed(a: Triple, b: Triple, share: float) -> Triple:
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


@inlined
def smooth_step(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), F(0.0)), F(1.0))
    return t * t * (F(3.0) - F(2.0) * t)


@inlined
def wave(x: float) -> float:
    """A sine of period 1, by two parabolas."""
    t: float = x - np.floor(x)
    s = t - F(0.5)
    return F(-16.0) * s * (F(0.5) - abs(s))


@inlined
def wrapped(facing: float, wrap: float, per_reach: float) -> float:
    """A cosine that reaches around the terminator; `per_reach` is 1 / (1 + wrap)."""
    lit = max((facing + wrap) * per_reach, F(0.0))
    return lit * (F(1.0) - wrap * (F(1.0) - lit))


@inlined
def highlight(key: Triple, n: Triple, view: Triple, facing: float, roughness: float) -> float:
    """The key light's mirror lobe over its irradiance, cosine included, for 4 % reflectance.

    The half vector stays unnormalised: with h = key + view and q = h . h, the cosine of half the
    angle between light and view is sqrt(q) / 2, and the lobe needs one division.
    """
    x, y, z = key[0] + view[0], key[1] + view[1], key[2] + view[2]
    q = max(x * x + y * y + z * z, F(0.04))
    across = max(n[0] * x + n[1] * y + n[2] * z, F(0.0))
    a2 = roughness * roughness * roughness * roughness
    t = across * across * (a2 - F(1.0)) + q
    away: float = max(F(1.0) - F(0.5) * np.sqrt(q), F(0.0))
    fresnel = F(0.04) + F(0.96) * away * away * away * away * away
    return facing * fresnel * a2 * q / max(t * t * (roughness + F(0.5)), F(1e-9))
