"""Pictures of the embedded head: same bytes, right colours, light from where it was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthforge.conventions import CLASS_IDS
from synthforge.jobs import JobSpec
from synthforge.parameters import HEAD_DIRECTIONS
from workers.annotate.segmentation import segment
from workers.generators.builtin.generator import BuiltinGenerator
from workers.raster.numba_cpu import NumbaRasteriser
from workers.sampling import IDENTITY_SCALARS, SAMPLE_SCALARS, sample_face
from workers.types import FaceParams

Picture = NDArray[np.uint8]
Render = Callable[..., Picture]

SIZE_PX = 160
# A calm, frontal, evenly lit face, so that one parameter at a time can be moved.
NEUTRAL = {
    "appearance.skin_tone": 30.0,
    "appearance.skin_redness": 0.0,
    "appearance.hair_length": 0.3,
    "appearance.hair_tone": 0.6,
    "appearance.hair_redness": 0.1,
    "appearance.hair_grey": 0.0,
    "appearance.brow_density": 0.8,
    "appearance.eye_tone": 0.5,
    "appearance.lip_redness": 0.5,
    "appearance.wrinkles": 0.2,
    "appearance.stubble": 0.0,
    "appearance.beard": 0.0,
    "appearance.moustache": 0.0,
    "appearance.glasses": 0.0,
    "appearance.lens_tint": 0.0,
    "appearance.headwear": 0.0,
    "appearance.skin_shine": 0.2,
    "appearance.freckles": 0.0,
    "appearance.eye_makeup": 0.0,
    "appearance.clothing_tone": 0.3,
    "light.azimuth": 0.0,
    "light.elevation": 20.0,
    "light.contrast": 0.5,
    "light.temperature": 6500.0,
    "light.ambient_temperature": 6500.0,
    "light.size": 6.0,
    "light.shadow": 1.0,
    "light.occlusion": 1.0,
    "lens.exposure": 0.0,
    "lens.blur": 0.0,
    "lens.noise": 0.0,
    "lens.white_balance": 0.0,
    "lens.contrast": 1.1,
    "lens.saturation": 1.0,
    "lens.vignetting": 0.0,
    "lens.resolution": 1.0,
    "lens.jpeg": 100.0,
}
MOVED = {
    "appearance.skin_tone": -30.0,
    "appearance.skin_redness": 1.0,
    "appearance.hair_length": 0.9,
    "appearance.hair_tone": 0.1,
    "appearance.hair_redness": 0.8,
    "appearance.hair_grey": 0.9,
    "appearance.brow_density": 0.3,
    "appearance.eye_tone": 0.0,
    "appearance.lip_redness": 1.0,
    "appearance.wrinkles": 1.0,
    "appearance.stubble": 0.8,
    "appearance.beard": 0.8,
    "appearance.moustache": 0.8,
    "appearance.glasses": 1.0,
    "appearance.lens_tint": 1.0,
    "appearance.headwear": 1.0,
    "appearance.skin_shine": 1.0,
    "appearance.freckles": 1.0,
    "appearance.eye_makeup": 1.0,
    "appearance.clothing_tone": 1.0,
    "light.azimuth": 60.0,
    "light.elevation": 60.0,
    "light.contrast": 0.9,
    "light.temperature": 3000.0,
    "light.ambient_temperature": 3000.0,
    "light.size": 25.0,
    "light.shadow": 0.0,
    "light.occlusion": 0.0,
    "lens.exposure": 1.0,
    "lens.blur": 2.0,
    "lens.noise": 0.05,
    "lens.white_balance": 1.0,
    "lens.contrast": 1.8,
    "lens.saturation": 0.2,
    "lens.vignetting": 1.0,
    "lens.resolution": 0.3,
    "lens.jpeg": 20.0,
}
TOGETHER = {"appearance.lens_tint": {"appearance.glasses": 1.0}}  # seen only beside another
STILL = {
    "identity": {"shape": 0},
    "pose": {"yaw": 0, "pitch": 0, "roll": 0},
    "expression": {"coefficients": 0, "jaw_open": 0},
    "gaze": {"yaw": 0, "pitch": 0},
    "camera": {"fov": 20, "distance": 1.08},
}


def spec_of(seed: int = 0, **sections: object) -> JobSpec:
    document = {"count": 64, "seed": seed, "generator": "builtin", "image": {"size": SIZE_PX}}
    return JobSpec.model_validate(document | sections)


@pytest.fixture(scope="module")
def generator() -> BuiltinGenerator:
    torch.set_num_threads(1)
    return BuiltinGenerator()


@pytest.fixture(scope="module")
def still(generator: BuiltinGenerator) -> Callable[..., FaceParams]:
    """A neutral face with some scalars moved."""

    def make(index: int = 0, seed: int = 0, **moved: float) -> FaceParams:
        face = sample_face(spec_of(seed, **STILL), generator.rig, index, 0, "train")
        return replace(face, scalars=NEUTRAL | {k.replace("__", "."): v for k, v in moved.items()})

    return make


@pytest.fixture(scope="module")
def render(generator: BuiltinGenerator) -> Render:
    def draw(*faces: FaceParams) -> Picture:
        chunk = [*faces, *[faces[-1]] * (generator.chunk_size - len(faces))]
        return generator.render(chunk, generator.pose(chunk)).numpy()[: len(faces)]

    return draw


def classes(generator: BuiltinGenerator, face: FaceParams) -> NDArray[np.uint8]:
    """Class ids of a face's pixels, from the same mesh and camera as the annotations."""
    chunk = [face] * generator.chunk_size
    turn = torch.from_numpy(face.camera.world2cam)
    vertices = generator.pose(chunk).vertices[:1].double() @ turn[:3, :3].T + turn[:3, 3]
    topology = generator.topology
    fragments = NumbaRasteriser().rasterise(
        vertices,
        torch.from_numpy(topology.faces.copy()),
        torch.from_numpy(face.camera.intrinsics_px)[None],
        SIZE_PX,
        SIZE_PX,
    )
    return segment(fragments.face_id, torch.from_numpy(topology.face_region.copy()))[0].numpy()


def luminance(picture: Picture, mask: NDArray[np.bool_]) -> float:
    return float(picture[mask].astype(np.float64).mean(0) @ [0.2126, 0.7152, 0.0722])


def of_class(regions: NDArray[np.uint8], *names: str) -> NDArray[np.bool_]:
    return np.isin(regions, [CLASS_IDS[name] for name in names])


def drawn_faces(generator: BuiltinGenerator, count: int) -> list[FaceParams]:
    return [sample_face(spec_of(3), generator.rig, i, 0, "train") for i in range(count)]


def test_a_picture_is_8_bit_rgb_of_the_asked_size(
    generator: BuiltinGenerator, render: Render
) -> None:
    pictures = render(*drawn_faces(generator, 8))
    assert pictures.shape == (8, SIZE_PX, SIZE_PX, 3)
    assert pictures.dtype == np.uint8
    assert all(picture.std() > 8 for picture in pictures)


def test_a_picture_does_not_depend_on_its_neighbours_in_the_chunk(
    generator: BuiltinGenerator, render: Render
) -> None:
    faces = drawn_faces(generator, 8)
    together = render(*faces)
    backwards = render(*faces[::-1])[::-1]
    alone = np.concatenate([render(face) for face in faces])
    assert np.array_equal(together, backwards)
    assert np.array_equal(together, alone)


def test_the_same_face_is_drawn_to_the_same_bytes_twice(
    generator: BuiltinGenerator, render: Render
) -> None:
    faces = drawn_faces(generator, 3)
    first = render(*faces)
    assert np.array_equal(first, render(*faces))
    assert np.array_equal(first, render(*drawn_faces(generator, 3)))


@pytest.mark.parametrize("name", sorted(MOVED))
def test_every_scalar_moves_the_picture(
    name: str, still: Callable[..., FaceParams], render: Render
) -> None:
    beside = TOGETHER.get(name, {})
    first, second = render(still(**beside), still(**beside | {name: MOVED[name]}))
    assert np.abs(first.astype(int) - second).max() > 8


def test_every_scalar_of_the_look_is_tested() -> None:
    directions = {f"appearance.{name}" for name in HEAD_DIRECTIONS}  # these move the mesh
    looks = {name for name in SAMPLE_SCALARS if name.startswith(("light.", "lens."))}
    assert {*IDENTITY_SCALARS, *looks} - directions == set(MOVED)


def test_two_samples_of_one_identity_share_the_face_and_not_the_background(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    first = still(index=0)
    streams = replace(first.streams, index=1)
    second = replace(first, index=1, streams=streams)
    stranger = replace(first, identity=9, streams=replace(first.streams, identity=9))
    one, two, three = render(first, second, stranger).astype(np.float64)
    regions = classes(generator, first)
    behind, cloth = of_class(regions, "background"), of_class(regions, "clothing")
    assert np.abs(one - two)[behind].mean() > 5
    assert np.abs(one - three)[behind].mean() < 2  # the sample's light and lens: all but the same
    hue_of = [picture[cloth].mean(0) / picture[cloth].mean() for picture in (one, two, three)]
    assert np.abs(hue_of[0] - hue_of[1]).max() < 0.15
    assert np.abs(hue_of[0] - hue_of[2]).max() > 0.15


def test_skin_gets_lighter_as_its_typology_angle_rises(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    tones = [-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0, 75.0]
    faces = [still(appearance__skin_tone=tone) for tone in tones]
    mask = of_class(classes(generator, faces[0]), "skin", "nose")
    brightness = [luminance(picture, mask) for picture in render(*faces)]
    assert all(a + 1 < b for a, b in pairwise(brightness))


def test_light_from_the_left_brightens_the_left(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    faces = [still(light__azimuth=side * 60.0, light__contrast=0.8) for side in (-1.0, 1.0)]
    skin = of_class(classes(generator, faces[0]), "skin")
    columns = np.arange(SIZE_PX)[None, :] < SIZE_PX / 2
    from_left, from_right = render(*faces)
    assert luminance(from_left, skin & columns) > 1.25 * luminance(from_left, skin & ~columns)
    assert luminance(from_right, skin & ~columns) > 1.25 * luminance(from_right, skin & columns)


@pytest.mark.parametrize("tone", [-50.0, 0.0, 50.0])
def test_brows_are_darker_and_lips_redder_than_skin(
    tone: float,
    generator: BuiltinGenerator,
    still: Callable[..., FaceParams],
    render: Render,
) -> None:
    face = still(appearance__skin_tone=tone, appearance__hair_tone=0.3)
    regions, picture = classes(generator, face), render(face)[0]
    skin = of_class(regions, "skin")
    brows, lips = of_class(regions, "left_brow", "right_brow"), of_class(regions, "lower_lip")
    assert brows.sum() > 30
    assert luminance(picture, brows) < 0.85 * luminance(picture, skin)
    redness = [picture[m].astype(float).mean(0) for m in (lips, skin)]
    assert redness[0][0] / redness[0][1] > 1.08 * redness[1][0] / redness[1][1]


def test_nose_and_cheek_are_one_material(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    """No step of colour where the region changes: neighbours across it differ as elsewhere."""
    face = still()
    regions, picture = classes(generator, face), render(face)[0].astype(float).mean(-1)
    skin, nose = of_class(regions, "skin"), of_class(regions, "nose")
    across = (skin[:, :-1] & nose[:, 1:]) | (nose[:, :-1] & skin[:, 1:])
    within = skin[:, :-1] & skin[:, 1:]
    step = np.abs(np.diff(picture, axis=1))
    assert step[across].mean() < 3 * step[within].mean() + 2


def test_the_picture_shows_the_head_where_the_labels_say(
    generator: BuiltinGenerator,
    still: Callable[..., FaceParams],
    render: Render,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A black and a white backdrop differ everywhere behind the head and nowhere on it."""
    face = still()
    behind = of_class(classes(generator, face), "background")
    pictures = []
    for level in (0.0, 1.0):
        backdrop = np.full((4, 4, 3), level, np.float32)
        monkeypatch.setattr(
            f"{BuiltinGenerator.__module__}.draw_background", lambda _, b=backdrop: b
        )
        pictures.append(render(face)[0].astype(int))
    differs = np.abs(pictures[0] - pictures[1]).max(-1)
    assert (differs[_eroded(behind)] > 150).all()
    assert (differs[_eroded(~behind)] == 0).all()


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without its outermost pixels."""
    padded = np.pad(mask, 1, mode="edge")
    inner = mask.copy()
    for row in range(3):
        for column in range(3):
            inner &= padded[row : row + mask.shape[0], column : column + mask.shape[1]]
    return inner


def test_bald_heads_have_no_hair_and_long_hair_falls_below_short(
    generator: BuiltinGenerator, still: Callable[..., FaceParams]
) -> None:
    faces = [still(appearance__hair_length=length) for length in (0.0, 0.3, 1.0)]
    bald, short, long = (of_class(classes(generator, face), "hair") for face in faces)
    assert bald.sum() == 0
    assert short.sum() > 300
    assert np.flatnonzero(long.any(1)).max() > np.flatnonzero(short.any(1)).max() + 8


def test_extreme_parameters_give_pictures_without_holes(
    generator: BuiltinGenerator, render: Render
) -> None:
    extremes = {
        "pose": {"yaw": [-89, 89], "pitch": [-89, 89], "roll": [-180, 180]},
        "camera": {"fov": [5, 100], "distance": [0.35, 6]},
        "light": {"azimuth": [-180, 180], "elevation": [-90, 90], "contrast": [0, 1]},
        "lens": {"exposure": [-4, 4], "blur": [0, 20], "noise": [0, 1]},
    }
    spec = spec_of(1, **extremes)
    faces = [sample_face(spec, generator.rig, i, 0, "train") for i in range(16)]
    with np.errstate(all="raise"):
        pictures = np.concatenate([render(*faces[:8]), render(*faces[8:])])
    assert pictures.shape[0] == 16


def test_an_eye_is_as_light_under_a_raised_lid_as_under_one_at_rest(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    rest = still()
    expression = rest.expression.copy()
    for place, full in generator.rig.units["upper_lid_raise"]:
        expression[place] = 0.65 * full
    wide = replace(rest, expression=expression)
    pictures = render(rest, wide)
    light, seen = [], []
    for face, picture in zip((rest, wide), pictures, strict=True):
        eyes = of_class(classes(generator, face), "left_eye", "right_eye")
        light.append(luminance(picture, eyes))
        seen.append(int(eyes.sum()))
    assert seen[1] > 1.2 * seen[0]
    assert light[1] > 0.95 * light[0]


def test_upper_lashes_shade_the_eye_below_them(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    ratios = []
    for index in range(6):
        face = still(index)
        grey, ids = render(face)[0].mean(-1), classes(generator, face)
        for name in ("left_eye", "right_eye"):
            eye = of_class(ids, name)
            top, bottom = eye & ~np.roll(eye, 1, 0), eye & ~np.roll(eye, -1, 0)
            ratios.append(np.median(grey[top]) / np.median(grey[bottom]))
    assert np.mean(ratios) < 0.85  # without lashes 1.0


def test_the_inner_corner_of_an_eye_is_flesh_and_the_outer_one_white(
    generator: BuiltinGenerator, still: Callable[..., FaceParams], render: Render
) -> None:
    ratios = []
    for index in range(6):
        face = still(index)
        picture, ids = render(face)[0].astype(float), classes(generator, face)
        for name, towards_nose in (("left_eye", -1), ("right_eye", 1)):
            rows, columns = np.nonzero(of_class(ids, name))
            redness = picture[rows, columns, 0] / picture[rows, columns, 1:].mean(1)
            along = towards_nose * columns
            inner, outer = along >= along.max() - 1, along <= along.min() + 1
            ratios.append(np.median(redness[inner]) / np.median(redness[outer]))
    assert np.mean(ratios) > 1.08


@pytest.mark.parametrize(("tone", "limit"), [(0.0, 0.32), (0.5, 0.22), (1.0, 0.06)])
def test_an_iris_is_a_dark_disc_in_a_white_no_brighter_than_skin(
    tone: float,
    limit: float,
    generator: BuiltinGenerator,
    still: Callable[..., FaceParams],
    render: Render,
) -> None:
    white, dark = [], []
    for index in range(6):
        face = still(index, appearance__eye_tone=tone)
        light, ids = linear_light(render(face)[0]), classes(generator, face)
        eye = light[of_class(ids, "left_eye", "right_eye")]
        skin = np.median(light[of_class(ids, "skin")])
        white.append(np.quantile(eye, 0.85) / skin)
        dark.append(np.quantile(eye, 0.3) / skin)
    # By the mean colours of version 8: white 1.2 to 1.3; dark 0.52, 0.35, 0.08.
    assert 0.5 < np.mean(white) < 1.0
    assert np.mean(dark) < limit


def linear_light(picture: Picture) -> NDArray[np.float64]:
    """Return mean linear light a pixel, by a gamma of 2.2."""
    return np.asarray(((picture / 255.0) ** 2.2).mean(-1))
