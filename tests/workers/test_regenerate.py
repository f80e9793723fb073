"""A sample is made again the way its shard was made, as the manifest records it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from synthforge.shards import Fingerprint, GeneratorInfo, IndexRange, Manifest, ShardRecord
from tests.workers.test_shard_worker import spec_of
from workers import regenerate
from workers.assets.snapshot import AssetSnapshot
from workers.fingerprint import fingerprint
from workers.generators.registry import read_hashes


def manifest_of(made_by: Fingerprint) -> Manifest:
    shard = ShardRecord.model_construct(
        split="train", number=0, indices=(IndexRange(start=0, stop=5),), fingerprint=made_by.id
    )
    info = GeneratorInfo(
        kind="builtin", versions={}, assets={}, licences={}, fingerprints={made_by.id: made_by}
    )
    return Manifest.model_construct(job=spec_of(), shards=(shard,), generator=info, num_samples=5)


def test_it_takes_the_recorded_rasteriser_and_the_device_that_renders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backends: list[str] = []

    def maker(_spec: Any, _generator: Any, backend: str, _stages: Any) -> None:
        backends.append(backend)

    monkeypatch.setattr(regenerate, "open_generator", lambda *_: None)
    monkeypatch.setattr(regenerate, "FaceMaker", maker)
    chunks = SimpleNamespace(chunks=lambda: [["face"]])
    monkeypatch.setattr(regenerate, "FaceStream", lambda *_: chunks)
    monkeypatch.setattr(regenerate, "encode_face", lambda *_, **__: "sample")
    monkeypatch.setattr(regenerate, "device_model", lambda: "a GPU, a CPU")
    hashes = read_hashes(AssetSnapshot.of(None, ()))
    for backend, device, is_same in (("torch", "a GPU, a CPU", True), ("numba", "a CPU", False)):
        made_by = fingerprint(hashes, backend, device)
        assert regenerate.regenerate(manifest_of(made_by), 3) == ("sample", is_same)
    assert backends == ["torch", "numba"]


def test_a_rasteriser_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regenerate, "open_generator", lambda *_: None)
    made_by = fingerprint({}, "vulkan", "a GPU")
    with pytest.raises(ValueError, match="rasteriser is 'vulkan'; it must be one of numba"):
        regenerate.regenerate(manifest_of(made_by), 3)
