"""python -m benchmarks.labels [URL]: audit a dataset's labels against each other.

Reads the dataset's files alone and checks them with mathematics of its own: a line a check, with
what was measured, its limit, ok or not. Exit code 0 if all hold, 1 if one does not.

Without a URL (or with --make) a scratch dataset is made first, with every annotation.

Example: python -m benchmarks.labels file:///data/faces --samples 500
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.in_process import make_dataset
from benchmarks.labels.audit import audit
from benchmarks.labels.dataset import open_dataset
from benchmarks.labels.make import covered_spec, scratch_spec

NUM_SCRATCH = 48


def main(arguments: list[str] | None = None) -> int:
    """Audit, print, and say whether all holds."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        url = given.url
        if url is None or given.make is not None:
            make_spec = covered_spec if given.covered else scratch_spec
            spec = make_spec(given.make or NUM_SCRATCH, given.size, seed=given.seed)
            url = make_dataset(spec, Path(folder) / "dataset")
        gauges = audit(open_dataset(url), given.samples)
    for gauge in gauges.values():
        print(gauge)
    num_wrong = sum(not gauge.is_ok for gauge in gauges.values())
    print(f"labels: {len(gauges)} checks, {num_wrong} not ok")
    return 1 if num_wrong else 0


def _parser() -> argparse.ArgumentParser:
    summary, *details = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.labels",
        description=summary,
        epilog="\n\n".join(details),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", nargs="?", help="of a dataset with every annotation")
    parser.add_argument("--samples", type=int, default=500, help="checked, spread evenly")
    parser.add_argument("--make", type=int, metavar="N", help="make N samples and check those")
    parser.add_argument("--size", type=int, default=256, help="of the pictures made, pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the dataset made")
    parser.add_argument(
        "--covered",
        action="store_true",
        help="of faces made: glasses, beards, hats and long hair on all, lids half shut",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
