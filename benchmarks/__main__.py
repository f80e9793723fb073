"""python -m benchmarks: every benchmark, with defaults that end within minutes (`make bench`).

Each can be run alone for longer: python -m benchmarks.NAME --help. Exit code 0 if all ended so.
"""

from __future__ import annotations

import subprocess
import sys

SMALL: dict[str, tuple[str, ...]] = {
    "raster": ("--repeats", "20"),
    "shading": (),
    "encoding": (),
    "pipeline": ("--samples", "64", "--long", "300"),
    "service": ("--seconds", "4", "--skip-million"),
    "labels": ("--make", "48"),
}
"""Name of the benchmark to the arguments that keep it short."""


def main() -> int:
    """Run them one after another, each in a process of its own."""
    failed = []
    for name, arguments in SMALL.items():
        print(f"== python -m benchmarks.{name} {' '.join(arguments)}", flush=True)
        if subprocess.call([sys.executable, "-m", f"benchmarks.{name}", *arguments]):
            failed.append(name)
    print(f"benchmarks: {', '.join(failed) or 'none'} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
