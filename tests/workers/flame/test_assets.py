"""Head models are read from the official files and from plain arrays, and checked."""

from __future__ import annotations

import dataclasses
import lzma
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from workers.flame.arrays_file import file_sha256, read_arrays, write_arrays
from workers.flame.assets import FlameAssets, load_npz
from workers.flame.embedding import load_embedding_npz
from workers.flame.official import (
    BIN_YAW_DEG,
    read_contour_bins,
    read_embedding,
    read_model,
    read_static_points,
    save_npz,
    to_view_grid,
)
from workers.flame.safe_pickle import BadPickleError


def _official(head: FlameAssets) -> dict[str, object]:
    """The entries of a FLAME model file, as its publishers name them."""
    count = head.num_vertices
    directions = np.zeros((count, 3, 400))
    directions[:, :, : head.num_shape] = head.shapedirs
    directions[:, :, 300 : 300 + head.num_expression] = head.expressiondirs
    tree = np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32)
    return {
        "v_template": head.v_template,
        "f": head.faces.astype(np.uint32),
        "shapedirs": directions,
        "posedirs": head.posedirs,
        "J_regressor": head.joint_regressor,
        "kintree_table": tree,
        "weights": head.weights,
        "bs_style": "lbs",
    }


def _assert_equal(found: FlameAssets, expected: FlameAssets) -> None:
    for name, array in expected.to_arrays().items():
        np.testing.assert_array_equal(getattr(found, name), array, err_msg=name)


def test_an_official_model_is_read(tiny_head: FlameAssets) -> None:
    found = read_model(pickle.dumps(_official(tiny_head), 2), "model.pkl")
    assert (found.num_shape, found.num_expression) == (300, 100)
    np.testing.assert_array_equal(found.shapedirs[:, :, : tiny_head.num_shape], tiny_head.shapedirs)
    assert found.parents.tolist() == [-1, 0, 1, 1, 1]
    np.testing.assert_array_equal(found.faces, tiny_head.faces)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_chumpy_and_sparse_arrays_are_read_without_their_libraries(
    tiny_head: FlameAssets, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    """The classes exist while the file is written, and are gone when it is read."""
    regressor = np.where(tiny_head.joint_regressor > 0.001, tiny_head.joint_regressor, 0)
    rows, starts = [], [0]
    for column in regressor.T:
        rows += np.flatnonzero(column).tolist()
        starts.append(len(rows))
    values = regressor.T[regressor.T != 0]
    entries = _official(tiny_head)
    with monkeypatch.context() as patch:
        chumpy = _foreign_class(patch, "chumpy.ch", "Ch")
        sparse = _foreign_class(patch, "scipy.sparse.csc", "csc_matrix")
        for name in ("v_template", "shapedirs", "weights"):
            wrapped = chumpy()
            wrapped.__dict__.update(
                x=entries[name], _dirty_vars=set(), _itr=None, _make_dense=False
            )
            entries[name] = wrapped
        matrix = sparse()
        matrix.__dict__.update(
            _shape=regressor.shape,
            data=values,
            indices=np.array(rows, np.int32),
            indptr=np.array(starts, np.int32),
            format="csc",
        )
        entries["J_regressor"] = matrix
        data = pickle.dumps(entries, protocol)
    assert "chumpy.ch" not in sys.modules
    found = read_model(data, "model.pkl")
    np.testing.assert_array_equal(found.v_template, tiny_head.v_template)
    np.testing.assert_array_equal(found.joint_regressor, regressor)


def _foreign_class(patch: pytest.MonkeyPatch, module: str, name: str) -> type:
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        patch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    made = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


@pytest.mark.parametrize("tag", ["mini", "proc"])
def test_the_recorded_chumpy_file_equals_the_plain_one(shared_dir: Path, tag: str) -> None:
    folder = shared_dir / "fixtures" / "flame"

    def read(name: str) -> FlameAssets:
        plain, packed = folder / name, folder / f"{name}.xz"
        data = plain.read_bytes() if plain.exists() else lzma.decompress(packed.read_bytes())
        return read_model(data, name)

    _assert_equal(read(f"{tag}_generic_model_chumpy.pkl"), read(f"{tag}_generic_model.pkl"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"v_template": None}, "entry 'v_template' is missing"),
        ({"shapedirs": np.zeros((4, 3, 10))}, r"shapedirs has shape \(4, 3, 10\), FLAME's is"),
        ({"posedirs": np.zeros((4, 3, 36))}, r"posedirs has shape \(4, 3, 36\), a head"),
        ({"f": np.zeros((2, 3))}, "f holds numbers that are no index"),
        ({"f": np.full((2, 3), 10**6)}, "faces names a vertex outside"),
        ({"kintree_table": np.zeros((2, 5), np.int64)}, "parents is"),
        ({"kintree_table": np.zeros(5, np.int64)}, "kintree_table has shape"),
        ({"weights": "heavy"}, "a str is no array of numbers"),
        ({"J_regressor": [[1, 2], [3]]}, "same shape"),
    ],
)
def test_a_malformed_model_is_one_line_naming_the_entry(
    tiny_head: FlameAssets, changed: dict[str, object], says: str
) -> None:
    entries = {k: v for k, v in (_official(tiny_head) | changed).items() if v is not None}
    with pytest.raises(BadPickleError, match=rf"^model\.pkl: .*{says}[^\n]*$"):
        read_model(pickle.dumps(entries, 2), "model.pkl")


@pytest.mark.parametrize("value", [[1, 2], "text", None])
def test_a_pickle_that_is_no_dictionary_is_refused(value: object) -> None:
    with pytest.raises(BadPickleError, match=r"model\.pkl holds a \w+, expected a dictionary"):
        read_model(pickle.dumps(value, 2), "model.pkl")


def _python_2_static(faces: np.ndarray, bary: np.ndarray) -> bytes:
    """A static embedding as Python 2 writes it in protocol 0, the published file's."""

    def array(values: np.ndarray, code: str) -> str:
        escaped = "".join(f"\\x{byte:02x}" for byte in values.tobytes())
        sides = "".join(f"I{side}\n" for side in values.shape)
        return (
            "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
            f"({sides}tcnumpy\ndtype\n(S'{code}'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
            f"S'{escaped}'\ntb"
        )

    text = f"(dp0\nS'lmk_face_idx'\n{array(faces, 'u4')}sS'lmk_b_coords'\n{array(bary, 'f8')}s."
    return text.encode("ascii")


def _bins(tmp_path: Path, faces: np.ndarray, bary: np.ndarray) -> bytes:
    box = np.empty((), dtype=object)
    box[()] = {"lmk_face_idx": list(faces), "lmk_b_coords": list(bary)}
    np.save(tmp_path / "dynamic.npy", box, allow_pickle=True)
    return (tmp_path / "dynamic.npy").read_bytes()


def _random_points(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 100, shape).astype(np.uint32), rng.dirichlet([1, 1, 1], shape)


def test_the_landmark_files_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    static, moving = _random_points(rng, 51), _random_points(rng, len(BIN_YAW_DEG), 17)
    found = read_embedding(
        _python_2_static(*static),
        _bins(tmp_path, *moving),
        static_source="static.pkl",
        dynamic_source="dynamic.npy",
    )
    np.testing.assert_array_equal(found.static_face, static[0])
    np.testing.assert_array_equal(found.static_bary, static[1])
    np.testing.assert_array_equal(found.bins_face, moving[0])
    np.testing.assert_array_equal(found.bins_bary, moving[1])


def test_landmark_files_of_another_form_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(BadPickleError, match=r"static\.pkl: .* have shapes \(50,\) and"):
        read_static_points(_python_2_static(*_random_points(rng, 50)), "static.pkl")
    with pytest.raises(BadPickleError, match=r"dynamic\.npy: .* have shapes \(78, 17\) and"):
        read_contour_bins(_bins(tmp_path, *_random_points(rng, 78, 17)), "dynamic.npy")
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(BadPickleError, match=r"plain\.npy holds float64 of shape \(3,\)"):
        read_contour_bins((tmp_path / "plain.npy").read_bytes(), "plain.npy")
    with pytest.raises(BadPickleError, match=r"torn\.npy is no \.npy file"):
        read_contour_bins(b"\x93NUMPY\x01\x00\xff", "torn.npy")


def test_landmarks_of_another_mesh_are_refused(tmp_path: Path, tiny_head: FlameAssets) -> None:
    rng = np.random.default_rng(3)
    static, moving = _random_points(rng, 51), _random_points(rng, len(BIN_YAW_DEG), 17)
    static[0][7] = len(tiny_head.faces)
    found = read_embedding(
        _python_2_static(*static),
        _bins(tmp_path, *moving),
        static_source="static.pkl",
        dynamic_source="dynamic.npy",
    )
    with pytest.raises(ValueError, match="static_face names a face outside"):
        to_view_grid(found, tiny_head)


def test_a_converted_model_is_the_same_model(tmp_path: Path, tiny_head: FlameAssets) -> None:
    rng = np.random.default_rng(3)
    files = (
        _python_2_static(*_random_points(rng, 51)),
        _bins(tmp_path, *_random_points(rng, len(BIN_YAW_DEG), 17)),
    )
    embedding = read_embedding(*files, static_source="s", dynamic_source="d")
    grid = to_view_grid(embedding, tiny_head)
    path, again = tmp_path / "flame.npz", tmp_path / "again.npz"
    sha256 = save_npz(path, tiny_head, grid)
    assert save_npz(again, tiny_head, grid) == sha256 == file_sha256(path)
    _assert_equal(load_npz(path, sha256=sha256), tiny_head)
    found = load_embedding_npz(path, sha256=sha256)
    for name, array in grid.to_arrays().items():
        np.testing.assert_array_equal(getattr(found, name), array, err_msg=name)


def test_half_precision_directions_become_single(tmp_path: Path, tiny_head: FlameAssets) -> None:
    arrays = {name: array.astype(np.float32) for name, array in tiny_head.to_arrays().items()}
    arrays |= {name: arrays[name].astype(np.int32) for name in ("faces", "parents")}
    arrays["shapedirs"] = arrays["shapedirs"].astype(np.float16)
    write_arrays(tmp_path / "head.npz", {**arrays, "uv": np.zeros((4, 2))})
    found = load_npz(tmp_path / "head.npz")
    assert {found.shapedirs.dtype, found.v_template.dtype} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(found.shapedirs, arrays["shapedirs"])


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"a": np.arange(3)})
    with pytest.raises(ValueError, match=r"a\.npz has sha256 \w+, expected 00"):
        read_arrays(tmp_path / "a.npz", ["a"], sha256="00")


def test_a_damaged_arrays_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"a": np.arange(300)})
    whole = path.read_bytes()
    for data, says in (
        (whole[:100], "not a whole"),
        (b"no zip", "not a whole"),
        (whole.replace(b"(300,)", b"(900,)"), "not what the file holds|not a whole"),
        (whole.replace(b"'<i8'", b"'|O'  "), "not what the file holds|not a whole"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"^a\.npz.*({says})"):
            read_arrays(path, ["a"])
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="holds no array"):
        read_arrays(path, ["b"])


def test_an_array_that_announces_more_than_it_has_is_not_made(tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00v\x00"
    fields = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("a.npy", header + fields.ljust(117) + b"\n" + b"12345678")
    with pytest.raises(ValueError, match=r"huge\.npz: array 'a' of shape .* is not what the file"):
        read_arrays(tmp_path / "huge.npz", ["a"])


@pytest.mark.parametrize(
    ("field", "change", "says"),
    [
        ("v_template", lambda a: a * np.nan, "v_template holds a number that is not finite"),
        ("weights", lambda a: a * 2, "weights has a row that does not sum to 1"),
        ("faces", lambda a: a + 10**6, "faces names a vertex outside"),
        ("parents", lambda a: a * 0, "parents is"),
        ("posedirs", lambda a: a[:, :, :9], r"posedirs has shape \(\d+, 3, 9\), a head"),
        ("shapedirs", lambda a: a[..., 0], r"shapedirs has shape"),
    ],
)
def test_a_head_that_does_not_fit_itself_is_refused(
    tiny_head: FlameAssets, field: str, change, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(tiny_head, **{field: change(getattr(tiny_head, field))})
