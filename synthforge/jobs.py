"""What a user asks for: `JobSpec`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from synthforge.distributions import STRICT
from synthforge.field_errors import SpecError, field_errors
from synthforge.parameters import (
    HEAD_DIRECTIONS,
    Appearance,
    CameraRanges,
    Coefficients,
    Expression,
    Framing,
    Gaze,
    Identity,
    Lens,
    Light,
    Neck,
    PerIndex,
    Pose,
)

MAX_COUNT: Final = 10**8
MAX_SHARDS_PER_SPLIT: Final = 10**6
SPLIT_UNIT: Final = 10**6  # split fractions are kept to 6 decimals, exactly

GeneratorKind = Literal["builtin", "next3d"]
GENERATOR_KINDS: Final[tuple[GeneratorKind, ...]] = GeneratorKind.__args__  # type: ignore[attr-defined]
Annotation = Literal[
    "landmarks68", "landmarks_dense", "segmentation", "depth", "normals", "uv", "camera", "head"
]
ANNOTATIONS: Final[tuple[Annotation, ...]] = Annotation.__args__  # type: ignore[attr-defined]

# Coefficients that a `coefficients` field draws, and the largest count that `per_index` reaches.
# By the head model: a generator's kind, or the name of another head that it draws.
DRAWN_SHAPE: Final[dict[str, int]] = {"builtin": 77, "ict": 100, "next3d": 100}
DRAWN_EXPRESSION: Final[dict[str, int]] = {"builtin": 42, "ict": 43, "next3d": 50}
MAX_SHAPE: Final[dict[str, int]] = {"builtin": 77, "ict": 100, "next3d": 300}
MAX_EXPRESSION: Final[dict[str, int]] = {"builtin": 42, "ict": 43, "next3d": 100}

# Sections and fields that one generator has and the other lacks.
_ONLY: Final[dict[str, tuple[str, ...]]] = {
    "builtin": (
        "appearance",
        "light",
        "lens",
        "generator.head",
        "expression.action_units",
        "expression.co_occurrence",
    ),
    "next3d": (
        "generator.untrained",
        "generator.conditioning",
        "generator.network",
        "generator.precision",
        "generator.parser",
        "quality.detector",
        "quality.max_detector_error",
        "quality.min_opacity",
        "quality.max_depth_residual",
        "identity.truncation_psi",
        "identity.truncation_cutoff",
    ),
}
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "builtin": {
        "appearance": {},
        "light": {},
        "lens": {},
        "expression": {"co_occurrence": "natural"},
    },
    "next3d": {
        "generator": {"untrained": False, "conditioning": "fixed", "precision": "float32"},
        "identity": {"truncation_psi": 0.7, "truncation_cutoff": 14},
    },
}


_DEFAULT_FOV: Final = [12.0, 27.0]  # degrees over the diagonal, where no framing is asked for


PlugInName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class Generator(BaseModel):
    """Who draws the faces; a plain string is its kind."""

    model_config = STRICT
    kind: GeneratorKind = Field(
        default="builtin", description="builtin: our own head and renderer; next3d: licensed assets"
    )
    head: Literal["ict"] | None = Field(
        default=None,
        description="builtin: ict is ICT-FaceKit's (synthforge assets import ict-facekit DIR); "
        "by default our own",
    )
    untrained: bool | None = Field(default=None, description="next3d: random weights, for tests")
    conditioning: Literal["fixed", "render"] | None = Field(
        default=None, description="next3d: the camera that the latent is conditioned on"
    )
    network: Literal["full", "small"] | None = Field(
        default=None, description="next3d, untrained: full for capacity planning, small for tests"
    )
    precision: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None,
        description="next3d: what convolutions compute in; synthforge assets check --precision "
        "says which is safe with your weights",
    )
    parser: PlugInName | None = Field(
        default=None, description="next3d: plug-in that names what the mesh does not know"
    )

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if self.network is not None and not self.untrained:
            raise _error("generator.network", "a trained network has its own size: remove it")
        return self

    @property
    def head_model(self) -> str:
        """Whose coefficients the job draws: a key of `DRAWN_SHAPE`."""
        return self.head or self.kind

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        kind = {"enum": list(GeneratorKind.__args__), "type": "string"}  # type: ignore[attr-defined]
        return {"anyOf": [kind, handler.resolve_ref_schema(handler(schema))]}


class Image(BaseModel):
    """The picture's size and file format."""

    model_config = STRICT
    size: int = Field(default=512, ge=64, le=1024, multiple_of=8, description="side, pixels")
    format: Literal["jpg", "png"] = Field(default="jpg", description="of the picture")
    quality: int = Field(default=95, ge=1, le=100, description="of jpg; png is lossless")


class Quality(BaseModel):
    """When a sample is drawn again."""

    model_config = STRICT
    max_attempts: int = Field(default=20, ge=1, le=1000, description="draws of one sample")
    min_landmarks_inside: float = Field(
        default=0.8, ge=0, le=1, description="share of the 68 landmarks inside the picture"
    )
    min_face: float = Field(
        default=0.02, ge=0, le=1, description="share of the picture that the classes 1-9 cover"
    )
    min_opacity: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="next3d: share of the face that is opaque (default 0.9; untrained: not judged)",
    )
    max_depth_residual: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="next3d: median distance of mesh and volume over the face, metres "
        "(default 0.02; untrained: not judged)",
    )
    detector: PlugInName | None = Field(
        default=None, description="next3d: plug-in whose landmarks must agree: face-alignment"
    )
    max_detector_error: float | None = Field(
        default=None, gt=0, description="next3d: mean distance, pixels of 512 (11 as published)"
    )

    @model_validator(mode="after")
    def _check_detector(self) -> Self:
        if self.max_detector_error is not None and self.detector is None:
            raise _error("quality.max_detector_error", "no quality.detector is named: name one")
        return self


SplitName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Output(BaseModel):
    """Where the dataset goes and how it is cut."""

    model_config = STRICT
    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="s3://bucket/prefix or file:///folder, under a prefix that the service allows; "
        "by default a folder of the job's id",
    )
    samples_per_shard: int = Field(
        default=1000, ge=1, le=100_000, description="at most; whole identities, one split"
    )
    splits: dict[SplitName, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={"train": 1.0}, min_length=1, max_length=16, description="shares that sum to 1"
    )
    reproducibility: Literal["any", "exact"] = Field(
        default="any", description="exact: keep to the fingerprint of the first lease"
    )

    @model_validator(mode="after")
    def _check_splits(self) -> Self:
        units = self.split_units()
        if sum(units.values()) != SPLIT_UNIT or not all(units.values()):
            total = sum(self.splits.values())
            raise _error(
                "output.splits",
                f"they sum to {total:g}: give positive shares of at most 6 decimals that sum to 1",
            )
        return self

    def identities_per_shard(self, views: int) -> int:
        """Return how many whole identities of `views` samples a full shard holds; at least one."""
        return max(1, self.samples_per_shard // views)

    def split_units(self) -> dict[str, int]:
        """Return each split's share in millionths, in the order of the spec."""
        return {name: round(share * SPLIT_UNIT) for name, share in self.splits.items()}


def _default_annotations() -> tuple[Annotation, ...]:
    return ("landmarks68", "segmentation", "depth", "camera", "head")


class JobSpec(BaseModel):
    """A dataset to make. Only `count` is required; every number that varies is a distribution."""

    model_config = STRICT
    count: int = Field(ge=1, le=MAX_COUNT, description="samples")
    name: str = Field(
        default="",
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="for people; changes no byte of a shard",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of every random stream")
    sampling: Literal["random", "sobol"] = Field(
        default="random", description="sobol: scalar parameters cover their ranges evenly"
    )
    generator: Generator = Generator()
    identity: Identity = Identity()
    pose: Pose = Pose()
    expression: Expression = Expression()
    gaze: Gaze = Gaze()
    neck: Neck = Neck()
    camera: CameraRanges = CameraRanges()
    framing: Framing | None = None
    appearance: Appearance | None = None
    light: Light | None = None
    lens: Lens | None = None
    image: Image = Image()
    annotations: tuple[Annotation, ...] = Field(
        default_factory=_default_annotations,
        strict=False,
        max_length=len(ANNOTATIONS),
        description="what each sample is labelled with",
    )
    quality: Quality = Quality()
    output: Output = Output()

    @model_validator(mode="before")
    @classmethod
    def _fit_to_generator(cls, data: Any) -> Any:
        """Read the short form of `generator`, refuse what it lacks, fill in what it has."""
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        if isinstance(filled.get("generator"), str):
            filled["generator"] = {"kind": filled["generator"]}
        kind = _generator_kind(filled)
        if kind not in _DEFAULTS:
            return filled
        _refuse_foreign_fields(filled, kind)
        if filled.get("framing") is None:
            filled = _filled_in(filled, {"camera": {"fov": _DEFAULT_FOV}})
        return _filled_in(filled, _DEFAULTS[kind] | _more_defaults(filled, kind))

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        model = self.generator.head_model
        if len(set(self.annotations)) != len(self.annotations):
            raise _error("annotations", "an annotation is named twice: name each once")
        self._check_framing()
        self._check_directions()
        _check_indices(self.identity.shape, MAX_SHAPE[model], "identity.shape", model)
        _check_indices(
            self.expression.coefficients, MAX_EXPRESSION[model], "expression.coefficients", model
        )
        if not sum(self.expression.presets.values()) > 0:
            raise _error("expression.presets", "all weights are 0: at least one must be positive")
        self._check_num_shards()
        return self

    def _check_framing(self) -> None:
        if self.framing is not None and self.camera.fov is not None:
            raise _error("camera.fov", "framing.face_fraction sets the field of view: give one")
        if self.framing is None and self.camera.fov is None:
            raise _error("camera.fov", "none: give it, or framing.face_fraction")

    def _check_directions(self) -> None:
        if self.generator.head is None or self.appearance is None:
            return
        for name in HEAD_DIRECTIONS:
            if getattr(self.appearance, name) is not None:
                raise _error(f"appearance.{name}", f"the head {self.generator.head!r} has none")

    def _check_num_shards(self) -> None:
        per_shard = self.output.identities_per_shard(self.identity.views) * self.identity.views
        largest = max(self.output.split_units().values()) / SPLIT_UNIT
        if self.count * largest > MAX_SHARDS_PER_SPLIT * per_shard:
            raise _error(
                "output.samples_per_shard",
                f"{self.output.samples_per_shard} would make more than {MAX_SHARDS_PER_SPLIT} "
                "shards a split: raise it",
            )

    def canonical_json(self) -> bytes:
        """Return the spec with defaults filled in, no spaces: one form for one job.

        Keys stand in the order of the model, and in the user's own where the user names them:
        the order of `splits` is the order of the manifest.
        """
        data = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def parse_job_spec(document: bytes | str) -> JobSpec:
    """Read a job spec from JSON text.

    Raises:
        SpecError: naming each field at fault, its value and what would do.
    """
    try:
        return JobSpec.model_validate_json(document)
    except ValidationError as error:
        raise SpecError(field_errors(error, JobSpec)) from None


def _generator_kind(data: Mapping[str, Any]) -> str:
    generator = data.get("generator", {})
    if isinstance(generator, Generator):
        return generator.kind
    return str(generator.get("kind", "builtin")) if isinstance(generator, Mapping) else ""


def _more_defaults(data: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the defaults that depend on whether the network has learnt anything."""
    if kind != "next3d":
        return {}
    generator = data["generator"]
    is_untrained = (
        generator.get("untrained") if isinstance(generator, Mapping) else generator.untrained
    )
    if is_untrained is True:
        return {"generator": _DEFAULTS[kind]["generator"] | {"network": "full"}}
    return {"quality": {"min_opacity": 0.9, "max_depth_residual": 0.02}}


def _refuse_foreign_fields(data: Mapping[str, Any], kind: str) -> None:
    for owner, paths in _ONLY.items():
        for path in paths if owner != kind else ():
            section, _, leaf = path.partition(".")
            held: Any = data.get(section)
            if leaf:
                held = held.get(leaf) if isinstance(held, Mapping) else getattr(held, leaf, None)
            if held is not None:
                raise _error(path, f"the generator {kind!r} has no such field: remove it")


def _filled_in(data: dict[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    for section, fields in defaults.items():
        held = data.get(section)
        if held is None:
            data[section] = dict(fields)
        elif isinstance(held, Mapping):
            given = {name: value for name, value in held.items() if value is not None}
            data[section] = {**fields, **given}
    return data


def _check_indices(coefficients: Coefficients, count: int, path: str, model: str) -> None:
    if not isinstance(coefficients, PerIndex):
        return
    for index in coefficients.per_index:
        if int(index) >= count:
            raise _error(
                f"{path}.per_index.{index}", f"the generator {model!r} has indices 0 to {count - 1}"
            )


def _error(field: str, message: str) -> PydanticCustomError:
    # The message travels as context: braces in it must not be read as a template.
    return PydanticCustomError("job_spec", "{message}", {"field": field, "message": message})
