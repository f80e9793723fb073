"""What a log line must not carry is struck out; what it says stays."""

from __future__ import annotations

import hashlib

import pytest

from synthforge.redaction import redacted, secrets_held

# The same in every process: it stands in the names of tests.
SECRET = hashlib.sha256(b"nobody's secret").hexdigest()[:32]


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"bearer {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f"s3://user:{SECRET}@bucket/key",
        f"postgresql://{SECRET}@host/name",
        f"https://host/x?X-Amz-Signature={SECRET}&X-Amz-Expires=60",
        f"https://host/x?X-Amz-Credential={SECRET}/20260101/eu&x=1",
        f"X-Amz-Security-Token={SECRET}",
        f"password={SECRET}",
        f'"password": "{SECRET}"',
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"aws_access_key_id = {SECRET}",
        f"api_key: {SECRET}",
        f"secret={SECRET}",
        f"the token={SECRET} of a lease",
    ],
)
def test_what_looks_like_a_secret_is_struck_out(text: str) -> None:
    assert SECRET not in redacted(text)
    assert "***" in redacted(text)


def test_an_access_key_is_known_by_its_form() -> None:
    assert redacted("key AKIA0123456789ABCDEF is refused") == "key *** is refused"


@pytest.mark.parametrize(
    "text",
    [
        "shards/train-000012-0f3c9a1b2d4e.tar is in the store: 30720 bytes",
        "s3://bucket/prefix/manifest.json: the store answers 503",
        "12 samples are made in 3.2 s of work, 4 draws refused (too_small 4)",
        "http://127.0.0.1:8000 cannot be reached: it refused",
    ],
)
def test_what_a_line_says_stays(text: str) -> None:
    assert redacted(text, ["another-secret"]) == text


def test_a_text_of_any_length_takes_no_more_than_its_length() -> None:
    text = "-access_ke" * 100_000
    assert redacted(text) == text


def test_what_the_environment_holds_is_struck_out_whatever_it_looks_like() -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": SECRET, "RAY_AUTH_TOKEN": "ab", "HOME": "/home/someone"}
    held = secrets_held(environment)
    assert held == (SECRET,)  # a shorter one would blot out words
    assert redacted(f"it said {SECRET}!", held) == "it said ***!"
