"""What the shading of a picture reads, as arrays: nothing here knows how it is shaded.

NamedTuples of plain numbers go into a compiled kernel whole; arrays are handed to it one by one
(a tuple of arrays costs a reference count at every access). A backend on a device copies them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

Int8Array = NDArray[np.int8]
Triple = tuple[float, float, float]
Pair = tuple[float, float]

# Materials of faces. Compiled kernels hold these numbers: one that changes here must change the
# kernels' file too, or numba keeps the old machine code.
SKIN: Final = 0
BROW: Final = 1
LIP: Final = 2
LEFT_EYE: Final = 3
RIGHT_EYE: Final = 4
MOUTH: Final = 5
TEETH: Final = 6
HAIR: Final = 7
CLOTH: Final = 8
PLAIN: Final = 9
TONGUE: Final = 10


class Geometry(NamedTuple):
    """One posed head as the camera sees it.

    Attributes:
        faces: (F, 3).
        uv_faces: (F, 3).
        uv: (T, 2).
        face_material: (F,) codes above.
        attributes: (V, NUM_ATTRIBUTES) of workers/generators/builtin/vertex_stage.py.
        ray_matrices: (F, 12), see there.
        face_id: (2H, 2W) int32, the face seen by each quarter of a pixel, -1 none.
        intrinsics: (3, 3) pixels.
        axes: (3, 3) rotation from the resting head's axes to the camera's.
    """

    faces: Int32Array
    uv_faces: Int32Array
    uv: Float32Array
    face_material: UInt8Array
    attributes: Float32Array
    ray_matrices: Float32Array
    face_id: Int32Array
    intrinsics: Float64Array
    axes: Float64Array


class Lights(NamedTuple):
    """`Lighting` (lighting.py), flat: numbers and triples only."""

    key: Triple
    key_rgb: Triple
    key_cosine: float
    sky_rgb: Triple
    ground_rgb: Triple
    window: Triple
    window_rgb: Triple


class SkinLook(NamedTuple):
    """The fine structure of an identity's skin.

    Attributes:
        texels_per_uv: scale of the skin texture over the UV map.
        offset_u: texels; offset_v too.
        mottling_melanin: strength of the melanin's noise; mottling_blood of the blood's.
        freckles: strength.
        pores: strength of the pores' relief.
        stubble_rgb: colour of short hairs in the skin.
        brow_density: cover of the brows' hairs; brow_rgb their colour.
        brow_origin_right: (x, y) metres, of the map's first texel; brow_origin_left too.
        brow_texels_per_m: scale of the brow maps.
        wrinkle_origin: (x, y) metres, of the map's first texel.
        wrinkle_texels_per_m: scale of the wrinkle map.
        lip_rgb: colour of the lips; lip_gloss: of their highlight.
        shine: strength of the skin's highlight; roughness: its width.
    """

    texels_per_uv: float
    offset_u: float
    offset_v: float
    mottling_melanin: float
    mottling_blood: float
    freckles: float
    pores: float
    stubble_rgb: Triple
    brow_density: float
    brow_rgb: Triple
    brow_origin_right: Pair
    brow_origin_left: Pair
    brow_texels_per_m: float
    wrinkle_origin: Pair
    wrinkle_texels_per_m: float
    lip_rgb: Triple
    lip_gloss: float
    shine: float
    roughness: float


class EyeLook(NamedTuple):
    """Both eyes.

    Attributes:
        iris_rgb: colour of the iris; ring_rgb: at the pupil's edge.
        sclera_rgb: colour of the white; caruncle_rgb: of the flesh in the inner corner.
        iris_radius: over the eyeball's radius; pupil_radius too.
        lash_shade: share that the upper lashes take from the eyeball's own colour under them;
            highlights stay.
        pixel: width of a pixel over the eyeball's radius.
    """

    iris_rgb: Triple
    ring_rgb: Triple
    sclera_rgb: Triple
    caruncle_rgb: Triple
    iris_radius: float
    pupil_radius: float
    lash_shade: float
    pixel: float


class HairLook(NamedTuple):
    """Strands run down from the crown.

    Attributes:
        crown: resting metres, from where hair falls.
        grey_share: of strands; grey_rgb their colour.
        contrast: between strands.
        curl: sideways wander of strands, texels; wave: turns of it a texel along.
        gloss: strength of the highlight.
        offset_across: texels; offset_along too.
    """

    crown: Triple
    grey_share: float
    grey_rgb: Triple
    contrast: float
    curl: float
    wave: float
    gloss: float
    offset_across: float
    offset_along: float


class ClothLook(NamedTuple):
    """Clothing: a pattern of two colours.

    Attributes:
        first_rgb: reflectance; second_rgb too.
        pattern: 0 plain, 1 stripes across, 2 stripes down, 3 checks.
        period: metres.
    """

    first_rgb: Triple
    second_rgb: Triple
    pattern: int
    period: float


class MouthLook(NamedTuple):
    """What shows between the lips: reflectances."""

    mouth_rgb: Triple
    teeth_rgb: Triple
    tongue_rgb: Triple


class Maps(NamedTuple):
    """The arrays that the materials look up.

    Attributes:
        skin: (512, 512, 8) int8, the level of `noise.skin_texture` for this picture.
        brows: (2, H, W) cover of the right and left brow's hairs.
        wrinkles: (H, W, 3) slope in x, slope in y, depth.
        folded: (H, W) of `front_maps.folded_cells`: where a look-up finds any.
        fibres: (512, 512, 2) int8, a level of `noise.strand_texture`, for irises.
        strands: (512, 512, 2) int8, the level of `noise.strand_texture` for this picture's hair.
        eye_centres: (2, 3) of the resting eyeballs, right and left, metres.
        eye_to_camera: (2, 3, 3) rotations from the eyeballs' resting axes to the camera's.
        eye_to_head: (2, 3, 3) rotations from the eyeballs' resting axes to the head's.
        eye_openness: (2, 32, 32) share of open sky over the eyeball's front, over head x and y
            from -1 to 1, under lids at rest.
        to_resting_lids: (2, 2) of `lids.to_resting_lids`.
    """

    skin: Int8Array
    brows: Float32Array
    wrinkles: Float32Array
    folded: UInt8Array
    fibres: Int8Array
    strands: Int8Array
    eye_centres: Float64Array
    eye_to_camera: Float64Array
    eye_to_head: Float64Array
    eye_openness: Float32Array
    to_resting_lids: Float64Array


class Look(NamedTuple):
    """All materials of one face."""

    skin: SkinLook
    eyes: EyeLook
    hair: HairLook
    cloth: ClothLook
    mouth: MouthLook
    maps: Maps


def triple(values: Float64Array) -> Triple:
    """Return three numbers of an array as Python floats."""
    return float(values[0]), float(values[1]), float(values[2])
