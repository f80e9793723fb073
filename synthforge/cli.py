"""The command `synthforge`. The one composition root: with commands/, it may import any package."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Final

import typer

from synthforge import __version__
from synthforge.commands import (
    assets,
    datasets,
    engine,
    jobs,
    keys,
    listings,
    models,
    training,
    upkeep,
)
from synthforge.commands.inputs import FAILED, USAGE, CommandError, show_help_alone
from synthforge.console import note, say
from synthforge.refusals import ApiError, InvalidRequestError
from synthforge.storage import StorageError
from synthforge.urls import UrlError

TRACEBACK_VARIABLE: Final = "SYNTHFORGE_TRACEBACK"

app = typer.Typer(
    name="synthforge",
    help="Annotated synthetic face datasets on demand.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for group in (engine, jobs, listings, keys, datasets, assets, training, models, upkeep):
    app.add_typer(group.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has shown it
        bool, typer.Option("--version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Annotated synthetic face datasets on demand."""
    show_help_alone(context)


def main() -> None:
    """Run a command; errors are one line on standard error, exit code 1 failed, 2 usage."""
    try:
        app(standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{error.format_message()} (see --help)", USAGE)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted", 128 + signal.SIGINT)
    except CommandError as error:
        _fail(str(error), error.code)
    except UrlError as error:
        _fail(str(error), USAGE)
    except InvalidRequestError as error:  # a field that the service alone can judge is one too
        _fail(str(error), USAGE if error.errors else FAILED)
    except (ApiError, StorageError, ValueError, OSError) as error:
        _fail(str(error), FAILED)
    except ModuleNotFoundError as error:
        extras = "pip install '.[service,workers,trainer]' in the clone"
        _fail(f"the package {error.name} is not installed: {extras} brings what it lacks", FAILED)
    except Exception as error:
        if TRACEBACK_VARIABLE in os.environ:
            raise
        _fail(f"{type(error).__name__}: {error} ({TRACEBACK_VARIABLE}=1 shows where)", FAILED)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    note(f"synthforge: {line}")
    sys.exit(code)
