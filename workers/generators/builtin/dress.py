"""Who is seen: an identity's colours, as vertex attributes and as the materials' parameters."""

from __future__ import annotations

from functools import reduce

import numpy as np

from synthforge.truths import BALD_BELOW
from workers.generators.builtin.colours import (
    BLOOD_EXTINCTION,
    GREY_HAIR,
    MELANIN_EXTINCTION,
    hair_reflectance,
    hue_colour,
    iris_reflectance,
    skin_reflectance,
    thing_hue,
)
from workers.generators.builtin.fields import FaceFields
from workers.generators.builtin.noise import (
    FULL,
    NUM_LEVELS,
    SKIN_TEXEL_M,
    UNIT,
    skin_texture,
    strand_texture,
)
from workers.generators.builtin.shading_inputs import (
    ClothLook,
    EyeLook,
    HairLook,
    Look,
    Maps,
    MouthLook,
    SkinLook,
    triple,
)
from workers.generators.builtin.surface import OPEN_JAW_DEG, HeadSurface
from workers.generators.builtin.vertex_stage import (
    ALBEDO,
    BROW,
    FRECKLES,
    LIPS,
    NUM_ATTRIBUTES,
    OIL,
    REST,
    STUBBLE,
    WRINKLE,
)
from workers.generators.builtin.worn import WornParts, lens_vertices
from workers.types import FaceParams, Float32Array, Float64Array

HAIR_TEXEL_M = 0.00037
HAIRLINE_SHADE = 0.55  # cover of the short hairs at the hairline
NUM_WAVES = 5
WAVE_LENGTH_M = (0.035, 0.12)
CARUNCLE_RGB = np.array([0.42, 0.21, 0.18])  # the flesh of the eyes' inner corners
AMBER_RGB = np.array([0.10, 0.06, 0.02])  # about the pupil of eyes that are no darker
WHITE_RGB = np.array([0.66, 0.62, 0.585])
YELLOWED_WHITE_RGB = np.array([0.66, 0.56, 0.485])
# What of that comes back past lids, lashes and tears: in photographs the white is about as bright
# as light skin around it (docs/head.md, version 9).
WHITE_SHARES = (0.32, 0.82)
EYE_RADIUS_M = 0.012  # of people: the iris keeps its size in a model's larger eyeball
EYE_SHADOW_M = (0.017, 0.011)  # half its width, and its height above the eyeball's centre
YOUNG_FOLDS = 0.15  # share of their depth that folds have in the youngest skin


def vertex_attributes(
    params: FaceParams, surface: HeadSurface, ageing: float | None
) -> Float32Array:
    """Return (V, NUM_ATTRIBUTES) with all that depends on the identity alone filled in.

    Args:
        params: of the face.
        surface: of the head.
        ageing: of `wrinkle_depth`.
    """
    scalars, fields = params.scalars, surface.fields
    out = np.zeros((len(surface.rest), NUM_ATTRIBUTES), np.float32)
    out[:, OIL], out[:, BROW] = fields.oil, fields.brow
    has_hair = scalars["appearance.hair_length"] >= BALD_BELOW
    out[:, STUBBLE] = np.float32(scalars["appearance.stubble"]) * fields.beard
    out[:, STUBBLE] += np.float32(HAIRLINE_SHADE * has_hair) * surface.scalp
    out[:, LIPS], out[:, FRECKLES] = fields.lips, fields.freckles
    out[:, WRINKLE] = np.float32(wrinkle_depth(params, ageing)) * fields.wrinkles
    out[:, REST : REST + 3] = surface.rest
    out[:, ALBEDO : ALBEDO + 3] = _vertex_colours(params, surface)
    return out


def wrinkle_depth(params: FaceParams, ageing: float | None) -> float:
    """Return how deep a face's folds are, 0 to 1: what was drawn, and less of it in the young.

    Args:
        params: of the face.
        ageing: standard deviations of the head's direction of age; None where it has none.
    """
    drawn = params.scalars["appearance.wrinkles"]
    if ageing is None:
        return drawn
    old = 1.0 / (1.0 + np.exp(-1.6 * ageing))
    return float(drawn * (YOUNG_FOLDS + (1.0 - YOUNG_FOLDS) * old))


def occlusion(params: FaceParams, surface: HeadSurface) -> Float32Array:
    """Return (V,) share of open sky for how far this face's mouth is open."""
    opening = float(np.rad2deg(np.linalg.norm(params.jaw_pose))) / OPEN_JAW_DEG
    share = np.float32(min(max(opening, 0.0), 1.3))
    closed, opened = surface.occlusion
    closed = np.maximum(closed, surface.behind_lips * opened)
    depth = np.float32(params.scalars["light.occlusion"])
    open_sky = np.clip(closed + share * (opened - closed), 0.0, 1.0)
    return np.asarray(1.0 - depth * (1.0 - open_sky), dtype=np.float32)


def identity_look(
    params: FaceParams,
    surface: HeadSurface,
    eye_turns: tuple[Float64Array, Float64Array],
    to_resting_lids: Float64Array,
) -> Look:
    """Return the materials of a face.

    Args:
        params: of the sample.
        surface: of the head.
        eye_turns: (2, 3, 3) rotations of right and left eye to the camera's and to the head's axes.
        to_resting_lids: (2, 2) of `lids.to_resting_lids`.
    """
    pixel_m = _pixel_m(params, surface)
    level = _level(pixel_m, SKIN_TEXEL_M)
    return Look(
        skin=_skin(params, surface),
        eyes=_eyes(params, pixel_m, surface.eye_radius),
        hair=_hair(params, surface),
        cloth=_cloth(params),
        mouth=MouthLook(
            mouth_rgb=(0.17, 0.042, 0.040), teeth_rgb=_teeth(params), tongue_rgb=_tongue(params)
        ),
        maps=Maps(
            skin=skin_texture()[level],
            brows=surface.brows.texels[min(level, len(surface.brows.texels) - 1)],
            wrinkles=surface.wrinkles.texels,
            folded=surface.folded,
            fibres=strand_texture()[1],
            strands=strand_texture()[_level(pixel_m, HAIR_TEXEL_M)],
            eye_centres=surface.eye_centres,
            eye_to_camera=np.ascontiguousarray(eye_turns[0]),
            eye_to_head=np.ascontiguousarray(eye_turns[1]),
            eye_openness=surface.eye_openness,
            to_resting_lids=to_resting_lids,
        ),
    )


def _pixel_m(params: FaceParams, surface: HeadSurface) -> float:
    """Width of a pixel on the face, metres."""
    camera = params.camera
    centre = np.append(surface.eye_centres.mean(0), 1.0)
    depth = max(float(camera.world2cam[2] @ centre), 0.05)
    return depth / float(camera.intrinsics_px[0, 0])


def _level(pixel_m: float, texel_m: float) -> int:
    return int(np.clip(np.rint(np.log2(pixel_m / texel_m)), 0, NUM_LEVELS - 1))


def _vertex_colours(params: FaceParams, surface: HeadSurface) -> Float32Array:
    """(V, 3) reflectances: skin by melanin and blood, hair by its tone."""
    scalars = params.scalars
    skin = _made_up(params, surface, skin_albedo(params, surface.rest, surface.fields))
    hair = hair_reflectance(scalars["appearance.hair_tone"], scalars["appearance.hair_redness"])
    colours = np.where(surface.hair_vertices[:, None] > 0, hair, skin)
    if surface.worn is not None:
        _colour_worn(params, surface.worn, hair, colours)
    return np.clip(colours, 0.002, 0.95).astype(np.float32)


def _made_up(params: FaceParams, surface: HeadSurface, skin: Float64Array) -> Float64Array:
    """Paint (V, 3) skin: shadow on the upper lids, a dark line at the edge of both."""
    amount = params.scalars["appearance.eye_makeup"]
    if not amount:
        return skin
    u = params.streams.identity_uniforms("texture.eye_makeup", 3)
    paint = hue_colour(thing_hue(u[0]), 0.7 * u[1], 0.03 + 0.12 * u[2])
    fields, centres = surface.fields, surface.eye_centres
    apart = surface.rest[:, None, :2] - centres[None, :, :2]
    above = apart[..., 1] / EYE_SHADOW_M[1]
    away = (apart[..., 0] / EYE_SHADOW_M[0]) ** 2 + (above - 1.0) ** 2
    shape = np.exp(-np.minimum(away, 50.0)) * (above > 0)  # beyond 50 doubles would underflow
    lids = fields.skin * (1.0 - fields.brow) * shape.max(axis=1)
    edge = fields.lid_edge.astype(np.float64)
    share = np.clip(amount * (0.75 * lids + 0.9 * edge), 0.0, 0.9)[:, None]
    return np.asarray(skin + (paint - skin) * share)


def skin_albedo(params: FaceParams, rest: Float64Array, fields: FaceFields) -> Float64Array:
    """Return (N, 3) linear reflectances of skin, by melanin and blood.

    Args:
        params: of the face.
        rest: (N, 3) points of the head at rest, metres.
        fields: (N,) masks there.
    """
    u = params.streams.identity_uniforms("texture.skin", 6)
    redness = params.scalars["appearance.skin_redness"]
    base = skin_reflectance(params.scalars["appearance.skin_tone"], redness)
    patches = _waves(params, rest)
    dark_skin = 1.0 - min(base[1] / 0.3, 1.0)
    melanin = (0.20 + 0.45 * u[0]) * fields.socket + 0.10 * fields.neck + 0.05 * patches[0]
    melanin += dark_skin * 0.25 * fields.lid_edge
    blood = (0.22 + 0.25 * u[1] + 0.16 * redness) * fields.flush + 0.05 * patches[1]
    blood += 0.18 * u[2] * fields.socket - 0.08
    extinction = np.multiply.outer(melanin, MELANIN_EXTINCTION)
    extinction += np.multiply.outer(blood, BLOOD_EXTINCTION)
    lashes = 1.0 - (0.3 + 0.4 * u[3]) * fields.lid_edge
    return np.asarray(base * np.exp(-extinction) * lashes[:, None])


def _colour_worn(
    params: FaceParams, worn: WornParts, hair: Float64Array, colours: Float64Array
) -> None:
    """Beards are redder than hair; frames are mostly dark, hats of any colour."""
    u = params.streams.identity_uniforms("appearance.worn_colours", 9)
    beard = hair * (1.0 + 0.5 * u[0] * np.array([1.0, 0.35, 0.1]))
    colours[worn.beard_outer] = colours[worn.beard_inner] = beard
    hat = hue_colour(thing_hue(u[1]), 0.7 * u[2], 0.02 + 0.45 * u[3] ** 2)
    colours[worn.hat_outer] = colours[worn.hat_inner] = hat
    colours[worn.brim] = 0.8 * hat
    is_plain = u[4] < 0.65
    frame = np.full(3, 0.015 + 0.05 * u[5]) if is_plain else hue_colour(u[6], 0.8 * u[7], 0.12)
    colours[worn.glasses] = frame
    colours[lens_vertices(worn)] = 0.012 + 0.03 * u[8] * np.array([1.0, 0.8, 0.6])


def _waves(params: FaceParams, rest: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Two (V,) fields of soft patches, standard deviation about 1."""
    stream = params.streams.of_identity("texture.patches")
    out = []
    for _ in range(2):
        direction = stream.standard_normal((3, NUM_WAVES))
        direction /= np.linalg.norm(direction, axis=0)
        low, high = WAVE_LENGTH_M
        length = low + (high - low) * stream.random(NUM_WAVES)
        phase = 2.0 * np.pi * stream.random(NUM_WAVES)
        waves = np.cos((rest @ (direction * (2.0 * np.pi / length)) + phase).astype(np.float32))
        total = reduce(np.add, waves.T)  # column by column: along rows of five a sum takes long
        out.append(total * np.sqrt(2.0 / NUM_WAVES))
    return out[0], out[1]


def _skin(params: FaceParams, surface: HeadSurface) -> SkinLook:
    scalars = params.scalars
    u = params.streams.identity_uniforms("texture.freckles", 8)
    base = skin_reflectance(scalars["appearance.skin_tone"], scalars["appearance.skin_redness"])
    tone, grey = scalars["appearance.hair_tone"], scalars["appearance.hair_grey"]
    hairs = hair_reflectance(max(tone, 0.25), scalars["appearance.hair_redness"])
    hairs = hairs + (0.6 * GREY_HAIR - hairs) * 0.8 * grey**2
    light_skin = min(float(base[1]) / 0.3, 1.0)
    return SkinLook(
        texels_per_uv=surface.texels_per_uv,
        offset_u=512.0 * u[0],
        offset_v=512.0 * u[1],
        mottling_melanin=(0.02 + 0.04 * u[2]) / UNIT,
        mottling_blood=(0.015 + 0.035 * u[3]) / UNIT,
        freckles=0.81 * scalars["appearance.freckles"] * light_skin / FULL,
        pores=(0.02 + 0.05 * u[5]) / UNIT,
        stubble_rgb=triple(0.35 * hairs + 0.25 * base * np.array([0.75, 0.9, 1.0])),
        brow_density=scalars["appearance.brow_density"],
        brow_rgb=triple(np.minimum(0.42 * hairs, 0.36 * base)),
        brow_origin_right=surface.brows.origins_m[0],
        brow_origin_left=surface.brows.origins_m[1],
        brow_texels_per_m=1.0 / surface.brows.texel_m,
        wrinkle_origin=surface.wrinkles.origin_m,
        wrinkle_texels_per_m=1.0 / surface.wrinkles.texel_m,
        lip_rgb=triple(_lips(params, base)),
        lip_gloss=0.7 + 1.0 * u[6],
        shine=0.35 + 0.9 * scalars["appearance.skin_shine"],
        roughness=0.42 + 0.12 * u[6],
    )


def _lips(params: FaceParams, base: Float64Array) -> Float64Array:
    """Lips show blood through thin skin; far up the range they are painted."""
    redness = params.scalars["appearance.lip_redness"]
    u = params.streams.identity_uniforms("texture.lips", 3)
    natural = base * np.exp(-(0.10 + 0.95 * redness) * BLOOD_EXTINCTION - 0.18 * MELANIN_EXTINCTION)
    paint = hue_colour(0.96 + 0.06 * u[0], 0.8 + 0.2 * u[1], 0.05 + 0.10 * u[2])
    share = 0.75 * np.clip((redness - 0.6) / 0.4, 0.0, 1.0)
    return np.asarray(natural + (paint - natural) * share)


def _eyes(params: FaceParams, pixel_m: float, radius_m: float) -> EyeLook:
    u = params.streams.identity_uniforms("texture.eyes", 7)
    iris_radius, pupil_radius = iris_radii(params, radius_m)
    iris = iris_reflectance(params.scalars["appearance.eye_tone"])
    ring = iris + (AMBER_RGB - iris) * 0.55 * u[0] if iris[2] > AMBER_RGB[2] else 0.8 * iris
    yellowed = WHITE_RGB + (YELLOWED_WHITE_RGB - WHITE_RGB) * u[1]
    darkest, lightest = WHITE_SHARES
    white = (darkest + (lightest - darkest) * u[5]) * yellowed
    return EyeLook(
        iris_rgb=triple(iris * (0.85 + 0.3 * u[2])),
        ring_rgb=triple(ring),
        sclera_rgb=triple(white),
        caruncle_rgb=triple((0.7 + 0.6 * u[6]) * CARUNCLE_RGB),
        iris_radius=iris_radius,
        pupil_radius=pupil_radius,
        lash_shade=0.45 + 0.45 * u[4],
        pixel=pixel_m / radius_m,
    )


def iris_radii(params: FaceParams, eye_radius_m: float) -> tuple[float, float]:
    """Return the radii of iris and pupil over the eyeball's: one the identity's, one of now."""
    u = params.streams.identity_uniforms("texture.eyes", 5)
    pupil = params.streams.sample_uniforms("eyes.pupil", 1)
    share = EYE_RADIUS_M / eye_radius_m
    return (0.475 + 0.035 * float(u[3])) * share, (0.12 + 0.13 * float(pupil[0])) * share


def _hair(params: FaceParams, surface: HeadSurface) -> HairLook:
    u = params.streams.identity_uniforms("texture.hair", 6)
    return HairLook(
        crown=triple(surface.crown + np.array([0.03 * (u[0] - 0.5), 0.0, 0.0])),
        grey_share=params.scalars["appearance.hair_grey"] ** 1.4,
        grey_rgb=triple(GREY_HAIR),
        contrast=0.16 + 0.2 * u[1],
        curl=16.0 * u[2] ** 2,
        wave=0.004 + 0.022 * u[2],
        gloss=0.5 + 1.1 * u[3],
        offset_across=512.0 * u[4],
        offset_along=512.0 * u[5],
    )


def _cloth(params: FaceParams) -> ClothLook:
    u = params.streams.identity_uniforms("appearance.clothing", 8)
    pattern = int(u[6] * 6.0)
    bright = params.scalars["appearance.clothing_tone"]
    return ClothLook(
        first_rgb=triple(hue_colour(thing_hue(u[0]), 0.9 * u[1], 0.02 + 0.6 * bright**2)),
        second_rgb=triple(hue_colour(thing_hue(u[3]), 0.9 * u[4], 0.02 + 0.6 * u[5])),
        pattern=pattern if pattern <= 3 else 0,
        period=0.006 + 0.03 * u[7],
    )


def _teeth(params: FaceParams) -> tuple[float, float, float]:
    u = params.streams.identity_uniforms("texture.teeth", 1)
    return triple(np.array([0.72, 0.67, 0.57]) * (0.75 + 0.3 * u[0]))


def _tongue(params: FaceParams) -> tuple[float, float, float]:
    u = params.streams.identity_uniforms("texture.tongue", 1)
    return triple(np.array([0.42, 0.15, 0.14]) * (0.8 + 0.4 * u[0]))
