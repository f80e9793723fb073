"""URLs of datasets, in one canonical form that can be compared by path segment.

Pure: no file system, no network. Two schemes are known: `s3://bucket/prefix` and
`file:///folder` (or a plain path). Percent escapes are decoded exactly once, then `.`, `..` and
doubled slashes are resolved, so what is compared is what the store is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

Scheme = Literal["file", "s3"]

# S3: 1024 bytes a key (Amazon S3 user guide, "Naming Amazon S3 objects"), less room for our names.
MAX_PREFIX_BYTES: Final = 900
MAX_KEY_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 255  # NAME_MAX of the usual file systems
_SHOWN_CHARACTERS: Final = 80

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
# Amazon S3 user guide, "General purpose bucket naming rules".
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IPV4: Final = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_SAFE_IN_FILE_URL: Final = "/-._~!$&'()*+,;=:@"


class UrlError(ValueError):
    """A URL that names no place a dataset can be in."""


@dataclass(frozen=True)
class Location:
    """A parsed URL.

    Attributes:
        scheme: `file` or `s3`.
        bucket: of s3; empty for file.
        segments: names on the way from the root or bucket down, decoded.
    """

    scheme: Scheme
    bucket: str
    segments: tuple[str, ...]

    @property
    def path(self) -> str:
        """The absolute folder of a file URL; the key prefix of an s3 one, no slash around it."""
        joined = "/".join(self.segments)
        return f"/{joined}" if self.scheme == "file" else joined

    def __str__(self) -> str:
        if self.scheme == "file":
            return "file://" + quote(self.path, safe=_SAFE_IN_FILE_URL)
        return "/".join(("s3:/", self.bucket, *self.segments))


def canonical_url(url: str, *, working_folder: str | None = None) -> str:
    """Return the one form of a URL: equal places, equal text.

    Args:
        url: `s3://bucket/prefix`, `file:///folder`, or a plain path.
        working_folder: absolute path that a relative plain path starts from; None refuses one.

    Raises:
        UrlError: in one line, what is wrong and what would do.
    """
    return str(parse_url(url, working_folder=working_folder))


def parse_url(url: str, *, working_folder: str | None = None) -> Location:
    """Return what a URL names; arguments and errors as `canonical_url`."""
    _check_characters(url, url)
    found = _SCHEME.fullmatch(url)
    if found is None:
        return _plain_path(url, working_folder)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "s3":
        return _parse_s3(url, rest)
    if scheme == "file":
        return _parse_file(url, rest)
    raise UrlError(f"URL {_shown(url)}: scheme {scheme!r} is not known; s3:// or file:/// would do")


def is_under(url: str, prefix: str) -> bool:
    """Tell whether a URL is the prefix itself or lies below it, by whole path segments.

    Raises:
        UrlError: either is not a URL that `canonical_url` takes.
    """
    inner, outer = parse_url(url), parse_url(prefix)
    return (inner.scheme, inner.bucket) == (outer.scheme, outer.bucket) and inner.segments[
        : len(outer.segments)
    ] == outer.segments


def join_url(base: str, *parts: str) -> str:
    """Return the canonical URL of what lies under `base`; `parts` are names, not percent-encoded.

    Raises:
        UrlError: `base` is no URL, or a part is not a relative key that stays under it.
    """
    location = parse_url(base)
    added = tuple(name for part in parts for name in check_key(part).split("/"))
    segments = (*location.segments, *added)
    _check_length(base, segments, MAX_KEY_BYTES)
    return str(Location(location.scheme, location.bucket, segments))


def check_key(key: str) -> str:
    """Return `key` if it is a relative path that stays under any prefix of any store.

    Raises:
        UrlError: an empty, `.` or `..` segment, or a character that some store would rewrite.
    """
    for name in key.split("/"):
        if name in {"", ".", ".."}:
            raise UrlError(f"key {_shown(key)}: segment {name!r} is not a name")
        _check_name(f"key {_shown(key)}", name)
    return key


def _plain_path(url: str, working_folder: str | None) -> Location:
    path = url
    if not url.startswith("/"):
        if not url or working_folder is None:
            raise UrlError(
                f"URL {_shown(url)} is not absolute: s3://bucket/prefix or file:///folder would do"
            )
        path = f"{working_folder}/{url}"
    return _location(url, "file", "", path.split("/"))


def _parse_file(url: str, rest: str) -> Location:
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host or not slash:
            raise UrlError(f"URL {_shown(url)}: a file URL has no host; file:///folder would do")
        rest = f"/{path}"
    if not rest.startswith("/"):
        raise UrlError(f"URL {_shown(url)}: a file URL is absolute; file:///folder would do")
    _refuse_query(url, rest)
    return _location(url, "file", "", [_decoded(url, name) for name in rest.split("/")])


def _parse_s3(url: str, rest: str) -> Location:
    if not rest.startswith("//"):
        raise UrlError(f"URL {_shown(url)}: an s3 URL is s3://bucket/prefix")
    bucket, _, path = rest[2:].partition("/")
    if "@" in bucket:
        raise UrlError("an s3 URL holds no credentials: set AWS_ACCESS_KEY_ID and its secret")
    _refuse_query(url, rest)
    well_formed = _BUCKET.fullmatch(bucket) and not _IPV4.fullmatch(bucket)
    if not well_formed or any(pair in bucket for pair in ("..", ".-", "-.")):
        raise UrlError(
            f"URL {_shown(url)}: {_shown(bucket)} is not a bucket's name; 3 to 63 of a-z, 0-9, "
            "'-' and '.', letter or digit at both ends, would do"
        )
    location = _location(url, "s3", bucket, [_decoded(url, name) for name in path.split("/")])
    for name in location.segments:
        _check_name(f"URL {_shown(url)}", name)
    return location


def _location(url: str, scheme: Scheme, bucket: str, names: list[str]) -> Location:
    resolved: list[str] = []
    for name in names:
        if name == "..":
            if not resolved:
                raise UrlError(f"URL {_shown(url)}: '..' climbs above the root")
            resolved.pop()
        elif name not in {"", "."}:
            _check_characters(name, url)
            resolved.append(name)
    _check_length(url, tuple(resolved), MAX_PREFIX_BYTES)
    return Location(scheme, bucket, tuple(resolved))


def _decoded(url: str, name: str) -> str:
    """Decode the percent escapes of one path segment, once."""
    if "%" not in name:
        return name
    if len(_ESCAPE.findall(name)) != name.count("%"):
        raise UrlError(f"URL {_shown(url)}: '%' begins no escape; %25 stands for a percent sign")
    pieces: list[bytes] = []
    position = 0
    for found in _ESCAPE.finditer(name):
        pieces += (name[position : found.start()].encode(), bytes([int(found[0][1:], 16)]))
        position = found.end()
    try:
        decoded = b"".join((*pieces, name[position:].encode())).decode()
    except UnicodeDecodeError:
        raise UrlError(f"URL {_shown(url)}: its escapes are not UTF-8") from None
    if "/" in decoded:
        raise UrlError(f"URL {_shown(url)}: an escaped slash is no part of a name")
    return decoded


def _refuse_query(url: str, rest: str) -> None:
    if "?" in rest or "#" in rest:
        raise UrlError(f"URL {_shown(url)}: '?' and '#' are no part of a dataset's URL")


def _check_characters(text: str, url: str) -> None:
    for character in text:
        if character < " " or character == "\\" or "\x7f" <= character <= "\x9f":
            raise UrlError(f"URL {_shown(url)}: character {character!r} is refused")
        if "\ud800" <= character <= "\udfff":
            raise UrlError(f"URL {_shown(url)}: it is not text that UTF-8 can hold")


def _check_name(where: str, name: str) -> None:
    """Refuse in a name what S3 clients and stores escape, each in its own way."""
    for character in name:
        if character in "%?#\\" or character.isspace() or not character.isprintable():
            raise UrlError(f"{where}: character {character!r} is refused in a key")
    if len(name.encode()) > MAX_SEGMENT_BYTES:
        raise UrlError(f"{where}: a name is longer than {MAX_SEGMENT_BYTES} bytes")


def _check_length(url: str, segments: tuple[str, ...], most_bytes: int) -> None:
    if any(len(name.encode()) > MAX_SEGMENT_BYTES for name in segments):
        raise UrlError(f"URL {_shown(url)}: a name is longer than {MAX_SEGMENT_BYTES} bytes")
    if len("/".join(segments).encode()) > most_bytes:
        raise UrlError(f"URL {_shown(url)}: the path is longer than {most_bytes} bytes")


def without_credentials(url: str) -> str:
    """Return a URL for an error's line or a log: user and password left out."""
    return re.sub(r"//[^/@]*@", "//...@", url)


def _shown(text: str) -> str:
    """Return a text for an error's line: quoted, short, credentials left out."""
    hidden = without_credentials(text)
    cut = hidden if len(hidden) <= _SHOWN_CHARACTERS else hidden[: _SHOWN_CHARACTERS - 3] + "..."
    return repr(cut)
