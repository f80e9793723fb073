"""The commands. The one composition root: it may import service, workers and trainer, lazily."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import ValidationError

from synthforge import __version__
from synthforge.beside import Beside, stop_on_signals
from synthforge.client import ApiError, Client
from synthforge.console import manifest_lines, note, progress, say
from synthforge.jobs import JobSpec, JobState, JobStatus, SpecError, field_errors, parse_job_spec
from synthforge.shards import MANIFEST_NAME, Manifest
from synthforge.storage import NotFound, StorageError, open_storage
from synthforge.urls import UrlError, canonical_url

if TYPE_CHECKING:
    from service.settings import Settings

FAILED: Final = 1
USAGE: Final = 2
NUM_CORES: Final = os.cpu_count() or 1
FOLLOW_EVERY_S: Final = 0.25
PATIENCE_S: Final = 5.0
TRACEBACK_VARIABLE: Final = "SYNTHFORGE_TRACEBACK"
DEFAULT_SERVICE: Final = "http://127.0.0.1:8000"

app = typer.Typer(
    name="synthforge",
    help="Annotated synthetic face datasets on demand.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train = typer.Typer(help="Train on a dataset.", rich_markup_mode=None)
app.add_typer(train, name="train")

ServiceOption = Annotated[
    str, typer.Option("--service", envvar="SYNTHFORGE_SERVICE", help="URL of the service.")
]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC.json", help="'-' is standard input.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=4096, help="Actors; by default one a core.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray", envvar="RAY_ADDRESS", help="Address of a cluster; by default a local one."
    ),
]
GpusOption = Annotated[float, typer.Option("--gpus", min=0, help="GPUs an actor, as Ray counts.")]


class CommandError(Exception):
    """A command failed; the message is one line that says what to do."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@app.command(epilog="Example: synthforge up --output out/datasets")
def up(
    output: Annotated[
        str | None, typer.Option(help="URL or folder under which datasets may lie.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    workers: WorkersOption = NUM_CORES,
) -> None:
    """Run the service and a local Ray pool in one go."""
    settings = _settings(output, port)
    with _service(settings) as url, stop_on_signals() as stop:
        say(f"service {url}, {workers} workers, output {settings.output_prefixes[0]}")
        _run_pool(url, settings.output_prefixes, workers, stop)


@app.command(epilog="Example: SYNTHFORGE_OUTPUT_PREFIXES=s3://faces/sets synthforge serve")
def serve(
    output: Annotated[
        str | None, typer.Option(help="URL or folder under which datasets may lie.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
) -> None:
    """Run the service alone; SYNTHFORGE_* variables set it (docs/settings.md)."""
    from service.server import run  # noqa: PLC0415

    run(_settings(output, port))


@app.command(epilog="Example: synthforge work --service http://127.0.0.1:8000 --workers 8 --gpus 1")
def work(
    service: ServiceOption = DEFAULT_SERVICE,
    output: Annotated[
        str | None, typer.Option(help="URL or folder under which these workers may write.")
    ] = None,
    workers: WorkersOption = NUM_CORES,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
) -> None:
    """Run a pool of workers alone, on this machine or on a Ray cluster."""
    prefixes = _settings(output, None).output_prefixes
    _log_warnings()
    with stop_on_signals() as stop:
        _run_pool(service, prefixes, workers, stop, ray_address=ray, gpus=gpus)


@app.command(epilog="Example: synthforge submit faces.json --wait")
def submit(
    spec: SpecArgument,
    service: ServiceOption = DEFAULT_SERVICE,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the job has ended.")] = False,
) -> None:
    """Post a job and print its id."""
    parsed = _read_spec(spec)
    with _client(service) as client:
        job = client.submit(parsed)
        say(job.id)
        if wait:
            _succeeded(_followed(client, job.id))


@app.command(epilog="Example: synthforge watch 01J9Z6")
def watch(
    job: str,
    service: ServiceOption = DEFAULT_SERVICE,
    as_json: JsonOption = False,
) -> None:
    """Show a job's progress until it ends; exit code 1 if it does not succeed."""
    with _client(service) as client:
        status = _followed(client, job)
        if as_json:
            say(status.model_dump_json(exclude_none=True))
        _succeeded(status)


@app.command(epilog="Example: synthforge cancel 01J9Z6")
def cancel(job: str, service: ServiceOption = DEFAULT_SERVICE) -> None:
    """Stop a job."""
    with _client(service) as client:
        say(client.cancel(job).state.value)


@app.command(epilog="Example: echo '{\"count\": 100}' | synthforge generate - --output out/faces")
def generate(
    spec: SpecArgument,
    output: Annotated[
        str | None, typer.Option(help="URL or folder of the dataset; else the spec's output.url.")
    ] = None,
    workers: WorkersOption = NUM_CORES,
    chunks_in_flight: Annotated[
        int, typer.Option(min=1, max=64, help="Rendered chunks that may wait for the encoder.")
    ] = 2,
) -> None:
    """Make a dataset without a service to start: plan, render, commit, verify."""
    parsed, url = _with_output(_read_spec(spec), output)
    with tempfile.TemporaryDirectory(prefix="synthforge-") as folder:
        settings = replace(
            _settings(url, 0),
            database_url=f"sqlite:///{folder}/jobs.db",
            host="127.0.0.1",  # it serves this command alone
            heartbeat_s=1.0,
        )
        with _service(settings) as service_url, stop_on_signals() as stop:
            pool = Beside(
                lambda ended: _run_pool(
                    service_url,
                    settings.output_prefixes,
                    workers,
                    ended,
                    chunks_in_flight=chunks_in_flight,
                ),
                stop,
            )
            with Client(service_url) as client:
                job = client.submit(parsed)  # a refusal need not wait for a pool
                with pool:
                    _follow_beside(pool, client, job.id)
    _verify(url)


@app.command(epilog="Example: synthforge verify s3://faces/sets/faces-100k")
def verify(url: str, as_json: JsonOption = False) -> None:
    """Check every byte of a dataset against its manifest; exit code 1 if anything is wrong."""
    _verify(url, as_json=as_json)


@app.command(epilog="Example: synthforge inspect out/faces")
def inspect(url: str, as_json: JsonOption = False) -> None:
    """Show what a dataset holds."""
    manifest = _manifest(url)
    if as_json:
        sys.stdout.write(manifest.to_json().decode())
        return
    for line in manifest_lines(manifest, _absolute(url)):
        say(line)


@app.command(epilog="Example: synthforge regenerate out/faces --index 42 --out sample")
def regenerate(
    url: str,
    index: Annotated[int, typer.Option(min=0, help="Of the sample.")],
    out: Annotated[Path, typer.Option(help="Folder for the sample's files.")],
) -> None:
    """Make one sample of a dataset again, byte for byte."""
    from workers.regenerate import regenerate as make_again  # noqa: PLC0415
    from workers.regenerate import write_sample  # noqa: PLC0415

    sample, is_same_fingerprint = make_again(_manifest(url), index)
    if not is_same_fingerprint:
        note("this machine's fingerprint is not the shard's: labels agree, bytes may differ")
    for path in write_sample(sample, out):
        say(str(path))


class RecipeName(StrEnum):
    """The named configurations of stage I: trainer/recipes.py."""

    QUICK = "quick"
    FULL = "full"


@train.callback()
def _train() -> None:
    """Train on a dataset."""


@train.command("stage1", epilog="Example: synthforge train stage1 --data out/faces --out out/model")
def train_stage1(
    data: Annotated[str, typer.Option(help="URL or folder of a dataset.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint and metrics.")],
    recipe: Annotated[
        RecipeName, typer.Option(help="quick: minutes on a CPU; full: many samples on a GPU.")
    ] = RecipeName.QUICK,
    held_out: Annotated[str, typer.Option(help="Split to measure on.")] = "val",
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on a synthetic dataset; print metrics on its held-out split beside a baseline."""
    from trainer.recipes import stage1_quick, stage1_synthetic  # noqa: PLC0415
    from trainer.stages import Stage1Options, run_stage1  # noqa: PLC0415

    chosen = stage1_quick() if recipe is RecipeName.QUICK else stage1_synthetic()
    if steps is not None:
        chosen = replace(chosen, loop=replace(chosen.loop, steps=steps))
    options = Stage1Options(recipe=chosen, held_out_split=held_out, resume=resume)
    url = _absolute(data)
    with progress("train") as show:
        result = run_stage1(url, out, options, lambda report: show(report.step, report.num_steps))
    say(result.metrics.read_text().strip() if as_json else result.table)
    note(f"checkpoint {result.checkpoint}, metrics {result.metrics}")


@contextmanager
def _service(settings: Settings) -> Iterator[str]:
    from service.server import serving  # noqa: PLC0415

    _log_warnings()
    with serving(settings) as url:
        yield url


def _client(service: str) -> Client:
    """Connect for a person: one who waits for an answer, but not for long."""
    return Client(service, retry_for_s=PATIENCE_S)


def _log_warnings() -> None:
    """Show what goes wrong, a line each; what goes well is shown by the command itself."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def _settings(output: str | None, port: int | None) -> Settings:
    from service.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings.from_env()
        if output is not None:
            settings = replace(settings, output_prefixes=(output,))
        return settings if port is None else replace(settings, port=port)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None


def _run_pool(
    service_url: str,
    prefixes: tuple[str, ...],
    num_workers: int,
    stop: threading.Event,
    *,
    ray_address: str | None = None,
    gpus: float = 0.0,
    chunks_in_flight: int = 2,
) -> None:
    from workers.orphans import watch_over_children  # noqa: PLC0415
    from workers.program import PoolOptions, run_pool  # noqa: PLC0415

    watch_over_children()
    options = PoolOptions(
        service_url=service_url,
        output_prefixes=prefixes,
        num_workers=num_workers,
        ray_address=ray_address,
        gpus_per_worker=gpus,
        chunks_in_flight=chunks_in_flight,
    )
    run_pool(options, stop)


def _read_spec(path: str) -> JobSpec:
    try:
        text = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", USAGE) from None
    try:
        return parse_job_spec(text)
    except SpecError as error:
        raise CommandError(f"{path}: {error}", USAGE) from None


def _with_output(spec: JobSpec, output: str | None) -> tuple[JobSpec, str]:
    url = output or spec.output.url
    if url is None:
        raise CommandError("no output: give --output URL, or output.url in the spec", USAGE)
    url = _absolute(url)
    output_section = spec.output.model_copy(update={"url": url})
    return spec.model_copy(update={"output": output_section}), url


def _followed(client: Client, job_id: str) -> JobStatus:
    """Show a job's progress until it ends; return how it ended."""
    with progress(f"job {job_id}") as show:
        for event in client.events(job_id):
            show(event.counts.completed, event.counts.total)
    return client.get(job_id)


def _follow_beside(pool: Beside, client: Client, job_id: str) -> JobStatus:
    """Follow a job whose pool runs in this process, and end with the pool if it ends first."""
    with progress(f"job {job_id}") as show:
        while not (status := client.get(job_id)).state.is_final:
            show(status.counts.completed, status.counts.total)
            if pool.stop.wait(FOLLOW_EVERY_S):
                raise CommandError(_why_stopped(pool)) from pool.error
        show(status.counts.completed, status.counts.total)
    return _succeeded(status)


def _why_stopped(pool: Beside) -> str:
    if pool.error is None:
        return "stopped before the dataset was whole: no manifest was written"
    first_line = (str(pool.error) or type(pool.error).__name__).splitlines()[0]
    return f"the workers' pool failed: {first_line}"


def _succeeded(status: JobStatus) -> JobStatus:
    if status.state is not JobState.SUCCEEDED:
        raise CommandError(f"job {status.id} {status.state.value}: {status.reason or 'no reason'}")
    note(f"job {status.id} succeeded: {status.output_url} digest {status.digest}")
    return status


def _verify(url: str, *, as_json: bool = False) -> None:
    from synthforge.verification import verify_dataset  # noqa: PLC0415

    storage = open_storage(_absolute(url))
    total = _manifest(url).num_samples
    with progress("verify") as show:
        findings = list(
            verify_dataset(storage, on_progress=lambda done: show(done.num_samples, total))
        )
    if as_json:
        found = [{"where": finding.where, "what": finding.what} for finding in findings]
        say(json.dumps({"url": storage.url, "ok": not findings, "findings": found}))
    for finding in findings if not as_json else ():
        say(str(finding))
    if findings:
        raise CommandError(f"{storage.url} does not verify: {len(findings)} findings")
    if not as_json:
        say(f"{storage.url}: {total} samples verified")


def _absolute(url: str) -> str:
    """Return the canonical URL of what a person typed; folders may be relative."""
    return canonical_url(url, working_folder=str(Path.cwd()))


def _manifest(url: str) -> Manifest:
    storage = open_storage(_absolute(url))
    try:
        return Manifest.model_validate_json(storage.get_bytes(MANIFEST_NAME))
    except NotFound:
        raise CommandError(
            f"{storage.url}: no dataset here, {MANIFEST_NAME}: no such object"
        ) from None
    except ValidationError as error:
        first = field_errors(error)[0]
        what = f"{first.field}: {first.message}"
        raise CommandError(f"{storage.url}/{MANIFEST_NAME} is no manifest: {what}") from None


def _show_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Annotated synthetic face datasets on demand."""


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
    except (ApiError, StorageError, ValueError, OSError) as error:
        _fail(str(error), FAILED)
    except ModuleNotFoundError as error:
        extras = "pip install 'synthforge[service,workers,trainer]'"
        _fail(f"the package {error.name} is not installed: {extras} brings what it lacks", FAILED)
    except Exception as error:
        if TRACEBACK_VARIABLE in os.environ:
            raise
        _fail(f"{type(error).__name__}: {error} ({TRACEBACK_VARIABLE}=1 shows where)", FAILED)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    note(f"synthforge: {line}")
    sys.exit(code)


if __name__ == "__main__":
    main()
