"""What a synthetic face's own numbers mean: formulas and bands that writer and verifier share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from synthforge.samples import (
    AttributesMeta,
    EyeColour,
    FacialHair,
    HairColour,
    HairStyle,
    SkinGroup,
)

BALD_BELOW: Final = 0.06  # of a hair's length
GROWN_FROM: Final = 0.02  # of a beard's or a moustache's length
STUBBLE_FROM: Final = 0.25
SHARE_DECIMALS: Final = 4
AGE_MEDIAN_YEARS: Final = 42.0
AGE_GROWTH: Final = 0.22  # of the logarithm of age, a standard deviation of the head's direction
FIRST_POINT_OF_EYE: Final = {"right": 36, "left": 42}  # iBUG order, six points each

# Chardon, Cretois and Hourseau, "Skin colour typology and suntanning pathways", 1991.
_SKIN_GROUPS: Final[tuple[tuple[float, SkinGroup], ...]] = (
    (55.0, "very_light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
)
_HAIR_STYLES: Final[tuple[tuple[float, HairStyle], ...]] = (
    (BALD_BELOW, "bald"),
    (0.2, "cropped"),
    (0.45, "short"),
    (0.65, "medium"),
)
_EYE_COLOURS: Final[tuple[tuple[float, EyeColour], ...]] = (
    (0.25, "blue"),
    (0.42, "green"),
    (0.58, "hazel"),
)
_GREY_FROM, _BLACK_FROM, _BROWN_FROM, _RED_FROM = 0.6, 0.8, 0.3, 0.35


def age_of(direction_std: float) -> float:
    """Return the nominal age, years, of a value of the head's direction: 42 at its mean."""
    return AGE_MEDIAN_YEARS * math.exp(AGE_GROWTH * direction_std)


def direction_of(age_years: float) -> float:
    """Return the value of the head's direction at a nominal age; the inverse of `age_of`."""
    return math.log(age_years / AGE_MEDIAN_YEARS) / AGE_GROWTH


def skin_group(ita_deg: float) -> SkinGroup:
    """Return the group of a typology angle."""
    return next((name for above, name in _SKIN_GROUPS if ita_deg > above), "dark")


def hair_style(length: float) -> HairStyle:
    """Return the band of a length of hair."""
    return next((name for below, name in _HAIR_STYLES if length < below), "long")


def hair_colour(length: float, tone: float, redness: float, grey: float) -> HairColour:
    """Return the word for hair: grey hides the rest, red is neither black nor faint."""
    if length < BALD_BELOW:
        return "bald"
    if grey >= _GREY_FROM:
        return "grey"
    if tone >= _BLACK_FROM:
        return "black"
    if redness >= _RED_FROM and tone < _BLACK_FROM - 0.2:
        return "red"
    return "brown" if tone >= _BROWN_FROM else "blond"


def eye_colour(tone: float) -> EyeColour:
    """Return the band of an iris' melanin."""
    return next((name for below, name in _EYE_COLOURS if tone < below), "brown")


def lid_opening(points: Sequence[Sequence[float]]) -> float:
    """Return the distance of the lids over the width of the eye, from its six points.

    Args:
        points: corner, two of the upper lid, corner, two of the lower lid: iBUG order.

    Source: Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks", 2016, in
        space in place of the image.
    """
    apart = math.dist(points[1], points[5]) + math.dist(points[2], points[4])
    width = math.dist(points[0], points[3])
    return round(apart / (2.0 * width), SHARE_DECIMALS) if width > 0 else 0.0


def hidden_share(whole_px: int, seen_px: int) -> float:
    """Return the share of a class' pixels that show something else."""
    return round(max(0.0, 1.0 - seen_px / whole_px), SHARE_DECIMALS)


def facial_hair(beard: float, moustache: float, stubble: float, *, is_goatee: bool) -> FacialHair:
    """Return the word for what grows on a face."""
    if beard >= GROWN_FROM:
        return "goatee" if is_goatee else "beard"
    if moustache >= GROWN_FROM:
        return "moustache"
    return "stubble" if stubble >= STUBBLE_FROM else "none"


def word_faults(held: AttributesMeta) -> list[str]:
    """Return where a word is not that of the numbers beside it."""
    due = {
        "skin_group": skin_group(held.skin_ita_deg),
        "hair_style": hair_style(held.hair_length),
        "hair_colour": hair_colour(
            held.hair_length, held.hair_tone, held.hair_redness, held.hair_grey
        ),
        "eye_colour": eye_colour(held.eye_tone),
        "facial_hair": facial_hair(
            held.beard, held.moustache, held.stubble, is_goatee=held.facial_hair == "goatee"
        ),
    }
    return [
        f"{name} is {getattr(held, name)!r}; {word!r} would do"
        for name, word in due.items()
        if getattr(held, name) != word
    ]
