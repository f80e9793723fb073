"""Commands that run the service, a pool of workers, or both."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synthforge.beside import Beside, stop_on_signals
from synthforge.client import Client
from synthforge.commands.datasets import check_dataset
from synthforge.commands.inputs import (
    DEFAULT_SERVICE,
    USAGE,
    CommandError,
    ServiceOption,
    SpecArgument,
    absolute,
    read_spec,
)
from synthforge.commands.jobs import succeeded
from synthforge.commands.resuming import end_leases, forget_state, kept_state, submit_or_take_up
from synthforge.console import note, progress, say, workers_told
from synthforge.job_status import JobStatus
from synthforge.jobs import JobSpec
from synthforge.json_logs import log_as_json, log_for_people
from synthforge.keys import KeyRequest, Scope, take_key

if TYPE_CHECKING:
    from service.settings import Settings
    from workers.options import PoolOptions

NUM_CORES: Final = os.cpu_count() or 1
FOLLOW_EVERY_S: Final = 0.25
STORE_ANSWERS_S: Final = 2.0  # no longer does a store delay the line that says ready

WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=4096, help="Actors; by default one a core.")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray", envvar="RAY_ADDRESS", help="Address of a cluster; by default a local one."
    ),
]
CpusOption = Annotated[float, typer.Option("--cpus", min=0, help="CPUs an actor, as Ray counts.")]
GpusOption = Annotated[float, typer.Option("--gpus", min=0, help="GPUs an actor, as Ray counts.")]
IdleOption = Annotated[
    float,
    typer.Option("--idle", min=0, help="On a cluster, seconds an actor is kept without work."),
]

_DATASETS_LIE: Final = "by default SYNTHFORGE_OUTPUT_PREFIXES, else out/datasets."
OutputOption = Annotated[
    str | None,
    typer.Option("--output", help=f"URL or folder under which datasets may lie; {_DATASETS_LIE}"),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        help="TCP, 0 takes a free one; by default SYNTHFORGE_PORT, else 8000.",
    ),
]

app = typer.Typer()


@app.command(epilog="Example: synthforge up --output out/datasets")
def up(
    output: OutputOption = None,
    port: PortOption = None,
    workers: WorkersOption = NUM_CORES,
) -> None:
    """Run the service and a local Ray pool in one go.

    On loopback it asks for no keys, unless SYNTHFORGE_AUTH=keys. Jobs are kept in ./synthforge.db,
    unless SYNTHFORGE_DATABASE_URL names another database: from another folder, other jobs.
    """
    from service.database import place_of  # noqa: PLC0415
    from service.objects import warn_of_unlistable  # noqa: PLC0415
    from workers.options import PoolOptions  # noqa: PLC0415

    settings = _settings(output, port)
    if "SYNTHFORGE_AUTH" not in os.environ and settings.is_loopback:
        settings = replace(settings, auth="off")
    looking = warn_of_unlistable(settings.output_prefixes, lambda line: note(f"warning: {line}"))
    with _service(settings) as (url, key), stop_on_signals() as stop:
        looking.join(STORE_ANSWERS_S)
        say(
            f"service {url}, {workers_told(workers)}, output {settings.output_prefixes[0]}, "
            f"database {place_of(settings.database_url)}"
        )
        options = PoolOptions(
            url, settings.output_prefixes, workers, key, traces_url=settings.traces_url
        )
        _run_pool(options, stop)
    note("stopped; jobs that had not ended go on when it is started again")


@app.command(epilog="Example: SYNTHFORGE_OUTPUT_PREFIXES=s3://faces/sets synthforge serve")
def serve(
    output: OutputOption = None,
    port: PortOption = None,
) -> None:
    """Run the service alone; SYNTHFORGE_* variables set it (docs/settings.md).

    Jobs are kept in ./synthforge.db, unless SYNTHFORGE_DATABASE_URL names another database.
    """
    from service.server import run  # noqa: PLC0415

    run(_settings(output, port))


@app.command(epilog="Example: synthforge work --service http://127.0.0.1:8000 --workers 8 --gpus 1")
def work(
    service: ServiceOption = DEFAULT_SERVICE,
    output: Annotated[
        str | None,
        typer.Option(help=f"URL or folder under which these workers may write; {_DATASETS_LIE}"),
    ] = None,
    workers: WorkersOption = NUM_CORES,
    ray: RayOption = None,
    cpus: CpusOption = 1.0,
    gpus: GpusOption = 0.0,
    idle: IdleOption = 300.0,
) -> None:
    """Run a pool of workers alone, on this machine or on a Ray cluster.

    On a cluster it asks for as many actors as there is work, --workers at most.
    """
    from workers.options import PoolOptions  # noqa: PLC0415

    settings = _settings(output, None)
    log_as_json()
    with stop_on_signals() as stop:
        options = PoolOptions(
            service_url=service,
            output_prefixes=settings.output_prefixes,
            num_workers=workers,
            key=take_key(),
            ray_address=ray,
            cpus_per_worker=cpus,
            gpus_per_worker=gpus,
            idle_s=idle,
            traces_url=settings.traces_url,
            logs_as_json=True,
        )
        _run_pool(options, stop)


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
    """Make a dataset without a service to start: plan, render, commit, verify.

    Stopped, it goes on where it was: the same command again renders no finished shard twice.
    """
    from workers.options import PoolOptions  # noqa: PLC0415

    parsed, url = _with_output(read_spec(spec), output)
    with kept_state(url, parsed) as folder:
        settings = replace(
            _settings(url, 0),
            database_url=f"sqlite:///{folder}/jobs.db",
            host="127.0.0.1",  # it serves this command alone, which is why it asks for a key
            auth="keys",
            heartbeat_s=1.0,
            whole_prefix="allowed",
        )
        end_leases(settings, folder)
        # The job may be of an earlier command's key, which is why this one is an admin's.
        with _service(settings, "admin") as (service_url, key), stop_on_signals() as stop:
            options = PoolOptions(
                service_url,
                settings.output_prefixes,
                workers,
                key,
                chunks_in_flight=chunks_in_flight,
            )
            pool = Beside(lambda ended: _run_pool(options, ended), stop)
            with Client(service_url, key=key) as client:
                # A refusal need not wait for a pool.
                job = submit_or_take_up(client, folder, parsed)
                note(f"job {job.id}: starting {workers_told(workers)}")
                with pool:
                    _follow_beside(pool, client, job.id)
        forget_state(folder)
    check_dataset(url)


@contextmanager
def _service(settings: Settings, *scopes: Scope) -> Iterator[tuple[str, str | None]]:
    """Serve for as long as the block runs; yield the URL, and a key for this process if asked."""
    from service.app import create_app, open_store  # noqa: PLC0415
    from service.keys import issued_for  # noqa: PLC0415
    from service.server import serving  # noqa: PLC0415

    log_for_people()  # what goes well is shown by the command itself
    store = open_store(settings)
    own = KeyRequest(name="own", scopes=("submit", "read", "worker", *scopes))
    with (
        closing(store.database),
        issued_for(store, own) if settings.auth == "keys" else nullcontext() as key,
        serving(settings, create_app(settings, store)) as url,
    ):
        yield url, key


def _settings(output: str | None, port: int | None) -> Settings:
    from service.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings.from_env()
        if output is not None:
            settings = replace(settings, output_prefixes=(output,))
        return settings if port is None else replace(settings, port=port)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None


def _run_pool(options: PoolOptions, stop: threading.Event) -> None:
    from workers.orphans import watch_over_children  # noqa: PLC0415
    from workers.program import run_pool  # noqa: PLC0415

    watch_over_children()
    run_pool(options, stop)


def _with_output(spec: JobSpec, output: str | None) -> tuple[JobSpec, str]:
    url = output or spec.output.url
    if url is None:
        raise CommandError("no output: give --output URL, or output.url in the spec", USAGE)
    url = absolute(url)
    output_section = spec.output.model_copy(update={"url": url})
    return spec.model_copy(update={"output": output_section}), url


def _follow_beside(pool: Beside, client: Client, job_id: str) -> JobStatus:
    """Follow a job whose pool runs in this process, and end with the pool if it ends first."""
    with progress(f"job {job_id}") as show:
        while not (status := client.get(job_id)).state.is_final:
            show(status.counts.completed, status.counts.total)
            if pool.stop.wait(FOLLOW_EVERY_S):
                raise CommandError(_why_stopped(pool)) from pool.error
        show(status.counts.completed, status.counts.total)
    return succeeded(status)


def _why_stopped(pool: Beside) -> str:
    if pool.error is None:
        return "stopped before the dataset was whole: the same command again goes on from here"
    first_line = (str(pool.error) or type(pool.error).__name__).splitlines()[0]
    return f"the workers' pool failed: {first_line}"
