"""The one rule of which pixel a triangle covers, and at what depth. Every backend follows it.

1. A corner (x, y, z) in camera axes is projected in float64: u = (fx*x + skew*y)/z + cx,
   v = fy*y/z + cy, and rounded (half to even) to the grid of 2^-16 px. From there on coverage is
   integer arithmetic: exact, so that triangles with a common edge neither gap nor overlap.
2. A triangle with a corner at z <= `NEAR_M`, or more than `GUARD_PX` from the image's corner, or
   not finite, is left out whole. So is one whose area on the grid is zero.
3. A pixel is covered when its centre (j + 0.5, i + 0.5) lies strictly inside, or on a top edge
   (level, the triangle below it) or a left edge (the triangle to its right).
4. Nearness q = 1/z is a plane over the image: float64 at the first column of a row of the face's
   bounding box (cut to the image), float32 steps from there, clamped to the range of the corners.
   The largest q wins; equal q: the lower face index.
5. Barycentrics come from the exact integer edge functions E_i: t_i = E_i / z_i,
   b_i = t_i / (t_0 + t_1 + t_2), z = (E_0 + E_1 + E_2) / (t_0 + t_1 + t_2), in float64.

So 0 <= b_i <= 1 without clamping, and a hit point lies on the mesh; its projection is the pixel's
centre to 2^-17 px. Order of the float operations is part of the rule: numba and torch give equal
bits on any device that rounds as IEEE 754 says.

Source: the top-left rule of Direct3D ("Rasterization Rules"); half-space rasterisation after
Pineda, "A Parallel Algorithm for Polygon Rasterization", 1988.
"""

from __future__ import annotations

NEAR_M = 0.01
"""A triangle with a corner at z <= this is left out: heads are never that near."""

SUBPIXEL_BITS = 16
"""Binary digits of a projected corner behind the point."""

GUARD_PX = 2.0**14
"""Corners lie nearer to the image's corner than this: edge functions then fit 63 bits."""
