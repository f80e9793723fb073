"""What commands take: options that several share, specs, URLs, a client; and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from synthforge.client import Client
from synthforge.console import note
from synthforge.field_errors import SpecError
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.keys import LOCAL_SERVICE, SERVICE_VARIABLE
from synthforge.refusals import UnavailableError, UnreachableError
from synthforge.urls import canonical_url

FAILED: Final = 1
USAGE: Final = 2
PATIENCE_S: Final = 5.0
DEFAULT_SERVICE: Final = LOCAL_SERVICE


def _service_url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme in {"http", "https"} and parts.netloc:
        return given
    would_do = f"http://{given}" if given and "://" not in given else "http://HOST:PORT"
    raise CommandError(f"--service, {SERVICE_VARIABLE}: {given!r}: {would_do} would do", USAGE)


ServiceOption = Annotated[
    str,
    typer.Option(
        "--service", envvar=SERVICE_VARIABLE, callback=_service_url, help="URL of the service."
    ),
]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC.json", help="'-' is standard input.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


class CommandError(Exception):
    """A command failed; the message is one line that says what to do."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def show_help_alone(context: typer.Context) -> None:
    """Show the help of a group where none of its commands is named; a mistake in usage."""
    if context.invoked_subcommand is None:
        note(context.get_help())
        sys.exit(USAGE)


@contextmanager
def connect(service: str) -> Iterator[Client]:
    """Connect for a person: one who waits for an answer, but not for long, and is told so.

    Raises:
        CommandError: nobody answers there.
    """
    told: list[UnavailableError] = []

    def tell_once(error: UnavailableError) -> None:
        if not told:
            note(f"synthforge: {error}: trying again for {PATIENCE_S:g} s")
            told.append(error)

    with Client(service, retry_for_s=PATIENCE_S, on_wait=tell_once) as client:
        try:
            yield client
        except UnreachableError as error:
            here = "`synthforge up` starts a service here, --service names another"
            raise CommandError(f"{error}: {here}") from None


def read_spec(path: str) -> JobSpec:
    """Read a job spec from a file, or from standard input for '-'."""
    try:
        text = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", USAGE) from None
    try:
        return parse_job_spec(text)
    except SpecError as error:
        raise CommandError(f"{path}: {error}", USAGE) from None


def absolute(url: str) -> str:
    """Return the canonical URL of what a person typed; folders may be relative."""
    return canonical_url(url, working_folder=str(Path.cwd()))
