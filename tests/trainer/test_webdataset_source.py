"""Our datasets read through webdataset itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from synthforge.storage import open_storage
from trainer import webdataset_source
from trainer.webdataset_source import ChunkReader, plain_dataset, register_openers


# webdataset leaves a local shard's file to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_gives_the_same_samples(made: Any) -> None:
    samples = list(plain_dataset(str(made.folder), split="val"))
    assert [sample.key for sample in samples] == made.keys[97:]
    assert samples[0].depth is not None
    assert samples[0].depth.dtype == np.uint16
    assert samples[0].landmarks_px is not None


def test_an_s3_url_is_opened_through_our_storage(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def storage_of(url: str) -> Any:
        assert url == "s3://bucket/faces/shards"
        return open_storage(str(made.folder / "shards"))

    monkeypatch.setattr(webdataset_source, "open_storage", storage_of)
    register_openers()
    name = Path(made.manifest.shards[-1].name).name
    url = f"s3://bucket/faces/shards/{name}"
    keys = [
        sample["__key__"]
        for sample in webdataset.WebDataset([url], shardshuffle=False, empty_check=False)
    ]
    assert keys == made.keys[97:]


def test_chunks_read_as_one_file() -> None:
    reader = io.BufferedReader(ChunkReader(iter([b"abc", b"", b"defgh", b"i"])), 4)
    assert reader.read(4) == b"abcd"
    assert reader.read() == b"efghi"
    with pytest.raises(ValueError, match="mode 'wb'; rb would do"):
        webdataset_source._open_object("s3://bucket/a", "wb")
