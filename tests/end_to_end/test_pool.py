"""A pool stops what is cancelled, gives back what it cannot finish, and outlives its service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from synthforge.client import Client
from synthforge.job_logs import LogEntry
from synthforge.job_status import JobState
from synthforge.jobs import GeneratorKind
from synthforge.json_logs import bound
from synthforge.shards import MANIFEST_NAME, Fingerprint
from synthforge.storage import open_storage
from synthforge.tar_format import read_tar
from tests.end_to_end.engine import Engine, make, small_spec

LARGE = {"count": 5000, "output": {"samples_per_shard": 2500}}


def wait_for_progress(client: Client, job_id: str) -> None:
    while not client.get(job_id).shards.leased:
        time.sleep(0.05)


def test_a_cancelled_job_stops_and_its_pool_goes_on(warm: Client) -> None:
    large = warm.submit(small_spec(**LARGE))
    wait_for_progress(warm, large.id)
    warm.cancel(large.id)
    ended = warm.wait(large.id)
    small = warm.wait(warm.submit(small_spec(count=2)).id)
    assert ended.state is JobState.CANCELLED
    assert open_storage(ended.output_url).head(MANIFEST_NAME) is None
    assert small.state is JobState.SUCCEEDED


def test_a_pool_that_is_told_to_leave_gives_its_leases_back_and_is_gone(
    engine: Engine, tmp_path: Path
) -> None:
    import ray  # noqa: PLC0415 - reads its environment

    address = ray.get_runtime_context().gcs_address
    with engine.service() as (url, settings), Client(url) as client:
        job = client.submit(small_spec(seed=6, **LARGE))
        command = ["work", "--service", url, "--ray", address, "--cpus", "0.5", "--workers", "1"]
        output = ["--output", settings.output_prefixes[0]]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "synthforge", *command, *output], stdout=log, stderr=log
            )
        try:
            wait_for_progress(client, job.id)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
        status = client.get(job.id)
        assert status.shards.leased == 0
        assert status.state is JobState.RUNNING
        client.cancel(job.id)


def test_a_jobs_log_tells_what_pool_and_actor_did_under_the_id_of_its_request(
    warm: Client,
) -> None:
    with bound(request_id="asked-1"):
        job = warm.submit(small_spec(seed=11, count=2))
    assert warm.wait(job.id).request_id == "asked-1"
    lines: list[LogEntry] = []
    for page in warm.logs(job.id, follows=True):
        lines += page.lines
        if any("summary is committed" in line.message for line in lines):
            break
    told = {line.message for line in lines if line.shard == "train-000000"}
    assert {"an actor begins with it", "train-000000 is committed"} <= told
    assert any(message.startswith("2 samples are made in ") for message in told)
    assert any(message.endswith(" bytes") for message in told)
    assert {line.pool for line in lines} == {"test-pool"}
    assert {line.level for line in lines} == {"info"}


def test_a_plan_that_no_worker_can_carry_out_fails_its_job_with_the_reason(warm: Client) -> None:
    blind = {"quality": {"max_attempts": 2, "min_face": 0.99}}
    ended = warm.wait(warm.submit(small_spec(seed=7, **blind)).id)
    assert ended.state is JobState.FAILED
    assert "was refused 2 times" in str(ended.reason)
    told = [line for page in warm.logs(ended.id, "warning") for line in page.lines]
    assert all("comes back undone, failed: " in line.message for line in told)


def test_actors_of_unlike_machines_lease_each_under_its_own_fingerprint(
    engine: Engine,
) -> None:
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    class OnItsOwnMachine(actors.Actor):
        def fingerprint(self, kind: GeneratorKind) -> Fingerprint:
            found = super().fingerprint(kind)
            return found.model_copy(update={"device": f"{found.device} {os.getpid()}"})

    exact = {"samples_per_shard": 1, "reproducibility": "exact"}
    with engine.running(2, actor_class=OnItsOwnMachine) as client:
        made = make(client, small_spec(seed=8, count=6, output=exact))
    assert len({shard.fingerprint for shard in made.manifest.shards}) == 1


def test_a_preview_comes_while_every_actor_is_busy(warm: Client) -> None:
    large = warm.submit(small_spec(**LARGE))
    wait_for_progress(warm, large.id)
    tar = warm.preview(small_spec(seed=9), samples=2)
    assert warm.get(large.id).shards.done == 0
    warm.cancel(large.id)
    names = [member.name for member in read_tar([tar])]
    assert names[0] == "preview.jpg"
    assert {name[:9] for name in names[1:]} == {"000000000", "000000001"}
