"""The stand-in's splits share no face, and its benchmark measures on the one that was asked for."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks import stage2
from benchmarks.standin import forms
from benchmarks.standin.scene import Face
from synthforge.conventions import CLASS_IDS

HEAD = Path("head.npz")
SIZE_PX = 32


class FakeStudio:
    """Draws what has the shape of a face, all of it from the random numbers that it is given."""

    def __init__(self, head: object, size_px: int) -> None:
        assert (head, size_px) == (HEAD, SIZE_PX)

    def draw(self, random: np.random.Generator) -> Face:
        points = random.uniform(8, 24, (106, 2)).astype(np.float32)
        classes = np.full((SIZE_PX, SIZE_PX), CLASS_IDS["skin"], np.uint8)
        return Face(
            image=random.integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8),
            old_classes=classes,
            new_classes=classes,
            old_points=points[:68],
            new_points=points[:68],
            lapa_points=points,
            yaw_deg=0.0,
        )


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, forms.StandIn]:
    monkeypatch.setattr(forms, "Studio", FakeStudio)
    monkeypatch.setattr(forms, "load_head", lambda path: path)
    return {
        "val": forms.make_stand_in(HEAD, tmp_path / "val", "val", 3, 5, SIZE_PX),
        "test": forms.make_stand_in(HEAD, tmp_path / "test", "test", 3, 5, SIZE_PX),
    }


def test_no_face_is_in_two_splits() -> None:
    drawn = [
        tuple(forms.face_random(split, number).standard_normal(50))
        for split, number in product(("train", "val", "test"), range(40))
    ]
    assert len(set(drawn)) == len(drawn)


def test_both_held_out_splits_come_with_the_same_training_faces(
    made: dict[str, forms.StandIn],
) -> None:
    pictures = {
        split: {path.stem: path.read_bytes() for path in stand_in.lapa.glob("*/images/*.jpg")}
        for split, stand_in in made.items()
    }
    training = [{k: v for k, v in each.items() if "train" in k} for each in pictures.values()]
    assert len(training[0]) == 3
    assert training[0] == training[1]
    held_out = [set(each.values()) - set(training[0].values()) for each in pictures.values()]
    assert [len(each) for each in held_out] == [5, 5]
    assert not held_out[0] & held_out[1]


@pytest.mark.parametrize("split", ["val", "test"])
def test_fits_are_measured_on_the_split_that_was_asked_for(
    made: dict[str, forms.StandIn], split: str
) -> None:
    found = stage2.forms_of(made[split])
    for form in found.values():
        assert sorted(Path(key).stem for key in form.test_keys) == [
            f"{split}{number:05d}" for number in range(5)
        ]
        assert len(form.real.keys("train")) == 3
    with np.load(made[split].truth) as truth:
        assert {name.split("_")[0] for name in truth.files} == {
            f"{split}{number:05d}" for number in range(5)
        }


def test_a_folder_of_fits_with_other_settings_is_refused(tmp_path: Path) -> None:
    recipe = asdict(stage2.stage2_of(stage2.SMALL, seed=0))
    stage2.keep_settings(tmp_path, recipe)
    stage2.keep_settings(tmp_path, recipe)
    with pytest.raises(SystemExit, match=r"holds results of other settings \(settings\.json\)"):
        stage2.keep_settings(tmp_path, recipe | {"adapt_rank": 8})
