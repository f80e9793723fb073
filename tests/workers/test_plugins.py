"""Plug-ins of the user's see the picture: a detector refuses, a parser names what is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from synthforge.conventions import CLASS_IDS, IGNORE_CLASS
from synthforge.field_errors import SpecError
from synthforge.jobs import JobSpec, parse_job_spec
from workers.face_maker import Candidate, Draw, FaceMaker, Refusal
from workers.fingerprint import fingerprint
from workers.generators.registry import open_generator
from workers.one_thread import one_thread
from workers.plugins import fill_unknown, judge_detected
from workers.quality import Accepted, Rejected
from workers.timing import Stages

PACKAGE = """
import numpy as np

class Detector:
    def __call__(self, image):
        return None if image.shape[0] == 64 else np.zeros((68, 2))

class Parser:
    def __call__(self, image):
        classes = np.full(image.shape[:2], 14, np.uint8)
        classes[:8] = 1
        return classes
"""
ENTRY_POINTS = """
[synthforge.detectors]
strict = seen_faces:Detector
[synthforge.parsers]
clothes = seen_faces:Parser
"""


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with two plug-ins, on the path as an installed one is."""
    (tmp_path / "seen_faces.py").write_text(PACKAGE)
    folder = tmp_path / "seen_faces-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: seen-faces\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "seen_faces", raising=False)


def spec_of(**changes: object) -> JobSpec:
    document = {
        "count": 9,
        "generator": {"kind": "next3d", "untrained": True, "network": "small", "parser": "clothes"},
        "image": {"size": 72},
        "annotations": ["segmentation"],
    }
    return parse_job_spec(json.dumps(document | changes))


def maker_of(spec: JobSpec) -> FaceMaker:
    return FaceMaker(spec, open_generator(spec.generator), "numba", Stages())


@pytest.mark.usefixtures("_installed")
def test_a_parser_names_what_the_mesh_does_not_know_and_is_named_itself() -> None:
    maker = maker_of(spec_of())
    with one_thread():
        (found,) = maker.propose([Draw(0, 0, "train")])
        assert isinstance(found, Candidate)
        (face,) = maker.finish([found])
    unknown = found.segmentation == IGNORE_CLASS
    assert face.segmentation is not None
    np.testing.assert_array_equal(face.segmentation[~unknown], found.segmentation[~unknown])
    filled = face.segmentation[8:][unknown[8:]]
    assert (filled == CLASS_IDS["clothing"]).all()
    assert len(filled)
    # Of the face a parser says nothing: the mesh knows better.
    assert (face.segmentation[:8][unknown[:8]] == IGNORE_CLASS).all()
    assert maker.info().versions["parser"] == "clothes 1.2"


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(("size", "reason"), [(64, "no_face_detected"), (72, "detector_disagrees")])
def test_a_detector_that_sees_something_else_refuses_the_face(size: int, reason: str) -> None:
    quality = {"detector": "strict", "max_detector_error": 11}
    maker = maker_of(spec_of(quality=quality, image={"size": size}))
    with one_thread():
        (found,) = maker.propose([Draw(0, 0, "train")])
    assert isinstance(found, Refusal)
    assert found.verdict.reason == reason


def test_a_detector_that_agrees_is_measured_in_pixels_of_512() -> None:
    points = np.full((68, 2), 30.0)
    seen = judge_detected(points, points + np.array([1, 0]), 128, 11)
    assert seen == Accepted({"detector_error": 4.0})
    far = judge_detected(points, points + np.array([3, 0]), 128, 11)
    assert far == Rejected("detector_disagrees", 12.0, 11)


def test_a_plug_in_that_is_not_installed_is_named() -> None:
    with pytest.raises(ValueError, match="this worker has no plug-in 'clothes'"):
        maker_of(spec_of())


def test_installed_plug_ins_are_part_of_the_fingerprint(request: pytest.FixtureRequest) -> None:
    before = fingerprint({}, "numba", "cpu").id
    request.getfixturevalue("_installed")
    assert fingerprint({}, "numba", "cpu").id != before


def test_a_parsers_picture_must_fit() -> None:
    with pytest.raises(ValueError, match=r"generator.parser gave uint8 \(4, 4\)"):
        fill_unknown(np.zeros((8, 8), np.uint8), np.zeros((4, 4), np.uint8))


def test_a_limit_without_a_detector_is_refused() -> None:
    with pytest.raises(SpecError, match=r"quality\.max_detector_error"):
        spec_of(quality={"max_detector_error": 5})
