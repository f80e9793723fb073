"""The numbers and words of K.json: what is written comes back, what does not fit is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthforge import truths
from synthforge.codecs import decode_meta
from synthforge.conventions import CLASS_IDS
from synthforge.samples import AttributesMeta, EyeMeta, EyesMeta, OcclusionMeta, SampleMeta
from synthforge.truth_checks import truth_faults

shares = st.floats(0, 1).map(lambda value: round(value, 4))


@st.composite
def attributes(draw: st.DrawFn) -> AttributesMeta:
    hair = {name: draw(shares) for name in ("length", "tone", "redness", "grey")}
    grown = {name: draw(shares) for name in ("beard", "moustache", "stubble")}
    eye_tone, ita_deg = draw(shares), draw(st.floats(-90, 90))
    return AttributesMeta(
        age_years=truths.age_of(draw(st.floats(-3, 3))),
        sex=draw(st.none() | st.floats(-3, 3)),
        ancestry={"east_asia": draw(st.floats(-3, 3))},
        skin_ita_deg=ita_deg,
        skin_group=truths.skin_group(ita_deg),
        **{f"hair_{name}": value for name, value in hair.items()},
        hair_colour=truths.hair_colour(**hair),
        hair_style=truths.hair_style(hair["length"]),
        eye_tone=eye_tone,
        eye_colour=truths.eye_colour(eye_tone),
        **grown,
        facial_hair=truths.facial_hair(**grown, is_goatee=draw(st.booleans())),
        wrinkles=draw(shares),
        glasses=draw(st.sampled_from(["none", "clear", "dark"])),
        headwear=draw(st.sampled_from(["none", "hat", "cap"])),
    )


def meta_with(**sections: Any) -> SampleMeta:
    return SampleMeta(
        index=0, identity=0, split="train", attempt=0, width=8, height=8, quality={}, **sections
    )


@settings(max_examples=40)
@given(attributes(), st.dictionaries(st.sampled_from(["smile_left", "jaw_open"]), shares))
def test_what_a_face_says_of_itself_comes_back(
    held: AttributesMeta, units: dict[str, float]
) -> None:
    meta = meta_with(attributes=held, action_units=units)
    assert decode_meta(meta.to_json()) == meta
    assert list(truth_faults(meta, None)) == []


@pytest.mark.parametrize(
    ("name", "word"),
    [("skin_group", "dark"), ("hair_style", "bald"), ("hair_colour", "grey"),
     ("eye_colour", "blue"), ("facial_hair", "beard")],
)  # fmt: skip
def test_a_word_that_is_not_its_numbers_is_found(name: str, word: str) -> None:
    plain = AttributesMeta(
        ancestry={}, skin_ita_deg=30, skin_group="intermediate", hair_length=0.3, hair_tone=0.5,
        hair_redness=0, hair_grey=0, hair_colour="brown", hair_style="short", eye_tone=0.9,
        eye_colour="brown", beard=0, moustache=0, stubble=0, facial_hair="none", wrinkles=0,
        glasses="none", headwear="none",
    )  # fmt: skip
    assert list(truth_faults(meta_with(attributes=plain), None)) == []
    wrong = plain.model_copy(update={name: word})
    faults = list(truth_faults(meta_with(attributes=wrong), None))
    assert len(faults) == 1
    assert name in faults[0]


@given(st.floats(-3, 3))
def test_ages_and_directions_are_each_others_inverse(direction: float) -> None:
    assert truths.direction_of(truths.age_of(direction)) == pytest.approx(direction, abs=1e-9)


def test_an_eye_of_equal_lids_has_the_share_of_their_distance() -> None:
    points = [(0, 0, 0), (1, 0.5, 0), (2, 0.5, 0), (3, 0, 0), (2, -0.5, 0), (1, -0.5, 0)]
    assert truths.lid_opening(points) == round(1 / 3, 4)
    assert truths.lid_opening([(0, 0, 0)] * 6) == 0


def test_hidden_classes_and_seen_pupils_are_checked_against_the_pixels() -> None:
    segmentation = np.zeros((8, 8), np.uint8)
    segmentation[2:4, 2:6] = CLASS_IDS["left_eye"]
    occlusion = OcclusionMeta(whole_px={"left_eye": 16}, hidden={"left_eye": 0.5})
    assert list(truth_faults(meta_with(occlusion=occlusion), segmentation)) == []
    segmentation[2, 2:6] = 0
    assert "0.75" in next(truth_faults(meta_with(occlusion=occlusion), segmentation))
    eye = EyeMeta(
        iris_xy_px=(3.5, 3.5), iris_xyz_m=(0, 0, 1), iris_radius_m=0.006, iris_visibility=2,
        pupil_xy_px=(3.5, 2.5), pupil_xyz_m=(0, 0, 1), pupil_radius_m=0.002, pupil_visibility=2,
        opening=0.3,
    )  # fmt: skip
    eyes = EyesMeta(left=eye, right=eye.model_copy(update={"iris_visibility": 1}))
    faults = list(truth_faults(meta_with(eyes=eyes), segmentation))
    assert [fault.split(" is ")[0] for fault in faults] == [
        "meta: eyes.left.pupil",
        "meta: eyes.right.pupil",
    ]
