"""`make demo`: the whole path on this machine, from POST to a trained model, in minutes.

An S3 server, the service and a Ray pool start; a job goes in by HTTP; the dataset is verified on
S3, fetched to out/demo/dataset and verified there; a short stage I is trained on it. Everything
that starts here ends here, also when the demo is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from synthforge.client import Client
from synthforge.jobs import ANNOTATIONS
from synthforge.shards import (
    MANIFEST_NAME,
    PREVIEW_NAME,
    REPORT_HTML_NAME,
    Manifest,
    manifest_copy_key,
)
from synthforge.storage import Storage, open_storage
from tools.s3_server import serve_s3
from workers.orphans import watch_over_children

OUT: Final = Path("out/demo")
BUCKET: Final = "demo"
SPEC: Final = {
    "name": "demo faces",
    "count": 512,
    "seed": 1,
    "image": {"size": 256},
    "annotations": list(ANNOTATIONS),
    "output": {"samples_per_shard": 32, "splits": {"train": 0.875, "val": 0.125}},
}
TRAIN_STEPS: Final = 450  # a minute or two of two cores
TARGET_RATIO: Final = 3.0  # the mean-shape baseline's error over the model's
STOP_S: Final = 60.0  # `synthforge up` gets so long to end what it started
SYNTHFORGE: Final = str(Path(sys.executable).with_name("synthforge"))
_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    """Run the demo; 0 if everything held."""
    start = time.monotonic()
    _end_with_parent()
    watch_over_children()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    spec_path = OUT / "spec.json"
    spec_path.write_text(json.dumps(SPEC, indent=1) + "\n")
    with serve_s3() as server:
        bucket = server.make_bucket(BUCKET)
        os.environ.update(server.environment())
        _say(f"S3 server at {server.endpoint}")
        with _service_and_pool(bucket) as service_url:
            job_id = _make_dataset(service_url, spec_path)
        _fetch(open_storage(f"{bucket}/{job_id}"), OUT / "dataset")
    _run(SYNTHFORGE, "verify", str(OUT / "dataset"))
    _run(SYNTHFORGE, "inspect", str(OUT / "dataset"))
    train = ("train", "stage1", "--data", str(OUT / "dataset"), "--out", str(OUT / "model"))
    _run(SYNTHFORGE, *train, "--steps", str(TRAIN_STEPS))
    ratio = _ratio(OUT / "model" / "metrics.json")
    for name in (PREVIEW_NAME, REPORT_HTML_NAME):
        shutil.copy(OUT / "dataset" / name, OUT / name)
    _say(
        f"\ndataset           {OUT / 'dataset'}\ncontact sheet     {OUT / PREVIEW_NAME}\n"
        f"report            {OUT / REPORT_HTML_NAME}\ntraining metrics  "
        f"{OUT / 'model' / 'metrics.json'}\nlandmark error    {ratio:.2f} times below the "
        f"mean-shape baseline (target {TARGET_RATIO:g})\ntook              "
        f"{time.monotonic() - start:.0f} s"
    )
    return 0 if ratio >= TARGET_RATIO else 1


def interruptible(work: Callable[[], int]) -> int:
    """Run work; Ctrl-C is one line and the shell's exit code, once what was started has ended."""
    try:
        return work()
    except KeyboardInterrupt:
        _say("stopped")
        return 128 + signal.SIGINT


@contextmanager
def _service_and_pool(output_url: str) -> Iterator[str]:
    """Run `synthforge up` beside the demo; yield the service's URL once it is ready."""
    environment = os.environ | {"SYNTHFORGE_DATABASE_URL": f"sqlite:///{OUT / 'jobs.db'}"}
    command = [SYNTHFORGE, "up", "--output", output_url, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if not words:
            raise SystemExit("synthforge up did not start: see above")
        url = words[1].rstrip(",")
        _say(f"service and pool at {url}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its watcher ends what it leaves behind
            process.wait()


def _make_dataset(service_url: str, spec_path: Path) -> str:
    """Post the job, wait for it, verify it where it lies; return its id."""
    _say(f"posting {SPEC['count']} samples of {SPEC['image']} with all annotations")
    done = subprocess.run(
        [SYNTHFORGE, "submit", str(spec_path), "--wait", "--service", service_url],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit("the job did not succeed: see above")
    job_id = done.stdout.split()[0]
    with Client(service_url) as client:
        url = client.get(job_id).output_url
    _run(SYNTHFORGE, "verify", url)
    return job_id


def _fetch(storage: Storage, folder: Path) -> None:
    """Copy what the manifest names, the manifest last."""
    manifest = Manifest.model_validate_json(storage.get_bytes(MANIFEST_NAME))
    for name in (
        *(shard.name for shard in manifest.shards),
        *(file.name for file in manifest.files),
        manifest_copy_key(manifest.digest),
        MANIFEST_NAME,
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(storage.stream(name))


def _ratio(metrics_path: Path) -> float:
    landmarks = json.loads(metrics_path.read_text())["landmarks"]
    return float(landmarks["baseline_nme"] / landmarks["nme"])


def _run(*command: str) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"{' '.join(command[1:3])} failed: see above")


def _say(text: str) -> None:
    print(text, flush=True)


def _end_with_parent() -> None:
    """Have Linux send SIGTERM when `make` is killed, and end in good order on it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(interruptible(main))
