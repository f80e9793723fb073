"""Bringing licensed files in: recognised by content, converted, kept with their provenance."""

from __future__ import annotations

import gzip
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from synthforge.assets import FLAME_LICENCE, FLAME_OPEN_LICENCE, AssetError, AssetKind
from workers.assets import AssetRegistry, open_assets
from workers.assets.checking import check_assets
from workers.assets.importing import import_asset
from workers.assets.layouts import read_semantic_map
from workers.assets.loading import AssetLoader
from workers.assets.precision import posed_heads, psnr_db
from workers.assets.recognise import recognise
from workers.assets.wiring import wiring_of_source
from workers.flame.arrays_file import file_sha256
from workers.flame.official import MASK_REGIONS
from workers.flame.safe_pickle import BadPickleError, ForbiddenGlobalError
from workers.generators.next3d.official_pickle import read_official_checkpoint

FLAME_FILES: dict[str, AssetKind] = {
    "flame/mini_generic_model.pkl": "flame_model",
    "flame/mini_generic_model_chumpy.pkl": "flame_model",
    "flame/mini_flame_static_embedding.pkl": "flame_static_embedding",
    "flame/mini_flame_dynamic_embedding.npy": "flame_dynamic_embedding",
    "next3d/syn_assets/syn_head_template.obj": "flame_texture_uv",
}
THREE_PLANES = "x = torch.cat((rendering_stitch, rendering_images[1], rendering_images[2]), 1)"
HOSTILE = ("evil_builtin_eval", "evil_os_mkdir", "evil_py3_eval")


@pytest.fixture
def registry(tmp_path: Path) -> AssetRegistry:
    return open_assets(str(tmp_path / "registry"))


@pytest.fixture
def loader(registry: AssetRegistry, tmp_path: Path) -> AssetLoader:
    return AssetLoader(registry, tmp_path / "cache")


@pytest.fixture(scope="module")
def checkpoint(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    packed = shared_dir / "fixtures/next3d/next3d_tiny_official_format_syn.pkl.gz"
    path = tmp_path_factory.mktemp("official") / "some.bin"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def mask_file(path: Path, **changes: list[int] | None) -> Path:
    regions = {name: np.arange(3) + i for i, name in enumerate(MASK_REGIONS)}
    for name, ids in changes.items():
        if ids is None:
            del regions[name]
        else:
            regions[name] = np.array(ids)
    path.write_bytes(pickle.dumps(regions, protocol=2))
    return path


@pytest.mark.parametrize(("name", "kind"), FLAME_FILES.items())
def test_a_file_is_known_by_what_it_holds(
    shared_dir: Path, tmp_path: Path, registry: AssetRegistry, name: str, kind: AssetKind
) -> None:
    path = tmp_path / "some.bin"
    shutil.copy(shared_dir / "fixtures" / name, path)
    (entry,) = import_asset(path, registry)
    assert entry.kind == kind
    assert registry.find(kind) == entry
    assert entry.provenance.file == "some.bin"
    assert entry.provenance.sha256 == file_sha256(path)


def test_the_converted_files_hold_the_same_head(
    shared_dir: Path, registry: AssetRegistry, loader: AssetLoader
) -> None:
    for name in list(FLAME_FILES)[1:4]:
        import_asset(shared_dir / "fixtures" / name, registry)
    model = loader.flame_model()
    with np.load(shared_dir / "fixtures/flame/mini_parity_s300_e100.npz") as recorded:
        np.testing.assert_array_equal(model.faces, recorded["faces"])
    assert (model.num_shape, model.num_expression) == (300, 100)
    assert loader.landmarks(model).contour_face.shape == (79, 1, 17)
    assert all(found.is_right for found in check_assets(loader)), list(check_assets(loader))


def test_the_open_release_alone_has_the_open_licence(
    shared_dir: Path, registry: AssetRegistry
) -> None:
    path = shared_dir / "fixtures/flame/mini_generic_model.pkl"
    assert import_asset(path, registry)[0].licence == FLAME_LICENCE
    assert import_asset(path, registry, release="2023")[0].licence == FLAME_LICENCE
    (entry,) = import_asset(path, registry, release="2023-open")
    assert (entry.licence, entry.version) == (FLAME_OPEN_LICENCE, "2023-open")


def test_masks_keep_every_region_and_a_missing_one_is_named(
    tmp_path: Path, registry: AssetRegistry, loader: AssetLoader, shared_dir: Path
) -> None:
    import_asset(mask_file(tmp_path / "a.pkl"), registry)
    assert set(loader.masks()) == set(MASK_REGIONS)
    with pytest.raises(BadPickleError, match="regions are missing: scalp"):
        import_asset(mask_file(tmp_path / "b.pkl", scalp=None), registry)
    import_asset(shared_dir / "fixtures/flame/mini_generic_model.pkl", registry)
    import_asset(mask_file(tmp_path / "c.pkl", nose=[5022]), registry)
    wrong = [found for found in check_assets(loader) if not found.is_right]
    assert [found.kind for found in wrong] == ["flame_masks"]
    assert "vertex 5022" in wrong[0].says


def test_a_layout_of_an_archive_is_kept_without_its_pictures(
    tmp_path: Path, registry: AssetRegistry, loader: AssetLoader
) -> None:
    path = tmp_path / "texture"
    vt, ft = np.random.default_rng(0).random((5, 2)), np.array([[0, 1, 2], [2, 3, 4]], np.uint32)
    with path.open("wb") as file:
        np.savez(file, mean=np.zeros((512, 512, 3)), vt=vt, ft=ft)
    (entry,) = import_asset(path, registry)
    assert entry.num_bytes < 2000
    np.testing.assert_allclose(loader.uv_layout()["vt"], vt, atol=1e-7)
    np.testing.assert_array_equal(loader.uv_layout()["ft"], ft)


def test_a_semantic_map_may_be_grey_or_a_palette(
    tmp_path: Path, registry: AssetRegistry, loader: AssetLoader
) -> None:
    ids = np.array([[0, 1], [10, 255]], np.uint8)
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), ids)
    np.testing.assert_array_equal(read_semantic_map(grey), ids)
    palette = tmp_path / "palette.png"
    palette.write_bytes(_with_palette(grey.read_bytes()))
    import_asset(palette, registry)
    np.testing.assert_array_equal(loader.semantic_map(), ids)
    assert all(found.is_right for found in check_assets(loader))
    cv2.imwrite(str(grey), np.array([[0, 77]], np.uint8))
    with pytest.raises(AssetError, match="unknown classes 77"):
        read_semantic_map(grey)


def _with_palette(png: bytes) -> bytes:
    """The same pixels as indices of a palette."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = bytearray(png[16:29])
    header[9] = 3
    colours = chunk(b"PLTE", bytes(range(256)) * 3)
    return png[:8] + chunk(b"IHDR", bytes(header)) + colours + png[33:]


def test_a_checkpoint_keeps_its_weights_wiring_and_the_hash_of_its_source(
    checkpoint: Path, registry: AssetRegistry, loader: AssetLoader
) -> None:
    network, topology = import_asset(checkpoint, registry, wiring="three-plane")
    official = read_official_checkpoint(checkpoint)
    assert (network.kind, topology.kind) == ("next3d_checkpoint", "next3d_topology")
    assert network.wiring == "three-plane"
    assert network.provenance.notes["source_sha256"] == official.source_sha256
    assert network.provenance.notes["wiring_from"] == "the user"
    weights = loader.checkpoint()
    assert weights.config.wiring == "three-plane"
    for name, array in weights.tensors.items():
        if name in official.tensors:
            np.testing.assert_array_equal(array, official.tensors[name])
    assert all(found.is_right for found in check_assets(loader))


def test_an_unknown_source_asks_for_the_wiring(checkpoint: Path, registry: AssetRegistry) -> None:
    with pytest.raises(AssetError, match="give --wiring front-plane"):
        import_asset(checkpoint, registry)
    assert registry.entries() == ()


@pytest.mark.parametrize(
    ("statement", "wiring"),
    [
        (THREE_PLANES, "three"),
        ("x = torch.cat([rendering_stitch, zeros, zeros], 1)", "front"),
        ("x = torch.cat((rendering_stitch, torch.zeros_like(a), torch.zeros_like(a)), 1)", "front"),
        (
            f"alpha_images[1] = torch.zeros_like(alpha_images[1])\n        {THREE_PLANES}",
            "front",
        ),
        ("x = torch.cat((rendering_stitch, side * 0, top * 0), 1)", None),
        ("x = render(all)", None),
    ],
)
def test_the_wiring_is_read_from_the_text(statement: str, wiring: str | None) -> None:
    source = (
        "import os\nclass G:\n    def synthesis(self, ws):\n"
        f"        dummy = torch.zeros_like(rendering)\n        {statement}\n        return x\n"
        "    def sample(self):\n        y = torch.cat((rendering_stitch, zeros, zeros), 1)\n"
    )
    assert wiring_of_source(source) == (wiring and f"{wiring}-plane")
    assert wiring_of_source("") is None


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mark", [b"", b"shapedirs", b"_reconstruct_persistent_obj"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    shared_dir: Path,
    tmp_path: Path,
    registry: AssetRegistry,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    mark: bytes,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "evil.pkl"
    path.write_bytes((shared_dir / f"fixtures/flame/{name}.pkl").read_bytes() + mark)
    with pytest.raises((AssetError, ForbiddenGlobalError)):
        import_asset(path, registry)
    assert registry.entries() == ()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_torn_file_is_a_clear_error_and_adds_nothing(
    checkpoint: Path, tmp_path: Path, registry: AssetRegistry, share: float
) -> None:
    torn = tmp_path / "torn.pkl"
    whole = checkpoint.read_bytes()
    torn.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((AssetError, BadPickleError), match=r"torn\.pkl"):
        import_asset(torn, registry, wiring="front-plane")
    assert registry.entries() == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"some words", "none of the files that can be imported"),
        (b"\x80\x04N.", "none of the files"),
        (b"PK\x03\x04 torn", "torn"),
        (b"\x93NUMPY full_lmk_faces_idx", "DECA"),
        (b"\x89PNG\r\n\x1a\n", "semantic map"),
    ],
)
def test_what_is_no_asset_is_said_to_be_none(
    tmp_path: Path, registry: AssetRegistry, content: bytes, said: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(AssetError, match=said):
        import_asset(path, registry)


def test_options_of_another_kind_are_refused(shared_dir: Path, registry: AssetRegistry) -> None:
    path = shared_dir / "fixtures/flame/mini_flame_static_embedding.pkl"
    assert recognise(path) == "flame_static_embedding"
    with pytest.raises(AssetError, match="a wiring belongs to a Next3D checkpoint"):
        import_asset(path, registry, wiring="front-plane")
    with pytest.raises(AssetError, match="a release belongs to a FLAME model"):
        import_asset(path, registry, release="2020")


def test_a_check_finds_a_changed_file_and_half_an_embedding(
    shared_dir: Path, registry: AssetRegistry, loader: AssetLoader, tmp_path: Path
) -> None:
    for name in list(FLAME_FILES)[1:3]:
        import_asset(shared_dir / "fixtures" / name, registry)
    wrong = {found.kind: found.says for found in check_assets(loader) if not found.is_right}
    assert "flame_dynamic_embedding, is missing" in wrong["flame_static_embedding"]
    entry = loader.entry("flame_model")
    (tmp_path / "registry" / entry.file).write_bytes(b"other")
    shutil.rmtree(tmp_path / "cache")
    wrong = {found.kind: found.says for found in check_assets(loader) if not found.is_right}
    assert "the index says" in wrong["flame_model"]


def test_a_lower_precision_is_measured_in_decibels(
    shared_dir: Path, registry: AssetRegistry, loader: AssetLoader
) -> None:
    for name in list(FLAME_FILES)[1:4]:
        import_asset(shared_dir / "fixtures" / name, registry)
    model = loader.flame_model()
    heads = posed_heads(model, loader.landmarks(model), 2)
    assert heads.shape == (2, model.num_vertices + 68, 3)
    assert (heads[0] != heads[1]).any()
    picture = torch.zeros(3, 4, 4)
    assert psnr_db(picture, picture) == float("inf")
    assert psnr_db(picture + 0.02, picture) == pytest.approx(40.0, abs=1e-3)
