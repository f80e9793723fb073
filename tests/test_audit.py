"""An audit without an advisory database is no audit, and says so."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.audit import fault

ANSWERS = {
    "pages": (404, "text/html", b"<html>"),
    "portal": (200, "text/html", b"<html>sign in"),
    "torn": (200, "application/json", b'{"vulner'),
    "plain": (200, "application/json", b'{"info": {}}'),
    "empty": (200, "application/json", b'{"vulnerabilities": []}'),
    "pypi": (200, "application/json", b'{"vulnerabilities": [{"id": "PYSEC-2014-8"}]}'),
}


class Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, kind, body = ANSWERS[self.path.split("/")[1]]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pages", "answers 404 (text/html) instead of its JSON"),
        ("portal", "answers 200 (text/html) instead of its JSON"),
        ("torn", "answers JSON without `vulnerabilities`"),
        ("plain", "answers JSON without `vulnerabilities`"),
        ("empty", "names no advisory, and there are some"),
    ],
)
def test_an_index_that_tells_of_no_advisories_is_told_apart(
    index: str, name: str, why: str
) -> None:
    told = fault(f"{index}/{name}")
    assert told is not None
    assert why in told


def test_an_index_that_names_advisories_will_do(index: str) -> None:
    assert fault(f"{index}/pypi") is None


def test_an_audit_without_a_database_says_that_nothing_was_audited() -> None:
    nobody = [sys.executable, "-m", "tools.audit", "--index", "http://127.0.0.1:1/pypi"]
    told = subprocess.run(nobody, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "no advisory database is reached, NOTHING was audited" in told.stderr
