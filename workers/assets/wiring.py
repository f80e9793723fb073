"""Tells from a checkpoint's embedded source which planes its weights were trained with.

The source is text to us: it is searched, never parsed or run. One statement of the published
generator's `synthesis` joins the stitched front plane with the images of side and top. Where these
are the rasterised images, three planes are textured; where they or the alphas are zeros, the front
one alone. Anything else is for the user to say.
"""

from __future__ import annotations

import re

from synthforge.assets import PlaneWiring

_METHOD = re.compile(r"^\s*def\s+synthesis\s*\(", re.MULTILINE)
_NEXT_METHOD = re.compile(r"^\s*def\s", re.MULTILINE)
_JOINED = re.compile(r"\bcat\(\s*[(\[]\s*rendering_stitch\s*,\s*(.{0,300})", re.DOTALL)
_BOTH_IMAGES = re.compile(r"rendering_images\[1\]\s*,\s*rendering_images\[2\]\s*[)\]]")
_ALPHA_ZEROS = re.compile(r"alpha\w*(\[[12]\])?\s*=[^\n]*zeros")
_IMAGES_CHANGED = re.compile(r"rendering_images(\[[12]\])?\s*=[^\n=][^\n]*zeros")


def wiring_of_source(source: str) -> PlaneWiring | None:
    """Return the wiring that a source text shows, or None where it shows neither for sure."""
    method = _synthesis(source)
    joined = _JOINED.search(method)
    if joined is None:
        return None
    others = joined[1].split("\n", 1)[0]
    has_zeros = "zeros" in others or _ALPHA_ZEROS.search(method) or _IMAGES_CHANGED.search(method)
    if has_zeros:
        return "front-plane"
    return "three-plane" if _BOTH_IMAGES.match(joined[1]) else None


def _synthesis(source: str) -> str:
    """Cut out the method's text; empty if there is none."""
    start = _METHOD.search(source)
    if start is None:
        return ""
    end = _NEXT_METHOD.search(source, start.end())
    return source[start.end() : end.start() if end else len(source)]
