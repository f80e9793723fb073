"""The table of members."""

from __future__ import annotations

import pytest

from synthforge.conventions import NUM_LANDMARKS, class_mirror, landmark_mirror
from synthforge.jobs import ANNOTATIONS, JobSpec
from synthforge.samples import MEMBERS, member_of_suffix, members_of, split_member_name


def test_a_sample_has_exactly_the_members_that_were_asked_for_in_order() -> None:
    spec = JobSpec(count=1, annotations=("uv", "depth"))
    assert [m.suffix for m in members_of(spec)] == ["jpg", "depth.png", "u.png", "v.png", "json"]
    everything = members_of(JobSpec(count=1, annotations=ANNOTATIONS))
    assert [m.suffix for m in everything] == [m.suffix for m in MEMBERS if m.suffix != "png"]


def test_a_file_name_splits_at_its_first_dot() -> None:
    assert split_member_name("000000001.depth.png") == ("000000001", "depth.png")
    assert member_of_suffix("depth.png").dtype == "uint16"
    with pytest.raises(ValueError, match=r"no member ends in \.exr"):
        member_of_suffix("exr")


def test_mirrors_are_their_own_inverse() -> None:
    twins = landmark_mirror()
    assert [twins[twins[i]] for i in range(NUM_LANDMARKS)] == list(range(NUM_LANDMARKS))
    assert twins[36] == 45
    assert twins[30] == 30
    classes = class_mirror()
    assert all(classes[classes[class_id]] == class_id for class_id in classes)
