"""Makes every triangle of closed surfaces wind counter-clockwise as seen from outside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.build_head.spline import Floats

Ints = NDArray[np.int32]


def flips_to_face_outward(points: Floats, triangles: Ints) -> NDArray[np.bool_]:
    """Which triangles (F,) to turn round.

    Walks each connected surface so that neighbours run their shared edge in opposite directions,
    then turns whole surfaces whose volume came out negative.

    Raises:
        ValueError: an edge does not belong to exactly two triangles.
    """
    owners: dict[tuple[int, int], list[int]] = {}
    for i, (a, b, c) in enumerate(triangles.tolist()):
        for u, v in ((a, b), (b, c), (c, a)):
            owners.setdefault((min(u, v), max(u, v)), []).append(i)
    odd = [edge for edge, who in owners.items() if len(who) != 2]
    if odd:
        raise ValueError(
            f"the surface is not closed: {len(odd)} edges as {odd[0]} lack a neighbour"
        )
    flip = np.zeros(len(triangles), bool)
    component = np.full(len(triangles), -1)
    directed = [{(a, b), (b, c), (c, a)} for a, b, c in triangles.tolist()]
    num_components = 0
    for start in range(len(triangles)):
        if component[start] >= 0:
            continue
        component[start] = num_components
        stack = [start]
        while stack:
            i = stack.pop()
            for u, v in directed[i]:
                first, second = owners[min(u, v), max(u, v)]
                j = second if first == i else first
                if component[j] < 0:
                    component[j] = num_components
                    flip[j] = flip[i] ^ ((u, v) in directed[j])
                    stack.append(j)
        num_components += 1
    corner = points[triangles]
    volume = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2]))
    volume = np.where(flip, -volume, volume)
    total = np.bincount(component, volume)
    out: NDArray[np.bool_] = flip ^ (total[component] < 0)
    return out
