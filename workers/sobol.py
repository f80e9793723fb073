"""Low-discrepancy uniforms for scalar parameters: Sobol points under a digital shift.

The direction numbers are those of PyTorch's engine (Joe and Kuo, 2008). The shift is the
exclusive-or of each coordinate with random bits of its own name, which keeps the net's balance
and makes seeds differ (Owen, "Quasi-Monte Carlo", 2003). The bits below the 30 of the sequence
come from the sample's own random number, so no two values of a long job are equal.
"""

from __future__ import annotations

import math
from functools import lru_cache

from torch.quasirandom import SobolEngine

from workers.streams import bit_generator

_BITS = 30  # resolution of the engine's direction numbers
_MAX_DIMENSIONS = 64
_BELOW_ONE = math.nextafter(1.0, 0.0)


@lru_cache(maxsize=_MAX_DIMENSIONS)
def _directions(dimension: int) -> tuple[int, ...]:
    """Return the 30 direction numbers of one coordinate as integers below 2^30."""
    engine = SobolEngine(_MAX_DIMENSIONS, scramble=False)  # type: ignore[no-untyped-call]
    return tuple(int(number) for number in engine.sobolstate[dimension])


@lru_cache(maxsize=4096)
def _shift(seed: int, name: str) -> int:
    return int(bit_generator(seed, f"sobol {name}", 0).random_raw()) >> (64 - _BITS)


def sobol_uniform(seed: int, name: str, dimension: int, point: int, u: float) -> float:
    """Return coordinate `dimension` of the `point`-th Sobol point, shifted, in [0, 1).

    Args:
        seed: of the job.
        name: of the parameter; names its shift.
        dimension: of the parameter in the sequence, below 64.
        point: index in the sequence, below 2^30.
        u: in [0, 1), fills the bits below the sequence's resolution.
    """
    gray = point ^ (point >> 1)
    bits = _shift(seed, name)
    for position, direction in enumerate(_directions(dimension)):
        if gray >> position & 1:
            bits ^= direction
    return min((bits + u) * 2.0**-_BITS, _BELOW_ONE)  # the sum may round up to 2^30
