"""What `generate` keeps beside its output while it is at work: stopped, it goes on from there.

A hidden folder of the output, or of the user's cache where the output is no folder, holds the
service's database and the spec. It goes when the job has succeeded, and is no part of the dataset.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from synthforge.caches import default_cache_folder
from synthforge.client import Client
from synthforge.commands.inputs import USAGE, CommandError
from synthforge.console import note
from synthforge.job_status import JobState, JobStatus
from synthforge.jobs import JobSpec
from synthforge.urls import parse_url

if TYPE_CHECKING:
    from service.settings import Settings

_HIDDEN: Final = ".synthforge"
_SPEC: Final = "spec.json"
_TAKEN_UP: Final = {JobState.FAILED, JobState.CANCELLED}


def state_folder(url: str) -> Path:
    """Return where a command that writes to a URL (canonical) keeps its state."""
    location = parse_url(url)
    if location.scheme == "file":
        return Path(location.path) / _HIDDEN
    return default_cache_folder() / "generate" / hashlib.sha256(url.encode()).hexdigest()[:16]


@contextmanager
def kept_state(url: str, spec: JobSpec) -> Iterator[Path]:
    """Hold the state of the job at a URL; what no job was made of is not kept.

    Raises:
        CommandError: another command is at work there, or another spec was begun.
    """
    folder = state_folder(url)
    is_new_output = not folder.parent.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise CommandError(_not_kept(url, folder, error)) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"{url}: another generate is at work there: wait for it") from None
        _check_spec(folder, url, spec)
        try:
            yield folder
        finally:
            if not (folder / _SPEC).exists():
                shutil.rmtree(folder)
                if is_new_output:
                    _remove_if_empty(folder.parent)


def _not_kept(url: str, folder: Path, error: OSError) -> str:
    what = f"{folder} cannot be written ({error.strerror})"
    if parse_url(url).scheme == "file":
        return f"output {url}: {what}: a folder that may be written would do"
    return f"what is known of {url} is kept here: {what}: set SYNTHFORGE_CACHE to another folder"


def end_leases(settings: Settings, folder: Path) -> None:
    """Let go of the leases of a command that was killed: its pool is gone with it."""
    from service.app import open_store  # noqa: PLC0415

    if (folder / _SPEC).exists():
        store = open_store(settings)
        with closing(store.database):
            store.leases.end_all()


def submit_or_take_up(client: Client, folder: Path, spec: JobSpec) -> JobStatus:
    """Submit a job, or take the one up that the state is of."""
    if not (folder / _SPEC).exists():
        job = client.submit(spec)
        (folder / _SPEC).write_text(_text(spec))
        return job
    job = next(iter(client.jobs()))
    if job.state in _TAKEN_UP:
        job = client.retry(job.id)
    note(f"job {job.id} goes on: {job.counts.completed} of {job.counts.total} samples are there")
    return job


def forget_state(folder: Path) -> None:
    """Note that the job has succeeded: nothing is left to go on with."""
    (folder / _SPEC).unlink()


def _check_spec(folder: Path, url: str, spec: JobSpec) -> None:
    try:
        begun = (folder / _SPEC).read_text()
    except FileNotFoundError:  # of a command that was killed before its job was made
        for left in folder.glob("jobs.db*"):
            left.unlink()
        return
    if begun != _text(spec):
        raise CommandError(
            f"{url}: another spec was begun there and is not finished: the same would go on "
            f"({folder / _SPEC}); another output, or removing {folder}, begins anew",
            USAGE,
        )


def _text(spec: JobSpec) -> str:
    return spec.model_dump_json(by_alias=True)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
