"""Datasets made in plain processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.in_process import make_dataset
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.shards import MANIFEST_NAME, Manifest


def few_faces() -> JobSpec:
    document = {
        "count": 5,
        "image": {"size": 64, "format": "jpg"},
        "annotations": ["landmarks68", "segmentation"],
        "output": {"samples_per_shard": 2, "splits": {"train": 0.8, "val": 0.2}},
    }
    return parse_job_spec(json.dumps(document))


def read_manifest(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())


def test_any_number_of_processes_makes_the_same_shards(tmp_path: Path) -> None:
    for processes in (1, 2):
        make_dataset(few_faces(), tmp_path / str(processes), processes)
    one, two = (read_manifest(tmp_path / name) for name in ("1", "2"))
    assert one == two
    assert one.splits == {"train": 4, "val": 1}
    assert [shard.num_samples for shard in one.shards] == [2, 2, 1]


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        make_dataset(few_faces(), tmp_path)
