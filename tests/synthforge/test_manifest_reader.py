"""A manifest read a shard at a time says what it says read whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthforge.manifest_reader import ManifestReader
from tests.synthforge.test_shards import manifest, record

WHOLE = manifest(record("train", 0, 0, 5), record("train", 1, 5, 9), record("val", 0, 9, 10))
TEXT = WHOLE.to_json()


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(TEXT)), max_size=9).map(sorted))
def test_it_is_the_same_manifest_wherever_its_text_is_cut(cuts: list[int]) -> None:
    bounds = [0, *cuts, len(TEXT)]
    pieces = (TEXT[start:stop] for start, stop in pairwise(bounds))
    reader = ManifestReader(pieces)
    assert tuple(reader.shards()) == WHOLE.shards
    held = WHOLE.model_dump(exclude={"shards", "parent", "digest"})
    assert (reader.head.model_dump(), reader.digest) == (held, WHOLE.digest)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (TEXT, b"", r'its text ends before the line "shards": \['),
        (TEXT, b"{}", r'its text ends before the line "shards": \['),
        (TEXT[len(TEXT) // 2 :], b"", "its text ends before the line"),
        (b'"schema_version": 1', b'"schema_version": 2', "schema_version: Input should be 1"),
        (b'"num_samples":5', b'"num_samples":4', "differ from what the shards hold"),
        (b'"train": 9', b'"train": 8', "differ from what the shards hold"),
        (f'"digest": "{WHOLE.digest}'.encode(), b'"digest": "' + b"0" * 64, "is not that of the"),
        (b',"split":"val"', b"", "split: Field required"),
        (b"  {", b"  [", "Invalid JSON"),
        (b'"digest"', b'"digests"', "digest: Field required"),
    ],
)
def test_what_is_no_manifest_is_refused(old: bytes, new: bytes, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=message):
        list(ManifestReader([TEXT.replace(old, new)]).shards())
