"""The sections of a job that say what varies: each field a distribution inside a stated range.

Angles in degrees, lengths in metres; the names of the spec carry no units (docs/conventions.md).
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from synthforge.distributions import (
    STRICT,
    Choice,
    Distribution,
    Mixture,
    Normal,
    Uniform,
    support,
)


def _within(low: float, high: float, unit: str) -> AfterValidator:
    def check(distribution: Any) -> Any:
        least, most = support(distribution)
        if least < low or most > high:
            beyond = least if least < low else most
            raise ValueError(f"{beyond:g} is outside [{low:g}, {high:g}]{unit}")
        return distribution

    return AfterValidator(check)


def _field(low: float, high: float, unit: str, what: str, default: Any) -> Any:
    where = f"within [{low:g}, {high:g}]{unit}"
    return Field(default=default, description=f"{what}; {where}", validate_default=False)


def _uniform(low: float, high: float) -> Uniform:
    return Uniform(low=low, high=high)


def _sometimes(share: float, then: Distribution) -> Mixture:
    """Return 0, or for a share of the draws another distribution."""
    return Mixture(type="mixture", weights=(1 - share, share), parts=(0.0, then))


Yaw = Annotated[Distribution, _within(-89, 89, " degrees")]
Roll = Annotated[Distribution, _within(-180, 180, " degrees")]
NeckAngle = Annotated[Distribution, _within(-45, 45, " degrees")]
GazeAngle = Annotated[Distribution, _within(-40, 40, " degrees")]
JawAngle = Annotated[Distribution, _within(0, 40, " degrees")]
Fov = Annotated[Distribution, _within(1, 120, " degrees")]
Distance = Annotated[Distribution, _within(0.3, 6, " metres")]
Fraction = Annotated[Distribution, _within(0, 1, "")]
Signed = Annotated[Distribution, _within(-1, 1, "")]
Coefficient = Annotated[Distribution, _within(-5, 5, " standard deviations")]
Azimuth = Annotated[Distribution, _within(-180, 180, " degrees")]
Elevation = Annotated[Distribution, _within(-90, 90, " degrees")]
ToneAngle = Annotated[Distribution, _within(-70, 80, " degrees")]
Kelvin = Annotated[Distribution, _within(1500, 20000, " kelvin")]
Stops = Annotated[Distribution, _within(-4, 4, " stops")]
FaceFraction = Annotated[Distribution, _within(0.02, 2, "")]
Offset = Annotated[Distribution, _within(-0.5, 0.5, "")]
Pixels = Annotated[Distribution, _within(0, 20, " pixels of 512")]

Years = Annotated[Distribution, _within(18, 90, " years")]
HalfAngle = Annotated[Distribution, _within(0.5, 30, " degrees")]
Contrast = Annotated[Distribution, _within(0.3, 3, "")]
Saturation = Annotated[Distribution, _within(0, 2, "")]
Resolution = Annotated[Distribution, _within(0.05, 1, "")]
JpegQuality = Annotated[Distribution, _within(1, 100, "")]

CoefficientIndex = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,2})$")]


class PerIndex(BaseModel):
    """A distribution for some coefficients by index; the others are 0."""

    model_config = STRICT
    per_index: dict[CoefficientIndex, Coefficient] = Field(min_length=1, max_length=400)


def _coefficients_kind(data: Any) -> str:
    if isinstance(data, PerIndex) or (isinstance(data, dict) and "per_index" in data):
        return "per_index"
    return "each"


Coefficients = Annotated[
    Annotated[Coefficient, Tag("each")] | Annotated[PerIndex, Tag("per_index")],
    Discriminator(_coefficients_kind),
]

PresetName = Literal["neutral", "smile", "frown", "surprise", "disgust", "kiss", "wink", "shout"]


# Movements that each side of the face makes; `smile` is both, `smile_left` the subject's left.
SIDED_UNITS: Final = (
    "brow_raise_inner", "brow_raise_outer", "brow_lower", "blink", "upper_lid_raise", "squint",
    "cheek_raise", "nose_wrinkle", "smile", "frown", "dimple", "mouth_stretch", "upper_lip_raise",
    "lower_lip_depress", "cheek_puff",
)  # fmt: skip
ACTION_UNITS: Final = (
    *SIDED_UNITS,
    *(f"{name}_{side}" for name in SIDED_UNITS for side in ("left", "right")),
    "lips_part", "pucker", "funnel", "lip_press", "lip_tighten", "lip_suck_upper",
    "lip_suck_lower", "chin_raise", "mouth_left", "mouth_right", "jaw_left", "jaw_right",
    "jaw_forward",
)  # fmt: skip


def _known_unit(name: str) -> str:
    if name not in ACTION_UNITS:
        near = get_close_matches(name, ACTION_UNITS, 1)
        some = f"{', '.join(ACTION_UNITS[: len(SIDED_UNITS)])} ..."
        known = f"did you mean {near[0]}?" if near else some
        raise ValueError(f"no such action unit: {known}")
    return name


ActionUnit = Annotated[str, AfterValidator(_known_unit)]


class Identity(BaseModel):
    """Who is seen, and in how many samples."""

    model_config = STRICT
    views: int = Field(default=1, ge=1, le=1_000_000, description="samples of one identity")
    shape: Coefficients = Field(
        default=Normal(type="normal", mean=0, std=1, low=-3, high=3),
        description="shape coefficients, standard deviations",
    )
    truncation_psi: float | None = Field(
        default=None, ge=0, le=1, description="next3d: truncation of the latent (default 0.7)"
    )
    truncation_cutoff: int | None = Field(
        default=None, ge=0, le=64, description="next3d: layers truncated (default 14)"
    )


class Pose(BaseModel):
    """The head seen from the camera: what is asked is what `K.json` reports."""

    model_config = STRICT
    yaw: Yaw = _field(
        -89, 89, " degrees", "> 0: the nose points to the image's right", _uniform(-45, 45)
    )
    pitch: Yaw = _field(-89, 89, " degrees", "> 0: the nose points up", _uniform(-20, 20))
    roll: Roll = _field(-180, 180, " degrees", "> 0: tilts clockwise as seen", _uniform(-10, 10))


class Expression(BaseModel):
    """How the face moves."""

    model_config = STRICT
    coefficients: Coefficients = Field(
        default=Normal(type="normal", mean=0, std=0.5, low=-2, high=2),
        description="expression coefficients, standard deviations",
    )
    # Of photographed faces about half have their lips together.
    jaw_open: JawAngle = _field(
        0,
        40,
        " degrees",
        "rotation of the jaw",
        _sometimes(0.5, Normal(type="normal", mean=0, std=7, low=0, high=25)),
    )
    presets: dict[PresetName, Annotated[float, Field(ge=0, le=1e6)]] = Field(
        default={"neutral": 1.0},
        min_length=1,
        description="a named expression is picked by weight and added to the coefficients",
    )
    action_units: dict[ActionUnit, Fraction] | None = Field(
        default=None,
        description="builtin: a named movement is set to a draw of 0 (rest) to 1 (as far as it "
        "goes), whatever else moves; within [0, 1]",
    )
    co_occurrence: Literal["natural", "independent"] | None = Field(
        default=None,
        description="builtin: natural: coefficients are drawn together as faces move (both sides, "
        "smile with cheeks), each by its own distribution still; independent: each by itself",
    )


class Gaze(BaseModel):
    """Where the eyes look, from straight ahead in the head's frame."""

    model_config = STRICT
    yaw: GazeAngle = _field(-40, 40, " degrees", "> 0: to the image's right", _uniform(-20, 20))
    pitch: GazeAngle = _field(-40, 40, " degrees", "> 0: up", _uniform(-10, 10))


class Neck(BaseModel):
    """How the head turns on the shoulders; the pose above is measured after this turn."""

    model_config = STRICT
    yaw: NeckAngle = _field(-45, 45, " degrees", "> 0: to the image's right", 0.0)
    pitch: NeckAngle = _field(-45, 45, " degrees", "> 0: up", 0.0)
    roll: NeckAngle = _field(-45, 45, " degrees", "> 0: clockwise as seen", 0.0)


class CameraRanges(BaseModel):
    """The pinhole camera."""

    model_config = STRICT
    fov: Fov | None = Field(
        default=None,
        description="field of view over the picture's diagonal; within [1, 120] degrees; "
        "by default [12, 27], and none where `framing` sets it",
    )
    distance: Distance = _field(0.3, 6, " metres", "to the generator's look-at point", 1.08)


class Framing(BaseModel):
    """How large the face is in the picture, and where; sets the field of view in place of `fov`."""

    model_config = STRICT
    face_fraction: FaceFraction = _field(
        0.02,
        2,
        "",
        "height of the mean head's 68 landmarks, seen from the front, over the picture's height",
        _uniform(0.35, 0.65),
    )
    offset: Offset = _field(
        -0.5,
        0.5,
        "",
        "of the look-at point from the picture's centre, in picture's sides; drawn for x (right) "
        "and for y (down)",
        0.0,
    )


class Appearance(BaseModel):
    """builtin: how the identity looks."""

    model_config = STRICT
    skin_tone: ToneAngle = _field(
        -70,
        80,
        " degrees",
        "individual typology angle (ITA): dark -50, light 60",
        _uniform(-50, 60),
    )
    skin_redness: Signed = _field(-1, 1, "", "from pale to flushed", _uniform(-1, 1))
    hair_length: Fraction = _field(0, 1, "", "0 is bald, 1 falls over the ears", _uniform(0, 1))
    hair_tone: Fraction = _field(
        0, 1, "", "melanin of hair and brows: 0 blond, 1 black", _uniform(0, 1)
    )
    hair_redness: Fraction = _field(0, 1, "", "pheomelanin of hair", _uniform(0, 0.5))
    hair_grey: Fraction = _field(
        0,
        1,
        "",
        "share of grey hair",
        Normal(type="normal", mean=0, std=0.3, low=0, high=1),
    )
    brow_density: Fraction = _field(0, 1, "", "0 is faint", _uniform(0.2, 1))
    eye_tone: Fraction = _field(
        0, 1, "", "melanin of the iris: 0 blue, 1 dark brown", _uniform(0, 1)
    )
    lip_redness: Fraction = _field(0, 1, "", "0 as the skin, 1 as lipstick", _uniform(0.1, 0.8))
    wrinkles: Fraction = _field(0, 1, "", "depth of the skin's folds", _uniform(0, 1))
    stubble: Fraction = _field(
        0, 1, "", "shadow of a shaved beard", Normal(type="normal", mean=0, std=0.3, low=0, high=1)
    )
    beard: Fraction = _field(
        0, 1, "", "length of the beard, 0 is none", _sometimes(0.25, _uniform(0.15, 1))
    )
    moustache: Fraction = _field(
        0, 1, "", "length of the moustache, 0 is none", _sometimes(0.3, _uniform(0.2, 1))
    )
    glasses: Fraction = _field(0, 1, "", "worn from 0.5 on", _sometimes(0.25, 1.0))
    lens_tint: Fraction = _field(
        0, 1, "", "of glasses: clear below 0.5, else dark", _sometimes(0.15, 1.0)
    )
    headwear: Fraction = _field(
        0,
        1,
        "",
        "0 none, 0.5 a knit hat, 1 a cap with a brim: the nearest of the three",
        Choice(type="choice", values=(0, 0.5, 1), weights=(88, 6, 6)),
    )
    skin_shine: Fraction = _field(
        0, 1, "", "specular light of the skin: 0 matt, 1 oily", _uniform(0, 1)
    )
    freckles: Fraction = _field(0, 1, "", "on light skin", _sometimes(0.45, _uniform(0, 1)))
    eye_makeup: Fraction = _field(
        0, 1, "", "shadow on the lids and a line at their edge", _sometimes(0.2, _uniform(0.2, 1))
    )
    clothing_tone: Fraction = _field(0, 1, "", "0 dark, 1 bright cloth at the neck", _uniform(0, 1))
    age: Years | None = _field(
        18, 90, " years", "nominal; by default as identity.shape draws it", None
    )
    sex: Coefficient | None = _field(
        -5,
        5,
        " standard deviations",
        "> 0 masculine; by default as identity.shape draws it",
        None,
    )
    ancestry_east_asia: Coefficient | None = _field(
        -5, 5, " standard deviations", "by default as identity.shape draws it", None
    )
    ancestry_africa: Coefficient | None = _field(
        -5, 5, " standard deviations", "by default as identity.shape draws it", None
    )
    co_occurrence: Literal["natural", "independent"] = Field(
        default="natural",
        description="natural: dark hair and dark eyes are commoner with dark skin, each by its own "
        "distribution still (with sampling sobol, by itself); independent: each by itself",
    )


# Fields of `appearance` that set a direction of the head's shape.
HEAD_DIRECTIONS: Final = ("age", "sex", "ancestry_east_asia", "ancestry_africa")


class Light(BaseModel):
    """builtin: what lights the face."""

    model_config = STRICT
    azimuth: Azimuth = _field(
        -180, 180, " degrees", "key light, > 0: from the image's right", _uniform(-80, 80)
    )
    elevation: Elevation = _field(
        -90, 90, " degrees", "key light, > 0: from above", _uniform(-15, 70)
    )
    contrast: Fraction = _field(
        0, 1, "", "0: ambient light alone, 1: key light alone", _uniform(0.2, 0.8)
    )
    temperature: Kelvin = _field(
        1500, 20000, " kelvin", "colour of the key light", _uniform(3000, 9000)
    )
    ambient_temperature: Kelvin = _field(
        1500, 20000, " kelvin", "colour of the sky, of all light but the key", _uniform(3200, 8500)
    )
    size: HalfAngle = _field(
        0.5, 30, " degrees", "apparent radius of the key: of highlights", _uniform(3, 12)
    )
    shadow: Fraction = _field(0, 1, "", "depth of the shadows that the key casts", _uniform(0.7, 1))
    occlusion: Fraction = _field(
        0, 1, "", "depth of the ambient light's shade in folds and hollows", _uniform(0.8, 1)
    )


class Lens(BaseModel):
    """builtin: what the camera adds."""

    model_config = STRICT
    exposure: Stops = _field(
        -4,
        4,
        " stops",
        "brightness",
        Normal(type="normal", mean=0, std=0.3, low=-1, high=1),
    )
    blur: Pixels = _field(
        0,
        20,
        " pixels of 512",
        "std of the blur",
        Normal(type="normal", mean=0, std=0.6, low=0, high=2),
    )
    noise: Fraction = _field(
        0,
        1,
        "",
        "sensor noise, std over full scale",
        Normal(type="normal", mean=0, std=0.015, low=0, high=0.05),
    )
    white_balance: Signed = _field(
        -1,
        1,
        "",
        "error, from blue to orange",
        Normal(type="normal", mean=0, std=0.2, low=-1, high=1),
    )
    contrast: Contrast = _field(0.3, 3, "", "exponent around mid grey", _uniform(0.88, 1.3))
    saturation: Saturation = _field(0, 2, "", "of colours, 1 unchanged", _uniform(0.78, 1.2))
    vignetting: Fraction = _field(
        0,
        1,
        "",
        "loss of light in the corners",
        Normal(type="normal", mean=0, std=0.12, low=0, high=0.35),
    )
    resolution: Resolution = _field(
        0.05,
        1,
        "",
        "side of an earlier, smaller picture over this one's",
        Mixture(type="mixture", weights=(0.8, 0.2), parts=(1.0, _uniform(0.35, 0.9))),
    )
    jpeg: JpegQuality = _field(
        1,
        100,
        "",
        "quality of an earlier compression; 100 is none",
        Mixture(type="mixture", weights=(0.7, 0.3), parts=(100.0, _uniform(40, 95))),
    )
