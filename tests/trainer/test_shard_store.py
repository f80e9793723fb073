"""Shards are handed out whole and right, or refused by name."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainer.shard_store import CacheConfig, ShardError, ShardStore
from trainer.sources import LinkedSource, TransferError, open_source
from trainer.stream import StreamConfig, open_stream


@dataclass
class Server:
    """A real server on the loopback interface that can misbehave.

    Attributes:
        root: served folder.
        asked: how often each name was asked for.
        cuts: name -> connections that break in the middle, still to come.
        spoilt: name -> answers with a flipped byte, still to come.
        ranges: whether `Range` is understood.
        keys: name -> the `Authorization` that came with it.
    """

    root: Path
    asked: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    ranges: bool = True
    keys: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, _, query = handler.path.lstrip("/").partition("?")
        self.asked[name] += 1
        if "Authorization" in handler.headers:
            self.keys[name] = handler.headers["Authorization"]
        if query != "signature=1":
            handler.send_error(403)
            return
        path = self.root / name
        if not path.is_file():
            handler.send_error(404)
            return
        data, status = bytearray(path.read_bytes()), 200
        if self.spoilt[name] > 0:
            self.spoilt[name] -= 1
            data[len(data) // 3] ^= 1
        asked_range = handler.headers.get("Range")
        if self.ranges and asked_range:
            data, status = data[int(asked_range.removeprefix("bytes=").rstrip("-")) :], 206
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if self.cuts[name] > 0:
            self.cuts[name] -= 1
            data = data[: len(data) // 2]
        handler.wfile.write(data)
        handler.close_connection = True


@pytest.fixture
def server(made: Any) -> Iterator[Server]:
    state = Server(made.folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/manifest.json?signature=1"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    folder = tmp_path / "stamps"
    folder.mkdir()
    return folder


def linked_store(server: Server, tmp_path: Path, stamps: Path, limit: int = 1 << 30) -> ShardStore:
    source = open_source(server.url)
    source.manifest()
    return ShardStore(source, CacheConfig(tmp_path / "cache", limit), stamps, lambda _: None)


def test_presigned_links_stream_the_same_samples(server: Server, made: Any, tmp_path: Path) -> None:
    config = StreamConfig(batch_size=8, cache=CacheConfig(tmp_path / "cache"), workers=2)
    keys = [batch.keys for batch in open_stream(server.url, config)]
    assert keys == [batch.keys for batch in open_stream(str(made.folder), config)]
    assert {server.asked[r.name] for r in made.manifest.shards if r.split == "train"} == {1}


def test_links_beside_the_manifest_are_followed(
    server: Server, make_dataset: Any, tmp_path: Path
) -> None:
    made = make_dataset(tmp_path / "faces", {"train": [3]})
    record = made.manifest.shards[0]
    base = server.url.partition("/manifest")[0]
    server.root = tmp_path
    document = json.loads((made.folder / "manifest.json").read_bytes())
    document["links"] = {record.name: f"{base}/faces/{record.name}?signature=1"}
    (tmp_path / "signed.json").write_text(json.dumps(document))
    source = open_source(f"{base}/signed.json?signature=1")
    assert source.manifest() == made.manifest
    assert b"".join(source.chunks(record.name, 0, 0)) == (made.folder / record.name).read_bytes()


def test_lapsed_links_are_renewed(server: Server, made: Any, tmp_path: Path) -> None:
    record = made.manifest.shards[0]
    base = server.url.partition("/manifest")[0]

    def publish(signature: int) -> None:
        document = json.loads((made.folder / "manifest.json").read_bytes())
        document["links"] = {record.name: f"{base}/{record.name}?signature={signature}"}
        (made.folder / "signed.json").write_text(json.dumps(document))

    publish(0)
    source = open_source(f"{base}/signed.json?signature=1")
    source.manifest()
    with pytest.raises(PermissionError, match="answered 403"):
        list(source.chunks(record.name, 0, 0))
    publish(1)
    assert b"".join(source.chunks(record.name, 0, 0)) == (made.folder / record.name).read_bytes()
    assert server.asked["signed.json"] == 3
    (made.folder / "signed.json").unlink()


def test_the_service_s_key_goes_to_its_manifest_alone(
    server: Server, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHFORGE_KEY", "k" * 40)
    base = server.url.partition("/manifest")[0]
    monkeypatch.setenv("SYNTHFORGE_SERVICE", base)
    with pytest.raises(PermissionError):
        open_source(f"{base}/v1/jobs/7/manifest?links=presigned").manifest()
    open_source(server.url).manifest()
    assert server.keys == {"v1/jobs/7/manifest": f"Bearer {'k' * 40}"}


def test_another_host_s_manifest_gets_no_key(
    server: Server, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHFORGE_KEY", "k" * 40)
    base = server.url.partition("/manifest")[0]
    for service in ("https://faces.example.org", base.replace("http:", "https:"), ""):
        monkeypatch.setenv("SYNTHFORGE_SERVICE", service)
        with pytest.raises(PermissionError):
            open_source(f"{base}/v1/jobs/7/manifest?links=presigned").manifest()
    assert server.keys == {}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_survived(
    server: Server, made: Any, tmp_path: Path, stamps: Path, ranges: bool
) -> None:
    record = made.manifest.shards[2]
    server.cuts[record.name] = 3
    server.ranges = ranges
    shard = linked_store(server, tmp_path, stamps).open(record)
    assert len(shard.rows) == record.num_samples
    assert server.asked[record.name] == 4


def test_a_connection_that_always_breaks_is_refused_by_name(
    server: Server, made: Any, tmp_path: Path, stamps: Path
) -> None:
    record = made.manifest.shards[2]
    server.cuts[record.name] = 99
    server.ranges = False
    with pytest.raises(ShardError, match=rf"shard {record.name} of http://127"):
        linked_store(server, tmp_path, stamps).open(record)


def test_a_spoilt_shard_is_fetched_once_more(
    server: Server, made: Any, tmp_path: Path, stamps: Path
) -> None:
    record = made.manifest.shards[1]
    server.spoilt[record.name] = 1
    linked_store(server, tmp_path, stamps).open(record)
    assert server.asked[record.name] == 2


def test_a_shard_spoilt_twice_is_refused_by_name(
    server: Server, made: Any, tmp_path: Path, stamps: Path
) -> None:
    record = made.manifest.shards[1]
    server.spoilt[record.name] = 2
    store = linked_store(server, tmp_path, stamps)
    with pytest.raises(
        ShardError, match=rf"shard {record.name} .*: sha256 [0-9a-f]+, {record.sha256}"
    ):
        store.open(record)
    assert server.asked[record.name] == 2
    assert store.open(record).rows, "a later try begins anew"


def test_the_cache_keeps_to_its_limit_and_serves_again(
    server: Server, made: Any, tmp_path: Path, stamps: Path
) -> None:
    records = made.manifest.shards[:4]
    limit = sum(record.num_bytes for record in records[:2]) + 10
    store = linked_store(server, tmp_path, stamps, limit)
    opened = []
    for turn, record in enumerate(records):
        opened.append(store.open(record))
        path = tmp_path / "cache" / f"{record.sha256}.tar"
        os.utime(path, ns=(turn, path.stat().st_mtime_ns))
    held = {path.stem for path in (tmp_path / "cache").glob("*.tar")}
    assert held == {record.sha256 for record in records[2:]}
    first = opened[0]
    assert first.read(first.rows[0], "json"), "an open shard stays readable"
    again = linked_store(server, tmp_path, stamps, limit)
    again.open(records[3])
    assert server.asked[records[3].name] == 1
    small = linked_store(server, tmp_path / "small", stamps, 100)
    with pytest.raises(ShardError, match=r"more than the cache's limit of 100: raise it"):
        small.open(records[0])


def test_a_cached_shard_that_rotted_is_fetched_anew(
    server: Server, made: Any, tmp_path: Path, stamps: Path
) -> None:
    record = made.manifest.shards[0]
    linked_store(server, tmp_path, stamps).open(record)
    flip(tmp_path / "cache" / f"{record.sha256}.tar")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    linked_store(server, tmp_path, fresh).open(record)
    assert server.asked[record.name] == 2


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_flipped_byte_stops_the_epoch_by_name(
    make_dataset: Any, tmp_path: Path, workers: int
) -> None:
    made = make_dataset(tmp_path / "faces", {"train": [5, 5, 5]})
    name = made.manifest.shards[1].name
    flip(made.folder / name)
    stream = open_stream(str(made.folder), StreamConfig(batch_size=5, workers=workers))
    with pytest.raises(ShardError, match=name):
        list(stream)


def test_a_truncated_or_missing_shard_stops_the_epoch_by_name(
    make_dataset: Any, tmp_path: Path
) -> None:
    made = make_dataset(tmp_path / "faces", {"train": [5, 5]})
    record = made.manifest.shards[0]
    path = made.folder / record.name
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(ShardError, match=f"{record.num_bytes - 512} bytes, {record.num_bytes} in"):
        list(open_stream(str(made.folder)))
    path.unlink()
    with pytest.raises(ShardError, match=record.name):
        list(open_stream(str(made.folder)))


def test_a_missing_or_forbidden_manifest_is_told_apart(server: Server) -> None:
    with pytest.raises(PermissionError, match="answered 403"):
        open_source(server.url.replace("signature=1", "signature=2")).manifest()
    with pytest.raises(FileNotFoundError, match="answered 404"):
        open_source(server.url.replace("manifest.json", "other.json")).manifest()
    with pytest.raises(TransferError):
        list(LinkedSource("http://127.0.0.1:1/manifest.json").chunks("a", 0, 1))


def test_a_folder_s_url_stands_for_its_manifest() -> None:
    assert open_source("https://host/faces").url == "https://host/faces/manifest.json"
    assert open_source("https://host/faces/").url == "https://host/faces/manifest.json"
    assert open_source("https://host/v1/jobs/7/manifest?links=presigned").url == (
        "https://host/v1/jobs/7/manifest"
    )
