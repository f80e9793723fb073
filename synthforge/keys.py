"""API keys as they travel: what is asked for, what is told of a key, and where a program finds its.

A key is shown once, when it is made; the service keeps its hash alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from synthforge.distributions import STRICT

KEY_VARIABLE: Final = "SYNTHFORGE_KEY"
KEY_FILE_VARIABLE: Final = "SYNTHFORGE_KEY_FILE"
SERVICE_VARIABLE: Final = "SYNTHFORGE_SERVICE"
LOCAL_SERVICE: Final = "http://127.0.0.1:8000"
# Long enough that nobody guesses one: 32 hex digits are 128 bits.
KEY_FORM: Final = re.compile(r"[!-~]{32,256}")

Scope = Literal["submit", "read", "worker", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_PORTS: Final = {"http": 80, "https": 443}
_LARGEST: Final = 2**53  # what every JSON reader holds exactly

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Limit = Annotated[int | None, Field(ge=1, le=_LARGEST, description="null: as many as it likes")]


class KeyRequest(BaseModel):
    """A key to be made.

    Attributes:
        name: for people, as `ci` or `ann-laptop`.
        scopes: submit: order and change one's own jobs; read: see every job; worker: lease and
            report; admin: all of it, and keys.
        max_jobs: jobs at once that have not ended.
        max_samples: samples asked for by jobs that have not ended.
        max_bytes: bytes of shards in the store.
    """

    model_config = STRICT
    name: KeyName
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(SCOPES))]
    max_jobs: Limit = None
    max_samples: Limit = None
    max_bytes: Limit = None


class KeyInfo(BaseModel):
    """What is told of a key: never the key itself; `num_*` is what of its limits is in use."""

    model_config = STRICT
    id: str
    name: KeyName
    scopes: tuple[Scope, ...]
    max_jobs: Limit
    max_samples: Limit
    max_bytes: Limit
    num_jobs: Annotated[int, Field(ge=0)]
    num_samples: Annotated[int, Field(ge=0)]
    num_bytes: Annotated[int, Field(ge=0)]
    created_at: datetime
    revoked_at: datetime | None


class CreatedKey(KeyInfo):
    """A key that was just made: the one answer that holds it."""

    key: str


class KeyList(BaseModel):
    """Every key, the oldest first."""

    model_config = STRICT
    keys: list[KeyInfo]


def find_key(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return this program's key: from the file that SYNTHFORGE_KEY_FILE names, or SYNTHFORGE_KEY.

    Raises:
        ValueError: the file cannot be read, or what it holds is no key.
    """
    path = environment.get(KEY_FILE_VARIABLE)
    if path:
        return read_key_file(Path(path))
    key = environment.get(KEY_VARIABLE)
    return _checked(key, KEY_VARIABLE) if key else None


def key_for(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return this program's key if a URL lies with the service that it belongs to, else None.

    That service is the one at SYNTHFORGE_SERVICE: scheme, host and port are compared.

    Raises:
        ValueError: as of `find_key`.
    """
    service = environment.get(SERVICE_VARIABLE) or LOCAL_SERVICE
    return find_key(environment) if _origin(url) == _origin(service) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def take_key(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """As `find_key`, and leave no key in the environment for the processes that start from here."""
    key = find_key(environment)
    environment.pop(KEY_VARIABLE, None)
    return key


def read_key_file(path: Path) -> str:
    """Return the key that a file holds, without the newline at its end.

    Raises:
        ValueError: the file cannot be read, or what it holds is no key.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the key file {path} cannot be read: {error}") from None
    return _checked(text.strip(), str(path))


def _checked(key: str, where: str) -> str:
    if not KEY_FORM.fullmatch(key):
        raise ValueError(f"{where} holds no key: 32 to 256 visible ASCII characters would do")
    return key
