"""Tables of points and classes: names, twins, sides."""

from __future__ import annotations

import numpy as np
import pytest

from synthforge.conventions import CLASS_IDS, landmark_mirror
from trainer.datasets.classes import CELEBAMASK_19, CLASS_SCHEMES, LAPA_11, ClassScheme
from trainer.datasets.points import POINT_SCHEMES, PointScheme
from trainer.datasets.sides import share_on_own_side


@pytest.mark.parametrize("scheme", POINT_SCHEMES.values(), ids=POINT_SCHEMES)
def test_twins_are_twins_and_agree_with_those_of_the_68(scheme: PointScheme) -> None:
    twin = scheme.mirror
    assert len(twin) == scheme.num_points
    assert [twin[twin[i]] for i in range(scheme.num_points)] == list(range(scheme.num_points))
    ours = landmark_mirror()
    for point, sources in enumerate(scheme.from_ibug):
        mirrored = sorted(ours[source] for source in sources)
        assert mirrored == sorted(scheme.from_ibug[twin[point]]), point
    right, left = scheme.outer_eye_corners
    assert scheme.from_ibug[right] == (36,)
    assert scheme.from_ibug[left] == (45,)
    assert twin[right] == left
    for a, b in zip(*scheme.pupils, strict=True):
        assert scheme.from_ibug[a][0] in range(36, 42)
        assert scheme.from_ibug[b][0] in range(42, 48)


@pytest.mark.parametrize("scheme", CLASS_SCHEMES.values(), ids=CLASS_SCHEMES)
def test_class_tables_name_what_they_hold(scheme: ClassScheme) -> None:
    assert scheme.names[0] == "background"
    assert len(set(scheme.names)) == scheme.num_classes
    for name, ours in scheme.from_ours.items():
        assert name in scheme.names
        assert all(our_name in CLASS_IDS for our_name in ours)
    for members in scheme.protocols.values():
        assert set(members) <= set(scheme.names[1:])
    twin = scheme.mirror()
    assert (twin[twin] == np.arange(256)).all()
    table = scheme.relabelling()
    assert table[CLASS_IDS["left_eye"]] == scheme.names.index("left_eye")
    assert table[255] == 255


def test_protocols_have_the_number_of_classes_that_their_names_say() -> None:
    assert {name: len(held) for name, held in CELEBAMASK_19.protocols.items()} == {
        "mean of 18": 18,
        "mean of 14": 14,
    }
    assert len(LAPA_11.protocols["mean of 10"]) == 10


def test_sides_are_told_by_where_labels_lie() -> None:
    label = np.zeros((20, 20), np.uint8)
    for name, columns in (("right_eye", slice(4, 7)), ("left_eye", slice(13, 16))):
        label[8:10, columns] = LAPA_11.names.index(name)
    assert share_on_own_side([label, label], LAPA_11) == (1.0, 2)
    assert share_on_own_side([label[:, ::-1]], LAPA_11) == (0.0, 1)
    assert share_on_own_side([label[:, ::-1]], LAPA_11.mirrored()) == (1.0, 1)
    assert share_on_own_side([np.zeros((4, 4), np.uint8)], LAPA_11)[1] == 0
