"""`python -m benchmarks.parity` tells right from wrong, for any fixtures of a form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity.__main__ import KINDS, main
from benchmarks.parity.check import Check, largest


def _copy(shared_dir: Path, to: Path, tag: str, *names: str) -> None:
    """Copy files of the small FLAME fixture under another tag."""
    for name in names:
        source = shared_dir / "fixtures" / "flame" / f"mini_{name}"
        shutil.copyfile(source, to / f"{tag}_{name}")


def _alter(path: Path, name: str, by: float) -> None:
    with np.load(path) as recorded:
        arrays = dict(recorded)
    arrays[name] = arrays[name] + np.asarray(by, arrays[name].dtype)
    np.savez(path, **arrays)


def test_the_recorded_fixtures_pass(shared_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotations", str(shared_dir / "fixtures" / "annotations")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 20
    assert all(", tolerance " in line and ", ok" in line for line in lines[:-1])
    assert lines[-1].endswith("0 not ok")


def test_fixtures_of_another_tag_are_found_and_errors_told(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    _copy(
        shared_dir,
        below,
        "other",
        "generic_model_chumpy.pkl",
        "flame_static_embedding.pkl",
        "flame_dynamic_embedding.npy",
        "parity_s100_e50.npz",
    )
    assert main(["flame", str(tmp_path)]) == 0
    assert "other_parity_s100_e50.npz on other_generic_model_chumpy.pkl" in capsys.readouterr().out
    _alter(below / "other_parity_s100_e50.npz", "vertices", 2e-6)
    assert main(["flame", str(tmp_path)]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if "NOT OK" in line]
    assert len(wrong) == 1
    assert "vertices float32, m: largest error 2" in wrong[0]


def test_a_fixture_without_its_model_is_not_passed_over(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _copy(shared_dir, tmp_path, "lone", "parity_s100_e50.npz")
    assert main(["flame", str(tmp_path)]) == 1
    assert "no model of this tag is there" in capsys.readouterr().out


def test_vertices_are_checked_where_there_are_no_landmark_files(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _copy(shared_dir, tmp_path, "bare", "generic_model.pkl", "parity_s300_e100.npz")
    assert main(["flame", str(tmp_path)]) == 0
    assert "landmarks" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["pt2d", "verts_px_intrinsics", "verts_px_segcam"])
def test_a_wrong_projection_is_found(shared_dir: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "annotation_maths.npz"
    shutil.copyfile(shared_dir / "fixtures" / "annotations" / path.name, path)
    assert main(["annotations", str(tmp_path)]) == 0
    _alter(path, name, 0.02)
    assert main(["annotations", str(tmp_path)]) == 1


@pytest.mark.parametrize("kind", ["flame", "annotations"])
def test_nothing_to_check_is_no_error(tmp_path: Path, kind: str) -> None:
    assert kind in KINDS
    assert main([kind, str(tmp_path)]) == 0


@pytest.mark.parametrize("arguments", [["flame", "no/such/folder"], ["nonsense", "."], []])
def test_a_wrong_call_is_told_apart(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_a_number_that_is_none_is_not_ok() -> None:
    assert not Check("f", "q", float("nan"), 1.0).is_ok
    assert not largest("f", "q", [np.nan], [1.0], tolerance=1).is_ok
    assert not largest("f", "q", [[1.0]], [1.0], tolerance=1).is_ok
