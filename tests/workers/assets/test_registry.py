"""The registry of assets, on a directory and on S3."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from synthforge.assets import (
    FLAME_LICENCE,
    KINDS,
    NEEDED,
    OFFICIAL_SOURCES,
    AssetEntry,
    AssetError,
    AssetKind,
    Provenance,
    asset_hashes,
    asset_licences,
    index_key,
    missing_assets,
    registry_url,
)
from synthforge.jobs import Generator
from synthforge.storage import NotFound
from workers.assets import AssetRegistry, open_assets
from workers.assets.loading import shared_loader
from workers.assets.registry import asset_key


def entry_of(path: Path, kind: AssetKind = "flame_model") -> AssetEntry:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return AssetEntry(
        kind=kind,
        name=f"made-up {kind}",
        version="2023",
        file=asset_key(kind, sha256, path.suffix),
        sha256=sha256,
        num_bytes=path.stat().st_size,
        licence=FLAME_LICENCE,
        source=OFFICIAL_SOURCES[kind].site,
        wiring="front-plane" if kind == "next3d_checkpoint" else None,
        provenance=Provenance(
            imported_at="2026-11-25T00:00:00Z",
            file="generic_model.pkl",
            sha256="0" * 64,
            num_bytes=1,
            tool="synthforge test",
        ),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    path.write_bytes(b"numbers" * 1000)
    return path


@pytest.fixture
def registry(tmp_path: Path) -> AssetRegistry:
    return open_assets(str(tmp_path / "registry"))


def test_what_is_added_is_found_and_fetched(
    registry: AssetRegistry, file: Path, tmp_path: Path
) -> None:
    assert registry.entries() == ()
    entry = registry.add(file, entry_of(file))
    assert registry.find("flame_model") == entry
    assert registry.find("next3d_checkpoint") is None
    assert registry.fetch(entry, tmp_path / "cache").read_bytes() == file.read_bytes()


def test_a_second_asset_of_a_kind_takes_the_place_of_the_first(
    registry: AssetRegistry, file: Path, tmp_path: Path
) -> None:
    first = registry.add(file, entry_of(file))
    registry.add(file, entry_of(file, "next3d_checkpoint"))
    other = tmp_path / "other.npz"
    other.write_bytes(b"other")
    second = registry.add(other, entry_of(other))
    assert [entry.kind for entry in registry.entries()] == ["flame_model", "next3d_checkpoint"]
    assert registry.find("flame_model") == second
    assert registry.fetch(first, tmp_path / "cache").read_bytes() == file.read_bytes()


def test_a_whole_cached_file_is_not_fetched_again_and_a_torn_one_is(
    registry: AssetRegistry, file: Path, tmp_path: Path
) -> None:
    entry = registry.add(file, entry_of(file))
    cached = registry.fetch(entry, tmp_path / "cache")
    stored = tmp_path / "registry" / entry.file
    kept = stored.read_bytes()
    stored.unlink()
    assert registry.fetch(entry, tmp_path / "cache") == cached
    cached.write_bytes(b"torn")
    with pytest.raises(NotFound):
        registry.fetch(entry, tmp_path / "cache")
    stored.write_bytes(kept)
    assert registry.fetch(entry, tmp_path / "cache").read_bytes() == kept


def test_what_a_killed_download_left_goes_with_the_next(
    registry: AssetRegistry, file: Path, tmp_path: Path
) -> None:
    entry = registry.add(file, entry_of(file))
    cache = tmp_path / "cache"
    cache.mkdir()
    left = cache / f".{entry.sha256}-{'0' * 16}.part"
    left.write_bytes(b"half of it")
    running = cache / f".{entry.sha256}-{'1' * 16}.part"
    running.write_bytes(b"another's")
    fetched = registry.fetch(entry, cache)
    assert fetched.read_bytes() == file.read_bytes()
    assert left.exists(), "it may still be written to"
    os.utime(left, (0, 0))
    registry.fetch(entry, cache)  # the file is whole by now
    assert (left.exists(), running.exists()) == (False, True)
    assert stat.S_IMODE(fetched.stat().st_mode) == 0o600  # a licensed file is for its user


def test_a_download_that_no_lock_holds_back_tears_no_file(
    registry: AssetRegistry, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared folder may be mounted so that locks hold nobody back."""
    entry = registry.add(file, entry_of(file))
    whole, cache = file.read_bytes(), tmp_path / "cache"
    storage = type(registry.storage)
    begun, released = threading.Event(), threading.Event()
    other: list[Future[Path]] = []

    def halting(_self: object, _key: str) -> Iterator[bytes]:
        yield whole[:2]
        begun.set()
        assert released.wait(30)
        yield whole[2:]

    def another_begins(_file: int) -> None:
        if not begun.is_set():  # the first file is whole, and not yet renamed
            monkeypatch.setattr(storage, "stream", halting)
            other.append(threads.submit(registry.fetch, entry, cache))
            assert begun.wait(30)

    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(os, "fsync", another_begins)
        try:
            assert registry.fetch(entry, cache).read_bytes() == whole
        finally:
            released.set()
    assert other[0].result().read_bytes() == whole
    assert not list(cache.glob(".*.part"))


def test_other_bytes_than_the_index_says_are_refused_and_leave_nothing(
    registry: AssetRegistry, file: Path, tmp_path: Path
) -> None:
    entry = registry.add(file, entry_of(file))
    (tmp_path / "registry" / entry.file).write_bytes(b"changed")
    with pytest.raises(AssetError, match="import made-up flame_model again"):
        registry.fetch(entry, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_many_fetch_a_file_at_once(registry: AssetRegistry, file: Path, tmp_path: Path) -> None:
    entry = registry.add(file, entry_of(file))
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda _: registry.fetch(entry, tmp_path / "cache"), range(8)))
    assert len(set(paths)) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2  # the file and its lock


def test_a_malformed_description_is_named(registry: AssetRegistry, file: Path) -> None:
    storage = registry.storage
    assert storage is not None
    storage.put_bytes(index_key("flame_masks"), b'{"kind": "flame_masks"}')
    with pytest.raises(AssetError, match=r"index/flame_masks.json: name"):
        registry.entries()
    storage.put_bytes(index_key("flame_masks"), entry_of(file).to_json())
    with pytest.raises(AssetError, match="describes a flame_model"):
        registry.find("flame_masks")


def test_no_registry_is_empty_and_says_how_to_name_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNTHFORGE_ASSETS", raising=False)
    nothing = open_assets(None)
    assert nothing.entries() == ()
    with pytest.raises(AssetError, match="SYNTHFORGE_ASSETS"):
        nothing.add(file, entry_of(file))
    monkeypatch.setenv("SYNTHFORGE_ASSETS", str(tmp_path / "registry"))
    open_assets(None).add(file, entry_of(file))
    assert len(open_assets(None).entries()) == 1
    assert registry_url({}) is None


def test_a_registry_names_what_a_generator_lacks(registry: AssetRegistry, file: Path) -> None:
    storage = registry.storage
    assert storage is not None
    assert missing_assets(storage, Generator(kind="builtin")) == ()
    assert missing_assets(storage, Generator(kind="next3d", untrained=True)) == ()
    assert missing_assets(storage, Generator(kind="next3d")) == NEEDED["next3d"]
    registry.add(file, entry_of(file, "flame_model"))
    assert missing_assets(storage, Generator(kind="next3d")) == NEEDED["next3d"][1:]


def test_a_registry_may_lie_on_s3(s3_url: str, file: Path, tmp_path: Path) -> None:
    registry = open_assets(f"{s3_url}/assets")
    entry = registry.add(file, entry_of(file))
    assert registry.entries() == (entry,)
    assert registry.fetch(entry, tmp_path / "cache").read_bytes() == file.read_bytes()


def test_a_manifest_learns_hashes_and_terms(file: Path) -> None:
    entry = entry_of(file)
    assert asset_hashes([entry]) == {"flame_model": entry.sha256}
    assert asset_licences([entry]) == {entry.name: FLAME_LICENCE}


def test_every_kind_has_a_source() -> None:
    assert set(OFFICIAL_SOURCES) == set(KINDS)


@pytest.mark.parametrize(
    "fault", [{"wiring": "front-plane"}, {"file": "../outside.npz"}, {"sha256": "12"}]
)
def test_an_entry_that_cannot_be_is_refused(file: Path, fault: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"wiring|\.\.|sha256"):
        AssetEntry.model_validate({**entry_of(file).model_dump(), **fault})


def test_each_user_of_a_machine_has_a_cache_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNTHFORGE_CACHE", raising=False)
    caches = []
    for user in ("ada", "ben"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / user))
        caches.append(shared_loader(AssetRegistry(None)).cache_folder)
    assert caches == [tmp_path / "ada/synthforge/assets", tmp_path / "ben/synthforge/assets"]
