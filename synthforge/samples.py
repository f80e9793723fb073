"""The table of a sample's tar members, and the JSON of each sample: written and read by this."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT
from synthforge.jobs import Annotation, JobSpec

Encoding = Literal["jpg", "png8", "png8_rgb", "png16", "npy", "json"]


@dataclass(frozen=True)
class Member:
    """One file of a sample.

    Attributes:
        name: of the decoded field.
        suffix: what follows `K.` in the file's name.
        annotation: the annotation that asks for it; None where every sample has it.
        encoding: how the bytes are made.
        dtype: of the decoded array.
        shape: of the decoded array; H, W the picture's, V the mesh's vertices.
        meaning: unit, frame and the value that stands for nothing.
    """

    name: str
    suffix: str
    annotation: Annotation | None
    encoding: Encoding
    dtype: str
    shape: str
    meaning: str


MEMBERS: Final = (
    Member("image", "jpg", None, "jpg", "uint8", "(H, W, 3)", "RGB; image.format jpg"),
    Member("image", "png", None, "png8_rgb", "uint8", "(H, W, 3)", "RGB; image.format png"),
    Member(
        "segmentation",
        "seg.png",
        "segmentation",
        "png8",
        "uint8",
        "(H, W)",
        "class ids; 255 = ignore; hard edges",
    ),
    Member(
        "depth",
        "depth.png",
        "depth",
        "png16",
        "uint16",
        "(H, W)",
        "z along the optical axis, units of 0.1 mm; 0 = nothing there",
    ),
    Member(
        "normal",
        "normal.png",
        "normals",
        "png8_rgb",
        "uint8",
        "(H, W, 3)",
        "round((n + 1) / 2 * 255), camera axes; 0, 0, 0 = nothing there",
    ),
    Member("u", "u.png", "uv", "png16", "uint16", "(H, W)", "1 + round(u * 65534); 0 = none"),
    Member("v", "v.png", "uv", "png16", "uint16", "(H, W)", "1 + round(v * 65534), v up; 0 = none"),
    Member(
        "dense",
        "dense.npy",
        "landmarks_dense",
        "npy",
        "float32",
        "(V, 3)",
        "every mesh vertex, metres, camera axes",
    ),
    Member("meta", "json", None, "json", "object", "", "everything else: SampleMeta"),
)
_BY_SUFFIX: Final = {member.suffix: member for member in MEMBERS}


def members_of(spec: JobSpec) -> tuple[Member, ...]:
    """Return the members that each sample of a job has, in the order of the tar."""
    image_suffix = spec.image.format
    return tuple(
        member
        for member in MEMBERS
        if (member.annotation is None or member.annotation in spec.annotations)
        and (member.name != "image" or member.suffix == image_suffix)
    )


def member_of_suffix(suffix: str) -> Member:
    """Return the member whose file names end in `.suffix`.

    Raises:
        ValueError: no member is called so.
    """
    try:
        return _BY_SUFFIX[suffix]
    except KeyError:
        known = ", ".join(_BY_SUFFIX)
        raise ValueError(f"no member ends in .{suffix}: one of {known} would") from None


def split_member_name(file_name: str) -> tuple[str, str]:
    """Split `000000012.depth.png` into its key and its suffix."""
    key, _, suffix = file_name.partition(".")
    return key, suffix


Row3 = Annotated[tuple[float, float, float], Field(strict=False)]
Row4 = Annotated[tuple[float, float, float, float], Field(strict=False)]
Point2 = Annotated[tuple[float, float], Field(strict=False)]
Point3 = Row3
Floats = Annotated[tuple[float, ...], Field(strict=False)]
Box = Row4


class CameraMeta(BaseModel):
    """The camera that image and every label share."""

    model_config = STRICT
    world2cam: Annotated[tuple[Row4, Row4, Row4, Row4], Field(strict=False)]
    intrinsics_px: Annotated[tuple[Row3, Row3, Row3], Field(strict=False)]


class HeadMeta(BaseModel):
    """The head model's parameters and what the camera sees of the pose."""

    model_config = STRICT
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    betas: Floats
    expression: Floats
    global_orient: Point3
    neck_pose: Point3
    jaw_pose: Point3
    leye_pose: Point3
    reye_pose: Point3
    gaze_left: Point3
    gaze_right: Point3


class LandmarksMeta(BaseModel):
    """The 68 points, iBUG order."""

    model_config = STRICT
    xy_px: Annotated[tuple[Point2, ...], Field(strict=False, min_length=68, max_length=68)]
    xyz_m: Annotated[tuple[Point3, ...], Field(strict=False, min_length=68, max_length=68)]
    jaw_fixed_xyz_m: Annotated[
        tuple[Point3, ...], Field(strict=False, min_length=17, max_length=17)
    ]
    visibility: Annotated[
        tuple[Literal[0, 1, 2], ...], Field(strict=False, min_length=68, max_length=68)
    ]


Visibility = Literal[0, 1, 2]
Share = Annotated[float, Field(ge=0, le=1)]


class EyeMeta(BaseModel):
    """One eye of the subject, whether the lids are open or not."""

    model_config = STRICT
    iris_xy_px: Point2 = Field(description="centre of the iris' outer border, pixels")
    iris_xyz_m: Point3 = Field(description="the same, camera axes, metres")
    iris_radius_m: float = Field(gt=0, description="of the iris' outer border, metres")
    iris_visibility: Visibility = Field(
        description="0 outside the picture, 1 hidden, 2 seen: the pixel there is of the eye's class"
    )
    pupil_xy_px: Point2 = Field(description="centre of the pupil, pixels")
    pupil_xyz_m: Point3 = Field(description="the same, camera axes, metres")
    pupil_radius_m: float = Field(gt=0, description="of the pupil, metres")
    pupil_visibility: Visibility = Field(description="as iris_visibility")
    opening: float = Field(
        ge=0,
        description="mean distance of the two pairs of lid points over the distance of the "
        "corners, all in space: of points 36-41 (right), 42-47 (left)",
    )


class EyesMeta(BaseModel):
    """Both eyes; with `landmarks68`, of heads that have eyeballs."""

    model_config = STRICT
    left: EyeMeta
    right: EyeMeta


class OcclusionMeta(BaseModel):
    """How much of each class something hides; with `segmentation`, by the class' name.

    A class lies at a pixel when the pixel's centre is in one of its triangles, front or back,
    whatever stands before it.
    """

    model_config = STRICT
    whole_px: dict[str, Annotated[int, Field(gt=0)]] = Field(
        description="pixels of the picture at which the class lies"
    )
    hidden: dict[str, Share] = Field(
        description="share of them that show something else: 1 - (pixels of the class in "
        "`K.seg.png`) / whole_px, not below 0"
    )


SkinGroup = Literal["very_light", "light", "intermediate", "tan", "brown", "dark"]
HairColour = Literal["bald", "blond", "brown", "black", "red", "grey"]
HairStyle = Literal["bald", "cropped", "short", "medium", "long"]
EyeColour = Literal["blue", "green", "hazel", "brown"]
FacialHair = Literal["none", "stubble", "moustache", "goatee", "beard"]


class AttributesMeta(BaseModel):
    """What a synthetic face knows of itself, for audits of bias; `builtin` only.

    Words are bands of the numbers beside them, and say how the face was drawn, not who people are.
    """

    model_config = STRICT
    age_years: float | None = Field(default=None, gt=0, description="nominal: 42 exp(0.22 age)")
    sex: float | None = Field(
        default=None, description="standard deviations of the head's direction; > 0 masculine"
    )
    ancestry: dict[str, float] = Field(
        description="standard deviations of the head's directions of ancestry, by name"
    )
    skin_ita_deg: float = Field(
        ge=-90, le=90, description="typology angle of the face's mean albedo: atan((L* - 50) / b*)"
    )
    skin_group: SkinGroup = Field(description="by ITA: > 55, 41, 28, 10, -30, below")
    hair_length: Share
    hair_tone: Share = Field(description="0 blond, 1 black")
    hair_redness: Share
    hair_grey: Share
    hair_colour: HairColour
    hair_style: HairStyle = Field(description="by length: < 0.06, 0.2, 0.45, 0.65, above")
    eye_tone: Share = Field(description="0 blue, 1 dark brown")
    eye_colour: EyeColour
    beard: Share = Field(description="length, 0 none")
    moustache: Share = Field(description="length, 0 none")
    stubble: Share
    facial_hair: FacialHair
    wrinkles: Share
    glasses: Literal["none", "clear", "dark"]
    headwear: Literal["none", "hat", "cap"]


class SampleMeta(BaseModel):
    """`K.json`. Sections are there when their annotation was asked for."""

    model_config = STRICT
    index: int
    identity: int
    split: str
    attempt: int
    width: int
    height: int
    camera: CameraMeta | None = None
    head: HeadMeta | None = None
    landmarks68: LandmarksMeta | None = None
    eyes: EyesMeta | None = Field(
        default=None, description="with `landmarks68`, of heads that have eyeballs"
    )
    occlusion: OcclusionMeta | None = Field(default=None, description="with `segmentation`")
    attributes: AttributesMeta | None = Field(default=None, description="builtin: of the person")
    action_units: dict[str, Share] | None = Field(
        default=None, description="builtin: each movement, 0 at rest, 1 as far as it goes"
    )
    bbox_px: Box | None = None
    bbox_visible_px: Annotated[tuple[int, int, int, int], Field(strict=False)] | None = None
    quality: dict[str, float]
    latent: Floats | None = None

    def to_json(self) -> bytes:
        """Return the member's bytes: keys sorted, no spaces, no NaN."""
        return sample_json(self.model_dump(mode="json", exclude_none=True))


def sample_json(data: dict[str, Any]) -> bytes:
    """Return the canonical bytes of a sample's JSON."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
