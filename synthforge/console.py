"""What the commands show: a progress bar on a terminal, plain lines in a log, one-line errors."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from synthforge.job_logs import LogEntry
from synthforge.job_status import JobStatus
from synthforge.shards import Manifest

PLAIN_LINE_EVERY_S: Final = 5.0
SAME_LINE_EVERY_S: Final = 60.0  # a sign of life where nothing moves
_MEBIBYTE: Final = 1 << 20
_LONGEST_ROW: Final = 4096  # characters

ShowProgress = Callable[[int, int], None]  # done, total


def say(line: str) -> None:
    """Print a line of results."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Print a line that is no result, on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def workers_told(count: int) -> str:
    """Return how many workers there are, for people."""
    return "1 worker" if count == 1 else f"{count:,} workers"


def log_line(line: LogEntry) -> str:
    """Return a line of a job's log for people."""
    at = line.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{at} {line.level.upper():7} {line.shard or '-'} {line.pool}: {line.message}"


@contextmanager
def progress(what: str) -> Iterator[ShowProgress]:
    """Show how far a long work is: a bar on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        with _bar(what) as show:
            yield show
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[ShowProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _lines(what: str) -> ShowProgress:
    shown_at = -math.inf
    shown: tuple[int, int] | None = None

    def show(done: int, total: int) -> None:
        nonlocal shown_at, shown
        now = time.monotonic()
        is_new = shown != (done, total)
        every = PLAIN_LINE_EVERY_S if is_new else SAME_LINE_EVERY_S
        if now - shown_at >= every or (is_new and done == total):
            shown_at, shown = now, (done, total)
            note(f"{what} {done}/{total}")

    return show


def manifest_lines(manifest: Manifest, url: str) -> Iterator[str]:
    """Yield what a person wants to know of a dataset."""
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    refused: dict[str, int] = {}
    for shard in manifest.shards:
        for reason, count in shard.rejected.items():
            refused[reason] = refused.get(reason, 0) + count
    yield f"url          {url}"
    yield f"name         {manifest.job.name or '-'}"
    yield f"digest       {manifest.digest}"
    yield f"generator    {manifest.generator.kind}"
    yield f"samples      {manifest.num_samples}"
    for split, count in manifest.splits.items():
        yield f"  {split:<10} {count}"
    yield f"shards       {len(manifest.shards)}, {num_bytes / _MEBIBYTE:.1f} MiB"
    size = manifest.job.image.size
    yield f"pictures     {size} x {size} {manifest.job.image.format}"
    yield f"annotations  {', '.join(manifest.job.annotations) or '-'}"
    yield f"refused      {', '.join(f'{n} {reason}' for reason, n in refused.items()) or 'none'}"
    for name, licence in manifest.generator.licences.items():
        yield f"licence      {name}: {licence}"


def jobs_table(jobs: Iterable[JobStatus]) -> None:
    """Print jobs, a row each; none is cut: what is longer than the terminal, it wraps."""
    table = Table(box=None, pad_edge=False)
    for name in ("job", "state", "samples", "shards", "made", "name", "dataset"):
        table.add_column(name, no_wrap=True, overflow="ignore")
    for job in jobs:
        counts, shards = job.counts, job.shards
        table.add_row(
            job.id,
            "deleted" if job.deleted_at else job.state.value,
            f"{counts.completed:,}/{counts.total:,}",
            f"{shards.done:,}/{shards.total:,}",
            f"{job.created_at:%Y-%m-%dT%H:%M:%SZ}",
            escape(job.spec.name or "-"),
            escape(job.output_url),
        )
    console = Console(highlight=False)
    unbounded = console.options.update(max_width=_LONGEST_ROW)
    console.width = console.measure(table, options=unbounded).maximum
    console.print(table, crop=False, soft_wrap=True)


def job_lines(job: JobStatus) -> Iterator[str]:
    """Yield what a person wants to know of a job; what there is not has no line."""
    counts, shards = job.counts, job.shards
    yield f"job          {job.id}"
    yield f"state        {job.state.value}"
    if job.reason:
        yield f"reason       {job.reason}"
    if job.spec.name:
        yield f"name         {job.spec.name}"
    yield f"samples      {counts.completed:,} of {counts.total:,}, {counts.rejected:,} refused"
    yield f"shards       {shards.done:,} of {shards.total:,}, {shards.leased:,} leased" + (
        f", {shards.set_aside:,} set aside" if shards.set_aside else ""
    )
    yield f"priority     {job.priority}"
    yield f"dataset      {job.output_url}"
    if job.digest:
        yield f"digest       {job.digest}"
    times = {
        "made": job.created_at,
        "started": job.started_at,
        "ended": job.finished_at,
        "deleted": job.deleted_at,
    }
    for name, at in times.items():
        if at is not None:
            yield f"{name:<12} {at:%Y-%m-%dT%H:%M:%SZ}"


def _seconds(duration_s: float) -> str:
    return "under 1 s" if 0 < duration_s < 1 else f"{duration_s:,.0f} s"


def estimate_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what an estimate says, a line a figure, with what it rests on."""

    def rests_on(name: str) -> str:
        figure = found[name]
        if figure["basis"] == "built-in":
            return "a built-in figure, not measured here"
        return f"{figure['basis']}, {figure['num_samples']:,} samples"

    yield f"samples   {found['num_samples']:,} in {found['num_shards']:,} shards"
    yield (
        f"time      {_seconds(found['wall_s'])} on {workers_told(found['workers'])}, "
        f"{_seconds(found['worker_seconds'])} of one ({rests_on('seconds_per_sample')})"
    )
    yield f"GPU       {_seconds(found['gpu_seconds'])}"
    yield f"bytes     {found['num_bytes']:,} ({rests_on('bytes_per_sample')})"
    yield f"refusals  {found['num_refusals']:,} ({rests_on('refusals_per_sample')})"
