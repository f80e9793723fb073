"""URLs have one form, and nothing climbs out of a prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthforge.urls import UrlError, canonical_url, check_key, is_under, join_url, parse_url

CANONICAL = {
    "s3://bucket": "s3://bucket",
    "s3://bucket/": "s3://bucket",
    "S3://bucket/a/b/": "s3://bucket/a/b",
    "s3://bucket//a///b": "s3://bucket/a/b",
    "s3://bucket/a/./b/../c": "s3://bucket/a/c",
    "s3://bucket/a/%2e%2e/c": "s3://bucket/c",
    "s3://bucket/a/.%2E/c": "s3://bucket/c",
    "s3://bucket/%61": "s3://bucket/a",
    "s3://bucket/date=2026-01-01/x": "s3://bucket/date=2026-01-01/x",
    "s3://bucket/t%C3%AAte": "s3://bucket/tête",
    "s3://bucket/tête/%41": "s3://bucket/tête/A",
    "file:///": "file:///",
    "file:///data/faces/": "file:///data/faces",
    "FILE:///data": "file:///data",
    "file:/data": "file:///data",
    "file:////data//x": "file:///data/x",
    "file:///data/%2e%2e/etc": "file:///etc",
    "file:///with%20space": "file:///with%20space",
    "file:///with space": "file:///with%20space",
    "file:///100%25": "file:///100%25",
    "file:///%252e%252e/x": "file:///%252e%252e/x",  # decoded once: a folder named %2e%2e
    "/data/./faces/../x": "file:///data/x",
    "/data/%2e%2e": "file:///data/%252e%252e",  # a plain path holds no escapes
    "/a?b#c": "file:///a%3Fb%23c",
}

REFUSED = {
    "": "not absolute",
    "data/faces": "not absolute",
    "../etc": "not absolute",
    "http://bucket/x": "scheme 'http'",
    "gs://bucket/x": "scheme 'gs'",
    "javascript:alert(1)": "scheme",
    "c:/data": "scheme 'c'",
    "file://host/data": "no host",
    "file://localhost/data": "no host",
    "file://": "no host",
    "file:data": "absolute",
    "file:": "absolute",
    "file:///data?x=1": "'?'",
    "file:///data#x": "'#'",
    "file:///data/%00": "'\\x00'",
    "file:///data/%0a": "'\\n'",
    "file:///data/%5c..": "'\\\\'",
    "file:///data\\..\\x": "'\\\\'",
    "file:///a%2f..%2f..%2fetc": "escaped slash",
    "file:///../etc": "climbs",
    "/..": "climbs",
    "file:///%zz": "begins no escape",
    "file:///x%": "begins no escape",
    "file:///%ff%fe": "not UTF-8",
    "file:///\ud800": "UTF-8",
    "file:///" + "x" * 256: "longer than 255",
    "file:///" + "/".join(["x" * 100] * 10): "longer than 900",
    "s3:bucket": "s3://bucket/prefix",
    "s3:///x": "not a bucket",
    "s3://": "not a bucket",
    "s3://../x": "not a bucket",
    "s3://%2e%2e/x": "not a bucket",
    "s3://Bucket/x": "not a bucket",
    "s3://ab/x": "not a bucket",
    "s3://127.0.0.1/x": "not a bucket",
    "s3://bucket:80/x": "not a bucket",
    "s3://a..b/x": "not a bucket",
    "s3://-abc/x": "not a bucket",
    "s3://key:hunter2@bucket/x": "no credentials",
    "s3://bucket/x?versionId=1": "'?'",
    "s3://bucket/x#y": "'#'",
    "s3://bucket/a%3Fb": "'?'",
    "s3://bucket/a%25b": "'%'",
    "s3://bucket/a b": "' '",
    "s3://bucket/a%2fb": "escaped slash",
    "s3://bucket/../other/x": "climbs",
    "s3://bucket/a/../../other": "climbs",
    "s3://bucket/\x7f": "'\\x7f'",
    "s3://bucket/\u202etar": "refused",
}


@pytest.mark.parametrize(("url", "expected"), CANONICAL.items())
def test_every_spelling_has_one_form(url: str, expected: str) -> None:
    assert canonical_url(url) == expected
    assert canonical_url(expected) == expected


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_a_url_that_names_no_place_is_refused_in_one_line(url: str, reason: str) -> None:
    with pytest.raises(UrlError) as refusal:
        canonical_url(url)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/x", "file://key:secret@host/x"])
def test_an_error_does_not_repeat_credentials(url: str) -> None:
    with pytest.raises(UrlError) as refusal:
        canonical_url(url)
    assert "hunter2" not in str(refusal.value)


def test_a_relative_path_starts_from_the_folder_that_is_named() -> None:
    assert canonical_url("out/../x", working_folder="/home/me") == "file:///home/me/x"


@pytest.mark.parametrize(
    ("url", "prefix", "expected"),
    [
        ("s3://bucket/a/b", "s3://bucket/a", True),
        ("s3://bucket/a", "s3://bucket/a/", True),
        ("s3://bucket/ab", "s3://bucket/a", False),
        ("s3://bucket/a/../b", "s3://bucket/a", False),
        ("s3://bucket/a", "s3://bucket/a/b", False),
        ("s3://bucket2/a", "s3://bucket", False),
        ("s3://bucket/A", "s3://bucket/a", False),
        ("file:///bucket/a", "s3://bucket", False),
        ("/data/faces", "file:///data", True),
        ("file:///data/%2e%2e/etc", "file:///data", False),
        ("/data-other", "/data", False),
        ("/anything", "file:///", True),
    ],
)
def test_under_means_by_whole_segments(url: str, prefix: str, expected: bool) -> None:
    assert is_under(url, prefix) is expected


def test_joined_names_are_taken_as_they_are() -> None:
    assert join_url("s3://bucket/a/", "shards/x.tar") == "s3://bucket/a/shards/x.tar"
    assert join_url("file:///", "a", "b") == "file:///a/b"
    assert join_url("file:///with%20space", "x") == "file:///with%20space/x"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc",
        "a//b",
        "a/",
        ".",
        "..",
        "a/../b",
        "a\\b",
        "a b",
        "a\nb",
        "a%2e",
        "a?b",
        "x" * 256,
    ],
)
def test_a_key_that_could_leave_its_prefix_is_refused(key: str) -> None:
    with pytest.raises(UrlError):
        check_key(key)
    with pytest.raises(UrlError):
        join_url("s3://bucket/a", key)


def test_a_location_tells_bucket_and_path() -> None:
    location = parse_url("s3://bucket/a/b")
    assert (location.bucket, location.path) == ("bucket", "a/b")
    assert parse_url("file:///with%20space").path == "/with space"


@given(st.text(max_size=60))
def test_what_is_accepted_is_stable_and_holds_no_climbing(tail: str) -> None:
    for url in (f"file:///{tail}", f"s3://bucket/{tail}", f"/{tail}"):
        try:
            canonical = canonical_url(url)
        except UrlError:
            continue
        assert canonical_url(canonical) == canonical
        assert not {".", "..", ""} & set(parse_url(canonical).segments)
        assert is_under(join_url(canonical, "x"), canonical)
