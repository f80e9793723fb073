"""Commands about the keys of a service."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from synthforge.commands.inputs import (
    DEFAULT_SERVICE,
    USAGE,
    CommandError,
    JsonOption,
    ServiceOption,
    connect,
    show_help_alone,
)
from synthforge.console import note, say
from synthforge.field_errors import field_errors
from synthforge.keys import SCOPES, KeyInfo, KeyList, KeyRequest, Scope, read_key_file

_OWNER_ONLY: Final = 0o600

keys = typer.Typer(
    help="Make, list and revoke keys.",
    epilog="Example: synthforge keys create ci --scopes submit,read",
    callback=show_help_alone,
    invoke_without_command=True,
    rich_markup_mode=None,
)
app = typer.Typer()
app.add_typer(keys, name="keys")

NameArgument = Annotated[str, typer.Argument(help="For people, as ci or ann-laptop.")]
ScopesOption = Annotated[
    str, typer.Option("--scopes", help=f"Comma-separated, of {', '.join(SCOPES)}.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="New file for the key, readable by you alone; else it is printed."),
]


@keys.command(epilog="Example: synthforge keys bootstrap admin --out admin.key")
def bootstrap(
    name: NameArgument = "admin",
    scopes: ScopesOption = "admin",
    given: Annotated[
        Path | None,
        typer.Option("--from-file", help="File with a key of your own; again changes nothing."),
    ] = None,
    out: OutOption = None,
) -> None:
    """Make the first key, in the database itself (SYNTHFORGE_DATABASE_URL)."""
    from service.app import open_store  # noqa: PLC0415
    from service.keys import issue  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    own = read_key_file(given) if given else None
    wanted = _request(name, scopes)
    with _written(out) as tell:
        store = open_store(Settings.from_env())
        try:
            row, key = issue(store, wanted, own)
        finally:
            store.database.close()
        if own is None:
            tell(key)
    note(f"key {row.id} {row.name}: {', '.join(row.scopes)}")


@keys.command(epilog="Example: synthforge keys create pool-1 --scopes worker --out pool-1.key")
def create(
    name: NameArgument,
    scopes: ScopesOption = "submit,read",
    max_jobs: Annotated[int | None, typer.Option(help="At once, not ended.")] = None,
    max_samples: Annotated[int | None, typer.Option(help="In jobs that have not ended.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Of shards in the store.")] = None,
    out: OutOption = None,
    service: ServiceOption = DEFAULT_SERVICE,
) -> None:
    """Make a key; it is shown once."""
    wanted = _request(name, scopes, max_jobs, max_samples, max_bytes)
    with connect(service) as client, _written(out) as tell:
        made = client.create_key(wanted)
        tell(made.key)
    note(f"key {made.id} {made.name}: {', '.join(made.scopes)}")


@keys.command("list", epilog="Example: synthforge keys list")
def list_keys(service: ServiceOption = DEFAULT_SERVICE, as_json: JsonOption = False) -> None:
    """List every key, and what of its limits is in use."""
    with connect(service) as client:
        listed = client.keys()
    if as_json:
        say(KeyList(keys=listed).model_dump_json())
        return
    for key in listed:
        say(_line(key))


@keys.command(epilog="Example: synthforge keys revoke key-0c1f2a3b4d5e")
def revoke(key: str, service: ServiceOption = DEFAULT_SERVICE) -> None:
    """Let a key do nothing more; its jobs go on."""
    with connect(service) as client:
        say(_line(client.revoke_key(key)))


def _request(
    name: str,
    scopes: str,
    max_jobs: int | None = None,
    max_samples: int | None = None,
    max_bytes: int | None = None,
) -> KeyRequest:
    try:
        return KeyRequest(
            name=name,
            scopes=tuple(_scope(part.strip()) for part in scopes.split(",")),
            max_jobs=max_jobs,
            max_samples=max_samples,
            max_bytes=max_bytes,
        )
    except ValidationError as error:
        first = field_errors(error)[0]
        raise CommandError(f"{first.field}: {first.message}", USAGE) from None


def _scope(text: str) -> Scope:
    for scope in SCOPES:
        if text == scope:
            return scope
    raise CommandError(f"--scopes {text!r}: {', '.join(SCOPES)} would do", USAGE)


@contextmanager
def _written(out: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield what tells a key: on standard output, or in a new file that is opened beforehand."""
    if out is None:
        yield say
        return
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise CommandError(f"--out {out} exists: another name would do", USAGE) from None
    with os.fdopen(file, "w") as opened:

        def write(key: str) -> None:
            opened.write(f"{key}\n")

        yield write


def _line(key: KeyInfo) -> str:
    limits = (
        ("jobs", key.num_jobs, key.max_jobs),
        ("samples", key.num_samples, key.max_samples),
        ("bytes", key.num_bytes, key.max_bytes),
    )
    used = ", ".join(
        f"{num} {what}" if most is None else f"{num} of {most} {what}" for what, num, most in limits
    )
    state = f" (revoked {key.revoked_at:%Y-%m-%d})" if key.revoked_at else ""
    return f"{key.id} {key.name} [{','.join(key.scopes)}] {used}{state}"
