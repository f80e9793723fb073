"""python -m benchmarks.parity KIND DIR: check every fixture of a kind that DIR holds.

Prints a line a comparison (largest error, tolerance, ok or not). Exit code 0 if all are ok or none
is there, 1 if one is not, 2 for a wrong call.

Example: python -m benchmarks.parity flame fixtures/flame
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.parity.check import Check

KINDS: dict[str, str] = {
    "flame": "benchmarks.parity.flame",
    "annotations": "benchmarks.parity.annotations",
    "next3d": "benchmarks.parity.next3d",
    "next3d-cuda": "benchmarks.parity.next3d_cuda",
}
"""Kind to the module whose `checks(directory)` yields a `Check` each."""


def checks_of(kind: str) -> Callable[[Path], Iterator[Check]]:
    """Import the checks of one kind, and only that: others may need more."""
    checks: Callable[[Path], Iterator[Check]] = importlib.import_module(KINDS[kind]).checks
    return checks


def main(arguments: list[str] | None = None) -> int:
    summary, *details = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parity",
        description=summary,
        epilog="\n\n".join(details),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("directory", type=Path, help="searched with all folders under it")
    given = parser.parse_args(arguments)
    if not given.directory.is_dir():
        parser.error(f"DIR is {str(given.directory)!r}, which is no directory")
    num_checked = num_wrong = 0
    for check in checks_of(given.kind)(given.directory):
        print(check, flush=True)
        num_checked += 1
        num_wrong += not check.is_ok
    print(f"{given.kind}: {num_checked} comparisons, {num_wrong} not ok")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
