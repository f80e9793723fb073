"""Movements combine without breaking: lids meet, lips touch, and neither passes the other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthforge.field_errors import SpecError
from synthforge.jobs import parse_job_spec
from synthforge.parameters import ACTION_UNITS
from workers.flame.embedding import Landmarks
from workers.generators.builtin.generator import BuiltinGenerator
from workers.generators.builtin.lids import lids_over_eyes
from workers.generators.builtin.movements import TOGETHER, coupling_matrix, unit_targets
from workers.sampling import sample_face

LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
LIPS = ((61, 67), (62, 66), (63, 65))
# As far as everything goes at once: presets, wide draws, and units set to their ends.
WILD = {
    "coefficients": {"type": "normal", "std": 1.5, "low": -4, "high": 4},
    "presets": {"wink": 1, "disgust": 1, "kiss": 1, "frown": 1},
    "jaw_open": 0,
}
STILL = {"coefficients": 0, "jaw_open": 0}


@pytest.fixture(scope="module")
def generator() -> BuiltinGenerator:
    return BuiltinGenerator()


def openings(generator: BuiltinGenerator, expression: dict[str, object]) -> NDArray[np.floating]:
    """(N, 4 + 3) heights of the lids' and the lips' openings, millimetres."""
    spec = parse_job_spec(
        json.dumps({"count": 99, "identity": {"shape": 0}, "expression": expression})
    )
    faces = [sample_face(spec, generator.rig, index, 0, "train") for index in range(24)]
    size = generator.chunk_size
    chunks = [generator.pose(faces[k : k + size]).vertices for k in range(0, 24, size)]
    marks = Landmarks(generator.topology.landmarks, generator.topology.faces)
    points = marks.points(
        torch.cat(chunks), generator.topology.landmarks.cells([0.0] * 24, [0.0] * 24)
    )
    y = points[..., 1].double().numpy() * 1000
    return np.stack([y[:, upper] - y[:, lower] for upper, lower in LIDS + LIPS], axis=1)


def test_no_lid_passes_the_other_and_no_lip_whatever_moves(generator: BuiltinGenerator) -> None:
    heights = openings(generator, WILD)
    shut = openings(generator, {"coefficients": 0, "jaw_open": 0, "action_units": {"blink": 1}})
    lids, lips = np.split(heights, [len(LIDS)], axis=1)
    pairs = lids.reshape(len(lids), 2, 2).mean(axis=2)
    assert pairs.min() > shut[:, :4].mean() - 0.35
    assert pairs.min() < shut[:, :4].mean() + 0.5  # some of them are shut
    assert lips.mean(axis=1).min() > -0.35
    assert np.ptp(lips.mean(axis=1)) > 1.0


def test_a_blink_shuts_the_eye_whatever_else_moves_and_half_a_blink_half_of_it(
    generator: BuiltinGenerator,
) -> None:
    wide = {"coefficients": 0, "jaw_open": 0, "action_units": {"upper_lid_raise": 1}}
    heights = {}
    for blink in (0.0, 0.5, 1.0):
        units = {**wide["action_units"], "blink": blink}  # type: ignore[dict-item]
        heights[blink] = openings(generator, {**wide, "action_units": units})[:, :4].mean()
    shut = openings(generator, {"coefficients": 0, "jaw_open": 0, "action_units": {"blink": 1}})
    assert heights[1.0] == pytest.approx(shut[:, :4].mean(), abs=0.35)
    assert heights[0.5] == pytest.approx(0.5 * (heights[0.0] + heights[1.0]), abs=0.35)


def test_no_movement_opens_an_eye_by_more_than_a_third_of_what_is_open_at_rest(
    generator: BuiltinGenerator,
) -> None:
    rest = openings(generator, STILL)[:, :4].mean(1)
    half, full = (
        openings(generator, {**STILL, "action_units": {"upper_lid_raise": unit}})[:, :4].mean(1)
        for unit in (0.3, 1)
    )
    assert (full < 1.37 * rest).all()
    assert (full > 1.25 * rest).all()
    assert (half < full - 0.5).all()  # the way there is open


def test_no_lid_cuts_into_its_eyeball_whatever_moves(generator: BuiltinGenerator) -> None:
    spec = parse_job_spec(json.dumps({"count": 99, "expression": WILD}))
    faces = [sample_face(spec, generator.rig, index, 0, "train") for index in range(24)]
    topology = generator.topology
    num_lifted = 0
    for face in faces:
        vertices = generator.pose([face]).vertices[0].double().numpy()
        for eye in lids_over_eyes(topology, rest_of(generator)):
            front, back = vertices[eye.poles]
            gaps = np.linalg.norm(vertices[eye.lid] - 0.5 * (front + back), axis=1)
            gaps -= 0.5 * np.linalg.norm(front - back)
            assert len(gaps) > 100
            assert (gaps > eye.gaps_m - 1e-6).all()
            num_lifted += int((gaps < 1.01 * eye.gaps_m).sum())
    assert num_lifted > 0  # some would have cut into it


def rest_of(generator: BuiltinGenerator) -> NDArray[np.float64]:
    """(V, 3) of the mean head at rest, metres."""
    flat = {"identity": {"shape": 0}, "expression": {"coefficients": 0, "jaw_open": 0}}
    gaze = {"gaze": {"yaw": 0, "pitch": 0}}
    spec = parse_job_spec(json.dumps({"count": 1, **flat, **gaze}))
    face = sample_face(spec, generator.rig, 0, 0, "train")
    return generator.pose([face]).vertices[0].double().numpy()


def test_every_unit_moves_our_own_head_and_both_sides_alike(generator: BuiltinGenerator) -> None:
    units = generator.rig.units
    assert set(units) == set(ACTION_UNITS)
    assert set(units["smile"]) == {*units["smile_left"], *units["smile_right"]}
    assert units["jaw_right"] == tuple((k, -value) for k, value in units["jaw_left"])


def test_arkits_names_are_known_too() -> None:
    names = (
        "eyeBlink_L",
        "eyeBlink_R",
        "mouthSmile_L",
        "mouthSmile_R",
        "mouthRight",
        "cheekSquint_L",
    )
    units = unit_targets(names)
    assert [place for place, _ in units["blink"]] == [0, 1]
    assert [place for place, _ in units["mouth_right"]] == [4]
    assert "pucker" not in units
    together = coupling_matrix(names) @ coupling_matrix(names).T
    assert together[2, 5] == pytest.approx(TOGETHER["smile", "cheek_raise"], abs=0.15)


def test_what_a_generator_or_head_lacks_is_refused_by_name() -> None:
    for document, field in (
        ({"generator": "next3d", "expression": {"action_units": {"smile": 1}}}, "action_units"),
        ({"generator": "next3d", "expression": {"co_occurrence": "natural"}}, "co_occurrence"),
        ({"generator": {"kind": "builtin", "head": "ict"}, "appearance": {"age": 30}}, "age"),
        ({"expression": {"action_units": {"grin": 1}}}, "no such action unit"),
    ):
        with pytest.raises(SpecError, match=field):
            parse_job_spec(json.dumps({"count": 1} | document))
