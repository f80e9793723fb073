"""Commands that show the jobs of a service, one of them, or let a dataset go."""

from __future__ import annotations

from typing import Annotated

import typer

from synthforge.commands.inputs import DEFAULT_SERVICE, JsonOption, ServiceOption, connect
from synthforge.console import job_lines, jobs_table, note, say
from synthforge.job_status import JobState

app = typer.Typer()


@app.command(epilog="Example: synthforge jobs --state running --state queued")
def jobs(
    service: ServiceOption = DEFAULT_SERVICE,
    state: Annotated[
        list[JobState] | None, typer.Option(help="Of this state alone; may be given again.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """List jobs, the newest first."""
    found = []
    with connect(service) as client:
        for job in client.jobs(state or (), page_size=min(limit, 100)):
            found.append(job)
            if len(found) == limit:
                break
    if as_json:
        for job in found:
            say(job.model_dump_json(exclude_none=True))
    elif found:
        jobs_table(found)
    else:
        note("no jobs")


@app.command(epilog="Example: synthforge status job-121144df684406d1")
def status(job: str, service: ServiceOption = DEFAULT_SERVICE, as_json: JsonOption = False) -> None:
    """Show how a job stands."""
    with connect(service) as client:
        found = client.get(job)
    if as_json:
        say(found.model_dump_json(exclude_none=True))
        return
    for line in job_lines(found):
        say(line)


@app.command(epilog="Example: synthforge delete job-121144df684406d1")
def delete(job: str, service: ServiceOption = DEFAULT_SERVICE, as_json: JsonOption = False) -> None:
    """Delete a job's dataset, or what a failed or cancelled job left; needs an admin's key.

    The manifest is gone when this returns, the rest follows.
    """
    with connect(service) as client:
        found = client.delete_dataset(job)
    if as_json:
        say(found.model_dump_json(exclude_none=True))
        return
    say(found.output_url)
    note(f"job {found.id}: what lies there is deleted")
