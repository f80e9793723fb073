"""Commands about jobs of a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from synthforge.client import Client
from synthforge.commands.inputs import (
    DEFAULT_SERVICE,
    CommandError,
    JsonOption,
    ServiceOption,
    SpecArgument,
    connect,
    read_spec,
)
from synthforge.console import estimate_lines, log_line, note, progress, say
from synthforge.job_logs import LogLevel
from synthforge.job_status import JobState, JobStatus
from synthforge.previews import MAX_SAMPLES, SHEET_NAME
from synthforge.tar_format import read_tar

app = typer.Typer()


@app.command(epilog="Example: synthforge submit faces.json --wait")
def submit(
    spec: SpecArgument,
    service: ServiceOption = DEFAULT_SERVICE,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the job has ended.")] = False,
) -> None:
    """Post a job and print its id."""
    parsed = read_spec(spec)
    with connect(service) as client:
        job = client.submit(parsed)
        say(job.id)
        if wait:
            succeeded(followed(client, job.id))


@app.command(epilog="Example: synthforge estimate faces.json --workers 8")
def estimate(
    spec: SpecArgument,
    service: ServiceOption = DEFAULT_SERVICE,
    workers: Annotated[
        int | None, typer.Option(min=1, help="That make it; by default as many as work now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a job would cost: time, bytes, shards, refusals. Nothing is run."""
    parsed = read_spec(spec)
    with connect(service) as client:
        found = client.estimate(parsed, workers)
    if as_json:
        say(json.dumps(found))
        return
    for line in estimate_lines(found):
        say(line)


@app.command(epilog="Example: synthforge preview faces.json --out preview --samples 16")
def preview(
    spec: SpecArgument,
    out: Annotated[Path, typer.Option(help="Folder for the contact sheet and the samples.")],
    service: ServiceOption = DEFAULT_SERVICE,
    samples: Annotated[int, typer.Option(min=1, max=MAX_SAMPLES, help="At most.")] = 16,
) -> None:
    """Render the first samples of a job's first split, at once, on a warm worker.

    Those of other splits lie between them, which is why their numbers have gaps.
    """
    parsed = read_spec(spec)
    with connect(service) as client:
        tar = client.preview(parsed, samples)
    out.mkdir(parents=True, exist_ok=True)
    members = list(read_tar([tar]))
    for member in members:
        (out / member.name).write_bytes(member.data)
    say(str(out / SHEET_NAME))
    note(f"{len(members) - 1} files of samples in {out}")


@app.command(epilog="Example: synthforge watch job-121144df684406d1")
def watch(
    job: str,
    service: ServiceOption = DEFAULT_SERVICE,
    as_json: JsonOption = False,
) -> None:
    """Show a job's progress until it ends; exit code 1 if it does not succeed."""
    with connect(service) as client:
        status = followed(client, job)
        if as_json:
            say(status.model_dump_json(exclude_none=True))
        succeeded(status)


@app.command(epilog="Example: synthforge logs job-121144df684406d1 --level warning --follow")
def logs(
    job: str,
    service: ServiceOption = DEFAULT_SERVICE,
    level: Annotated[LogLevel, typer.Option(help="Lines of this level and above.")] = "info",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the job has ended.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what workers logged about a job: shards done, retries, failures."""
    dropped = 0
    with connect(service) as client:
        for page in client.logs(job, level, follows=follow):
            if page.dropped > dropped:
                note(f"the first {page.dropped} lines were dropped: more were logged than are kept")
                dropped = page.dropped
            # Lines arrive pool by pool, each pool's together: within a page time puts them right.
            for line in sorted(page.lines, key=lambda line: (line.at, line.seq)):
                say(line.model_dump_json() if as_json else log_line(line))


@app.command(epilog="Example: synthforge cancel job-121144df684406d1 --delete")
def cancel(
    job: str,
    service: ServiceOption = DEFAULT_SERVICE,
    deletes: Annotated[
        bool, typer.Option("--delete", help="Delete the shards that are done; else they stay.")
    ] = False,
) -> None:
    """Stop a job."""
    with connect(service) as client:
        say(client.cancel(job, deletes=deletes).state.value)


@app.command(epilog="Example: synthforge extend job-121144df684406d1 --count 200000 --wait")
def extend(
    job: str,
    count: Annotated[int, typer.Option(min=1, help="Samples that the dataset is to have then.")],
    service: ServiceOption = DEFAULT_SERVICE,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the job has ended.")] = False,
) -> None:
    """Add samples to a finished dataset; its shards stay, new ones follow."""
    with connect(service) as client:
        child = client.extend(job, count)
        say(child.id)
        if wait:
            succeeded(followed(client, child.id))


@app.command(epilog="Example: synthforge pause job-121144df684406d1")
def pause(job: str, service: ServiceOption = DEFAULT_SERVICE) -> None:
    """Begin with no more shards of a job; those that run go on to their end."""
    with connect(service) as client:
        say(client.pause(job).state.value)


@app.command(epilog="Example: synthforge resume job-121144df684406d1")
def resume(job: str, service: ServiceOption = DEFAULT_SERVICE) -> None:
    """Go on with a paused job."""
    with connect(service) as client:
        say(client.resume(job).state.value)


@app.command(epilog="Example: synthforge retry job-121144df684406d1")
def retry(job: str, service: ServiceOption = DEFAULT_SERVICE) -> None:
    """Take a failed or cancelled job up where it was."""
    with connect(service) as client:
        say(client.retry(job).state.value)


def followed(client: Client, job_id: str) -> JobStatus:
    """Show a job's progress until it ends; return how it ended."""
    with progress(f"job {job_id}") as show:
        for event in client.events(job_id):
            show(event.counts.completed, event.counts.total)
    return client.get(job_id)


def succeeded(status: JobStatus) -> JobStatus:
    """Tell a success; any other end is the command's failure."""
    if status.state is not JobState.SUCCEEDED:
        why = f": {status.reason}" if status.reason else ""
        raise CommandError(f"job {status.id} {status.state.value}{why}")
    note(f"job {status.id} succeeded: {status.output_url} digest {status.digest}")
    return status
