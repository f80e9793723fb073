"""S3 as it fails: broken connections, wrong keys, stores that give other bytes back."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from synthforge.storage import (
    NotFound,
    Storage,
    StorageRefused,
    StorageUnavailable,
    open_storage,
)
from synthforge.storage import s3 as s3_module
from synthforge.storage.s3 import S3Storage
from tools.s3_server import S3Server


@pytest.fixture
def storage(s3_url: str) -> Storage:
    return open_storage(f"{s3_url}/data")


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Errors at once instead of after seconds of back-off."""
    real = s3_module.Config
    monkeypatch.setattr(
        s3_module, "Config", lambda **options: real(**options | {"retries": {"max_attempts": 0}})
    )
    s3_module._client_of.cache_clear()
    yield
    s3_module._client_of.cache_clear()


class Proxy:
    """Passes connections on to the server, and does to their bytes what a test says.

    Attributes:
        url: where it listens.
        upward: what it makes of a request's bytes; downward: of an answer's, None to cut it off.
    """

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.upward: Callable[[bytes], bytes] = lambda data: data
        self.downward: Callable[[bytes], bytes | None] = lambda data: data
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._ends += [client, server]
            for source, target, name in ((client, server, "upward"), (server, client, "downward")):
                thread = threading.Thread(
                    target=self._pump, args=(source, target, name), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                changed = getattr(self, name)(data)
                if changed is None:
                    break
                target.sendall(changed)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


@pytest.fixture
def proxy(s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(s3_server.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    s3_module._client_of.cache_clear()
    proxy.close()


def test_a_large_file_goes_up_in_parts_and_its_hash_is_the_file_s(
    storage: Storage, tmp_path: Path
) -> None:
    data = hashlib.sha256(b"seed").digest() * (1_100_000)  # 35 MB: three parts
    path = tmp_path / "big.tar"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert storage.put_file(path, "big.tar", digest).num_bytes == len(data)
    assert storage.read_range("big.tar", 20_000_000, 9) == data[20_000_000:20_000_009]
    assert hashlib.sha256(b"".join(storage.stream("big.tar"))).hexdigest() == digest


def test_a_listing_goes_over_pages(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "_PAGE_KEYS", 2)
    keys = [f"k{number}" for number in range(5)]
    for key in keys:
        storage.put_bytes(key, b"x")
    assert [found.key for found in storage.list_objects()] == keys


def test_a_link_is_read_without_keys(storage: Storage) -> None:
    storage.put_bytes("x", b"data")
    with urllib.request.urlopen(storage.presign("x", 60), timeout=30) as answer:
        assert answer.read() == b"data"


@pytest.mark.parametrize("expires_s", [0, -1, 7 * 24 * 3600 + 1])
def test_a_link_lasts_no_longer_than_signatures_do(storage: Storage, expires_s: int) -> None:
    with pytest.raises(StorageRefused, match="a link lasts"):
        storage.presign("x", expires_s)


def test_a_download_that_breaks_off_goes_on_where_it_was(proxy: Proxy, s3_url: str) -> None:
    storage = open_storage(f"{s3_url}/data")
    data = bytes(range(256)) * 20_000  # 5 MB
    storage.put_bytes("x", data)
    passed = {"num_bytes": 0, "num_cuts": 0}

    def cut_twice(chunk: bytes) -> bytes | None:
        passed["num_bytes"] += len(chunk)
        if passed["num_cuts"] < 2 and passed["num_bytes"] > 2_000_000:
            passed["num_cuts"] += 1
            passed["num_bytes"] = 0
            return None
        return chunk

    proxy.downward = cut_twice
    assert b"".join(storage.stream("x")) == data
    assert passed["num_cuts"] == 2


def test_a_body_that_changes_on_the_way_up_never_becomes_an_object(
    proxy: Proxy, s3_url: str, no_retries: None
) -> None:
    storage = open_storage(f"{s3_url}/data")
    proxy.upward = lambda chunk: chunk.replace(b"right bytes", b"wrong bytes")
    with pytest.raises(StorageUnavailable, match=r"the store says 4\d\d "):
        storage.put_bytes("x", b"right bytes")
    assert storage.head("x") is None


def test_a_store_that_gives_other_bytes_back_is_put_to_again_then_given_up(
    proxy: Proxy, s3_url: str
) -> None:
    storage = open_storage(f"{s3_url}/data")
    num_puts = 0

    def count(chunk: bytes) -> bytes:
        nonlocal num_puts
        num_puts += chunk.startswith(b"PUT")
        return chunk

    proxy.upward = count
    proxy.downward = lambda chunk: chunk.replace(b"right bytes", b"wrong bytes")
    with pytest.raises(StorageUnavailable, match="other bytes back after 3 puts"):
        storage.put_bytes("x", b"right bytes")
    assert num_puts == 3
    assert storage.head("x") is None


def test_a_server_that_is_not_there_may_be_tried_again(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, no_retries: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StorageUnavailable):
        open_storage(s3_url).put_bytes("x", b"data")
    with pytest.raises(StorageUnavailable):
        list(open_storage(s3_url).list_objects())


def test_wrong_keys_are_refused_for_good(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageRefused):
        open_storage(s3_url).put_bytes("x", b"data")
    with pytest.raises(StorageRefused):
        open_storage(s3_url).head("x")


def test_missing_keys_are_refused_and_named(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StorageRefused, match="AWS_ACCESS_KEY_ID"):
        open_storage(s3_url).put_bytes("x", b"data")


def test_a_bucket_that_is_not_there_is_refused(s3_url: str) -> None:
    storage = open_storage(f"{s3_url}-none")
    with pytest.raises(StorageRefused, match="NoSuchBucket"):
        storage.put_bytes("x", b"data")
    with pytest.raises(StorageRefused, match="NoSuchBucket"):
        list(storage.list_objects())
    with pytest.raises(NotFound):
        storage.get_bytes("x")


def test_a_forked_process_opens_its_own_connections(storage: S3Storage) -> None:
    storage.put_bytes("x", b"data")
    parent_s = storage._client
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[tuple[bytes, bool]] = context.Queue()

    def read() -> None:
        answers.put((storage.get_bytes("x"), storage._client is parent_s))

    child = context.Process(target=read)
    child.start()
    assert answers.get(timeout=60) == (b"data", False)
    child.join()
    assert storage._client is parent_s
