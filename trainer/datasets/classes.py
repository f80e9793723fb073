"""Class ids of the sets: what each is called, and which of our classes fall into it.

`right` and `left` are the subject's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import CLASS_IDS, CLASSES, IGNORE_CLASS


@dataclass(frozen=True)
class ClassScheme:
    """One set's table of classes; the id is the place in `names`.

    Attributes:
        name: of the table.
        names: of the classes; the first is the background.
        from_ours: name here -> names of our classes that it holds; those not named are background.
        protocols: name of a mean -> the classes that it is taken over.
    """

    name: str
    names: tuple[str, ...]
    from_ours: Mapping[str, tuple[str, ...]]
    protocols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """How many classes there are, the background among them."""
        return len(self.names)

    def relabelling(self) -> NDArray[np.uint8]:
        """Return (256,) this table's id for each of our ids; ignore stays ignore."""
        table = np.zeros(256, np.uint8)
        for name, ours in self.from_ours.items():
            for our_name in ours:
                table[CLASS_IDS[our_name]] = self.names.index(name)
        table[IGNORE_CLASS] = IGNORE_CLASS
        return table

    def mirror(self) -> NDArray[np.uint8]:
        """Return (256,) the id that each id becomes when the picture is flipped."""
        table = np.arange(256, dtype=np.uint8)
        for class_id, name in enumerate(self.names):
            side, _, part = name.partition("_")
            twin = {"left": f"right_{part}", "right": f"left_{part}"}.get(side)
            if twin is not None:
                table[class_id] = self.names.index(twin)
        return table

    def sides(self) -> list[tuple[int, int]]:
        """Return (right, left) ids of every class that has a side."""
        return [
            (class_id, self.names.index(f"left_{name.removeprefix('right_')}"))
            for class_id, name in enumerate(self.names)
            if name.startswith("right_")
        ]

    def mirrored(self) -> ClassScheme:
        """Return the table of a set that means the picture's sides where this one means ours."""
        twins = self.mirror()
        names = tuple(self.names[twins[i]] for i in range(len(self.names)))
        return ClassScheme(f"{self.name}-mirrored", names, self.from_ours, self.protocols)


_OUR_NAMES: Final = tuple(name for class_id, name in CLASSES.items() if class_id != IGNORE_CLASS)
_FACE_PARTS: Final = (
    *("left_brow", "right_brow", "left_eye", "right_eye"),
    *("nose", "upper_lip", "inner_mouth", "lower_lip"),
)


def _as_they_are(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


OURS: Final = ClassScheme("synthforge", _OUR_NAMES, _as_they_are(*_OUR_NAMES[1:]))

# Source: JDAI-CV/lapa-dataset, README (Liu et al., AAAI 2020). Its "left" is written here as the
# subject's; the reader looks where the classes lie, and takes the mirrored table if they lie so.
# Skin takes in ears, beards and what is worn clear of the eyes (TRAINING section 6).
LAPA_11: Final = ClassScheme(
    "lapa11",
    (
        *("background", "skin", "left_brow", "right_brow", "left_eye", "right_eye"),
        *("nose", "upper_lip", "inner_mouth", "lower_lip", "hair"),
    ),
    {
        **_as_they_are(*_FACE_PARTS, "hair"),
        "skin": ("skin", "left_ear", "right_ear", "facial_hair", "glasses"),
    },
    protocols={"mean of 10": ("skin", "hair", *_FACE_PARTS)},
)

# Source: switchablenorms/CelebAMask-HQ, g_mask.py: parts in the order in which they are painted.
# `l_` is the subject's left; in `l_lip` it means lower (checked on the set's own masks).
CELEBAMASK_19: Final = ClassScheme(
    "celebamask19",
    (
        *("background", "skin", "nose", "glasses", "left_eye", "right_eye"),
        *("left_brow", "right_brow", "left_ear", "right_ear"),
        *("inner_mouth", "upper_lip", "lower_lip", "hair"),
        *("headwear", "earring", "necklace", "neck", "clothing"),
    ),
    {
        **_as_they_are(*_FACE_PARTS, "hair", "headwear", "neck", "clothing", "glasses"),
        **_as_they_are("left_ear", "right_ear"),
        "skin": ("skin", "facial_hair"),
    },
    protocols={
        "mean of 18": (
            *("skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow"),
            *("left_ear", "right_ear", "inner_mouth", "upper_lip", "lower_lip", "hair"),
            *("headwear", "earring", "necklace", "neck", "clothing"),
        ),
        "mean of 14": (
            *("skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow"),
            *("left_ear", "right_ear", "inner_mouth", "upper_lip", "lower_lip", "hair", "neck"),
        ),
    },
)

# Source: microsoft/FaceSynthetics, README; 255 is to be ignored.
FACE_SYNTHETICS_19: Final = ClassScheme(
    "facesynthetics19",
    (
        *("background", "skin", "nose", "right_eye", "left_eye", "right_brow", "left_brow"),
        *("right_ear", "left_ear", "inner_mouth", "upper_lip", "lower_lip", "neck", "hair"),
        *("facial_hair", "clothing", "glasses", "headwear", "facewear"),
    ),
    _as_they_are(*(name for name in _OUR_NAMES[1:] if name != "occluder")),
    protocols={"mean of 18": tuple(n for n in _OUR_NAMES[1:] if n != "occluder")},
)

CLASS_SCHEMES: Final = {
    scheme.name: scheme
    for scheme in (OURS, LAPA_11, LAPA_11.mirrored(), CELEBAMASK_19, FACE_SYNTHETICS_19)
}
