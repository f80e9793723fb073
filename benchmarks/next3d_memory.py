"""python -m benchmarks.next3d_memory: memory of an actor of Next3D over many samples.

The small untrained network stands in for a full-size one on a GPU: the same code, the same caches,
smaller tensors. Every sample has all annotations; each identity has `--views` samples, so that the
identity cache fills and forgets. Exit code 1 if memory grew by more than 5 % after the first 100.

Example: python -m benchmarks.next3d_memory --samples 1000
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.pipeline import NUM_EARLY, NUM_WARM, Session, forget_peak, memory
from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec

MAX_GROWTH = 0.05
LOOK_EVERY = 100
_MEBIBYTE = 1 << 20


def memory_spec(views: int, size_px: int, network: str) -> JobSpec:
    """Return the job."""
    document = {
        "count": 10**6,
        "generator": {"kind": "next3d", "untrained": True, "network": network},
        "identity": {"views": views},
        "image": {"size": size_px},
        "annotations": list(ANNOTATIONS),
    }
    return parse_job_spec(json.dumps(document))


def main() -> int:
    """Make samples, a line of memory every hundred."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures, px")
    parser.add_argument("--network", choices=["small", "full"], default="small")
    arguments = parser.parse_args()
    spec = memory_spec(arguments.views, arguments.size, arguments.network)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(spec, Path(folder))
        session.make(NUM_WARM)
        forget_peak()
        started, first = time.process_time(), 0
        for done in range(LOOK_EVERY, arguments.samples + 1, LOOK_EVERY):
            session.make(LOOK_EVERY)
            held = memory()
            first = first or held.peak_bytes
            print(
                f"{done:6} samples: {held.now_bytes / _MEBIBYTE:7.1f} MiB now, "
                f"{held.peak_bytes / _MEBIBYTE:7.1f} MiB at most, "
                f"{(time.process_time() - started) / done:.2f} s CPU a sample",
                flush=True,
            )
    growth = held.peak_bytes / first - 1
    print(f"peak grew by {growth:+.1%} from {NUM_EARLY} samples on (at most {MAX_GROWTH:.0%})")
    return 0 if growth <= MAX_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
