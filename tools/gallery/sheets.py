"""What each sheet of the gallery shows: job specs, one a picture, and the words beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Spec = Mapping[str, Any]

STILL: Final[Spec] = {
    "count": 1000,
    "framing": {"face_fraction": 0.5, "offset": 0},
    "pose": {"yaw": 0, "pitch": 0, "roll": 0},
    "expression": {"coefficients": 0, "jaw_open": 0},
    "gaze": {"yaw": 0, "pitch": 0},
    "camera": {"distance": 1.2},
}
SOFT: Final[Spec] = {
    "light": {"azimuth": 25, "elevation": 30},
    "lens": {"blur": 0, "noise": 0},
}
PLAIN: Final[Spec] = {
    "appearance": {"glasses": 0, "headwear": 0, "beard": 0, "moustache": 0, "stubble": 0},
}


@dataclass(frozen=True)
class Picture:
    """One picture of a sheet.

    Attributes:
        index: of the sample, and so of the person.
        spec: of its job.
        caption: written over it; may be empty.
    """

    index: int
    spec: Spec
    caption: str = ""


@dataclass(frozen=True)
class Sheet:
    """One contact sheet.

    Attributes:
        name: of its file.
        title: over it on the page.
        says: under the title.
        columns: of pictures.
        pictures: row by row.
        has_labels: whether labels stand beside each picture.
    """

    name: str
    title: str
    says: str
    columns: int
    pictures: tuple[Picture, ...]
    has_labels: bool = False


def merged(*specs: Spec) -> dict[str, Any]:
    """Return specs laid over each other, section by section; later ones win."""
    out: dict[str, Any] = {}
    for spec in specs:
        for section, value in spec.items():
            held = out.get(section)
            both = isinstance(held, Mapping) and isinstance(value, Mapping)
            out[section] = {**held, **value} if both else value  # type: ignore[dict-item]
    return out


def sheets(*, has_ict: bool) -> tuple[Sheet, ...]:
    """Return every sheet; the second head's only where it was imported."""
    ours = (_samples(), _identity(), _expression(), _pose(), _light(), _appearance(), _labels())
    return (*ours, _ict()) if has_ict else ours


def _samples() -> Sheet:
    pictures = tuple(Picture(i, {"count": 1000}) for i in range(24))
    says = 'Samples 0 to 23 of the shortest job there is: `{"count": 1000}`, all by default.'
    return Sheet("samples", "By default", says, 8, pictures)


def _identity() -> Sheet:
    spec = merged(STILL, SOFT, PLAIN)
    says = "Shape and colours of 24 people; `identity.views` gives one person many samples."
    return Sheet("identity", "Identity", says, 8, tuple(Picture(i, spec) for i in range(24)))


_UNITS: Final = (
    (0, "brow_raise_inner"), (2, "brow_raise_outer"), (4, "brow_lower"), (6, "blink"),
    (8, "upper_lid_raise"), (10, "squint"), (12, "cheek_raise"), (14, "nose_wrinkle"),
    (16, "smile"), (18, "frown"), (20, "dimple"), (22, "mouth_stretch"),
    (24, "upper_lip_raise"), (26, "lower_lip_depress"), (28, "cheek_puff"),
)  # fmt: skip
_SINGLE_UNITS: Final = ((30, "lips_part"), (31, "pucker"), (32, "funnel"), (38, "mouth_left"))
_PRESETS: Final = ("smile", "surprise", "disgust", "kiss", "wink")
UNIT_SHOWN: Final = 2.2


def _expression() -> Sheet:
    says = (
        "Action units of `expression.coefficients` at 2.2, then named expressions of "
        "`expression.presets`. Units are drawn together and combine."
    )
    return Sheet("expression", "Expression", says, 8, tuple(_expressions()))


def _expressions() -> Iterator[Picture]:
    still = merged(STILL, SOFT, PLAIN)
    for first, name in _UNITS:
        yield _unit(still, (first, first + 1), name)
    for only, name in _SINGLE_UNITS:
        yield _unit(still, (only,), name)
    for preset in _PRESETS:
        yield Picture(19, merged(still, {"expression": {"presets": {preset: 1}}}), preset)


def _unit(still: Spec, indices: tuple[int, ...], name: str) -> Picture:
    values = {str(index): UNIT_SHOWN for index in indices}
    return Picture(19, merged(still, {"expression": {"coefficients": {"per_index": values}}}), name)


def _pose() -> Sheet:
    still = merged(STILL, SOFT)
    pictures = tuple(
        Picture(5, merged(still, {"pose": {"yaw": yaw, "pitch": pitch}}), f"{yaw}, {pitch}")
        for pitch in (20, 0, -20)
        for yaw in (-85, -60, -35, -12, 12, 35, 60, 85)
    )
    says = "`pose.yaw` and `pose.pitch`, degrees, of one person; `roll` and `neck` turn too."
    return Sheet("pose", "Pose", says, 8, pictures)


def _light() -> Sheet:
    still = merged(STILL, PLAIN)
    pictures = tuple(
        Picture(
            person,
            merged(still, {"light": {"azimuth": azimuth, "elevation": elevation}}),
            f"{azimuth}, {elevation}",
        )
        for person, elevation in ((7, 50), (9, 10), (12, -10))
        for azimuth in (-150, -80, -45, -15, 15, 45, 80, 150)
    )
    says = "The key light's `light.azimuth` and `light.elevation`, degrees, on three people."
    return Sheet("light", "Light", says, 8, pictures)


def _appearance() -> Sheet:
    rows: tuple[tuple[int, tuple[tuple[str, Spec], ...]], ...] = (
        (7, tuple((f"skin {t}", {"skin_tone": t}) for t in (60, 45, 30, 15, 0, -15, -30, -50))),
        (13, tuple((f"hair {v / 7:.2f}", {"hair_length": v / 7}) for v in range(8))),
        (15, (
            ("stubble", {"stubble": 1}), ("moustache", {"moustache": 0.7}),
            ("beard", {"beard": 0.3, "moustache": 0.3}),
            ("beard", {"beard": 0.9, "moustache": 0.8}),
            ("glasses", {"glasses": 1}), ("dark", {"glasses": 1, "lens_tint": 1}),
            ("knit hat", {"headwear": 0.5}), ("cap", {"headwear": 1}),
        )),
    )  # fmt: skip
    still = merged(STILL, SOFT, PLAIN, {"appearance": {"hair_length": 0.4}})
    pictures = tuple(
        Picture(person, merged(still, {"appearance": changes}), caption)
        for person, row in rows
        for caption, changes in row
    )
    says = "Skin by individual typology angle, length of hair, and what is grown or worn."
    return Sheet("appearance", "Appearance", says, 8, pictures)


def _labels() -> Sheet:
    asked = ["landmarks68", "segmentation", "depth", "normals"]
    pictures = tuple(Picture(i, {"count": 1000, "annotations": asked}) for i in range(30, 36))
    says = (
        "Landmarks (red: hidden), classes over the picture, depth and normals. UV, dense points, "
        "camera and head parameters come as arrays and JSON."
    )
    return Sheet("labels", "Labels", says, 2, pictures, has_labels=True)


def _ict() -> Sheet:
    spec = {"count": 1000, "generator": {"kind": "builtin", "head": "ict"}}
    says = (
        "The head made of ICT-FaceKit ([assets](assets.md)), by default otherwise; MIT, USC "
        "Institute for Creative Technologies."
    )
    return Sheet("ict", "A second head", says, 8, tuple(Picture(i, spec) for i in range(24)))
