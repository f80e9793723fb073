"""Text without secrets: what a log line must not carry out of the process that it came from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from synthforge.keys import KEY_VARIABLE, find_key

HIDDEN: Final = "***"
_SECRET_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "RAY_AUTH_TOKEN",
    KEY_VARIABLE,
)
_SHORTEST: Final = 6  # characters: a shorter value would blot out ordinary words
_RULES: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[!-~]+"), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^/\s@]+@"), f"://{HIDDEN}@"),
    (
        re.compile(
            r"(?i)\b((?:x-amz-)?(?:signature|credential|security-token)|authorization|password|"
            r"passwd|secret[\w-]{0,32}|[\w-]{0,32}access[_-]?key[\w-]{0,32}|api[_-]?key|token)"
            r"""(["']?\s*[=:]\s*["']?)[^\s"'&,;]+"""
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text with these secrets, and what looks like one, struck out.

    Struck out are HTTP credentials, users and passwords in URLs, signatures of presigned links, AWS
    key ids, and values after names such as `password=` and `secret:`.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def secrets_held(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the secrets that this process has of its environment, or of the key's file."""
    held = {environment.get(name, "") for name in _SECRET_VARIABLES}
    with suppress(ValueError):  # the key's own reader says so
        held.add(find_key(environment) or "")
    return tuple(
        sorted((value for value in held if len(value) >= _SHORTEST), key=len, reverse=True)
    )
