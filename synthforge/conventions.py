"""Axes, pixel grid, landmark order and class ids: each fact once, with its source.

Frames (drawn in docs/conventions.md):
    head    +x to the subject's left, +y up, +z out of the face; after the neck's turn, before the
            jaw's.
    world   the head model's own frame (FLAME's axes), metres.
    camera  +x right, +y down, +z forward (OpenCV), metres.
    pixels  x right, y down; the image's top-left corner is (0, 0), the first pixel's centre
            (0.5, 0.5).

`left` and `right` are the subject's own, in every name.
"""

from __future__ import annotations

from typing import Final

# Class ids of `K.seg.png`. 1-10 follow LaPa's order (Liu et al., AAAI 2020).
CLASSES: Final[dict[int, str]] = {
    0: "background",
    1: "skin",
    2: "left_brow",
    3: "right_brow",
    4: "left_eye",
    5: "right_eye",
    6: "nose",
    7: "upper_lip",
    8: "inner_mouth",
    9: "lower_lip",
    10: "hair",
    11: "left_ear",
    12: "right_ear",
    13: "neck",
    14: "clothing",
    15: "glasses",
    16: "headwear",
    17: "facial_hair",
    18: "facewear",
    19: "occluder",
    255: "ignore",
}
CLASS_IDS: Final[dict[str, int]] = {name: class_id for class_id, name in CLASSES.items()}
IGNORE_CLASS: Final = 255
FACE_CLASSES: Final = range(1, 10)  # those that `bbox_visible_px` bounds

NUM_LANDMARKS: Final = 68
# iBUG-68 (Sagonas et al., ICCV-W 2013): half-open index ranges of its groups.
LANDMARK_GROUPS: Final[dict[str, range]] = {
    "jaw": range(17),
    "right_brow": range(17, 22),
    "left_brow": range(22, 27),
    "nose": range(27, 36),
    "right_eye": range(36, 42),
    "left_eye": range(42, 48),
    "outer_lips": range(48, 60),
    "inner_lips": range(60, 68),
}
OUTER_EYE_CORNERS: Final = (36, 45)  # right, left: the inter-ocular distance of the NME
_LANDMARK_TWINS: Final = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
    *((60, 64), (61, 63), (65, 67)),
)
LEFT_RIGHT_CLASSES: Final = ((2, 3), (4, 5), (11, 12))


def landmark_mirror() -> tuple[int, ...]:
    """Return for each landmark the index of its twin on the other side of the face."""
    twin = list(range(NUM_LANDMARKS))
    for a, b in _LANDMARK_TWINS:
        twin[a], twin[b] = b, a
    return tuple(twin)


def class_mirror() -> dict[int, int]:
    """Return the class id that each class becomes when the picture is flipped."""
    twin = {class_id: class_id for class_id in CLASSES}
    for a, b in LEFT_RIGHT_CLASSES:
        twin[a], twin[b] = b, a
    return twin


DEPTH_UNIT_M: Final = 1e-4  # one step of `K.depth.png`
DEPTH_REACH_M: Final = 65535 * DEPTH_UNIT_M
UV_STEPS: Final = 65534  # `K.u.png` holds 1 + round(u * UV_STEPS)
