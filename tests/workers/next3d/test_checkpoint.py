"""Reading a released pickle, refusing others, and the safe file between pickle and network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from workers.flame.safe_pickle import BadPickleError, ForbiddenGlobalError
from workers.generators.next3d.checkpoint import CheckpointError, Next3DWeights, build_network
from workers.generators.next3d.official_pickle import (
    OfficialCheckpoint,
    read_official_checkpoint,
)
from workers.generators.next3d.safetensors_file import (
    BadSafetensorsError,
    read_safetensors,
    write_safetensors,
)


@pytest.fixture(scope="module")
def official(official_pickle: Path) -> OfficialCheckpoint:
    return read_official_checkpoint(official_pickle)


def test_a_released_pickle_gives_the_recorded_weights_bit_for_bit(
    official: OfficialCheckpoint, shared_dir: Path
) -> None:
    with np.load(shared_dir / "fixtures" / "next3d" / "e2e_syn_weights.npz") as recorded:
        for name in (name for name in recorded.files if not name.startswith("__")):
            ours = official.tensors[name]
            np.testing.assert_array_equal(ours, recorded[name].astype(ours.dtype), err_msg=name)
    assert official.neural_resolution == 64
    assert official.source.startswith("#")
    assert len(official.source_sha256) == 64


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9999])
def test_a_torn_pickle_is_a_clear_error(
    official_pickle: Path, tmp_path: Path, share: float
) -> None:
    torn = tmp_path / "torn.pkl"
    whole = official_pickle.read_bytes()
    torn.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(BadPickleError, match=r"torn\.pkl"):
        read_official_checkpoint(torn)


@pytest.mark.parametrize("name", ["evil_py3_eval", "evil_builtin_eval", "evil_os_mkdir"])
def test_a_hostile_pickle_is_refused_by_name(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ForbiddenGlobalError, match="asks for the global"):
        read_official_checkpoint(shared_dir / "fixtures" / "flame" / f"{name}.pkl")
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_global_inside_a_storage_is_refused(
    official_pickle: Path, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile.pkl"
    # the storage's own stream names its type: c torch \n FloatStorage \n
    whole = official_pickle.read_bytes()
    assert b"ctorch\nFloatStorage\n" in whole
    hostile.write_bytes(whole.replace(b"ctorch\nFloatStorage\n", b"cposix\nsystem______\n", 1))

    with pytest.raises(BadPickleError, match="system"):
        read_official_checkpoint(hostile)


def test_missing_unknown_and_unfit_tensors_are_listed(official: OfficialCheckpoint) -> None:
    tensors = dict(official.tensors)
    del tensors["decoder.net.0.bias"]
    tensors["decoder.net.9.bias"] = np.zeros(3, np.float32)
    tensors["decoder.net.2.bias"] = np.zeros(7, np.float32)
    tensors["backbone.synthesis.b8.resample_filter"] = np.ones((4, 4), np.float32)

    with pytest.raises(CheckpointError) as caught:
        Next3DWeights.from_official(replace(official, tensors=tensors), wiring="front-plane")

    message = str(caught.value)
    assert "missing: decoder.net.0.bias" in message
    assert "unknown: decoder.net.9.bias" in message
    assert "decoder.net.2.bias (7,) instead of (33,)" in message
    assert "b8.resample_filter is no binomial filter" in message


def test_other_plane_axes_are_refused(official: OfficialCheckpoint) -> None:
    other = replace(official, plane_axes=official.plane_axes[::-1])

    with pytest.raises(CheckpointError, match="plane_axes"):
        Next3DWeights.from_official(other, wiring="front-plane")


def test_the_safe_file_holds_the_same_network(official: OfficialCheckpoint, tmp_path: Path) -> None:
    weights = Next3DWeights.from_official(official, wiring="three-plane")
    weights.save(tmp_path / "network.safetensors")
    weights.save(tmp_path / "again.safetensors")

    loaded = Next3DWeights.load(tmp_path / "network.safetensors")

    assert (tmp_path / "network.safetensors").read_bytes() == (
        tmp_path / "again.safetensors"
    ).read_bytes()
    assert loaded.config == weights.config
    assert loaded.provenance == weights.provenance
    assert loaded.tensors.keys() == weights.tensors.keys()
    for name, array in weights.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)
    assert not any(name.startswith("mouth_backbone.mapping") for name in loaded.tensors)


def test_a_torn_safe_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    write_safetensors(path, {"a": np.arange(12, dtype=np.float32)}, {"word": "x"})
    whole = path.read_bytes()
    for length in (0, 4, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadSafetensorsError, match=r"some\.safetensors"):
            read_safetensors(path)


def test_only_a_prepared_network_runs(tiny_weights: Next3DWeights) -> None:
    network = build_network(tiny_weights)

    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(not p.is_meta for p in network.parameters())
    assert torch.isfinite(network.mapping(torch.ones(1, 512), torch.zeros(1, 25))).all()
