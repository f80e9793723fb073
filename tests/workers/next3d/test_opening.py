"""A trained Next3D is opened from a registry, whose files must fit each other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from synthforge import cli
from synthforge.assets import AssetError
from synthforge.conventions import CLASS_IDS, IGNORE_CLASS
from synthforge.jobs import ANNOTATIONS, Generator, parse_job_spec
from tests.workers.next3d.registry import add_arrays, add_file, mini_flame
from workers.assets import open_assets
from workers.assets.snapshot import AssetSnapshot
from workers.face_maker import Candidate, Draw, FaceMaker
from workers.flame.assets import FlameAssets
from workers.flame.official import BIN_YAW_DEG
from workers.generators.next3d.calibration import Fit, write_calibration
from workers.generators.next3d.checkpoint import Next3DWeights
from workers.generators.next3d.official_pickle import read_official_checkpoint
from workers.generators.next3d.placement import IDENTITY
from workers.generators.registry import open_generator
from workers.one_thread import one_thread
from workers.timing import Stages

TRAINED = Generator(kind="next3d", untrained=False, conditioning="fixed", precision="float32")


def head_of_the_checkpoint(folder: Path) -> FlameAssets:
    """A FLAME-format model over the mesh that the recorded checkpoint was built with."""
    lines = [line.split() for line in (folder / "syn_head_template.obj").read_text().splitlines()]
    points = np.array([row[1:4] for row in lines if row[:1] == ["v"]], np.float64)
    faces = np.array([[int(c.split("/")[0]) - 1 for c in r[1:]] for r in lines if r[:1] == ["f"]])
    rng = np.random.default_rng(0)
    skin = np.zeros((len(points), 5))
    skin[:, 1] = 1
    return FlameAssets.from_arrays(
        {
            "v_template": points,
            "faces": faces.astype(np.int32),
            "shapedirs": rng.normal(scale=1e-4, size=(len(points), 3, 4)),
            "expressiondirs": rng.normal(scale=1e-4, size=(len(points), 3, 3)),
            "posedirs": np.zeros((len(points), 3, 36)),
            "joint_regressor": np.full((5, len(points)), 1 / len(points)),
            "parents": np.array([-1, 0, 1, 1, 1], np.int32),
            "weights": skin,
        }
    )


def landmarks(model: FlameAssets, folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Faces with a corner next to each landmark, and barycentrics of that corner."""
    wanted = np.loadtxt(folder / "syn_lms.txt")
    used = np.unique(model.faces)
    apart = np.linalg.norm(model.v_template[used][None] - wanted[:, None], axis=-1)
    nearest = used[apart.argmin(1)]
    hits = [np.argwhere(model.faces == vertex)[0] for vertex in nearest]
    face = np.array([hit[0] for hit in hits], np.int32)
    bary = np.eye(3)[[hit[1] for hit in hits]]
    bins = len(BIN_YAW_DEG)
    return {
        "flame_static_embedding": (face[17:], bary[17:]),
        "flame_dynamic_embedding": (
            np.tile(face[:17], (bins, 1)),
            np.tile(bary[:17], (bins, 1, 1)),
        ),
    }


@pytest.fixture(scope="module")
def registry_url(
    shared_dir: Path, official_pickle: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    folder = tmp_path_factory.mktemp("trained")
    registry = open_assets(str(folder / "registry"))
    syn = shared_dir / "fixtures" / "next3d" / "syn_assets"
    model = head_of_the_checkpoint(syn)
    add_arrays(registry, "flame_model", model.to_arrays(), folder)
    for kind, (face, bary) in landmarks(model, syn).items():
        add_arrays(registry, kind, {"lmk_face_idx": face, "lmk_b_coords": bary}, folder)  # type: ignore[arg-type]
    weights = Next3DWeights.from_official(
        read_official_checkpoint(official_pickle), wiring="front-plane"
    )
    weights.save(folder / "next3d_checkpoint.safetensors")
    add_file(registry, "next3d_checkpoint", folder / "next3d_checkpoint.safetensors")
    return str(folder / "registry")


def test_a_checkpoint_and_its_head_make_labelled_faces(registry_url: str) -> None:
    spec = parse_job_spec(json.dumps({
        "count": 2, "generator": "next3d", "image": {"size": 64},
        "annotations": list(ANNOTATIONS), "camera": {"fov": 20},
        "quality": {"min_opacity": 0, "max_depth_residual": 1, "min_face": 0}}))  # fmt: skip
    with one_thread():
        generator = open_generator(spec.generator, AssetSnapshot.of(registry_url))
        maker = FaceMaker(spec, generator, "numba", Stages())
        (found,) = maker.propose([Draw(0, 0, "train")])
    assert isinstance(found, Candidate)
    assert set(np.unique(found.segmentation)) <= {
        CLASS_IDS["skin"], CLASS_IDS["neck"], CLASS_IDS["hair"], IGNORE_CLASS
    }  # fmt: skip
    assert found.labels.u is not None
    beyond = found.segmentation == IGNORE_CLASS
    assert (found.labels.u[beyond] == 0).all()
    info = generator.info()
    assert info.versions == {"wiring": "front-plane", "calibration": "published"}
    assert set(info.assets) == {
        "flame_model", "flame_static_embedding", "flame_dynamic_embedding", "next3d_checkpoint"
    }  # fmt: skip


def test_a_calibration_in_the_registry_is_used(registry_url: str, tmp_path: Path) -> None:
    held = AssetSnapshot.of(registry_url)
    before = open_generator(TRAINED, held)
    path = tmp_path / "calibration.npz"
    write_calibration(path, Fit(IDENTITY, 0.02, 0.004, 48), held.held["next3d_checkpoint"].sha256)
    add_file(open_assets(registry_url), "calibration", path)
    after = open_generator(TRAINED, AssetSnapshot.of(registry_url))
    assert after is not before
    assert after.info().versions["calibration"] == "fitted"
    write_calibration(path, Fit(IDENTITY, 0.02, 0.004, 48), "7" * 64)
    add_file(open_assets(registry_url), "calibration", path)
    with pytest.raises(ValueError, match="calibrate' again"):
        open_generator(TRAINED, AssetSnapshot.of(registry_url))


def test_what_is_missing_or_of_another_mesh_is_named(
    registry_url: str, shared_dir: Path, tmp_path: Path
) -> None:
    other = mini_flame(shared_dir / "fixtures" / "flame", tmp_path)
    with pytest.raises(AssetError, match="has no next3d_checkpoint"):
        open_generator(TRAINED, AssetSnapshot.of(other))
    held = AssetSnapshot.of(registry_url)
    checkpoint = held.fetch(held.held["next3d_checkpoint"], tmp_path / "cache")
    add_file(open_assets(other), "next3d_checkpoint", checkpoint)
    with pytest.raises(ValueError, match="import the FLAME model that the checkpoint was trained"):
        open_generator(TRAINED, AssetSnapshot.of(other))


def test_calibrate_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["synthforge", "assets", "calibrate", "--registry", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "the registry has no flame_model" in capsys.readouterr().err
