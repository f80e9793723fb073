"""`python -m tools.build_head [--out FILE]` writes the embedded head's data file."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.build_head.write import write

DEFAULT = Path(__file__).resolve().parents[2] / "workers/generators/builtin/head.npz"


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT)
    out: Path = parser.parse_args().out
    write(out)
    print(f"{out.name}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
