"""A dataset on S3 that is extended and read through links, made by a worker without Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import webdataset

from service.server import serving
from service.settings import Settings
from synthforge.client import Client
from synthforge.jobs import JobSpec
from synthforge.leases import LeaseRequest
from synthforge.shards import Manifest
from synthforge.storage import open_storage
from synthforge.verification import verify_dataset
from tests.end_to_end.engine import small_spec
from workers.shard_worker import ShardWorker, WorkerSettings

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT = {"samples_per_shard": 4, "splits": {"train": 0.75, "val": 0.25}}


def spec_of(count: int) -> JobSpec:
    return small_spec(count=count, camera={"fov": 14}, image={"size": 64}, output=OUTPUT)


class ByHand:
    """A service, and a worker that does whatever it leases."""

    def __init__(self, client: Client, worker: ShardWorker) -> None:
        self.client = client
        self._worker = worker

    def made(self, job_id: str) -> Manifest:
        fingerprint = self._worker.fingerprint("builtin")
        request = LeaseRequest(
            pool="hand", generators=("builtin",), fingerprint=fingerprint, max_leases=9
        )
        while leases := self.client.lease(request).leases:
            for lease in leases:
                if lease.kind == "summary":
                    records = tuple(self.client.committed_shards(lease.token))
                    self.client.report(lease.token, self._worker.summarise(lease, records))
                else:
                    self._worker.make(lease)
                    self.client.report(lease.token, self._worker.deliver(lease.token))
        self.client.wait(job_id)
        return self.client.manifest(job_id)


@pytest.fixture
def by_hand(s3_url: str, tmp_path: Path) -> Iterator[ByHand]:
    # The hand sends no heartbeats: no lease may lapse, however slow the machine.
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/jobs.db",
        output_prefixes=(s3_url,),
        auth="off",
        port=0,
        lease_s=3600.0,
    )
    worker = ShardWorker(WorkerSettings(settings.output_prefixes, tmp_path / "scratch"))
    with serving(settings) as url, Client(url) as client:
        yield ByHand(client, worker)


def files_of(url: str, manifest: Manifest) -> dict[str, bytes]:
    """Return every file of every sample by name."""
    files = {}
    for shard in manifest.shards:
        with tarfile.open(fileobj=BytesIO(open_storage(url).get_bytes(shard.name))) as archive:
            for info in archive:
                files[info.name] = archive.extractfile(info).read()  # type: ignore[union-attr]
    return files


def streamed_without_keys(address: str) -> int:
    """Read the training split in a process that has no keys; return how many samples it saw."""
    program = (
        "import sys; from trainer.stream import StreamConfig, open_stream; "
        "stream = open_stream(sys.argv[1], StreamConfig(batch_size=3, split='train')); "
        "print(int(sum(batch.weight.sum() for batch in stream)))"
    )
    environment = {name: value for name, value in os.environ.items() if "AWS_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program, address],
        capture_output=True, text=True, check=True, env=environment, cwd=REPOSITORY,
    )  # fmt: skip
    return int(done.stdout)


def test_an_extended_dataset_verifies_and_is_that_of_a_larger_job(by_hand: ByHand) -> None:
    client = by_hand.client
    job = client.submit(spec_of(4))
    before = by_hand.made(job.id)
    child = client.extend(job.id, 8)
    after = by_hand.made(child.id)
    assert (after.parent, after.num_samples) == (before.digest, 8)
    assert list(verify_dataset(open_storage(job.output_url))) == []
    whole = client.submit(spec_of(8))
    expected = files_of(whole.output_url, by_hand.made(whole.id))
    assert files_of(job.output_url, after) == expected
    old = {shard.name for shard in before.shards}
    assert old < {shard.name for shard in after.shards}
    storage = open_storage(job.output_url)
    ours = json.loads(storage.get_bytes("report.json"))
    theirs = json.loads(open_storage(whole.output_url).get_bytes("report.json"))
    for held in (ours, theirs):
        held.pop("num_bytes")  # more shards, more tar headers
    assert ours == theirs


def test_links_serve_wget_webdataset_and_the_trainer_without_keys(
    by_hand: ByHand, tmp_path: Path
) -> None:
    client = by_hand.client
    job = client.submit(spec_of(4))
    manifest = by_hand.made(job.id)
    document = client.manifest_with_links(job.id, expires_s=600)
    links = json.loads(document)["links"]
    assert list(links) == [item.name for item in (*manifest.shards, *manifest.files)]
    shard = manifest.shards[0]
    data = open_storage(job.output_url).get_bytes(shard.name)
    fetched = tmp_path / "shard.tar"
    subprocess.run(["wget", "-q", "-O", str(fetched), links[shard.name]], check=True)
    assert fetched.read_bytes() == data
    urls = [f"pipe:curl -sSf '{links[shard.name]}'" for shard in manifest.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == manifest.num_samples
    address = f"{client.base_url}/v1/jobs/{job.id}/manifest?links=presigned"
    assert streamed_without_keys(address) == manifest.splits["train"]
