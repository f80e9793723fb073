"""Logs as JSON, a line an event; what a line is about travels with the thread of work.

`bound(request_id=...)` names what is at hand: every line that is logged inside says so too, in the
same task or thread, and in threads that run in a copy of its context.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from synthforge.redaction import redacted, secrets_held

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_UNSHOWN: Final = frozenset({"color_message"})
_TALKATIVE: Final = ("alembic", "boto3", "botocore", "httpx", "numba")
TOKEN_SHOWN: Final = 8  # characters: enough to find a lease by, too few to hold it

_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default={})  # noqa: B039


@contextmanager
def bound(**fields: str | None) -> Iterator[None]:
    """Say of every line that is logged inside what it is about; None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    token = _fields.set({**_fields.get(), **given})
    try:
        yield
    finally:
        _fields.reset(token)


def bound_fields() -> Mapping[str, str]:
    """Return what the work at hand is about."""
    return _fields.get()


def request_id() -> str | None:
    """Return the id of the request that the work at hand goes back to, where there is one."""
    return _fields.get().get("request_id")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what a record is about: what is bound, then what its `extra` holds."""
    given = vars(record)
    names = given.keys() - _STANDARD - _UNSHOWN
    extra = {name: given[name] for name in sorted(names) if not name.startswith("_")}
    return {**_fields.get(), **extra}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, logger, message, what it is about.

    Secrets are struck out of what goes wrong: those that this process holds, and what looks so.
    """

    def __init__(self) -> None:
        """Take note of the secrets that this process holds now."""
        super().__init__()
        self._secrets = secrets_held()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= fields_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.levelno >= logging.WARNING:
            line = {name: self._safe(value) for name, value in line.items()}
        return json.dumps(line, default=str)

    def _safe(self, value: object) -> object:
        return redacted(value, self._secrets) if isinstance(value, str) else value


def log_as_json() -> None:
    """Send what this process logs to standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_for_people() -> None:
    """Show on standard error what goes wrong in this process, unless its log goes elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
