"""Commands that keep a service's store and database tidy."""

from __future__ import annotations

from typing import Annotated

import typer

from synthforge.commands.inputs import USAGE, CommandError
from synthforge.console import note, say

app = typer.Typer()


@app.command(epilog="Example: synthforge gc --dry-run")
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would go; let nothing go.")
    ] = False,
) -> None:
    """Let go what no manifest names, old events and old jobs, by the service's settings."""
    from service.app import open_store  # noqa: PLC0415
    from service.objects import storage_under  # noqa: PLC0415
    from service.retention import refuse  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings.from_env()
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    store = open_store(settings)
    num_found = 0
    try:
        for found in refuse(store, storage_under(settings.output_prefixes), settings):
            say(found.what)
            num_found += 1
            if not dry_run:
                found.let_go()
    finally:
        store.database.close()
    note(f"{num_found} things {'would go' if dry_run else 'went'}")
