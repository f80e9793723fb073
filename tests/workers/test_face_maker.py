"""A face is the same whoever stands beside it; a refused one costs neither label nor picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from workers.annotate.numba_labels import NumbaLabeller
from workers.encoding import LabelledFace
from workers.face_maker import Candidate, Draw, FaceMaker, Refusal
from workers.generators.protocol import FaceGenerator
from workers.generators.registry import open_generator
from workers.timing import Stages
from workers.types import FaceParams, PosedHeads

PICTURES = ("image", "segmentation", "depth", "normal", "u", "v", "dense")


def spec_of(**changes: object) -> JobSpec:
    document = {"count": 100, "image": {"size": 64}, "annotations": list(ANNOTATIONS)}
    return parse_job_spec(json.dumps(document | changes))


class Unlit:
    """The embedded generator with a plain picture: drawing is not what is tested here."""

    def __init__(self, inner: FaceGenerator) -> None:
        self._inner = inner
        self.num_drawn = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def render(self, faces: Sequence[FaceParams], heads: PosedHeads) -> Tensor:
        assert len(faces) == len(heads.vertices) == self._inner.chunk_size
        self.num_drawn += 1
        marks = torch.tensor([face.index % 256 for face in faces], dtype=torch.uint8)
        size = faces[0].camera.width_px
        return marks[:, None, None, None].expand(-1, size, size, 3).contiguous()


@pytest.fixture(scope="module")
def generator() -> FaceGenerator:
    return open_generator(spec_of().generator)


def maker_of(generator: FaceGenerator, spec: JobSpec, backend: Any = "numba") -> FaceMaker:
    return FaceMaker(spec, Unlit(generator), backend, Stages())  # type: ignore[arg-type]


def draws(*indices: int) -> list[Draw]:
    return [Draw(index, 0, "train") for index in indices]


def made(maker: FaceMaker, *indices: int) -> list[LabelledFace]:
    candidates = [found for found in maker.propose(draws(*indices)) if isinstance(found, Candidate)]
    return maker.finish(candidates)


def assert_equal(one: LabelledFace, other: LabelledFace) -> None:
    assert one.meta.to_json() == other.meta.to_json()
    for name in PICTURES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_a_face_is_the_same_alone_and_among_others(generator: FaceGenerator) -> None:
    maker = maker_of(generator, spec_of())
    together, alone = made(maker, 3, 4, 5, 6), made(maker, 5)
    assert [face.meta.index for face in together] == [3, 4, 5, 6]
    assert_equal(together[2], alone[0])


def test_every_backend_of_ours_makes_the_same_face(generator: FaceGenerator) -> None:
    fast = made(maker_of(generator, spec_of()), 0, 1)
    portable = made(maker_of(generator, spec_of(), "torch"), 0, 1)
    for one, other in zip(fast, portable, strict=True):
        assert_equal(one, other)


def test_only_what_is_asked_for_is_there(generator: FaceGenerator) -> None:
    (face,) = made(maker_of(generator, spec_of(annotations=["depth"])), 0)
    assert {name for name in PICTURES if getattr(face, name) is not None} == {"image", "depth"}
    assert face.meta.camera is None
    assert face.meta.landmarks68 is None
    assert face.meta.bbox_visible_px is not None


def test_a_refused_face_is_neither_labelled_nor_drawn(
    generator: FaceGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled: list[int] = []
    label = NumbaLabeller.label
    monkeypatch.setattr(NumbaLabeller, "label", lambda *args: labelled.append(1) or label(*args))
    maker = maker_of(generator, spec_of(quality={"min_face": 0.3}))
    found = maker.propose(draws(*range(8)))
    refused = [each for each in found if isinstance(each, Refusal)]
    assert 0 < len(refused) < 8
    assert len(labelled) == 8 - len(refused)
    for refusal in refused:
        assert refusal.verdict.reason == "face_too_small"
        assert refusal.verdict.measured < refusal.verdict.limit == 0.3


def test_pictures_and_labels_belong_to_the_same_face(generator: FaceGenerator) -> None:
    for face in made(maker_of(generator, spec_of()), 7, 2, 9):
        assert (face.image == face.meta.index).all()
        visible = face.meta.bbox_visible_px
        assert visible is not None
        is_face = (face.segmentation >= 1) & (face.segmentation <= 9)
        rows, columns = np.nonzero(is_face)
        assert visible == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert face.meta.quality["face"] == pytest.approx(is_face.mean(), abs=1e-6)


def test_waiting_candidates_hold_no_fragments(generator: FaceGenerator) -> None:
    """Retries keep later faces waiting: what they hold decides a worker's memory."""
    maker = maker_of(generator, spec_of(image={"size": 512}))
    (candidate,) = maker.propose(draws(0))
    assert isinstance(candidate, Candidate)
    labels = candidate.labels
    pictures = [labels.depth, labels.normal, labels.u, labels.v, candidate.segmentation]
    assert sum(picture.nbytes for picture in pictures) == 512 * 512 * (2 + 3 + 2 + 2 + 1)
