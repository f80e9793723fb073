"""Commands that keep a service's store and database tidy."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from synthforge.commands.inputs import USAGE, CommandError
from synthforge.console import note, say
from synthforge.storage import StorageError

app = typer.Typer()


@app.command(epilog="Example: synthforge gc --dry-run")
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would go; let nothing go.")
    ] = False,
) -> None:
    """Let go what no manifest names, old events and old jobs, by the service's settings.

    What the store refuses is told, and the rest goes on; exit code 1.
    """
    from service.app import open_store  # noqa: PLC0415
    from service.objects import storage_under  # noqa: PLC0415
    from service.retention import refuse  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings.from_env()
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    troubles: list[str] = []

    def tell(trouble: str) -> None:
        troubles.append(trouble)
        note(f"synthforge: {trouble}")

    num_gone = 0
    store = open_store(settings, must_exist=True)
    with closing(store.database):
        for each in refuse(store, storage_under(settings.output_prefixes), settings, tell):
            say(each.what)
            try:
                if not dry_run:
                    each.let_go()
                num_gone += 1
            except StorageError as error:
                tell(f"{each.what} stays: {error}")
    note(f"{num_gone} things {'would go' if dry_run else 'went'}")
    if troubles:
        raise CommandError(f"what could not be looked at, or stays: {len(troubles)}, see above")
