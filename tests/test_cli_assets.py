"""The commands about licensed files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synthforge import cli
from synthforge.assets import FLAME_LICENCE, IMPORTED, NEEDED

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `synthforge assets ...` on a registry in a folder; return exit code, output, errors."""
    monkeypatch.setenv("SYNTHFORGE_ASSETS", str(tmp_path / "registry"))

    def ran(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["synthforge", "assets", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return ran


def test_status_names_what_is_missing_its_source_and_its_licence(run: Run) -> None:
    code, out, _ = run("status")
    assert code == 0
    for kind in NEEDED["next3d"]:
        assert f"missing  {kind} (needed)" in out
    assert "https://flame.is.tue.mpg.de: generic_model.pkl" in out
    assert FLAME_LICENCE in out
    assert "next3d lacks flame_model" in out


def test_the_head_of_ict_facekit_is_imported_from_a_folder_alone(run: Run, tmp_path: Path) -> None:
    assert "import ict-facekit DIR" in run("status")[1]
    for arguments, message in (
        (("ict-facekit",), "give the folder of the clone"),
        (("model.pkl", str(tmp_path)), "import one file, or ict-facekit DIR"),
        (("ict-facekit", str(tmp_path), "--release", "2023"), "belong to next3d's files"),
        (("ict-facekit", str(tmp_path / "none")), "is no folder"),
        (("ict-facekit", str(tmp_path)), "holds no FaceXModel folder"),
    ):
        code, _, err = run("import", *arguments)
        assert code != 0
        assert message in err


def test_what_is_imported_is_present_and_checked(
    run: Run, shared_dir: Path, tmp_path: Path
) -> None:
    files = ("mini_generic_model.pkl", "mini_flame_static_embedding.pkl")
    for name in (*files, "mini_flame_dynamic_embedding.npy"):
        code, out, err = run("import", str(shared_dir / "fixtures/flame" / name))
        assert code == 0, err
        assert "sha256" in out
        assert "licence that datasets inherit" in err
    rows = json.loads(run("status", "--json")[1])
    assert [row["kind"] for row in rows] == list(IMPORTED)
    assert [row["kind"] for row in rows if row["asset"]] == list(NEEDED["next3d"][:3])
    code, out, _ = run("check")
    assert (code, out.count("ok ")) == (0, 3)
    model = next((tmp_path / "registry" / "files").glob("flame_model-*"))
    model.write_bytes(b"torn")
    code, out, err = run("check", "--json")
    assert code == 1
    wrong = [found["kind"] for found in json.loads(out)["findings"] if not found["ok"]]
    assert wrong[0] == "flame_model"
    assert err.count("\n") == 1


def test_no_registry_and_an_empty_one_are_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, err = run("check")
    assert code == 1
    assert "the registry is empty" in err
    code, _, err = run("import", str(tmp_path / "absent.pkl"))
    assert code == 1
    assert "absent.pkl" in err
    monkeypatch.delenv("SYNTHFORGE_ASSETS")
    code, _, err = run("check")
    assert code == 2
    assert "SYNTHFORGE_ASSETS" in err
    code, out, _ = run("status")  # what there is to be had is told without one
    assert code == 0
    assert "there is no registry: give --registry" in out
