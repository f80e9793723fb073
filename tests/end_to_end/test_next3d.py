"""An untrained Next3D over a FLAME-format model, from POST through Ray to S3: one digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from synthforge.shards import SUMMARY_NAMES
from synthforge.storage import open_storage
from synthforge.verification import verify_dataset
from tests.end_to_end.engine import Engine, Made, make
from tests.end_to_end.test_same_bytes import samples
from tests.workers.next3d.registry import mini_flame
from tools.s3_server import S3Server
from workers.regenerate import regenerate


def spec() -> JobSpec:
    document = {
        "count": 6,
        "seed": 11,
        "generator": {"kind": "next3d", "untrained": True, "network": "small"},
        "identity": {"views": 2},
        "image": {"size": 64},
        "annotations": list(ANNOTATIONS),
        "output": {"samples_per_shard": 2, "splits": {"train": 0.5, "val": 0.5}},
    }
    return parse_job_spec(json.dumps(document))


@pytest.fixture(scope="module")
def registry_url(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return mini_flame(shared_dir / "fixtures" / "flame", tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="module")
def next3d_engine(
    ray_on_this_machine: None,
    s3_server: S3Server,
    registry_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Engine:
    prefix = f"{s3_server.make_bucket('next3d')}/sets"
    return Engine(tmp_path_factory.mktemp("next3d"), prefix, registry_url)


@pytest.fixture(scope="module")
def made(next3d_engine: Engine) -> Made:
    with next3d_engine.running() as client:
        return make(client, spec())


def test_an_untrained_job_makes_a_dataset_that_verifies(made: Made) -> None:
    storage = open_storage(made.url)
    assert made.url.startswith("s3://")
    assert list(verify_dataset(storage)) == []
    info = made.manifest.generator
    assert info.kind == "next3d"
    assert info.versions["weights"] == "untrained small"
    assert "flame_model" in info.assets
    assert "non-commercial" in info.licences["FLAME head model"]
    assert {file.name for file in made.manifest.files} == set(SUMMARY_NAMES)
    card = storage.get_bytes("README.md").decode()
    assert "license_name: inherited" in card
    assert "random weights" in card


def test_a_sample_made_again_has_the_shards_bytes(
    made: Made, registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHFORGE_ASSETS", registry_url)
    sample, is_same_fingerprint = regenerate(made.manifest, 3)
    assert is_same_fingerprint
    files = samples(made)
    for suffix, data in sample.members:
        assert files[f"{sample.key}.{suffix}"] == data


def test_neither_workers_nor_chunks_in_flight_change_the_digest(
    next3d_engine: Engine, made: Made
) -> None:
    with next3d_engine.running(2, chunks_in_flight=4) as client:
        assert make(client, spec()).digest == made.digest
