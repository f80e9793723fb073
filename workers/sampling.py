"""Every random draw there is: spec, index and attempt in, the parameters of a face out.

Each parameter has a stream of its own name; a draw is one uniform through an inverse CDF. So a
changed count, output or other parameter moves no draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np

from synthforge.distributions import Choice, Distribution, quantile
from synthforge.jobs import DRAWN_EXPRESSION, DRAWN_SHAPE, JobSpec
from synthforge.parameters import HEAD_DIRECTIONS, Appearance, Coefficients, PerIndex
from synthforge.truths import direction_of
from workers.camera import (
    fov_for_height,
    head_rotation,
    place_camera,
    rotation_to_axis_angle,
    turn,
)
from workers.sobol import sobol_uniform
from workers.streams import Streams
from workers.types import Camera, FaceParams, Float32Array, Float64Array, Latent, Topology

_SAMPLE_FIELDS: Final = (
    "pose.yaw",
    "pose.pitch",
    "pose.roll",
    "camera.fov",
    "camera.distance",
    "expression.jaw_open",
    "gaze.yaw",
    "gaze.pitch",
    "neck.yaw",
    "neck.pitch",
    "neck.roll",
)
PRESET_STREAM: Final = "expression.preset"
UNIT_FIELD: Final = "expression.action_units."
SHAPE_FIELD: Final = "identity.shape"
EXPRESSION_FIELD: Final = "expression.coefficients"
# The order is that of the Sobol dimensions: new names go to the end, or old draws would move.
# Identity and sample scalars share no dimension: with one view an identity, they share the point.
SAMPLE_SCALARS: Final = (
    *_SAMPLE_FIELDS,
    PRESET_STREAM,
    "light.azimuth",
    "light.elevation",
    "light.contrast",
    "light.temperature",
    "lens.exposure",
    "lens.blur",
    "lens.noise",
    "framing.face_fraction",
    "framing.offset_x",
    "framing.offset_y",
    "light.ambient_temperature",
    "light.size",
    "light.shadow",
    "light.occlusion",
    "lens.white_balance",
    "lens.contrast",
    "lens.saturation",
    "lens.vignetting",
    "lens.resolution",
    "lens.jpeg",
)
_DRAWN_TWICE: Final = {"offset_x": "offset", "offset_y": "offset"}  # scalar: its field
IDENTITY_SCALARS: Final = tuple(
    f"appearance.{name}" for name in Appearance.model_fields if name != "co_occurrence"
)
# With `appearance.co_occurrence: natural`: correlation of the underlying normals with those of
# the skin's tone, which is high where skin is light. Set by hand: blond on dark skin is rare.
SKIN_TONE: Final = "appearance.skin_tone"
WITH_SKIN: Final = {"appearance.hair_tone": -0.8, "appearance.eye_tone": -0.75}
LATENT_STREAM: Final = "identity.latent"
_STANDARD_NORMAL: Final = NormalDist()
_LEAST_UNIFORM: Final = 2.0**-53  # 0 itself has no quantile
_MOST_UNIFORM: Final = 1.0 - 2.0**-53
MOST_MOVED: Final = 3.0  # standard deviations: sums of draws and presets go no further
_FIRST_IDENTITY_DIMENSION: Final = 32  # of the 64; samples have those below


@dataclass(frozen=True)
class Rig:
    """What a generator's head needs of a draw.

    Attributes:
        look_at_m: (3,) world point that cameras look at.
        face_height_m: of the mean head's 68 landmarks, seen from the front.
        num_betas: length of the shape vector.
        num_expression: length of the expression vector.
        presets: (E,) coefficients of each named expression.
        num_latent: length of the identity's latent; 0 where there is none.
        units: of each action unit, the coefficients it sets and their values where it is 1.
        coupling: (E, E) of movements that occur together; None where none is known.
        directions: index of each shape direction that `appearance` may set.
        settled: given betas, expression and the jaw's angle (radians), the expression in which no
            lid or lip passes its counterpart; None where the head does not know.
    """

    look_at_m: Float64Array
    face_height_m: float
    num_betas: int
    num_expression: int
    presets: Mapping[str, Float32Array]
    num_latent: int = 0
    units: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    coupling: Float64Array | None = None
    directions: Mapping[str, int] = field(default_factory=dict)
    settled: Callable[[Float32Array, Float32Array, float], Float32Array] | None = None


def face_height(rest: Float64Array, topology: Topology) -> float:
    """Return the height of the box around the 68 landmarks of a head at rest, metres.

    Args:
        rest: (V, 3), +y up.
        topology: its faces and landmarks; of the contour, the frontal one.
    """
    embedding = topology.landmarks
    faces = np.concatenate([embedding.landmark_face, embedding.jaw_fixed_face])
    bary = np.concatenate([embedding.landmark_bary, embedding.jaw_fixed_bary])
    points = (rest[topology.faces[faces]] * bary[..., None]).sum(1)
    return float(np.ptp(points[:, 1]))


def sample_face(spec: JobSpec, rig: Rig, index: int, attempt: int, split: str) -> FaceParams:
    """Draw one attempt at one sample.

    Args:
        spec: of the job; enters only as the distributions that draws pass through.
        rig: of the generator's head.
        index: of the sample.
        attempt: 0 at first; identity streams do not see it.
        split: that the plan gives the sample's identity.

    Raises:
        ValueError: the spec names an expression that the generator does not have.
    """
    identity = index // spec.identity.views
    streams = Streams(spec.seed, identity, index, attempt)
    scalars = _draw_scalars(spec, streams)
    model = spec.generator.head_model
    neck = turn(scalars["neck.yaw"], scalars["neck.pitch"], scalars["neck.roll"])
    eye_pose = _axis_angle(turn(scalars["gaze.yaw"], scalars["gaze.pitch"]))
    betas = _draw_coefficients(
        spec.identity.shape,
        streams.identity_uniforms(SHAPE_FIELD, rig.num_betas),
        DRAWN_SHAPE[model],
    )
    jaw_rad = float(np.radians(scalars["expression.jaw_open"]))
    uniforms = streams.sample_uniforms(EXPRESSION_FIELD, rig.num_expression)
    if spec.expression.co_occurrence == "natural" and rig.coupling is not None:
        uniforms = _coupled(uniforms, rig.coupling)
    drawn_expression = _draw_coefficients(
        spec.expression.coefficients, uniforms, DRAWN_EXPRESSION[model]
    )
    directed = _directed(betas, rig, scalars)
    return FaceParams(
        index=index,
        identity=identity,
        attempt=attempt,
        split=split,
        betas=directed,
        drawn_betas=betas,
        expression=_moved(spec, rig, scalars, drawn_expression, directed, jaw_rad),
        drawn_expression=drawn_expression,
        neck_pose=_axis_angle(neck),
        jaw_pose=np.array([jaw_rad, 0, 0], dtype=np.float32),
        leye_pose=eye_pose,
        reye_pose=eye_pose,
        yaw_deg=scalars["pose.yaw"],
        pitch_deg=scalars["pose.pitch"],
        roll_deg=scalars["pose.roll"],
        camera=_camera(spec, rig, scalars, neck),
        scalars=scalars,
        streams=streams,
        latent=_draw_latent(spec, rig.num_latent, streams) if rig.num_latent else None,
    )


def _camera(spec: JobSpec, rig: Rig, scalars: Mapping[str, float], neck: Float64Array) -> Camera:
    distance = scalars["camera.distance"]
    if spec.framing is None:
        fov, offset = scalars["camera.fov"], (0.0, 0.0)
    else:
        fov = fov_for_height(scalars["framing.face_fraction"], rig.face_height_m, distance)
        offset = scalars["framing.offset_x"], scalars["framing.offset_y"]
    return place_camera(
        head_rotation(scalars["pose.yaw"], scalars["pose.pitch"], scalars["pose.roll"]),
        neck,
        rig.look_at_m,
        distance,
        fov,
        width_px=spec.image.size,
        height_px=spec.image.size,
        offset=offset,
    )


def _draw_latent(spec: JobSpec, count: int, streams: Streams) -> Latent:
    psi, cutoff = spec.identity.truncation_psi, spec.identity.truncation_cutoff
    assert psi is not None  # noqa: S101 - filled in for every generator with a latent
    assert cutoff is not None  # noqa: S101
    uniforms = streams.identity_uniforms(LATENT_STREAM, count)
    z = [_STANDARD_NORMAL.inv_cdf(max(float(u), _LEAST_UNIFORM)) for u in uniforms]
    return Latent(np.array(z, dtype=np.float32), psi, cutoff)


def _coupled(uniforms: Float64Array, coupling: Float64Array) -> Float64Array:
    """Make independent uniform numbers hang together; each stays uniform (a Gaussian copula)."""
    normal = np.array([_STANDARD_NORMAL.inv_cdf(max(u, _LEAST_UNIFORM)) for u in uniforms.tolist()])
    mixed = (coupling * normal).sum(axis=1)
    return np.array([min(_STANDARD_NORMAL.cdf(z), _MOST_UNIFORM) for z in mixed.tolist()])


def _directed(betas: Float32Array, rig: Rig, scalars: Mapping[str, float]) -> Float32Array:
    """Set the directions of shape that `appearance` asks for by name."""
    out = betas
    for name in HEAD_DIRECTIONS:
        value = scalars.get(f"appearance.{name}")
        if value is not None and name in rig.directions:
            out = out.copy() if out is betas else out
            out[rig.directions[name]] = direction_of(value) if name == "age" else value
    return out


def _moved(
    spec: JobSpec,
    rig: Rig,
    scalars: Mapping[str, float],
    drawn: Float32Array,
    betas: Float32Array,
    jaw_rad: float,
) -> Float32Array:
    """Add the preset, set the units that are asked for, and keep what results from breaking."""
    preset = _preset(spec, rig, scalars[PRESET_STREAM])
    reach = np.maximum(np.abs(drawn), np.maximum(np.abs(preset), MOST_MOVED))
    out = np.clip(drawn + preset, -reach, reach).astype(np.float32)
    for unit in spec.expression.action_units or ():
        for index, full in rig.units.get(unit, ()):
            out[index] = scalars[UNIT_FIELD + unit] * full
    return out if rig.settled is None else rig.settled(betas, out, jaw_rad)


def _draw_scalars(spec: JobSpec, streams: Streams) -> dict[str, float]:
    scalars = {}
    units = tuple(f"{UNIT_FIELD}{name}" for name in spec.expression.action_units or ())
    for names, of_identity in ((IDENTITY_SCALARS, True), ((*SAMPLE_SCALARS, *units), False)):
        for name in names:
            distribution = distribution_of(spec, name)
            if distribution is not None:
                u = _scalar_uniform(spec, streams, name, of_identity=of_identity)
                scalars[name] = quantile(distribution, u)
    return scalars


def _scalar_uniform(spec: JobSpec, streams: Streams, name: str, *, of_identity: bool) -> float:
    if of_identity:
        u = _identity_uniform(spec, streams, name)
        point = streams.identity
        dimension = _FIRST_IDENTITY_DIMENSION + IDENTITY_SCALARS.index(name)
    else:
        u = float(streams.sample_uniforms(name, 1)[0])
        if name.startswith(UNIT_FIELD):  # beyond the dimensions of the sequence
            return u
        point, dimension = streams.index, SAMPLE_SCALARS.index(name)
    covers = spec.sampling == "sobol" and (of_identity or streams.attempt == 0)
    return sobol_uniform(spec.seed, name, dimension, point, u) if covers else u


def _identity_uniform(spec: JobSpec, streams: Streams, name: str) -> float:
    u = float(streams.identity_uniforms(name, 1)[0])
    correlation = WITH_SKIN.get(name)
    if correlation is None or spec.appearance is None:
        return u
    if spec.appearance.co_occurrence == "independent":
        return u
    skin = float(streams.identity_uniforms(SKIN_TONE, 1)[0])
    own = math.sqrt(1.0 - correlation**2)
    return float(_coupled(np.array([skin, u]), np.array([[correlation, own]]))[0])


def distribution_of(spec: JobSpec, name: str) -> Distribution | None:
    """Return the distribution of a scalar by its dotted name; None where the job draws none.

    An expression's preset is drawn as its place in `expression.presets`.
    """
    if name == PRESET_STREAM:
        return _preset_choice(tuple(spec.expression.presets.values()))
    if name.startswith(UNIT_FIELD):
        return (spec.expression.action_units or {}).get(name.removeprefix(UNIT_FIELD))
    section, _, scalar = name.partition(".")
    ranges = getattr(spec, section)
    if ranges is None:
        return None
    return getattr(ranges, _DRAWN_TWICE.get(scalar, scalar))  # type: ignore[no-any-return]


def coefficient_distributions(spec: JobSpec) -> dict[str, Distribution]:
    """Return what a job's coefficients are drawn from: a field's name, or that and an index."""
    found: dict[str, Distribution] = {}
    for name, coefficients in (
        (SHAPE_FIELD, spec.identity.shape),
        (EXPRESSION_FIELD, spec.expression.coefficients),
    ):
        if isinstance(coefficients, PerIndex):
            for index, distribution in coefficients.per_index.items():
                found[f"{name}.{index}"] = distribution
        else:
            found[name] = coefficients
    return found


def drawn_coefficients(spec: JobSpec, face: FaceParams, name: str) -> Float32Array:
    """Return the values that a face drew for a name of `coefficient_distributions`."""
    is_shape = name.startswith(SHAPE_FIELD)
    values = face.drawn_betas if is_shape else face.drawn_expression
    index = name.removeprefix(SHAPE_FIELD if is_shape else EXPRESSION_FIELD)
    if index:
        return values[int(index[1:]) : int(index[1:]) + 1]
    counts = DRAWN_SHAPE if is_shape else DRAWN_EXPRESSION
    return values[: counts[spec.generator.head_model]]


def _draw_coefficients(
    coefficients: Coefficients, uniforms: Float64Array, num_drawn: int
) -> Float32Array:
    """Shape a stream's numbers; coefficient k always takes the k-th number of its stream."""
    values = np.zeros(len(uniforms), dtype=np.float32)
    if isinstance(coefficients, PerIndex):
        for name, distribution in coefficients.per_index.items():
            values[int(name)] = quantile(distribution, float(uniforms[int(name)]))
        return values
    for index in range(min(num_drawn, len(uniforms))):
        values[index] = quantile(coefficients, float(uniforms[index]))
    return values


@lru_cache(maxsize=64)
def _preset_choice(weights: tuple[float, ...]) -> Choice:
    return Choice(type="choice", values=tuple(map(float, range(len(weights)))), weights=weights)


def _preset(spec: JobSpec, rig: Rig, place: float) -> Float32Array:
    name = list(spec.expression.presets)[int(place)]
    try:
        return rig.presets[name]
    except KeyError:
        known = ", ".join(rig.presets)
        raise ValueError(f"expression.presets: {name!r} is not one of {known}") from None


def _axis_angle(rotation: Float64Array) -> Float32Array:
    return rotation_to_axis_angle(rotation).astype(np.float32)
